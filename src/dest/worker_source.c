/*
 * worker_source.c
 *		What a worker hears of its source, and what may be missing here because of it.
 *
 * Lag counts from the oldest transaction that is not durable here, or may not be:
 *
 *	 in hand		in the batch, committed and not flushed, or of a copy
 *	 in the stream	published, and not taken: since we last had all there was
 *	 at the source	not published, as the replicator said
 *	 unknown		the replicator is not heard: since it was
 *
 * The replicator repeats the key "source" of the state bucket while it lives.
 * Times are those of the source's clock; whether it is silent is measured by our
 * own, which does not jump.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "dest/consumer.h"
#include "dest/progress.h"
#include "dest/worker_source.h"
#include "mb/pg_wchar.h"
#include "monitor/members.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Words of a replicator that are missed until it counts as silent: ten heartbeats */
#define WORDS_MISSED 5

/* One that fails at each start is heard once an attempt: ms that it may take longer */
#define BETWEEN_ATTEMPTS (60 * 1000)

/* --- hearing ------------------------------------------------------------- */

static bool
is_ours(const FloWorker *w, const FloSourceRecord *record)
{
	return strcmp(record->generation, flo_progress_generation(w->progress)) == 0;
}

static void
keep(char *into, Size size, const char *text)
{
	int			len = text != NULL ? pg_mbcliplen(text, strlen(text), size - 1) : 0;

	memcpy(into, len > 0 ? text : "", len);
	into[len] = '\0';
}

static void
note_state(FloHeard *source, const FloSourceRecord *record)
{
	const char *waiting = flo_state_name(FLO_STATE_WAITING);

	keep(source->state, sizeof(source->state), record->state);
	keep(source->detail, sizeof(source->detail), record->detail);
	source->waits = strcmp(source->state, waiting) == 0 ? source->waits + 1 : 0;
	source->errors = strcmp(source->state, FLO_SOURCE_BACKOFF) == 0 ? source->errors + 1 : 0;
	if (record->interval > 0)
		source->interval = (int) record->interval;
}

/* What the key holds, which may have been written long ago */
static void
take_record(FloWorker *w, const FloSourceRecord *record)
{
	FloHeard   *source = &w->source;

	note_state(source, record);
	if (record->at != 0)
		source->seen = record->at;
	source->pending = record->pending;
	source->elsewhere = !is_ours(w, record);
	if (source->elsewhere)
		return;
	w->known = Max(record->lsn, w->position);
	if (record->lsn <= w->position && record->at != 0)
		source->complete = record->pending != 0 ? Min(record->pending, record->at) : record->at;
}

void
flo_worker_listen_again(FloWorker *w)
{
	FloSourceRecord *record = flo_records_get(w->bus, w->bucket, FLO_SOURCE_KEY,
											  &flo_source_format);

	w->source.heard = flo_clock();
	w->source.live = false;
	w->source.cut_off = false;
	if (record != NULL)
		take_record(w, record);
}

/* Until anything is heard, what an earlier process lacked is what is lacking */
void
flo_worker_remember(FloWorker *w)
{
	FloMember	before = {0};

	(void) flo_member_look(w->group, w->worker, &before);
	w->known = before.known_lsn;
	w->done_before = before.seq;
	w->source.seen = before.source_seen;
	w->source.complete = before.oldest_pending;
	w->source.copying = before.oldest_pending != 0 ? before.oldest_pending : GetCurrentTimestamp();
}

void
flo_worker_listen(FloWorker *w)
{
	flo_bus_watch(w->bus, psprintf("$KV.%s." FLO_SOURCE_KEY, w->bucket));
	flo_worker_listen_again(w);
}

void
flo_worker_take_updates(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->broker_context);
	FloBusUpdate update;

	while (flo_bus_next_update(w->bus, &update))
	{
		/* nothing when the key was removed */
		if (update.len > 0)
		{
			take_record(w, flo_record_read(&flo_source_format, FLO_SOURCE_KEY, update.data,
										   update.len));
			w->source.heard = flo_clock();
			w->source.live = true;
			w->source.words++;
		}
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
}

/* An old one says nothing of how the source is now */
void
flo_worker_hear_chunk(FloWorker *w, const FloChunkHeader *header)
{
	FloHeard   *source = &w->source;

	/* the time of a heartbeat or marker is that of its sending */
	if (!(header->flags & FLO_CHUNK_OUTSIDE))
		source->applied = Max(source->applied, header->commit_time);
	source->complete = Max(source->complete, header->commit_time);
	if (!flo_consumer_at_end(w->consumer))
		return;
	source->seen = Max(source->seen, header->commit_time);
	source->heard = flo_clock();
	source->live = true;
}

