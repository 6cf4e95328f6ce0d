/*
 * worker_source.h
 *		What a worker hears of its source, and what may be missing here because of it.
 */
#ifndef FLO_WORKER_SOURCE_H
#define FLO_WORKER_SOURCE_H

#include "dest/worker_state.h"

/* What was known before this process */
extern void flo_worker_remember(FloWorker *w);

/* Begin with what the state bucket says */
extern void flo_worker_listen(FloWorker *w);

/* After the connection was away: what it says now */
extern void flo_worker_listen_again(FloWorker *w);

/* What the replicator has said since */
extern void flo_worker_take_updates(FloWorker *w);

/* It ends soon and would like to hear before how far we are, or it has ended by itself */
extern bool flo_worker_source_stops(const FloWorker *w);

/* Is it about to stop, and waits for what is durable here? */
extern bool flo_worker_source_settles(const FloWorker *w);

/* All of a chunk was read */
extern void flo_worker_hear_chunk(FloWorker *w, const FloChunkHeader *header);

/*
 * What is wrong at the source, as far as it is known here, palloc'd; NULL when
 * nothing is.
 */
extern char *flo_worker_source_trouble(FloWorker *w);

/* While there is nothing to do: show that, or that it is over */
extern void flo_worker_show_source(FloWorker *w);

/* Since when something may be missing here; 0 = nothing is */
extern TimestampTz flo_worker_pending_since(const FloWorker *w);

/* Bytes in the stream that are not durable here */
extern int64 flo_worker_pending_bytes(const FloWorker *w);

#endif
