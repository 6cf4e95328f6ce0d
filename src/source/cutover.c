/*
 * cutover.c
 *		The source's part in a cut-over: which act comes next.
 *
 *	 requested -> preparing -> fenced -> released		the destination is open
 *						|		 |
 *						|		 +-> cancelling --+		it is asked whether it is
 *						+------------+----------------> cancelled
 *
 * The destination's row alone decides: this side takes its fence down when that says
 * "cancelled", for ever, and stays fenced when it says "open".  What it says comes
 * in the state bucket, perhaps late, and again and again.  No act waits: whoever has
 * asked for a cut-over may be gone, a process that begins anew goes on by the row.
 */
#include "postgres.h"

#include "conf/cutover.h"
#include "conf/watch.h"
#include "core/lsn.h"
#include "core/names.h"
#include "core/transaction.h"
#include "monitor/copy.h"
#include "monitor/members.h"
#include "source/cutover.h"
#include "source/cutover_acts.h"
#include "source/cutover_heard.h"
#include "utils/memutils.h"
#include "wire/cutover.h"
#include "wire/record.h"

/* ms until something that did not work is tried again, while it may still work */
#define TRY_AGAIN 200
#define CLEAN_UP_AGAIN 5000

/* ms in which a worker that runs says something */
#define WORD_PATIENCE 4000

/* ms until who has asked is told that nothing has begun, and waits no more */
#define REQUEST_PATIENCE 20000

typedef struct Machine
{
	MemoryContext context;		/* of the row */
	FloCutover *row;			/* NULL: none */
	FloClock	since;			/* it is in this state */
	bool		stale;
	bool		answered;		/* all destinations have read what was asked */
	bool		triggers;		/* this process has made sure of them */
	bool		follower;		/* and of the worker of the way back */
	bool		arrived;		/* and told so */
	bool		equal;			/* by the comparison that was asked for */
	bool		told_open;
	XLogRecPtr	end;			/* of the fence's transaction, that this
								 * process has seen */
	FloClock	fencing;		/* since when that is tried; 0 = not yet */
	FloClock	tried;
	FloClock	cleaned;
	FloClock	failed;			/* to take note that the destination is open */
} Machine;

static Machine machine;

/* --- the row ------------------------------------------------------------- */

static void
load(Replicator *rep)
{
	MemoryContext old;
	int64		attempt = machine.row != NULL ? machine.row->attempt : 0;

	if (machine.context == NULL)
		machine.context = AllocSetContextCreate(TopMemoryContext, "pg_flo cut-over",
												ALLOCSET_SMALL_SIZES);
	MemoryContextReset(machine.context);
	machine.stale = false;
	old = flo_transaction_begin();
	MemoryContextSwitchTo(machine.context);
	machine.row = flo_cutover_load(rep->group, FLO_REPLICATOR_MEMBER);
	flo_transaction_end(old);
	if (machine.row == NULL)
		return;
	machine.since = flo_clock() - machine.row->age * 1000;
	if (machine.row->attempt == attempt)
	{
		machine.row->lsn = Max(machine.row->lsn, machine.end);
		return;
	}
	machine.end = InvalidXLogRecPtr;
	machine.answered = machine.triggers = machine.follower = false;
	machine.arrived = machine.equal = machine.told_open = false;
	machine.fencing = 0;

	/* this process may not have seen where the fence's transaction ended */
	if (machine.row->state == FLO_CUTOVER_FENCED)
		machine.row->lsn = Max(machine.row->lsn, flo_lsn_of_written());
}

/* What the destination says of this very attempt; NULL: nothing yet */
static const FloCutoverRecord *
answer(const FloCutover *c)
{
	const FloCutoverRecord *record = c->consumer != NULL ? flo_cutover_heard(c->consumer) : NULL;

	return record != NULL && record->attempt == (uint64) c->attempt ? record : NULL;
}

/* --- undoing ------------------------------------------------------------- */

static void
give_up(Replicator *rep, int sqlstate, const char *hint, const char *problem)
{
	FloCutoverTrouble trouble = {sqlstate, problem, hint};

	machine.stale = true;
	if (machine.row->state == FLO_CUTOVER_FENCED)
		(void) flo_cutover_cancel(rep, machine.row, &trouble);
	else
		(void) flo_cutover_take_back(rep, machine.row, &trouble);
}

