/*
 * worker.c
 *		The destination side of a group: from the stream to the sink.
 *
 *	 connect -> begin (first time) -> take the copy -> attach -> loop
 *
 * Where it begins and what it copies is in begin.c, what is done with chunks in
 * apply.c, what is told about it in report.c.
 *
 * Any error ends the process; the next one attaches where the position says.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/stream.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/stop.h"
#include "core/transaction.h"
#include "dest/begin.h"
#include "dest/consumer.h"
#include "dest/myself.h"
#include "dest/progress.h"
#include "dest/worker.h"
#include "dest/worker_impl.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* --- configuration ---------------------------------------------------------------- */

/* Has anything changed?  Takes in invalidations. */
void
flo_worker_notice_configuration(FloWorker *w)
{
	if (flo_watch_changed())
		w->rules_stale = w->options_stale = true;
}

/* Between batches: rules and routes as they are now */
void
flo_worker_load_rules(FloWorker *w)
{
	w->rules_stale = false;
	flo_reshape_load(w->reshape);
}

/*
 * Between batches.  False when the worker is no more or its options are
 * others: the launcher starts it again with them.
 */
bool
flo_worker_follow_configuration(FloWorker *w)
{
	FloWorkerSpec *before = w->spec;

	flo_worker_notice_configuration(w);
	if (w->rules_stale)
		flo_worker_load_rules(w);
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

/* --- starting --------------------------------------------------------------------------------- */

/* Does the generation end with its copy? */
static bool
copy_only(FloWorker *w)
{
	FloChunkHeader header;

	return flo_consumer_first(w->consumer, &header) && (header.flags & FLO_CHUNK_COPY_ONLY);
}

/* Mode copy: there is nothing to follow */
static void
rest(FloWorker *w)
{
	(void) flo_transaction_begin();
	ForceSyncCommit();
	flo_store_stop_member(w->group, w->worker);
	PopActiveSnapshot();
	(void) flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_me->wanted = false;
	LWLockRelease(flo_shared->lock);
	flo_worker_show_state(w);
}

/*
 * All that was read, heartbeats included, is made durable and told: a source
 * whose stream has lost its end goes by what the workers report, and the bucket
 * with their reports may have lost its end as well.
 */
static void
keep_position(FloWorker *w)
{
	if (w->position > flo_progress_position(w->progress))
	{
		if (w->sink->ops->transactional)
		{
			flo_transaction_start();
			w->unflushed_local = flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
		}
		else
			flo_worker_record_position(w, w->position);
	}
	flo_worker_settle(w, true);
	flo_worker_report_to_bucket(w, true);
}

/* Also called when the place in the stream was lost */
static void
attach(FloWorker *w, uint64 hint)
{
	flo_worker_drop_half(w);
	if (w->batch_open)
		flo_worker_commit_batch(w, w->unflushed_seq);
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
last_seq_reported(FloWorker *w)
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
loop(FloWorker *w)
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
			linked = flo_worker_process_chunk(w, &chunk);
			flo_consumer_release(w->consumer, &chunk);
			if (linked)
			{
				w->heard = GetCurrentTimestamp();
				if (!w->in_transaction)
					done_seq = chunk.seq;
				flo_worker_settle(w, false);
				if (w->marker != NIL)
				{
					flo_worker_run_dry(w, done_seq);
					if (flo_worker_take_marked_copy(w))
					{
						/* of our own accord */
						flo_consumer_rewind(w->consumer);
						attach(w, done_seq);
					}
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
		flo_worker_run_dry(w, done_seq);
		flo_worker_advance_when_idle(w);
		if (!w->in_transaction && w->sink->ops->idle != NULL)
			w->sink->ops->idle(w->sink);
		if (!w->in_transaction && !flo_worker_follow_configuration(w))
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
		flo_worker_settle(w, false);
		flo_bus_wait(w->bus, XLogRecPtrIsInvalid(w->unflushed_local) ? 1000 : FLO_DRY_SETTLE_INTERVAL);
	}
}

void
flo_worker_run(void)
{
	FloWorker  *w = palloc0(sizeof(FloWorker));

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
		flo_worker_begin(w);
	flo_bucket_create(w->bus, w->bucket, flo_stream_replicas);
	flo_bus_watch(w->bus, psprintf("$KV.%s.source", w->bucket));
	flo_worker_take_copy(w);
	w->reshape = flo_reshape_open(w->spec, flo_progress_generation(w->progress));
	flo_worker_open_sink(w);
	if (copy_only(w))
	{
		rest(w);
		return;
	}
	attach(w, last_seq_reported(w));
	loop(w);
}
