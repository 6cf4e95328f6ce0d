/*
 * worker_rules.h
 *		The rules and routes of a worker, for streamed and for copied rows.
 */
#ifndef FLO_WORKER_RULES_H
#define FLO_WORKER_RULES_H

#include "conf/spec.h"
#include "monitor/state.h"
#include "wire/change.h"

typedef struct FloWorkerRules FloWorkerRules;

/*
 * Lives in the current memory context.  "source" is the generation followed,
 * as text.  Reads what is in force, in a transaction of its own.
 */
extern FloWorkerRules *flo_worker_rules_open(const FloWorkerSpec *spec, const char *source);

/* From now on nothing is written of what they learn of tables */
extern void flo_worker_rules_only_read(FloWorkerRules *rules);

/* Between transactions: put in force what is there now */
extern void flo_worker_rules_load(FloWorkerRules *rules);

/* A source table that is not needed for now */
extern void flo_worker_rules_forget(FloWorkerRules *rules, uint32 relation);

/*
 * What becomes of a change; NULL (and counted) when it is dropped.  Within the
 * transaction that applies it: what is remembered of its table is written there.
 * For a sink that has none, in one of its own when there are rules or routes.
 */
extern const FloChange *flo_worker_rules_apply(FloWorkerRules *rules, const FloChange *change,
											   FloCounters *counters);

/* Where a table's rows go; itself when no route applies */
extern const FloRelation *flo_worker_rules_target(FloWorkerRules *rules,
												  const FloRelation *relation);

/*
 * Where a table is here; false when no route applies.  *mapped is the number of
 * a route that gives its columns other names, else 0.
 */
extern bool flo_worker_rules_name(FloWorkerRules *rules, const char *schema, const char *table,
								  const char **to_schema, const char **to_table, int64 *mapped);

/* The table here that one of the source is; InvalidOid when there is none.  In a transaction. */
extern Oid	flo_worker_rules_table(FloWorkerRules *rules, const char *schema, const char *table);

/* What a column is called here; NULL when a route leaves it out */
extern const char *flo_worker_rules_column(FloWorkerRules *rules, const char *schema,
										   const char *table, const char *column);

/* May a table's rows come out other than they went in, or fewer of them?  By its name alone. */
extern bool flo_worker_rules_alter(const FloWorkerRules *rules, const char *schema,
								   const char *table);

/* How many tables of those that have come lead to the one of this name here? */
extern int	flo_worker_rules_known_to(const FloWorkerRules *rules, const char *schema,
									  const char *table);

/* What the column here is called at the source */
extern const char *flo_worker_rules_source_column(FloWorkerRules *rules, const char *schema,
												  const char *table, const char *column);

/* Are there no rules and no routes? */
extern bool flo_worker_rules_are_none(const FloWorkerRules *rules);

/* Must every column be decided about? */
extern bool flo_worker_rules_is_strict(const FloWorkerRules *rules);

/* May the key of a row be seen here as it is at the source? */
extern bool flo_worker_rules_may_show_key(FloWorkerRules *rules, const FloRelation *relation);

/*
 * Throw 55000 when nobody has decided about the column.  The number of a rule that
 * changes its values, or 0.
 */
extern int64 flo_worker_rules_require_cover(FloWorkerRules *rules, const char *schema,
											const char *table, const char *column);

/* Do routes lead other tables there, too? */
extern bool flo_worker_rules_shares_target(FloWorkerRules *rules, const FloRelation *relation);

#endif
