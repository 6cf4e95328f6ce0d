/*
 * statement.c
 *		The prepared statements of a destination table.
 *
 * Rows are found by the equality that the destination column's type has for
 * indexes, named with its schema, so that search_path and operators of the
 * same name cannot matter.  A type without such an equality (json, xml, point)
 * is compared by its text form.
 *
 * Plans are always generic where the table is one table: the planner could
 * not do better with the values, and planning costs more than executing.  For
 * partitioned tables it depends on their partitions, since a generic plan
 * opens and locks them all; there the server's own rule decides.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "sink/statement.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/*
 * Rows with unchanged TOAST values need a statement for each set of columns
 * they come with.  No table has many of these in practice; forget all when one
 * does.
 */
#define FLO_MAX_STATEMENTS 100

/* A statement being written */
typedef struct FloBuilder
{
	FloTarget  *target;
	StringInfoData sql;
	int			nparams;
	int			room;
	FloParam   *params;
	Oid		   *types;
} FloBuilder;

/* Add "$n" for a column's value */
static void
add_param(FloBuilder *builder, FloParamSource source, int column, Oid type)
{
	if (builder->nparams == builder->room)
	{
		builder->room *= 2;
		builder->params = repalloc(builder->params, builder->room * sizeof(FloParam));
		builder->types = repalloc(builder->types, builder->room * sizeof(Oid));
	}
	builder->params[builder->nparams].source = source;
	builder->params[builder->nparams].column = column;
	builder->types[builder->nparams] = type;
	builder->nparams++;
	appendStringInfo(&builder->sql, "$%d", builder->nparams);
}

static void
add_column_param(FloBuilder *builder, FloParamSource source, int column)
{
	add_param(builder, source, column, builder->target->columns[column].type);
}

/* "only schema.table", without ONLY where it would mean nothing */
static void
add_table(FloBuilder *builder)
{
	appendStringInfo(&builder->sql, "%s%s",
					 builder->target->partitioned ? "" : "ONLY ",
					 builder->target->quoted);
}

char *
flo_equality(Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);
	HeapTuple	tuple;
	Form_pg_operator form;
	char	   *result;

	if (!OidIsValid(entry->eq_opr))
		return NULL;
	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(entry->eq_opr));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_operator) GETSTRUCT(tuple);
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(form->oprnamespace)),
					  NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* "column = $n" */
static void
add_equal(FloBuilder *builder, FloParamSource source, int column)
{
	FloTargetColumn *c = &builder->target->columns[column];
	char	   *operator = flo_equality(c->type);

	if (operator != NULL)
	{
		appendStringInfo(&builder->sql, "%s %s ", c->quoted, operator);
		add_column_param(builder, source, column);
	}
	else
	{
		appendStringInfo(&builder->sql, "%s::pg_catalog.text OPERATOR(pg_catalog.=) ",
						 c->quoted);
		add_column_param(builder, source, column);
		appendStringInfoString(&builder->sql, "::pg_catalog.text");
	}
}

static void
add_where(FloBuilder *builder, FloParamSource source, int ncolumns, const int *columns)
{
	for (int i = 0; i < ncolumns; i++)
	{
		appendStringInfoString(&builder->sql, i == 0 ? " WHERE " : " AND ");
		add_equal(builder, source, columns[i]);
	}
}

/* The row that FLO_STMT_LOCATE found */
static void
add_where_place(FloBuilder *builder)
{
	appendStringInfoString(&builder->sql, " WHERE ctid OPERATOR(pg_catalog.=) ");
	add_param(builder, FLO_PARAM_PLACE_CTID, -1, TIDOID);
	appendStringInfoString(&builder->sql, " AND tableoid OPERATOR(pg_catalog.=) ");
	add_param(builder, FLO_PARAM_PLACE_TABLE, -1, OIDOID);
}

/*
 * Every column by its name, so that further ones of the destination get their
 * defaults.  With "unless_exists" the number of rows tells: none is a conflict with
 * the key, and is no error that would abort the transaction.
 */
