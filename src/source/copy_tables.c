/*
 * copy_tables.c
 *		Which tables a copy is of, and whether they are still what its snapshot sees.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/text.h"
#include "executor/spi.h"
#include "source/copy.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Name and columns, as SHAPE_OF has them from the snapshot */
static char *
shape_of(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData shape;

	initStringInfo(&shape);
	appendStringInfo(&shape, "%s.%s", get_namespace_name(RelationGetNamespace(rel)),
					 RelationGetRelationName(rel));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped)
			appendStringInfo(&shape, ",%d %s %u %d", att->attnum, NameStr(att->attname),
							 att->atttypid, att->atttypmod);
	}
	return shape.data;
}

#define SHAPE_OF(table) \
"SELECT n.nspname || '.' || c.relname || coalesce(',' || pg_catalog.string_agg(" \
"a.attnum || ' ' || a.attname || ' ' || a.atttypid::pg_catalog.oid || ' ' || a.atttypmod, ',' ORDER BY a.attnum), '')" \
" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace" \
" LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped" \
" WHERE c.oid = " table " GROUP BY n.nspname, c.relname"

Relation
flo_copy_lock_relation(Oid relation, Oid filenode, const char *shape)
{
	Relation	rel;

	if (!ConditionalLockRelationOid(relation, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("table \"%s\" is locked by a change of its definition: the copy begins again",
						get_rel_name(relation) ? get_rel_name(relation) : "?")));
	rel = try_relation_open(relation, NoLock);
	if (rel == NULL || (OidIsValid(filenode) && rel->rd_rel->relfilenode != filenode))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table with OID %u was dropped or rewritten while the copy began: it begins again",
						relation)));
	if (shape == NULL || strcmp(shape_of(rel), shape) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" got another name or other columns while the copy began: it begins again",
						RelationGetRelationName(rel))));
	return rel;
}

/* OID it is published as, OID, file, and the shapes of both */
static const char *const relations_query =
"WITH RECURSIVE publications AS ("
" SELECT oid, pubviaroot FROM pg_catalog.pg_publication"
" WHERE pubname = ANY ($1::pg_catalog.text[]::pg_catalog.name[])),"
" listed AS ("
" SELECT r.prrelid AS oid, p.pubviaroot FROM publications p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid"
" UNION"
" SELECT c.oid, p.pubviaroot FROM publications p JOIN pg_catalog.pg_publication_namespace n ON n.pnpubid = p.oid"
" JOIN pg_catalog.pg_class c ON c.relnamespace = n.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'),"
" tree AS ("
" SELECT oid AS root, oid, pubviaroot FROM listed"
" UNION"
" SELECT t.root, i.inhrelid, t.pubviaroot FROM tree t"
" JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'p'"
" JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending)"
" SELECT DISTINCT CASE WHEN t.pubviaroot THEN t.root ELSE t.oid END::pg_catalog.oid, t.oid::pg_catalog.oid,"
" c.relfilenode::pg_catalog.oid, c.relpages, (" SHAPE_OF("t.oid") "),"
" (" SHAPE_OF("(CASE WHEN t.pubviaroot THEN t.root ELSE t.oid END)") ")"
" FROM tree t JOIN pg_catalog.pg_class c ON c.oid = t.oid"
" WHERE c.relkind = 'r' AND NOT (t.pubviaroot AND EXISTS ("
" SELECT FROM tree above WHERE above.oid = t.root AND above.root <> t.root AND above.pubviaroot))"
" ORDER BY c.relpages DESC, t.oid";

