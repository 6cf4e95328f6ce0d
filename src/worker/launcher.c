/*
 * launcher.c
 *		Keeps the wanted members of all databases running.
 *
 * Configuration lives in the databases, and a process can look into one only.
 * So the launcher, which is connected to none, has a short-lived scanner read
 * each database: all of them once after server start, later those whose
 * configuration a committed transaction has changed.  A scanner leaves the
 * list of wanted members in shared memory; the launcher starts what is wanted
 * and does not run, and stops what runs and is not wanted.  A database that could
 * not be read is read again.
 *
 * Members are never restarted by the postmaster.  One that ended in an error
 * waits: half a second at first, doubling up to pg_flo.restart_interval.  One
 * that failed for good waits for a person.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/loop.h"
#include "core/process.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "worker/launcher.h"

PGDLLEXPORT void flo_launcher_main(Datum arg);

/* ms to the first restart of a member; doubles with every failure */
#define FIRST_PAUSE 500

/* ms to the restart of a member that left without an error */
#define RESTART_PAUSE 200

/* ms a started process has to show up in shared memory */
#define START_TIMEOUT 30000

/* ms between two looks at everything, whatever has been signalled */
#define ROUND_INTERVAL 5000

/* ms until a database is read again whose scanner has failed */
#define SCAN_PAUSE 5000

/* A process started by this launcher that has not taken its entry yet */
typedef struct Starting
{
	BackgroundWorkerHandle *handle;
	FloClock	since;
} Starting;

static Starting *starting;		/* [nmembers] */

/* OIDs of databases */
static List *to_scan = NIL;
static List *closed = NIL;		/* to be scanned as soon as they allow connections */
static List *failed = NIL;		/* their scanner ended before it had said anything: once more, later */

static BackgroundWorkerHandle *scanner = NULL;
static Oid	scanned = InvalidOid;	/* by it */
static FloClock scan_again = 0;	/* those in "failed" */

/* --- databases ------------------------------------------------------------------------ */

/* All databases, or those that were closed */
static void
look_for_databases(bool all)
{
	MemoryContext old = CurrentMemoryContext;
	List	   *before = closed;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	closed = NIL;

	flo_transaction_start();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext in_transaction;

		if (!all && !list_member_oid(before, database->oid))
			continue;
		in_transaction = MemoryContextSwitchTo(TopMemoryContext);
		if (database->datallowconn)
			to_scan = list_append_unique_oid(to_scan, database->oid);
		else
			closed = lappend_oid(closed, database->oid);
		MemoryContextSwitchTo(in_transaction);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	flo_transaction_commit();
	MemoryContextSwitchTo(old);
	list_free(before);
}

static void
scan_all_databases(void)
{
	look_for_databases(true);
}

/*
 * Nobody says it again when a database allows connections, or whatever kept its
 * scanner from reading it is gone.
 */
static void
look_after_unread(void)
{
	if (closed != NIL)
		look_for_databases(false);
	if (failed == NIL || flo_clock_left(scan_again) > 0)
		return;
	to_scan = list_concat_unique_oid(to_scan, failed);
	list_free(failed);
	failed = NIL;
}

/* The scanner has ended: has it read what it was to read? */
static void
scanner_ended(void)
{
	bool		told;

	pfree(scanner);
	scanner = NULL;
	LWLockAcquire(flo_shared->lock, LW_SHARED);
	told = flo_shared->scanned == scanned;
	LWLockRelease(flo_shared->lock);
	if (told || list_member_oid(to_scan, scanned))
		return;
	if (failed == NIL)
		scan_again = flo_clock_in(SCAN_PAUSE);
	failed = list_append_unique_oid(failed, scanned);
}

/*
 * Entries of members whose database was dropped are freed.  Their origins
 * belong to the whole cluster and are dropped by the next scanner.
 */
static void
forget_dropped_databases(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		forgotten = false;

	flo_transaction_start();
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		FloMember  *m = &flo_shared->members[i];
		Oid			database;

		LWLockAcquire(flo_shared->lock, LW_SHARED);
		database = m->in_use ? m->database : InvalidOid;
		LWLockRelease(flo_shared->lock);
		if (!OidIsValid(database) || get_database_name(database) != NULL)
			continue;
		LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
		m->wanted = false;
		if (m->pid == 0 && starting[i].handle == NULL)
		{
			m->in_use = false;
			forgotten = true;
		}
		LWLockRelease(flo_shared->lock);
	}
	flo_transaction_commit();
	MemoryContextSwitchTo(old);
	if (forgotten)
		scan_all_databases();
}

