/*
 * ahead.h
 *		A helper applies a large transaction while it is still running at the source.
 */
#ifndef FLO_AHEAD_H
#define FLO_AHEAD_H

#include "dest/worker_state.h"

/* More of it is kept, and nothing is open here: the helper may have it */
extern void flo_ahead_hand_over(FloWorker *w, TransactionId xid);

/* What the helper has done of this transaction is of no use; 0 = whichever it is at */
extern void flo_ahead_leave(FloWorker *w, TransactionId xid);

/*
 * It has committed at the source, and all before it is committed here: have the helper
 * commit it.  False when it did not, and it has to be applied from what is kept.
 */
extern bool flo_ahead_commit(FloWorker *w, const FloChange *commit);

#endif
