/*
 * backfill.c
 *		A worker of events comes to the place of a backfill in the stream.
 *
 * The rows belong exactly there: what committed before has been delivered, what comes
 * after waits for them.  A loader takes them in, as it does those of a copy, and what
 * a sink writes to has one writer: so that a backfill is due is written down, and the
 * process ends; the next one has the rows in before it opens the sink
 * (worker_start.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/injection_point.h"
#include "core/transaction.h"
#include "dest/backfill.h"
#include "dest/copy_state.h"
#include "dest/progress.h"
#include "dest/table_filter.h"
#include "dest/worker_report.h"
#include "utils/memutils.h"
#include "wire/backfill.h"

void
flo_worker_load_due_backfill(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(GetMemoryChunkContext(w));
	w->due = flo_due_backfill(w->group, w->worker);
	flo_transaction_end(old);
}

void
flo_worker_save_due_backfill(FloWorker *w, const FloDueBackfill *due)
{
	MemoryContext old = flo_transaction_begin();

	ForceSyncCommit();
	flo_due_backfill_save(w->group, w->worker, due);
	if (due->left_out != NULL)
		flo_copied_break_off(w->group, w->worker, due->relation, due->attempt);
	flo_transaction_end(old);
	flo_worker_load_due_backfill(w);
}

/* One that this worker has met is in, or will not come */
void
flo_worker_read_backfill_marker(FloWorker *w, const FloChunk *chunk)
{
	const FloDueBackfill *due = flo_worker_due_backfill(w);
	MemoryContext old;
	FloChunkReader reader;
	const char *data;
	uint32		len;
	uint32		total;

	if (w->sink->ops->transactional)
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	flo_chunk_read(&reader, chunk->data, chunk->len);
	if (flo_chunk_next(&reader, &data, &len, &total) && len == total)
		w->backfill = flo_backfill_marker_parse(data, len);
	MemoryContextSwitchTo(old);
	if (w->backfill != NULL && (strcmp(w->backfill->consumer, w->consumer_name) != 0 ||
								(due != NULL && w->backfill->attempt <= due->attempt)))
		w->backfill = NULL;
}

/* Why the worker takes nothing of the table; NULL: it does */
static char *
reason_against(const FloWorker *w, const FloBackfillMarker *marker)
{
	const FloCopiedTable *table = flo_copied_find(w->copied, marker->relation);

	if (!flo_table_filter_names(w->tables, marker->schema, marker->table))
		return "the worker's option tables leaves the table out";
	if (table != NULL && table->given_up != NULL)
		return "the table is given up at the worker";
	return NULL;
}

void
flo_worker_meet_backfill(FloWorker *w)
{
	FloDueBackfill due = {
		.attempt = w->backfill->attempt,
		.relation = w->backfill->relation,
		.left_out = reason_against(w, w->backfill)
	};

	strlcpy(due.generation, flo_progress_generation(w->progress), sizeof(due.generation));
	due.over = due.left_out != NULL;
	flo_injection_point("backfill.met");
	flo_worker_save_due_backfill(w, &due);
	flo_injection_point("backfill.due");
	w->backfill = NULL;
	w->leave = !due.over;
	flo_worker_report_to_bucket(w, true);
}
