/*
 * worker.c
 *		The destination side of a group: from the stream to the sink.
 *
 *	 connect -> begin (first time) -> take the copy -> attach -> loop
 *
 * Where it begins and what it copies is in worker_start.c, what is done with
 * chunks in apply.c, what is told about it in worker_report.c.
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
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/ahead.h"
#include "dest/apply.h"
#include "dest/backfill.h"
#include "dest/compare_marker.h"
#include "dest/consumer.h"
#include "dest/cutover.h"
#include "dest/owed.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/worker.h"
#include "dest/worker_batch.h"
#include "dest/worker_config.h"
#include "dest/worker_report.h"
#include "dest/worker_source.h"
#include "dest/worker_start.h"
#include "dest/worker_state.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* ms that an orderly stop may take; of these for the source's; and between two looks at it */
#define STOP_PATIENCE 1500
#define SETTLE_TIME 1000
#define STOP_PAUSE 20
#define STOP_MOMENT 100			/* for the news that it stops, too */

/* --- the end of a copy --------------------------------------------------- */

/* Does the generation end with its copy? */
static bool
copy_only(FloWorker *w)
{
	FloChunkHeader header;

	return flo_consumer_first(w->consumer, &header) && (header.flags & FLO_CHUNK_COPY_ONLY);
}

/* Mode copy: there is nothing to follow */
static void
stop_after_copy(FloWorker *w)
{
	flo_owed_entered(w);		/* the stream says nothing more than that */
	(void) flo_transaction_begin();
	ForceSyncCommit();
	flo_store_stop_member(w->group, w->worker);
	PopActiveSnapshot();
	(void) flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
	flo_worker_show_state(w);
	flo_state_rest();
}

/* --- the place in the stream --------------------------------------------- */

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
			w->unflushed_local = flo_progress_commit(w->progress, w->position,
													 GetCurrentTimestamp());
		}
		else
			flo_worker_record_position(w, w->position);
	}
	flo_worker_flush(w, true);
	flo_worker_report_to_bucket(w, true);
}

/* Also called when the place in the stream was lost */
static void
attach(FloWorker *w, uint64 hint)
{
	flo_worker_drop_half(w);
	if (w->batch_open)
		flo_worker_commit_batch(w);
	flo_error_context_clear();
	keep_position(w);
	flo_consumer_set_generation(w->consumer, flo_progress_generation_id(w->progress));
	while (!flo_consumer_attach(w->consumer, w->position, hint))
	{
		flo_state_set(FLO_STATE_WAITING, "for stream \"%s\", which does not exist", w->stream);
		flo_worker_leave_if_altered(w);
		flo_bus_wait(w->bus, 1000);
	}

	/* it begins with those that are open there */
	flo_ahead_leave(w, 0);
	flo_pieces_forget_all(w->pieces);

	/*
	 * in a stream that went back, what was acknowledged before is to come
	 * again
	 */
	w->place = flo_consumer_start(w->consumer);
	w->acked_seq = Min(w->acked_seq, w->place - 1);
	w->unflushed_seq = Min(w->unflushed_seq, w->acked_seq);
	w->heard = flo_clock();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* --- the connection ------------------------------------------------------ */

/* How long a transaction may stand open, its locks held, while NATS is away, ms */
#define RECONNECT_PATIENCE 30000

/* What the loop is at, for steps that talk to the broker */
typedef struct LoopState
{
	FloWorker  *w;
	FloChunk	chunk;
	FloTake		took;
	long		pause;			/* ms */
	bool		placed;			/* the place in the stream is known */
	int			silent;			/* looks at the stream in a row since anything
								 * came */
	FloClock	stopping;		/* since when */
} LoopState;

/*
 * ms of silence after which is looked whether the stream is still there: soon at first,
 * and then as seldom as a replicator looks; a quiet group costs the broker little
 */
#define FIRST_LOOK 1000
#define LATER_LOOK 5000

static void
step_take(void *arg)
{
	LoopState  *l = arg;

	l->took = flo_consumer_take(l->w->consumer, &l->chunk);
}

static void
step_pump(void *arg)
{
	flo_bus_pump(((LoopState *) arg)->w->bus);
}

static void
step_wait(void *arg)
{
	LoopState  *l = arg;

	flo_bus_rest(l->w->bus, l->pause);
}

static void
step_verify(void *arg)
{
	LoopState  *l = arg;
	MemoryContext old = MemoryContextSwitchTo(l->w->broker_context);

	l->placed = flo_consumer_verify(l->w->consumer);
	MemoryContextSwitchTo(old);
	MemoryContextReset(l->w->broker_context);
}

static void
step_resume(void *arg)
{
	LoopState  *l = arg;

	l->placed = flo_consumer_resume(l->w->consumer);
	flo_worker_listen_again(l->w);
}

/*
 * The broker gives up a client that does not answer for some minutes, as we do
 * not while a statement runs; or it was away itself.  What is being applied can
 * do without it: complete transactions are committed, and one of which a part
 * is here goes on with its next chunk over another connection.
 */
static void
renew_connection(LoopState *l, const char *reason)
{
	FloWorker  *w = l->w;
	FloClock	lost_at = flo_clock();
	char		shown[256];
	MemoryContext old;

	if (w->batch_open && !w->in_transaction)
		flo_worker_commit_batch(w);
	ereport(DEBUG1,
			(errmsg_internal("connecting to NATS anew: %s", reason)));
	strlcpy(shown, reason, sizeof(shown));
	w->source.cut_off = true;
	old = MemoryContextSwitchTo(w->chunk_context);
	for (;;)
	{
		char	   *why = NULL;

		flo_state_set(FLO_STATE_WAITING, "for NATS: %s", shown);
		flo_worker_show_pending(w);
		if (flo_bus_renew(w->bus, &why) && flo_bus_guard(step_resume, l, &why))
			break;
		if (w->in_transaction && flo_clock_passed(lost_at, RECONNECT_PATIENCE))
		{
			flo_error_context_clear();	/* the transaction is not to blame */
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("NATS has been away for %d s in the middle of a transaction: %s",
							RECONNECT_PATIENCE / 1000, why),
					 errdetail("It is undone, and applied again from its begin when NATS is back.")));
		}
		strlcpy(shown, why, sizeof(shown));
		MemoryContextReset(w->chunk_context);
		flo_wait_means(FLO_WAIT_NATS);
		flo_wait(PGINVALID_SOCKET, false, 1000);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->chunk_context);
	w->heard = flo_clock();
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* False when the step came to nothing because the connection had to be renewed */
static bool
ask_broker(LoopState *l, FloBusStep step)
{
	char	   *reason = NULL;

	if (flo_bus_guard(step, l, &reason))
		return true;
	renew_connection(l, reason);
	pfree(reason);
	return false;
}

