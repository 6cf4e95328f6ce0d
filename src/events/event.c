/*
 * event.c
 *		A change as one JSON object, the same for every sink that writes events.
 *
 * Promises: one object per changed row, truncated table or statement, in one
 * line and in UTF-8.  Its Id is made of the group, the LSN of the commit record
 * and the number of the change in the source's transaction, so it is the same
 * whenever the change is sent again, whatever is filtered out on the way.
 *
 * What an object says of its table is the same for all of its changes and is
 * kept as text.  Finding out about a table's types needs the catalogs: that
 * happens in a short transaction of its own when the table is first seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/transaction.h"
#include "events/event.h"
#include "events/json_value.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "wire/ddl.h"
#include "wire/partition.h"

#define TIME_SIZE (MAXDATELEN + 1)

/* A table, as its events show it */
typedef struct EventRelation
{
	uint32		id;				/* hash key */
	uint64		version;		/* of the FloRelation; 0 = not described */
	MemoryContext context;
	char	   *table;			/* "Schema":...,"Table":...,"ReplicationKey":{...}, */
	int			table_len;
	char	  **keys;			/* "name": of each column */
	FloJsonType **types;
	bool		needs_catalog;
} EventRelation;

struct FloEventWriter
{
	MemoryContext context;
	MemoryContext scratch;		/* reset with each event */
	char	   *group;
	int			encoding;
	HTAB	   *relations;
	EventRelation *last;
	StringInfoData id;
	uint64		catalogs_seen;

	/* the transaction at hand, as its events show it */
	XLogRecPtr	final_lsn;
	StringInfoData place;		/* "LSN":...,"CommittedAt":..., */
	char		emitted[TIME_SIZE]; /* the present, to the microsecond */
	TimestampTz emitted_at;

	/* to UTF-8, when the server has another encoding */
	bool		converts;
	bool		converter_known;
	FmgrInfo	converter;
};

/* Counts changes of the catalogs that descriptions of types may be stale after */
static uint64 catalog_changes = 1;

static void
type_changed(Datum arg, int cache, uint32 hash)
{
	catalog_changes++;
}

/* A row type changes with its entry in pg_class */
static void
relation_changed(Datum arg, Oid relation)
{
	catalog_changes++;
}

