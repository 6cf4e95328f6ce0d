/*
 * upkeep.c
 *		What a replicator does about its stream and state bucket beside publishing:
 *		it removes what nobody needs, waits while the broker is full, and looks
 *		whether both still are what it has made.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/records.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "monitor/state.h"
#include "source/copy.h"
#include "source/presence.h"
#include "source/replicator_config.h"
#include "source/replicator_state.h"
#include "source/reports.h"
#include "source/upkeep.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/*
 * ms that a full broker is left alone, unless something was removed; in a
 * cluster each refusal costs it its leader
 */
#define FULL_PAUSE 5000

/*
 * The same while a copy is read: what loaders make room for is the copy's
 * first, or it would never end
 */
#define FULL_PAUSE_COPYING 15000

/*
 * ms from the start of a session until something is removed: what workers have
 * registered, or have reported, may not have found room at the broker, and they
 * say it again within this time.
 */
#define PURGE_DELAY 5000

/*
 * ms between two looks whether stream and bucket are what they were: nothing
 * else tells when nothing is published
 */
#define LOOK_INTERVAL 5000

/* ms between two looks at the account's limit */
#define ACCOUNT_INTERVAL 2000

/*
 * Others may be about to take of the same room: no more than this part of what is left to
 * others is taken without another look.
 */
#define UNSEEN_PART 4

static void
mind_account(Replicator *rep, FloAccountInfo *account, FloStreamInfo *info)
{
	int64		room;

	memset(info, 0, sizeof(*info));
	rep->account_looked = flo_clock();
	flo_account_info(rep->bus, account);
	if (account->limited)
		(void) flo_stream_info(rep->bus, rep->stream, info);
	rep->session.one_by_one = flo_stream_counts_refused(account, info);
	rep->account_bytes = Max(account->max_bytes, 0);

	/*
	 * of what is under way in a cluster the account hears later than the
	 * stream
	 */
	account->bytes = Max(account->bytes, (int64) info->bytes * Max(info->replicas, 1));
	room = flo_account_room(account, info, false);
	rep->session.allowed = account->max_bytes <= 0 ? room :
		Min(room, flo_account_left_to_others(account) / UNSEEN_PART / Max(info->replicas, 1));
	if (rep->publisher != NULL)
	{
		flo_publisher_set_one_by_one(rep->publisher, rep->session.one_by_one);
		flo_publisher_set_allowed(rep->publisher, rep->session.allowed);
		flo_replicator_tell_room(rep);
	}
}

void
flo_upkeep_mind_account(Replicator *rep)
{
	FloAccountInfo account;
	FloStreamInfo info;

	mind_account(rep, &account, &info);
}

void
flo_upkeep_look_at_account(Replicator *rep)
{
	MemoryContext old;

	if (!flo_clock_passed(rep->account_looked, ACCOUNT_INTERVAL))
		return;
	old = MemoryContextSwitchTo(rep->full_context);
	flo_upkeep_mind_account(rep);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rep->full_context);
}

void
flo_upkeep_purge(Replicator *rep)
{
	uint64		seq = flo_retention_purgeable(rep->retention, rep->published_seq);

	if (seq <= rep->purged || !flo_clock_passed(rep->begun, PURGE_DELAY))
		return;
	flo_injection_point("purge.before");
	flo_stream_purge_below(rep->bus, rep->stream, seq);
	flo_injection_point("purge.after");
	rep->purged = seq;
}

/* --- a full broker ------------------------------------------------------- */

/*
 * Workers have all that has committed up to there, and it is removed: what the stream still
 * holds is kept for other reasons than what they have to store.
 */
static bool
nothing_is_awaited(Replicator *rep, XLogRecPtr upto)
{
	return flo_retention_all_have(rep->retention, upto) &&
		flo_retention_purgeable(rep->retention, rep->published_seq) <= rep->purged;
}

/*
 * Does a transaction fill the stream by itself, and not what only waits to be
 * removed?  Then only a higher limit helps.
 */
static bool
is_too_large(Replicator *rep, bool inside, XLogRecPtr upto, int64 *limit)
{
	FloStreamInfo info;

	if (!inside || !nothing_is_awaited(rep, upto) ||
		!flo_stream_info(rep->bus, rep->stream, &info) || !flo_reports_stream_is_full(&info))
		return false;
	*limit = info.max_bytes;
	return true;
}