static void
give_up_for(Replicator *rep, const ErrorData *error)
{
	give_up(rep, error->sqlerrcode, error->hint, error->message);
}

static int
sqlstate_of(const char *text)
{
	if (text == NULL || strlen(text) != 5 ||
		strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5)
		return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	return MAKE_SQLSTATE(text[0], text[1], text[2], text[3], text[4]);
}

/* The destination will not open in this attempt, ever */
static void
take_back(Replicator *rep, const FloCutoverRecord *record)
{
	FloCutoverTrouble trouble = {
		sqlstate_of(record->sqlstate),
		psprintf("destination \"%s\": %s", record->worker,
				 record->problem != NULL ? record->problem : "cancelled there"),
		record->hint
	};

	(void) flo_cutover_take_back(rep, machine.row,
								 machine.row->problem == NULL ? &trouble : NULL);
	machine.stale = true;
}

static void
release(Replicator *rep, const FloCutoverRecord *record)
{
	ErrorData  *error;

	if (!flo_clock_passed(machine.failed, TRY_AGAIN))
		return;
	error = flo_cutover_release(rep, machine.row, record->at != 0 ?
								flo_time_format(record->at) : "an unknown time");
	machine.stale = true;
	if (error == NULL)
		return;
	machine.failed = flo_clock();
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("the destination is open, and the tables of group \"%s\" cannot be fenced: %s",
					rep->group, error->message)));
}

/* --- requested ----------------------------------------------------------- */

static bool
is_meant(const FloCutover *c, const FloWorkerReport *report)
{
	return c->consumer == NULL || strcmp(c->consumer, report->worker) == 0 ||
		strcmp(c->consumer, report->consumer) == 0;
}

/* The one destination, of those that report; NULL: there is none yet, or the attempt is over */
static const FloWorkerReport *
choose(Replicator *rep)
{
	const FloWorkerReport *chosen = NULL;
	const char *events = "";
	ListCell   *cell;

	foreach(cell, flo_retention_reports(rep->retention))
	{
		const FloWorkerReport *report = lfirst(cell);
		const FloCutoverRecord *record = flo_cutover_heard(report->consumer);

		if (record != NULL && !record->tables)
		{
			events = psprintf("%s \"%s\"", events, report->worker);
			continue;
		}
		if (!is_meant(machine.row, report))
			continue;

		/* one that has just been made may turn out to send events */
		if (record == NULL && !flo_clock_passed(machine.since, WORD_PATIENCE))
			return NULL;
		if (chosen != NULL)
		{
			give_up(rep, ERRCODE_INVALID_PARAMETER_VALUE,
					psprintf("Pass worker_name => '%s' or '%s'.", chosen->consumer,
							 report->consumer),
					"the group feeds several databases, and only one can take over");
			return NULL;
		}
		chosen = report;
	}
	if (chosen == NULL && !flo_clock_passed(machine.since, WORD_PATIENCE))
		return NULL;
	if (chosen == NULL)
	{
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				machine.row->consumer != NULL ? "Call it by the name that it has in flo.stream_status(), or by its consumer." :
				"A worker that writes to tables has to follow the group.",
				machine.row->consumer != NULL ?
				psprintf("no worker \"%s\" that writes to tables follows the group",
						 machine.row->consumer) :
				"no worker that writes to tables follows the group");
		return NULL;
	}
	if (events[0] != '\0')
		flo_cutover_tell(machine.row, "check",
						 psprintf("workers that send events are left as they are:%s", events));
	return chosen;
}

