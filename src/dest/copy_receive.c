/*
 * copy_receive.c
 *		The worker's side of taking in a copy: it has loaders load it, and knows
 *		when all of it is in, or that it cannot be had.
 *
 * The source describes each table that it has published in the state bucket,
 * with the number of its chunks.  When nothing is left at the broker and chunks
 * of such a table are missing, they were lost there, or purged before this
 * worker was known: the report says so, and the source copies the table again.
 *
 * A copy belongs to one snapshot, and its rows fit a database's tables only where
 * the stream is at that snapshot.  When the source has begun another one, rows of
 * this one may never come: the worker goes on without them, to its marker.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/backfills.h"
#include "conf/copies.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/transaction.h"
#include "dest/copy_definitions.h"
#include "dest/copy_loader.h"
#include "dest/copy_receive.h"
#include "dest/copy_schema_apply.h"
#include "dest/copy_schema_build.h"
#include "dest/copy_sequences.h"
#include "dest/copy_state.h"
#include "dest/foreign_keys.h"
#include "dest/owed.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Pauses between looks at the progress: a look takes longer the larger the copy is */
#define LOOK_PAUSE 50			/* ms */
#define LOOK_PAUSE_MAX 2000

/* Milliseconds between two times that progress is written down, at least */
#define NOTE_INTERVAL 1000

/* ms until a backfill of which the source says nothing is believed to be over */
#define UNKNOWN_PATIENCE 10000

/* Seconds after which a chunk that was not acknowledged is handed out again */
#define ACK_WAIT 30

typedef struct Receiver
{
	const FloReception *what;
	FloBus	   *bus;
	const FloWorkerSpec *spec;
	char	   *bucket;
	char	   *stream;
	BackgroundWorkerHandle **loaders;
	int			nloaders;
	int			running;
	FloBuilders *builders;
	int			complete;		/* tables that were in at the last look */
	bool		look_again;		/* at once: something has come since */
	uint32		admitted;		/* newest snapshot whose rows may be loaded */
	FloClock	unknown_since;	/* the source says nothing of the backfill; 0
								 * = it does */
	bool		superseded;		/* the source has begun a newer one for the
								 * marker's tables */
	FloAttemptRecord *newest;	/* what the source reads, or has read last;
								 * NULL = nothing yet */
	List	   *again;			/* OIDs of tables that come later, with a
								 * marker */
	int64		tables;			/* so many have keys */
	int64		lost;			/* of them are not there */
	bool		drained;		/* nothing was left at the broker at the last
								 * look */
	FloCopyKey *missing_chunks; /* a table whose chunks are lost, NULL = none
								 * is known */
	FloClock	noted_at;		/* when progress was written down */
	long		note_pause;		/* how long at least to the next time, as that
								 * takes longer the larger the copy is */
	MemoryContext round_context;
} Receiver;

static void
note_phase(Receiver *r, const char *phase)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_phase(r->spec->group, r->spec->worker, phase);
	flo_transaction_end(old);
}

/* --- loaders ------------------------------------------------------------- */

static void
look_after_loaders(Receiver *r)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(r->loaders));

	for (int i = 0; i < r->nloaders; i++)
	{
		FloProcessArgs args = {0};

		if (r->loaders[i] != NULL && flo_process_ended(r->loaders[i]))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("a loader ended before the copy was in: %s",
							flo_helper_last_error(flo_me->slot))));
		if (r->loaders[i] != NULL)
			continue;
		args.database = MyDatabaseId;
		args.slot = flo_me->slot;
		args.incarnation = flo_me->incarnation;
		args.helper = FLO_HELPER_LOADER;
		args.number = i;
		if (flo_process_start(&args, psprintf("pg_flo loader %s %s %d", r->spec->group,
											  r->spec->worker, i),
							  &r->loaders[i]))
			r->running++;
		else
			r->loaders[i] = NULL;
		if (r->loaders[i] == NULL && i == 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no background worker process is free to load the copy"),
					 errhint("Raise max_worker_processes and restart the server.")));
	}
	MemoryContextSwitchTo(old);
}

