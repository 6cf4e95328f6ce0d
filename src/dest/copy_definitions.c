/*
 * copy_definitions.c
 *		Puts the definitions that came with a copy into flo.copied_objects.
 */
#include "postgres.h"

#include "bus/bucket_text.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/sql.h"
#include "core/names.h"
#include "dest/copy_definitions.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* The list of a snapshot is made once; of another generation nothing is kept */
static bool
is_noted(const FloWorkerSpec *spec, const char *generation, const char *attempt)
{
	if (flo_sql_run(SPI_OK_DELETE,
					"DELETE FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
					" AND generation <> $3::uuid", 3, spec->group, spec->worker, generation) > 0)
		flo_sql_run(SPI_OK_DELETE,
					"DELETE FROM flo.pending_ddl WHERE group_name = $1 AND worker_name = $2"
					" AND lsn = '0/0'", 2, spec->group, spec->worker);
	return flo_sql_run(SPI_OK_SELECT, "SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2 AND attempt >= $3::int LIMIT 1",
					   3, spec->group, spec->worker, attempt) > 0;
}

/*
 * Put a snapshot's definitions behind those of earlier ones.  What was done
 * with the very same definition is done if it is still here; another takes the
 * place of the one before, and is compared with what exists here.  What was not done goes when
 * these are "all" there are, and not only those of some tables.
 */
static void
note_definitions(const FloWorkerSpec *spec, const char *generation, const char *attempt,
				 const char *json, bool all)
{
	flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.copied_objects (group_name, worker_name, generation, attempt, ordinal, section, object,"
				" part_of, of_table, address_type, address_names, address_args, definition, command, rest, optional, action, done_at, error)"
				" SELECT $1, $2, $3::uuid, $4::int, b.base + o.ordinal, o.object->>'section', o.object->>'object',"
				" b.base + (o.object->>'part_of')::int, (o.object->>'of_table')::oid, o.object->>'type',"
				" CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'names')) END,"
				" CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'args')) END,"
				" o.object->>'definition', o.object->>'command', coalesce((o.object->>'rest')::bool, false),"
				" coalesce((o.object->>'optional')::bool, false), CASE WHEN o.object->>'lacks' IS NOT NULL THEN 'left out' ELSE d.action END,"
				" CASE WHEN o.object->>'lacks' IS NOT NULL THEN clock_timestamp() ELSE d.done_at END, coalesce(o.object->>'lacks', d.error)"
				" FROM (SELECT coalesce(max(ordinal), 0) AS base FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2) b"
				" CROSS JOIN json_array_elements($5::json->'definitions') WITH ORDINALITY o (object, ordinal)"
				" LEFT JOIN LATERAL (SELECT action, done_at, error FROM flo.copied_objects d WHERE d.group_name = $1 AND d.worker_name = $2"
				" AND d.section = o.object->>'section' AND d.object = o.object->>'object' AND d.command = o.object->>'command'"
				" AND (o.object->>'definition' = '' OR d.definition IS NOT DISTINCT FROM o.object->>'definition')"
				" AND d.action <> 'left out' LIMIT 1) d ON true",
				5, spec->group, spec->worker, generation, attempt, json);
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.copied_objects o WHERE group_name = $1 AND worker_name = $2 AND attempt < $3::int"
				" AND (action IS NULL AND $4::bool OR EXISTS (SELECT FROM flo.copied_objects n WHERE n.group_name = $1 AND n.worker_name = $2"
				" AND n.attempt = $3::int AND n.section = o.section AND n.object = o.object))",
				4, spec->group, spec->worker, attempt, all ? "t" : "f");
}

/* A table that was dropped and made again is made again here, with all that belongs to it */
static void
forget_missing(const FloWorkerSpec *spec, const char *attempt)
{
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copied_objects o SET action = NULL, done_at = NULL WHERE group_name = $1 AND worker_name = $2"
				" AND attempt = $3::int AND action IN ('created', 'kept') AND address_type IS NOT NULL"
				" AND NOT EXISTS (SELECT FROM flo.find_object(o.address_type, o.address_names, o.address_args) f WHERE f.object IS NOT NULL)",
				3, spec->group, spec->worker, attempt);
	flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.copied_objects o SET action = NULL, done_at = NULL WHERE group_name = $1 AND worker_name = $2"
				" AND attempt = $3::int AND address_type IS NULL AND EXISTS (SELECT FROM flo.copied_objects w"
				" WHERE w.group_name = $1 AND w.worker_name = $2 AND w.ordinal = o.part_of AND w.action IS NULL)",
				3, spec->group, spec->worker, attempt);
}

void
flo_definitions_take(const FloReception *what, const char *key, uint32 attempt)
{
	const FloWorkerSpec *spec = what->spec;
	const char *generation = what->generation;
	MemoryContext context = CurrentMemoryContext;
	char	   *number = psprintf("%u", attempt);
	char	   *json;
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (!is_noted(spec, generation, number))
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		json = flo_bucket_get_text(what->bus, flo_name_bucket(spec->group), key,
								   flo_schema_tag(generation, attempt));
		if (json == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the definitions that came with the copy are not in the group's state bucket"),
					 errhint("flo.resync() at the source copies everything afresh.")));
		flo_definitions_check(key, json);
		json = pg_any_to_server(json, strlen(json), PG_UTF8);
		MemoryContextSwitchTo(spi);
		note_definitions(spec, generation, number, json, strcmp(key, FLO_SCHEMA_KEY) == 0);
		forget_missing(spec, number);
	}
	flo_sql_end(&sql);
}

bool
flo_definitions_taken(const FloWorkerSpec *spec, const char *generation)
{
	return flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2 AND generation = $3::uuid LIMIT 1",
					  3, spec->group, spec->worker, generation) > 0;
}
