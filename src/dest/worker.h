/*
 * worker.h
 *		The destination side of a group, as a process.
 */
#ifndef FLO_WORKER_H
#define FLO_WORKER_H

/*
 * Run as the worker that flo_me names.  Returns when the group no longer has
 * it; every other end is an error or an interrupt.
 */
extern void flo_worker_run(void);

#endif
