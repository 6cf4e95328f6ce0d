/*
 * copy_state.c
 *		What of a copy has been loaded.
 *
 * A chunk's key is inserted by the transaction that loads it, so a chunk that
 * arrives twice is loaded once, by whichever process.  A table's row says from
 * which snapshot its rows are; the first loader that meets a new attempt
 * changes it and empties the table in the same transaction, and the others
 * wait for that commit.
 */
#include "postgres.h"

#include "conf/sql.h"
#include "core/text.h"
#include "dest/copy_state.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define ATTEMPT_QUERY \
	"SELECT greatest(attempt, 0), finished_at IS NOT NULL FROM flo.copied_tables WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid"

static int64
number(const FloSqlSession *sql, uint64 row, int column)
{
	char	   *value = flo_sql_text(sql, row, column);

	return value != NULL ? strtoi64(value, NULL, 10) : -1;
}

#define RAISE_ATTEMPT \
"UPDATE flo.copied_tables SET attempt = $6::int, schema_name = $4, table_name = $5," \
" lsn = NULL, chunks = NULL, tuples = NULL, bytes = NULL, started_at = now(), finished_at = NULL" \
" WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid"

uint32
flo_copied_begin_table(const char *group, const char *worker, uint32 relation,
					   const char *schema, const char *table, uint32 attempt,
					   bool *fresh, bool *again)
{
	FloSqlSession sql;
	char	   *id = psprintf("%u", relation);
	char	   *number_of = psprintf("%u", attempt);
	uint32		current = attempt;

	*fresh = *again = false;
	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.copied_tables (group_name, worker_name, relation, schema_name, table_name, attempt)"
					" VALUES ($1, $2, $3::oid, $4, $5, $6::int) ON CONFLICT DO NOTHING",
					6, group, worker, id, schema, table, number_of) == 1)
		*fresh = true;
	else if (flo_sql_run(SPI_OK_UPDATE, RAISE_ATTEMPT " AND attempt < 0", 6, group, worker, id,
						 schema, table, number_of) == 1)
		*fresh = true;
	else if (flo_sql_run(SPI_OK_UPDATE, RAISE_ATTEMPT " AND attempt BETWEEN 0 AND $6::int - 1",
						 6, group, worker, id, schema, table, number_of) == 1)
	{
		*fresh = *again = true;
		flo_sql_run(SPI_OK_DELETE,
					"DELETE FROM flo.copied_chunks WHERE group_name = $1 AND worker_name = $2"
					" AND relation = $3::oid AND attempt < $4::int", 4, group, worker, id,
					number_of);
	}
	else if (flo_sql_run(SPI_OK_SELECT, ATTEMPT_QUERY " FOR SHARE", 3, group, worker, id) == 1)
		current = (uint32) number(&sql, 0, 1);
	flo_sql_end(&sql);
	return current;
}

uint32
flo_copied_current(const char *group, const char *worker, uint32 relation, uint32 attempt,
				   bool *finished)
{
	static SPIPlanPtr look;
	static SPIPlanPtr look_and_lock;
	FloSqlSession sql;
	char	   *id = psprintf("%u", relation);
	uint32		current = 0;

	flo_sql_begin(&sql);
	if (flo_sql_run_kept(&look, SPI_OK_SELECT, ATTEMPT_QUERY, 3, group, worker, id) == 1)
		current = (uint32) number(&sql, 0, 1);

	/*
	 * locked only when it is the one: two that raise it must not wait for
	 * each other
	 */
	*finished = false;
	if (current == attempt &&
		flo_sql_run_kept(&look_and_lock, SPI_OK_SELECT, ATTEMPT_QUERY " FOR SHARE", 3, group,
						 worker, id) == 1)
	{
		current = (uint32) number(&sql, 0, 1);
		*finished = flo_sql_true(0, 2);
	}
	flo_sql_end(&sql);
	return current;
}

void
flo_copied_expect(const char *group, const char *worker, uint32 relation, uint32 attempt,
				  bool again, bool definitions)
{
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.copied_tables AS t (group_name, worker_name, relation, schema_name, table_name, attempt, expected)"
			   " VALUES ($1, $2, $3::oid, '', '', $5::int, $4::int) ON CONFLICT (group_name, worker_name, relation) DO UPDATE"
			   " SET expected = greatest(t.expected, excluded.expected), attempt = greatest(t.attempt, excluded.attempt)",
			   5, group, worker, psprintf("%u", relation), psprintf("%u", attempt),
			   again ? "0" : definitions ? "-2" : "-1");
}

bool
flo_copied_claim(const char *group, const char *worker, const FloCopyKey *key)
{
	static SPIPlanPtr claim;
	FloSqlSession sql;
	bool		claimed;

	flo_sql_begin(&sql);
	claimed = flo_sql_run_kept(&claim, SPI_OK_INSERT, "INSERT INTO flo.copied_chunks (group_name, worker_name, relation, attempt, range, ordinal, tuples)"
							   " VALUES ($1, $2, $3::oid, $4::int, $5::int, $6::int, $7::int) ON CONFLICT DO NOTHING", 7,
							   group, worker, psprintf("%u", key->relation),
							   psprintf("%u", key->attempt),
							   psprintf("%u", key->range), psprintf("%u", key->ordinal),
							   psprintf("%u", key->rows)) == 1;
	flo_sql_end(&sql);
	return claimed;
}

