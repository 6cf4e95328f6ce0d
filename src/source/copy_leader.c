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
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/copies.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "core/transaction.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "source/copy.h"
#include "source/copy_schema_dump.h"
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

/* Pages of a range: 64 MB */
#define RANGE_PAGES (64 * 1024 * 1024 / BLCKSZ)

/* Chunks of the copy; see the publisher's for why */
#define COPY_CHUNK_SIZE (256 * 1024)
#define PAYLOAD_ALLOWANCE 512

/* A copier that fails this often in a row ends the copy */
#define MAX_FAILURES 10

/* The lowest max_bytes of the stream that is tried where the account wants one */
#define SMALLEST_LIMIT (4 * 1024 * 1024)

#define ROUND_INTERVAL 50		/* ms */
#define SPACE_INTERVAL 200		/* ms between two looks at the space */

typedef struct Table
{
	Oid			published;
	uint32		ranges;
	bool		announced;		/* its key is in the bucket */
} Table;

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
	char	   *description;	/* of the stream, with its owner */
	FloRetention *retention;	/* for what the workers say */

	/* the plan */
	List	   *requests;		/* of FloCopyRequest *, when the copy is of
								 * these only */
	List	   *ranges;			/* of FloCopyTask * */
	List	   *tables;			/* of Table * */
	dsm_segment *segment;
	FloCopyPlan *plan;

	/* copiers */
	int			ncopiers;
	BackgroundWorkerHandle **copiers;
	int			failures;
	uint64		halves;			/* bytes of rows whose copier ended before
								 * their end */
	uint64		purged;
	FloClock	full_at;		/* when the broker was last asked what it is
								 * full of */
	MemoryContext full_context; /* reset in each turn of waiting for it */
	MemoryContext round_context;	/* reset in each round */
} Leader;

/* --- planning ------------------------------------------------------------ */

/* Was the table finished by an earlier attempt of this generation? */
static bool
already_copied(Leader *l, Oid published)
{
	return !l->copy.marked &&
		flo_records_copy_table(l->bus, l->bucket, published, l->generation) != NULL;
}

static Table *
table_of(Leader *l, Oid published)
{
	ListCell   *cell;
	Table	   *table;

	foreach(cell, l->tables)
	{
		if (((Table *) lfirst(cell))->published == published)
			return lfirst(cell);
	}
	table = palloc0(sizeof(Table));
	table->published = published;
	l->tables = lappend(l->tables, table);
	return table;
}

/*
 * Cut a table into ranges.  Its size is taken after the lock; the last range is
 * open, for rows that the snapshot sees beyond what the file was then.
 */
static void
plan_relation(Leader *l, Oid published, Oid relation, Oid filenode, const char *shape,
			  const char *published_shape)
{
	bool		read = l->copy.marked || l->spec->mode != FLO_MODE_STREAM;	/* or locked alone */
	Table	   *table = read ? table_of(l, published) : NULL;
	Relation	rel;
	BlockNumber pages;
	double		stored;
	double		rows;

	if (published != relation)
		relation_close(flo_copy_lock_relation(published, InvalidOid, published_shape), NoLock);
	rel = flo_copy_lock_relation(relation, filenode, shape);
	pages = RelationGetNumberOfBlocks(rel);
	stored = (double) pages + flo_copy_toast_pages(rel);
	rows = flo_copy_estimate_rows(rel, pages);
	relation_close(rel, NoLock);
	for (BlockNumber first = 0; read && (first == 0 || first < pages); first += RANGE_PAGES)
	{
		FloCopyTask *task = palloc0(sizeof(FloCopyTask));

		task->relation = relation;
		task->published = published;
		task->filenode = filenode;
		task->table_pages = pages;
		task->first = first;
		task->end = first + RANGE_PAGES < pages ? first + RANGE_PAGES : InvalidBlockNumber;
		task->range = table->ranges++;
		task->pages = pages > first ? Min(pages - first, RANGE_PAGES) : 0;
		if (pages > 0)
		{
			task->bytes = (uint64) (stored * task->pages / pages * BLCKSZ);
			task->rows_estimated = (uint64) (rows * task->pages / pages);
		}
		l->ranges = lappend(l->ranges, task);
		l->copy.bytes += task->bytes;
	}
}

static bool
is_requested(Leader *l, Oid published)
{
	ListCell   *cell;

	if (!l->copy.marked)
		return true;
	foreach(cell, l->requests)
	{
		if (((FloCopyRequest *) lfirst(cell))->relation == published)
			return true;
	}
	return false;
}