/* None of them may be at work when what they go by is changed */
static void
end_loaders(Receiver *r)
{
	for (int i = 0; i < r->nloaders; i++)
	{
		if (r->loaders[i] == NULL)
			continue;
		while (!flo_process_ended(r->loaders[i]))
		{
			flo_process_wake(r->loaders[i]);
			flo_wait_means(FLO_WAIT_APPLY);
			(void) flo_wait(PGINVALID_SOCKET, false, 10);
		}
		pfree(r->loaders[i]);
		r->loaders[i] = NULL;
	}
	r->running = 0;
	flo_dest_copy_close();
}

/* --- what is published, and what is in ----------------------------------- */

/*
 * What the state bucket says of a table all of which is published; NULL unless
 * it is of this generation
 */
static FloCopiedTable *
published_table(Receiver *r, const char *key)
{
	FloCopyTableRecord *record = flo_records_get(r->bus, r->bucket, key, &flo_copy_table_format);
	FloCopiedTable *table;

	if (record == NULL || strcmp(record->generation, r->what->generation) != 0)
		return NULL;
	table = palloc0(sizeof(FloCopiedTable));
	table->lsn = record->lsn;
	table->schema = record->schema;
	table->table = record->table;
	table->relation = record->relation;
	table->attempt = record->attempt;
	table->bytes = record->bytes;
	table->chunks = record->chunks;
	table->tuples = record->rows;
	return table;
}

/* The key of a marker that names the table, NULL when none does */
static FloCopyKey *
key_of(Receiver *r, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, r->what->keys)
	{
		if (((FloCopyKey *) lfirst(cell))->relation == relation)
			return lfirst(cell);
	}
	return NULL;
}

/* The end of the copy that a generation begins with, and what it is without */
static bool
read_end(Receiver *r)
{
	FloCopyRecord *end = flo_records_copy(r->bus, r->bucket, r->what->generation);
	MemoryContext old;

	if (end == NULL)
		return false;
	list_free(r->again);
	old = MemoryContextSwitchTo(GetMemoryChunkContext(r->loaders));
	r->again = list_copy(end->again);
	r->tables = end->tables;
	MemoryContextSwitchTo(old);
	return true;
}

static bool
is_wanted(Receiver *r, const FloCopiedTable *table)
{
	FloCopyKey *key = key_of(r, table->relation);

	if (r->what->keys != NIL && (key == NULL || table->attempt < key->attempt))
		return false;
	return r->what->attempt == 0 || table->attempt == r->what->attempt;
}

/*
 * Is a table that was asked for still to be published?  Not when it was removed
 * from the group, or dropped, before its snapshot was taken.
 */
static bool
is_coming(Receiver *r, const List *wanted, uint32 relation, uint32 attempt)
{
	return flo_copied_find(wanted, relation) == NULL &&
		(r->newest == NULL || r->newest->attempt < attempt || r->newest->all ||
		 list_member_oid(r->newest->tables, relation));
}

/* Who takes rows of any snapshot waits for all tables here */
static bool
all_published(Receiver *r, const List *wanted)
{
	ListCell   *cell;

	foreach(cell, r->what->keys)
	{
		FloCopyKey *key = lfirst(cell);

		if (is_coming(r, wanted, key->relation, key->attempt))
			return false;
	}
	foreach(cell, r->again)
	{
		if (r->what->attempt == 0 && is_coming(r, wanted, lfirst_oid(cell), 1))
			return false;
	}
	return true;
}

