/*
 * ddl_columns.c
 *		The columns in a DDL statement, as a route names them.
 *
 * A route gives columns of a table other names, or leaves them out.  What a
 * statement does to a column that is left out need not be done here; neither
 * need an index or constraint that includes one, which could not exist.  What
 * another mind has to decide is not guessed: expressions that take the row as
 * a whole, and bodies of functions, which may name columns by their text.
 *
 * To rename a column that the route names is the route's business: here it has
 * the name the route gave it, and the route has to be written anew before the
 * next row comes, since it names a column that is no more.
 */
#include "postgres.h"

#include "dest/ddl_columns.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"

typedef struct Columns
{
	FloWorkerRules *routes;
	const char *schema;
	const char *table;
	const char *left_out;		/* a column of the part at hand that the route
								 * leaves out */
	char	   *reason;			/* why the statement cannot be mapped */
	StringInfo	note;
} Columns;

/* --- names --------------------------------------------------------------- */

/* The name here; the same, and remembered, for one that is left out */
static char *
map_column(Columns *c, char *name)
{
	const char *mapped;

	if (name == NULL)
		return NULL;
	mapped = flo_worker_rules_column(c->routes, c->schema, c->table, name);
	if (mapped == NULL)
	{
		c->left_out = name;
		return name;
	}
	return strcmp(mapped, name) == 0 ? name : pstrdup(mapped);
}

/* A List of String: names of columns of this table */
static void
map_list(Columns *c, List *names)
{
	ListCell   *cell;

	foreach(cell, names)
		lfirst(cell) = makeString(map_column(c, strVal(lfirst(cell))));
}

/* Names in an expression; walks on until there is a reason to stop */
static bool
map_references(Node *node, void *context)
{
	Columns    *c = context;

	if (node == NULL || c->reason != NULL)
		return c->reason != NULL;
	if (IsA(node, SubLink))
		c->reason = pstrdup("it holds a subquery");
	else if (IsA(node, ColumnRef))
	{
		ColumnRef  *reference = (ColumnRef *) node;
		Node	   *last = llast(reference->fields);

		if (!IsA(last, String) || strcmp(strVal(last), c->table) == 0)
			c->reason = pstrdup("it takes the row as a whole");
		else
			reference->fields = list_make1(makeString(map_column(c, strVal(last))));
		return c->reason != NULL;
	}
	return raw_expression_tree_walker(node, map_references, context);
}

static void
map_expression(Columns *c, Node *expression)
{
	(void) map_references(expression, c);
}

/* --- parts --------------------------------------------------------------- */

static void
map_elements(Columns *c, List *elements)
{
	ListCell   *cell;

	foreach(cell, elements)
	{
		IndexElem  *element = lfirst_node(IndexElem, cell);

		element->name = map_column(c, element->name);
		map_expression(c, element->expr);
	}
}

static void
map_constraint(Columns *c, Constraint *constraint)
{
	ListCell   *cell;

	map_list(c, constraint->keys);
	map_list(c, constraint->including);
	map_list(c, constraint->fk_attrs);
	foreach(cell, constraint->exclusions)
		map_elements(c, list_make1(linitial(lfirst_node(List, cell))));
	map_expression(c, constraint->where_clause);
	if (constraint->contype == CONSTR_CHECK || constraint->contype == CONSTR_GENERATED)
		map_expression(c, constraint->raw_expr);
}

static void
map_definition(Columns *c, ColumnDef *column)
{
	ListCell   *cell;

	column->colname = map_column(c, column->colname);
	foreach(cell, column->constraints)
		map_constraint(c, lfirst_node(Constraint, cell));
}

/* --- statements ---------------------------------------------------------- */

static void
note_left_out(Columns *c, const char *what)
{
	if (c->note->len > 0)
		appendStringInfoString(c->note, "; ");
	appendStringInfo(c->note, "%s: a route leaves column \"%s\" out", what, c->left_out);
	c->left_out = NULL;
}

static void
map_command(Columns *c, AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AddColumn:
			map_definition(c, castNode(ColumnDef, command->def));
			break;
		case AT_AlterColumnType:
			command->name = map_column(c, command->name);
			map_expression(c, castNode(ColumnDef, command->def)->raw_default);
			break;
		case AT_AddConstraint:
			map_constraint(c, castNode(Constraint, command->def));
			break;
		case AT_ColumnDefault:
		case AT_DropNotNull:
		case AT_SetNotNull:
		case AT_DropExpression:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_DropColumn:
		case AT_AddIdentity:
		case AT_SetIdentity:
		case AT_DropIdentity:
			if (command->name == NULL)
				c->reason = pstrdup("it names a column by its number");
			command->name = map_column(c, command->name);
			break;
		case AT_AttachPartition:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			c->reason = pstrdup("partitions have the columns of their parent");
			break;
		default:
			break;
	}
}

