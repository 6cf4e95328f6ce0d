/*
 * worker_start.c
 *		How a worker comes to its first rows: where it begins, and the copies that
 *		it takes in.
 *
 * What it needs may be gone: history is purged when the workers known so far
 * have it, and a copy when they have loaded it.  A worker that comes too late
 * never begins in the middle.  It waits, known to the source but with nothing
 * kept for it, until flo.resync() there begins a generation that brings
 * all rows with it, and goes on with that one by itself.
 */
#include "postgres.h"

#include "bus/json.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/store.h"
#include "core/loop.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/backfill.h"
#include "dest/consumer.h"
#include "dest/copy_receive.h"
#include "dest/copy_state.h"
#include "dest/foreign_keys.h"
#include "dest/given_up.h"
#include "dest/owed.h"
#include "dest/progress.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_generation.h"
#include "dest/worker_report.h"
#include "dest/worker_source.h"
#include "dest/worker_start.h"
#include "dest/worker_state.h"
#include "monitor/state.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/record.h"

/* Looks, a second apart, until a copy that a marker asks for is believed to be gone */
#define MARKED_PATIENCE 10

static void
take_position(FloWorker *w)
{
	w->position = w->durable = w->origin_lsn = flo_progress_position(w->progress);
}

/*
 * A worker whose copy is not in yet has nothing to lose: any later generation
 * of its source that can bring all rows will do.  True when there was one.
 */
static bool
follow_newest(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->chunk_context);
	FloChunkHeader header;
	XLogRecPtr	first_outside;
	bool		differs = flo_consumer_first_outside(w->consumer, &header, &first_outside) &&
		!flo_progress_is_of(w->progress, &header);

	MemoryContextSwitchTo(old);
	if (!differs)
		return false;
	if (!flo_progress_may_follow(w->progress, &header) ||
		!((header.flags & FLO_CHUNK_COPIED) || flo_worker_may_follow(w, &header) ||
		  flo_worker_copy_of(w, &header) == FLO_PLACE_GONE))
		flo_progress_check_source(w->progress, &header);
	ereport(LOG,
			(errmsg("the source began anew at %X/%X: this worker begins there, too",
					LSN_FORMAT_ARGS(header.generation_start))));
	(void) flo_transaction_begin();
	flo_given_up_forget_all(w->group, w->worker);	/* it copies everything */
	flo_transaction_end(old);
	flo_progress_follow(w->progress, &header, header.generation_start, true, InvalidXLogRecPtr);
	take_position(w);
	w->awaits_resync = false;
	flo_worker_report_to_bucket(w, true);
	return true;
}

/* --- beginning ----------------------------------------------------------- */

/*
 * The first chunk that the worker could begin with, and where that would be:
 * waits until there is one
 */
static void
await_first(FloWorker *w, FloChunkHeader *header, XLogRecPtr *first_outside)
{
	long		pause = 50;

	while (!flo_consumer_first_outside(w->consumer, header, first_outside))
	{
		flo_state_set(FLO_STATE_WAITING,
					  flo_consumer_first(w->consumer, header) ?
					  "for stream \"%s\": the end of a transaction of which it holds only a part" :
					  "for stream \"%s\": the group's replicator has published nothing yet",
					  w->stream);
		flo_worker_show_pending(w);
		flo_worker_leave_if_altered(w);
		flo_bus_wait(w->bus, pause);
		pause = Min(pause * 2, 1000);
	}
}

/*
 * A place that the stream does not reach yet is none: who says that it has what comes
 * before would have it removed.
 */
pg_noreturn static void
fail_start(const char *what, const char *which, XLogRecPtr lsn)
{
	flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
			 "Alter the worker to another start, such as earliest, which is what the stream still holds; flo.backfill() at the source sends rows as they are now.",
			 "the stream %s %X/%X: it does not hold what option start asks for, %s", what,
			 LSN_FORMAT_ARGS(lsn), which);
}

