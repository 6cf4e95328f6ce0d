/*
 * fence_rows.h
 *		Fences, for the files of conf/ that keep them.
 */
#ifndef FLO_FENCE_ROWS_H
#define FLO_FENCE_ROWS_H

#include "conf/fence.h"

/* All that are raised, and with "prepared" the others, too (FloFence *); as flo_fence_state() */
extern List *flo_fences(bool prepared);

/* Is any raised?  What most statements have to know, cheaply. */
extern bool flo_fence_any(void);

/* Is it raised, and this process none that passes? */
extern bool flo_fence_keeps_out(const FloFence *fence);

/* Is this process making or removing triggers of fences at this moment? */
extern bool flo_fence_works;

/* The function of the triggers */
extern Oid	flo_fence_function(void);

#endif
