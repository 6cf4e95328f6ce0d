/*
 * loader.c
 *		Loads copied rows.
 *
 * All loaders of a worker share one consumer of the copy stream.  A chunk is
 * loaded in one transaction together with its key, and acknowledged when that
 * is flushed; what is handed out again is recognised by the key.  The rows go
 * through the sink like streamed ones.
 *
 * A row larger than a chunk comes in pieces.  The loader that gets the first
 * one reads the others by their subjects; whoever is handed one of them leaves
 * it alone until its key is there.
 *
 * Loaders carry the origin "do not replicate", since a process can hold the
 * worker's own origin only once: what they load is not sent on by groups here.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "conf/store.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/trail.h"
#include "dest/copied.h"
#include "dest/loader.h"
#include "dest/worker.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "nodes/makefuncs.h"
#include "replication/origin.h"
#include "sink/sink.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define PULL_BATCH 4
#define PULL_EXPIRES 5000		/* ms */

/* Seconds after which a chunk that was not acknowledged is handed out again */
#define ACK_WAIT 30

/* Commits between two flushes */
#define FLUSH_EVERY 8

/* How long the pieces of a large row may be under way, ms */
#define PIECE_TIMEOUT 60000

typedef struct Loader
{
	const FloProcessArgs *args;
	char	   *group;
	char	   *worker;
	char	   *stream;
	char	   *consumer;
	FloWorkerSpec *spec;
	FloBus	   *bus;
	FloChangeParser *parser;
	FloSink    *sink;
	FloCounters counters;
	int			encoding;
	MemoryContext turn;

	bool		prepared;		/* the table of the chunk at hand */

	/* loaded, not acknowledged */
	List	   *unacked;		/* of char * */
	XLogRecPtr	unflushed;
} Loader;

/* --- emptying ------------------------------------------------------------------------ */

/* Does the table, or a partition of it, hold a row? */
static bool
has_rows(Oid relation)
{
	bool		found = false;
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relation, AccessShareLock, NULL))
	{
		Relation	rel = table_open(lfirst_oid(cell), NoLock);

		if (!found && rel->rd_rel->relkind == RELKIND_RELATION)
		{
			TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
			TupleTableSlot *slot = table_slot_create(rel, NULL);

			found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
			ExecDropSingleTupleTableSlot(slot);
			table_endscan(scan);
		}
		table_close(rel, NoLock);
	}
	return found;
}

static void
empty_table(Loader *l, const FloRelation *relation)
{
	FloChange	truncate = {0};
	FloTransaction txn = {0};
	const FloRelation *relations[1] = {relation};

	truncate.op = FLO_OP_TRUNCATE;
	truncate.nrelations = 1;
	truncate.relations = relations;
	l->sink->ops->change(l->sink, &txn, &truncate);
	CommandCounterIncrement();
}

/* First chunk of a table, or of a new attempt: what may be in it? */
static void
prepare_table(Loader *l, const FloRelation *relation, bool again)
{
	Oid			relid = RangeVarGetRelid(makeRangeVar(relation->schema, relation->name, -1),
										 AccessShareLock, true);

	if (!OidIsValid(relid))
		return;					/* the sink says so better */
	if (again && l->spec->options.copy_into == FLO_COPY_MERGE)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is copied a second time, and copy_into is merge: rows of the first copy cannot be told apart",
						relation->schema, relation->name),
				 errhint("Empty the table, or set copy_into to truncate.")));
	if (l->spec->options.copy_into == FLO_COPY_MERGE)
		return;
	if (!has_rows(relid))
		return;
	if (!again && l->spec->options.copy_into == FLO_COPY_EMPTY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not empty, so rows are not copied into it",
						relation->schema, relation->name),
				 errhint("Empty it, or set the worker's option copy_into to truncate or merge.")));
	empty_table(l, relation);
}

/* --- loading ---------------------------------------------------------------------------- */

static void
acknowledge(Loader *l)
{
	ListCell   *cell;

	if (l->unacked == NIL)
		return;
	if (!XLogRecPtrIsInvalid(l->unflushed))
		XLogFlush(l->unflushed);
	foreach(cell, l->unacked)
		flo_bus_publish(l->bus, lfirst(cell), "+ACK", 4);
	list_free_deep(l->unacked);
	l->unacked = NIL;
	l->unflushed = InvalidXLogRecPtr;
}

