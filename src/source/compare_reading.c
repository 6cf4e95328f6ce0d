/*
 * compare_reading.c
 *		Reads tables under one snapshot, by several processes: their sums, or rows.
 *
 * Tables are cut into ranges of pages, which the leader and its helpers take one after
 * the other.  In the round of sums each adds up a range for itself and then adds that to
 * the table's sums, in dynamic shared memory; in that of rows each publishes those of the
 * buckets that are wanted.  A helper that ends before its range is done ends the attempt:
 * nothing says how much of it was added, or sent.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "core/clock.h"
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

/* Between two looks whether there is room to be made in the stream: rows, and ms */
#define ROWS_PER_LOOK 1024
#define ROOM_PAUSE 1000

typedef struct SharedTable
{
	Oid			published;
	uint64		description;
	int			natts;
	int64		nbuckets;
	size_t		keys;			/* where its flags are, bool[natts] */
	size_t		sums;			/* and its sums, FloSharedSum[nbuckets] */
	size_t		wanted;			/* and which buckets are, bool[nbuckets]; 0 =
								 * all */
	pg_atomic_uint64 read;		/* rows so far, about */

	/* round of rows */
	pg_atomic_uint64 sent;		/* rows */
	pg_atomic_uint32 chunks;
	pg_atomic_uint32 left;		/* ranges that are not done */
	bool		told;			/* the leader's: it was said how many */
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
	FloCompareRound round;
	uint32		attempt;
	FloChunkHeader identity;	/* of chunks with rows */
	uint64		seed;
	int			ntables;
	int			nranges;
	size_t		tables;			/* where they are, SharedTable[ntables] */
	size_t		ranges;			/* Range[nranges] */
	pg_atomic_uint32 taken;		/* ranges that somebody has begun with */
	pg_atomic_uint32 done;		/* and those that are added up */
} SharedPlan;

/* One of the processes */
typedef struct Reader
{
	FloCompareScan scan;
	SharedPlan *plan;
	FloDigest  *digest;			/* sums; or what chooses the bucket of a row */
	const bool *wanted;			/* buckets; NULL = all */
	FloCompareSender *sender;	/* NULL: round of sums */
	FloCompareAttempt *leader;	/* NULL: a helper */
	FloClock	looked;
	uint64		rows;
	uint64		sent;
	MemoryContext range_context;
} Reader;

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

/* --- ranges -------------------------------------------------------------- */

/* Those who read the stream make room in it, which helpers may wait for, too */
static void
make_room(Reader *r)
{
	if (r->leader == NULL || !flo_clock_passed(r->looked, ROOM_PAUSE))
		return;
	r->looked = flo_clock();
	r->leader->wait(r->leader->arg);
}

static void
take_row(void *arg)
{
	Reader	   *r = arg;

	if (r->sender == NULL)
	{
		flo_digest_add(r->digest, r->scan.values);
		return;
	}
	if (++r->rows % ROWS_PER_LOOK == 0)
		make_room(r);
	if (r->wanted != NULL && !r->wanted[flo_digest_bucket(r->digest, r->scan.values)])
		return;
	flo_compare_sender_row(r->sender);
	r->sent++;
}

static void
do_range(Reader *r, int number)
{
	const Range *range = range_at(r->plan, number);
	SharedTable *table = table_at(r->plan, range->table);
	MemoryContext old = MemoryContextSwitchTo(r->range_context);
	FloCopyKey	key = {.relation = table->published,.attempt = r->plan->attempt,.range = number};

	flo_injection_point("compared.before");
	r->scan.natts = table->natts;
	r->scan.read = &table->read;
	r->scan.values = palloc0(sizeof(FloDigestValue) * Max(table->natts, 1));
	r->digest = flo_digest_create(r->plan->seed, table->nbuckets, table->natts,
								  (bool *) ((char *) r->plan + table->keys));
	r->wanted = table->wanted != 0 ? (bool *) ((char *) r->plan + table->wanted) : NULL;
	r->sent = 0;
	if (r->sender != NULL)
		flo_compare_sender_begin(r->sender, &r->scan, &key);
	flo_compare_scan_pages(&r->scan, &range->part, table->published, table->description,
						   range->first, range->end);
	if (r->sender != NULL)
		(void) pg_atomic_fetch_add_u32(&table->chunks, flo_compare_sender_end(r->sender));
	else
		flo_digest_add_shared(sums_of(r->plan, table), r->digest);
	flo_compare_scan_close(&r->scan);
	(void) pg_atomic_fetch_add_u64(&table->sent, (int64) r->sent);
	(void) pg_atomic_fetch_sub_u32(&table->left, 1);
	(void) pg_atomic_fetch_add_u32(&r->plan->done, 1);
	MemoryContextSwitchTo(old);
	MemoryContextReset(r->range_context);
}

static Reader *
create_reader(SharedPlan *plan, const FloProcessArgs *args, FloBus *bus, FloCompareAttempt *leader)
{
	Reader	   *r = palloc0(sizeof(Reader));

	r->plan = plan;
	r->leader = leader;
	r->range_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared range",
											 ALLOCSET_DEFAULT_SIZES);
	r->scan.row = take_row;
	r->scan.arg = r;
	flo_compare_scan_open(&r->scan, CurrentMemoryContext, plan->group, args);
	if (plan->round == FLO_COMPARE_ROWS)
		r->sender = flo_compare_sender_create(bus, plan->group, args, &plan->identity,
											  leader != NULL ? leader->wait : NULL,
											  leader != NULL ? leader->arg : NULL);
	return r;
}

