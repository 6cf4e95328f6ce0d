/*
 * store_runtime.c
 *		What running members leave in the tables of schema flo, and the removal
 *		of a member's rows.
 *
 * These rows describe objects of this very database (slot, origins, replica
 * identities) and are therefore never part of a dump.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/sequences.h"

List *
flo_store_full_identities(const char *group)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						"SELECT relation, before FROM flo.full_identities WHERE group_name = $1",
						1, group);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		FloFullIdentity *identity = palloc(sizeof(FloFullIdentity));

		identity->relation = (Oid) strtoul(flo_sql_text(&sql, i, 1), NULL, 10);
		identity->before = *flo_sql_text(&sql, i, 2);
		result = lappend(result, identity);
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);

	return result;
}

void
flo_store_add_full_identity(const char *group, Oid relation, char before)
{
	char		identity[2] = {before, '\0'};

	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.full_identities (group_name, relation, before)"
			   " VALUES ($1, $2::oid, $3::\"char\") ON CONFLICT DO NOTHING",
			   3, group, psprintf("%u", relation), identity);
}

void
flo_store_remove_full_identity(const char *group, Oid relation)
{
	flo_sql_do(SPI_OK_DELETE,
			   "DELETE FROM flo.full_identities WHERE group_name = $1 AND relation = $2::oid",
			   2, group, psprintf("%u", relation));
}

/* --- slots and positions ------------------------------------------------- */

FloGeneration *
flo_store_generation(const char *group)
{
	FloSqlSession sql;
	FloGeneration *generation = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT generation, start_lsn, epoch, follows::text[], coalesce(given_up, '0/0'), resync, copied"
					" FROM flo.generations WHERE group_name = $1",
					1, group) > 0)
	{
		bool		isnull;

		generation = MemoryContextAllocZero(sql.caller, sizeof(FloGeneration));
		flo_uuid_of_text(flo_sql_text(&sql, 0, 1), &generation->id);
		generation->start = flo_lsn_of_text(flo_sql_text(&sql, 0, 2));
		generation->epoch = strtou64(flo_sql_text(&sql, 0, 3), NULL, 10);
		generation->follows = flo_sql_list(&sql, 0, 4, &isnull);
		generation->given_up = flo_lsn_of_text(flo_sql_text(&sql, 0, 5));
		generation->resync = flo_sql_true(0, 6);
		generation->copied = flo_sql_true(0, 7);
	}
	flo_sql_end(&sql);

	return generation;
}

void
flo_store_save_generation(const char *group, const FloGeneration *generation)
{
	StringInfoData follows;
	ListCell   *cell;

	initStringInfo(&follows);
	appendStringInfoChar(&follows, '{');
	foreach(cell, generation->follows)
		appendStringInfo(&follows, "%s%s", foreach_current_index(cell) > 0 ? "," : "",
						 (char *) lfirst(cell));
	appendStringInfoChar(&follows, '}');

	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.generations (group_name, generation, start_lsn, epoch, follows, given_up)"
			   " VALUES ($1, $2::uuid, $3::pg_lsn, $4::bigint, $5::uuid[], $6::pg_lsn)"
			   " ON CONFLICT (group_name) DO UPDATE SET generation = excluded.generation,"
			   " start_lsn = excluded.start_lsn, epoch = excluded.epoch, follows = excluded.follows,"
			   " given_up = excluded.given_up, resync = false, created_at = excluded.created_at",
			   6, group, flo_text_of_uuid(&generation->id), flo_text_of_lsn(generation->start),
			   flo_text_of_int64((int64) generation->epoch),
			   follows.data,
			   generation->follows != NIL ? flo_text_of_lsn(generation->given_up) : NULL);
}

bool
flo_store_request_resync(const char *group)
{
	return flo_sql_do(SPI_OK_UPDATE,
					  "UPDATE flo.generations SET resync = true WHERE group_name = $1",
					  1, group) > 0;
}

void
flo_store_save_epoch(const char *group, uint64 epoch)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.generations SET epoch = greatest(epoch, $2::bigint) WHERE group_name = $1",
			   2, group, flo_text_of_int64((int64) epoch));
}

void
flo_store_generation_copied(const char *group)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.generations SET copied = true WHERE group_name = $1",
			   1, group);
}

uint32
flo_store_next_copy_attempt(const char *group)
{
	FloSqlSession sql;
	uint32		attempt = 1;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_UPDATE_RETURNING,
					"UPDATE flo.generations SET copy_attempt = copy_attempt + 1"
					" WHERE group_name = $1 RETURNING copy_attempt", 1, group) > 0)
		attempt = (uint32) strtoul(flo_sql_text(&sql, 0, 1), NULL, 10);
	flo_sql_end(&sql);
	return attempt;
}

