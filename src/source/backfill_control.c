/*
 * backfill_control.c
 *		The replicator's part in backfills: it starts the process that reads, and knows
 *		when the worker has the rows.
 *
 * One backfill of a group at a time, the oldest that is not over.  What is durable of
 * it is its row in flo.backfills: before it is "published" a process that ends takes
 * the attempt with it, and the next one begins with another snapshot; from then on the
 * rows are in the stream, and only the worker is waited for.  The worker takes none
 * before it is told so, unless they do not fit into the stream.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/copies.h"
#include "conf/store.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "source/backfill.h"
#include "source/copy_record.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#define LOOK_INTERVAL 500		/* ms */

/* A worker may be out of the state bucket for so long, ms, until it is believed to be gone */
#define PATIENCE 20000

static FloBackfill *
next(FloBackfillControl *c)
{
	MemoryContext old = flo_transaction_begin();
	FloBackfill *b;

	MemoryContextSwitchTo(old);
	b = flo_backfills_next(c->group);
	flo_transaction_end(old);
	return b;
}

/* One whose rows were published in an earlier generation is read again in this one */
static void
read_again(FloBackfillControl *c)
{
	MemoryContext old = MemoryContextSwitchTo(c->context);
	FloBackfill *b = next(c);

	if (b != NULL && b->published &&
		flo_records_backfill(c->place.bus, flo_name_bucket(c->group),
							 flo_text_of_uuid(&c->generation->id)) == NULL)
	{
		(void) flo_transaction_begin();
		flo_backfills_state(b->id, FLO_BACKFILL_WAITING, 0, InvalidXLogRecPtr, NULL);
		flo_transaction_end(c->context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(c->context);
}

void
flo_backfill_open(FloBackfillControl *c)
{
	c->context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo backfill",
									   ALLOCSET_SMALL_SIZES);
	c->place.user = FLO_PLACE_BACKFILL;
	c->place.flag = FLO_CHUNK_BACKFILL;
	c->look = true;
	flo_source_place_order(FLO_PLACE_BACKFILL, 0);
	read_again(c);
	before_shmem_exit(flo_place_end_leader, PointerGetDatum(&c->place));
}

/* --- what the worker is told --------------------------------------------- */

static void
put_record(FloBackfillControl *c, const FloBackfill *b, bool over)
{
	FloBackfillRecord record = {
		.consumer = b->consumer,
		.attempt = b->attempt,
		.lsn = b->lsn,
		.relation = b->relation,
		.partial = b->condition != NULL,
		.published = !over,
		.over = over,
		.chunks = b->chunks,
		.rows = b->rows,
		.bytes = b->bytes
	};
	MemoryContext old = flo_transaction_begin();
	char	   *name = get_rel_name(b->relation);

	MemoryContextSwitchTo(old);
	record.schema = name != NULL ? get_namespace_name(get_rel_namespace(b->relation)) : "";
	record.table = name != NULL ? pstrdup(name) : "";
	flo_transaction_end(old);
	strlcpy(record.generation, flo_text_of_uuid(&c->generation->id), sizeof(record.generation));
	flo_records_put(c->place.bus, flo_name_bucket(c->group), FLO_BACKFILL_KEY,
					&flo_backfill_format, &record, true);
}

/* --- the end ------------------------------------------------------------- */

static void
forget_plan(FloBackfillControl *c)
{
	if (c->segment != NULL)
		dsm_detach(c->segment);
	c->segment = NULL;
	c->shown = 0;
}

/* Nobody is at it any more, and nothing of it is left; "b" NULL: all that was known has gone */
static void
clear_away(FloBackfillControl *c, const FloBackfill *b)
{
	if (b != NULL && b->attempt > 0)
		put_record(c, b, true);
	flo_stream_delete(c->place.bus, flo_name_backfill_stream(c->group));
	if (!c->copies)
		flo_bucket_remove_text(c->place.bus, flo_name_bucket(c->group), FLO_MARKED_PLAN_KEY);
	flo_source_place_order(FLO_PLACE_BACKFILL, 0);
	forget_plan(c);
	c->id = 0;
	c->told = false;
	c->purged = 0;
	c->gone = 0;
}

static void
finish(FloBackfillControl *c, const FloBackfill *b, const char *state, const char *detail)
{
	MemoryContext old = flo_transaction_begin();

	ForceSyncCommit();
	(void) flo_backfills_finish(b->id, state, detail);
	if (!c->copies)				/* else it is one with the copy */
		(void) flo_copies_finish(c->group, FLO_REPLICATOR_MEMBER);
	flo_transaction_end(old);
	ereport(LOG,
			(errmsg("backfill " INT64_FORMAT " of group \"%s\": table %s for worker \"%s\": %s%s%s",
					b->id, c->group, b->table, b->worker, state, detail != NULL ? ": " : "",
					detail != NULL ? detail : "")));
	clear_away(c, b);
}

/* --- who reads ----------------------------------------------------------- */

static void
start_leader(FloBackfillControl *c, const FloBackfill *b)
{
	FloProcessArgs args = {0};
	MemoryContext old;

	flo_source_place_order(FLO_PLACE_BACKFILL, b->id);
	forget_plan(c);
	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_BACKFILLER;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(unconstify(char *, c->group)));
	if (!flo_process_start(&args, psprintf("pg_flo backfiller %s", c->group), &c->place.leader))
		c->place.leader = NULL;
	MemoryContextSwitchTo(old);
	if (c->place.leader != NULL)
		return;
	old = flo_transaction_begin();
	flo_backfills_state(b->id, FLO_BACKFILL_WAITING, 0, InvalidXLogRecPtr,
						"no background worker process is free: raise max_worker_processes");
	flo_transaction_end(old);
}

