/*
 * process.h
 *		Starting pg_flo's background processes.
 */
#ifndef FLO_PROCESS_H
#define FLO_PROCESS_H

#include "postmaster/bgworker.h"

/* What a process is, beside or for the member whose entry it is given */
typedef enum FloHelper
{
	FLO_HELPER_NONE,			/* the member itself, or a scanner */
	FLO_HELPER_COPY_LEADER,		/* of a replicator: plans and supervises a
								 * copy */
	FLO_HELPER_COPIER,			/* of a replicator: reads ranges of tables */
	FLO_HELPER_LOADER,			/* of a worker: loads copied rows */
	FLO_HELPER_BUILDER,			/* of a worker: builds indexes after a copy */
	FLO_HELPER_COMPARE_READER,	/* of a worker: compares its tables with the
								 * source's */
	FLO_HELPER_AHEAD,			/* of a worker: applies a large transaction
								 * while it is still running at the source */
	FLO_HELPER_COMPARER,		/* of a replicator: leads a comparison, or
								 * reads for the one that does */
	FLO_HELPER_BACKFILLER		/* of a replicator: leads a backfill */
} FloHelper;

/* Argument of a process, in bgw_extra */
typedef struct FloProcessArgs
{
	Oid			database;
	int			slot;			/* of FloShared.members; -1 = scan the
								 * database's configuration */
	uint32		incarnation;	/* of the member: helpers of an earlier one
								 * leave */
	FloHelper	helper;
	uint32		segment;		/* dynamic shared memory for a helper, 0 =
								 * none */
	int			number;			/* of the helper among its like, from 0 */
	bool		early;			/* a builder, while rows are loaded */
} FloProcessArgs;

/*
 * Start one; this process is signalled when it starts and ends.  False when
 * the server has no background worker process free.
 */
extern bool flo_process_start(const FloProcessArgs *args, const char *name,
							  BackgroundWorkerHandle **handle);

extern bool flo_process_ended(BackgroundWorkerHandle *handle);

/* End its wait, if it waits */
extern void flo_process_wake(BackgroundWorkerHandle *handle);

#endif
