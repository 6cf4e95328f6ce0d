/*
 * worker_batch.c
 *		Batches: one transaction at the destination for as many of the source as
 *		have arrived.
 *
 * A batch is committed when it is full or the stream runs dry; a source
 * transaction is never split across two.  The commit carries the position: that is
 * what makes it exactly once.  What is told of it to others waits for its flush
 * (worker_report.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/store.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/settings.h"
#include "core/transaction.h"
#include "dest/consumer.h"
#include "dest/copy_state.h"
#include "dest/given_up.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/table_filter.h"
#include "dest/worker_batch.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_report.h"
#include "dest/worker_rules.h"
#include "dest/worker_source.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* ms between two commits that only move the origin along with heartbeats */
#define IDLE_ADVANCE_INTERVAL 10000

/* Longest time in ms that a batch takes in more: what is left out costs no rows */
#define BATCH_TIME 1000

/* ms between two looks at history, and between two portions of what is too old */
#define PRUNE_INTERVAL 60000
#define PRUNE_PAUSE 1000

/*
 * Is the batch large enough?  All changes count, those that are left out, too.
 * A sink that writes elsewhere waits for the disk at a commit, once or twice,
 * and nothing is known to be there before.
 */
bool
flo_worker_batch_is_full(FloWorker *w)
{
	return w->batch_changes >= w->spec->options.batch_size ||
		flo_clock_passed(w->batch_opened,
						 w->sink->ops->transactional ? BATCH_TIME : FLO_FLUSH_INTERVAL);
}

/*
 * The sequence up to which nothing is needed once all batches so far are
 * durable: a worker that begins again does so in the chunk behind it.  That is
 * the one where the first transaction begins that is in none of them, or the oldest
 * piece that is kept.
 */
uint64
flo_worker_done_seq(const FloWorker *w)
{
	uint64		first = w->in_transaction ? w->began : w->place;
	uint64		piece = flo_pieces_first(w->pieces);

	return (piece != 0 ? Min(first, piece) : first) - 1;
}

/* Between batches, now and then: history that is kept no longer */
static void
prune_history(FloWorker *w)
{
	MemoryContext old;
	bool		more;

	if ((flo_ddl_log_keep == 0 && flo_dead_letters_keep == 0) ||
		!flo_clock_passed(w->pruned, PRUNE_INTERVAL))
		return;
	old = flo_transaction_begin();
	more = flo_store_prune_history(w->group);
	flo_transaction_end(old);
	w->pruned = flo_clock_in(more ? PRUNE_PAUSE - PRUNE_INTERVAL : 0);
}

/* Nothing is left to be written: what is known of a table can go */
static void
forget_table(void *arg, uint32 relation)
{
	FloWorker  *w = arg;

	flo_table_filter_forget(w->tables, relation);
	flo_worker_rules_forget(w->rules, relation);
	w->sink->ops->forget(w->sink, relation);
}

/* The batch is over: what it said of copies is in force, or undone */
void
flo_worker_follow_copies(FloWorker *w)
{
	if (w->batch_has_copies)
		flo_worker_look_at_copies(w);
	w->batch_has_copies = false;
}

void
flo_worker_open_batch(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;

	prune_history(w);
	flo_change_make_room(w->parser, forget_table, w);
	if (w->sink->ops->transactional)
	{
		flo_transaction_start();
		flo_progress_mark(w->progress);
	}
	w->host.keys_later = flo_copied_expected(w->copied);
	list_free(w->host.given_up);
	MemoryContextSwitchTo(GetMemoryChunkContext(w));
	w->host.given_up = w->gives_up && w->sink->ops->transactional ? flo_given_up_here(w) : NIL;
	MemoryContextSwitchTo(old);
	list_free(w->unchecked);
	w->unchecked = NIL;
	w->sink->ops->begin(w->sink);
	w->batch_opened = flo_clock();
	w->batch_open = true;
	w->batches++;
	w->batch_has_ddl = false;
	w->batch_changes = 0;
	w->batch_transactions = 0;
	w->batch_lsn = InvalidXLogRecPtr;
	w->batch_oldest = 0;
	MemoryContextSwitchTo(old);
}

