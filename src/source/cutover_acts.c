/*
 * cutover_acts.c
 *		What the source of a cut-over does to its own database.
 *
 * Each act is one transaction, durable when it returns, and begins with nothing but
 * what the rows say: a crash before it is as if it had never been tried, one after
 * it as if the process had slept.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "conf/commit.h"
#include "conf/fence.h"
#include "conf/message.h"
#include "conf/sql.h"
#include "core/attempt.h"
#include "core/lsn.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "source/cutover_acts.h"
#include "utils/lsyscache.h"
#include "wire/cutover.h"

typedef struct Act
{
	Replicator *rep;
	FloCutover *c;
	const FloCutoverTrouble *trouble;
	const char *since;
	const char *step;
} Act;

/* --- telling the destination --------------------------------------------- */

static void
write_message(FloCutover *c, FloCutoverMessage *message)
{
	char	   *payload;

	message->attempt = c->attempt;
	message->consumer = c->consumer;
	payload = flo_cutover_format(message);
	flo_message_write(FLO_MESSAGE_CUTOVER, list_make1(c->group), payload, strlen(payload));
}

static void
write_order(FloCutover *c, FloCutoverOrder order, const char *reason)
{
	FloCutoverMessage message = {0};

	message.order = order;
	message.reason = unconstify(char *, reason);
	message.opens = order == FLO_ORDER_FENCED && c->opens;
	write_message(c, &message);
}

/* Names of the group's tables, for the destination to find its own */
static List *
table_names(const List *oids)
{
	List	   *names = NIL;
	ListCell   *cell;

	foreach(cell, oids)
	{
		FloCutoverTable *table = palloc(sizeof(FloCutoverTable));

		table->schema = get_namespace_name(get_rel_namespace(lfirst_oid(cell)));
		table->name = get_rel_name(lfirst_oid(cell));
		if (table->schema != NULL && table->name != NULL)
			names = lappend(names, table);
	}
	return names;
}

/* --- the acts ------------------------------------------------------------ */

static void
begin(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	FloCutoverMessage message = {0};

	c->tables = flo_store_published(c->group);
	flo_cutover_save(c);
	flo_cutover_set(c, FLO_CUTOVER_PREPARING, flo_lsn_of_written());
	flo_cutover_step(c, "check", "attempt " INT64_FORMAT ": %d tables, to worker \"%s\"",
					 c->attempt, list_length(c->tables), c->consumer);
	message.order = c->dry_run ? FLO_ORDER_CHECK : FLO_ORDER_PREPARE;
	message.reverse = c->reverse;
	message.tables = table_names(c->tables);
	message.options = flo_store_options(c->group, FLO_REPLICATOR_MEMBER);
	write_message(c, &message);
}

static void
prepare(void *arg)
{
	Act		   *act = arg;

	flo_fence_install(act->c->group, FLO_FENCE_SOURCE, flo_store_published(act->c->group),
					  act->c->reverse, FLO_CUTOVER_LOCK_PATIENCE);
}

char *
flo_cutover_worker_of(const char *reverse)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(reverse))
	{
		FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator && member->sink == FLO_SINK_POSTGRES)
			return pstrdup(member->member);
	}
	return NULL;
}

/*
 * As the group's owner.  What was made by hand before, with options and routes of its
 * own, is used as it is.
 */
static void
make_way_back(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	Oid			owner = act->rep->spec->owner;
	const char *reverse[1] = {c->reverse};

	if (flo_cutover_worker_of(c->reverse) == NULL)
	{
		(void) flo_cutover_call(owner, "SELECT flo.create_worker($1, options => '{\"allow_cutover\": true}')",
								1, reverse);
		flo_cutover_save_reverse(c, true);
	}
	(void) flo_cutover_call(owner, "SELECT flo.start_group($1)", 1, reverse);
}

/*
 * The end of this source: nobody writes from the lock on, and nobody ever after while
 * the row stands.  Sequences are read behind it.
 */
