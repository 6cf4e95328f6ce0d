/*
 * compare_rows.c
 *		Rows of a table that is compared, here and as they come from the source, as
 *		text.
 *
 * Both sides' values go through the type of the column here, so that they are
 * compared in the form that this server gives them.  Values are made as whom the
 * worker writes the table: functions of types may be anybody's.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "core/compat_table.h"
#include "dest/compare_rows.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static const FloDigestValue no_value;	/* NULL */

/* --- rows here ----------------------------------------------------------- */

static void
show_row(const FloCompareTable *table, TupleTableSlot *slot, FloDigestValue *values)
{
	slot_getallattrs(slot);
	for (int i = 0; i < table->ncolumns; i++)
	{
		FloCompareColumn *column = &table->columns[i];
		int			place = column->attnum - 1;

		if (slot->tts_isnull[place])
			values[i] = no_value;
		else
			values[i] = flo_compare_value(column, slot->tts_values[place]);
	}
}

/* Locked by who leads; a helper of his locks it, too */
static void
scan_leaf(const FloCompareTable *table, Relation root, Oid leaf, Snapshot snapshot,
		  ParallelTableScanDesc together, FloCompareRowTaker row, void *arg)
{
	Relation	rel = table_open(leaf, AccessShareLock);
	TupleConversionMap *map;
	TupleTableSlot *slot;
	TupleTableSlot *mapped;
	TableScanDesc scan;
	MemoryContext context;
	FloDigestValue *values = palloc(Max(table->ncolumns, 1) * sizeof(FloDigestValue));

	if (rel->rd_rel->relkind != RELKIND_RELATION)
	{
		table_close(rel, AccessShareLock);
		return;
	}
	map = rel == root ? NULL :
		convert_tuples_by_name(RelationGetDescr(rel), RelationGetDescr(root));
	slot = table_slot_create(rel, NULL);
	mapped = MakeSingleTupleTableSlot(RelationGetDescr(root), &TTSOpsVirtual);
	context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared row",
									ALLOCSET_DEFAULT_SIZES);
	scan = together != NULL ? flo_compat_table_beginscan_parallel(rel, together) :
		flo_compat_table_beginscan(rel, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		show_row(table, map == NULL ? slot : execute_attr_map_slot(map->attrMap, slot, mapped),
				 values);
		row(arg, values);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(mapped);
	MemoryContextDelete(context);
	table_close(rel, AccessShareLock);
}

void
flo_compare_scan(const FloCompareTable *table, Snapshot snapshot,
				 ParallelTableScanDesc *together, FloCompareRowTaker row, void *arg)
{
	Relation	root = table_open(table->relid, AccessShareLock);
	FloAsRole	as;
	ListCell   *cell;

	flo_compare_enter(table, &as);
	foreach(cell, table->leaves)
		scan_leaf(table, root, lfirst_oid(cell), snapshot,
				  together != NULL ? together[foreach_current_index(cell)] : NULL, row, arg);
	flo_as_role_leave(&as);
	table_close(root, AccessShareLock);
}

/* --- rows of the source -------------------------------------------------- */

void
flo_compare_convert(const FloCompareTable *table, FloCompareSource *source,
					const FloChange *change, FloDigestValue *values)
{
	if (!flo_compare_source_bind(table, source, change->relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("rows of table \"%s.%s\" came without a column that is compared",
						source->plan->schema, source->plan->table)));
	for (int i = 0; i < table->ncolumns; i++)
	{
		FloCompareColumn *column = &table->columns[i];
		const FloValue *value;

		if (source->places[i] >= change->new.natts)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a row of table \"%s.%s\" has fewer values than its table columns",
							source->plan->schema, source->plan->table)));
		value = &change->new.values[source->places[i]];
		values[i] = no_value;
		if (value->kind == FLO_VALUE_NULL)
			continue;
		if (value->kind == FLO_VALUE_UNCHANGED)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a row of table \"%s.%s\" came without one of its values",
							source->plan->schema, source->plan->table)));
		values[i] = flo_compare_value(column, flo_convert(&source->converters[i], value));
	}
}
