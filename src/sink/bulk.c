/*
 * bulk.c
 *		Index entries of a table that is filled within one transaction.
 *
 * To make an index of rows that are there costs much less than its entries one by one.
 * A table that nobody else can look into or write to until the commit needs them by
 * then only: it is locked, its rows are written without entries, and all its indexes
 * are made anew before the commit, as REINDEX does.  When the transaction aborts, they
 * are what they were.
 *
 * Rows that could not be written as a set have made theirs, which are of no use then.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "core/compat_table.h"
#include "core/error_context.h"
#include "nodes/pg_list.h"
#include "sink/bulk.h"
#include "sink/traits.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Who waits for the table waits for the building of so many, too */
#define MOST_INDEXES 8

typedef struct FloBulk
{
	Oid			relid;
	uint32		source;
	char	   *schema;			/* of the source */
	char	   *table;
} FloBulk;

static List *tables;			/* of FloBulk *, in the transaction's memory */

/*
 * Does it take all rows at once as it takes them one by one, and soon?  Code of users
 * may take its time.
 */
static bool
index_is_plain(Relation index)
{
	Form_pg_index form = index->rd_index;
	bool		plain = form->indisvalid && form->indisready && form->indimmediate &&
		!form->indisexclusion && index->rd_rel->relam == BTREE_AM_OID &&
		RelationGetIndexExpressions(index) == NIL && RelationGetIndexPredicate(index) == NIL;

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		plain &= index->rd_opcintype[i] < FirstNormalObjectId &&
			index->rd_opfamily[i] < FirstNormalObjectId;
	return plain;
}

static bool
indexes_are_plain(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		plain = indexes != NIL && list_length(indexes) <= MOST_INDEXES;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		plain &= index_is_plain(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return plain;
}

/* A trigger that fires could look into the table, too */
static bool
is_fit(Oid relation)
{
	Relation	rel = try_table_open(relation, AccessShareLock);
	bool		fit;

	if (rel == NULL)
		return false;
	fit = relation >= FirstNormalObjectId && rel->rd_rel->relkind == RELKIND_RELATION &&
		rel->rd_rel->relam == HEAP_TABLE_AM_OID && RelationGetNumberOfBlocks(rel) == 0 &&
		indexes_are_plain(rel) && !flo_triggers_fire(rel);
	table_close(rel, AccessShareLock);
	return fit;
}

/* It may have changed before it was locked */
bool
flo_bulk_begin(Oid relation, const FloRelation *source)
{
	MemoryContext old;
	FloBulk    *bulk;

	if (!is_fit(relation) || !ConditionalLockRelationOid(relation, AccessExclusiveLock) ||
		!is_fit(relation))
		return false;
	old = MemoryContextSwitchTo(TopTransactionContext);
	bulk = palloc(sizeof(FloBulk));
	bulk->relid = relation;
	bulk->source = source->id;
	bulk->schema = pstrdup(source->schema);
	bulk->table = pstrdup(source->name);
	tables = lappend(tables, bulk);
	MemoryContextSwitchTo(old);
	return true;
}

bool
flo_bulk_has(Oid relation)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		if (((FloBulk *) lfirst(cell))->relid == relation)
			return true;
	}
	return false;
}

void
flo_bulk_build(void)
{
	List	   *all = tables;
	ListCell   *cell;

	tables = NIL;
	CommandCounterIncrement();
	foreach(cell, all)
	{
		FloBulk    *bulk = lfirst(cell);

		flo_error_context_source(bulk->source, bulk->schema, bulk->table);
		flo_compat_reindex(bulk->relid);
	}
}
