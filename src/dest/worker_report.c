/*
 * worker_report.c
 *		What a worker tells of itself: to shared memory, to the state bucket, and
 *		to the broker.
 *
 * Everything told to the outside happens after the flush of what it is about.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/owner.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/consumer.h"
#include "dest/copy_loader.h"
#include "dest/foreign_keys.h"
#include "dest/owed.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_report.h"
#include "dest/worker_source.h"
#include "dest/worker_state.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/compressed.h"

/* ms between two reports to the state bucket */
#define REPORT_INTERVAL 500

/*
 * The same when there is nothing new to tell.  A broker that is full stores no
 * report, and a source that begins anew knows only what is stored.
 */
#define REPORT_AGAIN 3000

/* ms between two looks how far the stream goes while nothing is taken from it */
#define LOOK_INTERVAL 2000

/* --- flush, acknowledge, report ------------------------------------------ */

void
flo_worker_show_state(FloWorker *w)
{
	FloPositions positions = {0};

	positions.received = w->position;
	positions.durable = flo_owed_durable(w);
	positions.known = Max(w->known, w->durable);
	positions.oldest_pending = w->shown_pending = flo_worker_pending_since(w);
	positions.source_seen = w->source.seen;
	positions.pending_bytes = flo_worker_pending_bytes(w);
	positions.open_bytes = flo_pieces_bytes(w->pieces);
	positions.seq = w->acked_seq;
	flo_state_report(&positions);
}

void
flo_worker_show_pending(FloWorker *w)
{
	w->shown_pending = flo_worker_pending_since(w);
	flo_state_pending(w->shown_pending, w->source.seen, flo_worker_pending_bytes(w));
}

const FloDueBackfill *
flo_worker_due_backfill(const FloWorker *w)
{
	return w->due != NULL &&
		strcmp(w->due->generation, flo_progress_generation(w->progress)) == 0 ? w->due : NULL;
}

/*
 * Tell the replicator what need not be kept for us; only what the origin holds
 * counts.  It hears that also when the broker has no room to store it, or for the
 * bucket: what is told may be what makes some.
 */
void
flo_worker_report_to_bucket(FloWorker *w, bool wait)
{
	MemoryContext old = MemoryContextSwitchTo(w->broker_context);
	FloWorkerReport report = {0};
	const FloDueBackfill *due = flo_worker_due_backfill(w);
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
	report.awaits_resync = w->awaits_resync;
	report.missing_chunks = w->missing_chunks.relation;
	report.missing_attempt = w->missing_chunks.attempt;
	report.backfills = !flo_sink_ops(w->spec->sink)->transactional;
	if (due != NULL && due->over)
	{
		report.backfilled = due->attempt;
		report.left_out = due->left_out;
	}
	if (due != NULL && w->backfilling)
	{
		report.backfilling = due->attempt;
		report.backfill_seq = flo_dest_copy_floor();
	}
	else
		report.copied_seq = flo_dest_copy_floor();
	report.copy_attempt = flo_progress_copy_attempt(w->progress);
	report.compares = w->spec->sink == FLO_SINK_POSTGRES;
	report.pieces = true;
	report.pglz = FLO_METHODS_HERE & FLO_METHOD_PGLZ;
	report.lz4 = FLO_METHODS_HERE & FLO_METHOD_LZ4;
	report.lz4_chunks = true;
	report.at = GetCurrentTimestamp();
	value = flo_report_format(&report);
	flo_injection_point("report.before");
	/* what is published to one that was removed is not answered */
	if (wait || w->no_bucket)
		w->no_bucket = !flo_bucket_try_create(w->bus, w->bucket, flo_stream_replicas);
	if (!wait || w->no_bucket)
		flo_bucket_put(w->bus, w->bucket, key, value, false);
	else if (!flo_bucket_try_put(w->bus, w->bucket, key, value))
	{
		w->no_bucket = true;	/* or full: the next report looks */
		ereport(LOG,
				(errmsg("the broker has not stored what worker \"%s\" of group \"%s\" reports: it goes on, and says it again",
						w->worker, w->group)));
	}
	flo_injection_point("report.after");
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
	w->reported = flo_clock();
	w->reported_lsn = report.lsn;
	w->reported_seq = report.seq;
}

static bool
on_disk(XLogRecPtr commit)
{
	return GetFlushRecPtr(NULL) >= commit;
}

/* Is it time to wait for the disk?  Not as long as the WAL writer sees to it */
static bool
wait_is_due(const FloWorker *w)
{
	return flo_state_awaited() || flo_clock_passed(w->flushed, FLO_FLUSH_PATIENCE);
}

/* Is it time for another round?  A commit that others have flushed costs no waiting */
static bool
flush_is_due(const FloWorker *w)
{
	if (!flo_clock_passed(w->flushed, FLO_DRY_FLUSH_INTERVAL))
		return false;
	if (XLogRecPtrIsInvalid(w->unflushed_local))
		return flo_clock_passed(w->flushed, FLO_FLUSH_INTERVAL);
	return on_disk(w->earlier.local) || wait_is_due(w);
}

static FloCommitted
committed_now(const FloWorker *w)
{
	FloCommitted now = {
		.local = w->unflushed_local,
		.position = flo_progress_position(w->progress),
		.seq = w->unflushed_seq,
		.batches = w->batches - w->batch_open
	};

	return now;
}