/* The same for the table of a backfill, of which the source says all at once */
static bool
note_backfill(Receiver *r, List **wanted)
{
	FloBackfillRecord *record = flo_records_backfill(r->bus, r->bucket, r->what->generation);
	FloCopiedTable *table;

	*wanted = NIL;
	if (record == NULL || !record->published || record->attempt != r->what->attempt)
		return false;
	table = palloc0(sizeof(FloCopiedTable));
	/* of a part of the table nothing follows for the rest */
	table->lsn = record->partial ? InvalidXLogRecPtr : record->lsn;
	table->schema = record->schema;
	table->table = record->table;
	table->relation = record->relation;
	table->attempt = record->attempt;
	table->bytes = record->bytes;
	table->chunks = record->chunks;
	table->tuples = record->rows;
	*wanted = list_make1(table);
	flo_copied_published(r->spec->group, r->spec->worker, table);
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
	bool		ended;
	int64		found = 0;

	if (r->what->backfill)
		return note_backfill(r, wanted);

	/*
	 * Both first.  The end is told after all tables: listed before it is
	 * read, the last table could be published between the two, and not be
	 * waited for. What the newest attempt does not list is published by then,
	 * or never.
	 */
	*wanted = NIL;
	ended = r->what->keys != NIL || read_end(r);
	r->newest = flo_records_attempt(r->bus, r->bucket, r->what->generation);
	foreach(cell, flo_bucket_keys(r->bus, r->bucket, FLO_COPY_TABLE_PREFIX))
	{
		FloCopiedTable *table = published_table(r, lfirst(cell));

		found += table != NULL;
		if (table == NULL || !is_wanted(r, table))
			continue;
		*wanted = lappend(*wanted, table);
		flo_copied_published(r->spec->group, r->spec->worker, table);
	}

	/*
	 * what is not told of is not waited for, so one that was removed may not
	 * go unnoticed
	 */
	r->lost = r->what->keys == NIL && ended ? Max(r->tables - found, 0) : 0;
	return ended && r->lost == 0 && all_published(r, *wanted);
}

/* So many of its chunks are still to be loaded; none of a table that is gone */
static int64
chunks_left(const FloCopiedTable *wanted, List *tables)
{
	const FloCopiedTable *table = flo_copied_find(tables, wanted->relation);

	if (table == NULL || table->attempt != wanted->attempt)
		return wanted->chunks;
	return table->finished ? 0 : Max(wanted->chunks - table->loaded, 0);
}

/*
 * Is it written down of all of them what they are made of, and as of when?  Not of one whose
 * last chunk has come since, with a new attempt.
 */
static bool
all_noted(List *wanted, List *tables)
{
	ListCell   *cell;

	foreach(cell, wanted)
	{
		const FloCopiedTable *one = lfirst(cell);
		const FloCopiedTable *table = flo_copied_find(tables, one->relation);

		if (one->chunks > 0 && !table->finished && table->chunks != one->chunks)
			return false;
	}
	return true;
}

/*
 * Is there nothing left that a loader could be handed?  Rows of a later snapshot
 * come after those of the one before.  Then what is missing will not come.  The
 * tables have to be looked at once more after that is seen: the last chunk may
 * have been loaded meanwhile.
 */
static void
look_for_losses(Receiver *r, List *wanted, List *tables)
{
	FloStreamInfo info;
	bool		drained = flo_stream_info(r->bus, r->stream, &info) &&
		(info.messages == 0 ||
		 flo_dest_copy_floor() >= Min(info.last_seq, flo_dest_copy_later() - 1));
	bool		before = r->drained;
	ListCell   *cell;

	r->drained = drained;
	if (!drained || !before || r->missing_chunks != NULL)
		return;
	foreach(cell, wanted)
	{
		FloCopiedTable *table = lfirst(cell);

		if (chunks_left(table, tables) == 0)
			continue;
		r->missing_chunks = MemoryContextAllocZero(GetMemoryChunkContext(r->loaders),
												   sizeof(FloCopyKey));
		r->missing_chunks->relation = table->relation;
		r->missing_chunks->attempt = table->attempt;
		ereport(LOG,
				(errmsg("chunks of table \"%s.%s\" are lost at the broker, or were removed before this worker was known: the source is asked to copy the table again",
						table->schema, table->table)));
		return;
	}
}

/* Indexes that came along, of tables that are in */
static void
build_early(Receiver *r, int complete)
{
	if (r->spec->sink != FLO_SINK_POSTGRES || r->what->backfill)
		return;
	if (complete > r->complete || r->builders->begun)
		flo_schema_build_early(r->spec, r->builders);
	r->complete = complete;
}

/*
 * One look at how far it is; true when everything is in.  When all is published it is
 * known how many chunks are to come, and whoever loads the last of them wakes us.
 */