/* The next one that nobody has; false when there is none */
static bool
take_range(Reader *r)
{
	uint32		next = pg_atomic_fetch_add_u32(&r->plan->taken, 1);

	if (next >= (uint32) r->plan->nranges)
		return false;
	do_range(r, (int) next);
	return true;
}

void
flo_compare_helper_run(const FloProcessArgs *args)
{
	FloBus	   *bus = NULL;
	Reader	   *r;
	dsm_segment *segment = dsm_attach(args->segment);
	SharedPlan *plan;

	if (segment == NULL)
		return;					/* the leader is gone */
	dsm_pin_mapping(segment);
	plan = dsm_segment_address(segment);
	if (plan->round == FLO_COMPARE_ROWS)
		bus = flo_bus_connect(psprintf("pg_flo comparer %s %d", plan->group, args->number));
	if (!flo_transaction_start_at(plan->snapshot))
		return;					/* the leader is gone, or has all it wants */
	r = create_reader(plan, args, bus, NULL);
	while (take_range(r))
		;
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
	pg_atomic_init_u64(&shared->sent, 0);
	pg_atomic_init_u32(&shared->chunks, 0);
	pg_atomic_init_u32(&shared->left, 0);
	shared->sums = *at;
	flo_digest_share(sums_of(plan, shared), shared->nbuckets);
	*at += sizeof(FloSharedSum) * shared->nbuckets;
	shared->keys = *at;
	memcpy((char *) plan + *at, flo_compare_key_flags(&table->plan), sizeof(bool) * shared->natts);
	*at += MAXALIGN(sizeof(bool) * shared->natts);
	if (table->wanted == NULL)
		return;
	shared->wanted = *at;
	memcpy((char *) plan + *at, table->wanted, sizeof(bool) * shared->nbuckets);
	*at += MAXALIGN(sizeof(bool) * shared->nbuckets);
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
			MAXALIGN(sizeof(bool) * list_length(table->plan.columns)) +
			(table->wanted != NULL ? MAXALIGN(sizeof(bool) * table->plan.buckets) : 0);
	}
	segment = dsm_create(size, 0);
	plan = dsm_segment_address(segment);
	memset(plan, 0, sizeof(SharedPlan));
	strlcpy(plan->group, a->group, sizeof(plan->group));
	strlcpy(plan->snapshot, ExportSnapshot(GetActiveSnapshot()), sizeof(plan->snapshot));
	plan->round = a->plan.round;
	plan->attempt = a->plan.attempt;
	plan->identity = a->identity;
	plan->identity.position = plan->identity.from = plan->identity.upto = a->lsn;
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
	foreach(cell, ranges)
		(void) pg_atomic_fetch_add_u32(&table_at(plan, ((Range *) lfirst(cell))->table)->left, 1);
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

/* How many rows and chunks were sent of tables that are done */
static void
tell_sent(FloCompareAttempt *a, SharedPlan *plan)
{
	for (int i = 0; i < plan->ntables; i++)
	{
		SharedTable *table = table_at(plan, i);
		FloCompareTableRecord record = {0};

		if (table->told || pg_atomic_read_u32(&table->left) > 0)
			continue;
		pg_read_barrier();
		record.rows = (int64) pg_atomic_read_u64(&table->sent);
		record.chunks = pg_atomic_read_u32(&table->chunks);
		flo_compare_table_read(a, list_nth(a->tables, i), &record);
		table->told = true;
	}
}

static void
await_helpers(FloCompareAttempt *a, Reader *r)
{
	ListCell   *cell;

	foreach(cell, a->helpers)
	{
		while (!flo_process_ended(lfirst(cell)))
		{
			if (r->sender != NULL)
			{
				make_room(r);
				tell_sent(a, r->plan);
			}
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
flo_compare_read(FloCompareAttempt *a, int processes)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo compared tables",
												  ALLOCSET_DEFAULT_SIZES);
	dsm_segment *segment;
	SharedPlan *plan;
	Reader	   *r;

	MemoryContextSwitchTo(context);
	segment = share(a, cut(a));
	plan = dsm_segment_address(segment);
	a->show_plan(a->arg, dsm_segment_handle(segment));
	start_helpers(a, segment, Min(processes, plan->nranges) - 1);
	r = create_reader(plan, a->args, a->bus, a);
	while (take_range(r))
		if (r->sender != NULL)
			tell_sent(a, plan);
	await_helpers(a, r);
	if (pg_atomic_read_u32(&plan->done) != (uint32) plan->nranges)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("a process that read for the comparison ended before it was done: %s",
						flo_helper_last_error(a->args->slot))));
	a->show_plan(a->arg, 0);
	if (r->sender != NULL)
		tell_sent(a, plan);
	for (int i = 0; i < plan->ntables && r->sender == NULL; i++)
		tell_sums(a, plan, i);
	dsm_detach(segment);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
