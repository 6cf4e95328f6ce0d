/*
 * compare_results.c
 *		What the workers say of a comparison, and what is shown of it.
 *
 * A worker answers for each table, or once for all that it has not answered for.  One
 * that does not speak at all any more is not waited for.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/transaction.h"
#include "monitor/state.h"
#include "source/compare_leader.h"
#include "utils/memutils.h"

/*
 * A worker that is not heard of for so long, ms, is not waited for; it speaks every 3 s, but
 * for the time that one statement takes
 */
#define SILENCE 60000

#define LOOK_INTERVAL 200		/* ms between two looks at results */
#define HEAR_INTERVAL 2000		/* and at reports */

/* So often rows are repaired, FLO_MAX_REPAIRS of a table at a time */
#define MAX_REPAIRS 20

/* Asked for, and there is none */
static FloComparedRecord no_result;

/* --- what people see ----------------------------------------------------- */

void
flo_comparison_show(FloCompareLeader *l, const char *worker, Oid relation, const char *state,
					const char *detail)
{
	MemoryContext old = flo_transaction_begin();

	flo_comparisons_state(l->group, l->request->id, worker, relation, state, InvalidXLogRecPtr,
						  detail);
	flo_transaction_end(old);
}

void
flo_comparison_fail_pair(FloCompareLeader *l, FloComparedPair *pair, const char *detail)
{
	flo_comparison_show(l, pair->worker->name, pair->relation, FLO_COMPARISON_FAILED, detail);
	pair->pending = pair->rows = false;
	pair->finished = true;
}

static void
fail_worker(FloCompareLeader *l, FloComparedWorker *worker, const char *detail)
{
	ListCell   *cell;

	worker->gone = true;
	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);

		if (pair->worker == worker && !pair->finished)
			flo_comparison_fail_pair(l, pair, detail);
	}
}

/* --- who speaks --------------------------------------------------------- */

/* A worker that is heard of goes on, however long it may take */
void
flo_comparison_hear(FloCompareLeader *l, int longest)
{
	ListCell   *cell;
	ListCell   *other;

	if (!flo_clock_passed(l->heard, HEAR_INTERVAL))
		return;
	l->heard = flo_clock();
	foreach(cell, flo_reports(l->bus, l->bucket))
	{
		const FloWorkerReport *report = lfirst(cell);

		foreach(other, l->workers)
		{
			FloComparedWorker *worker = lfirst(other);

			if (strcmp(worker->consumer, report->consumer) != 0 || worker->at == report->at)
				continue;
			worker->at = report->at;
			worker->heard = flo_clock();
		}
	}
	foreach(other, l->workers)
	{
		FloComparedWorker *worker = lfirst(other);

		if (!worker->gone && flo_clock_passed(worker->heard, longest))
			fail_worker(l, worker, psprintf("the worker has not been heard of for %d s: it is stopped, in backoff or cannot reach the broker", longest / 1000));
	}
}

/* --- results ------------------------------------------------------------- */

/*
 * What is to be written again, so many rows at a time, as long as fewer are left: it has
 * no last word yet
 */
static bool
take_repairs(FloCompareLeader *l, FloComparedPair *pair, const FloComparedRecord *record)
{
	MemoryContext old;
	ListCell   *cell;

	int64		left = record->missing + record->extra + record->different;

	if (!l->request->repair || record->state != FLO_COMPARED_DIFFERENT ||
		record->repairs == NIL || l->repaired >= MAX_REPAIRS ||
		(pair->repaired && (!pair->repairs_cut || left >= pair->left)))
		return false;
	pair->left = left;
	pair->repairs_cut = record->repairs_cut;
	old = MemoryContextSwitchTo(l->repairs);
	foreach(cell, record->repairs)
	{
		const FloRepairKey *key = lfirst(cell);
		FloRepairKey *copy = palloc(sizeof(FloRepairKey));
		ListCell   *value;

		copy->extra = key->extra;
		copy->values = NIL;
		foreach(value, key->values)
			copy->values = lappend(copy->values, pstrdup(lfirst(value)));
		pair->repairs = lappend(pair->repairs, copy);
	}
	MemoryContextSwitchTo(old);
	if (pair->repaired)
	{
		flo_comparison_show(l, pair->worker->name, pair->relation, FLO_COMPARISON_REPAIRING,
							psprintf(INT64_FORMAT " rows still differ", left));
		return true;
	}
	old = flo_transaction_begin();
	flo_comparisons_result(l->group, l->request->id, pair->worker->name, record,
						   FLO_COMPARISON_REPAIRING);
	flo_transaction_end(old);
	return true;
}

