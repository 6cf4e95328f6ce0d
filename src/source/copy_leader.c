/*
 * copy_leader.c
 *		Plans the copy of a group's tables and supervises it.
 *
 * The leader imports the snapshot that came with the slot, locks every table,
 * cuts the tables into ranges of pages, and exports the snapshot again for the
 * copiers.  It holds locks and snapshot until all rows are in the copy stream,
 * so a copier that fails can be replaced and reads its range again; only with
 * the leader does the snapshot go.
 *
 * For each table that is complete it writes a key to the state bucket: the
 * attempt, the snapshot's LSN and how many chunks its ranges have.  That is
 * what a destination compares with, and what a later attempt finds finished.
 *
 * Afterwards it stays until every worker has loaded everything, purging the
 * stream meanwhile, and removes it.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/copies.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "core/transaction.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "source/copy.h"
#include "source/copy_schema_dump.h"
#include "source/copy_team.h"
#include "source/ownership.h"
#include "source/reports.h"
#include "storage/bufmgr.h"
#include "storage/dsm.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define ROUND_INTERVAL 50		/* ms */
#define SPACE_INTERVAL 200		/* ms between two looks at the space */
#define NEWCOMER_PATIENCE 10000 /* ms for a worker that takes the copy to come */

typedef struct Table
{
	Oid			published;
	uint32		ranges;
	bool		announced;		/* its key is in the bucket */

	/* sums of its ranges, of those that were published */
	bool		finished;
	uint64		rows;
	uint64		chunks;
	uint64		bytes;
} Table;

/* What is known of a relation, found by its OID: a copy may be of thousands */
typedef struct Entry
{
	uint32		id;
	char		status;
	bool		requested;
	bool		copied;			/* by an earlier attempt of this generation */
	Table	   *table;			/* NULL = not planned */
} Entry;

#define FLO_BY_ID entries
#define FLO_BY_ID_ENTRY Entry
#include "core/byid.h"

typedef struct Leader
{
	const FloProcessArgs *args;
	FloSourceCopy copy;			/* what the replicator asked for */
	char	   *group;
	char	   *bucket;
	char	   *stream;
	FloReplicatorSpec *spec;
	FloBus	   *bus;
	char	   *generation;
	FloRetention *retention;	/* for what the workers say */

	/* the plan */
	List	   *requests;		/* of FloCopyRequest *, when the copy is of
								 * these only */
	List	   *tables;			/* of Table * */
	entries_hash *entries;
	Table	  **task_tables;	/* of the tasks */
	FloCopyTeam team;

	uint64		loaded;			/* by everybody; PG_UINT64_MAX = nobody loads */
	uint64		purged;
	bool		taken;			/* somebody loads it, or has loaded it */
	FloClock	full_at;		/* when the broker was last asked what it is
								 * full of */
	MemoryContext full_context; /* reset in each turn of waiting for it */
	MemoryContext round_context;	/* reset in each round */
} Leader;

/* --- planning ------------------------------------------------------------ */

static Entry *
entry_of(Leader *l, Oid relation)
{
	bool		found;
	Entry	   *entry = entries_insert(l->entries, relation, &found);

	if (!found)
	{
		entry->requested = entry->copied = false;
		entry->table = NULL;
	}
	return entry;
}

/* Tables that are to be copied alone, and those that need not be */
static void
note_relations(Leader *l)
{
	ListCell   *cell;

	l->entries = entries_create(CurrentMemoryContext, 256, NULL);
	if (l->copy.marked)
	{
		foreach(cell, l->requests)
			entry_of(l, ((FloCopyRequest *) lfirst(cell))->relation)->requested = true;
	}
	else
	{
		foreach(cell, flo_records_copied_tables(l->bus, l->bucket, l->generation))
			entry_of(l, lfirst_oid(cell))->copied = true;
	}
}

