/*
 * store.c
 *		The configuration of groups as the tables of schema flo hold it.
 *
 * Promises: what a caller's privileges and search_path are does not matter
 * here (sql.c); what a caller may do is checked by the caller of this file.
 * Results live in the memory context that was current at the call.
 *
 * Awkward case: a configuration that pg_dump, a template database or a copy of
 * the whole cluster brought here names another system identifier or database
 * in flo.groups.  It is shown, but never counts as started.  The runtime state
 * that such a copy carries belongs to a slot and origins that are not here;
 * adopting the group forgets it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "conf/options.h"
#include "conf/sink_kinds.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/compat_table.h"
#include "core/names.h"
#include "core/text.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static char *
own_system(void)
{
	return flo_text_of_int64((int64) GetSystemIdentifier());
}

static char *
own_database(void)
{
	return psprintf("%u", MyDatabaseId);
}

static FloSinkKind
sink_from_text(const char *text)
{
	FloSinkKind kind;

	if (!flo_sink_find(text, &kind))
		elog(ERROR, "unknown sink \"%s\"", text);
	return kind;
}

static FloMode
mode_from_text(const char *text)
{
	if (strcmp(text, "stream") == 0)
		return FLO_MODE_STREAM;
	if (strcmp(text, "copy") == 0)
		return FLO_MODE_COPY;
	return FLO_MODE_COPY_AND_STREAM;
}

static const char *
mode_as_text(FloMode mode)
{
	static const char *const names[] = {"stream", "copy", "copy_and_stream"};

	return names[mode];
}

Oid
flo_store_table(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("flo", true));
}

bool
flo_store_has_rows(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = flo_compat_table_beginscan(rel, snapshot);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		found = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	return found;
}

/* --- groups and members -------------------------------------------------- */

bool
flo_store_group_exists(const char *group, bool *ours)
{
	FloSqlSession sql;
	bool		found;

	flo_sql_begin(&sql);
	found = flo_sql_run(SPI_OK_SELECT,
						"SELECT system_identifier = $2::bigint AND database = $3::oid"
						"  FROM flo.groups WHERE group_name = $1",
						3, group, own_system(), own_database()) > 0;
	if (ours)
		*ours = found && flo_sql_true(0, 1);
	flo_sql_end(&sql);

	return found;
}

bool
flo_store_adopt_group(const char *group)
{
	FloSqlSession sql;
	bool		foreign;

	flo_sql_begin(&sql);

	foreign = flo_sql_run(SPI_OK_UPDATE,
						  "UPDATE flo.groups SET system_identifier = $2::bigint, database = $3::oid"
						  " WHERE group_name = $1"
						  "   AND (system_identifier <> $2::bigint OR database <> $3::oid)",
						  3, group, own_system(), own_database()) > 0;
	if (foreign)
	{
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.sources SET started = false WHERE group_name = $1",
					1, group);
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.workers SET started = false WHERE group_name = $1",
					1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.generations WHERE group_name = $1", 1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.copy_requests WHERE group_name = $1", 1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.progress WHERE group_name = $1", 1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.full_identities WHERE group_name = $1",
					1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.shaped_tables WHERE group_name = $1", 1, group);
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.astray WHERE group_name = $1", 1, group);
		/* only these keep their OIDs when a server is upgraded */
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.group_objects WHERE group_name = $1"
					" AND (class_oid NOT IN ('pg_class'::regclass, 'pg_type'::regclass) OR pg_describe_object(class_oid, object_oid, 0) IS NULL)",
					1, group);
		flo_sql_run(SPI_OK_UPDATE, "UPDATE flo.chosen SET object = coalesce(CASE WHEN former THEN NULL WHEN kind = 'schema'"
					" THEN (SELECT n.oid FROM pg_namespace n WHERE n.nspname = name) ELSE to_regclass(name)::oid END, 0)"
					" WHERE group_name = $1", 1, group);
	}
	else
		flo_sql_run(SPI_OK_INSERT,
					"INSERT INTO flo.groups (group_name, system_identifier, database)"
					" VALUES ($1, $2::bigint, $3::oid) ON CONFLICT (group_name) DO NOTHING",
					3, group, own_system(), own_database());

	flo_sql_end(&sql);

	return foreign;
}

static List *
members_from_result(const FloSqlSession *sql, uint64 count)
{
	MemoryContext old = MemoryContextSwitchTo(sql->caller);
	List	   *members = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		FloMemberSpec *spec = palloc0(sizeof(FloMemberSpec));

		spec->group = flo_sql_text(sql, i, 1);
		spec->member = flo_sql_text(sql, i, 2);
		spec->is_replicator = strcmp(spec->member, FLO_REPLICATOR_MEMBER) == 0;
		if (!spec->is_replicator)
			spec->sink = sink_from_text(flo_sql_text(sql, i, 3));
		spec->owner = flo_sql_oid(i, 4);
		spec->started = flo_sql_true(i, 5);
		members = lappend(members, spec);
	}

	MemoryContextSwitchTo(old);
	return members;
}

