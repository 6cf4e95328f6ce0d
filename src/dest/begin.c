/*
 * begin.c
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
#include "dest/begin.h"
#include "dest/consumer.h"
#include "dest/copied.h"
#include "dest/foreign_keys.h"
#include "dest/given_up.h"
#include "dest/myself.h"
#include "dest/owed.h"
#include "dest/progress.h"
#include "dest/receive.h"
#include "dest/worker_impl.h"
#include "monitor/shstate.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* Looks, a second apart, until a copy that a marker asks for is believed to be gone */
#define MARKED_PATIENCE 10

/* Where a generation's copy is found */
typedef enum CopyPlace
{
	COPY_UNKNOWN,				/* the stream is empty, not there, or about to be emptied */
	COPY_NONE,					/* it has none */
	COPY_FIRST,					/* it begins with one */
	COPY_MARKED,				/* a marker at its beginning asks for one of all tables there are */
	COPY_MISSING				/* it should have one and does not */
} CopyPlace;

/* --- generations ---------------------------------------------------------------------- */

static char *
generation_text(const FloChunkHeader *header)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&header->generation)));
}

/* What the source says of its newest generation; NULL when it says nothing */
static FloGenerationRecord *
announced(FloWorker *w)
{
	return flo_records_get(w->bus, w->bucket, FLO_GENERATION_KEY, &flo_generation_format);
}

/* Which in the order of generations, -1 = of another group, or it is not said */
static int
place_of(const FloGenerationRecord *record, const char *generation)
{
	ListCell   *cell;

	foreach(cell, record->follows)
		if (strcmp(lfirst(cell), generation) == 0)
			return foreach_current_index(cell);
	return strcmp(record->generation, generation) == 0 ? list_length(record->follows) : -1;
}

/*
 * Forward only, from any generation of the group to any later one.  The chunk
 * may be of one that the source itself has left meanwhile.
 */
bool
flo_worker_may_follow(FloWorker *w, const FloChunkHeader *header)
{
	FloGenerationRecord *record;
	int			ours;
	int			other;

	if (!flo_progress_may_follow(w->progress, header) || (record = announced(w)) == NULL)
		return false;
	ours = place_of(record, flo_progress_generation(w->progress));
	other = place_of(record, generation_text(header));
	if (ours >= 0)
		return other > ours;
	return other == list_length(record->follows) && record->copy == FLO_COPY_ALL;
}

static CopyPlace
copy_of(FloWorker *w, const FloChunkHeader *header)
{
	FloGenerationRecord *record;
	int			place;

	if (header->flags & FLO_CHUNK_COPIED)
		return COPY_FIRST;
	if ((record = announced(w)) == NULL || (place = place_of(record, generation_text(header))) < 0)
		return COPY_NONE;
	if (place < list_length(record->follows))
		return COPY_UNKNOWN;	/* its stream is being emptied */
	if (record->copy == FLO_COPY_ALL)
		return COPY_MARKED;
	return record->copy == FLO_COPY_MISSING ? COPY_MISSING : COPY_NONE;
}

static bool
began_anew(FloWorker *w)
{
	FloChunkHeader header;

	return flo_consumer_first(w->consumer, &header) && !flo_progress_is_of(w->progress, &header);
}

static void
take_position(FloWorker *w)
{
	w->position = w->durable = w->origin_lsn = flo_progress_position(w->progress);
}

/*
 * A worker whose copy is not in yet has nothing to lose: any later generation
 * of its source that can bring all rows will do.
 */
static void
follow_newest(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->turn);
	FloChunkHeader header;
	XLogRecPtr	entrance;
	bool		differs = flo_consumer_entrance(w->consumer, &header, &entrance) &&
		!flo_progress_is_of(w->progress, &header);

	MemoryContextSwitchTo(old);
	if (!differs)
		return;
	if (!flo_progress_may_follow(w->progress, &header) ||
		!((header.flags & FLO_CHUNK_COPIED) || flo_worker_may_follow(w, &header) ||
		  copy_of(w, &header) == COPY_MISSING))
		flo_progress_check_source(w->progress, &header);
	ereport(LOG,
			(errmsg("the source began anew at %X/%X: this worker begins there, too",
					LSN_FORMAT_ARGS(header.generation_start))));
	(void) flo_transaction_begin();
	flo_given_up_forget_all(w->group, w->worker);	/* it copies everything */
	flo_transaction_end(old);
	flo_progress_follow(w->progress, &header, header.generation_start, true, InvalidXLogRecPtr);
	take_position(w);
	w->waits = false;
	flo_worker_report_to_bucket(w, true);
}