static Table *
table_of(Leader *l, Entry *entry)
{
	if (entry->table == NULL)
	{
		entry->table = palloc0(sizeof(Table));
		entry->table->published = entry->id;
		l->tables = lappend(l->tables, entry->table);
	}
	return entry->table;
}

static void
plan_relation(void *arg, const FloCopyRelation *what)
{
	Leader	   *l = arg;
	bool		read = l->copy.marked || l->spec->mode != FLO_MODE_STREAM;	/* or locked alone */
	Entry	   *entry = entry_of(l, what->published);
	Table	   *table;
	uint32		ranges;

	if (l->copy.marked ? !entry->requested : entry->copied)
		return;
	table = read ? table_of(l, entry) : NULL;
	ranges = flo_team_plan(&l->team, what, read, read ? table->ranges : 0);
	if (read)
		table->ranges = ranges;
}

static void
share_plan(Leader *l)
{
	FloChunkHeader identity = {
		.generation = l->copy.generation,
		.generation_start = l->copy.generation_start,
		.position = l->copy.lsn
	};

	l->team.methods = flo_retention_methods(l->retention);
	l->team.squeeze = flo_retention_all_expand_chunks(l->retention);
	flo_team_share(&l->team, l->group, &identity, l->copy.attempt, 0);
	l->task_tables = palloc(sizeof(Table *) * Max(l->team.plan->ntasks, 1));
	for (int i = 0; i < l->team.plan->ntasks; i++)
		l->task_tables[i] = entry_of(l, l->team.plan->tasks[i].published)->table;
	l->copy.bytes = l->team.bytes;
	l->copy.segment = dsm_segment_handle(l->team.segment);
}

/* --- what is finished ---------------------------------------------------- */

static FloCopyTableRecord
table_record(Leader *l, Oid relation)
{
	FloCopyTableRecord record = {0};

	strlcpy(record.generation, l->generation, sizeof(record.generation));
	record.attempt = l->copy.attempt;
	record.lsn = l->copy.lsn;
	record.relation = relation;
	record.schema = record.table = "";
	return record;
}

/* How far all tables are */
static void
sum_up(Leader *l)
{
	ListCell   *cell;

	foreach(cell, l->tables)
	{
		Table	   *table = lfirst(cell);

		table->finished = true;
		table->rows = table->chunks = table->bytes = 0;
	}
	SpinLockAcquire(&l->team.plan->mutex);
	for (int i = 0; i < l->team.plan->ntasks; i++)
	{
		const FloCopyTask *task = &l->team.plan->tasks[i];
		Table	   *table = l->task_tables[i];

		table->finished &= task->state == FLO_TASK_DONE;
		table->rows += task->rows;
		table->chunks += task->chunks;
		table->bytes += task->bytes;
	}
	SpinLockRelease(&l->team.plan->mutex);
}

/* All of a table is published */
static void
announce(Leader *l, Table *table)
{
	FloCopyTableRecord record = table_record(l, table->published);

	record.rows = (int64) table->rows;
	record.chunks = (int64) table->chunks;
	record.bytes = (int64) table->bytes;
	record.schema = get_namespace_name(get_rel_namespace(table->published));
	record.table = get_rel_name(table->published);
	flo_records_put(l->bus, l->bucket, flo_copy_table_key(table->published),
					&flo_copy_table_format, &record, true);
	table->announced = true;
}

/*
 * The last of the tables that a marker named ends the copy for a worker: sequences are
 * there before
 */
static void
announce_finished(Leader *l)
{
	bool		sequences = !l->copy.marked;
	ListCell   *cell;

	sum_up(l);
	l->copy.tables_done = 0;
	foreach(cell, l->tables)
	{
		Table	   *table = lfirst(cell);

		if (!table->announced && table->finished)
		{
			if (!sequences)
				flo_copy_publish_sequences(l->bus, l->group, l->generation);
			sequences = true;
			announce(l, table);
		}
		l->copy.tables_done += table->announced;
	}
}

