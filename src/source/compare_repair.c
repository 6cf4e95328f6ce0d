/*
 * compare_repair.c
 *		Writes rows of the source again into the stream, as they are at that place.
 *
 * The rows are locked, read and put into a message of their own transaction: as nobody
 * can change them before it commits, the message stands in the stream behind all
 * that made them what they are, and before all that will change them.  So it needs no
 * snapshot, and holds others up no longer than it takes to read a few hundred
 * rows.  A row that has gone meanwhile was removed in the stream, too.
 *
 * That the source has no row of a key is true only as long as nobody can put it
 * there: for extra rows the table is locked against writes, for a moment.
 *
 * Everything that a user has written, as operators of his types, runs as the
 * replicator's owner.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_operator.h"
#include "conf/message.h"
#include "conf/store.h"
#include "core/as_role.h"
#include "core/names.h"
#include "core/transaction.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "source/compare.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "wire/compare.h"
#include "wire/encode.h"

/* Keys of a transaction, and bytes of a message, about */
#define KEYS_AT_ONCE 500
#define MESSAGE_SIZE (256 * 1024)

/* For locks of rows and, with extra rows, of the table */
#define LOCK_TIMEOUT "5s"

typedef struct Repair
{
	const FloCompareRepair *order;
	FloTableReader reader;
	FloReading	reading;
	const FloRelation *relation;	/* as it is sent */
	SPIPlanPtr	find;			/* the row of a key, which it locks */
	int			nkeys;
	StringInfoData records;
	bool		any;			/* rows in it */
	int64		written;
} Repair;

/* A name for the row that no column has: it would be taken for the column */
static const char *
row_alias(Relation rel)
{
	char	   *alias = pstrdup("r");

	for (int i = 1; get_attnum(RelationGetRelid(rel), alias) != InvalidAttrNumber; i++)
		alias = psprintf("r%d", i);
	return alias;
}

/*
 * " AND r.k = $1::type", as the key's index has it: by the operator of the type, wherever
 * that is, and without a length to which another key would be cut
 */
static void
append_condition(StringInfo sql, const char *alias, Form_pg_attribute att, int number)
{
	TypeCacheEntry *type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR);
	uint16		flags = FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(type->eq_opr));
	Form_pg_operator operator;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s has no operator =", format_type_be(att->atttypid))));
	operator = (Form_pg_operator) GETSTRUCT(tuple);
	appendStringInfo(sql, "%s %s.%s OPERATOR(%s.%s) $%d::%s", number > 1 ? " AND" : "", alias,
					 quote_identifier(NameStr(att->attname)),
					 quote_identifier(get_namespace_name(operator->oprnamespace)),
					 NameStr(operator->oprname), number,
					 format_type_extended(att->atttypid, -1, flags));
	ReleaseSysCache(tuple);
}

/* "SELECT r FROM s.t r WHERE r.k1 = $1::type AND ... FOR SHARE OF r" */
static void
prepare(Repair *r, bool extra)
{
	Relation	rel = r->reading.published;
	const char *alias = row_alias(rel);
	StringInfoData sql;
	Oid		   *types = palloc(sizeof(Oid) * Max(r->nkeys, 1));
	ListCell   *cell;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM %s %s WHERE", alias,
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)), alias);
	foreach(cell, r->order->keys)
	{
		AttrNumber	number = get_attnum(RelationGetRelid(rel), lfirst(cell));
		int			i = foreach_current_index(cell);

		if (number <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("column \"%s\" of table \"%s\" has gone", (char *) lfirst(cell),
							RelationGetRelationName(rel))));
		types[i] = TEXTOID;
		append_condition(&sql, alias, TupleDescAttr(RelationGetDescr(rel), number - 1), i + 1);
	}
	if (!extra)
		appendStringInfo(&sql, " FOR SHARE OF %s", alias);
	r->find = SPI_prepare(sql.data, r->nkeys, types);
	if (r->find == NULL)
		elog(ERROR, "could not prepare: %s", sql.data);
}

