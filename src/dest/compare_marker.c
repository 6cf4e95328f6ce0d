/*
 * compare_marker.c
 *		The worker's part of a comparison: it sees to it that a process of its own has
 *		a snapshot exactly here.
 *
 * At the marker everything before it is committed.  If nothing beyond it is, a process
 * is started, and the worker stands still until that has its locks and its snapshot:
 * some milliseconds, and bounded.  Then it goes on, and looks now and then whether the
 * process ended before it had said what came of it.
 *
 * Nothing of this may disturb the stream: what the broker is told or asked goes through
 * flo_bus_guard(), and what cannot be done is said of the comparison alone.
 */
#include "postgres.h"

#include "bus/bucket_text.h"
#include "bus/comparison.h"
#include "bus/stream.h"
#include "conf/sql.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/process.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/compare_marker.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "storage/dsm.h"
#include "utils/memutils.h"
#include "wire/compare.h"

/* How long the worker may stand still, ms */
#define PATIENCE 5000

/* Processes that compare at once, of different comparisons */
#define MOST_COMPARERS 4

/* ms between two times that is written down how far one is */
#define PROGRESS_PAUSE 2000

/* of so many tables at most: the stream goes on */
#define MOST_NOTED 100

/* ms between two looks whether a comparison that waits for the source is over there */
#define LOOK_PAUSE 5000

typedef struct Comparer
{
	BackgroundWorkerHandle *handle;
	dsm_segment *segment;		/* its order */
	int64		id;
} Comparer;

/* What a step asks of the broker */
typedef struct Exchange
{
	FloWorker  *w;
	int64		id;
	uint32		attempt;		/* 0 = the newest that there is */
	FloComparedState state;
	const char *detail;
	char	   *plan;			/* NULL: there is none */
} Exchange;

/* --- the broker ---------------------------------------------------------- */

static void
step_get_plan(void *arg)
{
	Exchange   *x = arg;

	x->plan = flo_bucket_get_text(x->w->bus, x->w->bucket, flo_compare_plan_key(x->id, x->attempt),
								  flo_progress_generation(x->w->progress));
}

/* The newest snapshot of a comparison that is not over; 0 = it is */
static uint32
newest_attempt(FloWorker *w, int64 id)
{
	char	   *beginning = psprintf(FLO_COMPARISON_PREFIX INT64_FORMAT ".", id);
	uint32		newest = 0;
	ListCell   *cell;

	foreach(cell, flo_bucket_keys(w->bus, w->bucket, beginning))
		newest = Max(newest, strtoul((const char *) lfirst(cell) + strlen(beginning), NULL, 10));
	return newest;
}

/* Of all tables that have no result of their own; nobody asks when it is over */
static void
step_say(void *arg)
{
	Exchange   *x = arg;
	FloComparedRecord record = {0};
	uint32		newest;

	newest = newest_attempt(x->w, x->id);
	if (newest == 0)
		return;
	if (x->attempt == 0)
		x->attempt = newest;
	record.attempt = x->attempt;
	record.worker = x->w->worker;
	record.state = x->state;
	record.detail = unconstify(char *, x->detail);
	flo_comparison_put(x->w->bus, x->w->bucket,
					   flo_compared_key(x->id, x->attempt, x->w->consumer_name, 0),
					   flo_progress_generation(x->w->progress), &flo_compared_format, &record);
}

static void
step_look(void *arg)
{
	Exchange   *x = arg;

	x->attempt = newest_attempt(x->w, x->id);
}

/* False when the connection is lost, which the loop will notice */
static bool
ask(Exchange *x, FloBusStep step)
{
	char	   *reason = NULL;

	return flo_bus_guard(step, x, &reason);
}

/* False when it was not said */
static bool
say(FloWorker *w, int64 id, uint32 attempt, FloComparedState state, const char *detail)
{
	Exchange	x = {.w = w,.id = id,.attempt = attempt,.state = state,.detail = detail};

	ereport(DEBUG1,
			(errmsg_internal("comparison " INT64_FORMAT ": %s", id, detail)));
	return ask(&x, step_say);
}

