/*
 * launches.c
 *		The launcher's side of the states of members, and of reading who is wanted.
 *
 * A process that left with an error has set its state to backoff itself; how
 * long it has to wait is counted here.
 */
#include "postgres.h"

#include "core/compat_process.h"
#include "core/settings.h"
#include "miscadmin.h"
#include "monitor/launches.h"
#include "monitor/shmem.h"
#include "monitor/wake.h"
#include "storage/ipc.h"
#include "storage/procarray.h"

/* ms to the restart of a member that left without an error */
#define RESTART_PAUSE 200

static const FloFailure no_process = {
	.sqlstate = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
	.message = "no free background worker process",
	.described = "no free background worker process: raise max_worker_processes",
	.hint = "Raise max_worker_processes and restart the server."
};

static const FloFailure lost = {
	.sqlstate = ERRCODE_CONNECTION_FAILURE,
	.message = "the process ended before it could begin",
	.described = "the process ended before it could begin, see the server log"
};

/* ms to the restart after an error; doubles with every one in a row */
#define FIRST_PAUSE 500

static void
launcher_gone(int code, Datum arg)
{
	flo_shared->launcher_procno = -1;
}

int
flo_launches_begin(void)
{
	flo_lock_exclusive();
	flo_shared->launcher_procno = flo_compat_my_procno();
	flo_unlock();
	before_shmem_exit(launcher_gone, (Datum) 0);
	return flo_shared->nentries;
}

/* --- who is wanted ------------------------------------------------------- */

List *
flo_launches_take_changed(List *databases, bool *all)
{
	flo_lock_exclusive();
	*all = flo_shared->all_dirty;
	for (int i = 0; i < flo_shared->ndirty; i++)
		databases = list_append_unique_oid(databases, flo_shared->dirty[i]);
	flo_shared->ndirty = 0;
	flo_shared->all_dirty = false;
	flo_unlock();
	return databases;
}

void
flo_launches_scan(void)
{
	flo_lock_exclusive();
	flo_shared->scanned = InvalidOid;
	flo_unlock();
}

bool
flo_launches_scanned(Oid database)
{
	bool		told;

	flo_lock_shared();
	told = flo_shared->scanned == database;
	flo_unlock();
	return told;
}

bool
flo_launches_note_starved(bool starved)
{
	bool		before = flo_shared->starved;

	flo_shared->starved = starved;
	return before;
}

bool
flo_launches_note_members(const FloWanted *members, int count)
{
	bool		fits = true;

	flo_lock_exclusive();
	for (int i = 0; i < flo_shared->nentries; i++)
		if (flo_shared->entries[i].in_use && flo_shared->entries[i].member.database == MyDatabaseId)
			flo_shared->entries[i].member.wanted = false;
	for (int i = 0; i < count; i++)
	{
		const FloWanted *m = &members[i];
		int			slot = m->wanted ?
			flo_entry_obtain(MyDatabaseId, m->group, m->member, m->is_replicator) :
			flo_entry_find(MyDatabaseId, m->group, m->member);

		if (slot >= 0)
		{
			flo_shared->entries[slot].member.wanted = m->wanted;
			flo_shared->entries[slot].member.owner = m->owner;
		}
		else if (m->wanted)
			fits = false;
	}
	flo_shared->scanned = MyDatabaseId;
	flo_unlock();
	flo_wake_launcher();
	return fits;
}

/* --- starting and stopping ----------------------------------------------- */

static int
pause_after(int failures)
{
	int			pause = FIRST_PAUSE;

	for (int i = 1; i < failures && pause < flo_restart_interval; i++)
		pause *= 2;
	return Min(pause, flo_restart_interval);
}

/*
 * The process ended in an error, why = its reason where it could not say so
 * itself.  What it is, or was, at is not yet over: see state.c.
 */
static void
begin_pause(FloEntry *e, const FloFailure *why, FloEvent *event)
{
	char		detail[FLO_DETAIL_BUF];
	char		again[64] = "";
	int			pause;

	flo_entry_count_failure(e);
	if (why != NULL)
		flo_entry_note_error(e, why);
	if (e->same_errors > 1)
		snprintf(again, sizeof(again), ", the same %d times in a row", e->same_errors);
	pause = pause_after(++e->pauses);
	e->next_start = flo_clock_in(pause);
	snprintf(detail, sizeof(detail), "%s%s; retry in %g s",
			 why != NULL ? why->described : "see last_error", again, pause / 1000.0);
	flo_entry_put_state(e, FLO_STATE_BACKOFF, detail);
	flo_entry_tell_news(e, event);
}

