/*
 * worker.c
 *		The destination side of a group: from the stream to the sink.
 *
 *	 connect -> begin (first time) -> attach -> loop
 *
 * Chunks are processed strictly in stream order.  A batch, one transaction at
 * the destination, takes in as many complete source transactions as have
 * arrived, and is committed when it is full or the stream runs dry; a source
 * transaction is never split across two.  The commit carries the position.
 * Acknowledgements and reports follow only once it is flushed.
 *
 * Any error ends the process; the next one attaches where the position says.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/stop.h"
#include "core/trail.h"
#include "dest/consumer.h"
#include "dest/encoding.h"
#include "dest/copied.h"
#include "dest/ddl_apply.h"
#include "dest/loader.h"
#include "dest/myself.h"
#include "dest/progress.h"
#include "dest/reshape.h"
#include "dest/sequences.h"
#include "dest/tables.h"
#include "dest/worker.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "sink/sink.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* ms between two flushes of commits, acknowledgements and reports under load */
#define SETTLE_INTERVAL 100

/* ms between two reports to the state bucket */
#define REPORT_INTERVAL 500

/* ms between two commits that only move the origin along with heartbeats */
#define IDLE_ADVANCE_INTERVAL 10000

typedef struct Worker
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
	FloReshape *reshape;
	FloSink    *sink;
	FloSinkHost host;
	FloTableFilter *tables;		/* of the option; NULL = all */
	FloProgress *progress;
	MemoryContext turn;			/* reset after each chunk */

	/* changed configuration that is not in force yet */
	bool		rules_stale;
	bool		options_stale;

	/* place */
	XLogRecPtr	position;		/* all that committed at or below is in a batch or before it */
	uint64		epoch;			/* of the chunk before */
	uint64		number;
	int			encoding;

	/* the transaction being read */
	bool		in_transaction;
	bool		skipping;		/* it was applied before, or is given up */
	bool		given_up;		/* by flo.skip() */
	List	   *marker;			/* of FloCopyKey *: of a marker that was just read */
	List	   *copied;			/* of FloCopiedTable *: tables whose copy is later than the position */
	FloTransaction txn;
	int			ddl_ordinal;	/* of the DDL statement within it, from 1 */
	StringInfoData fragment;	/* of a record split over chunks */
	uint32		fragment_total; /* 0 = none */

	/* the batch: one transaction at the destination */
	bool		batch_open;
	int64		batch_changes;
	int64		batch_transactions;
	XLogRecPtr	batch_final;	/* commit LSN of the last complete source transaction in it */
	XLogRecPtr	batch_lsn;		/* last complete source transaction in it */
	TimestampTz batch_time;
	TimestampTz batch_oldest;	/* commit time of the first */
	TimestampTz batch_opened;
	XLogRecPtr	careful_until;	/* one transaction a batch, to single out one that failed */
	bool		batch_has_ddl;
	bool		rewind;			/* the place was given up: attach anew where the position says */
	bool		leave;			/* the configuration changed while waiting */

	/* committed, not known to be flushed */
	XLogRecPtr	unflushed_local;	/* end of the newest commit record; invalid = all flushed */
	uint64		unflushed_seq;	/* what may be acknowledged then */
	TimestampTz unflushed_oldest;

	/* durable */
	XLogRecPtr	durable;		/* heartbeats included */
	XLogRecPtr	origin_lsn;		/* what the origin holds on disk */
	uint64		acked_seq;
	uint64		reported_seq;
	XLogRecPtr	reported_lsn;
	XLogRecPtr	known;			/* newest LSN known from the stream */
	FloCounters counters;		/* since the last report to shared memory */
	TimestampTz settled;
	TimestampTz reported;
	TimestampTz advanced;
	TimestampTz heard;			/* a chunk came, or the stream was verified */
} Worker;

/* --- configuration ---------------------------------------------------------------- */

/* Has anything changed?  Takes in invalidations. */
static void
notice_configuration(Worker *w)
{
	if (flo_watch_changed())
		w->rules_stale = w->options_stale = true;
}

/* Between batches: rules and routes as they are now */
static void
load_rules(Worker *w)
{
	w->rules_stale = false;
	flo_reshape_load(w->reshape);
}

/*
 * Between batches.  False when the worker is no more or its options are
 * others: the launcher starts it again with them.
 */
static bool
follow_configuration(Worker *w)
{
	FloWorkerSpec *before = w->spec;

	notice_configuration(w);
	if (w->rules_stale)
		load_rules(w);
	if (!w->options_stale)
		return true;
	w->options_stale = false;
	w->spec = flo_my_spec(w->group, w->worker);
	if (w->spec == NULL || w->spec->owner != before->owner ||
		!flo_same_options(&w->spec->options, &before->options))
		return false;
	w->sink->ops->invalidate(w->sink);
	return true;
}

/* --- settling: flush, acknowledge, report -------------------------------------------- */

