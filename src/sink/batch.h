/*
 * batch.h
 *		Changes on their way to the tables of this database, written as sets.
 */
#ifndef FLO_BATCH_H
#define FLO_BATCH_H

#include "monitor/state.h"
#include "sink/relmap.h"
#include "sink/sink.h"

typedef struct FloBatch FloBatch;

/* Applies one change, as the current user and in the current memory context */
typedef void (*FloApplyOne) (void *arg, FloTarget *target, const FloChange *change);

/* "counters", "host" and "arg" must live as long as the batch, which lives in "context" */
extern FloBatch *flo_batch_create(MemoryContext context, FloCounters *counters,
								  const FloSinkHost *host, FloApplyOne apply, void *arg);

/*
 * Take a change of a target just opened.  False when it cannot be gathered:
 * the caller must apply it now; what has to be written before it was written.
 */
extern bool flo_batch_add(FloBatch *batch, FloTarget *target, const FloChange *change);

/* Write everything gathered, or what was gathered for one target */
extern void flo_batch_flush(FloBatch *batch);
extern void flo_batch_flush_target(void *batch, FloTarget *target);

/* Forget everything gathered: the transaction was aborted */
extern void flo_batch_drop(FloBatch *batch);

#endif
