/*
 * decoder.c
 *		The group's replication slot and its decoding, inside this process.
 *
 * The plugin is the server's own pgoutput, driven through the logical decoding
 * API; its messages arrive in our write callback.  Four of its callbacks are
 * wrapped: a change is sent in binary only when every column's type is built
 * in (others have OIDs that mean nothing elsewhere), a transaction that came
 * through an origin is left out when the group wants local changes only, rows
 * loaded with "do not replicate" as origin never reach the name lookup, and of
 * logical decoding messages only those pass that are ours and concern the group.
 *
 * WAL is read without blocking: at the end of what is flushed a step returns
 * false and the caller waits for its latch, which committing backends set.
 *
 * Awkward: nothing here may run inside a transaction of ours; the reorder
 * buffer opens and aborts its own.  After an error in a callback the context
 * cannot be used again, so errors leave the process.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/pgoutput.h"
#include "source/decoder.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "wire/ddl.h"

struct FloDecoder
{
	LogicalDecodingContext *context;
	FloDecoderEmit emit;
	FloDecoderMessage message;
	void	   *arg;
	FloOriginFilter origin;

	/* last record read */
	XLogRecPtr	record_lsn;
	uint32		record_crc;

	/* wrapped callbacks */
	LogicalDecodeChangeCB change;
	LogicalDecodeBeginCB begin;
	LogicalDecodeMessageCB message_cb;

	/* relation OID -> may its rows travel in binary? */
	HTAB	   *binary;
	Oid			last_relation;
	bool		last_binary;
};

typedef struct BinaryEntry
{
	Oid			relation;
	bool		binary;
} BinaryEntry;

/* The callbacks of pgoutput carry no argument of ours */
static FloDecoder *decoder_here = NULL;

/* Non-blocking: -1 when the WAL asked for is not flushed yet */
static int
read_page(XLogReaderState *state, XLogRecPtr page, int wanted, XLogRecPtr record, char *into)
{
	TimeLineID	current;
	XLogRecPtr	limit = GetFlushRecPtr(&current);
	WALReadError error;
	int			count;

	XLogReadDetermineTimeline(state, page, wanted, current);
	if (state->currTLI != current)
		limit = state->currTLIValidUntil;
	if (page + wanted > limit)
		return -1;
	count = (int) Min((XLogRecPtr) XLOG_BLCKSZ, limit - page);
	if (!WALRead(state, into, page, count, state->currTLI, &error))
		WALReadRaiseError(&error);
	return count;
}

static void
prepare_write(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
	resetStringInfo(context->out);
}

static void
discard_write(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
}

static void
emit_write(LogicalDecodingContext *context, XLogRecPtr lsn, TransactionId xid, bool last)
{
	decoder_here->emit(decoder_here->arg, context->out->data, context->out->len);
}

/*
 * Types whose binary form means the same in every cluster: built in, and not
 * one of the reg* types, whose binary form is an OID and whose text is a name.
 */
static bool
type_is_portable(Oid type)
{
	switch (type)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGTYPEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case REGNAMESPACEOID:
		case REGROLEOID:
		case REGCOLLATIONOID:
		case REGPROCARRAYOID:
		case REGPROCEDUREARRAYOID:
		case REGOPERARRAYOID:
		case REGOPERATORARRAYOID:
		case REGCLASSARRAYOID:
		case REGTYPEARRAYOID:
		case REGCONFIGARRAYOID:
		case REGDICTIONARYARRAYOID:
		case REGNAMESPACEARRAYOID:
		case REGROLEARRAYOID:
		case REGCOLLATIONARRAYOID:
		case RECORDOID:
		case RECORDARRAYOID:
			return false;
		default:
			return type < FirstNormalObjectId;
	}
}

static bool
relation_is_portable(Relation relation)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !type_is_portable(att->atttypid))
			return false;
	}
	return true;
}

static void
choose_format(FloDecoder *decoder, LogicalDecodingContext *context, Relation relation)
{
	Oid			id = RelationGetRelid(relation);

	if (id != decoder->last_relation)
	{
		bool		found;
		BinaryEntry *entry = hash_search(decoder->binary, &id, HASH_ENTER, &found);

		if (!found)
			entry->binary = relation_is_portable(relation);
		decoder->last_relation = id;
		decoder->last_binary = entry->binary;
	}
	((PGOutputData *) context->output_plugin_private)->binary = decoder->last_binary;
}

