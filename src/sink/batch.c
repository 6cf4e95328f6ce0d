/*
 * batch.c
 *		Changes on their way to the tables of this database, written as sets.
 *
 * Within a transaction of the destination, changes are gathered table by table
 * and written as few sets as their order allows.  This must leave the rows, the
 * counters and the errors of one change after the other, which is how they are
 * applied where there is any doubt.  So a set is written in a subtransaction.
 * When the server objects to it, or a row is missing or in the way, it is
 * undone and its changes are applied strictly in order: that decides what is
 * an error, with the change it belongs to, and what the worker's policies for
 * conflicts have to settle.
 *
 * Tables do not see each other's changes, as foreign keys are not checked and
 * tables whose triggers fire are not gathered, so each goes its own way.
 *
 * A table that had to be written strictly is likely to be so again: each time
 * it is not tried as a set for twice as many turns, until one succeeds.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "core/error_context.h"
#include "sink/batch.h"
#include "sink/direct.h"
#include "sink/gather.h"
#include "sink/setwise.h"
#include "sink/traits.h"

/* Fewer changes than this are written faster one by one */
#define FLO_SET_MIN		6

/* What is gathered at most, for one table and in all */
#define FLO_GATHER_ROWS		8000
#define FLO_GATHER_BYTES	(16 * 1024 * 1024)

/* Turns for which a table is written strictly after it had to be */
#define FLO_MAX_STRICT_TURNS	64

struct FloBatch
{
	MemoryContext context;
	MemoryContext work;			/* of the set being written */
	FloCounters *counters;
	const FloSinkHost *host;
	FloApplyOne apply;
	void	   *arg;

	FloGather  *pending;		/* tables that have changes gathered */
	FloGather  *spare;
	Size		bytes;			/* of all pending */

	/* a gathered change on its way back */
	int			room;
	FloValue   *old_values;
	FloValue   *new_values;
};

/*
 * What is gathered is freed and taken again all the time.  Handing it back to
 * the system in between would cost more than anything else here.
 */
static void
keep_memory(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, FLO_GATHER_BYTES);
	mallopt(M_TRIM_THRESHOLD, 2 * FLO_GATHER_BYTES);
#endif
}

FloBatch *
flo_batch_create(MemoryContext context, FloCounters *counters, const FloSinkHost *host,
				 FloApplyOne apply, void *arg)
{
	FloBatch   *batch = MemoryContextAllocZero(context, sizeof(FloBatch));

	keep_memory();
	batch->context = context;
	batch->work = AllocSetContextCreate(context, "pg_flo set", ALLOCSET_DEFAULT_SIZES);
	batch->counters = counters;
	batch->host = host;
	batch->apply = apply;
	batch->arg = arg;
	return batch;
}

/* --- one by one ---------------------------------------------------------- */

static void
restore_tuple(FloRow row, int natts, FloValue *values, FloTuple *tuple)
{
	char	   *kinds = flo_row_kinds(row, natts);

	for (int i = 0; i < natts; i++)
	{
		values[i].len = 0;
		values[i].data = NULL;
		switch (kinds[i])
		{
			case FLO_ROW_NULL:
				values[i].kind = FLO_VALUE_NULL;
				break;
			case FLO_ROW_UNCHANGED:
				values[i].kind = FLO_VALUE_UNCHANGED;
				break;
			default:
				values[i].kind = FLO_VALUE_DATUM;
				values[i].data = (char *) DatumGetPointer(row[i]);
		}
	}
	tuple->natts = natts;
	tuple->values = values;
}

