/*
 * caches.h
 *		What the server's caches of catalogs hold: what is now, or what was.
 */
#ifndef FLO_CACHES_H
#define FLO_CACHES_H

typedef enum FloTimes
{
	FLO_NO_TIME,				/* they are empty */
	FLO_NOW,
	FLO_PAST					/* as it was where WAL is decoded */
} FloTimes;

/*
 * From here on catalogs are looked up as of then; within a transaction.  True when
 * they were not before.
 */
extern bool flo_caches_turn_to(FloTimes times);

/* Forget all; what is in use stays valid */
extern void flo_caches_forget(void);

/*
 * For callbacks of invalidations: are they called for that alone?  Then nothing has
 * changed.
 */
extern bool flo_caches_forgotten(void);

#endif
