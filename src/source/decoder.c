/*
 * decoder.c
 *		The group's replication slot and its decoding, inside this process.
 *
 * The plugin is the server's own pgoutput, driven through the logical decoding
 * API; its messages arrive in our write callback.  Some of its callbacks are
 * wrapped: a change is sent in binary only when every column's type is built
 * in (others have OIDs that mean nothing elsewhere), the TRUNCATE of a
 * partition is sent although its root is published, a transaction that came
 * through an origin is left out when the group wants local changes only, rows
 * loaded with "do not replicate" as origin never reach the name lookup, and of
 * logical decoding messages only those pass that pg_flo wrote for the group.
 *
 * WAL is read without blocking: at the end of what is flushed a step returns
 * false and the caller waits for its latch, which committing backends set.
 *
 * Awkward: steps follow one another within one transaction, since the reorder
 * buffer opens and aborts one of its own for each that it replays where there
 * is none (see also replay.c); flo_decoder_rest() ends it.  After an error in a
 * callback the context cannot be used again, so errors leave the process.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/partition.h"
#include "conf/choice.h"
#include "conf/identity.h"
#include "conf/partition.h"
#include "conf/publication.h"
#include "conf/tables.h"
#include "core/compat_slot.h"
#include "core/injection_point.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "nodes/makefuncs.h"
#include "port/pg_bswap.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/pgoutput.h"
#include "source/decoder.h"
#include "source/replay.h"
#include "source/row_tables.h"
#include "source/slots.h"
#include "source/wal.h"
#include "storage/standbydefs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "wire/change.h"

struct FloDecoder
{
	LogicalDecodingContext *context;
	FloOwnMessages *own;
	FloDecoderEmit emit;
	FloDecoderMessage message;
	FloDecoderAfresh afresh;
	void	   *arg;
	FloOriginFilter origin;

	List	   *options;		/* of the plugin */
	XLogRecPtr	start;			/* all below was read, by this context or one
								 * before */

	MemoryContext replaying;	/* for a transaction */

	/* end of the last record decoded; the last that was begun with */
	XLogRecPtr	decoded;
	XLogRecPtr	record_lsn;
	uint32		record_crc;

	/* wrapped callbacks */
	LogicalDecodeChangeCB change;
	LogicalDecodeBeginCB begin;
	LogicalDecodeCommitCB commit;
	LogicalDecodeMessageCB message_cb;
	LogicalDecodeMessageCB stream_message_cb;
	LogicalDecodeTruncateCB truncate;
	LogicalDecodeStreamStartCB stream_start;
	LogicalDecodeStreamStopCB stream_stop;
	LogicalDecodeStreamCommitCB stream_commit;
	LogicalDecodeStreamAbortCB stream_abort;

	bool		begun;			/* the BEGIN of the transaction is out */

	/* a piece of a transaction in progress is being streamed */
	bool		streaming;
	uint64		npieces;		/* how many of them there were */
	TransactionId message_xid;	/* that wrote the message at hand; invalid: as
								 * pgoutput says */
	TransactionId xid;			/* of the message's subtransaction; invalid
								 * outside of pieces */

	/* of the change being decoded, NULL: none */
	Relation	current;
	ReorderBufferChange *row;
	FloRowTable *table;
	StringInfoData written;		/* by row_writer.c, to be compared */
	StringInfoData compressed;	/* and as it is sent instead of pgoutput's */
	int			methods;		/* of compression, see row_writer.h */

	FloTableChoice *choice;		/* of the group's tables */
	List	   *told;			/* OIDs of tables that are left out, and said
								 * to be */
	XLogRecPtr	dry_at;			/* end of the WAL as it was found to hold no
								 * whole record */

	/* the TRUNCATE being put together from what pgoutput says of it */
	Relation	truncated;		/* a partition that is published as its root,
								 * while pgoutput is shown that */
	uint32		ntruncated;
	char		truncate_flags;
	StringInfoData truncated_ids;	/* as in the message */
	StringInfoData truncated_parts; /* likewise: for each a text and a zero */
};

/* The callbacks of pgoutput carry no argument of ours */
static FloDecoder *decoder_here = NULL;

static void
prepare_write(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
	resetStringInfo(context->out);
}

