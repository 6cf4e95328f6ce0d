/*
 * copies.h
 *		The message that says which copies destinations owe from here on, or do
 *		not owe any more.
 *
 * Payload of FLO_MESSAGE_COPIES: "owed" or "withdrawn", and for each copy a blank,
 * the OID of a table at the source, a slash, the number of the request, a mark, and
 * the table's name, as in "owed 16397/3!"public"."my ""t""".  The mark "+" says that
 * the table's rows are to be left out of the stream from here on until its copy is
 * in, "!" the same of a table of which destinations may have rows, and none that a
 * marker will say when.  A table that is no more has empty names.
 */
#ifndef FLO_COPIES_H
#define FLO_COPIES_H

#include "nodes/pg_list.h"

typedef enum FloCopyNoticeKind
{
	FLO_COPIES_FROM_MARKER,		/* a marker will say from where rows are left
								 * out */
	FLO_COPIES_WITHOUT,			/* they are from here on */
	FLO_COPIES_ANEW				/* the same, and destinations may have some */
} FloCopyNoticeKind;

typedef struct FloCopyNotice
{
	uint32		relation;
	uint32		request;
	FloCopyNoticeKind kind;
	char	   *schema;			/* not quoted */
	char	   *table;
} FloCopyNotice;

/* "copies" lists FloCopyNotice * */
extern char *flo_copies_format(bool owed, const List *copies);

/* In the server's encoding.  False when the bytes are no such payload; never throws for any. */
extern bool flo_copies_parse(const char *payload, int len, bool *owed, List **copies);

#endif