/* Where the option says */
static XLogRecPtr
choose_start(FloWorker *w, const FloChunkHeader *first, XLogRecPtr first_outside)
{
	const FloStartAt *at = &w->spec->options.start;
	FloChunkHeader newest;
	XLogRecPtr	earliest = Max(first->generation_start, first_outside);
	XLogRecPtr	start = earliest;
	bool		before = false;

	if (at->kind == FLO_START_EARLIEST || !flo_consumer_newest(w->consumer, &newest))
		return earliest;
	if (at->kind == FLO_START_LATEST)
		return newest.position;
	if (at->kind == FLO_START_LSN)
	{
		if (at->lsn < earliest)
			fail_start("begins after", psprintf("%X/%X", LSN_FORMAT_ARGS(at->lsn)), earliest);
		if (at->lsn > newest.position)
			fail_start("goes up to", psprintf("%X/%X", LSN_FORMAT_ARGS(at->lsn)), newest.position);
		return at->lsn;
	}
	if (flo_consumer_since(w->consumer, at->time, &start, &before) && !before &&
		first_outside > first->generation_start)
		fail_start("begins after", flo_time_format(at->time), earliest);
	return Max(start, earliest);
}

/*
 * The first start of this worker: which source is it, and from where on?  Once
 * the source knows of it nothing more is purged; what was purged until then may
 * move the beginning.
 */
void
flo_worker_begin(FloWorker *w)
{
	FloChunkHeader header;
	XLogRecPtr	first_outside;
	XLogRecPtr	start;
	bool		copying;

	if (!flo_progress_known(w->progress) &&
		flo_bucket_get(w->bus, w->bucket, flo_report_key(w->consumer_name)) != NULL)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "The destination was restored to an earlier state, or the worker dropped without the broker. Where a start from the beginning is right, remove the registration with flo.drop_consumer().",
				 "consumer \"%s\" is registered, but its position is not known here",
				 w->consumer_name);
	do
	{
		await_first(w, &header, &first_outside);
		start = header.generation_start;
		copying = w->spec->options.start.kind == FLO_START_COPY &&
			(first_outside > start || flo_worker_copy_of(w, &header) != FLO_PLACE_NONE);
		if (!copying && w->spec->options.start.kind != FLO_START_COPY)
			start = choose_start(w, &header, first_outside);
		if (flo_progress_known(w->progress))
			flo_progress_follow(w->progress, &header, start, copying, InvalidXLogRecPtr);
		else
			flo_progress_begin(w->progress, &header, start, copying);
		take_position(w);
		flo_state_progress();
		w->no_bucket = !flo_bucket_try_create(w->bus, w->bucket, flo_stream_replicas);
		flo_worker_report_to_bucket(w, true);
	} while (!copying && flo_consumer_first_outside(w->consumer, &header, &first_outside) &&
			 first_outside > start);
}

/*
 * Right before the first chunk is taken, once more: what the source had decided to
 * purge before it knew of this worker may have gone since
 */
void
flo_worker_begin_late(FloWorker *w)
{
	FloChunkHeader header;
	XLogRecPtr	first_outside;

	if (w->spec->options.start.kind != FLO_START_COPY && !flo_progress_copying(w->progress) &&
		flo_consumer_first_outside(w->consumer, &header, &first_outside) &&
		first_outside > w->position)
		flo_worker_begin(w);
}

/* --- waiting ------------------------------------------------------------- */

/* While a copy is taken in; false when the source has begun anew meanwhile */
static bool
may_proceed(void *arg, const FloCopyKey *missing_chunks)
{
	FloWorker  *w = arg;

	w->missing_chunks.relation = missing_chunks != NULL ? missing_chunks->relation : 0;
	w->missing_chunks.attempt = missing_chunks != NULL ? missing_chunks->attempt : 0;
	flo_worker_leave_if_altered(w);
	flo_worker_take_updates(w);
	flo_worker_look_at_stream(w);
	flo_worker_show_pending(w);
	flo_worker_report_to_bucket(w, false);
	return !flo_worker_began_anew(w);
}

static uint64
source_words(void *arg)
{
	FloWorker  *w = arg;

	flo_worker_take_updates(w);
	return w->source.words;
}

static char *
source_trouble(void *arg)
{
	return flo_worker_source_trouble(arg);
}