uint32
flo_store_copy_attempt(const char *group)
{
	FloSqlSession sql;
	uint32		attempt = 0;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT copy_attempt FROM flo.generations WHERE group_name = $1",
					1, group) > 0)
		attempt = (uint32) strtoul(flo_sql_text(&sql, 0, 1), NULL, 10);
	flo_sql_end(&sql);
	return attempt;
}

void
flo_store_copy_progress(const char *group, const FloCopyProgress *progress)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.copied_tables (group_name, worker_name, relation, schema_name,"
			   " table_name, attempt, lsn, bytes, bytes_done, tuples_done, tuples, finished_at)"
			   " SELECT $1, 'replicator', c.oid, n.nspname, c.relname, $3::int, $4::pg_lsn, $5::bigint, $6::bigint,"
			   " $7::bigint, CASE WHEN $8::bool THEN $7::bigint END, CASE WHEN $8::bool THEN now() END"
			   " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $2::oid"
			   " ON CONFLICT (group_name, worker_name, relation) DO UPDATE SET"
			   " started_at = CASE WHEN copied_tables.attempt = excluded.attempt THEN copied_tables.started_at ELSE now() END,"
			   " attempt = excluded.attempt, lsn = excluded.lsn, bytes = excluded.bytes,"
			   " bytes_done = CASE WHEN copied_tables.attempt = excluded.attempt THEN greatest(copied_tables.bytes_done, excluded.bytes_done) ELSE excluded.bytes_done END,"
			   " tuples_done = CASE WHEN copied_tables.attempt = excluded.attempt THEN greatest(copied_tables.tuples_done, excluded.tuples_done) ELSE excluded.tuples_done END,"
			   " tuples = excluded.tuples,"
			   " finished_at = excluded.finished_at",
			   8, group, psprintf("%u", progress->relation), psprintf("%u", progress->attempt),
			   flo_text_of_lsn(progress->lsn), flo_text_of_int64(progress->bytes),
			   flo_text_of_int64(progress->bytes_done), flo_text_of_int64(progress->tuples_done),
			   progress->finished ? "t" : "f");
}

void
flo_store_save_copy_attempt(const char *group, const char *worker, uint32 attempt)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.progress SET copy_attempt = greatest(copy_attempt, $3::int)"
			   " WHERE group_name = $1 AND worker_name = $2", 3, group, worker,
			   psprintf("%u", attempt));
}

void
flo_store_stop_member(const char *group, const char *member)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (strcmp(member, FLO_REPLICATOR_MEMBER) == 0)
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.sources SET started = false WHERE group_name = $1",
					1, group);
	else
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.workers SET started = false"
					" WHERE group_name = $1 AND worker_name = $2", 2, group, member);
	flo_sql_end(&sql);
}

/* The oldest of what a worker owes; see owed.c */
XLogRecPtr
flo_store_owed_since(const char *group, const char *worker, TimestampTz *at)
{
	FloSqlSession sql;
	XLogRecPtr	since = FLO_OWES_NOTHING;

	*at = 0;
	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT min(since), min(since_at) FROM flo.owed_copies"
					" WHERE group_name = $1 AND worker_name = $2 HAVING count(*) > 0", 2, group,
					worker) > 0)
	{
		bool		isnull;

		since = flo_lsn_of_text(flo_sql_text(&sql, 0, 1));
		*at = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												2, &isnull));
	}
	flo_sql_end(&sql);
	return since;
}

FloProgressRow *
flo_store_progress(const char *group, const char *worker)
{
	FloSqlSession sql;
	FloProgressRow *row = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT system_identifier, generation, generation_start, start_lsn,"
					" coalesce(lsn, '0/0'), copying, copy_attempt, sink_state, coalesce(skip_lsn, '0/0')"
					" FROM flo.progress WHERE group_name = $1 AND worker_name = $2",
					2, group, worker) > 0)
	{
		row = MemoryContextAllocZero(sql.caller, sizeof(FloProgressRow));
		row->system_identifier = (uint64) strtoi64(flo_sql_text(&sql, 0, 1), NULL, 10);
		flo_uuid_of_text(flo_sql_text(&sql, 0, 2), &row->generation);
		row->generation_start = flo_lsn_of_text(flo_sql_text(&sql, 0, 3));
		row->start_lsn = flo_lsn_of_text(flo_sql_text(&sql, 0, 4));
		row->lsn = flo_lsn_of_text(flo_sql_text(&sql, 0, 5));
		row->copying = flo_sql_true(0, 6);
		row->copy_attempt = (uint32) strtoul(flo_sql_text(&sql, 0, 7), NULL, 10);
		row->sink_state = flo_sql_text(&sql, 0, 8);
		row->skip_lsn = flo_lsn_of_text(flo_sql_text(&sql, 0, 9));
	}
	flo_sql_end(&sql);

	return row;
}

