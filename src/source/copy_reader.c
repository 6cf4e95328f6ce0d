/*
 * copy_reader.c
 *		Reads ranges of pages under the copy's snapshot and publishes the rows.
 *
 * A row travels as the INSERT message that logical decoding would have made of
 * it, so the destination treats copied and streamed rows alike.  Ranges are
 * read in physical order and cut into chunks by size alone: a range that has
 * to be read again gives the same chunks, and those already loaded are known
 * by their keys.
 *
 * A table is read only under a lock that keeps its file, and only if that file
 * is still the one the snapshot knows: a rewritten table looks empty to the
 * snapshot.  A queued ALTER TABLE makes the lock unavailable; waiting for it
 * could wait for ever, since it waits for the leader in turn.  Either way the
 * copy begins again under a new snapshot.
 *
 * Rules of the replicator are executed before rows are packed, with the rules
 * that the snapshot shows: so a range read again gives the same chunks, too.
 * When they have changed since, the copy begins again as well.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "bus/stream.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "conf/publication.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/compat_slot.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "shape/shape.h"
#include "source/copy.h"
#include "source/decoder.h"
#include "source/portable.h"
#include "storage/dsm.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "wire/encode.h"

#define ACK_TIMEOUT 10000		/* ms */
#define FULL_PAUSE 200			/* ms until a chunk that found no space is
								 * sent again */
#define ROOM_PAUSE 50			/* ms between two looks whether there is room */

typedef struct Sent
{
	StringInfoData chunk;
	uint64		room;			/* that it takes in the stream */
	char		subject[128];
	bool		pending;
} Sent;

/* The table being read, as the publication wants it */
typedef struct Reading
{
	Relation	relation;		/* its pages are read */
	Relation	published;		/* its columns are sent */
	Bitmapset  *columns;		/* NULL = all */
	ExprState  *filter;			/* NULL = all rows */
	ExprContext *econtext;
	AttrMap    *map;			/* from the one to the other, NULL = the same */
	TupleTableSlot *read;
	TupleTableSlot *mapped;
	TupleTableSlot *row;		/* with all values in memory */
	bool		binary;
	bool		shaped;			/* rules concern it */
	char	   *description;	/* its 'Y' and 'R' records */
	int			description_len;
} Reading;

typedef struct Copier
{
	const FloProcessArgs *args;
	FloCopyPlan *plan;
	FloBus	   *bus;
	char	   *subject;
	MemoryContext row_context;

	/* rules that are executed before anything leaves */
	FloChangeParser *parser;
	FloShape   *shape;
	char	   *fingerprint;	/* of the rules */
	FloTally	tally;			/* open: of the range */

	/* the chunk being packed */
	StringInfoData chunk;
	StringInfoData message;
	StringInfoData shaped;
	FloCopyKey	key;

	/*
	 * room in the stream that is taken for the pieces of a row, and not used
	 * yet
	 */
	uint64		room;
	FloCopyTask *task;			/* the range being read */

	/* in flight: kept until acknowledged */
	Sent		sent[FLO_WINDOW];
	uint64		next_token;
	uint64		next_ack;
} Copier;

/* --- publishing ---------------------------------------------------------- */

static void
send_again(Copier *c, Sent *sent, uint64 token)
{
	flo_bus_publish_stored(c->bus, sent->subject, token, sent->chunk.data, sent->chunk.len);
}

/*
 * Take acknowledgements; true when any answer came.  A broker that is full
 * takes chunks later: there are many writers and no order, so the same chunk
 * is simply sent again.
 */
