/*
 * partition.c
 *		What tells the rows of a partition from those of its root's others.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "wire/partition.h"
#include "wire/record.h"

static const char *const strategies[] = {"list", "range", "hash", NULL};

static const FloField key_fields[] = {
	{FLO_FIELD(FloPartitionKey, column, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionKey, expression, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionKey, columns, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionKey, type, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionKey, operators, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionKey, collation, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionKey, portable, FLO_FIELD_BOOL, FLO_REQUIRED)},
};
static const FloRecordFormat key_format = {
	.size = sizeof(FloPartitionKey),
	.fields = key_fields,
	.nfields = lengthof(key_fields),
	.local = true
};
static const FloField bound_fields[] = {
	{FLO_FIELD(FloPartitionBound, is_default, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionBound, values, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionBound, with_null, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionBound, from, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionBound, to, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloPartitionBound, modulus, FLO_FIELD_INT64, FLO_REQUIRED)},
	{FLO_FIELD(FloPartitionBound, remainder, FLO_FIELD_INT64, FLO_REQUIRED)},
};
static const FloRecordFormat bound_format = {
	.size = sizeof(FloPartitionBound),
	.fields = bound_fields,
	.nfields = lengthof(bound_fields),
	.local = true
};
static const FloField level_fields[] = {
	{FLO_FIELD(FloPartitionLevel, strategy, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(strategies)},
	{FLO_FIELD(FloPartitionLevel, keys, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(key_format)},
	{FLO_FIELD(FloPartitionLevel, bounds, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(bound_format)},
};
static const FloRecordFormat level_format = {
	.size = sizeof(FloPartitionLevel),
	.fields = level_fields,
	.nfields = lengthof(level_fields),
	.local = true
};
static const FloField partition_fields[] = {
	{FLO_FIELD(FloPartition, relation, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloPartition, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartition, name, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartition, hashes, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPartition, levels, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(level_format)},
};
static const FloRecordFormat partition_format = {
	.version = 1,
	.size = sizeof(FloPartition),
	.fields = partition_fields,
	.nfields = lengthof(partition_fields),
	.local = true
};

char *
flo_partition_write(const FloPartition *partition)
{
	return flo_record_write(&partition_format, partition);
}

static void
malformed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed document \"partition\": %s", what)));
}

static bool
bound_fits(const FloPartitionLevel *level, const FloPartitionBound *bound)
{
	int			nkeys = list_length(level->keys);

	if (bound->is_default)
		return level->strategy != FLO_BY_HASH;
	switch (level->strategy)
	{
		case FLO_BY_LIST:
			return nkeys == 1;
		case FLO_BY_RANGE:
			return list_length(bound->from) == nkeys && list_length(bound->to) == nkeys;
		default:
			return bound->modulus > 0 && bound->modulus <= PG_INT32_MAX &&
				bound->remainder >= 0 && bound->remainder < bound->modulus;
	}
}

FloPartition *
flo_partition_read(const char *document)
{
	FloPartition *partition = flo_record_read(&partition_format, "partition", document,
											  strlen(document));
	ListCell   *cell;
	ListCell   *inner;

	if (partition->levels == NIL)
		malformed("it has no levels");
	foreach(cell, partition->levels)
	{
		FloPartitionLevel *level = lfirst(cell);

		if (level->keys == NIL || level->bounds == NIL)
			malformed("a level has no keys or no bounds");
		foreach(inner, level->keys)
		{
			FloPartitionKey *key = lfirst(inner);

			if ((key->column == NULL) == (key->expression == NULL))
				malformed("a key is neither a column nor an expression");
		}
		foreach(inner, level->bounds)
		{
			if (!bound_fits(level, lfirst(inner)))
				malformed("a bound does not fit its keys");
		}
	}
	return partition;
}

/* --- columns ------------------------------------------------------------- */

const char *
flo_partition_column(const FloRelation *relation, const char *source)
{
	for (int i = 0; i < relation->natts; i++)
	{
		const FloColumn *column = &relation->columns[i];

		if (strcmp(column->source_name != NULL ? column->source_name : column->name, source) == 0)
			return column->name;
	}
	return NULL;
}

const char *
flo_partition_find_column(const FloPartition *partition,
						  bool (*is) (void *arg, const char *column), void *arg)
{
	ListCell   *level;
	ListCell   *cell;
	ListCell   *inner;

	foreach(level, partition->levels)
	{
		foreach(cell, ((FloPartitionLevel *) lfirst(level))->keys)
		{
			FloPartitionKey *key = lfirst(cell);

			if (key->column != NULL && is(arg, key->column))
				return key->column;
			foreach(inner, key->columns)
			{
				if (is(arg, lfirst(inner)))
					return lfirst(inner);
			}
		}
	}
	return NULL;
}

/* --- comparing ----------------------------------------------------------- */

static bool
same_texts(const List *a, const List *b)
{
	if (list_length(a) != list_length(b))
		return false;
	for (int i = 0; i < list_length(a); i++)
		if (strcmp(list_nth(a, i), list_nth(b, i)) != 0)
			return false;
	return true;
}

static bool
same_bound(const FloPartitionBound *a, const FloPartitionBound *b)
{
	return a->is_default == b->is_default && a->with_null == b->with_null &&
		a->modulus == b->modulus && a->remainder == b->remainder &&
		same_texts(a->values, b->values) && same_texts(a->from, b->from) &&
		same_texts(a->to, b->to);
}

