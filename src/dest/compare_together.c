/*
 * compare_together.c
 *		Sums of tables under one snapshot, by the process that compares and helpers.
 *
 * Helpers are parallel workers of the server: they have the leader's snapshot and
 * transaction, their locks are of its lock group, so who waits for one of them is seen to
 * wait for the leader, and they end with it.  All read the same table at a time, blocks
 * as the server's parallel scans hand them out.
 *
 * A table is over when the leader has found no block left and all that have begun with
 * it have added their sums; from then on nobody begins with it, and it is free again.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "dest/compare_state.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/spin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Blocks for which a helper is worth its start: 8 MB */
#define BLOCKS_PER_HELPER (8 * 1024 * 1024 / BLCKSZ)

/* Rows between two looks whether anybody wants us to go on */
#define ROWS_PER_LOOK 256

/* ms between two looks whether the others are done */
#define NAP 5

#define KEY_SHARED UINT64CONST(1)

/* Offsets are from the beginning of Shared */
typedef struct SharedTable
{
	Oid			relid;
	Oid			run_as;
	bool		restricted;
	int			ncolumns;
	int64		nbuckets;
	int			nleaves;
	size_t		sums;			/* FloSharedSum[nbuckets] */
	size_t		columns;		/* AttrNumber[ncolumns] */
	size_t		in_bucket;		/* bool[ncolumns] */
	size_t		leaves;			/* Oid[nleaves] */
	size_t		scans;			/* size_t[nleaves]: where its
								 * ParallelTableScanDesc is; 0 = it has no
								 * rows of its own */
	pg_atomic_uint64 rows;		/* read so far, about */

	/* under the mutex */
	int			begun;			/* processes that read it */
	int			done;			/* and have added their sums */
	bool		over;			/* nobody begins with it any more */
} SharedTable;

typedef struct Shared
{
	slock_t		mutex;
	uint64		seed;
	int			ntables;
	SharedTable tables[FLEXIBLE_ARRAY_MEMBER];
} Shared;

/* One of the processes, at a table */
typedef struct Part
{
	FloCompareUnit *unit;		/* of the leader; NULL = a helper */
	Shared	   *shared;
	SharedTable *table;
	FloDigest  *digest;
	uint64		rows;
} Part;

static void *
at(Shared *shared, size_t offset)
{
	return (char *) shared + offset;
}

/* --- reading ------------------------------------------------------------- */

static void
look(Part *part, uint64 rows)
{
	uint64		before = pg_atomic_fetch_add_u64(&part->table->rows, rows);

	if (part->unit == NULL)
		CHECK_FOR_INTERRUPTS();
	else
	{
		part->unit->rows = (int64) (before + rows);
		flo_compare_proceed(part->unit->reader);
	}
}

static void
take_row(void *arg, const FloDigestValue *values)
{
	Part	   *part = arg;

	flo_digest_add(part->digest, values);
	if (++part->rows % ROWS_PER_LOOK == 0)
		look(part, ROWS_PER_LOOK);
}

static bool
begin(Part *part)
{
	bool		over;

	SpinLockAcquire(&part->shared->mutex);
	over = part->table->over;
	part->table->begun += over ? 0 : 1;
	SpinLockRelease(&part->shared->mutex);
	return !over;
}

/* As many of a table's blocks as the others leave; its digest lives in the current context */
static void
read_table(Part *part, const FloCompareTable *table)
{
	Shared	   *shared = part->shared;
	size_t	   *scans = at(shared, part->table->scans);
	ParallelTableScanDesc *together = palloc0(sizeof(ParallelTableScanDesc) *
											  Max(part->table->nleaves, 1));

	for (int i = 0; i < part->table->nleaves; i++)
		together[i] = scans[i] != 0 ? at(shared, scans[i]) : NULL;
	part->rows = 0;
	part->digest = flo_digest_create(shared->seed, table->nbuckets, table->ncolumns,
									 table->in_bucket);
	flo_compare_scan(table, NULL, together, take_row, part);
	look(part, part->rows % ROWS_PER_LOOK);
	flo_digest_add_shared(at(shared, part->table->sums), part->digest);
	SpinLockAcquire(&shared->mutex);
	part->table->done++;
	SpinLockRelease(&shared->mutex);
}

