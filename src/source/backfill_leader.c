/*
 * backfill_leader.c
 *		Leads a backfill: reads a table, or the rows of it that match, for one worker.
 *
 * The snapshot is taken while the replicator streams on, and has its marker in the
 * stream at exactly its place (place.c).  Reading is a copy's, under the same locks
 * and by the same processes, into a stream of its own.
 *
 * What happens to this process ends the attempt and nothing else.  An error that
 * another snapshot may mend begins another attempt, any other one ends the backfill.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/backfills.h"
#include "conf/store.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "replication/slot.h"
#include "source/backfill.h"
#include "source/copy_team.h"
#include "source/generation.h"
#include "source/ownership.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wire/backfill.h"

/* Snapshots that are taken until it is given up */
#define MAX_TRIES 5

#define ROUND_INTERVAL 50		/* ms */
#define SPACE_INTERVAL 200		/* ms between two looks at the space */

typedef struct Leader
{
	const FloProcessArgs *args;
	MemoryContext context;
	MemoryContext round;		/* reset in each round */
	char	   *group;
	char	   *bucket;
	FloBus	   *bus;
	FloReplicatorSpec *spec;
	FloGeneration *generation;
	FloClaim	claim;
	FloBackfill *backfill;
	FloBackfillRecord record;	/* what the worker is told */
	FloPlaceTaker place;
	FloCopyTeam team;
} Leader;

/* --- beginning ----------------------------------------------------------- */

static void
show(Leader *l, const char *state, const char *detail)
{
	MemoryContext old = flo_transaction_begin();

	ForceSyncCommit();
	flo_backfills_state(l->backfill->id, state, l->record.attempt, l->record.lsn, detail);
	flo_transaction_end(old);
}

static void
tell(Leader *l)
{
	flo_records_put(l->bus, l->bucket, FLO_BACKFILL_KEY, &flo_backfill_format, &l->record, true);
}

/* What stands in the stream at the snapshot */
static char *
marker(void *arg, XLogRecPtr lsn)
{
	Leader	   *l = arg;
	FloBackfillMarker marker = {
		.consumer = l->backfill->consumer,
		.attempt = l->record.attempt,
		.lsn = lsn,
		.relation = l->backfill->relation,
		.schema = l->record.schema,
		.table = l->record.table
	};

	return flo_backfill_marker_format(&marker);
}

static void
open_leader(Leader *l)
{
	FloSourcePlace order = flo_source_place_ordered(l->args->slot, FLO_PLACE_BACKFILL);
	char	   *member;

	flo_helper_names(l->args->slot, &l->group, &member);
	l->bucket = flo_name_bucket(l->group);
	l->generation = flo_generation_load(l->group);
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(l->context);
	l->backfill = flo_backfills_get(order.id);
	l->spec = flo_store_replicator(l->group);
	l->claim.group = l->group;
	l->claim.owner = flo_ownership_here();
	flo_transaction_end(l->context);
	l->claim.generation = l->generation;
	l->bus = flo_bus_connect(psprintf("pg_flo backfiller %s", l->group));
	l->place.args = l->args;
	l->place.user = FLO_PLACE_BACKFILL;
	l->place.slot = psprintf("%s_fill", flo_name_slot(MyDatabaseId, l->group));
	l->place.point = "backfill.snapshot";
	l->place.id = order.id;
	l->place.marker = marker;
	l->place.arg = l;
}

/* The number of the snapshot, and the table's name, which is told before it is locked */
static void
begin_attempt(Leader *l)
{
	FloBackfillRecord *r = &l->record;
	FloStreamInfo info;
	char	   *name;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(l->context);
	ForceSyncCommit();
	memset(r, 0, sizeof(*r));
	strlcpy(r->generation, flo_text_of_uuid(&l->generation->id), sizeof(r->generation));
	r->consumer = l->backfill->consumer;
	r->partial = l->backfill->condition != NULL;
	r->attempt = flo_store_next_copy_attempt(l->group);
	r->relation = l->backfill->relation;
	name = get_rel_name(r->relation);
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s has been dropped", l->backfill->table)));
	r->table = name;
	r->schema = get_namespace_name(get_rel_namespace(r->relation));
	flo_transaction_end(l->context);
	show(l, FLO_BACKFILL_SNAPSHOT, "waits for write transactions that are open as a snapshot is taken");

	/*
	 * what an attempt before has left goes, but not the stream: its sequence
	 * rises, so nothing that the worker said of it removes what comes now
	 */
	if (flo_stream_info(l->bus, flo_name_backfill_stream(l->group), &info))
		flo_stream_purge_below(l->bus, flo_name_backfill_stream(l->group), info.last_seq + 1);
	tell(l);
}