static void
start(Replicator *rep)
{
	FloCutover *c = machine.row;
	FloCopyPhase phase = flo_copy_phase();
	const FloWorkerReport *report;
	const FloCutoverRecord *record;
	ErrorData  *error;

	if (c->cancel_asked || flo_clock_passed(machine.since, REQUEST_PATIENCE))
	{
		give_up(rep, ERRCODE_QUERY_CANCELED, NULL, c->cancel_asked ?
				"somebody has called flo.unfence()" :
				"the replicator did not begin with it, and whoever asked for it is gone");
		return;
	}
	report = choose(rep);
	if (report == NULL)
		return;
	record = flo_cutover_heard(report->consumer);

	/*
	 * it says it when it starts, with other options as well, and again within
	 * seconds
	 */
	if ((record == NULL || !record->allowed) && !flo_clock_passed(machine.since, WORD_PATIENCE))
		return;
	if (record == NULL)
	{
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				"It has to run, and be of a version that knows flo.cutover().",
				psprintf("worker \"%s\" has not said whether it may be cut over to",
						 report->worker));
		return;
	}
	if (!record->allowed)
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				psprintf("At the destination: SELECT flo.alter_worker('%s', '%s', '{\"allow_cutover\": true}').",
						 c->group, report->worker),
				psprintf("worker \"%s\" does not allow a cut-over", report->worker));
	else if (record->attempt >= FLO_CUTOVER_ATTEMPT_MAX || c->attempt > FLO_CUTOVER_ATTEMPT_MAX)
		give_up(rep, ERRCODE_PROGRAM_LIMIT_EXCEEDED,
				psprintf("The number that the broker has under \"%s\" was made by none: look who may write there.",
						 flo_cutover_key(report->consumer)),
				psprintf("there is no number left for an attempt with worker \"%s\"",
						 report->worker));
	else if (report->copying || phase == FLO_COPY_SNAPSHOT || phase == FLO_COPY_RUNNING)
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				"flo.copy_progress shows how far it is.",
				psprintf("tables are being copied to worker \"%s\"", report->worker));
	else if (c->reverse != NULL && rep->spec->options.origin != FLO_ORIGIN_LOCAL)
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				"Set its option \"origin\" to \"local\".",
				"a way back needs a replicator that sends on local changes alone: what comes back would be sent again");
	else
	{
		c->consumer = MemoryContextStrdup(machine.context, report->consumer);
		c->attempt = Max(c->attempt, (int64) record->attempt + 1);
		error = flo_cutover_begin(rep, c);
		machine.stale = true;
		if (error != NULL)
			give_up_for(rep, error);
	}
}

/* --- preparing ----------------------------------------------------------- */

/* Who of those that write to tables has not come to where the attempt began; NULL: nobody */
static const char *
laggard(Replicator *rep)
{
	FloCutover *c = machine.row;
	ListCell   *cell;

	foreach(cell, flo_retention_reports(rep->retention))
	{
		const FloWorkerReport *report = lfirst(cell);
		const FloCutoverRecord *record = flo_cutover_heard(report->consumer);

		if (record != NULL && !record->tables)
			continue;
		if (strcmp(report->consumer, c->consumer) == 0 ? answer(c) == NULL : report->lsn < c->lsn)
			return report->worker;
	}
	return answer(c) == NULL ? c->consumer : NULL;
}

/* Other destinations, that have nothing to decide */
static bool
has_others(Replicator *rep)
{
	ListCell   *cell;

	foreach(cell, flo_retention_reports(rep->retention))
	{
		const FloWorkerReport *report = lfirst(cell);
		const FloCutoverRecord *record = flo_cutover_heard(report->consumer);

		if (strcmp(report->consumer, machine.row->consumer) != 0 &&
			(record == NULL || record->tables))
			return true;
	}
	return false;
}

/* The time from the question to the last answer is at least the lag */
static bool
all_answer(Replicator *rep)
{
	const char *name;

	if (machine.answered)
		return true;
	name = laggard(rep);
	if (name == NULL)
	{
		machine.answered = true;
		flo_cutover_tell(machine.row, "check",
						 psprintf("destinations are within %ld ms", flo_clock_since(machine.since)));
		return true;
	}
	if (flo_clock_passed(machine.since, machine.row->max_lag))
		give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				"flo.status at the destination shows what it is doing.",
				psprintf("worker \"%s\" is behind by more than max_lag, " INT64_FORMAT " ms, or does not run",
						 name, machine.row->max_lag));
	return false;
}

static bool
way_back_streams(const FloCutover *c)
{
	MemoryContext old;
	char	   *worker;
	FloMember	member = {0};

	if (c->reverse == NULL)
		return true;
	old = flo_transaction_begin();
	MemoryContextSwitchTo(old);
	worker = flo_cutover_worker_of(c->reverse);
	flo_transaction_end(old);
	return worker != NULL && flo_member_look(c->reverse, worker, &member) >= 0 &&
		member.state == FLO_STATE_STREAMING;
}

