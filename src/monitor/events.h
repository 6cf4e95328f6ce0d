/*
 * events.h
 *		What has happened to members, for the server's log and for flo.events: the
 *		newest of it, in a ring in shared memory, until a scanner has written it
 *		down.
 */
#ifndef FLO_EVENTS_H
#define FLO_EVENTS_H

#include "monitor/state.h"
#include "nodes/pg_list.h"

typedef struct FloEvent
{
	int64		number;			/* rises, also through restarts of the server */
	Oid			database;
	char		group[FLO_NAME_BUF];
	char		member[FLO_NAME_BUF];
	bool		is_replicator;
	Oid			owner;			/* to whom errors are shown */
	TimestampTz at;
	FloMemberState state;
	bool		is_change;		/* of that; else something within it */
	char		detail[FLO_DETAIL_BUF];
	char		error[FLO_ERROR_BUF];	/* "" = it is about none */
	int			sqlstate;
	char		hint[FLO_DETAIL_BUF];
	XLogRecPtr	lsn;			/* where the member was, or what failed */
} FloEvent;

/* Those of this database that are not written down, oldest first, palloc'd */
extern FloEvent *flo_events_unsaved(int *count);

/* Those of a database up to that number are written down, or nobody will */
extern void flo_events_saved(Oid database, int64 number);

/* For the launcher: databases that have some, appended; each of them now and then */
extern List *flo_events_take_databases(List *databases);

#endif