/* The same, later if it cannot be said now; "detail" is a constant */
static void
tell(FloWorker *w, int64 id, uint32 attempt, FloComparedState state, const char *detail)
{
	MemoryContext old;
	Exchange   *unsaid;

	if (say(w, id, attempt, state, detail))
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	unsaid = palloc0(sizeof(Exchange));
	unsaid->w = w;
	unsaid->id = id;
	unsaid->attempt = attempt;
	unsaid->state = state;
	unsaid->detail = detail;
	w->compare_unsaid = lappend(w->compare_unsaid, unsaid);
	MemoryContextSwitchTo(old);
}

static void
tell_unsaid(FloWorker *w)
{
	while (w->compare_unsaid != NIL && ask(linitial(w->compare_unsaid), step_say))
	{
		pfree(linitial(w->compare_unsaid));
		w->compare_unsaid = list_delete_first(w->compare_unsaid);
	}
}

/* --- the marker ---------------------------------------------------------- */

static bool
is_named(const FloWorker *w, const FloCompareMarker *marker)
{
	ListCell   *cell;

	foreach(cell, marker->workers)
	{
		if (strcmp(lfirst(cell), w->consumer_name) == 0)
			return true;
	}
	return false;
}

void
flo_worker_read_compare_marker(FloWorker *w, const FloChunk *chunk)
{
	MemoryContext old;
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;

	if (!w->sink->ops->transactional)
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	flo_chunk_read(&reader, chunk->data, chunk->len);
	if (flo_chunk_next(&reader, &data, &len, &total) && len == total)
		w->compare = flo_compare_marker_parse(data, len);
	if (w->compare != NULL && !is_named(w, w->compare))
		w->compare = NULL;
	MemoryContextSwitchTo(old);
}

static dsm_segment *
create_order(FloWorker *w, const FloCompareMarker *marker, const char *plan)
{
	size_t		len = strlen(plan);
	dsm_segment *segment = dsm_create(offsetof(FloCompareOrder, plan) + len + 1, 0);
	FloCompareOrder *order;

	dsm_pin_mapping(segment);
	order = dsm_segment_address(segment);
	pg_atomic_init_u32(&order->ready, FLO_COMPARE_ORDERED);
	pg_atomic_init_u32(&order->progress, 0);
	order->worker = MyProcPid;
	order->id = marker->id;
	order->attempt = marker->attempt;
	order->lsn = marker->lsn;
	strlcpy(order->generation, flo_progress_generation(w->progress), sizeof(order->generation));
	order->plan_len = len;
	memcpy(order->plan, plan, len + 1);
	return segment;
}

/* Does it get ready?  What ends or takes too long is of no use any more. */
static bool
await_ready(FloCompareOrder *order, BackgroundWorkerHandle *handle)
{
	FloClock	since = flo_clock();
	uint32		ordered = FLO_COMPARE_ORDERED;

	while (pg_atomic_read_u32(&order->ready) == FLO_COMPARE_ORDERED)
	{
		if (flo_process_ended(handle) || flo_clock_passed(since, PATIENCE))
			return !pg_atomic_compare_exchange_u32(&order->ready, &ordered, FLO_COMPARE_WITHDRAWN);
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, 50);
	}
	return true;
}

static void
remember(FloWorker *w, const FloCompareMarker *marker, BackgroundWorkerHandle *handle,
		 dsm_segment *segment)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	Comparer   *comparer = palloc(sizeof(Comparer));

	comparer->handle = handle;
	comparer->id = marker->id;
	comparer->segment = segment;
	w->comparers = lappend(w->comparers, comparer);
	MemoryContextSwitchTo(old);
}