static void
plan_tables(Leader *l)
{
	MemoryContext caller = CurrentMemoryContext;
	FloTableChoice *choice = flo_store_table_choice(l->group);
	Oid			types[1] = {TEXTARRAYOID};
	Datum		values[1];

	if (choice == NULL)
		return;
	values[0] = flo_array_of_texts(flo_publication_names(l->group));
	SPI_connect();
	if (SPI_execute_with_args(flo_copy_tables_query, 1, types, values, NULL, true,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables of the group");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			oids[3];
		MemoryContext spi;

		for (int k = 0; k < 3; k++)
			oids[k] = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
													 k + 1, &isnull));
		spi = MemoryContextSwitchTo(caller);
		if (is_requested(l, oids[0]) && !already_copied(l, oids[0]) &&
			!flo_choice_excepts(choice, oids[1]))
			plan_relation(l, oids[0], oids[1], oids[2],
						  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 5),
						  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 6));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
}

/* Largest table first, each in the order of its pages */
static int
compare_work(const ListCell *a, const ListCell *b)
{
	const FloCopyTask *x = lfirst(a);
	const FloCopyTask *y = lfirst(b);

	if (x->table_pages != y->table_pages)
		return x->table_pages > y->table_pages ? -1 : 1;
	if (x->relation != y->relation)
		return x->relation < y->relation ? -1 : 1;
	return x->first < y->first ? -1 : (x->first > y->first ? 1 : 0);
}

static void
share_plan(Leader *l)
{
	Size		size = offsetof(FloCopyPlan,
								tasks) + sizeof(FloCopyTask) * Max(list_length(l->ranges), 1);
	FloCopyPlan *plan;
	ListCell   *cell;

	list_sort(l->ranges, compare_work);
	l->segment = dsm_create(size, 0);
	dsm_pin_mapping(l->segment);
	plan = dsm_segment_address(l->segment);
	memset(plan, 0, size);
	SpinLockInit(&plan->mutex);
	strlcpy(plan->snapshot, ExportSnapshot(GetActiveSnapshot()), sizeof(plan->snapshot));
	strlcpy(plan->group, l->group, sizeof(plan->group));
	plan->identity.system_identifier = GetSystemIdentifier();
	plan->identity.timeline = GetWALInsertionTimeLine();
	plan->identity.generation = l->copy.generation;
	plan->identity.generation_start = l->copy.generation_start;
	plan->identity.encoding = (uint16) GetDatabaseEncoding();
	plan->identity.position = plan->identity.from = plan->identity.upto = l->copy.lsn;
	plan->attempt = l->copy.attempt;
	plan->chunk_size = (uint32) Min((int64) COPY_CHUNK_SIZE,
									flo_bus_max_payload(l->bus) - PAYLOAD_ALLOWANCE);
	flo_space_init(&plan->space);
	plan->ntasks = list_length(l->ranges);
	foreach(cell, l->ranges)
		plan->tasks[foreach_current_index(cell)] = *(FloCopyTask *) lfirst(cell);
	l->plan = plan;
	l->copy.segment = dsm_segment_handle(l->segment);
}

/* --- copiers ------------------------------------------------------------- */

static bool
work_left(Leader *l)
{
	bool		left = false;

	SpinLockAcquire(&l->plan->mutex);
	for (int i = 0; i < l->plan->ntasks && !left; i++)
		left = l->plan->tasks[i].state == FLO_TASK_FREE;
	SpinLockRelease(&l->plan->mutex);
	return left;
}

/* A copier has ended: what it had taken and not finished is free again */
static void
copier_ended(Leader *l, int number)
{
	bool		unfinished = false;
	bool		shaped = false;
	uint64		limit = (uint64) l->copy.stream_limit;

	pfree(l->copiers[number]);
	l->copiers[number] = NULL;
	SpinLockAcquire(&l->plan->mutex);
	for (int i = 0; i < l->plan->ntasks; i++)
	{
		FloCopyTask *task = &l->plan->tasks[i];

		if (task->state == FLO_TASK_TAKEN && task->copier == number)
		{
			task->state = FLO_TASK_FREE;
			unfinished = true;
			shaped |= task->shaped;
			l->halves += task->in_pieces;
			task->in_pieces = 0;
			task->rows = 0;
			task->pages_done = 0;
		}
	}
	SpinLockRelease(&l->plan->mutex);
	flo_space_copier_ended(&l->plan->space, number);
	if (shaped)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("reading a table to which rules of the replicator apply was broken off: its copy begins again"),
				 errdetail("Rules may make something else of its rows at another time.")));
	if (limit != 0 && l->halves > limit / 4)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("halves of large rows lie in the copy stream, and there may be no room for the whole: the copy of tables that are not finished begins again")));
	if (unfinished && ++l->failures > MAX_FAILURES)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("copying was given up after %d failures: %s", l->failures,
						flo_helper_last_error(l->args->slot))));
}

