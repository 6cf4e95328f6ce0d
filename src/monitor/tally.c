/*
 * tally.c
 *		What a process counts, until shared memory has it.
 */
#include "postgres.h"

#include "monitor/shmem.h"
#include "monitor/tally.h"
#include "storage/ipc.h"

static struct
{
	FloTally   *tally;
	int			slot;
	uint32		incarnation;
}			mine;

void
flo_counters_move(FloCounters *to, FloCounters *from)
{
	to->transactions += from->transactions;
	to->inserts += from->inserts;
	to->updates += from->updates;
	to->deletes += from->deletes;
	to->truncates += from->truncates;
	to->filtered += from->filtered;
	to->conflicts += from->conflicts;
	to->fallbacks += from->fallbacks;
	to->bytes += from->bytes;
	to->foreign_messages += from->foreign_messages;
	memset(from, 0, sizeof(*from));
}

void
flo_tally_commit(FloTally *tally)
{
	flo_counters_move(&tally->done, &tally->open);
}

void
flo_tally_drop(FloTally *tally)
{
	memset(&tally->open, 0, sizeof(tally->open));
}

void
flo_tally_hand_in(void)
{
	FloEntry   *e;

	if (mine.tally == NULL)
		return;
	e = &flo_shared->entries[mine.slot];
	flo_lock_exclusive();

	/* the member may have begun again before its helper ends */
	if (e->in_use && mine.incarnation >= e->began)
	{
		flo_counters_move(&e->member.counters, &mine.tally->done);
		flo_histograms_move(&e->member.histograms, &mine.tally->histograms);
	}
	flo_unlock();
}

/* Errors, SIGTERM and orderly ends all come by here; what is open goes with the process */
static void
hand_in_at_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	flo_tally_hand_in();
	mine.tally = NULL;
}

void
flo_tally_begin(FloTally *tally, int slot, uint32 incarnation)
{
	mine.tally = tally;
	mine.slot = slot;
	mine.incarnation = incarnation;
	before_shmem_exit(hand_in_at_exit, (Datum) 0);
}

void
flo_tally_conflict(void)
{
	if (mine.tally != NULL)
		mine.tally->done.conflicts++;
}