#define MEMBERS \
	"SELECT group_name, member, sink, owner::oid, started FROM flo.members m "

List *
flo_store_members_here(void)
{
	FloSqlSession sql;
	List	   *members;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						MEMBERS "JOIN flo.groups g USING (group_name)"
						" WHERE system_identifier = $1::bigint AND database = $2::oid"
						" ORDER BY group_name, member",
						2, own_system(), own_database());
	members = members_from_result(&sql, count);
	flo_sql_end(&sql);

	return members;
}

List *
flo_store_members(const char *group)
{
	FloSqlSession sql;
	List	   *members;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						MEMBERS "WHERE $1 IS NULL OR group_name = $1 ORDER BY group_name, member",
						1, group);
	members = members_from_result(&sql, count);
	flo_sql_end(&sql);

	return members;
}

Oid
flo_store_member_owner(const char *group, const char *member, bool *found)
{
	FloSqlSession sql;
	Oid			owner = InvalidOid;

	flo_sql_begin(&sql);
	*found = flo_sql_run(SPI_OK_SELECT,
						 "SELECT owner::oid FROM flo.members WHERE group_name = $1 AND member = $2",
						 2, group, member) > 0;
	if (*found)
		owner = flo_sql_oid(0, 1);
	flo_sql_end(&sql);

	return owner;
}

int
flo_store_set_started(const char *group, const char *member, bool started)
{
	FloSqlSession sql;
	const char *wanted = started ? "true" : "false";
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_UPDATE,
						"UPDATE flo.sources SET started = $3::bool"
						" WHERE group_name = $1 AND ($2 IS NULL OR $2 = 'replicator')",
						3, group, member, wanted);
	count += flo_sql_run(SPI_OK_UPDATE,
						 "UPDATE flo.workers SET started = $3::bool"
						 " WHERE group_name = $1 AND ($2 IS NULL OR $2 = worker_name)",
						 3, group, member, wanted);

	/*
	 * a comparison that is under way ends with the replicator, which clears
	 * it away as it starts
	 */
	if (!started && (member == NULL || strcmp(member, FLO_REPLICATOR_MEMBER) == 0))
		flo_sql_run(SPI_OK_UPDATE,
					"UPDATE flo.comparisons c SET state = 'failed', detail = 'the replicator was stopped', finished_at = clock_timestamp()"
					" WHERE group_name = $1 AND side = 'source' AND finished_at IS NULL"
					" AND EXISTS (SELECT FROM flo.compare_requests r WHERE r.id = c.id AND r.begun)",
					1, group);
	flo_sql_end(&sql);

	return (int) count;
}

/* --- one member ---------------------------------------------------------- */

FloReplicatorSpec *
flo_store_replicator(const char *group)
{
	FloSqlSession sql;
	FloReplicatorSpec *spec = NULL;
	Jsonb	   *options = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT owner::oid, mode, copy_workers, sync_schema, track_ddl, started, options"
					"  FROM flo.sources WHERE group_name = $1", 1, group) > 0)
	{
		spec = MemoryContextAllocZero(sql.caller, sizeof(FloReplicatorSpec));
		spec->group = MemoryContextStrdup(sql.caller, group);
		spec->owner = flo_sql_oid(0, 1);
		spec->mode = mode_from_text(flo_sql_text(&sql, 0, 2));
		spec->copy_workers = pg_strtoint32(flo_sql_text(&sql, 0, 3));
		spec->sync_schema = flo_sql_true(0, 4);
		spec->track_ddl = flo_sql_true(0, 5);
		spec->started = flo_sql_true(0, 6);
		options = flo_sql_jsonb(&sql, 0, 7);
	}
	flo_sql_end(&sql);

	if (spec)
		flo_options_parse_replicator(options, &spec->options);
	return spec;
}

FloWorkerSpec *
flo_store_worker(const char *group, const char *worker)
{
	FloSqlSession sql;
	FloWorkerSpec *spec = NULL;
	Jsonb	   *options = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT owner::oid, sink, started, options"
					"  FROM flo.workers WHERE group_name = $1 AND worker_name = $2", 2, group,
					worker) > 0)
	{
		spec = MemoryContextAllocZero(sql.caller, sizeof(FloWorkerSpec));
		spec->group = MemoryContextStrdup(sql.caller, group);
		spec->worker = MemoryContextStrdup(sql.caller, worker);
		spec->owner = flo_sql_oid(0, 1);
		spec->sink = sink_from_text(flo_sql_text(&sql, 0, 2));
		spec->started = flo_sql_true(0, 3);
		options = flo_sql_jsonb(&sql, 0, 4);
	}
	flo_sql_end(&sql);

	if (spec)
	{
		flo_options_parse_worker(options, spec->sink, &spec->options);
		spec->stored_options = JsonbToCString(NULL, &options->root, VARSIZE(options));
	}
	return spec;
}