static void
remember_ack(Loader *l, const char *subject)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(l));

	l->unacked = lappend(l->unacked, pstrdup(subject));
	MemoryContextSwitchTo(old);
}

static void
load_message(Loader *l, const FloCopyKey *key, char *data, uint32 len, FloTransaction *txn)
{
	const FloChange *change = flo_change_parse(l->parser, data, len);

	if (change->op == FLO_OP_TYPE)
		return;
	if (!l->prepared)
	{
		bool		fresh;
		bool		again;

		(void) flo_copied_begin_table(l->group, l->worker, key->relation, change->relation->schema,
									  change->relation->name, key->attempt, &fresh, &again);
		if (fresh)
			prepare_table(l, change->relation, again);
		l->prepared = true;
	}
	if (change->op != FLO_OP_INSERT)
		return;
	txn->ordinal++;
	l->sink->ops->change(l->sink, txn, change);
}

/* The rest of a row that began in a chunk, from the chunks that hold it */
static void
collect_pieces(Loader *l, FloCopyKey *key, StringInfo row, uint32 total, uint16 flags)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PIECE_TIMEOUT);

	while (flags & FLO_CHUNK_ENDS_FRAGMENT)
	{
		FloStoredMessage message;
		FloChunkHeader header;
		FloChunkReader reader;
		FloCopyKey	piece;
		const char *data;
		uint32		len;
		char	   *subject;

		key->ordinal++;
		subject = psprintf("%s.copy.%u-%u-%u-%u", flo_name_subject(l->group), key->relation,
						   key->attempt, key->range, key->ordinal);
		while (!flo_stream_get_last(l->bus, l->stream, subject, &message))
		{
			if (GetCurrentTimestamp() > deadline)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("a piece of a large row is not in the copy stream: %s", subject)));
			flo_bus_wait(l->bus, 200);
		}
		if (flo_chunk_parse(message.data, message.len, &header) != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a piece of a large row is damaged: %s", subject)));
		flo_chunk_read(&reader, message.data, message.len);
		if (!flo_chunk_next_copy_key(&reader, &piece) || !flo_copied_claim(l->group, l->worker, &piece))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a piece of a large row was loaded without its beginning: %s", subject)));
		len = flo_chunk_take_raw(&reader, total - row->len, &data);
		appendBinaryStringInfo(row, data, len);
		flags = header.flags;
		pfree(message.data);
	}
}

static void
load_rows(Loader *l, FloCopyKey *key, FloChunkReader *reader, uint16 flags)
{
	FloTransaction txn = {0};
	const char *data;
	uint32		len;
	uint32		total;

	while (flo_chunk_next(reader, &data, &len, &total))
	{
		StringInfoData row;

		if (len == total)
		{
			load_message(l, key, unconstify(char *, data), len, &txn);
			continue;
		}
		initStringInfo(&row);
		enlargeStringInfo(&row, Min(total, MaxAllocSize - 2) + 1);
		appendBinaryStringInfo(&row, data, len);
		collect_pieces(l, key, &row, total, flags);
		load_message(l, key, row.data, row.len, &txn);
	}
}

/* One chunk, one transaction.  False when it is not this loader's to finish. */
static bool
load_chunk(Loader *l, FloBusDelivery *delivery)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;
	const char *reason = flo_chunk_parse(delivery->data, delivery->len, &header);
	uint32		current;
	bool		done = true;

	if (reason != NULL || !(header.flags & FLO_CHUNK_COPY))
		return true;			/* if it mattered, the count will not come right */
	flo_chunk_read(&reader, delivery->data, delivery->len);
	if (!flo_chunk_next_copy_key(&reader, &key))
		return true;
	if (header.encoding != l->encoding)
	{
		l->encoding = header.encoding;
		flo_worker_follow_encoding(l->parser, l->encoding);
	}

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(l->turn);
	current = flo_copied_current(l->group, l->worker, key.relation, key.attempt);
	l->prepared = current == key.attempt;
	if (current > key.attempt)
		done = true;			/* of a snapshot that was given up */
	else if (header.flags & FLO_CHUNK_STARTS_FRAGMENT)
		done = flo_copied_has(l->group, l->worker, &key);
	else if (flo_copied_claim(l->group, l->worker, &key))
	{
		l->sink->ops->begin(l->sink);
		load_rows(l, &key, &reader, header.flags);
		l->sink->ops->finish(l->sink);
	}
	PopActiveSnapshot();
	replorigin_session_origin = DoNotReplicateId;
	CommitTransactionCommand();
	replorigin_session_origin = InvalidRepOriginId;
	l->unflushed = XactLastCommitEnd;
	MemoryContextSwitchTo(l->turn);
	return done;
}