static bool
take_acks(Copier *c)
{
	FloBusAck	ack;
	bool		any = false;

	while (flo_bus_next_ack(c->bus, &ack))
	{
		Sent	   *sent = &c->sent[ack.token % FLO_WINDOW];

		if (ack.token < c->next_ack || ack.token >= c->next_token || !sent->pending)
			continue;
		any = true;
		if (ack.stored)
		{
			sent->pending = false;
			flo_space_arrived(&c->plan->space, c->args->number, sent->room);
		}
		else if (flo_bus_is_full(ack.err_code))
		{
			flo_space_refused(&c->plan->space, ack.error);
			flo_wait_means(FLO_WAIT_SPACE);
			flo_wait(PGINVALID_SOCKET, false, FULL_PAUSE);
			send_again(c, sent, ack.token);
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the broker refused a chunk of the copy: %s", ack.error)));
	}
	while (c->next_ack < c->next_token && !c->sent[c->next_ack % FLO_WINDOW].pending)
		c->next_ack++;
	return any;
}

/* Until at most "allowed" chunks are in flight */
static void
wait_for_acks(Copier *c, int allowed)
{
	FloClock	since = flo_clock();

	for (;;)
	{
		flo_bus_pump(c->bus);
		if (take_acks(c))
			since = flo_clock();
		if ((int) (c->next_token - c->next_ack) <= allowed)
			return;
		if (flo_clock_passed(since, ACK_TIMEOUT))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the broker did not acknowledge a chunk of the copy within %d s",
							ACK_TIMEOUT / 1000)));
		flo_helper_check(c->args->slot, c->args->incarnation);
		flo_bus_wait(c->bus, 1000);
	}
}

static uint64
room_of(uint64 length)
{
	return length + FLO_MESSAGE_OVERHEAD;
}

/* Wait until there is room for all of it, with what is in flight looked after */
static void
take_room(Copier *c, uint64 bytes)
{
	bool		told = false;

	while (!flo_space_take(&c->plan->space, c->args->number, bytes, c->key.relation))
	{
		uint64		limit = c->plan->space.limit;

		if (bytes > limit && limit != 0 && !told)
			ereport(WARNING,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("a row needs " UINT64_FORMAT " bytes in the copy stream, which takes " UINT64_FORMAT,
							bytes, limit),
					 errhint("Raise copy_stream_max_bytes with flo.alter_replicator(); the copy waits for it.")));
		told |= bytes > limit;
		flo_bus_pump(c->bus);
		(void) take_acks(c);
		flo_helper_check(c->args->slot, c->args->incarnation);
		flo_bus_wait_for(c->bus, FLO_WAIT_SPACE, ROOM_PAUSE);
	}
}

static void
start_chunk(Copier *c)
{
	flo_chunk_reset(&c->chunk);
	c->key.rows = 0;
	flo_chunk_append_copy_key(&c->chunk, &c->key);
}

/*
 * Pieces of a row larger than a chunk are found by their subjects, the rest
 * need none of their own
 */
static void
send_chunk(Copier *c, uint16 flags)
{
	FloChunkHeader header = c->plan->identity;
	Sent	   *sent;

	if (c->room == 0)
		take_room(c, room_of(c->chunk.len));
	wait_for_acks(c, FLO_WINDOW - 1);
	sent = &c->sent[c->next_token % FLO_WINDOW];
	sent->room = room_of(c->chunk.len);
	c->room -= Min(c->room, sent->room);
	flo_chunk_set_copy_rows(&c->chunk, c->key.rows);
	header.flags = FLO_CHUNK_COPY | flags;
	flo_chunk_seal(&c->chunk, &header);

	resetStringInfo(&sent->chunk);
	appendBinaryStringInfo(&sent->chunk, c->chunk.data, c->chunk.len);
	if (flags & (FLO_CHUNK_STARTS_FRAGMENT | FLO_CHUNK_ENDS_FRAGMENT))
		snprintf(sent->subject, sizeof(sent->subject), "%s.%u-%u-%u-%u", c->subject,
				 c->key.relation, c->key.attempt, c->key.range, c->key.ordinal);
	else
		snprintf(sent->subject, sizeof(sent->subject), "%s.%d", c->subject, c->args->number);
	sent->pending = true;
	send_again(c, sent, c->next_token);
	c->next_token++;
	flo_injection_point("chunk.after");
	c->key.ordinal++;
	start_chunk(c);
}

static void
set_in_pieces(Copier *c, uint64 bytes)
{
	SpinLockAcquire(&c->plan->mutex);
	c->task->in_pieces = bytes;
	SpinLockRelease(&c->plan->mutex);
}

