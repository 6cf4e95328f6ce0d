/*
 * requests.c
 *		Copies of tables that are asked for while a group runs.
 *
 * A request is a row of flo.copy_requests, and a message in the transaction
 * that makes it.  The row has the replicator take a snapshot, sooner or later;
 * the message tells the destinations, exactly where the request was committed,
 * that they do not have everything any more (dest/owed.c).  A request that comes
 * to nothing is withdrawn with another message.  Numbers tell a request from one
 * for the same table made before.
 */
#include "postgres.h"

#include "conf/message.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "wire/copies.h"

/* What a message says of requests: the columns of notices() */
#define SAID \
	"relation, number, (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation)," \
	" (SELECT c.relname FROM pg_class c WHERE c.oid = relation)"

static char *
name_or_empty(char *name)
{
	return name != NULL ? name : "";
}


static List *
notices(const FloSqlSession *sql, uint64 rows, FloCopyNoticeKind kind)
{
	MemoryContext old = MemoryContextSwitchTo(sql->caller);
	List	   *result = NIL;

	for (uint64 i = 0; i < rows; i++)
	{
		FloCopyNotice *notice = palloc(sizeof(FloCopyNotice));

		notice->relation = (uint32) strtoul(flo_sql_text(sql, i, 1), NULL, 10);
		notice->request = (uint32) strtoul(flo_sql_text(sql, i, 2), NULL, 10);
		notice->kind = kind;
		notice->schema = name_or_empty(flo_sql_text(sql, i, 3));
		notice->table = name_or_empty(flo_sql_text(sql, i, 4));
		result = lappend(result, notice);
	}
	MemoryContextSwitchTo(old);
	return result;
}

static void
say(const char *group, bool owed, const List *copies)
{
	char	   *payload;

	if (copies == NIL)
		return;
	payload = flo_copies_format(owed, copies);
	flo_message_write(FLO_MESSAGE_COPIES, list_make1(unconstify(char *, group)), payload,
					  strlen(payload));
}

void
flo_store_request_copy(const char *group, Oid relation, FloCopyAsked asked)
{
	bool		add = asked == FLO_REQUEST_ADD || asked == FLO_REQUEST_ADD_FROM_HERE;
	FloCopyNoticeKind kind = asked == FLO_REQUEST_ADD_FROM_HERE ? FLO_COPIES_WITHOUT :
		asked == FLO_REQUEST_ANEW_FROM_HERE ? FLO_COPIES_ANEW : FLO_COPIES_FROM_MARKER;
	FloSqlSession sql;
	List	   *copies;

	flo_sql_begin(&sql);
	copies = notices(&sql, flo_sql_run(SPI_OK_INSERT_RETURNING,
									   "INSERT INTO flo.copy_requests (group_name, relation, add)"
									   " VALUES ($1, $2::oid, $3::bool) ON CONFLICT (group_name, relation)"
									   " DO UPDATE SET requested_at = now(), number = DEFAULT RETURNING " SAID,
									   3, group, psprintf("%u", relation), add ? "t" : "f"), kind);
	flo_sql_end(&sql);
	say(group, true, copies);
}

void
flo_store_request_copy_of_all(const char *group)
{
	FloSqlSession sql;
	List	   *copies;

	flo_sql_begin(&sql);
	copies = notices(&sql, flo_sql_run(SPI_OK_INSERT_RETURNING,
									   "INSERT INTO flo.copy_requests (group_name, relation, add)"
									   " SELECT DISTINCT $1, p.relation, false FROM flo.published_tables($1) p"
									   " ON CONFLICT (group_name, relation)"
									   " DO UPDATE SET requested_at = now(), number = DEFAULT RETURNING " SAID,
									   1, group),
					 FLO_COPIES_FROM_MARKER);
	flo_sql_end(&sql);
	say(group, true, copies);
}

bool
flo_store_withdraw_copy(const char *group, Oid relation)
{
	FloSqlSession sql;
	List	   *copies;

	flo_sql_begin(&sql);
	copies = notices(&sql, flo_sql_run(SPI_OK_DELETE_RETURNING, "DELETE FROM flo.copy_requests"
									   " WHERE group_name = $1 AND relation = $2::oid RETURNING " SAID,
									   2, group, psprintf("%u", relation)), FLO_COPIES_FROM_MARKER);
	flo_sql_end(&sql);
	say(group, false, copies);
	return copies != NIL;
}

void
flo_store_copy_request_done(const char *group, const FloCopyRequest *request)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.copy_requests"
			   " WHERE group_name = $1 AND relation = $2::oid AND number = $3::int",
			   3, group, psprintf("%u", request->relation), psprintf("%u", request->number));
}

/* --- what there is ------------------------------------------------------- */

#define REQUESTS "SELECT relation, add, number FROM flo.copy_requests WHERE group_name = $1 ORDER BY number"

static List *
requests(const char *group, const char *query)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT, query, 1, group);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		FloCopyRequest *request = palloc(sizeof(FloCopyRequest));

		request->relation = (Oid) strtoul(flo_sql_text(&sql, i, 1), NULL, 10);
		request->add = flo_sql_true(i, 2);
		request->number = (uint32) strtoul(flo_sql_text(&sql, i, 3), NULL, 10);
		result = lappend(result, request);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return result;
}

List *
flo_store_copy_requests(const char *group)
{
	return requests(group, REQUESTS);
}

List *
flo_store_lock_copy_requests(const char *group)
{
	return requests(group, REQUESTS " FOR SHARE");
}

bool
flo_store_copy_of_all_requested(const char *group)
{
	return flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.published_tables($1) p"
					  " WHERE NOT EXISTS (SELECT FROM flo.copy_requests r"
					  " WHERE r.group_name = $1 AND r.relation = p.relation) LIMIT 1", 1, group) == 0;
}

List *
flo_store_published(const char *group)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT relation FROM flo.published_tables($1)", 1, group);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		result = lappend_oid(result, (Oid) strtoul(flo_sql_text(&sql, i, 1), NULL, 10));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return result;
}
