/*
 * store.c
 *		Reads and writes the catalog tables of schema flo.
 *
 * Promises: every statement runs as the owner of the extension with
 * search_path pinned, so neither the caller's privileges nor his search_path
 * can change what it does; what a caller may do is checked by the caller of
 * this file.  Results live in the memory context that was current at the call.
 *
 * Awkward cases:
 *
 * - A configuration that pg_dump, a template database or a copy of the whole
 *	 cluster brought here names another system identifier or database in
 *	 flo.groups.  It is shown, but never counts as started.
 * - The runtime state (generations, progress) that such a copy carries belongs
 *	 to a slot and origins that are not here; adopting the group forgets it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "conf/options.h"
#include "conf/store.h"
#include "core/names.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#define EXTENSION_NAME "pg_flo"
#define MAX_ARGUMENTS 12

/* One visit to the tables: from visit_begin() to visit_end() */
typedef struct Visit
{
	FloStoreAs	as;
	MemoryContext caller;
	bool		pushed_snapshot;
} Visit;

bool
flo_store_extension_exists(void)
{
	return OidIsValid(get_extension_oid(EXTENSION_NAME, true));
}

static Oid
extension_owner(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));

	return owner;
}

void
flo_store_enter(FloStoreAs *as)
{
	Oid			owner = extension_owner();

	as->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	GetUserIdAndSecContext(&as->user, &as->context);
	SetUserIdAndSecContext(owner, as->context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
}

void
flo_store_leave(const FloStoreAs *as)
{
	SetUserIdAndSecContext(as->user, as->context);
	AtEOXact_GUC(false, as->guc_level);
}

static void
visit_begin(Visit *visit)
{
	visit->caller = CurrentMemoryContext;
	flo_store_enter(&visit->as);
	SPI_connect();

	visit->pushed_snapshot = !ActiveSnapshotSet();
	if (visit->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
}

static void
visit_end(Visit *visit)
{
	if (visit->pushed_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	flo_store_leave(&visit->as);
	MemoryContextSwitchTo(visit->caller);
}

/*
 * Run a statement whose arguments are all text (NULL pointers are NULLs); the
 * statement casts them as it needs.  Returns the number of rows.
 */
static uint64
run(int expected, const char *sql, int nargs,...)
{
	Oid			types[MAX_ARGUMENTS];
	Datum		values[MAX_ARGUMENTS];
	char		nulls[MAX_ARGUMENTS];
	va_list		args;
	int			result;

	Assert(nargs <= MAX_ARGUMENTS);

	va_start(args, nargs);
	for (int i = 0; i < nargs; i++)
	{
		const char *value = va_arg(args, const char *);

		types[i] = TEXTOID;
		nulls[i] = value ? ' ' : 'n';
		values[i] = value ? CStringGetTextDatum(value) : (Datum) 0;
	}
	va_end(args);

	result = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);
	if (result != expected)
		elog(ERROR, "statement on schema flo returned %s: %s",
			 SPI_result_code_string(result), sql);

	return SPI_processed;
}

/* A value of the result, copied to the caller's context; NULL for NULL */
static char *
cell(const Visit *visit, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(visit->caller, value) : NULL;
}

static bool
cell_is_true(uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value != NULL && value[0] == 't';
}

static Jsonb *
cell_jsonb(const Visit *visit, uint64 row, int column)
{
	MemoryContext old = MemoryContextSwitchTo(visit->caller);
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
									  column, &isnull);
	Jsonb	   *result = isnull ? NULL : DatumGetJsonbPCopy(value);

	MemoryContextSwitchTo(old);
	return result;
}

/* A text[] as List of char *; NIL for NULL, which *isnull tells from empty */
static List *
cell_list(const Visit *visit, uint64 row, int column, bool *isnull)
{
	MemoryContext old = MemoryContextSwitchTo(visit->caller);
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
									  column, isnull);
	List	   *result = NIL;

	if (!*isnull)
	{
		Datum	   *elements;
		int			count;

		deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, NULL, &count);
		for (int i = 0; i < count; i++)
			result = lappend(result, TextDatumGetCString(elements[i]));
	}

	MemoryContextSwitchTo(old);
	return result;
}