static void
apply_strictly(FloBatch *batch, FloGather *gather)
{
	FloTarget  *target = gather->target;
	int			natts = target->natts;

	if (natts > batch->room)
	{
		batch->room = 0;
		batch->old_values = MemoryContextAlloc(batch->context, natts * sizeof(FloValue));
		batch->new_values = MemoryContextAlloc(batch->context, natts * sizeof(FloValue));
		batch->room = natts;
	}
	for (int i = 0; i < gather->nlogged; i++)
	{
		const FloLogged *logged = &gather->log[i];
		FloChange	change = {0};

		change.op = logged->op;
		change.relation = &target->source;
		if (logged->new != NULL)
			restore_tuple(logged->new, natts, batch->new_values, &change.new);
		if (logged->old != NULL)
		{
			change.has_old = true;
			change.old_is_key = logged->old_is_key;
			restore_tuple(logged->old, natts, batch->old_values, &change.old);
		}
		flo_error_context.commit_lsn = logged->commit_lsn;
		flo_error_context.several = false;
		batch->apply(batch->arg, target, &change);
	}
}

/* --- as a set ------------------------------------------------------------ */

static bool
write_as_user(FloBatch *batch, FloGather *gather)
{
	FloAsRole	saved;
	bool		done;

	flo_target_enter(gather->target, &saved);
	if (flo_direct_possible(gather))
		done = flo_direct_write(gather, batch->host);
	else
		done = flo_setwise_write(gather);
	flo_target_leave(&saved);
	return done;
}