static void
build_insert(FloBuilder *builder, bool unless_exists)
{
	FloTarget  *target = builder->target;
	StringInfo	sql = &builder->sql;
	bool		by_select = unless_exists && target->key_deferrable;
	const char *separator = "";

	appendStringInfo(sql, "INSERT INTO %s", target->quoted);
	for (int i = 0; i < target->natts; i++)
	{
		if (target->columns[i].generated)
			continue;
		appendStringInfo(sql, "%s%s", separator[0] ? separator : " (",
						 target->columns[i].quoted);
		separator = ", ";
	}
	if (separator[0] == '\0')
	{
		appendStringInfoString(sql, " DEFAULT VALUES");
		return;
	}

	appendStringInfo(sql, ") OVERRIDING SYSTEM VALUE %s", by_select ? "SELECT " : "VALUES (");
	separator = "";
	for (int i = 0; i < target->natts; i++)
	{
		if (target->columns[i].generated)
			continue;
		appendStringInfoString(sql, separator);
		add_column_param(builder, FLO_PARAM_NEW, i);
		separator = ", ";
	}
	if (!by_select)
		appendStringInfoChar(sql, ')');

	/* A deferrable key is no arbiter for ON CONFLICT */
	if (by_select)
	{
		appendStringInfoString(sql, " WHERE NOT EXISTS (SELECT 1 FROM ");
		add_table(builder);
		add_where(builder, FLO_PARAM_NEW, target->nkey, target->key);
		appendStringInfoChar(sql, ')');
	}
	else if (unless_exists)
	{
		appendStringInfoString(sql, " ON CONFLICT (");
		for (int i = 0; i < target->nkey; i++)
			appendStringInfo(sql, "%s%s", i > 0 ? ", " : "", target->key_quoted[i]);
		appendStringInfoString(sql, ") DO NOTHING");
	}
}

/*
 * "UPDATE table SET ...", up to the condition.  Identity columns cannot be
 * assigned: the condition demands that they have their new value already.
 */
static void
build_update_head(FloBuilder *builder, const uint64 *bits)
{
	FloTarget  *target = builder->target;
	StringInfo	sql = &builder->sql;
	const char *separator = "";

	appendStringInfoString(sql, "UPDATE ");
	add_table(builder);
	appendStringInfoString(sql, " SET ");
	for (int i = 0; i < target->natts; i++)
	{
		if (!flo_bit_get(bits, i) || target->columns[i].identity_always)
			continue;
		appendStringInfo(sql, "%s%s = ", separator, target->columns[i].quoted);
		add_column_param(builder, FLO_PARAM_NEW, i);
		separator = ", ";
	}
	if (separator[0] == '\0')
		appendStringInfo(sql, "%s = %s", target->touch, target->touch);
}

static void
build_update(FloBuilder *builder, FloParamSource source, int ncolumns, const int *columns,
			 const uint64 *bits)
{
	FloTarget  *target = builder->target;

	build_update_head(builder, bits);
	add_where(builder, source, ncolumns, columns);
	for (int i = 0; i < target->natts; i++)
	{
		if (!flo_bit_get(bits, i) || !target->columns[i].identity_always)
			continue;
		appendStringInfoString(&builder->sql, " AND ");
		add_equal(builder, FLO_PARAM_NEW, i);
	}
}

/*
 * An UPDATE that changes identity columns; "columns" find the row, NULL: it is
 * the one located.  What is not assigned, columns the source does not have
 * included, is taken over from the row deleted.
 */
