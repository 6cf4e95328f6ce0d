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
 * When it is known of each of its rows that pgoutput would have it written by us (see
 * row_tables.c), then neither pgoutput nor what leads there is called.
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
#include "core/settings.h"
#include "core/transaction.h"
#include "port/pg_bswap.h"
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
#include "source/replay.h"
#include "source/row_tables.h"
#include "storage/sinval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "wire/change.h"

/* Larger ones do not notice */
#define MOST_CHANGES 128

/* What a commit may say that makes its transaction another one */
#define NOT_PLAIN (XACT_XINFO_HAS_SUBXACTS | XACT_XINFO_HAS_INVALS | XACT_XINFO_HAS_ORIGIN)

/* That of a commit which says nothing but when it was; NULL: another one, or it is not at hand */
static ReorderBufferTXN *
transaction_of(ReorderBuffer *buffer, XLogReaderState *record, TimestampTz *at)
{
	const char *commit = XLogRecGetData(record);
	uint32		told = 0;

	if (XLogRecGetRmid(record) != RM_XACT_ID ||
		(XLogRecGetInfo(record) & XLOG_XACT_OPMASK) != XLOG_XACT_COMMIT)
		return NULL;
	*at = ((const xl_xact_commit *) commit)->xact_time;
	if (XLogRecGetInfo(record) & XLOG_XACT_HAS_INFO)
		told = ((const xl_xact_xinfo *) (commit + MinSizeOfXactCommit))->xinfo;
	/* the last that the server has looked up */
	return (told & NOT_PLAIN) == 0 && buffer->by_txn_last_xid == XLogRecGetXid(record) ?
		buffer->by_txn_last_txn : NULL;
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

/* --- by pgoutput --------------------------------------------------------- */

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
hand_out(ReorderBuffer *buffer, ReorderBufferTXN *txn, Relation *tables, uint64 changes)
{
	int			count = 0;
	dlist_iter	iter;

	buffer->begin(buffer, txn);
	dlist_foreach(iter, &txn->changes)
	{
		ReorderBufferChange *change = dlist_container(ReorderBufferChange, node, iter.cur);

		buffer->apply_change(buffer, txn, tables[count], change);
		flo_row_table_keep(change, tables[count], changes);
		RelationClose(tables[count]);
		count++;
	}
	buffer->commit(buffer, txn, txn->final_lsn);
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

/* Within a snapshot of the past */
static bool
by_pgoutput(ReorderBuffer *buffer, ReorderBufferTXN *txn)
{
	ResourceOwner old = CurrentResourceOwner;
	ResourceOwner owner = ResourceOwnerCreate(old, "pg_flo replay");
	Relation	tables[MOST_CHANGES];
	uint64		changes = flo_row_tables_changes();
	bool		plain;

	CurrentResourceOwner = owner;
	plain = open_tables(txn, tables);
	if (plain)
		hand_out(buffer, txn, tables, changes);
	CurrentResourceOwner = old;
	let_go(owner);
	return plain;
}

/* --- without it ---------------------------------------------------------- */

/*
 * All rows are of tables that are known, of which pgoutput has shown how it sends such
 * rows: they are sent so.  What was found once holds for the whole transaction, as all of
 * it has one snapshot.
 */
typedef struct KnownRows
{
	int			count;
	FloRowTable *tables[MOST_CHANGES];
	Relation	relations[MOST_CHANGES];
} KnownRows;

static bool
find_known(const ReorderBufferTXN *txn, KnownRows *rows)
{
	dlist_iter	iter;

	rows->count = 0;
	if (flo_row_writer != FLO_ROW_WRITER_ON)
		return false;
	dlist_foreach(iter, &unconstify(ReorderBufferTXN *, txn)->changes)
	{
		ReorderBufferChange *change = dlist_container(ReorderBufferChange, node, iter.cur);
		FloRowTable *table = flo_row_table_of(change, &rows->relations[rows->count]);

		if (table == NULL || table->left_out || !flo_row_table_writes(table, change, 0))
			return false;
		rows->tables[rows->count++] = table;
	}
	return rows->count > 0;
}

/* Rows of a table mostly follow one another */
static bool
is_next(const KnownRows *rows, int i)
{
	return i == 0 || rows->relations[i] != rows->relations[i - 1];
}

static char *
put64(char *to, uint64 value)
{
	value = pg_hton64(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

static void
emit_begin(const ReorderBufferTXN *txn, TimestampTz at, const FloReplayTo *to)
{
	char		begin[1 + 8 + 8 + 4] = {FLO_OP_BEGIN};
	uint32		xid = pg_hton32(txn->xid);

	memcpy(put64(put64(begin + 1, txn->final_lsn), (uint64) at), &xid, sizeof(xid));
	to->emit(to->arg, InvalidTransactionId, begin, sizeof(begin));
}

static void
emit_commit(const ReorderBufferTXN *txn, TimestampTz at, const FloReplayTo *to)
{
	char		commit[1 + 1 + 8 + 8 + 8] = {FLO_OP_COMMIT};

	put64(put64(put64(commit + 2, txn->final_lsn), txn->end_lsn), (uint64) at);
	to->emit(to->arg, InvalidTransactionId, commit, sizeof(commit));
}

/* Within a snapshot of the past; an error releases what is held, with the transaction */
static void
by_ourselves(LogicalDecodingContext *context, ReorderBufferTXN *txn, const KnownRows *rows,
			 TimestampTz at, const FloReplayTo *to)
{
	StringInfo	out = context->out;
	int			i = 0;
	dlist_iter	iter;

	for (int j = 0; j < rows->count; j++)
		if (is_next(rows, j))
			RelationIncrementReferenceCount(rows->relations[j]);
	emit_begin(txn, at, to);
	dlist_foreach(iter, &txn->changes)
	{
		resetStringInfo(out);
		flo_row_writer_change(rows->tables[i]->writer, rows->relations[i],
							  dlist_container(ReorderBufferChange, node, iter.cur),
							  to->methods, out);
		to->emit(to->arg, InvalidTransactionId, out->data, out->len);
		i++;
	}
	emit_commit(txn, at, to);
	for (int j = 0; j < rows->count; j++)
		if (is_next(rows, j))
			RelationClose(rows->relations[j]);
}

/* --- either way ---------------------------------------------------------- */

/* What is allocated on the way goes with "mine" */
static bool
replay(LogicalDecodingContext *context, ReorderBufferTXN *txn, MemoryContext mine,
	   TimestampTz at, const FloReplayTo *to)
{
	ReorderBuffer *buffer = context->reorder;
	MemoryContext old = MemoryContextSwitchTo(mine);
	ResourceOwner owner = CurrentResourceOwner;
	KnownRows	rows;
	volatile bool plain = true;

	SetupHistoricSnapshot(txn->base_snapshot, NULL);
	PG_TRY();
	{
		if (find_known(txn, &rows))
			by_ourselves(context, txn, &rows, at, to);
		else
			plain = by_pgoutput(buffer, txn);
	}
	PG_CATCH();
	{
		TeardownHistoricSnapshot(true);
		CurrentResourceOwner = owner;	/* the rest goes with it */
		PG_RE_THROW();
	}
	PG_END_TRY();
	TeardownHistoricSnapshot(false);
	MemoryContextSwitchTo(old);
	MemoryContextReset(mine);
	if (plain)
	{
		buffer->totalTxns++;
		buffer->totalBytes += txn->total_size;
	}
	return plain;
}

bool
flo_replay_commit(LogicalDecodingContext *context, MemoryContext mine, const FloReplayTo *to)
{
	XLogReaderState *record = context->reader;
	TimestampTz at;
	ReorderBufferTXN *txn = transaction_of(context->reorder, record, &at);

	if (txn == NULL || !is_plain(txn))
		return false;
	txn->final_lsn = record->ReadRecPtr;
	txn->end_lsn = record->EndRecPtr;
	flo_compat_set_commit_time(txn, at);
	txn->origin_id = InvalidReplOriginId;
	txn->origin_lsn = InvalidXLogRecPtr;
	return replay(context, txn, mine, at, to);
}

/*
 * The reorder buffer keeps transactions and changes in blocks of a kilobyte or eight, and
 * before version 16 the last block is given back when it has become empty and made anew
 * for the next one: with small transactions that is each time.  It does not become empty.
 */
void
flo_replay_open(LogicalDecodingContext *context)
{
	(void) MemoryContextAlloc(context->reorder->change_context, sizeof(ReorderBufferChange));
	(void) MemoryContextAlloc(context->reorder->txn_context, sizeof(ReorderBufferTXN));
}

/*
 * When it has changed catalogs, the server drops what was looked up for it at the end of
 * each piece, so that nobody else sees that, but not at the beginning of the next what
 * others have looked up since and it must not see.  A table that it has changed nobody
 * else uses, but its schema, its types, and the publication.
 */
void
flo_replay_begin_piece(ReorderBufferTXN *txn)
{
	for (uint32 i = 0; i < txn->ninvalidations; i++)
		LocalExecuteInvalidationMessage(&txn->invalidations[i]);
}

/*
 * The server tells that a subtransaction is rolled back if it has marked it as streamed,
 * which it fails to do where all of its changes had gone to disk before they were, as they
 * do while what was published is read again.
 */
void
flo_replay_end_piece(ReorderBufferTXN *txn)
{
	dlist_iter	iter;

	dlist_foreach(iter, &txn->subtxns)
		dlist_container(ReorderBufferTXN, node, iter.cur)->txn_flags |= RBTXN_IS_STREAMED;
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
