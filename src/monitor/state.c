/*
 * state.c
 *		What a process of pg_flo says of itself: the state of its member, errors,
 *		positions.
 *
 * A member's own process is the only one that writes its state while it runs;
 * before and after that the launcher does (launches.c).
 */
#include "postgres.h"

#include "core/compat_process.h"
#include "core/error_context.h"
#include "miscadmin.h"
#include "monitor/shmem.h"
#include "monitor/wake.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

const FloSelf *flo_me = NULL;
bool		flo_errors_are_final = false;

static FloSelf self;

static FloEntry *
my_entry(void)
{
	return &flo_shared->entries[self.slot];
}

static FloMember *
my_member(void)
{
	return &my_entry()->member;
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

/* --- taking and leaving the entry ---------------------------------------- */

/*
 * The process ends: give the entry back.  A state that explains itself
 * (backoff, failed) was set before; anything else is an orderly stop or the
 * death of a process that nobody caught.
 */
static void
detach(int code, Datum arg)
{
	FloEntry   *e = my_entry();
	FloMember  *m = my_member();

	if (flo_me == NULL)
		return;
	LWLockReleaseAll();
	if (pg_atomic_exchange_u32(&flo_wake_slots[self.slot].database, InvalidOid) != InvalidOid)
		pg_atomic_fetch_sub_u32(flo_replicators, 1);
	pg_atomic_write_u32(&flo_wake_slots[self.slot].procno, 0);

	flo_lock_exclusive();
	m->pid = 0;
	if (m->state == FLO_STATE_STARTING && code != 0)
	{
		m->state = FLO_STATE_BACKOFF;
		e->next_start = FLO_START_UNDECIDED;
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
	flo_unlock();
	flo_me = NULL;
	ConditionVariableBroadcast(&e->progress);
	flo_wake_launcher();
}

/* The names do not change while the entry is in use */
static void
become(int slot, const FloEntry *e)
{
	strlcpy(self.group, e->member.group, sizeof(self.group));
	strlcpy(self.member, e->member.member, sizeof(self.member));
	self.is_replicator = e->member.is_replicator;
	self.slot = slot;
	self.incarnation = e->incarnation;
	self.failed_lsn = e->member.last_error_lsn;
	flo_me = &self;
}

bool
flo_state_attach(int slot, uint32 incarnation)
{
	FloEntry   *e = &flo_shared->entries[slot];
	FloMember  *m = &e->member;
	bool		ghost;

	flo_lock_exclusive();
	ghost = !e->in_use || e->incarnation != incarnation || !m->wanted ||
		e->held_by != 0 || m->pid != 0;
	if (!ghost)
	{
		m->pid = MyProcPid;
		m->state = FLO_STATE_STARTING;
		m->state_since = flo_clock();
		m->detail[0] = '\0';
		become(slot, e);
	}
	flo_unlock();
	if (ghost)
		return false;
	pg_atomic_write_u32(&flo_wake_slots[slot].procno, flo_compat_my_procno() + 1);
	before_shmem_exit(detach, (Datum) 0);
	return true;
}

/* --- states and errors --------------------------------------------------- */

void
flo_state_set(FloMemberState state, const char *detail,...)
{
	char		text[2 * FLO_DETAIL_BUF] = "";
	FloMember  *m;
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
	m = my_member();
	flo_lock_exclusive();
	changed = m->state != state;
	if (changed)
	{
		m->state = state;
		m->state_since = flo_clock();
	}
	flo_entry_put_text(m->detail, sizeof(m->detail), text);
	if (state == FLO_STATE_STREAMING || state == FLO_STATE_COPYING)
		my_entry()->failures = 0;
	flo_unlock();
	if (changed)
		ConditionVariableBroadcast(&my_entry()->progress);
}

bool
flo_state_is_starting(void)
{
	return flo_me != NULL && my_member()->state == FLO_STATE_STARTING;
}

void
flo_state_rest(void)
{
	flo_lock_exclusive();
	my_member()->wanted = false;
	flo_unlock();
}

/*
 * Of which error, and at which table this process failed, if it was at one.
 * Caller holds the lock.
 */
static void
note_error(FloMember *m, const char *message)
{
	flo_entry_put_text(m->last_error, sizeof(m->last_error), message);
	m->last_error_at = GetCurrentTimestamp();
	if (flo_error_context.source_table == NULL)
		return;
	m->failed_relation = flo_error_context.source_relation;
	strlcpy(m->failed_table[0], flo_error_context.source_schema, NAMEDATALEN);
	strlcpy(m->failed_table[1], flo_error_context.source_table, NAMEDATALEN);
	flo_entry_put_text(m->failed_error, sizeof(m->failed_error), message);
}

void
flo_state_error(const char *message, XLogRecPtr lsn, bool exact)
{
	FloMember  *m;

	if (flo_me == NULL)
		return;
	m = my_member();
	flo_lock_exclusive();
	note_error(m, message);
	m->last_error_lsn = lsn;
	m->last_error_exact = exact;
	if (m->state != FLO_STATE_FAILED)
	{
		m->state = FLO_STATE_BACKOFF;
		m->state_since = flo_clock();
		my_entry()->next_start = FLO_START_UNDECIDED;
	}
	flo_unlock();
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

/* --- positions ----------------------------------------------------------- */

void
flo_state_report(const FloPositions *positions)
{
	FloMember  *m = my_member();
	bool		moved;

	flo_lock_exclusive();
	moved = positions->durable != m->durable_lsn;
	m->received_lsn = positions->received;
	m->durable_lsn = positions->durable;
	m->known_lsn = positions->known;
	m->oldest_pending = positions->oldest_pending;
	flo_unlock();
	flo_tally_hand_in();
	if (moved)
		ConditionVariableBroadcast(&my_entry()->progress);
}

void
flo_state_decodes(void)
{
	if (pg_atomic_exchange_u32(&flo_wake_slots[self.slot].database, MyDatabaseId) == InvalidOid)
		pg_atomic_fetch_add_u32(flo_replicators, 1);
}

bool
flo_state_position_wanted(void)
{
	return pg_atomic_exchange_u32(&flo_wake_slots[self.slot].wanted, 0) != 0;
}

XLogRecPtr
flo_state_recent_commit(void)
{
	return pg_atomic_read_u64(&flo_wake_slots[self.slot].commit_lsn);
}

/* --- helpers of a member ------------------------------------------------- */

void
flo_helper_check(int slot, uint32 incarnation)
{
	const FloEntry *e = &flo_shared->entries[slot];
	bool		orphan;

	flo_lock_shared();
	orphan = !e->in_use || e->incarnation != incarnation || e->member.pid == 0;
	flo_unlock();
	if (orphan)
		proc_exit(0);
}

void
flo_helper_error(int slot, uint32 incarnation, const char *message)
{
	FloEntry   *e = &flo_shared->entries[slot];

	flo_lock_exclusive();
	if (e->in_use && e->incarnation == incarnation)
		note_error(&e->member, message);
	flo_unlock();
}

void
flo_helper_wake_member(int slot)
{
	flo_entry_wake(slot);
}

char *
flo_helper_last_error(int slot)
{
	char	   *error = palloc(FLO_ERROR_BUF);

	flo_lock_shared();
	strlcpy(error, flo_shared->entries[slot].member.last_error, FLO_ERROR_BUF);
	flo_unlock();
	return error;
}

void
flo_helper_names(int slot, char **group, char **member)
{
	const FloMember *m = &flo_shared->entries[slot].member;

	*group = palloc(FLO_NAME_BUF);
	*member = palloc(FLO_NAME_BUF);
	flo_lock_shared();
	strlcpy(*group, m->group, FLO_NAME_BUF);
	strlcpy(*member, m->member, FLO_NAME_BUF);
	flo_unlock();
}
