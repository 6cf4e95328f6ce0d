/*
 * begin.h
 *		Where a worker begins, and the copies that it takes in.
 */
#ifndef FLO_BEGIN_H
#define FLO_BEGIN_H

#include "dest/worker_impl.h"

/* The first start: find the source and the position, and make the worker known */
extern void flo_worker_begin(FloWorker *w);

/*
 * Take in the copy that the generation begins with, unless that is done.  May
 * end with a later generation than before; the position is set.
 */
extern void flo_worker_take_copy(FloWorker *w);

/* Take in again, as recorded, what of the stream is in copies, and what of copies is owed */
extern void flo_worker_look_at_copies(FloWorker *w);

/* Unless copies are expected: check the foreign keys of rows that were written without a look at them */
extern void flo_worker_check_keys(FloWorker *w);

/* The tables of w->marker; true when the place in the stream has to be found anew */
extern bool flo_worker_take_marked_copy(FloWorker *w);

/* May the worker go on with a chunk's generation, which is not its own? */
extern bool flo_worker_may_follow(FloWorker *w, const FloChunkHeader *header);

#endif