/* Once in this process's life for each table */
static void
tell_left_out(FloDecoder *decoder, Relation published)
{
	Oid			id = RelationGetRelid(decoder->current);
	MemoryContext old;

	if (list_member_oid(decoder->told, id))
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(decoder));
	decoder->told = lappend_oid(decoder->told, id);
	MemoryContextSwitchTo(old);
	ereport(LOG,
			(errmsg("changes of table \"%s\" are left out: its replica identity does not identify a row of \"%s\", as which it is published",
					RelationGetRelationName(decoder->current), RelationGetRelationName(published)),
			 errhint("When its replica identity is mended, the table is copied.")));
}

/* Nothing is sent of such a table that would have to find a row */
static bool
only_inserts(FloDecoder *decoder, Oid published)
{
	return decoder->choice != NULL &&
		flo_publication_lists(flo_name_insert_publication(decoder->choice->group), published);
}

/*
 * The message says what it is a change of, which for a partition can be its
 * root.  Its old row then counts as one by the root's identity; when the
 * partition's own does not record that, or the identity holds what is not sent,
 * another row would be changed at the destination, or one doubled.
 */
static bool
strays(FloDecoder *decoder, const char *data)
{
	FloRowTable *table = decoder->table;
	uint32		id;
	uint64		changes = flo_row_tables_changes();
	Relation	published;
	bool		result;

	memcpy(&id, data + 1, sizeof(id));
	id = pg_ntoh32(id);
	if (table->judged == changes && table->judged_as == id)
		return table->strays;
	published = RelationIdGetRelation(id);
	if (!RelationIsValid(published))
		return false;
	result = flo_identity_strays(decoder->current, published) && !only_inserts(decoder, id);
	if (result)
		tell_left_out(decoder, published);
	RelationClose(published);
	table->judged = changes;
	table->judged_as = id;
	table->strays = result;
	return result;
}

/*
 * What pgoutput says of a TRUNCATE is kept until all is known: the tables, or
 * the root it was shown in the place of one of its partitions.
 */
static void
take_truncate(FloDecoder *decoder, const char *message)
{
	uint32		count;

	memcpy(&count, message + 1, sizeof(count));
	count = pg_ntoh32(count);
	decoder->truncate_flags = message[5];
	for (uint32 i = 0; i < count; i++)
	{
		const char *id = message + 6 + i * sizeof(uint32);
		uint32		root;

		appendBinaryStringInfo(&decoder->truncated_ids, id, sizeof(uint32));
		if (decoder->truncated != NULL)
		{
			FloPartition *part;

			memcpy(&root, id, sizeof(root));
			part = flo_partition_describe(RelationGetRelid(decoder->truncated), pg_ntoh32(root));
			appendStringInfoString(&decoder->truncated_parts, flo_partition_write(part));
		}
		appendStringInfoChar(&decoder->truncated_parts, '\0');
	}
	decoder->ntruncated += count;
}

/* Is the table among those that were taken? */
static bool
truncate_lists(FloDecoder *decoder, Oid relation)
{
	for (uint32 i = 0; i < decoder->ntruncated; i++)
	{
		uint32		id;

		memcpy(&id, decoder->truncated_ids.data + i * sizeof(id), sizeof(id));
		if (pg_ntoh32(id) == relation)
			return true;
	}
	return false;
}

/* One statement is one change, whatever it has truncated */
static void
emit_truncate(FloDecoder *decoder, bool parts)
{
	StringInfoData out;

	if (decoder->ntruncated == 0)
		return;
	initStringInfo(&out);
	pq_sendbyte(&out, FLO_OP_TRUNCATE);
	pq_sendint32(&out, decoder->ntruncated);
	pq_sendbyte(&out, decoder->truncate_flags | (parts ? FLO_TRUNCATE_PARTS : 0));
	appendBinaryStringInfo(&out, decoder->truncated_ids.data, decoder->truncated_ids.len);
	if (parts)
		appendBinaryStringInfo(&out, decoder->truncated_parts.data, decoder->truncated_parts.len);
	decoder->emit(decoder->arg, decoder->xid, out.data, out.len);
	pfree(out.data);
}

/*
 * Within a piece of a transaction in progress a message of a change names the
 * subtransaction behind its type; otherwise it is like any other.  Returns how
 * many bytes to pass over, with the type moved up to where it begins then.
 */
