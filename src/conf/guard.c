/*
 * guard.c
 *		Keeps DROP EXTENSION and DROP DATABASE from leaving members, slots and
 *		streams behind unseen.
 *
 * Promises: DROP EXTENSION is refused as long as flo.groups has a row; DROP
 * DATABASE is refused while members run there, and with FORCE waits until they
 * are gone.  Both tests cost next to nothing for any other command.
 *
 * Awkward cases: the test for groups runs while objects are being deleted, so
 * the table is read directly instead of through SPI, and what this transaction
 * has deleted counts as gone.  A member stopped for DROP DATABASE must not be
 * started again by the launcher before the database is gone, nor stay stopped
 * when the command fails after all: it is held by our process meanwhile.  In a
 * server that has not preloaded us the hooks are not there; an event trigger
 * loads the library in time, since slots are left behind there just the same.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/dbcommands.h"
#include "conf/commit.h"
#include "conf/guard.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/compat_acl.h"
#include "core/loop.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"

#define STOP_TIMEOUT 10000		/* ms */
#define STOP_NAP 20

static bool installed = false;
static object_access_hook_type prev_object_access_hook = NULL;
static ProcessUtility_hook_type next_ProcessUtility = NULL;

/* --- DROP EXTENSION ------------------------------------------------------ */

static bool
is_groups_table(Oid relation)
{
	char	   *name = get_rel_name(relation);

	return name != NULL && strcmp(name, "groups") == 0 &&
		get_rel_namespace(relation) == get_namespace_oid("flo", true) &&
		get_rel_relkind(relation) == RELKIND_RELATION &&
		flo_store_extension_exists();
}

static void
guard_object_access(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class, object, subobject, arg);

	if (access != OAT_DROP || class != RelationRelationId || subobject != 0)
		return;

	if (is_groups_table(object) && flo_store_has_rows(object))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop extension pg_flo because groups exist in this database"),
				 errhint("Drop them with flo.drop_group(); flo.groups lists them.")));
}

/* --- DROP DATABASE ------------------------------------------------------- */

/* After the command: give the members back, or forget them with their database */
static void
release_members(Oid database, bool dropped)
{
	flo_members_release(database, dropped);

	/*
	 * what the dropped one has left in the cluster is removed by whoever
	 * reads another, once it is gone: at the commit of this command
	 */
	if (dropped)
		flo_conf_changed();
	else
		flo_members_changed(database);
}

static void
stop_members(Oid database)
{
	FloClock	deadline = flo_clock_in(STOP_TIMEOUT);

	/* signalled again each time: a process may just have been starting */
	while (flo_members_running(database, true, true) > 0)
	{
		if (flo_clock() >= deadline)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("replicators or workers of pg_flo did not leave the database within %d s",
							STOP_TIMEOUT / 1000)));

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 STOP_NAP, flo_wait_event(FLO_WAIT_MEMBER));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static bool
has_force(const DropdbStmt *statement)
{
	ListCell   *lc;

	foreach(lc, statement->options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "force") == 0)
			return true;
	}
	return false;
}

/* The database whose members must be seen to, or InvalidOid to leave it all to core */
static Oid
database_of(const DropdbStmt *statement)
{
	Oid			database;

	if (!flo_preloaded())
		return InvalidOid;
	database = get_database_oid(statement->dbname, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!flo_compat_database_ownercheck(database, GetUserId()))
		return InvalidOid;

	return database;
}

static void
guard_utility(PlannedStmt *pstmt, const char *query, bool readonly, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			  QueryCompletion *completion)
{
	Oid			database = InvalidOid;
	volatile bool dropped = false;

	if (IsA(pstmt->utilityStmt, DropdbStmt))
		database = database_of((DropdbStmt *) pstmt->utilityStmt);

	if (!OidIsValid(database))
	{
		next_ProcessUtility(pstmt, query, readonly, context, params, environment, dest, completion);
		return;
	}

	/* before anything is stopped for a command that cannot succeed */
	PreventInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL, "DROP DATABASE");

	if (!has_force((DropdbStmt *) pstmt->utilityStmt) &&
		flo_members_running(database, false, false) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("database \"%s\" is used by running members of pg_flo groups",
						((DropdbStmt *) pstmt->utilityStmt)->dbname),
				 errhint("Drop the groups there with flo.drop_group() or stop them with flo.stop_group().")));

	PG_TRY();
	{
		if (has_force((DropdbStmt *) pstmt->utilityStmt))
			stop_members(database);
		next_ProcessUtility(pstmt, query, readonly, context, params, environment, dest, completion);
		dropped = true;
	}
	PG_FINALLY();
	{
		release_members(database, dropped);
	}
	PG_END_TRY();
}

void
flo_guard_init(void)
{
	if (installed)
		return;
	installed = true;

	prev_object_access_hook = object_access_hook;
	object_access_hook = guard_object_access;
	next_ProcessUtility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = guard_utility;
}