static void
show_state(Worker *w)
{
	FloPositions positions = {0};

	positions.received = w->position;
	positions.durable = w->durable;
	positions.known = Max(w->known, w->durable);
	positions.oldest_pending = w->unflushed_oldest != 0 ? w->unflushed_oldest : w->batch_oldest;
	flo_state_report(&positions, &w->counters);
	memset(&w->counters, 0, sizeof(w->counters));
}

/* Tell the replicator what need not be kept for us; only what the origin holds counts */
static void
report_to_bucket(Worker *w, bool wait)
{
	FloWorkerReport report = {0};
	char	   *key = flo_report_key(w->consumer_name);
	char	   *value;

	report.consumer = w->consumer_name;
	report.worker = w->worker;
	report.system_identifier = GetSystemIdentifier();
	report.database = w->database;
	strlcpy(report.generation, flo_progress_generation(w->progress), sizeof(report.generation));
	report.lsn = w->origin_lsn;
	report.seq = w->acked_seq;
	report.copying = flo_progress_copying(w->progress);
	report.copied_seq = flo_loader_floor();
	report.copy_attempt = flo_progress_copy_attempt(w->progress);
	report.at = GetCurrentTimestamp();
	value = flo_report_format(&report);
	flo_stop_point("report.before");
	flo_bucket_put(w->bus, w->bucket, key, value, wait);
	flo_stop_point("report.after");
	pfree(value);
	pfree(key);
	w->reported = report.at;
	w->reported_lsn = report.lsn;
	w->reported_seq = report.seq;
}

/* The newest LSN of the stream, as its replicator says from time to time */
static void
take_updates(Worker *w)
{
	FloBusUpdate update;

	while (flo_bus_next_update(w->bus, &update))
	{
		const char *lsn = strstr(update.data, "\"lsn\": \"");
		uint32		hi,
					lo;

		if (lsn != NULL && sscanf(lsn + strlen("\"lsn\": \""), "%X/%X", &hi, &lo) == 2)
			w->known = Max(w->known, ((uint64) hi) << 32 | lo);
		pfree(update.subject);
		pfree(update.data);
	}
}

/*
 * Take note of commits that have reached the disk, with "force" of all of
 * them.  Everything told to the outside happens here, after the flush.
 */
static void
settle(Worker *w, bool force)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!force && !TimestampDifferenceExceeds(w->settled, now, SETTLE_INTERVAL))
		return;
	w->settled = now;
	if (!XLogRecPtrIsInvalid(w->unflushed_local))
	{
		flo_stop_point("flush.before");
		XLogFlush(w->unflushed_local);
		flo_stop_point("flush.after");
		w->unflushed_local = InvalidXLogRecPtr;
		w->unflushed_oldest = 0;
		w->origin_lsn = flo_progress_position(w->progress);
		w->durable = Max(w->durable, w->origin_lsn);
		if (w->unflushed_seq > w->acked_seq)
		{
			w->acked_seq = w->unflushed_seq;
			flo_stop_point("ack.before");
			flo_consumer_ack(w->consumer, w->acked_seq);
			flo_stop_point("ack.after");
		}
	}
	take_updates(w);
	show_state(w);
	if ((w->reported_seq != w->acked_seq || w->reported_lsn != w->origin_lsn) &&
		TimestampDifferenceExceeds(w->reported, now, REPORT_INTERVAL))
		report_to_bucket(w, false);
}

/* --- positions of sinks that write elsewhere ---------------------------------------------- */

/* Synchronous: it may be told when this returns */
static void
record_position(Worker *w, XLogRecPtr position)
{
	MemoryContext old = CurrentMemoryContext;
	const FloSinkOps *ops = w->sink->ops;

	StartTransactionCommand();
	flo_progress_commit_row(w->progress, position, ops->save ? ops->save(w->sink) : NULL);
	MemoryContextSwitchTo(old);
	w->unflushed_local = XactLastCommitEnd;
}

/* For the sink, in the middle of a batch: its state moves, the position does not */
static void
host_checkpoint(void *arg)
{
	Worker	   *w = arg;

	record_position(w, flo_progress_position(w->progress));
	w->unflushed_local = InvalidXLogRecPtr;
}

/*
 * For the sink, while it waits.  The connection to the broker wants to be
 * served, or it is lost, and a new configuration may be what ends the wait:
 * the launcher starts this worker again with it.
 */
static void
host_serve(void *arg)
{
	Worker	   *w = arg;

	flo_check_interrupts();
	flo_bus_pump(w->bus);
	take_updates(w);
	show_state(w);
	if (!follow_configuration(w))
		proc_exit(0);
}

static void
open_sink(Worker *w)
{
	const FloSinkOps *ops = flo_sink_ops(w->spec->sink);

	w->host.arg = w;
	w->host.serve = host_serve;
	w->host.checkpoint = host_checkpoint;
	w->sink = ops->open(w->spec, &w->counters, flo_progress_sink_state(w->progress), &w->host);
	if (ops->save != NULL)
		host_checkpoint(w);
}

/* --- the batch ------------------------------------------------------------------------- */

/*
 * Is the batch large enough?  For a sink that writes elsewhere a commit is
 * one wait for the disk or two, so time counts as well as rows.
 */
