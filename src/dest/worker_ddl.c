/*
 * worker_ddl.c
 *		What a worker does when it comes upon DDL.
 *
 * A statement is applied in the batch, in the midst of the rows of its
 * transaction; or held, or passed over, as the option and a person decide.  A
 * source transaction is never split, so while a statement is held nothing of
 * its transaction is applied: the worker goes back to the last commit, waits
 * with nothing open, and reads the transaction again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/ddl_absent.h"
#include "dest/ddl_apply.h"
#include "dest/ddl_given.h"
#include "dest/ddl_masking.h"
#include "dest/given_up.h"
#include "dest/worker_batch.h"
#include "dest/worker_config.h"
#include "dest/worker_ddl.h"
#include "dest/worker_report.h"
#include "dest/worker_state.h"
#include "mb/pg_wchar.h"
#include "monitor/state.h"
#include "utils/resowner.h"

/* Undo the batch and go back to the last commit; the stream is read again from there */
static void
rewind_batch(FloWorker *w)
{
	flo_worker_abort_batch(w);
	w->in_transaction = false;
	w->fragment_total = 0;
	w->position = flo_progress_position(w->progress);
	w->rewind = true;
	flo_error_context_clear();
}

/* In a transaction of its own: record that the statement waits for a person; its number */
static int64
record_held(const FloDdlPlace *place, const FloDdlStatement *ddl, const char *reason)
{
	MemoryContext old = flo_transaction_begin();
	int64		id;

	ForceSyncCommit();
	id = flo_ddl_hold(place, ddl->tag, ddl->text, reason);
	flo_transaction_end(old);
	return id;
}

static bool
is_decided(const FloDdlPlace *place, const FloDdlStatement *ddl)
{
	MemoryContext old = flo_transaction_begin();
	FloDdlDecision decision;
	int64		id;

	decision = flo_ddl_decision(place, ddl->text, &id);
	flo_transaction_end(old);
	return decision != FLO_DDL_UNDECIDED;
}

/* A person who has given up the table has decided that nothing waits for it */
static bool
need_not_hold(FloWorker *w, const FloDdlStatement *ddl)
{
	return w->spec->options.ddl != FLO_DDL_HOLD && flo_given_up_concerns(w, ddl);
}

/*
 * Wait until a person has decided.  Complete transactions before this one are
 * committed first, which takes another look at them; then nothing is open
 * while we wait, and the transaction is read again once the decision is there.
 */
static void
hold_ddl(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, const char *reason)
{
	int64		id;

	if (!XLogRecPtrIsInvalid(w->batch_lsn))
	{
		w->careful_until = Max(w->careful_until, w->txn.final_lsn);
		rewind_batch(w);
		return;
	}
	rewind_batch(w);
	id = record_held(place, ddl, reason);
	flo_worker_flush(w, true);
	while (!is_decided(place, ddl) && !need_not_hold(w, ddl))
	{
		flo_state_set(FLO_STATE_WAITING, "for flo.release_ddl(" INT64_FORMAT ") or flo.skip_ddl(" INT64_FORMAT "): %s: %s",
					  id, id, ddl->tag, reason);
		flo_bus_wait_for(w->bus, FLO_WAIT_DECISION, 1000);
		flo_check_interrupts();
		flo_worker_look_at_stream(w);
		flo_worker_flush(w, false);
		if (!flo_worker_follow_configuration(w))
		{
			w->leave = true;
			return;
		}
	}
}

/*
 * What cannot run in a transaction block stands alone in its transaction.  The
 * batch before it is committed, so that the position is just before it; then
 * it is run, and is noted when its transaction is.
 */
