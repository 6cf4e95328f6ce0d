/*
 * lock.c
 *		Locks on what applications use, taken without standing in their way.
 */
#include "postgres.h"

#include "core/as_role.h"
#include "core/attempt.h"
#include "core/clock.h"
#include "core/compat_process.h"
#include "core/lock.h"
#include "core/loop.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#define PATIENCE 10000			/* ms */
#define NAP 20
#define MAX_HOLDERS 10			/* that are named */

#define QUEUE_FIRST_TURN 50		/* ms in the queue, twice as many each time */
#define QUEUE_TURN 500			/* at most */
#define QUEUE_PAUSE 200			/* ms out of it */

/*
 * A turn ends before who waits for us looks for a deadlock, and would be the one to
 * fail.  We look earlier: that is when the server has an autovacuum make room.
 */
#define QUEUE_DEADLOCK 100		/* ms */

typedef struct Wish
{
	LOCKTAG		tag;
	LOCKMODE	mode;
	char	   *what;
} Wish;

static List *
wish(List *wishes, const LOCKTAG *tag, LOCKMODE mode, char *what)
{
	Wish	   *new = palloc(sizeof(Wish));

	new->tag = *tag;
	new->mode = mode;
	new->what = what;
	return lappend(wishes, new);
}

List *
flo_lock_wish_relation(List *wishes, Oid relation, LOCKMODE mode)
{
	LOCKTAG		tag;
	char	   *name = get_rel_name(relation);

	if (name == NULL)
		return wishes;			/* whoever opens it says so */
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return wish(wishes, &tag, mode,
				psprintf("table %s",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
													name)));
}

List *
flo_lock_wish_object(List *wishes, Oid class, Oid object, LOCKMODE mode, char *what)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class, object, 0);
	return wish(wishes, &tag, mode, what);
}

/* All of them and NULL, or none and the one that could not be had */
static const Wish *
try_all(const List *wishes)
{
	ListCell   *lc;

	foreach(lc, wishes)
	{
		const Wish *lacking = lfirst(lc);

		if (LockAcquire(&lacking->tag, lacking->mode, false, true) != LOCKACQUIRE_NOT_AVAIL)
			continue;
		for (int i = foreach_current_index(lc) - 1; i >= 0; i--)
		{
			const Wish *had = list_nth(wishes, i);

			(void) LockRelease(&had->tag, had->mode, false);
		}
		return lacking;
	}
	AcceptInvalidationMessages();
	return NULL;
}

/* "process 11, 12 and a prepared transaction" */
static char *
holders_of(const LOCKTAG *tag, LOCKMODE mode)
{
	StringInfoData names;
	VirtualTransactionId *holders;
	int			count;
	int			shown = 0;
	bool		prepared = false;

	initStringInfo(&names);
	holders = GetLockConflicts(tag, mode, &count);
	for (int i = 0; i < count; i++)
	{
		int			pid = flo_compat_vxid_pid(holders[i]);

		if (pid == 0)
			prepared = true;
		else if (shown++ < MAX_HOLDERS)
			appendStringInfo(&names, "%s%d", shown > 1 ? ", " : "process ", pid);
	}
	if (shown > MAX_HOLDERS)
		appendStringInfo(&names, " and %d more", shown - MAX_HOLDERS);
	if (prepared)
		appendStringInfo(&names, "%sa prepared transaction", shown > 0 ? " and " : "");
	return names.len > 0 ? names.data : "a process that has just let go of it";
}

pg_noreturn static void
give_up(const LOCKTAG *tag, LOCKMODE mode, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 errmsg("%s is in use by other transactions", what),
			 errdetail("It is locked by %s.", holders_of(tag, mode)),
			 errhint("End these transactions, or repeat the call when they have ended.")));
}

static void
pause_for(int ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 flo_wait_event(FLO_WAIT_LOCK));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* --- waiting in the queue ------------------------------------------------ */

typedef struct Turn
{
	List	   *relations;		/* in this order */
	LOCKMODE	mode;
	FloClock	deadline;
	Oid			at;				/* the one that is waited for */
} Turn;

static void
take_turn(void *arg)
{
	Turn	   *turn = arg;
	FloAsRole	as;
	ListCell   *cell;

	flo_as_role_enter(&as, GetUserId(), FLO_AS_ROLE_PLAIN);
	flo_as_role_set("deadlock_timeout", CppAsString2(QUEUE_DEADLOCK));
	foreach(cell, turn->relations)
	{
		char		text[32];

		snprintf(text, sizeof(text), "%ld", Max(flo_clock_left(turn->deadline), 1));
		flo_as_role_set("lock_timeout", text);
		turn->at = lfirst_oid(cell);
		LockRelationOid(turn->at, turn->mode);
	}
	flo_as_role_leave(&as);
}

