/*
 * apply.h
 *		Takes chunks apart and applies what is in them.
 */
#ifndef FLO_APPLY_H
#define FLO_APPLY_H

#include "dest/worker_state.h"

/* False when the chunk does not link: the place has to be found anew */
extern bool flo_worker_process_chunk(FloWorker *w, FloChunk *chunk);

#endif
