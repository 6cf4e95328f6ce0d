/*
 * table_reader.c
 *		Reads tables under a snapshot as they are published.
 *
 * A table is read only under a lock that keeps its file, and only if that file
 * is still the one the snapshot knows: a rewritten table looks empty to the
 * snapshot.  A queued ALTER TABLE makes the lock unavailable; waiting for it
 * could wait for ever, since it waits for who holds the snapshot in turn.  Either
 * way what is done begins again under a new snapshot.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tupconvert.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "conf/publication.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/compat.h"
#include "core/compat_slot.h"
#include "core/compat_table.h"
#include "core/error_context.h"
#include "core/names.h"
#include "core/text.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "port/pg_bswap.h"
#include "shape/expr.h"
#include "source/portable.h"
#include "source/table_reader.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "wire/chunk.h"
#include "wire/encode.h"

/*
 * Of the table, as the snapshot shows it: a range read again is read alike,
 * whatever is altered meanwhile
 */
static const char *const publication_query =
"SELECT r.prattrs, r.prqual FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid"
" WHERE r.prrelid = $1 AND p.pubname = ANY ($2::pg_catalog.text[]::pg_catalog.name[])";

/* Column list and row filter of the publications that list the table */
static void
read_publication(FloTableReader *reader, FloReading *r)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			types[2] = {OIDOID, TEXTARRAYOID};
	Datum		values[2];
	Node	   *filter = NULL;
	bool		all_rows = false;

	values[0] = ObjectIdGetDatum(RelationGetRelid(r->published));
	values[1] = flo_array_of_texts(flo_publication_names(reader->group));
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
		r->filter = ExecPrepareExpr((Expr *) filter, r->estate);
}

static void
forget_table(void *arg, uint32 relation)
{
	flo_shape_forget(((FloTableReader *) arg)->shape, relation);
}

/* The records that describe the table, as pgoutput would send them */
static void
describe(FloTableReader *reader, FloReading *r)
{
	StringInfoData records;
	TupleDesc	desc;

	/* what is compared is as it was written, without what is computed of it */
	bool		generated = FLO_SENDS_GENERATED && !reader->text;

	flo_change_begin_chunk(reader->parser);
	flo_change_make_room(reader->parser, forget_table, reader);
	desc = RelationGetDescr(r->published);
	initStringInfo(&records);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->atttypid < FirstGenbkiObjectId)
			continue;
		if (r->columns != NULL ? !bms_is_member(att->attnum, r->columns) :
			att->attgenerated && !(generated && att->attgenerated == ATTRIBUTE_GENERATED_STORED))
			continue;
		resetStringInfo(&reader->message);
		logicalrep_write_typ(&reader->message, InvalidTransactionId, att->atttypid);
		flo_chunk_append(&records, reader->message.data, reader->message.len);
		(void) flo_change_parse(reader->parser, reader->message.data, reader->message.len);
	}
	resetStringInfo(&reader->message);
	flo_compat_write_relation(&reader->message, r->published, r->columns, generated);
	flo_chunk_append(&records, reader->message.data, reader->message.len);
	r->ruled = flo_shape_concerns(reader->shape,
								  flo_change_parse(reader->parser, reader->message.data,
												   reader->message.len)->relation);
	r->description = records.data;
	r->description_len = records.len;
	r->writer = flo_row_writer_create(desc, r->columns, generated,
									  !reader->text && flo_relation_is_portable(r->published));
}

static void
lock(const FloTableReader *reader, Oid relation)
{
	if (!ConditionalLockRelationOid(relation, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("table with OID %u is being changed by another transaction: the %s begins again",
						relation, reader->purpose)));
}

static Relation
open_unchanged(const FloTableReader *reader, Oid relation, Oid filenode)
{
	Relation	rel;

	lock(reader, relation);
	rel = try_relation_open(relation, NoLock);
	if (rel == NULL || (OidIsValid(filenode) && rel->rd_rel->relfilenode != filenode))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table %s was dropped, truncated or rewritten after the %s began: the %s begins again",
						rel != NULL ? RelationGetRelationName(rel) :
						psprintf("with OID %u", relation), reader->purpose, reader->purpose)));
	return rel;
}

/* What was asked for of the table, evaluated with the rights of the group's owner */
static void
prepare_where(FloTableReader *reader, FloReading *r)
{
	bool		fixed;
	Expr	   *where = flo_expr_condition(reader->where, reader->owner, r->published, &r->guarded,
										   &fixed);

	r->where = ExecPrepareExpr(where, r->estate);
	r->shaped |= !fixed;
}