static bool
look_at_progress(Receiver *r)
{
	uint64		loaded = flo_dest_copy_loaded();
	int64		left = 0;
	List	   *wanted;
	List	   *tables;
	bool		all;
	int			complete = 0;
	uint64		rows = 0;
	char	   *trouble;
	ListCell   *cell;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(r->round_context);
	all = note_published(r, &wanted);
	if (flo_clock_passed(r->noted_at, Max(NOTE_INTERVAL, r->note_pause)))
	{
		FloClock	began = flo_clock();

		flo_copied_note_progress(r->spec->group, r->spec->worker);
		r->noted_at = flo_clock();
		r->note_pause = 20 * flo_clock_since(began);
	}
	tables = flo_copied_tables(r->spec->group, r->spec->worker);
	foreach(cell, wanted)
	{
		int64		chunks = chunks_left(lfirst(cell), tables);

		left += chunks;
		complete += chunks == 0;
	}
	foreach(cell, tables)
		rows += ((FloCopiedTable *) lfirst(cell))->loaded_tuples;
	flo_transaction_end(r->round_context);
	if (all && left == 0)
	{
		r->look_again = !all_noted(wanted, tables);
		return !r->look_again;
	}
	r->look_again = !flo_dest_copy_await(all ? loaded + left : PG_UINT64_MAX);
	build_early(r, complete);
	if (all)
		look_for_losses(r, wanted, tables);
	else
		r->drained = false;
	if (!all)
		r->missing_chunks = NULL;
	if (r->lost > 0)
		flo_state_set(FLO_STATE_WAITING, "for the source to copy " INT64_FORMAT " tables again: their keys were removed from state bucket \"%s\"; if it does not, stop and start its replicator",
					  r->lost, r->bucket);
	else if (!all && (trouble = r->what->trouble(r->what->arg)) != NULL)
		flo_state_set(FLO_STATE_WAITING, "%s", trouble);
	else
		flo_state_set(FLO_STATE_COPYING, "%d tables complete, " UINT64_FORMAT " rows loaded%s%s",
					  complete, rows, all ? "" : "; the source is still reading",
					  r->running < r->nloaders ?
					  psprintf("; %d of %d loaders, no process is free: raise max_worker_processes",
							   r->running, r->nloaders) : "");
	return false;
}

/* Has everything been published?  Then the stream is gone because nobody was known to need it. */
static bool
is_over(Receiver *r)
{
	List	   *wanted;
	bool		all;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(r->round_context);
	all = note_published(r, &wanted);
	flo_transaction_end(r->round_context);
	return all;
}

/* What the source says of a backfill; notes whether anything comes of it yet */
static FloBackfillRecord *
look_at_backfill(Receiver *r)
{
	FloBackfillRecord *record = flo_records_backfill(r->bus, r->bucket, r->what->generation);

	if (record != NULL && record->attempt >= r->what->attempt)
	{
		r->unknown_since = 0;
		r->superseded = record->over || record->attempt > r->what->attempt;
		return record;
	}
	if (r->unknown_since == 0)
		r->unknown_since = flo_clock();
	r->superseded = flo_clock_passed(r->unknown_since, UNKNOWN_PATIENCE);
	return NULL;
}

/* False when there will be none, or it is to be left */
static bool
wait_for_stream(Receiver *r)
{
	FloStreamInfo info;
	long		pause = LOOK_PAUSE;

	while (!flo_stream_info(r->bus, r->stream, &info))
	{
		if (is_over(r))
			return false;
		if (r->what->backfill)
			(void) look_at_backfill(r);
		if (r->superseded)
			return false;
		MemoryContextReset(r->round_context);
		flo_state_set(FLO_STATE_WAITING, "for the copy to begin at the source");
		if (!r->what->proceed(r->what->arg, NULL))
			return false;
		flo_bus_rest(r->bus, pause);
		pause = Min(pause * 2, 1000);
	}
	return true;
}

