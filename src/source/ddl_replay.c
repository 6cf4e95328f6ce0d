/*
 * ddl_replay.c
 *		CREATE TABLE AS and SELECT INTO, as definition and rows.
 *
 * Elsewhere such a statement must only make the table: its query may read
 * tables that do not exist there, and the rows travel by themselves.  They do
 * so only when they are written after the table has joined its publications,
 * which for other tables happens when the command that makes them ends.
 *
 * The statement itself is the server's and runs as if we were not there.  The
 * one moment between table and rows is when the executor starts the receiver
 * that makes the table: the receiver's startup function is called through ours
 * then, once, and nothing else of it is touched.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/prepare.h"
#include "conf/newtables.h"
#include "core/compat_process.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "source/ddl_replay.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

/* --- the definition ------------------------------------------------------ */

static void
put_column(StringInfo buf, const char *name, Oid type, int32 typmod, Oid collation)
{
	char	   *type_name = format_type_extended(type, typmod,
												 FORMAT_TYPE_TYPEMOD_GIVEN |
												 FORMAT_TYPE_FORCE_QUALIFY);

	appendStringInfo(buf, "%s%s %s", buf->data[buf->len - 1] == '(' ? "" : ", ",
					 quote_identifier(name), type_name);
	if (OidIsValid(collation) && collation != get_typcollation(type))
		appendStringInfo(buf, " COLLATE %s", generate_collation_name(collation));
}

/* The names the statement gives its columns, one after the other */
static const char *
column_name(IntoClause *into, int position, const char *otherwise)
{
	if (position < list_length(into->colNames))
		return strVal(list_nth(into->colNames, position));
	return otherwise;
}

static void
put_columns(StringInfo buf, CreateTableAsStmt *statement)
{
	Query	   *query = castNode(Query, statement->query);
	int			position = 0;
	ListCell   *cell;

	if (query->commandType == CMD_UTILITY)
	{
		ExecuteStmt *execute = castNode(ExecuteStmt, query->utilityStmt);
		PreparedStatement *prepared = FetchPreparedStatement(execute->name, true);
		TupleDesc	desc = FetchPreparedStatementResultDesc(prepared);

		for (int i = 0; desc != NULL && i < desc->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, i);

			put_column(buf, column_name(statement->into, i, NameStr(att->attname)),
					   att->atttypid, att->atttypmod, att->attcollation);
		}
		return;
	}
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk)
			continue;
		put_column(buf, column_name(statement->into, position++, entry->resname),
				   exprType((Node *) entry->expr), exprTypmod((Node *) entry->expr),
				   exprCollation((Node *) entry->expr));
	}
}

static void
put_options(StringInfo buf, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		appendStringInfo(buf, "%s", foreach_current_index(cell) == 0 ? " WITH (" : ", ");
		if (option->defnamespace != NULL)
			appendStringInfo(buf, "%s.", quote_identifier(option->defnamespace));
		appendStringInfoString(buf, quote_identifier(option->defname));
		if (option->arg != NULL)
			appendStringInfo(buf, "=%s", quote_literal_cstr(defGetString(option)));
	}
	if (options != NIL)
		appendStringInfoChar(buf, ')');
}

char *
flo_ddl_replay_create_as(CreateTableAsStmt *statement)
{
	IntoClause *into = statement->into;
	Oid			schema = RangeVarGetCreationNamespace(into->rel);
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "CREATE %sTABLE %s (",
					 into->rel->relpersistence == RELPERSISTENCE_UNLOGGED ? "UNLOGGED " : "",
					 quote_qualified_identifier(get_namespace_name(schema), into->rel->relname));
	put_columns(&buf, statement);
	appendStringInfoChar(&buf, ')');
	if (into->accessMethod != NULL)
		appendStringInfo(&buf, " USING %s", quote_identifier(into->accessMethod));
	put_options(&buf, into->options);
	return buf.data;
}

/* --- between table and rows ---------------------------------------------- */

typedef void (*ReceiverStartup) (DestReceiver *self, int operation, TupleDesc desc);

static ExecutorRun_hook_type next_ExecutorRun = NULL;
static const FloDdlObject *awaited = NULL;	/* a table that is about to be
											 * made */
static ReceiverStartup receiver_startup;	/* of the receiver that is about
											 * to start */

const FloDdlObject *
flo_ddl_replay_await(const FloDdlObject *table)
{
	const FloDdlObject *before = awaited;

	awaited = table;
	return before;
}

/*
 * It may be another table: of a statement that a function runs while the
 * awaited one's is being planned.
 */
static void
table_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	Oid			table;

	self->rStartup = receiver_startup;
	self->rStartup(self, operation, desc);
	table = get_relname_relid(awaited->name, get_namespace_oid(awaited->schema, false));
	if (!OidIsValid(table))
		return;
	awaited = NULL;
	flo_newtables_made(table);
}

static void
watch_executor(QueryDesc *desc, ScanDirection direction, uint64 count FLO_EXECUTE_ONCE_PARAMETER)
{
	/* the executor starts the receiver first thing, before any code of users */
	if (unlikely(awaited != NULL) && desc->dest->mydest == DestIntoRel)
	{
		receiver_startup = desc->dest->rStartup;
		desc->dest->rStartup = table_startup;
	}
	next_ExecutorRun(desc, direction, count FLO_EXECUTE_ONCE_ARGUMENT);
}

void
flo_ddl_replay_init(void)
{
	next_ExecutorRun = ExecutorRun_hook ? ExecutorRun_hook : standard_ExecutorRun;
	ExecutorRun_hook = watch_executor;
}
