/*
 * rule_tables.h
 *		Rows of flo.rules and flo.routes as specs, and what is kept of the tables
 *		they were applied to.
 */
#ifndef FLO_RULE_TABLES_H
#define FLO_RULE_TABLES_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "shape/spec.h"
#include "utils/jsonb.h"

/*
 * All that is in force for a member (FLO_REPLICATOR_MEMBER, a worker's name,
 * or NULL for what holds for every worker), as one snapshot shows it: the
 * active one.  "source" tells sources apart whose tables have OIDs of their
 * own.  In the current memory context.
 */
extern FloShapeSpec *flo_rule_tables_load(const char *group, const char *member,
										  const char *source);

/* Tells whether the rules of the replicator are still those of another snapshot */
extern char *flo_rule_tables_fingerprint(const char *group);

/* Keep what was seen: a List of FloKnownTable * */
extern void flo_rule_tables_keep_known(const char *group, const char *member, const char *source,
									   const List *known);

/* A row of flo.rules; its arguments have been validated */
extern FloRuleSpec *flo_rule_tables_rule(HeapTuple tuple, TupleDesc descriptor);

/*
 * Throw what is wrong with a rule, judged by the local table where that tells
 * what the source's is like.
 */
extern void flo_rule_tables_check_rule(const FloRuleSpec *spec, const char *group,
									   const char *worker, bool at_replicator);

/*
 * Why the rule cannot work, by what is known here; NULL when nothing is known
 * against it, or there is none
 */
extern char *flo_rule_tables_problem(int64 id);

/*
 * Raise 55000 when a group has rules or routes that nothing here executes.
 * With "started" only if one of its members is started.
 */
extern void flo_rule_tables_check_members(const char *group, bool started);

#endif