/* --- the helper process ------------------------------------------------------------------- */

static bool
copy_is_in(const FloProcessArgs *args)
{
	bool		done;

	LWLockAcquire(flo_shared->lock, LW_SHARED);
	done = flo_shared->members[args->slot].copy.phase == FLO_COPY_DONE;
	LWLockRelease(flo_shared->lock);
	return done;
}

static void
take_names(Loader *l)
{
	FloMember  *m = &flo_shared->members[l->args->slot];

	LWLockAcquire(flo_shared->lock, LW_SHARED);
	l->group = pstrdup(m->group);
	l->worker = pstrdup(m->member);
	LWLockRelease(flo_shared->lock);
	l->stream = flo_name_copy_stream(l->group);
	l->consumer = flo_name_consumer(l->group, l->worker, GetSystemIdentifier(), MyDatabaseId);
}

/* Rows go into empty tables, where nothing can be in conflict, or are merged */
static void
open_sink(Loader *l)
{
	const FloSinkOps *ops = flo_sink_ops(l->spec->sink);

	if (l->spec->options.copy_into != FLO_COPY_MERGE)
		l->spec->options.on_conflict = FLO_CONFLICT_ERROR;
	l->sink = ops->open(l->spec, &l->counters);
}

static FloWorkerSpec *
load_spec(const char *group, const char *worker)
{
	MemoryContext old = CurrentMemoryContext;
	FloWorkerSpec *spec;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(old);
	spec = flo_store_worker(group, worker);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return spec;
}

/* Load what has come; true when something had */
static bool
load_deliveries(Loader *l, int *expected)
{
	FloBusDelivery delivery;
	bool		any = false;

	while (flo_bus_next_delivery(l->bus, &delivery))
	{
		if (delivery.status != 0)
			*expected = 0;
		else
		{
			MemoryContext old = MemoryContextSwitchTo(l->turn);

			(*expected)--;
			any = true;
			if (load_chunk(l, &delivery))
				remember_ack(l, delivery.ack_subject);
			MemoryContextSwitchTo(old);
			MemoryContextReset(l->turn);
		}
		flo_bus_release(l->bus, &delivery);
		if (list_length(l->unacked) >= FLUSH_EVERY)
			acknowledge(l);
		flo_check_interrupts();
	}
	return any;
}

void
flo_loader_run(const FloProcessArgs *args)
{
	Loader	   *l = palloc0(sizeof(Loader));
	int			expected = 0;	/* messages still to come of the open request */
	TimestampTz requested = 0;

	l->args = args;
	l->encoding = -1;
	take_names(l);
	l->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo turn", ALLOCSET_DEFAULT_SIZES);
	l->parser = flo_change_parser_create(CurrentMemoryContext);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	l->spec = load_spec(l->group, l->worker);
	if (l->spec == NULL)
		return;
	open_sink(l);
	l->bus = flo_bus_connect(psprintf("pg_flo loader %s %s %d", l->group, l->worker, args->number));
	while (!copy_is_in(args))
	{
		flo_helper_check(args->slot, args->incarnation);
		if (expected <= 0 ||
			TimestampDifferenceExceeds(requested, GetCurrentTimestamp(), PULL_EXPIRES + 1000))
		{
			flo_bus_pull(l->bus, l->stream, l->consumer, PULL_BATCH, PULL_EXPIRES);
			expected = PULL_BATCH;
			requested = GetCurrentTimestamp();
		}
		flo_bus_pump(l->bus);
		if (load_deliveries(l, &expected))
			continue;
		acknowledge(l);
		flo_bus_wait(l->bus, 500);
	}
}

/* --- the worker's side ------------------------------------------------------------------------ */

