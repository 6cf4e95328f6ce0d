/*
 * ahead_state.h
 *		What a worker and the process that applies a transaction ahead share.
 */
#ifndef FLO_AHEAD_STATE_H
#define FLO_AHEAD_STATE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"

/* Of the worker, in "order" */
#define FLO_AHEAD_APPLY 0		/* what is in the file */
#define FLO_AHEAD_COMMIT 1		/* and then commit, where the fields below say */

typedef struct FloAheadOrder
{
	char		path[MAXPGPATH];	/* of the file of pieces */
	char		generation[40];
	int			encoding;		/* of its text */
	int			worker;			/* its process id, and its latch */
	Latch	   *worker_latch;
	pg_atomic_uint64 written;	/* bytes of the file that may be applied */
	pg_atomic_uint32 order;
	pg_atomic_uint32 over;		/* the helper has given up, or has committed */
	pg_atomic_uint32 unchecked; /* it has written rows without a look at their
								 * foreign keys */
	Latch	   *volatile latch; /* the helper's; NULL before it waits */

	/* the commit */
	XLogRecPtr	expected;		/* the origin's position before it */
	XLogRecPtr	end_lsn;
	TimestampTz commit_time;
} FloAheadOrder;

#endif
