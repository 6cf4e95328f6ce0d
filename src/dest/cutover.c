/*
 * cutover.c
 *		The destination's part in a cut-over.
 *
 *	 preparing -> prepared -> arrived -> open
 *		 |			 |			|
 *		 +-----------+----------+------> cancelled
 *
 * This side's row alone decides, and what it says last is for ever: the source takes
 * its fence down only when it reads "cancelled" here.  "arrived" is written by the
 * transaction that applies the source's end, so all of the source is here then.
 *
 * The worker writes the row, makes the way back as its owner, and says in the state
 * bucket what it has come to, again and again.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/cutover_record.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/fence.h"
#include "conf/sql.h"
#include "conf/watch.h"
#include "core/attempt.h"
#include "core/injection_point.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/cutover.h"
#include "dest/cutover_acts.h"
#include "dest/worker_batch.h"
#include "monitor/members.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/cutover.h"

/* ms between two times that it is said, when nothing is new */
#define SAY_AGAIN 3000

/* ms until something that did not work is tried again, while it may still work */
#define TRY_AGAIN 200
#define CLEAN_UP_AGAIN 5000

typedef struct Machine
{
	MemoryContext context;		/* of the row */
	FloCutover *row;			/* NULL: there was none */
	TimestampTz since;			/* it is in this state */
	bool		stale;
	int64		attempt;		/* that the rest is of */
	bool		checked;
	bool		fenced;			/* this process has made sure of that */
	bool		way_back;		/* the same */
	const char *waits_for;		/* for people; static */
	FloClock	tried;
	FloClock	cleaned;
	FloClock	said;
} Machine;

static Machine machine;

/* --- what the source says ------------------------------------------------ */

/* Tables here that the group's tables are; blames the attempt for what is not there */
static void
find_tables(FloWorker *w, FloCutover *c, const FloCutoverMessage *message)
{
	ListCell   *cell;

	foreach(cell, message->tables)
	{
		const FloCutoverTable *table = lfirst(cell);
		Oid			here = flo_worker_rules_table(w->rules, table->schema, table->name);

		if (OidIsValid(here))
			c->tables = list_append_unique_oid(c->tables, here);
		else
			flo_cutover_blame(c, ERRCODE_UNDEFINED_TABLE,
							  psprintf("table \"%s.%s\" of the source is not here", table->schema,
									   table->name), NULL);
	}
	flo_cutover_save(c);
}

static bool
may_cancel(const FloCutover *c)
{
	return c->state == FLO_CUTOVER_CHECKING || c->state == FLO_CUTOVER_PREPARING ||
		c->state == FLO_CUTOVER_PREPARED || c->state == FLO_CUTOVER_ARRIVED;
}

static void
begin(FloWorker *w, const FloCutoverMessage *message, const FloCutover *before)
{
	FloCutover	c = {0};
	bool		open = before != NULL && before->state == FLO_CUTOVER_OPEN &&
		!flo_cutover_has_released(w->group);

	c.group = w->group;
	c.member = w->worker;
	c.attempt = (int64) message->attempt;
	c.state = message->order == FLO_ORDER_CHECK ? FLO_CUTOVER_CHECKING : FLO_CUTOVER_PREPARING;
	c.dry_run = message->order == FLO_ORDER_CHECK;
	c.reverse = message->reverse;
	c.consumer = message->consumer;
	c.options = message->options;
	if (!flo_cutover_insert(&c))
		return;					/* of an attempt that is older than ours */

	/* the source has given that one up by force: nobody opens by it any more */
	if (before != NULL && may_cancel(before))
		(void) flo_fence_lower(w->group, FLO_FENCE_DESTINATION, before->attempt);
	if (open)
		flo_cutover_blame(&c, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						  psprintf("this database is open since %s, and may have rows of its own",
								   before->changed_at),
						  "Go back first, by flo.cutover() here, or compare and repair, and begin with a new group.");
	if (w->tables != NULL)
		flo_cutover_blame(&c, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						  "the worker takes some of the group's tables alone",
						  "Remove its option \"tables\".");
	find_tables(w, &c, message);
}

