/*
 * presence.h
 *		A replicator says in the state bucket that it lives, and how it ended.
 */
#ifndef FLO_PRESENCE_H
#define FLO_PRESENCE_H

#include "source/replicator_state.h"

/* From now on its end is told, too; once it is known that the bucket is this group's */
extern void flo_presence_begin(Replicator *rep);

/* When there is something new, or it is time again */
extern void flo_presence_tell(Replicator *rep);

#endif