/* What the worker needs is gone: one turn of waiting for a person */
static void
await_resync(FloWorker *w, const char *what, const char *why)
{
	flo_worker_leave_if_altered(w);
	flo_state_set(FLO_STATE_WAITING, "needs %s: %s", what, why);
	if (!w->awaits_resync)
		ereport(LOG,
				(errmsg("worker \"%s\" of group \"%s\" needs %s: %s", w->worker, w->group, what,
						why),
				 errdetail("It goes on by itself afterwards."),
				 errhint("To go on without the rows there were before, alter the worker to start => latest.")));
	w->awaits_resync = true;
	flo_worker_take_updates(w);
	flo_worker_show_pending(w);
	flo_worker_report_to_bucket(w, true);
	flo_bus_wait(w->bus, 1000);
}

/* --- the copy that a generation begins with ------------------------------ */

/* Is it the first chunk of a generation?  Its position, which heartbeats move, says so. */
static bool
is_first_marker(const FloChunkHeader *header)
{
	return (header->flags & FLO_CHUNK_MARKER) && header->position == header->generation_start;
}

/* Where it is, and in "gone" why it cannot be had */
static FloCopyPlace
find_copy(FloWorker *w, bool tried, const char **gone)
{
	FloChunkHeader header;
	XLogRecPtr	first_outside;
	FloCopyPlace place;

	*gone = NULL;
	if (!flo_consumer_first_outside(w->consumer, &header, &first_outside))
		return FLO_PLACE_UNKNOWN;
	place = flo_worker_copy_of(w, &header);
	if (first_outside > flo_progress_position(w->progress))
		*gone = psprintf("history purged: the stream begins after %X/%X, the group at %X/%X",
						 LSN_FORMAT_ARGS(first_outside), LSN_FORMAT_ARGS(header.generation_start));
	else if (place == FLO_PLACE_GONE)
		*gone = "the group began anew without a copy";
	else if (tried || (place == FLO_PLACE_MARKED && !is_first_marker(&header)))
		*gone = "the copy was taken in by other workers and is gone";
	else if (place == FLO_PLACE_MARKED && flo_consumer_marker(w->consumer) == NIL)
		place = FLO_PLACE_NONE; /* the group has no table, or none any more */
	return place;
}

/* What brings the rows back */
static const char *
remedy(FloWorker *w)
{
	FloChunkHeader header;

	if (flo_consumer_first(w->consumer, &header) && (header.flags & FLO_CHUNK_COPY_ONLY))
		return psprintf("group '%s' to be dropped and created again at the source", w->group);
	return psprintf("flo.resync('%s') at the source", w->group);
}

/*
 * The snapshot whose rows fit where the stream is.  Where there is no stream, and
 * for events, which do not care about a table's shape, any will do.
 */
static uint32
fitting_attempt(FloWorker *w, List *keys)
{
	FloChunkHeader header;

	if (!flo_sink_ops(w->spec->sink)->transactional ||
		(flo_consumer_first(w->consumer, &header) && (header.flags & FLO_CHUNK_COPY_ONLY)))
		return 0;
	return keys != NIL ? ((FloCopyKey *) linitial(keys))->attempt : 1;
}

static bool
receive(FloWorker *w, List *keys)
{
	FloReception what = {0};
	bool		in;

	what.bus = w->bus;
	what.spec = w->spec;
	what.consumer = w->consumer_name;
	what.generation = flo_progress_generation(w->progress);
	what.generation_id = flo_progress_generation_id(w->progress);
	what.keys = keys;
	what.backfill = w->backfilling;
	what.attempt = w->backfilling ? w->due->attempt : fitting_attempt(w, keys);
	what.position = w->position;
	what.proceed = may_proceed;
	what.words = source_words;
	what.trouble = source_trouble;
	what.arg = w;
	in = flo_copy_receive(&what);
	w->missing_chunks.relation = 0;
	return in;
}

/* Else nothing was loaded of this generation's copy, so there is nothing to be given up */
static bool
has_copied(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;
	bool		result = false;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, flo_copied_tables(w->group, w->worker))
		result |= ((FloCopiedTable *) lfirst(cell))->attempt > 0;
	flo_transaction_end(old);
	return result;
}

/*
 * A sink that writes elsewhere has to be closed while a loader has it, so it
 * takes the copy in before the stream comes to the marker.
 */