static void
fence(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	char	   *sequences;

	flo_fence_raise(c->group, FLO_FENCE_SOURCE, c->attempt,
					psprintf("cut-over of group \"%s\"", c->group), FLO_CUTOVER_LOCK_PATIENCE);
	c->tables = flo_store_published(c->group);
	flo_cutover_save(c);
	flo_cutover_set(c, FLO_CUTOVER_FENCED, flo_lsn_of_written());
	flo_cutover_step(c, "fence", "%d tables take no writes any more", list_length(c->tables));
	sequences = flo_store_sequence_values(c->group);
	flo_message_write(FLO_MESSAGE_SEQUENCES, list_make1(c->group), sequences, strlen(sequences));
	write_order(c, FLO_ORDER_FENCED, NULL);
}

static void
compare(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	const char *args[2] = {c->group, c->consumer};
	char	   *id = flo_cutover_call(act->rep->spec->owner,
									  "SELECT flo.compare($1, worker_name => $2)", 2, args);

	c->comparison = id != NULL ? strtoi64(id, NULL, 10) : 0;
	flo_cutover_save(c);
	flo_cutover_step(c, "compare", "comparison %s of the tables, as they are now", id);
}

static void
tell_open(void *arg)
{
	Act		   *act = arg;

	write_order(act->c, FLO_ORDER_OPEN, NULL);
}

static void
blame(Act *act)
{
	const FloCutoverTrouble *trouble = act->trouble;

	if (trouble == NULL)
		return;
	flo_cutover_blame(act->c, trouble->sqlstate, trouble->problem, trouble->hint);
	flo_cutover_step(act->c, "undo", "%s", trouble->problem);
}

static void
cancel(void *arg)
{
	Act		   *act = arg;

	blame(act);
	flo_cutover_set(act->c, FLO_CUTOVER_CANCELLING, InvalidXLogRecPtr);
	write_order(act->c, FLO_ORDER_CANCEL, act->trouble->problem);
}

static void
take_back(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;

	blame(act);
	if (c->state != FLO_CUTOVER_REQUESTED &&
		flo_fence_lower(c->group, FLO_FENCE_SOURCE, c->attempt))
		flo_cutover_step(c, "undo", "the tables take writes again");
	else if (c->consumer != NULL && c->state == FLO_CUTOVER_PREPARING)
		write_order(c, FLO_ORDER_CANCEL, act->trouble != NULL ? act->trouble->problem : NULL);
	flo_cutover_set(c, FLO_CUTOVER_CANCELLED, InvalidXLogRecPtr);
	if (!c->reverse_made && c->consumer != NULL)
		write_order(c, FLO_ORDER_OVER, NULL);
}

static void
clean_up(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	char	   *worker = flo_cutover_worker_of(c->reverse);
	const char *args[2] = {c->reverse, worker};

	if (worker != NULL)
		(void) flo_cutover_call(act->rep->spec->owner, "SELECT flo.drop_worker($1, $2)", 2, args);
	flo_cutover_save_reverse(c, false);
	flo_cutover_step(c, "undo", "worker of group \"%s\" dropped", c->reverse);
	write_order(c, FLO_ORDER_OVER, NULL);
}

static void
release(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	bool		forced = c->state != FLO_CUTOVER_FENCED && c->state != FLO_CUTOVER_CANCELLING;

	if (forced)
		flo_fence_raise(c->group, FLO_FENCE_SOURCE, c->attempt,
						psprintf("the destination of group \"%s\" had opened", c->group),
						FLO_CUTOVER_LOCK_PATIENCE);
	flo_cutover_set(c, FLO_CUTOVER_RELEASED, InvalidXLogRecPtr);
	flo_cutover_step(c, "open", "%s", forced ?
					 psprintf("both sides were writable from %s on: the destination had opened at %s",
							  c->changed_at, act->since) :
					 psprintf("worker \"%s\" has opened its database%s", c->consumer,
							  c->reverse == NULL ? "" :
							  psprintf(", this one follows it by group \"%s\"", c->reverse)));
}

static void
checked(void *arg)
{
	Act		   *act = arg;

	flo_cutover_set(act->c, FLO_CUTOVER_CHECKED, InvalidXLogRecPtr);
	flo_cutover_step(act->c, "check", "a cut-over is possible; nothing was changed");
}

/* --- from outside -------------------------------------------------------- */

static ErrorData *
run(void (*what) (void *arg), Act *act, const char *point)
{
	return flo_cutover_do(act->c, point, true, what, act);
}

ErrorData *
flo_cutover_begin(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(begin, &act, "begin");
}

ErrorData *
flo_cutover_prepare(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(prepare, &act, "triggers");
}

