/*
 * ddl_capture.c
 *		Writes the DDL of sessions into WAL, for groups that track it.
 *
 * Promises: a statement that has an effect and commits is written exactly
 * once, with its exact text, between the changes before and after it, and its end
 * is, where that means anything; one that is rolled back, alone or with a savepoint, is not seen by
 * anybody.  In a database without a group that tracks DDL nothing is written
 * and no table of schema flo is touched: whether there is one, an event
 * trigger says, which is enabled when the first such group is created and
 * whose row every session has in its catalog cache.  A copy of such a database
 * has it, too, with groups that are not its own: those are looked at.
 *
 * Awkward cases.  A string of several statements and the commands within DO
 * blocks and functions come here one by one, each with its own place in its
 * own source text; the block around them comes, too, and is none of the kinds
 * we look at.  Parts of a command (the index of a primary key) come as
 * subcommands with the whole command's text and are left out, as is all that
 * the script of an extension does.  EXPLAIN ANALYZE makes tables, too.  A
 * command that cannot run in a transaction block is written in the transaction
 * it ends with: it has happened then.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/prepare.h"
#include "commands/trigger.h"
#include "common/keywords.h"
#include "conf/ddl.h"
#include "conf/identity.h"
#include "conf/message.h"
#include "conf/partition.h"
#include "conf/publication.h"
#include "conf/tables.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "parser/scanner.h"
#include "source/ddl_capture.h"
#include "source/ddl_chosen.h"
#include "source/ddl_made.h"
#include "source/ddl_objects.h"
#include "source/ddl_references.h"
#include "source/ddl_replay.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "wire/ddl.h"

static ProcessUtility_hook_type next_ProcessUtility = NULL;
static int64 last_id = 0;

/* Does a group of this database track DDL? */
static bool
is_tracked_database(void)
{
	HeapTuple	tuple;
	bool		enabled;

	tuple = SearchSysCache1(EVENTTRIGGERNAME, CStringGetDatum(FLO_DDL_EVENT_TRIGGER));
	if (!HeapTupleIsValid(tuple))
		return false;
	enabled = ((Form_pg_event_trigger) GETSTRUCT(tuple))->evtenabled != TRIGGER_DISABLED;
	ReleaseSysCache(tuple);
	return enabled;
}

static bool
is_tracked_session(void)
{
	return OidIsValid(MyDatabaseId) && !creating_extension && IsTransactionState() &&
		XLogLogicalInfoActive() && !RecoveryInProgress() && !XactReadOnly &&
		is_tracked_database() && flo_ddl_groups_here() != NIL;
}

static bool
is_run(const ExplainStmt *explain)
{
	bool		run = false;
	ListCell   *cell;

	foreach(cell, explain->options)
	{
		if (strcmp(lfirst_node(DefElem, cell)->defname, "analyze") == 0)
			run = defGetBoolean(lfirst(cell));
	}
	return run;
}

/*
 * What EXPLAIN ANALYZE makes, itself or by a prepared statement; NULL when it makes
 * nothing.  The server does not come here for it another time.  "query" becomes
 * the text that it stands in.
 */
static Node *
explained(const ExplainStmt *explain, const char **query)
{
	Query	   *inner = castNode(Query, explain->query);

	if (!is_run(explain))
		return NULL;
	if (inner->commandType == CMD_UTILITY && IsA(inner->utilityStmt, ExecuteStmt))
	{
		PreparedStatement *prepared =
			FetchPreparedStatement(((ExecuteStmt *) inner->utilityStmt)->name, false);

		if (prepared == NULL || list_length(prepared->plansource->query_list) != 1)
			return NULL;
		inner = linitial_node(Query, prepared->plansource->query_list);
		*query = prepared->plansource->query_string;
	}
	return inner->commandType == CMD_UTILITY && IsA(inner->utilityStmt, CreateTableAsStmt) ?
		inner->utilityStmt : NULL;
}

/*
 * The statement that the hook is to tell of, NULL = none; "query" becomes the
 * text that it stands in
 */
