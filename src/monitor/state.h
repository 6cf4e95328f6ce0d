/*
 * state.h
 *		What a process of pg_flo says of itself: the state of its member, errors,
 *		positions.
 */
#ifndef FLO_STATE_H
#define FLO_STATE_H

#include "access/xlogdefs.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/names.h"
#include "datatype/timestamp.h"
#include "monitor/tally.h"

#define FLO_DETAIL_BUF 256
#define FLO_ERROR_BUF 1024

/*
 * States of a member and who may come next:
 *	 stopped   -> starting (launcher)
 *	 starting  -> waiting, copying, streaming, backoff, failed, stopped
 *	 waiting   -> copying, streaming, backoff, failed, stopped
 *	 copying   -> waiting, streaming, backoff, failed, stopped
 *	 streaming -> waiting, copying, backoff, failed, stopped
 *	 backoff   -> starting (launcher, when the pause is over), stopped
 *	 failed    -> starting (a person: start_group, resync, alter), stopped
 */
typedef enum FloMemberState
{
	FLO_STATE_STOPPED,
	FLO_STATE_STARTING,
	FLO_STATE_WAITING,
	FLO_STATE_COPYING,
	FLO_STATE_STREAMING,
	FLO_STATE_BACKOFF,
	FLO_STATE_FAILED
} FloMemberState;

static inline const char *
flo_state_name(FloMemberState state)
{
	switch (state)
	{
		case FLO_STATE_STOPPED:
			return "stopped";
		case FLO_STATE_STARTING:
			return "starting";
		case FLO_STATE_WAITING:
			return "waiting";
		case FLO_STATE_COPYING:
			return "copying";
		case FLO_STATE_STREAMING:
			return "streaming";
		case FLO_STATE_BACKOFF:
			return "backoff";
		case FLO_STATE_FAILED:
			return "failed";
	}
	return "unknown";
}

/* --- the process that runs as a member ----------------------------------- */

typedef struct FloSelf
{
	char		group[FLO_NAME_BUF];
	char		member[FLO_NAME_BUF];
	bool		is_replicator;
	int			slot;			/* of its entry */
	uint32		incarnation;
	XLogRecPtr	failed_lsn;		/* commit LSN at which a process before this
								 * one failed, 0 = none */
} FloSelf;

/* NULL in any other process, and when the process has given its entry back */
extern const FloSelf *flo_me;

/* Take the entry: false when this process is a ghost (wrong incarnation, not wanted) */
extern bool flo_state_attach(int slot, uint32 incarnation);

/* The one place where a member's state changes while it runs; detail may be NULL */
extern void flo_state_set(FloMemberState state, const char *detail,...) pg_attribute_printf(2, 3);

/* Has nothing been set yet?  False in a process that is no member. */
extern bool flo_state_is_starting(void);

/* The same, or does it wait for something, and so has time? */
extern bool flo_state_is_waiting(void);

/*
 * Record that only a person can help (state "failed", the message as detail)
 * and throw.  "hint" may be NULL.
 */
pg_noreturn extern void flo_fail(int sqlstate, const char *hint, const char *message,...)
			pg_attribute_printf(3, 4);

/*
 * With on_error => stop: an error while applying a transaction is not tried
 * again by itself.
 */
extern bool flo_errors_are_final;

/* An error, as it is kept for flo.status */
typedef struct FloFailure
{
	int			sqlstate;
	const char *message;		/* alone: by that the same one is known again */
	const char *described;		/* with its detail, and where it happened */
	const char *hint;			/* may be NULL */
	XLogRecPtr	lsn;			/* of the commit that it belongs to, 0 = none */
	bool		exact;			/* else the last of several that it may belong
								 * to */
} FloFailure;

/* Has the member failed with this very error since it last got on?  Then its log has it. */
extern bool flo_state_knows(const FloFailure *failure);

/* Has it failed, and not got on since?  Takes no lock */
extern bool flo_state_failing(void);

/*
 * This process is about to leave because of an error.  Unless it failed for
 * good, the launcher will start it again.
 */
extern void flo_state_error(const FloFailure *failure);