/* The turn is over: others have what is waited for, or wait for what we have */
static bool
is_without_lock(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/* --- all at once --------------------------------------------------------- */

/* One that stops when it is waited for */
static bool
is_autovacuum_in(const Wish *lacking)
{
	int			count;
	VirtualTransactionId *holders = GetLockConflicts(&lacking->tag, lacking->mode, &count);
	bool		found = false;

	for (int i = 0; i < count && !found; i++)
	{
		int			pid = flo_compat_vxid_pid(holders[i]);
		PGPROC	   *proc = pid != 0 ? BackendPidGetProc(pid) : NULL;

		found = proc != NULL && (proc->statusFlags & PROC_IS_AUTOVACUUM) &&
			!(proc->statusFlags & PROC_VACUUM_FOR_WRAPAROUND);
	}
	return found && lacking->tag.locktag_type == LOCKTAG_RELATION;
}

/* Wait for the table in earnest, for a moment, as the server ends an autovacuum only then */
static void
make_room(const Wish *lacking)
{
	Turn		turn = {list_make1_oid(lacking->tag.locktag_field2), lacking->mode};
	ErrorData  *error;

	turn.deadline = flo_clock_in(2 * QUEUE_DEADLOCK);
	error = flo_attempt(take_turn, &turn, false);
	if (error != NULL && !is_without_lock(error))
		ReThrowError(error);
}

void
flo_lock_all(const List *wishes)
{
	int			patience = LockTimeout > 0 ? Min(LockTimeout, PATIENCE) : PATIENCE;
	FloClock	deadline = flo_clock_in(patience);
	const Wish *lacking;

	while ((lacking = try_all(wishes)) != NULL)
	{
		if (flo_clock() >= deadline)
			give_up(&lacking->tag, lacking->mode, lacking->what);
		if (is_autovacuum_in(lacking))
			make_room(lacking);
		else
			pause_for(NAP);
	}
}

/* --- one after the other -------------------------------------------------- */

/*
 * Applications that hold the table waited for may be waiting for those that we have.
 * So the next turn begins with it: after a few turns they are locked in the order in
 * which applications come to them, which all can go through to their end.
 */
void
flo_lock_queue(const List *relations, LOCKMODE mode, int patience)
{
	int			all = LockTimeout > 0 ? Min(LockTimeout, patience) : patience;
	FloClock	deadline = flo_clock_in(all);
	int			longest = Min(QUEUE_TURN, Max(DeadlockTimeout / 2, 1));
	int			length = Min(QUEUE_FIRST_TURN, longest);
	Turn		turn = {list_copy(relations), mode};

	list_sort(turn.relations, list_oid_cmp);
	for (;;)
	{
		FloClock	next = flo_clock_in(length);
		ErrorData  *error;

		turn.deadline = Min(next, deadline);
		error = flo_attempt(take_turn, &turn, true);
		if (error == NULL)
			return;
		if (!is_without_lock(error))
			ReThrowError(error);
		if (flo_clock() >= deadline)
		{
			List	   *lacking = flo_lock_wish_relation(NIL, turn.at, mode);
			const Wish *wish = lacking != NIL ? linitial(lacking) : NULL;

			if (wish != NULL)
				give_up(&wish->tag, mode, wish->what);
			ReThrowError(error);
		}
		FreeErrorData(error);
		turn.relations = lcons_oid(turn.at, list_delete_oid(turn.relations, turn.at));
		length = Min(2 * length, longest);
		pause_for(QUEUE_PAUSE);
	}
}

/* --- who waits for us ---------------------------------------------------- */

/* So many others may stand between us and one who waits */
#define LONGEST_QUEUE 8

static bool
waits_for_us(int pid, int depth)
{
	PGPROC	   *proc = BackendPidGetProc(pid);
	ArrayType  *blockers;
	int32	   *pids;
	bool		found = false;

	if (proc == NULL || proc->waitLock == NULL || depth > LONGEST_QUEUE)
		return false;
	blockers = DatumGetArrayTypeP(DirectFunctionCall1(pg_blocking_pids, Int32GetDatum(pid)));
	pids = (int32 *) ARR_DATA_PTR(blockers);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(blockers), ARR_DIMS(blockers)) && !found; i++)
		found = pids[i] == MyProcPid || waits_for_us(pids[i], depth + 1);
	pfree(blockers);
	return found;
}

bool
flo_lock_waits_for_us(int pid)
{
	return waits_for_us(pid, 0);
}

/* Looked at without a lock: who has begun to wait just now is seen at the next look */
bool
flo_lock_anybody_waits(void)
{
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		int			pid = proc->pid;

		if (pid != 0 && pid != MyProcPid && proc->waitLock != NULL && waits_for_us(pid, 0))
			return true;
	}
	return false;
}
