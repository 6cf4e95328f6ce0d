/*
 * shmem.c
 *		The shared memory of pg_flo: made at server start, its entries, wake-ups.
 *
 * One struct, one lock.  Processes write their own entry about ten times a
 * second at most, so the lock is never busy; what committing backends look at
 * (whom to wake) is kept in atomics beside it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "core/settings.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/shmem.h"
#include "monitor/wake.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

FloShared  *flo_shared = NULL;
FloWakeSlot *flo_wake_slots = NULL;
pg_atomic_uint32 *flo_replicators = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

/* --- made at server start ------------------------------------------------ */

static Size
shared_size(void)
{
	return add_size(offsetof(FloShared, entries),
					mul_size(flo_max_workers, sizeof(FloEntry)));
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
	bool		old;
	char	   *wake;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	flo_shared = ShmemInitStruct("pg_flo", shared_size(), &old);
	if (!old)
	{
		MemSet(flo_shared, 0, shared_size());
		flo_shared->lock = &GetNamedLWLockTranche("pg_flo")->lock;
		flo_shared->nentries = flo_max_workers;
		flo_shared->launcher_procno = -1;
		for (int i = 0; i < flo_shared->nentries; i++)
		{
			ConditionVariableInit(&flo_shared->entries[i].progress);
			ConditionVariableInit(&flo_shared->entries[i].turn);
		}
	}
	wake = ShmemInitStruct("pg_flo wake-ups", wake_size(), &found);
	flo_replicators = (pg_atomic_uint32 *) wake;
	flo_wake_slots = (FloWakeSlot *) (wake + MAXALIGN(sizeof(pg_atomic_uint32)));
	if (!found)
	{
		pg_atomic_init_u32(flo_replicators, 0);
		for (int i = 0; i < flo_shared->nentries; i++)
		{
			pg_atomic_init_u32(&flo_wake_slots[i].database, InvalidOid);
			pg_atomic_init_u32(&flo_wake_slots[i].procno, 0);
			pg_atomic_init_u32(&flo_wake_slots[i].wanted, 0);
			pg_atomic_init_u64(&flo_wake_slots[i].commit_lsn, InvalidXLogRecPtr);
		}
	}
	LWLockRelease(AddinShmemInitLock);
	if (!old)
		flo_saved_load(flo_shared);
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
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		if (pg_atomic_read_u32(&flo_wake_slots[i].database) != MyDatabaseId)
			continue;
		pg_atomic_write_u64(&flo_wake_slots[i].commit_lsn, last_seen);
		flo_entry_wake(i);
	}
}

void
flo_shmem_init(void)
{
	RegisterXactCallback(wake_at_commit, NULL);
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shared_memory;
}

bool
flo_preloaded(void)
{
	return flo_shared != NULL;
}

void
flo_require_preloaded(void)
{
	if (flo_shared != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("pg_flo is not loaded at server start"),
			 errhint("Add pg_flo to shared_preload_libraries and restart the server.")));
}

/* --- entries ------------------------------------------------------------- */

int
flo_entry_find(Oid database, const char *group, const char *member)
{
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		const FloEntry *e = &flo_shared->entries[i];

		if (e->in_use && e->member.database == database &&
			strcmp(e->member.group, group) == 0 && strcmp(e->member.member, member) == 0)
			return i;
	}
	return -1;
}

int
flo_entry_obtain(Oid database, const char *group, const char *member, bool is_replicator)
{
	int			slot = flo_entry_find(database, group, member);
	FloEntry   *e;

	if (slot >= 0)
		return slot;
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		e = &flo_shared->entries[i];
		if (!e->in_use)
		{
			slot = i;
			break;
		}
		if (!e->member.wanted && e->member.pid == 0 && e->held_by == 0 && slot < 0)
			slot = i;
	}
	if (slot < 0)
		return -1;
	e = &flo_shared->entries[slot];
	memset(e, 0, offsetof(FloEntry, incarnation));
	e->began = ++e->incarnation;
	e->in_use = true;
	e->member.database = database;
	e->member.is_replicator = is_replicator;
	strlcpy(e->member.group, group, sizeof(e->member.group));
	strlcpy(e->member.member, member, sizeof(e->member.member));
	e->member.state = FLO_STATE_STOPPED;
	e->member.pending_bytes = -1;
	e->member.stats_reset = GetCurrentTimestamp();
	return slot;
}

void
flo_entry_put_text(char *to, Size size, const char *text)
{
	int			len = pg_mbcliplen(text, strlen(text), size - 1);

	memcpy(to, text, len);
	to[len] = '\0';
}

/* --- wake-ups ------------------------------------------------------------ */

void
flo_procno_wake(int procno)
{
	if (procno >= 0 && procno < ProcGlobal->allProcCount)
		SetLatch(&ProcGlobal->allProcs[procno].procLatch);
}

void
flo_entry_wake(int slot)
{
	flo_procno_wake((int) pg_atomic_read_u32(&flo_wake_slots[slot].procno) - 1);
}

void
flo_wake_launcher(void)
{
	flo_procno_wake(flo_shared->launcher_procno);
}
