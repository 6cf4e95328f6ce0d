/*
 * presence.c
 *		A replicator says in the state bucket that it lives, and how it ended.
 *
 * The stream says nothing while a source is idle, so that a destination could not
 * tell an idle source from a dead one.  The key "source" can: it is written when
 * the position has moved, and now and then when it has not.  The bucket keeps one
 * value of a key, so nothing grows.
 *
 * A replicator that ends in good order or in an error says so, if the connection
 * takes it at once; one that is killed is missed.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "core/attempt.h"
#include "core/settings.h"
#include "core/text.h"
#include "monitor/members.h"
#include "postmaster/interrupt.h"
#include "source/presence.h"
#include "source/unpublished.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static void
put(Replicator *rep, const FloMember *me, const char *state)
{
	MemoryContext mine = AllocSetContextCreate(CurrentMemoryContext, "pg_flo presence",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mine);
	FloSourceRecord record = {0};

	/* of a session that has not begun only what one before has done is known */
	record.lsn = XLogRecPtrIsInvalid(rep->published) ? me->durable_lsn : rep->published;
	record.system_identifier = rep->identity.system_identifier;
	strlcpy(record.generation, flo_text_of_uuid(&rep->identity.generation),
			sizeof(record.generation));
	record.epoch = Max(rep->session.epoch, rep->recorded_epoch);
	record.at = GetCurrentTimestamp();
	record.pending = flo_unpublished_since(rep->group,
										   rep->spec->options.origin == FLO_ORIGIN_LOCAL);
	record.state = pstrdup(state);
	record.detail = me->detail[0] != '\0' ? pstrdup(me->detail) : NULL;
	record.interval = FLO_SOURCE_INTERVAL(flo_heartbeat_interval);

	/*
	 * without a session this may be a copy of the database that publishes,
	 * which is still to be awaited for as long as it said
	 */
	if (rep->session.epoch == 0)
		record.interval = Max(record.interval, rep->found_interval);
	flo_records_put(rep->bus, rep->bucket, FLO_SOURCE_KEY, &flo_source_format, &record, false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(mine);
}

/* A state that only tells of now counts as the server's end, unless a person has ended it */
static const char *
how_it_ended(const FloMember *me)
{
	if (me->state == FLO_STATE_FAILED)
		return FLO_SOURCE_FAILED;
	if (!me->wanted || !flo_enabled)
		return FLO_SOURCE_STOPPED;
	return me->state == FLO_STATE_BACKOFF ? FLO_SOURCE_BACKOFF : FLO_SOURCE_SHUT_DOWN;
}

static void
tell_end(void *arg)
{
	Replicator *rep = arg;
	FloMember	me;
	const char *how;

	if (flo_member_look(rep->group, FLO_REPLICATOR_MEMBER, &me) < 0)
		return;
	/* the launcher may have read that it is off, and not we */
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	how = how_it_ended(&me);
	if (me.state != FLO_STATE_FAILED)
		me.detail[0] = '\0';
	put(rep, &me, how);
	flo_bus_pump(rep->bus);
}

/*
 * The process ends.  Nothing is waited for, and an error is none: who does not
 * hear it will notice.
 */
static void
say_farewell(int code, Datum arg)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

	LWLockReleaseAll();
	flo_attempt_at_exit(tell_end, DatumGetPointer(arg));
	MemoryContextSwitchTo(context);
}

void
flo_presence_begin(Replicator *rep)
{
	const FloSourceRecord *found = flo_records_get_readable(rep->bus, rep->bucket, FLO_SOURCE_KEY,
															&flo_source_format);

	rep->found_interval = found != NULL ? found->interval : 0;
	before_shmem_exit(say_farewell, PointerGetDatum(rep));
}

void
flo_presence_tell(Replicator *rep)
{
	FloMember	me;
	bool		stopping = rep->settling != 0;
	int64		interval = FLO_SOURCE_INTERVAL(flo_heartbeat_interval);
	FloCopyPhase phase = flo_copy_phase();

	if (rep->reported == rep->published && stopping == rep->said_stopping &&
		phase == rep->said_phase && interval == rep->said_interval &&
		!flo_clock_passed(rep->presence, interval))
		return;
	if (flo_member_look(rep->group, FLO_REPLICATOR_MEMBER, &me) < 0)
		return;
	put(rep, &me, stopping ? FLO_SOURCE_STOPPING : flo_state_name(me.state));
	rep->presence = flo_clock();
	rep->reported = rep->published;
	rep->said_stopping = stopping;
	rep->said_interval = interval;
	rep->said_phase = phase;
}