/* --- a helper ------------------------------------------------------------ */

extern PGDLLEXPORT void flo_compare_help(dsm_segment *segment, shm_toc *toc);

void
flo_compare_help(dsm_segment *segment, shm_toc *toc)
{
	Part		part = {.shared = shm_toc_lookup(toc, KEY_SHARED, false)};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared table",
												  ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(context);
	for (int i = 0; i < part.shared->ntables; i++)
	{
		FloCompareTable table = {0};
		Oid		   *leaves;

		part.table = &part.shared->tables[i];
		if (!begin(&part))
			continue;
		leaves = at(part.shared, part.table->leaves);
		for (int leaf = 0; leaf < part.table->nleaves; leaf++)
			table.leaves = lappend_oid(table.leaves, leaves[leaf]);
		table.relid = part.table->relid;
		table.run_as = part.table->run_as;
		table.restricted = part.table->restricted;
		table.nbuckets = part.table->nbuckets;
		table.in_bucket = at(part.shared, part.table->in_bucket);
		flo_compare_table_take_columns(&table, at(part.shared, part.table->columns),
									   part.table->ncolumns);
		read_table(&part, &table);
		MemoryContextReset(context);
	}
}

/* --- the leader ---------------------------------------------------------- */

static bool
is_read(const FloCompareUnit *unit)
{
	return unit->table->trouble == NULL && unit->digest != NULL;
}

static BlockNumber
blocks_of(const FloCompareUnit *unit)
{
	BlockNumber blocks = 0;
	ListCell   *cell;

	foreach(cell, unit->table->leaves)
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		if (rel->rd_rel->relkind == RELKIND_RELATION)
			blocks += RelationGetNumberOfBlocks(rel);
		table_close(rel, NoLock);
	}
	return blocks;
}

int
flo_compare_helpers_for(const FloCompareReader *r)
{
	uint64		blocks = 0;
	ListCell   *cell;

	foreach(cell, r->units)
	{
		if (is_read(lfirst(cell)))
			blocks += blocks_of(lfirst(cell));
	}
	return (int) Min((uint64) r->spec->options.loaders - 1, blocks / BLOCKS_PER_HELPER);
}

static size_t
reserve(size_t *size, size_t more)
{
	size_t		offset = *size;

	*size = add_size(*size, MAXALIGN(more));
	return offset;
}

/* What a table needs of shared memory, from *size on; written to "shared" unless that is NULL */
static void
lay_out(Shared *shared, int number, const FloCompareUnit *unit, Snapshot snapshot, size_t *size)
{
	const FloCompareTable *table = unit->table;
	int			nleaves = list_length(table->leaves);
	SharedTable t = {0};
	ListCell   *cell;

	t.relid = table->relid;
	t.run_as = table->run_as;
	t.restricted = table->restricted;
	t.ncolumns = table->ncolumns;
	t.nbuckets = table->nbuckets;
	t.nleaves = nleaves;
	t.sums = reserve(size, sizeof(FloSharedSum) * table->nbuckets);
	t.columns = reserve(size, sizeof(AttrNumber) * table->ncolumns);
	t.in_bucket = reserve(size, sizeof(bool) * table->ncolumns);
	t.leaves = reserve(size, sizeof(Oid) * nleaves);
	t.scans = reserve(size, sizeof(size_t) * nleaves);
	if (shared != NULL)
	{
		shared->tables[number] = t;
		pg_atomic_init_u64(&shared->tables[number].rows, 0);
		flo_digest_share(at(shared, t.sums), t.nbuckets);
		for (int i = 0; i < t.ncolumns; i++)
			((AttrNumber *) at(shared, t.columns))[i] = table->columns[i].attnum;
		memcpy(at(shared, t.in_bucket), table->in_bucket, sizeof(bool) * t.ncolumns);
	}
	foreach(cell, table->leaves)
	{
		int			leaf = foreach_current_index(cell);
		Relation	rel = table_open(lfirst_oid(cell), NoLock);
		size_t		scan = 0;

		if (rel->rd_rel->relkind == RELKIND_RELATION)
			scan = reserve(size, table_parallelscan_estimate(rel, snapshot));
		if (shared != NULL)
		{
			((Oid *) at(shared, t.leaves))[leaf] = lfirst_oid(cell);
			((size_t *) at(shared, t.scans))[leaf] = scan;
			if (scan != 0)
				table_parallelscan_initialize(rel, at(shared, scan), snapshot);
		}
		table_close(rel, NoLock);
	}
}

