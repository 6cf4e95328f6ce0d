/*
 * worker_copies.c
 *		What a worker knows of copies that are still to come while it streams.
 */
#include "postgres.h"

#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/foreign_keys.h"
#include "dest/given_up.h"
#include "dest/owed.h"
#include "dest/worker_copies.h"
#include "dest/worker_rules.h"
#include "monitor/state.h"
#include "utils/memutils.h"

/* That of the copy a generation begins with; those of markers have others */
#define FIRST_ATTEMPT 1

/*
 * Tables whose snapshot is later than where the stream is now, or still to
 * come in it, or that are given up
 */
void
flo_worker_look_at_copies(FloWorker *w)
{
	MemoryContext old = flo_transaction_begin();
	ListCell   *cell;

	MemoryContextReset(w->copied_context);
	MemoryContextSwitchTo(w->copied_context);
	w->copied = NIL;
	w->copied_before = InvalidXLogRecPtr;
	foreach(cell, flo_copied_tables(w->group, w->worker))
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->lsn > w->position || table->expected > 0)
			w->copied = lappend(w->copied, table);
		if (table->attempt == FIRST_ATTEMPT && flo_sink_ops(w->spec->sink)->transactional)
			w->copied_before = Max(w->copied_before, table->lsn);
	}
	flo_given_up_list(w);
	flo_owed_look(w);
	w->keys_unchecked = flo_foreign_keys_are_unchecked(w->spec);
	flo_transaction_end(old);
}

bool
flo_worker_awaits_copies(const FloWorker *w)
{
	ListCell   *cell;

	foreach(cell, w->copied)
	{
		const FloCopiedTable *table = lfirst(cell);

		if (table->lsn > w->position || table->expected > 0 || table->given_up != NULL)
			return true;
	}
	return false;
}

List *
flo_worker_copies_for_sink(FloWorker *w)
{
	MemoryContext old = flo_transaction_begin();
	List	   *copies = NIL;
	ListCell   *cell;

	MemoryContextSwitchTo(GetMemoryChunkContext(w));
	foreach(cell, flo_copied_tables(w->group, w->worker))
	{
		FloCopiedTable *table = lfirst(cell);
		FloSinkCopy *copy;
		int64		mapped;

		if (!table->finished || table->table[0] == '\0')
			continue;
		copy = palloc0(sizeof(FloSinkCopy));
		(void) flo_worker_rules_name(w->rules, table->schema, table->table, &copy->schema,
									 &copy->table, &mapped);
		copy->lsn = table->lsn;
		copies = lappend(copies, copy);
	}
	flo_transaction_end(old);
	return copies;
}

void
flo_worker_check_keys(FloWorker *w)
{
	MemoryContext old;

	if (!w->keys_unchecked || flo_copied_expects_any(w->copied))
		return;
	flo_foreign_keys_check(w->spec);
	old = flo_transaction_begin();
	flo_foreign_keys_checked(w->spec);
	flo_transaction_end(old);
	w->keys_unchecked = false;
	flo_state_set(FLO_STATE_STREAMING, NULL);
}