static void
take_dirty(void)
{
	bool		all;

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	all = flo_shared->all_dirty;
	for (int i = 0; i < flo_shared->ndirty; i++)
		to_scan = list_append_unique_oid(to_scan, flo_shared->dirty[i]);
	flo_shared->ndirty = 0;
	flo_shared->all_dirty = false;
	LWLockRelease(flo_shared->lock);
	if (all)
		scan_all_databases();
}

/* Without a scanner nobody learns what to start: say so in the log and in flo.status */
static void
note_starved(bool starved)
{
	if (starved && !flo_shared->starved)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("pg_flo cannot start its members: no background worker process is free"),
				 errhint("Raise max_worker_processes and restart the server.")));
	flo_shared->starved = starved;
}

/* One scanner at a time; false when none could be started */
static bool
scan_next(void)
{
	FloProcessArgs args = {0};

	if (scanner != NULL)
	{
		if (!flo_process_ended(scanner))
			return true;
		scanner_ended();
	}
	if (to_scan == NIL)
		return true;
	args.database = scanned = linitial_oid(to_scan);
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_shared->scanned = InvalidOid;
	LWLockRelease(flo_shared->lock);
	args.slot = -1;
	if (!flo_process_start(&args, "pg_flo scanner", &scanner))
	{
		scanner = NULL;
		note_starved(true);
		return false;
	}
	note_starved(false);
	to_scan = list_delete_first(to_scan);
	return true;
}

/* --- members ------------------------------------------------------------------------------ */

static int
pause_after(int failures)
{
	int			pause = FIRST_PAUSE;

	for (int i = 1; i < failures && pause < flo_restart_interval; i++)
		pause *= 2;
	return Min(pause, flo_restart_interval);
}

/* A member's entry under the lock: what is to be done about it */
typedef enum Action
{
	ACTION_NONE,
	ACTION_START,
	ACTION_STOP
} Action;

static void
set_launcher_state(FloMember *m, FloMemberState state, const char *detail)
{
	m->state = state;
	m->state_since = flo_clock();
	strlcpy(m->detail, detail, sizeof(m->detail));
}

/* The process ended in an error, why = its reason where it could not say so itself */
static void
begin_pause(FloMember *m, const char *why)
{
	char		detail[FLO_DETAIL_BUF];
	int			pause;

	m->failures++;
	pause = pause_after(m->failures);
	m->next_start = flo_clock_in(pause);
	if (why != NULL)
		snprintf(detail, sizeof(detail), "%s; retry in %g s", why, pause / 1000.0);
	else
		snprintf(detail, sizeof(detail), "see last_error; retry in %g s", pause / 1000.0);
	set_launcher_state(m, FLO_STATE_BACKOFF, detail);
}

static Action
decide(FloMember *m, bool is_starting)
{
	bool		wanted = m->wanted && m->held_by == 0 && flo_enabled;

	if (!m->in_use || is_starting)
		return ACTION_NONE;
	if (m->pid != 0)
		return wanted ? ACTION_NONE : ACTION_STOP;
	if (!wanted)
	{
		if (m->state != FLO_STATE_STOPPED)
			set_launcher_state(m, FLO_STATE_STOPPED, "");
		return ACTION_NONE;
	}
	if (m->state == FLO_STATE_FAILED)
		return ACTION_NONE;
	if (m->state == FLO_STATE_BACKOFF)
		return m->next_start <= flo_clock() ? ACTION_START : ACTION_NONE;
	return flo_clock_passed(m->state_since, RESTART_PAUSE) ?
		ACTION_START : ACTION_NONE;
}

