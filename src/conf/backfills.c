/*
 * backfills.c
 *		Backfills, at the source and at a worker.
 */
#include "postgres.h"

#include "conf/backfills.h"
#include "conf/sql.h"
#include "core/text.h"

/* So many backfills of a group are remembered */
#define KEPT "100"

#define COLUMNS "SELECT id, worker_name, consumer, relation, table_name, condition, state = '" FLO_BACKFILL_PUBLISHED "'," \
	" attempt, coalesce(lsn, '0/0'), chunks, coalesce(rows_sent, 0), bytes FROM flo.backfills"

static int64
number(const FloSqlSession *sql, int column)
{
	return strtoi64(flo_sql_text(sql, 0, column), NULL, 10);
}

int64
flo_backfills_ask(const char *group, const FloBackfill *backfill)
{
	FloSqlSession sql;
	int64		id;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_INSERT_RETURNING,
				"INSERT INTO flo.backfills (group_name, worker_name, consumer, relation, table_name, condition)"
				" VALUES ($1, $2, $3, $4::oid, $5, $6) RETURNING id", 6, group, backfill->worker,
				backfill->consumer, psprintf("%u", backfill->relation), backfill->table,
				backfill->condition);
	id = number(&sql, 1);
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.backfills WHERE group_name = $1 AND finished_at IS NOT NULL"
				" AND id <= $2::bigint - " KEPT, 2, group, flo_text_of_int64(id));
	flo_sql_end(&sql);
	return id;
}

static FloBackfill *
find(const char *query, const char *argument)
{
	FloSqlSession sql;
	FloBackfill *backfill = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, query, 1, argument) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		backfill = palloc0(sizeof(FloBackfill));
		backfill->id = number(&sql, 1);
		backfill->worker = flo_sql_text(&sql, 0, 2);
		backfill->consumer = flo_sql_text(&sql, 0, 3);
		backfill->relation = flo_sql_oid(0, 4);
		backfill->table = flo_sql_text(&sql, 0, 5);
		backfill->condition = flo_sql_text(&sql, 0, 6);
		backfill->published = flo_sql_true(0, 7);
		backfill->attempt = (uint32) number(&sql, 8);
		backfill->lsn = flo_lsn_of_text(flo_sql_text(&sql, 0, 9));
		backfill->chunks = number(&sql, 10);
		backfill->rows = number(&sql, 11);
		backfill->bytes = number(&sql, 12);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return backfill;
}

FloBackfill *
flo_backfills_next(const char *group)
{
	return find(COLUMNS " WHERE group_name = $1 AND finished_at IS NULL ORDER BY id LIMIT 1", group);
}

FloBackfill *
flo_backfills_get(int64 id)
{
	return find(COLUMNS " WHERE id = $1::bigint", flo_text_of_int64(id));
}

void
flo_backfills_state(int64 id, const char *state, uint32 attempt, XLogRecPtr lsn,
					const char *detail)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.backfills SET state = $2, detail = $5,"
			   " attempt = coalesce(nullif($3::int, 0), attempt), lsn = coalesce(nullif($4::pg_lsn, '0/0'), lsn),"
			   " rows_sent = NULL WHERE id = $1::bigint AND finished_at IS NULL",
			   5, flo_text_of_int64(id), state, psprintf("%u", attempt), flo_text_of_lsn(lsn), detail);
}

void
flo_backfills_published(const FloBackfill *backfill)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.backfills SET state = '" FLO_BACKFILL_PUBLISHED "', detail = NULL,"
			   " chunks = $2::bigint, rows_sent = $3::bigint, bytes = $4::bigint"
			   " WHERE id = $1::bigint AND finished_at IS NULL",
			   4, flo_text_of_int64(backfill->id), flo_text_of_int64(backfill->chunks),
			   flo_text_of_int64(backfill->rows), flo_text_of_int64(backfill->bytes));
}

bool
flo_backfills_finish(int64 id, const char *state, const char *detail)
{
	return flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.backfills SET state = $2, detail = $3, finished_at = clock_timestamp()"
					  " WHERE id = $1::bigint AND finished_at IS NULL",
					  3, flo_text_of_int64(id), state, detail) > 0;
}

FloDueBackfill *
flo_due_backfill(const char *group, const char *worker)
{
	FloSqlSession sql;
	FloDueBackfill *due = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT attempt, relation, over, left_out, generation FROM flo.due_backfills"
					" WHERE group_name = $1 AND worker_name = $2", 2, group, worker) > 0)
	{
		due = MemoryContextAllocZero(sql.caller, sizeof(FloDueBackfill));
		due->attempt = (uint32) number(&sql, 1);
		due->relation = flo_sql_oid(0, 2);
		due->over = flo_sql_true(0, 3);
		due->left_out = flo_sql_text(&sql, 0, 4);
		strlcpy(due->generation, flo_sql_text(&sql, 0, 5), sizeof(due->generation));
	}
	flo_sql_end(&sql);
	return due;
}

void
flo_due_backfill_save(const char *group, const char *worker, const FloDueBackfill *due)
{
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.due_backfills (group_name, worker_name, attempt, relation, over, left_out, generation)"
			   " VALUES ($1, $2, $3::int, $4::oid, $5::bool, $6, $7::uuid) ON CONFLICT (group_name, worker_name) DO UPDATE"
			   " SET attempt = excluded.attempt, relation = excluded.relation, over = excluded.over, left_out = excluded.left_out, generation = excluded.generation",
			   7, group, worker, psprintf("%u", due->attempt), psprintf("%u", due->relation),
			   due->over ? "t" : "f", due->left_out, due->generation);
}
