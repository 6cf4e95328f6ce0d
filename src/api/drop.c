/*
 * drop.c
 *		drop_replicator(), drop_worker(), drop_group().
 *
 * Promises: the member's process is gone before anything of it is removed; the
 * broker is asked first, while everything else is still there, so that a drop
 * which fails half-way can be repeated; each step finds it no error that there
 * is nothing to remove.
 *
 * Awkward cases:
 * - Like pg_drop_replication_slot() a drop is not transactional: slot and
 *   broker objects are gone even if the transaction rolls back.
 * - The rows vanish for the launcher only at commit.  Until then the member is
 *   held by this backend, which keeps the launcher from starting it again; the
 *   end of the transaction, however it comes, gives it back.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "api/drop.h"
#include "api/function.h"
#include "conf/commit.h"
#include "conf/cutover.h"
#include "conf/fence.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/clock.h"
#include "core/compat_slot.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "pgstat.h"
#include "process/agent.h"
#include "replication/origin.h"
#include "source/ownership.h"
#include "source/slots.h"
#include "storage/latch.h"
#include "utils/builtins.h"

#define STOP_TIMEOUT 10000		/* ms */
#define STOP_NAP 20
#define FENCE_PATIENCE 2000		/* ms */

/* Nobody lets the tables take writes again without saying so */
static const char opens[] =
"Without it its tables would take writes here, whether or not another server does.";

FLO_FUNCTION(flo_drop_replicator);
FLO_FUNCTION(flo_drop_worker);
FLO_FUNCTION(flo_drop_group);

/* --- arguments ----------------------------------------------------------- */

static bool
bool_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	flo_argument_require(fcinfo, n, name);
	return PG_GETARG_BOOL(n);
}

/* --- stopping ------------------------------------------------------------ */

/* Does this transaction hold members? */
static bool holding = false;

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!holding || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	holding = false;

	/*
	 * should the row of one be there still, the launcher makes a new entry
	 * for it
	 */
	flo_members_give_back(event == XACT_EVENT_COMMIT);
}

/* Keep the launcher from starting the member */
static void
hold_member(const FloMemberSpec *spec)
{
	static bool registered = false;
	pid_t		holder;

	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		registered = true;
	}
	holding = true;

	holder = flo_member_hold(spec->group, spec->member, spec->is_replicator);
	if (holder != 0 && holder != MyProcPid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("member \"%s\" of group \"%s\" is being dropped by process %d",
						spec->member, spec->group, (int) holder)));
}

void
flo_members_stop(List *members)
{
	FloClock	deadline = flo_clock_in(STOP_TIMEOUT);
	ListCell   *cell;

	if (!flo_preloaded())
		return;
	foreach(cell, members)
		hold_member(lfirst(cell));
	foreach(cell, members)
	{
		FloMemberSpec *spec = lfirst(cell);

		while (flo_member_terminate(spec->group, spec->member))
		{
			if (flo_clock() >= deadline)
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_IN_USE),
						 errmsg("member \"%s\" of group \"%s\" did not stop within %d s",
								spec->member, spec->group, STOP_TIMEOUT / 1000),
						 errhint("flo.status shows what it is doing.")));
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 STOP_NAP, flo_wait_event(FLO_WAIT_MEMBER));
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
}

/* --- the steps ----------------------------------------------------------- */

/*
 * Have an agent remove something at the broker.  "what" names it for the error,
 * or for the warning that is given instead with "force".
 */