uint32
flo_copy_newest(FloBus *bus, const char *group, const char *generation)
{
	FloAttemptRecord *record = flo_records_attempt(bus, flo_name_bucket(group), generation);

	return record != NULL ? record->attempt : 0;
}

/* What the source says of how much there is; one of before that was known says nothing */
static void
note_plan(Receiver *r, uint32 attempt)
{
	const char *key = r->what->keys != NIL ? FLO_MARKED_PLAN_KEY : FLO_PLAN_KEY;
	MemoryContext context = CurrentMemoryContext;
	char	   *text;
	FloPlanRecord *plan;

	MemoryContextSwitchTo(r->round_context);
	text = flo_bucket_get_text(r->bus, r->bucket, key,
							   flo_schema_tag(r->what->generation, attempt));
	if (text != NULL)
	{
		plan = flo_record_read(&flo_plan_format, key, text, strlen(text));
		(void) flo_transaction_begin();
		flo_copies_plan(r->spec->group, r->spec->worker, attempt, plan->tables);
		flo_transaction_end(r->round_context);
	}
	MemoryContextSwitchTo(context);
}

/*
 * Rows of a backfill are taken when all of them are there, so that a source that has to
 * begin again has given none of them; unless they do not fit into their stream.  False
 * when they do not come any more.
 */
static bool
admit_backfill(Receiver *r)
{
	FloBackfillRecord *record = look_at_backfill(r);

	if (record != NULL)
		flo_dest_copy_note_newest(record->attempt);
	if (r->superseded || r->admitted != 0 || record == NULL ||
		!(record->published || record->open))
		return !r->superseded;
	note_plan(r, record->attempt);
	note_phase(r, FLO_PHASE_LOADING);
	r->admitted = record->attempt;
	flo_dest_copy_admit(r->admitted);
	return true;
}

/*
 * Rows of a snapshot are loaded once the definitions that came with it have been
 * compared with what is here: they may not be those of the snapshot before.
 * False when the copy is to be left.
 */
static bool
admit_attempt(Receiver *r)
{
	const char *key = r->what->keys != NIL ? FLO_MARKED_SCHEMA_KEY : FLO_SCHEMA_KEY;
	uint32		attempt;

	if (r->what->backfill)
		return admit_backfill(r);
	attempt = flo_copy_newest(r->bus, r->spec->group, r->what->generation);

	flo_dest_copy_note_newest(attempt);
	if (attempt <= r->admitted || attempt < r->what->attempt)
		return true;
	if (r->what->attempt > 0 && attempt > r->what->attempt)
	{
		r->superseded = r->what->keys != NIL;
		attempt = r->what->attempt;
		if (r->superseded || attempt <= r->admitted)
			return true;
	}
	note_plan(r, attempt);
	if (r->spec->sink == FLO_SINK_POSTGRES &&
		flo_bucket_has_text(r->bus, r->bucket, key, flo_schema_tag(r->what->generation, attempt)))
	{
		note_phase(r, FLO_PHASE_SCHEMA);
		if (!flo_schema_create_before(r->what, key, attempt))
			return false;
	}
	note_phase(r, FLO_PHASE_LOADING);
	r->admitted = attempt;
	flo_dest_copy_admit(r->admitted);
	return true;
}

/* --- taking it in -------------------------------------------------------- */

typedef enum Outcome
{
	LOADED,
	VANISHED,					/* the source has removed the stream: it
								 * begins the copy again, or ends it */
	LEFT
} Outcome;