static int
take_xid(FloDecoder *decoder, StringInfo message)
{
	uint32		xid;

	decoder->xid = InvalidTransactionId;
	if (!decoder->streaming || message->len < 1 + sizeof(xid) ||
		strchr("IUDTRYM", message->data[0]) == NULL)
		return 0;
	memcpy(&xid, message->data + 1, sizeof(xid));
	decoder->xid = pg_ntoh32(xid);

	/* of a logical decoding message it names the whole transaction */
	if (TransactionIdIsValid(decoder->message_xid))
		decoder->xid = decoder->message_xid;
	message->data[sizeof(xid)] = message->data[0];
	return sizeof(xid);
}

/* The same number for all transactions that are sent whole */
static inline uint64
piece(const FloDecoder *decoder)
{
	return decoder->streaming ? decoder->npieces : 0;
}

/* What row_writer.c has written, for tests, is to be the same */
static void
compare_row(FloDecoder *decoder, const char *data, int len)
{
	if (decoder->written.len == 0)
		return;
	for (int i = 0; i < Max(len, decoder->written.len); i++)
		if (i >= len || i >= decoder->written.len || data[i] != decoder->written.data[i])
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("a row of table \"%s\" was written otherwise than by pgoutput from byte %d on, of %d and %d",
							RelationGetRelationName(decoder->current), i, decoder->written.len,
							len)));
	resetStringInfo(&decoder->written);
}

/*
 * pgoutput has sent a row, and shown how the table's rows are sent.  With values as they
 * are compressed, which it does not know of, it is written here all the same.
 */
static bool
write_compressed(FloDecoder *decoder)
{
	if (decoder->methods == 0 ||
		!flo_row_table_writes(decoder->table, decoder->row, piece(decoder)))
		return false;
	resetStringInfo(&decoder->compressed);
	flo_row_writer_change(decoder->table->writer, decoder->current, decoder->row,
						  decoder->methods, &decoder->compressed);
	return true;
}

static void
emit_write(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
	FloDecoder *decoder = decoder_here;
	int			skip = take_xid(decoder, context->out);
	char	   *data = context->out->data + skip;
	int			len = context->out->len - skip;

	if (decoder->current != NULL && len > 5 && strchr("IUD", data[0]) != NULL)
	{
		if (strays(decoder, data))
			return;
		compare_row(decoder, data, len);
		flo_row_table_note(decoder->table, decoder->current,
						   ((PGOutputData *) context->output_plugin_private)->publications,
						   piece(decoder), data);
		if (write_compressed(decoder))
		{
			data = decoder->compressed.data;
			len = decoder->compressed.len;
		}
	}
	if (data[0] == FLO_OP_BEGIN && decoder->begun)
		return;					/* write_row() has sent it */
	if (data[0] == FLO_OP_BEGIN || data[0] == FLO_OP_COMMIT)
		decoder->begun = data[0] == FLO_OP_BEGIN;
	if (data[0] == FLO_OP_TRUNCATE)
		take_truncate(decoder, data);
	else
		decoder->emit(decoder->arg, decoder->xid, data, len);
}

/*
 * What pgoutput would send, without it.  A BEGIN that it does not know of comes out of
 * it once more when it has something to send, and the COMMIT does not.
 */
static void
write_row(FloDecoder *decoder, LogicalDecodingContext *context, ReorderBufferTXN *txn,
		  Relation relation, ReorderBufferChange *change)
{
	StringInfo	out = context->out;

	if (!decoder->streaming && !decoder->begun)
	{
		resetStringInfo(out);
		logicalrep_write_begin(out, txn);
		decoder->begun = true;
		decoder->emit(decoder->arg, InvalidTransactionId, out->data, out->len);
	}
	resetStringInfo(out);
	flo_row_writer_change(decoder->table->writer, relation, change, decoder->methods, out);
	decoder->xid = decoder->streaming ? change->txn->xid : InvalidTransactionId;
	decoder->emit(decoder->arg, decoder->xid, out->data, out->len);
}

/* For tests: with it, and both are to be the same */
static void
begin_comparison(FloDecoder *decoder, Relation relation, ReorderBufferChange *change)
{
	resetStringInfo(&decoder->written);
	flo_row_writer_change(decoder->table->writer, relation, change, 0, &decoder->written);
}