static Node *
captured(PlannedStmt *pstmt, const char **query, ProcessUtilityContext context)
{
	Node	   *statement = pstmt->utilityStmt;

	if (context == PROCESS_UTILITY_SUBCOMMAND || *query == NULL ||
		!(IsA(statement, ExplainStmt) || flo_ddl_is_candidate(statement)) || !is_tracked_session())
		return NULL;
	return IsA(statement, ExplainStmt) ? explained((ExplainStmt *) statement, query) : statement;
}

/* The text from CREATE on, when that is what EXPLAIN explains */
static char *
without_explain(char *text)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	core_YYSTYPE value;
	YYLTYPE		at = 0;
	int			depth = 0;
	int			token;

	while ((token = core_yylex(&value, &at, scanner)) != 0)
	{
		depth += (token == '(') - (token == ')');
		if (token != ')' && depth == 0 && pg_strncasecmp(text + at, "explain", 7) != 0 &&
			pg_strncasecmp(text + at, "analy", 5) != 0 &&
			pg_strncasecmp(text + at, "verbose", 7) != 0)
			break;
	}
	scanner_finish(scanner);
	return pg_strncasecmp(text + at, "create", 6) == 0 ? text + at : text;
}

/* The statement's own part of the source text */
static char *
statement_text(int location, int len, const char *query)
{
	const char *start = query + Max(location, 0);

	if (len <= 0)
		len = (int) strlen(start);
	while (len > 0 && strchr(" \t\n\r\f\v;", start[len - 1]) != NULL)
		len--;
	while (len > 0 && strchr(" \t\n\r\f\v", start[0]) != NULL)
	{
		start++;
		len--;
	}
	return pnstrdup(start, len);
}

/* The schemas where names are looked for: those that exist, in order */
static char *
search_path(void)
{
	StringInfoData buf;
	List	   *path = fetch_search_path(false);
	ListCell   *cell;

	initStringInfo(&buf);
	foreach(cell, path)
	{
		char	   *name = get_namespace_name(lfirst_oid(cell));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(cell)))
			appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "", quote_identifier(name));
	}
	return buf.data;
}

/* What the database's own collation orders by, which is the same as long as the session lives */
static char *
database_locale(void)
{
	static bool known = false;
	static char *locale = NULL;

	if (!known)
	{
		const char *found = flo_partition_collation(DEFAULT_COLLATION_OID, FLO_BY_RANGE);

		locale = found != NULL ? MemoryContextStrdup(TopMemoryContext, found) : NULL;
		known = true;
	}
	return locale;
}

static void
note_surroundings(FloDdlStatement *ddl)
{
	ddl->id = ((int64) MyProcPid << 32) + ++last_id;
	ddl->search_path = search_path();
	ddl->role = GetUserNameFromId(GetUserId(), false);
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
		ddl->settings[i] = GetConfigOptionByName(flo_ddl_settings[i], NULL, false);
	ddl->locale = database_locale();
}

/* Wakes replicators at commit like any other change, because it takes an xid */
static void
write_message(FloDdlStatement *ddl, FloDdlPhase phase)
{
	char	   *payload;

	ddl->phase = phase;
	payload = flo_ddl_format(ddl);
	flo_message_write(FLO_MESSAGE_DDL, flo_ddl_groups_here(), payload, strlen(payload));
}

/* What the statement has done to the catalogs is there, for whoever reads WAL at this point */
static void
write_end(const FloDdlStatement *ddl, List *named, bool goes_on)
{
	FloDdlEnd	end = {ddl->id, goes_on, named};
	char	   *payload = flo_ddl_end_format(&end);

	CommandCounterIncrement();
	flo_message_write(FLO_MESSAGE_DDL_END, flo_ddl_groups_here(), payload, strlen(payload));
}

