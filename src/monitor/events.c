/*
 * events.c
 *		What has happened to members: which of it is told, and the ring.
 *
 * What goes to and fro, or again and again, is not told each time: a state that
 * was told four times in a minute is told again only when it lasts, and what a member
 * does that has failed and may fail again is told when it gets on.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "monitor/events.h"
#include "monitor/shmem.h"
#include "utils/timestamp.h"

/* What was told so often in so many ms is told again when it lasts */
#define OFTEN 4
#define QUIET 60000

/* ms until events of a database are given to a scanner again that has not written them */
#define SAVE_PAUSE 60000

/* --- is it news? --------------------------------------------------------- */

/* Which error, or what is waited for, without what changes while one waits */
static uint32
subject(const FloEntry *e)
{
	const FloMember *m = &e->member;

	if (m->state == FLO_STATE_BACKOFF)
		return e->error_hash;
	if (m->state != FLO_STATE_WAITING)
		return 0;
	return hash_bytes((const unsigned char *) m->detail, strcspn(m->detail, "0123456789:;"));
}

/* A run of errors is told of at the first, and then as it gets twice as long */
bool
flo_entry_is_round(int errors)
{
	return errors > 0 && (errors & (errors - 1)) == 0;
}

/* Was that told so often of late that it is told again when it lasts only? */
bool
flo_entry_told_often(const FloEntry *e, FloMemberState state, uint32 what)
{
	int			times = 0;

	for (int i = 0; i < FLO_TOLD; i++)
	{
		const FloTold *t = &e->told[i];

		if (t->state == state && t->subject == what && !flo_clock_passed(t->at, QUIET))
			times++;
	}
	return times >= OFTEN;
}

static bool
is_news(FloEntry *e)
{
	const FloMember *m = &e->member;
	uint32		what = subject(e);

	e->untold = false;
	/* somebody has asked for it, and looks for it in the log */
	if (m->state == FLO_STATE_STOPPED)
		return true;
	if (m->state == FLO_STATE_BACKOFF)
		return flo_entry_is_round(e->same_errors) &&
			(e->same_errors > 1 || !flo_entry_told_often(e, m->state, what));
	if (e->pauses > 0 && (m->state == FLO_STATE_STARTING || m->state == FLO_STATE_COPYING ||
						  m->state == FLO_STATE_STREAMING))
		return false;
	if (e->told[0].state == m->state && e->told[0].subject == what)
		return false;
	e->untold = flo_entry_told_often(e, m->state, what);
	return !e->untold;
}

static void
remember(FloEntry *e)
{
	memmove(&e->told[1], &e->told[0], sizeof(FloTold) * (FLO_TOLD - 1));
	e->told[0].state = e->member.state;
	e->told[0].subject = subject(e);
	e->told[0].at = flo_clock();
}

/* --- telling ------------------------------------------------------------- */

static void
make_event(const FloMember *m, bool of_error, FloEvent *event)
{
	memset(event, 0, sizeof(*event));
	event->at = GetCurrentTimestamp();
	event->number = Max(flo_shared->last_event + 1, event->at);
	flo_shared->last_event = event->number;
	event->database = m->database;
	strlcpy(event->group, m->group, sizeof(event->group));
	strlcpy(event->member, m->member, sizeof(event->member));
	event->is_replicator = m->is_replicator;
	event->owner = m->owner;
	event->state = m->state;
	event->is_change = true;
	event->lsn = XLogRecPtrIsInvalid(m->durable_lsn) ? m->received_lsn : m->durable_lsn;
	if (!of_error)
		return;
	if (m->state == FLO_STATE_FAILED && m->last_error_at < m->state_at)
	{
		/* it has not left because of it */
		strlcpy(event->error, m->detail, sizeof(event->error));
		return;
	}
	strlcpy(event->error, m->last_error, sizeof(event->error));
	strlcpy(event->hint, m->last_hint, sizeof(event->hint));
	event->sqlstate = m->last_sqlstate;
	if (!XLogRecPtrIsInvalid(m->last_error_lsn))
		event->lsn = m->last_error_lsn;
}

