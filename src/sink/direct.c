/*
 * direct.c
 *		Writes gathered changes to an ordinary table without a statement.
 *
 * Most tables are plain: no trigger fires, columns are stored as they are
 * sent, rows are found by a btree index.  For these, starting the executor and
 * running a plan is most of what a change costs.  Here one executor state and
 * one index scan serve a whole set, and new rows go to the table page by page.
 *
 * The server's own routines do the work: constraints, partition bounds and
 * unique indexes object as they would to a statement.  What they do not check,
 * the table's own replica identity, is checked here; privileges were before.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "core/compat_table.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "sink/bulk.h"
#include "sink/direct.h"
#include "sink/entries.h"
#include "storage/bufmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Rows given to the table access method at a time */
#define FLO_ROWS_AT_ONCE 500

/* A set in which so many rows in a row did not lie after the one before is not in order */
#define FLO_OUT_OF_ORDER 4

/*
 * So many sets in a row whose entries did not go to the end of an index, and a
 * turn is waited for at each of so many only
 */
#define FLO_SCATTERED 32

/*
 * So many rows after one another that had not been changed before, and an index page
 * that is full by now is full of versions of this transaction, if of any
 */
#define FLO_FIRST_CHANGES 400

typedef struct FloDirect
{
	FloGather  *gather;
	FloTarget  *target;
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *info;
	FloEntries	entries;
	CommandId	cid;
	Snapshot	snapshot;

	/* finding rows by key */
	Relation	index;
	IndexScanDesc scan;
	ScanKeyData key[INDEX_MAX_KEYS];
	TupleTableSlot *found;
	Size		room;			/* that another version of the last one takes */
	bool		unpruned;		/* the last one's page was left as it is */
	bool		prune;			/* no more of that in this set */
	bool		in_order;		/* the next one may lie behind it */
	int			out_of_order;	/* times in a row that it did not */
	int			first_changes;	/* in a row, in order */
	TupleTableSlot *changed;

	/* inserting */
	int			nslots;
	TupleTableSlot **slots;
	TupleTableSlot *entered;	/* a row as its index entries are made of it */
	ItemPointerData *places;	/* of the rows written, in order */
	int			nplaces;
} FloDirect;

bool
flo_direct_possible(const FloGather *gather)
{
	if (!gather->traits->direct)
		return false;
	if (gather->traits->direct_insert)
		return true;
	for (int i = 0; i < gather->nnets; i++)
		if (gather->nets[i].kind == FLO_NET_INSERT || gather->nets[i].kind == FLO_NET_REPLACE)
			return false;
	return true;
}

static bool
is_deleted(const FloNet *net)
{
	return net->kind == FLO_NET_DELETE || net->kind == FLO_NET_REPLACE;
}

static bool
is_inserted(const FloNet *net)
{
	return net->kind == FLO_NET_INSERT || net->kind == FLO_NET_REPLACE;
}

static void
begin(FloDirect *direct, FloGather *gather)
{
	MemoryContext old_context;

	direct->gather = gather;
	direct->target = gather->target;
	direct->rel = table_open(gather->target->relid, NoLock);
	direct->estate = CreateExecutorState();
	old_context = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	flo_compat_init_range_table(direct->estate, direct->rel);
	direct->info = makeNode(ResultRelInfo);
	InitResultRelInfo(direct->info, direct->rel, 1, NULL, 0);
	if (!flo_bulk_has(gather->target->relid))
		ExecOpenIndices(direct->info, false);
	flo_entries_begin(&direct->entries, direct->info, direct->estate);
	direct->cid = GetCurrentCommandId(true);
	direct->estate->es_output_cid = direct->cid;
	PushActiveSnapshot(GetTransactionSnapshot());
	direct->snapshot = GetActiveSnapshot();
	MemoryContextSwitchTo(old_context);
}

static void
finish(FloDirect *direct)
{
	if (direct->scan != NULL)
	{
		ExecClearTuple(direct->found);
		index_endscan(direct->scan);
		index_close(direct->index, NoLock);
	}
	ExecResetTupleTable(direct->estate->es_tupleTable, false);
	ExecCloseIndices(direct->info);
	PopActiveSnapshot();
	FreeExecutorState(direct->estate);
	table_close(direct->rel, NoLock);
	CommandCounterIncrement();
}

