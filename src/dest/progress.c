/*
 * progress.c
 *		What a worker has durably done.
 *
 * The position is the progress of a replication origin, which the server
 * moves in the same commit as the rows and recovers after a crash.  Which
 * source and generation it is a position of stands in flo.progress, written
 * once when the worker begins; an LSN of anything else is never compared.
 *
 * Sinks that write elsewhere have no use for an origin: their position is
 * the LSN in that row, committed once what they wrote is durable.
 *
 * What a batch writes carries the origin from its first row on, so that a slot
 * of a group in the other direction leaves it out while it is decoded.  The
 * position is set for the apply commit only: any commit of this process with it
 * set would move the origin, and from 16 on any abort, too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "conf/given_up.h"
#include "core/compat_slot.h"
#include "core/injection_point.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/progress.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "replication/origin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

struct FloProgress
{
	char	   *group;
	char	   *worker;
	ReplOriginId origin;
	bool		by_row;			/* no origin: the row says it */
	bool		held;			/* the origin is ours to move */
	bool		known;
	FloProgressRow row;
	char	   *generation;
	XLogRecPtr	position;
};

void
flo_progress_disarm(void)
{
	flo_compat_xact_origin_set(InvalidReplOriginId, InvalidXLogRecPtr, 0);
}

/* A FATAL error does not come by the error path; the server aborts the transaction after this */
static void
disarm_at_exit(int code, Datum arg)
{
	flo_progress_disarm();
}

void
flo_progress_mark(const FloProgress *progress)
{
	flo_compat_xact_origin(progress->origin);
}

static void
hold_origin(FloProgress *progress)
{
	XLogRecPtr	recorded;

	flo_transaction_start();
	flo_compat_origin_setup(progress->origin);
	flo_transaction_commit();
	progress->held = true;

	/* what a crash could still undo must not be built on */
	recorded = replorigin_get_progress(progress->origin, true);
	progress->position = Max(recorded, progress->row.start_lsn);
}

XLogRecPtr
flo_progress_let_go(FloProgress *progress)
{
	XLogRecPtr	position = replorigin_session_get_progress(false);

	replorigin_session_reset();
	progress->held = false;
	return position;
}

void
flo_progress_take_up(FloProgress *progress)
{
	hold_origin(progress);
}

XLogRecPtr
flo_progress_hold_beside(FloProgress *progress)
{
	flo_compat_origin_setup(progress->origin);
	progress->held = true;
	return replorigin_session_get_progress(false);
}

void
flo_progress_release(FloProgress *progress)
{
	if (progress->held)
		(void) flo_progress_let_go(progress);
}

static void
hold_position(FloProgress *progress)
{
	if (progress->by_row)
		progress->position = Max(progress->row.lsn, progress->row.start_lsn);
	else
		hold_origin(progress);
}

static void
keep_row(FloProgress *progress, const FloProgressRow *row)
{
	progress->known = true;
	progress->row = *row;
	progress->generation = flo_text_of_uuid(&progress->row.generation);
}

FloProgress *
flo_progress_open(const char *group, const char *worker, bool by_row)
{
	FloProgress *progress = palloc0(sizeof(FloProgress));
	char	   *origin = flo_name_origin(MyDatabaseId, group, worker);
	MemoryContext context;
	FloProgressRow *row;

	progress->group = pstrdup(group);
	progress->worker = pstrdup(worker);
	progress->generation = "";
	progress->by_row = by_row;

	context = flo_transaction_begin();
	MemoryContextSwitchTo(context);
	row = flo_store_progress(group, worker);
	if (!by_row)
		progress->origin = replorigin_by_name(origin, true);
	if (row != NULL)
		keep_row(progress, row);
	flo_transaction_end(context);

	before_shmem_exit(disarm_at_exit, (Datum) 0);
	if (!by_row && progress->known && progress->origin == InvalidReplOriginId)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "Drop the worker and create it again with a fresh copy of the data.",
				 "replication origin \"%s\" of this worker is lost, and with it the position",
				 origin);
	if (progress->known)
		hold_position(progress);
	return progress;
}

FloProgress *
flo_progress_open_beside(const char *group, const char *worker)
{
	FloProgress *progress = palloc0(sizeof(FloProgress));
	MemoryContext context = flo_transaction_begin();

	progress->origin = replorigin_by_name(flo_name_origin(MyDatabaseId, group, worker), false);
	flo_transaction_end(context);
	before_shmem_exit(disarm_at_exit, (Datum) 0);
	return progress;
}

bool
flo_progress_known(const FloProgress *progress)
{
	return progress->known;
}

static void
begin(FloProgress *progress, const FloChunkHeader *source, XLogRecPtr start, bool copying,
	  XLogRecPtr since)
{
	MemoryContext context = flo_transaction_begin();
	char	   *origin = flo_name_origin(MyDatabaseId, progress->group, progress->worker);
	FloProgressRow row = {0};

	row.system_identifier = source->system_identifier;
	row.generation = source->generation;
	row.generation_start = source->generation_start;
	row.start_lsn = start;
	row.copying = copying;

	ForceSyncCommit();

	if (progress->by_row)
		row.lsn = start;
	else
	{
		/* An origin without a row is the remains of a worker that is no more */
		if (progress->origin != InvalidReplOriginId)
			replorigin_drop_by_name(origin, true, false);
		flo_injection_point("origin.after");
		progress->origin = replorigin_create(origin);
	}
	flo_store_save_progress(progress->group, progress->worker, &row);
	flo_copied_forget(progress->group, progress->worker);
	flo_given_up_begin(progress->group, progress->worker);
	flo_copied_owe_all(progress->group, progress->worker, since);
	flo_transaction_end(context);
	keep_row(progress, &row);
	hold_position(progress);
}