/* The text form of a text[] of these strings */
static char *
list_as_array(const List *strings)
{
	Datum	   *elements = palloc(sizeof(Datum) * (list_length(strings) + 1));
	ListCell   *lc;
	int			count = 0;
	Oid			output;
	bool		varlena;

	foreach(lc, strings)
		elements[count++] = CStringGetTextDatum(lfirst(lc));

	getTypeOutputInfo(TEXTARRAYOID, &output, &varlena);
	return OidOutputFunctionCall(output,
								 PointerGetDatum(construct_array(elements, count, TEXTOID, -1,
																 false, TYPALIGN_INT)));
}

static char *
lsn_as_text(XLogRecPtr lsn)
{
	return psprintf("%X/%X", LSN_FORMAT_ARGS(lsn));
}

static XLogRecPtr
text_as_lsn(const char *text)
{
	return DatumGetLSN(DirectFunctionCall1(pg_lsn_in, CStringGetDatum(text)));
}

static char *
uuid_as_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

static void
text_as_uuid(const char *text, pg_uuid_t *uuid)
{
	*uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
}

static char *
int64_as_text(int64 value)
{
	return psprintf(INT64_FORMAT, value);
}

static char *
own_system(void)
{
	return int64_as_text((int64) GetSystemIdentifier());
}

static char *
own_database(void)
{
	return psprintf("%u", MyDatabaseId);
}

static FloSinkKind
sink_from_text(const char *text)
{
	if (strcmp(text, "postgres") == 0)
		return FLO_SINK_POSTGRES;
	if (strcmp(text, "file") == 0)
		return FLO_SINK_FILE;
	if (strcmp(text, "stdout") == 0)
		return FLO_SINK_STDOUT;
	return FLO_SINK_WEBHOOK;
}

