/*
 * entries.c
 *		Index entries of rows that are written without a statement.
 *
 * Most of the time that changes take goes here, and a good part of it into the look
 * whether a key is there already.  An UPDATE that leaves the columns of a unique
 * index as they are needs none, and mostly does without:
 *
 * Nobody else can have the key.  The row just updated had it, and is in the index, as
 * the index is valid; so all who came before were refused, and as long as this
 * transaction runs all who come find that row, and wait.
 *
 * When this transaction has committed, they find the new version.  That takes more:
 * who enters a key reads its entries one after the other, from left to right, and may have
 * passed the new one's place before it was there, and come to the old one when it is
 * dead.  The server's own check excludes that by a lock on the first page, which this
 * goes without.  So it is left out only where the new entry is to the right of the old
 * one: who has found the old one dead comes to the new one after that.  Entries of one
 * key lie in the order of the rows, and on each page of the table all versions of a row have one
 * entry, so that is where the new version lies on a later page than the old one.  Old
 * indexes, which pg_upgrade has taken along, do not keep that order.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "sink/entries.h"
#include "utils/datum.h"
#include "utils/rel.h"

/* Does this index hold one live entry of each key, in the order described above? */
static bool
keeps_places(Relation rel, Relation index)
{
	Form_pg_index form = index->rd_index;
	bool		ordered = false;
	bool		equal_is_image;

	if (rel->rd_rel->relam != HEAP_TABLE_AM_OID || index->rd_rel->relam != BTREE_AM_OID ||
		!form->indisunique || !form->indimmediate || !form->indisvalid || !form->indisready)
		return false;
	_bt_metaversion(index, &ordered, &equal_is_image);
	return ordered;
}

void
flo_entries_begin(FloEntries *entries, ResultRelInfo *info, EState *estate)
{
	entries->info = info;
	entries->estate = estate;
	entries->plain = true;
	entries->keeps = MemoryContextAllocZero(estate->es_query_cxt,
											Max(info->ri_NumIndices, 1) * sizeof(bool));
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Relation	index = info->ri_IndexRelationDescs[i];
		IndexInfo  *index_info = info->ri_IndexRelationInfo[i];

		if (index == NULL)
			continue;
		if (index_info->ii_Expressions != NIL || index_info->ii_Predicate != NIL ||
			index_info->ii_ExclusionOps != NULL || !index->rd_index->indimmediate)
			entries->plain = false;
		entries->keeps[i] = keeps_places(info->ri_RelationDesc, index);
	}
}

void
flo_entries_insert(FloEntries *entries, TupleTableSlot *slot)
{
	flo_compat_insert_index_tuples(entries->info, slot, entries->estate);
}

/* Has the row the very same values in the columns of the index? */
static bool
same_columns(Relation index, TupleTableSlot *old, TupleTableSlot *new)
{
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		int			at = index->rd_index->indkey.values[i] - 1;
		Form_pg_attribute att = TupleDescAttr(new->tts_tupleDescriptor, at);

		if (old->tts_isnull[at] != new->tts_isnull[at])
			return false;
		if (!old->tts_isnull[at] && old->tts_values[at] != new->tts_values[at] &&
			(att->attbyval ||
			 !datumIsEqual(old->tts_values[at], new->tts_values[at], false, att->attlen)))
			return false;
	}
	return true;
}

static void
update_entry(FloEntries *entries, int i, TupleTableSlot *old, TupleTableSlot *new, bool repeated)
{
	Relation	index = entries->info->ri_IndexRelationDescs[i];
	IndexInfo  *info = entries->info->ri_IndexRelationInfo[i];
	bool		same = same_columns(index, old, new);
	IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (same && entries->keeps[i] &&
		ItemPointerGetBlockNumber(&new->tts_tid) > ItemPointerGetBlockNumber(&old->tts_tid))
		check = UNIQUE_CHECK_NO;
	FormIndexDatum(info, new, entries->estate, values, isnull);
	index_insert(index, values, isnull, &new->tts_tid, entries->info->ri_RelationDesc, check,
				 same && repeated, info);
}

void
flo_entries_update(FloEntries *entries, TupleTableSlot *old, TupleTableSlot *new,
				   FloIndexUpdate which, bool repeated)
{
	ResultRelInfo *info = entries->info;

	if (which == FLO_INDEXES_NONE)
		return;
	if (!entries->plain)
	{
		flo_compat_update_index_tuples(info, new, entries->estate, which);
		return;
	}
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		if (info->ri_IndexRelationDescs[i] == NULL ||
			!info->ri_IndexRelationInfo[i]->ii_ReadyForInserts)
			continue;
		if (which == FLO_INDEXES_ALL || flo_compat_summarizes(info->ri_IndexRelationInfo[i]))
			update_entry(entries, i, old, new, repeated);
	}
}
