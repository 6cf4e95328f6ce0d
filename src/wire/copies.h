/*
 * copies.h
 *		The message that says which copies destinations owe from here on, or do
 *		not owe any more.
 *
 * Payload of FLO_MESSAGE_COPIES: "owed" or "withdrawn", and a blank, the OID of
 * a table at the source, a slash and the number of the request for each copy.
 */
#ifndef FLO_COPIES_H
#define FLO_COPIES_H

#include "nodes/pg_list.h"

typedef struct FloCopyNotice
{
	uint32		relation;
	uint32		request;
} FloCopyNotice;

/* "copies" lists FloCopyNotice * */
extern char *flo_copies_format(bool owed, const List *copies);

/* False when the bytes are no such payload; never throws for any */
extern bool flo_copies_parse(const char *payload, int len, bool *owed, List **copies);

#endif
