/*
 * receive.c
 *		Has a copy taken in: the worker's side of it.
 *
 * The worker starts loaders and looks how far they are: what the source says in
 * the state bucket of each table that is all published is compared with what
 * flo.copied_chunks says is in.
 *
 * A copy belongs to one snapshot, and its rows fit the tables only where the
 * stream is at that snapshot.  When the source has begun another one meanwhile,
 * rows of this one may be missing for ever: the worker goes on without them, to
 * the marker of the newer one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/transaction.h"
#include "dest/copied.h"
#include "dest/loader.h"
#include "dest/schema_apply.h"
#include "dest/sequences.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

/* Seconds after which a chunk that was not acknowledged is handed out again */
#define ACK_WAIT 30

/* Pauses between looks at the progress: a look takes longer the larger the copy is */
#define LOOK_PAUSE 50			/* ms */
#define LOOK_PAUSE_MAX 2000

typedef struct Receiver
{
	FloBus	   *bus;
	const FloWorkerSpec *spec;
	const char *generation;
	List	   *keys;			/* of FloCopyKey *: what is to be in; NIL = everything */
	uint32		attempt;		/* the snapshot; 0 = any */
	List	   *again;			/* OIDs of tables that come later, from another one */
	char	   *bucket;
	char	   *stream;
	const char *consumer;
	BackgroundWorkerHandle **loaders;
	int			nloaders;
	MemoryContext turn;
} Receiver;

static void
look_after_loaders(Receiver *r)
{
	for (int i = 0; i < r->nloaders; i++)
	{
		FloProcessArgs args = {0};

		if (r->loaders[i] != NULL && flo_process_ended(r->loaders[i]))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("a loader ended before the copy was in: %s", flo_me->last_error)));
		if (r->loaders[i] != NULL)
			continue;
		args.database = MyDatabaseId;
		args.slot = flo_my_slot;
		args.incarnation = flo_me->incarnation;
		args.helper = FLO_HELPER_LOADER;
		args.number = i;
		if (!flo_process_start(&args, psprintf("pg_flo loader %s %s %d", r->spec->group, r->spec->worker, i),
							   &r->loaders[i]))
			r->loaders[i] = NULL;
		if (r->loaders[i] == NULL && i == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no background worker process is free to load the copy"),
					 errhint("Raise max_worker_processes and restart the server.")));
	}
}

/* What the state bucket says of a table all of which is published */
static bool
parse_published(Receiver *r, const char *value, FloCopiedTable *table)
{
	FloJson		json = flo_json(value, strlen(value));
	char	   *generation = flo_json_get_string(json, "generation");
	char	   *lsn = flo_json_get_string(json, "lsn");
	int64		number;
	bool		bad = false;

	if (generation == NULL || lsn == NULL || strcmp(generation, r->generation) != 0)
		return false;
	memset(table, 0, sizeof(*table));
	table->lsn = pg_lsn_in_internal(lsn, &bad);
	table->schema = flo_json_get_string(json, "schema");
	table->table = flo_json_get_string(json, "table");
	if (flo_json_get_int64(json, "relation", &number))
		table->relation = (uint32) number;
	if (flo_json_get_int64(json, "attempt", &number))
		table->attempt = (uint32) number;
	if (flo_json_get_int64(json, "bytes", &number))
		table->bytes = number;
	if (!flo_json_get_int64(json, "chunks", &table->chunks) ||
		!flo_json_get_int64(json, "rows", &table->tuples))
		return false;
	return !bad && table->schema != NULL && table->table != NULL && OidIsValid(table->relation);
}

/* The key of a marker that names the table, NULL when none does */
static FloCopyKey *
key_of(Receiver *r, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, r->keys)
		if (((FloCopyKey *) lfirst(cell))->relation == relation)
			return lfirst(cell);
	return NULL;
}