/* All tables; how much memory that takes */
static size_t
share(Shared *shared, const FloCompareReader *r, const List *units, Snapshot snapshot)
{
	size_t		size = MAXALIGN(offsetof(Shared, tables) +
								sizeof(SharedTable) * list_length(units));
	ListCell   *cell;

	if (shared != NULL)
	{
		SpinLockInit(&shared->mutex);
		shared->seed = r->plan->seed;
		shared->ntables = list_length(units);
	}
	foreach(cell, units)
		lay_out(shared, foreach_current_index(cell), lfirst(cell), snapshot, &size);
	return size;
}

/* Tables that are over: their sums, and they are free again.  False when others are not. */
static bool
collect(Shared *shared, const List *units, int read)
{
	bool		all = true;

	for (int i = 0; i < read; i++)
	{
		FloCompareUnit *unit = list_nth(units, i);
		SharedTable *table = &shared->tables[i];
		bool		over;

		if (unit->read)
			continue;
		SpinLockAcquire(&shared->mutex);
		over = table->over = table->begun == table->done;
		SpinLockRelease(&shared->mutex);
		all &= over;
		unit->rows = (int64) pg_atomic_read_u64(&table->rows);
		if (!over)
			continue;
		flo_digest_read_shared(at(shared, table->sums), unit->digest->buckets, table->nbuckets);
		unit->read = true;
		flo_compare_table_unlock(unit->table);
	}
	return all;
}

static void
lead(FloCompareReader *r, Shared *shared, const List *units)
{
	Part		part = {.shared = shared};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared table",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ListCell   *cell;

	foreach(cell, units)
	{
		part.unit = lfirst(cell);
		part.table = &shared->tables[foreach_current_index(cell)];
		(void) begin(&part);
		read_table(&part, part.unit->table);
		MemoryContextReset(context);
		(void) collect(shared, units, foreach_current_index(cell) + 1);
	}
	while (!collect(shared, units, list_length(units)))
	{
		flo_compare_proceed(r);
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, NAP);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
flo_compare_read_together(FloCompareReader *r, Snapshot snapshot, int helpers)
{
	List	   *units = NIL;
	ParallelContext *parallel;
	Shared	   *shared;
	size_t		size;
	ListCell   *cell;

	foreach(cell, r->units)
	{
		if (is_read(lfirst(cell)))
			units = lappend(units, lfirst(cell));
	}
	EnterParallelMode();
	parallel = CreateParallelContext("pg_flo", "flo_compare_help", helpers);
	size = share(NULL, r, units, snapshot);
	shm_toc_estimate_chunk(&parallel->estimator, size);
	shm_toc_estimate_keys(&parallel->estimator, 1);
	InitializeParallelDSM(parallel);
	shared = shm_toc_allocate(parallel->toc, size);
	(void) share(shared, r, units, snapshot);
	shm_toc_insert(parallel->toc, KEY_SHARED, shared);
	LaunchParallelWorkers(parallel);
	ereport(DEBUG1,
			(errmsg_internal("comparison " INT64_FORMAT ": %d helpers read", r->id,
							 parallel->nworkers_launched)));
	lead(r, shared, units);
	WaitForParallelWorkersToFinish(parallel);
	DestroyParallelContext(parallel);
	ExitParallelMode();
}