static void
start_comparer(FloWorker *w, const FloCompareMarker *marker, const char *plan)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	dsm_segment *segment = create_order(w, marker, plan);
	FloProcessArgs args = {0};
	BackgroundWorkerHandle *handle;
	FloClock	since = flo_clock();

	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_COMPARE_READER;
	args.segment = dsm_segment_handle(segment);
	if (!flo_process_start(&args, psprintf("pg_flo comparison %s %s", w->group, w->worker), &handle))
	{
		dsm_detach(segment);
		tell(w, marker->id, marker->attempt, FLO_COMPARED_FAILED,
			 "no background worker process is free at the destination: raise max_worker_processes");
	}
	else
	{
		flo_injection_point("compare.before");
		if (!await_ready(dsm_segment_address(segment), handle))
		{
			TerminateBackgroundWorker(handle);
			tell(w, marker->id, marker->attempt, FLO_COMPARED_VOID,
				 "the process that compares ended, or took too long to begin: see the log of the destination");
		}
		ereport(DEBUG1,
				(errmsg_internal("comparison " INT64_FORMAT ": the stream stood still for %ld ms",
								 marker->id, flo_clock_since(since))));
		flo_injection_point("compare.after");
		remember(w, marker, handle, segment);
	}
	MemoryContextSwitchTo(old);
}

void
flo_worker_compare(FloWorker *w)
{
	FloCompareMarker *marker = w->compare;
	Exchange	x = {.w = w,.id = marker->id,.attempt = marker->attempt};
	MemoryContext old = MemoryContextSwitchTo(w->broker_context);

	w->compare = NULL;
	flo_worker_look_after_comparison(w);
	if (!ask(&x, step_get_plan))
		tell(w, x.id, x.attempt, FLO_COMPARED_MISSED, "the worker had lost the broker");
	else if (x.plan == NULL)
		;						/* it is over */
	else if (w->in_transaction || w->position > marker->lsn)
		tell(w, x.id, x.attempt, FLO_COMPARED_MISSED, "the worker was beyond the snapshot");
	else if (list_length(w->comparers) >= MOST_COMPARERS)
		tell(w, x.id, x.attempt, FLO_COMPARED_FAILED,
			 "other comparisons are under way at the destination");
	else
		start_comparer(w, marker, x.plan);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
	list_free_deep(marker->workers);
	pfree(marker);
}

/* --- afterwards ---------------------------------------------------------- */

#define OF_WORKER " WHERE side = 'destination' AND group_name = $1 AND worker_name = $2 AND finished_at IS NULL"

/* Ids of comparisons whose tables are in this state here, as List of char * */
static List *
comparisons_in(FloWorker *w, const char *state)
{
	MemoryContext old = flo_transaction_begin();
	FloSqlSession sql;
	List	   *ids = NIL;
	uint64		rows;

	MemoryContextSwitchTo(old);
	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT id FROM flo.comparisons" OF_WORKER
					   " AND state = $3", 3, w->group, w->worker, state);
	for (uint64 i = 0; i < rows; i++)
	{
		char	   *id = flo_sql_text(&sql, i, 1);
		MemoryContext spi = MemoryContextSwitchTo(old);

		ids = lappend(ids, pstrdup(id));
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	flo_transaction_end(old);
	return ids;
}

static void
end_comparison(FloWorker *w, const char *id, const char *from, const char *to, const char *detail)
{
	MemoryContext old = flo_transaction_begin();

	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = $5, detail = $6,"
			   " finished_at = clock_timestamp()" OF_WORKER " AND id = $3::bigint AND state = $4",
			   6, w->group, w->worker, id, from, to, detail);
	flo_transaction_end(old);
}

static bool
is_at_work(const FloWorker *w, int64 id)
{
	ListCell   *cell;

	foreach(cell, w->comparers)
	{
		if (((Comparer *) lfirst(cell))->id == id)
			return true;
	}
	return false;
}