/* All in one statement: a group may list thousands of tables */
static void
insert_chosen(const char *group, const char *kind, const List *entries)
{
	StringInfoData rows;
	ListCell   *lc;

	if (entries == NIL)
		return;
	initStringInfo(&rows);
	foreach(lc, entries)
	{
		const FloChosen *entry = lfirst(lc);

		appendStringInfo(&rows, "%c[%u,", rows.len == 0 ? '[' : ',', entry->object);
		escape_json(&rows, entry->name);
		appendStringInfo(&rows, ",%s]", entry->former ? "true" : "false");
	}
	appendStringInfoChar(&rows, ']');
	flo_sql_do(SPI_OK_INSERT, "INSERT INTO flo.chosen (group_name, kind, object, name, former)"
			   " SELECT $1, $2, (e ->> 0)::oid, e ->> 1, (e ->> 2)::bool"
			   " FROM jsonb_array_elements($3::jsonb) WITH ORDINALITY r (e, place) ORDER BY place"
			   " ON CONFLICT DO NOTHING", 3, group, kind, rows.data);
}

void
flo_store_insert_replicator(const FloReplicatorSpec *spec, const FloTableChoice *choice,
							Jsonb *options)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.sources (group_name, mode, copy_workers, sync_schema, track_ddl, owner, options, every_table)"
			   " VALUES ($1, $2, $3::int, $4::bool, $5::bool, $6::oid::regrole, $7::jsonb, $8::bool)",
			   8, spec->group, mode_as_text(spec->mode), flo_text_of_int64(spec->copy_workers),
			   spec->sync_schema ? "t" : "f", spec->track_ddl ? "t" : "f",
			   psprintf("%u", spec->owner),
			   JsonbToCString(NULL, &options->root, VARSIZE(options)), choice->all ? "t" : "f");

	insert_chosen(spec->group, "table", choice->tables);
	insert_chosen(spec->group, "schema", choice->schemas);
	insert_chosen(spec->group, "except", choice->except_tables);
}

void
flo_store_insert_worker(const FloWorkerSpec *spec, Jsonb *options)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.workers (group_name, worker_name, sink, owner, options)"
			   " VALUES ($1, $2, $3, $4::oid::regrole, $5::jsonb)",
			   5, spec->group, spec->worker, flo_sink_name(spec->sink),
			   psprintf("%u", spec->owner),
			   JsonbToCString(NULL, &options->root, VARSIZE(options)));
}

Jsonb *
flo_store_options(const char *group, const char *member)
{
	FloSqlSession sql;
	Jsonb	   *options = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT,
					"SELECT options FROM flo.sources WHERE group_name = $1 AND $2 = 'replicator'"
					" UNION ALL SELECT options FROM flo.workers WHERE group_name = $1 AND worker_name = $2",
					2, group, member) > 0)
		options = flo_sql_jsonb(&sql, 0, 1);
	flo_sql_end(&sql);

	return options;
}

void
flo_store_save_options(const char *group, const char *member, Jsonb *options)
{
	FloSqlSession sql;
	char	   *text = JsonbToCString(NULL, &options->root, VARSIZE(options));

	flo_sql_begin(&sql);
	if (strcmp(member, FLO_REPLICATOR_MEMBER) == 0)
		flo_sql_run(SPI_OK_UPDATE,
					"UPDATE flo.sources SET options = $2::jsonb WHERE group_name = $1",
					2, group, text);
	else
		flo_sql_run(SPI_OK_UPDATE,
					"UPDATE flo.workers SET options = $3::jsonb WHERE group_name = $1 AND worker_name = $2",
					3, group, member, text);
	flo_sql_end(&sql);
}

/* --- the tables of a group ----------------------------------------------- */

static List **
list_of_kind(FloTableChoice *choice, const char *kind)
{
	if (strcmp(kind, "table") == 0)
		return &choice->tables;
	return strcmp(kind, "schema") == 0 ? &choice->schemas : &choice->except_tables;
}

