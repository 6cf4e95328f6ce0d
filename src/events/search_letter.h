/*
 * search_letter.h
 *		A document that was refused, as a dead letter.
 */
#ifndef FLO_SEARCH_LETTER_H
#define FLO_SEARCH_LETTER_H

#include "events/search_bulk.h"

/* The Id of the change, palloc'd; what is deleted by it in passing has the _id behind it */
extern char *flo_search_letter_id(const char *group, const FloBulk *bulk, const FloBulkItem *item);

/* {"action": {"index": {...}}, "document": {...}}: what was sent, palloc'd */
extern char *flo_search_letter_event(const FloBulk *bulk, const FloBulkItem *item);

/*
 * Append its lines of a request _bulk, by which no document is replaced that is as new;
 * false when it is no such letter.
 */
extern bool flo_search_letter_lines(StringInfo out, const char *event);

#endif