static bool
batch_is_full(Worker *w)
{
	if (w->batch_changes >= w->spec->options.batch_size)
		return true;
	return !w->sink->ops->transactional &&
		TimestampDifferenceExceeds(w->batch_opened, GetCurrentTimestamp(), SETTLE_INTERVAL);
}

static void
open_batch(Worker *w)
{
	MemoryContext old = CurrentMemoryContext;

	if (w->sink->ops->transactional)
		StartTransactionCommand();
	w->sink->ops->begin(w->sink);
	w->batch_opened = GetCurrentTimestamp();
	w->batch_open = true;
	w->batch_has_ddl = false;
	w->batch_changes = 0;
	w->batch_transactions = 0;
	w->batch_lsn = InvalidXLogRecPtr;
	w->batch_oldest = 0;
	MemoryContextSwitchTo(old);
}

/* Everything up to "done_seq" is contained in this batch and those before */
static void
commit_batch(Worker *w, uint64 done_seq)
{
	MemoryContext old = CurrentMemoryContext;
	bool		final = flo_errors_are_final;

	/*
	 * What is noticed only now may be the fault of any transaction of the
	 * batch: the next attempt, one transaction at a time, finds out.
	 */
	flo_trail_clear();
	flo_trail.commit_lsn = w->batch_final;
	flo_trail.operation = "COMMIT";
	flo_errors_are_final = final && w->batch_transactions == 1;
	w->sink->ops->finish(w->sink);
	flo_stop_point("commit.before");
	if (w->sink->ops->transactional)
		w->unflushed_local = flo_progress_commit(w->progress, w->batch_lsn, w->batch_time);
	else
		record_position(w, w->batch_lsn);
	flo_stop_point("commit.after");
	MemoryContextSwitchTo(old);
	w->unflushed_seq = done_seq;
	if (w->unflushed_oldest == 0)
		w->unflushed_oldest = w->batch_oldest;
	w->batch_open = false;
	w->batch_oldest = 0;
	flo_errors_are_final = final;
	flo_trail_clear();
	settle(w, false);
}

/* The half of a transaction whose end will never come: the source sends it again */
static void
drop_half(Worker *w)
{
	MemoryContext old = CurrentMemoryContext;

	if (!w->in_transaction)
		return;
	w->in_transaction = false;
	w->fragment_total = 0;
	flo_trail_clear();
	if (w->skipping || !w->batch_open)
		return;
	Assert(XLogRecPtrIsInvalid(w->batch_lsn));
	w->sink->ops->abort(w->sink);
	if (w->sink->ops->transactional)
		AbortCurrentTransaction();

	/* what was to be kept of tables went with the transaction */
	load_rules(w);
	MemoryContextSwitchTo(old);
	w->batch_open = false;
	w->batch_oldest = 0;
}

/* --- messages --------------------------------------------------------------------------- */

/*
 * A transaction begins.  If its end is not in this chunk, what is complete is
 * committed first: should the rest never come, only the half is undone.
 */
static void
begin_transaction(Worker *w, const FloChange *begin, const FloChunk *chunk)
{
	w->in_transaction = true;
	w->ddl_ordinal = 0;
	w->given_up = begin->final_lsn == flo_progress_skip(w->progress);
	w->skipping = w->given_up || begin->final_lsn < w->position;
	if (w->skipping)
		return;
	memset(&w->txn, 0, sizeof(w->txn));
	w->txn.final_lsn = begin->final_lsn;
	w->txn.commit_time = begin->commit_time;
	w->txn.xid = begin->xid;
	notice_configuration(w);
	if (w->batch_open && (w->rules_stale || begin->final_lsn >= chunk->header.upto ||
						  begin->final_lsn <= w->careful_until))
		commit_batch(w, chunk->seq - 1);
	if (w->rules_stale)
		load_rules(w);
	if (!w->batch_open)
		open_batch(w);
	if (w->batch_oldest == 0)
		w->batch_oldest = begin->commit_time;
	flo_trail.commit_lsn = begin->final_lsn;
}

/*
 * The end of a transaction that flo.skip() named: nothing of it is applied, and
 * the position moves past it together with the end of that order.
 */
static void
give_up(Worker *w, const FloChange *commit, const FloChunk *chunk)
{
	MemoryContext old = CurrentMemoryContext;
	XLogRecPtr	lsn = flo_progress_skip(w->progress);

	if (w->batch_open)
		commit_batch(w, chunk->seq - 1);
	StartTransactionCommand();
	flo_progress_clear_skip(w->progress);
	if (w->sink->ops->transactional)
		w->unflushed_local = flo_progress_commit(w->progress, commit->end_lsn, commit->commit_time);
	else
	{
		CommitTransactionCommand();
		record_position(w, commit->end_lsn);
	}
	MemoryContextSwitchTo(old);
	w->unflushed_seq = Max(w->unflushed_seq, chunk->seq - 1);
	w->position = commit->end_lsn;
	ereport(LOG,
			(errmsg("skipped the transaction at %X/%X, as told by flo.skip()", LSN_FORMAT_ARGS(lsn))));
}

