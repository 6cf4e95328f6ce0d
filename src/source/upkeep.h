/*
 * upkeep.h
 *		What a replicator does about its stream and state bucket beside publishing.
 */
#ifndef FLO_UPKEEP_H
#define FLO_UPKEEP_H

#include "source/replicator_state.h"

/*
 * What the account may keep decides how much is under way.  It may be given a limit at any
 * time, so it is looked at now and then, too.
 */
extern void flo_upkeep_mind_account(Replicator *rep);
extern void flo_upkeep_look_at_account(Replicator *rep);

/* Remove what no worker needs any more */
extern void flo_upkeep_purge(Replicator *rep);

/* Those that the stream should have: the configuration, or somebody by hand, has changed them */
extern void flo_upkeep_restore_limits(Replicator *rep);

/*
 * Now and then, when nothing is under way: are stream and state bucket still what
 * they were?  Throws 40001 when only a new session can go on.
 */
extern void flo_upkeep_look(Replicator *rep);

/* The broker is full: for the publisher (FloPublisherHost), and for the bus (flo_bus_when_full) */
extern uint64 flo_upkeep_chunk_found_no_room(void *arg, const FloBusAck *refusal, int size,
											 bool inside, XLogRecPtr upto);
extern void flo_upkeep_chunk_awaits_room(void *arg, int size, bool inside, XLogRecPtr upto);
extern uint64 flo_upkeep_end_of_stream(void *arg);
extern void flo_upkeep_remove_from_stream(void *arg, uint64 seq);
extern void flo_upkeep_found_no_room(void *arg, int err_code, const char *words);

#endif