static Outcome
have_loaded(Receiver *r)
{
	FloStreamInfo info;
	bool		there;
	bool		go_on;

	/* anew at each start: what was handed out and not loaded comes at once */
	flo_consumer_create_shared(r->bus, r->stream, r->what->consumer, ACK_WAIT);
	flo_dest_copy_begin(r->what->generation_id, r->what->attempt > 0, r->what->backfill);
	flo_state_set(FLO_STATE_COPYING, "loaders are starting");
	for (;;)
	{
		FloClock	began = flo_clock();
		uint64		words = r->what->words(r->what->arg);
		long		took;
		bool		admitted = admit_attempt(r);

		look_after_loaders(r);

		/*
		 * before the tables: a stream that goes when all is in must not look
		 * like one that is lost
		 */
		there = flo_stream_info(r->bus, r->stream, &info);
		if (admitted && look_at_progress(r))
			break;
		MemoryContextReset(r->round_context);
		go_on = admitted && r->what->proceed(r->what->arg, r->missing_chunks) && !r->superseded;
		if (!there || !go_on)
		{
			flo_dest_copy_end();
			end_loaders(r);
			return go_on ? VANISHED : LEFT;
		}
		if (r->look_again || r->what->words(r->what->arg) != words)
			continue;
		took = flo_clock_since(began);
		flo_bus_rest_for(r->bus, FLO_WAIT_APPLY, Min(LOOK_PAUSE + 20 * took, LOOK_PAUSE_MAX));
	}
	flo_dest_copy_end();
	end_loaders(r);
	return admit_attempt(r) ? LOADED : LEFT;
}

/*
 * Definitions that came along went with the copy stream: is it known that they
 * were taken?  Where they came without rows nothing else would tell.
 */
static bool
has_definitions(Receiver *r)
{
	MemoryContext old = CurrentMemoryContext;
	bool		taken;

	if (r->spec->sink != FLO_SINK_POSTGRES || r->what->keys != NIL || r->newest == NULL ||
		!r->newest->all || !r->newest->definitions)
		return true;
	(void) flo_transaction_begin();
	taken = flo_definitions_taken(r->spec, r->what->generation);
	flo_transaction_end(old);
	return taken;
}

static Outcome
receive(Receiver *r)
{
	Outcome		outcome = VANISHED;

	if (!r->what->proceed(r->what->arg, NULL))
		return LEFT;
	while (outcome == VANISHED)
	{
		if (wait_for_stream(r))
			outcome = have_loaded(r);
		else
			outcome = is_over(r) && has_definitions(r) && look_at_progress(r) ? LOADED : LEFT;
	}
	return outcome;
}

/* Are the rows of all tables in then? */
static bool
is_complete(Receiver *r)
{
	bool		complete = r->what->attempt == 0 || r->again == NIL;
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, flo_copied_tables(r->spec->group, r->spec->worker))
	{
		FloCopiedTable *table = lfirst(cell);

		complete &= table->expected == 0 || key_of(r, table->relation) != NULL;
	}
	foreach(cell, flo_given_up_tables(r->spec->group, r->spec->worker))
	{
		FloGivenUp *table = lfirst(cell);

		complete &= table->asked && key_of(r, table->relation) != NULL;
	}
	flo_transaction_end(old);
	return complete;
}

/*
 * Tables of a marker that were given up before it was asked for are loaded
 * again, and taken up when they are in
 */
static void
ask_for_given_up(Receiver *r)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, r->what->keys)
	{
		FloCopyKey *key = lfirst(cell);

		flo_given_up_ask(r->spec->group, r->spec->worker, key->relation, key->ordinal,
						 key->attempt);
	}
	flo_transaction_end(old);
}

/* What comes after the rows; false when the copy is to be left */
static bool
complete_tables(Receiver *r, bool *complete)
{
	bool		in;

	/*
	 * those that exist; the ones that are created now are checked in doing so
	 */
	*complete = is_complete(r);
	if (*complete)
	{
		note_phase(r, FLO_PHASE_KEYS);
		flo_foreign_keys_check(r->spec);
	}
	note_phase(r, FLO_PHASE_INDEXES);
	flo_schema_build(r->spec, r->builders);
	in = flo_schema_create_after(r->what, *complete);
	/* both may take longer than the broker waits for a sign of life */
	flo_bus_refresh(r->bus);
	return in;
}

static void
note_begin(Receiver *r)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_begin(r->spec->group, r->spec->worker, r->what->generation, FLO_PHASE_SOURCE);
	flo_transaction_end(old);
}

/*
 * In the transaction that says that all is in.  Tables that a crash of the source
 * left unfinished are of the same copy, and come with a marker.  Words for the log,
 * NULL when there is nothing to say.
 */
