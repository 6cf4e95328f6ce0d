/*
 * tally.h
 *		What a process counts, until shared memory has it.
 *
 * What belongs to a transaction that is not over is "open": it counts with the
 * commit, and not at all when the transaction is undone, since what is done
 * again is counted again.  The rest is "done", and is handed in now and then and
 * when the process ends, however it ends.
 */
#ifndef FLO_TALLY_H
#define FLO_TALLY_H

#include "c.h"

#include "monitor/histogram.h"

typedef struct FloCounters
{
	int64		transactions;
	int64		inserts;
	int64		updates;
	int64		deletes;
	int64		truncates;
	int64		filtered;
	int64		conflicts;
	int64		fallbacks;
	int64		bytes;
	int64		foreign_messages;	/* in WAL, in our name, and not ours */
} FloCounters;

typedef struct FloTally
{
	FloCounters open;
	FloCounters done;
	FloHistograms histograms;	/* of what is done */
} FloTally;

/* Add "from", which is zero afterwards */
extern void flo_counters_move(FloCounters *to, FloCounters *from);

/* What was open is certain */
extern void flo_tally_commit(FloTally *tally);

/* What was open is undone */
extern void flo_tally_drop(FloTally *tally);

/*
 * From now on this process counts there, for the member in the entry: its own
 * or, for a helper, the one it helps.  One per process, for its life.
 */
extern void flo_tally_begin(FloTally *tally, int slot, uint32 incarnation);

/* What is done goes to shared memory.  In sums that are added, so that a reset by SQL holds. */
extern void flo_tally_hand_in(void);

/*
 * A conflict that nothing was undone for but the process ends with; does
 * nothing before flo_tally_begin()
 */
extern void flo_tally_conflict(void);

#endif
