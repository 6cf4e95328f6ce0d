/*
 * compare_summing.c
 *		Sums of tables under one snapshot, by several processes.
 *
 * Tables are cut into ranges of pages, which the leader and its helpers take one after
 * the other.  Each adds up a range for itself and then adds that to the table's sums,
 * in dynamic shared memory.  A helper that ends before its range is done ends the
 * attempt: nothing says how much of it was added.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/transaction.h"
#include "monitor/state.h"
#include "port/atomics.h"
#include "source/compare.h"
#include "storage/bufmgr.h"
#include "storage/dsm.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Pages of a range: 64 MB */
#define RANGE_PAGES (64 * 1024 * 1024 / BLCKSZ)

typedef struct SharedTable
{
	Oid			published;
	uint64		description;
	int			natts;
	int64		nbuckets;
	size_t		keys;			/* where its flags are, bool[natts] */
	size_t		sums;			/* and its sums, FloSharedSum[nbuckets] */
	pg_atomic_uint64 read;		/* rows so far, about */
} SharedTable;

typedef struct Range
{
	int			table;			/* number of it */
	FloComparePart part;
	BlockNumber first;
	BlockNumber end;
} Range;

typedef struct SharedPlan
{
	char		group[FLO_NAME_BUF];
	char		snapshot[64];
	uint64		seed;
	int			ntables;
	int			nranges;
	size_t		tables;			/* where they are, SharedTable[ntables] */
	size_t		ranges;			/* Range[nranges] */
	pg_atomic_uint32 taken;		/* ranges that somebody has begun with */
	pg_atomic_uint32 done;		/* and those that are added up */
} SharedPlan;

/* One of the processes */
typedef struct Summer
{
	FloCompareScan scan;
	SharedPlan *plan;
	FloDigest  *digest;
	MemoryContext range_context;
} Summer;

static SharedTable *
table_at(SharedPlan *plan, int number)
{
	return (SharedTable *) ((char *) plan + plan->tables) + number;
}

static FloSharedSum *
sums_of(SharedPlan *plan, const SharedTable *table)
{
	return (FloSharedSum *) ((char *) plan + table->sums);
}

static Range *
range_at(SharedPlan *plan, int number)
{
	return (Range *) ((char *) plan + plan->ranges) + number;
}

/* --- adding up ----------------------------------------------------------- */

static void
take_row(void *arg)
{
	Summer	   *s = arg;

	flo_digest_add(s->digest, s->scan.values);
}

