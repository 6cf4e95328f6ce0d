/*
 * event_parts.c
 *		What events of all formats are made of: tables, rows, times, encodings.
 *
 * What an event says of its table is the same for all of its changes and is
 * kept as text.  Finding out about a table's types needs the catalogs: that
 * happens in a short transaction of its own when the table is first seen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/transaction.h"
#include "events/event_impl.h"
#include "events/json_value.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Counts changes of the catalogs that descriptions of types may be stale after */
static uint64 catalog_changes = 0;

/* --- words and numbers --------------------------------------------------- */

void
flo_event_quote(StringInfo out, const char *name)
{
	flo_json_append_text(out, name, strlen(name));
}

void
flo_event_append_uint64(StringInfo out, uint64 value)
{
	enlargeStringInfo(out, MAXINT8LEN + 1);
	out->len += pg_ulltoa_n(value, out->data + out->len);
	out->data[out->len] = '\0';
}

const char *
flo_event_time(char *buf, TimestampTz at)
{
	const int	utc = 0;

	return JsonEncodeDateTime(buf, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
}

bool
flo_event_enter_transaction(void)
{
	MemoryContext old = CurrentMemoryContext;

	if (IsTransactionState())
		return false;
	flo_transaction_start();
	MemoryContextSwitchTo(old);
	return true;
}

void
flo_event_leave_transaction(bool opened)
{
	MemoryContext old = CurrentMemoryContext;

	if (opened)
		flo_transaction_commit();
	MemoryContextSwitchTo(old);
}

/* --- tables -------------------------------------------------------------- */

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

void
flo_event_forget(FloEventWriter *writer)
{
	HASH_SEQ_STATUS scan;
	FloEventTable *entry;

	hash_seq_init(&scan, writer->tables);
	while ((entry = hash_seq_search(&scan)) != NULL)
		entry->version = 0;
	writer->last = NULL;
}

void
flo_event_forget_table(FloEventWriter *writer, uint32 relation)
{
	FloEventTable *entry = hash_search(writer->tables, &relation, HASH_FIND, NULL);

	writer->last = NULL;
	if (entry == NULL)
		return;
	if (entry->context != NULL)
		MemoryContextDelete(entry->context);
	hash_search(writer->tables, &relation, HASH_REMOVE, NULL);
}

/* In a transaction and in the entry's memory context */
static void
describe_columns(FloEventTable *entry, const FloRelation *relation)
{
	entry->keys = palloc(sizeof(char *) * Max(relation->natts, 1));
	entry->types = palloc(sizeof(FloJsonType *) * Max(relation->natts, 1));
	entry->needs_catalog = false;
	for (int i = 0; i < relation->natts; i++)
	{
		StringInfoData key;

		initStringInfo(&key);
		flo_event_quote(&key, relation->columns[i].name);
		appendStringInfoChar(&key, ':');
		entry->keys[i] = key.data;
		entry->types[i] = flo_json_type(&relation->columns[i], entry->context);
		entry->needs_catalog |= flo_json_needs_catalog(entry->types[i]);
	}
}

static void
describe(FloEventWriter *writer, FloEventTable *entry, const FloRelation *relation)
{
	MemoryContext old;
	bool		opened;

	if (entry->context == NULL)
		entry->context = AllocSetContextCreate(writer->context, "pg_flo event table",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(entry->context);
	old = MemoryContextSwitchTo(entry->context);
	entry->schema = entry->name = entry->subject = NULL;
	initStringInfo(&entry->names);
	writer->ops->describe_table(&entry->names, relation);
	opened = flo_event_enter_transaction();
	describe_columns(entry, relation);
	flo_event_leave_transaction(opened);
	MemoryContextSwitchTo(old);
	entry->version = relation->version;
}

FloEventTable *
flo_event_table(FloEventWriter *writer, const FloRelation *relation)
{
	FloEventTable *entry = writer->last;
	bool		found;

	if (catalog_changes == 0)
	{
		CacheRegisterSyscacheCallback(TYPEOID, type_changed, (Datum) 0);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		catalog_changes = 1;
	}
	if (writer->catalogs_seen != catalog_changes)
	{
		flo_event_forget(writer);
		entry = NULL;
		writer->catalogs_seen = catalog_changes;
	}
	if (entry != NULL && entry->id == relation->id && entry->version == relation->version)
		return entry;
	entry = hash_search(writer->tables, &relation->id, HASH_ENTER, &found);
	if (!found)
	{
		entry->version = 0;
		entry->context = NULL;
	}
	if (entry->version != relation->version)
		describe(writer, entry, relation);
	writer->last = entry;
	return entry;
}

/* --- rows ---------------------------------------------------------------- */

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

/* The value of one row alone; NULL: it was not sent */
static const FloValue *
sent_value(const FloTuple *tuple, int column)
{
	if (column >= tuple->natts || tuple->values[column].kind == FLO_VALUE_UNCHANGED)
		return NULL;
	return &tuple->values[column];
}

void
flo_event_append_columns(FloEventWriter *writer, StringInfo out, const FloEventRow *row)
{
	int			encoding = writer->encoding >= 0 ? writer->encoding : pg_get_client_encoding();
	const FloRelation *relation = row->change->relation;
	const FloTuple *tuple = row->old ? &row->change->old : &row->change->new;
	char		separator = '{';

	for (int i = 0; i < relation->natts; i++)
	{
		const FloValue *value;
		int			start;

		if (row->only_key && !relation->columns[i].is_key)
			continue;
		value = row->filled ? flo_event_value(row->change, row->old, i) : sent_value(tuple, i);
		if (row->omitted != NULL && row->omitted[i])
			value = NULL;
		if (value == NULL && row->unavailable == NULL)
			continue;
		appendStringInfoChar(out, separator);
		separator = ',';
		appendStringInfoString(out, row->table->keys[i]);
		start = out->len;
		if (value != NULL)
			flo_json_append_value(out, row->table->types[i], value, encoding);
		else
			appendStringInfoString(out, row->unavailable);
		if (row->sizes != NULL)
			row->sizes[i] += out->len - start;
	}
	appendStringInfoString(out, separator == '{' ? "{}" : "}");
}

void
flo_event_append_omitted(const FloEventWriter *writer, StringInfo out)
{
	const char *separator = ",\"Omitted\":[";

	if (writer->omitted == NULL)
		return;
	for (int i = 0; i < writer->relation->natts; i++)
	{
		if (!writer->omitted[i])
			continue;
		appendStringInfoString(out, separator);
		flo_event_quote(out, writer->relation->columns[i].name);
		separator = ",";
	}
	appendStringInfoChar(out, ']');
}

/* --- encoding ------------------------------------------------------------ */

/* The conversion function is looked up once: later there is no transaction */
static void
find_converter(FloEventWriter *writer)
{
	bool		opened = flo_event_enter_transaction();
	Oid			function = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("default conversion function for encoding \"%s\" to \"%s\" does not exist",
						GetDatabaseEncodingName(), "UTF8")));
	fmgr_info_cxt(function, &writer->converter, writer->context);
	flo_event_leave_transaction(opened);
	writer->converter_known = true;
}

