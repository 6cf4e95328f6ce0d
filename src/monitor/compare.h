/*
 * compare.h
 *		A snapshot for a comparison: between a replicator and the process that leads
 *		the comparison.
 */
#ifndef FLO_MONITOR_COMPARE_H
#define FLO_MONITOR_COMPARE_H

#include "access/xlogdefs.h"

/*
 * Who goes on to the next one: asked, building, taken, none: the leader; looking,
 * marked, missed: the replicator.
 */
typedef enum FloComparePhase
{
	FLO_COMPARE_NONE,			/* no snapshot is being taken */
	FLO_COMPARE_ASKED,			/* one is about to be */
	FLO_COMPARE_LOOKING,		/* the replicator stops where it might be */
	FLO_COMPARE_BUILDING,		/* it begins at "restart" */
	FLO_COMPARE_TAKEN,			/* it is at "lsn" */
	FLO_COMPARE_MARKED,			/* and so is its marker, in the stream */
	FLO_COMPARE_MISSED			/* the replicator was beyond it */
} FloComparePhase;

typedef struct FloSourceCompare
{
	FloComparePhase phase;
	int64		id;				/* of the comparison that is led, the
								 * replicator's; 0 = none */
	uint32		attempt;
	XLogRecPtr	restart;
	TransactionId horizon;		/* of the snapshot's builder, see
								 * SnapBuildFindSnapshot() */
	XLogRecPtr	lsn;
	uint32		segment;		/* dynamic shared memory with the consumers
								 * that the marker is for, one a line */
	uint32		progress;		/* another one, of what it reads; 0 = none */
} FloSourceCompare;

/* For the replicator: nothing is led any more, or this one is */
extern void flo_source_compare_order(int64 id);
extern FloSourceCompare flo_source_compare_get(void);

/* Without a lock: for who has to look all the time */
extern FloComparePhase flo_source_compare_phase(void);
extern void flo_source_compare_answer(FloComparePhase phase);

/* For the leader, of the member in the entry; the replicator is woken */
extern FloSourceCompare flo_source_compare_ordered(int slot);
extern void flo_source_compare_tell(int slot, const FloSourceCompare *compare);

#endif
