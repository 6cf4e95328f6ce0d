/*
 * cutover.c
 *		The durable row of a cut-over, one for each side.
 *
 * What a process does is in source/cutover.c and dest/cutover.c; here it is only
 * written down.  A row is its member's: no other process changes it, but for
 * requests (a new attempt, an attempt to be undone) of people.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "conf/cutover.h"
#include "conf/sql.h"
#include "core/attempt.h"
#include "core/injection_point.h"
#include "core/names.h"
#include "core/text.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#define OF_MEMBER " WHERE group_name = $1 AND worker_name = $2"

static const char *const state_names[] = {
	"requested", "preparing", "fenced", "cancelling", "released", "forced", "returned",
	"checking", "prepared", "arrived", "open", "checked", "cancelled"
};

const char *
flo_cutover_state_name(FloCutoverState state)
{
	return state_names[state];
}

static FloCutoverState
state_of(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(name, state_names[i]) == 0)
			return (FloCutoverState) i;
	elog(ERROR, "unknown state \"%s\" of a cut-over", name);
}

#define MILLISECONDS(interval) "(extract(epoch FROM " interval ") * 1000)::bigint"

FloCutover *
flo_cutover_load(const char *group, const char *member)
{
	FloSqlSession sql;
	FloCutover *c = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT attempt, state, reverse, reverse_made, consumer, dry_run, compares, opens, cancel_asked,"
					" " MILLISECONDS("least(max_lag, '1 year')") ", " MILLISECONDS("least(timeout, '1 year')") ","
					" coalesce(array(SELECT jsonb_array_elements_text(tables)), '{}'), options, coalesce(comparison, 0),"
					" coalesce(lsn, '0/0'), sqlstate, problem, hint, greatest(0, " MILLISECONDS("clock_timestamp() - changed_at") "),"
					" changed_at FROM flo.cutovers" OF_MEMBER,
					2, group, member) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		ListCell   *cell;
		bool		isnull;

		c = palloc0(sizeof(FloCutover));
		c->group = pstrdup(group);
		c->member = pstrdup(member);
		c->attempt = strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
		c->state = state_of(flo_sql_text(&sql, 0, 2));
		c->reverse = flo_sql_text(&sql, 0, 3);
		c->reverse_made = flo_sql_true(0, 4);
		c->consumer = flo_sql_text(&sql, 0, 5);
		c->dry_run = flo_sql_true(0, 6);
		c->compares = flo_sql_true(0, 7);
		c->opens = flo_sql_true(0, 8);
		c->cancel_asked = flo_sql_true(0, 9);
		c->max_lag = strtoi64(flo_sql_text(&sql, 0, 10), NULL, 10);
		c->timeout = strtoi64(flo_sql_text(&sql, 0, 11), NULL, 10);
		foreach(cell, flo_sql_list(&sql, 0, 12, &isnull))
			c->tables = lappend_oid(c->tables, (Oid) strtoul(lfirst(cell), NULL, 10));
		c->options = flo_sql_jsonb(&sql, 0, 13);
		c->comparison = strtoi64(flo_sql_text(&sql, 0, 14), NULL, 10);
		c->lsn = flo_lsn_of_text(flo_sql_text(&sql, 0, 15));
		c->sqlstate = flo_sql_text(&sql, 0, 16);
		c->problem = flo_sql_text(&sql, 0, 17);
		c->hint = flo_sql_text(&sql, 0, 18);
		c->age = strtoi64(flo_sql_text(&sql, 0, 19), NULL, 10);
		c->changed_at = flo_sql_text(&sql, 0, 20);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return c;
}

bool
flo_cutover_is_over(const FloCutover *cutover)
{
	switch (cutover->state)
	{
		case FLO_CUTOVER_CHECKED:
		case FLO_CUTOVER_RETURNED:
		case FLO_CUTOVER_OPEN:
		case FLO_CUTOVER_RELEASED:
		case FLO_CUTOVER_FORCED:
			return true;
		case FLO_CUTOVER_CANCELLED:
			return !cutover->reverse_made;
		default:
			return false;
	}
}

/* "[16384, 16385]" */
static char *
oids_as_json(const List *oids)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach(cell, oids)
		appendStringInfo(&buf, "%s%u", foreach_current_index(cell) > 0 ? "," : "",
						 lfirst_oid(cell));
	appendStringInfoChar(&buf, ']');
	return buf.data;
}

static char *
options_as_text(const FloCutover *c)
{
	return c->options == NULL ? NULL :
		JsonbToCString(NULL, &c->options->root, VARSIZE(c->options));
}

static const char *
truth(bool value)
{
	return value ? "t" : "f";
}

