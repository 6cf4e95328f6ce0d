/*
 * copy_record.c
 *		Writes down how far a copy is at the source, for people.
 *
 * The leader and the copiers read under one snapshot and write nothing, so the
 * replicator does, after their plan in dynamic shared memory.  That stays mapped
 * when they have gone: a copy that took no second is recorded, too.
 */
#include "postgres.h"

#include "conf/copies.h"
#include "conf/store.h"
#include "core/transaction.h"
#include "source/copy_record.h"
#include "storage/dsm.h"

void
flo_copy_record_begin(FloCopyRecorder *r, const char *generation)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_begin(r->group, FLO_REPLICATOR_MEMBER, generation, FLO_PHASE_SNAPSHOT);
	flo_transaction_end(old);
	r->phase = FLO_COPY_NONE;
}

static void
record_phase(FloCopyRecorder *r, const char *phase)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_phase(r->group, FLO_REPLICATOR_MEMBER, phase);
	flo_transaction_end(old);
}

/* False when the leader has gone before anything was known of it */
static bool
attach_plan(FloCopyRecorder *r, const FloSourceCopy *state)
{
	dsm_segment *segment;

	if (state->segment == 0)
		return false;
	if (r->plan != NULL && r->plan->attempt == state->attempt)
		return true;
	segment = dsm_attach(state->segment);
	if (segment == NULL)
		return false;
	dsm_pin_mapping(segment);
	r->plan = dsm_segment_address(segment);
	r->planned = false;
	r->rows = 0;
	r->done = -1;
	return true;
}

void
flo_copy_record_plan(FloCopyRecorder *r)
{
	FloSourceCopy state = flo_source_copy_get();
	MemoryContext old;

	if (!attach_plan(r, &state) || r->planned)
		return;
	old = flo_transaction_begin();
	flo_copies_plan(r->group, FLO_REPLICATOR_MEMBER, state.attempt,
					flo_copy_planned_tables(r->plan));
	flo_transaction_end(old);
	r->planned = true;
}

void
flo_copy_record_tables(const char *group, FloCopyPlan *plan, XLogRecPtr lsn)
{
	FloCopyTask **tasks = flo_copy_tasks_by_table(plan);
	FloCopyProgress progress = {0};

	for (int i = 0; i < plan->ntasks; i++)
	{
		const FloCopyTask *task = tasks[i];

		if (progress.relation != task->published)
		{
			memset(&progress, 0, sizeof(progress));
			progress.relation = task->published;
			progress.attempt = plan->attempt;
			progress.lsn = lsn;
			progress.finished = true;
		}
		progress.bytes += (int64) task->bytes;
		progress.bytes_done += (int64) flo_copy_task_bytes_done(task);
		progress.tuples_done += (int64) task->rows;
		progress.finished &= task->state == FLO_TASK_DONE;
		if (i + 1 == plan->ntasks || tasks[i + 1]->published != progress.relation)
			flo_store_copy_progress(group, &progress);
	}
}

static void
record_progress(FloCopyRecorder *r, const FloSourceCopy *state)
{
	MemoryContext old;

	if (state->segment == 0 ||
		(state->phase < FLO_COPY_PUBLISHED && !flo_clock_passed(r->at, 1000)))
		return;
	flo_copy_record_plan(r);
	if (!r->planned || (r->rows == state->rows_done && r->done == state->tables_done))
		return;
	r->at = flo_clock();
	r->rows = state->rows_done;
	r->done = state->tables_done;
	old = flo_transaction_begin();
	flo_copy_record_tables(r->group, r->plan, state->lsn);
	flo_transaction_end(old);
}

/* Every worker has it */
static void
record_end(FloCopyRecorder *r)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *words;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	words = flo_copies_finish(r->group, FLO_REPLICATOR_MEMBER);
	flo_transaction_end(context);
	if (words != NULL)
		ereport(LOG,
				(errmsg("replicator of group \"%s\": copy finished: %s", r->group, words)));
}

void
flo_copy_record(FloCopyRecorder *r)
{
	FloSourceCopy state = flo_source_copy_get();

	if (state.phase == FLO_COPY_NONE)
		return;
	record_progress(r, &state);
	if (state.phase == r->phase)
		return;
	r->phase = state.phase;
	if (state.phase == FLO_COPY_DUMPING)
		record_phase(r, FLO_PHASE_DUMPING);
	else if (state.phase == FLO_COPY_RUNNING)
		record_phase(r, FLO_PHASE_READING);
	else if (state.phase == FLO_COPY_PUBLISHED)
		record_phase(r, FLO_PHASE_PUBLISHED);
	else if (state.phase == FLO_COPY_DONE)
		record_end(r);
}