FloEventWriter *
flo_event_writer_create(MemoryContext context, const char *group, int encoding)
{
	static bool registered = false;
	FloEventWriter *writer = MemoryContextAllocZero(context, sizeof(FloEventWriter));
	MemoryContext old = MemoryContextSwitchTo(context);
	HASHCTL		control = {0};

	if (!registered)
	{
		CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}
	writer->context = context;
	writer->scratch = AllocSetContextCreate(context, "pg_flo event", ALLOCSET_DEFAULT_SIZES);
	writer->group = pstrdup(group);
	writer->encoding = encoding;
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(EventRelation);
	control.hcxt = context;
	writer->relations = hash_create("pg_flo event tables", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	initStringInfo(&writer->id);
	initStringInfo(&writer->place);
	writer->converts = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
	writer->catalogs_seen = catalog_changes;
	MemoryContextSwitchTo(old);
	return writer;
}

const char *
flo_event_id(const FloEventWriter *writer)
{
	return writer->id.data;
}

const char *
flo_event_type_name(FloEventType type)
{
	switch (type)
	{
		case FLO_EVENT_INSERT:
			return "INSERT";
		case FLO_EVENT_UPDATE:
			return "UPDATE";
		case FLO_EVENT_DELETE:
			return "DELETE";
		case FLO_EVENT_TRUNCATE:
			return "TRUNCATE";
		case FLO_EVENT_DDL:
			return "DDL";
	}
	return NULL;
}

FloEventType
flo_event_type_of(const FloChange *change)
{
	switch (change->op)
	{
		case FLO_OP_INSERT:
			return FLO_EVENT_INSERT;
		case FLO_OP_UPDATE:
			return FLO_EVENT_UPDATE;
		case FLO_OP_DELETE:
			return FLO_EVENT_DELETE;
		case FLO_OP_TRUNCATE:
			return FLO_EVENT_TRUNCATE;
		default:
			return FLO_EVENT_DDL;
	}
}

int
flo_event_count(const FloChange *change)
{
	return change->op == FLO_OP_TRUNCATE ? change->ntruncated : 1;
}

void
flo_event_tally(FloCounters *counters, const FloChange *change)
{
	switch (flo_event_type_of(change))
	{
		case FLO_EVENT_INSERT:
			counters->inserts++;
			break;
		case FLO_EVENT_UPDATE:
			counters->updates++;
			break;
		case FLO_EVENT_DELETE:
			counters->deletes++;
			break;
		case FLO_EVENT_TRUNCATE:
			counters->truncates += change->ntruncated;
			break;
		case FLO_EVENT_DDL:
			break;
	}
}

static void
append_name(StringInfo out, const char *name)
{
	flo_json_append_text(out, name, strlen(name));
}

/* --- tables -------------------------------------------------------------- */

void
flo_event_forget(FloEventWriter *writer)
{
	HASH_SEQ_STATUS scan;
	EventRelation *entry;

	hash_seq_init(&scan, writer->relations);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->version = 0;
	writer->last = NULL;
}

void
flo_event_forget_table(FloEventWriter *writer, uint32 relation)
{
	EventRelation *entry = hash_search(writer->relations, &relation, HASH_FIND, NULL);

	writer->last = NULL;
	if (entry == NULL)
		return;
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	hash_search(writer->relations, &relation, HASH_REMOVE, NULL);
}

static const char *
replica_identity(const FloRelation *relation)
{
	bool		has_key = false;

	for (int i = 0; i < relation->natts; i++)
		has_key |= relation->columns[i].is_key;
	switch (relation->identity)
	{
		case REPLICA_IDENTITY_FULL:
			return "FULL";
		case REPLICA_IDENTITY_INDEX:
			return "UNIQUE";
		case REPLICA_IDENTITY_DEFAULT:
			return has_key ? "PRIMARY KEY" : "NONE";
		default:
			return "NONE";
	}
}

static void
describe_table(EventRelation *entry, const FloRelation *relation)
{
	StringInfoData text;
	const char *separator = "";

	initStringInfo(&text);
	appendStringInfoString(&text, "\"Schema\":");
	append_name(&text, relation->schema);
	appendStringInfoString(&text, ",\"Table\":");
	append_name(&text, relation->name);
	appendStringInfo(&text, ",\"ReplicationKey\":{\"Type\":\"%s\",\"Columns\":[",
					 replica_identity(relation));
	for (int i = 0; i < relation->natts; i++)
	{
		if (!relation->columns[i].is_key)
			continue;
		appendStringInfoString(&text, separator);
		append_name(&text, relation->columns[i].name);
		separator = ",";
	}
	appendStringInfoString(&text, "]},");
	entry->table = text.data;
	entry->table_len = text.len;
}

/* In a transaction and in the entry's memory context */
static void
describe_columns(EventRelation *entry, const FloRelation *relation)
{
	entry->keys = palloc(sizeof(char *) * Max(relation->natts, 1));
	entry->types = palloc(sizeof(FloJsonType *) * Max(relation->natts, 1));
	entry->needs_catalog = false;
	for (int i = 0; i < relation->natts; i++)
	{
		StringInfoData key;

		initStringInfo(&key);
		append_name(&key, relation->columns[i].name);
		appendStringInfoChar(&key, ':');
		entry->keys[i] = key.data;
		entry->types[i] = flo_json_type(&relation->columns[i], entry->context);
		entry->needs_catalog |= flo_json_needs_catalog(entry->types[i]);
	}
}

/* Open a transaction unless there is one; returns whether it has to be closed */
static bool
enter_transaction(void)
{
	MemoryContext old = CurrentMemoryContext;

	if (IsTransactionState())
		return false;
	flo_transaction_start();
	MemoryContextSwitchTo(old);
	return true;
}

static void
leave_transaction(bool opened)
{
	MemoryContext old = CurrentMemoryContext;

	if (opened)
		flo_transaction_commit();
	MemoryContextSwitchTo(old);
}

static void
describe_relation(FloEventWriter *writer, EventRelation *entry, const FloRelation *relation)
{
	MemoryContext old;
	bool		opened;

	if (entry->context == NULL)
		entry->context = AllocSetContextCreate(writer->context, "pg_flo event table",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(entry->context);
	old = MemoryContextSwitchTo(entry->context);
	describe_table(entry, relation);
	opened = enter_transaction();
	describe_columns(entry, relation);
	leave_transaction(opened);
	MemoryContextSwitchTo(old);
	entry->version = relation->version;
}

static EventRelation *
find_relation(FloEventWriter *writer, const FloRelation *relation)
{
	EventRelation *entry = writer->last;
	bool		found;

	if (writer->catalogs_seen != catalog_changes)
	{
		flo_event_forget(writer);
		entry = NULL;
		writer->catalogs_seen = catalog_changes;
	}
	if (entry != NULL && entry->id == relation->id && entry->version == relation->version)
		return entry;
	entry = hash_search(writer->relations, &relation->id, HASH_ENTER, &found);
	if (!found)
	{
		entry->version = 0;
		entry->context = NULL;
	}
	if (entry->version != relation->version)
		describe_relation(writer, entry, relation);
	writer->last = entry;
	return entry;
}

/* --- parts of an event --------------------------------------------------- */

static const char *
encode_time(char *buf, TimestampTz at)
{
	const int	utc = 0;

	return JsonEncodeDateTime(buf, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
}

/* What all events of a transaction have in common is written once */
static void
describe_transaction(FloEventWriter *writer, const FloTransaction *txn)
{
	char		committed[TIME_SIZE];

	if (writer->final_lsn == txn->final_lsn && writer->place.len > 0)
		return;
	resetStringInfo(&writer->place);
	appendStringInfo(&writer->place, "\"LSN\":\"%X/%X\",\"CommitLSN\":\"%X/%X\",",
					 LSN_FORMAT_ARGS(txn->final_lsn), LSN_FORMAT_ARGS(txn->final_lsn));

	/* which transaction made a row that was copied is not known */
	if (txn->copy_id != NULL)
		appendStringInfoString(&writer->place, "\"Xid\":null,\"CommittedAt\":null,");
	else
		appendStringInfo(&writer->place, "\"Xid\":%u,\"CommittedAt\":\"%s\",", txn->xid,
						 encode_time(committed, txn->commit_time));
	writer->final_lsn = txn->final_lsn;
}

static void
describe_present(FloEventWriter *writer)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now != writer->emitted_at)
		encode_time(writer->emitted, now);
	writer->emitted_at = now;
}

/* One TRUNCATE of several tables is one change, told apart by their OIDs; 0: no TRUNCATE */
static void
make_id(FloEventWriter *writer, const FloTransaction *txn, uint32 truncated)
{
	resetStringInfo(&writer->id);
	if (txn->copy_id != NULL)
		appendStringInfo(&writer->id, "%s-copy-%s-" UINT64_FORMAT, writer->group, txn->copy_id,
						 txn->ordinal);
	else
		appendStringInfo(&writer->id, "%s-%08X%08X-" UINT64_FORMAT, writer->group,
						 LSN_FORMAT_ARGS(txn->final_lsn), txn->ordinal);
	if (truncated != 0)
		appendStringInfo(&writer->id, ".%u", truncated);
}

/* "only_key": the other columns of the tuple were not sent */
static void
append_tuple(FloEventWriter *writer, StringInfo out, EventRelation *entry,
			 const FloRelation *relation, const FloTuple *tuple, bool only_key)
{
	int			encoding = writer->encoding >= 0 ? writer->encoding : pg_get_client_encoding();
	bool		first = true;

	appendStringInfoChar(out, '{');
	for (int i = 0; i < tuple->natts; i++)
	{
		const FloValue *value = &tuple->values[i];

		if (value->kind == FLO_VALUE_UNCHANGED || (only_key && !relation->columns[i].is_key))
			continue;
		if (!first)
			appendStringInfoChar(out, ',');
		first = false;
		appendStringInfoString(out, entry->keys[i]);
		flo_json_append_value(out, entry->types[i], value, encoding);
	}
	appendStringInfoChar(out, '}');
}

static void
append_unchanged(StringInfo out, const FloRelation *relation, const FloTuple *tuple)
{
	bool		any = false;

	for (int i = 0; i < tuple->natts; i++)
	{
		if (tuple->values[i].kind != FLO_VALUE_UNCHANGED)
			continue;
		appendStringInfoString(out, any ? "," : ",\"UnchangedColumns\":[");
		append_name(out, relation->columns[i].name);
		any = true;
	}
	if (any)
		appendStringInfoChar(out, ']');
}

static void
append_rows(FloEventWriter *writer, StringInfo out, EventRelation *entry, const FloChange *change)
{
	bool		has_new = change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE;
	bool		has_old = change->op != FLO_OP_INSERT && change->op != FLO_OP_TRUNCATE &&
		change->has_old;
	bool		opened = entry->needs_catalog && enter_transaction();

	appendStringInfoString(out, "\"NewTuple\":");
	if (has_new)
		append_tuple(writer, out, entry, change->relation, &change->new, false);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"OldTuple\":");
	if (has_old)
		append_tuple(writer, out, entry, change->relation, &change->old, change->old_is_key);
	else
		appendStringInfoString(out, "null");
	if (has_new)
		append_unchanged(out, change->relation, &change->new);
	leave_transaction(opened);
}