static const char *
sink_as_text(FloSinkKind sink)
{
	static const char *const names[] = {"postgres", "file", "stdout", "webhook"};

	return names[sink];
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

/* --- groups and members ------------------------------------------------------ */

bool
flo_store_group_exists(const char *group, bool *ours)
{
	Visit		visit;
	bool		found;

	visit_begin(&visit);
	found = run(SPI_OK_SELECT,
				"SELECT system_identifier = $2::bigint AND database = $3::oid"
				"  FROM flo.groups WHERE group_name = $1",
				3, group, own_system(), own_database()) > 0;
	if (ours)
		*ours = found && cell_is_true(0, 1);
	visit_end(&visit);

	return found;
}

bool
flo_store_adopt_group(const char *group)
{
	Visit		visit;
	bool		foreign;

	visit_begin(&visit);

	foreign = run(SPI_OK_UPDATE,
				  "UPDATE flo.groups SET system_identifier = $2::bigint, database = $3::oid"
				  " WHERE group_name = $1"
				  "   AND (system_identifier <> $2::bigint OR database <> $3::oid)",
				  3, group, own_system(), own_database()) > 0;
	if (foreign)
	{
		run(SPI_OK_UPDATE, "UPDATE flo.replicators SET started = false WHERE group_name = $1", 1, group);
		run(SPI_OK_UPDATE, "UPDATE flo.workers SET started = false WHERE group_name = $1", 1, group);
		run(SPI_OK_DELETE, "DELETE FROM flo.generations WHERE group_name = $1", 1, group);
		run(SPI_OK_DELETE, "DELETE FROM flo.progress WHERE group_name = $1", 1, group);
		run(SPI_OK_DELETE, "DELETE FROM flo.full_identities WHERE group_name = $1", 1, group);
		run(SPI_OK_DELETE, "DELETE FROM flo.shaped_tables WHERE group_name = $1", 1, group);
	}
	else
		run(SPI_OK_INSERT,
			"INSERT INTO flo.groups (group_name, system_identifier, database)"
			" VALUES ($1, $2::bigint, $3::oid) ON CONFLICT (group_name) DO NOTHING",
			3, group, own_system(), own_database());

	visit_end(&visit);

	return foreign;
}

static List *
members_from_result(const Visit *visit, uint64 count)
{
	MemoryContext old = MemoryContextSwitchTo(visit->caller);
	List	   *members = NIL;

	for (uint64 i = 0; i < count; i++)
	{
		FloMemberSpec *spec = palloc0(sizeof(FloMemberSpec));

		spec->group = cell(visit, i, 1);
		spec->member = cell(visit, i, 2);
		spec->is_replicator = strcmp(spec->member, FLO_REPLICATOR_MEMBER) == 0;
		if (!spec->is_replicator)
			spec->sink = sink_from_text(cell(visit, i, 3));
		members = lappend(members, spec);
	}

	MemoryContextSwitchTo(old);
	return members;
}

#define MEMBERS \
	"SELECT group_name, member, sink FROM (" \
	"  SELECT group_name, 'replicator' AS member, NULL AS sink, started FROM flo.replicators" \
	"  UNION ALL SELECT group_name, worker_name, sink, started FROM flo.workers) m "

List *
flo_store_started_members(void)
{
	Visit		visit;
	List	   *members;
	uint64		count;

	visit_begin(&visit);
	count = run(SPI_OK_SELECT,
				MEMBERS "JOIN flo.groups g USING (group_name)"
				" WHERE started AND system_identifier = $1::bigint AND database = $2::oid"
				" ORDER BY group_name, member",
				2, own_system(), own_database());
	members = members_from_result(&visit, count);
	visit_end(&visit);

	return members;
}

List *
flo_store_members(const char *group)
{
	Visit		visit;
	List	   *members;
	uint64		count;

	visit_begin(&visit);
	count = run(SPI_OK_SELECT,
				MEMBERS "WHERE $1 IS NULL OR group_name = $1 ORDER BY group_name, member",
				1, group);
	members = members_from_result(&visit, count);
	visit_end(&visit);

	return members;
}

Oid
flo_store_member_owner(const char *group, const char *member, bool *found)
{
	Visit		visit;
	Oid			owner = InvalidOid;

	visit_begin(&visit);
	*found = run(SPI_OK_SELECT,
				 "SELECT owner FROM flo.replicators WHERE group_name = $1 AND $2 = 'replicator'"
				 " UNION ALL SELECT owner FROM flo.workers WHERE group_name = $1 AND worker_name = $2",
				 2, group, member) > 0;
	if (*found)
		owner = get_role_oid(cell(&visit, 0, 1), true);
	visit_end(&visit);

	return owner;
}

int
flo_store_set_started(const char *group, const char *member, bool started)
{
	Visit		visit;
	const char *wanted = started ? "true" : "false";
	uint64		count;

	visit_begin(&visit);
	count = run(SPI_OK_UPDATE,
				"UPDATE flo.replicators SET started = $3::bool"
				" WHERE group_name = $1 AND ($2 IS NULL OR $2 = 'replicator')",
				3, group, member, wanted);
	count += run(SPI_OK_UPDATE,
				 "UPDATE flo.workers SET started = $3::bool"
				 " WHERE group_name = $1 AND ($2 IS NULL OR $2 = worker_name)",
				 3, group, member, wanted);
	visit_end(&visit);

	return (int) count;
}

const char *
flo_store_unexecuted(const char *group)
{
	Visit		visit;
	const char *what = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT, "SELECT FROM flo.webhook_subscriptions WHERE group_name = $1 AND enabled LIMIT 1", 1, group) > 0)
		what = "webhook subscriptions";
	visit_end(&visit);

	return what;
}

/* --- one member -------------------------------------------------------------- */

FloReplicatorSpec *
flo_store_replicator(const char *group)
{
	Visit		visit;
	FloReplicatorSpec *spec = NULL;
	Jsonb	   *options = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT owner, mode, copy_workers, sync_schema, track_ddl, started, options"
			"  FROM flo.replicators WHERE group_name = $1", 1, group) > 0)
	{
		spec = MemoryContextAllocZero(visit.caller, sizeof(FloReplicatorSpec));
		spec->group = MemoryContextStrdup(visit.caller, group);
		spec->owner = get_role_oid(cell(&visit, 0, 1), true);
		spec->mode = mode_from_text(cell(&visit, 0, 2));
		spec->copy_workers = pg_strtoint32(cell(&visit, 0, 3));
		spec->sync_schema = cell_is_true(0, 4);
		spec->track_ddl = cell_is_true(0, 5);
		spec->started = cell_is_true(0, 6);
		options = cell_jsonb(&visit, 0, 7);
	}
	visit_end(&visit);

	if (spec)
		flo_options_parse_replicator(options, &spec->options);
	return spec;
}

