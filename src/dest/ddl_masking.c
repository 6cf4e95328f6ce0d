/*
 * ddl_masking.c
 *		What strict masking has to do with statements of the source.
 *
 * A statement moves no rows, and what it computes it computes of rows that are
 * here, masked.  But ADD COLUMN gives them a default, which would be the first
 * values of a column that nobody has decided about; and an event of it shows its
 * text, with whatever literals are in it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "core/compat_name.h"
#include "dest/ddl_masking.h"
#include "nodes/parsenodes.h"
#include "utils/syscache.h"

typedef struct Table
{
	Oid			relid;
	int			natts;			/* with those dropped: no number comes twice */
	char	   *schema;			/* at the source */
	char	   *table;
} Table;

/* 0: there is no such table */
static int
columns_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	int			natts;

	if (!HeapTupleIsValid(tuple))
		return 0;
	natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	ReleaseSysCache(tuple);
	return natts;
}

List *
flo_ddl_masking_before(const FloDdlStatement *ddl, FloWorkerRules *rules)
{
	List	   *tables = NIL;
	ListCell   *cell;

	if (!flo_worker_rules_is_strict(rules))
		return NIL;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		Table	   *table;
		Oid			relid;

		if (object->table_schema == NULL || object->table_name == NULL)
			continue;
		relid = flo_worker_rules_table(rules, object->table_schema, object->table_name);
		if (!OidIsValid(relid))
			continue;
		table = palloc(sizeof(Table));
		table->relid = relid;
		table->natts = columns_of(relid);
		table->schema = object->table_schema;
		table->table = object->table_name;
		tables = lappend(tables, table);
	}
	return tables;
}

static char *
check_column(const char *schema, const char *table, const char *column, bool has_default,
			 FloWorkerRules *rules)
{
	const char *at_source = flo_worker_rules_source_column(rules, schema, table, column);
	int64		rule = flo_worker_rules_require_cover(rules, schema, table, at_source);

	if (rule == 0 || !has_default)
		return NULL;
	return psprintf("rows that are here would get the default of column \"%s\", which rule " INT64_FORMAT " changes",
					column, rule);
}

static bool
has_default(const ColumnDef *column)
{
	ListCell   *cell;

	foreach(cell, column->constraints)
		if (lfirst_node(Constraint, cell)->contype == CONSTR_DEFAULT)
		return true;
	return false;
}

char *
flo_ddl_masking_refused(Node *statement, const FloDdlStatement *ddl, FloWorkerRules *rules)
{
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;
	char	   *reason = NULL;
	ListCell   *cell;

	if (!flo_worker_rules_is_strict(rules) || !IsA(statement, AlterTableStmt) || object == NULL ||
		object->table_schema == NULL || object->table_name == NULL)
		return NULL;
	foreach(cell, ((AlterTableStmt *) statement)->cmds)
	{
		const AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);
		const ColumnDef *column;

		if (command->subtype != AT_AddColumn || reason != NULL)
			continue;
		column = castNode(ColumnDef, command->def);
		reason = check_column(object->table_schema, object->table_name, column->colname,
							  has_default(column), rules);
	}
	return reason;
}

char *
flo_ddl_masking_after(const List *before, FloWorkerRules *rules)
{
	ListCell   *cell;

	foreach(cell, before)
	{
		const Table *table = lfirst(cell);
		int			natts = columns_of(table->relid);

		for (int number = table->natts + 1; number <= natts; number++)
		{
			HeapTuple	tuple = SearchSysCacheAttNum(table->relid, number);
			char	   *reason = NULL;

			if (!HeapTupleIsValid(tuple))
				continue;
			/* what is generated is made of what is here */
			if (((Form_pg_attribute) GETSTRUCT(tuple))->attgenerated == '\0')
			{
				Form_pg_attribute att = (Form_pg_attribute) GETSTRUCT(tuple);

				reason = check_column(table->schema, table->table, NameStr(att->attname),
									  att->atthasdef, rules);
			}
			ReleaseSysCache(tuple);
			if (reason != NULL)
				return reason;
		}
	}
	return NULL;
}

/* --- events -------------------------------------------------------------- */

/* Definitions of tables without expressions: names and types only */
static Jsonb *
without_expressions(Jsonb *tables)
{
	JsonbIterator *it = JsonbIteratorInit(&tables->root);
	FloJsonb	copy = {0};
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		static const char *const hidden[] = {"default", "generated", "keys"};
		bool		hide = false;

		for (int i = 0; token == WJB_KEY && i < lengthof(hidden); i++)
			hide |= value.val.string.len == strlen(hidden[i]) &&
				memcmp(value.val.string.val, hidden[i], value.val.string.len) == 0;
		flo_compat_push_jsonb(&copy, token,
							  token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ?
							  &value : NULL);
		if (!hide)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		value.type = jbvNull;
		flo_compat_push_jsonb(&copy, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(copy.result);
}

char *
flo_ddl_masking_content(FloDdlStatement *ddl)
{
	ddl->text = "";
	ddl->replay = NULL;
	if (ddl->tables != NULL)
		ddl->tables = without_expressions(ddl->tables);
	return flo_ddl_format(ddl);
}