/* --- partitions ---------------------------------------------------------- */

static char *
key_in_words(void *arg, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	const char *column = key->column != NULL ? flo_partition_column(arg, key->column) : NULL;

	if (key->column == NULL)
		return psprintf("(%s)", key->expression);
	return column != NULL ? pstrdup(quote_identifier(column)) : NULL;
}

static char *
no_hash(void *arg, const FloPartitionLevel *level)
{
	return NULL;
}

/*
 * Of a partition that was truncated alone: who it is and, where words tell,
 * which rows were in it
 */
static void
append_part(StringInfo out, const FloPartition *part, const FloRelation *relation)
{
	const FloPartitionWords words = {unconstify(FloRelation *, relation), key_in_words, no_hash};
	char	   *condition = flo_partition_condition(part, &words);

	appendStringInfoString(out, ",\"Partition\":{\"Schema\":");
	append_name(out, part->schema);
	appendStringInfoString(out, ",\"Table\":");
	append_name(out, part->name);
	appendStringInfoString(out, ",\"Condition\":");
	if (condition != NULL)
		append_name(out, condition);
	else
		appendStringInfoString(out, "null");
	appendStringInfoChar(out, '}');
}

/* --- encoding ------------------------------------------------------------ */

/* The conversion function is looked up once: later there is no transaction */
static void
find_converter(FloEventWriter *writer)
{
	bool		opened = enter_transaction();
	Oid			function = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("default conversion function for encoding \"%s\" to \"%s\" does not exist",
						GetDatabaseEncodingName(), "UTF8")));
	fmgr_info_cxt(function, &writer->converter, writer->context);
	leave_transaction(opened);
	writer->converter_known = true;
}