void
flo_copy_each_relation(const char *group, FloCopyRelationAction action, void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	FloTableChoice *choice = flo_store_table_choice(group);
	Oid			types[1] = {TEXTARRAYOID};
	Datum		values[1];

	if (choice == NULL)
		return;
	values[0] = flo_array_of_texts(flo_publication_names(group));
	SPI_connect();
	if (SPI_execute_with_args(relations_query, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables of the group");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		MemoryContext spi;
		FloCopyRelation what;

		what.published = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		what.relation = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		what.filenode = DatumGetObjectId(SPI_getbinval(row, desc, 3, &isnull));
		what.shape = SPI_getvalue(row, desc, 5);
		what.published_shape = SPI_getvalue(row, desc, 6);
		spi = MemoryContextSwitchTo(caller);
		if (!flo_choice_excepts(choice, what.relation))
			action(arg, &what);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
}

/* --- how much there is --------------------------------------------------- */

BlockNumber
flo_copy_toast_pages(Relation rel)
{
	BlockNumber pages = 0;
	Relation	toast;

	if (!OidIsValid(rel->rd_rel->reltoastrelid))
		return 0;
	toast = try_relation_open(rel->rd_rel->reltoastrelid, AccessShareLock);
	if (toast == NULL)
		return 0;
	pages = RelationGetNumberOfBlocks(toast);
	relation_close(toast, AccessShareLock);
	return pages;
}

/* The server takes a table that was never vacuumed for one of ten pages at least */
double
flo_copy_estimate_rows(Relation rel, BlockNumber pages)
{
	BlockNumber assumed = 0;
	double		rows = 0;
	double		visible;

	if (pages == 0)
		return 0;
	table_relation_estimate_size(rel, NULL, &assumed, &rows, &visible);
	return assumed > 0 ? rows / assumed * pages : 0;
}

uint64
flo_copy_task_bytes_done(const FloCopyTask *task)
{
	if (task->state == FLO_TASK_DONE)
		return task->bytes;
	return task->pages > 0 ? (uint64) ((double) task->bytes * task->pages_done / task->pages) : 0;
}

static int
compare_tables(const void *a, const void *b)
{
	Oid			x = (*(FloCopyTask *const *) a)->published;
	Oid			y = (*(FloCopyTask *const *) b)->published;

	return x < y ? -1 : (x > y ? 1 : 0);
}

FloCopyTask **
flo_copy_tasks_by_table(FloCopyPlan *plan)
{
	FloCopyTask **tasks = palloc(sizeof(FloCopyTask *) * Max(plan->ntasks, 1));

	for (int i = 0; i < plan->ntasks; i++)
		tasks[i] = &plan->tasks[i];
	qsort(tasks, plan->ntasks, sizeof(FloCopyTask *), compare_tables);
	return tasks;
}

List *
flo_copy_planned_tables(FloCopyPlan *plan)
{
	FloCopyTask **tasks = flo_copy_tasks_by_table(plan);
	FloPlannedTable *table = NULL;
	List	   *tables = NIL;

	for (int i = 0; i < plan->ntasks; i++)
	{
		char	   *name = get_rel_name(tasks[i]->published);

		if (name == NULL)
			continue;
		if (table == NULL || table->relation != tasks[i]->published)
		{
			table = palloc0(sizeof(FloPlannedTable));
			table->relation = tasks[i]->published;
			table->schema = get_namespace_name(get_rel_namespace(table->relation));
			table->table = name;
			tables = lappend(tables, table);
		}
		table->bytes += (int64) tasks[i]->bytes;
		table->rows += (int64) tasks[i]->rows_estimated;
	}
	return tables;
}

void
flo_copy_publish_plan(FloBus *bus, const char *bucket, FloCopyPlan *plan, const char *generation,
					  bool marked)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext aside = AllocSetContextCreate(old, "pg_flo plan", ALLOCSET_DEFAULT_SIZES);
	FloPlanRecord record = {0};

	MemoryContextSwitchTo(aside);
	record.tables = flo_copy_planned_tables(plan);
	flo_bucket_put_text(bus, bucket, marked ? FLO_MARKED_PLAN_KEY : FLO_PLAN_KEY,
						flo_schema_tag(generation, plan->attempt),
						flo_record_write(&flo_plan_format, &record));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(aside);
}
