/*
 * place.c
 *		A snapshot at an exact place of the stream, with a marker there.
 *
 * The leader takes its snapshot from a slot of its own, at an LSN that is known
 * only then.  The marker has to stand exactly there in the stream, so the replicator,
 * which reads the same WAL, must not have read on.  A snapshot is always at a record
 * that tells which transactions run; whether it may be at this one follows from that
 * record and those before, and only where it may be the replicator stops for the
 * milliseconds until the leader says so.  It never waits for a transaction of
 * somebody's, as the leader does.
 *
 * What it expects is no more than that: when the leader's snapshot turns out to be
 * behind it, its marker is missed, and the leader takes another one.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/transaction.h"
#include "monitor/state.h"
#include "source/place.h"
#include "storage/dsm.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Longest stop for one snapshot, ms */
#define LONGEST_STOP 2000

/* --- the replicator ------------------------------------------------------ */

void
flo_place_end_leader(int code, Datum arg)
{
	FloPlace   *place = (FloPlace *) DatumGetPointer(arg);

	if (place->leader != NULL)
		TerminateBackgroundWorker(place->leader);
}

/* What stands between a snapshot's builder and its end */
enum
{
	NOTHING_SEEN,				/* it has not seen which transactions run */
	FIRST_RUN,					/* those have to end */
	SECOND_RUN					/* and then those that ran by then */
};

/*
 * Is the builder's snapshot at the record that says this?  As SnapBuildFindSnapshot()
 * decides it for one that is complete (no use of what lies on disk).
 */
static bool
consistent_at(FloPlace *p, TransactionId horizon, TransactionId oldest, TransactionId next)
{
	if (TransactionIdIsNormal(horizon) && NormalTransactionIdPrecedes(oldest, horizon))
		return false;
	if (oldest == next)
		return true;
	if (p->stage == NOTHING_SEEN)
	{
		p->stage = FIRST_RUN;
		p->next_phase_at = next;
		return false;
	}
	if (!TransactionIdPrecedesOrEquals(p->next_phase_at, oldest))
		return false;
	if (p->stage == SECOND_RUN)
		return true;
	p->stage = SECOND_RUN;
	p->next_phase_at = next;
	return false;
}

/* Until the leader gets on, but not for ever */
static void
await_leader(FloPlace *p, FloPublisher *publisher, FloPlacePhase phase)
{
	FloClock	since = flo_clock();

	while (!p->late && flo_source_place_phase(p->user) == phase)
	{
		p->late = flo_clock_passed(since, LONGEST_STOP) || flo_process_ended(p->leader);
		flo_publisher_pump(publisher);
		flo_bus_wait_for(p->bus, FLO_WAIT_MEMBER, 5);
	}
}

/* Where the last record may be the one of the snapshot, wait for what the leader says */
static void
stop_where_it_may_be(FloPlace *p, FloDecoder *decoder, FloPublisher *publisher)
{
	XLogRecPtr	lsn;
	TransactionId oldest;
	TransactionId next;
	FloSourcePlace place;

	if (!flo_decoder_running(decoder, &lsn, &oldest, &next) || lsn == p->considered)
		return;
	p->considered = lsn;
	await_leader(p, publisher, FLO_PLACE_LOOKING);
	place = flo_source_place_get(p->user);
	if (lsn >= place.restart && !XLogRecPtrIsInvalid(place.restart) &&
		consistent_at(p, place.horizon, oldest, next))
		await_leader(p, publisher, FLO_PLACE_BUILDING);
}

/* NULL when the leader has gone meanwhile */
static char *
marker_of(const FloSourcePlace *place)
{
	dsm_segment *segment = dsm_attach(place->marker);
	char	   *text;

	if (segment == NULL)
		return NULL;
	text = pstrdup(dsm_segment_address(segment));
	dsm_detach(segment);
	return text;
}