/* The end of the copy that a generation begins with, and what it is without */
static bool
read_end(Receiver *r)
{
	char	   *end = flo_bucket_get(r->bus, r->bucket, "copy");
	char	   *again;

	if (end == NULL || strstr(end, r->generation) == NULL)
		return false;
	again = strstr(end, "\"again\":[");
	list_free(r->again);
	r->again = NIL;
	if (again == NULL)
		return true;
	for (again = strchr(again, '[') + 1; *again >= '0' && *again <= '9';)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(r->loaders));

		r->again = lappend_oid(r->again, (Oid) strtoul(again, &again, 10));
		MemoryContextSwitchTo(old);
		if (*again == ',')
			again++;
	}
	return true;
}

/*
 * Is all of it to be expected?  A sink without transactions takes rows of any
 * snapshot, and so waits here for those of a later one.
 */
static bool
is_wanted(Receiver *r, const FloCopiedTable *table)
{
	FloCopyKey *key = key_of(r, table->relation);

	if (r->keys != NIL)
		return key != NULL && table->attempt == key->attempt;
	return r->attempt == 0 || table->attempt == r->attempt;
}

static bool
all_published(Receiver *r, const List *wanted)
{
	ListCell   *cell;

	if (r->keys != NIL)
		return list_length(wanted) >= list_length(r->keys);
	if (!read_end(r))
		return false;
	foreach(cell, r->again)
		if (r->attempt == 0 && flo_copied_find(wanted, lfirst_oid(cell)) == NULL)
			return false;
	return true;
}

/*
 * Take down what is published, and count the tables that are to be in.  False
 * while the source still reads.
 */
static bool
note_published(Receiver *r, List **wanted)
{
	ListCell   *cell;

	*wanted = NIL;
	foreach(cell, flo_bucket_keys(r->bus, r->bucket, "copy."))
	{
		const char *name = lfirst(cell);
		char	   *value;
		FloCopiedTable *table = palloc0(sizeof(FloCopiedTable));

		if (strncmp(name, "copy.", 5) != 0)
			continue;
		value = flo_bucket_get(r->bus, r->bucket, name);
		if (value == NULL || !parse_published(r, value, table))
			continue;
		if (!is_wanted(r, table))
			continue;
		*wanted = lappend(*wanted, table);
		flo_copied_published(r->spec->group, r->spec->worker, table);
	}
	return all_published(r, *wanted);
}

static bool
is_loaded(const FloCopiedTable *wanted, List *tables)
{
	ListCell   *cell;

	if (wanted->chunks == 0)
		return true;			/* the table is gone */
	foreach(cell, tables)
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->relation == wanted->relation)
			return table->attempt == wanted->attempt &&
				(table->finished || table->loaded >= wanted->chunks);
	}
	return false;
}

/* One look at how far it is; true when everything is in */
static bool
look_at_progress(Receiver *r)
{
	List	   *wanted;
	List	   *tables;
	bool		all;
	int			complete = 0;
	uint64		rows = 0;
	ListCell   *cell;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(r->turn);
	all = note_published(r, &wanted);
	tables = flo_copied_tables(r->spec->group, r->spec->worker);
	foreach(cell, wanted)
		complete += is_loaded(lfirst(cell), tables);
	foreach(cell, tables)
		rows += ((FloCopiedTable *) lfirst(cell))->loaded_tuples;
	flo_transaction_end(r->turn);
	flo_state_set(FLO_STATE_COPYING, "%d tables complete, " UINT64_FORMAT " rows loaded%s",
				  complete, rows, all ? "" : "; the source is still reading");
	return all && complete >= list_length(wanted);
}

uint32
flo_loader_newest(FloBus *bus, const char *group, const char *generation)
{
	char	   *value = flo_bucket_get(bus, flo_name_bucket(group), FLO_ATTEMPT_KEY);
	int64		attempt;

	if (value == NULL || strstr(value, generation) == NULL ||
		!flo_json_get_int64(flo_json(value, strlen(value)), "attempt", &attempt))
		return 0;
	return (uint32) attempt;
}

static bool
is_superseded(Receiver *r)
{
	return r->keys != NIL && flo_loader_newest(r->bus, r->spec->group, r->generation) > r->attempt;
}