static void
remove_at_broker(const char *operation, const char *arguments, bool force, const char *what)
{
	FloAgentError error = {0};

	(void) flo_agent_call(operation, arguments, &error);
	if (error.message == NULL)
		return;
	if (error.sqlstate == ERRCODE_OBJECT_IN_USE)
		ereport(force ? WARNING : ERROR,
				(errcode(error.sqlstate),
				 errmsg_internal("%s", error.message),
				 force || error.hint == NULL ? 0 : errhint("%s", error.hint)));
	else if (force)
		ereport(WARNING,
				(errcode(error.sqlstate),
				 errmsg("%s may still exist in NATS: %s", what, error.message),
				 errhint("Remove it with the tools of NATS once the server can be reached.")));
	else
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg_internal("%s", error.message),
				 error.detail != NULL ? errdetail_internal("%s", error.detail) : 0,
				 errhint("%s With force => true the rest is dropped without NATS.",
						 error.hint != NULL ? error.hint :
						 "Repeat the call when NATS can be reached.")));
}

/* What the worker has here, durably: its origin, or its row */
static XLogRecPtr
position_of(const char *group, const char *worker, const FloProgressRow *row)
{
	ReplOriginId origin = replorigin_by_name(flo_name_origin(MyDatabaseId, group, worker), true);
	XLogRecPtr	lsn = row != NULL ? Max(row->lsn, row->start_lsn) : InvalidXLogRecPtr;

	return origin == InvalidReplOriginId ? lsn : Max(lsn, replorigin_get_progress(origin, false));
}

static void
drop_consumer(const char *group, const char *worker, bool force)
{
	char	   *consumer = flo_name_consumer(group, worker, GetSystemIdentifier(), MyDatabaseId);
	FloProgressRow *row = flo_store_progress(group, worker);

	remove_at_broker("forget_consumer",
					 psprintf("{\"group\":\"%s\",\"consumer\":\"%s\",\"generation\":\"%s\",\"lsn\":" UINT64_FORMAT "}",
							  group, consumer,
							  row != NULL ? flo_text_of_uuid(&row->generation) : "",
							  position_of(group, worker, row)),
					 force,
					 psprintf("consumer \"%s\" and its registration in bucket \"%s\"",
							  consumer, flo_name_bucket(group)));
}

static void
drop_streams(const char *group, bool force)
{
	remove_at_broker("delete_streams",
					 psprintf("{\"group\":\"%s\",\"force\":%d,\"claim\":%s}", group, force,
							  flo_ownership_claim(group)), force,
					 psprintf("stream \"%s\", stream \"%s\" and bucket \"%s\"",
							  flo_name_stream(group), flo_name_copy_stream(group),
							  flo_name_bucket(group)));
}

static void
note_streams_stay(const char *group)
{
	ereport(NOTICE,
			(errmsg("stream \"%s\" and bucket \"%s\" stay in NATS",
					flo_name_stream(group), flo_name_bucket(group)),
			 errhint("Workers can still apply what is in the stream; purge_stream => true removes both at once.")));
}

/* Its process has left, but may not have let go of the origin yet: wait for that */
static void
drop_origin(const char *group, const char *worker)
{
	replorigin_drop_by_name(flo_name_origin(MyDatabaseId, group, worker), true, false);
}

static FloMemberSpec *
make_member(char *group, char *name, bool is_replicator)
{
	FloMemberSpec *member = palloc0(sizeof(FloMemberSpec));

	member->group = group;
	member->member = name;
	member->is_replicator = is_replicator;
	return member;
}

/* Who makes the group again has to know what he still has, or no longer */
static void
note_rules(const char *group, const FloRulesCount *count, bool gone)
{
	char	   *what;

	if (count->rules + count->routes == 0)
		return;
	what = psprintf("rules (" UINT64_FORMAT ") and routes (" UINT64_FORMAT ") of group \"%s\"",
					count->rules, count->routes, group);
	if (gone)
		ereport(NOTICE, (errmsg("%s are removed", what)));
	else
		ereport(NOTICE,
				(errmsg("%s stay", what),
				 errhint("They are in force when the group is made again; purge_rules => true removes them.")));
}

/* --- the functions ------------------------------------------------------- */

/* Has the group no other worker here? */
static bool
is_last_worker(const char *group, const char *worker)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		const FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator && strcmp(member->member, worker) != 0)
			return false;
	}
	return true;
}