void
flo_progress_begin(FloProgress *progress, const FloChunkHeader *source, XLogRecPtr start,
				   bool copying)
{
	begin(progress, source, start, copying, InvalidXLogRecPtr);
}

bool
flo_progress_copying(const FloProgress *progress)
{
	return progress->row.copying;
}

void
flo_progress_set_copied(FloProgress *progress)
{
	MemoryContext context = flo_transaction_begin();

	ForceSyncCommit();
	flo_copied_finish(progress->group, progress->worker, 0);
	flo_transaction_end(context);
	progress->row.copying = false;
}

void
flo_progress_copied(FloProgress *progress)
{
	MemoryContext context;
	FloProgressRow *row;

	progress->row.copying = false;
	if (!progress->by_row)
		return;

	/* the loader has moved what the sink goes on from */
	context = flo_transaction_begin();
	MemoryContextSwitchTo(context);
	row = flo_store_progress(progress->group, progress->worker);
	if (row != NULL)
		progress->row.sink_state = row->sink_state;
	flo_transaction_end(context);
}

uint32
flo_progress_copy_attempt(const FloProgress *progress)
{
	return progress->row.copy_attempt;
}

void
flo_progress_set_copy_attempt(FloProgress *progress, uint32 attempt)
{
	MemoryContext context = flo_transaction_begin();

	ForceSyncCommit();
	flo_store_save_copy_attempt(progress->group, progress->worker, attempt);
	flo_transaction_end(context);
	progress->row.copy_attempt = Max(progress->row.copy_attempt, attempt);
}

bool
flo_progress_may_follow(const FloProgress *progress, const FloChunkHeader *source)
{
	return source->system_identifier == progress->row.system_identifier;
}

bool
flo_progress_is_of(const FloProgress *progress, const FloChunkHeader *source)
{
	return source->system_identifier == progress->row.system_identifier &&
		memcmp(&source->generation, &progress->row.generation, sizeof(pg_uuid_t)) == 0;
}

/*
 * The position as the row has it, too.  An origin loses its own as soon as it is
 * dropped, whatever becomes of the transaction that does so.
 */
static void
keep_position(FloProgress *progress)
{
	MemoryContext context = flo_transaction_begin();

	ForceSyncCommit();
	progress->row.start_lsn = progress->position;
	flo_store_save_progress(progress->group, progress->worker, &progress->row);
	flo_transaction_end(context);
}

/* The origin is made anew: its position may have to go back */
void
flo_progress_follow(FloProgress *progress, const FloChunkHeader *source, XLogRecPtr start,
					bool copying, XLogRecPtr since)
{
	MemoryContext context = CurrentMemoryContext;

	flo_progress_disarm();
	if (!progress->by_row)
	{
		keep_position(progress);
		replorigin_session_reset();
	}
	pfree(progress->generation);
	begin(progress, source, start, copying, since);
	MemoryContextSwitchTo(context);
}

XLogRecPtr
flo_progress_skip(const FloProgress *progress)
{
	return progress->row.skip_lsn;
}

void
flo_progress_clear_skip(FloProgress *progress)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	flo_store_save_skip(progress->group, progress->worker, InvalidXLogRecPtr);
	PopActiveSnapshot();
	progress->row.skip_lsn = InvalidXLogRecPtr;
}

void
flo_progress_check_source(const FloProgress *progress, const FloChunkHeader *source)
{
	static const char *const hint =
		"The position of this worker means nothing in that stream: drop the worker and create it again with a fresh copy of the data.";

	if (source->system_identifier != progress->row.system_identifier)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, hint,
				 "the stream is owned by another source: system " UINT64_FORMAT " instead of " UINT64_FORMAT,
				 source->system_identifier, progress->row.system_identifier);
	if (memcmp(&source->generation, &progress->row.generation, sizeof(pg_uuid_t)) != 0)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, hint,
				 "the stream is of another generation of the group: it began anew at %X/%X",
				 LSN_FORMAT_ARGS(source->generation_start));
}

XLogRecPtr
flo_progress_position(const FloProgress *progress)
{
	return progress->position;
}

const char *
flo_progress_generation(const FloProgress *progress)
{
	return progress->generation;
}

const pg_uuid_t *
flo_progress_generation_id(const FloProgress *progress)
{
	return &progress->row.generation;
}

XLogRecPtr
flo_progress_commit(FloProgress *progress, XLogRecPtr position, TimestampTz commit_time)
{
	/* without an xid the commit would not move the origin */
	(void) GetCurrentTransactionId();

	/*
	 * Deferred triggers come first: since 16 a subtransaction that one of
	 * them rolls back moves the origin, which must not be past rows that may
	 * still be refused.
	 */
	AfterTriggerFireDeferred();

	flo_compat_xact_origin_set(progress->origin, position, commit_time);
	flo_transaction_close();
	flo_progress_disarm();
	flo_statistics_report();
	progress->position = position;
	return XactLastCommitEnd;
}

const char *
flo_progress_sink_state(const FloProgress *progress)
{
	return progress->row.sink_state;
}

void
flo_progress_commit_row(FloProgress *progress, XLogRecPtr position, const char *sink_state)
{
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!flo_store_move_progress(progress->group, progress->worker, position, sink_state))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the recorded position of the worker is gone"),
				 errdetail("Its row in flo.progress was deleted.")));
	PopActiveSnapshot();
	ForceSyncCommit();
	flo_transaction_commit();
	progress->position = position;
}