/* --- beginning -------------------------------------------------------------------------- */

/* The first chunk that the worker could begin with, and where that would be: waits until there is one */
static void
await_first(FloWorker *w, FloChunkHeader *header, XLogRecPtr *entrance)
{
	long		pause = 50;

	while (!flo_consumer_entrance(w->consumer, header, entrance))
	{
		flo_state_set(FLO_STATE_WAITING, "for stream \"%s\": the group's replicator has published nothing yet", w->stream);
		flo_bus_wait(w->bus, pause);
		pause = Min(pause * 2, 1000);
	}
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
	XLogRecPtr	entrance;
	XLogRecPtr	start;
	bool		copying;

	if (!flo_progress_known(w->progress) &&
		flo_bucket_get(w->bus, w->bucket, flo_report_key(w->consumer_name)) != NULL)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "The destination was restored to an earlier state, or the worker dropped without the broker. Where a start from the beginning is right, remove the registration with flo.drop_consumer().",
				 "consumer \"%s\" is registered, but its position is not known here", w->consumer_name);
	do
	{
		await_first(w, &header, &entrance);
		start = header.generation_start;
		copying = w->spec->options.start == FLO_START_COPY &&
			(entrance > start || copy_of(w, &header) != COPY_NONE);
		if (w->spec->options.start == FLO_START_EARLIEST)
			start = Max(start, entrance);
		if (w->spec->options.start == FLO_START_LATEST && flo_consumer_newest(w->consumer, &header))
			start = header.position;
		if (flo_progress_known(w->progress))
			flo_progress_follow(w->progress, &header, start, copying, InvalidXLogRecPtr);
		else
			flo_progress_begin(w->progress, &header, start, copying);
		take_position(w);
		w->no_bucket = !flo_bucket_try_create(w->bus, w->bucket, flo_stream_replicas);
		flo_worker_report_to_bucket(w, true);
	} while (!copying && flo_consumer_entrance(w->consumer, &header, &entrance) && entrance > start);
}

/* --- waiting ------------------------------------------------------------------------------ */

/* With other options the launcher starts this worker again */
static void
leave_if_altered(FloWorker *w)
{
	flo_worker_notice_configuration(w);
	if (!w->options_stale)
		return;
	if (!flo_worker_is_unaltered(w))
		proc_exit(0);
	w->options_stale = w->sink != NULL;	/* the loop tells it */
}

/* While a copy is taken in; false when the source has begun anew meanwhile */
static bool
serve(void *arg, const FloCopyKey *lacking)
{
	FloWorker  *w = arg;

	w->lacking.relation = lacking != NULL ? lacking->relation : 0;
	w->lacking.attempt = lacking != NULL ? lacking->attempt : 0;
	leave_if_altered(w);
	flo_worker_report_to_bucket(w, false);
	return !began_anew(w);
}

/* What the worker needs is gone: one turn of waiting for a person */
static void
await_resync(FloWorker *w, const char *what, const char *why)
{
	leave_if_altered(w);
	flo_state_set(FLO_STATE_WAITING, "needs %s: %s", what, why);
	if (!w->waits)
		ereport(LOG,
				(errmsg("worker \"%s\" of group \"%s\" needs %s: %s", w->worker, w->group, what, why),
				 errdetail("It goes on by itself afterwards."),
				 errhint("To go on without the rows there were before, alter the worker to start => latest.")));
	w->waits = true;
	flo_worker_report_to_bucket(w, true);
	flo_bus_wait(w->bus, 1000);
}

/* --- the copy that a generation begins with ------------------------------------------------- */

/* Is it the first chunk of a generation?  Its position, which heartbeats move, says so. */
static bool
is_first_marker(const FloChunkHeader *header)
{
	return (header->flags & FLO_CHUNK_MARKER) && header->position == header->generation_start;
}

