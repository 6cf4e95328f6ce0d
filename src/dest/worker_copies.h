/*
 * worker_copies.h
 *		What a worker knows of copies that are still to come while it streams.
 */
#ifndef FLO_WORKER_COPIES_H
#define FLO_WORKER_COPIES_H

#include "dest/worker_state.h"

/* Take in again, as recorded, what of the stream is in copies, and what of copies is owed */
extern void flo_worker_look_at_copies(FloWorker *w);

/* Is anything of the stream left out here for copies that are still to come? */
extern bool flo_worker_awaits_copies(const FloWorker *w);

/* Copies that are in, for a sink that writes elsewhere: List of FloSinkCopy *, for good */
extern List *flo_worker_copies_for_sink(FloWorker *w);

/*
 * Unless copies are expected: check the foreign keys of rows that were written
 * without a look at them
 */
extern void flo_worker_check_keys(FloWorker *w);

#endif