/* A row larger than a chunk: pieces of its own, the description in the first */
static void
send_huge_row(Copier *c, Reading *r)
{
	const char *data = c->message.data;
	uint32		left = c->message.len;
	uint16		flags = 0;
	uint32		overhead = c->chunk.len;	/* of each piece */
	uint64		pieces = (left + r->description_len) / (c->plan->chunk_size - overhead) + 2;
	MemoryContext old;

	take_room(c, left + r->description_len + pieces * room_of(overhead));
	c->room = left + r->description_len + pieces * room_of(overhead);
	set_in_pieces(c, c->room);
	flo_chunk_append_raw(&c->chunk, r->description, r->description_len);
	flo_chunk_append_length(&c->chunk, left);
	c->key.rows = 1;
	while (left > 0)
	{
		uint32		room = c->plan->chunk_size - c->chunk.len;
		uint32		piece = Min(room, left);

		flo_chunk_append_raw(&c->chunk, data, piece);
		data += piece;
		left -= piece;
		send_chunk(c, flags | (left > 0 ? FLO_CHUNK_ENDS_FRAGMENT : 0));
		flags = FLO_CHUNK_STARTS_FRAGMENT;
	}
	wait_for_acks(c, 0);
	flo_space_arrived(&c->plan->space, c->args->number, c->room);
	c->room = 0;
	set_in_pieces(c, 0);

	/* do not keep the memory of a huge row */
	old = MemoryContextSwitchTo(GetMemoryChunkContext(c));
	pfree(c->message.data);
	initStringInfo(&c->message);
	MemoryContextSwitchTo(old);
}

static void
send_row(Copier *c, Reading *r)
{
	uint32		limit = c->plan->chunk_size;

	if (c->key.rows > 0 && c->chunk.len + c->message.len + sizeof(uint32) > limit)
		send_chunk(c, 0);
	if (c->key.rows == 0 &&
		c->chunk.len + r->description_len + c->message.len + sizeof(uint32) > limit)
	{
		send_huge_row(c, r);
		return;
	}
	if (c->key.rows == 0)
		flo_chunk_append_raw(&c->chunk, r->description, r->description_len);
	flo_chunk_append(&c->chunk, c->message.data, c->message.len);
	c->key.rows++;
}

/* --- reading ------------------------------------------------------------- */

/*
 * Of the table, as the snapshot shows it: a range read again is read alike,
 * whatever is altered meanwhile
 */
static const char *const publication_query =
"SELECT r.prattrs, r.prqual FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"
" WHERE r.prrelid = $1 AND p.pubname = ANY ($2::pg_catalog.text[]::pg_catalog.name[])";

/* Column list and row filter of the publications that list the table */
static void
read_publication(Copier *c, Reading *r, EState *estate)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[2] = {OIDOID, TEXTARRAYOID};
	Datum		values[2];
	Node	   *filter = NULL;
	bool		all_rows = false;

	values[0] = ObjectIdGetDatum(RelationGetRelid(r->published));
	values[1] = flo_array_of_texts(flo_publication_names(c->plan->group));
	SPI_connect();
	if (SPI_execute_with_args(publication_query, 2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the publications of the group");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext spi = MemoryContextSwitchTo(caller);
		bool		isnull;
		Datum		value;

		value = SPI_getbinval(tuple, desc, 1, &isnull);
		if (!isnull)
			r->columns = pub_collist_to_bitmapset(NULL, value, NULL);
		value = SPI_getbinval(tuple, desc, 2, &isnull);
		if (isnull)
			all_rows = true;
		else
			filter = stringToNode(TextDatumGetCString(value));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	if (filter != NULL && !all_rows)
		r->filter = ExecPrepareExpr((Expr *) filter, estate);
}

static void
forget_table(void *arg, uint32 relation)
{
	flo_shape_forget(((Copier *) arg)->shape, relation);
}

/* The records that describe the table, as pgoutput would send them */
static void
describe(Copier *c, Reading *r)
{
	StringInfoData records;
	TupleDesc	desc;

	flo_change_begin_chunk(c->parser);
	flo_change_make_room(c->parser, forget_table, c);
	desc = RelationGetDescr(r->published);
	initStringInfo(&records);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated || att->atttypid < FirstGenbkiObjectId)
			continue;
		if (r->columns != NULL && !bms_is_member(att->attnum, r->columns))
			continue;
		resetStringInfo(&c->message);
		logicalrep_write_typ(&c->message, InvalidTransactionId, att->atttypid);
		flo_chunk_append(&records, c->message.data, c->message.len);
		(void) flo_change_parse(c->parser, c->message.data, c->message.len);
	}
	resetStringInfo(&c->message);
	flo_compat_write_relation(&c->message, r->published, r->columns);
	flo_chunk_append(&records, c->message.data, c->message.len);
	r->shaped = flo_shape_concerns(c->shape,
								   flo_change_parse(c->parser, c->message.data,
													c->message.len)->relation);
	r->description = records.data;
	r->description_len = records.len;
	r->binary = flo_relation_is_portable(r->published);
}