void
flo_place_look(FloPlace *p, FloDecoder *decoder, FloPublisher *publisher)
{
	FloPlacePhase phase = flo_source_place_phase(p->user);
	FloSourcePlace place;
	XLogRecPtr	position;
	char	   *marker;

	if (phase == FLO_PLACE_NONE || phase == FLO_PLACE_MARKED || phase == FLO_PLACE_MISSED)
		return;
	if (phase == FLO_PLACE_ASKED)
	{
		p->stage = NOTHING_SEEN;
		p->late = false;
		flo_source_place_answer(p->user, FLO_PLACE_LOOKING);
		return;
	}
	if (phase != FLO_PLACE_TAKEN)
		stop_where_it_may_be(p, decoder, publisher);
	place = flo_source_place_get(p->user);
	position = flo_decoder_position(decoder);
	if (place.phase != FLO_PLACE_TAKEN || position < place.lsn)
		return;
	marker = position == place.lsn ? marker_of(&place) : NULL;
	if (marker != NULL)
		flo_publisher_place(publisher, p->flag, marker);
	flo_source_place_answer(p->user, marker != NULL ? FLO_PLACE_MARKED : FLO_PLACE_MISSED);
}

/* --- the leader ---------------------------------------------------------- */

static FloPlacePhase
await_phase(const FloPlaceTaker *t, FloPlacePhase leave)
{
	FloSourcePlace place = flo_source_place_ordered(t->args->slot, t->user);

	while (place.phase == leave)
	{
		flo_helper_check(t->args->slot, t->args->incarnation);
		flo_wait_means(FLO_WAIT_MEMBER);
		flo_wait(PGINVALID_SOCKET, false, 10);
		place = flo_source_place_ordered(t->args->slot, t->user);
	}
	return place.phase;
}

static void
snapshot_begun(void *arg, XLogRecPtr restart, TransactionId horizon)
{
	const FloPlaceTaker *t = arg;
	FloSourcePlace place = flo_source_place_ordered(t->args->slot, t->user);

	place.phase = FLO_PLACE_BUILDING;
	place.restart = restart;
	place.horizon = horizon;
	flo_source_place_tell(t->args->slot, t->user, &place);
}

void
flo_place_set_phase(const FloPlaceTaker *t, FloPlacePhase phase)
{
	FloSourcePlace place = flo_source_place_ordered(t->args->slot, t->user);

	place.phase = phase;
	flo_source_place_tell(t->args->slot, t->user, &place);
}

void
flo_place_show(const FloPlaceTaker *t, uint32 segment)
{
	FloSourcePlace place = flo_source_place_ordered(t->args->slot, t->user);

	place.progress = segment;
	flo_source_place_tell(t->args->slot, t->user, &place);
}

/* The marker's text goes where the replicator finds it, and where it belongs */
static void
tell_place(FloPlaceTaker *t, XLogRecPtr lsn)
{
	FloSourcePlace place = flo_source_place_ordered(t->args->slot, t->user);
	char	   *marker = t->marker(t->arg, lsn);

	if (t->segment != NULL)
		dsm_detach(t->segment);
	t->segment = dsm_create(strlen(marker) + 1, 0);
	dsm_pin_mapping(t->segment);
	strcpy(dsm_segment_address(t->segment), marker);
	place.phase = FLO_PLACE_TAKEN;
	place.lsn = lsn;
	place.marker = dsm_segment_handle(t->segment);
	flo_source_place_tell(t->args->slot, t->user, &place);
}

XLogRecPtr
flo_place_take(FloPlaceTaker *t)
{
	MemoryContext context = CurrentMemoryContext;
	FloSourcePlace order = {.id = t->id,.phase = FLO_PLACE_ASKED};
	XLogRecPtr	lsn;

	flo_source_place_tell(t->args->slot, t->user, &order);
	(void) await_phase(t, FLO_PLACE_ASKED);
	flo_transaction_start();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	MemoryContextSwitchTo(context);
	flo_injection_point(t->point);
	lsn = flo_slot_take_snapshot(t->slot, snapshot_begun, t);
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(context);
	tell_place(t, lsn);
	if (await_phase(t, FLO_PLACE_TAKEN) == FLO_PLACE_MARKED)
		return lsn;
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(context);
	return InvalidXLogRecPtr;
}