static bool
take_first_marker(FloWorker *w)
{
	List	   *keys = flo_consumer_marker(w->consumer);

	if (keys == NIL || !receive(w, keys))
		return false;
	flo_progress_set_copy_attempt(w->progress, ((FloCopyKey *) linitial(keys))->attempt);
	return true;
}

/*
 * Each turn looks anew at where the copy is: the source may begin again while we
 * wait, with another snapshot or another generation.  The generation is followed
 * first, as what is found is about the one that is followed.
 *
 * A sink that writes elsewhere has one writer, so its copy is in before the worker
 * opens it.  A database's worker whose copy stands behind a marker leaves here
 * without it: the stream comes to the marker by itself, with the tables in the shape
 * that the copied rows have.
 */
void
flo_worker_take_copy(FloWorker *w)
{
	bool		transactional = flo_sink_ops(w->spec->sink)->transactional;
	MemoryContext context = CurrentMemoryContext;
	bool		tried = false;

	take_position(w);
	if (!flo_progress_copying(w->progress))
	{
		flo_worker_look_at_copies(w);
		flo_worker_check_keys(w);
		return;
	}
	if (w->spec->options.start.kind != FLO_START_COPY && !has_copied(w))
		flo_worker_begin(w);
	while (flo_progress_copying(w->progress))
	{
		const char *gone;
		FloCopyPlace place;

		tried &= !follow_newest(w);
		MemoryContextSwitchTo(w->chunk_context);
		place = find_copy(w, tried, &gone);
		if (gone != NULL)
			await_resync(w, remedy(w), gone);
		else if (place == FLO_PLACE_UNKNOWN)
		{
			flo_worker_leave_if_altered(w);
			flo_state_set(FLO_STATE_WAITING,
						  "for stream \"%s\": the group's replicator has published nothing yet",
						  w->stream);
			flo_worker_show_pending(w);
			flo_bus_wait(w->bus, 1000);
		}
		MemoryContextSwitchTo(context);
		MemoryContextReset(w->chunk_context);
		if (gone != NULL || place == FLO_PLACE_UNKNOWN)
			continue;
		if (place == FLO_PLACE_MARKED && transactional)
			break;
		if (place == FLO_PLACE_NONE)
			flo_progress_set_copied(w->progress);
		else if (place == FLO_PLACE_MARKED ? take_first_marker(w) : receive(w, NIL))
			flo_progress_copied(w->progress);
		else
			tried = !flo_worker_began_anew(w);
	}
	w->awaits_resync = false;
	flo_worker_report_to_bucket(w, true);
	flo_worker_look_at_copies(w);
	flo_worker_check_keys(w);
}

/* --- copies that a marker asks for --------------------------------------- */

/* Rows of these tables are left out of the stream until their snapshot's marker */
static void
expect_copy(FloWorker *w, List *keys)
{
	MemoryContext old = CurrentMemoryContext;
	XLogRecPtr	since = w->entering ? flo_owed_durable(w) : w->position;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, keys)
	{
		FloCopyKey *key = lfirst(cell);

		flo_copied_expect(w->group, w->worker, key->relation, key->attempt,
						  (key->rows & FLO_MARKER_AGAIN) != 0,
						  (key->rows & FLO_MARKER_DEFINITIONS) != 0);
		flo_owed_add(w->group, w->worker, key->relation, key->ordinal, since,
					 GetCurrentTimestamp());
	}
	flo_transaction_end(old);
	flo_worker_look_at_copies(w);
}

static bool
names(const List *keys, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, keys)
	{
		if (((FloCopyKey *) lfirst(cell))->relation == relation)
			return true;
	}
	return false;
}

/*
 * The first marker of a generation that copies all tables there are.  Tables that
 * are given up and not among them are no more, or none of the group; nothing is
 * missing of one that is known by its name only, and a sink of events goes on with
 * all of them.
 */
static void
forget_given_up(FloWorker *w, const List *keys)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	if (!w->gives_up || !flo_worker_copies_all(w))
		return;
	(void) flo_transaction_begin();
	if (flo_owed_is(w->group, w->worker, InvalidOid))
		foreach(cell, flo_given_up_tables(w->group, w->worker))
	{
		if (!w->sink->ops->transactional || !names(keys, ((FloGivenUp *) lfirst(cell))->relation))
			flo_given_up_forget(lfirst(cell));
	}
	flo_transaction_end(old);
}