/*
 * Lock the table and make sure its file is the one the snapshot knows.  The
 * lock is kept to the end of the transaction.
 */
static Relation
open_unchanged(const FloCopyTask *task)
{
	Relation	relation;

	if (!ConditionalLockRelationOid(task->relation, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("table with OID %u is being changed by another transaction: the copy begins again",
						task->relation)));
	relation = try_relation_open(task->relation, NoLock);
	if (relation == NULL || relation->rd_rel->relfilenode != task->filenode)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table %s was dropped, truncated or rewritten after the copy began: the copy begins again",
						relation != NULL ? RelationGetRelationName(relation) :
						psprintf("with OID %u", task->relation))));
	return relation;
}

static void
begin_reading(Copier *c, const FloCopyTask *task, Reading *r, EState *estate)
{
	memset(r, 0, sizeof(*r));
	r->relation = open_unchanged(task);
	r->published = r->relation;
	if (task->published != task->relation)
	{
		if (!ConditionalLockRelationOid(task->published, AccessShareLock))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("table with OID %u is being changed by another transaction: the copy begins again",
							task->published)));
		r->published = table_open(task->published, NoLock);
	}
	flo_error_context.schema = get_namespace_name(RelationGetNamespace(r->published));
	flo_error_context.table = RelationGetRelationName(r->published);
	if (r->published != r->relation)
	{
		TupleConversionMap *map = convert_tuples_by_name(RelationGetDescr(r->relation),
														 RelationGetDescr(r->published));

		r->map = map != NULL ? map->attrMap : NULL;
	}
	r->read = table_slot_create(r->relation, NULL);
	r->mapped = MakeSingleTupleTableSlot(RelationGetDescr(r->published), &TTSOpsVirtual);
	r->row = MakeSingleTupleTableSlot(RelationGetDescr(r->published), &TTSOpsVirtual);
	r->econtext = GetPerTupleExprContext(estate);
	read_publication(c, r, estate);
	describe(c, r);
}

static void
end_reading(Reading *r)
{
	ExecDropSingleTupleTableSlot(r->read);
	ExecDropSingleTupleTableSlot(r->mapped);
	ExecDropSingleTupleTableSlot(r->row);
	if (r->published != r->relation)
		table_close(r->published, NoLock);
	relation_close(r->relation, NoLock);
	flo_error_context_clear();
}

/* The row with all its values in memory: what is out of line would travel as "unchanged" */
static TupleTableSlot *
complete_row(Reading *r, TupleTableSlot *from)
{
	TupleDesc	desc = RelationGetDescr(r->published);

	slot_getallattrs(from);
	ExecClearTuple(r->row);
	memcpy(r->row->tts_values, from->tts_values, sizeof(Datum) * desc->natts);
	memcpy(r->row->tts_isnull, from->tts_isnull, sizeof(bool) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		struct varlena *value;

		if (r->row->tts_isnull[i] || TupleDescAttr(desc, i)->attlen != -1)
			continue;
		value = (struct varlena *) DatumGetPointer(r->row->tts_values[i]);
		if (VARATT_IS_EXTERNAL(value))
			r->row->tts_values[i] = PointerGetDatum(detoast_external_attr(value));
	}
	return ExecStoreVirtualTuple(r->row);
}

