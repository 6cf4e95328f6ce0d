/*
 * replicator_rules.h
 *		The rules of the replicator: executed before anything leaves.
 */
#ifndef FLO_REPLICATOR_RULES_H
#define FLO_REPLICATOR_RULES_H

#include "source/publisher.h"

typedef struct FloReplicatorRules FloReplicatorRules;

/* Lives in the current memory context; the publisher asks it for every row */
extern FloReplicatorRules *flo_replicator_rules_open(const char *group, Oid owner,
													 FloPublisher *publisher);

/* Are there no rules at all?  Then rows need no transaction. */
extern bool flo_replicator_rules_is_empty(const FloReplicatorRules *rules);

/*
 * Between transactions: put in force what is there now, if "changed", and
 * compile what the catalogs have outdated.
 */
extern void flo_replicator_rules_follow(FloReplicatorRules *rules, bool changed, Oid owner);

/* Before WAL is decoded: look up what rules call as it is now */
extern void flo_replicator_rules_look_up(const FloReplicatorRules *rules);

/* Forget all tables: each is described again before its next row */
extern void flo_replicator_rules_forget(FloReplicatorRules *rules);

#endif