void
flo_store_save_progress(const char *group, const char *worker, const FloProgressRow *row)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.progress (group_name, worker_name, system_identifier, generation,"
			   " generation_start, start_lsn, lsn, copying, copy_attempt, sink_state)"
			   " VALUES ($1, $2, $3::bigint, $4::uuid, $5::pg_lsn, $6::pg_lsn, $7::pg_lsn, $8::bool, $9::int, $10::jsonb)"
			   " ON CONFLICT (group_name, worker_name) DO UPDATE SET"
			   " system_identifier = excluded.system_identifier, generation = excluded.generation,"
			   " generation_start = excluded.generation_start, start_lsn = excluded.start_lsn,"
			   " lsn = excluded.lsn, copying = excluded.copying,"
			   " copy_attempt = excluded.copy_attempt, sink_state = excluded.sink_state,"
			   " skip_lsn = NULL, updated_at = excluded.updated_at",
			   10, group, worker, flo_text_of_int64((int64) row->system_identifier),
			   flo_text_of_uuid(&row->generation), flo_text_of_lsn(row->generation_start),
			   flo_text_of_lsn(row->start_lsn),
			   XLogRecPtrIsInvalid(row->lsn) ? NULL : flo_text_of_lsn(row->lsn),
			   row->copying ? "t" : "f", psprintf("%u", row->copy_attempt),
			   row->sink_state);
}

bool
flo_store_move_progress(const char *group, const char *worker, XLogRecPtr lsn,
						const char *sink_state)
{
	return flo_sql_do(SPI_OK_UPDATE,
					  "UPDATE flo.progress SET lsn = $3::pg_lsn, sink_state = $4::jsonb,"
					  " updated_at = now() WHERE group_name = $1 AND worker_name = $2",
					  4, group, worker, flo_text_of_lsn(lsn), sink_state) > 0;
}

void
flo_store_save_sink_state(const char *group, const char *worker, const char *sink_state)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.progress SET sink_state = $3::jsonb"
			   " WHERE group_name = $1 AND worker_name = $2",
			   3, group, worker, sink_state);
}

bool
flo_store_save_skip(const char *group, const char *worker, XLogRecPtr lsn)
{
	return flo_sql_do(SPI_OK_UPDATE,
					  "UPDATE flo.progress SET skip_lsn = $3::pg_lsn WHERE group_name = $1 AND worker_name = $2",
					  3, group, worker, XLogRecPtrIsInvalid(lsn) ? NULL : flo_text_of_lsn(lsn)) > 0;
}

/* --- sequences ----------------------------------------------------------- */

char *
flo_store_sequence_values(const char *group)
{
	FloSqlSession sql;
	char	   *values;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT, "SELECT flo.sequence_values($1)", 1, group);
	values = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return flo_sequences_format(group, values);
}

/* --- removal ------------------------------------------------------------- */

/*
 * What is of a replicator, worker or group alone goes with its row, by foreign
 * keys.  Two kinds of tables cannot refer to that: those with rows of workers
 * and of the replicator, and those that people write, where a row may be there
 * before its group is.
 */

static void
begin_removal(FloSqlSession *sql)
{
	flo_sql_begin(sql);
	/* foreign keys hold whatever the session has made of its triggers */
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		flo_as_role_set("session_replication_role", "origin");
}

/*
 * The group's row goes with its last member.  It takes no member along: one
 * that is being made meanwhile is seen by the foreign key alone, which refuses.
 */
static void
forget_empty_group(const char *group)
{
	flo_sql_run(SPI_OK_DELETE,
				"DELETE FROM flo.groups g WHERE group_name = $1"
				" AND NOT EXISTS (SELECT FROM flo.sources r WHERE r.group_name = g.group_name)"
				" AND NOT EXISTS (SELECT FROM flo.workers w WHERE w.group_name = g.group_name)",
				1, group);
}

static uint64
delete_of_group(const char *table, const char *group)
{
	return flo_sql_run(SPI_OK_DELETE,
					   psprintf("DELETE FROM flo.%s WHERE group_name = $1", table), 1, group);
}

static uint64
delete_of_member(const char *table, const char *group, const char *member)
{
	return flo_sql_run(SPI_OK_DELETE,
					   psprintf("DELETE FROM flo.%s WHERE group_name = $1 AND worker_name = $2",
								table), 2, group, member);
}

static uint64
count_of_group(const char *table, const char *group)
{
	return flo_sql_run(SPI_OK_SELECT,
					   psprintf("SELECT FROM flo.%s WHERE group_name = $1", table), 1, group);
}

