/*
 * members.h
 *		Members as others see and steer them: the launcher, its scanners, SQL
 *		functions.
 */
#ifndef FLO_MEMBERS_H
#define FLO_MEMBERS_H

#include "access/xlogdefs.h"
#include "core/clock.h"
#include "core/names.h"
#include "datatype/timestamp.h"
#include "monitor/state.h"
#include "monitor/tally.h"

/* What is known of a member */
typedef struct FloMember
{
	/* identity; never changes */
	Oid			database;
	char		group[FLO_NAME_BUF];
	char		member[FLO_NAME_BUF];
	bool		is_replicator;

	Oid			owner;			/* to whom its errors are shown; written by
								 * the scanner */
	bool		wanted;			/* configuration says it should run; written
								 * by the scanner and the launcher */
	pid_t		pid;			/* set and cleared by the process itself */

	/* state; written by the process, or by the launcher when none runs */
	FloMemberState state;
	FloClock	state_since;
	TimestampTz state_at;		/* the same by the clock on the wall */
	char		detail[FLO_DETAIL_BUF];
	char		last_error[FLO_ERROR_BUF];
	XLogRecPtr	last_error_lsn; /* commit LSN of the transaction that failed,
								 * for flo.skip() */
	bool		last_error_exact;	/* else it is the last of several that it
									 * may be */
	uint32		failed_relation;	/* table at the source that a change could
									 * not be applied of, last; 0 = none */
	char		failed_table[2][NAMEDATALEN];	/* its schema and name there */
	char		failed_error[FLO_ERROR_BUF];
	TimestampTz last_error_at;
	int			last_sqlstate;
	char		last_hint[FLO_DETAIL_BUF];
	TimestampTz recovered_at;	/* it got on after an error; 0 = never */
	int64		retries;		/* that needed no other process */

	/* positions, as in FloPositions; written by the process */
	XLogRecPtr	received_lsn;
	XLogRecPtr	durable_lsn;
	XLogRecPtr	known_lsn;
	TransactionId next_xid;
	TimestampTz oldest_pending;
	TimestampTz source_seen;
	int64		pending_bytes;
	int64		open_bytes;
	uint64		seq;

	/* counters; written by the process */
	FloCounters counters;
	FloHistograms histograms;
	int64		restarts;		/* starts after an error */
	TimestampTz stats_reset;
} FloMember;

/* --- for SQL functions, about this database ------------------------------ */

/* Copies of all there are, palloc'd */
extern FloMember *flo_members_here(int *count);

/* A copy of one; returns the slot of its entry, -1 = it has none */
extern int	flo_member_look(const char *group, const char *member, FloMember *copy);

/*
 * Wait for a position or a state to change, or so many ms; with "ask", a
 * replicator is to publish its position
 */
extern void flo_member_sleep(int slot, bool ask, long ms);

extern void flo_member_reset_stats(const char *group, const char *member);

/* Entries that are free for members to be started, of how many */
extern int	flo_members_room(int *all);

/*
 * Keep the launcher from starting the member until flo_members_give_back().
 * Returns the process that holds it: this one, another, or 0 when there is no
 * entry to hold.
 */
extern pid_t flo_member_hold(const char *group, const char *member, bool is_replicator);

/* Give back what this process holds; their entries are free after a commit that dropped them */
extern void flo_members_give_back(bool dropped);

/* Ask the process of a member to leave; is there one? */
extern bool flo_member_terminate(const char *group, const char *member);

/* --- of another database, which is to be dropped ------------------------- */

/* Number of members that run there; with "hold", keep them from being started */
extern int	flo_members_running(Oid database, bool hold, bool terminate);

/* After the command: give the members back, or forget them with their database */
extern void flo_members_release(Oid database, bool dropped);

/* --- configuration has changed ------------------------------------------- */

/* Of this database: tell the launcher */
extern void flo_members_changed(Oid database);

/*
 * Start a failed member, or one in backoff, at once, and have one that runs
 * look again; member NULL = all of the group
 */
extern void flo_members_retry(Oid database, const char *group, const char *member);

/* Why the launcher cannot start anything: no process is free */
extern bool flo_launcher_is_starved(void);

#endif