static void
end_transaction(Worker *w, const FloChange *commit, const FloChunk *chunk)
{
	w->in_transaction = false;
	if (w->given_up && commit->end_lsn > w->position)
		give_up(w, commit, chunk);
	if (w->skipping)
		return;
	w->batch_transactions++;
	w->batch_lsn = commit->end_lsn;
	w->batch_final = w->txn.final_lsn;
	w->batch_time = commit->commit_time;
	w->position = commit->end_lsn;
	w->counters.transactions++;
	flo_trail_clear();

	/* rows after it may need what DDL has committed: a new value of an enum does */
	if (w->batch_has_ddl || batch_is_full(w))
		commit_batch(w, chunk->seq - 1);
}

/* --- DDL --------------------------------------------------------------------------------- */

/* Undo the batch and go back to the last commit; the stream is read again from there */
static void
rewind_batch(Worker *w)
{
	MemoryContext old = CurrentMemoryContext;

	if (w->batch_open)
	{
		w->sink->ops->abort(w->sink);
		AbortCurrentTransaction();
		MemoryContextSwitchTo(old);
	}
	w->batch_open = false;
	w->batch_oldest = 0;
	w->in_transaction = false;
	w->fragment_total = 0;
	w->position = flo_progress_position(w->progress);
	w->rewind = true;
	flo_consumer_rewind(w->consumer);
	flo_trail_clear();
}

/* In a transaction of its own: record that the statement waits for a person; its number */
static int64
record_held(Worker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, const char *reason)
{
	MemoryContext old = CurrentMemoryContext;
	int64		id = 0;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ForceSyncCommit();
	if (flo_ddl_decision(place, &id) == FLO_DDL_NOT_HELD)
		id = flo_ddl_hold(place, ddl->tag, ddl->text, reason);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return id;
}

static bool
is_decided(const FloDdlPlace *place)
{
	MemoryContext old = CurrentMemoryContext;
	FloDdlDecision decision;
	int64		id;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	decision = flo_ddl_decision(place, &id);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return decision != FLO_DDL_UNDECIDED;
}

/*
 * Wait until a person has decided.  Complete transactions before this one are
 * committed first, which takes another look at them; then nothing is open
 * while we wait, and the transaction is read again once the decision is there.
 */
static void
hold_ddl(Worker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, const char *reason)
{
	int64		id;

	if (!XLogRecPtrIsInvalid(w->batch_lsn))
	{
		w->careful_until = Max(w->careful_until, w->txn.final_lsn);
		rewind_batch(w);
		return;
	}
	rewind_batch(w);
	id = record_held(w, place, ddl, reason);
	settle(w, true);
	while (!is_decided(place))
	{
		flo_state_set(FLO_STATE_WAITING, "for flo.release_ddl(" INT64_FORMAT ") or flo.skip_ddl(" INT64_FORMAT "): %s: %s",
					  id, id, ddl->tag, reason);
		flo_bus_wait(w->bus, 1000);
		flo_check_interrupts();
		settle(w, false);
		if (!follow_configuration(w))
		{
			w->leave = true;
			return;
		}
	}
}

/*
 * What cannot run in a transaction block stands alone in its transaction.  The
 * batch before it is committed, so that the position is just before it; then
 * it is run, and is noted when its transaction is.
 */
static void
apply_between_batches(Worker *w, const FloDdlStatement *ddl, const FloChunk *chunk)
{
	MemoryContext old = CurrentMemoryContext;

	if (!XLogRecPtrIsInvalid(w->batch_lsn))
		commit_batch(w, chunk->seq - 1);
	else
	{
		w->sink->ops->abort(w->sink);
		AbortCurrentTransaction();
		MemoryContextSwitchTo(old);
		w->batch_open = false;
	}
	flo_trail.commit_lsn = w->txn.final_lsn;
	flo_ddl_apply_concurrent(ddl, w->spec->owner, w->reshape);
	open_batch(w);
	w->batch_oldest = w->txn.commit_time;
}

/* Decide what becomes of a statement, and do it */
static void
apply_ddl(Worker *w, const FloDdlStatement *ddl, const FloChunk *chunk)
{
	FloDdl		option = w->spec->options.ddl;
	FloDdlPlace place = {w->group, w->worker, w->txn.final_lsn, ++w->ddl_ordinal, w->txn.commit_time};
	FloDdlDecision decision;
	int64		id;
	char	   *reason = NULL;

	decision = flo_ddl_decision(&place, &id);
	w->batch_has_ddl = true;
	if (decision == FLO_DDL_SKIPPED)
		flo_ddl_note_outcome(&place, ddl, "skipped", "flo.skip_ddl() was called");
	else if (option == FLO_DDL_IGNORE && decision != FLO_DDL_RELEASED)
		flo_ddl_note_outcome(&place, ddl, "ignored", "the worker's option ddl is ignore");
	else if (option == FLO_DDL_HOLD && decision != FLO_DDL_RELEASED)
		reason = "the worker's option ddl is hold";
	else if (ddl->concurrent)
	{
		apply_between_batches(w, ddl, chunk);
		flo_ddl_note_outcome(&place, ddl, "applied", NULL);
		w->batch_has_ddl = true;
	}
	else
		reason = flo_ddl_apply(&place, ddl, w->spec->owner, w->reshape,
							   decision != FLO_DDL_RELEASED);
	if (reason != NULL)
		hold_ddl(w, &place, ddl, reason);
}