/* False when it was undone */
static bool
write_set(FloBatch *batch, FloGather *gather)
{
	MemoryContext old_context = CurrentMemoryContext;
	ResourceOwner old_owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(batch->work);
	PG_TRY();
	{
		done = write_as_user(batch, gather);
		if (done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(batch->work);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old_context);
		CurrentResourceOwner = old_owner;
		if (!flo_error_is_about_data(error->sqlerrcode))
			ReThrowError(error);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	CurrentResourceOwner = old_owner;
	MemoryContextReset(batch->work);
	return done;
}

static void
count_changes(FloBatch *batch, const FloGather *gather)
{
	for (int i = 0; i < gather->nlogged; i++)
	{
		switch (gather->log[i].op)
		{
			case FLO_OP_INSERT:
				batch->counters->inserts++;
				break;
			case FLO_OP_UPDATE:
				batch->counters->updates++;
				break;
			default:
				batch->counters->deletes++;
		}
	}
}

static void
write_gathered(FloBatch *batch, FloGather *gather)
{
	FloTraits  *traits = gather->traits;

	if (gather->nlogged < FLO_SET_MIN)
	{
		apply_strictly(batch, gather);
		return;
	}
	if (traits->strict_turns > 0)
		traits->strict_turns--;
	else if (write_set(batch, gather))
	{
		count_changes(batch, gather);
		traits->last_strict_turns = 0;
		return;
	}
	else
	{
		traits->last_strict_turns = Min(Max(traits->last_strict_turns * 2, 1),
										FLO_MAX_STRICT_TURNS);
		traits->strict_turns = traits->last_strict_turns;
	}
	batch->counters->fallbacks++;
	apply_strictly(batch, gather);
}

/* Write what was gathered for a table, which may go on gathering */
static void
flush(FloBatch *batch, FloGather *gather)
{
	FloErrorContext saved = flo_error_context;

	if (gather->nlogged > 0)
	{
		flo_error_context.commit_lsn = gather->log[gather->nlogged - 1].commit_lsn;
		flo_error_context.several = gather->log[0].commit_lsn != flo_error_context.commit_lsn;
		flo_error_context.operation = NULL;
		flo_error_context.schema = gather->target->source.schema;
		flo_error_context.table = gather->target->source.name;
		flo_error_context.column = NULL;
		flo_error_context_source(gather->target->source.id, gather->target->source_schema,
								 gather->target->source_table);
		write_gathered(batch, gather);
		flo_error_context = saved;
	}
	batch->bytes -= gather->bytes;
	flo_gather_reset(gather);
}

/* --- gathering ----------------------------------------------------------- */

static void
release(FloBatch *batch, FloGather *gather)
{
	FloGather **link = &batch->pending;

	while (*link != gather)
		link = &(*link)->next;
	*link = gather->next;
	gather->next = batch->spare;
	batch->spare = gather;
	gather->target->gather = NULL;
	gather->target = NULL;
}

void
flo_batch_flush_target(void *arg, FloTarget *target)
{
	FloBatch   *batch = arg;
	FloGather  *gather = target->gather;

	if (gather == NULL)
		return;
	flush(batch, gather);
	release(batch, gather);
}

void
flo_batch_flush(FloBatch *batch)
{
	while (batch->pending != NULL)
		flo_batch_flush_target(batch, batch->pending->target);
}

void
flo_batch_drop(FloBatch *batch)
{
	while (batch->pending != NULL)
	{
		flo_gather_reset(batch->pending);
		release(batch, batch->pending);
	}
	batch->bytes = 0;
	MemoryContextReset(batch->work);
}

/* Could changes of one be changes of the other's rows? */
static bool
share_rows(const FloTarget *a, const FloTarget *b)
{
	return a->relid == b->relid ||
		(a->partitioned && b->is_partition) || (b->partitioned && a->is_partition);
}

static FloGather *
begin_gather(FloBatch *batch, FloTarget *target, FloTraits *traits)
{
	FloGather  *gather = batch->pending;

	/* several source tables may go to one */
	while (gather != NULL)
	{
		FloGather  *next = gather->next;

		if (share_rows(gather->target, target))
			flo_batch_flush_target(batch, gather->target);
		gather = next;
	}

	gather = batch->spare;
	if (gather != NULL)
		batch->spare = gather->next;
	else
		gather = flo_gather_create(batch->context);
	flo_gather_begin(gather, target, traits);
	gather->next = batch->pending;
	batch->pending = gather;
	target->gather = gather;
	return gather;
}

static inline FloFit
add_as_user(FloGather *gather, const FloChange *change)
{
	FloAsRole	saved;
	FloFit		fit;

	if (likely(!gather->traits->user_code))
		return flo_gather_add(gather, change, flo_error_context.commit_lsn);
	flo_target_enter(gather->target, &saved);
	fit = flo_gather_add(gather, change, flo_error_context.commit_lsn);
	flo_target_leave(&saved);
	return fit;
}

/* As many changes as would make a set, but applied one by one */
static void
note_strict(FloBatch *batch, FloTarget *target, FloTraits *traits)
{
	if (traits->strict_batch != target->batch)
	{
		traits->strict_batch = target->batch;
		traits->strict_changes = 0;
	}
	if (++traits->strict_changes == FLO_SET_MIN)
		batch->counters->fallbacks++;
}

bool
flo_batch_add(FloBatch *batch, FloTarget *target, const FloChange *change)
{
	FloTraits  *traits = flo_traits(target);
	FloGather  *gather = target->gather;
	FloFit		fit;

	/* what a lack of privileges forbids must not depend on how it is written */
	if (traits->fires ||
		(target->privileges & FLO_ROW_PRIVILEGES) != FLO_ROW_PRIVILEGES)
	{
		flo_batch_flush(batch);
		note_strict(batch, target, traits);
		return false;
	}
	if (gather == NULL)
		gather = begin_gather(batch, target, traits);
	while ((fit = add_as_user(gather, change)) == FLO_FIT_FLUSH)
		flush(batch, gather);
	if (fit == FLO_FIT_NEVER)
	{
		flo_batch_flush_target(batch, target);
		note_strict(batch, target, traits);
		return false;
	}

	batch->bytes -= gather->bytes;
	gather->bytes = MemoryContextMemAllocated(gather->context, false);
	batch->bytes += gather->bytes;
	if (gather->nlogged >= FLO_GATHER_ROWS)
		flush(batch, gather);
	else if (batch->bytes >= FLO_GATHER_BYTES)
		flo_batch_flush(batch);
	return true;
}
