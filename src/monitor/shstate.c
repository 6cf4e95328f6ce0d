/*
 * shstate.c
 *		The shared memory of pg_flo.
 *
 * One struct, one lock.  Processes write their own entry about ten times a
 * second at most, so the lock is never busy; what committing backends look at
 * (whom to wake) is kept in atomics beside it.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/settings.h"
#include "core/trail.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

FloShared  *flo_shared = NULL;
FloWakeSlot *flo_wake_slots = NULL;
pg_atomic_uint32 *flo_replicators = NULL;

FloMember  *flo_me = NULL;
int			flo_my_slot = -1;
bool		flo_errors_are_final = false;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static Size
shared_size(void)
{
	return add_size(offsetof(FloShared, members),
					mul_size(flo_max_workers, sizeof(FloMember)));
}

static Size
wake_size(void)
{
	return add_size(MAXALIGN(sizeof(pg_atomic_uint32)),
					mul_size(flo_max_workers, sizeof(FloWakeSlot)));
}

static void
request_shared_memory(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
	RequestAddinShmemSpace(add_size(shared_size(), wake_size()));
	RequestNamedLWLockTranche("pg_flo", 1);
}

static void
startup_shared_memory(void)
{
	bool		found;
	char	   *wake;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	flo_shared = ShmemInitStruct("pg_flo", shared_size(), &found);
	if (!found)
	{
		MemSet(flo_shared, 0, shared_size());
		flo_shared->lock = &GetNamedLWLockTranche("pg_flo")->lock;
		flo_shared->nmembers = flo_max_workers;
		flo_shared->launcher_procno = -1;
		for (int i = 0; i < flo_shared->nmembers; i++)
			ConditionVariableInit(&flo_shared->members[i].progress);
	}
	wake = ShmemInitStruct("pg_flo wake-ups", wake_size(), &found);
	flo_replicators = (pg_atomic_uint32 *) wake;
	flo_wake_slots = (FloWakeSlot *) (wake + MAXALIGN(sizeof(pg_atomic_uint32)));
	if (!found)
	{
		pg_atomic_init_u32(flo_replicators, 0);
		for (int i = 0; i < flo_shared->nmembers; i++)
		{
			pg_atomic_init_u32(&flo_wake_slots[i].database, InvalidOid);
			pg_atomic_init_u32(&flo_wake_slots[i].procno, 0);
			pg_atomic_init_u32(&flo_wake_slots[i].wanted, 0);
			pg_atomic_init_u64(&flo_wake_slots[i].commit_lsn, InvalidXLogRecPtr);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/*
 * Every commit in every backend passes here and wakes the replicators of its
 * database; cheap when there are none.  A commit that wrote something has moved
 * XactLastCommitEnd; COMMIT PREPARED does so as well.
 */
static void
wake_at_commit(XactEvent event, void *arg)
{
	static XLogRecPtr last_seen = InvalidXLogRecPtr;

	if (event != XACT_EVENT_COMMIT || XactLastCommitEnd == last_seen)
		return;
	last_seen = XactLastCommitEnd;
	if (flo_replicators == NULL || pg_atomic_read_u32(flo_replicators) == 0)
		return;
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		if (pg_atomic_read_u32(&flo_wake_slots[i].database) != MyDatabaseId)
			continue;
		pg_atomic_write_u64(&flo_wake_slots[i].commit_lsn, last_seen);
		flo_shstate_wake_member(i);
	}
}

void
flo_shstate_request(void)
{
	RegisterXactCallback(wake_at_commit, NULL);
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

void
flo_shstate_require(void)
{
	if (flo_shared != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pg_flo is not loaded at server start"),
			 errhint("Add pg_flo to shared_preload_libraries and restart the server.")));
}

const char *
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

int
flo_shstate_find(Oid database, const char *group, const char *member)
{
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		FloMember  *m = &flo_shared->members[i];

		if (m->in_use && m->database == database &&
			strcmp(m->group, group) == 0 && strcmp(m->member, member) == 0)
			return i;
	}
	return -1;
}

/* Clear an entry for a new member, but for what must survive */
static void
reset_entry(FloMember *m)
{
	memset(m, 0, offsetof(FloMember, incarnation));
	m->incarnation++;
}

