/*
 * ddl_replay.c
 *		CREATE TABLE AS and SELECT INTO, as definition and rows.
 *
 * Elsewhere such a statement must only make the table: its query may read
 * tables that do not exist there, and the rows travel by themselves.  They do
 * so only when they are written after the table has joined its publications,
 * which happens when the command that makes the table ends.  Hence in a
 * session that is tracked the table is made WITH NO DATA first, and filled
 * from the query afterwards, all within the one statement.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/createas.h"
#include "commands/defrem.h"
#include "commands/prepare.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_node.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

#include "core/compat.h"
#include "source/ddl_replay.h"

/* --- the definition -------------------------------------------------------------- */

static void
put_column(StringInfo buf, const char *name, Oid type, int32 typmod, Oid collation)
{
	char	   *type_name = format_type_extended(type, typmod,
												 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);

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
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "CREATE %sTABLE %s (",
					 into->rel->relpersistence == RELPERSISTENCE_UNLOGGED ? "UNLOGGED " : "",
					 quote_qualified_identifier(get_namespace_name(RangeVarGetCreationNamespace(into->rel)),
												into->rel->relname));
	put_columns(&buf, statement);
	appendStringInfoChar(&buf, ')');
	if (into->accessMethod != NULL)
		appendStringInfo(&buf, " USING %s", quote_identifier(into->accessMethod));
	put_options(&buf, into->options);
	return buf.data;
}

/* --- the rows ---------------------------------------------------------------------- */

typedef struct Filler
{
	DestReceiver base;
	Relation	relation;
	CommandId	command;
	BulkInsertState bulk;
	uint64		rows;
} Filler;

static void
filler_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
filler_receive(TupleTableSlot *slot, DestReceiver *self)
{
	Filler	   *filler = (Filler *) self;

	table_tuple_insert(filler->relation, slot, filler->command, TABLE_INSERT_SKIP_FSM,
					   filler->bulk);
	filler->rows++;
	return true;
}

static void
filler_nothing(DestReceiver *self)
{
}

static void
run_query(CreateTableAsStmt *statement, const char *query_text, ParamListInfo params,
		  QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	Query	   *query = castNode(Query, copyObject(statement->query));
	PlannedStmt *plan;
	QueryDesc  *desc;

	if (query->commandType == CMD_UTILITY)
	{
		ParseState *pstate = make_parsestate(NULL);

		pstate->p_sourcetext = query_text;
		pstate->p_queryEnv = environment;
		ExecuteQuery(pstate, castNode(ExecuteStmt, query->utilityStmt), NULL, params, dest,
					 completion);
		free_parsestate(pstate);
		return;
	}
	query = linitial_node(Query, QueryRewrite(query));
	plan = pg_plan_query(query, query_text, CURSOR_OPT_PARALLEL_OK, params);
	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	desc = CreateQueryDesc(plan, query_text, GetActiveSnapshot(), InvalidSnapshot, dest,
						   params, environment, 0);
	ExecutorStart(desc, 0);
	flo_compat_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	PopActiveSnapshot();
}

uint64
flo_ddl_fill_created(CreateTableAsStmt *statement, const char *query_text, ParamListInfo params,
					 QueryEnvironment *environment, QueryCompletion *completion)
{
	Filler		filler = {{0}};

	CommandCounterIncrement();
	filler.base.receiveSlot = filler_receive;
	filler.base.rStartup = filler_startup;
	filler.base.rShutdown = filler_nothing;
	filler.base.rDestroy = filler_nothing;
	filler.base.mydest = DestNone;
	filler.relation = table_openrv(statement->into->rel, RowExclusiveLock);
	filler.command = GetCurrentCommandId(true);

	/* a prepared statement runs in a portal of its own, which would own the buffers */
	if (castNode(Query, statement->query)->commandType != CMD_UTILITY)
		filler.bulk = GetBulkInsertState();
	run_query(statement, query_text, params, environment, &filler.base, completion);
	if (filler.bulk != NULL)
		FreeBulkInsertState(filler.bulk);
	table_finish_bulk_insert(filler.relation, TABLE_INSERT_SKIP_FSM);
	table_close(filler.relation, NoLock);
	CommandCounterIncrement();
	return filler.rows;
}