/* Columns that a new attempt sets, and that go back to their defaults with it */
#define AFRESH \
	"attempt = greatest(c.attempt + 1, excluded.attempt), role = excluded.role, state = excluded.state," \
	" reverse = excluded.reverse, reverse_made = false, consumer = excluded.consumer, dry_run = excluded.dry_run," \
	" compares = excluded.compares, opens = true, cancel_asked = false, max_lag = excluded.max_lag," \
	" timeout = excluded.timeout, tables = NULL, options = excluded.options, comparison = NULL, lsn = NULL," \
	" sqlstate = NULL, problem = NULL, hint = NULL, requested_at = excluded.requested_at, changed_at = excluded.changed_at"

#define IS_OVER \
	"(c.state IN ('checked', 'returned', 'open', 'released', 'forced') OR (c.state = 'cancelled' AND NOT c.reverse_made))"

bool
flo_cutover_insert(const FloCutover *c)
{
	bool		is_source = strcmp(c->member, FLO_REPLICATOR_MEMBER) == 0;
	bool		done = flo_sql_do(SPI_OK_INSERT,
								  "INSERT INTO flo.cutovers AS c (group_name, worker_name, attempt, role, state, reverse, consumer,"
								  " dry_run, compares, max_lag, timeout, options)"
								  " VALUES ($1, $2, greatest(1, $3::bigint), $4, $5, $6, $7, $8::bool, $9::bool,"
								  " $10::bigint * interval '1 ms', $11::bigint * interval '1 ms', $12::jsonb)"
								  " ON CONFLICT (group_name, worker_name) DO UPDATE SET " AFRESH
								  " WHERE c.attempt < excluded.attempt OR (excluded.role = 'source' AND " IS_OVER ")",
								  12, c->group, c->member, flo_text_of_int64(c->attempt),
								  is_source ? "source" : "destination",
								  flo_cutover_state_name(c->state), c->reverse, c->consumer,
								  truth(c->dry_run), truth(c->compares),
								  flo_text_of_int64(c->max_lag), flo_text_of_int64(c->timeout),
								  options_as_text(c)) > 0;

	flo_cutover_changed();
	return done;
}

#define HOLD \
	"SELECT FROM flo.cutovers" OF_MEMBER " AND attempt = $3::bigint AND state = $4 FOR NO KEY UPDATE"

bool
flo_cutover_hold(const FloCutover *c, bool wait)
{
	return flo_sql_do(SPI_OK_SELECT, wait ? HOLD : HOLD " SKIP LOCKED",
					  4, c->group, c->member, flo_text_of_int64(c->attempt),
					  flo_cutover_state_name(c->state)) > 0;
}

typedef struct Act
{
	const FloCutover *cutover;
	bool		keep;
	void		(*what) (void *arg);
	void	   *arg;
} Act;

static void
do_it(void *arg)
{
	Act		   *act = arg;

	if (!flo_cutover_hold(act->cutover, false))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the cut-over of group \"%s\" has gone on meanwhile",
						act->cutover->group)));
	act->what(act->arg);
	if (!act->keep)
		ereport(ERROR,
				(errcode(ERRCODE_SUCCESSFUL_COMPLETION),
				 errmsg_internal("tried")));
}

ErrorData *
flo_cutover_do(const FloCutover *c, const char *point, bool keep, void (*what) (void *arg),
			   void *arg)
{
	Act			act = {c, keep, what, arg};
	ErrorData  *error;

	flo_injection_point(psprintf("cutover.%s.before", point));
	error = flo_attempt_transaction(do_it, &act);
	if (error == NULL)
		flo_injection_point(psprintf("cutover.%s.after", point));
	else if (!keep && error->sqlerrcode == ERRCODE_SUCCESSFUL_COMPLETION)
		error = NULL;
	return error;
}

void
flo_cutover_halt(const char *group)
{
	(void) flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.cutovers" OF_MEMBER " FOR NO KEY UPDATE",
					  2, group, FLO_REPLICATOR_MEMBER);
}

void
flo_cutover_set(FloCutover *c, FloCutoverState state, XLogRecPtr lsn)
{
	(void) flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET state = $3, changed_at = clock_timestamp(),"
					  " lsn = coalesce($4::pg_lsn, lsn)" OF_MEMBER " AND attempt = $5::bigint",
					  5, c->group, c->member, flo_cutover_state_name(state),
					  XLogRecPtrIsInvalid(lsn) ? NULL : flo_text_of_lsn(lsn),
					  flo_text_of_int64(c->attempt));
}

void
flo_cutover_save(const FloCutover *c)
{
	(void) flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET attempt = $3::bigint, consumer = $4, tables = $5::jsonb, opens = $6::bool,"
					  " comparison = nullif($7::bigint, 0)" OF_MEMBER,
					  7, c->group, c->member, flo_text_of_int64(c->attempt), c->consumer,
					  oids_as_json(c->tables), truth(c->opens), flo_text_of_int64(c->comparison));
}

void
flo_cutover_save_reverse(FloCutover *c, bool made)
{
	(void) flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET reverse_made = $3::bool" OF_MEMBER
					  " AND attempt = $4::bigint",
					  4, c->group, c->member, truth(made), flo_text_of_int64(c->attempt));
}

