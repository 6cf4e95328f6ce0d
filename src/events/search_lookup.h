/*
 * search_lookup.h
 *		Values that an UPDATE did not bring, read from the documents so far.
 */
#ifndef FLO_SEARCH_LOOKUP_H
#define FLO_SEARCH_LOOKUP_H

#include "events/search_bulk.h"
#include "events/search_client.h"

/* Complete the item "first", and with it some of those behind it, below "limit" */
extern void flo_search_look_up(FloSearchClient *client, FloBulk *bulk, int first, int limit);

#endif