static void
delete_copies(const char *group, const char *member)
{
	delete_of_member("copied_tables", group, member);
	delete_of_member("planned_tables", group, member);
	delete_of_member("copies", group, member);
	delete_of_member("cutovers", group, member);
}

/* What the member has said of comparisons; "worker" NULL: the replicator, of all workers */
static void
delete_comparisons(const char *group, const char *worker)
{
	flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.comparisons WHERE group_name = $1"
				" AND side = CASE WHEN $2 IS NULL THEN 'source' ELSE 'destination' END"
				" AND worker_name = coalesce($2, worker_name)",
				2, group, worker);
}

void
flo_store_delete_replicator(const char *group)
{
	FloSqlSession sql;

	begin_removal(&sql);
	delete_copies(group, FLO_REPLICATOR_MEMBER);
	delete_comparisons(group, NULL);
	delete_of_member("shaped_tables", group, FLO_REPLICATOR_MEMBER);
	delete_of_member("secrets", group, "");
	delete_of_group("sources", group);
	forget_empty_group(group);
	flo_sql_end(&sql);
}

void
flo_store_delete_worker(const char *group, const char *worker, FloRulesCount *gone)
{
	FloSqlSession sql;

	begin_removal(&sql);
	delete_copies(group, worker);
	delete_comparisons(group, worker);
	delete_of_member("shaped_tables", group, worker);
	delete_of_member("secrets", group, worker);
	gone->rules = delete_of_member("rules", group, worker);
	gone->routes = delete_of_member("routes", group, worker);
	delete_of_member("webhook_subscriptions", group, worker);
	delete_of_member("workers", group, worker);
	forget_empty_group(group);
	flo_sql_end(&sql);
}

/*
 * Rules and routes stay unless they are to go: a group made anew without those that
 * mask its rows, or leave columns out, would bring everything.
 */
void
flo_store_delete_group(const char *group, bool with_rules, FloRulesCount *count)
{
	FloSqlSession sql;

	begin_removal(&sql);
	count->rules = with_rules ? delete_of_group("rules", group) : count_of_group("rules", group);
	count->routes = with_rules ? delete_of_group("routes", group) : count_of_group("routes", group);
	delete_of_group("webhook_subscriptions", group);
	delete_of_group("sources", group);
	delete_of_group("workers", group);
	delete_of_group("groups", group);
	flo_sql_end(&sql);
}

/* --- history ------------------------------------------------------------- */

/* Rows removed at a time: nobody shall wait for it, and a worker does it beside its work */
#define PRUNED_AT_ONCE 500

static bool
prune(const char *group, const char *table, const char *condition, int keep)
{
	/* what another worker of the group is at is left to it */
	return keep > 0 && flo_sql_run(SPI_OK_DELETE,
								   psprintf("DELETE FROM flo.%s WHERE id IN (SELECT id FROM flo.%s WHERE group_name = $1"
											" AND %s < now() - $2::interval ORDER BY id LIMIT %d FOR UPDATE SKIP LOCKED)",
											table, table, condition, PRUNED_AT_ONCE),
								   2, group, psprintf("%d minutes", keep)) == PRUNED_AT_ONCE;
}

bool
flo_store_prune_history(const char *group)
{
	FloSqlSession sql;
	bool		more;

	flo_sql_begin(&sql);
	more = prune(group, "ddl_log", "executed_at", flo_ddl_log_keep);
	more |= prune(group, "dead_letters",
				  "redrive_requested_at IS NULL AND coalesce(last_attempt_at, created_at)",
				  flo_dead_letters_keep);
	flo_sql_end(&sql);
	return more;
}

/*
 * Of groups that there are, and that nobody is about to drop; an event that is there
 * already was written by a scanner that could not say so any more
 */
void
flo_store_write_events(int64 newest)
{
	FloSqlSession sql;

	flo_sql_begin(&sql);
	if (OidIsValid(flo_store_table("event_log")))
	{
		(void) flo_sql_run(SPI_OK_INSERT,
						   "INSERT INTO flo.event_log SELECT u.* FROM flo.unsaved_events() u JOIN flo.groups g USING (group_name)"
						   " WHERE u.number <= $1::bigint FOR KEY SHARE OF g ON CONFLICT DO NOTHING",
						   1, psprintf(INT64_FORMAT, newest));
		if (flo_events_keep > 0)
			(void) flo_sql_run(SPI_OK_DELETE,
							   "DELETE FROM flo.event_log WHERE at < now() - $1::interval",
							   1, psprintf("%d minutes", flo_events_keep));
	}
	flo_sql_end(&sql);
}