static FloLaunchAction
decide(FloEntry *e, bool starting, FloEvent *event)
{
	FloMember  *m = &e->member;
	bool		wanted = m->wanted && e->held_by == 0 && flo_enabled;

	if (!e->in_use || starting)
		return FLO_LAUNCH_NONE;
	if (m->pid != 0)
		return wanted ? FLO_LAUNCH_NONE : FLO_LAUNCH_STOP;
	if (!wanted)
	{
		if (m->state != FLO_STATE_STOPPED)
		{
			flo_entry_put_state(e, FLO_STATE_STOPPED, "");
			flo_entry_tell_news(e, event);
		}
		return FLO_LAUNCH_NONE;
	}
	if (m->state == FLO_STATE_FAILED)
		return FLO_LAUNCH_NONE;
	if (m->state == FLO_STATE_BACKOFF)
		return e->next_start <= flo_clock() ? FLO_LAUNCH_START : FLO_LAUNCH_NONE;
	return flo_clock_passed(m->state_since, RESTART_PAUSE) ? FLO_LAUNCH_START : FLO_LAUNCH_NONE;
}

FloLaunchAction
flo_launches_decide(int slot, bool starting, pid_t *pid)
{
	FloEntry   *e = &flo_shared->entries[slot];
	FloLaunchAction action;
	FloEvent	event;

	event.number = 0;
	flo_lock_exclusive();
	if (e->held_by != 0 && BackendPidGetProc(e->held_by) == NULL)
		e->held_by = 0;
	if (e->in_use && e->member.pid == 0 && e->member.state == FLO_STATE_BACKOFF &&
		e->next_start == FLO_START_UNDECIDED)
		begin_pause(e, NULL, &event);
	action = decide(e, starting, &event);
	*pid = e->member.pid;
	flo_unlock();
	flo_event_log(&event);
	return action;
}

uint32
flo_launches_start(int slot, FloMember *copy)
{
	FloEntry   *e = &flo_shared->entries[slot];
	FloEvent	event;
	uint32		incarnation;

	event.number = 0;
	flo_lock_exclusive();
	incarnation = ++e->incarnation;
	if (e->member.state == FLO_STATE_BACKOFF)
		e->member.restarts++;
	flo_entry_put_state(e, FLO_STATE_STARTING, "");
	flo_entry_tell_news(e, &event);
	*copy = e->member;
	flo_unlock();
	flo_event_log(&event);
	return incarnation;
}

void
flo_launches_refused(int slot)
{
	FloEvent	event;

	event.number = 0;
	flo_lock_exclusive();
	begin_pause(&flo_shared->entries[slot], &no_process, &event);
	flo_unlock();
	flo_event_log(&event);
}

bool
flo_launches_has_begun(int slot)
{
	bool		begun;

	flo_lock_shared();
	begun = flo_shared->entries[slot].member.pid != 0;
	flo_unlock();
	return begun;
}

void
flo_launches_lost(int slot)
{
	FloEntry   *e = &flo_shared->entries[slot];
	FloEvent	event;

	event.number = 0;
	flo_lock_exclusive();
	if (e->member.pid == 0 && e->member.state == FLO_STATE_STARTING)
		begin_pause(e, &lost, &event);
	flo_unlock();
	flo_event_log(&event);
}

long
flo_launches_due(int slot, bool starting, long most)
{
	const FloEntry *e = &flo_shared->entries[slot];
	long		due = most;

	flo_lock_shared();
	if (e->in_use && e->member.wanted && e->member.pid == 0)
	{
		if (e->member.state == FLO_STATE_STOPPED)
			due = RESTART_PAUSE;
		else if (e->member.state == FLO_STATE_BACKOFF)
			due = flo_clock_left(e->next_start) + 1;
		else if (starting)
			due = 1000;
	}
	flo_unlock();
	return Min(due, most);
}

/* --- databases that are gone --------------------------------------------- */

Oid
flo_launches_database(int slot)
{
	const FloEntry *e = &flo_shared->entries[slot];
	Oid			database;

	flo_lock_shared();
	database = e->in_use ? e->member.database : InvalidOid;
	flo_unlock();
	return database;
}

bool
flo_launches_forget(int slot, bool starting)
{
	FloEntry   *e = &flo_shared->entries[slot];
	bool		forgotten;

	flo_lock_exclusive();
	e->member.wanted = false;
	forgotten = e->member.pid == 0 && !starting;
	if (forgotten)
		e->in_use = false;
	flo_unlock();
	return forgotten;
}