static char *
note_end(Receiver *r)
{
	if (r->what->attempt == 0 || r->again == NIL)
		return flo_copies_finish(r->spec->group, r->spec->worker);
	flo_copies_phase(r->spec->group, r->spec->worker, FLO_PHASE_SOURCE);
	return NULL;
}

/* In the same transaction, when a backfill's rows are in */
static void
end_backfill(const FloReception *what)
{
	FloDueBackfill due = {
		.attempt = what->attempt,
		.relation = ((FloCopyKey *) linitial(what->keys))->relation,
		.over = true
	};

	strlcpy(due.generation, what->generation, sizeof(due.generation));
	flo_due_backfill_save(what->spec->group, what->spec->worker, &due);
}

/*
 * The order of the end: foreign keys that are here are checked before others are
 * made, which are checked in doing so.  Values of sequences are no part of a
 * transaction and come before the one that says that all is in.  That one holds
 * everything that is believed afterwards, so after a crash before it the copy is
 * taken in again, and chunks are known by their keys.  The consumer at the broker
 * goes last: one that is left over is made anew by the next copy.
 */
bool
flo_copy_receive(const FloReception *what)
{
	Receiver	r = {0};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "pg_flo copy", ALLOCSET_DEFAULT_SIZES);
	bool		in;
	bool		complete = false;
	char	   *words;
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	r.what = what;
	r.bus = what->bus;
	r.spec = what->spec;
	r.bucket = flo_name_bucket(r.spec->group);
	r.stream = what->backfill ? flo_name_backfill_stream(r.spec->group) :
		flo_name_copy_stream(r.spec->group);
	/* a file, or an endpoint, has one writer */
	r.nloaders = r.spec->sink == FLO_SINK_POSTGRES ? (int) r.spec->options.loaders : 1;
	r.loaders = palloc0(sizeof(BackgroundWorkerHandle *) * r.nloaders);
	r.builders = palloc0(sizeof(FloBuilders));
	r.round_context = AllocSetContextCreate(context, "pg_flo look", ALLOCSET_DEFAULT_SIZES);
	note_begin(&r);
	if (!what->backfill)
		ask_for_given_up(&r);
	in = receive(&r) == LOADED;
	MemoryContextSwitchTo(context);
	if (in && r.spec->sink == FLO_SINK_POSTGRES)
		in = complete_tables(&r, &complete);
	if (in)
	{
		if (r.spec->sink == FLO_SINK_POSTGRES)
		{
			note_phase(&r, FLO_PHASE_SEQUENCES);
			flo_sequences_take(r.bus, r.spec, what->generation);
		}
		flo_injection_point("finish.before");
		(void) flo_transaction_begin();
		ForceSyncCommit();
		if (what->attempt > 0)
			foreach(cell, r.again)
		{
			flo_copied_expect(r.spec->group, r.spec->worker, lfirst_oid(cell), what->attempt + 1,
							  true, false);
			flo_owed_add(r.spec->group, r.spec->worker, lfirst_oid(cell), 0, what->position,
						 GetCurrentTimestamp());
		}
		if (what->backfill)
			end_backfill(what);
		foreach(cell, what->backfill ? NIL : what->keys)
		{
			FloCopyKey *key = lfirst(cell);

			flo_copied_reached(r.spec->group, r.spec->worker, key);
			flo_owed_fulfilled(r.spec->group, r.spec->worker, key->relation);
			flo_given_up_take(r.spec->group, r.spec->worker, key->relation);
		}
		flo_copied_finish(r.spec->group, r.spec->worker,
						  what->keys != NIL && !what->backfill ?
						  ((FloCopyKey *) linitial(what->keys))->attempt : 0);
		if (complete)
			flo_foreign_keys_checked(r.spec);
		MemoryContextSwitchTo(context);
		words = note_end(&r);
		flo_transaction_end(context);
		if (words != NULL)
			ereport(LOG,
					(errmsg("worker \"%s\" of group \"%s\": copy finished: %s", r.spec->worker,
							r.spec->group, words)));
		flo_injection_point("finish.after");
		flo_consumer_delete(r.bus, r.stream, what->consumer);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return in;
}
