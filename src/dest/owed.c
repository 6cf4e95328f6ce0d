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
 * they owe nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/store.h"
#include "conf/visit.h"
#include "core/transaction.h"
#include "dest/copied.h"
#include "dest/owed.h"
#include "utils/timestamp.h"
#include "wire/copies.h"

/* Stands for all tables at the beginning of a generation */
#define THE_BEGINNING "0"

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
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.owed_copies AS o (group_name, worker_name, relation, request, since, since_at)"
				  " VALUES ($1, $2, $3::oid, $4::int, $5::pg_lsn, $6::timestamptz) ON CONFLICT (group_name, worker_name, relation)"
				  " DO UPDATE SET request = greatest(o.request, excluded.request), since = least(o.since, excluded.since)",
				  6, group, worker, psprintf("%u", relation), psprintf("%u", request),
				  psprintf("%X/%X", LSN_FORMAT_ARGS(since)), timestamptz_to_str(at));
	flo_visit_end(&visit);
}

/* What is left out of the stream for a copy that will not come is not left out any more */
static void
withdraw(FloWorker *w, const FloCopyNotice *notice)
{
	FloVisit	visit;
	char	   *relation = psprintf("%u", notice->relation);
	FloCopiedTable *table;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2"
					  " AND relation = $3::oid AND request <= $4::int",
					  4, w->group, w->worker, relation, psprintf("%u", notice->request)) > 0)
	{
		flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET expected = NULL WHERE group_name = $1 AND worker_name = $2"
					  " AND relation = $3::oid", 3, w->group, w->worker, relation);
		table = flo_copied_find(w->copied, notice->relation);
		if (table != NULL)
			table->expected = 0;
	}
	flo_visit_end(&visit);
}

/*
 * The source has rows of the table that the stream does not hold: what is done
 * to them is left out from here on.  A marker will follow, whose number is higher
 * than all so far.
 */
static void
expect(FloWorker *w, const FloCopyNotice *notice)
{
	bool		again = notice->manner == FLO_COPIES_ANEW;
	MemoryContext old = MemoryContextSwitchTo(w->copies);
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

/* What is shown follows when the transaction is over, see apply.c */
void
flo_owed_take_message(FloWorker *w, const char *payload, int len)
{
	bool		owed;
	List	   *copies;
	ListCell   *cell;

	if (!flo_copies_parse(payload, len, &owed, &copies))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a message about copies that are owed is malformed")));
	foreach(cell, copies)
	{
		FloCopyNotice *notice = lfirst(cell);

		if (owed)
		{
			flo_owed_add(w->group, w->worker, notice->relation, notice->request, w->txn.final_lsn, w->txn.commit_time);
			if (notice->manner != FLO_COPIES_FROM_MARKER)
				expect(w, notice);
		}
		else
			withdraw(w, notice);
	}
	w->batch_has_copies = true;
}

bool
flo_owed_is(const char *group, const char *worker, uint32 relation)
{
	FloVisit	visit;
	bool		owed;

	flo_visit_begin(&visit);
	owed = flo_visit_run(SPI_OK_SELECT, "SELECT FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid",
						 3, group, worker, psprintf("%u", relation)) > 0;
	flo_visit_end(&visit);
	return owed;
}

void
flo_owed_fulfilled(const char *group, const char *worker, uint32 relation)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.owed_copies o WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid"
				  " AND NOT EXISTS (SELECT FROM flo.copied_tables t WHERE t.group_name = $1 AND t.worker_name = $2"
				  " AND t.relation = o.relation AND t.expected IS NOT NULL)",
				  3, group, worker, psprintf("%u", relation));
	flo_visit_end(&visit);
}

void
flo_owed_begin(const char *group, const char *worker, XLogRecPtr since)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
	flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.owed_copies (group_name, worker_name, relation, request, since, since_at)"
				  " VALUES ($1, $2, " THE_BEGINNING ", 0, $3::pg_lsn, now())",
				  3, group, worker, psprintf("%X/%X", LSN_FORMAT_ARGS(since)));
	flo_visit_end(&visit);
}

void
flo_owed_entered(FloWorker *w)
{
	bool		begin = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;
	FloVisit	visit;

	if (!w->entering)
		return;
	w->entering = false;
	w->entered = !begin;
	if (begin)
		(void) flo_transaction_begin();
	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2"
				  " AND relation = " THE_BEGINNING, 2, w->group, w->worker);
	flo_visit_end(&visit);
	w->batch_has_copies |= !begin;
	if (begin)
	{
		flo_owed_look(w);
		flo_transaction_end(old);
	}
}