/*
 * A database runs DDL where it stands among the rows; events tell of it once
 * it has happened, with the tables' new definitions.
 */
static void
process_ddl(Worker *w, const FloChange *change, const FloChunk *chunk)
{
	FloDdlStatement *ddl;
	FloChange	about = *change;
	FloRelation relation = {0};
	static uint64 version = 0;
	char	   *content = pnstrdup(change->content, change->content_len);

	w->txn.ordinal++;
	ddl = flo_ddl_parse(pg_any_to_server(content, strlen(content), w->encoding));
	if (ddl->phase == (w->sink->ops->transactional ? FLO_DDL_AFTER : FLO_DDL_BEFORE))
		return;
	if (ddl->objects != NIL)
	{
		FloDdlObject *object = linitial(ddl->objects);

		relation.schema = object->schema;
		relation.name = object->name;
	}
	if (relation.schema == NULL)
		relation.schema = "";
	if (relation.name == NULL)
		relation.name = "";
	relation.version = ++version;	/* as good as another table */
	about.relation = &relation;
	if (flo_table_filter(w->tables, &about) == NULL)
	{
		w->counters.filtered++;
		return;
	}
	w->batch_changes++;

	/* an event; or, for a database, the sign that what was gathered comes before */
	w->sink->ops->change(w->sink, &w->txn, &about);
	if (w->sink->ops->transactional)
		apply_ddl(w, ddl, chunk);
}

/* A row or a TRUNCATE: rules and routes, then the sink */
static void
apply_change(Worker *w, const FloChange *change)
{
	w->txn.ordinal++;
	change = flo_table_filter(w->tables, change);
	if (change == NULL)
	{
		w->counters.filtered++;
		return;
	}
	w->batch_changes++;
	change = flo_copied_leave_out(w->copied, w->txn.final_lsn, change);
	if (change != NULL)
		change = flo_reshape_apply(w->reshape, change, &w->counters);
	if (change != NULL)
		w->sink->ops->change(w->sink, &w->txn, change);
}

/* What pg_flo itself says in the stream: values of sequences.  Event sinks have no use for them. */
static void
take_message(Worker *w, const FloChange *message)
{
	if (w->sink->ops->transactional && strcmp(message->prefix, FLO_MESSAGE_PREFIX) == 0)
		flo_sequences_set(w->spec, message->content, message->content_len);
}

static void
process_message(Worker *w, char *data, uint32 len, const FloChunk *chunk)
{
	const FloChange *change;

	/* rows of a transaction applied before need not even be looked at */
	if (w->in_transaction && w->skipping && strchr("IUDT", data[0]) != NULL)
		return;
	change = flo_change_parse(w->parser, data, len);
	switch (change->op)
	{
		case FLO_OP_BEGIN:
			begin_transaction(w, change, chunk);
			break;
		case FLO_OP_COMMIT:
			end_transaction(w, change, chunk);
			break;
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
		case FLO_OP_TRUNCATE:
			if (!w->in_transaction)
				ereport(ERROR,
						(errcode(ERRCODE_PROTOCOL_VIOLATION),
						 errmsg("a change stands outside a transaction in message " UINT64_FORMAT " of stream \"%s\"",
								chunk->seq, w->stream)));
			flo_stop_point("apply.before");
			apply_change(w, change);
			flo_stop_point("apply.after");
			break;
		case FLO_OP_MESSAGE:
			if (!w->in_transaction || w->skipping)
				break;
			if (strcmp(change->prefix, FLO_DDL_PREFIX) == 0)
				process_ddl(w, change, chunk);
			else
				take_message(w, change);
			break;
		case FLO_OP_ORIGIN:
		case FLO_OP_RELATION:
		case FLO_OP_TYPE:
			break;
	}
}

/* --- chunks ---------------------------------------------------------------------------------- */

/* More bytes of a record that began in an earlier chunk */
static void
collect_fragment(Worker *w, const char *data, uint32 len, const FloChunk *chunk)
{
	/* one byte more, for the parser's use */
	enlargeStringInfo(&w->fragment, len + 1);
	appendBinaryStringInfo(&w->fragment, data, len);
	if ((uint32) w->fragment.len < w->fragment_total)
		return;
	process_message(w, w->fragment.data, w->fragment_total, chunk);
	w->fragment_total = 0;

	/* do not keep the memory of a huge row */
	if (w->fragment.maxlen > 1024 * 1024)
	{
		pfree(w->fragment.data);
		initStringInfo(&w->fragment);
	}
}

