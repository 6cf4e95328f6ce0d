/*
 * search_ddl.c
 *		What statements at the source say of names, for whoever keeps names.
 *
 * Objects tell of tables; of columns only the text does.  Text that this server cannot
 * parse, of a newer one, tells nothing.
 */
#include "postgres.h"

#include "events/search_ddl.h"
#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "wire/ddl.h"

static List *
parse(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *volatile statements = NIL;

	PG_TRY();
	{
		statements = raw_parser(text, RAW_PARSE_DEFAULT);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_SYNTAX_ERROR)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return statements;
}

static void
add_columns(List **renames, const FloDdlStatement *ddl, const FloDdlObject *object)
{
	ListCell   *lc;

	foreach(lc, parse(ddl->text))
	{
		RenameStmt *statement = (RenameStmt *) lfirst_node(RawStmt, lc)->stmt;
		FloRename  *rename;

		if (!IsA(statement, RenameStmt) || statement->renameType != OBJECT_COLUMN ||
			statement->relation == NULL || strcmp(statement->relation->relname, object->name) != 0)
			continue;
		rename = palloc0(sizeof(FloRename));
		rename->schema = object->schema;
		rename->table = object->name;
		rename->column = statement->subname;
		rename->new_column = statement->newname;
		*renames = lappend(*renames, rename);
	}
}

List *
flo_search_renames(const FloChange *change)
{
	char	   *content = pnstrdup(change->content, change->content_len);
	FloDdlStatement *ddl = flo_ddl_parse(pg_any_to_server(content, strlen(content),
														  pg_get_client_encoding()));
	List	   *renames = NIL;
	ListCell   *lc;

	foreach(lc, ddl->objects)
	{
		FloDdlObject *object = lfirst(lc);
		FloRename  *rename;

		if (strcmp(object->type, "table") != 0 || object->schema == NULL || object->name == NULL)
			continue;
		if (object->new_schema == NULL && object->new_name == NULL)
		{
			if (strcmp(ddl->tag, "ALTER TABLE") == 0)
				add_columns(&renames, ddl, object);
			continue;
		}
		rename = palloc0(sizeof(FloRename));
		rename->schema = object->schema;
		rename->table = object->name;
		rename->new_schema = object->new_schema != NULL ? object->new_schema : object->schema;
		rename->new_table = object->new_name != NULL ? object->new_name : object->name;
		renames = lappend(renames, rename);
	}
	return renames;
}
