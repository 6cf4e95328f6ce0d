/*
 * stream.h
 *		What SQL functions require that ask something of a group's running replicator
 *		and of its workers.
 */
#ifndef FLO_API_STREAM_H
#define FLO_API_STREAM_H

#include "nodes/pg_list.h"

/*
 * 42704, 42501, 55000 unless the group has a replicator here that is the user's, streams
 * and is started; "why" is the reason against mode copy
 */
extern void flo_require_streaming(const char *group, const char *why);

/* All tables that are published, at least one; or the one, as it is published */
extern List *flo_require_tables(const char *group);
extern Oid	flo_require_table(const char *group, Oid relation);

/* A worker as the broker knows it */
typedef struct FloReportedWorker
{
	char	   *name;
	char	   *consumer;
	bool		tables;			/* it writes to tables */
	bool		backfills;		/* it writes events, and takes backfills */
} FloReportedWorker;

/*
 * The worker of that name or consumer, or any with "wanted" NULL, that was heard of within
 * the last minute: 42704, 42725, 55000
 */
extern FloReportedWorker *flo_require_reported(const char *group, const char *wanted);

#endif
