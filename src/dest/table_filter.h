/*
 * table_filter.h
 *		The worker's option "tables": which source tables' changes it takes.
 */
#ifndef FLO_TABLE_FILTER_H
#define FLO_TABLE_FILTER_H

#include "wire/change.h"

typedef struct FloTableFilter FloTableFilter;

/* "names" as flo_options_parse_worker() leaves them: "schema"."table","..."... */
extern FloTableFilter *flo_table_filter_create(MemoryContext context, const char *names);

/*
 * The change, as far as it concerns the chosen tables; NULL when it does not.
 * A filter of NULL takes everything.  Valid until the next call.
 */
extern const FloChange *flo_table_filter(FloTableFilter *filter, const FloChange *change);

/* Does it take the table of that name? */
extern bool flo_table_filter_names(const FloTableFilter *filter, const char *schema,
								   const char *table);

/* A source table that is not needed for now; the filter may be NULL */
extern void flo_table_filter_forget(FloTableFilter *filter, uint32 relation);

#endif