static void
keep(const FloEvent *event)
{
	flo_shared->events[flo_shared->next_event++ % FLO_EVENTS] = *event;
}

void
flo_entry_tell_news(FloEntry *e, FloEvent *event)
{
	const FloMember *m = &e->member;

	if (!is_news(e))
		return;
	make_event(m, m->state == FLO_STATE_BACKOFF || m->state == FLO_STATE_FAILED, event);
	strlcpy(event->detail, m->detail, sizeof(event->detail));
	keep(event);
	remember(e);
}

void
flo_entry_tell(FloEntry *e, bool of_error, FloEvent *event, const char *detail,...)
{
	va_list		args;

	make_event(&e->member, of_error, event);
	va_start(args, detail);
	vsnprintf(event->detail, sizeof(event->detail), detail, args);
	va_end(args);
	event->is_change = false;
	keep(event);
	if (!of_error)
		remember(e);
}

/*
 * "waiting for NATS: ...", "streaming from 0/1234", "backoff, retry in 1 s: ...";
 * what is no state of its own begins with its words
 */
static void
describe(const FloEvent *event, StringInfo line)
{
	const char *detail = event->detail;

	if (event->is_change)
		appendStringInfoString(line, flo_state_name(event->state));
	if (event->is_change && event->state == FLO_STATE_STREAMING && !XLogRecPtrIsInvalid(event->lsn))
		appendStringInfo(line, " from %X/%X", LSN_FORMAT_ARGS(event->lsn));
	if (detail[0] != '\0')
		appendStringInfo(line, "%s%s", !event->is_change ? "" : strncmp(detail, "for ", 4) == 0 ? " " : ": ",
						 detail);
	/* a failure's detail is its error */
	if (event->error[0] != '\0' && event->state != FLO_STATE_FAILED)
		appendStringInfo(line, ": %s", event->error);
}

void
flo_event_log(const FloEvent *event)
{
	StringInfoData line;

	if (event->number == 0)
		return;
	initStringInfo(&line);
	describe(event, &line);
	if (event->is_replicator)
		ereport(LOG,
				(errmsg("replicator of group \"%s\": %s", event->group, line.data),
				 errhidecontext(true)));
	else
		ereport(LOG,
				(errmsg("worker \"%s\" of group \"%s\": %s", event->member, event->group, line.data),
				 errhidecontext(true)));
	pfree(line.data);
}

/* --- for those who write them down --------------------------------------- */

/* The oldest place of the ring that is in use */
static uint64
first_event(void)
{
	return flo_shared->next_event > FLO_EVENTS ? flo_shared->next_event - FLO_EVENTS : 0;
}

FloEvent *
flo_events_unsaved(int *count)
{
	FloEvent   *events = palloc(sizeof(FloEvent) * FLO_EVENTS);

	*count = 0;
	flo_lock_shared();
	for (uint64 i = first_event(); i < flo_shared->next_event; i++)
	{
		const FloEvent *event = &flo_shared->events[i % FLO_EVENTS];

		if (event->database == MyDatabaseId)
			events[(*count)++] = *event;
	}
	flo_unlock();
	return events;
}

void
flo_events_saved(Oid database, int64 number)
{
	flo_lock_exclusive();
	for (uint64 i = first_event(); i < flo_shared->next_event; i++)
	{
		FloEvent   *event = &flo_shared->events[i % FLO_EVENTS];

		if (event->database == database && event->number <= number)
			event->database = InvalidOid;
	}
	flo_shared->events_asked = 0;
	flo_unlock();
}

List *
flo_events_take_databases(List *databases)
{
	flo_lock_exclusive();
	if (flo_shared->events_asked != 0 && !flo_clock_passed(flo_shared->events_asked, SAVE_PAUSE))
	{
		flo_unlock();
		return databases;
	}
	for (uint64 i = first_event(); i < flo_shared->next_event; i++)
	{
		Oid			database = flo_shared->events[i % FLO_EVENTS].database;

		if (!OidIsValid(database))
			continue;
		databases = list_append_unique_oid(databases, database);
		flo_shared->events_asked = flo_clock();
	}
	flo_unlock();
	return databases;
}