static void
change_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn,
			   Relation relation, ReorderBufferChange *change)
{
	FloDecoder *decoder = decoder_here;
	FloRowTable *table = flo_row_table(relation, decoder->choice);
	bool		writes = flo_row_table_writes(table, change, piece(decoder));

	if (table->left_out)
		return;
	decoder->table = table;
	if (writes && likely(flo_row_writer == FLO_ROW_WRITER_ON))
	{
		write_row(decoder, context, txn, relation, change);
		return;
	}
	if (writes)
		begin_comparison(decoder, relation, change);
	((PGOutputData *) context->output_plugin_private)->binary = table->binary;
	decoder->current = relation;
	decoder->row = change;
	decoder->change(context, txn, relation, change);
	decoder->current = NULL;
	if (decoder->written.len > 0)
		elog(ERROR, "a row of table \"%s\" was written that pgoutput does not send",
			 RelationGetRelationName(relation));
}

/*
 * A partition that was truncated alone.  pgoutput says nothing of it when its
 * root is published in its place; it is shown the root instead, topmost first,
 * which brings the transaction's BEGIN and the root's description along.  What
 * is sent is the root, with what tells the partition's rows from the others.
 */
static void
truncate_partition(FloDecoder *decoder, LogicalDecodingContext *context, ReorderBufferTXN *txn,
				   Relation partition, List *ancestors, ReorderBufferChange *change)
{
	uint32		before = decoder->ntruncated;

	for (int i = list_length(ancestors) - 1; i >= 0; i--)
	{
		Relation	root = RelationIdGetRelation(list_nth_oid(ancestors, i));

		if (!RelationIsValid(root))
			continue;
		decoder->truncated = partition;
		decoder->truncate(context, txn, 1, &root, change);
		decoder->truncated = NULL;
		RelationClose(root);
		if (decoder->ntruncated > before)
			return;
	}
}

/* The relations but those that are left out, in a new array, as the caller closes them all */
static Relation *
without_left_out(FloDecoder *decoder, int *nrelations, Relation relations[])
{
	Relation   *rest = palloc(sizeof(Relation) * *nrelations);
	int			count = 0;

	for (int i = 0; i < *nrelations; i++)
		if (!flo_choice_excepts(decoder->choice, RelationGetRelid(relations[i])))
			rest[count++] = relations[i];
	*nrelations = count;
	return rest;
}

static void
truncate_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, int nrelations,
				 Relation relations[], ReorderBufferChange *change)
{
	FloDecoder *decoder = decoder_here;
	MemoryContext mine = AllocSetContextCreate(CurrentMemoryContext, "pg_flo truncate",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mine);
	List	   *alone = NIL;
	ListCell   *lc;

	if (decoder->choice != NULL)
		relations = without_left_out(decoder, &nrelations, relations);
	decoder->ntruncated = 0;
	resetStringInfo(&decoder->truncated_ids);
	resetStringInfo(&decoder->truncated_parts);
	if (nrelations > 0)
		decoder->truncate(context, txn, nrelations, relations, change);

	for (int i = 0; i < nrelations; i++)
	{
		List	   *ancestors;
		bool		with_ancestor = false;

		if (!relations[i]->rd_rel->relispartition ||
			truncate_lists(decoder, RelationGetRelid(relations[i])))
			continue;
		ancestors = get_partition_ancestors(RelationGetRelid(relations[i]));
		for (int j = 0; j < nrelations; j++)
			with_ancestor |= list_member_oid(ancestors, RelationGetRelid(relations[j]));
		if (!with_ancestor)
			alone = lappend(alone, relations[i]);
	}
	foreach(lc, alone)
		truncate_partition(decoder, context, txn, lfirst(lc),
						   get_partition_ancestors(RelationGetRelid((Relation) lfirst(lc))),
						   change);
	emit_truncate(decoder, alone != NIL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(mine);
}

/*
 * Rows of a loader carry an origin that stands for "none": it has no name, and
 * the plugin would look for one.
 */
static void
begin_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn)
{
	if (txn->origin_id == DoNotReplicateId)
		txn->origin_id = InvalidReplOriginId;
	decoder_here->begun = false;
	decoder_here->begin(context, txn);
}

/*
 * Messages of other programs, and those that only look like ours, are dropped
 * before pgoutput sees them, so that a transaction that has nothing else is not
 * sent at all.
 */