/* What it is that is tried again: that one thing goes well says nothing of another */
typedef enum FloRetried
{
	FLO_RETRIED_BROKER,			/* a connection */
	FLO_RETRIED_ROOM,			/* to store at the broker */
	FLO_RETRIED_ENDPOINT
} FloRetried;

/*
 * Something failed that is tried again without leaving, as a request to an
 * endpoint: counted in "retries", kept as the last error; and it came off, or
 * nothing of that kind had failed.  Of a helper it counts as the member's.  A member that
 * waits meanwhile says so first, by its state.
 */
extern void flo_state_retry(FloRetried what, int sqlstate, const char *hint,
							const char *message);
extern void flo_state_retry_failure(FloRetried what, const FloFailure *failure);
extern void flo_state_recovered(FloRetried what);

/* What was failing gets on, although its position does not show it yet */
extern void flo_state_progress(void);

/* The work is done and nobody wants this process any more: it is not started again by itself */
extern void flo_state_rest(void);

typedef struct FloPositions
{
	XLogRecPtr	received;		/* replicator: decoded; worker: newest chunk
								 * taken */
	XLogRecPtr	durable;		/* replicator: acknowledged by the broker;
								 * worker: in the sink, flushed */
	XLogRecPtr	known;			/* worker: newest LSN known from the stream;
								 * replicator: everything that it publishes of
								 * what committed below is acknowledged */
	TransactionId next_xid;		/* replicator: transactions from this one on
								 * had written nothing below "known"; 0 = not
								 * known */
	TimestampTz oldest_pending; /* commit time of the oldest transaction not
								 * durable; 0 = none */
	TimestampTz source_seen;	/* worker: time in the newest chunk or
								 * heartbeat; replicator: when nothing was
								 * left to publish last; 0 = unknown, as
								 * before */
	int64		pending_bytes;	/* worker: in the stream, not applied;
								 * replicator: packed or sent, not
								 * acknowledged; -1 = unknown */
	int64		open_bytes;		/* of pieces of transactions that are still
								 * running: replicator: published; worker:
								 * kept */
	uint64		seq;			/* worker: message of the stream up to which
								 * all is durable; 0 = as before */
} FloPositions;

/* Publish positions, and what was counted since the last call; wakes wait_for() */
extern void flo_state_report(const FloPositions *positions);

/* The same of what it has to do alone, when nothing moves: lag goes on from there */
extern void flo_state_pending(TimestampTz oldest_pending, TimestampTz source_seen,
							  int64 pending_bytes);

/* Does a session wait for this process to get on?  One may begin to at any time. */
extern bool flo_state_awaited(void);

/* --- what commits tell a replicator -------------------------------------- */

/* This process decodes its database: have it woken by commits until it exits */
extern void flo_state_decodes(void);

/* Has somebody asked for a position since the last call? */
extern bool flo_state_position_wanted(void);

/* End of a recent commit, which may not be flushed yet; 0 = none */
extern XLogRecPtr flo_state_recent_commit(void);

/* --- helpers of a member ------------------------------------------------- */

/* Leave when the member is not there any more, or is a later incarnation */
extern void flo_helper_check(int slot, uint32 incarnation);

/*
 * Remember a helper's error as the member's; the member notices its end.  Has a
 * helper failed with this very error since the member last got on?
 */
extern bool flo_helper_knows(int slot, const FloFailure *failure);
extern void flo_helper_error(int slot, uint32 incarnation, const FloFailure *failure);

/* A part of the member's work is done for good */
extern void flo_helper_progress(int slot, uint32 incarnation);

/* Have the member look up */
extern void flo_helper_wake_member(int slot);

/*
 * Does this process apply changes of the group, as its worker or as a helper of
 * that one?  By what it is; nothing that a session can set makes it one.
 */
extern bool flo_works_for(const char *group);

/* The last error of the member in the entry, palloc'd */
extern char *flo_helper_last_error(int slot);

/* Whom a helper helps: both names, palloc'd */
extern void flo_helper_names(int slot, char **group, char **member);

#endif
