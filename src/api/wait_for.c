/*
 * wait_for.c
 *		wait_for() and reset_stats().
 *
 * wait_for() promises: true only when everything up to the LSN is really there
 * (acknowledged by the broker, or durable in the sink), false at the timeout
 * whatever state the members are in.  On an idle group the replicator is asked
 * for a heartbeat, so that its position moves past records that concern nobody.
 *
 * Awkward cases: a member that does not run is judged by what outlives its
 * process (slot, replication origin, flo.progress); the entry of a member may
 * appear only while we wait, because the launcher has yet to start it.  The
 * position of an origin counts only when the commit that moved it is flushed.
 */
#include "postgres.h"

#include <math.h>

#include "access/xlog.h"
#include "api/function.h"
#include "conf/commit.h"
#include "conf/given_up.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/clock.h"
#include "core/compat_slot.h"
#include "core/loop.h"
#include "core/lsn.h"
#include "core/names.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#define LONGEST_NAP 1000		/* ms between two looks; news wakes us earlier */
#define NAP_WITHOUT_ENTRY 100

FLO_FUNCTION(flo_wait_for);
FLO_FUNCTION(flo_reset_stats);

typedef struct Target
{
	const char *group;
	const char *member;
	bool		is_replicator;
	XLogRecPtr	lsn;
} Target;

static XLogRecPtr
slot_position(const char *group)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(flo_name_slot(MyDatabaseId, group), true);
	XLogRecPtr	position = InvalidXLogRecPtr;

	if (slot != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		if (slot->in_use)
			position = slot->data.confirmed_flush;
		SpinLockRelease(&slot->mutex);
	}

	return position;
}

/*
 * What outlives the process of a worker: nothing before its first copy is in,
 * then no more than copies owed leave
 */
static XLogRecPtr
stored_position(const Target *target)
{
	ReplOriginId origin =
		replorigin_by_name(flo_name_origin(MyDatabaseId, target->group, target->member),
						   true);
	FloProgressRow *row = flo_store_progress(target->group, target->member);
	XLogRecPtr	position;
	TimestampTz at;

	if (row == NULL || row->copying)
		return InvalidXLogRecPtr;
	position = origin != InvalidReplOriginId ? replorigin_get_progress(origin, true) : row->lsn;
	return Min(position, flo_store_owed_since(target->group, target->member, &at));
}

/* Is the target reached?  *slot is the member's entry, -1 when it has none. */
static bool
is_reached(const Target *target, int *slot)
{
	XLogRecPtr	position = InvalidXLogRecPtr;
	bool		runs = false;
	FloMember	member;

	*slot = flo_member_look(target->group, target->member, &member);
	if (*slot >= 0)
	{
		position = member.durable_lsn;
		runs = member.pid != 0;
	}

	if (position >= target->lsn)
		return true;
	if (target->is_replicator)
		return slot_position(target->group) >= target->lsn;

	return !runs && stored_position(target) >= target->lsn;
}

static bool
wait_until_reached(const Target *target, FloClock deadline)
{
	int			slot;

	while (!is_reached(target, &slot))
	{
		long		left = flo_clock_left(deadline);

		CHECK_FOR_INTERRUPTS();
		if (left <= 0)
		{
			ConditionVariableCancelSleep();
			return false;
		}

		if (slot >= 0)
			flo_member_sleep(slot, target->is_replicator, Min(left, LONGEST_NAP));
		else
		{
			ConditionVariableCancelSleep();
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 Min(left, NAP_WITHOUT_ENTRY), flo_wait_event(FLO_WAIT_APPLY));
			ResetLatch(MyLatch);
		}
	}

	ConditionVariableCancelSleep();
	return true;
}

/* When the timeout ends; a very long one is as good as none */
static FloClock
deadline_argument(FunctionCallInfo fcinfo, int n)
{
	Interval   *interval;
	double		usecs;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"timeout\" must not be null")));

	interval = PG_GETARG_INTERVAL_P(n);
	usecs = (double) interval->time + (double) interval->day * USECS_PER_DAY +
		(double) interval->month * DAYS_PER_MONTH * USECS_PER_DAY;
	if (usecs < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative")));

	return flo_clock() + (int64) Min(usecs, (double) USECS_PER_DAY * 36500);
}

/*
 * The members a call is about: the one named; else, with an LSN, all workers
 * here if there are any; else the replicator.
 */
static List *
targets_of_call(const char *group, const char *member, bool have_lsn)
{
	List	   *replicators = NIL;
	List	   *workers = NIL;
	ListCell   *lc;

	foreach(lc, flo_store_members(group))
	{
		FloMemberSpec *spec = lfirst(lc);

		if (member != NULL && strcmp(spec->member, member) != 0)
			continue;
		if (spec->is_replicator)
			replicators = lappend(replicators, spec);
		else
			workers = lappend(workers, spec);
	}

	if (replicators == NIL && workers == NIL && member != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no member \"%s\" in this database", group, member),
				 errhint("flo.status shows the members of the group.")));

	if (!have_lsn && replicators == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"lsn\" must not be null at the destination"),
				 errhint("Take pg_current_wal_lsn() at the source and wait for it here.")));

	return (have_lsn && workers != NIL) ? workers : replicators;
}

/* All is there but what was never to come: whoever cuts over should know */
static void
warn_of_given_up(const FloMemberSpec *member)
{
	char	   *names = member->is_replicator ? NULL :
		flo_given_up_names(member->group, member->member);

	if (names != NULL)
		ereport(WARNING,
				(errmsg("worker \"%s\" of group \"%s\" has given up tables, whose rows are not there: %s",
						member->member, member->group, names),
				 errhint("flo.resync() at the source copies them anew.")));
}

Datum
flo_wait_for(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *member = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	bool		have_lsn = !PG_ARGISNULL(1);
	XLogRecPtr	lsn;
	FloClock	deadline;
	List	   *members;
	ListCell   *lc;

	deadline = deadline_argument(fcinfo, 2);
	flo_conf_require_group(group);
	members = targets_of_call(group, member, have_lsn);
	flo_require_preloaded();
	if (flo_conf_started_here(group))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" was started in this very transaction", group),
				 errdetail("It runs only when the transaction has been committed."),
				 errhint("Commit first, then wait.")));

	if (have_lsn)
		lsn = flo_lsn_of_end(PG_GETARG_LSN(1));
	else
	{
		/*
		 * our own asynchronous commit is part of "now", and must be flushed
		 * to be decoded
		 */
		lsn = Max(GetXLogWriteRecPtr(), XactLastCommitEnd);
		XLogFlush(lsn);
	}

	foreach(lc, members)
	{
		FloMemberSpec *spec = lfirst(lc);
		Target		target = {group, spec->member, spec->is_replicator, lsn};

		if (!wait_until_reached(&target, deadline))
			PG_RETURN_BOOL(false);
		warn_of_given_up(spec);
	}

	PG_RETURN_BOOL(true);
}

Datum
flo_reset_stats(PG_FUNCTION_ARGS)
{
	char	   *group = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	ListCell   *lc;

	if (group != NULL)
		flo_conf_require_group(group);
	flo_require_preloaded();

	foreach(lc, flo_store_members(group))
	{
		FloMemberSpec *spec = lfirst(lc);

		flo_conf_require_member(spec->group, spec->member);
		flo_member_reset_stats(spec->group, spec->member);
	}

	PG_RETURN_VOID();
}