static void
change_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn,
			   Relation relation, ReorderBufferChange *change)
{
	choose_format(decoder_here, context, relation);
	decoder_here->change(context, txn, relation, change);
}

/*
 * Rows of a loader carry an origin that stands for "none": it has no name, and
 * the plugin would look for one.
 */
static void
begin_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn)
{
	if (txn->origin_id == DoNotReplicateId)
		txn->origin_id = InvalidRepOriginId;
	decoder_here->begin(context, txn);
}

/*
 * Messages of other programs are dropped before pgoutput sees them, so that a
 * transaction that has nothing else is not sent at all.
 */
static void
message_wrapper(LogicalDecodingContext *context, ReorderBufferTXN *txn, XLogRecPtr lsn,
				bool transactional, const char *prefix, Size len, const char *content)
{
	MemoryContext mine;
	MemoryContext old;
	char	   *passed;

	if (!transactional || strcmp(prefix, FLO_DDL_PREFIX) != 0)
		return;
	mine = AllocSetContextCreate(CurrentMemoryContext, "pg_flo message", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(mine);
	passed = decoder_here->message(decoder_here->arg, content, len);
	MemoryContextSwitchTo(old);
	if (passed != NULL)
		decoder_here->message_cb(context, txn, lsn, true, prefix, strlen(passed), passed);
	MemoryContextDelete(mine);
}

/* Runs outside any transaction: no catalog access */
static bool
origin_filter(LogicalDecodingContext *context, RepOriginId origin)
{
	return decoder_here->origin == FLO_ORIGIN_LOCAL && origin != InvalidRepOriginId;
}

static void
relation_changed(Datum arg, Oid relation)
{
	FloDecoder *decoder = decoder_here;
	HASH_SEQ_STATUS scan;
	BinaryEntry *entry;

	if (decoder == NULL)
		return;
	decoder->last_relation = InvalidOid;
	if (OidIsValid(relation))
	{
		hash_search(decoder->binary, &relation, HASH_REMOVE, NULL);
		return;
	}
	hash_seq_init(&scan, decoder->binary);
	while ((entry = hash_seq_search(&scan)) != NULL)
		hash_search(decoder->binary, &entry->relation, HASH_REMOVE, NULL);
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
	return list_make3(makeDefElem("proto_version", (Node *) makeString("2"), -1),
					  makeDefElem("publication_names", (Node *) makeString(names.data), -1),
					  makeDefElem("messages", (Node *) makeString("true"), -1));
}

XLogRecPtr
flo_slot_create(const char *slot)
{
	LogicalDecodingContext *context;
	XLogRecPtr	start;

	Assert(!IsTransactionState());
	CheckLogicalDecodingRequirements();
	flo_compat_slot_create(slot, RS_EPHEMERAL);
	context = CreateInitDecodingContext("pgoutput", NIL, false, InvalidXLogRecPtr,
										XL_ROUTINE(.page_read = read_local_xlog_page,
												   .segment_open = wal_segment_open,
												   .segment_close = wal_segment_close),
										prepare_write, discard_write, NULL);
	DecodingContextFindStartpoint(context);
	start = MyReplicationSlot->data.confirmed_flush;
	FreeDecodingContext(context);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	return start;
}

void
flo_slot_info(const char *slot, FloSlotInfo *info)
{
	ReplicationSlot *found = SearchNamedReplicationSlot(slot, true);

	memset(info, 0, sizeof(*info));
	if (found == NULL)
		return;
	SpinLockAcquire(&found->mutex);
	info->exists = true;
	info->invalidated = flo_compat_slot_invalidated(found);
	info->restart_lsn = found->data.restart_lsn;
	info->confirmed_flush = found->data.confirmed_flush;
	SpinLockRelease(&found->mutex);
}

void
flo_slot_drop(const char *slot)
{
	if (SearchNamedReplicationSlot(slot, true) != NULL)
		ReplicationSlotDrop(slot, true);
}

static void
wrap_callbacks(FloDecoder *decoder)
{
	OutputPluginCallbacks *callbacks = &decoder->context->callbacks;

	decoder->change = callbacks->change_cb;
	callbacks->change_cb = change_wrapper;
	decoder->begin = callbacks->begin_cb;
	callbacks->begin_cb = begin_wrapper;
	decoder->message_cb = callbacks->message_cb;
	callbacks->message_cb = message_wrapper;
	callbacks->filter_by_origin_cb = origin_filter;
}

FloDecoder *
flo_decoder_open(const char *slot, XLogRecPtr start, List *publications,
				 FloOriginFilter origin, FloDecoderEmit emit,
				 FloDecoderMessage message, void *arg)
{
	FloDecoder *decoder = palloc0(sizeof(FloDecoder));
	HASHCTL		control = {0};

	Assert(decoder_here == NULL);
	decoder->emit = emit;
	decoder->message = message;
	decoder->arg = arg;
	decoder->origin = origin;
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(BinaryEntry);
	control.hcxt = CurrentMemoryContext;
	decoder->binary = hash_create("pg_flo row formats", 64, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	decoder_here = decoder;
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);

	flo_compat_slot_acquire(slot);
	decoder->context = CreateDecodingContext(start, plugin_options(publications), false,
											 XL_ROUTINE(.page_read = read_page,
														.segment_open = wal_segment_open,
														.segment_close = wal_segment_close),
											 prepare_write, emit_write, NULL);
	wrap_callbacks(decoder);
	XLogBeginRead(decoder->context->reader, MyReplicationSlot->data.restart_lsn);
	return decoder;
}

void
flo_decoder_set_origin(FloDecoder *decoder, FloOriginFilter origin)
{
	decoder->origin = origin;
}

bool
flo_decoder_step(FloDecoder *decoder)
{
	XLogReaderState *reader = decoder->context->reader;
	char	   *error = NULL;
	XLogRecord *record;
	MemoryContext old;

	/* the reader's buffers grow in the current context and must live on */
	old = MemoryContextSwitchTo(decoder->context->context);
	record = XLogReadRecord(reader, &error);
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("could not read WAL at %X/%X: %s",
						LSN_FORMAT_ARGS(reader->EndRecPtr), error)));
	if (record != NULL)
	{
		decoder->record_lsn = reader->ReadRecPtr;
		decoder->record_crc = record->xl_crc;
		LogicalDecodingProcessRecord(decoder->context, reader);
	}
	MemoryContextSwitchTo(old);
	return record != NULL;
}

