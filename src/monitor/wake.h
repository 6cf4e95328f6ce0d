/*
 * wake.h
 *		The shared memory of pg_flo: is it there, and who is woken.
 */
#ifndef FLO_WAKE_H
#define FLO_WAKE_H

/* From _PG_init: shared memory, and the callback that wakes replicators at commit */
extern void flo_shmem_init(void);

/* Is pg_flo in shared_preload_libraries?  Nothing else of monitor/ may be called otherwise. */
extern bool flo_preloaded(void);

/* Throw 55000 with the usual hint when it is not */
extern void flo_require_preloaded(void);

extern void flo_wake_launcher(void);

#endif