void
flo_copied_published(const char *group, const char *worker, const FloCopiedTable *table)
{
	char	   *id = psprintf("%u", table->relation);
	char	   *attempt = psprintf("%u", table->attempt);
	char	   *tuples = psprintf(INT64_FORMAT, table->tuples);
	char	   *bytes = psprintf(INT64_FORMAT, table->bytes);

	/* a table that is gone has no rows and no name */
	if (flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET lsn = $4::pg_lsn, chunks = $5::bigint, tuples = $6::bigint, bytes = $8::bigint"
				   " WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid AND attempt = $7::int"
				   " AND (lsn, chunks, tuples, bytes) IS DISTINCT FROM ($4::pg_lsn, $5::bigint, $6::bigint, $8::bigint)", 8,
				   group, worker, id, flo_text_of_lsn(table->lsn),
				   psprintf(INT64_FORMAT, table->chunks), tuples, attempt, bytes) == 0 ||
		table->chunks == 0)
		return;
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.planned_tables AS p (group_name, worker_name, relation, schema_name, table_name, attempt, tuples, bytes)"
			   " VALUES ($1, $2, $3::oid, $4, $5, $6::int, $7::bigint, $8::bigint)"
			   " ON CONFLICT (group_name, worker_name, relation) DO UPDATE SET attempt = excluded.attempt,"
			   " tuples = excluded.tuples, bytes = excluded.bytes WHERE p.attempt <= excluded.attempt",
			   8, group, worker, id, table->schema, table->table, attempt, tuples, bytes);
}

/*
 * Of a table that the source still reads the number of chunks is not known, but
 * about how many rows it has
 */
void
flo_copied_note_progress(const char *group, const char *worker)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.planned_tables p SET bytes_done = d.bytes FROM (SELECT t.relation, t.attempt,"
			   " CASE WHEN t.chunks > 0 THEN p.bytes * least(c.chunks / t.chunks::float8, 1) WHEN p.tuples > 0 THEN p.bytes * least(c.tuples / p.tuples::float8, 0.9) END::bigint AS bytes"
			   " FROM flo.planned_tables p JOIN flo.copied_tables t USING (group_name, worker_name, relation, attempt),"
			   " LATERAL (SELECT count(*) AS chunks, sum(c.tuples) AS tuples FROM flo.copied_chunks c WHERE c.group_name = $1"
			   " AND c.worker_name = $2 AND c.relation = t.relation AND c.attempt = t.attempt) c"
			   " WHERE t.group_name = $1 AND t.worker_name = $2 AND p.bytes_done < p.bytes) d"
			   " WHERE p.group_name = $1 AND p.worker_name = $2 AND p.relation = d.relation AND p.attempt = d.attempt AND p.bytes_done < d.bytes",
			   2, group, worker);
}

bool
flo_copied_knows(const char *group, const char *worker, const char *schema, const char *table)
{
	return flo_sql_do(SPI_OK_SELECT,
					  "SELECT FROM flo.copied_tables WHERE group_name = $1 AND worker_name = $2"
					  " AND schema_name = $3 AND table_name = $4", 4, group, worker, schema,
					  table) > 0;
}

List *
flo_copied_tables(const char *group, const char *worker)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT t.relation, t.schema_name, t.table_name, greatest(t.attempt, 0), coalesce(t.lsn, '0/0'), t.chunks, t.tuples,"
					   " c.chunks, c.tuples, t.finished_at IS NOT NULL, coalesce(t.expected, 0), t.attempt >= 0, t.attempt = -2"
					   " FROM flo.copied_tables t, LATERAL (SELECT count(*) AS chunks, coalesce(sum(tuples), 0) AS tuples"
					   " FROM flo.copied_chunks c WHERE c.group_name = t.group_name AND c.worker_name = t.worker_name"
					   " AND c.relation = t.relation AND c.attempt = t.attempt) c"
					   " WHERE t.group_name = $1 AND t.worker_name = $2", 2, group, worker);
	for (uint64 i = 0; i < rows; i++)
	{
		FloCopiedTable *table = MemoryContextAllocZero(sql.caller, sizeof(FloCopiedTable));
		MemoryContext spi;

		table->relation = (uint32) number(&sql, i, 1);
		table->schema = flo_sql_text(&sql, i, 2);
		table->table = flo_sql_text(&sql, i, 3);
		table->attempt = (uint32) number(&sql, i, 4);
		table->lsn = flo_lsn_of_text(flo_sql_text(&sql, i, 5));
		table->chunks = number(&sql, i, 6);
		table->tuples = number(&sql, i, 7);
		table->loaded = number(&sql, i, 8);
		table->loaded_tuples = number(&sql, i, 9);
		table->finished = flo_sql_true(i, 10);
		table->expected = (uint32) number(&sql, i, 11);
		table->again = flo_sql_true(i, 12);
		table->coming = flo_sql_true(i, 13);
		spi = MemoryContextSwitchTo(sql.caller);
		result = lappend(result, table);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	return result;
}