static void
drop_fence(const char *group, FloFenceSide side)
{
	if (!flo_fence_uninstall(group, side, FENCE_PATIENCE))
		ereport(WARNING,
				(errmsg("triggers of the fence of group \"%s\" stay on tables that others use", group),
				 errhint("They let everything through; DROP TRIGGER and DROP EXTENSION remove them.")));
}

Datum
flo_drop_replicator(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	bool		purge_stream = bool_argument(fcinfo, 1, "purge_stream");
	bool		force = bool_argument(fcinfo, 2, "force");

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	flo_cutover_halt(group);
	flo_fence_require_lowered(group, FLO_FENCE_SOURCE, opens);
	flo_conf_changed();
	flo_members_stop(list_make1(make_member(group, FLO_REPLICATOR_MEMBER, true)));
	if (purge_stream)
		drop_streams(group, force);
	flo_publication_prepare_drop(group);
	flo_slot_drop(flo_name_slot(MyDatabaseId, group));
	flo_publication_drop(group);
	drop_fence(group, FLO_FENCE_SOURCE);
	flo_store_delete_replicator(group);
	if (!purge_stream)
		note_streams_stay(group);
	PG_RETURN_VOID();
}

Datum
flo_drop_worker(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *worker = flo_argument_text(fcinfo, 1, "worker_name");
	bool		force = bool_argument(fcinfo, 2, "force");
	bool		last;
	FloRulesCount gone;

	if (strcmp(worker, FLO_REPLICATOR_MEMBER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a worker", worker),
				 errhint("flo.drop_replicator() drops the replicator.")));
	flo_conf_require_member(group, worker);
	last = is_last_worker(group, worker);
	if (last)
		flo_fence_require_lowered(group, FLO_FENCE_DESTINATION, opens);
	flo_conf_changed();
	flo_members_stop(list_make1(make_member(group, worker, false)));
	drop_consumer(group, worker, force);
	drop_origin(group, worker);
	if (last)
		drop_fence(group, FLO_FENCE_DESTINATION);
	flo_store_delete_worker(group, worker, &gone);
	note_rules(group, &gone, true);
	PG_RETURN_VOID();
}

/*
 * A member that goes with its group.  With the stream all its consumers are
 * gone already.
 */
static void
drop_member(const FloMemberSpec *member, bool purge_stream, bool force)
{
	if (member->is_replicator)
	{
		flo_publication_prepare_drop(member->group);
		flo_slot_drop(flo_name_slot(MyDatabaseId, member->group));
		flo_publication_drop(member->group);
		if (!purge_stream)
			note_streams_stay(member->group);
	}
	else
	{
		if (!purge_stream)
			drop_consumer(member->group, member->member, force);
		drop_origin(member->group, member->member);
	}
}

Datum
flo_drop_group(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	bool		purge_stream = bool_argument(fcinfo, 1, "purge_stream");
	bool		force = bool_argument(fcinfo, 2, "force");
	bool		purge_rules = bool_argument(fcinfo, 3, "purge_rules");
	FloRulesCount rules;
	List	   *members;
	ListCell   *cell;

	flo_conf_require_group(group);
	members = flo_store_members(group);
	foreach(cell, members)
		flo_conf_require_member(group, ((FloMemberSpec *) lfirst(cell))->member);
	flo_cutover_halt(group);
	flo_fence_require_lowered(group, FLO_FENCE_SOURCE, opens);
	flo_fence_require_lowered(group, FLO_FENCE_DESTINATION, opens);
	flo_conf_changed();
	flo_members_stop(members);
	if (purge_stream)
		drop_streams(group, force);
	foreach(cell, members)
		drop_member(lfirst(cell), purge_stream, force);
	drop_fence(group, FLO_FENCE_SOURCE);
	drop_fence(group, FLO_FENCE_DESTINATION);
	flo_store_delete_group(group, purge_rules, &rules);
	note_rules(group, &rules, purge_rules);
	PG_RETURN_VOID();
}