FloWorkerSpec *
flo_store_worker(const char *group, const char *worker)
{
	Visit		visit;
	FloWorkerSpec *spec = NULL;
	Jsonb	   *options = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT owner, sink, started, options"
			"  FROM flo.workers WHERE group_name = $1 AND worker_name = $2", 2, group, worker) > 0)
	{
		spec = MemoryContextAllocZero(visit.caller, sizeof(FloWorkerSpec));
		spec->group = MemoryContextStrdup(visit.caller, group);
		spec->worker = MemoryContextStrdup(visit.caller, worker);
		spec->owner = get_role_oid(cell(&visit, 0, 1), true);
		spec->sink = sink_from_text(cell(&visit, 0, 2));
		spec->started = cell_is_true(0, 3);
		options = cell_jsonb(&visit, 0, 4);
	}
	visit_end(&visit);

	if (spec)
		flo_options_parse_worker(options, spec->sink, &spec->options);
	return spec;
}

void
flo_store_insert_replicator(const FloReplicatorSpec *spec, const FloTableChoice *choice,
							Jsonb *options)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_INSERT,
		"INSERT INTO flo.replicators (group_name, mode, copy_workers, sync_schema, track_ddl, owner, options)"
		" VALUES ($1, $2, $3::int, $4::bool, $5::bool, $6::name, $7::jsonb)",
		7, spec->group, mode_as_text(spec->mode), int64_as_text(spec->copy_workers),
		spec->sync_schema ? "t" : "f", spec->track_ddl ? "t" : "f",
		GetUserNameFromId(spec->owner, false),
		JsonbToCString(NULL, &options->root, VARSIZE(options)));
	visit_end(&visit);

	flo_store_save_table_choice(spec->group, choice);
}

void
flo_store_insert_worker(const FloWorkerSpec *spec, Jsonb *options)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_INSERT,
		"INSERT INTO flo.workers (group_name, worker_name, sink, owner, options)"
		" VALUES ($1, $2, $3, $4::name, $5::jsonb)",
		5, spec->group, spec->worker, sink_as_text(spec->sink),
		GetUserNameFromId(spec->owner, false),
		JsonbToCString(NULL, &options->root, VARSIZE(options)));
	visit_end(&visit);
}

Jsonb *
flo_store_options(const char *group, const char *member)
{
	Visit		visit;
	Jsonb	   *options = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT options FROM flo.replicators WHERE group_name = $1 AND $2 = 'replicator'"
			" UNION ALL SELECT options FROM flo.workers WHERE group_name = $1 AND worker_name = $2",
			2, group, member) > 0)
		options = cell_jsonb(&visit, 0, 1);
	visit_end(&visit);

	return options;
}

void
flo_store_save_options(const char *group, const char *member, Jsonb *options)
{
	Visit		visit;
	char	   *text = JsonbToCString(NULL, &options->root, VARSIZE(options));

	visit_begin(&visit);
	if (strcmp(member, FLO_REPLICATOR_MEMBER) == 0)
		run(SPI_OK_UPDATE, "UPDATE flo.replicators SET options = $2::jsonb WHERE group_name = $1",
			2, group, text);
	else
		run(SPI_OK_UPDATE,
			"UPDATE flo.workers SET options = $3::jsonb WHERE group_name = $1 AND worker_name = $2",
			3, group, member, text);
	visit_end(&visit);
}

/* --- the tables of a group --------------------------------------------------- */

FloTableChoice *
flo_store_table_choice(const char *group)
{
	Visit		visit;
	FloTableChoice *choice = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT tables, schemas, except_tables FROM flo.replicators WHERE group_name = $1",
			1, group) > 0)
	{
		bool		no_tables;
		bool		no_schemas;
		bool		no_exceptions;

		choice = MemoryContextAllocZero(visit.caller, sizeof(FloTableChoice));
		choice->tables = cell_list(&visit, 0, 1, &no_tables);
		choice->schemas = cell_list(&visit, 0, 2, &no_schemas);
		choice->except_tables = cell_list(&visit, 0, 3, &no_exceptions);
		choice->all = no_tables && no_schemas;
	}
	visit_end(&visit);

	return choice;
}

