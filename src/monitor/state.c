/*
 * state.c
 *		What a process of pg_flo says of itself: the state of its member, errors,
 *		positions.
 *
 * A member's own process is the only one that writes its state while it runs;
 * before and after that the launcher does (launches.c).
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "core/compat_process.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "miscadmin.h"
#include "monitor/shmem.h"
#include "monitor/wake.h"
#include "storage/ipc.h"
#include "storage/proclist.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

const FloSelf *flo_me = NULL;
bool		flo_errors_are_final = false;

/* ms without anything to do after which an error is over */
#define CALM 10000

/* ms between two recoveries that are told, of a member that goes on meanwhile */
#define RECOVERY_QUIET 30000

static FloSelf self;

/* Of a helper: whom it helps; incarnations begin with 1 */
static struct
{
	int			slot;
	uint32		incarnation;
}			helped;

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

/* --- changes; the caller holds the lock ---------------------------------- */

void
flo_entry_put_state(FloEntry *e, FloMemberState state, const char *detail)
{
	FloMember  *m = &e->member;

	if (m->state != state)
	{
		m->state = state;
		m->state_since = flo_clock();
		m->state_at = GetCurrentTimestamp();
	}
	flo_entry_put_text(m->detail, sizeof(m->detail), detail);
}

static uint32
hash_failure(const FloFailure *failure)
{
	return hash_bytes((const unsigned char *) failure->message, strlen(failure->message)) ^
		failure->sqlstate;
}

/* Which error it is, and at which table this process failed, if it was at one */
void
flo_entry_note_error(FloEntry *e, const FloFailure *failure)
{
	FloMember  *m = &e->member;
	uint32		hash = hash_failure(failure);

	e->same_errors = hash == e->error_hash ? e->same_errors + 1 : 1;
	e->error_hash = hash;
	flo_entry_put_text(m->last_error, sizeof(m->last_error), failure->described);
	flo_entry_put_text(m->last_hint, sizeof(m->last_hint), failure->hint ? failure->hint : "");
	m->last_sqlstate = failure->sqlstate;
	m->last_error_at = GetCurrentTimestamp();
	if (flo_error_context.source_table == NULL)
		return;
	m->failed_relation = flo_error_context.source_relation;
	strlcpy(m->failed_table[0], flo_error_context.source_schema, NAMEDATALEN);
	strlcpy(m->failed_table[1], flo_error_context.source_table, NAMEDATALEN);
	flo_entry_put_text(m->failed_error, sizeof(m->failed_error), failure->described);
}

/* It is over when the position has passed where it is now, or nothing is left to be done */
void
flo_entry_count_failure(FloEntry *e)
{
	if (e->failures++ > 0)
		return;
	e->failing_since = GetCurrentTimestamp();
	e->failed_at = e->member.durable_lsn;
}

/* It got on: whatever was wrong is over */
static void
recover(FloEntry *e, FloEvent *event)
{
	FloMember  *m = &e->member;
	int			errors = e->failures + e->retrying;
	bool		left = e->failures > 0;
	uint32		error = e->error_hash;
	TimestampTz since = e->failures > 0 ? e->failing_since : e->retrying_since;

	event->number = 0;
	e->failures = e->pauses = 0;
	e->retrying = 0;
	e->same_errors = 0;
	e->error_hash = e->helper_hash = 0;
	if (errors == 0)
		return;
	m->recovered_at = GetCurrentTimestamp();

	/*
	 * a broker that is just so full goes to and fro, a network that breaks
	 * again and again
	 */
	if ((!left || flo_entry_told_often(e, FLO_STATE_BACKOFF, error)) &&
		!flo_clock_passed(e->recovery_told, RECOVERY_QUIET))
	{
		e->untold = true;
		return;
	}
	e->recovery_told = flo_clock();
	flo_entry_tell(e, false, event, "recovered after %d %s in %.3g s", errors,
				   errors == 1 ? "retry" : "retries", (m->recovered_at - since) / 1e6);
}

/* --- taking and leaving the entry ---------------------------------------- */

