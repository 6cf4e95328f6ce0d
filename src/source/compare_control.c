/*
 * compare_control.c
 *		The replicator's part in comparing tables.
 *
 * The leader of a comparison takes its snapshot from a slot of its own, at an LSN
 * that is known only then.  The marker has to stand exactly there in the stream, so
 * this process, which reads the same WAL, must not have read on.  A snapshot is
 * always at a record that tells which transactions run; whether it may be at this
 * one follows from that record and those before, and only where it may be we stop
 * for the milliseconds until the leader says so.  We never wait for a transaction of
 * somebody's, as the leader does.
 *
 * What we expect is no more than that: when the leader's snapshot turns out to be
 * behind us, its marker is missed, and it takes another one.
 */
#include "postgres.h"

#include "access/transam.h"
#include "bus/comparison.h"
#include "bus/stream.h"
#include "conf/comparisons.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/process.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/compare.h"
#include "monitor/state.h"
#include "source/compare.h"
#include "source/compare_control.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "wire/compare.h"

/* Longest stop for one snapshot, ms */
#define LONGEST_STOP 2000

/* A worker may take so long, ms, to notice that a comparison is over */
#define LAST_WORDS 5000

/* ms between two looks how far it is */
#define PROGRESS_INTERVAL 2000

/* ms between two tries to start a leader */
#define START_INTERVAL 1000

/* --- leaders ------------------------------------------------------------- */

/* It must not go on, and keep a slot, when the process has gone that it is for */
static void
end_leader(int code, Datum arg)
{
	FloCompareControl *c = (FloCompareControl *) DatumGetPointer(arg);

	if (c->leader != NULL)
		TerminateBackgroundWorker(c->leader);
}

void
flo_compare_clean(FloBus *bus, const char *group)
{
	char	   *bucket = flo_name_bucket(group);

	/* the plans first: without one nobody goes on */
	flo_bucket_purge(bus, bucket, FLO_COMPARISON_PREFIX);
	flo_bucket_purge(bus, bucket, FLO_COMPARED_PREFIX);
	flo_bucket_purge(bus, bucket, FLO_COMPARING_PREFIX);
	flo_stream_delete(bus, flo_name_compare_stream(group));
}

/* Of this comparison, 0 = of any that was begun with, nothing comes any more */
static void
give_up(FloCompareControl *c, int64 id, const char *why)
{
	MemoryContext old = flo_transaction_begin();
	uint64		begun = flo_comparisons_over(c->group, id, why);

	flo_transaction_end(old);
	if (begun > 0)
		flo_compare_clean(c->bus, c->group);
	if (begun > 0 || id != 0)
		c->ended = flo_clock();
}

void
flo_compare_open(FloCompareControl *c)
{
	flo_source_compare_order(0);
	give_up(c, 0, "the process that led it ended");
	c->look = true;
	before_shmem_exit(end_leader, PointerGetDatum(c));
}

static void
leader_ended(FloCompareControl *c)
{
	pfree(c->leader);
	c->leader = NULL;
	flo_source_compare_order(0);
	give_up(c, c->id, "the process that led it ended");
	c->look = true;
}

static void
start_leader(FloCompareControl *c)
{
	MemoryContext context = GetMemoryChunkContext(unconstify(char *, c->group));
	MemoryContext old = flo_transaction_begin();
	FloProcessArgs args = {0};

	c->id = flo_comparisons_next(c->group);
	flo_transaction_end(old);
	c->look = c->id != 0;
	if (c->id == 0)
		return;
	flo_source_compare_order(c->id);
	c->shown = false;
	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_COMPARER;
	MemoryContextSwitchTo(context);
	if (!flo_process_start(&args, psprintf("pg_flo comparer %s", c->group), &c->leader))
		c->leader = NULL;
	MemoryContextSwitchTo(old);
	(void) flo_transaction_begin();
	if (c->leader != NULL)
		flo_comparisons_begin(c->id);
	else
		flo_comparisons_state(c->group, c->id, NULL, InvalidOid, FLO_COMPARISON_WAITING,
							  InvalidXLogRecPtr,
							  "no background worker process is free: raise max_worker_processes");
	flo_transaction_end(old);
	c->look = c->leader == NULL;
}

static void
note_progress(void *arg, Oid relation, int64 rows)
{
	FloCompareControl *c = arg;

	flo_comparisons_progress(c->group, c->id, relation, rows);
}

/* The leader cannot write while it reads */
static void
show_reading(FloCompareControl *c)
{
	FloSourceCompare compare = flo_source_compare_get();
	MemoryContext old;

	if (compare.phase != FLO_COMPARE_MARKED)
	{
		c->shown = false;
		return;
	}
	if (c->shown && (compare.progress == 0 || !flo_clock_passed(c->looked, PROGRESS_INTERVAL)))
		return;
	c->looked = flo_clock();
	old = flo_transaction_begin();
	if (!c->shown)
		flo_comparisons_reading(c->group, c->id, compare.lsn);
	else
		flo_compare_progress(compare.progress, note_progress, c);
	flo_transaction_end(old);
	c->shown = true;
}

