/*
 * comparisons.c
 *		Comparisons at the source: what was asked for, and what people see of it.
 *
 * A request is there as long as the comparison is not over.  Whoever finds one
 * begun with and nobody at it knows that it was broken off.
 */
#include "postgres.h"

#include "conf/comparisons.h"
#include "conf/sql.h"
#include "conf/tables.h"
#include "core/text.h"
#include "utils/pg_lsn.h"

/* So many comparisons of a group are remembered */
#define KEPT "100"

#define OF_COMPARISON " WHERE group_name = $1 AND side = 'source' AND id = $2::bigint"
#define NOT_FINISHED " AND finished_at IS NULL"

static char *
text_of_flag(bool flag)
{
	return flag ? "t" : "f";
}

static void
refuse_two(const FloSqlSession *sql, const char *group, const FloCompareRequest *request, Oid table)
{
	if (flo_sql_run(SPI_OK_SELECT, "SELECT id FROM flo.comparisons"
					" WHERE group_name = $1 AND side = 'source' AND relation = $2::oid" NOT_FINISHED
					" AND ($3 IS NULL OR worker_name IN ('', $3)) LIMIT 1",
					3, group, psprintf("%u", table), request->worker) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table %s is being compared already, by comparison %s",
						flo_tables_name(table), flo_sql_text(sql, 0, 1)),
				 errhint("flo.comparisons shows how far it is.")));
}

int64
flo_comparisons_ask(const char *group, const FloCompareRequest *request)
{
	FloSqlSession sql;
	char	   *id;
	ListCell   *cell;

	flo_sql_begin(&sql);
	/* one call after the other, or two would not see each other */
	flo_sql_run(SPI_OK_SELECT, "SELECT FROM flo.sources WHERE group_name = $1 FOR NO KEY UPDATE",
				1, group);
	foreach(cell, request->tables)
		refuse_two(&sql, group, request, lfirst_oid(cell));
	flo_sql_run(SPI_OK_INSERT_RETURNING,
				"INSERT INTO flo.compare_requests (group_name, worker_name, repair, repair_extra, samples)"
				" VALUES ($1, $2, $3::bool, $4::bool, $5::int) RETURNING id",
				5, group, request->worker, text_of_flag(request->repair),
				text_of_flag(request->repair_extra), flo_text_of_int64(request->samples));
	id = flo_sql_text(&sql, 0, 1);
	foreach(cell, request->tables)
		flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.comparisons (id, group_name, worker_name, table_name, state, relation, side)"
					" VALUES ($1::bigint, $2, coalesce($3, ''), $4, '" FLO_COMPARISON_WAITING "', $5::oid, 'source')",
					5, id, group, request->worker, flo_tables_name(lfirst_oid(cell)),
					psprintf("%u", lfirst_oid(cell)));
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparisons WHERE group_name = $1 AND side = 'source'"
				" AND finished_at IS NOT NULL AND id <= $2::bigint - " KEPT, 2, group, id);
	flo_sql_end(&sql);
	return strtoi64(id, NULL, 10);
}

int64
flo_comparisons_next(const char *group)
{
	FloSqlSession sql;
	int64		id = 0;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT id FROM flo.compare_requests"
					" WHERE group_name = $1 AND NOT begun ORDER BY id LIMIT 1", 1, group) == 1)
		id = strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
	flo_sql_end(&sql);
	return id;
}

FloCompareRequest *
flo_comparisons_request(int64 id)
{
	FloSqlSession sql;
	FloCompareRequest *request = NULL;
	char	   *number = flo_text_of_int64(id);

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT worker_name, repair, repair_extra, samples, group_name FROM flo.compare_requests"
					" WHERE id = $1::bigint", 1, number) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		char	   *group = flo_sql_text(&sql, 0, 5);
		uint64		rows;

		request = palloc0(sizeof(FloCompareRequest));
		request->id = id;
		request->worker = flo_sql_text(&sql, 0, 1);
		request->repair = flo_sql_true(0, 2);
		request->repair_extra = flo_sql_true(0, 3);
		request->samples = strtoi64(flo_sql_text(&sql, 0, 4), NULL, 10);
		rows = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT relation FROM flo.comparisons"
						   OF_COMPARISON NOT_FINISHED, 2, group, number);
		MemoryContextSwitchTo(sql.caller);
		for (uint64 i = 0; i < rows; i++)
			request->tables = lappend_oid(request->tables, flo_sql_oid(i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return request;
}

void
flo_comparisons_begin(int64 id)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.compare_requests SET begun = true WHERE id = $1::bigint",
			   1, flo_text_of_int64(id));
}