/* --- the plan ------------------------------------------------------------ */

typedef struct Planning
{
	Leader	   *leader;
	uint32		range;			/* number of the next */
} Planning;

static void
plan_relation(void *arg, const FloCopyRelation *what)
{
	Planning   *p = arg;

	if (what->published == p->leader->backfill->relation)
		p->range = flo_team_plan(&p->leader->team, what, true, p->range);
}

/* The table, or its partitions, as the snapshot sees it in the publications */
static void
plan_table(Leader *l)
{
	MemoryContext caller = MemoryContextSwitchTo(l->context);
	Planning	planning = {.leader = l};

	flo_copy_each_relation(l->group, plan_relation, &planning);
	MemoryContextSwitchTo(caller);
	if (planning.range == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s has left the group", l->backfill->table)));
}

static void
make_team(Leader *l)
{
	FloCopyTeam *t = &l->team;
	FloChunkHeader identity = {
		.generation = l->generation->id,
		.generation_start = l->generation->start,
		.position = l->record.lsn
	};

	memset(t, 0, sizeof(*t));
	t->args = l->args;
	t->spec = l->spec;
	t->bus = l->bus;
	t->stream = flo_name_backfill_stream(l->group);
	t->subject = psprintf("%s.backfill", flo_name_subject(l->group));
	t->description = flo_ownership_of_copy(&l->claim);
	plan_table(l);
	flo_team_share(t, l->group, &identity, l->record.attempt, l->backfill->id);
	flo_team_make_stream(t, l->spec->options.copy_stream_max_bytes);
	flo_copy_publish_plan(l->bus, l->bucket, t->plan, l->record.generation, true);
	flo_place_show(&l->place, dsm_segment_handle(t->segment));
}

/* --- reading ------------------------------------------------------------- */

/* Are all ranges read?  Then what there is in them is known. */
static bool
is_read(Leader *l)
{
	FloCopyPlan *plan = l->team.plan;
	bool		read = true;

	l->record.chunks = l->record.rows = l->record.bytes = 0;
	SpinLockAcquire(&plan->mutex);
	for (int i = 0; i < plan->ntasks; i++)
	{
		read &= plan->tasks[i].state == FLO_TASK_DONE;
		l->record.chunks += plan->tasks[i].chunks;
		l->record.rows += (int64) plan->tasks[i].rows;
		l->record.bytes += (int64) plan->tasks[i].bytes;
	}
	SpinLockRelease(&plan->mutex);
	return read;
}

/*
 * What does not fit may be taken before all of it is there.  Should it have to be read
 * again then, the rows come again.
 */
static void
open_when_full(Leader *l)
{
	FloCopySpace *space = &l->team.plan->space;
	char		words[sizeof(space->words)];
	uint64		largest;
	Oid			relation;
	bool		full = flo_space_is_wanted(space, &largest, &relation);

	full |= flo_space_was_refused(space, words);
	if (!full || l->record.open)
		return;
	l->record.open = true;
	tell(l);
}

static void
read_table(Leader *l)
{
	FloClock	looked_at = 0;

	while (!is_read(l))
	{
		int64		limit = flo_source_copy_ordered(l->args->slot).stream_limit;

		if (limit == 0)
			limit = l->spec->options.copy_stream_max_bytes;
		flo_team_look_after(&l->team, limit, true);
		MemoryContextSwitchTo(l->round);
		if (flo_clock_passed(looked_at, SPACE_INTERVAL))
		{
			looked_at = flo_clock();
			flo_team_look_at_space(&l->team, limit);
			open_when_full(l);
		}
		flo_helper_check(l->args->slot, l->args->incarnation);
		flo_bus_rest(l->bus, ROUND_INTERVAL);
		MemoryContextSwitchTo(l->context);
		MemoryContextReset(l->round);
	}
}

/* Under one snapshot; false when its marker was missed */
static bool
fill(Leader *l)
{
	begin_attempt(l);
	flo_injection_point("backfill.told");
	l->record.lsn = flo_place_take(&l->place);
	if (XLogRecPtrIsInvalid(l->record.lsn))
		return false;
	flo_injection_point("backfill.marked");
	make_team(l);
	read_table(l);
	flo_injection_point("backfill.read");
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(l->context);
	flo_place_set_phase(&l->place, FLO_PLACE_NONE);
	l->backfill->chunks = l->record.chunks;
	l->backfill->rows = l->record.rows;
	l->backfill->bytes = l->record.bytes;
	(void) flo_transaction_begin();
	ForceSyncCommit();
	flo_backfills_state(l->backfill->id, FLO_BACKFILL_READING, l->record.attempt, l->record.lsn,
						NULL);
	flo_backfills_published(l->backfill);
	flo_transaction_end(l->context);
	flo_injection_point("backfill.published");
	return true;
}

/* --- the process --------------------------------------------------------- */

/* Is it an error after which another snapshot may do? */
static bool
begins_again(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
}

static void
end_copiers(Leader *l)
{
	for (int i = 0; i < l->team.size; i++)
	{
		if (l->team.copiers[i] == NULL)
			continue;
		TerminateBackgroundWorker(l->team.copiers[i]);
		(void) WaitForBackgroundWorkerShutdown(l->team.copiers[i]);
	}
	l->team.size = 0;
}

/* Who reads for a process that is ended does not go on, whatever a condition does */
static void
end_at_exit(int code, Datum arg)
{
	Leader	   *l = (Leader *) DatumGetPointer(arg);

	for (int i = 0; i < l->team.size; i++)
	{
		if (l->team.copiers[i] != NULL)
			TerminateBackgroundWorker(l->team.copiers[i]);
	}
}

/* Nothing of it is kept: no transaction, no slot, no process, no order */
static ErrorData *
recover(Leader *l)
{
	ErrorData  *error;

	MemoryContextSwitchTo(l->context);
	error = CopyErrorData();
	FlushErrorState();
	LWLockReleaseAll();
	if (MyReplicationSlot != NULL)
		ReplicationSlotRelease();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(l->context);
	end_copiers(l);
	flo_place_set_phase(&l->place, FLO_PLACE_NONE);
	return error;
}

/* Why another attempt is needed; NULL when none is.  An error that ends it is thrown. */
static const char *
try_attempt(Leader *l)
{
	const char *volatile why = NULL;

	PG_TRY();
	{
		if (!fill(l))
			why = "the replicator was beyond the snapshot";
	}
	PG_CATCH();
	{
		ErrorData  *error = recover(l);

		if (!begins_again(error))
			ReThrowError(error);
		why = error->message;
	}
	PG_END_TRY();
	return why;
}

static void
lead(Leader *l)
{
	const char *why = "";

	open_leader(l);
	if (l->backfill == NULL || l->spec == NULL || l->backfill->published)
		return;
	for (int tries = 0; why != NULL; tries++)
	{
		if (tries == MAX_TRIES)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("given up after %d snapshots: %s", tries, why)));
		if (tries > 0)
		{
			show(l, FLO_BACKFILL_WAITING, why);
			flo_wait_means(FLO_WAIT_MEMBER);
			(void) flo_wait(PGINVALID_SOCKET, false, 200);
		}
		why = try_attempt(l);
	}
}

/* An error is the backfill's, not the replicator's, unless the broker is away */
void
flo_backfiller_run(const FloProcessArgs *args)
{
	Leader	   *l = palloc0(sizeof(Leader));

	l->args = args;
	l->context = CurrentMemoryContext;
	before_shmem_exit(end_at_exit, PointerGetDatum(l));
	l->round = AllocSetContextCreate(l->context, "pg_flo round", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		lead(l);
	}
	PG_CATCH();
	{
		ErrorData  *error = recover(l);
		MemoryContext old;

		if (l->backfill == NULL ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_CONNECTION_EXCEPTION)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("backfill " INT64_FORMAT " of group \"%s\" failed: %s", l->backfill->id,
						l->group, error->message)));
		old = flo_transaction_begin();
		(void) flo_backfills_finish(l->backfill->id, FLO_BACKFILL_FAILED, error->message);
		flo_transaction_end(old);
	}
	PG_END_TRY();
}
