/*
 * outgoing.h
 *		The rules of the replicator: executed before anything leaves.
 */
#ifndef FLO_OUTGOING_H
#define FLO_OUTGOING_H

#include "source/publisher.h"

typedef struct FloOutgoing FloOutgoing;

/* Lives in the current memory context; the publisher asks it for every row */
extern FloOutgoing *flo_outgoing_open(const char *group, Oid owner, FloPublisher *publisher);

/* Are there no rules at all?  Then rows need no transaction. */
extern bool flo_outgoing_is_empty(const FloOutgoing *outgoing);

/*
 * Between transactions: put in force what is there now, if "changed", and
 * compile what the catalogs have outdated.
 */
extern void flo_outgoing_follow(FloOutgoing *outgoing, bool changed, Oid owner);

/* Forget all tables: each is described again before its next row */
extern void flo_outgoing_forget(FloOutgoing *outgoing);

#endif
