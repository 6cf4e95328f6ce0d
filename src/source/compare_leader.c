/*
 * compare_leader.c
 *		Leads a comparison of a group's tables with its workers'.
 *
 * A comparison has two rounds.  In the first the sums of all tables are published, in
 * the second the rows of those buckets for which a worker has asked.  Each round has
 * a snapshot of its own, with a marker at its place in the stream: there the workers
 * have a snapshot of the same state, so both sides may be read while writes go on.
 * The plan of an attempt is in the state bucket before its marker is in the stream.
 *
 * What happens to this process ends the comparison and nothing else.  The
 * replicator notices that it has gone and clears away what it has left.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/comparison.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "common/pg_prng.h"
#include "conf/comparisons.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "core/transaction.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "replication/slot.h"
#include "source/compare.h"
#include "source/compare_control.h"
#include "source/compare_leader.h"
#include "source/generation.h"
#include "source/ownership.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wire/compare.h"

/* Snapshots that are taken of one round before it is given up */
#define MAX_TRIES 3

/* A worker that has not been heard of for so long, ms, before it begins is not waited for */
#define FIRST_SILENCE 10000

#define LOOK_INTERVAL 200		/* ms between two looks at results */

static bool
is_pending(FloCompareLeader *l)
{
	ListCell   *cell;

	foreach(cell, l->pairs)
	{
		if (((FloComparedPair *) lfirst(cell))->pending)
			return true;
	}
	return false;
}

/* --- workers ------------------------------------------------------------- */

/* Is there another one of the name, in another database? */
static bool
is_ambiguous(const List *reports, const FloWorkerReport *report)
{
	ListCell   *cell;

	foreach(cell, reports)
	{
		const FloWorkerReport *other = lfirst(cell);

		if (other != report && strcmp(other->worker, report->worker) == 0)
			return true;
	}
	return false;
}

static bool
is_asked(const FloCompareLeader *l, const FloWorkerReport *report)
{
	const char *wanted = l->request->worker;

	return wanted == NULL || strcmp(wanted, report->worker) == 0 ||
		strcmp(wanted, report->consumer) == 0;
}

static void
find_workers(FloCompareLeader *l)
{
	List	   *reports = flo_reports(l->bus, l->bucket);
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, reports)
	{
		FloWorkerReport *report = lfirst(cell);
		FloComparedWorker *worker;

		if (!is_asked(l, report) || !report->compares)
			continue;
		worker = palloc0(sizeof(FloComparedWorker));
		worker->consumer = report->consumer;
		worker->name = l->request->worker != NULL ? l->request->worker :
			is_ambiguous(reports, report) ? report->consumer : report->worker;
		worker->at = report->at;
		worker->heard = flo_clock();
		l->workers = lappend(l->workers, worker);
		names = lappend(names, worker->name);
	}
	if (l->workers == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 l->request->worker != NULL ?
				 errmsg("worker \"%s\" writes to no tables, is of an earlier version, or has not reported to the broker",
						l->request->worker) :
				 errmsg("no worker of group \"%s\" that writes to tables has reported to the broker",
						l->group)));
	if (l->request->worker != NULL && list_length(l->workers) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
				 errmsg("%d databases have a worker \"%s\"", list_length(l->workers),
						l->request->worker),
				 errhint("Name its consumer, see flo.stream_status().")));
	(void) flo_transaction_begin();
	flo_comparisons_workers(l->group, l->request->id, names);
	flo_transaction_end(l->context);
}

static void
make_pairs(FloCompareLeader *l)
{
	ListCell   *t;
	ListCell   *w;

	foreach(t, l->tables)
	{
		foreach(w, l->workers)
		{
			FloComparedPair *pair = palloc0(sizeof(FloComparedPair));

			pair->relation = ((FloCompareTable *) lfirst(t))->plan.relation;
			pair->worker = lfirst(w);
			l->pairs = lappend(l->pairs, pair);
		}
	}
}

/* --- an attempt ---------------------------------------------------------- */

static FloComparedPair *
find_pair(FloCompareLeader *l, Oid relation, const FloComparedWorker *worker)
{
	ListCell   *cell;

	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);

		if (pair->relation == relation && pair->worker == worker)
			return pair;
	}
	return NULL;
}