/* False when what is waited for will not come */
static bool
wait_for_stream(Receiver *r)
{
	FloStreamInfo info;
	long		pause = LOOK_PAUSE;

	while (!flo_stream_info(r->bus, r->stream, &info))
	{
		char	   *end = flo_bucket_get(r->bus, r->bucket, "copy");

		if (r->keys == NIL && end != NULL && strstr(end, r->generation) != NULL)
			flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "Start over with flo.resync() at the source, or create the worker with start => latest.",
					 "the copy of this group was taken in by other workers and is gone: this one needs flo.resync");
		if (is_superseded(r))
			return false;
		flo_state_set(FLO_STATE_WAITING, "for the copy to begin at the source");
		flo_bus_wait(r->bus, pause);
		pause = Min(pause * 2, 1000);
	}
	return true;
}

static void
set_copy_phase(FloCopyPhase phase, uint32 attempt)
{
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_me->copy.phase = phase;
	flo_me->copy.attempt = attempt;
	if (phase == FLO_COPY_RUNNING)
	{
		flo_me->copy.seen = 0;
		for (int i = 0; i < FLO_MAX_LOADERS; i++)
			flo_me->copy.low[i] = PG_UINT64_MAX;
	}
	LWLockRelease(flo_shared->lock);
}

/* Loaders run until all is in; false when that will never be */
static bool
run_loaders(Receiver *r, void (*report) (void *), void *arg)
{
	bool		complete = false;

	/* anew at each start: what was handed out and not loaded comes at once */
	flo_consumer_create_shared(r->bus, r->stream, r->consumer, ACK_WAIT);
	set_copy_phase(FLO_COPY_RUNNING, r->attempt);
	flo_state_set(FLO_STATE_COPYING, "loaders are starting");
	for (;;)
	{
		TimestampTz began = GetCurrentTimestamp();
		long		took;

		look_after_loaders(r);
		complete = look_at_progress(r);
		MemoryContextReset(r->turn);
		if (complete || is_superseded(r))
			break;
		report(arg);
		took = TimestampDifferenceMilliseconds(began, GetCurrentTimestamp());
		flo_bus_wait(r->bus, Min(LOOK_PAUSE + 20 * took, LOOK_PAUSE_MAX));
	}
	set_copy_phase(FLO_COPY_DONE, r->attempt);
	return complete;
}

bool
flo_loader_receive(FloBus *bus, const FloWorkerSpec *spec, const char *consumer,
				   const char *generation, List *keys, uint32 attempt,
				   void (*report) (void *), void *arg)
{
	Receiver	r = {0};
	MemoryContext context = CurrentMemoryContext;
	bool		complete;
	ListCell   *cell;

	r.bus = bus;
	r.spec = spec;
	r.consumer = consumer;
	r.generation = generation;
	r.keys = keys;
	r.attempt = attempt;
	r.bucket = flo_name_bucket(spec->group);
	r.stream = flo_name_copy_stream(spec->group);
	/* a file, or an endpoint, has one writer */
	r.nloaders = spec->sink == FLO_SINK_POSTGRES ? (int) spec->options.loaders : 1;
	r.loaders = palloc0(sizeof(BackgroundWorkerHandle *) * r.nloaders);
	r.turn = AllocSetContextCreate(context, "pg_flo copy", ALLOCSET_DEFAULT_SIZES);
	report(arg);
	if (!wait_for_stream(&r))
		return false;
	if (keys == NIL)
		flo_schema_create_before(bus, spec, generation);
	complete = run_loaders(&r, report, arg);
	if (keys == NIL)
	{
		flo_schema_create_after(spec, r.again == NIL || attempt == 0);
		flo_sequences_take(bus, spec, generation);
	}

	(void) flo_transaction_begin();
	ForceSyncCommit();
	if (attempt > 0)
		foreach(cell, r.again)
			flo_copied_expect(spec->group, spec->worker, lfirst_oid(cell), attempt + 1, true);
	if (complete)
	{
		foreach(cell, keys)
			flo_copied_reached(spec->group, spec->worker, lfirst(cell));
		flo_copied_finish(spec->group, spec->worker);
	}
	flo_transaction_end(context);
	flo_consumer_delete(bus, r.stream, consumer);
	return complete;
}
