/*
 * worker_config.h
 *		What a worker is told to do, and when that has changed.
 */
#ifndef FLO_WORKER_CONFIG_H
#define FLO_WORKER_CONFIG_H

#include "conf/spec.h"
#include "dest/worker_state.h"

/* NULL when the worker is no more; in the current memory context, as all here */
extern FloWorkerSpec *flo_my_spec(const char *group, const char *worker);

extern char *flo_my_database(void);

/* Has anything changed?  Takes in invalidations. */
extern void flo_worker_notice_configuration(FloWorker *w);

/* Between batches: rules and routes, and tables that are given up, as they are now */
extern void flo_worker_load_rules(FloWorker *w);

/*
 * Between batches: the same where that has changed.  False when the worker is no
 * more or its options are others: the launcher starts it again with them.
 */
extern bool flo_worker_follow_configuration(FloWorker *w);

/* Is it what it was when this process began? */
extern bool flo_worker_is_unaltered(FloWorker *w);

/*
 * For who waits, outside a transaction, for what may never come as things are: with
 * other options, or another broker, the launcher starts this worker again.
 */
extern void flo_worker_leave_if_altered(FloWorker *w);

#endif
