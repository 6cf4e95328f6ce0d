/*
 * worker_start.h
 *		Where a worker begins, and the copies that it takes in.
 */
#ifndef FLO_WORKER_START_H
#define FLO_WORKER_START_H

#include "dest/worker_state.h"

/* The first start: find the source and the position, and make the worker known */
extern void flo_worker_begin(FloWorker *w);
extern void flo_worker_begin_late(FloWorker *w);

/*
 * Take in the copy that the generation begins with, unless that is done.  May
 * end with a later generation than before; the position is set.
 */
extern void flo_worker_take_copy(FloWorker *w);

/* The tables of w->marker; true when the place in the stream has to be found anew */
extern bool flo_worker_take_marked_copy(FloWorker *w);

/* Have the rows of a backfill in that is due, before the sink is opened */
extern void flo_worker_take_backfill(FloWorker *w);

#endif