/* --- what is wrong there ------------------------------------------------- */

static bool
is_in(const FloHeard *source, const char *state)
{
	return strcmp(source->state, state) == 0;
}

bool
flo_worker_source_stops(const FloWorker *w)
{
	return is_in(&w->source, FLO_SOURCE_STOPPING) || is_in(&w->source, FLO_SOURCE_STOPPED) ||
		is_in(&w->source, FLO_SOURCE_SHUT_DOWN);
}

bool
flo_worker_source_settles(const FloWorker *w)
{
	return is_in(&w->source, FLO_SOURCE_STOPPING);
}

/* It said so as it ended */
static bool
has_gone(const FloHeard *source)
{
	return is_in(source, FLO_SOURCE_STOPPED) || is_in(source, FLO_SOURCE_FAILED) ||
		is_in(source, FLO_SOURCE_BACKOFF) || is_in(source, FLO_SOURCE_SHUT_DOWN);
}

static bool
is_silent(const FloHeard *source)
{
	int64		patience = (int64) WORDS_MISSED * source->interval;

	if (source->errors > 1)
		patience += BETWEEN_ATTEMPTS;
	return source->interval > 0 && flo_clock_passed(source->heard, patience);
}

/* What it was about when it was heard last */
static const char *
last_words(const FloHeard *source)
{
	if (is_in(source, FLO_SOURCE_SHUT_DOWN))
		return "; its server was shut down";
	if (is_in(source, FLO_SOURCE_BACKOFF))
		return "; it had an error and was to start again";
	if (is_in(source, flo_state_name(FLO_STATE_WAITING)))
		return psprintf("; it was waiting: %s", source->detail);
	return "";
}

/* What is over in a moment, as a restart there, is not told */
char *
flo_worker_source_trouble(FloWorker *w)
{
	FloHeard   *source = &w->source;
	const char *since = timestamptz_to_str(source->seen - source->seen % USECS_PER_SEC);

	if (is_in(source, FLO_SOURCE_STOPPED))
		return psprintf("for the replicator, which was stopped at %s", since);
	if (is_in(source, FLO_SOURCE_FAILED))
		return psprintf("for the replicator, which has failed: %s", source->detail);
	if (is_silent(source))
		return psprintf("nothing heard from the replicator since %s%s", since, last_words(source));
	if (source->errors > 1)
		return pstrdup("for the replicator, which fails again and again: its flo.status tells why");
	if (source->waits > 1)
		return psprintf("for the replicator, which waits: %s", source->detail);
	return NULL;
}

void
flo_worker_show_source(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->broker_context);
	char	   *trouble;

	flo_worker_take_updates(w);
	trouble = flo_worker_source_trouble(w);
	if (trouble != NULL)
		flo_state_set(FLO_STATE_WAITING, "%s", trouble);
	else if (w->source.told)
		flo_state_set(FLO_STATE_STREAMING, NULL);
	w->source.told = trouble != NULL;
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
}

/* --- what may be missing here -------------------------------------------- */

static TimestampTz
earlier(TimestampTz a, TimestampTz b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

TimestampTz
flo_worker_pending_since(const FloWorker *w)
{
	const FloHeard *source = &w->source;
	TimestampTz since = w->unflushed_oldest != 0 ? w->unflushed_oldest : w->batch_oldest;

	since = earlier(since, w->owed_at);
	if (!flo_progress_known(w->progress) || flo_progress_copying(w->progress))
		since = earlier(since, source->copying);
	if (w->known > w->position || source->elsewhere)
		since = earlier(since, source->complete);

	/*
	 * of a backlog of which some has come since it was told, there may be
	 * more
	 */
	if (source->pending != 0)
		since = earlier(since, Max(source->pending, source->applied));
	if (!source->live || source->cut_off || has_gone(source) || is_silent(source))
		since = earlier(since, source->seen);
	return since;
}

int64
flo_worker_pending_bytes(const FloWorker *w)
{
	if (w->known <= w->position && w->batch_oldest == 0 && w->unflushed_oldest == 0)
		return 0;
	return flo_consumer_bytes_behind(w->consumer, w->acked_seq);
}
