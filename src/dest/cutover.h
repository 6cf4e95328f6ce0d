/*
 * cutover.h
 *		The destination's part in a cut-over.
 */
#ifndef FLO_DEST_CUTOVER_H
#define FLO_DEST_CUTOVER_H

#include "dest/worker_state.h"

/* ms between two looks while one is under way */
#define FLO_CUTOVER_PAUSE 50

/*
 * In the open transaction: what the source says of it.  The batch is to be committed
 * at the end of the source transaction.
 */
extern void flo_cutover_take_message(FloWorker *w, const char *content, int len);

/*
 * Each time round: do what is to be done now, if no transaction of the source is
 * half here, and say what this side has come to.  True while one is under way.
 */
extern bool flo_cutover_act(FloWorker *w);

#endif