static bool
map_alter(Columns *c, AlterTableStmt *statement)
{
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		map_command(c, lfirst(cell));
		if (c->left_out != NULL)
			note_left_out(c, "a part is not run");
		else
			rest = lappend(rest, lfirst(cell));
	}
	statement->cmds = rest;
	return rest == NIL;
}

static bool
map_create(Columns *c, CreateStmt *statement)
{
	List	   *rest = NIL;
	ListCell   *cell;

	if (statement->inhRelations != NIL || statement->ofTypename != NULL)
		c->reason = pstrdup("its columns come from elsewhere");
	foreach(cell, statement->tableElts)
	{
		Node	   *element = lfirst(cell);

		if (IsA(element, ColumnDef))
			map_definition(c, (ColumnDef *) element);
		else if (IsA(element, Constraint))
			map_constraint(c, (Constraint *) element);
		else
			c->reason = pstrdup("its columns come from elsewhere");
		if (c->left_out != NULL)
			note_left_out(c, IsA(element, ColumnDef) ? "a column is not made" :
						  "a constraint is not made");
		else
			rest = lappend(rest, element);
	}
	statement->tableElts = rest;
	if (statement->partspec != NULL)
		foreach(cell, statement->partspec->partParams)
	{
		PartitionElem *element = lfirst_node(PartitionElem, cell);

		element->name = map_column(c, element->name);
		map_expression(c, element->expr);
	}
	if (c->left_out != NULL)
		c->reason = pstrdup("a route leaves a column of the partition key out");
	return false;
}

static bool
map_rename(Columns *c, RenameStmt *statement)
{
	char	   *name = statement->subname;

	if (statement->renameType == OBJECT_TABCONSTRAINT)
		return false;
	if (statement->renameType != OBJECT_COLUMN)
	{
		c->reason = pstrdup("the route names the table as it was");
		return false;
	}
	statement->subname = map_column(c, statement->subname);
	if (c->left_out != NULL || statement->subname != name)
	{
		if (c->left_out != NULL)
			note_left_out(c, "not run");
		else
			appendStringInfo(c->note, "not run: a route gives column \"%s\" the name \"%s\" here; it has to be written for the new name",
							 name, statement->subname);
		return true;
	}
	statement->newname = map_column(c, statement->newname);
	return c->left_out != NULL;
}

static bool
map_comment(Columns *c, CommentStmt *statement)
{
	List	   *names;

	if (statement->objtype != OBJECT_COLUMN)
		return false;
	names = castNode(List, statement->object);
	llast(names) = makeString(map_column(c, strVal(llast(names))));
	return c->left_out != NULL;
}

static void
map_statistics(Columns *c, CreateStatsStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->exprs)
	{
		StatsElem  *element = lfirst_node(StatsElem, cell);

		element->name = map_column(c, element->name);
		map_expression(c, element->expr);
	}
}

static void
map_grant(Columns *c, GrantStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->privileges)
		map_list(c, lfirst_node(AccessPriv, cell)->cols);
}

/* True when nothing is left to do */
static bool
map_statement(Columns *c, Node *node)
{
	switch (nodeTag(node))
	{
		case T_AlterTableStmt:
			return map_alter(c, (AlterTableStmt *) node);
		case T_CreateStmt:
			return map_create(c, (CreateStmt *) node);
		case T_RenameStmt:
			return map_rename(c, (RenameStmt *) node);
		case T_CommentStmt:
			return map_comment(c, (CommentStmt *) node);
		case T_IndexStmt:
			map_elements(c, ((IndexStmt *) node)->indexParams);
			map_elements(c, ((IndexStmt *) node)->indexIncludingParams);
			map_expression(c, ((IndexStmt *) node)->whereClause);
			break;
		case T_CreateStatsStmt:
			map_statistics(c, (CreateStatsStmt *) node);
			break;
		case T_GrantStmt:
			map_grant(c, (GrantStmt *) node);
			break;
		case T_DropStmt:
		case T_CreateSeqStmt:
		case T_AlterSeqStmt:
			break;
		default:
			c->reason = pstrdup("what it says of them cannot be seen");
			break;
	}
	return c->left_out != NULL;
}

char *
flo_ddl_map_columns(Node *statement, FloWorkerRules *routes, const char *schema, const char *table,
					bool *nothing, StringInfo note)
{
	Columns		c = {routes, schema, table, NULL, NULL, note};

	*nothing = map_statement(&c, statement);
	if (c.left_out != NULL && c.reason == NULL)
		note_left_out(&c, "not run");
	return c.reason;
}
