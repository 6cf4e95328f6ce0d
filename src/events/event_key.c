/*
 * event_key.c
 *		The key of a changed row, and the partition that follows from it.
 *
 * A partition is a hash of texts with a zero byte behind each, modulo the number of
 * partitions: FNV-1a of 64 bits, then the last step of MurmurHash3, without which
 * keys that differ at their end alone would leave partitions out.  Anybody can
 * compute it, and it stays what it is from version to version.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "events/event_key.h"
#include "events/json_value.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#define FNV_OFFSET UINT64CONST(0xcbf29ce484222325)
#define FNV_PRIME UINT64CONST(0x100000001b3)

typedef enum PartitionBy
{
	BY_KEY,
	BY_TABLE,
	BY_SCHEMA,
	BY_COLUMNS
} PartitionBy;

struct FloPartitioning
{
	PartitionBy by;
	int			partitions;
	List	   *columns;		/* of char * */
	StringInfoData text;		/* scratch */
};

/* --- keys ---------------------------------------------------------------- */

bool
flo_event_has_key(const FloRelation *relation)
{
	if (relation->identity == REPLICA_IDENTITY_FULL)
		return false;
	for (int i = 0; i < relation->natts; i++)
	{
		if (relation->columns[i].is_key)
			return true;
	}
	return false;
}

static bool
same_value(const FloValue *a, const FloValue *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == FLO_VALUE_NULL || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0);
}

bool
flo_event_changes_key(const FloChange *change)
{
	if (change->op != FLO_OP_UPDATE || !change->has_old || !flo_event_has_key(change->relation))
		return false;
	for (int i = 0; i < change->relation->natts; i++)
	{
		const FloValue *old = flo_event_value(change, true, i);
		const FloValue *new = flo_event_value(change, false, i);

		if (change->relation->columns[i].is_key && old != NULL && new != NULL &&
			!same_value(old, new))
			return true;
	}
	return false;
}

void
flo_event_key_append(FloEventWriter *writer, StringInfo out, const FloChange *change, bool old)
{
	if (flo_event_has_key(change->relation))
		flo_event_append_row(writer, out, change, old, true);
	else
		appendStringInfoString(out, "{}");
}

void
flo_event_key_token(FloEventWriter *writer, StringInfo out, const FloChange *change, bool old,
					FloEscape escape, char separator, int limit)
{
	const FloRelation *relation = change->relation;
	int			start = out->len;
	StringInfoData text;

	if (!flo_event_has_key(relation))
	{
		flo_escape_append(out, escape, "", 0);
		return;
	}
	initStringInfo(&text);
	for (int i = 0; i < relation->natts; i++)
	{
		const FloValue *value;

		if (!relation->columns[i].is_key)
			continue;
		if (out->len > start)
			appendStringInfoChar(out, separator);
		value = flo_event_value(change, old, i);
		if (value == NULL || value->kind == FLO_VALUE_NULL)
		{
			flo_escape_append_null(out, escape);
			continue;
		}
		resetStringInfo(&text);
		flo_event_append_text(writer, &text, relation, i, value);
		flo_escape_append(out, escape, text.data, text.len);
	}
	pfree(text.data);
	flo_escape_bound(out, escape, start, limit);
}

/* --- partitions ---------------------------------------------------------- */

FloPartitioning *
flo_partitioning_parse(const char *text, int partitions)
{
	FloPartitioning *result = palloc0(sizeof(FloPartitioning));

	result->partitions = partitions;
	initStringInfo(&result->text);
	if (strcmp(text, "key") == 0)
		result->by = BY_KEY;
	else if (strcmp(text, "table") == 0)
		result->by = BY_TABLE;
	else if (strcmp(text, "schema") == 0)
		result->by = BY_SCHEMA;
	else if (text[0] == '"' && SplitIdentifierString(pstrdup(text), ',', &result->columns) &&
			 result->columns != NIL)
		result->by = BY_COLUMNS;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "partition_by"),
				 errhint("The value is \"key\", \"table\", \"schema\", or an array of columns, such as [\"customer_id\"].")));
	return result;
}

/* The text with the zero byte behind it */
static uint64
hash_on(uint64 hash, const StringInfoData *text)
{
	for (int i = 0; i <= text->len; i++)
		hash = (hash ^ (unsigned char) text->data[i]) * FNV_PRIME;
	return hash;
}

