/*
 * replicator_impl.h
 *		What the files of the replicator share: replicator.c runs it, upkeep.c
 *		looks after its stream and state bucket.
 */
#ifndef FLO_REPLICATOR_IMPL_H
#define FLO_REPLICATOR_IMPL_H

#include "bus/stream.h"
#include "conf/choice.h"
#include "conf/spec.h"
#include "core/clock.h"
#include "source/copy_control.h"
#include "source/ddl_filter.h"
#include "source/decoder.h"
#include "source/generation.h"
#include "source/outgoing.h"
#include "source/own_messages.h"
#include "source/ownership.h"
#include "source/publisher.h"
#include "source/session.h"
#include "source/settle.h"
#include "source/spool.h"

typedef struct Replicator
{
	/* names and configuration */
	char	   *group;
	char	   *stream;
	char	   *slot;
	char	   *bucket;
	FloReplicatorSpec *spec;
	FloTableChoice *choice;
	MemoryContext spec_context;
	MemoryContext full_context; /* reset in each turn of waiting for a full broker */
	FloChunkHeader identity;
	FloClaim	claim;
	FloGeneration *generation;
	uint64		recorded_epoch;
	uint64		reloads;		/* flo_reload_count the limits were made from */
	bool		changed;		/* the configuration, and is not in force yet */

	/* the pipe */
	FloBus	   *bus;
	FloDecoder *decoder;
	FloOwnMessages *own_messages;
	FloDdlFilter *ddl_filter;
	FloPublisher *publisher;
	FloSpool   *spool;
	FloOutgoing *outgoing;
	FloSettle  *settle;
	FloSession	session;
	int			npublications;

	/* progress */
	XLogRecPtr	published;		/* position of the newest acknowledged chunk */
	uint64		published_seq;
	XLogRecPtr	reported;		/* "source" key of the bucket */
	uint64		purged;
	FloClock	begun;
	bool		full;			/* the broker had no room at the last try */
	uint64		half_seq;		/* the session before ended there in the midst of a transaction, 0 = not so */
	XLogRecPtr	half_upto;		/* which begins after this */
	FloClock	last_sent;		/* a chunk or a heartbeat was acknowledged */
	FloClock	looked;			/* at the broker */
	bool		key_removed;	/* from the bucket: one that the source has written for good */
	FloClock	housekeeping;
	FloClock	slot_saved;
	XLogRecPtr	slot_saved_lsn;
	FloClock	nudged;

	FloCopyControl copy;
	FloTally	tally;
} Replicator;

/* --- replicator.c ------------------------------------------------------------------- */

/* Reads this group's row; false when it is gone */
extern bool flo_replicator_load_spec(Replicator *rep);

/* What the stream is to be */
extern FloStreamConfig flo_replicator_stream_config(Replicator *rep);

/* Something is waited for that a new process looks at anew */
pg_noreturn extern void flo_replicator_begin_anew(void);

/* To shared memory */
extern void flo_replicator_report(Replicator *rep);

/* --- upkeep.c ----------------------------------------------------------------------- */

/* Remove what no worker needs any more */
extern void flo_upkeep_purge(Replicator *rep);

/*
 * Now and then, when nothing is under way: are stream and state bucket still what
 * they were?  Throws 40001 when only a new session can go on.
 */
extern void flo_upkeep_look(Replicator *rep);

/* The broker is full: for the publisher (FloPublisherHost), and for the bus (flo_bus_when_full) */
extern uint64 flo_upkeep_chunk_found_no_room(void *arg, const FloBusAck *refusal, int size, bool inside, XLogRecPtr upto);
extern void flo_upkeep_found_no_room(void *arg, int err_code, const char *words);

#endif							/* FLO_REPLICATOR_IMPL_H */
