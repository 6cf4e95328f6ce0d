/*
 * shmem.h
 *		The shared memory of pg_flo as it lies there: for files of monitor/ alone.
 *
 * One entry per member, one lock.  Numbers and names only, no pointers.  An
 * entry is created by the launcher when a member is to run and stays after it
 * has stopped, so that its last state can be seen; it is reused for other members
 * only when none is free.
 */
#ifndef FLO_SHMEM_H
#define FLO_SHMEM_H

#include "monitor/backlog.h"
#include "monitor/copy.h"
#include "monitor/events.h"
#include "monitor/members.h"
#include "monitor/place.h"
#include "monitor/state.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define FLO_MAX_DIRTY 64
#define FLO_START_UNDECIDED PG_INT64_MAX

/* Events that are kept until they are written down */
#define FLO_EVENTS 128

/* A state that was told, and what was waited for */
typedef struct FloTold
{
	FloMemberState state;
	uint32		subject;
	FloClock	at;
} FloTold;

#define FLO_TOLD 16

/* What is before "held_by" outlives an orderly stop of the server: see saved.c */
typedef struct FloEntry
{
	bool		in_use;
	FloMember	member;
	FloBacklog	backlog;		/* of a replicator */
	uint32		began;			/* the first incarnation of this member */

	/* wanted and running; written by the launcher unless noted */
	pid_t		held_by;		/* backend that is dropping it: do not start */
	int			failures;		/* starts in a row that ended in an error, and
								 * between which nothing got on */
	int			pauses;			/* of them since somebody had it start at
								 * once: what the pause goes by */
	TimestampTz failing_since;
	XLogRecPtr	failed_at;		/* durable_lsn when that began */
	uint32		error_hash;		/* the last error, and how often in a row */
	int			same_errors;
	uint32		helper_hash;
	int			retrying;		/* failed attempts in a row, without leaving */
	int			retried;		/* FloRetried: what they were at */
	TimestampTz retrying_since;
	FloClock	next_start;		/* in backoff; FLO_START_UNDECIDED = the
								 * launcher is to decide */

	/* told to the log: the newest first; a state is waiting to be told */
	FloTold		told[FLO_TOLD];
	bool		untold;
	FloClock	recovery_told;

	/*
	 * the copy of a replicator, or of a worker; written by the process and
	 * its helpers
	 */
	union
	{
		FloSourceCopy source;
		FloDestCopy dest;
	}			copy;

	FloTurns	turns;			/* of a worker's loaders */
	FloOwners	owners;

	/* a replicator's: a snapshot that its comparison wants */
	FloSourcePlace places[FLO_PLACE_USERS];

	/* survive the reuse of the entry */
	uint32		incarnation;	/* counts starts: a process with another
								 * number is a ghost and leaves */
	ConditionVariable progress; /* wait_for(): durable_lsn moved or the state
								 * changed */
	ConditionVariable turn;		/* a loader has made its index entries */
} FloEntry;

typedef struct FloShared
{
	LWLock	   *lock;			/* guards everything below but the atomics */
	int			nentries;		/* size of the array: pg_flo.max_workers */

	/* the launcher */
	int			launcher_procno;
	bool		starved;		/* it could not start a process to read the
								 * configuration */
	Oid			scanned;		/* database that the last such process has
								 * read; invalid = it has not */
	int			ndirty;			/* databases whose configuration changed */
	Oid			dirty[FLO_MAX_DIRTY];
	bool		all_dirty;

	/* what has happened */
	int64		last_event;		/* its number */
	uint64		next_event;		/* its place, of all that there were */
	FloClock	events_asked;	/* a scanner is to write them down; 0 = none */
	FloEvent	events[FLO_EVENTS];

	FloEntry	entries[FLEXIBLE_ARRAY_MEMBER];
} FloShared;

/*
 * Who is to be woken at commit, one slot per entry.  Read by every committing
 * backend, so without the lock; a stale slot costs a needless wake-up at worst.
 */
typedef struct FloWakeSlot
{
	pg_atomic_uint32 database;	/* decoded by the process; 0 = not a
								 * replicator */
	pg_atomic_uint32 procno;	/* + 1; 0 = no process */
	pg_atomic_uint32 wanted;	/* somebody waits for a position: publish a
								 * heartbeat now */
	pg_atomic_uint64 commit_lsn;	/* end of a recent commit, which may not
									 * be flushed yet */
} FloWakeSlot;

/* NULL unless pg_flo is in shared_preload_libraries */
extern FloShared *flo_shared;
extern FloWakeSlot *flo_wake_slots; /* [flo_shared->nentries] */
extern pg_atomic_uint32 *flo_replicators;	/* how many of them decode */

/* Take the lock, give it back */
static inline void
flo_lock_shared(void)
{
	LWLockAcquire(flo_shared->lock, LW_SHARED);
}

static inline void
flo_lock_exclusive(void)
{
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
}

static inline void
flo_unlock(void)
{
	LWLockRelease(flo_shared->lock);
}

/* Index of a member's entry, or -1.  Caller holds the lock. */
extern int	flo_entry_find(Oid database, const char *group, const char *member);

/*
 * Find or make an entry, -1 when all are in use by members that are wanted or
 * run.  Caller holds the lock exclusively.
 */
extern int	flo_entry_obtain(Oid database, const char *group, const char *member,
							 bool is_replicator);

/*
 * Tell of the state of an entry, if it is news; of something else, of_error = the
 * last one.  An event is kept.  Caller holds the lock exclusively, has set
 * event->number to 0, and logs the event when it has given the lock back; nothing
 * is logged when there was no news.
 */
extern void flo_entry_tell_news(FloEntry *e, FloEvent *event);
extern void flo_entry_tell(FloEntry *e, bool of_error, FloEvent *event, const char *detail,...)
			pg_attribute_printf(4, 5);
extern void flo_event_log(const FloEvent *event);

/* Another state, or another detail of the same.  Caller holds the lock exclusively. */
extern void flo_entry_put_state(FloEntry *e, FloMemberState state, const char *detail);

/* Remember an error of the member.  Caller holds the lock exclusively. */
extern void flo_entry_note_error(FloEntry *e, const FloFailure *failure);
extern void flo_entry_count_failure(FloEntry *e);

/* Is a run of so many errors told of? */
extern bool flo_entry_is_round(int errors);

/* Was that told so often of late that it is told again when it lasts only? "what": of what state it is */
extern bool flo_entry_told_often(const FloEntry *e, FloMemberState state, uint32 what);

/* At server start, before anybody else looks: what an orderly stop has kept */
extern void flo_saved_load(FloShared *memory);

/* The process of this entry is to look up; without the lock */
extern void flo_entry_wake(int slot);

/* The process that this is the number of; -1 = none */
extern void flo_procno_wake(int procno);

/* The text cut at a character where it does not fit */
extern void flo_entry_put_text(char *to, Size size, const char *text);

#endif