static void
start_member(int slot)
{
	FloMember  *m = &flo_shared->members[slot];
	FloProcessArgs args = {0};
	char		name[BGW_MAXLEN];

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	m->incarnation++;
	if (m->state == FLO_STATE_BACKOFF)
		m->restarts++;
	set_launcher_state(m, FLO_STATE_STARTING, "");
	args.database = m->database;
	args.slot = slot;
	args.incarnation = m->incarnation;
	if (m->is_replicator)
		snprintf(name, sizeof(name), "pg_flo replicator %s", m->group);
	else
		snprintf(name, sizeof(name), "pg_flo worker %s %s", m->group, m->member);
	LWLockRelease(flo_shared->lock);

	starting[slot].since = flo_clock();
	if (flo_process_start(&args, name, &starting[slot].handle))
		return;
	starting[slot].handle = NULL;
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	begin_pause(m, "no free background worker process: raise max_worker_processes");
	LWLockRelease(flo_shared->lock);
}

/* Has a process that was started taken its entry, or ended? */
static void
follow_start(int slot)
{
	FloMember  *m = &flo_shared->members[slot];
	Starting   *s = &starting[slot];
	bool		ended;

	if (s->handle == NULL)
		return;
	ended = flo_process_ended(s->handle);
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	if (m->pid != 0 && !ended)
	{
		/* it lives; its end shows in the entry */
		pfree(s->handle);
		s->handle = NULL;
	}
	else if (ended || flo_clock_passed(s->since, START_TIMEOUT))
	{
		pfree(s->handle);
		s->handle = NULL;
		if (m->pid == 0 && m->state == FLO_STATE_STARTING)
			begin_pause(m, "the process ended before it could begin, see the server log");
	}
	LWLockRelease(flo_shared->lock);
}

/*
 * Look after every entry.  A process that left with an error has set its state
 * to backoff itself; how long it has to wait is counted here.
 */
static void
look_after_members(void)
{
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		FloMember  *m = &flo_shared->members[i];
		Action		action;
		pid_t		pid;

		follow_start(i);
		LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
		if (m->held_by != 0 && BackendPidGetProc(m->held_by) == NULL)
			m->held_by = 0;
		if (m->in_use && m->pid == 0 && m->state == FLO_STATE_BACKOFF &&
			m->next_start == FLO_START_UNDECIDED)
			begin_pause(m, NULL);
		action = decide(m, starting[i].handle != NULL);
		pid = m->pid;
		LWLockRelease(flo_shared->lock);

		if (action == ACTION_START)
			start_member(i);
		else if (action == ACTION_STOP)
			kill(pid, SIGTERM);
	}
}

/* ms until something is due by itself */
static long
time_to_wait(void)
{
	long		wait = ROUND_INTERVAL;

	LWLockAcquire(flo_shared->lock, LW_SHARED);
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		FloMember  *m = &flo_shared->members[i];

		if (!m->in_use || !m->wanted || m->pid != 0)
			continue;
		if (m->state == FLO_STATE_STOPPED)
			wait = Min(wait, RESTART_PAUSE);
		else if (m->state == FLO_STATE_BACKOFF)
			wait = Min(wait, flo_clock_left(m->next_start) + 1);
		else if (starting[i].handle != NULL)
			wait = Min(wait, 1000);
	}
	LWLockRelease(flo_shared->lock);
	return wait;
}

/* --- the process ------------------------------------------------------------------------------ */

static void
launcher_gone(int code, Datum arg)
{
	flo_shared->launcher_procno = -1;
	flo_shared->launcher_pid = 0;
}

void
flo_launcher_main(Datum arg)
{
	MemoryContext context;
	FloClock	looked = 0;

	flo_loop_init();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "pg_flo launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	starting = palloc0(sizeof(Starting) * flo_shared->nmembers);

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_shared->launcher_pid = MyProcPid;
	flo_shared->launcher_procno = flo_compat_my_procno();
	LWLockRelease(flo_shared->lock);
	before_shmem_exit(launcher_gone, (Datum) 0);

	scan_all_databases();
	for (;;)
	{
		bool		scanning;

		if (flo_clock_passed(looked, ROUND_INTERVAL))
		{
			forget_dropped_databases();
			look_after_unread();
			looked = flo_clock();
		}
		take_dirty();
		scanning = scan_next();
		look_after_members();
		flo_wait(PGINVALID_SOCKET, false, scanning ? time_to_wait() : 1000);
	}
}

void
flo_launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "pg_flo", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "flo_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "pg_flo launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "pg_flo launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}