static void
do_range(Summer *s, const Range *range)
{
	SharedTable *table = table_at(s->plan, range->table);
	MemoryContext old = MemoryContextSwitchTo(s->range_context);

	flo_injection_point("compared.before");
	s->scan.natts = table->natts;
	s->scan.read = &table->read;
	s->scan.values = palloc0(sizeof(FloDigestValue) * Max(table->natts, 1));
	s->digest = flo_digest_create(s->plan->seed, table->nbuckets, table->natts,
								  (bool *) ((char *) s->plan + table->keys));
	flo_compare_scan_pages(&s->scan, &range->part, table->published, table->description,
						   range->first, range->end);
	flo_compare_scan_close(&s->scan);
	flo_digest_add_shared(sums_of(s->plan, table), s->digest);
	(void) pg_atomic_fetch_add_u32(&s->plan->done, 1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(s->range_context);
}

static void
do_ranges(SharedPlan *plan, const FloProcessArgs *args, MemoryContext context)
{
	Summer	   *s = MemoryContextAllocZero(context, sizeof(Summer));
	uint32		next;

	s->plan = plan;
	s->range_context = AllocSetContextCreate(context, "pg_flo compared range",
											 ALLOCSET_DEFAULT_SIZES);
	s->scan.row = take_row;
	s->scan.arg = s;
	flo_compare_scan_open(&s->scan, context, plan->group, args);
	while ((next = pg_atomic_fetch_add_u32(&plan->taken, 1)) < (uint32) plan->nranges)
		do_range(s, range_at(plan, (int) next));
}

void
flo_compare_summer_run(const FloProcessArgs *args)
{
	MemoryContext context = CurrentMemoryContext;
	dsm_segment *segment = dsm_attach(args->segment);
	SharedPlan *plan;

	if (segment == NULL)
		return;					/* the leader is gone */
	dsm_pin_mapping(segment);
	plan = dsm_segment_address(segment);
	flo_transaction_start();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	ImportSnapshot(plan->snapshot);
	PushActiveSnapshot(GetTransactionSnapshot());
	do_ranges(plan, args, context);
	PopActiveSnapshot();
	flo_transaction_commit();
}

/* The plan may go at any time: it is mapped for as long as this takes */
void
flo_compare_progress(uint32 segment, FloCompareProgress tell, void *arg)
{
	dsm_segment *mapped = dsm_attach(segment);
	SharedPlan *plan;

	if (mapped == NULL)
		return;
	plan = dsm_segment_address(mapped);
	for (int i = 0; i < plan->ntables; i++)
	{
		int64		rows = (int64) pg_atomic_read_u64(&table_at(plan, i)->read);

		if (rows > 0)
			tell(arg, table_at(plan, i)->published, rows);
	}
	dsm_detach(mapped);
}

/* --- the leader ---------------------------------------------------------- */

/* List of Range *, the last one of each part open */
static List *
cut(const FloCompareAttempt *a)
{
	List	   *ranges = NIL;
	ListCell   *t;
	ListCell   *p;

	foreach(t, a->tables)
	{
		foreach(p, ((FloCompareTable *) lfirst(t))->parts)
		{
			FloComparePart *part = lfirst(p);
			Relation	rel = relation_open(part->relation, AccessShareLock);
			BlockNumber pages = RelationGetNumberOfBlocks(rel);

			relation_close(rel, NoLock);
			for (BlockNumber first = 0; first == 0 || first < pages; first += RANGE_PAGES)
			{
				Range	   *range = palloc0(sizeof(Range));

				range->table = foreach_current_index(t);
				range->part = *part;
				range->first = first;
				range->end = first + RANGE_PAGES < pages ? first + RANGE_PAGES : InvalidBlockNumber;
				ranges = lappend(ranges, range);
			}
		}
	}
	return ranges;
}

static void
put_table(SharedPlan *plan, int number, const FloCompareTable *table, size_t *at)
{
	SharedTable *shared = table_at(plan, number);

	shared->published = table->plan.relation;
	shared->description = table->description;
	shared->natts = list_length(table->plan.columns);
	shared->nbuckets = table->plan.buckets;
	pg_atomic_init_u64(&shared->read, 0);
	shared->sums = *at;
	flo_digest_share(sums_of(plan, shared), shared->nbuckets);
	*at += sizeof(FloSharedSum) * shared->nbuckets;
	shared->keys = *at;
	memcpy((char *) plan + *at, flo_compare_key_flags(&table->plan), sizeof(bool) * shared->natts);
	*at += MAXALIGN(sizeof(bool) * shared->natts);
}

static dsm_segment *
share(const FloCompareAttempt *a, const List *ranges)
{
	size_t		tables = MAXALIGN(sizeof(SharedPlan));
	size_t		at = tables + MAXALIGN(sizeof(SharedTable) * list_length(a->tables));
	size_t		size = at + MAXALIGN(sizeof(Range) * list_length(ranges));
	dsm_segment *segment;
	SharedPlan *plan;
	ListCell   *cell;

	foreach(cell, a->tables)
	{
		const FloCompareTable *table = lfirst(cell);

		size += sizeof(FloSharedSum) * table->plan.buckets +
			MAXALIGN(sizeof(bool) * list_length(table->plan.columns));
	}
	segment = dsm_create(size, 0);
	plan = dsm_segment_address(segment);
	memset(plan, 0, sizeof(SharedPlan));
	strlcpy(plan->group, a->group, sizeof(plan->group));
	strlcpy(plan->snapshot, ExportSnapshot(GetActiveSnapshot()), sizeof(plan->snapshot));
	plan->seed = a->plan.seed;
	plan->tables = tables;
	plan->ntables = list_length(a->tables);
	plan->ranges = at;
	plan->nranges = list_length(ranges);
	pg_atomic_init_u32(&plan->taken, 0);
	pg_atomic_init_u32(&plan->done, 0);
	foreach(cell, ranges)
		* range_at(plan, foreach_current_index(cell)) = *(Range *) lfirst(cell);
	at += MAXALIGN(sizeof(Range) * plan->nranges);
	foreach(cell, a->tables)
		put_table(plan, foreach_current_index(cell), lfirst(cell), &at);
	Assert(at == size);
	return segment;
}

/* As many as are free; what none of them does the leader does itself */
static void
start_helpers(FloCompareAttempt *a, dsm_segment *segment, int count)
{
	for (int i = 1; i <= count; i++)
	{
		FloProcessArgs args = *a->args;
		BackgroundWorkerHandle *handle;

		args.segment = dsm_segment_handle(segment);
		args.number = i;
		if (!flo_process_start(&args, psprintf("pg_flo comparer %s %d", a->group, i), &handle))
			return;
		a->helpers = lappend(a->helpers, handle);
	}
}

static void
await_helpers(FloCompareAttempt *a)
{
	ListCell   *cell;

	foreach(cell, a->helpers)
	{
		while (!flo_process_ended(lfirst(cell)))
		{
			flo_helper_check(a->args->slot, a->args->incarnation);
			flo_wait_means(FLO_WAIT_MEMBER);
			flo_wait(PGINVALID_SOCKET, false, 100);
		}
	}
	a->helpers = NIL;
}

void
flo_compare_end_helpers(FloCompareAttempt *a)
{
	ListCell   *cell;

	foreach(cell, a->helpers)
		TerminateBackgroundWorker(lfirst(cell));
	a->helpers = NIL;
}

static void
tell_sums(FloCompareAttempt *a, SharedPlan *plan, int number)
{
	SharedTable *shared = table_at(plan, number);
	FloBucketSum *buckets = palloc(sizeof(FloBucketSum) * shared->nbuckets);
	FloCompareTableRecord record = {0};

	flo_digest_read_shared(sums_of(plan, shared), buckets, shared->nbuckets);
	for (int64 i = 0; i < shared->nbuckets; i++)
		record.rows += (int64) buckets[i].rows;
	record.sums = flo_digest_format(buckets, shared->nbuckets);
	flo_compare_table_read(a, list_nth(a->tables, number), &record);
}

void
flo_compare_read_sums(FloCompareAttempt *a, int processes)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo compared tables",
												  ALLOCSET_DEFAULT_SIZES);
	dsm_segment *segment;
	SharedPlan *plan;

	MemoryContextSwitchTo(context);
	segment = share(a, cut(a));
	plan = dsm_segment_address(segment);
	a->show_plan(a->arg, dsm_segment_handle(segment));
	start_helpers(a, segment, Min(processes, plan->nranges) - 1);
	do_ranges(plan, a->args, context);
	await_helpers(a);
	if (pg_atomic_read_u32(&plan->done) != (uint32) plan->nranges)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a process that read for the comparison ended before it was done: %s",
						flo_helper_last_error(a->args->slot))));
	a->show_plan(a->arg, 0);
	for (int i = 0; i < plan->ntables; i++)
		tell_sums(a, plan, i);
	dsm_detach(segment);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