/* --- finding rows -------------------------------------------------------- */

static void
begin_scan(FloDirect *direct)
{
	const FloTraits *traits = direct->gather->traits;
	MemoryContext old_context;

	if (direct->scan != NULL)
		return;
	old_context = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	direct->index = index_open(traits->key_index, RowExclusiveLock);
	for (int i = 0; i < traits->nkey; i++)
	{
		Oid			family = direct->index->rd_opfamily[i];
		Oid			type = direct->index->rd_opcintype[i];
		Oid			operator = get_opfamily_member(family, type, type, BTEqualStrategyNumber);

		if (!OidIsValid(operator))
			elog(ERROR, "missing operator %d(%u,%u) in opfamily %u",
				 BTEqualStrategyNumber, type, type, family);
		ScanKeyInit(&direct->key[i], i + 1, BTEqualStrategyNumber, get_opcode(operator), 0);
		direct->key[i].sk_collation = direct->index->rd_indcollation[i];
	}
	direct->scan = flo_compat_index_beginscan(direct->rel, direct->index, direct->snapshot,
											  traits->nkey);
	direct->found = table_slot_create(direct->rel, &direct->estate->es_tupleTable);
	direct->changed = table_slot_create(direct->rel, &direct->estate->es_tupleTable);
	direct->prune = direct->rel->rd_rel->relam != HEAP_TABLE_AM_OID;
	direct->in_order = direct->rel->rd_rel->relam == HEAP_TABLE_AM_OID &&
		direct->index->rd_index->indisunique && direct->index->rd_index->indimmediate;
	MemoryContextSwitchTo(old_context);
}

static bool
has_key(FloDirect *direct)
{
	const FloTraits *traits = direct->gather->traits;

	for (int i = 0; i < traits->nkey; i++)
	{
		ScanKey		key = &direct->key[i];
		bool		isnull;
		Datum		value = slot_getattr(direct->found, direct->index->rd_index->indkey.values[i],
										 &isnull);

		if (isnull || !DatumGetBool(FunctionCall2Coll(&key->sk_func, key->sk_collation, value,
													  key->sk_argument)))
			return false;
	}
	return true;
}

/*
 * Rows mostly change in the order in which they lie.  Then the next one is the tuple behind
 * the last one, and to look there costs much less than a search of the index, as the key
 * says whether it is.  The first one of each page is searched for.
 */
static bool
find_behind(FloDirect *direct)
{
	ItemPointerData tid = direct->found->tts_tid;

	if (!direct->in_order || TTS_EMPTY(direct->found))
		return false;
	ItemPointerSetOffsetNumber(&tid, OffsetNumberNext(ItemPointerGetOffsetNumber(&tid)));
	if (table_tuple_fetch_row_version(direct->rel, &tid, direct->snapshot, direct->found) &&
		has_key(direct))
	{
		direct->out_of_order = 0;
		return true;
	}
	direct->in_order = ++direct->out_of_order < FLO_OUT_OF_ORDER;
	return false;
}

/*
 * To fetch a row by the index prunes its page wherever less than a tenth of it is free: where
 * rows change at random, that is each time, and a third of all they cost.  A page that has room
 * for another version is left as it is, as long as what is written does find room there.
 * Returns whether it did so; "found" is whether there is a version to be seen.
 */
static bool
look_unpruned(FloDirect *direct, ItemPointer tid, bool *found)
{
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) direct->found;
	HeapTuple	tuple = &slot->base.tupdata;
	ItemPointerData at = *tid;
	Buffer		buffer;

	if (direct->prune || direct->room == 0)
		return false;
	buffer = ReadBuffer(direct->rel, ItemPointerGetBlockNumber(&at));
	/* without a lock, as the server looks to decide the same */
	if (PageGetHeapFreeSpace(BufferGetPage(buffer)) < direct->room)
	{
		ReleaseBuffer(buffer);
		return false;
	}
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	*found = heap_hot_search_buffer(&at, direct->rel, buffer, direct->snapshot, tuple,
									&direct->scan->kill_prior_tuple, true);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (*found)
		ExecStorePinnedBufferHeapTuple(tuple, direct->found, buffer);
	else
		ReleaseBuffer(buffer);
	return true;
}

