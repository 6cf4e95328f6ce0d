/*
 * search_index.h
 *		The indexes of a search service: made, completed, renamed, gone through.
 *
 * All of it asks and waits: see flo_search_ask().
 */
#ifndef FLO_SEARCH_INDEX_H
#define FLO_SEARCH_INDEX_H

#include "events/search_client.h"
#include "events/search_table.h"

/*
 * Make the table's index, or add the fields that it lacks; what is there already
 * stays as it is, and aliases of fields are followed.  55000 when the index is
 * another's.
 */
extern void flo_search_prepare(FloSearchClient *client, FloSearchTable *table);

/* What the service calls the type for JSON whose values are keywords */
extern const char *flo_search_flattened(FloSearchClient *client);

/* An index under a second name; not when it is not the former owner's, or that name is taken */
extern void flo_search_rename_index(FloSearchClient *client, const char *index, const char *owner,
									const char *new_index, const char *new_owner);

/* A field under a second name; names with quotes */
extern void flo_search_rename_field(FloSearchClient *client, const char *index, const char *owner,
									const char *field, const char *new_field);

/*
 * The documents that are in an index now, a page at a time: "found" gets each _id, with
 * its quotes.  The cursor is NULL at first.  How many it were; 0 at the end, and -1
 * when the service has lost the cursor.
 */
typedef void (*FloSearchFound) (void *arg, FloJsonPart id);

extern int	flo_search_page(FloSearchClient *client, const char *index, char **cursor,
							FloSearchFound found, void *arg);

#endif