/* Each attempt has a plan of its own; false when its leader has gone meanwhile */
static bool
attach_plan(FloBackfillControl *c, uint32 segment)
{
	if (segment == c->shown)
		return true;
	forget_plan(c);
	c->segment = dsm_attach(segment);
	if (c->segment != NULL)
		dsm_pin_mapping(c->segment);
	return c->segment != NULL;
}

/* It cannot write while it reads, so how far it is is written down here */
static void
show_reading(FloBackfillControl *c, const FloBackfill *b)
{
	FloSourcePlace place = flo_source_place_get(FLO_PLACE_BACKFILL);
	FloCopyPlan *plan;
	MemoryContext old;

	if (place.progress == 0 || place.id != b->id || !attach_plan(c, place.progress))
		return;
	plan = dsm_segment_address(c->segment);
	old = flo_transaction_begin();
	if (c->shown == 0)
	{
		flo_backfills_state(b->id, FLO_BACKFILL_READING, 0, place.lsn, NULL);
		flo_copies_begin(c->group, FLO_REPLICATOR_MEMBER, flo_text_of_uuid(&c->generation->id),
						 FLO_PHASE_READING);
		flo_copies_plan(c->group, FLO_REPLICATOR_MEMBER, plan->attempt,
						flo_copy_planned_tables(plan));
	}
	flo_copies_phase(c->group, FLO_REPLICATOR_MEMBER, FLO_PHASE_READING);
	flo_copy_record_tables(c->group, plan, place.lsn);
	flo_transaction_end(old);
	c->shown = place.progress;
}

/* --- the worker ---------------------------------------------------------- */

static const FloWorkerReport *
report_of(FloRetention *retention, const char *consumer)
{
	ListCell   *cell;

	foreach(cell, flo_retention_reports(retention))
	{
		const FloWorkerReport *report = lfirst(cell);

		if (strcmp(report->consumer, consumer) == 0)
			return report;
	}
	return NULL;
}

/* False when the worker has gone, and the backfill with it */
static bool
has_worker(FloBackfillControl *c, const FloBackfill *b, const FloWorkerReport *report)
{
	if (report != NULL)
		c->gone = 0;
	else if (c->gone == 0)
		c->gone = flo_clock();
	else if (flo_clock_passed(c->gone, PATIENCE))
		return false;
	return true;
}

static void
purge_taken(FloBackfillControl *c, const FloBackfill *b, const FloWorkerReport *report)
{
	if (report->backfilling != b->attempt || report->backfill_seq <= c->purged)
		return;
	c->purged = report->backfill_seq;
	flo_stream_purge_below(c->place.bus, flo_name_backfill_stream(c->group), c->purged + 1);
}

/*
 * A copy goes first, and waits for the worker, which may wait at the place of a
 * snapshot of which no rows come any more: there is another place later.
 */
static void
tell_put_off(FloBackfillControl *c, const FloBackfill *b)
{
	if (b->attempt > c->put_off)
		put_record(c, b, true);
	c->put_off = Max(c->put_off, b->attempt);
}

