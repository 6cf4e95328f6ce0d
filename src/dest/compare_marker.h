/*
 * compare_marker.h
 *		The worker's part of a comparison: it sees to it that a process of its own has
 *		a snapshot exactly here.
 */
#ifndef FLO_COMPARE_MARKER_H
#define FLO_COMPARE_MARKER_H

#include "dest/worker_state.h"
#include "port/atomics.h"
#include "wire/record.h"

/* Where that process is, as far as the worker waits for it */
#define FLO_COMPARE_ORDERED 0
#define FLO_COMPARE_READY 1		/* it has snapshot and locks */
#define FLO_COMPARE_WITHDRAWN 2 /* the worker has gone on without it */

/* What the worker leaves to that process, in dynamic shared memory */
typedef struct FloCompareOrder
{
	pg_atomic_uint32 ready;		/* one of FLO_COMPARE_... */
	pg_atomic_uint32 progress;	/* where its FloCompareProgress is; 0 =
								 * nowhere yet */
	pid_t		worker;
	int64		id;
	uint32		attempt;
	XLogRecPtr	lsn;
	char		generation[FLO_UUID_BUF];
	size_t		plan_len;
	char		plan[FLEXIBLE_ARRAY_MEMBER];
} FloCompareOrder;

/* How far it is, for the worker to write down: it has a snapshot, and cannot */
typedef struct FloCompareProgress
{
	int			ntables;
	struct
	{
		uint32		relation;	/* at the source */
		uint64		noted;		/* the worker's: written down */
		pg_atomic_uint64 rows;	/* read here */
	}			tables[FLEXIBLE_ARRAY_MEMBER];
} FloCompareProgress;

/* A chunk with FLO_CHUNK_COMPARE: remember what it says, if it is for this worker */
extern void flo_worker_read_compare_marker(FloWorker *w, const FloChunk *chunk);

/* It was read, and everything before it is committed */
extern void flo_worker_compare(FloWorker *w);

/* Now and then: a process that ended before it was done has compared nothing */
extern void flo_worker_look_after_comparison(FloWorker *w);

#endif