/* CREATE INDEX CONCURRENTLY is begun again by the name that the server has chosen */
static void
tell_index_name(FloDdlStatement *ddl, Node *statement)
{
	FloDdlObject *index = linitial(ddl->objects);

	if (IsA(statement, IndexStmt) && index->name[0] == '\0' && ddl->named != NIL)
		index->name = ((FloNamed *) linitial(ddl->named))->name;
}

/*
 * A statement within another one, of an event trigger's for example, may use
 * the names of what that has made by now.
 */
static void
tell_names_of_outer(void)
{
	FloDdlMade *outer = flo_ddl_made_watched();
	List	   *named = outer != NULL && outer->statement->makes && !outer->statement->concurrent ?
		flo_ddl_made_names(outer) : NIL;

	if (named != NIL)
		write_end(outer->statement, named, true);
}

/* Run it, as if we were not there; rows of CREATE TABLE AS need their table in its publications */
static void
run_utility(PlannedStmt *pstmt, const char *query, bool readonly, ProcessUtilityContext context,
			ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			QueryCompletion *completion, FloDdlMade *made)
{
	FloDdlMade *outer_made = flo_ddl_made_watch(made);
	const FloDdlObject *outer = flo_ddl_replay_await(made->statement->replay != NULL ?
													 linitial(made->statement->objects) : NULL);

	PG_TRY();
	{
		next_ProcessUtility(pstmt, query, readonly, context, params, environment, dest, completion);
	}
	PG_FINALLY();
	{
		(void) flo_ddl_replay_await(outer);
		(void) flo_ddl_made_watch(outer_made);
	}
	PG_END_TRY();
}

static void
capture_utility(PlannedStmt *pstmt, const char *query, bool readonly, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	MemoryContext caller = CurrentMemoryContext;
	FloDdlStatement ddl = {0};
	FloDdlMade	made = {&ddl, caller};
	const char *source = query;
	Node	   *statement = captured(pstmt, &source, context);

	if (statement == NULL || !flo_ddl_describe(statement, &ddl))
	{
		next_ProcessUtility(pstmt, query, readonly, context, params, environment, dest, completion);
		return;
	}

	flo_ddl_describe_references(&ddl, statement);
	flo_ddl_note_choices(&ddl);
	/* a prepared statement stands alone in its text */
	ddl.text = source == query ? statement_text(pstmt->stmt_location, pstmt->stmt_len, query) :
		statement_text(0, 0, source);
	if (statement != pstmt->utilityStmt)
		ddl.text = without_explain(ddl.text);
	note_surroundings(&ddl);
	tell_names_of_outer();
	if (!ddl.concurrent)
		write_message(&ddl, ddl.defines ? FLO_DDL_BEFORE : FLO_DDL_BOTH);
	run_utility(pstmt, query, readonly, context, params, environment, dest, completion, &made);

	MemoryContextSwitchTo(caller);
	ddl.named = ddl.makes ? flo_ddl_made_names(&made) : NIL;
	if (ddl.concurrent)
	{
		tell_index_name(&ddl, statement);
		CommandCounterIncrement();
		write_message(&ddl, FLO_DDL_BOTH);
	}
	else if (ddl.defines || ddl.named != NIL)
		write_end(&ddl, ddl.named, false);
	MemoryContextSwitchTo(caller);
}

/* What a group does to a table without a key travels as if its owner had said it */
static void
capture_identity(Oid relation)
{
	FloDdlStatement ddl = {0};

	if (!is_tracked_session())
		return;
	ddl.text = psprintf("ALTER TABLE ONLY %s REPLICA IDENTITY FULL", flo_tables_name(relation));
	if (!flo_ddl_describe(linitial_node(RawStmt, raw_parser(ddl.text, RAW_PARSE_DEFAULT))->stmt,
						  &ddl))
		return;
	flo_ddl_note_choices(&ddl);
	note_surroundings(&ddl);
	CommandCounterIncrement();
	write_message(&ddl, FLO_DDL_BOTH);
}

void
flo_ddl_capture_init(void)
{
	next_ProcessUtility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = capture_utility;
	flo_ddl_replay_init();
	flo_identity_made_full = capture_identity;
}