/* The buckets that any of the workers wants of a table: NULL = all */
static bool *
wanted_buckets(FloCompareLeader *l, const FloCompareTable *table)
{
	bool	   *wanted = palloc0(sizeof(bool) * table->plan.buckets);
	ListCell   *cell;

	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);
		bool	   *buckets;

		if (pair->relation != table->plan.relation || !pair->pending)
			continue;
		buckets = pair->buckets != NULL ?
			flo_buckets_parse(pair->buckets, table->plan.buckets) : NULL;
		if (buckets == NULL)
			return NULL;
		for (int64 i = 0; i < table->plan.buckets; i++)
			wanted[i] |= buckets[i];
	}
	return wanted;
}

/* What is still to be answered, as a plan */
static void
make_plan(FloCompareLeader *l, FloCompareRound round)
{
	FloCompareAttempt *a = &l->attempt;
	ListCell   *t;
	ListCell   *w;

	a->plan.id = l->request->id;
	a->plan.attempt = ++l->attempts;
	a->plan.round = round;
	a->plan.encoding = GetDatabaseEncoding();
	a->plan.samples = l->request->samples;
	a->plan.repair = l->request->repair;
	a->plan.repair_extra = l->request->repair_extra;
	a->plan.workers = a->plan.tables = a->tables = NIL;
	foreach(t, l->tables)
	{
		FloCompareTable *table = lfirst(t);
		bool		pending = false;

		foreach(w, l->workers)
		{
			FloComparedWorker *worker = lfirst(w);

			if (!find_pair(l, table->plan.relation, worker)->pending)
				continue;
			pending = true;
			if (!list_member_ptr(a->plan.workers, worker->consumer))
				a->plan.workers = lappend(a->plan.workers, worker->consumer);
		}
		if (!pending)
			continue;
		table->wanted = round == FLO_COMPARE_ROWS ? wanted_buckets(l, table) : NULL;
		table->plan.wanted = table->wanted != NULL ?
			flo_buckets_format(table->wanted, table->plan.buckets) : NULL;
		a->tables = lappend(a->tables, table);
		a->plan.tables = lappend(a->plan.tables, &table->plan);
	}
	flo_comparison_put(l->bus, l->bucket, flo_compare_plan_key(a->plan.id, a->plan.attempt),
					   l->generation, &flo_compare_plan_format, &a->plan);
}

/* What stands in the stream at the snapshot */
static char *
marker(void *arg, XLogRecPtr lsn)
{
	FloCompareLeader *l = arg;
	FloCompareMarker marker = {
		.id = l->request->id,
		.attempt = l->attempt.plan.attempt,
		.lsn = lsn,
		.workers = l->attempt.plan.workers
	};

	return flo_compare_marker_format(&marker);
}

static void
make_stream(FloCompareLeader *l)
{
	FloStreamConfig config = {0};
	FloAccountInfo account;

	flo_account_info(l->bus, &account);
	config.name = flo_name_compare_stream(l->group);
	config.subject = psprintf("%s.compare", flo_name_subject(l->group));
	config.max_bytes = l->spec->options.copy_stream_max_bytes;
	if (account.max_stream_bytes > 0)
		config.max_bytes = Min(config.max_bytes, account.max_stream_bytes);
	config.replicas = (int) (l->spec->options.stream_replicas > 0 ?
							 l->spec->options.stream_replicas : flo_stream_replicas);
	config.description = flo_ownership_of_copy(&l->claim);
	flo_stream_delete(l->bus, config.name);
	flo_stream_create(l->bus, &config);
	l->purged = 0;
}

/* Under one snapshot: read and tell.  False when its marker was missed. */
static bool
read_snapshot(FloCompareLeader *l)
{
	ListCell   *cell;

	l->attempt.lsn = flo_place_take(&l->place);
	if (XLogRecPtrIsInvalid(l->attempt.lsn))
		return false;
	flo_injection_point("compare.marked");
	flo_compare_lock(&l->attempt);
	flo_compare_read(&l->attempt, l->spec->copy_workers);
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(l->context);
	flo_place_set_phase(&l->place, FLO_PLACE_NONE);
	(void) flo_transaction_begin();
	foreach(cell, l->attempt.tables)
	{
		FloCompareTable *table = lfirst(cell);

		if (l->attempt.plan.round == FLO_COMPARE_SUMS)
			flo_comparisons_read(l->group, l->request->id, table->plan.relation,
								 table->rows_read);
	}
	flo_comparisons_state(l->group, l->request->id, NULL, InvalidOid, FLO_COMPARISON_COMPARING,
						  l->attempt.lsn, NULL);
	flo_transaction_end(l->context);
	return true;
}

/* The replicator writes down what people see while we read */
static void
show_plan(void *arg, uint32 segment)
{
	flo_place_show(&((FloCompareLeader *) arg)->place, segment);
}