/* What lies between equal bounds is the same; a default has what its siblings leave */
bool
flo_partition_same_bounds(const FloPartitionLevel *a, const FloPartitionLevel *b)
{
	const FloPartitionBound *own = linitial(a->bounds);

	if (!same_bound(own, linitial(b->bounds)))
		return false;
	if (!own->is_default)
		return true;
	if (list_length(a->bounds) != list_length(b->bounds))
		return false;
	/* siblings do not overlap, so each has at most one that is the same */
	for (int i = 1; i < list_length(a->bounds); i++)
	{
		bool		found = false;

		for (int j = 1; j < list_length(b->bounds) && !found; j++)
			found = same_bound(list_nth(a->bounds, i), list_nth(b->bounds, j));
		if (!found)
			return false;
	}
	return true;
}

/* --- as a condition ------------------------------------------------------ */

/* A condition under way: never NULL for any row, so that it can be negated */
typedef struct Condition
{
	StringInfoData sql;
	const FloPartitionLevel *level;
	char	  **keys;			/* SQL of each */
} Condition;

static void
append_literal(Condition *condition, int i, const char *value)
{
	const FloPartitionKey *key = list_nth(condition->level->keys, i);

	appendStringInfo(&condition->sql, "%s::%s", quote_literal_cstr(value), key->type);
}

static void
append_list(Condition *condition, const FloPartitionBound *bound)
{
	const char *key = condition->keys[0];
	ListCell   *cell;

	appendStringInfoChar(&condition->sql, '(');
	if (bound->values != NIL)
	{
		appendStringInfo(&condition->sql, "(%s IS NOT NULL AND %s IN (", key, key);
		foreach(cell, bound->values)
		{
			if (foreach_current_index(cell) > 0)
				appendStringInfoString(&condition->sql, ", ");
			append_literal(condition, 0, lfirst(cell));
		}
		appendStringInfoString(&condition->sql, "))");
	}
	if (bound->with_null)
		appendStringInfo(&condition->sql, "%s%s IS NULL", bound->values != NIL ? " OR " : "", key);
	else if (bound->values == NIL)
		appendStringInfoString(&condition->sql, "false");
	appendStringInfoChar(&condition->sql, ')');
}

/*
 * Rows beyond one end of a range, from the i-th key on, those before being equal:
 * at or above the lower end (">"), or below the upper one ("<").
 */
static void
append_end(Condition *condition, const List *end, const char *operator, int i)
{
	const char *datum = i < list_length(end) ? list_nth(end, i) : NULL;

	/*
	 * nothing is below MINVALUE, or above MAXVALUE; the lower end belongs to
	 * the range
	 */
	if (datum == NULL)
		appendStringInfoString(&condition->sql, operator[0] == '>' ? "true" : "false");
	else if (datum[0] != '=')
		appendStringInfoString(&condition->sql, datum[0] != operator[0] ? "true" : "false");
	else
	{
		appendStringInfo(&condition->sql, "(%s %s ", condition->keys[i], operator);
		append_literal(condition, i, datum + 1);
		appendStringInfo(&condition->sql, " OR (%s = ", condition->keys[i]);
		append_literal(condition, i, datum + 1);
		appendStringInfoString(&condition->sql, " AND ");
		append_end(condition, end, operator, i + 1);
		appendStringInfoString(&condition->sql, "))");
	}
}

static void
append_range(Condition *condition, const FloPartitionBound *bound)
{
	appendStringInfoChar(&condition->sql, '(');
	for (int i = 0; i < list_length(condition->level->keys); i++)
		appendStringInfo(&condition->sql, "%s IS NOT NULL AND ", condition->keys[i]);
	append_end(condition, bound->from, ">", 0);
	appendStringInfoString(&condition->sql, " AND ");
	append_end(condition, bound->to, "<", 0);
	appendStringInfoChar(&condition->sql, ')');
}

static void
append_bound(Condition *condition, const FloPartitionBound *bound)
{
	if (condition->level->strategy == FLO_BY_LIST)
		append_list(condition, bound);
	else
		append_range(condition, bound);
}

static bool
append_level(Condition *condition, const FloPartitionWords *words)
{
	const FloPartitionLevel *level = condition->level;
	const FloPartitionBound *own = linitial(level->bounds);

	condition->keys = palloc(list_length(level->keys) * sizeof(char *));
	if (level->strategy == FLO_BY_HASH)
	{
		char	   *sql = words->hash(words->arg, level);

		if (sql != NULL)
			appendStringInfoString(&condition->sql, sql);
		return sql != NULL;
	}
	for (int i = 0; i < list_length(level->keys); i++)
	{
		condition->keys[i] = words->key(words->arg, level, list_nth(level->keys, i));
		if (condition->keys[i] == NULL)
			return false;
	}
	if (!own->is_default)
	{
		append_bound(condition, own);
		return true;
	}
	appendStringInfoString(&condition->sql, "NOT (false");
	for (int i = 1; i < list_length(level->bounds); i++)
	{
		appendStringInfoString(&condition->sql, " OR ");
		append_bound(condition, list_nth(level->bounds, i));
	}
	appendStringInfoChar(&condition->sql, ')');
	return true;
}

char *
flo_partition_condition(const FloPartition *partition, const FloPartitionWords *words)
{
	Condition	condition = {0};
	ListCell   *cell;

	initStringInfo(&condition.sql);
	foreach(cell, partition->levels)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoString(&condition.sql, " AND ");
		condition.level = lfirst(cell);
		if (!append_level(&condition, words))
			return NULL;
	}
	return condition.sql.data;
}