/* So that each bit of the result depends on each of the hash */
static uint64
mix(uint64 hash)
{
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xff51afd7ed558ccd);
	hash = (hash ^ (hash >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return hash ^ (hash >> 33);
}

static uint64
hash_name(FloEventWriter *writer, StringInfo text, uint64 hash, const char *name)
{
	resetStringInfo(text);
	flo_event_append_name(writer, text, name);
	return hash_on(hash, text);
}

/* NULL is a byte that no text in UTF-8 has */
static uint64
hash_value(FloEventWriter *writer, StringInfo text, uint64 hash, const FloChange *change,
		   bool old, int column)
{
	const FloValue *value = flo_event_value(change, old, column);

	resetStringInfo(text);
	if (value == NULL || value->kind == FLO_VALUE_NULL)
		appendStringInfoChar(text, '\xff');
	else
		flo_event_append_text(writer, text, change->relation, column, value);
	return hash_on(hash, text);
}

/* All of the columns named; else all of none: a table without them is dealt out by its key */
static bool
has_columns(const FloPartitioning *partitioning, const FloRelation *relation)
{
	ListCell   *lc;

	foreach(lc, partitioning->columns)
	{
		bool		found = false;

		for (int i = 0; i < relation->natts; i++)
		{
			if (strcmp(relation->columns[i].name, lfirst(lc)) != 0)
				continue;
			found = true;
			if (!relation->columns[i].is_key)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("column \"%s\" of table \"%s.%s\" cannot be partitioned by: it is no part of the replica identity",
								relation->columns[i].name, relation->schema, relation->name),
						 errdetail("A DELETE does not have its value, so the changes of a row would be in several partitions."),
						 errhint("Set REPLICA IDENTITY FULL for the table, or USING INDEX with an index that has the column, or leave the column out of partition_by.")));
		}
		if (!found)
			return false;
	}
	return true;
}

static uint64
hash_columns(FloEventWriter *writer, StringInfo text, const FloPartitioning *partitioning,
			 const FloChange *change, bool old)
{
	uint64		hash = FNV_OFFSET;
	ListCell   *lc;

	foreach(lc, partitioning->columns)
	{
		for (int i = 0; i < change->relation->natts; i++)
		{
			if (strcmp(change->relation->columns[i].name, lfirst(lc)) == 0)
				hash = hash_value(writer, text, hash, change, old, i);
		}
	}
	return hash;
}

static bool
is_row(const FloChange *change)
{
	return change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE ||
		change->op == FLO_OP_DELETE;
}

static void
append_columns(FloEventWriter *writer, const FloPartitioning *partitioning, StringInfo out,
			   const FloChange *change, bool old)
{
	const FloRelation *relation = change->relation;
	bool	   *omitted = palloc(sizeof(bool) * relation->natts);
	ListCell   *lc;

	memset(omitted, true, sizeof(bool) * relation->natts);
	foreach(lc, partitioning->columns)
	{
		for (int i = 0; i < relation->natts; i++)
			omitted[i] &= strcmp(relation->columns[i].name, lfirst(lc)) != 0;
	}
	flo_event_append_row_without(writer, out, change, old, omitted);
	pfree(omitted);
}

static void
append_member(FloEventWriter *writer, StringInfo out, const char *member, const char *name)
{
	StringInfoData utf8;

	initStringInfo(&utf8);
	flo_event_append_name(writer, &utf8, name);
	appendStringInfo(out, "\"%s\":", member);
	flo_json_append_text(out, utf8.data, utf8.len);
	pfree(utf8.data);
}

bool
flo_partitioning_append(FloEventWriter *writer, const FloPartitioning *partitioning,
						StringInfo out, const FloChange *change, const FloRelation *relation,
						bool old)
{
	if (partitioning->by == BY_TABLE || partitioning->by == BY_SCHEMA)
	{
		appendStringInfoChar(out, '{');
		append_member(writer, out, "Schema", relation->schema);
		if (partitioning->by == BY_TABLE)
		{
			appendStringInfoChar(out, ',');
			append_member(writer, out, "Table", relation->name);
		}
		appendStringInfoChar(out, '}');
		return true;
	}
	if (!is_row(change))
		return false;
	if (partitioning->by == BY_COLUMNS && has_columns(partitioning, relation))
		append_columns(writer, partitioning, out, change, old);
	else if (flo_event_has_key(relation))
		flo_event_key_append(writer, out, change, old);
	else
		return false;
	return true;
}

int
flo_event_partition(FloEventWriter *writer, FloPartitioning *partitioning,
					const FloChange *change, const FloRelation *relation, bool old)
{
	StringInfo	text = &partitioning->text;
	bool		by_columns = partitioning->by == BY_COLUMNS && has_columns(partitioning, relation);
	bool		by_key = !by_columns && (partitioning->by == BY_KEY ||
										 partitioning->by == BY_COLUMNS) &&
		flo_event_has_key(relation);
	uint64		hash = FNV_OFFSET;

	if (partitioning->partitions == 1)
		return 0;
	if (!is_row(change) && (by_columns || by_key))
		return -1;
	if (by_columns)
		hash = hash_columns(writer, text, partitioning, change, old);
	else
	{
		hash = hash_name(writer, text, hash, relation->schema);
		if (partitioning->by != BY_SCHEMA)
			hash = hash_name(writer, text, hash, relation->name);
		for (int i = 0; by_key && i < relation->natts; i++)
		{
			if (relation->columns[i].is_key)
				hash = hash_value(writer, text, hash, change, old, i);
		}
	}
	return (int) (mix(hash) % partitioning->partitions);
}