void
flo_copied_reached(const char *group, const char *worker, const FloCopyKey *key)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET expected = NULL WHERE group_name = $1 AND worker_name = $2"
			   " AND relation = $3::oid AND expected <= $4::int",
			   4, group, worker, psprintf("%u", key->relation), psprintf("%u", key->attempt));
}

void
flo_copied_finish(const char *group, const char *worker, uint32 marker)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET finished_at = now() WHERE group_name = $1 AND worker_name = $2"
				" AND finished_at IS NULL AND expected IS NULL", 2, group, worker);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.copied_chunks WHERE group_name = $1 AND worker_name = $2",
				2, group, worker);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.progress SET copying = false, copy_attempt = greatest(copy_attempt, $3::int)"
				" WHERE group_name = $1 AND worker_name = $2", 3, group, worker,
				psprintf("%u", marker));
	flo_sql_end(&sql);
}

void
flo_copied_break_off(const char *group, const char *worker, uint32 relation, uint32 attempt)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copied_tables SET lsn = NULL, chunks = NULL WHERE group_name = $1"
					" AND worker_name = $2 AND relation = $3::oid AND attempt = $4::int", 4, group,
					worker, psprintf("%u", relation), psprintf("%u", attempt)) > 0)
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.copied_chunks WHERE group_name = $1 AND worker_name = $2"
					" AND relation = $3::oid", 3, group, worker, psprintf("%u", relation));
	flo_sql_end(&sql);
}

void
flo_copied_forget(const char *group, const char *worker)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.copied_chunks WHERE group_name = $1 AND worker_name = $2",
				2, group, worker);
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.copied_tables WHERE group_name = $1 AND worker_name = $2 AND attempt < 0", 2, group, worker);
	flo_sql_run(SPI_OK_UPDATE,
				"UPDATE flo.copied_tables SET attempt = 0, expected = NULL, lsn = NULL"
				" WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2",
				2, group, worker);
	flo_sql_end(&sql);
}

FloCopiedTable *
flo_copied_find(const List *copied, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, copied)
	{
		if (((FloCopiedTable *) lfirst(cell))->relation == relation)
			return lfirst(cell);
	}
	return NULL;
}

FloCopiedTable *
flo_copied_find_described(const List *copied, const FloRelation *relation)
{
	FloCopiedTable *found = NULL;
	ListCell   *cell;

	foreach(cell, copied)
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->relation == relation->id ||
			(table->relation == 0 && strcmp(table->table, relation->name) == 0 &&
			 strcmp(table->schema, relation->schema) == 0))
			found = table;
		/* what is known of copies of it has an entry of its own by then */
		if (found != NULL && found->given_up != NULL)
			break;
	}
	return found;
}

bool
flo_copied_expects_any(const List *copied)
{
	ListCell   *cell;

	foreach(cell, copied)
	{
		if (((FloCopiedTable *) lfirst(cell))->given_up != NULL)
			return true;
	}
	return flo_copied_expected(copied);
}

bool
flo_copied_expected(const List *copied)
{
	ListCell   *cell;

	foreach(cell, copied)
	{
		if (((FloCopiedTable *) lfirst(cell))->expected > 0)
			return true;
	}
	return false;
}

/* Is a change in the copy of its table already, or will it be? */
static bool
is_copied(const List *copied, XLogRecPtr before, XLogRecPtr final_lsn,
		  const FloRelation *relation)
{
	FloCopiedTable *table = flo_copied_find_described(copied, relation);

	return table == NULL ? final_lsn < before :
		(table->given_up != NULL || table->expected > 0 || final_lsn < table->lsn);
}

const FloChange *
flo_copied_leave_out(const List *copied, XLogRecPtr before, XLogRecPtr final_lsn,
					 const FloChange *change)
{
	FloChange  *rest;

	if (copied == NIL)
		return change;
	if (change->op != FLO_OP_TRUNCATE)
		return is_copied(copied, before, final_lsn, change->relation) ? NULL : change;
	rest = palloc(sizeof(FloChange));
	*rest = *change;
	rest->truncated = palloc(sizeof(FloTruncated) * Max(change->ntruncated, 1));
	rest->ntruncated = 0;
	for (int i = 0; i < change->ntruncated; i++)
		if (!is_copied(copied, before, final_lsn, change->truncated[i].relation))
			rest->truncated[rest->ntruncated++] = change->truncated[i];
	return rest->ntruncated > 0 ? rest : NULL;
}

void
flo_copied_owe_all(const char *group, const char *worker, XLogRecPtr since)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2", 2, group,
				worker);
	flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.owed_copies (group_name, worker_name, relation, request, since, since_at)"
				" VALUES ($1, $2, " FLO_OWED_ALL ", 0, $3::pg_lsn, now())",
				3, group, worker, flo_text_of_lsn(since));
	flo_sql_end(&sql);
}
