/*
 * compare_sums.c
 *		Sums of a table here against those of the source.
 */
#include "postgres.h"

#include "dest/compare_state.h"
#include "utils/memutils.h"

/* Add the sums of a source of more buckets to those of fewer */
static void
fold(FloBucketSum *into, int64 nbuckets, const FloBucketSum *from, int64 of)
{
	for (int64 i = 0; i < of; i += nbuckets)
		flo_digest_merge(into, from + i, nbuckets);
}

/* The source's sums, of all its tables that lead here; NULL with the reason when there are none */
static FloBucketSum *
source_sums(FloCompareUnit *unit, const char **why)
{
	FloCompareReader *r = unit->reader;
	FloBucketSum *sums = palloc0(sizeof(FloBucketSum) * unit->table->nbuckets);
	ListCell   *cell;

	foreach(cell, unit->table->sources)
	{
		const FloComparePlanTable *plan = ((FloCompareSource *) lfirst(cell))->plan;
		char	   *key = flo_compare_table_key(r->id, r->attempt, plan->relation);
		FloCompareTableRecord *record = flo_comparison_get(r->bus, r->bucket, key, r->generation,
														   &flo_compare_table_format);
		FloBucketSum *of_table = record != NULL && record->sums != NULL ?
			flo_digest_parse(record->sums, plan->buckets) : NULL;

		if (of_table == NULL)
		{
			*why = record != NULL && record->failed != NULL ? record->failed :
				psprintf("the source said no sums of table \"%s.%s\"", plan->schema, plan->table);
			return NULL;
		}
		unit->source_rows = Max(unit->source_rows, 0) + record->rows;
		fold(sums, unit->table->nbuckets, of_table, plan->buckets);
	}
	return sums;
}

static int64
in_use(const FloBucketSum *one, const FloBucketSum *other, int64 nbuckets)
{
	int64		count = 0;

	for (int64 i = 0; i < nbuckets; i++)
		count += one[i].rows > 0 || other[i].rows > 0;
	return count;
}

static void
compare_sums(FloCompareUnit *unit)
{
	int64		nbuckets = unit->table->nbuckets;
	const char *why = NULL;
	FloBucketSum *sums = source_sums(unit, &why);
	bool	   *differing;
	int64		count;
	int64		all;

	if (sums == NULL)
	{
		flo_compare_tell(unit, FLO_COMPARED_VOID, NULL, why);
		return;
	}
	differing = flo_buckets_differing(sums, unit->digest->buckets, nbuckets, &count);
	all = in_use(sums, unit->digest->buckets, nbuckets);
	if (count == 0)
		flo_compare_tell(unit, FLO_COMPARED_EQUAL, NULL, NULL);
	else
	{
		/*
		 * Where most differ it may be that values of the key are written
		 * otherwise here, and rows in other buckets than at the source
		 */
		flo_compare_tell(unit, FLO_COMPARED_BUCKETS, count > all / 2 ? NULL : differing,
						 psprintf(INT64_FORMAT " of " INT64_FORMAT " buckets differ", count, all));
	}
	pfree(sums);
	pfree(differing);
}

void
flo_compare_sums(FloCompareReader *r)
{
	MemoryContext turn = AllocSetContextCreate(r->context, "pg_flo sums", ALLOCSET_DEFAULT_SIZES);
	FloClock	asked = flo_clock();
	long		pause = FLO_COMPARE_PAUSE;

	for (;;)
	{
		int			left = 0;
		List	   *relations;
		ListCell   *cell;

		MemoryContextReset(turn);
		MemoryContextSwitchTo(turn);
		relations = flo_compare_said(r);
		foreach(cell, r->units)
		{
			FloCompareUnit *unit = lfirst(cell);

			if (unit->told || unit->table->trouble != NULL)
				continue;
			if (unit->digest == NULL)
				flo_compare_tell(unit, FLO_COMPARED_BUCKETS, NULL, unit->table->only_rows);
			else if (!flo_compare_all_said(unit->table, relations))
				left++;
			else
			{
				compare_sums(unit);
				pause = FLO_COMPARE_PAUSE;
			}
			flo_compare_proceed(r);
		}
		if (left == 0)
			break;
		if (flo_clock_passed(asked, FLO_COMPARE_PATIENCE))
		{
			asked = flo_clock();
			flo_compare_check_source(r);
		}
		flo_compare_proceed(r);
		flo_bus_wait_for(r->bus, FLO_WAIT_APPLY, pause);
		pause = Min(pause * 2, FLO_COMPARE_PAUSE_MAX);
	}
	MemoryContextSwitchTo(r->context);
	MemoryContextDelete(turn);
}