static const FloFailure could_not_connect = {
	.sqlstate = ERRCODE_CONNECTION_FAILURE,
	.message = "the process could not connect to the database, see the server log",
	.described = "the process could not connect to the database, see the server log"
};

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
	FloEvent	event;

	if (flo_me == NULL)
		return;
	LWLockReleaseAll();
	if (pg_atomic_exchange_u32(&flo_wake_slots[self.slot].database, InvalidOid) != InvalidOid)
		pg_atomic_fetch_sub_u32(flo_replicators, 1);
	pg_atomic_write_u32(&flo_wake_slots[self.slot].procno, 0);

	flo_lock_exclusive();
	m->pid = 0;
	if (m->state == FLO_STATE_STARTING && code != 0 && !flo_stop_requested())
	{
		flo_entry_note_error(e, &could_not_connect);
		flo_entry_put_state(e, FLO_STATE_BACKOFF, "");
		e->next_start = FLO_START_UNDECIDED;
	}
	else if (m->state != FLO_STATE_BACKOFF && m->state != FLO_STATE_FAILED)
		flo_entry_put_state(e, FLO_STATE_STOPPED, "");
	event.number = 0;
	if (m->state != FLO_STATE_BACKOFF)	/* of that the launcher tells, with
										 * the pause */
		flo_entry_tell_news(e, &event);
	flo_unlock();
	flo_me = NULL;
	flo_event_log(&event);
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
		/* until it knows better */
		if (!m->is_replicator && m->oldest_pending == 0)
			m->oldest_pending = m->source_seen;
		flo_entry_put_state(e, FLO_STATE_STARTING, "");
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
	FloEvent	event;
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
	flo_lock_exclusive();
	changed = my_member()->state != state;
	flo_entry_put_state(my_entry(), state, text);
	event.number = 0;
	if (state == FLO_STATE_FAILED)
		my_entry()->untold = true;	/* its error follows */
	else
		flo_entry_tell_news(my_entry(), &event);
	flo_unlock();
	flo_event_log(&event);
	if (changed)
		ConditionVariableBroadcast(&my_entry()->progress);
}

bool
flo_state_is_starting(void)
{
	return flo_me != NULL && my_member()->state == FLO_STATE_STARTING;
}

bool
flo_state_is_waiting(void)
{
	return flo_state_is_starting() ||
		(flo_me != NULL && my_member()->state == FLO_STATE_WAITING);
}

void
flo_state_rest(void)
{
	flo_lock_exclusive();
	my_member()->wanted = false;
	my_member()->oldest_pending = my_member()->source_seen = 0; /* there is no lag any
																 * more */
	flo_unlock();
}

bool
flo_state_knows(const FloFailure *failure)
{
	bool		known = false;
	uint32		hash;

	if (flo_me == NULL)
		return false;
	flo_lock_shared();
	hash = hash_failure(failure);
	known = (my_entry()->same_errors > 0 && my_entry()->error_hash == hash) ||
		flo_entry_told_often(my_entry(), FLO_STATE_BACKOFF, hash);
	flo_unlock();
	return known;
}

bool
flo_state_failing(void)
{
	return flo_me != NULL && my_entry()->failures > 0;
}

void
flo_state_error(const FloFailure *failure)
{
	FloEntry   *e = my_entry();
	FloMember  *m = my_member();

	if (flo_me == NULL)
		return;
	flo_lock_exclusive();
	flo_entry_note_error(e, failure);
	m->last_error_lsn = failure->lsn;
	m->last_error_exact = failure->exact;
	if (m->state == FLO_STATE_FAILED)
		flo_entry_count_failure(e);
	else
	{
		flo_entry_put_state(e, FLO_STATE_BACKOFF, "");
		e->next_start = FLO_START_UNDECIDED;
	}
	flo_unlock();
}

/* The entry of the member that this process is or helps; NULL in any other one */
static FloEntry *
entry_of_all(void)
{
	if (flo_me != NULL)
		return my_entry();
	return helped.incarnation != 0 ? &flo_shared->entries[helped.slot] : NULL;
}

void
flo_state_retry(FloRetried what, int sqlstate, const char *hint, const char *message)
{
	FloFailure	failure = {sqlstate, message, message, hint};

	flo_state_retry_failure(what, &failure);
}

/* While it waits for it the member has told so, as its state */
void
flo_state_retry_failure(FloRetried what, const FloFailure *failure)
{
	FloEntry   *e = entry_of_all();
	FloEvent	event;

	if (e == NULL)
		return;
	event.number = 0;
	flo_lock_exclusive();
	if (flo_me != NULL || (e->in_use && e->incarnation == helped.incarnation))
	{
		flo_entry_note_error(e, failure);
		e->member.retries++;
		e->retried = what;
		if (e->retrying++ == 0)
			e->retrying_since = GetCurrentTimestamp();
		if (e->member.state != FLO_STATE_WAITING && flo_entry_is_round(e->same_errors))
		{
			if (e->same_errors > 1)
				flo_entry_tell(e, true, &event, "failed %d times in a row, is tried again", e->same_errors);
			else
				flo_entry_tell(e, true, &event, "failed, is tried again");
		}
	}
	flo_unlock();
	flo_event_log(&event);
}

void
flo_state_recovered(FloRetried what)
{
	FloEntry   *e = entry_of_all();
	FloEvent	event;

	if (e == NULL || e->retrying == 0 || e->retried != what)
		return;
	event.number = 0;
	flo_lock_exclusive();
	if (flo_me == NULL && (!e->in_use || e->incarnation != helped.incarnation))
		;
	else if (e->failures == 0)
		recover(e, &event);
	else
		e->retrying = 0;		/* the rest is known when the position moves */
	flo_unlock();
	flo_event_log(&event);
}

