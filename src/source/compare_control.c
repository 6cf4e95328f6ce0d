/*
 * compare_control.c
 *		The replicator's part in comparing tables.
 */
#include "postgres.h"

#include "bus/comparison.h"
#include "bus/stream.h"
#include "conf/comparisons.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/process.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "source/compare.h"
#include "source/compare_control.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

/* A worker may take so long, ms, to notice that a comparison is over */
#define LAST_WORDS 5000

/* ms between two looks how far it is */
#define PROGRESS_INTERVAL 2000

/* ms between two tries to start a leader */
#define START_INTERVAL 1000

/* --- leaders ------------------------------------------------------------- */

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
	flo_source_place_order(FLO_PLACE_COMPARISON, 0);
	give_up(c, 0, "the process that led it ended");
	c->look = true;
	c->place.user = FLO_PLACE_COMPARISON;
	c->place.flag = FLO_CHUNK_COMPARE;
	c->place.bus = c->bus;
	before_shmem_exit(flo_place_end_leader, PointerGetDatum(&c->place));
}

static void
leader_ended(FloCompareControl *c)
{
	pfree(c->place.leader);
	c->place.leader = NULL;
	flo_source_place_order(FLO_PLACE_COMPARISON, 0);
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
	flo_source_place_order(FLO_PLACE_COMPARISON, c->id);
	c->shown = false;
	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_COMPARER;
	MemoryContextSwitchTo(context);
	if (!flo_process_start(&args, psprintf("pg_flo comparer %s", c->group), &c->place.leader))
		c->place.leader = NULL;
	MemoryContextSwitchTo(old);
	(void) flo_transaction_begin();
	if (c->place.leader != NULL)
		flo_comparisons_begin(c->id);
	else
		flo_comparisons_state(c->group, c->id, NULL, InvalidOid, FLO_COMPARISON_WAITING,
							  InvalidXLogRecPtr,
							  "no background worker process is free: raise max_worker_processes");
	flo_transaction_end(old);
	c->look = c->place.leader == NULL;
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
	FloSourcePlace place = flo_source_place_get(FLO_PLACE_COMPARISON);
	MemoryContext old;

	if (place.phase != FLO_PLACE_MARKED)
	{
		c->shown = false;
		return;
	}
	if (c->shown && (place.progress == 0 || !flo_clock_passed(c->looked, PROGRESS_INTERVAL)))
		return;
	c->looked = flo_clock();
	old = flo_transaction_begin();
	if (!c->shown)
		flo_comparisons_reading(c->group, c->id, place.lsn);
	else
		flo_compare_progress(place.progress, note_progress, c);
	flo_transaction_end(old);
	c->shown = true;
}

void
flo_compare_look(FloCompareControl *c)
{
	if (c->place.leader != NULL && flo_process_ended(c->place.leader))
		leader_ended(c);
	if (c->place.leader == NULL && c->ended != 0 && flo_clock_passed(c->ended, LAST_WORDS))
	{
		c->ended = 0;
		flo_compare_clean(c->bus, c->group);
	}
	if (c->place.leader != NULL)
		show_reading(c);
	else if (c->look && flo_clock_passed(c->looked, START_INTERVAL))
	{
		c->looked = flo_clock();
		start_leader(c);
	}
}