/* What writers stand in the way of may still work */
static void
give_up_if_final(Replicator *rep, const ErrorData *error, FloClock since)
{
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		give_up_for(rep, error);
	else if (flo_clock_passed(since, machine.row->timeout))
		give_up(rep, ERRCODE_QUERY_CANCELED,
				"End the transactions that have written, prepared ones included, or try again with a longer timeout.",
				psprintf("writers did not end within timeout: %s", error->message));
}

/* True when all that is to be made at this side before the fence is there */
static bool
make_ready(Replicator *rep)
{
	ErrorData  *error = NULL;

	if (machine.triggers && machine.follower)
		return true;
	if (!flo_clock_passed(machine.tried, TRY_AGAIN))
		return false;
	machine.tried = flo_clock();
	if (!machine.triggers)
	{
		error = flo_cutover_prepare(rep, machine.row);
		machine.triggers = error == NULL;
	}
	if (error == NULL && machine.row->reverse != NULL && !machine.follower)
	{
		error = flo_cutover_make_worker(rep, machine.row, true);
		machine.stale = true;
	}
	machine.follower = error == NULL;
	if (error != NULL)
		give_up_if_final(rep, error, machine.since);
	return error == NULL;
}

static void
give_up_unprepared(Replicator *rep, const FloCutoverRecord *record)
{
	/* a last try, which says what stands in the way at this side */
	machine.tried = 0;
	if (!machine.row->dry_run && !make_ready(rep))
		return;
	give_up(rep, ERRCODE_QUERY_CANCELED, NULL,
			psprintf("not prepared within timeout: %s",
					 record->detail != NULL ? record->detail :
					 record->state != FLO_ANSWER_PREPARED ? "the destination is not" :
					 way_back_streams(machine.row) ? "this side is not" :
					 "the worker of the way back does not stream"));
}

static void
try_to_fence(Replicator *rep)
{
	FloCutover *c = machine.row;
	ErrorData  *error;

	if (machine.fencing == 0)
		machine.fencing = flo_clock();
	else if (!flo_clock_passed(machine.tried, TRY_AGAIN))
		return;
	c->opens = !c->compares && !has_others(rep) &&
		flo_cutover_standbys_behind(PG_UINT64_MAX) == NULL;
	error = flo_cutover_fence(rep, c);
	machine.tried = flo_clock();
	machine.stale = error == NULL;
	if (error == NULL)
		machine.end = c->lsn;
	else
		give_up_if_final(rep, error, machine.fencing);
}

static void
prepare(Replicator *rep)
{
	FloCutover *c = machine.row;
	const FloCutoverRecord *record = answer(c);
	ErrorData  *error = NULL;

	if (record != NULL && record->state == FLO_ANSWER_CANCELLED)
		take_back(rep, record);
	else if (record != NULL && record->state == FLO_ANSWER_OPEN)
		release(rep, record);	/* by force */
	else if (c->cancel_asked)
		give_up(rep, ERRCODE_QUERY_CANCELED, NULL, "somebody has called flo.unfence()");
	else if (!all_answer(rep))
		return;
	else if (c->dry_run && record->state == FLO_ANSWER_CHECKED)
	{
		if (c->reverse != NULL)
			error = flo_cutover_make_worker(rep, c, false);
		if (error != NULL)
			give_up_for(rep, error);
		else
			(void) flo_cutover_checked(rep, c);
		machine.stale = true;
	}
	else if (machine.fencing == 0 && flo_clock_passed(machine.since, c->timeout))
		give_up_unprepared(rep, record);
	else if (!c->dry_run && make_ready(rep) && record->state == FLO_ANSWER_PREPARED &&
			 way_back_streams(c))
		try_to_fence(rep);
}

/* --- fenced -------------------------------------------------------------- */

/* Why the destination, that waits for our word, must not open yet; NULL: it may */
static const char *
obstacle(Replicator *rep)
{
	FloCutover *c = machine.row;
	const FloCutoverRecord *record = answer(c);
	const char *name;
	ListCell   *cell;

	if (record == NULL || record->state != FLO_ANSWER_ARRIVED)
		return psprintf("worker \"%s\" has not everything", c->consumer);
	foreach(cell, flo_retention_reports(rep->retention))
	{
		const FloWorkerReport *report = lfirst(cell);
		const FloCutoverRecord *other = flo_cutover_heard(report->consumer);

		if ((other == NULL || other->tables) && report->lsn < c->lsn)
			return psprintf("worker \"%s\" has not everything", report->worker);
	}
	name = flo_cutover_standbys_behind(c->lsn);
	if (name != NULL)
		return psprintf("standbys do not have the fence: %s", name);
	return NULL;
}