void
flo_event_to_utf8(FloEventWriter *writer, StringInfo out, int start)
{
	int			len = out->len - start;
	char	   *converted;

	if (!writer->converts)
		return;
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

/* --- parts of events ----------------------------------------------------- */

static void
append_row(FloEventWriter *writer, StringInfo out, const FloEventRow *row)
{
	MemoryContext context = MemoryContextSwitchTo(writer->scratch);
	bool		opened = row->table->needs_catalog && flo_event_enter_transaction();
	int			start = out->len;

	flo_event_append_columns(writer, out, row);
	flo_event_leave_transaction(opened);
	flo_event_to_utf8(writer, out, start);
	MemoryContextSwitchTo(context);
	MemoryContextReset(writer->scratch);
}

void
flo_event_append_row(FloEventWriter *writer, StringInfo out, const FloChange *change,
					 bool old, bool only_key)
{
	const FloEventRow row = {
		.change = change,
		.table = flo_event_table(writer, change->relation),
		.old = old,
		.only_key = only_key,
		.filled = true
	};

	append_row(writer, out, &row);
}

void
flo_event_append_row_without(FloEventWriter *writer, StringInfo out, const FloChange *change,
							 bool old, const bool *omitted)
{
	const FloEventRow row = {
		.change = change,
		.table = flo_event_table(writer, change->relation),
		.old = old,
		.filled = true,
		.omitted = omitted
	};

	append_row(writer, out, &row);
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

/* "bare": of a string what it holds */
static void
append_value(FloEventWriter *writer, StringInfo out, const FloRelation *relation, int column,
			 const FloValue *value, bool bare)
{
	FloEventTable *entry = flo_event_table(writer, relation);
	FloJsonType *type = entry->types[column];
	MemoryContext context = MemoryContextSwitchTo(writer->scratch);
	int			encoding = writer->encoding >= 0 ? writer->encoding : pg_get_client_encoding();
	bool		opened = flo_json_needs_catalog(type) && flo_event_enter_transaction();
	int			start = out->len;

	flo_json_append_value(out, type, value, encoding);

	/* a string in JSON, and what it holds, are different values of type json */
	if (bare && out->data[start] == '"' && type->kind != KIND_JSON && type->kind != KIND_JSONB)
		unquote(out, start);
	flo_event_leave_transaction(opened);
	flo_event_to_utf8(writer, out, start);
	MemoryContextSwitchTo(context);
	MemoryContextReset(writer->scratch);
}

void
flo_event_append_json(FloEventWriter *writer, StringInfo out, const FloRelation *relation,
					  int column, const FloValue *value)
{
	append_value(writer, out, relation, column, value, false);
}

void
flo_event_append_text(FloEventWriter *writer, StringInfo out, const FloRelation *relation,
					  int column, const FloValue *value)
{
	append_value(writer, out, relation, column, value, true);
}

void
flo_event_append_name(FloEventWriter *writer, StringInfo out, const char *name)
{
	int			start = out->len;

	appendStringInfoString(out, name);
	flo_event_to_utf8(writer, out, start);
}