static bool
is_superseded(FloWorker *w, const FloCopyKey *key)
{
	return flo_copy_newest(w->bus, w->group, flo_progress_generation(w->progress)) > key->attempt;
}

/*
 * A marker: the tables it names are being copied, or are to be in from here on.
 * A worker that begins again finds the marker again, and its tables in: false
 * then, since no time was spent away from the stream.
 */
bool
flo_worker_take_marked_copy(FloWorker *w)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *keys = w->marker;
	FloCopyKey *first = linitial(keys);

	w->marker = NIL;
	if (first->attempt <= flo_progress_copy_attempt(w->progress))
		return false;
	forget_given_up(w, keys);

	/*
	 * events of a table's rows as they stood when it was added are not asked
	 * for
	 */
	if (!w->sink->ops->transactional)
	{
		flo_given_up_pass_marker(w, keys);
		flo_progress_set_copy_attempt(w->progress, first->attempt);
		flo_worker_look_at_copies(w);
		flo_worker_report_to_bucket(w, true);
		return false;
	}
	expect_copy(w, keys);
	if (first->range == FLO_MARKER_BEGIN || is_superseded(w, first))
		return false;
	for (int tries = 0; !receive(w, keys); tries++)
	{
		if (flo_worker_began_anew(w) || is_superseded(w, first))
		{
			w->awaits_resync = false;
			return true;
		}
		/* a source that has just crashed begins the copy again */
		if (tries < MARKED_PATIENCE)
		{
			flo_state_set(FLO_STATE_WAITING, "for the copy to begin at the source");
			flo_bus_wait(w->bus, 1000);
			continue;
		}
		MemoryContextSwitchTo(w->chunk_context);
		await_resync(w, remedy(w), "a copy of tables that the stream goes on with was taken in by other workers and is gone");
		MemoryContextSwitchTo(context);
		MemoryContextReset(w->chunk_context);
	}
	w->awaits_resync = false;
	flo_progress_set_copy_attempt(w->progress, first->attempt);
	flo_progress_copied(w->progress);
	flo_worker_report_to_bucket(w, true);
	flo_worker_look_at_copies(w);
	return true;
}

/* --- backfills ----------------------------------------------------------- */

/* Does nothing come any more of the one that is due? */
static bool
backfill_is_over(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->chunk_context);
	FloBackfillRecord *record = flo_records_backfill(w->bus, w->bucket,
													 flo_progress_generation(w->progress));
	bool		over = record == NULL || record->over || record->attempt != w->due->attempt;

	MemoryContextSwitchTo(old);
	MemoryContextReset(w->chunk_context);
	return over || flo_worker_began_anew(w);
}

/*
 * A source that has begun again says so, and the stream comes to the marker of that
 * snapshot.  Where the broker has lost rows, or all that was said of them, the source is
 * asked to begin again.
 */
void
flo_worker_take_backfill(FloWorker *w)
{
	const FloDueBackfill *due = flo_worker_due_backfill(w);
	FloCopyKey	key = {0};
	FloDueBackfill after;
	bool		in;

	if (due == NULL || due->over)
		return;
	after = *due;
	key.relation = due->relation;
	key.attempt = due->attempt;
	w->backfilling = true;
	flo_worker_report_to_bucket(w, true);
	while (!(in = receive(w, list_make1(&key))) && !backfill_is_over(w))
	{
		flo_worker_leave_if_altered(w);
		flo_state_set(FLO_STATE_WAITING, "for the source to read the table of a backfill again: the broker has lost rows of it");
		w->missing_chunks = key;
		flo_worker_report_to_bucket(w, true);
		flo_bus_wait(w->bus, 1000);
	}
	flo_progress_copied(w->progress);
	if (in)
		flo_worker_load_due_backfill(w);
	else
	{
		after.over = true;
		after.left_out = "it began again at the source, or was ended there";
		flo_worker_save_due_backfill(w, &after);
	}
	w->backfilling = false;
	flo_worker_report_to_bucket(w, true);
}