/* Where it is, and in "gone" why it cannot be had */
static CopyPlace
find_copy(FloWorker *w, bool tried, const char **gone)
{
	FloChunkHeader header;
	XLogRecPtr	entrance;
	CopyPlace	place;

	*gone = NULL;
	if (!flo_consumer_entrance(w->consumer, &header, &entrance))
		return COPY_UNKNOWN;
	place = copy_of(w, &header);
	if (entrance > flo_progress_position(w->progress))
		*gone = psprintf("history purged: the stream begins after %X/%X, the group at %X/%X",
						 LSN_FORMAT_ARGS(entrance), LSN_FORMAT_ARGS(header.generation_start));
	else if (place == COPY_MISSING)
		*gone = "the group began anew without a copy";
	else if (tried || (place == COPY_MARKED && !is_first_marker(&header)))
		*gone = "the copy was taken in by other workers and is gone";
	else if (place == COPY_MARKED && flo_consumer_marker(w->consumer) == NIL)
		place = COPY_NONE;		/* the group has no table, or none any more */
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

/* Tables whose snapshot is later than where the stream is now, or still to come in it, or that are given up */
void
flo_worker_look_at_copies(FloWorker *w)
{
	MemoryContext old = flo_transaction_begin();
	ListCell   *cell;

	MemoryContextReset(w->copies);
	MemoryContextSwitchTo(w->copies);
	w->copied = NIL;
	foreach(cell, flo_copied_tables(w->group, w->worker))
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->lsn > w->position || table->expected > 0)
			w->copied = lappend(w->copied, table);
	}
	flo_given_up_list(w);
	flo_owed_look(w);
	w->keys_unchecked = flo_foreign_keys_are_unchecked(w->spec);
	flo_transaction_end(old);
}

void
flo_worker_check_keys(FloWorker *w)
{
	MemoryContext old;

	if (!w->keys_unchecked || flo_copied_lacking(w->copied))
		return;
	flo_foreign_keys_check(w->spec);
	old = flo_transaction_begin();
	flo_foreign_keys_checked(w->spec);
	flo_transaction_end(old);
	w->keys_unchecked = false;
	flo_state_set(FLO_STATE_STREAMING, NULL);
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
	what.attempt = fitting_attempt(w, keys);
	what.position = w->position;
	what.turn = serve;
	what.arg = w;
	in = flo_copy_receive(&what);
	w->lacking.relation = 0;
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
	if (w->spec->options.start != FLO_START_COPY && !has_copied(w))
		flo_worker_begin(w);
	while (flo_progress_copying(w->progress))
	{
		const char *gone;
		CopyPlace	place;

		follow_newest(w);
		MemoryContextSwitchTo(w->turn);
		place = find_copy(w, tried, &gone);
		if (gone != NULL)
			await_resync(w, remedy(w), gone);
		else if (place == COPY_UNKNOWN)
		{
			leave_if_altered(w);
			flo_state_set(FLO_STATE_WAITING, "for stream \"%s\": the group's replicator has published nothing yet", w->stream);
			flo_bus_wait(w->bus, 1000);
		}
		MemoryContextSwitchTo(context);
		MemoryContextReset(w->turn);
		if (gone != NULL || place == COPY_UNKNOWN)
			continue;
		if (place == COPY_MARKED && transactional)
			break;
		if (place == COPY_NONE)
			flo_progress_set_copied(w->progress);
		else if (place == COPY_MARKED ? take_first_marker(w) : receive(w, NIL))
			flo_progress_copied(w->progress);
		else
			tried = !began_anew(w);
	}
	w->waits = false;
	flo_worker_report_to_bucket(w, true);
	flo_worker_look_at_copies(w);
	flo_worker_check_keys(w);
}

/* --- copies that a marker asks for ----------------------------------------------------------- */

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
						  (key->rows & FLO_MARKER_AGAIN) != 0, (key->rows & FLO_MARKER_DEFINITIONS) != 0);
		flo_owed_add(w->group, w->worker, key->relation, key->ordinal, since, GetCurrentTimestamp());
	}
	flo_transaction_end(old);
	flo_worker_look_at_copies(w);
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
	/* events of a table's rows as they stood when it was added are not asked for */
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
		if (began_anew(w) || is_superseded(w, first))
		{
			w->waits = false;
			return true;
		}
		/* a source that has just crashed begins the copy again */
		if (tries < MARKED_PATIENCE)
		{
			flo_state_set(FLO_STATE_WAITING, "for the copy to begin at the source");
			flo_bus_wait(w->bus, 1000);
			continue;
		}
		MemoryContextSwitchTo(w->turn);
		await_resync(w, remedy(w), "a copy of tables that the stream goes on with was taken in by other workers and is gone");
		MemoryContextSwitchTo(context);
		MemoryContextReset(w->turn);
	}
	w->waits = false;
	flo_progress_set_copy_attempt(w->progress, first->attempt);
	flo_progress_copied(w->progress);
	flo_worker_report_to_bucket(w, true);
	flo_worker_look_at_copies(w);
	return true;
}
