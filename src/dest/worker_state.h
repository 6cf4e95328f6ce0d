/*
 * worker_state.h
 *		The state of a worker process, for the files that run it.
 *
 * worker.c starts and loops, worker_start.c finds where to begin, apply.c
 * takes chunks apart, worker_batch.c commits them together, worker_report.c
 * tells what is durable.  Private to the files of dest/.
 */
#ifndef FLO_WORKER_STATE_H
#define FLO_WORKER_STATE_H

#include "conf/backfills.h"
#include "core/clock.h"
#include "dest/consumer.h"
#include "dest/progress.h"
#include "dest/table_filter.h"
#include "dest/worker_rules.h"
#include "lib/stringinfo.h"
#include "monitor/state.h"
#include "sink/sink.h"

/*
 * ms between two rounds of acknowledgements and reports under load, and the longest
 * time that a sink which writes elsewhere takes in before it waits for the disk
 */
#define FLO_FLUSH_INTERVAL 100

/*
 * ms for which commits here are left to the server's WAL writer, as long as more come and
 * it does not get on: the next transaction shall not find us waiting for the disk
 */
#define FLO_FLUSH_PATIENCE 1000

/* The same when somebody waits, never more often; or when nothing has come for so long */
#define FLO_DRY_FLUSH_INTERVAL 20
#define FLO_QUIET_FLUSH_INTERVAL 40

/* What was committed at some moment, to be told when it is on disk */
typedef struct FloCommitted
{
	XLogRecPtr	local;			/* end of the newest commit record; invalid =
								 * nothing */
	XLogRecPtr	position;		/* that it holds */
	uint64		seq;			/* nothing up to here is needed then */
	uint64		batches;
	TimestampTz later;			/* the oldest transaction after it; 0 = none */
} FloCommitted;

/* What a worker has heard of its source, and whether it hears it still: see worker_source.c */
typedef struct FloHeard
{
	TimestampTz seen;			/* time in the newest chunk or word of the
								 * replicator */
	FloClock	heard;			/* when that came, or we began to listen */
	bool		live;			/* one has come since */
	uint64		words;			/* of the replicator, that have come */
	int			interval;		/* ms between two of them at most; 0 = not
								 * told */
	TimestampTz complete;		/* as of then nothing was missing here */
	TimestampTz pending;		/* commit time of the oldest transaction that
								 * was not published; 0 = none */
	TimestampTz applied;		/* commit time of the newest that was applied */
	TimestampTz copying;		/* since when a copy is taken in */
	bool		elsewhere;		/* it publishes another generation than ours */
	bool		cut_off;		/* there is no connection to hear it over */
	char		state[NAMEDATALEN];
	char		detail[FLO_DETAIL_BUF];
	int			waits;			/* times in a row that it said so */
	int			errors;			/* and that it ended in an error */
	bool		told;			/* our state says that something is wrong
								 * there */
	FloClock	looked;			/* how far the stream goes, while nothing is
								 * taken */
} FloHeard;