/* Make what was appended from "start" on UTF-8 */
static void
convert_to_utf8(FloEventWriter *writer, StringInfo out, int start)
{
	int			len = out->len - start;
	char	   *converted;

	if (!writer->converter_known)
		find_converter(writer);
	if ((Size) len >= MaxAllocSize / MAX_CONVERSION_GROWTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("an event of %d bytes is too large to be converted to UTF-8", len)));
	converted = palloc((Size) len * MAX_CONVERSION_GROWTH + 1);
	FunctionCall6(&writer->converter, Int32GetDatum(GetDatabaseEncoding()),
				  Int32GetDatum(PG_UTF8), CStringGetDatum(out->data + start),
				  CStringGetDatum(converted), Int32GetDatum(len), BoolGetDatum(false));
	out->len = start;
	appendStringInfoString(out, converted);
	pfree(converted);
}

/* --- events -------------------------------------------------------------- */

/* The rest of a DDL event: the relation only says which table it is about */
static void
append_command(StringInfo out, const FloChange *change)
{
	char	   *content = pnstrdup(change->content, change->content_len);

	appendStringInfoString(out, "\"NewTuple\":null,\"OldTuple\":null,\"Command\":");
	flo_ddl_append_command(out, flo_ddl_parse(pg_any_to_server(content, strlen(content),
															   pg_get_client_encoding())));
}

static void
append_place_of_command(StringInfo out, const FloRelation *relation)
{
	appendStringInfoString(out, "\"Schema\":");
	escape_json(out, relation->schema);
	appendStringInfoString(out, ",\"Table\":");
	escape_json(out, relation->name);
	appendStringInfoString(out, ",\"ReplicationKey\":null,");
}

void
flo_event_append(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
				 const FloChange *change, int which)
{
	const FloTruncated *truncated = change->op == FLO_OP_TRUNCATE ? &change->truncated[which] :
		NULL;
	const FloRelation *relation = truncated != NULL ? truncated->relation : change->relation;
	EventRelation *entry = change->op == FLO_OP_MESSAGE ? NULL : find_relation(writer, relation);
	MemoryContext old = MemoryContextSwitchTo(writer->scratch);
	FloPartition *part = truncated != NULL && truncated->part != NULL ?
		flo_partition_read(truncated->part) : NULL;
	int			start = out->len;

	make_id(writer, txn, part != NULL ? part->relation : truncated != NULL ? relation->id : 0);
	describe_transaction(writer, txn);
	describe_present(writer);

	appendStringInfoString(out, "{\"Id\":\"");
	appendBinaryStringInfo(out, writer->id.data, writer->id.len);
	appendStringInfoString(out, "\",\"Type\":\"");
	appendStringInfoString(out, flo_event_type_name(flo_event_type_of(change)));
	appendStringInfoString(out, "\",");
	if (entry != NULL)
		appendBinaryStringInfo(out, entry->table, entry->table_len);
	else
		append_place_of_command(out, relation);
	appendBinaryStringInfo(out, writer->place.data, writer->place.len);
	appendStringInfoString(out, "\"EmittedAt\":\"");
	appendStringInfoString(out, writer->emitted);
	appendStringInfoString(out, "\",");
	if (entry != NULL)
		append_rows(writer, out, entry, change);
	else
		append_command(out, change);
	if (part != NULL)
		append_part(out, part, relation);
	appendStringInfoChar(out, '}');
	if (writer->converts)
		convert_to_utf8(writer, out, start);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->scratch);
}