/* Commits of this server are on its disk, and may be told */
static void
note_durable(FloWorker *w, const FloCommitted *c)
{
	flo_commits_durable(&w->commits, c->batches, &w->tally.histograms);
	w->origin_lsn = c->position;
	w->durable = Max(w->durable, w->origin_lsn);
	if (c->seq <= w->acked_seq)
		return;
	w->acked_seq = c->seq;
	flo_injection_point("ack.before");
	flo_consumer_ack(w->consumer, w->acked_seq);
	flo_injection_point("ack.after");
}

/*
 * While more and more is committed the newest is never on disk.  So what was there at an
 * earlier look is told when that is, and the rest becomes what is looked at next.
 */
static void
note_earlier(FloWorker *w)
{
	FloCommitted earlier = w->earlier;

	w->earlier = committed_now(w);
	w->unflushed_oldest = earlier.later;
	note_durable(w, &earlier);
}

static void
flush_all(FloWorker *w)
{
	FloCommitted now = committed_now(w);

	flo_injection_point("flush.before");
	XLogFlush(w->unflushed_local);
	flo_injection_point("flush.after");
	w->unflushed_local = w->earlier.local = InvalidXLogRecPtr;
	w->unflushed_oldest = 0;
	note_durable(w, &now);
}

/*
 * Take note of commits that have reached the disk, with "force" of all of
 * them.  Everything told to the outside happens here, after the flush.
 */
void
flo_worker_flush(FloWorker *w, bool force)
{
	bool		news;

	if (XLogRecPtrIsInvalid(w->earlier.local))
		w->earlier = committed_now(w);
	if (!force && !flush_is_due(w))
		return;
	if (!XLogRecPtrIsInvalid(w->unflushed_local))
	{
		if (force || on_disk(w->unflushed_local) || wait_is_due(w))
			flush_all(w);
		else
			note_earlier(w);
	}
	w->flushed = flo_clock();
	flo_worker_take_updates(w);
	flo_worker_show_state(w);
	news = w->reported_seq != w->acked_seq || w->reported_lsn != w->origin_lsn;
	if ((news && flo_worker_source_stops(w)) ||
		flo_clock_passed(w->reported, news ? REPORT_INTERVAL : REPORT_AGAIN))
		flo_worker_report_to_bucket(w, false);
}

/* --- positions of sinks that write elsewhere ----------------------------- */

/* Synchronous: it may be told when this returns */
void
flo_worker_record_position(FloWorker *w, XLogRecPtr position)
{
	MemoryContext old = CurrentMemoryContext;
	const FloSinkOps *ops = w->sink->ops;

	flo_transaction_start();
	flo_progress_commit_row(w->progress, position, ops->save ? ops->save(w->sink) : NULL);
	MemoryContextSwitchTo(old);
	w->unflushed_local = XactLastCommitEnd;
}

/* For the sink, in the middle of a batch: its state moves, the position does not */
static void
host_checkpoint(void *arg)
{
	FloWorker  *w = arg;

	flo_worker_record_position(w, flo_progress_position(w->progress));
	w->unflushed_local = w->earlier.local = InvalidXLogRecPtr;
}

static void
pump_bus(void *arg)
{
	flo_bus_pump(arg);
}

static void
look(void *arg)
{
	flo_consumer_look(arg);
}

void
flo_worker_look_at_stream(FloWorker *w)
{
	MemoryContext old;
	char	   *reason = NULL;

	if (w->known <= w->position || !flo_clock_passed(w->source.looked, LOOK_INTERVAL))
		return;
	w->source.looked = flo_clock();
	old = MemoryContextSwitchTo(w->broker_context);
	(void) flo_bus_guard(look, w->consumer, &reason);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
}

/*
 * The connection to the broker wants to be served, or it is lost; when it is, who is
 * busy need not know, since the loop renews it.
 */
bool
flo_worker_serve(FloWorker *w)
{
	char	   *reason = NULL;
	bool		connected;

	flo_check_interrupts();
	connected = flo_bus_guard(pump_bus, w->bus, &reason);
	if (!connected)
		pfree(reason);
	flo_worker_look_at_stream(w);
	flo_worker_take_updates(w);
	flo_worker_show_state(w);
	return connected;
}

/*
 * For the sink, while it waits.  A new configuration may be what ends the wait: the
 * launcher starts this worker again with it.
 */
static void
host_serve(void *arg)
{
	(void) flo_worker_serve(arg);
	if (!flo_worker_follow_configuration(arg))
		proc_exit(0);
}

/* For the sink, within a batch: once for each table is enough */
static void
host_unchecked(void *arg, Oid relation)
{
	FloWorker  *w = arg;
	MemoryContext old;

	if (list_member_oid(w->unchecked, relation))
		return;
	flo_foreign_keys_unchecked(w->spec, relation);
	w->keys_unchecked = true;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	w->unchecked = lappend_oid(w->unchecked, relation);
	MemoryContextSwitchTo(old);
}

void
flo_worker_open_sink(FloWorker *w)
{
	const FloSinkOps *ops = flo_sink_ops(w->spec->sink);

	w->host.arg = w;
	w->host.serve = host_serve;
	w->host.checkpoint = host_checkpoint;
	w->host.unchecked = host_unchecked;
	if (!ops->transactional)
	{
		w->host.source_database = flo_owner_database(w->bus, w->stream);
		w->host.copies = flo_worker_copies_for_sink(w);
	}
	w->sink = ops->open(w->spec, &w->tally, flo_progress_sink_state(w->progress), &w->host);
	if (ops->save != NULL)
		host_checkpoint(w);
}