/* What rules make of the row in the message; false when it is dropped */
static bool
shape_row(Copier *c)
{
	const FloChange *row = flo_change_parse(c->parser, c->message.data, c->message.len);
	const FloChange *shaped = flo_shape_apply(c->shape, row);
	StringInfoData message = c->message;

	if (shaped == NULL)
		return false;
	if (shaped != row)
	{
		flo_encode_change(&c->shaped, shaped);
		c->message = c->shaped;
		c->shaped = message;
	}
	return true;
}

static void
copy_row(Copier *c, Reading *r)
{
	TupleTableSlot *slot = r->read;

	if (r->map != NULL)
		slot = execute_attr_map_slot(r->map, r->read, r->mapped);
	if (r->filter != NULL)
	{
		Datum		passes;
		bool		isnull;

		r->econtext->ecxt_scantuple = slot;
		ResetExprContext(r->econtext);
		passes = ExecEvalExprSwitchContext(r->filter, r->econtext, &isnull);
		if (isnull || !DatumGetBool(passes))
			return;
	}
	resetStringInfo(&c->message);
	flo_compat_write_insert(&c->message, r->published, complete_row(r, slot),
							r->binary, r->columns);
	if (r->shaped && !shape_row(c))
	{
		c->tally.open.filtered++;
		return;
	}
	send_row(c, r);
}

/* For flo.copy_progress, now and then */
static void
show_progress(Copier *c, Reading *r, uint64 rows)
{
	FloCopyTask *task = c->task;
	BlockNumber block = ItemPointerGetBlockNumber(&r->read->tts_tid);

	SpinLockAcquire(&c->plan->mutex);
	task->rows = rows;
	task->pages_done = Min(block - task->first, task->pages);
	SpinLockRelease(&c->plan->mutex);
}

static uint64
scan_range(Copier *c, const FloCopyTask *task, Reading *r)
{
	uint32		ordinal = 0;
	ItemPointerData low;
	ItemPointerData high;
	TableScanDesc scan;
	uint64		rows = 0;

	ItemPointerSet(&low, task->first, FirstOffsetNumber);
	if (task->end == InvalidBlockNumber)
		ItemPointerSet(&high, InvalidBlockNumber - 1, MaxOffsetNumber);
	else
		ItemPointerSet(&high, task->end - 1, MaxOffsetNumber);
	scan = table_beginscan_tidrange(r->relation, GetActiveSnapshot(), &low, &high);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, r->read))
	{
		MemoryContext old = MemoryContextSwitchTo(c->row_context);

		copy_row(c, r);
		MemoryContextSwitchTo(old);
		MemoryContextReset(c->row_context);
		rows++;
		if (c->key.ordinal != ordinal)
		{
			ordinal = c->key.ordinal;
			show_progress(c, r, rows);
		}
		if ((rows & 0x3ff) == 0)
		{
			flo_check_interrupts();
			flo_helper_check(c->args->slot, c->args->incarnation);
		}
	}
	table_endscan(scan);
	return rows;
}

/* --- tasks --------------------------------------------------------------- */

static FloCopyTask *
take_task(Copier *c)
{
	FloCopyTask *task = NULL;

	SpinLockAcquire(&c->plan->mutex);
	for (int i = 0; i < c->plan->ntasks && task == NULL; i++)
		if (c->plan->tasks[i].state == FLO_TASK_FREE)
			task = &c->plan->tasks[i];
	if (task != NULL)
	{
		task->state = FLO_TASK_TAKEN;
		task->copier = c->args->number;
	}
	SpinLockRelease(&c->plan->mutex);
	return task;
}

