/*
 * backlog.h
 *		What was found in WAL behind the position of a replicator, so that not
 *		everybody who asks reads the same WAL.
 */
#ifndef FLO_BACKLOG_H
#define FLO_BACKLOG_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

/* Transactions that are remembered while their end is looked for */
#define FLO_BACKLOG_XIDS 32

typedef struct FloBacklog
{
	bool		only_local;		/* commits that came from elsewhere were
								 * passed over */
	XLogRecPtr	from;			/* read from here */
	XLogRecPtr	upto;			/* to here */
	XLogRecPtr	commit;			/* end of the first commit in between; 0 =
								 * there is none */
	TimestampTz committed_at;

	/* have changed rows, as far as was read */
	int			nxids;			/* more than there is room for: any may have */
	TransactionId xids[FLO_BACKLOG_XIDS];
} FloBacklog;

/* Of the replicator of a group of this database; zeros when nothing is known */
extern void flo_backlog_get(const char *group, FloBacklog *backlog);
extern void flo_backlog_note(const char *group, const FloBacklog *backlog);

#endif
