/*
 * replicator_state.h
 *		A replicator: what its files share.
 */
#ifndef FLO_REPLICATOR_STATE_H
#define FLO_REPLICATOR_STATE_H

#include "bus/stream.h"
#include "conf/choice.h"
#include "conf/spec.h"
#include "core/clock.h"
#include "source/backfill.h"
#include "source/compare_control.h"
#include "source/copy_control.h"
#include "source/ddl_filter.h"
#include "source/decoder.h"
#include "source/definitions.h"
#include "source/generation.h"
#include "source/own_messages.h"
#include "source/ownership.h"
#include "source/publisher.h"
#include "source/replicator_rules.h"
#include "source/retention.h"
#include "source/session.h"
#include "source/spool.h"

/* When there was nothing left to publish last */
typedef struct FloCaughtUp
{
	TimestampTz at;
	XLogRecPtr	lsn;			/* up to where */
	TransactionId xid;			/* that none had yet */
} FloCaughtUp;

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
	MemoryContext full_context; /* reset in each turn of waiting for a full
								 * broker */
	FloChunkHeader identity;
	FloClaim	claim;
	FloGeneration *generation;
	uint64		recorded_epoch;
	uint64		reloads;		/* flo_reload_count the limits were made from */
	bool		changed;		/* the configuration, and is not in force yet */
	bool		rules_changed;	/* the same of the rules */

	/* the pipe */
	FloBus	   *bus;
	FloDecoder *decoder;
	FloOwnMessages *own_messages;
	FloDdlFilter *ddl_filter;
	FloDefinitions *definitions;
	FloPublisher *publisher;
	FloSpool   *spool;
	FloReplicatorRules *rules;
	FloRetention *retention;
	FloSession	session;
	int			npublications;
	int64		account_bytes;	/* limit of the account; 0 = none known */
	FloClock	account_looked;

	/* progress */
	XLogRecPtr	published;		/* position of the newest acknowledged chunk */
	uint64		published_seq;
	XLogRecPtr	reported;		/* "source" key of the bucket */
	FloClock	presence;		/* when that was written */
	bool		said_stopping;	/* there */
	int64		said_interval;	/* ms within which it is written again */
	int64		found_interval; /* there, when this process began */
	FloCopyPhase said_phase;	/* how far the copy was then */
	FloCaughtUp caught_up;
	bool		reads_again;	/* WAL before what is new */
	FloClock	reading_shown;
	uint64		purged;
	FloClock	begun;
	bool		opened;			/* the first chunk of the session is in the
								 * stream */
	bool		full;			/* the broker had no room at the last try */
	uint64		half_seq;		/* the session before ended there in the midst
								 * of a transaction, 0 = not so */
	XLogRecPtr	half_upto;		/* which begins after this */
	FloClock	flushed;		/* a chunk that was not full was sent */
	int			in_a_row;		/* such chunks, each soon after the one before */
	FloClock	last_sent;		/* a chunk or a heartbeat was acknowledged */
	FloClock	looked;			/* at the broker */
	bool		key_removed;	/* from the bucket: one that the source has
								 * written for good */
	FloClock	housekeeping;
	FloClock	slot_saved;
	XLogRecPtr	slot_saved_lsn;
	XLogRecPtr	running_logged; /* a record of running transactions that was
								 * written for the slot's sake */
	FloClock	settling;		/* since when, before a stop; 0 = not so */
	XLogRecPtr	settle_lsn;		/* the record that was written then */

	FloCopyControl copy;
	FloCompareControl compare;
	FloBackfillControl backfill;
	FloTally	tally;
} Replicator;

#endif							/* FLO_REPLICATOR_STATE_H */