void
flo_worker_commit_batch(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;
	bool		final = flo_errors_are_final;

	/*
	 * What is noticed only now may be the fault of any transaction of the
	 * batch: the next attempt, one transaction at a time, finds out.
	 */
	flo_error_context_clear();
	flo_error_context.commit_lsn = w->batch_final;
	flo_error_context.several = w->batch_transactions > 1;
	flo_error_context.operation = "COMMIT";
	flo_errors_are_final = final && w->batch_transactions == 1;

	/*
	 * what the sink still holds is written, or durable elsewhere, before the
	 * position says so
	 */
	w->sink->ops->finish(w->sink);
	flo_injection_point("commit.before");
	if (w->sink->ops->transactional)
		w->unflushed_local = flo_progress_commit(w->progress, w->batch_lsn, w->batch_time);
	else
		flo_worker_record_position(w, w->batch_lsn);
	flo_injection_point("commit.after");
	flo_tally_commit(&w->tally);
	flo_histogram_add(&w->tally.histograms, FLO_HISTOGRAM_BATCH, w->batch_changes, 1);
	MemoryContextSwitchTo(old);

	/* committed, and not to be told before it is flushed */
	w->unflushed_seq = flo_worker_done_seq(w);
	if (w->unflushed_oldest == 0)
		w->unflushed_oldest = w->batch_oldest;
	if (w->earlier.later == 0)
		w->earlier.later = w->batch_oldest;
	w->batch_open = false;
	w->entered = false;
	w->batch_oldest = 0;
	flo_errors_are_final = final;
	flo_error_context_clear();
	flo_worker_follow_copies(w);
	flo_worker_check_keys(w);
	flo_worker_flush(w, false);
}

void
flo_worker_abort_batch(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;

	w->batch_oldest = 0;
	if (!w->batch_open)
		return;
	w->batch_open = false;
	flo_tally_drop(&w->tally);
	flo_commits_drop(&w->commits, w->batches);
	w->entering |= w->entered;
	w->entered = false;
	flo_progress_disarm();
	w->sink->ops->abort(w->sink);
	if (w->sink->ops->transactional)
		AbortCurrentTransaction();
	MemoryContextSwitchTo(old);
	flo_worker_follow_copies(w);
}

/* The half of a transaction whose end will never come: the source sends it again */
void
flo_worker_drop_half(FloWorker *w)
{
	MemoryContext old = CurrentMemoryContext;

	w->fragment_total = 0;
	if (!w->in_transaction)
		return;
	w->in_transaction = false;
	w->place = w->began;
	flo_error_context_clear();
	if (w->skipping || !w->batch_open)
		return;
	Assert(XLogRecPtrIsInvalid(w->batch_lsn));
	flo_worker_abort_batch(w);

	/* what was to be kept of tables went with the transaction */
	flo_worker_load_rules(w);
	MemoryContextSwitchTo(old);
}

/*
 * The stream has run dry between transactions: everything read is committed, and
 * flushed and told when nothing has come for a moment; until then it is the next
 * call's.  What heartbeats say is durable by then, too.
 */
void
flo_worker_run_dry(FloWorker *w)
{
	uint64		done = flo_worker_done_seq(w);

	if (w->in_transaction)
	{
		flo_worker_flush(w, false);
		return;
	}
	if (w->batch_open)
		flo_worker_commit_batch(w);
	else if (XLogRecPtrIsInvalid(w->unflushed_local) && done > w->acked_seq)
	{
		w->acked_seq = done;
		flo_consumer_ack(w->consumer, done);
	}
	if (!XLogRecPtrIsInvalid(w->unflushed_local))
	{
		w->unflushed_seq = Max(w->unflushed_seq, done);
		flo_worker_flush(w, flo_clock_passed(Max(w->flushed, w->heard), FLO_QUIET_FLUSH_INTERVAL));
	}
	if (XLogRecPtrIsInvalid(w->unflushed_local))
		w->durable = Max(w->durable, w->position);
	prune_history(w);
	flo_worker_show_state(w);
}

/* An idle group's position is kept in the origin as well, at a price of one commit now and then */
void
flo_worker_advance_when_idle(FloWorker *w)
{
	if (w->in_transaction || w->batch_open ||
		w->position <= flo_progress_position(w->progress) ||
		(!flo_clock_passed(w->advanced, IDLE_ADVANCE_INTERVAL) && !flo_worker_source_stops(w)))
		return;
	w->advanced = flo_clock();
	if (w->sink->ops->transactional)
	{
		flo_transaction_start();
		w->unflushed_local = flo_progress_commit(w->progress, w->position, GetCurrentTimestamp());
	}
	else
		flo_worker_record_position(w, w->position);
	w->unflushed_seq = w->acked_seq;
	flo_worker_flush(w, true);
}