typedef struct Receiver
{
	FloBus	   *bus;
	const FloWorkerSpec *spec;
	const char *generation;
	List	   *keys;			/* of FloCopyKey *: what is to be in; NIL = everything */
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

/*
 * Take down what is published, and count the tables that are to be in.  False
 * while the source still reads.
 */
static bool
note_published(Receiver *r, List **wanted)
{
	char	   *end = flo_bucket_get(r->bus, r->bucket, "copy");
	ListCell   *cell;

	*wanted = NIL;
	foreach(cell, flo_bucket_keys(r->bus, r->bucket))
	{
		const char *name = lfirst(cell);
		char	   *value;
		FloCopiedTable *table = palloc0(sizeof(FloCopiedTable));
		FloCopyKey *key;

		if (strncmp(name, "copy.", 5) != 0)
			continue;
		value = flo_bucket_get(r->bus, r->bucket, name);
		if (value == NULL || !parse_published(r, value, table))
			continue;
		key = key_of(r, table->relation);
		if (r->keys != NIL && (key == NULL || table->attempt < key->attempt))
			continue;
		*wanted = lappend(*wanted, table);
		flo_copied_published(r->spec->group, r->spec->worker, table);
	}
	if (r->keys != NIL)
		return list_length(*wanted) >= list_length(r->keys);
	return end != NULL && strstr(end, r->generation) != NULL;
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

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(r->turn);
	all = note_published(r, &wanted);
	tables = flo_copied_tables(r->spec->group, r->spec->worker);
	foreach(cell, wanted)
		complete += is_loaded(lfirst(cell), tables);
	foreach(cell, tables)
		rows += ((FloCopiedTable *) lfirst(cell))->loaded_tuples;
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(r->turn);
	flo_state_set(FLO_STATE_COPYING, "%d tables complete, " UINT64_FORMAT " rows loaded%s",
				  complete, rows, all ? "" : "; the source is still reading");
	return all && complete >= list_length(wanted);
}

static void
wait_for_stream(Receiver *r)
{
	FloStreamInfo info;

	while (!flo_stream_info(r->bus, r->stream, &info))
	{
		char	   *end = flo_bucket_get(r->bus, r->bucket, "copy");

		if (r->keys == NIL && end != NULL && strstr(end, r->generation) != NULL)
			flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "Start over with flo.resync() at the source, or create the worker with start => latest.",
					 "the copy of this group was taken in by other workers and is gone: this one needs flo.resync");
		flo_state_set(FLO_STATE_WAITING, "for the copy to begin at the source");
		flo_bus_wait(r->bus, 1000);
	}
}

static void
set_copy_phase(FloCopyPhase phase)
{
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	flo_me->copy.phase = phase;
	LWLockRelease(flo_shared->lock);
}

void
flo_loader_receive(FloBus *bus, const FloWorkerSpec *spec, const char *consumer,
				   const char *generation, List *keys, void (*report) (void *), void *arg)
{
	Receiver	r = {0};
	MemoryContext context = CurrentMemoryContext;

	r.bus = bus;
	r.spec = spec;
	r.consumer = consumer;
	r.generation = generation;
	r.keys = keys;
	r.bucket = flo_name_bucket(spec->group);
	r.stream = flo_name_copy_stream(spec->group);
	r.nloaders = (int) spec->options.loaders;
	r.loaders = palloc0(sizeof(BackgroundWorkerHandle *) * r.nloaders);
	r.turn = AllocSetContextCreate(context, "pg_flo copy", ALLOCSET_DEFAULT_SIZES);
	report(arg);
	wait_for_stream(&r);

	/* anew at each start: what was handed out and not loaded comes at once */
	flo_consumer_create_shared(bus, r.stream, consumer, ACK_WAIT);
	set_copy_phase(FLO_COPY_RUNNING);
	flo_state_set(FLO_STATE_COPYING, "loaders are starting");
	for (;;)
	{
		look_after_loaders(&r);
		if (look_at_progress(&r))
			break;
		MemoryContextReset(r.turn);
		report(arg);
		flo_bus_wait(bus, 500);
	}
	set_copy_phase(FLO_COPY_DONE);

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	ForceSyncCommit();
	flo_copied_finish(spec->group, spec->worker);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	flo_consumer_delete(bus, r.stream, consumer);
}