static char *
apply_between_batches(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl,
					  FloDdlMode mode)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile outcome = "given_up";
	char	   *volatile detail = NULL;
	char	   *volatile reason = NULL;

	if (!XLogRecPtrIsInvalid(w->batch_lsn))
		flo_worker_commit_batch(w);
	else
		flo_worker_abort_batch(w);
	flo_error_context.commit_lsn = w->txn.final_lsn;
	PG_TRY();
	{
		const char *applied;
		char	   *note;

		reason = flo_ddl_apply_concurrent(place, ddl, w->spec->owner, w->rules, mode, &applied,
										  &note);
		outcome = applied;
		detail = note;
	}
	PG_CATCH();
	{
		if (!flo_given_up_concerns(w, ddl) || !flo_error_is_about_data(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		detail = CopyErrorData()->message;
		FlushErrorState();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
	}
	PG_END_TRY();
	flo_worker_open_batch(w);
	w->batch_oldest = w->txn.commit_time;
	w->batch_has_ddl = true;
	if (reason == NULL)
	{
		/* it was run in another transaction: nothing counts as made */
		flo_ddl_expect_names(ddl, flo_ddl_note_outcome(place, ddl, outcome, detail), NIL,
							 !(mode & (FLO_DDL_TRUSTED | FLO_DDL_DECIDED)));
		if (!flo_given_up_concerns(w, ddl))
			flo_ddl_give_names(place, ddl, w->rules);
	}
	return reason;
}

/* --- tables that are being copied ---------------------------------------- */

/* Was the copy of all the tables made after the statement? */
static bool
is_in_copy(FloWorker *w, const FloDdlStatement *ddl)
{
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		FloCopiedTable *table = flo_given_up_table_of(w, lfirst(cell));

		if (table == NULL || table->given_up != NULL || table->expected > 0 ||
			w->txn.final_lsn >= table->lsn)
			return false;
	}
	return true;
}

/*
 * How to apply a statement.  Rows that are still to be copied make all checks
 * at the destination meaningless: what the source has checked is taken over.
 * What we had copied before into a table that is copied afresh goes, lest rows
 * that the source had changed by this time object to the statement.  It need not
 * be here: the copy before may have been cut short ahead of its definition.  Nor need
 * one that had gone when the snapshot was taken.
 */
static FloDdlMode
mode_of(FloWorker *w, const FloDdlStatement *ddl, FloDdlDecision decision)
{
	FloDdlMode	mode = decision == FLO_DDL_RELEASED ? FLO_DDL_DECIDED : FLO_DDL_CHECKED;
	ListCell   *cell;

	if (w->spec->options.ddl_trust == FLO_DDL_TRUST_SOURCE)
		mode |= FLO_DDL_TRUSTED;
	if (flo_copied_expects_any(w->copied))
		mode |= FLO_DDL_TRUST_KEYS;
	foreach(cell, ddl->objects)
	{
		FloCopiedTable *table = flo_given_up_table_of(w, lfirst(cell));

		if (table != NULL && table->given_up != NULL && table->expected == 0)
		{
			((FloDdlObject *) lfirst(cell))->awaited = true;
			mode &= ~FLO_DDL_CHECKED;
			continue;
		}
		if (table == NULL && w->txn.final_lsn < w->copied_before)
			mode |= FLO_DDL_COMING;
		if (table == NULL || table->expected == 0)
			continue;
		((FloDdlObject *) lfirst(cell))->awaited = true;
		((FloDdlObject *) lfirst(cell))->again = table->again;
		mode &= ~FLO_DDL_CHECKED;
		mode |= table->again ? FLO_DDL_EMPTY | FLO_DDL_COMING : table->coming ? FLO_DDL_COMING : 0;
	}
	return mode;
}

static bool
tells_names(const FloDdlStatement *ddl)
{
	return ddl->phase == FLO_DDL_AFTER || ddl->phase == FLO_DDL_NAMES;
}

/*
 * Apply the statement, or give what it has made its names, or have nothing of
 * it when it fails for a reason that is tolerated: false then, with the
 * error's message.
 */
static bool
try_ddl(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, FloDdlMode mode,
		bool (*tolerates) (int sqlerrcode), char **reason, char **message)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	volatile bool applied = false;
	int			level;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	level = GetCurrentTransactionNestLevel();
	PG_TRY();
	{
		if (tells_names(ddl))
			flo_ddl_give_names(place, ddl, w->rules);
		else
			*reason = flo_ddl_apply(place, ddl, w->spec->owner, w->rules, mode);
		ReleaseCurrentSubTransaction();
		applied = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (!tolerates(geterrcode()))
			PG_RE_THROW();
		*message = CopyErrorData()->message;
		FlushErrorState();
		while (GetCurrentTransactionNestLevel() >= level)
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = resources;
	return applied;
}

/*
 * A statement about code may be about code that was never brought, which only
 * the server finds out.
 */
