/*
 * worker_batch.h
 *		Batches: one transaction at the destination for as many of the source as
 *		have arrived.
 */
#ifndef FLO_WORKER_BATCH_H
#define FLO_WORKER_BATCH_H

#include "dest/worker_state.h"

/* Is it large enough, or open for long enough? */
extern bool flo_worker_batch_is_full(FloWorker *w);

/* The sequence up to which nothing is needed once all batches so far are durable */
extern uint64 flo_worker_done_seq(const FloWorker *w);

/* The batch is over: what it said of copies is in force, or undone */
extern void flo_worker_follow_copies(FloWorker *w);

extern void flo_worker_open_batch(FloWorker *w);

extern void flo_worker_commit_batch(FloWorker *w);

/* Undo all of it, complete transactions, too */
extern void flo_worker_abort_batch(FloWorker *w);

/* Undo the half of a transaction whose end will never come */
extern void flo_worker_drop_half(FloWorker *w);

/* The stream has run dry: everything read is committed, flushed and told */
extern void flo_worker_run_dry(FloWorker *w);

/* Keep an idle group's position in the origin as well, now and then */
extern void flo_worker_advance_when_idle(FloWorker *w);

#endif