static bool
find_by_index(FloDirect *direct)
{
	ItemPointer tid;
	bool		found = false;

	index_rescan(direct->scan, direct->key, direct->gather->traits->nkey, NULL, 0);
	while (!found && (tid = index_getnext_tid(direct->scan, ForwardScanDirection)) != NULL)
	{
		direct->unpruned = look_unpruned(direct, tid, &found);
		if (!direct->unpruned)
			found = index_fetch_heap(direct->scan, direct->found);
	}
	return found;
}

/* The row goes to direct->found */
static bool
find(FloDirect *direct, FloRow key)
{
	const FloTraits *traits = direct->gather->traits;

	for (int i = 0; i < traits->nkey; i++)
		direct->key[i].sk_argument = key[traits->key[i].column];
	direct->unpruned = false;
	if (find_behind(direct))
		return true;
	if (!find_by_index(direct))
		return false;
	if (TTS_IS_BUFFERTUPLE(direct->found))
		direct->room = MAXALIGN(((BufferHeapTupleTableSlot *) direct->found)->base.tuple->t_len);
	return true;
}

/* --- writing rows -------------------------------------------------------- */

static void
check_row(FloDirect *direct, TupleTableSlot *slot)
{
	if (direct->rel->rd_att->constr != NULL)
		ExecConstraints(direct->info, slot, direct->estate);
	if (direct->rel->rd_rel->relispartition)
		ExecPartitionCheck(direct->info, slot, direct->estate, true);
}

static bool
delete_row(FloDirect *direct, const FloNet *net)
{
	return find(direct, net->key) &&
		flo_compat_tuple_delete(direct->rel, &direct->found->tts_tid, direct->cid,
								direct->snapshot) == TM_Ok;
}

/*
 * Values that were sent replace those of the row found, but for its key unless
 * it changes.  False when an identity column would change, which an UPDATE
 * cannot do.
 */
static bool
fill_changed(FloDirect *direct, const FloNet *net)
{
	const FloTarget *target = direct->target;
	TupleTableSlot *slot = direct->changed;
	int			natts = direct->rel->rd_att->natts;
	char	   *kinds = flo_row_kinds(net->row, target->natts);
	bool		moves = direct->gather->run && direct->gather->run_moves;

	slot_getallattrs(direct->found);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, direct->found->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, direct->found->tts_isnull, natts * sizeof(bool));
	for (int i = 0; i < target->natts; i++)
	{
		const FloTargetColumn *column = &target->columns[i];
		int			at = column->attnum - 1;

		if (kinds[i] == FLO_ROW_UNCHANGED || (column->matched && !moves))
			continue;
		if (unlikely(column->identity_always))
		{
			if (slot->tts_isnull[at] || kinds[i] == FLO_ROW_NULL ||
				!datumIsEqual(slot->tts_values[at], net->row[i], column->typbyval, column->typlen))
				return false;
			continue;
		}
		slot->tts_values[at] = net->row[i];
		slot->tts_isnull[at] = (kinds[i] == FLO_ROW_NULL);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(direct->rel);
	return true;
}

/*
 * An index page that is full of versions of rows is emptied of those that nobody sees any
 * more.  To look for them is in vain, and costs, where all are this transaction's.
 */
