/*
 * release.h
 *		What the slot lets go of, and from where the next process reads.
 */
#ifndef FLO_RELEASE_H
#define FLO_RELEASE_H

#include "source/replicator_state.h"

/* Confirm what nobody needs any more.  Between transactions only. */
extern void flo_release_wal(Replicator *rep);

/*
 * An orderly stop, each time round the loop: true when the process may end, false when
 * the next one will have less to read if this one goes on for a moment.
 */
extern bool flo_release_settled(Replicator *rep);

#endif							/* FLO_RELEASE_H */