/* None before workers find a place in the stream: rows may fill the broker */
static void
look_after_copiers(Leader *l)
{
	int			running = 0;
	int			refused = 0;

	for (int i = 0; i < l->ncopiers; i++)
	{
		FloProcessArgs args = *l->args;

		if (l->copiers[i] != NULL && flo_process_ended(l->copiers[i]))
			copier_ended(l, i);
		if (l->copiers[i] == NULL && l->copy.may_fill && work_left(l))
		{
			args.helper = FLO_HELPER_COPIER;
			args.segment = dsm_segment_handle(l->segment);
			args.number = i;
			if (!flo_process_start(&args, psprintf("pg_flo copier %s %d", l->group, i),
								   &l->copiers[i]))
			{
				l->copiers[i] = NULL;
				refused++;
			}
		}
		if (l->copiers[i] != NULL)
			running++;
	}
	l->copy.copiers = running;
	l->copy.copiers_wanted = running + refused;
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

/* Is all of a table published?  Then that is told. */
static bool
describe_finished(Leader *l, const Table *table, FloCopyTableRecord *record)
{
	bool		finished = true;

	*record = table_record(l, table->published);
	SpinLockAcquire(&l->plan->mutex);
	for (int i = 0; i < l->plan->ntasks; i++)
	{
		FloCopyTask *task = &l->plan->tasks[i];

		if (task->published != table->published)
			continue;
		finished &= task->state == FLO_TASK_DONE;
		record->rows += task->rows;
		record->chunks += task->chunks;
		record->bytes += (int64) task->bytes;
	}
	SpinLockRelease(&l->plan->mutex);
	if (!finished)
		return false;
	record->schema = get_namespace_name(get_rel_namespace(table->published));
	record->table = get_rel_name(table->published);
	return true;
}

/* The last of the tables that a marker named ends the copy for a worker */
static void
announce_finished(Leader *l)
{
	ListCell   *cell;

	l->copy.tables_done = 0;
	foreach(cell, l->tables)
	{
		Table	   *table = lfirst(cell);
		FloCopyTableRecord record;

		if (!table->announced && describe_finished(l, table, &record))
		{
			if (l->copy.marked)
				flo_copy_publish_sequences(l->bus, l->group, l->generation);
			flo_records_put(l->bus, l->bucket, flo_copy_table_key(table->published),
							&flo_copy_table_format, &record, true);
			table->announced = true;
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
	strlcpy(l->copy.broker_full, flo_reports_describe_full(l->bus, l->stream, l->retention, words),
			sizeof(l->copy.broker_full));
}

/*
 * Has the broker refused what a copier sent?  Looked at now and then, as that
 * is asked of the broker.
 */
static void
show_refusal(Leader *l)
{
	char		words[sizeof(l->plan->space.words)];

	if (!flo_clock_passed(l->full_at, 1000))
		return;
	if (flo_space_was_refused(&l->plan->space, words))
		describe_full(l, words);
	else
		l->copy.broker_full[0] = '\0';
}

static void
report(Leader *l)
{
	uint64		rows = 0;
	uint64		bytes = 0;

	SpinLockAcquire(&l->plan->mutex);
	for (int i = 0; i < l->plan->ntasks; i++)
	{
		FloCopyTask *task = &l->plan->tasks[i];

		rows += task->rows;
		bytes += flo_copy_task_bytes_done(task);
	}
	SpinLockRelease(&l->plan->mutex);
	l->copy.rows_done = rows;
	l->copy.bytes_done = bytes;
	l->copy.tables = list_length(l->tables);
	show_refusal(l);
	l->copy.full = flo_space_is_wanted(&l->plan->space, &l->copy.row_room, &l->copy.row_relation);
	flo_source_copy_tell(l->args->slot, &l->copy);
}

static void
set_phase(Leader *l, FloCopyPhase phase)
{
	l->copy.phase = phase;
	flo_source_copy_set_phase(l->args->slot, phase);
}

/* --- the stream ---------------------------------------------------------- */

static void
make_stream(Leader *l)
{
	FloStreamConfig config = {0};
	FloAccountInfo account;
	FloStreamInfo info;

	flo_account_info(l->bus, &account);
	config.name = l->stream;
	config.subject = psprintf("%s.copy.>", flo_name_subject(l->group));
	config.max_bytes = l->copy.stream_limit;
	if (account.max_stream_bytes > 0)
		config.max_bytes = Min(config.max_bytes, account.max_stream_bytes);
	config.replicas = (int) (l->spec->options.stream_replicas > 0 ?
							 l->spec->options.stream_replicas : flo_stream_replicas);
	config.description = l->description;
	if (flo_stream_info(l->bus, l->stream, &info))
	{
		flo_stream_update(l->bus, &config);
		return;
	}

	/*
	 * the broker sets aside what a limit promises: where it has less, copiers
	 * keep to theirs, and take what there is
	 */
	while (!flo_stream_try_create(l->bus, &config))
	{
		if (!account.wants_max_bytes)
			config.max_bytes = 0;
		else if (config.max_bytes > SMALLEST_LIMIT)
			config.max_bytes /= 2;
		if (config.max_bytes <= SMALLEST_LIMIT)
		{
			flo_stream_create(l->bus, &config);
			return;
		}
	}
}

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
		if (l->copy.phase == FLO_COPY_PUBLISHED || report->missing_attempt < l->copy.attempt)
			check_lacking(l, report);
		floor = Min(floor, report->copied_seq);
	}
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

/* What copiers may put into the stream; a limit that has been changed is made the stream's */
static void
look_at_space(Leader *l, int64 *limit)
{
	FloCopySpace *space = &l->plan->space;
	uint64		before = flo_space_before_look(space);
	FloStreamInfo info;

	if (*limit != l->copy.stream_limit)
	{
		if (*limit >= 0)
			make_stream(l);
		*limit = l->copy.stream_limit;
		/* less one chunk, for what the broker counts otherwise than we do */
		flo_space_set_limit(space, *limit > COPY_CHUNK_SIZE ? *limit - COPY_CHUNK_SIZE : 0);
	}
	if (*limit > 0 && flo_stream_info(l->bus, l->stream, &info))
		flo_space_looked(space, before, info.bytes);
}

static void
run_copiers(Leader *l)
{
	MemoryContext context = CurrentMemoryContext;
	FloClock	purged_at = 0;
	FloClock	looked_at = 0;
	int64		limit = -1;
	int			finished = 0;

	l->round_context = AllocSetContextCreate(context, "pg_flo round", ALLOCSET_DEFAULT_SIZES);
	while (finished < list_length(l->tables))
	{
		if (flo_clock_passed(looked_at, SPACE_INTERVAL))
		{
			looked_at = flo_clock();
			MemoryContextSwitchTo(l->round_context);
			look_at_space(l, &limit);
			MemoryContextSwitchTo(context);
		}
		look_after_copiers(l);
		MemoryContextSwitchTo(l->round_context);
		if (flo_clock_passed(purged_at, l->copy.full ? SPACE_INTERVAL : 1000))
		{
			(void) purge_loaded(l);
			purged_at = flo_clock();
		}
		announce_finished(l);
		finished = l->copy.tables_done;
		report(l);
		flo_helper_check(l->args->slot, l->args->incarnation);
		if (finished < list_length(l->tables))
			flo_bus_wait(l->bus, ROUND_INTERVAL);
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

static void
await_workers(Leader *l)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext round_context = AllocSetContextCreate(context, "pg_flo round",
														ALLOCSET_DEFAULT_SIZES);
	bool		done = false;

	while (!done)
	{
		MemoryContextSwitchTo(round_context);
		flo_helper_check(l->args->slot, l->args->incarnation);
		done = purge_loaded(l);
		if (!done)
			flo_bus_wait_for(l->bus, FLO_WAIT_APPLY, 1000);
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
		bool		planned = false;
		ListCell   *other;

		foreach(other, l->tables)
			planned |= ((Table *) lfirst(other))->published == relation;
		if (!planned)
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
	done.tables = flo_records_copied_tables(l->bus, l->bucket, l->generation);
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
						   l->generation, l->copy.attempt, tables, !compared, l->plan->snapshot,
						   l->args);
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
	flo_transaction_start();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	ImportSnapshot(l->copy.snapshot);
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	l->spec = flo_store_replicator(l->group);
	if (l->spec == NULL)
		return;
	claim.group = l->group;
	claim.owner = flo_ownership_here();
	l->description = flo_ownership_of_copy(&claim);
	l->requests = flo_store_copy_requests(l->group);
	flo_injection_point("plan.before");
	plan_tables(l);
	share_plan(l);
	flo_source_copy_tell(l->args->slot, &l->copy);
	set_phase(l, FLO_COPY_DUMPING);

	make_stream(l);
	flo_copy_publish_plan(l->bus, l->bucket, l->plan, l->generation, l->copy.marked);
	publish_definitions(l);
	set_phase(l, FLO_COPY_RUNNING);

	l->ncopiers = Max(1, Min(l->spec->copy_workers, l->plan->ntasks));
	l->copiers = palloc0(sizeof(BackgroundWorkerHandle *) * l->ncopiers);
	run_copiers(l);
	flo_injection_point("copied.after");
	if (!l->copy.marked)
		flo_copy_publish_sequences(l->bus, l->group, l->generation);
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(context);
	finish_copy(l);
}
