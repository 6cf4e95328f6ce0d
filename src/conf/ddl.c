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

#include "catalog/pg_type.h"
#include "conf/api.h"
#include "conf/ddl.h"
#include "conf/known.h"
#include "conf/store.h"
#include "conf/visit.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(flo_release_ddl);
PG_FUNCTION_INFO_V1(flo_skip_ddl);

static char *
lsn_text(XLogRecPtr lsn)
{
	return psprintf("%X/%X", LSN_FORMAT_ARGS(lsn));
}

FloDdlDecision
flo_ddl_decision(const FloDdlPlace *place, const char *command, int64 *id)
{
	FloVisit	visit;
	FloDdlDecision result = FLO_DDL_NOT_HELD;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT,
					  "SELECT id, decision FROM flo.pending_ddl"
					  " WHERE group_name = $1 AND worker_name = $2 AND lsn = $3::pg_lsn AND ordinal = $4::int AND command = $5",
					  5, place->group, place->worker, lsn_text(place->lsn),
					  flo_text_of_int64(place->ordinal), command) > 0)
	{
		char	   *decision = flo_visit_text(&visit, 0, 2);

		*id = strtoll(flo_visit_text(&visit, 0, 1), NULL, 10);
		if (decision == NULL)
			result = FLO_DDL_UNDECIDED;
		else
			result = strcmp(decision, "release") == 0 ? FLO_DDL_RELEASED : FLO_DDL_SKIPPED;
	}
	flo_visit_end(&visit);
	return result;
}

int64
flo_ddl_hold(const FloDdlPlace *place, const char *tag, const char *command, const char *reason)
{
	FloVisit	visit;
	int64		id;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_INSERT_RETURNING,
				  "INSERT INTO flo.pending_ddl (group_name, worker_name, lsn, ordinal, committed_at, tag, command, reason)"
				  " VALUES ($1, $2, $3::pg_lsn, $4::int, $5::timestamptz, $6, $7, $8)"
				  " ON CONFLICT (group_name, worker_name, lsn, ordinal) DO UPDATE SET reason = excluded.reason,"
				  " tag = excluded.tag, command = excluded.command,"
				  " decision = CASE WHEN pending_ddl.command = excluded.command THEN pending_ddl.decision END"
				  " RETURNING id",
				  8, place->group, place->worker, lsn_text(place->lsn),
				  flo_text_of_int64(place->ordinal), timestamptz_to_str(place->committed_at),
				  tag, command, reason);
	id = strtoll(flo_visit_text(&visit, 0, 1), NULL, 10);
	flo_visit_end(&visit);
	return id;
}

int64
flo_ddl_note(const FloDdlPlace *place, const char *tag, const char *command,
			 const char *outcome, const char *detail)
{
	FloVisit	visit;
	int64		entry;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE,
				  "DELETE FROM flo.pending_ddl"
				  " WHERE group_name = $1 AND worker_name = $2 AND lsn = $3::pg_lsn AND ordinal = $4::int",
				  4, place->group, place->worker, lsn_text(place->lsn),
				  flo_text_of_int64(place->ordinal));
	flo_visit_run(SPI_OK_INSERT_RETURNING,
				  "INSERT INTO flo.ddl_log (group_name, worker_name, lsn, tag, command, outcome, detail)"
				  " VALUES ($1, $2, $3::pg_lsn, $4, $5, $6, $7) RETURNING id",
				  7, place->group, place->worker, lsn_text(place->lsn), tag, command, outcome, detail);
	entry = strtoll(flo_visit_text(&visit, 0, 1), NULL, 10);
	flo_visit_end(&visit);
	return entry;
}

char *
flo_ddl_made_name(const char *schema, const char *table, const char *name)
{
	char	   *of = pstrdup(table != NULL ? quote_qualified_identifier(schema, table) : quote_identifier(schema));

	return psprintf("%s.%s", of, quote_identifier(name));
}

static char *
array_of(const List *names)
{
	Datum	   *elements = palloc(list_length(names) * sizeof(Datum));
	ListCell   *cell;

	foreach(cell, names)
		elements[foreach_current_index(cell)] = CStringGetTextDatum(lfirst(cell));
	return OidOutputFunctionCall(F_ARRAY_OUT,
								 PointerGetDatum(construct_array(elements, list_length(names),
																 TEXTOID, -1, false, TYPALIGN_INT)));
}

void
flo_ddl_note_made(int64 entry, const List *names, const char *detail)
{
	FloVisit	visit;

	if (names == NIL && detail == NULL)
		return;
	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE,
				  "UPDATE flo.ddl_log SET made = made || $2::text[], detail = nullif(concat_ws('; ', detail, $3), '') WHERE id = $1::bigint",
				  3, flo_text_of_int64(entry), array_of(names), detail);
	flo_visit_end(&visit);
}

bool
flo_ddl_was_made(const FloDdlPlace *place, const char *schema, const char *table, const char *name)
{
	FloVisit	visit;
	bool		made;

	flo_visit_begin(&visit);
	made = flo_visit_run(SPI_OK_SELECT,
						 "SELECT FROM flo.ddl_log WHERE group_name = $1 AND worker_name = $2 AND $3 = ANY (made)"
						 " UNION ALL SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
						 " AND address_names[1] = $4 AND address_names[array_upper(address_names, 1)] = $5"
						 " AND ($6 IS NULL OR address_names[2] = $6)"
						 " AND action IN ('created', 'kept') LIMIT 1",
						 6, place->group, place->worker, flo_ddl_made_name(schema, table, name), schema, name, table) > 0;
	flo_visit_end(&visit);
	return made;
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

/* --- for people ---------------------------------------------------------------- */

static void
decide(FunctionCallInfo fcinfo, const char *decision)
{
	char	   *id = flo_text_of_int64(PG_GETARG_INT64(0));
	FloVisit	visit;
	char	   *group = NULL;
	char	   *worker = NULL;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT,
					  "SELECT group_name, worker_name FROM flo.pending_ddl WHERE id = $1::bigint", 1, id) > 0)
	{
		group = flo_visit_text(&visit, 0, 1);
		worker = flo_visit_text(&visit, 0, 2);
	}
	flo_visit_end(&visit);
	if (group == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no DDL statement %s is held", id),
				 errhint("flo.pending_ddl lists those that are.")));
	flo_conf_require_member(group, worker);

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE,
				  "UPDATE flo.pending_ddl SET decision = $2 WHERE id = $1::bigint", 2, id, decision);
	flo_visit_end(&visit);
	flo_conf_altered(group, worker);	/* it need not wait for its next look */
}

Datum
flo_release_ddl(PG_FUNCTION_ARGS)
{
	decide(fcinfo, "release");
	PG_RETURN_VOID();
}

Datum
flo_skip_ddl(PG_FUNCTION_ARGS)
{
	decide(fcinfo, "skip");
	PG_RETURN_VOID();
}
