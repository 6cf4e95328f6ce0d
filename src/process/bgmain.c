/*
 * bgmain.c
 *		The entry point and the single error boundary of pg_flo's processes.
 *
 * A process is crash-only: whatever goes wrong inside is thrown, caught here
 * once, recorded for flo.status, and ends it.  The launcher starts it again.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_replication_origin.h"
#include "commands/dbcommands.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/compat_slot.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/process.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/ahead_process.h"
#include "dest/compare_reader.h"
#include "dest/copy_loader.h"
#include "dest/copy_schema_build.h"
#include "dest/progress.h"
#include "dest/worker.h"
#include "miscadmin.h"
#include "monitor/events.h"
#include "monitor/launches.h"
#include "monitor/state.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "source/backfill.h"
#include "source/compare_control.h"
#include "source/copy.h"
#include "source/replicator.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"

PGDLLEXPORT void flo_process_main(Datum arg);

#define SCAN_LOCK_TIMEOUT "5s"
#define SCAN_DEADLOCK_TIMEOUT "100ms"	/* it is us who fail, not who drops
										 * the extension */

/* --- the scanner --------------------------------------------------------- */

/* Tell the launcher which members of this database are wanted, and the views whose they are */
static void
note_members(List *members)
{
	FloWanted  *wanted = palloc(sizeof(FloWanted) * Max(list_length(members), 1));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, members)
	{
		const FloMemberSpec *member = lfirst(cell);
		FloWanted  *one = &wanted[count++];

		one->group = member->group;
		one->member = member->member;
		one->is_replicator = member->is_replicator;
		one->wanted = member->started;
		one->owner = member->owner;
	}
	if (!flo_launches_note_members(wanted, count))
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("pg_flo has more started members than pg_flo.max_workers (%d): some do not run",
						flo_max_workers),
				 errhint("Raise pg_flo.max_workers and restart the server.")));
}

/* The origins of dropped databases are left over: they belong to the whole cluster */
static void
drop_lost_origins(void)
{
	Relation	relation = table_open(ReplicationOriginRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(relation, 0, NULL);
	HeapTuple	tuple;
	List	   *lost = NIL;
	ListCell   *cell;

	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, Anum_pg_replication_origin_roname,
										RelationGetDescr(relation), &isnull);
		char	   *origin = TextDatumGetCString(name);
		Oid			database = flo_name_database_of_origin(origin);

		if (OidIsValid(database) && get_database_name(database) == NULL)
			lost = lappend(lost, origin);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	foreach(cell, lost)
		replorigin_drop_by_name(lfirst(cell), true, true);
}

/* What has happened goes where it stays */
static void
write_events(void)
{
	int			count;
	const FloEvent *events = flo_events_unsaved(&count);
	MemoryContext context;
	int64		newest;

	if (count == 0)
		return;
	newest = events[count - 1].number;
	context = flo_transaction_begin();
	MemoryContextSwitchTo(context);
	if (flo_store_extension_exists() && flo_store_other_version() == NULL)
		flo_store_write_events(newest);
	flo_transaction_end(context);
	flo_events_saved(MyDatabaseId, newest);
}

/*
 * Has the database an extension of this library's version?  One of another is left
 * alone until it is updated, which makes its members known.
 */
static bool
is_usable(void)
{
	char	   *version = flo_store_other_version();

	if (version != NULL)
		ereport(WARNING, flo_store_version_problem(version));
	return version == NULL && flo_store_extension_exists();
}

/* Others wait for their turn, so a lock that somebody holds is not waited for for long */
static void
scan_database(void)
{
	MemoryContext context;
	List	   *members = NIL;

	SetConfigOption("lock_timeout", SCAN_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("deadlock_timeout", SCAN_DEADLOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);

	/* what it writes is no backlog of a group, see source/unpublished.c */
	flo_compat_xact_origin(DoNotReplicateId);
	context = flo_transaction_begin();
	MemoryContextSwitchTo(context);
	if (is_usable())
		members = flo_store_members_here();
	flo_transaction_end(context);
	note_members(members);

	context = flo_transaction_begin();
	MemoryContextSwitchTo(context);
	drop_lost_origins();
	flo_transaction_end(context);
	write_events();
}

/* --- members ------------------------------------------------------------- */

/* In pg_stat_activity and the log, too */
static void
show_name(void)
{
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_USERSET, PGC_S_OVERRIDE);
	pgstat_report_activity(STATE_RUNNING, MyBgworkerEntry->bgw_name);
}

static void
run_helper(const FloProcessArgs *args)
{
	show_name();
	switch (args->helper)
	{
		case FLO_HELPER_COPY_LEADER:
			flo_copy_leader_run(args);
			break;
		case FLO_HELPER_COPIER:
			flo_copier_run(args);
			break;
		case FLO_HELPER_LOADER:
			flo_loader_run(args);
			break;
		case FLO_HELPER_BUILDER:
			flo_schema_builder_run(args);
			break;
		case FLO_HELPER_COMPARE_READER:
			flo_compare_reader_run(args);
			break;
		case FLO_HELPER_AHEAD:
			flo_ahead_run(args);
			break;
		case FLO_HELPER_COMPARER:
			flo_comparer_run(args);
			break;
		case FLO_HELPER_BACKFILLER:
			flo_backfiller_run(args);
			break;
		case FLO_HELPER_NONE:
			break;
	}
}