ErrorData *
flo_cutover_make_worker(Replicator *rep, FloCutover *c, bool keep)
{
	Act			act = {.rep = rep,.c = c};

	return flo_cutover_do(c, "follower", keep, make_way_back, &act);
}

ErrorData *
flo_cutover_fence(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};
	ErrorData  *error = run(fence, &act, "fence");

	if (error == NULL)
		c->lsn = XactLastCommitEnd;
	return error;
}

ErrorData *
flo_cutover_compare(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(compare, &act, "compare");
}

FloCutoverCompared
flo_cutover_compared(FloCutover *c, char **words)
{
	MemoryContext old = flo_transaction_begin();
	FloSqlSession sql;
	FloCutoverCompared result = FLO_COMPARED_NOT_YET;
	char	   *equal;

	MemoryContextSwitchTo(old);
	flo_sql_begin(&sql);
	(void) flo_sql_run(SPI_OK_SELECT, "SELECT count(*), count(*) FILTER (WHERE finished_at IS NULL), count(*) FILTER (WHERE state = 'equal'),"
					   " string_agg(format('%s is %s%s', table_name, state, ': ' || detail), ', ' ORDER BY table_name)"
					   " FILTER (WHERE finished_at IS NOT NULL AND state <> 'equal')"
					   " FROM flo.comparisons WHERE group_name = $1 AND side = 'source' AND id = $2::bigint",
					   2, c->group, flo_text_of_int64(c->comparison));
	*words = flo_sql_text(&sql, 0, 4);
	if (strcmp(flo_sql_text(&sql, 0, 1), "0") == 0 || strcmp(flo_sql_text(&sql, 0, 2), "0") != 0)
		result = FLO_COMPARED_NOT_YET;
	else if (*words != NULL)
		result = FLO_COMPARED_NOT_EQUAL;
	else
		result = FLO_COMPARED_EQUAL;
	equal = flo_sql_text(&sql, 0, 3);
	flo_sql_end(&sql);
	flo_transaction_end(old);
	if (result == FLO_COMPARED_EQUAL)
		*words = psprintf("%s tables are equal", equal);
	return result;
}

ErrorData *
flo_cutover_tell_open(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(tell_open, &act, "tell");
}

ErrorData *
flo_cutover_cancel(Replicator *rep, FloCutover *c, const FloCutoverTrouble *trouble)
{
	Act			act = {.rep = rep,.c = c,.trouble = trouble};

	return run(cancel, &act, "cancel");
}

ErrorData *
flo_cutover_take_back(Replicator *rep, FloCutover *c, const FloCutoverTrouble *trouble)
{
	Act			act = {.rep = rep,.c = c,.trouble = trouble};

	return run(take_back, &act, "back");
}

ErrorData *
flo_cutover_drop_worker(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(clean_up, &act, "clean");
}

ErrorData *
flo_cutover_release(Replicator *rep, FloCutover *c, const char *since)
{
	Act			act = {.rep = rep,.c = c,.since = since};

	return run(release, &act, "release");
}

ErrorData *
flo_cutover_checked(Replicator *rep, FloCutover *c)
{
	Act			act = {.rep = rep,.c = c};

	return run(checked, &act, "checked");
}

/* --- small ones ---------------------------------------------------------- */

static void
tell(void *arg)
{
	Act		   *act = arg;

	flo_cutover_step(act->c, act->step, "%s", act->since);
}

void
flo_cutover_tell(FloCutover *c, const char *step, const char *detail)
{
	Act			act = {.c = c,.step = step,.since = detail};

	(void) flo_attempt_transaction(tell, &act);
}

char *
flo_cutover_standbys_behind(XLogRecPtr lsn)
{
	MemoryContext old = flo_transaction_begin();
	FloSqlSession sql;
	char	   *names;

	MemoryContextSwitchTo(old);
	flo_sql_begin(&sql);
	(void) flo_sql_run(SPI_OK_SELECT, "SELECT string_agg(coalesce(nullif(application_name, ''), pid::text), ', ')"
					   " FROM pg_stat_replication WHERE replay_lsn IS NOT NULL AND coalesce(flush_lsn, '0/0') < $1::pg_lsn"
					   " AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL)",
					   1, flo_text_of_lsn(lsn));
	names = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	flo_transaction_end(old);
	return names;
}