static void
build_replace(FloBuilder *builder, FloParamSource source, int ncolumns, const int *columns,
			  const uint64 *bits)
{
	FloTarget  *target = builder->target;
	StringInfo	sql = &builder->sql;
	Relation	rel = table_open(target->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	const char *separator = "";

	appendStringInfoString(sql, "WITH old_row AS (DELETE FROM ");
	add_table(builder);
	if (columns != NULL)
		add_where(builder, source, ncolumns, columns);
	else
		add_where_place(builder);
	appendStringInfo(sql, " RETURNING *) INSERT INTO %s (", target->quoted);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		appendStringInfo(sql, "%s%s", separator, quote_identifier(NameStr(att->attname)));
		separator = ", ";
	}
	appendStringInfoString(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
	separator = "";
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		int			column;

		if (att->attisdropped || att->attgenerated)
			continue;
		appendStringInfoString(sql, separator);
		separator = ", ";
		for (column = 0; column < target->natts; column++)
			if (target->columns[column].attnum == att->attnum)
				break;
		if (column < target->natts && flo_bit_get(bits, column))
			add_column_param(builder, FLO_PARAM_NEW, column);
		else
			appendStringInfo(sql, "old_row.%s", quote_identifier(NameStr(att->attname)));
	}
	appendStringInfoString(sql, " FROM old_row");
	table_close(rel, NoLock);
}

bool
flo_equal_is_same(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case BYTEAOID:
		case CHAROID:
		case NAMEOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case OIDOID:
		case TEXTOID:
		case VARCHAROID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
			return true;
		default:
			return false;
	}
}

/*
 * One row with these values.  "bits" tells which of them are NULL, so that the
 * condition stays one an index can serve.  Among rows that are equal (1.0 and
 * 1.00) the one that is the same is preferred.  Columns that are computed here
 * follow from the others, and may have been something else at the source.
 */
static void
build_locate(FloBuilder *builder, const uint64 *nulls)
{
	FloTarget  *target = builder->target;
	StringInfo	sql = &builder->sql;
	StringInfoData same;
	bool		ambiguous = false;
	const char *separator = " WHERE ";

	initStringInfo(&same);
	appendStringInfoString(sql, "SELECT tableoid, ctid FROM ");
	add_table(builder);
	for (int i = 0; i < target->natts; i++)
	{
		FloTargetColumn *column = &target->columns[i];

		if (column->generated)
			continue;
		appendStringInfoString(sql, separator);
		separator = " AND ";
		if (flo_bit_get(nulls, i))
		{
			/*
			 * unlike IS NULL, false for a composite value all of whose fields
			 * are NULL
			 */
			appendStringInfo(sql, "%s IS NOT DISTINCT FROM NULL", column->quoted);
			continue;
		}
		add_equal(builder, FLO_PARAM_OLD, i);
		if (!flo_equal_is_same(column->type) && flo_equality(column->type) != NULL)
		{
			/*
			 * a function, since comparing two ROW()s would be column by
			 * column
			 */
			appendStringInfo(&same, "%spg_catalog.record_image_eq(ROW(%s), ROW($%d))",
							 ambiguous ? " AND " : "", column->quoted, builder->nparams);
			ambiguous = true;
		}
	}
	if (ambiguous)
		appendStringInfo(sql, " ORDER BY (%s) DESC", same.data);
	appendStringInfoString(sql, " LIMIT 1 FOR UPDATE");
}

/*
 * By what the row is found: "match" columns are those by which the source
 * identifies it, "key" the primary key that the table has here, and "place" the row
 * that LOCATE has found and locked, where several are alike and only one is to go.
 */
static void
build_sql(FloBuilder *builder, FloStatementKind kind, bool by_old, const uint64 *bits)
{
	FloTarget  *target = builder->target;
	FloParamSource source = by_old ? FLO_PARAM_OLD : FLO_PARAM_NEW;

	switch (kind)
	{
		case FLO_STMT_INSERT:
		case FLO_STMT_INSERT_NEW:
			build_insert(builder, kind == FLO_STMT_INSERT_NEW);
			break;
		case FLO_STMT_UPDATE:
			build_update(builder, source, target->nmatch, target->match, bits);
			break;
		case FLO_STMT_UPDATE_KEY:
			build_update(builder, source, target->nkey, target->key, bits);
			break;
		case FLO_STMT_UPDATE_PLACE:
			build_update_head(builder, bits);
			add_where_place(builder);
			break;
		case FLO_STMT_REPLACE:
			build_replace(builder, source, target->nmatch, target->match, bits);
			break;
		case FLO_STMT_REPLACE_KEY:
			build_replace(builder, source, target->nkey, target->key, bits);
			break;
		case FLO_STMT_REPLACE_PLACE:
			build_replace(builder, source, 0, NULL, bits);
			break;
		case FLO_STMT_DELETE:
			appendStringInfoString(&builder->sql, "DELETE FROM ");
			add_table(builder);
			add_where(builder, source, target->nmatch, target->match);
			break;
		case FLO_STMT_DELETE_PLACE:
			appendStringInfoString(&builder->sql, "DELETE FROM ");
			add_table(builder);
			add_where_place(builder);
			break;
		case FLO_STMT_EXISTS:
			appendStringInfoString(&builder->sql, "SELECT 1 FROM ");
			add_table(builder);
			add_where(builder, source, target->nmatch, target->match);
			break;
		case FLO_STMT_EXISTS_KEY:
			appendStringInfoString(&builder->sql, "SELECT 1 FROM ");
			add_table(builder);
			add_where(builder, source, target->nkey, target->key);
			break;
		case FLO_STMT_LOCATE:
			build_locate(builder, bits);
			break;
	}
}

