/*
 * ddl_rewrites.c
 *		Rewrites of a table whose result its rows do not determine.
 *
 * A new column's default, or the expression of ALTER COLUMN TYPE, is evaluated
 * for the rows that are there.  It gives the same at the source and here when
 * it depends on nothing but the row: random values, sequences, the time and
 * the user do not qualify.  Conversions between types may depend on the time
 * zone and the date style; these travel with the statement, so they do.
 *
 * A table without rows has nothing that could differ.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "conf/visit.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "dest/ddl_rewrites.h"

/* Has the table, or a partition of it, any row? */
static bool
has_rows(Oid relation)
{
	FloVisit	visit;
	char	   *query = psprintf("SELECT 1 FROM %s LIMIT 1",
								 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
															get_rel_name(relation)));
	bool		any;

	flo_visit_begin(&visit);
	any = flo_visit_run(SPI_OK_SELECT, query, 0) > 0;
	flo_visit_end(&visit);
	return any;
}

/* --- expressions ------------------------------------------------------------------- */

static bool
is_not_immutable(Oid function, void *context)
{
	return func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

static bool
is_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

static bool
depends_on_more(Node *node, void *context)
{
	check_function_callback checker = is_not_immutable;

	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr) || IsA(node, SubLink))
		return true;
	if (IsA(node, CoerceViaIO) || IsA(node, ArrayCoerceExpr) || IsA(node, CoerceToDomain) ||
		(IsA(node, FuncExpr) && ((FuncExpr *) node)->funcformat != COERCE_EXPLICIT_CALL &&
		 ((FuncExpr *) node)->funcformat != COERCE_SQL_SYNTAX))
		checker = is_volatile;
	if (check_functions_in_node(node, checker, context))
		return true;
	return expression_tree_walker(node, depends_on_more, context);
}

/* Words that input functions turn into the time of the moment */
static bool
names_the_moment(Node *node, void *context)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

	if (node == NULL)
		return false;
	if (IsA(node, A_Const))
	{
		A_Const    *constant = (A_Const *) node;

		for (int i = 0; i < lengthof(words); i++)
			if (!constant->isnull && IsA(&constant->val, String) &&
				pg_strncasecmp(strVal(&constant->val), words[i], strlen(words[i])) == 0)
				return true;
		return false;
	}
	return raw_expression_tree_walker(node, names_the_moment, context);
}

static bool
expression_depends(Relation relation, Node *raw, const char *text, bool over_columns)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *expression;
	bool		depends;

	pstate->p_sourcetext = text;
	if (over_columns)
	{
		ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
																 NULL, false, true);

		addNSItemToQuery(pstate, item, false, true, true);
	}
	expression = transformExpr(pstate, copyObject(raw),
							   over_columns ? EXPR_KIND_ALTER_COL_TRANSFORM : EXPR_KIND_COLUMN_DEFAULT);
	depends = depends_on_more(expression, NULL) || names_the_moment(raw, NULL);
	free_parsestate(pstate);
	return depends;
}

/* --- commands ------------------------------------------------------------------------ */

static bool
is_serial(const TypeName *type)
{
	static const char *const names[] = {
		"smallserial", "serial2", "serial", "serial4", "bigserial", "serial8"
	};
	const char *name;

	if (list_length(type->names) != 1 || type->arrayBounds != NIL)
		return false;
	name = strVal(linitial(type->names));
	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static char *
new_column_reason(Relation relation, ColumnDef *column, const char *text)
{
	Node	   *expression = column->raw_default;
	bool		generated = false;
	ListCell   *cell;

	if (column->typeName != NULL && is_serial(column->typeName))
		return psprintf("the rows get numbers for the new column \"%s\" in no certain order", column->colname);
	foreach(cell, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, cell);

		if (constraint->contype == CONSTR_IDENTITY)
			return psprintf("the rows get numbers for the new column \"%s\" in no certain order",
							column->colname);
		if (constraint->contype == CONSTR_DEFAULT)
			expression = constraint->raw_expr;
		if (constraint->contype == CONSTR_GENERATED)
			generated = true;
	}
	if (generated)
		return NULL;
	if (expression == NULL && column->typeName != NULL)
	{
		Node	   *of_type = get_typdefault(typenameTypeId(NULL, column->typeName));

		if (of_type == NULL || !depends_on_more(of_type, NULL))
			return NULL;
	}
	else if (expression == NULL || !expression_depends(relation, expression, text, false))
		return NULL;
	return psprintf("the default of the new column \"%s\" gives other values here than at the source",
					column->colname);
}

static char *
new_type_reason(Relation relation, AlterTableCmd *command, const char *text)
{
	ColumnDef  *column = castNode(ColumnDef, command->def);

	if (column->raw_default == NULL ||
		!expression_depends(relation, column->raw_default, text, true))
		return NULL;
	return psprintf("the USING expression for column \"%s\" gives other values here than at the source",
					command->name);
}

char *
flo_ddl_undetermined(Node *node, const char *text)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	char	   *reason = NULL;
	Oid			relid;
	Relation	relation;
	ListCell   *cell;

	if (!IsA(node, AlterTableStmt) || statement->objtype != OBJECT_TABLE)
		return NULL;
	relid = RangeVarGetRelid(statement->relation, AccessShareLock, true);
	if (!OidIsValid(relid))
		return NULL;
	relation = table_open(relid, NoLock);
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_AddColumn)
			reason = new_column_reason(relation, castNode(ColumnDef, command->def), text);
		else if (command->subtype == AT_AlterColumnType)
			reason = new_type_reason(relation, command, text);
		if (reason != NULL)
			break;
	}
	table_close(relation, NoLock);
	return reason != NULL && has_rows(relid) ? reason : NULL;
}
