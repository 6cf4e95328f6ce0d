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
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/stop.h"
#include "core/transaction.h"
#include "dest/begin.h"
#include "dest/consumer.h"
#include "dest/myself.h"
#include "dest/owed.h"
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

/* Between batches: rules and routes, and tables that are given up, as they are now */
void
flo_worker_load_rules(FloWorker *w)
{
	w->rules_stale = false;
	flo_reshape_load(w->reshape);
	flo_worker_look_at_copies(w);
}

/*
 * Is it what it was when this process began?  w->spec stays as it is: what is
 * read here is as short-lived as wherever the configuration is looked at.
 */
bool
flo_worker_is_unaltered(FloWorker *w)
{
	MemoryContext aside = AllocSetContextCreate(CurrentMemoryContext, "pg_flo configuration", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(aside);
	FloWorkerSpec *spec = flo_my_spec(w->group, w->worker);
	bool		same = spec != NULL && spec->owner == w->spec->owner &&
		flo_same_options(&spec->options, &w->spec->options);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(aside);
	return same;
}

/*
 * Between batches.  False when the worker is no more or its options are
 * others: the launcher starts it again with them.
 */
bool
flo_worker_follow_configuration(FloWorker *w)
{
	flo_worker_notice_configuration(w);
	if (w->rules_stale)
		flo_worker_load_rules(w);
	if (!w->options_stale)
		return true;
	w->options_stale = false;
	if (!flo_worker_is_unaltered(w))
		return false;
	flo_rights_check_member(w->group, w->spec->owner, true);
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
	flo_owed_entered(w);		/* the stream says nothing more than that */
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
		flo_worker_commit_batch(w);
	keep_position(w);
	flo_consumer_set_generation(w->consumer, flo_progress_generation_id(w->progress));
	while (!flo_consumer_attach(w->consumer, w->position, hint))
	{
		flo_state_set(FLO_STATE_WAITING, "for stream \"%s\", which does not exist", w->stream);
		flo_bus_wait(w->bus, 1000);
	}

	/* in a stream that went back, what was acknowledged before is to come again */
	w->place = flo_consumer_start(w->consumer);
	w->acked_seq = Min(w->acked_seq, w->place - 1);
	w->unflushed_seq = Min(w->unflushed_seq, w->acked_seq);
	w->heard = flo_clock();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* --- the connection ---------------------------------------------------------------------------- */

/* How long a transaction may stand open, its locks held, while NATS is away, ms */
#define RECONNECT_PATIENCE 30000

/* What the loop is at, for steps that talk to the broker */
typedef struct Turn
{
	FloWorker  *w;
	FloChunk	chunk;
	FloTake		took;
	long		pause;			/* ms */
	bool		placed;			/* the place in the stream is known */
} Turn;

static void
step_take(void *arg)
{
	Turn	   *t = arg;

	t->took = flo_consumer_take(t->w->consumer, &t->chunk);
}

static void
step_pump(void *arg)
{
	flo_bus_pump(((Turn *) arg)->w->bus);
}

static void
step_wait(void *arg)
{
	Turn	   *t = arg;

	flo_bus_wait(t->w->bus, t->pause);
}

static void
step_verify(void *arg)
{
	Turn	   *t = arg;
	MemoryContext old = MemoryContextSwitchTo(t->w->exchange);

	t->placed = flo_consumer_verify(t->w->consumer);
	MemoryContextSwitchTo(old);
	MemoryContextReset(t->w->exchange);
}

static void
step_resume(void *arg)
{
	Turn	   *t = arg;

	t->placed = flo_consumer_resume(t->w->consumer);
}

/*
 * The broker gives up a client that does not answer for some minutes, as we do
 * not while a statement runs; or it was away itself.  What is being applied can
 * do without it: complete transactions are committed, and one of which a part
 * is here goes on with its next chunk over another connection.
 */
static void
renew_connection(Turn *t, const char *reason)
{
	FloWorker  *w = t->w;
	FloClock	lost_at = flo_clock();
	char		shown[256];
	MemoryContext old;

	if (w->batch_open && !w->in_transaction)
		flo_worker_commit_batch(w);
	ereport(LOG,
			(errmsg("connecting to NATS anew: %s", reason)));
	strlcpy(shown, reason, sizeof(shown));
	old = MemoryContextSwitchTo(w->turn);
	for (;;)
	{
		char	   *why = NULL;

		flo_state_set(FLO_STATE_WAITING, "for NATS: %s", shown);
		if (flo_bus_renew(w->bus, &why) && flo_bus_guard(step_resume, t, &why))
			break;
		if (w->in_transaction &&
			flo_clock_passed(lost_at, RECONNECT_PATIENCE))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("NATS has been away for %d s in the middle of a transaction: %s",
							RECONNECT_PATIENCE / 1000, why),
					 errdetail("It is undone, and applied again from its begin when NATS is back.")));
		strlcpy(shown, why, sizeof(shown));
		MemoryContextReset(w->turn);
		flo_wait(PGINVALID_SOCKET, false, 1000);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->turn);
	w->heard = flo_clock();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* False when the step came to nothing because the connection had to be renewed */
static bool
ask_broker(Turn *t, FloBusStep step)
{
	char	   *reason = NULL;

	if (flo_bus_guard(step, t, &reason))
		return true;
	renew_connection(t, reason);
	pfree(reason);
	return false;
}

/* --- the loop --------------------------------------------------------------------------------- */

static void
find_place(Turn *t, uint64 hint)
{
	t->w->rewind = false;
	attach(t->w, hint);
	t->placed = true;
}

/* A chunk has come: false when it does not link to what was read before */
static bool
take_in(Turn *t)
{
	FloWorker  *w = t->w;
	bool		linked;

	flo_stop_point("fetch.after");
	linked = flo_worker_process_chunk(w, &t->chunk);
	flo_consumer_release(w->consumer, &t->chunk);
	if (!linked)
		return false;
	w->heard = flo_clock();
	flo_worker_settle(w, false);
	if (w->marker != NIL)
	{
		flo_worker_run_dry(w);
		if (flo_worker_take_marked_copy(w))
			find_place(t, w->place - 1);
	}
	flo_owed_entered(w);
	return true;
}

/* Nothing has arrived: false when this process is to end, to be started with another configuration */
static bool
rest_a_while(Turn *t)
{
	FloWorker  *w = t->w;

	flo_worker_run_dry(w);
	flo_worker_advance_when_idle(w);
	if (!w->in_transaction)
	{
		if (w->sink->ops->idle != NULL)
			w->sink->ops->idle(w->sink);
		if (!flo_worker_follow_configuration(w))
			return false;
	}
	if (flo_clock_passed(w->heard, Max(flo_heartbeat_interval, 1000)))
	{
		w->heard = flo_clock();
		if (!ask_broker(t, step_verify) || !t->placed)
			return true;
	}
	flo_worker_settle(w, false);
	t->pause = XLogRecPtrIsInvalid(w->unflushed_local) ? 1000 : FLO_DRY_SETTLE_INTERVAL;
	(void) ask_broker(t, step_wait);
	return true;
}

static void
loop(FloWorker *w)
{
	Turn		t = {.w = w, .placed = true};

	for (;;)
	{
		flo_check_interrupts();
		flo_stop_point("fetch.before");
		if (!t.placed)
			find_place(&t, 0);
		if (!ask_broker(&t, step_take))
			continue;
		t.placed = t.took != FLO_TAKE_LOST;
		if (t.took == FLO_TAKE_CHUNK)
		{
			t.placed = take_in(&t);
			if (t.placed)
				(void) ask_broker(&t, step_pump);
		}
		if (w->leave)
			return;
		if (!t.placed)
			continue;

		/* under load the stream never runs dry */
		if (t.took == FLO_TAKE_CHUNK && (!w->options_stale || w->in_transaction))
			continue;
		if (!rest_a_while(&t))
			return;
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
	w->owed_since = FLO_OWES_NOTHING;
	w->entering = true;
	w->careful_until = flo_me->last_error_lsn;
	w->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	w->copies = AllocSetContextCreate(CurrentMemoryContext, "pg_flo copies", ALLOCSET_SMALL_SIZES);
	w->exchange = AllocSetContextCreate(CurrentMemoryContext, "pg_flo exchange", ALLOCSET_SMALL_SIZES);
	w->parser = flo_change_parser_create(CurrentMemoryContext);
	flo_tally_begin(&w->tally, flo_my_slot, flo_me->incarnation);
	initStringInfo(&w->fragment);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	w->spec = flo_my_spec(w->group, w->worker);
	if (w->spec == NULL)
		return;
	flo_rights_check_member(w->group, w->spec->owner, true);
	flo_errors_are_final = w->spec->options.on_error == FLO_ON_ERROR_STOP;
	w->database = flo_my_database();
	w->progress = flo_progress_open(w->group, w->worker, w->spec->sink != FLO_SINK_POSTGRES);
	if (w->spec->options.tables != NULL)
		w->tables = flo_table_filter_create(CurrentMemoryContext, w->spec->options.tables);
	w->bus = flo_bus_await(psprintf("pg_flo worker %s %s", w->group, w->worker));
	w->consumer = flo_consumer_open(w->bus, w->stream, w->consumer_name);
	if (!flo_progress_known(w->progress))
		flo_worker_begin(w);
	w->no_bucket = !flo_bucket_try_create(w->bus, w->bucket, flo_stream_replicas);
	flo_bus_watch(w->bus, psprintf("$KV.%s." FLO_SOURCE_KEY, w->bucket));
	flo_worker_take_copy(w);
	w->reshape = flo_reshape_open(w->spec, flo_progress_generation(w->progress));
	flo_worker_open_sink(w);
	if (copy_only(w))
	{
		rest(w);
		return;
	}
	attach(w, 0);
	loop(w);
}
