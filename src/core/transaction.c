/*
 * transaction.c
 *		Transactions of a background process's own.
 *
 * The server's main loop does more for a backend's statement than begin and
 * commit: it sets the clock that now() and pg_stat_activity.xact_start show,
 * and hands in the statistics that autovacuum goes by.  Nobody does that for a
 * background process, so all of its transactions begin and end here.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/caches.h"
#include "core/clock.h"
#include "core/transaction.h"
#include "pgstat.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* ms between two times that statistics are handed in by force */
#define STATISTICS_INTERVAL 1000

static bool
start(FloTimes times)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	return flo_caches_turn_to(times);
}

void
flo_transaction_start(void)
{
	(void) start(FLO_NOW);
}

bool
flo_transaction_start_decoding(void)
{
	return start(FLO_PAST);
}

void
flo_transaction_close(void)
{
	/* the server leaves some bytes of each commit in the context it finds */
	MemoryContextSwitchTo(TopTransactionContext);
	CommitTransactionCommand();
}

void
flo_transaction_commit(void)
{
	flo_transaction_close();
	flo_statistics_report();
}

void
flo_transaction_be_seen(void)
{
	LWLockAcquire(ProcArrayLock, LW_EXCLUSIVE);
	MyProc->statusFlags &= ~PROC_IN_LOGICAL_DECODING;
	ProcGlobal->statusFlags[MyProc->pgxactoff] = MyProc->statusFlags;
	LWLockRelease(ProcArrayLock);
}

void
flo_statistics_report(void)
{
	(void) pgstat_report_stat(false);
}

void
flo_statistics_report_idle(void)
{
	static FloClock reported = 0;
	FloClock	now = flo_clock();

	if (IsTransactionOrTransactionBlock() ||
		!flo_clock_passed(reported, STATISTICS_INTERVAL))
		return;
	reported = now;
	(void) pgstat_report_stat(true);
}

MemoryContext
flo_transaction_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	flo_transaction_start();
	PushActiveSnapshot(GetTransactionSnapshot());
	return caller;
}

/* What the server says of a snapshot whose transaction has ended, by version and moment */
static bool
is_gone(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE ||
		sqlerrcode == ERRCODE_UNDEFINED_OBJECT ||
		sqlerrcode == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

bool
flo_transaction_start_at(const char *snapshot)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool there = true;

	flo_transaction_start();
	XactIsoLevel = XACT_REPEATABLE_READ;
	XactReadOnly = true;
	PG_TRY();
	{
		ImportSnapshot(snapshot);
	}
	PG_CATCH();
	{
		if (!is_gone(geterrcode()))
			PG_RE_THROW();
		there = false;
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	if (there)
		PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(caller);
	return there;
}

void
flo_transaction_end(MemoryContext caller)
{
	PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(caller);
}
