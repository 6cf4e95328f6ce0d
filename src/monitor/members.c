/*
 * members.c
 *		Members as SQL functions and hooks see and steer them.
 */
#include "postgres.h"

#include <signal.h>

#include "core/loop.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/shmem.h"
#include "monitor/wake.h"
#include "pgstat.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

/* --- looking ------------------------------------------------------------- */

FloMember *
flo_members_here(int *count)
{
	FloMember  *members = palloc(mul_size(flo_shared->nentries, sizeof(FloMember)));

	*count = 0;
	flo_lock_shared();
	for (int i = 0; i < flo_shared->nentries; i++)
		if (flo_shared->entries[i].in_use && flo_shared->entries[i].member.database == MyDatabaseId)
			members[(*count)++] = flo_shared->entries[i].member;
	flo_unlock();
	return members;
}

int
flo_member_look(const char *group, const char *member, FloMember *copy)
{
	int			slot;

	flo_lock_shared();
	slot = flo_entry_find(MyDatabaseId, group, member);
	if (slot >= 0)
		*copy = flo_shared->entries[slot].member;
	flo_unlock();
	return slot;
}

void
flo_member_sleep(int slot, bool ask, long ms)
{
	if (ask)
	{
		pg_atomic_write_u32(&flo_wake_slots[slot].wanted, 1);
		flo_entry_wake(slot);
	}
	ConditionVariableTimedSleep(&flo_shared->entries[slot].progress, ms,
								flo_wait_event(FLO_WAIT_APPLY));
}

void
flo_member_reset_stats(const char *group, const char *member)
{
	int			slot;

	flo_lock_exclusive();
	slot = flo_entry_find(MyDatabaseId, group, member);
	if (slot >= 0)
	{
		FloMember  *m = &flo_shared->entries[slot].member;

		memset(&m->counters, 0, sizeof(m->counters));
		memset(&m->histograms, 0, sizeof(m->histograms));
		m->restarts = 0;
		m->stats_reset = GetCurrentTimestamp();
	}
	flo_unlock();
}

int
flo_members_room(int *all)
{
	int			busy = 0;

	flo_lock_shared();
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		const FloEntry *e = &flo_shared->entries[i];

		busy += e->in_use && (e->member.wanted || e->member.pid != 0);
	}
	flo_unlock();
	*all = flo_shared->nentries;
	return flo_shared->nentries - busy;
}

/* --- holding and stopping ------------------------------------------------ */

pid_t
flo_member_hold(const char *group, const char *member, bool is_replicator)
{
	int			slot;
	pid_t		holder = 0;

	flo_lock_exclusive();
	slot = flo_entry_obtain(MyDatabaseId, group, member, is_replicator);
	if (slot >= 0)
	{
		FloEntry   *e = &flo_shared->entries[slot];

		holder = e->held_by;
		if (holder == 0 || BackendPidGetProc(holder) == NULL)
			holder = e->held_by = MyProcPid;
	}
	flo_unlock();
	return holder;
}

void
flo_members_give_back(bool dropped)
{
	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		FloEntry   *e = &flo_shared->entries[i];

		if (!e->in_use || e->held_by != MyProcPid)
			continue;
		e->held_by = 0;
		if (dropped && e->member.pid == 0)
		{
			e->member.wanted = false;
			e->in_use = false;
		}
	}
	flo_unlock();
	flo_members_changed(MyDatabaseId);
}

bool
flo_member_terminate(const char *group, const char *member)
{
	int			slot;
	pid_t		pid = 0;

	flo_lock_shared();
	slot = flo_entry_find(MyDatabaseId, group, member);
	if (slot >= 0)
		pid = flo_shared->entries[slot].member.pid;
	if (pid != 0)
		(void) kill(pid, SIGTERM);
	flo_unlock();
	return pid != 0;
}

int
flo_members_running(Oid database, bool hold, bool terminate)
{
	int			running = 0;

	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		FloEntry   *e = &flo_shared->entries[i];

		if (!e->in_use || e->member.database != database)
			continue;
		if (hold)
			e->held_by = MyProcPid;
		if (e->member.pid != 0)
		{
			running++;
			if (terminate)
				(void) kill(e->member.pid, SIGTERM);
		}
	}
	flo_unlock();
	return running;
}

void
flo_members_release(Oid database, bool dropped)
{
	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		FloEntry   *e = &flo_shared->entries[i];

		if (!e->in_use || e->member.database != database)
			continue;
		if (dropped)
		{
			e->member.wanted = false;
			if (e->member.pid == 0)
				e->in_use = false;
		}
		if (e->held_by == MyProcPid)
			e->held_by = 0;
	}
	flo_unlock();
	if (dropped)
		flo_events_saved(database, PG_INT64_MAX);
}

/* --- configuration has changed ------------------------------------------- */

void
flo_members_changed(Oid database)
{
	bool		known = false;

	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->ndirty; i++)
		if (flo_shared->dirty[i] == database)
			known = true;
	if (!known && flo_shared->ndirty < FLO_MAX_DIRTY)
		flo_shared->dirty[flo_shared->ndirty++] = database;
	else if (!known)
		flo_shared->all_dirty = true;
	flo_unlock();
	flo_wake_launcher();
}

void
flo_members_retry(Oid database, const char *group, const char *member)
{
	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->nentries; i++)
	{
		FloEntry   *e = &flo_shared->entries[i];
		FloMember  *m = &e->member;

		if (!e->in_use || m->database != database || strcmp(m->group, group) != 0 ||
			(member != NULL && strcmp(m->member, member) != 0))
			continue;
		if (m->state == FLO_STATE_FAILED && m->pid == 0)
			m->state = FLO_STATE_BACKOFF;
		e->next_start = 0;		/* long ago: now */
		e->pauses = e->same_errors = 0;
		flo_entry_wake(i);
	}
	flo_unlock();
	flo_wake_launcher();
}

bool
flo_launcher_is_starved(void)
{
	return flo_shared->starved;
}