static char *
apply_code(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, FloDdlMode mode)
{
	char	   *reason = NULL;
	char	   *message;

	if (!try_ddl(w, place, ddl, mode, flo_ddl_is_lack, &reason, &message))
		flo_ddl_note_outcome(place, ddl, "not_here", message);
	return reason;
}

/*
 * A statement about a table that is given up: applied where that is possible,
 * if need be without the rows that are left here, else passed over.
 */
static char *
apply_to_given_up(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl,
				  FloDdlMode mode)
{
	char	   *reason = NULL;
	char	   *message;
	ListCell   *cell;

	if (try_ddl(w, place, ddl, mode, flo_error_is_about_data, &reason, &message))
		return reason;
	foreach(cell, ddl->objects)
		((FloDdlObject *) lfirst(cell))->again = true;
	if (try_ddl(w, place, ddl, mode | FLO_DDL_EMPTY, flo_error_is_about_data, &reason, &message))
		return reason;
	flo_ddl_note_outcome(place, ddl, "given_up", message);
	return NULL;
}

static FloDdlPlace
place_of(const FloWorker *w, int ordinal)
{
	return (FloDdlPlace)
	{
		w->group, w->worker, w->txn.final_lsn, ordinal, w->txn.commit_time
	};
}

/* Of a table that is given up they are given where that is possible */
static void
take_names(FloWorker *w, const FloDdlStatement *ddl)
{
	FloDdlPlace place = place_of(w, w->ddl_ordinal);
	char	   *reason;
	char	   *message;

	if (flo_given_up_concerns(w, ddl))
		(void) try_ddl(w, &place, ddl, 0, flo_error_is_about_data, &reason, &message);
	else
		flo_ddl_give_names(&place, ddl, w->rules);
}

/* What is decided before it is tried; NULL: nothing */
static char *
why_held(FloWorker *w, const FloDdlStatement *ddl)
{
	if (w->spec->options.ddl == FLO_DDL_HOLD)
		return "the worker's option ddl is hold";
	return flo_given_up_spreads(w, ddl);
}

static char *
run_by_kind(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, FloDdlMode mode)
{
	if (ddl->concurrent)
		return apply_between_batches(w, place, ddl, mode);
	if (flo_given_up_concerns(w, ddl))
		return apply_to_given_up(w, place, ddl, mode);
	if (flo_ddl_may_lack(ddl, w->rules))
		return apply_code(w, place, ddl, mode);
	return flo_ddl_apply(place, ddl, w->spec->owner, w->rules, mode);
}

/* Run it, or say why it has to be held */
static char *
run_ddl(FloWorker *w, const FloDdlPlace *place, const FloDdlStatement *ddl, FloDdlDecision decision)
{
	List	   *before = flo_ddl_masking_before(ddl, w->rules);
	char	   *reason = run_by_kind(w, place, ddl, mode_of(w, ddl, decision));
	char	   *unmasked = reason == NULL ? flo_ddl_masking_after(before, w->rules) : NULL;

	return decision == FLO_DDL_RELEASED || reason != NULL ? reason : unmasked;
}

/* Decide what becomes of a statement, and do it */
static void
apply_ddl(FloWorker *w, const FloDdlStatement *ddl)
{
	FloDdl		option = w->spec->options.ddl;
	FloDdlPlace place = place_of(w, ++w->ddl_ordinal);
	FloDdlDecision decision;
	int64		id;
	char	   *reason = NULL;
	char	   *absent;

	decision = flo_ddl_decision(&place, ddl->text, &id);
	w->batch_has_ddl = true;
	if (decision == FLO_DDL_SKIPPED)
	{
		flo_ddl_pass_over(w->group, ddl, w->rules, false);
		flo_ddl_note_outcome(&place, ddl, "skipped", "flo.skip_ddl() was called");
	}
	else if (option == FLO_DDL_IGNORE && decision != FLO_DDL_RELEASED)
		flo_ddl_note_outcome(&place, ddl, "ignored", "the worker's option ddl is ignore");
	else if (is_in_copy(w, ddl))
		flo_ddl_note_outcome(&place, ddl, "present", "the copy of the table was made after it");
	else if ((absent = flo_ddl_absent(&place, ddl, w->rules)) != NULL)
		flo_ddl_note_outcome(&place, ddl, "not_here", absent);
	else if (decision == FLO_DDL_RELEASED || (reason = why_held(w, ddl)) == NULL)
		reason = run_ddl(w, &place, ddl, decision);
	if (reason != NULL && need_not_hold(w, ddl))
	{
		flo_ddl_note_outcome(&place, ddl, "given_up", reason);
		reason = NULL;
	}
	if (reason != NULL)
		hold_ddl(w, &place, ddl, reason);
	else
		flo_given_up_follow(w, ddl);
}