/* OIDs mean something only in the database where the group is in force */
FloTableChoice *
flo_store_table_choice(const char *group)
{
	FloSqlSession sql;
	FloTableChoice *choice = NULL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT,
					   "SELECT s.every_table, c.kind,"
					   " CASE WHEN g.system_identifier = $2::bigint AND g.database = $3::oid THEN c.object ELSE 0 END, c.name, c.former"
					   "  FROM flo.sources s JOIN flo.groups g USING (group_name) LEFT JOIN flo.chosen c USING (group_name)"
					   " WHERE group_name = $1 ORDER BY c.place", 3, group, own_system(),
					   own_database());
	if (rows > 0)
	{
		choice = MemoryContextAllocZero(sql.caller, sizeof(FloTableChoice));
		choice->group = MemoryContextStrdup(sql.caller, group);
		choice->all = flo_sql_true(0, 1);
	}
	for (uint64 i = 0; i < rows; i++)
	{
		char	   *kind = flo_sql_text(&sql, i, 2);
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		if (kind != NULL)
		{
			FloChosen  *chosen = palloc(sizeof(FloChosen));
			List	  **list = list_of_kind(choice, kind);

			chosen->object = flo_sql_oid(i, 3);
			chosen->name = flo_sql_text(&sql, i, 4);
			chosen->former = flo_sql_true(i, 5);
			*list = lappend(*list, chosen);
		}
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);

	return choice;
}

void
flo_store_note_first_tables(const char *group, const List *relations, bool anew)
{
	StringInfoData oids;
	FloSqlSession sql;
	ListCell   *lc;

	initStringInfo(&oids);
	appendStringInfoChar(&oids, '{');
	foreach(lc, relations)
		appendStringInfo(&oids, "%s%u", oids.len > 1 ? "," : "", lfirst_oid(lc));
	appendStringInfoChar(&oids, '}');
	flo_sql_begin(&sql);
	if (anew)
		flo_sql_run(SPI_OK_DELETE, "DELETE FROM flo.first_tables WHERE group_name = $1", 1, group);
	flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.first_tables SELECT $1, c.oid, format('%I.%I', n.nspname, c.relname)"
				" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid IN"
				" (SELECT t FROM unnest($2::oid[]) t UNION SELECT p.relid FROM unnest($2::oid[]) t, pg_partition_tree(t) p)"
				" ON CONFLICT (group_name, relation) DO UPDATE SET name = EXCLUDED.name", 2, group,
				oids.data);
	flo_sql_end(&sql);
}

List *
flo_store_first_tables(const char *group)
{
	FloSqlSession sql;
	List	   *relations = NIL;
	uint64		count;
	MemoryContext spi;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						"SELECT relation, name FROM flo.first_tables WHERE group_name = $1",
						1, group);
	for (uint64 i = 0; i < count; i++)
	{
		FloChosen  *table;

		spi = MemoryContextSwitchTo(sql.caller);
		table = palloc0(sizeof(FloChosen));
		table->object = flo_sql_oid(i, 1);
		relations = lappend(relations, table);
		MemoryContextSwitchTo(spi);
		table->name = flo_sql_text(&sql, i, 2);
	}
	flo_sql_end(&sql);
	return relations;
}

void
flo_store_add_chosen(const char *group, const char *kind, const FloChosen *chosen)
{
	insert_chosen(group, kind, list_make1(unconstify(FloChosen *, chosen)));
}

#define THIS_ONE " WHERE group_name = $1 AND kind = $2 AND object = $3::oid AND name = $4"

void
flo_store_rename_chosen(const char *group, const char *kind, const FloChosen *chosen,
						const char *name)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.chosen SET name = $5" THIS_ONE,
			   5, group, kind, psprintf("%u", chosen->object), chosen->name, name);
}

void
flo_store_retire_chosen(const char *group, const char *kind, const FloChosen *chosen)
{
	flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.chosen SET former = true" THIS_ONE,
			   4, group, kind, psprintf("%u", chosen->object), chosen->name);
}

void
flo_store_remove_chosen(const char *group, const char *kind, const FloChosen *chosen)
{
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.chosen" THIS_ONE,
			   4, group, kind, psprintf("%u", chosen->object), chosen->name);
}

/* --- tables that nobody could find the rows of --------------------------- */

List *
flo_store_astray(const char *group)
{
	FloSqlSession sql;
	List	   *result = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT relation FROM flo.astray WHERE group_name = $1",
					   1, group);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		result = lappend_oid(result, flo_sql_oid(i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return result;
}

bool
flo_store_lost(const char *group, Oid relation)
{
	return flo_sql_do(SPI_OK_INSERT,
					  "INSERT INTO flo.astray (group_name, relation) VALUES ($1, $2::oid)"
					  " ON CONFLICT DO NOTHING", 2, group, psprintf("%u", relation)) > 0;
}

bool
flo_store_found(const char *group, Oid relation)
{
	return flo_sql_do(SPI_OK_DELETE,
					  "DELETE FROM flo.astray WHERE group_name = $1 AND relation = $2::oid",
					  2, group, psprintf("%u", relation)) > 0;
}