void
flo_store_save_table_choice(const char *group, const FloTableChoice *choice)
{
	Visit		visit;
	bool		no_tables = choice->all || (choice->tables == NIL && choice->schemas != NIL);

	visit_begin(&visit);
	run(SPI_OK_UPDATE,
		"UPDATE flo.replicators SET tables = $2::text[], schemas = $3::text[], except_tables = $4::text[]"
		" WHERE group_name = $1",
		4, group,
		no_tables ? NULL : list_as_array(choice->tables),
		choice->schemas == NIL ? NULL : list_as_array(choice->schemas),
		choice->except_tables == NIL ? NULL : list_as_array(choice->except_tables));
	visit_end(&visit);
}

List *
flo_store_full_identities(const char *group)
{
	Visit		visit;
	List	   *result = NIL;
	uint64		count;

	visit_begin(&visit);
	count = run(SPI_OK_SELECT,
				"SELECT relation, before FROM flo.full_identities WHERE group_name = $1", 1, group);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(visit.caller);
		FloFullIdentity *identity = palloc(sizeof(FloFullIdentity));

		identity->relation = (Oid) strtoul(cell(&visit, i, 1), NULL, 10);
		identity->before = *cell(&visit, i, 2);
		result = lappend(result, identity);
		MemoryContextSwitchTo(old);
	}
	visit_end(&visit);

	return result;
}

void
flo_store_add_full_identity(const char *group, Oid relation, char before)
{
	Visit		visit;
	char		identity[2] = {before, '\0'};

	visit_begin(&visit);
	run(SPI_OK_INSERT,
		"INSERT INTO flo.full_identities (group_name, relation, before)"
		" VALUES ($1, $2::oid, $3::\"char\") ON CONFLICT DO NOTHING",
		3, group, psprintf("%u", relation), identity);
	visit_end(&visit);
}

void
flo_store_remove_full_identity(const char *group, Oid relation)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_DELETE,
		"DELETE FROM flo.full_identities WHERE group_name = $1 AND relation = $2::oid",
		2, group, psprintf("%u", relation));
	visit_end(&visit);
}

/* --- runtime state ----------------------------------------------------------- */

FloGeneration *
flo_store_generation(const char *group)
{
	Visit		visit;
	FloGeneration *generation = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT generation, start_lsn, epoch FROM flo.generations WHERE group_name = $1",
			1, group) > 0)
	{
		generation = MemoryContextAllocZero(visit.caller, sizeof(FloGeneration));
		text_as_uuid(cell(&visit, 0, 1), &generation->id);
		generation->start = text_as_lsn(cell(&visit, 0, 2));
		generation->epoch = (uint64) strtou64(cell(&visit, 0, 3), NULL, 10);
	}
	visit_end(&visit);

	return generation;
}

void
flo_store_save_generation(const char *group, const FloGeneration *generation)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_INSERT,
		"INSERT INTO flo.generations (group_name, generation, start_lsn, epoch)"
		" VALUES ($1, $2::uuid, $3::pg_lsn, $4::bigint)"
		" ON CONFLICT (group_name) DO UPDATE SET generation = excluded.generation,"
		" start_lsn = excluded.start_lsn, epoch = excluded.epoch, created_at = excluded.created_at",
		4, group, uuid_as_text(&generation->id), lsn_as_text(generation->start),
		int64_as_text((int64) generation->epoch));
	visit_end(&visit);
}

void
flo_store_save_epoch(const char *group, uint64 epoch)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_UPDATE,
		"UPDATE flo.generations SET epoch = greatest(epoch, $2::bigint) WHERE group_name = $1",
		2, group, int64_as_text((int64) epoch));
	visit_end(&visit);
}

