/*
 * replay.c
 *		Hands out plain transactions, in the place of the reorder buffer.
 *
 * The reorder buffer gives each transaction that it replays a transaction or
 * subtransaction of its own, which it aborts: of a change of one row that is a quarter of
 * what decoding costs.  A transaction is plain when nothing but rows of tables is in it:
 * no subtransactions, no catalogs, no TOAST, no part of it streamed or spilled.  It needs
 * nothing but a snapshot of the past, and is handed out here, within the transaction that
 * is open, through the reorder buffer's own callbacks.  All others go the usual way.
 *
 * That is decided at the commit's record, where the server asks at last whether a filter
 * leaves the transaction out.  When it is told so, it forgets what it has of it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "catalog/catalog.h"
#include "core/compat_slot.h"
#include "core/transaction.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "source/replay.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

/* Larger ones do not notice */
#define MOST_CHANGES 128

/* That of a commit which says nothing but when it was; NULL: another one, or it is not at hand */
static ReorderBufferTXN *
transaction_of(ReorderBuffer *buffer, XLogReaderState *record, xl_xact_parsed_commit *commit)
{
	TransactionId xid = XLogRecGetXid(record);

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		(XLogRecGetInfo(record) & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT)
		return NULL;
	ParseCommitRecord(XLogRecGetInfo(record), (xl_xact_commit *) XLogRecGetData(record), commit);
	if (commit->nsubxacts > 0 || commit->nmsgs > 0 || (commit->xinfo & XACT_XINFO_HAS_ORIGIN))
		return NULL;
	/* the last that the server has looked up */
	return buffer->by_txn_last_xid == xid ? buffer->by_txn_last_txn : NULL;
}

static bool
is_plain(ReorderBufferTXN *txn)
{
	dlist_iter	iter;

	if (txn->base_snapshot == NULL || flo_compat_transaction_flags(txn) != 0 || txn->nsubtxns > 0 ||
		txn->ninvalidations > 0 || txn->ntuplecids > 0 || txn->nentries > MOST_CHANGES)
		return false;
	dlist_foreach(iter, &txn->changes)
	{
		ReorderBufferChange *change = dlist_container(ReorderBufferChange, node, iter.cur);

		if (change->action != REORDER_BUFFER_CHANGE_INSERT &&
			change->action != REORDER_BUFFER_CHANGE_UPDATE &&
			change->action != REORDER_BUFFER_CHANGE_DELETE)
			return false;
	}
	return true;
}

/* NULL when its rows need what only the reorder buffer does */
static Relation
open_table(const ReorderBufferChange *change)
{
	Oid			id = flo_compat_changed_relation(change);
	Relation	table = OidIsValid(id) ? RelationIdGetRelation(id) : NULL;

	if (!RelationIsValid(table))
		return NULL;
	if (table->rd_rel->relkind == RELKIND_RELATION && !OidIsValid(table->rd_rel->relrewrite) &&
		RelationIsLogicallyLogged(table))
		return table;
	RelationClose(table);
	return NULL;
}

/* The tables of all changes, in their order; false, and none open, when one is no such table */
static bool
open_tables(ReorderBufferTXN *txn, Relation *tables)
{
	int			count = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &txn->changes)
	{
		tables[count] = open_table(dlist_container(ReorderBufferChange, node, iter.cur));
		if (tables[count] == NULL)
		{
			while (count > 0)
				RelationClose(tables[--count]);
			return false;
		}
		count++;
	}
	return true;
}

static void
hand_out(ReorderBuffer *buffer, ReorderBufferTXN *txn, Relation *tables)
{
	int			count = 0;
	dlist_iter	iter;

	buffer->begin(buffer, txn);
	dlist_foreach(iter, &txn->changes)
	{
		buffer->apply_change(buffer, txn, tables[count],
							 dlist_container(ReorderBufferChange, node, iter.cur));
		RelationClose(tables[count]);
		count++;
	}
	buffer->commit(buffer, txn, txn->final_lsn);
	buffer->totalTxns++;
	buffer->totalBytes += txn->total_size;
}

/*
 * As an abort does it, which pgoutput counts on: from version 18 on it leaves tables open.
 * One that stayed so would be looked up anew as it is now when it has changed, not as it
 * was, and rows of the past be read by that.
 */
static void
let_go(ResourceOwner owner)
{
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, false);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, false, false);
	ResourceOwnerDelete(owner);
}

/* What is allocated on the way goes with "mine" */
static bool
replay(ReorderBuffer *buffer, ReorderBufferTXN *txn, MemoryContext mine)
{
	MemoryContext old = MemoryContextSwitchTo(mine);
	ResourceOwner old_owner = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(old_owner, "pg_flo replay");
	Relation	tables[MOST_CHANGES];
	volatile bool plain = false;

	CurrentResourceOwner = owner;
	SetupHistoricSnapshot(txn->base_snapshot, NULL);
	PG_TRY();
	{
		plain = open_tables(txn, tables);
		if (plain)
			hand_out(buffer, txn, tables);
	}
	PG_CATCH();
	{
		TeardownHistoricSnapshot(true);
		CurrentResourceOwner = old_owner;	/* the rest goes with it */
		PG_RE_THROW();
	}
	PG_END_TRY();
	TeardownHistoricSnapshot(false);
	CurrentResourceOwner = old_owner;
	let_go(owner);
	MemoryContextSwitchTo(old);
	MemoryContextReset(mine);
	return plain;
}

bool
flo_replay_commit(LogicalDecodingContext *context, MemoryContext mine)
{
	ReorderBuffer *buffer = context->reorder;
	XLogReaderState *record = context->reader;
	xl_xact_parsed_commit commit;
	ReorderBufferTXN *txn = transaction_of(buffer, record, &commit);

	if (txn == NULL || !is_plain(txn))
		return false;
	txn->final_lsn = record->ReadRecPtr;
	txn->end_lsn = record->EndRecPtr;
	flo_compat_set_commit_time(txn, commit.xact_time);
	txn->origin_id = InvalidReplOriginId;
	txn->origin_lsn = InvalidXLogRecPtr;
	return replay(buffer, txn, mine);
}

bool
flo_replay_begin(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		afresh;

	if (IsTransactionState())
		return false;
	afresh = flo_transaction_start_decoding();
	MemoryContextSwitchTo(old);
	return afresh;
}

void
flo_replay_rest(LogicalDecodingContext *context)
{
	MemoryContext old = CurrentMemoryContext;

	if (!IsTransactionState())
		return;
	UpdateDecodingStats(context);
	flo_transaction_close();
	MemoryContextSwitchTo(old);
}
