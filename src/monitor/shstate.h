/*
 * shstate.h
 *		The shared memory of pg_flo: one entry per member, one lock.
 *
 * Numbers and names only, no pointers.  An entry is created by the launcher
 * when a member is to run and stays after it has stopped, so that its last
 * state can be seen; it is reused for other members only when none is free.
 */
#ifndef FLO_SHSTATE_H
#define FLO_SHSTATE_H

#include "access/xlogdefs.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/names.h"
#include "datatype/timestamp.h"
#include "monitor/tally.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"
#include "utils/uuid.h"

#define FLO_DETAIL_BUF 256
#define FLO_ERROR_BUF 1024
#define FLO_MAX_DIRTY 64
#define FLO_START_UNDECIDED PG_INT64_MAX

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

extern const char *flo_state_name(FloMemberState state);

/*
 * The copy of a group's tables, between the replicator and the process that
 * leads it, and between a worker and its loaders.
 */
typedef enum FloCopyPhase
{
	FLO_COPY_NONE,
	FLO_COPY_SNAPSHOT,			/* the replicator holds an exported snapshot: import it */
	FLO_COPY_RUNNING,			/* imported; tables are being read */
	FLO_COPY_PUBLISHED,			/* all rows are in the copy stream */
	FLO_COPY_DONE				/* and every worker has them; the copy stream is gone */
} FloCopyPhase;

#define FLO_MAX_LOADERS 64

typedef struct FloCopyState
{
	FloCopyPhase phase;
	char		snapshot[64];
	uint32		attempt;
	bool		exact;			/* destination: rows of that snapshot only */
	uint32		newest;			/* destination: the newest that the source has begun */
	XLogRecPtr	lsn;			/* of the snapshot */
	pg_uuid_t	generation;
	XLogRecPtr	generation_start;
	bool		marked;			/* of the tables in flo.copy_requests, announced by a marker */
	pid_t		leader;
	uint32		segment;		/* its plan, in dynamic shared memory */
	int			copiers;		/* running */
	int			copiers_wanted; /* more than run when the server has no process free */
	int			tables;
	int			tables_done;
	uint64		bytes;			/* of table files */
	uint64		bytes_done;
	uint64		rows_done;
	int64		stream_limit;	/* copy_stream_max_bytes; written by the replicator */
	bool		full;			/* copiers wait for room in the stream */
	char		broker_full[160];	/* whose limit was met, when that is not the stream's; "" = none */
	uint64		row_room;		/* what a row needs that does not fit into the stream at all; 0 = none */
	Oid			row_relation;	/* its table */

	/*
	 * Loading: sequences of the copy stream.  A loader's "low" is the lowest
	 * that may have been handed to it and is not durable.
	 */
	uint64		seen;			/* highest that any loader has had */
	uint64		later;			/* lowest of rows whose snapshot the stream has not reached; PG_UINT64_MAX = none */
	uint64		low[FLO_MAX_LOADERS];
} FloCopyState;

typedef struct FloMember
{
	/* identity; never changes while the entry is in use */
	bool		in_use;
	bool		is_replicator;
	Oid			database;
	char		group[FLO_NAME_BUF];
	char		member[FLO_NAME_BUF];

	Oid			owner;			/* to whom its errors are shown; written by the scanner */

	/* wanted and running; written by the launcher unless noted */
	bool		wanted;			/* configuration says it should run */
	pid_t		held_by;		/* backend that is dropping it: do not start */
	pid_t		pid;			/* set and cleared by the process itself */
	int			failures;		/* starts in a row that ended in an error */
	FloClock	next_start;		/* in backoff; FLO_START_UNDECIDED = the launcher is to decide */

	/* state; written by the process, or by the launcher when none runs */
	FloMemberState state;
	FloClock	state_since;
	char		detail[FLO_DETAIL_BUF];
	char		last_error[FLO_ERROR_BUF];
	XLogRecPtr	last_error_lsn;	/* commit LSN of the transaction that failed, for flo.skip() */
	bool		last_error_exact;	/* else it is the last of several that it may be */
	uint32		failed_relation;	/* table at the source that a change could not be applied of, last; 0 = none */
	char		failed_table[2][NAMEDATALEN];	/* its schema and name there */
	char		failed_error[FLO_ERROR_BUF];
	TimestampTz last_error_at;

	/* positions; written by the process */
	XLogRecPtr	received_lsn;	/* replicator: decoded; worker: newest chunk taken */
	XLogRecPtr	durable_lsn;	/* replicator: acknowledged by the broker; worker: in the sink, flushed */
	XLogRecPtr	known_lsn;		/* worker: newest LSN known from the stream */
	TimestampTz oldest_pending; /* commit time of the oldest transaction not durable; 0 = none */

	/* copying; written by the process and its helpers */
	FloCopyState copy;

	/* counters; written by the process */
	FloCounters counters;
	int64		restarts;		/* starts after an error */
	TimestampTz stats_reset;

	/* survives the reuse of the entry */
	uint32		incarnation;	/* counts starts: a process with another number is a ghost and leaves */
	ConditionVariable progress; /* wait_for(): durable_lsn moved or the state changed */
} FloMember;