static void
find(Repair *r, const FloRepairKey *key)
{
	Datum	   *values = palloc(sizeof(Datum) * r->nkeys);
	ListCell   *cell;

	foreach(cell, key->values)
		values[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	if (SPI_execute_plan(r->find, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a row to be written again");
}

static void
send(Repair *r)
{
	FloRepairMessage message = {.id = r->order->id,.workers = list_make1(r->order->consumer)};
	char	   *payload;

	if (r->any)
	{
		message.records = palloc(r->records.len * 2 + 1);
		message.records[hex_encode(r->records.data, r->records.len, message.records)] = '\0';
		payload = flo_repair_format(&message);
		flo_message_write(FLO_MESSAGE_REPAIR, list_make1(unconstify(char *, r->order->group)),
						  payload, strlen(payload));
		pfree(message.records);
		pfree(payload);
	}
	resetStringInfo(&r->records);
	flo_chunk_append_raw(&r->records, r->reading.description, r->reading.description_len);
	r->any = false;
}

static void
append(Repair *r, const char *data, int len)
{
	flo_chunk_append(&r->records, data, len);
	r->any = true;
	r->written++;
	if (r->records.len > MESSAGE_SIZE)
		send(r);
}

/* The row that was found, as decoding would have made it; false when it is not published */
static bool
read_row(Repair *r, HeapTuple found, TupleDesc desc)
{
	HeapTupleData tuple = {0};
	bool		isnull;
	bool		published;
	Datum		row = SPI_getbinval(found, desc, 1, &isnull);

	if (isnull)
		return false;
	tuple.t_data = DatumGetHeapTupleHeader(row);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	ItemPointerSetInvalid(&tuple.t_self);
	ExecForceStoreHeapTuple(&tuple, r->reading.read, false);
	published = flo_reading_row(&r->reader, &r->reading) == FLO_ROW_READ;
	ExecClearTuple(r->reading.read);
	return published;
}

/* A DELETE by the key, which is all that is known of the row */
static void
write_removal(Repair *r, const FloRepairKey *key)
{
	const FloRelation *relation = r->relation;
	FloChange	change = {
		.op = FLO_OP_DELETE,
		.relation = relation,
		.has_old = true,
		.old_is_key = true
	};
	StringInfoData message;
	ListCell   *name;
	ListCell   *value;

	change.old.natts = relation->natts;
	change.old.values = palloc0(sizeof(FloValue) * relation->natts);
	for (int i = 0; i < relation->natts; i++)
	{
		change.old.values[i].kind = FLO_VALUE_NULL;
		forboth(name, r->order->keys, value, key->values)
		{
			if (strcmp(lfirst(name), relation->columns[i].name) != 0)
				continue;
			change.old.values[i].kind = FLO_VALUE_TEXT;
			change.old.values[i].data = lfirst(value);
			change.old.values[i].len = strlen(lfirst(value));
		}
	}
	initStringInfo(&message);
	flo_encode_change(&message, &change);
	append(r, message.data, message.len);
}

static void
repair_key(Repair *r, const FloRepairKey *key)
{
	bool		found = false;

	if (list_length(key->values) != r->nkeys)
		return;
	find(r, key);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		if (!read_row(r, SPI_tuptable->vals[i], SPI_tuptable->tupdesc))
			continue;
		found = true;
		if (!key->extra)
			append(r, r->reader.message.data, r->reader.message.len);
	}
	if (key->extra && !found)
		write_removal(r, key);
	SPI_freetuptable(SPI_tuptable);
}

/* In a transaction of its own: the keys from "from" on that are extra, or are not */
static int
repair_some(const FloCompareRepair *order, int from, bool extra, int64 *written)
{
	Repair		r = {.order = order,.nkeys = list_length(order->keys)};
	MemoryContext old = flo_transaction_begin();
	FloReplicatorSpec *replicator = flo_store_replicator(order->group);
	FloAsRole	as;
	int			i = from;

	if (replicator == NULL)
		elog(ERROR, "the replicator has gone");
	flo_table_reader_open(&r.reader, CurrentMemoryContext, order->group, "repair", true);
	flo_reading_begin(&r.reader, &r.reading, order->relation, order->relation, InvalidOid);
	r.relation = flo_reading_description(&r.reader, &r.reading);
	initStringInfo(&r.records);
	send(&r);
	flo_as_role_enter(&as, replicator->owner, FLO_AS_ROLE_RESTRICTED);
	flo_as_role_set("search_path", "pg_catalog, pg_temp");
	flo_as_role_set("lock_timeout", LOCK_TIMEOUT);
	if (extra)
		LockRelationOid(order->relation, ShareRowExclusiveLock);

	/* what was committed before the locks were had is seen */
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	prepare(&r, extra);
	for (int n = 0; i < list_length(order->repairs) && n < KEYS_AT_ONCE; i++)
	{
		const FloRepairKey *key = list_nth(order->repairs, i);

		if (key->extra != extra)
			continue;
		repair_key(&r, key);
		n++;
	}
	SPI_finish();
	PopActiveSnapshot();
	flo_as_role_leave(&as);
	send(&r);
	flo_reading_end(&r.reading);
	*written += r.written;
	flo_transaction_end(old);
	return i;
}

int64
flo_compare_repair(const FloCompareRepair *order)
{
	int64		written = 0;

	/*
	 * an extra row may have a value that is to be unique and one that is
	 * written needs
	 */
	for (int i = 0; order->extra && i < list_length(order->repairs);)
		i = repair_some(order, i, true, &written);
	for (int i = 0; i < list_length(order->repairs);)
		i = repair_some(order, i, false, &written);
	return written;
}
