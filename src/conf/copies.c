/*
 * copies.c
 *		The copy that a member has at hand, or had last.
 *
 * A copy is what a person asked for: the one that a generation begins with, or
 * that of tables that joined or are copied afresh.  An attempt that fails, and
 * the one that takes its place, are the same copy: it began with the first of
 * them, and tables that are in count.
 */
#include "postgres.h"

#include "bus/records.h"
#include "conf/copies.h"
#include "conf/sql.h"
#include "core/text.h"

#define OF_MEMBER " WHERE group_name = $1 AND worker_name = $2"

void
flo_copies_begin(const char *group, const char *member, const char *generation, const char *phase)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copies SET phase = $4" OF_MEMBER
					" AND generation = $3::uuid AND finished_at IS NULL",
					4, group, member, generation, phase) == 0)
	{
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.planned_tables" OF_MEMBER, 2, group, member);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.copies" OF_MEMBER, 2, group, member);
		flo_sql_run(SPI_OK_INSERT,
					"INSERT INTO flo.copies (group_name, worker_name, generation, phase)"
					" VALUES ($1, $2, $3::uuid, $4)", 4, group, member, generation, phase);
	}
	flo_sql_end(&sql);
}

void
flo_copies_phase(const char *group, const char *member, const char *phase)
{
	bool		rows = strcmp(phase, FLO_PHASE_READING) == 0 ||
		strcmp(phase, FLO_PHASE_LOADING) == 0;

	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.copies SET phase = $3,"
			   " rows_since = CASE WHEN $4::bool THEN coalesce(rows_since, clock_timestamp()) ELSE rows_since END,"
			   " rows_until = CASE WHEN NOT $4::bool AND rows_since IS NOT NULL THEN coalesce(rows_until, clock_timestamp()) END"
			   OF_MEMBER " AND finished_at IS NULL AND phase <> $3",
			   4, group, member, phase, rows ? "t" : "f");
}

uint64
flo_copies_planned_bytes(const char *group, const char *member, uint32 relation, bool *alone)
{
	static SPIPlanPtr look;
	FloSqlSession sql;
	uint64		bytes = 0;

	*alone = false;
	flo_sql_begin(&sql);
	if (flo_sql_run_kept(&look, SPI_OK_SELECT, "SELECT coalesce(bytes, 0), NOT EXISTS (SELECT FROM pg_catalog.pg_attribute"
						 " WHERE attrelid = pg_catalog.to_regclass(pg_catalog.format('%I.%I', schema_name, table_name))"
						 " AND atttypid >= 16384 AND NOT attisdropped) FROM flo.planned_tables" OF_MEMBER
						 " AND relation = $3::oid", 3, group, member,
						 psprintf("%u", relation)) == 1)
	{
		bytes = strtou64(flo_sql_text(&sql, 0, 1), NULL, 10);
		*alone = flo_sql_true(0, 2);
	}
	flo_sql_end(&sql);
	return bytes;
}

void
flo_copies_plan(const char *group, const char *member, uint32 attempt, const List *tables)
{
	static SPIPlanPtr insert;
	char	   *number = psprintf("%u", attempt);
	FloSqlSession sql;
	ListCell   *cell;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.planned_tables p" OF_MEMBER " AND attempt < $3::int"
				" AND NOT EXISTS (SELECT FROM flo.copied_tables t WHERE t.group_name = $1 AND t.worker_name = $2"
				" AND t.relation = p.relation AND t.attempt = p.attempt"
				" AND (t.chunks IS NOT NULL OR t.finished_at IS NOT NULL))",
				3, group, member, number);
	foreach(cell, tables)
	{
		const FloPlannedTable *table = lfirst(cell);

		flo_sql_run_kept(&insert, SPI_OK_INSERT, "INSERT INTO flo.planned_tables AS p"
						 " (group_name, worker_name, relation, schema_name, table_name, attempt, tuples, bytes)"
						 " VALUES ($1, $2, $3::oid, $4, $5, $6::int, $7::bigint, $8::bigint)"
						 " ON CONFLICT (group_name, worker_name, relation) DO UPDATE SET attempt = excluded.attempt,"
						 " schema_name = excluded.schema_name, table_name = excluded.table_name,"
						 " tuples = excluded.tuples, bytes = excluded.bytes, bytes_done = 0 WHERE p.attempt < excluded.attempt",
						 8, group, member, psprintf("%u", table->relation), table->schema,
						 table->table, number, flo_text_of_int64(table->rows),
						 flo_text_of_int64(table->bytes));
	}
	flo_sql_end(&sql);
}

void
flo_copies_keys(const char *group, const char *member, int checked, int all)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.copies SET keys_checked = $3::int, keys_to_check = $4::int" OF_MEMBER,
			   4, group, member, psprintf("%d", checked), psprintf("%d", all));
}

char *
flo_copies_finish(const char *group, const char *member)
{
	FloSqlSession sql;
	MemoryContext context = CurrentMemoryContext;
	char	   *seconds = NULL;
	char	   *words = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_UPDATE_RETURNING, "UPDATE flo.copies SET phase = 'complete', finished_at = clock_timestamp(),"
					" rows_until = CASE WHEN rows_since IS NOT NULL THEN coalesce(rows_until, clock_timestamp()) END"
					OF_MEMBER " AND finished_at IS NULL"
					" RETURNING round(extract(epoch FROM finished_at - started_at)::numeric, CASE WHEN finished_at - started_at < '10 s' THEN 1 ELSE 0 END)",
					2, group, member) == 1)
		seconds = flo_sql_text(&sql, 0, 1);
	if (seconds != NULL)
	{
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.planned_tables SET bytes_done = bytes" OF_MEMBER, 2,
					group, member);
		flo_sql_run(SPI_OK_SELECT, "SELECT count(*), coalesce(sum(coalesce(t.tuples, t.tuples_done)), 0), coalesce(sum(p.bytes), 0), count(*) = 1"
					" FROM flo.planned_tables p LEFT JOIN flo.copied_tables t USING (group_name, worker_name, relation)"
					OF_MEMBER, 2, group, member);
		words = MemoryContextStrdup(context,
									psprintf("%s %s, %s rows, %s in %s s",
											 flo_sql_text(&sql, 0, 1),
											 flo_sql_true(0, 4) ? "table" : "tables",
											 flo_sql_text(&sql, 0, 2),
											 flo_text_of_size(strtoi64(flo_sql_text(&sql, 0, 3),
																	   NULL, 10)),
											 seconds));
	}
	flo_sql_end(&sql);
	return words;
}
