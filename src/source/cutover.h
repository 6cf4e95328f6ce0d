/*
 * cutover.h
 *		The source's part in a cut-over.
 */
#ifndef FLO_SOURCE_CUTOVER_H
#define FLO_SOURCE_CUTOVER_H

#include "source/replicator_state.h"

/* ms between two looks while one is under way */
#define FLO_CUTOVER_PAUSE 50

/*
 * Between transactions, each time round: do what is to be done now.  Cheap when there
 * is nothing.  True while a cut-over is under way: the caller does not wait longer
 * than FLO_CUTOVER_PAUSE then.
 */
extern bool flo_cutover_drive(Replicator *rep);

#endif