static void
take_result(FloCompareLeader *l, FloComparedPair *pair, FloComparedRecord *record)
{
	FloCompareRound round = l->attempt.plan.round;
	MemoryContext old;

	record->relation = pair->relation;

	/* no more than was asked for, whatever it says */
	record->samples = list_truncate(record->samples, l->request->samples);
	record->repairs = list_truncate(record->repairs, FLO_MAX_REPAIRS);
	if (record->state == FLO_COMPARED_MISSED)
		return;					/* it stays pending: another snapshot is taken */
	pair->pending = false;
	if (record->state == FLO_COMPARED_BUCKETS && round == FLO_COMPARE_ROWS)
	{
		flo_comparison_fail_pair(l, pair, "the worker asked for rows that it had");
		return;
	}
	pair->rows = record->state == FLO_COMPARED_BUCKETS;
	if (pair->rows)
	{
		old = MemoryContextSwitchTo(l->context);
		pair->buckets = record->buckets != NULL ? pstrdup(record->buckets) : NULL;
		MemoryContextSwitchTo(old);
		return;
	}
	if (take_repairs(l, pair, record))
		return;
	pair->finished = true;
	if (pair->repaired && record->repairs_cut && record->detail == NULL)
		record->detail = pstrdup("more rows differ than one call repairs, or they are refused at the destination");
	if (pair->repaired && record->state == FLO_COMPARED_EQUAL)
	{
		flo_comparison_show(l, pair->worker->name, pair->relation, FLO_COMPARISON_REPAIRED, NULL);
		return;
	}
	old = flo_transaction_begin();
	flo_comparisons_result(l->group, l->request->id, pair->worker->name, record, NULL);
	flo_transaction_end(old);
}

static FloComparedRecord *
result_of(FloCompareLeader *l, const FloComparedPair *pair, Oid relation)
{
	return flo_comparison_get(l->bus, l->bucket,
							  flo_compared_key(l->request->id, l->attempts, pair->worker->consumer,
											   relation), l->generation, &flo_compared_format);
}

/* True when every worker has answered for all its tables, or that it cannot this time */
static bool
take_results(FloCompareLeader *l)
{
	bool		all = true;
	ListCell   *cell;

	foreach(cell, l->workers)
		((FloComparedWorker *) lfirst(cell))->whole = NULL;
	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);
		FloComparedWorker *worker = pair->worker;
		FloComparedRecord *record;

		if (!pair->pending)
			continue;
		record = result_of(l, pair, pair->relation);
		if (record == NULL)
		{
			/* asked once for all its tables, after the first of them */
			if (worker->whole == NULL)
			{
				record = result_of(l, pair, InvalidOid);
				worker->whole = record != NULL ? record : &no_result;
			}
			record = worker->whole != &no_result ? worker->whole : NULL;

			/* it may have come between the two */
			if (record != NULL && record->state != FLO_COMPARED_MISSED)
			{
				FloComparedRecord *own = result_of(l, pair, pair->relation);

				record = own != NULL ? own : record;
			}
		}
		if (record != NULL)
			take_result(l, pair, record);
		else
			all = false;
	}
	return all;
}

/* What all who read the compare stream have read makes room in it */
static void
purge_read(FloCompareLeader *l)
{
	uint64		floor = PG_UINT64_MAX;
	ListCell   *cell;

	if (l->attempt.plan.round != FLO_COMPARE_ROWS)
		return;
	foreach(cell, l->workers)
	{
		FloComparedWorker *worker = lfirst(cell);
		FloComparingRecord *record;

		if (worker->gone || !list_member_ptr(l->attempt.plan.workers, worker->consumer))
			continue;
		record = flo_records_get(l->bus, l->bucket,
								 flo_comparing_key(l->request->id, worker->consumer),
								 &flo_comparing_format);
		floor = Min(floor, record != NULL && record->attempt == l->attempts ? record->seq : 0);
	}
	if (floor == PG_UINT64_MAX || floor <= l->purged)
		return;
	flo_stream_purge_below(l->bus, flo_name_compare_stream(l->group), floor + 1);
	l->purged = floor;
}

/* How far the workers are that are still at it */
static void
show_reading(FloCompareLeader *l)
{
	ListCell   *cell;

	if (!flo_clock_passed(l->shown, HEAR_INTERVAL))
		return;
	l->shown = flo_clock();
	foreach(cell, l->workers)
	{
		FloComparedWorker *worker = lfirst(cell);
		FloComparingRecord *record = worker->gone ? NULL :
			flo_records_get(l->bus, l->bucket,
							flo_comparing_key(l->request->id, worker->consumer),
							&flo_comparing_format);

		MemoryContext old;

		if (record == NULL || record->attempt != l->attempts)
			continue;
		old = flo_transaction_begin();
		flo_comparisons_comparing(l->group, l->request->id, worker->name,
								  psprintf("the destination has read " UINT64_FORMAT " rows in this round",
										   record->rows));
		flo_transaction_end(old);
	}
}

/* The stream with rows is full.  Under the snapshot nothing can be written down. */
void
flo_comparison_make_room(void *arg)
{
	FloCompareLeader *l = arg;
	MemoryContext old = MemoryContextSwitchTo(l->turn);

	flo_helper_check(l->args->slot, l->args->incarnation);
	purge_read(l);
	MemoryContextSwitchTo(old);
	MemoryContextReset(l->turn);
}

void
flo_comparison_await_results(FloCompareLeader *l)
{
	bool		done = false;

	while (!done)
	{
		FloClock	began = flo_clock();

		MemoryContextSwitchTo(l->turn);
		flo_helper_check(l->args->slot, l->args->incarnation);
		done = take_results(l);
		purge_read(l);
		if (!done)
			show_reading(l);
		flo_comparison_hear(l, SILENCE);

		/* the more there is to look at, the less often */
		if (!done)
			flo_bus_wait_for(l->bus, FLO_WAIT_APPLY,
							 Max(LOOK_INTERVAL, 4 * flo_clock_since(began)));
		MemoryContextSwitchTo(l->context);
		MemoryContextReset(l->turn);
	}
}
