/*
 * compare_scan.c
 *		Reads pages of a table under the snapshot of a comparison, values as text.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "core/loop.h"
#include "monitor/state.h"
#include "source/compare.h"
#include "utils/memutils.h"

/* Rows between two looks whether anybody wants us to go on */
#define ROWS_PER_LOOK 1024

uint64
flo_compare_description_hash(const char *description, int len)
{
	return hash_bytes_extended((const unsigned char *) description, len, 0);
}

bool *
flo_compare_key_flags(const FloComparePlanTable *plan)
{
	bool	   *is_key = palloc0(sizeof(bool) * Max(list_length(plan->columns), 1));
	ListCell   *column;
	ListCell   *key;

	foreach(column, plan->columns)
	{
		foreach(key, plan->keys)
			is_key[foreach_current_index(column)] |= strcmp(lfirst(column), lfirst(key)) == 0;
	}
	return is_key;
}

void
flo_compare_table_read(FloCompareAttempt *a, FloCompareTable *table, FloCompareTableRecord *record)
{
	record->relation = table->plan.relation;
	record->attempt = a->plan.attempt;
	record->lsn = a->lsn;
	table->rows_read = record->rows;
	flo_comparison_put(a->bus, a->bucket,
					   flo_compare_table_key(a->plan.id, a->plan.attempt, record->relation),
					   a->generation, &flo_compare_table_format, record);
}

void
flo_compare_scan_open(FloCompareScan *scan, MemoryContext context, const char *group,
					  const FloProcessArgs *args)
{
	scan->args = args;
	scan->row_context = AllocSetContextCreate(context, "pg_flo compared row",
											  ALLOCSET_DEFAULT_SIZES);
	flo_table_reader_open(&scan->reader, context, group, "comparison", true);
}

/* The row at hand as a digest wants it */
static void
take_values(FloCompareScan *scan)
{
	const FloChange *row = flo_change_parse(scan->reader.parser, scan->reader.message.data,
											scan->reader.message.len);

	if (row->new.natts != scan->natts)
		elog(ERROR, "row of %d columns instead of %d", row->new.natts, scan->natts);
	for (int i = 0; i < row->new.natts; i++)
	{
		const FloValue *value = &row->new.values[i];

		scan->values[i].data = value->kind == FLO_VALUE_NULL ? NULL : value->data;
		scan->values[i].len = (int) value->len;
	}
}

static void
read_rows(FloCompareScan *scan, BlockNumber first, BlockNumber end)
{
	TableScanDesc pages = flo_reading_scan(&scan->reading, first, end);
	uint64		rows = 0;

	while (table_scan_getnextslot_tidrange(pages, ForwardScanDirection, scan->reading.read))
	{
		MemoryContext old = MemoryContextSwitchTo(scan->row_context);

		if (flo_reading_row(&scan->reader, &scan->reading) == FLO_ROW_READ)
		{
			take_values(scan);
			scan->row(scan->arg);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(scan->row_context);
		if (++rows % ROWS_PER_LOOK == 0)
		{
			if (scan->read != NULL)
				(void) pg_atomic_fetch_add_u64(scan->read, ROWS_PER_LOOK);
			flo_check_interrupts();
			flo_helper_check(scan->args->slot, scan->args->incarnation);
		}
	}
	table_endscan(pages);
}

void
flo_compare_scan_pages(FloCompareScan *scan, const FloComparePart *part, Oid published,
					   uint64 description, BlockNumber first, BlockNumber end)
{
	flo_reading_begin(&scan->reader, &scan->reading, part->relation, published, part->filenode);
	if (flo_compare_description_hash(scan->reading.description,
									 scan->reading.description_len) != description)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table with OID %u got other columns or another key while the comparison began: it begins again",
						published)));
	read_rows(scan, first, end);
}

void
flo_compare_scan_close(FloCompareScan *scan)
{
	flo_reading_end(&scan->reading);
}