static void
message_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, XLogRecPtr lsn,
				bool transactional, const char *prefix, Size len, const char *content)
{
	FloDecoder *decoder = decoder_here;
	LogicalDecodeMessageCB pass = decoder->streaming ? decoder->stream_message_cb :
		decoder->message_cb;
	FloMessage	message;
	MemoryContext mine;
	MemoryContext old;
	const char *emitted_prefix = NULL;
	char	   *emitted;

	if (!flo_own_messages_claims(prefix) ||
		!flo_own_messages_admit(decoder->own, txn, transactional, prefix, content, len, &message))
		return;
	mine = AllocSetContextCreate(CurrentMemoryContext, "pg_flo message", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(mine);
	emitted = decoder->message(decoder->arg, &message, &emitted_prefix);
	MemoryContextSwitchTo(old);
	decoder->message_xid = message.subtransaction;
	if (emitted != NULL)
		pass(context, txn, lsn, true, emitted_prefix, strlen(emitted), emitted);
	decoder->message_xid = InvalidTransactionId;
	MemoryContextDelete(mine);
}

static void
commit_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	FloDecoder *decoder = decoder_here;

	flo_own_messages_forget(decoder->own, txn);
	decoder->commit(context, txn, lsn);
	if (!decoder->begun)
		return;

	/* pgoutput takes it for empty: all of it was written here */
	resetStringInfo(context->out);
	logicalrep_write_commit(context->out, txn, lsn);
	decoder->begun = false;
	decoder->emit(decoder->arg, InvalidTransactionId, context->out->data, context->out->len);
}

/*
 * Nothing of the past is looked up any more.  What was kept of it is published now, which
 * may take long, and what that waits for may need a transaction of its own.
 */
static void
stream_commit_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	flo_own_messages_forget(decoder_here->own, txn);
	flo_decoder_rest(decoder_here);
	decoder_here->stream_commit(context, txn, lsn);
}

static void
stream_abort_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	flo_own_messages_forget(decoder_here->own, txn);
	decoder_here->stream_abort(context, txn, lsn);
}

static void
stream_start_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn)
{
	flo_replay_begin_piece(txn);
	if (txn->origin_id == DoNotReplicateId)
		txn->origin_id = InvalidReplOriginId;
	decoder_here->stream_start(context, txn);
	decoder_here->streaming = true;
	decoder_here->npieces++;
}

static void
stream_stop_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn)
{
	/* also after one was found to be aborted in the middle of a change */
	decoder_here->streaming = false;
	decoder_here->current = NULL;
	decoder_here->truncated = NULL;
	flo_replay_end_piece(txn);
	decoder_here->stream_stop(context, txn);
}

/* Of a commit that is all the server asks before it replays the transaction: see replay.c */
static bool
origin_filter(LogicalDecodingContext *context, ReplOriginId origin)
{
	FloDecoder *decoder = decoder_here;
	FloReplayTo to = {decoder->emit, decoder->arg, decoder->methods};

	if (origin != InvalidReplOriginId)
		return decoder->origin == FLO_ORIGIN_LOCAL;
	return flo_replay_commit(context, decoder->replaying, &to);
}

/* The options of pgoutput, as a subscriber would send them */
static List *
plugin_options(List *publications)
{
	StringInfoData names;
	ListCell   *cell;

	initStringInfo(&names);
	foreach(cell, publications)
		appendStringInfo(&names, "%s%s", names.len > 0 ? "," : "",
						 quote_identifier(lfirst(cell)));
	return list_make4(makeDefElem("proto_version", (Node *) makeString("2"), -1),
					  makeDefElem("publication_names", (Node *) makeString(names.data), -1),
					  makeDefElem("messages", (Node *) makeString("true"), -1),
					  makeDefElem("streaming", (Node *) makeString("on"), -1));
}