void
flo_cutover_blame(FloCutover *c, int sqlstate, const char *problem, const char *hint)
{
	(void) flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET sqlstate = $3, problem = $4, hint = $5" OF_MEMBER
					  " AND attempt = $6::bigint AND problem IS NULL",
					  6, c->group, c->member, unpack_sql_state(sqlstate), problem, hint,
					  flo_text_of_int64(c->attempt));
}

bool
flo_cutover_ask_cancel(const char *group)
{
	bool		asked = flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET cancel_asked = true WHERE group_name = $1"
								   " AND state IN ('requested', 'checking', 'preparing', 'prepared', 'arrived', 'fenced', 'cancelling')",
								   1, group) > 0;

	flo_cutover_changed();
	return asked;
}

void
flo_cutover_force(const char *group)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	(void) flo_sql_run(SPI_OK_INSERT, "WITH forced AS (UPDATE flo.cutovers SET changed_at = clock_timestamp(),"
					   " state = CASE role WHEN 'source' THEN 'forced' ELSE 'open' END WHERE group_name = $1"
					   " AND (state IN ('prepared', 'arrived', 'fenced', 'cancelling', 'released')"
					   " OR (role = 'destination' AND state = 'preparing'))"
					   " RETURNING worker_name, attempt)"
					   " INSERT INTO flo.cutover_steps (group_name, worker_name, attempt, step, detail)"
					   " SELECT $1, f.worker_name, f.attempt, 'force', format('flo.unfence() by %s%s', session_user,"
					   " ', with what the other side had written up to ' || s.durable_lsn) FROM forced f"
					   " LEFT JOIN flo.status s ON s.group_name = $1 AND s.member = f.worker_name AND s.member <> 'replicator'",
					   1, group);
	flo_sql_end(&sql);
	flo_cutover_changed();
}

void
flo_cutover_step(const FloCutover *c, const char *step, const char *format,...)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&buf, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	(void) flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.cutover_steps (group_name, worker_name, attempt, step, detail)"
					  " VALUES ($1, $2, $3::bigint, $4, $5)",
					  5, c->group, c->member, flo_text_of_int64(c->attempt), step, buf.data);
	pfree(buf.data);
}

List *
flo_cutover_returned(const char *reverse)
{
	FloSqlSession sql;
	List	   *groups = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_UPDATE_RETURNING, "UPDATE flo.cutovers SET state = 'returned', changed_at = clock_timestamp()"
					   " WHERE reverse = $1 AND role = 'source' AND state = 'released' RETURNING group_name",
					   1, reverse);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		groups = lappend(groups, flo_sql_text(&sql, i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return groups;
}

char *
flo_cutover_way_back(const char *group)
{
	FloSqlSession sql;
	char	   *other = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT w.group_name FROM flo.workers w WHERE w.sink = 'postgres' AND w.group_name IN ("
					"SELECT reverse FROM flo.cutovers WHERE group_name = $1 AND role = 'source'"
					" UNION ALL SELECT group_name FROM flo.cutovers WHERE reverse = $1 AND role = 'destination')"
					" LIMIT 1",
					1, group) > 0)
		other = MemoryContextStrdup(sql.caller, flo_sql_text(&sql, 0, 1));
	flo_sql_end(&sql);
	return other;
}

void
flo_cutover_changed(void)
{
	CacheInvalidateRelcacheByRelid(flo_store_table("cutovers"));
}

/*
 * Commands have event triggers, and what those do may put off code of the role's until
 * this process commits as itself: a cursor that is to last, a deferred trigger.
 */
char *
flo_cutover_call(Oid role, const char *statement, int nargs, const char *const *args)
{
	MemoryContext context = CurrentMemoryContext;
	FloAsRole	as;
	char	   *answer;
	Oid			types[4];
	Datum		values[4];
	char		nulls[4];
	int			result;

	Assert(nargs <= lengthof(types));
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		values[i] = args[i] != NULL ? CStringGetTextDatum(args[i]) : (Datum) 0;
		nulls[i] = args[i] != NULL ? ' ' : 'n';
	}
	flo_as_role_enter(&as, role,
					  superuser_arg(role) ? FLO_AS_ROLE_PLAIN : FLO_AS_ROLE_RESTRICTED);
	flo_as_role_set("search_path", "pg_catalog, pg_temp");
	flo_as_role_set("lock_timeout", CppAsString2(FLO_CUTOVER_LOCK_PATIENCE));
	SPI_connect();
	result = SPI_execute_with_args(statement, nargs, types, values, nulls, false, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "statement returned %s: %s", SPI_result_code_string(result), statement);
	answer = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	answer = answer != NULL ? MemoryContextStrdup(context, answer) : NULL;
	SPI_finish();
	flo_as_role_leave(&as);
	return answer;
}