/* True when the comparison that was asked for, if one was, has found nothing */
static bool
is_equal(Replicator *rep)
{
	FloCutover *c = machine.row;
	ErrorData  *error;
	char	   *words;

	if (!c->compares || machine.equal)
		return true;
	if (!flo_clock_passed(machine.tried, TRY_AGAIN))
		return false;
	machine.tried = flo_clock();
	if (c->comparison == 0)
	{
		error = flo_cutover_compare(rep, c);
		machine.stale = true;
		if (error != NULL)
			give_up_for(rep, error);
		return false;
	}
	switch (flo_cutover_compared(c, &words))
	{
		case FLO_COMPARED_EQUAL:
			flo_cutover_tell(c, "compare", words);
			machine.equal = true;
			return true;
		case FLO_COMPARED_NOT_EQUAL:
			give_up(rep, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					"flo.comparison_samples shows rows; flo.compare(..., repair => true) writes them again.",
					psprintf("comparison " INT64_FORMAT ": %s", c->comparison, words));
			break;
		case FLO_COMPARED_NOT_YET:
			break;
	}
	return false;
}

static void
await_open(Replicator *rep)
{
	FloCutover *c = machine.row;
	const FloCutoverRecord *record = answer(c);
	const char *what = NULL;

	if (record != NULL && record->state == FLO_ANSWER_OPEN)
		release(rep, record);
	else if (record != NULL && record->state == FLO_ANSWER_CANCELLED)
		take_back(rep, record);
	else if (c->state == FLO_CUTOVER_CANCELLING)
		return;
	else if (c->cancel_asked)
		give_up(rep, ERRCODE_QUERY_CANCELED, NULL, "somebody has called flo.unfence()");
	else if (!c->opens && !machine.told_open && (what = obstacle(rep)) == NULL)
	{
		if (!machine.arrived)
			flo_cutover_tell(c, "arrive", "destinations have everything");
		machine.arrived = true;
		if (is_equal(rep) && !machine.stale)
			machine.told_open = flo_cutover_tell_open(rep, c) == NULL;
		else if (!machine.stale && flo_clock_passed(machine.since, c->timeout))
			give_up(rep, ERRCODE_QUERY_CANCELED,
					"It needs a longer timeout, or is done before: the tables can be compared while writes go on.",
					"the tables were not compared within timeout");
	}
	else if (flo_clock_passed(machine.since, c->timeout))
		give_up(rep, ERRCODE_QUERY_CANCELED, NULL,
				psprintf("not open within timeout: %s", what != NULL ? what :
						 psprintf("worker \"%s\" has not said that it is", c->consumer)));
}

/* --- from outside -------------------------------------------------------- */

/*
 * This side takes writes, by a person's word: should the destination have opened, it
 * stops at once.
 */
static bool
is_open_there(Replicator *rep)
{
	const FloCutoverRecord *record = answer(machine.row);

	if (record == NULL || record->state != FLO_ANSWER_OPEN)
		return false;
	release(rep, record);
	return true;
}

bool
flo_cutover_drive(Replicator *rep)
{
	if (flo_watch_cutovers_changed() || machine.stale)
		load(rep);
	if (machine.row == NULL)
		return false;
	switch (machine.row->state)
	{
		case FLO_CUTOVER_REQUESTED:
			start(rep);
			break;
		case FLO_CUTOVER_PREPARING:
			prepare(rep);
			break;
		case FLO_CUTOVER_FENCED:
		case FLO_CUTOVER_CANCELLING:
			await_open(rep);
			break;
		case FLO_CUTOVER_CANCELLED:
			if (!is_open_there(rep) && machine.row->reverse_made &&
				flo_clock_passed(machine.cleaned, CLEAN_UP_AGAIN))
			{
				machine.cleaned = flo_clock();
				(void) flo_cutover_drop_worker(rep, machine.row);
				machine.stale = true;
			}
			break;
		case FLO_CUTOVER_FORCED:
			(void) is_open_there(rep);
			break;
		default:
			break;
	}
	return machine.stale || !flo_cutover_is_over(machine.row);
}
