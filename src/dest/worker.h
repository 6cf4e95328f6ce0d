/*
 * worker.h
 *		The destination side of a group, as a process.
 */
#ifndef FLO_WORKER_H
#define FLO_WORKER_H

#include "wire/change.h"

/*
 * Run as the worker that flo_me names.  Returns when the group no longer has
 * it; every other end is an error or an interrupt.
 */
extern void flo_worker_run(void);

/* Take text of this encoding from now on, as a client's; also for loaders */
extern void flo_worker_follow_encoding(FloChangeParser *parser, int encoding);

#endif
