/*
 * ddl_tablespaces.c
 *		Takes tablespaces out of DDL: they are each server's own.
 *
 * What a statement makes goes where the destination's default_tablespace says.
 */
#include "postgres.h"

#include "dest/ddl_tablespaces.h"
#include "nodes/parsenodes.h"

static void
drop(char **tablespace, StringInfo note)
{
	if (*tablespace == NULL)
		return;
	appendStringInfo(note, "%stablespace \"%s\" is left out", note->len > 0 ? "; " : "",
					 *tablespace);
	*tablespace = NULL;
}

/* A column, a constraint, a partition's bound: whatever may hold a constraint */
static void
drop_of_definition(Node *node, StringInfo note)
{
	ListCell   *cell;

	if (node == NULL)
		return;
	if (IsA(node, Constraint))
		drop(&((Constraint *) node)->indexspace, note);
	else if (IsA(node, ColumnDef))
		foreach(cell, ((ColumnDef *) node)->constraints)
			drop_of_definition(lfirst(cell), note);
}

static void
drop_of_definitions(List *definitions, StringInfo note)
{
	ListCell   *cell;

	foreach(cell, definitions)
		drop_of_definition(lfirst(cell), note);
}

/* SET TABLESPACE goes, whatever of the kind is altered */
static bool
drop_of_commands(AlterTableStmt *statement, StringInfo note)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		drop_of_definition(command->def, note);
		if (command->subtype != AT_SetTableSpace)
			continue;
		drop(&command->name, note);
		statement->cmds = foreach_delete_current(statement->cmds, cell);
	}
	return statement->cmds == NIL;
}

bool
flo_ddl_drop_tablespaces(Node *node, StringInfo note)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_CreateStmt:
			drop(&((CreateStmt *) node)->tablespacename, note);
			drop_of_definitions(((CreateStmt *) node)->tableElts, note);
			drop_of_definitions(((CreateStmt *) node)->constraints, note);
			return false;
		case T_IndexStmt:
			drop(&((IndexStmt *) node)->tableSpace, note);
			return false;
		case T_CreateTableAsStmt:
			drop(&((CreateTableAsStmt *) node)->into->tableSpaceName, note);
			return false;
		case T_AlterTableStmt:
			return drop_of_commands((AlterTableStmt *) node, note);
		case T_CreateSchemaStmt:
			foreach(cell, ((CreateSchemaStmt *) node)->schemaElts)
				(void) flo_ddl_drop_tablespaces(lfirst(cell), note);
			return false;
		default:
			return false;
	}
}