/* Never to be opened in this attempt, also one that is not known here, or not any more */
static void
cancel(FloWorker *w, const FloCutoverMessage *message, FloCutover *c)
{
	if (c == NULL || (uint64) c->attempt < message->attempt)
	{
		FloCutover	unknown = {0};

		unknown.group = w->group;
		unknown.member = w->worker;
		unknown.attempt = (int64) message->attempt;
		unknown.state = FLO_CUTOVER_CANCELLED;
		unknown.consumer = message->consumer;
		(void) flo_cutover_insert(&unknown);
	}
	else if ((uint64) c->attempt == message->attempt && may_cancel(c))
		flo_cutover_cancelled(c, ERRCODE_QUERY_CANCELED,
							  message->reason != NULL ? message->reason : "cancelled by the source",
							  NULL);
}

void
flo_cutover_take_message(FloWorker *w, const char *content, int len)
{
	FloCutoverMessage *message = flo_cutover_parse(content, len);
	FloCutover *c;
	bool		same;

	if (!w->sink->ops->transactional || strcmp(message->consumer, w->consumer_name) != 0)
		return;
	do
		c = flo_cutover_load(w->group, w->worker);
	while (c != NULL && !flo_cutover_hold(c, true));
	same = c != NULL && (uint64) c->attempt == message->attempt;
	switch ((FloCutoverOrder) message->order)
	{
		case FLO_ORDER_CHECK:
		case FLO_ORDER_PREPARE:
			begin(w, message, c);
			break;
		case FLO_ORDER_FENCED:
			if (!same || c->state != FLO_CUTOVER_PREPARED)
				break;
			c->opens = message->opens;
			flo_cutover_save(c);
			flo_cutover_set(c, FLO_CUTOVER_ARRIVED, w->txn.final_lsn);
			flo_cutover_step(c, "arrive", "everything of the source is here, up to %s",
							 flo_text_of_lsn(w->txn.final_lsn));
			break;
		case FLO_ORDER_OPEN:
			if (!same || c->state != FLO_CUTOVER_ARRIVED)
				break;
			c->opens = true;
			flo_cutover_save(c);
			break;
		case FLO_ORDER_CANCEL:
			cancel(w, message, c);
			break;
		case FLO_ORDER_OVER:
			if (same && c->state == FLO_CUTOVER_CANCELLED && c->reverse_made)
				(void) flo_cutover_ask_clean_up(c);
			break;
	}
	w->batch_has_ddl = true;
	machine.stale = true;
}

/* --- saying it ----------------------------------------------------------- */

static FloCutoverAnswer
answer(FloCutoverState state)
{
	switch (state)
	{
		case FLO_CUTOVER_CHECKING:
		case FLO_CUTOVER_PREPARING:
			return FLO_ANSWER_PREPARING;
		case FLO_CUTOVER_PREPARED:
			return FLO_ANSWER_PREPARED;
		case FLO_CUTOVER_ARRIVED:
			return FLO_ANSWER_ARRIVED;
		case FLO_CUTOVER_OPEN:
			return FLO_ANSWER_OPEN;
		case FLO_CUTOVER_CHECKED:
			return FLO_ANSWER_CHECKED;
		case FLO_CUTOVER_CANCELLED:
			return FLO_ANSWER_CANCELLED;
		default:
			return FLO_ANSWER_NONE;
	}
}

static void
say(FloWorker *w)
{
	MemoryContext old = MemoryContextSwitchTo(w->broker_context);
	const FloCutover *c = machine.row;
	FloCutoverRecord record = {0};

	record.worker = w->worker;
	record.tables = w->sink->ops->transactional;
	record.allowed = w->spec->options.allow_cutover;
	if (c != NULL)
	{
		record.attempt = (uint64) c->attempt;
		record.state = answer(c->state);
		record.sqlstate = c->sqlstate;
		record.problem = c->problem;
		record.hint = c->hint;
		record.detail = unconstify(char *, machine.waits_for);
		record.at = machine.since;
	}
	flo_records_put(w->bus, w->bucket, flo_cutover_key(w->consumer_name),
					&flo_cutover_record_format, &record, false);
	flo_injection_point(psprintf("cutover.said.%s",
								 c != NULL ? flo_cutover_state_name(c->state) : "nothing"));
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->broker_context);
	machine.said = flo_clock();
}

