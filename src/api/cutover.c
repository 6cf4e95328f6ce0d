/*
 * cutover.c
 *		flo.cutover().
 *
 * The replicator does it (source/cutover.c); here it is asked for, in a transaction
 * that is committed at once, and watched.  A session that goes away changes nothing:
 * the attempt ends by itself, one way or the other.
 */
#include "postgres.h"

#include "access/xact.h"
#include "api/function.h"
#include "conf/commit.h"
#include "conf/cutover.h"
#include "conf/fence.h"
#include "conf/sql.h"
#include "core/arguments.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "process/cutover_request.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

FLO_FUNCTION(flo_cutover);

/* ms between two looks */
#define NAP 20

/* ms for what takes no time: to begin with an attempt, to undo one */
#define PATIENCE 15000

/* --- arguments ----------------------------------------------------------- */

/* In ms, at least 1; a very long one is as good as none */
static int64
interval_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Interval   *interval;
	double		usecs;

	flo_argument_require(fcinfo, n, name);
	interval = PG_GETARG_INTERVAL_P(n);
	usecs = (double) interval->time + (double) interval->day * USECS_PER_DAY +
		(double) interval->month * DAYS_PER_MONTH * USECS_PER_DAY;
	if (usecs < 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be positive", name),
				 errhint("Pass an interval such as '5 s'.")));
	return (int64) (Min(usecs, (double) USECS_PER_DAY * 365) / 1000);
}

static char *
reverse_argument(FunctionCallInfo fcinfo, int n, const char *group)
{
	char	   *reverse;

	if (PG_ARGISNULL(n))
		return flo_cutover_way_back(group);
	reverse = text_to_cstring(PG_GETARG_TEXT_PP(n));
	flo_name_check_group(reverse);
	if (strcmp(reverse, group) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the way back of group \"%s\" needs a name of its own", group)));
	if (flo_store_replicator(reverse) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("group \"%s\" has its replicator in this database", reverse),
				 errdetail("On the way back this database is the destination."),
				 errhint("Choose another name.")));
	return reverse;
}

static void
require_possible(const FloCutover *c)
{
	FloMember	member = {0};
	FloFence   *fence = flo_fence_state(c->group, FLO_FENCE_SOURCE);

	if (flo_store_replicator(c->group)->mode == FLO_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" only copies", c->group),
				 errhint("Who follows can be cut over to: use mode => 'copy_and_stream' or 'stream'.")));
	if (fence != NULL && fence->raised)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tables of group \"%s\" are fenced already", c->group),
				 errdetail("%s", fence->reason != NULL ? fence->reason : "No reason was given."),
				 errhint("flo.fence_status() shows the fence; the way back is a cut-over of the group in the other direction, or flo.unfence().")));
	if (flo_member_look(c->group, FLO_REPLICATOR_MEMBER, &member) < 0 || member.pid == 0 ||
		member.state != FLO_STATE_STREAMING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" is not streaming", c->group),
				 errhint("flo.status shows why; flo.start_group() starts one that is stopped.")));
}

/* The fence waits for all who have written, and we would be one of them */
static void
require_no_writes(void)
{
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("flo.cutover() cannot run in a transaction that has written"),
				 errhint("Call it in a transaction of its own.")));
}

/* --- watching ------------------------------------------------------------ */

/* What is committed now, whatever this transaction's isolation level */
static void
begin_look(FloSqlSession *sql)
{
	PushActiveSnapshot(GetLatestSnapshot());
	flo_sql_begin(sql);
	flo_sql_as_of_now(true);
}

static void
end_look(FloSqlSession *sql)
{
	flo_sql_as_of_now(false);
	flo_sql_end(sql);
	PopActiveSnapshot();
}

static int64
newest_step(const char *group)
{
	FloSqlSession sql;
	int64		number;

	begin_look(&sql);
	(void) flo_sql_run(SPI_OK_SELECT, "SELECT coalesce(max(number), 0) FROM flo.cutover_steps"
					   " WHERE group_name = $1 AND worker_name = 'replicator'", 1, group);
	number = strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
	end_look(&sql);
	return number;
}