/* --- parts of events ----------------------------------------------------- */

const FloValue *
flo_event_value(const FloChange *change, bool old, int column)
{
	bool		has_new = change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE;
	bool		has_old = change->op != FLO_OP_INSERT && change->has_old &&
		(!change->old_is_key || change->relation->columns[column].is_key);

	for (int i = 0; i < 2; i++, old = !old)
	{
		const FloTuple *tuple = old ? &change->old : &change->new;

		if ((old ? has_old : has_new) && column < tuple->natts &&
			tuple->values[column].kind != FLO_VALUE_UNCHANGED)
			return &tuple->values[column];
	}
	return NULL;
}

void
flo_event_append_row(FloEventWriter *writer, StringInfo out, const FloChange *change,
					 bool old, bool only_key)
{
	const FloRelation *relation = change->relation;
	EventRelation *entry = find_relation(writer, relation);
	MemoryContext context = MemoryContextSwitchTo(writer->scratch);
	int			encoding = writer->encoding >= 0 ? writer->encoding : pg_get_client_encoding();
	bool		opened = entry->needs_catalog && enter_transaction();
	int			start = out->len;
	char		separator = '{';

	for (int i = 0; i < relation->natts; i++)
	{
		const FloValue *value = NULL;

		if (!only_key || relation->columns[i].is_key)
			value = flo_event_value(change, old, i);
		if (value == NULL)
			continue;
		appendStringInfoChar(out, separator);
		separator = ',';
		appendStringInfoString(out, entry->keys[i]);
		flo_json_append_value(out, entry->types[i], value, encoding);
	}
	appendStringInfoString(out, separator == '{' ? "{}" : "}");
	leave_transaction(opened);
	if (writer->converts)
		convert_to_utf8(writer, out, start);
	MemoryContextSwitchTo(context);
	MemoryContextReset(writer->scratch);
}

/* In place: what flo_json_append_text() has written, from "start" on */
static void
unquote(StringInfo out, int start)
{
	static const char *const escapes = "b\bf\fn\nr\rt\t";
	const char *end = out->data + out->len - 1;
	char	   *to = out->data + start;

	for (const char *c = to + 1; c < end; c++)
	{
		const char *escape;

		if (*c != '\\')
		{
			*to++ = *c;
			continue;
		}
		c++;
		if (*c == 'u')
		{
			*to++ = (char) strtol(pnstrdup(c + 1, 4), NULL, 16);
			c += 4;
			continue;
		}
		escape = *c != '"' && *c != '\\' ? strchr(escapes, *c) : NULL;
		*to++ = escape != NULL ? escape[1] : *c;
	}
	out->len = to - out->data;
	out->data[out->len] = '\0';
}

void
flo_event_append_text(FloEventWriter *writer, StringInfo out, const FloRelation *relation,
					  int column, const FloValue *value)
{
	EventRelation *entry = find_relation(writer, relation);
	FloJsonType *type = entry->types[column];
	MemoryContext context = MemoryContextSwitchTo(writer->scratch);
	int			encoding = writer->encoding >= 0 ? writer->encoding : pg_get_client_encoding();
	bool		opened = flo_json_needs_catalog(type) && enter_transaction();
	int			start = out->len;

	flo_json_append_value(out, type, value, encoding);

	/* a string in JSON, and what it holds, are different values of type json */
	if (out->data[start] == '"' && type->kind != KIND_JSON && type->kind != KIND_JSONB)
		unquote(out, start);
	leave_transaction(opened);
	if (writer->converts)
		convert_to_utf8(writer, out, start);
	MemoryContextSwitchTo(context);
	MemoryContextReset(writer->scratch);
}

void
flo_event_append_name(FloEventWriter *writer, StringInfo out, const char *name)
{
	int			start = out->len;

	appendStringInfoString(out, name);
	if (writer->converts)
		convert_to_utf8(writer, out, start);
}