static void
begin_fragment(Worker *w, const char *data, uint32 len, uint32 total, const FloChunk *chunk)
{
	if (total > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record of %u bytes is larger than this server can take", total)));
	resetStringInfo(&w->fragment);
	w->fragment_total = total;
	collect_fragment(w, data, len, chunk);
}

/* Does the chunk go on where the one before ended? */
static bool
links(Worker *w, const FloChunkHeader *header)
{
	if (header->from > w->position)
		return false;
	if (!(header->flags & FLO_CHUNK_STARTS_INSIDE))
		return true;
	return w->in_transaction && header->epoch == w->epoch && header->number == w->number + 1;
}

static void
process_records(Worker *w, FloChunk *chunk)
{
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;

	flo_chunk_read(&reader, chunk->data, chunk->len);
	if (w->fragment_total > 0)
	{
		len = flo_chunk_take_raw(&reader, w->fragment_total - w->fragment.len, &data);
		collect_fragment(w, data, len, chunk);
	}
	while (!w->rewind && flo_chunk_next(&reader, &data, &len, &total))
	{
		if (len < total)
			begin_fragment(w, data, len, total, chunk);
		else
			process_message(w, unconstify(char *, data), len, chunk);
	}
}

/* Does the source say that this generation of its slot follows the one we know? */
static bool
is_announced(Worker *w, const FloChunkHeader *header)
{
	char	   *text = flo_bucket_get(w->bus, w->bucket, FLO_GENERATION_KEY);
	FloJson		json;
	char	   *generation;
	char	   *follows;

	if (text == NULL)
		return false;
	json = flo_json(text, strlen(text));
	generation = flo_json_get_string(json, "generation");
	follows = flo_json_get_string(json, "follows");
	return generation != NULL && follows != NULL &&
		strcmp(generation, DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&header->generation)))) == 0 &&
		strcmp(follows, flo_progress_generation(w->progress)) == 0;
}

/*
 * The source has begun anew and given up what lies between: go on with it.
 * False when the chunk is of the generation followed so far; fails for good
 * when nothing says that we may follow this one.
 */
static bool
follow_generation(Worker *w, const FloChunkHeader *header)
{
	if (flo_progress_is_of(w->progress, header))
		return false;
	if (!flo_progress_may_follow(w->progress, header) || !is_announced(w, header))
		flo_progress_check_source(w->progress, header);
	drop_half(w);
	if (w->batch_open)
		commit_batch(w, w->unflushed_seq);
	settle(w, true);
	ereport(LOG,
			(errmsg("the source began anew at %X/%X: what it committed after %X/%X is given up here",
					LSN_FORMAT_ARGS(header->generation_start), LSN_FORMAT_ARGS(w->position))));
	flo_progress_follow(w->progress, header);
	w->position = w->durable = w->origin_lsn = flo_progress_position(w->progress);
	w->known = w->position;
	w->acked_seq = w->unflushed_seq = 0;
	report_to_bucket(w, true);
	return true;
}

static void
read_marker(Worker *w, const FloChunk *chunk)
{
	FloChunkReader reader;
	FloCopyKey	key;
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));

	flo_chunk_read(&reader, chunk->data, chunk->len);
	while (flo_chunk_next_copy_key(&reader, &key))
	{
		FloCopyKey *copy = palloc(sizeof(FloCopyKey));

		*copy = key;
		w->marker = lappend(w->marker, copy);
	}
	MemoryContextSwitchTo(old);
}

/* False when the chunk does not link: the place has to be found anew */
static bool
process_chunk(Worker *w, FloChunk *chunk)
{
	const FloChunkHeader *header = &chunk->header;
	MemoryContext old;

	if (follow_generation(w, header) || !links(w, header))
		return false;
	w->known = Max(w->known, header->position);
	if (w->in_transaction && !(header->flags & FLO_CHUNK_STARTS_INSIDE))
		drop_half(w);
	if (header->encoding != w->encoding)
	{
		w->encoding = header->encoding;
		flo_follow_encoding(w->parser, w->encoding);
	}
	old = MemoryContextSwitchTo(w->turn);
	if (header->flags & FLO_CHUNK_MARKER)
		read_marker(w, chunk);
	else
		process_records(w, chunk);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->turn);
	if (w->rewind)
		return false;

	w->epoch = header->epoch;
	w->number = header->number;
	w->position = Max(w->position, header->position);
	w->counters.bytes += chunk->len;
	return true;
}

/*
 * The stream has run dry between transactions: everything read is committed,
 * flushed and told.  What heartbeats say is durable by then, too.
 */
static void
run_dry(Worker *w, uint64 done_seq)
{
	if (w->in_transaction)
	{
		settle(w, false);
		return;
	}
	if (w->batch_open)
		commit_batch(w, done_seq);
	else if (XLogRecPtrIsInvalid(w->unflushed_local) && done_seq > w->acked_seq)
	{
		w->acked_seq = done_seq;
		flo_consumer_ack(w->consumer, done_seq);
	}
	if (!XLogRecPtrIsInvalid(w->unflushed_local))
	{
		w->unflushed_seq = Max(w->unflushed_seq, done_seq);
		settle(w, true);
	}
	w->durable = Max(w->durable, w->position);
	show_state(w);
}