static void
show_full(Replicator *rep, const char *words, int size, bool inside, XLogRecPtr upto)
{
	int64		limit;

	if (is_too_large(rep, inside, upto, &limit))
		flo_state_set(FLO_STATE_FAILED,
					  "a transaction after %X/%X needs more than stream_max_bytes (%s): raise it",
					  LSN_FORMAT_ARGS(upto), flo_text_of_size(limit));
	else
		flo_state_set(FLO_STATE_WAITING, "%s",
					  flo_reports_describe_full(rep->bus, rep->stream, rep->retention, words,
												size > 0));
}

/*
 * What the session before has left of a transaction that every worker is to get
 * again from its begin: nobody needs it.  Only now, since a worker that reads it
 * has to find its place anew.
 */
static bool
purge_half(Replicator *rep)
{
	if (rep->half_seq <= FLO_WINDOW || !flo_retention_all_have(rep->retention, rep->half_upto) ||
		!flo_clock_passed(rep->begun, PURGE_DELAY))
		return false;
	flo_stream_purge_below(rep->bus, rep->stream, rep->half_seq - FLO_WINDOW);
	rep->half_seq = 0;
	return true;
}

void
flo_upkeep_restore_limits(Replicator *rep)
{
	FloStreamConfig config = flo_replicator_stream_config(rep);
	FloStreamInfo info;

	if (flo_stream_info(rep->bus, rep->stream, &info))
		flo_stream_update(rep->bus, &config, &info);
}

/* A limit may have been raised: false when that can only be seen to by a new process */
static bool
follow_limits(Replicator *rep, bool *changed)
{
	*changed = flo_replicator_notice_configuration(rep) || rep->reloads != flo_reload_count;
	if (!*changed)
		return true;
	rep->changed = true;		/* the rest of it between transactions */
	rep->reloads = flo_reload_count;
	if (rep->decoder == NULL || IsTransactionState() || !flo_replicator_load_spec(rep))
		return false;
	flo_upkeep_restore_limits(rep);
	flo_copy_set_limit(&rep->copy, rep->spec->options.copy_stream_max_bytes);
	return true;
}

/*
 * Is it of no use to try again?  Only an account's limit is known.  "size" of a chunk, or 0
 * of something else, which may have what others are left.  So may a chunk that only sinks with
 * tables wait for: they store nothing there.
 */
static bool
still_full(Replicator *rep, int size, XLogRecPtr upto)
{
	FloAccountInfo account;
	FloStreamInfo info;

	mind_account(rep, &account, &info);
	if (size > 0 && !(nothing_is_awaited(rep, upto) &&
					  flo_retention_all_have_tables(rep->retention)))
		return flo_account_room(&account, &info, nothing_is_awaited(rep, upto)) <
			size + FLO_MESSAGE_OVERHEAD;
	return account.max_bytes > 0 && account.bytes + size + FLO_MESSAGE_OVERHEAD > account.max_bytes;
}

/* One second at most; true when something has changed, so that another try may be worth it */
static bool
make_room_at_broker(Replicator *rep)
{
	FloClock	since = flo_clock();
	uint64		purged = rep->purged;
	bool		changed = false;

	while (rep->purged == purged && !changed && !flo_clock_passed(since, 1000))
	{
		flo_bus_wait_for(rep->bus, FLO_WAIT_SPACE, 200);
		rep->key_removed |= flo_reports_take(rep->bus, rep->bucket, rep->retention);
		flo_upkeep_purge(rep);
		changed = purge_half(rep);
		if (!changed && !follow_limits(rep, &changed))
			flo_replicator_begin_anew();
	}
	if (rep->publisher != NULL)
	{
		flo_replicator_report(rep);
		flo_presence_tell(rep);
	}
	return changed || rep->purged != purged;
}

/*
 * The broker is full.  Nothing that makes room needs room: reports of workers
 * come over core NATS too, what they have is removed here, and then, or after a
 * while, it is worth another try.  Also inside a transaction's callbacks.
 */
static void
await_room(Replicator *rep, const char *words, int size, bool inside, XLogRecPtr upto)
{
	FloClock	since = flo_clock();
	int			pause = flo_copy_phase() == FLO_COPY_RUNNING ? FULL_PAUSE_COPYING : FULL_PAUSE;
	bool		counted = false;
	bool		again = false;

	rep->full = true;
	while (!again)
	{
		MemoryContext old = MemoryContextSwitchTo(rep->full_context);

		if (flo_stop_requested())
			flo_stop_now();
		flo_upkeep_restore_limits(rep);
		show_full(rep, words, size, inside, upto);
		if (!counted)
			flo_state_retry(FLO_RETRIED_ROOM, ERRCODE_INSUFFICIENT_RESOURCES,
							"See to the slowest consumer, or raise the limit that detail names.",
							psprintf("the broker has no room: %s", words));
		counted = true;
		again = (make_room_at_broker(rep) || flo_clock_passed(since, pause)) &&
			!still_full(rep, size, upto);
		MemoryContextSwitchTo(old);
		MemoryContextReset(rep->full_context);
	}
}