static void
wrap_callbacks(FloDecoder *decoder)
{
	OutputPluginCallbacks *callbacks = &decoder->context->callbacks;

	decoder->change = callbacks->change_cb;
	callbacks->change_cb = change_wrapper;
	decoder->truncate = callbacks->truncate_cb;
	callbacks->truncate_cb = truncate_wrapper;
	/* pgoutput has the same functions for transactions in progress */
	callbacks->stream_change_cb = change_wrapper;
	callbacks->stream_truncate_cb = truncate_wrapper;
	decoder->begin = callbacks->begin_cb;
	callbacks->begin_cb = begin_wrapper;
	decoder->commit = callbacks->commit_cb;
	callbacks->commit_cb = commit_wrapper;
	decoder->message_cb = callbacks->message_cb;
	callbacks->message_cb = message_wrapper;
	decoder->stream_message_cb = callbacks->stream_message_cb;
	callbacks->stream_message_cb = message_wrapper;
	decoder->stream_start = callbacks->stream_start_cb;
	callbacks->stream_start_cb = stream_start_wrapper;
	decoder->stream_stop = callbacks->stream_stop_cb;
	callbacks->stream_stop_cb = stream_stop_wrapper;
	decoder->stream_commit = callbacks->stream_commit_cb;
	callbacks->stream_commit_cb = stream_commit_wrapper;
	decoder->stream_abort = callbacks->stream_abort_cb;
	callbacks->stream_abort_cb = stream_abort_wrapper;
	callbacks->filter_by_origin_cb = origin_filter;
}

/* A context that emits what commits from decoder->start on, given the slot */
static void
begin_decoding(FloDecoder *decoder)
{
	flo_slot_forget_pending();
	decoder->context = CreateDecodingContext(decoder->start, decoder->options, false,
											 XL_ROUTINE(.page_read = flo_wal_page,
														.segment_open = wal_segment_open,
														.segment_close = wal_segment_close),
											 prepare_write, emit_write, NULL);
	flo_transaction_be_seen();
	wrap_callbacks(decoder);
	flo_replay_open(decoder->context);
	XLogBeginRead(decoder->context->reader, MyReplicationSlot->data.restart_lsn);
}

FloDecoder *
flo_decoder_open(const char *slot, XLogRecPtr start, List *publications,
				 FloOriginFilter origin, FloOwnMessages *own, FloDecoderEmit emit,
				 FloDecoderMessage message, FloDecoderAfresh afresh, void *arg)
{
	FloDecoder *decoder = palloc0(sizeof(FloDecoder));

	Assert(decoder_here == NULL);
	decoder->own = own;
	decoder->emit = emit;
	decoder->message = message;
	decoder->afresh = afresh;
	decoder->arg = arg;
	decoder->origin = origin;
	decoder->replaying = AllocSetContextCreate(CurrentMemoryContext, "pg_flo replay",
											   ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&decoder->truncated_ids);
	initStringInfo(&decoder->truncated_parts);
	initStringInfo(&decoder->written);
	initStringInfo(&decoder->compressed);
	flo_row_tables_init();
	decoder_here = decoder;

	flo_compat_slot_acquire(slot);
	decoder->options = plugin_options(publications);
	decoder->start = start;
	begin_decoding(decoder);
	return decoder;
}

void
flo_decoder_set_choice(FloDecoder *decoder, FloTableChoice *choice)
{
	decoder->choice = choice;
	flo_row_tables_changed();
}

void
flo_decoder_set_methods(FloDecoder *decoder, int methods)
{
	decoder->methods = methods;
}

Size
flo_decoder_table_memory(FloDecoder *decoder)
{
	PGOutputData *plugin = decoder->context->output_plugin_private;

	return MemoryContextMemAllocated(plugin->cachectx, true) + flo_row_tables_memory();
}

/*
 * The plugin forgets no table while it lives, so it gets a new life.  It begins
 * to read where the slot keeps WAL from, as after a restart, and emits nothing
 * before it is here again.
 */
void
flo_decoder_forget(FloDecoder *decoder)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(decoder));

	decoder->start = flo_decoder_position(decoder);
	FreeDecodingContext(decoder->context);
	decoder->dry_at = InvalidXLogRecPtr;
	flo_row_tables_forget();
	begin_decoding(decoder);
	MemoryContextSwitchTo(old);
}

void
flo_decoder_set_origin(FloDecoder *decoder, FloOriginFilter origin)
{
	decoder->origin = origin;
}

/*
 * Is it known that there is no more WAL to read?  Trying in vain would cost the reader
 * its page and its open file.  Mostly the last record that was read ends where WAL did,
 * as that was flushed for it.
 */