/* The rules as the snapshot shows them */
static void
open_shape(Copier *c, MemoryContext context)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext rules = AllocSetContextCreate(context, "pg_flo rules", ALLOCSET_SMALL_SIZES);
	FloReplicatorSpec *replicator = flo_store_replicator(c->plan->group);
	FloShapeSettings settings = {0};
	FloShapeSpec *spec;

	settings.owner = replicator != NULL ? replicator->owner : InvalidOid;
	c->parser = flo_change_parser_create(context);
	c->shape = flo_shape_create(context, &settings);
	MemoryContextSwitchTo(rules);
	spec = flo_rule_tables_load(c->plan->group, FLO_REPLICATOR_MEMBER, "");
	flo_shape_load(c->shape, spec, rules);
	MemoryContextSwitchTo(context);
	c->fingerprint = flo_rule_tables_fingerprint(c->plan->group);
	MemoryContextSwitchTo(old);
}

static void
check_rules(Copier *c)
{
	char	   *now;

	PushActiveSnapshot(GetLatestSnapshot());
	now = flo_rule_tables_fingerprint(c->plan->group);
	PopActiveSnapshot();
	if (strcmp(now, c->fingerprint) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rules of the replicator have changed after the copy began: the copy begins again")));
	pfree(now);
}

static void
do_task(Copier *c, FloCopyTask *task)
{
	EState	   *estate = CreateExecutorState();
	Reading		reading;
	uint64		rows;
	bool		empty;

	flo_injection_point("range.before");
	check_rules(c);
	memset(&c->key, 0, sizeof(c->key));
	c->task = task;
	c->key.relation = task->published;
	c->key.attempt = c->plan->attempt;
	c->key.range = task->range;
	begin_reading(c, task, &reading, estate);
	SpinLockAcquire(&c->plan->mutex);
	task->shaped = reading.shaped;
	SpinLockRelease(&c->plan->mutex);
	start_chunk(c);
	rows = scan_range(c, task, &reading);

	/*
	 * a table without rows sends its description: its destination may have to
	 * be emptied
	 */
	empty = c->key.rows == 0 && c->key.ordinal == 0 && task->range == 0;
	if (empty)
		flo_chunk_append_raw(&c->chunk, reading.description, reading.description_len);
	if (c->key.rows > 0 || empty)
		send_chunk(c, 0);
	wait_for_acks(c, 0);
	flo_injection_point("range.after");
	end_reading(&reading);
	FreeExecutorState(estate);

	SpinLockAcquire(&c->plan->mutex);
	task->chunks = c->key.ordinal;
	task->rows = rows;
	task->pages_done = task->pages;
	task->state = FLO_TASK_DONE;
	SpinLockRelease(&c->plan->mutex);
	flo_tally_commit(&c->tally);
	flo_tally_hand_in();
}

void
flo_copier_run(const FloProcessArgs *args)
{
	Copier	   *c = palloc0(sizeof(Copier));
	dsm_segment *segment = dsm_attach(args->segment);
	FloCopyTask *task;
	MemoryContext context = CurrentMemoryContext;

	if (segment == NULL)
		return;					/* the leader is gone */
	dsm_pin_mapping(segment);
	c->args = args;
	c->plan = dsm_segment_address(segment);
	flo_tally_begin(&c->tally, args->slot, args->incarnation);
	c->subject = psprintf("%s.copy", flo_name_subject(c->plan->group));
	c->next_token = c->next_ack = 1;
	initStringInfo(&c->chunk);
	initStringInfo(&c->message);
	initStringInfo(&c->shaped);
	for (int i = 0; i < FLO_WINDOW; i++)
		initStringInfo(&c->sent[i].chunk);
	c->row_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo copied row",
										   ALLOCSET_DEFAULT_SIZES);
	c->bus = flo_bus_connect(psprintf("pg_flo copier %s %d", c->plan->group, args->number));

	flo_transaction_start();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	ImportSnapshot(c->plan->snapshot);
	PushActiveSnapshot(GetTransactionSnapshot());
	open_shape(c, context);
	while ((task = take_task(c)) != NULL)
		do_task(c, task);
	PopActiveSnapshot();
	flo_transaction_commit();
}