int
flo_shstate_obtain(Oid database, const char *group, const char *member, bool is_replicator)
{
	int			slot = flo_shstate_find(database, group, member);
	FloMember  *m;

	if (slot >= 0)
		return slot;
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		m = &flo_shared->members[i];
		if (!m->in_use)
		{
			slot = i;
			break;
		}
		if (!m->wanted && m->pid == 0 && m->held_by == 0 && slot < 0)
			slot = i;
	}
	if (slot < 0)
		return -1;
	m = &flo_shared->members[slot];
	reset_entry(m);
	m->in_use = true;
	m->database = database;
	m->is_replicator = is_replicator;
	strlcpy(m->group, group, sizeof(m->group));
	strlcpy(m->member, member, sizeof(m->member));
	m->state = FLO_STATE_STOPPED;
	m->stats_reset = GetCurrentTimestamp();
	return slot;
}

/*
 * The process ends: give the entry back.  A state that explains itself
 * (backoff, failed) was set before; anything else is an orderly stop or the
 * death of a process that nobody caught.
 */
static void
detach(int code, Datum arg)
{
	FloMember  *m = flo_me;

	if (m == NULL)
		return;
	LWLockReleaseAll();
	if (pg_atomic_exchange_u32(&flo_wake_slots[flo_my_slot].database, InvalidOid) != InvalidOid)
		pg_atomic_fetch_sub_u32(flo_replicators, 1);
	pg_atomic_write_u32(&flo_wake_slots[flo_my_slot].procno, 0);

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	m->pid = 0;
	if (m->state == FLO_STATE_STARTING && code != 0)
	{
		m->state = FLO_STATE_BACKOFF;
		m->next_start = FLO_START_UNDECIDED;
		strlcpy(m->last_error, "the process could not connect to the database, see the server log",
				sizeof(m->last_error));
		m->last_error_at = GetCurrentTimestamp();
		m->state_since = flo_clock();
	}
	else if (m->state != FLO_STATE_BACKOFF && m->state != FLO_STATE_FAILED)
	{
		m->state = FLO_STATE_STOPPED;
		m->state_since = flo_clock();
		m->detail[0] = '\0';
	}
	m->oldest_pending = 0;
	LWLockRelease(flo_shared->lock);
	flo_me = NULL;
	ConditionVariableBroadcast(&m->progress);
	flo_shstate_wake_launcher();
}

bool
flo_shstate_attach(int slot, uint32 incarnation)
{
	FloMember  *m = &flo_shared->members[slot];
	bool		ghost;

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	ghost = !m->in_use || m->incarnation != incarnation || !m->wanted ||
		m->held_by != 0 || m->pid != 0;
	if (!ghost)
	{
		m->pid = MyProcPid;
		m->state = FLO_STATE_STARTING;
		m->state_since = flo_clock();
		m->detail[0] = '\0';
		flo_me = m;
		flo_my_slot = slot;
	}
	LWLockRelease(flo_shared->lock);
	if (ghost)
		return false;
	pg_atomic_write_u32(&flo_wake_slots[slot].procno, flo_compat_my_procno() + 1);
	before_shmem_exit(detach, (Datum) 0);
	return true;
}

void
flo_helper_check(int slot, uint32 incarnation)
{
	FloMember  *m = &flo_shared->members[slot];
	bool		orphan;

	LWLockAcquire(flo_shared->lock, LW_SHARED);
	orphan = !m->in_use || m->incarnation != incarnation || m->pid == 0;
	LWLockRelease(flo_shared->lock);
	if (orphan)
		proc_exit(0);
}

/* At which table this process failed, if it was at one.  Caller holds the lock. */
static void
note_failed_table(FloMember *m, const char *message)
{
	if (flo_trail.source_table == NULL)
		return;
	m->failed_relation = flo_trail.source_relation;
	strlcpy(m->failed_table[0], flo_trail.source_schema, NAMEDATALEN);
	strlcpy(m->failed_table[1], flo_trail.source_table, NAMEDATALEN);
	strlcpy(m->failed_error, message, sizeof(m->failed_error));
}

void
flo_helper_error(int slot, uint32 incarnation, const char *message)
{
	FloMember  *m = &flo_shared->members[slot];

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	if (m->in_use && m->incarnation == incarnation)
	{
		strlcpy(m->last_error, message, sizeof(m->last_error));
		m->last_error_at = GetCurrentTimestamp();
		note_failed_table(m, message);
	}
	LWLockRelease(flo_shared->lock);
}

