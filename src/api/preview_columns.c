/*
 * preview_columns.c
 *		Which columns of a table rules and routes are about, and what a source
 *		sends of an old row, for flo.preview().
 *
 * A source describes all columns of its table, whatever a change has of them.  Who
 * previews a change of a table that is elsewhere gives those that he thinks of: the
 * others that matter are those that rules and routes name.
 */
#include "postgres.h"

#include "api/preview_columns.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "shape/columns.h"
#include "shape/route.h"
#include "utils/builtins.h"

static bool
is_listed(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static void
add_name(List **names, const char *name)
{
	if (name != NULL && !is_listed(*names, name))
		*names = lappend(*names, pstrdup(name));
}

/* Columns stand alone in expressions of rules, without their table */
static bool
collect_columns(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, ColumnRef))
	{
		ColumnRef  *ref = (ColumnRef *) node;

		if (list_length(ref->fields) == 1 && IsA(linitial(ref->fields), String))
			add_name(context, strVal(linitial(ref->fields)));
		return false;
	}
	return raw_expression_tree_walker(node, collect_columns, context);
}

static void
collect_of_expression(const char *expression, List **names)
{
	ListCell   *cell;

	foreach(cell, raw_parser(expression, RAW_PARSE_PLPGSQL_EXPR))
		(void) collect_columns(lfirst_node(RawStmt, cell)->stmt, names);
}

List *
flo_preview_named(const FloShapeSpec *spec, const char *schema, const char *table)
{
	const FloRouteSpec *route = flo_route_find(spec->routes, schema, table);
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, spec->rules)
	{
		const FloRuleSpec *rule = lfirst(cell);

		if (strcmp(rule->schema, schema) != 0 || strcmp(rule->table, table) != 0)
			continue;
		add_name(&names, rule->column);
		if (rule->expression != NULL)
			collect_of_expression(rule->expression, &names);
	}
	for (int i = 0; route != NULL && i < route->nmappings; i++)
		add_name(&names, route->mappings[i].source);
	return names;
}

static char *
list_columns(const FloRelation *relation, const List *names, bool types)
{
	StringInfoData out;
	ListCell   *cell;

	initStringInfo(&out);
	foreach(cell, names)
	{
		int			column = flo_relation_column(relation, lfirst(cell));

		if (out.len > 0)
			appendStringInfoString(&out, ", ");
		appendStringInfoString(&out, lfirst(cell));
		if (types && column >= 0)
			appendStringInfo(&out, " %s", format_type_be(relation->columns[column].type));
	}
	return out.data;
}

void
flo_preview_tell_assumed(const FloRelation *relation, const List *assumed, FloOp op, bool known)
{
	if (assumed == NIL)
		return;
	if (known)
		ereport(NOTICE,
				(errmsg("columns that rules or routes name are not in new_row, and taken for null: %s",
						list_columns(relation, assumed, false))));
	else
		ereport(NOTICE,
				(errmsg("table \"%s.%s\" is not in this database: it is taken to have the columns that rules and routes name: %s",
						relation->schema, relation->name, list_columns(relation, assumed, true)),
				 op == FLO_OP_INSERT ? errdetail("In this INSERT they are null.") :
				 op == FLO_OP_UPDATE ? errdetail("In this UPDATE they did not change and were not sent.") :
				 errdetail("In this DELETE they are not in the replica identity, and not sent."),
				 errhint("Give them in the rows if they have values.")));
}

void
flo_preview_tell_identity(const FloRelation *relation, const List *given, bool has_old)
{
	List	   *missing = NIL;
	List	   *others = NIL;
	int			keys = 0;

	for (int i = 0; i < relation->natts; i++)
	{
		const FloColumn *column = &relation->columns[i];
		bool		there = is_listed(given, column->name);

		keys += column->is_key;
		if (column->is_key && !there)
			missing = lappend(missing, column->name);
		if (!column->is_key && there)
			others = lappend(others, column->name);
	}
	if (keys == 0)
		ereport(NOTICE,
				(errmsg("table \"%s.%s\" has no replica identity: UPDATE and DELETE of it are not replicated",
						relation->schema, relation->name)));
	else if (!has_old && relation->identity == REPLICA_IDENTITY_FULL)
		ereport(NOTICE,
				(errmsg("the source sends the whole old row with an UPDATE of table \"%s.%s\", which has REPLICA IDENTITY FULL",
						relation->schema, relation->name),
				 errhint("Give it as old_row: rules may make an INSERT or a DELETE of such an UPDATE.")));
	else if (has_old && missing != NIL)
		ereport(NOTICE,
				(errmsg("columns of the replica identity of table \"%s.%s\" are not in old_row, and taken for null: %s",
						relation->schema, relation->name, list_columns(relation, missing, false))));
	if (keys > 0 && others != NIL)
		ereport(NOTICE,
				(errmsg("the source does not send these columns of an old row of table \"%s.%s\", which are left out: %s",
						relation->schema, relation->name, list_columns(relation, others, false)),
				 errdetail("They are not in its replica identity.")));
}