/*
 * What fails is tried again by itself, for its cause may be removed.  Who would
 * rather do without the statement finds it among those that are held, and need not
 * give up the rows of its transaction for it.
 */
static void
apply_or_list(FloWorker *w, const FloDdlStatement *ddl)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *error;

	PG_TRY();
	{
		apply_ddl(w, ddl);
	}
	PG_CATCH();
	{
		FloDdlPlace place = place_of(w, w->ddl_ordinal);

		if (!flo_error_is_about_data(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		flo_progress_disarm();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(context);
		(void) record_held(&place, ddl, psprintf(FLO_DDL_FAILS "%s", error->message));
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* NULL when it is none: what is to be passed over may be so because it cannot be read */
static FloDdlStatement *
read_if_possible(FloWorker *w, const FloChange *change)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *content = pnstrdup(change->content, change->content_len);
	FloDdlStatement *ddl = NULL;

	PG_TRY();
	{
		ddl = flo_ddl_parse(pg_any_to_server(content, strlen(content), w->encoding));
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (code != ERRCODE_PROTOCOL_VIOLATION &&
			ERRCODE_TO_CATEGORY(code) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return ddl;
}

void
flo_worker_pass_over_ddl(FloWorker *w, const FloChange *change)
{
	bool		own = !IsTransactionState();
	MemoryContext old = own ? flo_transaction_begin() : NULL;
	FloDdlStatement *ddl = read_if_possible(w, change);

	flo_ddl_forget_held(w->group, w->worker, w->txn.final_lsn);
	if (ddl != NULL && ddl->phase != FLO_DDL_AFTER && ddl->phase != FLO_DDL_NAMES)
		flo_ddl_pass_over(w->group, ddl, w->rules, true);
	if (own)
		flo_transaction_end(old);
}

/* The table that an error is about */
static void
note_table(const FloDdlStatement *ddl)
{
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;

	if (object != NULL && OidIsValid(object->relation) && object->table_name != NULL)
		flo_error_context_source(object->relation, object->table_schema, object->table_name);
}

/*
 * A database runs DDL where it stands among the rows; events tell of it once
 * it has happened, with the tables' new definitions.
 */
void
flo_worker_process_ddl(FloWorker *w, const FloChange *change)
{
	FloDdlStatement *ddl;
	FloChange	about = *change;
	FloRelation relation = {0};
	static uint64 version = 0;
	char	   *content = pnstrdup(change->content, change->content_len);

	w->txn.ordinal++;
	w->batch_changes++;
	ddl = flo_ddl_parse(pg_any_to_server(content, strlen(content), w->encoding));
	if (w->sink->ops->transactional && tells_names(ddl))
	{
		take_names(w, ddl);
		return;
	}
	if (ddl->phase == FLO_DDL_NAMES ||
		(!w->sink->ops->transactional && ddl->phase == FLO_DDL_BEFORE))
		return;
	if (ddl->objects != NIL)
	{
		FloDdlObject *object = linitial(ddl->objects);

		relation.schema = object->schema;
		relation.name = object->name;
	}
	if (relation.schema == NULL)
		relation.schema = "";
	if (relation.name == NULL)
		relation.name = "";
	relation.version = ++version;	/* as good as another table */
	about.relation = &relation;
	if (flo_table_filter(w->tables, &about) == NULL)
	{
		w->tally.open.filtered++;
		return;
	}

	if (!w->sink->ops->transactional && w->spec->options.masking == FLO_MASKING_STRICT)
	{
		content = flo_ddl_masking_content(ddl);
		about.content = pg_server_to_client(content, strlen(content));
		about.content_len = strlen(about.content);
	}

	/*
	 * an event; or, for a database, the sign that what was gathered comes
	 * before
	 */
	w->sink->ops->change(w->sink, &w->txn, &about);
	if (!w->sink->ops->transactional)
	{
		flo_given_up_follow(w, ddl);
		return;
	}
	note_table(ddl);
	apply_or_list(w, ddl);
	flo_error_context_source(0, NULL, NULL);
}