void
flo_state_progress(void)
{
	FloEvent	event;

	if (flo_me == NULL)
		return;
	flo_lock_exclusive();
	recover(my_entry(), &event);
	flo_unlock();
	flo_event_log(&event);
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

/*
 * After an error: has the position passed where it was, or is there nothing that
 * could fail again?  Caller holds the lock.
 */
static bool
gets_on(const FloEntry *e)
{
	const FloMember *m = &e->member;

	if (e->failures == 0)
		return false;
	if (m->durable_lsn > e->failed_at)
		return true;
	return m->state == FLO_STATE_STREAMING && m->oldest_pending == 0 &&
		m->known_lsn <= m->durable_lsn && m->pending_bytes <= 0 &&
		flo_clock_passed(m->state_since, CALM);
}

void
flo_state_report(const FloPositions *positions)
{
	FloEntry   *e = my_entry();
	FloMember  *m = my_member();
	FloEvent	event;
	bool		moved;

	event.number = 0;
	flo_lock_exclusive();
	moved = positions->durable != m->durable_lsn;
	m->received_lsn = positions->received;
	m->durable_lsn = positions->durable;
	m->known_lsn = positions->known;
	m->next_xid = positions->next_xid;
	m->oldest_pending = positions->oldest_pending;
	m->pending_bytes = positions->pending_bytes;
	m->open_bytes = positions->open_bytes;
	if (positions->seq != 0)
		m->seq = positions->seq;
	if (positions->source_seen != 0)
		m->source_seen = positions->source_seen;
	if (gets_on(e))
		recover(e, &event);
	else if (e->untold)
		flo_entry_tell_news(e, &event);
	flo_unlock();
	flo_event_log(&event);
	flo_tally_hand_in();
	if (moved)
		ConditionVariableBroadcast(&my_entry()->progress);
}

void
flo_state_pending(TimestampTz oldest_pending, TimestampTz source_seen, int64 pending_bytes)
{
	FloMember  *m = my_member();

	flo_lock_exclusive();
	m->oldest_pending = oldest_pending;
	if (source_seen != 0)
		m->source_seen = source_seen;
	m->pending_bytes = pending_bytes;
	flo_unlock();
}

void
flo_state_decodes(void)
{
	if (pg_atomic_exchange_u32(&flo_wake_slots[self.slot].database, MyDatabaseId) == InvalidOid)
		pg_atomic_fetch_add_u32(flo_replicators, 1);
}

bool
flo_state_awaited(void)
{
	ConditionVariable *progress = &my_entry()->progress;
	bool		awaited;

	SpinLockAcquire(&progress->mutex);
	awaited = !proclist_is_empty(&progress->wakeup);
	SpinLockRelease(&progress->mutex);
	return awaited;
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
	helped.slot = slot;
	helped.incarnation = incarnation;
}

bool
flo_works_for(const char *group)
{
	const FloEntry *e;
	bool		works;

	if (flo_me != NULL)
		return !flo_me->is_replicator && strcmp(flo_me->group, group) == 0;
	if (helped.incarnation == 0)
		return false;
	e = &flo_shared->entries[helped.slot];
	flo_lock_shared();
	works = e->in_use && e->incarnation == helped.incarnation && !e->member.is_replicator &&
		strcmp(e->member.group, group) == 0;
	flo_unlock();
	return works;
}

bool
flo_helper_knows(int slot, const FloFailure *failure)
{
	bool		known;

	flo_lock_shared();
	known = flo_shared->entries[slot].helper_hash == hash_failure(failure);
	flo_unlock();
	return known;
}

/* It counts when the member has left because of it */
void
flo_helper_error(int slot, uint32 incarnation, const FloFailure *failure)
{
	FloEntry   *e = &flo_shared->entries[slot];

	flo_lock_exclusive();
	if (e->in_use && e->incarnation == incarnation)
	{
		int			same = e->same_errors;
		uint32		hash = e->error_hash;

		flo_entry_note_error(e, failure);
		e->helper_hash = e->error_hash;
		e->same_errors = same;
		e->error_hash = hash;
	}
	flo_unlock();
}

void
flo_helper_progress(int slot, uint32 incarnation)
{
	FloEntry   *e = &flo_shared->entries[slot];
	FloEvent	event;

	if (e->failures == 0 && e->retrying == 0)
		return;
	event.number = 0;
	flo_lock_exclusive();
	if (e->in_use && e->incarnation == incarnation)
		recover(e, &event);
	flo_unlock();
	flo_event_log(&event);
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
