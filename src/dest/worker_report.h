/*
 * worker_report.h
 *		What a worker tells: its state here, what is durable to the source; and the sink's host.
 */
#ifndef FLO_WORKER_REPORT_H
#define FLO_WORKER_REPORT_H

#include "dest/worker_state.h"

/* Positions and counters to shared memory */
extern void flo_worker_show_state(FloWorker *w);

/* Since when something is pending, alone: when nothing else has moved */
extern void flo_worker_show_pending(FloWorker *w);

/* Now and then: nothing is taken, so nothing else tells how much comes in meanwhile */
extern void flo_worker_look_at_stream(FloWorker *w);

/* The newest backfill of this generation that the worker has met, NULL when there is none */
extern const FloDueBackfill *flo_worker_due_backfill(const FloWorker *w);

/* Tell the replicator what need not be kept for us; only what is durable counts */
extern void flo_worker_report_to_bucket(FloWorker *w, bool wait);

/* Take note of commits that have reached the disk, with "force" of all of them */
extern void flo_worker_flush(FloWorker *w, bool force);

/* A sink that writes elsewhere has everything up to here: durable when this returns */
extern void flo_worker_record_position(FloWorker *w, XLogRecPtr position);

/* In the midst of long work: the broker is served, news are shown.  False when it is away. */
extern bool flo_worker_serve(FloWorker *w);

/* Open the sink, with what it may ask of its worker */
extern void flo_worker_open_sink(FloWorker *w);

#endif