/* Of the stream's own limit the copiers know, and wait before they meet it */
static void
describe_full(Leader *l, const char *words)
{
	FloStreamInfo info;

	l->full_at = flo_clock();
	if (flo_stream_info(l->bus, l->stream, &info) && flo_reports_stream_is_full(&info))
		return;
	strlcpy(l->copy.broker_full, flo_reports_describe_full(l->bus, l->stream, l->retention, words,
														   false),
			sizeof(l->copy.broker_full));
}

/*
 * Has the broker refused what a copier sent?  Looked at now and then, as that
 * is asked of the broker.
 */
static void
show_refusal(Leader *l)
{
	char		words[sizeof(l->team.plan->space.words)];

	if (!flo_clock_passed(l->full_at, 1000))
		return;
	if (flo_space_was_refused(&l->team.plan->space, words))
		describe_full(l, words);
	else
		l->copy.broker_full[0] = '\0';
}

static void
report(Leader *l)
{
	uint64		rows = 0;
	uint64		bytes = 0;

	SpinLockAcquire(&l->team.plan->mutex);
	for (int i = 0; i < l->team.plan->ntasks; i++)
	{
		FloCopyTask *task = &l->team.plan->tasks[i];

		rows += task->rows;
		bytes += flo_copy_task_bytes_done(task);
	}
	SpinLockRelease(&l->team.plan->mutex);
	l->copy.rows_done = rows;
	l->copy.bytes_done = bytes;
	l->copy.tables = list_length(l->tables);
	show_refusal(l);
	l->copy.full = flo_space_is_wanted(&l->team.plan->space, &l->copy.row_room,
									   &l->copy.row_relation);
	flo_source_copy_tell(l->args->slot, &l->copy);
}

static void
set_phase(Leader *l, FloCopyPhase phase)
{
	l->copy.phase = phase;
	flo_source_copy_set_phase(l->args->slot, phase);
}

/* --- the stream ---------------------------------------------------------- */

/* Does a worker still need what this copy publishes? */
static bool
is_pending(Leader *l, const FloWorkerReport *report)
{
	if (report->awaits_resync && strcmp(report->generation, l->generation) == 0)
		return false;
	return l->copy.marked ? report->copy_attempt < l->copy.attempt : report->copying;
}

/*
 * A worker misses chunks that are no longer at the broker: it came when others
 * had loaded them, or the broker has lost them.  The snapshot is gone, so the
 * table is copied again in another attempt, with what makes it one.
 */
static void
check_lacking(Leader *l, const FloWorkerReport *report)
{
	FloCopyTableRecord *table;

	if (report->missing_chunks == 0 || strcmp(report->generation, l->generation) != 0)
		return;
	table = flo_records_get(l->bus, l->bucket, flo_copy_table_key(report->missing_chunks),
							&flo_copy_table_format);
	if (table == NULL || table->attempt != report->missing_attempt)
		return;
	if (!l->copy.marked || table->attempt < l->copy.attempt)
		flo_bucket_remove(l->bus, l->bucket, FLO_COPY_KEY);
	flo_bucket_remove(l->bus, l->bucket, flo_copy_table_key(report->missing_chunks));
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("worker \"%s\" misses chunks of table \"%s.%s\" that the broker does not have any more: the table is copied again",
					report->worker, table->schema, table->table)));
}

/*
 * Purge what every worker that takes the copy has loaded.  True when none of
 * the registered workers needs the copy any more, and at least one is there.
 */
static bool
purge_loaded(Leader *l)
{
	uint64		floor = PG_UINT64_MAX;
	int			workers = 0;
	int			pending = 0;
	ListCell   *cell;

	flo_reports_take(l->bus, l->bucket, l->retention);
	foreach(cell, flo_retention_reports(l->retention))
	{
		FloWorkerReport *report = lfirst(cell);

		workers++;
		if (!is_pending(l, report))
			continue;
		pending++;
		l->taken = true;
		if (l->copy.phase == FLO_COPY_PUBLISHED || report->missing_attempt < l->copy.attempt)
			check_lacking(l, report);
		floor = Min(floor, report->copied_seq);
	}
	l->loaded = floor;
	if (pending > 0 && floor > l->purged)
	{
		flo_stream_purge_below(l->bus, l->stream, floor + 1);
		l->purged = floor;
	}
	return workers > 0 && pending == 0;
}