XLogRecPtr
flo_decoder_position(FloDecoder *decoder)
{
	return decoder->context->reader->EndRecPtr;
}

bool
flo_decoder_anchor(FloDecoder *decoder, XLogRecPtr *lsn, uint32 *crc)
{
	*lsn = decoder->record_lsn;
	*crc = decoder->record_crc;
	return !XLogRecPtrIsInvalid(decoder->record_lsn);
}

/* Like read_page, but WAL that is no longer there is an answer, not an error */
static int
read_page_if_there(XLogReaderState *state, XLogRecPtr page, int wanted,
				   XLogRecPtr record, char *into)
{
	XLogSegNo	segment;

	XLByteToSeg(page, segment, wal_segment_size);
	if (segment <= XLogGetLastRemovedSegno())
		return -1;
	return read_page(state, page, wanted, record, into);
}

FloAnchorResult
flo_decoder_check_anchor(XLogRecPtr lsn, uint32 crc)
{
	XLogReaderState *reader;
	XLogRecord *record;
	char	   *error = NULL;
	FloAnchorResult result;
	XLogSegNo	segment;

	XLByteToSeg(lsn, segment, wal_segment_size);
	if (segment <= XLogGetLastRemovedSegno())
		return FLO_ANCHOR_GONE;
	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = read_page_if_there,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close), NULL);
	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	XLogBeginRead(reader, lsn);
	record = XLogReadRecord(reader, &error);
	if (record == NULL)
		result = FLO_ANCHOR_DIFFERS;
	else
		result = record->xl_crc == crc ? FLO_ANCHOR_MATCHES : FLO_ANCHOR_DIFFERS;
	XLogReaderFree(reader);
	return result;
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