/* --- acting -------------------------------------------------------------- */

static void
load(FloWorker *w)
{
	MemoryContext old;

	if (machine.context == NULL)
		machine.context = AllocSetContextCreate(TopMemoryContext, "pg_flo cut-over",
												ALLOCSET_SMALL_SIZES);
	MemoryContextReset(machine.context);
	machine.stale = false;
	old = flo_transaction_begin();
	MemoryContextSwitchTo(machine.context);
	machine.row = flo_cutover_load(w->group, w->worker);
	flo_transaction_end(old);
	if (machine.row == NULL)
		return;
	machine.since = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -machine.row->age);
	if (machine.row->attempt == machine.attempt)
		return;
	machine.attempt = machine.row->attempt;
	machine.checked = machine.fenced = machine.way_back = false;
	machine.waits_for = NULL;
}

/* One act; false when it has to be tried again.  What cannot work ends the attempt. */
static bool
act(FloWorker *w, ErrorData *(*what) (FloWorker *w, FloCutover *c))
{
	ErrorData  *error;

	if (w->batch_open)
		flo_worker_commit_batch(w);
	error = what(w, machine.row);
	machine.stale = true;
	if (error == NULL)
		return true;
	machine.tried = flo_clock();
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		(void) flo_cutover_give_up(w, machine.row, error);
	return false;
}

static bool
way_back_streams(const FloCutover *c)
{
	FloMember	member = {0};

	return c->reverse == NULL ||
		(flo_member_look(c->reverse, FLO_REPLICATOR_MEMBER, &member) >= 0 &&
		 member.state == FLO_STATE_STREAMING);
}

static void
prepare(FloWorker *w)
{
	FloCutover *c = machine.row;

	if (!flo_clock_passed(machine.tried, TRY_AGAIN))
		return;
	machine.waits_for = "the destination's checks";
	if (!machine.checked && !(machine.checked = act(w, flo_cutover_check)))
		return;
	if (c->state == FLO_CUTOVER_CHECKING)
	{
		if (c->reverse == NULL || act(w, flo_cutover_try_replicator))
			(void) act(w, flo_cutover_set_checked);
		return;
	}
	machine.waits_for = "locks of tables at the destination";
	if (!machine.fenced && !(machine.fenced = act(w, flo_cutover_raise)))
		return;
	machine.waits_for = "locks of tables at the destination, for the way back";
	if (c->reverse != NULL && !machine.way_back &&
		!(machine.way_back = act(w, flo_cutover_make_replicator)))
		return;
	machine.waits_for = "the replicator of the way back, which does not stream: see flo.status at the destination";
	if (!way_back_streams(c))
		return;
	machine.waits_for = NULL;
	(void) act(w, flo_cutover_set_prepared);
}

static void
load_and_say(FloWorker *w)
{
	if (w->batch_open)
		flo_worker_commit_batch(w);
	load(w);
	say(w);
}

/* What has been done is said at once: the source goes on with that, and this process may end */
bool
flo_cutover_act(FloWorker *w)
{
	FloCutover *c;

	if (w->in_transaction)
		return false;
	if (flo_watch_cutovers_changed() || machine.stale)
		load_and_say(w);
	c = machine.row;
	if (c != NULL && c->cancel_asked && may_cancel(c))
		(void) act(w, flo_cutover_undo);
	else if (c != NULL)
	{
		switch (c->state)
		{
			case FLO_CUTOVER_CHECKING:
			case FLO_CUTOVER_PREPARING:
				prepare(w);
				break;
			case FLO_CUTOVER_ARRIVED:
				if (c->opens)
					(void) act(w, flo_cutover_open);
				break;
			case FLO_CUTOVER_CANCELLED:
				if (c->reverse_made && c->cancel_asked &&
					flo_clock_passed(machine.cleaned, CLEAN_UP_AGAIN))
				{
					machine.cleaned = flo_clock();
					(void) act(w, flo_cutover_drop_replicator);
				}
				break;
			default:
				break;
		}
	}
	if (machine.stale)
		load_and_say(w);
	else if (flo_clock_passed(machine.said, SAY_AGAIN))
		say(w);
	return machine.row != NULL && !flo_cutover_is_over(machine.row);
}