static emit_log_hook_type next_log_hook = NULL;

/*
 * The server tells of each begin of decoding, six lines of it: of the first that
 * is enough, when a replicator fails and begins anew.
 */
static void
drop_begin_of_decoding(ErrorData *error)
{
	if (error->elevel == LOG && error->filename != NULL && flo_state_failing() &&
		(strcmp(error->filename, "logical.c") == 0 || strcmp(error->filename, "snapbuild.c") == 0))
		error->output_to_server = false;
	if (next_log_hook != NULL)
		next_log_hook(error);
}

static void
run_member(void)
{
	flo_transaction_start();
	flo_watch_init();
	flo_transaction_commit();
	show_name();
	next_log_hook = emit_log_hook;
	emit_log_hook = drop_begin_of_decoding;
	if (flo_me->is_replicator)
		flo_replicator_run();
	else
		flo_worker_run();
}

/*
 * A function that a row's constraint, default, generated column or index calls
 * has found nothing, where a session of the application would have: the path is
 * ours.
 */
static bool
function_lacks_path(const ErrorData *error)
{
	return flo_error_context.table != NULL && error->context != NULL &&
		strstr(error->context, "function") != NULL &&
		(error->sqlerrcode == ERRCODE_UNDEFINED_TABLE ||
		 error->sqlerrcode == ERRCODE_UNDEFINED_FUNCTION ||
		 error->sqlerrcode == ERRCODE_UNDEFINED_OBJECT);
}

/* One line for flo.status: the message, its detail, and where it happened */
static char *
describe_error(const ErrorData *error)
{
	StringInfoData text;
	char	   *where = flo_error_context_describe();

	initStringInfo(&text);
	appendStringInfoString(&text, error->message);
	if (error->detail != NULL)
		appendStringInfo(&text, ": %s", error->detail);
	if (where != NULL)
		appendStringInfo(&text, " (%s)", where);
	if (function_lacks_path(error))
		appendStringInfoString(&text, "; a function that is called for the row finds it with a search_path only: ALTER FUNCTION ... SET search_path");
	return text.data;
}

/*
 * A row that was there, or was not, against expectation, and that the worker's
 * options do not settle.  It counts although what it was found in is undone.
 */
static bool
is_conflict(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_UNIQUE_VIOLATION || sqlerrcode == ERRCODE_EXCLUSION_VIOLATION ||
		sqlerrcode == ERRCODE_NO_DATA_FOUND || sqlerrcode == ERRCODE_CARDINALITY_VIOLATION;
}

/* For the log once, when it is the same again: flo.status counts it */
static void
report_error(const FloProcessArgs *args, const ErrorData *error)
{
	FloFailure	failure = {.sqlstate = error->sqlerrcode,.message = error->message};

	if (flo_me != NULL ? !flo_state_knows(&failure) :
		args->helper == FLO_HELPER_NONE || !flo_helper_knows(args->slot, &failure))
		EmitErrorReport();
}

/*
 * The origin is disarmed first: whatever is committed from here on must not
 * move it.  What is recorded here needs no line of the postmaster's.
 */
static void
leave_with_error(const FloProcessArgs *args, MemoryContext context)
{
	ErrorData  *error;
	FloFailure	failure;

	flo_progress_disarm();
	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	report_error(args, error);
	FlushErrorState();
	LWLockReleaseAll();
	AbortOutOfAnyTransaction();
	if ((flo_me == NULL || !flo_me->is_replicator) && is_conflict(error->sqlerrcode))
		flo_tally_conflict();
	failure.sqlstate = error->sqlerrcode;
	failure.message = error->message;
	failure.described = describe_error(error);
	failure.hint = error->hint;
	failure.lsn = flo_error_context.commit_lsn;
	failure.exact = !flo_error_context.several;
	if (flo_me != NULL)
	{
		if (flo_errors_are_final && !XLogRecPtrIsInvalid(flo_error_context.commit_lsn))
			flo_state_set(FLO_STATE_FAILED, "%s", error->message);
		flo_state_error(&failure);
	}
	else if (args->helper != FLO_HELPER_NONE)
		flo_helper_error(args->slot, args->incarnation, &failure);
	proc_exit(flo_me != NULL || args->helper != FLO_HELPER_NONE ? 0 : 1);
}

void
flo_process_main(Datum arg)
{
	FloProcessArgs args;
	MemoryContext context;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(args));
	flo_loop_init();
	if (args.helper != FLO_HELPER_NONE)
		flo_helper_check(args.slot, args.incarnation);
	else if (args.slot >= 0 && !flo_state_attach(args.slot, args.incarnation))
		return;
	BackgroundWorkerInitializeConnectionByOid(args.database, InvalidOid, 0);
	flo_pin_session_settings();
	context = AllocSetContextCreate(TopMemoryContext, "pg_flo process", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(context);
	if (flo_me != NULL)
	{
		flo_error_context.group = flo_me->group;
		flo_error_context.member = flo_me->member;
	}
	flo_error_context_install();

	PG_TRY();
	{
		if (flo_me != NULL)
			run_member();
		else if (args.helper != FLO_HELPER_NONE)
			run_helper(&args);
		else
			scan_database();
	}
	PG_CATCH();
	{
		leave_with_error(&args, context);
	}
	PG_END_TRY();
}
