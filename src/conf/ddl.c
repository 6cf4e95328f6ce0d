/*
 * ddl.c
 *		What the tables of schema flo know of DDL: what is held for a person to
 *		decide on, what became of it, and which groups track it.
 *
 * A held statement is known by its place in the stream, not by its row: the
 * worker reads the stream again after the decision, comes upon the statement
 * again and looks it up.  The row goes in the same transaction that carries
 * the decision out.
 */
#include "postgres.h"

#include "conf/commit.h"
#include "conf/ddl.h"
#include "conf/known.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/text.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

FloDdlDecision
flo_ddl_decision(const FloDdlPlace *place, const char *command, int64 *id)
{
	FloSqlSession sql;
	FloDdlDecision result = FLO_DDL_NOT_HELD;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT id, decision FROM flo.pending_ddl"
					" WHERE group_name = $1 AND worker_name = $2 AND lsn = $3::pg_lsn AND ordinal = $4::int AND command = $5",
					5, place->group, place->worker, flo_text_of_lsn(place->lsn),
					flo_text_of_int64(place->ordinal), command) > 0)
	{
		char	   *decision = flo_sql_text(&sql, 0, 2);

		*id = strtoll(flo_sql_text(&sql, 0, 1), NULL, 10);
		if (decision == NULL)
			result = FLO_DDL_UNDECIDED;
		else
			result = strcmp(decision, "release") == 0 ? FLO_DDL_RELEASED : FLO_DDL_SKIPPED;
	}
	flo_sql_end(&sql);
	return result;
}

int64
flo_ddl_hold(const FloDdlPlace *place, const char *tag, const char *command, const char *reason)
{
	FloSqlSession sql;
	int64		id;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_INSERT_RETURNING,
				"INSERT INTO flo.pending_ddl (group_name, worker_name, lsn, ordinal, committed_at, tag, command, reason)"
				" VALUES ($1, $2, $3::pg_lsn, $4::int, $5::timestamptz, $6, $7, $8)"
				" ON CONFLICT (group_name, worker_name, lsn, ordinal) DO UPDATE SET reason = excluded.reason,"
				" tag = excluded.tag, command = excluded.command,"
				" decision = CASE WHEN pending_ddl.command = excluded.command THEN pending_ddl.decision END"
				" RETURNING id",
				8, place->group, place->worker, flo_text_of_lsn(place->lsn),
				flo_text_of_int64(place->ordinal), timestamptz_to_str(place->committed_at),
				tag, command, reason);
	id = strtoll(flo_sql_text(&sql, 0, 1), NULL, 10);
	flo_sql_end(&sql);
	return id;
}

void
flo_ddl_forget_held(const char *group, const char *worker, XLogRecPtr lsn)
{
	flo_sql_do(SPI_OK_DELETE,
			   "DELETE FROM flo.pending_ddl WHERE group_name = $1 AND worker_name = $2 AND lsn = $3::pg_lsn",
			   3, group, worker, flo_text_of_lsn(lsn));
}

int64
flo_ddl_note(const FloDdlPlace *place, const char *tag, const char *command,
			 const char *outcome, const char *detail)
{
	FloSqlSession sql;
	int64		entry;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.pending_ddl"
				" WHERE group_name = $1 AND worker_name = $2 AND lsn = $3::pg_lsn AND ordinal = $4::int",
				4, place->group, place->worker, flo_text_of_lsn(place->lsn),
				flo_text_of_int64(place->ordinal));
	flo_sql_run(SPI_OK_INSERT_RETURNING,
				"INSERT INTO flo.ddl_log (group_name, worker_name, lsn, tag, command, outcome, detail)"
				" VALUES ($1, $2, $3::pg_lsn, $4, $5, $6, $7) RETURNING id",
				7, place->group, place->worker, flo_text_of_lsn(place->lsn), tag, command, outcome,
				detail);
	entry = strtoll(flo_sql_text(&sql, 0, 1), NULL, 10);
	flo_sql_end(&sql);
	return entry;
}

char *
flo_ddl_made_name(const char *schema, const char *table, const char *name)
{
	char	   *of = pstrdup(table != NULL ? quote_qualified_identifier(schema, table) :
							 quote_identifier(schema));

	return psprintf("%s.%s", of, quote_identifier(name));
}

void
flo_ddl_note_made(int64 entry, const List *names, const char *detail)
{
	if (names == NIL && detail == NULL)
		return;
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.ddl_log SET made = made || $2::text[], detail = nullif(concat_ws('; ', detail, $3), '') WHERE id = $1::bigint",
			   3, flo_text_of_int64(entry), flo_text_of_array(names), detail);
}

void
flo_ddl_note_moved(const FloDdlPlace *place, int64 entry, const char *from, const char *to)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_UPDATE,
				"UPDATE flo.ddl_log SET made = made || ARRAY("
				" SELECT DISTINCT $5 || substr(name, length($4) + 1) FROM ("
				"  SELECT unnest(l.made) AS name FROM flo.ddl_log l WHERE group_name = $2 AND worker_name = $3"
				"  UNION ALL SELECT (SELECT string_agg(quote_ident(part), '.' ORDER BY n) FROM unnest(address_names) WITH ORDINALITY p (part, n))"
				"   FROM flo.copied_objects WHERE group_name = $2 AND worker_name = $3 AND action IN ('created', 'kept')) m"
				"  WHERE starts_with(name, $4)) WHERE id = $1::bigint",
				5, flo_text_of_int64(entry), place->group, place->worker, from, to);
	flo_sql_end(&sql);
}

bool
flo_ddl_was_made(const FloDdlPlace *place, const char *schema, const char *table, const char *name)
{
	return flo_sql_do(SPI_OK_SELECT,
					  "SELECT FROM flo.ddl_log WHERE group_name = $1 AND worker_name = $2 AND $3 = ANY (made)"
					  " UNION ALL SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
					  " AND address_names[1] = $4 AND (address_names[array_upper(address_names, 1)] = $5"
					  "  OR (action = 'created' AND address_names[2:] = ARRAY[$6]))"
					  " AND ($6 IS NULL OR address_names[2] = $6)"
					  " AND action IN ('created', 'kept') LIMIT 1",
					  6, place->group, place->worker, flo_ddl_made_name(schema, table, name),
					  schema, name, table) > 0;
}

List *
flo_ddl_groups_here(void)
{
	List	   *groups = NIL;
	ListCell   *lc;

	foreach(lc, flo_known_replicators())
	{
		FloKnownReplicator *replicator = lfirst(lc);

		if (replicator->ours && replicator->spec->track_ddl)
			groups = lappend(groups, replicator->spec->group);
	}
	return groups;
}
