/*
 * copies.h
 *		The message that says which copies destinations owe from here on, or do
 *		not owe any more.
 *
 * Payload of FLO_MESSAGE_COPIES: "owed" or "withdrawn", and a blank, the OID of
 * a table at the source, a slash and the number of the request for each copy.
 * Behind the number "+" says that the table's rows are to be left out of the
 * stream from here on until its copy is in, "!" the same of a table of which
 * destinations may have rows, and nothing that a marker will say when.
 */
#ifndef FLO_COPIES_H
#define FLO_COPIES_H

#include "nodes/pg_list.h"

typedef enum FloCopyManner
{
	FLO_COPIES_FROM_MARKER,
	FLO_COPIES_WITHOUT,
	FLO_COPIES_ANEW
} FloCopyManner;

typedef struct FloCopyNotice
{
	uint32		relation;
	uint32		request;
	FloCopyManner manner;
} FloCopyNotice;

/* "copies" lists FloCopyNotice * */
extern char *flo_copies_format(bool owed, const List *copies);

/* False when the bytes are no such payload; never throws for any */
extern bool flo_copies_parse(const char *payload, int len, bool *owed, List **copies);

#endif
