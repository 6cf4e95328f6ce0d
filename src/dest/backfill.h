/*
 * backfill.h
 *		A worker of events comes to the place of a backfill in the stream.
 */
#ifndef FLO_DEST_BACKFILL_H
#define FLO_DEST_BACKFILL_H

#include "dest/consumer.h"
#include "dest/worker_state.h"

/* A chunk with FLO_CHUNK_BACKFILL: remember what it says, if it is for this worker */
extern void flo_worker_read_backfill_marker(FloWorker *w, const FloChunk *chunk);

/*
 * Everything before it is delivered: write down that its rows come now, and have this
 * process leave; or say why they do not
 */
extern void flo_worker_meet_backfill(FloWorker *w);

/* As it is written down; "save" with what has come of it */
extern void flo_worker_load_due_backfill(FloWorker *w);
extern void flo_worker_save_due_backfill(FloWorker *w, const FloDueBackfill *due);

#endif
