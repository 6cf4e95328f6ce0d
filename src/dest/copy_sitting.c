/*
 * copy_sitting.c
 *		Several chunks in one transaction, for the sake of the indexes.
 *
 * Half of what a copied row costs are its index entries, made one by one; an index
 * that is built over rows that are there costs much less.  So a table that is
 * empty here, and of a size that is worth it and can be loaded again, is filled from
 * its first chunk to its last in one transaction, which builds its indexes in the end
 * (sink/bulk.c).  That is a sitting.  Some more such tables may join in; chunks of
 * others go to a loader that has none open, or end it first: locks for several tables
 * are what deadlocks are made of.
 *
 * A table is a loader's own from before its first chunk to the end of the sitting.
 * Others hand over chunks of it, in shared memory.  Nothing but speed depends on that.
 * A chunk counts by its key, which is claimed in the transaction that loads it; and a
 * sitting may end at any time: what comes later of its tables is loaded chunk by
 * chunk, by whoever gets it, and makes its entries.
 *
 * It ends when all of its tables are in; when somebody waits for a lock of it; when nothing
 * has come for a while; when it has gone on for long; and before what takes a transaction
 * of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "bus/records.h"
#include "conf/copies.h"
#include "conf/watch.h"
#include "core/compat_slot.h"
#include "core/injection_point.h"
#include "core/lock.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/copy_loader_state.h"
#include "replication/origin.h"
#include "sink/bulk.h"
#include "utils/snapmgr.h"

/* Bytes of all tables of a sitting: what a crash has loaded again */
#define LARGEST_SITTING ((uint64) 256 * 1024 * 1024)

/* Bytes of a table from which on to build its indexes costs less than their entries */
#define SMALLEST_TABLE (2 * 1024 * 1024)

#define LONGEST_SITTING 5000	/* ms */

/* ms without a chunk: the source is at something else, or has no room */
#define PATIENCE 500

/* ms between two looks whether all is in, at least, and whether somebody waits */
#define LOOK_PAUSE 10
#define WAY_PAUSE 50

/*
 * One that joins in may not have this loader wait for another, which waits for this one's
 * sitting: so it has nothing to do with what other tables have to do with, and is not emptied.
 */
void
flo_sitting_plan(FloLoader *l, uint32 relation, bool again)
{
	uint64		bytes;
	bool		alone;

	if (l->backfill || !l->sink->ops->transactional ||
		l->spec->options.copy_into == FLO_COPY_MERGE)
		return;
	bytes = flo_copies_planned_bytes(l->group, l->worker, relation, &alone);
	if (bytes < SMALLEST_TABLE || bytes > LARGEST_SITTING)
		return;
	l->planned = bytes;
	l->joins = alone && !again && l->spec->options.copy_into == FLO_COPY_EMPTY &&
		flo_worker_rules_are_none(l->rules);
}

bool
flo_sitting_has(const FloLoader *l, uint32 relation)
{
	for (int i = 0; l->sitting.open && i < l->sitting.ntables; i++)
		if (l->sitting.tables[i].relation == relation)
			return true;
	return false;
}

bool
flo_sitting_ends_before(FloLoader *l, uint32 attempt)
{
	return l->sitting.open && (attempt != l->sitting.attempt || flo_watch_pending());
}

/* Are all tables of it here whole? */
static bool
is_complete(FloLoader *l)
{
	char	   *generation = flo_text_of_uuid(&l->generation);
	char	   *bucket = flo_name_bucket(l->group);
	FloClock	began = flo_clock();
	bool		complete = true;

	for (int i = 0; i < l->sitting.ntables && complete; i++)
	{
		char	   *key = flo_copy_table_key(l->sitting.tables[i].relation);
		FloCopyTableRecord *record = flo_records_get(l->bus, bucket, key, &flo_copy_table_format);

		complete = record != NULL && strcmp(record->generation, generation) == 0 &&
			record->attempt == l->sitting.attempt &&
			record->chunks == l->sitting.tables[i].chunks;
	}
	l->sitting.next_look = flo_clock_in(Max(LOOK_PAUSE, 20 * flo_clock_since(began)));
	return complete;
}

bool
flo_sitting_ends_before_table(FloLoader *l, uint32 relation)
{
	FloSitting *sitting = &l->sitting;

	if (!sitting->open || flo_sitting_has(l, relation))
		return false;
	return l->planned == 0 || !l->joins || sitting->bytes + l->planned > LARGEST_SITTING ||
		sitting->ntables == FLO_OWN_TABLES || is_complete(l);
}

/* From now on the table is filled here, with its indexes built in the end or not */
static void
begin_table(FloLoader *l, uint32 relation, uint32 attempt)
{
	FloSitting *sitting = &l->sitting;

	if (!sitting->open)
	{
		memset(sitting, 0, sizeof(*sitting));
		sitting->open = true;
		sitting->attempt = attempt;
		sitting->began = sitting->last = flo_clock();
		sitting->low = PG_UINT64_MAX;
		flo_dest_copy_leave(l->args->slot, l->args->number);
	}
	sitting->bytes += l->planned;
	sitting->tables[sitting->ntables].relation = relation;
	sitting->tables[sitting->ntables].chunks = 0;
	sitting->ntables++;
}

void
flo_sitting_try(FloLoader *l, const FloRelation *relation, Oid target, uint32 attempt)
{
	if (l->planned != 0 && l->owned &&
		(flo_bulk_begin(target, relation) || l->sitting.open))
		begin_table(l, relation->id, attempt);
}

void
flo_sitting_note(FloLoader *l, uint32 relation)
{
	FloSitting *sitting = &l->sitting;

	sitting->low = Min(sitting->low, l->current);
	sitting->last = flo_clock();
	sitting->chunks++;
	for (int i = 0; i < sitting->ntables; i++)
		sitting->tables[i].chunks += sitting->tables[i].relation == relation;
}

static bool
is_in_the_way(FloSitting *sitting)
{
	if (flo_clock() < sitting->next_way)
		return false;
	sitting->next_way = flo_clock_in(WAY_PAUSE);
	return flo_lock_anybody_waits();
}

bool
flo_sitting_is_over(FloLoader *l, bool idle)
{
	FloSitting *sitting = &l->sitting;

	if (!sitting->open)
		return false;
	if (flo_clock_passed(sitting->began, LONGEST_SITTING) || flo_watch_pending() ||
		is_in_the_way(sitting))
		return true;
	return idle && (flo_clock_passed(sitting->last, PATIENCE) ||
					(flo_clock() >= sitting->next_look && is_complete(l)));
}

void
flo_sitting_end(FloLoader *l)
{
	FloSitting *sitting = &l->sitting;

	flo_injection_point("sitting.before");
	flo_bulk_build();
	flo_injection_point("sitting.built");
	PopActiveSnapshot();
	flo_transaction_close();
	sitting->open = false;
	flo_injection_point("sitting.after");
	flo_tally_commit(&l->tally);
	flo_helper_progress(l->args->slot, l->args->incarnation);
	flo_dest_copy_count(l->args->slot, l->args->incarnation, sitting->chunks);
	for (int i = 0; i < sitting->ntables; i++)
		flo_dest_copy_disown(l->args->slot, l->args->incarnation, l->args->number,
							 sitting->tables[i].relation);
	flo_compat_xact_origin(InvalidReplOriginId);
	flo_statistics_report();
	l->unflushed = XactLastCommitEnd;
	MemoryContextSwitchTo(l->turn);
	flo_hand_acknowledge(l);
}
