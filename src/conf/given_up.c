/*
 * given_up.c
 *		Tables that a worker has given up.
 *
 * A table is the source's, known by its OID there as soon as anything of it has
 * come, so that it stays given up under another name and a new one of its name
 * does not.  It is taken up again by a copy, and not by any: one that was under
 * way when the table was given up goes on to its end without it.  Requests for
 * copies have numbers that rise, so the row says up to which one that is.
 */
#include "postgres.h"

#include "conf/given_up.h"
#include "conf/sql.h"
#include "core/text.h"
#include "utils/builtins.h"

static char *
id_text(const FloGivenUp *table)
{
	return flo_text_of_int64(table->id);
}

List *
flo_given_up_tables(const char *group, const char *worker)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT id, relation, schema_name, table_name, since IS NOT NULL, asked, passed"
					   " FROM flo.given_up WHERE group_name = $1 AND worker_name = $2 ORDER BY id",
					   2, group, worker);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(sql.caller);
		FloGivenUp *table = palloc(sizeof(FloGivenUp));

		table->id = strtoi64(flo_sql_text(&sql, i, 1), NULL, 10);
		table->relation = flo_sql_oid(i, 2);
		table->schema = flo_sql_text(&sql, i, 3);
		table->table = flo_sql_text(&sql, i, 4);
		table->begun = flo_sql_true(i, 5);
		table->asked = flo_sql_true(i, 6);
		table->passed = (uint32) strtoul(flo_sql_text(&sql, i, 7), NULL, 10);
		result = lappend(result, table);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	return result;
}

/*
 * The newest request for a copy, of any table, that is being loaded, or waited for
 * at its marker: numbers rise over all tables.
 */
#define REQUEST_UNDER_WAY \
	"(SELECT coalesce(max(o.request), 0) FROM flo.owed_copies o JOIN flo.copied_tables c USING (group_name, worker_name, relation)" \
	" WHERE o.group_name = $1 AND o.worker_name = $2 AND c.expected IS NOT NULL)"

/* By its OID where both are known */
#define SAME_TABLE \
	"(relation = $3::oid AND relation <> 0 OR 0 IN (relation, $3::oid) AND schema_name = $4 AND table_name = $5)"

/* One after the other, and not for a worker that is being dropped */
static void
lock_worker(const char *group, const char *worker)
{
	if (flo_sql_run(SPI_OK_SELECT, "SELECT FROM flo.workers WHERE group_name = $1 AND worker_name = $2 FOR NO KEY UPDATE",
					2, group, worker) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no worker \"%s\" any more", group, worker)));
}

bool
flo_given_up_add(const char *group, const char *worker, const FloGivenUp *table, const char *error,
				 Oid by)
{
	char	   *relation = psprintf("%u", table->relation);
	FloSqlSession sql;
	bool		changed;

	flo_sql_begin(&sql);
	lock_worker(group, worker);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT FROM flo.given_up WHERE group_name = $1 AND worker_name = $2 AND " SAME_TABLE " FOR UPDATE",
					5, group, worker, relation, table->schema, table->table) == 0)
		changed = flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.given_up (group_name, worker_name, relation, schema_name, table_name, given_up_by, error, request)"
							  " VALUES ($1, $2, $3::oid, $4, $5, $7::oid::regrole, $6, " REQUEST_UNDER_WAY ")",
							  7, group, worker, relation, table->schema, table->table, error,
							  psprintf("%u", by)) > 0;
	else
		changed = flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.given_up SET asked = false, given_up_at = now(), given_up_by = $7::oid::regrole,"
							  " error = coalesce($6, error), request = " REQUEST_UNDER_WAY
							  " WHERE group_name = $1 AND worker_name = $2 AND asked AND " SAME_TABLE,
							  7, group, worker, relation, table->schema, table->table, error,
							  psprintf("%u", by)) > 0;
	flo_sql_end(&sql);
	return changed;
}

void
flo_given_up_note(const FloGivenUp *table, uint32 relation, const char *schema, const char *name,
				  XLogRecPtr lsn, uint32 attempt)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.given_up SET relation = $2::oid, schema_name = $3, table_name = $4, since = coalesce(since, nullif($5::pg_lsn, '0/0')),"
			   " passed = greatest(passed, $6::int)"
			   " WHERE id = $1::bigint", 6, id_text(table), psprintf("%u", relation), schema, name,
			   flo_text_of_lsn(lsn), psprintf("%u", attempt));
}

void
flo_given_up_learn(const char *group, const char *worker, uint32 relation, const char *schema,
				   const char *name)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.given_up SET relation = $3::oid WHERE group_name = $1 AND worker_name = $2"
			   " AND relation = 0 AND schema_name = $4 AND table_name = $5",
			   5, group, worker, psprintf("%u", relation), schema, name);
}

/* An attempt of which rows were passed over never becomes whole */
void
flo_given_up_ask(const char *group, const char *worker, uint32 relation, uint32 request,
				 uint32 attempt)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.given_up SET asked = true WHERE group_name = $1 AND worker_name = $2"
			   " AND relation = $3::oid AND request < $4::int AND passed < $5::int AND NOT asked",
			   5, group, worker, psprintf("%u", relation), psprintf("%u", request),
			   psprintf("%u", attempt));
}

bool
flo_given_up_take(const char *group, const char *worker, uint32 relation)
{
	FloSqlSession sql;
	bool		taken;

	flo_sql_begin(&sql);
	taken = flo_sql_run(SPI_OK_DELETE,
						"DELETE FROM flo.given_up WHERE group_name = $1 AND worker_name = $2"
						" AND relation = $3::oid AND asked", 3, group, worker,
						psprintf("%u", relation)) > 0;
	flo_sql_end(&sql);
	if (taken)
		ereport(LOG,
				(errmsg("worker \"%s\" of group \"%s\" has taken up table %u of the source again, which it had given up",
						worker, group, relation)));
	return taken;
}

void
flo_given_up_part(const FloGivenUp *root, uint32 relation, const char *schema, const char *name)
{
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.given_up (group_name, worker_name, relation, schema_name, table_name, since, given_up_at, given_up_by, error, request)"
			   " SELECT group_name, worker_name, $2::oid, $3, $4, since, given_up_at, given_up_by,"
			   " format('it was a partition of %I.%I', schema_name, table_name), 0 FROM flo.given_up WHERE id = $1::bigint",
			   4, id_text(root), psprintf("%u", relation), schema, name);
}

void
flo_given_up_forget(const FloGivenUp *table)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.given_up WHERE id = $1::bigint", 1, id_text(table));
}

void
flo_given_up_forget_all(const char *group, const char *worker)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.given_up WHERE group_name = $1 AND worker_name = $2",
			   2, group, worker);
}

/* Snapshots are counted anew, and no copy is under way */
void
flo_given_up_begin(const char *group, const char *worker)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.given_up SET request = 0, passed = 0, asked = false"
			   " WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
}

char *
flo_given_up_names(const char *group, const char *worker)
{
	FloSqlSession sql;
	char	   *names;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT,
				"SELECT string_agg(format('%I.%I', schema_name, table_name), ', ' ORDER BY id)"
				" FROM flo.given_up WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
	names = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return names;
}
