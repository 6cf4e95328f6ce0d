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
#include "conf/visit.h"
#include "utils/builtins.h"

static char *
id_text(const FloGivenUp *table)
{
	return flo_text_of_int64(table->id);
}

List *
flo_given_up_tables(const char *group, const char *worker)
{
	FloVisit	visit;
	List	   *result = NIL;
	uint64		rows;

	flo_visit_begin(&visit);
	rows = flo_visit_run(SPI_OK_SELECT, "SELECT id, relation, schema_name, table_name, since IS NOT NULL, asked, passed"
						 " FROM flo.given_up WHERE group_name = $1 AND worker_name = $2 ORDER BY id", 2, group, worker);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(visit.caller);
		FloGivenUp *table = palloc(sizeof(FloGivenUp));

		table->id = strtoi64(flo_visit_text(&visit, i, 1), NULL, 10);
		table->relation = flo_visit_oid(i, 2);
		table->schema = flo_visit_text(&visit, i, 3);
		table->table = flo_visit_text(&visit, i, 4);
		table->begun = flo_visit_true(i, 5);
		table->asked = flo_visit_true(i, 6);
		table->passed = (uint32) strtoul(flo_visit_text(&visit, i, 7), NULL, 10);
		result = lappend(result, table);
		MemoryContextSwitchTo(spi);
	}
	flo_visit_end(&visit);
	return result;
}

/*
 * The newest request for a copy of the table that is being loaded, or waited for
 * at its marker; by what is known of its OID, or by its name.
 */
#define REQUEST_UNDER_WAY(relation) \
	"(SELECT coalesce(max(o.request), 0) FROM flo.owed_copies o JOIN flo.copied_tables c USING (group_name, worker_name, relation)" \
	" WHERE o.group_name = $1 AND o.worker_name = $2 AND c.expected IS NOT NULL" \
	" AND (o.relation = " relation " OR c.schema_name = $4 AND c.table_name = $5))"

/* By its OID where both are known */
#define SAME_TABLE \
	"(relation = $3::oid AND relation <> 0 OR 0 IN (relation, $3::oid) AND schema_name = $4 AND table_name = $5)"

bool
flo_given_up_add(const char *group, const char *worker, const FloGivenUp *table, const char *error,
				 const char *by)
{
	char	   *relation = psprintf("%u", table->relation);
	FloVisit	visit;
	bool		changed;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT, "SELECT FROM flo.given_up WHERE group_name = $1 AND worker_name = $2 AND " SAME_TABLE " FOR UPDATE",
					  5, group, worker, relation, table->schema, table->table) == 0)
		changed = flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.given_up (group_name, worker_name, relation, schema_name, table_name, given_up_by, error, request)"
								" VALUES ($1, $2, $3::oid, $4, $5, $7, $6, " REQUEST_UNDER_WAY("$3::oid") ")",
								7, group, worker, relation, table->schema, table->table, error, by) > 0;
	else
		changed = flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.given_up SET asked = false, given_up_at = now(), given_up_by = $7,"
								" error = coalesce($6, error), request = " REQUEST_UNDER_WAY("given_up.relation")
								" WHERE group_name = $1 AND worker_name = $2 AND asked AND " SAME_TABLE,
								7, group, worker, relation, table->schema, table->table, error, by) > 0;
	flo_visit_end(&visit);
	return changed;
}

void
flo_given_up_note(const FloGivenUp *table, uint32 relation, const char *schema, const char *name, XLogRecPtr lsn,
				  uint32 attempt)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.given_up SET relation = $2::oid, schema_name = $3, table_name = $4, since = coalesce(since, $5::pg_lsn),"
				  " passed = greatest(passed, $6::int)"
				  " WHERE id = $1::bigint", 6, id_text(table), psprintf("%u", relation), schema, name,
				  psprintf("%X/%X", LSN_FORMAT_ARGS(lsn)), psprintf("%u", attempt));
	flo_visit_end(&visit);
}

/*
 * One that is known by its name only may be this one: a loader finds out.  An
 * attempt of which rows were passed over never becomes whole.
 */
void
flo_given_up_ask(const char *group, const char *worker, uint32 relation, uint32 request, uint32 attempt)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.given_up SET asked = true WHERE group_name = $1 AND worker_name = $2"
				  " AND relation IN ($3::oid, 0) AND request < $4::int AND passed < $5::int AND NOT asked",
				  5, group, worker, psprintf("%u", relation), psprintf("%u", request), psprintf("%u", attempt));
	flo_visit_end(&visit);
}

void
flo_given_up_take(const char *group, const char *worker, uint32 relation)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.given_up WHERE group_name = $1 AND worker_name = $2"
					  " AND relation = $3::oid AND asked", 3, group, worker, psprintf("%u", relation)) > 0)
		ereport(LOG,
				(errmsg("worker \"%s\" of group \"%s\" has taken up table %u of the source again, which it had given up",
						worker, group, relation)));
	flo_visit_end(&visit);
}

void
flo_given_up_forget(const char *group, const char *worker, uint32 relation)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.given_up WHERE group_name = $1 AND worker_name = $2 AND relation = $3::oid",
				  3, group, worker, psprintf("%u", relation));
	flo_visit_end(&visit);
}

void
flo_given_up_forget_all(const char *group, const char *worker)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.given_up WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
	flo_visit_end(&visit);
}

char *
flo_given_up_names(const char *group, const char *worker)
{
	FloVisit	visit;
	char	   *names;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_SELECT, "SELECT string_agg(format('%I.%I', schema_name, table_name), ', ' ORDER BY id)"
				  " FROM flo.given_up WHERE group_name = $1 AND worker_name = $2", 2, group, worker);
	names = flo_visit_text(&visit, 0, 1);
	flo_visit_end(&visit);
	return names;
}