/* An idle group's position is kept in the origin as well, at a price of one commit now and then */
static void
advance_when_idle(Worker *w)
{
	TimestampTz now = GetCurrentTimestamp();

	if (w->in_transaction || w->batch_open ||
		w->position <= flo_progress_position(w->progress) ||
		!TimestampDifferenceExceeds(w->advanced, now, IDLE_ADVANCE_INTERVAL))
		return;
	w->advanced = now;
	if (w->sink->ops->transactional)
	{
		StartTransactionCommand();
		w->unflushed_local = flo_progress_commit(w->progress, w->position, now);
	}
	else
		record_position(w, w->position);
	w->unflushed_seq = w->acked_seq;
	settle(w, true);
}

/* --- starting --------------------------------------------------------------------------------- */

/*
 * The first start of this worker: which source is it, and from where on?
 * Waits until the stream has its first chunk.
 */
static void
begin_following(Worker *w)
{
	FloChunkHeader header;
	XLogRecPtr	start;
	bool		copying;

	if (flo_bucket_get(w->bus, w->bucket, flo_report_key(w->consumer_name)) != NULL)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "The destination was restored to an earlier state, or the worker dropped without the broker. Where a start from the beginning is right, remove the registration with flo.drop_consumer().",
				 "consumer \"%s\" is registered, but its position is not known here", w->consumer_name);
	while (!flo_consumer_first(w->consumer, &header))
	{
		flo_state_set(FLO_STATE_WAITING, "for stream \"%s\": the group's replicator has published nothing yet", w->stream);
		flo_bus_wait(w->bus, 1000);
	}
	start = header.generation_start;
	copying = (header.flags & FLO_CHUNK_COPIED) && w->spec->options.start == FLO_START_COPY;
	if (w->spec->options.start == FLO_START_EARLIEST)
		start = Max(start, header.from);
	if (w->spec->options.start == FLO_START_LATEST && flo_consumer_newest(w->consumer, &header))
		start = header.position;
	else if (header.from > start)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "Other workers have consumed it already; create the worker with start => latest, or start over with flo.resync() at the source.",
				 "history purged: the stream begins after %X/%X, the group at %X/%X",
				 LSN_FORMAT_ARGS(header.from), LSN_FORMAT_ARGS(start));
	flo_progress_begin(w->progress, &header, start, copying);
}

static void
keep_registered(void *arg)
{
	report_to_bucket(arg, false);
}

/* Tables whose snapshot is later than where the stream is now */
static void
remember_copied(Worker *w)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(old);
	w->copied = NIL;
	foreach(cell, flo_copied_tables(w->group, w->worker))
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->lsn > w->position)
			w->copied = lappend(w->copied, table);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
}

/* The copy that the generation begins with */
static void
take_copy(Worker *w)
{
	if (flo_progress_copying(w->progress))
	{
		report_to_bucket(w, true);
		flo_loader_receive(w->bus, w->spec, w->consumer_name,
						   flo_progress_generation(w->progress), NIL, keep_registered, w);
		flo_progress_copied(w->progress);
		report_to_bucket(w, true);
	}
	remember_copied(w);
}

/*
 * A marker: from here on the stream needs tables that are copied just now.
 * A worker that begins again finds the marker again, and its tables in: false
 * then, since no time was spent away from the stream.
 */
static bool
take_marked_copy(Worker *w)
{
	MemoryContext old = CurrentMemoryContext;
	List	   *keys = w->marker;
	uint32		attempt = ((FloCopyKey *) linitial(keys))->attempt;
	ListCell   *cell;

	w->marker = NIL;
	if (attempt <= flo_progress_copy_attempt(w->progress))
		return false;
	if (!w->sink->ops->transactional)
	{
		/* events of a table's rows as they stood when it was added are not asked for */
		flo_progress_set_copy_attempt(w->progress, attempt);
		report_to_bucket(w, true);
		return false;
	}
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(cell, keys)
	{
		FloCopyKey *key = lfirst(cell);

		if (key->rows > 0)
			flo_copied_expect_again(w->group, w->worker, key->relation);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	flo_loader_receive(w->bus, w->spec, w->consumer_name, flo_progress_generation(w->progress),
					   keys, keep_registered, w);
	flo_progress_set_copy_attempt(w->progress, attempt);
	report_to_bucket(w, true);
	remember_copied(w);
	return true;
}

/* Does the generation end with its copy? */
static bool
copy_only(Worker *w)
{
	FloChunkHeader header;

	return flo_consumer_first(w->consumer, &header) && (header.flags & FLO_CHUNK_COPY_ONLY);
}

/* Mode copy: there is nothing to follow */
static void
rest(Worker *w)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ForceSyncCommit();
	flo_store_stop_member(w->group, w->worker);
	PopActiveSnapshot();
	(void) flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_me->wanted = false;
	LWLockRelease(flo_shared->lock);
	show_state(w);
}

/*
 * All that was read, heartbeats included, is made durable and told: a source
 * whose stream has lost its end goes by what the workers report, and the bucket
 * with their reports may have lost its end as well.
 */