/* Steps that are new: as NOTICE and as rows */
static void
tell_steps(const char *group, int64 *newest, ReturnSetInfo *result)
{
	FloSqlSession sql;
	uint64		rows;
	char	  **texts;
	Datum	   *times;

	begin_look(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT number, step, detail, at FROM flo.cutover_steps WHERE group_name = $1"
					   " AND worker_name = 'replicator' AND number > $2::bigint ORDER BY number",
					   2, group, flo_text_of_int64(*newest));
	texts = MemoryContextAlloc(sql.caller, sizeof(char *) * Max(1, rows * 2));
	times = MemoryContextAlloc(sql.caller, sizeof(Datum) * Max(1, rows));
	for (uint64 i = 0; i < rows; i++)
	{
		bool		isnull;

		*newest = strtoi64(flo_sql_text(&sql, i, 1), NULL, 10);
		texts[i * 2] = flo_sql_text(&sql, i, 2);
		texts[i * 2 + 1] = flo_sql_text(&sql, i, 3);
		times[i] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 4, &isnull);
	}
	end_look(&sql);
	for (uint64 i = 0; i < rows; i++)
	{
		Datum		values[3] = {CStringGetTextDatum(texts[i * 2]), times[i],
		CStringGetTextDatum(texts[i * 2 + 1])};
		bool		nulls[3] = {false, false, false};

		ereport(NOTICE,
				(errmsg("%s: %s", texts[i * 2], texts[i * 2 + 1])));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

static FloCutover *
look(const char *group)
{
	FloCutover *c;

	PushActiveSnapshot(GetLatestSnapshot());
	flo_sql_as_of_now(true);
	c = flo_cutover_load(group, FLO_REPLICATOR_MEMBER);
	flo_sql_as_of_now(false);
	PopActiveSnapshot();
	return c;
}

pg_noreturn static void
fail(const FloCutover *c)
{
	const char *state = c->sqlstate;

	ereport(ERROR,
			(errcode(state != NULL && strlen(state) == 5 ?
					 MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]) :
					 ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("group \"%s\" was not cut over: %s", c->group,
					c->problem != NULL ? c->problem : "the attempt was cancelled"),
			 c->state == FLO_CUTOVER_CANCELLED ?
			 errdetail("Everything is as it was before: this database is writable, and the group goes on.") : 0,
			 c->hint != NULL ? errhint("%s", c->hint) : 0));
}

/* It goes on without us */
pg_noreturn static void
fail_unfinished(const FloCutover *c)
{
	if (c->state == FLO_CUTOVER_REQUESTED && flo_cutover_withdraw(c->group))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" has not begun with the cut-over", c->group),
				 errhint("flo.status shows what it is doing. Nothing was done; try again.")));
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("the cut-over of group \"%s\" has not ended: it is \"%s\"", c->group,
					flo_cutover_state_name(c->state)),
			 c->problem != NULL ? errdetail("It is being undone: %s", c->problem) : 0,
			 c->state == FLO_CUTOVER_CANCELLING || c->state == FLO_CUTOVER_FENCED ?
			 errhint("The tables stay fenced until the destination says whether it is open. It goes on by itself, flo.cutovers shows how; should the destination be gone for good, flo.unfence(group_name, force => true) opens this side.") :
			 errhint("It goes on by itself; flo.cutovers shows how.")));
}

static void
watch(FloCutover *c, int64 newest, ReturnSetInfo *result)
{
	FloClock	end = flo_clock_in(c->max_lag + 2 * c->timeout + PATIENCE);
	FloClock	since = flo_clock();
	FloCutoverState state = FLO_CUTOVER_REQUESTED;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext turn = AllocSetContextCreate(caller, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(turn);
	for (;;)
	{
		FloCutover *now;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(turn);
		now = look(c->group);
		tell_steps(c->group, &newest, result);
		if (now == NULL || now->state == FLO_CUTOVER_RELEASED ||
			now->state == FLO_CUTOVER_CHECKED)
			break;
		if (now->state != state)
			since = flo_clock();
		state = now->state;
		if (state == FLO_CUTOVER_CANCELLED &&
			(flo_cutover_is_over(now) || flo_clock_passed(since, PATIENCE)))
			fail(now);
		if (flo_clock_left(end) <= 0 ||
			((state == FLO_CUTOVER_REQUESTED || state == FLO_CUTOVER_CANCELLING) &&
			 flo_clock_passed(since, PATIENCE)))
			fail_unfinished(now);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, NAP,
						 flo_wait_event(FLO_WAIT_APPLY));
		ResetLatch(MyLatch);
	}
	MemoryContextSwitchTo(caller);
}

Datum
flo_cutover(PG_FUNCTION_ARGS)
{
	FloCutover	c = {0};

	c.group = flo_argument_text(fcinfo, 0, "group_name");
	flo_conf_require_member(c.group, FLO_REPLICATOR_MEMBER);
	c.member = FLO_REPLICATOR_MEMBER;
	c.reverse = reverse_argument(fcinfo, 1, c.group);
	c.max_lag = interval_argument(fcinfo, 2, "max_lag");
	flo_argument_require(fcinfo, 3, "compare");
	c.compares = PG_GETARG_BOOL(3);
	c.timeout = interval_argument(fcinfo, 4, "timeout");
	flo_argument_require(fcinfo, 5, "dry_run");
	c.dry_run = PG_GETARG_BOOL(5);
	c.consumer = PG_ARGISNULL(6) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(6));
	require_no_writes();
	flo_require_preloaded();
	require_possible(&c);
	InitMaterializedSRF(fcinfo, 0);

	PG_TRY();
	{
		int64		newest = newest_step(c.group);

		if (!flo_cutover_request(&c))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("a cut-over of group \"%s\" is under way", c.group),
					 errhint("flo.cutovers shows how far it is; flo.unfence() has it undone.")));
		watch(&c, newest, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	PG_FINALLY();
	{
		flo_sql_as_of_now(false);
	}
	PG_END_TRY();
	return (Datum) 0;
}