/* --- the process --------------------------------------------------------- */

/* Is it an error after which another snapshot may do? */
static bool
begins_again(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

/* Nothing of it is kept: no transaction, no slot, no order */
static ErrorData *
recover(FloCompareLeader *l)
{
	ErrorData  *error;

	MemoryContextSwitchTo(l->context);
	error = CopyErrorData();
	FlushErrorState();
	LWLockReleaseAll();
	flo_compare_end_helpers(&l->attempt);
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(l->context);
	if (l->request != NULL)
		flo_place_set_phase(&l->place, FLO_PLACE_NONE);
	return error;
}

static void
describe_tables(FloCompareLeader *l)
{
	MemoryContext old = flo_transaction_begin();
	ListCell   *cell;

	l->tables = flo_compare_describe(l->group, l->context, l->request->tables);
	foreach(cell, l->tables)
	{
		const FloComparePlanTable *plan = &((FloCompareTable *) lfirst(cell))->plan;

		flo_comparisons_estimate(l->group, l->request->id, plan->relation, plan->rows);
	}
	flo_transaction_end(old);
}

/* The words of the error by which it has to begin again; NULL when it need not */
static const char *
try_attempt(FloCompareLeader *l, FloCompareRound round)
{
	const char *volatile why = NULL;

	PG_TRY();
	{
		make_plan(l, round);
		if (round == FLO_COMPARE_ROWS)
			make_stream(l);
		flo_comparison_show(l, NULL, InvalidOid, FLO_COMPARISON_SNAPSHOT,
							"waits for write transactions that are open as a snapshot is taken");
		if (!read_snapshot(l))
			why = "the replicator was beyond the snapshot";
	}
	PG_CATCH();
	{
		ErrorData  *error = recover(l);

		if (!begins_again(error))
			ReThrowError(error);
		why = error->message;
	}
	PG_END_TRY();
	return why;
}

static void
run_round(FloCompareLeader *l, FloCompareRound round)
{
	const char *why = "";
	ListCell   *cell;

	for (int tries = 0; is_pending(l) && tries < MAX_TRIES; tries++)
	{
		if (tries > 0)
			flo_comparison_show(l, NULL, InvalidOid, "missed", why);
		why = try_attempt(l, round);
		if (why != NULL)
			continue;
		flo_comparison_await_results(l);
		why = "the worker was beyond the snapshot each time";
	}
	foreach(cell, l->pairs)
	{
		if (((FloComparedPair *) lfirst(cell))->pending)
			flo_comparison_fail_pair(l, lfirst(cell), why);
	}
}

static void
open_leader(FloCompareLeader *l)
{
	FloSourcePlace order = flo_source_place_ordered(l->args->slot, FLO_PLACE_COMPARISON);
	char	   *member;

	flo_helper_names(l->args->slot, &l->group, &member);
	l->bucket = flo_name_bucket(l->group);
	l->place.args = l->args;
	l->place.user = FLO_PLACE_COMPARISON;
	l->place.slot = psprintf("%s_cmp", flo_name_slot(MyDatabaseId, l->group));
	l->place.point = "compare.snapshot";
	l->place.id = order.id;
	l->place.marker = marker;
	l->place.arg = l;
	l->begun = flo_generation_load(l->group);
	l->generation = flo_text_of_uuid(&l->begun->id);
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(l->context);
	l->request = flo_comparisons_request(order.id);
	l->spec = flo_store_replicator(l->group);
	l->claim.group = l->group;
	l->claim.owner = flo_ownership_here();
	flo_transaction_end(l->context);
	l->claim.generation = l->begun;
	l->bus = flo_bus_connect(psprintf("pg_flo comparer %s", l->group));
	l->attempt.args = l->args;
	l->attempt.group = l->group;
	l->attempt.bucket = l->bucket;
	l->attempt.generation = l->generation;
	l->attempt.bus = l->bus;
	l->attempt.wait = flo_comparison_make_room;
	l->attempt.show_plan = show_plan;
	l->attempt.arg = l;
	l->attempt.plan.seed = pg_prng_uint64(&pg_global_prng_state);
	l->attempt.identity.system_identifier = GetSystemIdentifier();
	l->attempt.identity.timeline = GetWALInsertionTimeLine();
	l->attempt.identity.generation = l->begun->id;
	l->attempt.identity.generation_start = l->begun->start;
	l->attempt.identity.encoding = (uint16) GetDatabaseEncoding();
}

/* One that was heard of long ago may be gone: it is waited for a moment */
static void
await_first_words(FloCompareLeader *l)
{
	TimestampTz recently = GetCurrentTimestamp() - FIRST_SILENCE * INT64CONST(1000);
	bool		silent = true;

	l->heard = 0;
	while (silent)
	{
		ListCell   *cell;

		MemoryContextSwitchTo(l->turn);
		silent = false;
		flo_comparison_hear(l, FIRST_SILENCE);
		foreach(cell, l->workers)
		{
			FloComparedWorker *worker = lfirst(cell);

			silent |= !worker->gone && worker->at < recently;
		}
		flo_helper_check(l->args->slot, l->args->incarnation);
		if (silent)
			flo_bus_wait_for(l->bus, FLO_WAIT_APPLY, LOOK_INTERVAL);
		MemoryContextSwitchTo(l->context);
		MemoryContextReset(l->turn);
	}
}

/*
 * Both sides are compared as far as this goes: sums of what is pending, then rows where
 * these differ
 */
static void
run_rounds(FloCompareLeader *l)
{
	ListCell   *cell;

	run_round(l, FLO_COMPARE_SUMS);
	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);

		pair->pending = pair->rows && !pair->finished;
		pair->rows = false;
	}
	run_round(l, FLO_COMPARE_ROWS);
}

