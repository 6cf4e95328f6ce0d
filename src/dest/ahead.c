/*
 * ahead.c
 *		The worker's part of applying a large transaction while it is still running.
 *
 * A helper is an accelerator: a process that applies the pieces as they come, in a
 * transaction of its own, and commits it in the order of the stream.  The file of pieces
 * is written all the same.  Whenever anything is not plain the helper gives up, or is told
 * to leave, and the transaction is applied from the file; so an error of its is nobody's.
 *
 * Two processes must not move one position.  The worker commits what it has, lets the
 * origin go, and tells the helper which position has to be there; the helper takes the
 * origin up, looks, and commits.  Then the worker takes it up again, and the position says
 * whether the transaction is in.
 *
 * One transaction at a time: the first that is large enough.
 */
#include "postgres.h"

#include "core/injection_point.h"
#include "core/loop.h"
#include "core/process.h"
#include "dest/ahead.h"
#include "dest/ahead_state.h"
#include "dest/pieces.h"
#include "dest/progress.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_report.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "storage/dsm.h"
#include "utils/memutils.h"

/* A helper is worth its start from so many bytes on */
#define WORTH_HELPER (1024 * 1024)

typedef struct FloAhead
{
	TransactionId xid;
	uint32		rules_loads;	/* of the worker when it was started */
	BackgroundWorkerHandle *handle; /* NULL: there is none any more */
	dsm_segment *segment;
} FloAhead;

static FloAheadOrder *
order_of(const FloAhead *ahead)
{
	return dsm_segment_address(ahead->segment);
}

/* Is it one that the helper could do just as the worker would, with what is in force now? */
static bool
is_plain(FloWorker *w)
{
	flo_worker_notice_configuration(w);
	return w->sink->ops->transactional && !w->spec->options.fire_triggers &&
		!flo_worker_awaits_copies(w) && !w->rules_stale && !w->options_stale && !w->leave &&
		flo_progress_position(w->progress) >= w->careful_until;
}

static void
start_helper(FloWorker *w, TransactionId xid, const char *path)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(w));
	FloAhead   *ahead = palloc0(sizeof(FloAhead));
	FloProcessArgs args = {0};
	FloAheadOrder *order;

	ahead->xid = xid;
	ahead->rules_loads = w->rules_loads;
	ahead->segment = dsm_create(sizeof(FloAheadOrder), 0);
	dsm_pin_mapping(ahead->segment);
	order = order_of(ahead);
	memset(order, 0, sizeof(*order));
	strlcpy(order->path, path, sizeof(order->path));
	strlcpy(order->generation, flo_progress_generation(w->progress), sizeof(order->generation));
	order->encoding = w->encoding;
	order->worker = MyProcPid;
	order->worker_latch = MyLatch;
	pg_atomic_init_u64(&order->written, 0);
	pg_atomic_init_u32(&order->order, FLO_AHEAD_APPLY);
	pg_atomic_init_u32(&order->over, false);
	pg_atomic_init_u32(&order->unchecked, false);
	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_AHEAD;
	args.segment = dsm_segment_handle(ahead->segment);
	if (!flo_process_start(&args, psprintf("pg_flo ahead %s %s", w->group, w->worker),
						   &ahead->handle))
		ahead->handle = NULL;	/* none is free: not for this one */
	w->ahead = ahead;
	MemoryContextSwitchTo(old);
}

static bool
is_at_work(const FloAhead *ahead)
{
	return ahead->handle != NULL && !flo_process_ended(ahead->handle) &&
		pg_atomic_read_u32(&order_of(ahead)->over) == false;
}

static void
wake(FloAheadOrder *order)
{
	Latch	   *latch = order->latch;

	if (latch != NULL)
		SetLatch(latch);
}

/* It ends with what it has done undone, also while it waits for a lock */
void
flo_ahead_leave(FloWorker *w, TransactionId xid)
{
	FloAhead   *ahead = w->ahead;

	if (ahead == NULL || (xid != 0 && ahead->xid != xid))
		return;
	w->ahead = NULL;
	if (ahead->handle != NULL)
	{
		TerminateBackgroundWorker(ahead->handle);
		pfree(ahead->handle);
	}
	dsm_detach(ahead->segment);
	pfree(ahead);
}

void
flo_ahead_hand_over(FloWorker *w, TransactionId xid)
{
	char		path[MAXPGPATH];
	uint64		size;

	if (w->ahead != NULL && w->ahead->xid != xid)
		return;
	if (w->ahead != NULL && w->ahead->rules_loads != w->rules_loads)
		flo_ahead_leave(w, xid);	/* another one has the rules there are now */
	if (!is_plain(w) || !flo_pieces_file(w->pieces, xid, path, &size))
	{
		if (w->ahead != NULL && w->ahead->handle != NULL)
		{
			TerminateBackgroundWorker(w->ahead->handle);
			w->ahead->handle = NULL;
		}
		return;
	}
	if (w->ahead == NULL && size >= WORTH_HELPER)
		start_helper(w, xid, path);
	if (w->ahead == NULL || !is_at_work(w->ahead))
		return;
	pg_atomic_write_u64(&order_of(w->ahead)->written, size);
	wake(order_of(w->ahead));
}

/* Nothing is committed here meanwhile: we do not hold the origin */
static void
await_helper(FloWorker *w)
{
	while (is_at_work(w->ahead))
	{
		flo_wait_means(FLO_WAIT_APPLY);
		(void) flo_wait(PGINVALID_SOCKET, false, 1000);
		(void) flo_worker_serve(w);
	}
}

bool
flo_ahead_commit(FloWorker *w, const FloChange *commit)
{
	FloAheadOrder *order;
	char		path[MAXPGPATH];
	uint64		size;
	bool		in;

	if (w->ahead == NULL || w->ahead->xid != commit->xid || w->batch_open)
		return false;
	if (!is_at_work(w->ahead) || !is_plain(w) || w->ahead->rules_loads != w->rules_loads ||
		commit->final_lsn == flo_progress_skip(w->progress) ||
		!flo_pieces_file(w->pieces, commit->xid, path, &size))
	{
		flo_ahead_leave(w, commit->xid);
		return false;
	}
	order = order_of(w->ahead);
	pg_atomic_write_u64(&order->written, size);
	order->end_lsn = commit->end_lsn;
	order->commit_time = commit->commit_time;
	order->expected = flo_progress_let_go(w->progress);
	flo_injection_point("ahead.before");
	pg_write_barrier();
	pg_atomic_write_u32(&order->order, FLO_AHEAD_COMMIT);
	wake(order);
	await_helper(w);
	flo_injection_point("ahead.after");
	flo_progress_take_up(w->progress);
	in = flo_progress_position(w->progress) == commit->end_lsn;
	ereport(DEBUG1,
			(errmsg_internal("transaction %u of the source was %s ahead of its commit", commit->xid,
							 in ? "applied" : "not applied")));
	if (in && pg_atomic_read_u32(&order->unchecked))
		w->keys_unchecked = true;
	flo_ahead_leave(w, commit->xid);
	return in;
}
