/*
 * watch.h
 *		Tells a background process that its configuration may have changed.
 */
#ifndef FLO_WATCH_H
#define FLO_WATCH_H

/* Start watching the tables of schema flo; needs a transaction */
extern void flo_watch_init(void);

/*
 * Has one of them changed since the last call?  Also takes in all pending
 * invalidations.  Call between transactions only.
 */
extern bool flo_watch_changed(void);

/* Is it known that one has, of which flo_watch_changed() will tell?  Takes in nothing. */
extern bool flo_watch_pending(void);

/* The same of flo.cutovers, true at the first call; takes in nothing by itself */
extern bool flo_watch_cutovers_changed(void);

#endif