/* What keeps rows of a table from being written again does not end the comparison of others */
static bool
repair_table(FloCompareLeader *l, FloComparedPair *pair, const FloCompareRepair *order)
{
	volatile bool done = true;

	PG_TRY();
	{
		(void) flo_compare_repair(order);
	}
	PG_CATCH();
	{
		ErrorData  *error = recover(l);

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		flo_comparison_fail_pair(l, pair, psprintf("could not repair: %s", error->message));
		done = false;
	}
	PG_END_TRY();
	return done;
}

/* True when anything was written again, and what came of it is to be seen */
static bool
repair(FloCompareLeader *l)
{
	bool		any = false;
	ListCell   *cell;

	foreach(cell, l->pairs)
	{
		FloComparedPair *pair = lfirst(cell);
		FloCompareRepair order = {
			.group = l->group,
			.id = l->request->id,
			.consumer = pair->worker->consumer,
			.relation = pair->relation,
			.repairs = pair->repairs,
			.extra = l->request->repair_extra
		};
		ListCell   *other;

		if (pair->finished || pair->repairs == NIL)
			continue;
		foreach(other, l->tables)
		{
			if (((FloCompareTable *) lfirst(other))->plan.relation == pair->relation)
				order.keys = ((FloCompareTable *) lfirst(other))->plan.keys;
		}
		flo_injection_point("repair.before");
		if (repair_table(l, pair, &order))
			pair->repaired = pair->pending = any = true;
	}
	foreach(cell, l->pairs)
		((FloComparedPair *) lfirst(cell))->repairs = NIL;
	MemoryContextReset(l->repairs);
	l->repaired++;
	return any;
}

static void
compare(FloCompareLeader *l)
{
	ListCell   *cell;

	open_leader(l);
	if (l->request == NULL || l->spec == NULL)
		return;
	flo_compare_clean(l->bus, l->group);
	find_workers(l);
	describe_tables(l);
	make_pairs(l);
	await_first_words(l);
	foreach(cell, l->pairs)
		((FloComparedPair *) lfirst(cell))->pending = !((FloComparedPair *) lfirst(cell))->finished;
	run_rounds(l);
	while (repair(l))
		run_rounds(l);
	flo_compare_clean(l->bus, l->group);
	(void) flo_transaction_begin();
	(void) flo_comparisons_over(l->group, l->request->id, "the table has left the group");
	flo_transaction_end(l->context);
}

/*
 * An error is the comparison's, not the replicator's.  The request stays: what lies
 * at the broker is cleared away by the replicator.
 */
void
flo_comparer_run(const FloProcessArgs *args)
{
	FloCompareLeader *l = palloc0(sizeof(FloCompareLeader));

	if (args->segment != 0)
	{
		flo_compare_helper_run(args);
		return;
	}
	l->args = args;
	l->context = CurrentMemoryContext;
	l->turn = AllocSetContextCreate(l->context, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	l->repairs = AllocSetContextCreate(l->context, "pg_flo repairs", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		compare(l);
	}
	PG_CATCH();
	{
		ErrorData  *error = recover(l);

		if (l->request == NULL)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("comparison " INT64_FORMAT " of group \"%s\" failed: %s", l->request->id,
						l->group, error->message)));
		flo_comparison_show(l, NULL, InvalidOid, FLO_COMPARISON_FAILED, error->message);
	}
	PG_END_TRY();
}