uint64
flo_comparisons_over(const char *group, int64 id, const char *detail)
{
	char	   *number = flo_text_of_int64(id);
	FloSqlSession sql;
	uint64		begun;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.comparisons c SET state = '" FLO_COMPARISON_FAILED "', detail = $3,"
				" finished_at = clock_timestamp() WHERE group_name = $1 AND side = 'source'" NOT_FINISHED
				" AND CASE $2::bigint WHEN 0 THEN NOT EXISTS (SELECT FROM flo.compare_requests r WHERE r.id = c.id AND NOT r.begun)"
				" ELSE id = $2::bigint END",
				3, group, number, detail);
	begun = flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.compare_requests WHERE group_name = $1"
						" AND CASE $2::bigint WHEN 0 THEN begun ELSE id = $2::bigint END",
						2, group, number);
	flo_sql_end(&sql);
	return begun;
}

void
flo_comparisons_workers(const char *group, int64 id, const List *workers)
{
	char	   *number = flo_text_of_int64(id);
	FloSqlSession sql;
	ListCell   *cell;

	flo_sql_begin(&sql);
	foreach(cell, workers)
		flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.comparisons (id, group_name, worker_name, table_name, state, started_at, relation, rows_estimated, side)"
					" SELECT DISTINCT ON (relation) id, group_name, $3, table_name, state, started_at, relation, rows_estimated, side"
					" FROM flo.comparisons" OF_COMPARISON NOT_FINISHED " ON CONFLICT DO NOTHING",
					3, group, number, lfirst(cell));
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparisons" OF_COMPARISON " AND worker_name = ''",
				2, group, number);
	flo_sql_end(&sql);
}

void
flo_comparisons_state(const char *group, int64 id, const char *worker, Oid relation,
					  const char *state, XLogRecPtr lsn, const char *detail)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = $5, detail = $6,"
			   " lsn = coalesce($7::pg_lsn, lsn),"
			   " finished_at = CASE WHEN $5 IN ('" FLO_COMPARISON_FAILED "', 'void', 'equal', 'different', '" FLO_COMPARISON_REPAIRED "') THEN clock_timestamp() END"
			   OF_COMPARISON NOT_FINISHED " AND worker_name = coalesce($3, worker_name)"
			   " AND (relation = $4::oid OR $4 = '0')",
			   7, group, flo_text_of_int64(id), worker, psprintf("%u", relation), state, detail,
			   XLogRecPtrIsInvalid(lsn) ? NULL : flo_text_of_lsn(lsn));
}

void
flo_comparisons_reading(const char *group, int64 id, XLogRecPtr lsn)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = '" FLO_COMPARISON_READING "', lsn = $3::pg_lsn, detail = NULL,"
			   " read_since = clock_timestamp(), rows_read = NULL"
			   OF_COMPARISON NOT_FINISHED " AND state = '" FLO_COMPARISON_SNAPSHOT "'",
			   3, group, flo_text_of_int64(id), flo_text_of_lsn(lsn));
}

void
flo_comparisons_comparing(const char *group, int64 id, const char *worker, const char *detail)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.comparisons SET detail = $4" OF_COMPARISON NOT_FINISHED
			   " AND worker_name = $3 AND state = '" FLO_COMPARISON_COMPARING "'",
			   4, group, flo_text_of_int64(id), worker, detail);
}