/* --- the end ------------------------------------------------------------- */

static void
say_last_word(void *worker)
{
	flo_worker_flush(worker, true);
	flo_worker_report_to_bucket(worker, true);
}

/*
 * A source that stops in the same moment wants to know what is durable here, to let go of
 * its WAL: it is followed to its end.  What has not been committed then comes again.
 */
static void
stop_in_order(LoopState *l)
{
	char	   *reason = NULL;

	if (l->stopping == 0)
		l->stopping = flo_clock();
	if (!flo_clock_passed(l->stopping, flo_worker_source_settles(l->w) ? SETTLE_TIME : STOP_MOMENT))
		return;
	(void) flo_bus_guard(say_last_word, l->w, &reason);
	flo_stop_now();
}

/* --- the loop ------------------------------------------------------------ */

static void
find_place(LoopState *l, uint64 hint)
{
	l->w->rewind = false;
	attach(l->w, hint);
	l->placed = true;
}

/* Who is about to stop says nothing of what it could do: true when more is to be done soon */
static bool
act_in_cutover(FloWorker *w)
{
	return !flo_stop_requested() && flo_cutover_act(w);
}

/* A chunk has come; the place is lost when it does not link to what was read before */
static void
handle_chunk(LoopState *l)
{
	FloWorker  *w = l->w;

	flo_injection_point("fetch.after");
	l->silent = 0;
	l->placed = flo_worker_process_chunk(w, &l->chunk);
	flo_consumer_release(w->consumer, &l->chunk);
	if (!l->placed)
		return;
	w->heard = flo_clock();
	flo_worker_flush(w, false);
	if (w->marker != NIL)
	{
		flo_worker_run_dry(w);
		flo_ahead_leave(w, 0);	/* it may have locked what is to be copied */
		if (flo_worker_take_marked_copy(w))
			find_place(l, w->place - 1);
	}
	flo_owed_entered(w);
	if (w->compare != NULL)
	{
		flo_worker_run_dry(w);
		flo_worker_compare(w);
	}
	(void) act_in_cutover(w);
	(void) ask_broker(l, step_pump);
	if (w->backfill != NULL)
	{
		flo_worker_run_dry(w);
		flo_worker_meet_backfill(w);
	}
}

/*
 * Is this a moment for what is done when nothing arrives?  Under load none comes,
 * and changed options wait for the end of a transaction only.
 */
static bool
has_time(LoopState *l)
{
	if (!l->placed)
		return false;
	return l->took != FLO_TAKE_CHUNK || (l->w->options_stale && !l->w->in_transaction);
}

/*
 * Is the place in the stream still there?  Asked when it has been silent;
 * false when it is lost, or not known.
 */
static bool
verify_place(LoopState *l)
{
	int			pause = l->silent == 0 ? FIRST_LOOK : LATER_LOOK;

	if (!flo_clock_passed(l->w->heard, Max(flo_heartbeat_interval, pause)))
		return true;
	l->w->heard = flo_clock();
	l->silent++;
	if (!ask_broker(l, step_verify) || !l->placed)
		return false;
	if (flo_consumer_waits(l->w->consumer))
		l->silent = 0;
	return true;
}