/*
 * The broker has no room for a key.  What loaders have taken in is removed
 * meanwhile, which they say over core NATS too.
 */
static void
await_room(void *arg, int err_code, const char *words)
{
	Leader	   *l = arg;
	MemoryContext old = MemoryContextSwitchTo(l->full_context);

	flo_helper_check(l->args->slot, l->args->incarnation);
	describe_full(l, words);
	flo_source_copy_set_full(l->args->slot, l->copy.broker_full);
	(void) purge_loaded(l);
	flo_bus_wait_for(l->bus, FLO_WAIT_SPACE, 1000);
	MemoryContextSwitchTo(old);
	MemoryContextReset(l->full_context);
}

/* --- the process --------------------------------------------------------- */

static void
run_copiers(Leader *l)
{
	MemoryContext context = CurrentMemoryContext;
	FloClock	purged_at = 0;
	FloClock	looked_at = 0;
	int			finished = 0;

	l->round_context = AllocSetContextCreate(context, "pg_flo round", ALLOCSET_DEFAULT_SIZES);
	while (finished < list_length(l->tables))
	{
		if (flo_clock_passed(looked_at, SPACE_INTERVAL))
		{
			looked_at = flo_clock();
			MemoryContextSwitchTo(l->round_context);
			flo_team_look_at_space(&l->team, l->copy.stream_limit);
			MemoryContextSwitchTo(context);
		}
		l->copy.may_fill |= flo_source_copy_ordered(l->args->slot).may_fill;
		flo_team_look_after(&l->team, l->copy.stream_limit, l->copy.may_fill);
		l->copy.copiers = l->team.running;
		l->copy.copiers_wanted = l->team.running + l->team.refused;
		MemoryContextSwitchTo(l->round_context);
		if (flo_clock_passed(purged_at, l->copy.full ? SPACE_INTERVAL : 1000))
		{
			(void) purge_loaded(l);
			if (flo_clock_passed(purged_at, 1000))
				flo_team_widen(&l->team, l->loaded);
			purged_at = flo_clock();
		}
		announce_finished(l);
		finished = l->copy.tables_done;
		report(l);
		flo_helper_check(l->args->slot, l->args->incarnation);
		if (finished < list_length(l->tables))
			flo_bus_rest(l->bus, ROUND_INTERVAL);
		MemoryContextSwitchTo(context);
		MemoryContextReset(l->round_context);
	}
}

/* What the replicator has written for us into its entry */
static void
take_order(Leader *l)
{
	char	   *member;

	l->copy = flo_source_copy_ordered(l->args->slot);
	flo_helper_names(l->args->slot, &l->group, &member);
	l->generation = flo_text_of_uuid(&l->copy.generation);
	l->stream = flo_name_copy_stream(l->group);
	l->bucket = flo_name_bucket(l->group);
}

/*
 * Workers of events take no copy, and are heard of early: the one that takes it may
 * just be starting.  One that has tables counts: another leader may have seen it load.
 */
static bool
has_taker(Leader *l)
{
	ListCell   *cell;

	if (l->taken || l->copy.marked)
		return true;
	foreach(cell, flo_retention_reports(l->retention))
	{
		if (((FloWorkerReport *) lfirst(cell))->compares)
			return true;
	}
	return false;
}