void
flo_reading_begin(FloTableReader *reader, FloReading *r, Oid relation, Oid published, Oid filenode)
{
	memset(r, 0, sizeof(*r));
	r->relation = open_unchanged(reader, relation, filenode);
	r->published = r->relation;
	if (published != relation)
	{
		lock(reader, published);
		r->published = table_open(published, NoLock);
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
	r->estate = CreateExecutorState();
	r->econtext = GetPerTupleExprContext(r->estate);
	read_publication(reader, r);
	describe(reader, r);
	r->shaped = r->ruled;
	if (reader->where != NULL)
		prepare_where(reader, r);
}

void
flo_reading_end(FloReading *r)
{
	ExecDropSingleTupleTableSlot(r->read);
	ExecDropSingleTupleTableSlot(r->mapped);
	flo_row_writer_free(r->writer);
	if (r->published != r->relation)
		table_close(r->published, NoLock);
	relation_close(r->relation, NoLock);
	FreeExecutorState(r->estate);
	flo_error_context_clear();
}

const FloRelation *
flo_reading_description(FloTableReader *reader, FloReading *r)
{
	const FloRelation *relation = NULL;
	int			at = 0;

	flo_change_begin_chunk(reader->parser);
	while (at < r->description_len)
	{
		uint32		len;

		memcpy(&len, r->description + at, sizeof(len));
		len = pg_ntoh32(len);
		at += sizeof(len);
		relation = flo_change_parse(reader->parser, r->description + at, len)->relation;
		at += len;
	}
	return relation;
}

TableScanDesc
flo_reading_scan(FloReading *r, BlockNumber first, BlockNumber end)
{
	ItemPointerData low;
	ItemPointerData high;

	ItemPointerSet(&low, first, FirstOffsetNumber);
	if (end == InvalidBlockNumber)
		ItemPointerSet(&high, InvalidBlockNumber - 1, MaxOffsetNumber);
	else
		ItemPointerSet(&high, end - 1, MaxOffsetNumber);
	return flo_compat_table_beginscan_range(r->relation, GetActiveSnapshot(), &low, &high);
}

/* A value that is kept out of line, in memory, and seen to be so, as decoding shows it */
static Datum
fetch(struct varlena *value)
{
	struct varatt_indirect pointer;
	struct varlena *fetched = palloc(INDIRECT_POINTER_SIZE);

	pointer.pointer = detoast_external_attr(value);
	SET_VARTAG_EXTERNAL(fetched, VARTAG_INDIRECT);
	memcpy(VARDATA_EXTERNAL(fetched), &pointer, sizeof(pointer));
	return PointerGetDatum(fetched);
}

/* With all its values in memory: what is out of line would travel as "unchanged" */
static void
complete_row(FloReading *r, TupleTableSlot *row)
{
	TupleDesc	desc = RelationGetDescr(r->published);

	slot_getallattrs(row);
	for (int i = 0; i < desc->natts; i++)
	{
		struct varlena *value;

		if (row->tts_isnull[i] || TupleDescAttr(desc, i)->attlen != -1)
			continue;
		value = (struct varlena *) DatumGetPointer(row->tts_values[i]);
		if (VARATT_IS_EXTERNAL(value))
			row->tts_values[i] = fetch(value);
	}
}

/* What rules make of the row in the message; false when it is dropped */
static bool
shape_row(FloTableReader *reader)
{
	const FloChange *row = flo_change_parse(reader->parser, reader->message.data,
											reader->message.len);
	const FloChange *shaped = flo_shape_apply(reader->shape, row);
	StringInfoData message = reader->message;

	if (shaped == NULL)
		return false;
	if (shaped != row)
	{
		flo_encode_change(&reader->shaped, shaped);
		reader->message = reader->shaped;
		reader->shaped = message;
	}
	return true;
}

static bool
passes(FloReading *r, ExprState *condition, TupleTableSlot *slot)
{
	Datum		result;
	bool		isnull;

	r->econtext->ecxt_scantuple = slot;
	ResetExprContext(r->econtext);
	result = ExecEvalExprSwitchContext(condition, r->econtext, &isnull);
	return !isnull && DatumGetBool(result);
}

static bool
is_asked_for(FloTableReader *reader, FloReading *r, TupleTableSlot *slot)
{
	FloAuthor	saved;
	bool		asked;

	flo_author_enter(&saved, reader->owner, r->guarded);
	asked = passes(r, r->where, slot);
	flo_author_leave(&saved);
	return asked;
}

FloRowIs
flo_reading_row(FloTableReader *reader, FloReading *r)
{
	TupleTableSlot *slot = r->read;

	if (r->map != NULL)
		slot = execute_attr_map_slot(r->map, r->read, r->mapped);
	if (r->filter != NULL && !passes(r, r->filter, slot))
		return FLO_ROW_UNPUBLISHED;
	if (r->where != NULL && !is_asked_for(reader, r, slot))
		return FLO_ROW_UNPUBLISHED;
	resetStringInfo(&reader->message);
	complete_row(r, slot);
	flo_row_writer_insert(r->writer, r->published, slot->tts_values, slot->tts_isnull,
						  reader->methods, &reader->message);
	return r->ruled && !shape_row(reader) ? FLO_ROW_DROPPED : FLO_ROW_READ;
}

/* The rules as the snapshot shows them */
void
flo_table_reader_open(FloTableReader *reader, MemoryContext context, const char *group,
					  const char *purpose, bool text)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext rules = AllocSetContextCreate(context, "pg_flo rules", ALLOCSET_SMALL_SIZES);
	FloReplicatorSpec *replicator = flo_store_replicator(group);
	FloShapeSettings settings = {0};
	FloShapeSpec *spec;

	memset(reader, 0, sizeof(*reader));
	reader->group = group;
	reader->purpose = purpose;
	reader->text = text;
	settings.owner = reader->owner = replicator != NULL ? replicator->owner : InvalidOid;
	reader->parser = flo_change_parser_create(context);
	reader->shape = flo_shape_create(context, &settings);
	MemoryContextSwitchTo(rules);
	spec = flo_rule_tables_load(reader->group, FLO_REPLICATOR_MEMBER, "");
	flo_shape_load(reader->shape, spec, rules);
	MemoryContextSwitchTo(context);
	initStringInfo(&reader->message);
	initStringInfo(&reader->shaped);
	reader->fingerprint = flo_rule_tables_fingerprint(reader->group);
	MemoryContextSwitchTo(old);
}

void
flo_table_reader_check_rules(FloTableReader *reader)
{
	char	   *now;

	PushActiveSnapshot(GetLatestSnapshot());
	now = flo_rule_tables_fingerprint(reader->group);
	PopActiveSnapshot();
	if (strcmp(now, reader->fingerprint) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("rules of the replicator have changed after the %s began: the %s begins again",
						reader->purpose, reader->purpose)));
	pfree(now);
}