typedef struct FloShared
{
	LWLock	   *lock;			/* guards everything below but the atomics */
	int			nmembers;		/* size of the array: pg_flo.max_workers */

	/* the launcher */
	pid_t		launcher_pid;
	int			launcher_procno;
	bool		starved;		/* it could not start a process to read the configuration */
	Oid			scanned;		/* database that the last such process has read; invalid = it has not */
	int			ndirty;			/* databases whose configuration changed */
	Oid			dirty[FLO_MAX_DIRTY];
	bool		all_dirty;

	FloMember	members[FLEXIBLE_ARRAY_MEMBER];
} FloShared;

/*
 * Who is to be woken at commit, one slot per entry of the array of members.
 * Read by every committing backend, so without the lock; a stale slot costs a
 * needless wake-up at worst.
 */
typedef struct FloWakeSlot
{
	pg_atomic_uint32 database;	/* decoded by the process; 0 = not a replicator */
	pg_atomic_uint32 procno;	/* + 1; 0 = no process */
	pg_atomic_uint32 wanted;	/* somebody waits for a position: publish a heartbeat now */
	pg_atomic_uint64 commit_lsn;	/* end of a recent commit, which may not be flushed yet */
} FloWakeSlot;

/* NULL unless pg_flo is in shared_preload_libraries */
extern FloShared *flo_shared;
extern FloWakeSlot *flo_wake_slots;	/* [flo_shared->nmembers] */
extern pg_atomic_uint32 *flo_replicators;	/* how many of them decode */

/* From _PG_init: shared memory, and the callback that wakes replicators at commit */
extern void flo_shstate_request(void);

/* Throw 55000 with the usual hint when the library was not preloaded */
extern void flo_shstate_require(void);

/* Index of a member's entry, or -1.  Caller holds the lock. */
extern int	flo_shstate_find(Oid database, const char *group, const char *member);

/* Find or make an entry, -1 when all are in use by members that are wanted or run.  Caller holds the lock exclusively. */
extern int	flo_shstate_obtain(Oid database, const char *group, const char *member, bool is_replicator);

/* --- for the process that runs as a member ---------------------------------- */

extern FloMember *flo_me;		/* own entry, NULL in any other process */
extern int	flo_my_slot;

/* Take the entry: false when this process is a ghost (wrong incarnation, not wanted) */
extern bool flo_shstate_attach(int slot, uint32 incarnation);

/*
 * For a helper of the member in the entry: leave when the member is not there
 * any more, or is a later incarnation.
 */
extern void flo_helper_check(int slot, uint32 incarnation);

/* Remember a helper's error as the member's; the member notices its end */
extern void flo_helper_error(int slot, uint32 incarnation, const char *message);

/* The one place where a member's state changes; detail may be NULL */
extern void flo_state_set(FloMemberState state, const char *detail,...) pg_attribute_printf(2, 3);

/*
 * With on_error => stop: an error while applying a transaction is not tried
 * again by itself.
 */
extern bool flo_errors_are_final;

/*
 * This process is about to leave because of an error: remember it for
 * flo.status, with the transaction it belongs to or 0; not "exact": with the
 * last of several that it may belong to.  Unless it failed for good, the
 * launcher will start it again.
 */
extern void flo_state_error(const char *message, XLogRecPtr lsn, bool exact);

typedef struct FloPositions
{
	XLogRecPtr	received;
	XLogRecPtr	durable;
	XLogRecPtr	known;
	TimestampTz oldest_pending;
} FloPositions;

/*
 * Record that only a person can help (state "failed", the message as detail)
 * and throw.  "hint" may be NULL.
 */
pg_noreturn extern void flo_fail(int sqlstate, const char *hint, const char *message,...)
			pg_attribute_printf(3, 4);

/* Publish positions, and what was counted since the last call; wakes wait_for() */
extern void flo_state_report(const FloPositions *positions);

/* --- signals between processes ----------------------------------------------- */

/* The configuration of this database has changed: tell the launcher */
extern void flo_shstate_mark_dirty(Oid database);
extern void flo_shstate_wake_launcher(void);

/* Start a failed member, or one in backoff, at once, and have one that runs look again; member NULL = all of the group */
extern void flo_shstate_retry(Oid database, const char *group, const char *member);
extern void flo_shstate_wake_member(int slot);

/* This process decodes its database: have it woken by commits until it exits */
extern void flo_shstate_register_replicator(void);

#endif