typedef struct FloWorker
{
	/* names and configuration */
	char	   *group;
	char	   *worker;
	char	   *stream;
	char	   *bucket;
	char	   *consumer_name;
	char	   *database;
	FloWorkerSpec *spec;

	/* the pipe */
	FloBus	   *bus;
	FloConsumer *consumer;
	FloChangeParser *parser;
	FloWorkerRules *rules;
	FloSink    *sink;
	FloSinkHost host;
	FloTableFilter *tables;		/* of the option; NULL = all */
	FloProgress *progress;
	MemoryContext chunk_context;	/* reset after each chunk */
	bool		no_bucket;		/* the broker had no room for it */
	FloClock	pruned;			/* when history was last looked through */
	MemoryContext broker_context;	/* reset after each exchange of words with
									 * the broker */

	/* changed configuration that is not in force yet */
	bool		rules_stale;
	uint32		rules_loads;	/* counts how often they were put in force */
	bool		options_stale;

	/* place */
	XLogRecPtr	position;		/* all that committed at or below is in a
								 * batch or before it */
	uint64		place;			/* sequence of the first chunk that is not
								 * done with */
	uint64		unlinked;		/* of the last one that did not link, 0 = none */
	XLogRecPtr	last_end;		/* of the last commit read, or what the chunk
								 * says of those before it */
	uint64		epoch;			/* of the chunk before */
	uint64		number;
	int			encoding;

	/* transactions that are still running at the source */
	struct FloPieces *pieces;
	struct FloAhead *ahead;		/* a helper that applies one of them; NULL */
	uint64		pieces_missed;	/* sequence of the last chunk that ends one of
								 * which pieces were not at hand */

	/* the transaction being read */
	bool		in_transaction;
	uint64		began;			/* sequence of the chunk where that was, or
								 * where we entered */
	bool		skipping;		/* it was applied before, or is skipped */
	bool		skipped;		/* flo.skip() names it */
	List	   *notices;		/* of char *: what one that is skipped says of
								 * copies */
	List	   *marker;			/* of FloCopyKey *: of a marker that was just
								 * read */
	struct FloCompareMarker *compare;	/* of a comparison's that was just
										 * read */
	struct FloBackfillMarker *backfill; /* of a backfill's, for this worker,
										 * that was just read */
	FloDueBackfill *due;		/* the newest that it has met; NULL = none */
	bool		backfilling;	/* its rows are being taken in */
	List	   *copied;			/* of FloCopiedTable *: whose copy is later
								 * than the position, or that are given up */
	XLogRecPtr	copied_before;	/* snapshot of the copy that the generation
								 * began with, while it is later than that */
	bool		gives_up;		/* there are such */
	int64		last_given_up;	/* number of the newest entry seen */
	bool		begins_again;	/* the sink may have rows in hand of one that
								 * was given up since */
	MemoryContext copied_context;	/* where that list is */
	FloTransaction txn;
	int			ddl_ordinal;	/* of the DDL statement within it, from 1 */
	StringInfoData fragment;	/* of a record split over chunks */
	uint32		fragment_total; /* 0 = none */

	/* the batch: one transaction at the destination */
	bool		batch_open;
	uint64		batches;		/* opened so far: the number of this one */
	int64		batch_changes;
	int64		batch_transactions;
	XLogRecPtr	batch_final;	/* commit LSN of the last complete source
								 * transaction in it */
	XLogRecPtr	batch_lsn;		/* last complete source transaction in it */
	TimestampTz batch_time;
	TimestampTz batch_oldest;	/* commit time of the first */
	FloClock	batch_opened;
	uint64		done_before;	/* the last message that an earlier process
								 * was done with; 0 = not known */
	XLogRecPtr	careful_until;	/* one transaction a batch, to single out one
								 * that failed */
	bool		batch_has_ddl;
	bool		batch_has_copies;	/* it changes what is known of copies:
									 * looked at again when it is over */
	List	   *unchecked;		/* OIDs of tables written in it without a look
								 * at their foreign keys */
	bool		keys_unchecked; /* there may be such tables, of any batch or
								 * copy */
	bool		rewind;			/* the place was given up: attach anew where
								 * the position says */
	bool		leave;			/* the configuration changed while waiting */

	/* the copy, while it is not in */
	bool		awaits_resync;	/* for a generation that brings one */
	FloCopyKey	missing_chunks; /* a table chunks of which are lost; relation
								 * 0 = none */

	/* committed, not known to be flushed */
	XLogRecPtr	unflushed_local;	/* end of the newest commit record;
									 * invalid = all flushed */
	uint64		unflushed_seq;	/* nothing up to here is needed then */
	TimestampTz unflushed_oldest;
	FloCommitted earlier;		/* part of it: as it was at an earlier look */

	FloCommits	commits;		/* under the number of their batch */

	/* durable */
	XLogRecPtr	durable;		/* heartbeats included */
	XLogRecPtr	origin_lsn;		/* what the origin holds on disk */
	uint64		acked_seq;
	uint64		reported_seq;
	XLogRecPtr	reported_lsn;
	XLogRecPtr	known;			/* newest LSN known from the stream */

	/* the source, as far as it was heard; times by its clock */
	FloHeard	source;
	TimestampTz shown_pending;	/* since when something is pending, as last
								 * shown */

	/* copies that are owed: see owed.c */
	XLogRecPtr	owed_since;		/* what is shown as durable stays here;
								 * FLO_OWES_NOTHING */
	TimestampTz owed_at;		/* 0 = none */
	bool		entered;		/* it was read in this batch */
	bool		entering;		/* the first message of the generation, or of
								 * this process, is not read yet */

	/* comparisons: see compare_marker.c */
	List	   *comparers;		/* processes that compare */
	bool		compared;		/* tables of a comparison wait for the source */
	List	   *compare_unsaid; /* what the source has not heard yet */
	bool		compare_left;	/* a process has left some, and the source has
								 * not heard of it */
	FloClock	compared_looked;
	FloClock	compare_noted;

	FloTally	tally;			/* open: of the batch */
	FloClock	flushed;
	FloClock	reported;
	FloClock	advanced;
	FloClock	heard;			/* a chunk came, or the stream was verified */
} FloWorker;

#endif