static ParamListInfo
make_values(int nparams, const Oid *types)
{
	ParamListInfo values = makeParamList(nparams);

	for (int i = 0; i < nparams; i++)
	{
		values->params[i].value = (Datum) 0;
		values->params[i].isnull = true;
		values->params[i].pflags = PARAM_FLAG_CONST;
		values->params[i].ptype = types[i];
	}
	return values;
}

/* Builds in the current memory context, which is the target's */
static FloStatement *
build_statement(FloTarget *target, FloStatementKind kind, bool by_old, const uint64 *bits)
{
	FloStatement *statement = palloc0(sizeof(FloStatement));
	FloBuilder	builder = {0};
	int			options = target->partitioned ? 0 : CURSOR_OPT_GENERIC_PLAN;

	builder.target = target;
	builder.room = Max(target->natts, 1) + 4;
	builder.params = palloc(builder.room * sizeof(FloParam));
	builder.types = palloc(builder.room * sizeof(Oid));
	initStringInfo(&builder.sql);
	build_sql(&builder, kind, by_old, bits);

	statement->kind = kind;
	statement->by_old = by_old;
	statement->nparams = builder.nparams;
	statement->params = builder.params;
	statement->values = make_values(builder.nparams, builder.types);
	if (bits != NULL)
	{
		statement->bits = palloc(target->nwords * sizeof(uint64));
		memcpy(statement->bits, bits, target->nwords * sizeof(uint64));
	}

	statement->plan = SPI_prepare_cursor(builder.sql.data, builder.nparams,
										 builder.types, options);
	if (statement->plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", builder.sql.data,
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(statement->plan) != 0)
		elog(ERROR, "could not keep a prepared statement");
	return statement;
}

FloStatement *
flo_statement_get(FloTarget *target, FloStatementKind kind, bool by_old, const uint64 *bits)
{
	FloStatement **link;
	FloStatement *statement;
	MemoryContext old_context;

	for (link = &target->statements; (statement = *link) != NULL; link = &statement->next)
	{
		if (statement->kind != kind || statement->by_old != by_old)
			continue;
		if (bits != NULL &&
			memcmp(statement->bits, bits, target->nwords * sizeof(uint64)) != 0)
			continue;
		/* the one used last is the first to be looked at */
		if (link != &target->statements)
		{
			*link = statement->next;
			statement->next = target->statements;
			target->statements = statement;
		}
		return statement;
	}

	if (target->nstatements >= FLO_MAX_STATEMENTS)
		flo_statement_forget(target);

	old_context = MemoryContextSwitchTo(target->context);
	statement = build_statement(target, kind, by_old, bits);
	MemoryContextSwitchTo(old_context);
	statement->next = target->statements;
	target->statements = statement;
	target->nstatements++;
	return statement;
}

/*
 * The plans go; the small rest is freed with the target.
 */
void
flo_statement_forget(FloTarget *target)
{
	FloStatement *statement = target->statements;

	target->statements = NULL;
	target->nstatements = 0;
	for (; statement != NULL; statement = statement->next)
		SPI_freeplan(statement->plan);
}