/*
 * For the publisher.  Sequences without a message, behind what is acknowledged,
 * are of messages that were refused late.
 */
uint64
flo_upkeep_chunk_found_no_room(void *arg, const FloBusAck *refusal, int size, bool inside,
							   XLogRecPtr upto)
{
	Replicator *rep = arg;
	FloStreamInfo info;
	FloStoredMessage message;

	await_room(rep, refusal->error, size, inside, upto);
	if (!flo_stream_info(rep->bus, rep->stream, &info))
		return rep->published_seq;
	for (uint64 seq = rep->published_seq + 1; seq <= info.last_seq; seq++)
		if (flo_stream_get(rep->bus, rep->stream, seq, &message))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the stream holds sequence " UINT64_FORMAT ", which was not acknowledged", seq),
					 errdetail("A new session finds its place again.")));
	rep->published_seq = info.last_seq;
	return info.last_seq;
}

void
flo_upkeep_chunk_awaits_room(void *arg, int size, bool inside, XLogRecPtr upto)
{
	Replicator *rep = arg;
	MemoryContext old = MemoryContextSwitchTo(rep->full_context);
	bool		full = still_full(rep, size, upto);

	MemoryContextSwitchTo(old);
	MemoryContextReset(rep->full_context);
	if (full)
		await_room(rep, "the rest is for others, such as events", size, inside, upto);
}

uint64
flo_upkeep_end_of_stream(void *arg)
{
	Replicator *rep = arg;
	FloStreamInfo info;

	return flo_stream_info(rep->bus, rep->stream, &info) ? info.last_seq : 0;
}

void
flo_upkeep_remove_from_stream(void *arg, uint64 seq)
{
	Replicator *rep = arg;

	flo_stream_remove(rep->bus, rep->stream, seq);
}

/* For whatever else is to be stored */
void
flo_upkeep_found_no_room(void *arg, int err_code, const char *words)
{
	await_room(arg, words, 0, false, InvalidXLogRecPtr);
}

/* --- what becomes of them ------------------------------------------------ */

pg_noreturn static void
stream_has_changed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("%s", what),
			 errdetail("A new session finds its place again.")));
}

/*
 * The bucket as it was: somebody may have made it anew, or of another shape,
 * or removed what is in it
 */
static void
look_at_bucket(Replicator *rep)
{
	FloStreamConfig config = flo_replicator_stream_config(rep);
	FloStreamInfo info;

	if (rep->key_removed || !flo_bucket_info(rep->bus, rep->bucket, &info) ||
		(info.messages == 0 && !XLogRecPtrIsInvalid(rep->reported)) ||
		!flo_generation_is_announced(&rep->copy))
		stream_has_changed(psprintf("state bucket \"%s\" has lost what was in it", rep->bucket));
	config.description = flo_ownership_of_bucket(&rep->claim);
	flo_bucket_update(rep->bus, rep->bucket, &config, &info);
}

void
flo_upkeep_look(Replicator *rep)
{
	FloStreamConfig config;
	FloStreamInfo info;

	if (!flo_clock_passed(rep->looked, LOOK_INTERVAL))
		return;
	rep->looked = flo_clock();
	look_at_bucket(rep);
	if (!flo_stream_info(rep->bus, rep->stream, &info))
		stream_has_changed(psprintf("stream \"%s\" does not exist any more", rep->stream));
	config = flo_replicator_stream_config(rep);
	flo_stream_update(rep->bus, &config, &info);
	if (!flo_publisher_idle(rep->publisher))
		return;
	if (info.last_seq != rep->published_seq)
		stream_has_changed(psprintf("stream \"%s\" ends at sequence " UINT64_FORMAT " instead of " UINT64_FORMAT,
									rep->stream, info.last_seq, rep->published_seq));

	/* a worker that lacks what was in it would not learn that */
	if (info.messages == 0)
		flo_publisher_heartbeat(rep->publisher, rep->published);
}