static void
await_workers(Leader *l)
{
	FloClock	published = flo_clock();
	MemoryContext context = CurrentMemoryContext;
	MemoryContext round_context = AllocSetContextCreate(context, "pg_flo round",
														ALLOCSET_DEFAULT_SIZES);
	bool		done = false;

	while (!done)
	{
		MemoryContextSwitchTo(round_context);
		flo_helper_check(l->args->slot, l->args->incarnation);
		done = purge_loaded(l) &&
			(has_taker(l) || flo_clock_passed(published, NEWCOMER_PATIENCE));
		if (!done)
			flo_bus_rest_for(l->bus, FLO_WAIT_APPLY, 1000);
		MemoryContextSwitchTo(context);
		MemoryContextReset(round_context);
	}
	flo_stream_delete(l->bus, l->stream);
	flo_bucket_remove_text(l->bus, l->bucket, FLO_SCHEMA_KEY);
	flo_bucket_remove_text(l->bus, l->bucket, FLO_MARKED_SCHEMA_KEY);
	flo_bucket_remove_text(l->bus, l->bucket, FLO_SEQUENCES_KEY);
	flo_bucket_remove_text(l->bus, l->bucket, FLO_PLAN_KEY);
	flo_bucket_remove_text(l->bus, l->bucket, FLO_MARKED_PLAN_KEY);
	set_phase(l, FLO_COPY_DONE);
}

void
flo_copy_publish_sequences(FloBus *bus, const char *group, const char *generation)
{
	bool		own_transaction = !IsTransactionState();
	MemoryContext context = own_transaction ? flo_transaction_begin() : CurrentMemoryContext;
	char	   *values;

	MemoryContextSwitchTo(context);
	values = flo_store_sequence_values(group);
	if (own_transaction)
		flo_transaction_end(context);
	flo_bucket_put_text(bus, flo_name_bucket(group), FLO_SEQUENCES_KEY, generation, values);
}

/* A table that was requested and is gone: nobody should wait for it */
static void
announce_gone(Leader *l)
{
	ListCell   *cell;

	foreach(cell, l->requests)
	{
		Oid			relation = ((FloCopyRequest *) lfirst(cell))->relation;

		if (entry_of(l, relation)->table == NULL)
		{
			FloCopyTableRecord record = table_record(l, relation);

			flo_records_put(l->bus, l->bucket, flo_copy_table_key(relation), &flo_copy_table_format,
							&record, true);
		}
	}
}

static void
finish_copy(Leader *l)
{
	FloCopyRecord done = {
		.attempt = l->copy.attempt,
		.lsn = l->copy.lsn
	};

	strlcpy(done.generation, l->generation, sizeof(done.generation));
	done.tables = list_length(flo_records_copied_tables(l->bus, l->bucket, l->generation));
	if (l->copy.marked)
		announce_gone(l);
	else if (done.tables < list_length(l->tables))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("state bucket \"%s\" has lost the ends of tables that are copied: they are copied again", l->bucket)));
	else
		flo_records_put(l->bus, l->bucket, FLO_COPY_KEY, &flo_copy_format, &done, true);
	set_phase(l, FLO_COPY_PUBLISHED);
	flo_injection_point("published.after");
	await_workers(l);
}

/* Is the table one that a crash has left unfinished in the copy that the generation began with? */
static bool
is_unfinished(Leader *l, Oid relation)
{
	FloCopyRecord *end = flo_records_copy(l->bus, l->bucket, l->generation);

	return end != NULL && list_member_oid(end->again, relation) &&
		flo_records_copy_table(l->bus, l->bucket, relation, l->generation) == NULL;
}

/*
 * Before any row is read.  Of tables that join a running group, or whose copy a
 * crash has cut short: those, to be compared with what is there; of tables that
 * are copied afresh: what is missing.  Values of sequences at least as high as
 * the rows need them come along; later ones follow at the end.
 */