FloProgressRow *
flo_store_progress(const char *group, const char *worker)
{
	Visit		visit;
	FloProgressRow *row = NULL;

	visit_begin(&visit);
	if (run(SPI_OK_SELECT,
			"SELECT system_identifier, generation, generation_start, start_lsn,"
			" coalesce(lsn, '0/0') FROM flo.progress WHERE group_name = $1 AND worker_name = $2",
			2, group, worker) > 0)
	{
		row = MemoryContextAllocZero(visit.caller, sizeof(FloProgressRow));
		row->system_identifier = (uint64) strtoi64(cell(&visit, 0, 1), NULL, 10);
		text_as_uuid(cell(&visit, 0, 2), &row->generation);
		row->generation_start = text_as_lsn(cell(&visit, 0, 3));
		row->start_lsn = text_as_lsn(cell(&visit, 0, 4));
		row->lsn = text_as_lsn(cell(&visit, 0, 5));
	}
	visit_end(&visit);

	return row;
}

void
flo_store_save_progress(const char *group, const char *worker, const FloProgressRow *row)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_INSERT,
		"INSERT INTO flo.progress (group_name, worker_name, system_identifier, generation,"
		" generation_start, start_lsn, lsn)"
		" VALUES ($1, $2, $3::bigint, $4::uuid, $5::pg_lsn, $6::pg_lsn, $7::pg_lsn)"
		" ON CONFLICT (group_name, worker_name) DO UPDATE SET"
		" system_identifier = excluded.system_identifier, generation = excluded.generation,"
		" generation_start = excluded.generation_start, start_lsn = excluded.start_lsn,"
		" lsn = excluded.lsn, updated_at = excluded.updated_at",
		7, group, worker, int64_as_text((int64) row->system_identifier),
		uuid_as_text(&row->generation), lsn_as_text(row->generation_start),
		lsn_as_text(row->start_lsn),
		XLogRecPtrIsInvalid(row->lsn) ? NULL : lsn_as_text(row->lsn));
	visit_end(&visit);
}

/* --- removal ----------------------------------------------------------------- */

/* The group's row goes with its last member */
static void
forget_empty_group(const char *group)
{
	run(SPI_OK_DELETE,
		"DELETE FROM flo.groups g WHERE group_name = $1"
		" AND NOT EXISTS (SELECT FROM flo.replicators r WHERE r.group_name = g.group_name)"
		" AND NOT EXISTS (SELECT FROM flo.workers w WHERE w.group_name = g.group_name)",
		1, group);
}

static void
delete_of_worker(const char *table, const char *group, const char *worker)
{
	run(SPI_OK_DELETE,
		psprintf("DELETE FROM flo.%s WHERE group_name = $1 AND worker_name = $2", table),
		2, group, worker);
}

void
flo_store_delete_replicator(const char *group)
{
	Visit		visit;

	visit_begin(&visit);
	run(SPI_OK_DELETE, "DELETE FROM flo.full_identities WHERE group_name = $1", 1, group);
	run(SPI_OK_DELETE, "DELETE FROM flo.generations WHERE group_name = $1", 1, group);
	delete_of_worker("shaped_tables", group, FLO_REPLICATOR_MEMBER);
	run(SPI_OK_DELETE, "DELETE FROM flo.replicators WHERE group_name = $1", 1, group);
	forget_empty_group(group);
	visit_end(&visit);
}

void
flo_store_delete_worker(const char *group, const char *worker)
{
	static const char *const tables[] = {
		"progress", "dead_letters", "pending_ddl", "secrets", "rules", "routes",
		"shaped_tables", "webhook_subscriptions", "workers"
	};
	Visit		visit;

	visit_begin(&visit);
	for (int i = 0; i < lengthof(tables); i++)
		delete_of_worker(tables[i], group, worker);
	forget_empty_group(group);
	visit_end(&visit);
}

void
flo_store_delete_group(const char *group)
{
	static const char *const tables[] = {
		"full_identities", "generations", "progress", "dead_letters", "pending_ddl",
		"ddl_log", "secrets", "rules", "routes", "shaped_tables", "webhook_subscriptions",
		"workers", "replicators", "groups"
	};
	Visit		visit;

	visit_begin(&visit);
	for (int i = 0; i < lengthof(tables); i++)
		run(SPI_OK_DELETE,
			psprintf("DELETE FROM flo.%s WHERE group_name = $1", tables[i]), 1, group);
	visit_end(&visit);
}