void
flo_state_set(FloMemberState state, const char *detail,...)
{
	char		text[FLO_DETAIL_BUF] = "";
	bool		changed;

	if (flo_me == NULL)
		return;
	if (detail != NULL)
	{
		va_list		args;

		va_start(args, detail);
		vsnprintf(text, sizeof(text), detail, args);
		va_end(args);
	}
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	changed = flo_me->state != state;
	if (changed)
	{
		flo_me->state = state;
		flo_me->state_since = flo_clock();
	}
	strlcpy(flo_me->detail, text, sizeof(flo_me->detail));
	if (state == FLO_STATE_STREAMING || state == FLO_STATE_COPYING)
		flo_me->failures = 0;
	LWLockRelease(flo_shared->lock);
	if (changed)
		ConditionVariableBroadcast(&flo_me->progress);
}

void
flo_state_error(const char *message, XLogRecPtr lsn, bool exact)
{
	if (flo_me == NULL)
		return;
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	strlcpy(flo_me->last_error, message, sizeof(flo_me->last_error));
	flo_me->last_error_lsn = lsn;
	flo_me->last_error_exact = exact;
	note_failed_table(flo_me, message);
	flo_me->last_error_at = GetCurrentTimestamp();
	if (flo_me->state != FLO_STATE_FAILED)
	{
		flo_me->state = FLO_STATE_BACKOFF;
		flo_me->state_since = flo_clock();
		flo_me->next_start = FLO_START_UNDECIDED;
	}
	LWLockRelease(flo_shared->lock);
}

void
flo_fail(int sqlstate, const char *hint, const char *message,...)
{
	char		text[FLO_ERROR_BUF];
	va_list		args;

	va_start(args, message);
	vsnprintf(text, sizeof(text), message, args);
	va_end(args);
	flo_state_set(FLO_STATE_FAILED, "%s", text);
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg_internal("%s", text),
			 hint != NULL ? errhint("%s", hint) : 0));
}

void
flo_state_report(const FloPositions *positions)
{
	FloMember  *m = flo_me;
	bool		moved;

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	moved = positions->durable != m->durable_lsn;
	m->received_lsn = positions->received;
	m->durable_lsn = positions->durable;
	m->known_lsn = positions->known;
	m->oldest_pending = positions->oldest_pending;
	LWLockRelease(flo_shared->lock);
	flo_tally_hand_in();
	if (moved)
		ConditionVariableBroadcast(&m->progress);
}

static void
wake_procno(int procno)
{
	if (procno >= 0 && procno < ProcGlobal->allProcCount)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
flo_shstate_wake_launcher(void)
{
	wake_procno(flo_shared->launcher_procno);
}

void
flo_shstate_wake_member(int slot)
{
	wake_procno((int) pg_atomic_read_u32(&flo_wake_slots[slot].procno) - 1);
}

void
flo_shstate_mark_dirty(Oid database)
{
	bool		known = false;

	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < flo_shared->ndirty; i++)
		if (flo_shared->dirty[i] == database)
			known = true;
	if (!known && flo_shared->ndirty < FLO_MAX_DIRTY)
		flo_shared->dirty[flo_shared->ndirty++] = database;
	else if (!known)
		flo_shared->all_dirty = true;
	LWLockRelease(flo_shared->lock);
	flo_shstate_wake_launcher();
}

void
flo_shstate_retry(Oid database, const char *group, const char *member)
{
	LWLockAcquire(flo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < flo_shared->nmembers; i++)
	{
		FloMember  *m = &flo_shared->members[i];

		if (!m->in_use || m->database != database || strcmp(m->group, group) != 0 ||
			(member != NULL && strcmp(m->member, member) != 0))
			continue;
		if (m->state == FLO_STATE_FAILED && m->pid == 0)
			m->state = FLO_STATE_BACKOFF;
		m->next_start = 0;			/* long ago: now */
		m->failures = 0;
		flo_shstate_wake_member(i);
	}
	LWLockRelease(flo_shared->lock);
	flo_shstate_wake_launcher();
}

void
flo_shstate_register_replicator(void)
{
	if (pg_atomic_exchange_u32(&flo_wake_slots[flo_my_slot].database, MyDatabaseId) == InvalidOid)
		pg_atomic_fetch_add_u32(flo_replicators, 1);
}