/* Also of one that was read before anybody looked */
static void
show_published(FloBackfillControl *c, const FloBackfill *b)
{
	FloCopyProgress progress = {
		.relation = b->relation,
		.attempt = b->attempt,
		.lsn = b->lsn,
		.bytes = b->bytes,
		.bytes_done = b->bytes,
		.tuples_done = b->rows,
		.finished = true
	};
	MemoryContext old = flo_transaction_begin();
	char	   *name = get_rel_name(b->relation);
	FloPlannedTable table = {
		.relation = b->relation,
		.rows = b->rows,
		.bytes = b->bytes
	};

	if (name != NULL)
	{
		table.schema = get_namespace_name(get_rel_namespace(b->relation));
		table.table = name;
		flo_copies_begin(c->group, FLO_REPLICATOR_MEMBER, flo_text_of_uuid(&c->generation->id),
						 FLO_PHASE_READING);
		flo_copies_plan(c->group, FLO_REPLICATOR_MEMBER, b->attempt, list_make1(&table));
		flo_store_copy_progress(c->group, &progress);
	}
	flo_copies_phase(c->group, FLO_REPLICATOR_MEMBER, FLO_PHASE_PUBLISHED);
	flo_transaction_end(old);
}

/* All rows are at the broker: what does the worker say? */
static void
await_worker(FloBackfillControl *c, const FloBackfill *b, const FloWorkerReport *report)
{
	MemoryContext old;

	if (!c->told)
		put_record(c, b, false);
	if (!c->told)
		show_published(c, b);
	c->told = true;
	if (strcmp(report->generation, flo_text_of_uuid(&c->generation->id)) != 0)
		return;
	if (report->backfilled >= b->attempt)
		finish(c, b, report->left_out != NULL ? FLO_BACKFILL_FAILED : FLO_BACKFILL_DONE,
			   report->left_out);
	else if (report->lsn > b->lsn && report->backfilling != b->attempt)
		finish(c, b, FLO_BACKFILL_FAILED,
			   "the worker was dropped and created again, and began after the place of these rows");
	else if (report->missing_chunks == b->relation && report->missing_attempt == b->attempt)
	{
		old = flo_transaction_begin();
		ForceSyncCommit();
		flo_backfills_state(b->id, FLO_BACKFILL_WAITING, 0, InvalidXLogRecPtr,
							"the broker has lost rows of it: the table is read again");
		flo_transaction_end(old);
		c->told = false;
	}
}

/* --- the look ------------------------------------------------------------ */

static FloBackfill *
at_hand(FloBackfillControl *c)
{
	MemoryContext old = flo_transaction_begin();
	FloBackfill *b;

	MemoryContextSwitchTo(old);
	b = flo_backfills_get(c->id);
	flo_transaction_end(old);
	return b;
}

static void
look(FloBackfillControl *c, FloRetention *retention)
{
	FloBackfill *b = next(c);
	const FloWorkerReport *report;

	/*
	 * the one before is over: it was cancelled, has failed, or its row is
	 * gone
	 */
	if (c->id != 0 && (b == NULL || b->id != c->id))
	{
		if (c->place.leader != NULL)
			TerminateBackgroundWorker(c->place.leader);
		else
			clear_away(c, at_hand(c));
		return;
	}
	c->look = b != NULL;
	if (b == NULL)
		return;
	c->id = b->id;
	report = report_of(retention, b->consumer);
	if (!has_worker(c, b, report))
		finish(c, b, FLO_BACKFILL_FAILED, "the worker has gone");
	else if (report == NULL)
		return;
	else if (c->place.leader != NULL)
	{
		purge_taken(c, b, report);
		show_reading(c, b);
	}
	else if (b->published)
	{
		purge_taken(c, b, report);
		await_worker(c, b, report);
	}
	else if (!c->copies)
		start_leader(c, b);
	else
		tell_put_off(c, b);
}

void
flo_backfill_look(FloBackfillControl *c, FloRetention *retention, bool copies)
{
	MemoryContext old;

	if (c->place.leader != NULL && flo_process_ended(c->place.leader))
	{
		pfree(c->place.leader);
		c->place.leader = NULL;
		flo_source_place_order(FLO_PLACE_BACKFILL, 0);
	}
	else if ((!c->look && c->id == 0) || !flo_clock_passed(c->looked, LOOK_INTERVAL))
		return;
	c->looked = flo_clock();
	old = MemoryContextSwitchTo(c->context);
	c->copies = copies;
	look(c, retention);
	MemoryContextSwitchTo(old);
	MemoryContextReset(c->context);
}
