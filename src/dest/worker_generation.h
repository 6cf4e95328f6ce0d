/*
 * worker_generation.h
 *		Which life of its source a worker follows, and where that one's copy is.
 */
#ifndef FLO_WORKER_GENERATION_H
#define FLO_WORKER_GENERATION_H

#include "dest/worker_state.h"

/* Where a generation's copy is found */
typedef enum FloCopyPlace
{
	FLO_PLACE_UNKNOWN,			/* the stream is empty, not there, or about to
								 * be emptied */
	FLO_PLACE_NONE,				/* it has none */
	FLO_PLACE_FIRST,			/* it begins with one */
	FLO_PLACE_MARKED,			/* a marker at its beginning asks for one of
								 * all tables there are */
	FLO_PLACE_GONE				/* it should have one and does not */
} FloCopyPlace;

/* Where the copy of a chunk's generation is, as the source says in the bucket */
extern FloCopyPlace flo_worker_copy_of(FloWorker *w, const FloChunkHeader *header);

/* Does the worker's own begin with a copy of all tables there are? */
extern bool flo_worker_copies_all(FloWorker *w);

/* Has the stream another generation than the worker? */
extern bool flo_worker_began_anew(FloWorker *w);

/* May the worker go on with a chunk's generation, which is not its own? */
extern bool flo_worker_may_follow(FloWorker *w, const FloChunkHeader *header);

#endif