static void
keep_position(Worker *w)
{
	if (w->position > flo_progress_position(w->progress))
	{
		if (w->sink->ops->transactional)
		{
			StartTransactionCommand();
			w->unflushed_local = flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
		}
		else
			record_position(w, w->position);
	}
	settle(w, true);
	report_to_bucket(w, true);
}

/* Also called when the place in the stream was lost */
static void
attach(Worker *w, uint64 hint)
{
	drop_half(w);
	if (w->batch_open)
		commit_batch(w, w->unflushed_seq);
	keep_position(w);
	flo_consumer_set_generation(w->consumer, flo_progress_generation_id(w->progress));
	while (!flo_consumer_attach(w->consumer, w->position, hint))
	{
		flo_state_set(FLO_STATE_WAITING, "for stream \"%s\", which does not exist", w->stream);
		flo_bus_wait(w->bus, 1000);
	}

	/* in a stream that went back, what was acknowledged before is to come again */
	w->acked_seq = Min(w->acked_seq, flo_consumer_start(w->consumer) - 1);
	w->unflushed_seq = Min(w->unflushed_seq, w->acked_seq);
	w->heard = GetCurrentTimestamp();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* Where the last process of this worker had got to, as a hint */
static uint64
last_seq_reported(Worker *w)
{
	char	   *key = flo_report_key(w->consumer_name);
	char	   *value = flo_bucket_get(w->bus, w->bucket, key);
	FloWorkerReport report;

	if (value == NULL || !flo_report_parse(key, value, &report))
		return 0;
	return report.seq;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void
loop(Worker *w)
{
	uint64		done_seq = 0;

	for (;;)
	{
		FloChunk	chunk;
		FloTake		took;
		bool		linked = true;

		flo_check_interrupts();
		flo_stop_point("fetch.before");
		took = flo_consumer_take(w->consumer, &chunk);
		if (took == FLO_TAKE_CHUNK)
		{
			flo_stop_point("fetch.after");
			linked = process_chunk(w, &chunk);
			flo_consumer_release(w->consumer, &chunk);
			if (linked)
			{
				w->heard = GetCurrentTimestamp();
				if (!w->in_transaction)
					done_seq = chunk.seq;
				settle(w, false);
				if (w->marker != NIL)
				{
					run_dry(w, done_seq);
					if (take_marked_copy(w))
						attach(w, done_seq);
				}
				flo_bus_pump(w->bus);
				/* under load the stream never runs dry */
				if (!w->options_stale || w->in_transaction)
					continue;
			}
		}
		if (w->leave)
			return;
		if (took == FLO_TAKE_LOST || !linked)
		{
			w->rewind = false;
			attach(w, 0);
			done_seq = 0;
			continue;
		}
		run_dry(w, done_seq);
		advance_when_idle(w);
		if (!w->in_transaction && w->sink->ops->idle != NULL)
			w->sink->ops->idle(w->sink);
		if (!w->in_transaction && !follow_configuration(w))
			return;
		if (TimestampDifferenceExceeds(w->heard, GetCurrentTimestamp(), Max(flo_heartbeat_interval, 1000)))
		{
			w->heard = GetCurrentTimestamp();
			if (!flo_consumer_verify(w->consumer))
			{
				attach(w, 0);
				done_seq = 0;
				continue;
			}
		}
		settle(w, false);
		flo_bus_wait(w->bus, 1000);
	}
}

void
flo_worker_run(void)
{
	Worker	   *w = palloc0(sizeof(Worker));

	w->group = flo_me->group;
	w->worker = flo_me->member;
	w->stream = flo_name_stream(w->group);
	w->bucket = flo_name_bucket(w->group);
	w->consumer_name = flo_name_consumer(w->group, w->worker, GetSystemIdentifier(), MyDatabaseId);
	w->encoding = -1;
	w->careful_until = flo_me->last_error_lsn;
	w->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	w->parser = flo_change_parser_create(CurrentMemoryContext);
	initStringInfo(&w->fragment);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	w->spec = flo_my_spec(w->group, w->worker);
	if (w->spec == NULL)
		return;
	flo_errors_are_final = w->spec->options.on_error == FLO_ON_ERROR_STOP;
	w->database = flo_my_database();
	w->progress = flo_progress_open(w->group, w->worker, w->spec->sink != FLO_SINK_POSTGRES);
	if (w->spec->options.tables != NULL)
		w->tables = flo_table_filter_create(CurrentMemoryContext, w->spec->options.tables);
	w->bus = flo_bus_await(psprintf("pg_flo worker %s %s", w->group, w->worker));
	w->consumer = flo_consumer_open(w->bus, w->stream, w->consumer_name);
	if (!flo_progress_known(w->progress))
		begin_following(w);
	w->reshape = flo_reshape_open(w->spec, flo_progress_generation(w->progress));
	w->position = w->durable = w->origin_lsn = flo_progress_position(w->progress);
	flo_bucket_create(w->bus, w->bucket, flo_stream_replicas);
	flo_bus_watch(w->bus, psprintf("$KV.%s.source", w->bucket));
	take_copy(w);
	open_sink(w);
	if (copy_only(w))
	{
		rest(w);
		return;
	}
	attach(w, last_seq_reported(w));
	loop(w);
}