static void
publish_definitions(Leader *l)
{
	FloAttemptRecord attempt = {.attempt = l->copy.attempt};
	List	   *tables = NIL;
	bool		compared = !l->copy.marked;
	ListCell   *cell;

	foreach(cell, l->copy.marked ? l->tables : NIL)
		tables = lappend_oid(tables, ((Table *) lfirst(cell))->published);
	foreach(cell, l->requests)
		compared |= ((FloCopyRequest *) lfirst(cell))->add ||
		is_unfinished(l, ((FloCopyRequest *) lfirst(cell))->relation);
	attempt.definitions = l->spec->sync_schema && (!l->copy.marked || tables != NIL);
	if (attempt.definitions)
		flo_schema_publish(l->bus, l->spec, l->copy.marked ? FLO_MARKED_SCHEMA_KEY : FLO_SCHEMA_KEY,
						   l->generation, l->copy.attempt, tables, !compared,
						   l->team.plan->snapshot, l->args);
	if (l->copy.marked)
		flo_bucket_put_text(l->bus, l->bucket, FLO_SEQUENCES_KEY, l->generation,
							flo_store_sequence_values(l->group));
	strlcpy(attempt.generation, l->generation, sizeof(attempt.generation));
	attempt.all = !l->copy.marked;
	attempt.tables = tables;
	flo_records_put(l->bus, l->bucket, FLO_ATTEMPT_KEY, &flo_attempt_format, &attempt, true);
}

/* For people; the replicator cannot write while it holds the snapshot */
static void
note_planning(Leader *l)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_phase(l->group, FLO_REPLICATOR_MEMBER, FLO_PHASE_PLANNING);
	flo_transaction_end(old);
}

/*
 * The snapshot first, before anything of this transaction looks at a table.  Then
 * the locks, then the export for the copiers, who need both: a table whose file has
 * changed in between is noticed when it is locked.  Only then may the replicator let go of
 * its own (FLO_COPY_DUMPING).  Definitions and the key "attempt" come before rows,
 * since loaders wait for these.  Snapshot and locks go with the transaction, when
 * all rows are in the stream: until then any range can be read again.
 */
void
flo_copy_leader_run(const FloProcessArgs *args)
{
	Leader	   *l = palloc0(sizeof(Leader));
	MemoryContext context = CurrentMemoryContext;
	FloClaim	claim = {0};

	l->args = args;
	take_order(l);
	l->bus = flo_bus_connect(psprintf("pg_flo copy leader %s", l->group));
	l->full_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo full broker",
											ALLOCSET_SMALL_SIZES);
	l->retention = flo_retention_create(&l->copy.generation);
	flo_reports_load(l->bus, l->bucket, l->retention);
	flo_bus_when_full(l->bus, await_room, l);

	if (l->copy.phase == FLO_COPY_PUBLISHED)
	{
		await_workers(l);
		return;
	}
	note_planning(l);
	if (!flo_transaction_start_at(l->copy.snapshot))
		return;					/* the replicator is gone */
	l->spec = flo_store_replicator(l->group);
	if (l->spec == NULL)
		return;
	claim.group = l->group;
	claim.owner = flo_ownership_here();
	l->team.args = args;
	l->team.spec = l->spec;
	l->team.bus = l->bus;
	l->team.stream = l->stream;
	l->team.subject = psprintf("%s.copy", flo_name_subject(l->group));
	l->team.description = flo_ownership_of_copy(&claim);
	l->requests = flo_store_copy_requests(l->group);
	note_relations(l);
	flo_injection_point("plan.before");
	flo_copy_each_relation(l->group, plan_relation, l);
	share_plan(l);
	flo_source_copy_tell(l->args->slot, &l->copy);
	set_phase(l, FLO_COPY_DUMPING);

	flo_team_make_stream(&l->team, l->copy.stream_limit);
	flo_copy_publish_plan(l->bus, l->bucket, l->team.plan, l->generation, l->copy.marked);
	publish_definitions(l);
	set_phase(l, FLO_COPY_RUNNING);

	run_copiers(l);
	flo_injection_point("copied.after");
	if (!l->copy.marked)
		flo_copy_publish_sequences(l->bus, l->group, l->generation);
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(context);
	finish_copy(l);
}
