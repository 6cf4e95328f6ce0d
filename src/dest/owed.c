/*
 * owed.c
 *		Copies that a worker owes.
 *
 * A table that joins a running group with rows, or is copied afresh, is not
 * complete here before its copy is in, although the worker goes on through the
 * stream meanwhile and leaves out rows of it.  What it shows as durable
 * (flo.wait_for(), flo.status) stays at the LSN at which that began:
 *
 *	 asked for	a message in the source transaction that asked, at its commit LSN
 *	 marker		tables that are named by a marker, or come after a copy that a crash
 *				has cut short, at the worker's position then
 *	 beginning	of a generation: its first message is a marker when copies were asked
 *				for before; until it has been read, at what was durable before
 *
 * and until the table's copy is in, or the source withdraws the request.  The
 * rows of flo.owed_copies change in the transactions that carry the position, so
 * they are as durable as it is.  Everything else goes on with the position:
 * the origin, reports to the source, purging.
 *
 * Sinks of events are not sent rows as they stood when a table was added, so
 * they owe nothing; a table that is given up goes on there with the request.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/text.h"
#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/given_up.h"
#include "dest/owed.h"
#include "mb/pg_wchar.h"
#include "utils/timestamp.h"
#include "wire/copies.h"

void
flo_owed_look(FloWorker *w)
{
	w->owed_since = flo_store_owed_since(w->group, w->worker, &w->owed_at);
}

XLogRecPtr
flo_owed_durable(const FloWorker *w)
{
	return Min(w->durable, w->owed_since);
}

void
flo_owed_add(const char *group, const char *worker, uint32 relation, uint32 request,
			 XLogRecPtr since, TimestampTz at)
{
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.owed_copies AS o (group_name, worker_name, relation, request, since, since_at)"
			   " VALUES ($1, $2, $3::oid, $4::int, $5::pg_lsn, $6::timestamptz) ON CONFLICT (group_name, worker_name, relation)"
			   " DO UPDATE SET request = greatest(o.request, excluded.request), since = least(o.since, excluded.since)",
			   6, group, worker, psprintf("%u", relation), psprintf("%u", request),
			   flo_text_of_lsn(since), timestamptz_to_str(at));
}

/* What is left out of the stream for a copy that will not come is not left out any more */
static void
withdraw(FloWorker *w, const FloCopyNotice *notice)
{
	FloSqlSession sql;
	char	   *relation = psprintf("%u", notice->relation);
	FloCopiedTable *table;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_DELETE,
					"DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2"
					" AND relation = $3::oid AND request <= $4::int",
					4, w->group, w->worker, relation, psprintf("%u", notice->request)) > 0)
	{
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET expected = NULL WHERE group_name = $1 AND worker_name = $2"
					" AND relation = $3::oid", 3, w->group, w->worker, relation);
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.given_up SET asked = false WHERE group_name = $1 AND worker_name = $2"
					" AND relation = $3::oid", 3, w->group, w->worker, relation);
		table = flo_copied_find(w->copied, notice->relation);
		if (table != NULL)
			table->expected = 0;
	}
	flo_sql_end(&sql);
}

/*
 * The source has rows of the table that the stream does not hold: what is done
 * to them is left out from here on.  A marker will follow, whose number is higher
 * than all so far.
 */
static void
expect(FloWorker *w, const FloCopyNotice *notice)
{
	bool		again = notice->kind == FLO_COPIES_ANEW;
	MemoryContext old = MemoryContextSwitchTo(w->copied_context);
	FloCopiedTable *table = flo_copied_find(w->copied, notice->relation);

	if (table == NULL)
	{
		table = palloc0(sizeof(FloCopiedTable));
		table->relation = notice->relation;
		table->schema = table->table = "";
		w->copied = lappend(w->copied, table);
	}
	table->expected = Max(table->expected, flo_progress_copy_attempt(w->progress) + 1);
	table->again = again;
	MemoryContextSwitchTo(old);
	flo_copied_expect(w->group, w->worker, table->relation, table->expected, again, false);
	w->host.keys_later = true;
}

/* The source copies the table, which may be given up here: its name then tells which that is */
static void
take_request(FloWorker *w, const FloCopyNotice *notice)
{
	flo_given_up_requested(w, notice);
	if (!w->sink->ops->transactional)
		return;
	flo_owed_add(w->group, w->worker, notice->relation, notice->request, w->txn.final_lsn,
				 w->txn.commit_time);
	if (notice->kind != FLO_COPIES_FROM_MARKER)
		expect(w, notice);
}

/* What is shown follows when the transaction is over, see apply.c */
void
flo_owed_take_message(FloWorker *w, const char *payload, int len)
{
	bool		owed;
	char	   *text = pnstrdup(payload, len);
	List	   *copies;
	ListCell   *cell;

	text = pg_any_to_server(text, len, w->encoding);
	if (!flo_copies_parse(text, strlen(text), &owed, &copies))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a message about copies that are owed is malformed")));
	foreach(cell, copies)
	{
		if (owed)
			take_request(w, lfirst(cell));
		else if (w->sink->ops->transactional)
			withdraw(w, lfirst(cell));
	}
	w->batch_has_copies = true;
}

bool
flo_owed_is(const char *group, const char *worker, uint32 relation)
{
	return flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid",
					  3, group, worker, psprintf("%u", relation)) > 0;
}

void
flo_owed_fulfilled(const char *group, const char *worker, uint32 relation)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.owed_copies o WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid"
			   " AND NOT EXISTS (SELECT FROM flo.copied_tables t WHERE t.group_name = $1 AND t.worker_name = $2"
			   " AND t.relation = o.relation AND t.expected IS NOT NULL)",
			   3, group, worker, psprintf("%u", relation));
}

void
flo_owed_entered(FloWorker *w)
{
	bool		begin = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;
	FloSqlSession sql;

	if (!w->entering)
		return;
	w->entering = false;
	w->entered = !begin;
	if (begin)
		(void) flo_transaction_begin();
	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2"
				" AND relation = " FLO_OWED_ALL, 2, w->group, w->worker);
	flo_sql_end(&sql);
	w->batch_has_copies |= !begin;
	if (begin)
	{
		flo_owed_look(w);
		flo_transaction_end(old);
	}
}