/* What processes have left that are no more; the source has to hear of it first */
static void
void_left(FloWorker *w)
{
	static const char *const words = "the process that compares ended before it was done";
	ListCell   *cell;

	w->compare_left = false;
	foreach(cell, comparisons_in(w, "comparing"))
	{
		int64		id = strtoi64(lfirst(cell), NULL, 10);

		if (is_at_work(w, id))
			continue;
		if (say(w, id, 0, FLO_COMPARED_VOID, words))
			end_comparison(w, lfirst(cell), "comparing", "void", words);
		else
			w->compare_left = true;
	}
}

/* Tables whose rows are still to come: not from a source that has ended it */
static void
look_at_source(FloWorker *w)
{
	bool		waits = false;
	ListCell   *cell;

	foreach(cell, comparisons_in(w, "waiting"))
	{
		Exchange	x = {.w = w,.id = strtoi64(lfirst(cell), NULL, 10)};

		if (!ask(&x, step_look) || x.attempt > 0)
			waits = true;
		else
			end_comparison(w, lfirst(cell), "waiting", "failed", "the source has ended it");
	}
	w->compared = waits;
}

/* How far it is, from the process that may not write */
static void
note_progress(FloWorker *w, const Comparer *comparer)
{
	FloCompareOrder *order = dsm_segment_address(comparer->segment);
	uint32		handle = pg_atomic_read_u32(&order->progress);
	dsm_segment *segment = handle != 0 ? dsm_attach(handle) : NULL;
	FloCompareProgress *progress;
	int			noted = 0;

	if (segment == NULL)
		return;					/* it is not that far, or at its end */
	progress = dsm_segment_address(segment);
	for (int i = 0; i < progress->ntables && noted < MOST_NOTED; i++)
	{
		uint64		rows = pg_atomic_read_u64(&progress->tables[i].rows);

		if (rows == progress->tables[i].noted)
			continue;
		flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.comparisons SET rows_read = $5::bigint" OF_WORKER
				   " AND id = $3::bigint AND relation = $4::oid AND state = 'comparing'",
				   5, w->group, w->worker, flo_text_of_int64(comparer->id),
				   psprintf("%u", progress->tables[i].relation), flo_text_of_int64((int64) rows));
		progress->tables[i].noted = rows;
		noted++;
	}
	dsm_detach(segment);
}

static void
show_progress(FloWorker *w)
{
	MemoryContext old;
	ListCell   *cell;

	if (w->comparers == NIL || !flo_clock_passed(w->compare_noted, PROGRESS_PAUSE))
		return;
	w->compare_noted = flo_clock();
	old = flo_transaction_begin();
	foreach(cell, w->comparers)
		note_progress(w, lfirst(cell));
	flo_transaction_end(old);
}

static bool
forget_ended(FloWorker *w)
{
	bool		ended = false;
	ListCell   *cell;

	foreach(cell, w->comparers)
	{
		Comparer   *comparer = lfirst(cell);

		if (!flo_process_ended(comparer->handle))
			continue;
		w->comparers = foreach_delete_current(w->comparers, cell);
		dsm_detach(comparer->segment);
		pfree(comparer->handle);
		pfree(comparer);
		ended = true;
	}
	return ended;
}

void
flo_worker_look_after_comparison(FloWorker *w)
{
	bool		first = w->compared_looked == 0;
	MemoryContext old;

	if (!w->sink->ops->transactional || w->in_transaction || w->batch_open ||
		(!first && w->comparers == NIL && !w->compared && w->compare_unsaid == NIL))
		return;
	old = MemoryContextSwitchTo(w->broker_context);
	tell_unsaid(w);
	if (forget_ended(w) || first || w->compare_left)
	{
		void_left(w);
		w->compared = true;
	}
	show_progress(w);
	if (w->compared && (first || flo_clock_passed(w->compared_looked, LOOK_PAUSE)))
	{
		w->compared_looked = flo_clock();
		look_at_source(w);
	}
	MemoryContextSwitchTo(old);
	if (old != w->broker_context)
		MemoryContextReset(w->broker_context);
}