static bool
may_be_repeated(FloDirect *direct)
{
	TupleTableSlot *slot = direct->found;

	if (direct->in_order && TTS_IS_BUFFERTUPLE(slot) &&
		(((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data->t_infomask & HEAP_UPDATED) == 0)
		direct->first_changes++;
	else
		direct->first_changes = 0;
	return direct->first_changes < FLO_FIRST_CHANGES;
}

static bool
is_on_same_page(FloDirect *direct)
{
	return ItemPointerGetBlockNumber(&direct->changed->tts_tid) ==
		ItemPointerGetBlockNumber(&direct->found->tts_tid);
}

static bool
update_row(FloDirect *direct, const FloNet *net)
{
	FloIndexUpdate which;
	TM_Result	result;

	if (!find(direct, net->key) || !fill_changed(direct, net))
		return false;
	check_row(direct, direct->changed);
	result = flo_compat_tuple_update(direct->rel, &direct->found->tts_tid, direct->changed,
									 direct->cid, direct->snapshot, &which);
	if (result == TM_Ok)
	{
		flo_entries_update(&direct->entries, direct->found, direct->changed, which,
						   may_be_repeated(direct));
		direct->prune |= direct->unpruned && !is_on_same_page(direct);
	}
	ResetPerTupleExprContext(direct->estate);
	return result == TM_Ok;
}

static void
begin_insert(FloDirect *direct)
{
	MemoryContext old_context;
	const TupleTableSlotOps *ops;
	TupleDesc	desc;

	if (direct->slots != NULL)
		return;
	old_context = MemoryContextSwitchTo(direct->estate->es_query_cxt);
	direct->nslots = Min(direct->gather->nnets, FLO_ROWS_AT_ONCE);
	direct->slots = palloc(direct->nslots * sizeof(TupleTableSlot *));
	/* a copy is not counted in references, of which there would be many */
	desc = CreateTupleDescCopyConstr(direct->rel->rd_att);
	ops = table_slot_callbacks(direct->rel);
	for (int i = 0; i < direct->nslots; i++)
		direct->slots[i] = flo_compat_make_slot(desc, ops);
	if (direct->info->ri_NumIndices > 0)
	{
		direct->entered = flo_compat_make_slot(desc, &TTSOpsVirtual);
		direct->places = palloc(direct->gather->nnets * sizeof(ItemPointerData));
	}
	MemoryContextSwitchTo(old_context);
}

static void
fill_inserted(FloDirect *direct, TupleTableSlot *slot, FloRow row)
{
	const FloTarget *target = direct->target;
	char	   *kinds = flo_row_kinds(row, target->natts);

	ExecClearTuple(slot);
	if (direct->rel->rd_att->natts != target->natts)
		memset(slot->tts_isnull, true, direct->rel->rd_att->natts * sizeof(bool));
	for (int i = 0; i < target->natts; i++)
	{
		int			at = target->columns[i].attnum - 1;

		slot->tts_values[at] = row[i];
		slot->tts_isnull[at] = (kinds[i] != FLO_ROW_VALUE);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(direct->rel);
}

/* The first "count" slots */
static void
insert_slots(FloDirect *direct, int count)
{
	MemoryContext old_context;

	if (count == 0)
		return;
	old_context = MemoryContextSwitchTo(GetPerTupleMemoryContext(direct->estate));
	table_multi_insert(direct->rel, direct->slots, count, direct->cid, 0, NULL);
	MemoryContextSwitchTo(old_context);
	ResetPerTupleExprContext(direct->estate);
	for (int i = 0; i < count && direct->places != NULL; i++)
		direct->places[direct->nplaces++] = direct->slots[i]->tts_tid;
}

/* --- index entries ------------------------------------------------------- */

/*
 * Did the last entry of one of the indexes go to its end?  A btree says so by
 * keeping in mind where that was.
 */
static bool
appends(FloDirect *direct)
{
	for (int i = 0; i < direct->info->ri_NumIndices; i++)
		if (RelationGetTargetBlock(direct->info->ri_IndexRelationDescs[i]) != InvalidBlockNumber)
			return true;
	return false;
}

/*
 * Where keys grow in the order of the rows, as they mostly do, the index stays
 * dense, and no page has to be looked for, when each process that writes new rows
 * waits for those that have earlier ones.  Where they do not, it would wait for
 * nothing; this is tried again now and then.
 */
static void
await_turn(FloDirect *direct, const FloSinkHost *host)
{
	const FloTraits *traits = direct->gather->traits;

	if (host->await_turn != NULL &&
		(traits->scattered < FLO_SCATTERED || traits->scattered % FLO_SCATTERED == 0))
		host->await_turn(host->arg);
}

static void
write_entries(FloDirect *direct, const FloSinkHost *host)
{
	FloGather  *gather = direct->gather;
	int			next = 0;

	if (direct->nplaces == 0)
		return;
	await_turn(direct, host);
	for (int i = 0; i < gather->nnets; i++)
	{
		if (!is_inserted(&gather->nets[i]))
			continue;
		fill_inserted(direct, direct->entered, gather->nets[i].row);
		direct->entered->tts_tid = direct->places[next++];
		flo_entries_insert(&direct->entries, direct->entered);
		ResetPerTupleExprContext(direct->estate);
		if (next % FLO_ROWS_AT_ONCE == 0)
			CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(direct->entered);
	gather->traits->scattered = appends(direct) ? 0 : gather->traits->scattered + 1;
}

/* --- sets ---------------------------------------------------------------- */

/* Rows that come and go within the set must not be there */
static bool
write_deletes(FloDirect *direct)
{
	FloGather  *gather = direct->gather;

	for (int i = 0; i < gather->nnets; i++)
	{
		FloNet	   *net = &gather->nets[i];

		if (!is_deleted(net) && net->kind != FLO_NET_NOTHING)
			continue;
		if (direct->scan == NULL)
		{
			CheckCmdReplicaIdentity(direct->rel, CMD_DELETE);
			begin_scan(direct);
		}
		CHECK_FOR_INTERRUPTS();
		if (net->kind == FLO_NET_NOTHING ? find(direct, net->key) : !delete_row(direct, net))
			return false;
	}
	return true;
}

static bool
write_updates(FloDirect *direct)
{
	FloGather  *gather = direct->gather;
	bool		checked = false;

	for (int i = 0; i < gather->nnets; i++)
	{
		FloNet	   *net = &gather->nets[i];

		if (net->kind != FLO_NET_UPDATE)
			continue;
		if (!checked)
		{
			CheckCmdReplicaIdentity(direct->rel, CMD_UPDATE);
			begin_scan(direct);
			checked = true;
		}
		CHECK_FOR_INTERRUPTS();
		if (!update_row(direct, net))
			return false;
	}
	return true;
}

static void
write_inserts(FloDirect *direct, const FloSinkHost *host)
{
	FloGather  *gather = direct->gather;
	int			count = 0;

	for (int i = 0; i < gather->nnets; i++)
	{
		FloNet	   *net = &gather->nets[i];

		if (!is_inserted(net))
			continue;
		begin_insert(direct);
		fill_inserted(direct, direct->slots[count], net->row);
		check_row(direct, direct->slots[count]);
		ResetPerTupleExprContext(direct->estate);
		if (++count < direct->nslots)
			continue;
		CHECK_FOR_INTERRUPTS();
		insert_slots(direct, count);
		count = 0;
	}
	insert_slots(direct, count);
	for (int i = 0; i < direct->nslots; i++)
		ExecDropSingleTupleTableSlot(direct->slots[i]);
	write_entries(direct, host);
}

static bool
write_all(FloDirect *direct, const FloSinkHost *host)
{
	if (!write_deletes(direct) || !write_updates(direct))
		return false;
	write_inserts(direct, host);
	return true;
}

/* --- storage ------------------------------------------------------------- */

static bool
any_is_vain(const FloGather *gather)
{
	for (int i = 0; gather->vain != NULL && i < gather->target->natts; i++)
		if (flo_gather_is_vain(gather, i))
			return true;
	return false;
}

static void
set_storage(const FloGather *gather, TupleDesc desc, char from, char to)
{
	for (int i = 0; i < gather->target->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, gather->target->columns[i].attnum - 1);

		if (flo_gather_is_vain(gather, i) && att->attstorage == from)
			att->attstorage = to;
	}
}

/*
 * What the source's server could not make smaller, this one could not either, and would
 * take long to find out.  It goes by what this process knows of the table: meanwhile that
 * is that such columns are not to be compressed.
 */
static bool
write_uncompressed(FloDirect *direct, const FloSinkHost *host)
{
	const FloGather *gather = direct->gather;
	TupleDesc	desc = RelationGetDescr(direct->rel);
	volatile bool done = false;

	PinTupleDesc(desc);
	set_storage(gather, desc, TYPSTORAGE_EXTENDED, TYPSTORAGE_EXTERNAL);
	PG_TRY();
	{
		done = write_all(direct, host);
	}
	PG_FINALLY();
	{
		set_storage(gather, desc, TYPSTORAGE_EXTERNAL, TYPSTORAGE_EXTENDED);
	}
	PG_END_TRY();
	ReleaseTupleDesc(desc);
	return done;
}

bool
flo_direct_write(FloGather *gather, const FloSinkHost *host)
{
	FloDirect	direct = {0};
	bool		done;

	begin(&direct, gather);
	done = any_is_vain(gather) ? write_uncompressed(&direct, host) : write_all(&direct, host);
	if (done)
		finish(&direct);
	return done;
}