static bool
is_dry(FloDecoder *decoder)
{
	XLogRecPtr	read = decoder->context->reader->EndRecPtr;

	if (XLogRecPtrIsInvalid(decoder->dry_at) && read == flo_wal_end())
		decoder->dry_at = read;
	if (XLogRecPtrIsInvalid(decoder->dry_at))
		return false;
	if (GetFlushRecPtr(NULL) == decoder->dry_at)
		return true;
	decoder->dry_at = InvalidXLogRecPtr;
	return false;
}

void
flo_decoder_rest(FloDecoder *decoder)
{
	flo_replay_rest(decoder->context);
}

bool
flo_decoder_read(FloDecoder *decoder)
{
	XLogReaderState *reader = decoder->context->reader;
	char	   *error = NULL;
	XLogRecord *record;
	MemoryContext old;

	if (is_dry(decoder))
		return false;

	/* the reader's buffers grow in the current context and must live on */
	old = MemoryContextSwitchTo(decoder->context->context);
	record = XLogReadRecord(reader, &error);
	if (record == NULL)
		decoder->dry_at = flo_wal_end();
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not read WAL at %X/%X: %s",
						LSN_FORMAT_ARGS(reader->EndRecPtr), error)));
	MemoryContextSwitchTo(old);
	return record != NULL;
}

bool
flo_decoder_ends_transaction(FloDecoder *decoder)
{
	return XLogRecGetRmid(decoder->context->reader) == RM_XACT_ID;
}

void
flo_decoder_decode(FloDecoder *decoder)
{
	XLogReaderState *reader = decoder->context->reader;
	MemoryContext old;

	if (flo_replay_begin())
		decoder->afresh(decoder->arg);
	old = MemoryContextSwitchTo(decoder->context->context);
	if (reader->EndRecPtr > decoder->start)
	{
		decoder->record_lsn = reader->ReadRecPtr;
		decoder->record_crc = reader->record->header.xl_crc;
	}
	flo_injection_point("decode.before");
	LogicalDecodingProcessRecord(decoder->context, reader);
	flo_injection_point("decode.after");
	decoder->decoded = reader->EndRecPtr;
	MemoryContextSwitchTo(old);
}

bool
flo_decoder_running(FloDecoder *decoder, XLogRecPtr *lsn, TransactionId *oldest,
					TransactionId *next)
{
	XLogReaderState *reader = decoder->context->reader;
	xl_running_xacts *running;

	if (reader->record == NULL || XLogRecGetRmid(reader) != RM_STANDBY_ID ||
		(XLogRecGetInfo(reader) & ~XLR_INFO_MASK) != XLOG_RUNNING_XACTS)
		return false;
	running = (xl_running_xacts *) XLogRecGetData(reader);
	*lsn = reader->ReadRecPtr;
	*oldest = running->oldestRunningXid;
	*next = running->nextXid;
	return true;
}

XLogRecPtr
flo_decoder_position(FloDecoder *decoder)
{
	return Max(decoder->decoded, decoder->start);
}

uint64
flo_decoder_left_again(FloDecoder *decoder)
{
	XLogRecPtr	read = decoder->context->reader->EndRecPtr;

	return read < decoder->start ? decoder->start - read : 0;
}

bool
flo_decoder_anchor(FloDecoder *decoder, XLogRecPtr *lsn, uint32 *crc)
{
	*lsn = decoder->record_lsn;
	*crc = decoder->record_crc;
	return !XLogRecPtrIsInvalid(decoder->record_lsn);
}

void
flo_decoder_confirm(FloDecoder *decoder, XLogRecPtr lsn, bool save)
{
	if (lsn > MyReplicationSlot->data.confirmed_flush)
		LogicalConfirmReceivedLocation(lsn);
	if (save)
	{
		ReplicationSlotMarkDirty();
		ReplicationSlotSave();
	}
}

XLogRecPtr
flo_decoder_newest_restart(FloDecoder *decoder)
{
	return decoder->context->reorder->current_restart_decoding_lsn;
}

XLogRecPtr
flo_decoder_possible_restart(FloDecoder *decoder)
{
	ReorderBufferTXN *oldest = ReorderBufferGetOldestTXN(decoder->context->reorder);

	return oldest != NULL ? oldest->restart_decoding_lsn : decoder->context->reader->EndRecPtr;
}
