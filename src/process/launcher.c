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
#include "core/loop.h"
#include "core/process.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/events.h"
#include "monitor/launches.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "process/launcher.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PGDLLEXPORT void flo_launcher_main(Datum arg);

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

static Starting *starting;		/* [nentries] */

/* When a member was told to stop: once more is an order to end whatever it is at */
static FloClock *told;			/* [nentries] */
static int	nentries;

/* OIDs of databases */
static List *to_scan = NIL;
static List *closed = NIL;		/* to be scanned as soon as they allow
								 * connections */

/* their scanner ended before it had said anything: once more, later */
static List *failed = NIL;

static BackgroundWorkerHandle *scanner = NULL;
static Oid	scanned = InvalidOid;	/* by it */
static FloClock scan_again = 0; /* those in "failed" */

/* --- databases ----------------------------------------------------------- */

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
	pfree(scanner);
	scanner = NULL;
	if (flo_launches_scanned(scanned) || list_member_oid(to_scan, scanned))
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
	for (int i = 0; i < nentries; i++)
	{
		Oid			database = flo_launches_database(i);

		if (OidIsValid(database) && get_database_name(database) == NULL)
			forgotten |= flo_launches_forget(i, starting[i].handle != NULL);
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

	to_scan = flo_launches_take_changed(to_scan, &all);
	if (all)
		scan_all_databases();
}

/* Without a scanner nobody learns what to start: say so in the log and in flo.status */
static void
note_starved(bool starved)
{
	bool		before = flo_launches_note_starved(starved);

	if (starved && !before)
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("pg_flo cannot start its members: no background worker process is free"),
				 errhint("Raise max_worker_processes and restart the server.")));
}

/* What has happened in a database that was dropped concerns nobody any more */
static bool
is_dropped(Oid database)
{
	MemoryContext old = CurrentMemoryContext;
	bool		dropped;

	flo_transaction_start();
	dropped = get_database_name(database) == NULL;
	flo_transaction_commit();
	MemoryContextSwitchTo(old);
	if (dropped)
		flo_events_saved(database, PG_INT64_MAX);
	return dropped;
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
	while (to_scan != NIL && is_dropped(linitial_oid(to_scan)))
		to_scan = list_delete_first(to_scan);
	if (to_scan == NIL)
		return true;
	args.database = scanned = linitial_oid(to_scan);
	flo_launches_scan();
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

/* --- members ------------------------------------------------------------- */

static void
start_member(int slot)
{
	FloProcessArgs args = {0};
	FloMember	member;
	char		name[BGW_MAXLEN];

	args.incarnation = flo_launches_start(slot, &member);
	args.database = member.database;
	args.slot = slot;
	if (member.is_replicator)
		snprintf(name, sizeof(name), "pg_flo replicator %s", member.group);
	else
		snprintf(name, sizeof(name), "pg_flo worker %s %s", member.group, member.member);

	starting[slot].since = flo_clock();
	told[slot] = 0;
	if (flo_process_start(&args, name, &starting[slot].handle))
		return;
	starting[slot].handle = NULL;
	flo_launches_refused(slot);
}

/* Has a process that was started taken its entry, or ended? */
static void
follow_start(int slot)
{
	Starting   *s = &starting[slot];
	bool		ended;
	bool		lives;

	if (s->handle == NULL)
		return;
	ended = flo_process_ended(s->handle);
	lives = !ended && flo_launches_has_begun(slot); /* then its end shows in
													 * the entry */
	if (!lives && !ended && !flo_clock_passed(s->since, START_TIMEOUT))
		return;
	pfree(s->handle);
	s->handle = NULL;
	if (!lives)
		flo_launches_lost(slot);
}

static void
look_after_members(void)
{
	for (int i = 0; i < nentries; i++)
	{
		pid_t		pid;

		follow_start(i);
		switch (flo_launches_decide(i, starting[i].handle != NULL, &pid))
		{
			case FLO_LAUNCH_START:
				start_member(i);
				break;
			case FLO_LAUNCH_STOP:
				if (flo_clock_passed(told[i], ROUND_INTERVAL))
				{
					told[i] = flo_clock();
					kill(pid, SIGTERM);
				}
				break;
			case FLO_LAUNCH_NONE:
				break;
		}
	}
}

/* ms until something is due by itself */
static long
time_to_wait(void)
{
	long		wait = ROUND_INTERVAL;

	for (int i = 0; i < nentries; i++)
		wait = flo_launches_due(i, starting[i].handle != NULL, wait);
	return wait;
}

/* --- the process --------------------------------------------------------- */

void
flo_launcher_main(Datum arg)
{
	MemoryContext context;
	FloClock	looked = 0;

	flo_loop_init();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	context = AllocSetContextCreate(TopMemoryContext, "pg_flo launcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	nentries = flo_launches_begin();
	starting = palloc0(sizeof(Starting) * nentries);
	told = palloc0(sizeof(FloClock) * nentries);

	scan_all_databases();
	for (;;)
	{
		bool		scanning;

		if (flo_clock_passed(looked, ROUND_INTERVAL))
		{
			forget_dropped_databases();
			look_after_unread();
			to_scan = flo_events_take_databases(to_scan);
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