static void
note_rows(const char *statement, const char *group, int64 id, Oid relation, int64 rows)
{
	flo_sql_do(SPI_OK_UPDATE, statement, 4, group, flo_text_of_int64(id), psprintf("%u", relation),
			   flo_text_of_int64(rows));
}

void
flo_comparisons_estimate(const char *group, int64 id, Oid relation, int64 rows)
{
	note_rows("UPDATE flo.comparisons SET rows_estimated = $4::bigint"
			  OF_COMPARISON NOT_FINISHED " AND relation = $3::oid", group, id, relation, rows);
}

void
flo_comparisons_progress(const char *group, int64 id, Oid relation, int64 rows)
{
	note_rows("UPDATE flo.comparisons SET rows_read = $4::bigint"
			  OF_COMPARISON NOT_FINISHED " AND relation = $3::oid AND state = '" FLO_COMPARISON_READING "'",
			  group, id, relation, rows);
}

void
flo_comparisons_read(const char *group, int64 id, Oid relation, int64 rows)
{
	note_rows("UPDATE flo.comparisons SET rows_source = $4::bigint, rows_read = $4::bigint"
			  OF_COMPARISON NOT_FINISHED " AND relation = $3::oid", group, id, relation, rows);
}

const char *
flo_compared_state_name(FloComparedState state)
{
	switch (state)
	{
		case FLO_COMPARED_EQUAL:
			return "equal";
		case FLO_COMPARED_DIFFERENT:
			return "different";
		case FLO_COMPARED_BUCKETS:
			return FLO_COMPARISON_COMPARING;
		case FLO_COMPARED_VOID:
			return "void";
		case FLO_COMPARED_MISSED:
			return "missed";
		case FLO_COMPARED_FAILED:
			return FLO_COMPARISON_FAILED;
	}
	return FLO_COMPARISON_FAILED;
}

static void
put_samples(const char *group, const char *id, const char *worker, const FloComparedRecord *record)
{
	char	   *relation = psprintf("%u", record->relation);
	int			ordinal = 0;
	ListCell   *cell;

	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparison_samples" OF_COMPARISON
				" AND worker_name = $3 AND relation = $4::oid", 4, group, id, worker, relation);
	foreach(cell, record->samples)
	{
		const FloComparedSample *sample = lfirst(cell);

		flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.comparison_samples (id, group_name, worker_name, table_name, ordinal, kind, key, source_row, destination_row, relation, side)"
					" SELECT id, group_name, worker_name, table_name, $5::int, $6, $7::jsonb, $8::jsonb, $9::jsonb, relation, side"
					" FROM flo.comparisons" OF_COMPARISON " AND worker_name = $3 AND relation = $4::oid",
					9, group, id, worker, relation, psprintf("%d", ++ordinal), sample->kind,
					sample->key, sample->source_row, sample->destination_row);
	}
}

void
flo_comparisons_result(const char *group, int64 id, const char *worker,
					   const FloComparedRecord *record, const char *state)
{
	char	   *number = flo_text_of_int64(id);
	bool		counted = record->state == FLO_COMPARED_EQUAL ||
		record->state == FLO_COMPARED_DIFFERENT;
	FloSqlSession sql;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.comparisons SET state = $5, detail = $6,"
				" rows_destination = $7::bigint, missing = $8::bigint, extra = $9::bigint, different = $10::bigint,"
				" finished_at = CASE WHEN $11::bool THEN clock_timestamp() END"
				OF_COMPARISON NOT_FINISHED " AND worker_name = $3 AND relation = $4::oid",
				11, group, number, worker, psprintf("%u", record->relation),
				state != NULL ? state : flo_compared_state_name(record->state), record->detail,
				counted ? flo_text_of_int64(record->rows) : NULL,
				counted ? flo_text_of_int64(record->missing) : NULL,
				counted ? flo_text_of_int64(record->extra) : NULL,
				counted ? flo_text_of_int64(record->different) : NULL,
				text_of_flag(state == NULL));
	put_samples(group, number, worker, record);
	flo_sql_end(&sql);
}