void
flo_compare_look(FloCompareControl *c)
{
	if (c->leader != NULL && flo_process_ended(c->leader))
		leader_ended(c);
	if (c->leader == NULL && c->ended != 0 && flo_clock_passed(c->ended, LAST_WORDS))
	{
		c->ended = 0;
		flo_compare_clean(c->bus, c->group);
	}
	if (c->leader != NULL)
		show_reading(c);
	else if (c->look && flo_clock_passed(c->looked, START_INTERVAL))
	{
		c->looked = flo_clock();
		start_leader(c);
	}
}

/* --- markers ------------------------------------------------------------- */

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
consistent_at(FloCompareControl *c, TransactionId horizon, TransactionId oldest,
			  TransactionId next)
{
	if (TransactionIdIsNormal(horizon) && NormalTransactionIdPrecedes(oldest, horizon))
		return false;
	if (oldest == next)
		return true;
	if (c->stage == NOTHING_SEEN)
	{
		c->stage = FIRST_RUN;
		c->next_phase_at = next;
		return false;
	}
	if (!TransactionIdPrecedesOrEquals(c->next_phase_at, oldest))
		return false;
	if (c->stage == SECOND_RUN)
		return true;
	c->stage = SECOND_RUN;
	c->next_phase_at = next;
	return false;
}

/* Until the leader gets on, but not for ever */
static void
await_leader(FloCompareControl *c, FloPublisher *publisher, FloComparePhase phase)
{
	FloClock	since = flo_clock();

	while (!c->late && flo_source_compare_phase() == phase)
	{
		c->late = flo_clock_passed(since, LONGEST_STOP) || flo_process_ended(c->leader);
		flo_publisher_pump(publisher);
		flo_bus_wait_for(c->bus, FLO_WAIT_MEMBER, 5);
	}
}

/* Where the last record may be the one of the snapshot, wait for what the leader says */
static void
stop_where_it_may_be(FloCompareControl *c, FloDecoder *decoder, FloPublisher *publisher)
{
	XLogRecPtr	lsn;
	TransactionId oldest;
	TransactionId next;
	FloSourceCompare compare;

	if (!flo_decoder_running(decoder, &lsn, &oldest, &next) || lsn == c->considered)
		return;
	c->considered = lsn;
	await_leader(c, publisher, FLO_COMPARE_LOOKING);
	compare = flo_source_compare_get();
	if (lsn >= compare.restart && !XLogRecPtrIsInvalid(compare.restart) &&
		consistent_at(c, compare.horizon, oldest, next))
		await_leader(c, publisher, FLO_COMPARE_BUILDING);
}

/* NULL when the leader has gone meanwhile */
static char *
marker_for(const FloSourceCompare *compare)
{
	dsm_segment *segment = dsm_attach(compare->segment);
	FloCompareMarker marker = {.id = compare->id,.attempt = compare->attempt,.lsn = compare->lsn};
	char	   *names;
	char	   *name;
	char	   *rest;

	if (segment == NULL)
		return NULL;
	names = pstrdup(dsm_segment_address(segment));
	dsm_detach(segment);
	for (name = strtok_r(names, "\n", &rest); name != NULL; name = strtok_r(NULL, "\n", &rest))
		marker.workers = lappend(marker.workers, name);
	return flo_compare_marker_format(&marker);
}

void
flo_compare_step(FloCompareControl *c, FloDecoder *decoder, FloPublisher *publisher)
{
	FloComparePhase phase = flo_source_compare_phase();
	FloSourceCompare compare;
	XLogRecPtr	position;
	char	   *marker;

	if (phase == FLO_COMPARE_NONE || phase == FLO_COMPARE_MARKED || phase == FLO_COMPARE_MISSED ||
		c->leader == NULL)
		return;
	if (phase == FLO_COMPARE_ASKED)
	{
		c->stage = NOTHING_SEEN;
		c->late = false;
		flo_source_compare_answer(FLO_COMPARE_LOOKING);
		return;
	}
	if (phase != FLO_COMPARE_TAKEN)
		stop_where_it_may_be(c, decoder, publisher);
	compare = flo_source_compare_get();
	position = flo_decoder_position(decoder);
	if (compare.phase != FLO_COMPARE_TAKEN || position < compare.lsn)
		return;
	marker = position == compare.lsn ? marker_for(&compare) : NULL;
	if (marker != NULL)
		flo_publisher_compare(publisher, marker);
	flo_source_compare_answer(marker != NULL ? FLO_COMPARE_MARKED : FLO_COMPARE_MISSED);
}
