/*
 * reshape.h
 *		The rules and routes of a worker, for streamed and for copied rows.
 */
#ifndef FLO_RESHAPE_H
#define FLO_RESHAPE_H

#include "conf/spec.h"
#include "monitor/shstate.h"
#include "wire/change.h"

typedef struct FloReshape FloReshape;

/*
 * Lives in the current memory context.  "source" is the generation followed,
 * as text.  Reads what is in force, in a transaction of its own.
 */
extern FloReshape *flo_reshape_open(const FloWorkerSpec *spec, const char *source);

/* Between transactions: put in force what is there now */
extern void flo_reshape_load(FloReshape *reshape);

/* A source table that is not needed for now */
extern void flo_reshape_forget(FloReshape *reshape, uint32 relation);

/*
 * What becomes of a change; NULL (and counted) when it is dropped.  Within the
 * transaction that applies it: what is remembered of its table is written there.
 * For a sink that has none, in one of its own when there are rules or routes.
 */
extern const FloChange *flo_reshape_apply(FloReshape *reshape, const FloChange *change,
										  FloCounters *counters);

/* Where a table's rows go; itself when no route applies */
extern const FloRelation *flo_reshape_target(FloReshape *reshape, const FloRelation *relation);

/*
 * Where a table is here; false when no route applies.  *mapped is the number of
 * a route that gives its columns other names, else 0.
 */
extern bool flo_reshape_name(FloReshape *reshape, const char *schema, const char *table,
							 const char **to_schema, const char **to_table, int64 *mapped);

/* The table here that one of the source is; InvalidOid when there is none.  In a transaction. */
extern Oid	flo_reshape_table(FloReshape *reshape, const char *schema, const char *table);

/* What a column is called here; NULL when a route leaves it out */
extern const char *flo_reshape_column(FloReshape *reshape, const char *schema, const char *table,
									  const char *column);

/* Do routes lead other tables there, too? */
extern bool flo_reshape_shares_target(FloReshape *reshape, const FloRelation *relation);

#endif