/* False when this process is to end, to be started with another configuration */
static bool
rest_a_while(LoopState *l)
{
	FloWorker  *w = l->w;

	flo_worker_run_dry(w);
	flo_worker_take_updates(w);
	flo_worker_advance_when_idle(w);
	if (!w->in_transaction)
	{
		if (w->sink->ops->idle != NULL)
			w->sink->ops->idle(w->sink);
		if (!flo_worker_follow_configuration(w))
			return false;
	}
	if (!verify_place(l))
		return true;
	flo_worker_flush(w, flo_worker_source_stops(w));
	flo_worker_show_source(w);
	flo_worker_look_after_comparison(w);
	l->pause = XLogRecPtrIsInvalid(w->unflushed_local) ? 1000 : FLO_DRY_FLUSH_INTERVAL;
	if (act_in_cutover(w))
		l->pause = Min(l->pause, FLO_CUTOVER_PAUSE);
	if (flo_stop_requested())
		l->pause = STOP_PAUSE;
	(void) ask_broker(l, step_wait);
	return true;
}

/* Until the configuration wants another process */
static void
loop(FloWorker *w)
{
	LoopState	l = {
		.w = w,
		.placed = true
	};

	flo_stop_after(STOP_PATIENCE);
	while (!w->leave)
	{
		flo_check_interrupts();
		if (flo_stop_requested())
			stop_in_order(&l);
		flo_injection_point("fetch.before");
		if (!l.placed)
			find_place(&l, 0);
		if (!ask_broker(&l, step_take))
			continue;
		l.placed = l.took != FLO_TAKE_LOST;
		if (l.took == FLO_TAKE_CHUNK)
			handle_chunk(&l);
		if (!w->leave && has_time(&l) && !rest_a_while(&l))
			return;
	}
}

/* --- starting ------------------------------------------------------------ */

static FloWorker *
create_worker(void)
{
	FloWorker  *w = palloc0(sizeof(FloWorker));

	w->group = pstrdup(flo_me->group);
	w->worker = pstrdup(flo_me->member);
	w->stream = flo_name_stream(w->group);
	w->bucket = flo_name_bucket(w->group);
	w->consumer_name = flo_name_consumer(w->group, w->worker, GetSystemIdentifier(), MyDatabaseId);
	w->encoding = -1;
	w->owed_since = FLO_OWES_NOTHING;
	w->entering = true;
	w->careful_until = flo_me->failed_lsn;
	w->chunk_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo chunk",
											 ALLOCSET_DEFAULT_SIZES);
	w->copied_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo copies",
											  ALLOCSET_SMALL_SIZES);
	w->broker_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo broker",
											  ALLOCSET_SMALL_SIZES);
	w->parser = flo_change_parser_create(CurrentMemoryContext);
	w->pieces = flo_pieces_create(CurrentMemoryContext);
	before_shmem_exit(flo_pieces_remove_files, PointerGetDatum(w->pieces));
	flo_tally_begin(&w->tally, flo_me->slot, flo_me->incarnation);
	initStringInfo(&w->fragment);
	flo_worker_remember(w);
	return w;
}

/* What is written down here of this worker: false when it was dropped */
static bool
load_configuration(FloWorker *w)
{
	w->spec = flo_my_spec(w->group, w->worker);
	if (w->spec == NULL)
		return false;
	flo_rights_check_member(w->group, w->spec->owner, true);
	flo_errors_are_final = w->spec->options.on_error == FLO_ON_ERROR_STOP;
	w->database = flo_my_database();
	w->progress = flo_progress_open(w->group, w->worker, w->spec->sink != FLO_SINK_POSTGRES);
	if (w->spec->options.tables != NULL)
		w->tables = flo_table_filter_create(CurrentMemoryContext, w->spec->options.tables);
	return true;
}

static void
connect_to_broker(FloWorker *w)
{
	w->bus = flo_bus_await(psprintf("pg_flo worker %s %s", w->group, w->worker));
	w->consumer = flo_consumer_open(w->bus, w->stream, w->consumer_name);
}

/* Know the generation that is followed, and have the copy it began with */
static void
enter_generation(FloWorker *w)
{
	if (!flo_progress_known(w->progress))
		flo_worker_begin(w);
	w->no_bucket = !flo_bucket_try_create(w->bus, w->bucket, flo_stream_replicas);
	flo_worker_load_due_backfill(w);
	flo_worker_listen(w);
	flo_worker_take_copy(w);
	flo_worker_take_backfill(w);
}

/*
 * Where it begins is recorded and reported before anything is taken: the source
 * keeps what workers need that it knows of.  A copy that has to be in before the
 * stream goes on is taken before the sink is opened, since a loader opens it, and a
 * file has one writer.
 */
void
flo_worker_run(void)
{
	FloWorker  *w = create_worker();
	bool		first;

	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	if (!load_configuration(w))
		return;
	connect_to_broker(w);
	first = !flo_progress_known(w->progress);
	enter_generation(w);
	w->rules = flo_worker_rules_open(w->spec, flo_progress_generation(w->progress));
	flo_worker_open_sink(w);
	if (copy_only(w))
	{
		stop_after_copy(w);
		return;
	}
	if (first)
		flo_worker_begin_late(w);
	attach(w, w->done_before != 0 ? w->done_before + 1 : 0);
	loop(w);
}
