/*
 * members.c
 *		The SQL functions that make, change, start and stop replicators and
 *		workers.
 *
 * Promises: what can be known when a function is called is checked there, with an
 * SQLSTATE (doc/sql.md lists them) and a hint, and nothing is left half-made
 * (everything here is ordinary transactional work).  The caller's own
 * rights decide: publications and replica identities are changed as the
 * caller, rows of schema flo as the extension's owner.
 *
 * Awkward cases: a configuration that was restored or cloned from elsewhere is
 * adopted by start_group() and create_*(), never by itself; features of later
 * releases are refused here by name (0A000) rather than half understood.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "api/function.h"
#include "api/members.h"
#include "api/tables.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "conf/commit.h"
#include "conf/event_tables.h"
#include "conf/newtables.h"
#include "conf/options.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/rule_tables.h"
#include "conf/sink_kinds.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/lock.h"
#include "core/names.h"
#include "core/settings.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "replication/slot.h"
#include "sink/sink.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"

#define MAX_COPY_WORKERS 64

FLO_FUNCTION(flo_create_replicator);
FLO_FUNCTION(flo_create_worker);
FLO_FUNCTION(flo_alter_replicator);
FLO_FUNCTION(flo_alter_worker);
FLO_FUNCTION(flo_start_group);
FLO_FUNCTION(flo_stop_group);

/* --- arguments ----------------------------------------------------------- */

static Jsonb *
options_argument(FunctionCallInfo fcinfo, int n)
{
	flo_argument_require(fcinfo, n, "options");
	return PG_GETARG_JSONB_P(n);
}

/* An array argument as datums; NULL gives none.  Neither empty nor with NULLs in it. */
static int
array_argument(FunctionCallInfo fcinfo, int n, const char *name, Oid type, Datum **elements)
{
	ArrayType  *array;
	bool	   *nulls;
	int			count;
	bool		is_text = type == TEXTOID;

	if (PG_ARGISNULL(n))
		return 0;

	array = PG_GETARG_ARRAYTYPE_P(n);
	deconstruct_array(array, type, is_text ? -1 : sizeof(Oid), !is_text, TYPALIGN_INT,
					  elements, &nulls, &count);

	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be an empty array", name),
				 errhint("Pass NULL, or leave it out, to make no choice by this argument.")));
	for (int i = 0; i < count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not contain nulls", name)));

	return count;
}

static List *
tables_argument(FunctionCallInfo fcinfo, int n, const char *name, bool to_replicate)
{
	Datum	   *elements;
	int			count = array_argument(fcinfo, n, name, REGCLASSOID, &elements);
	List	   *relations = NIL;

	for (int i = 0; i < count; i++)
	{
		Oid			relation = DatumGetObjectId(elements[i]);

		if (to_replicate || !OidIsValid(get_rel_namespace(relation)))
			flo_tables_check_kind(relation);
		relations = list_append_unique_oid(relations, relation);
	}

	return relations;
}

static List *
schemas_argument(FunctionCallInfo fcinfo, int n)
{
	Datum	   *elements;
	int			count = array_argument(fcinfo, n, "schemas", TEXTOID, &elements);
	List	   *schemas = NIL;

	for (int i = 0; i < count; i++)
	{
		char	   *name = TextDatumGetCString(elements[i]);
		Oid			schema = get_namespace_oid(name, false);

		if (schema < FirstNormalObjectId ? strcmp(name, "public") != 0 :
			isAnyTempNamespace(schema) || strcmp(name, "flo") == 0 ||
			strcmp(name, "information_schema") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot replicate schema \"%s\"", name),
					 errhint("Schemas of the system and of pg_flo are never replicated.")));
		schemas = list_append_unique_oid(schemas, schema);
	}

	return schemas;
}

static FloMode
mode_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *mode = flo_argument_text(fcinfo, n, "mode");

	if (strcmp(mode, "stream") == 0)
		return FLO_MODE_STREAM;
	if (strcmp(mode, "copy") == 0)
		return FLO_MODE_COPY;
	if (strcmp(mode, "copy_and_stream") == 0)
		return FLO_MODE_COPY_AND_STREAM;

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid mode \"%s\"", mode),
			 errhint("Valid modes are: stream, copy, copy_and_stream.")));
}

static FloSinkKind
sink_argument(const char *sink)
{
	FloSinkKind kind;

	if (!flo_sink_find(sink, &kind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid sink \"%s\"", sink),
				 errhint("Valid sinks are: %s.", flo_sink_names())));
	return kind;
}

/* The options without nulls: those mean the default, which is not stored */
static Jsonb *
without_nulls(Jsonb *options)
{
	/* the second argument exists from version 18 on: also in arrays? */
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_strip_nulls, JsonbPGetDatum(options),
											  BoolGetDatum(false)));
}

static Jsonb *
merge_options(Jsonb *before, Jsonb *changes)
{
	return without_nulls(DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
															JsonbPGetDatum(before),
															JsonbPGetDatum(changes))));
}

/* --- create_replicator() ------------------------------------------------- */

static void
check_source_settings(void)
{
	flo_require_preloaded();

	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a replicator requires wal_level = logical"),
				 errhint("Set wal_level to \"logical\" and restart the server.")));
}

static void
check_free_slot(const char *group)
{
	char	   *name = flo_name_slot(MyDatabaseId, group);
	int			used = 0;
	bool		exists = false;

	LWLockAcquire(ReplicationSlotControlLock, LW_SHARED);
	for (int i = 0; i < max_replication_slots; i++)
	{
		ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];

		if (!slot->in_use)
			continue;
		used++;
		if (strcmp(NameStr(slot->data.name), name) == 0)
			exists = true;
	}
	LWLockRelease(ReplicationSlotControlLock);

	if (exists)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("replication slot \"%s\" exists already", name),
				 errdetail("It is left over from an earlier group of this name."),
				 errhint("Remove it with pg_drop_replication_slot().")));
	if (used >= max_replication_slots)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all replication slots are in use"),
				 errhint("Free one or increase max_replication_slots (now %d).",
						 max_replication_slots)));
}

void
flo_replicator_check_exceptions(const FloTableOids *choice)
{
	ListCell   *lc;

	foreach(lc, choice->except_tables)
	{
		Oid			relation = lfirst_oid(lc);
		FloTableOids rest = *choice;

		if (list_member_oid(choice->tables, relation))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("table %s is both in tables and in except_tables",
							flo_tables_name(relation))));

		/* what the group would not replicate anyway may be left out as well */
		rest.except_tables = NIL;
		if (flo_tables_cover(&rest, relation))
			continue;
		if (get_rel_relispartition(relation))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot leave out table %s: it is a partition",
							flo_tables_name(relation)),
					 errhint("Leave out the partitioned table, or name the wanted partitions in tables.")));
		if (!choice->all && !list_member_oid(choice->schemas, get_rel_namespace(relation)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot leave out table %s: the group does not cover it",
							flo_tables_name(relation)),
					 errhint("except_tables takes tables out of schemas, or out of every table.")));
	}
}

/* No two sides of a group in one database: its rows would come back to their own tables */
static void
check_no_postgres_worker(const char *group)
{
	ListCell   *lc;

	foreach(lc, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(lc);

		if (!member->is_replicator && member->sink == FLO_SINK_POSTGRES)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("worker \"%s\" of group \"%s\" writes to this very database",
							member->member, group),
					 errhint("Source and destination of a group are different databases.")));
	}
}

void
flo_replicator_check_new(const char *group)
{
	if (flo_store_replicator(group) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("group \"%s\" has a replicator in this database already", group),
				 errhint("flo.alter_replicator() changes its options, flo.add_table() its tables.")));

	check_no_postgres_worker(group);
	check_free_slot(group);

	if (flo_publication_names(group) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("publication \"%s\" exists already",
						(char *) linitial(flo_publication_names(group))),
				 errhint("Drop it, or choose another name for the group.")));
}

/* Everything but the tables; the name may be left out when there is to be no group */
void
flo_replicator_arguments(FunctionCallInfo fcinfo, FloReplicatorRequest *request)
{
	FloReplicatorSpec *spec = &request->spec;

	if (!PG_ARGISNULL(0) || !request->nameless)
	{
		spec->group = flo_argument_text(fcinfo, 0, "group_name");
		flo_name_check_group(spec->group);
	}
	spec->mode = mode_argument(fcinfo, 3);
	flo_argument_require(fcinfo, 4, "copy_workers");
	spec->copy_workers = PG_GETARG_INT32(4);
	if (spec->copy_workers < 1 || spec->copy_workers > MAX_COPY_WORKERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("copy_workers must lie between 1 and %d", MAX_COPY_WORKERS)));
	flo_argument_require(fcinfo, 5, "sync_schema");
	spec->sync_schema = PG_GETARG_BOOL(5);
	flo_argument_require(fcinfo, 6, "track_ddl");
	spec->track_ddl = PG_GETARG_BOOL(6);
	request->options = options_argument(fcinfo, 7);
	flo_options_parse_replicator(request->options, &spec->options);
	spec->owner = GetUserId();
}

void
flo_replicator_tables(FunctionCallInfo fcinfo, FloReplicatorRequest *request, bool to_replicate)
{
	FloTableOids *choice = &request->choice;

	choice->tables = tables_argument(fcinfo, 1, "tables", to_replicate);
	choice->schemas = schemas_argument(fcinfo, 2);
	choice->except_tables = tables_argument(fcinfo, 8, "except_tables", false);
	choice->all = choice->tables == NIL && choice->schemas == NIL;
}

/*
 * The locks come before any look at what there is, all at once: a table that is
 * made at the same time either waits for us and joins, or is there to be found.
 */
Datum
flo_create_replicator(PG_FUNCTION_ARGS)
{
	FloReplicatorRequest request = {0};
	FloReplicatorSpec *spec = &request.spec;
	FloTableOids *choice = &request.choice;

	flo_replicator_arguments(fcinfo, &request);
	check_source_settings();
	flo_rights_check_source(spec->owner);

	flo_replicator_tables(fcinfo, &request, true);
	flo_check_table_owners(choice->tables);
	flo_replicator_check_exceptions(choice);

	/*
	 * tables being created right now join, or are found below: see
	 * newtables.c
	 */
	flo_lock_all(flo_lock_wish_relation(flo_publication_wishes(choice, &spec->options),
										flo_store_table("sources"), ShareRowExclusiveLock));
	flo_replicator_check_new(spec->group);

	if (flo_store_adopt_group(spec->group))
		ereport(NOTICE,
				(errmsg("group \"%s\" was configured in another database and is adopted here",
						spec->group)));
	flo_store_insert_replicator(spec, flo_choice_make(spec->group, choice),
								without_nulls(request.options));
	flo_publication_create(spec->group, choice, &spec->options);
	flo_store_note_first_tables(spec->group, flo_tables_covered(choice), true);
	flo_newtables_identified(spec->group);

	PG_RETURN_VOID();
}

/* --- create_worker() ----------------------------------------------------- */

/* Can a worker of this kind do with these options what it is to do, as this role? */
static void
check_options(const FloWorkerSpec *spec, const FloSecrets *secrets, Oid role)
{
	flo_event_tables_check(spec, secrets, role);
	if (flo_sink_ops(spec->sink)->check != NULL)
		flo_sink_ops(spec->sink)->check(spec);
}

static void
warn_of_trust(const FloWorkerSpec *spec)
{
	if (spec->sink == FLO_SINK_POSTGRES && spec->options.ddl == FLO_DDL_APPLY &&
		spec->options.ddl_trust == FLO_DDL_TRUST_SOURCE && superuser_arg(spec->owner))
		ereport(WARNING,
				(errmsg("with ddl_trust = source the owners of tables at the source can do here whatever superuser \"%s\" can",
						GetUserNameFromId(spec->owner, true)),
				 errhint("Let a role that is no superuser create the worker, or leave ddl_trust at object and release what is held.")));
}

Datum
flo_create_worker(PG_FUNCTION_ARGS)
{
	FloWorkerSpec spec = {0};
	FloSecrets	secrets;
	char	   *sink;
	Jsonb	   *options;

	spec.group = flo_argument_text(fcinfo, 0, "group_name");
	flo_name_check_group(spec.group);
	sink = flo_argument_text(fcinfo, 1, "sink");
	spec.sink = sink_argument(sink);
	spec.worker = PG_ARGISNULL(2) ? sink : flo_argument_text(fcinfo, 2, "worker_name");
	flo_name_check_worker(spec.worker);
	options = flo_secrets_take(options_argument(fcinfo, 3), spec.sink, &secrets);
	flo_options_parse_worker(options, spec.sink, &spec.options);
	spec.owner = GetUserId();
	flo_rights_require_worker(spec.group, spec.owner);
	check_options(&spec, &secrets, spec.owner);

	flo_require_preloaded();

	if (flo_store_worker(spec.group, spec.worker) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("group \"%s\" has a worker \"%s\" in this database already",
						spec.group, spec.worker),
				 errhint("flo.alter_worker() changes its options; choose another worker_name for a second one.")));
	if (spec.sink == FLO_SINK_POSTGRES && flo_store_replicator(spec.group) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the replicator of group \"%s\" reads this very database", spec.group),
				 errhint("Create the worker in the destination database.")));

	if (flo_store_adopt_group(spec.group))
		ereport(NOTICE,
				(errmsg("group \"%s\" was configured in another database and is adopted here",
						spec.group)));
	flo_store_insert_worker(&spec, flo_options_settle(without_nulls(options), &spec.options));
	flo_secrets_save(spec.group, spec.worker, &secrets);
	warn_of_trust(&spec);

	PG_RETURN_VOID();
}

/* --- alter_*() ----------------------------------------------------------- */

Datum
flo_alter_replicator(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	Jsonb	   *changes = options_argument(fcinfo, 1);
	FloReplicatorOptions before;
	FloReplicatorOptions after;
	Jsonb	   *merged;

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);

	/* on their own first: a key that is set to null must be known, too */
	flo_options_parse_replicator(changes, &after);
	flo_options_parse_replicator(flo_store_options(group, FLO_REPLICATOR_MEMBER), &before);
	merged = merge_options(flo_store_options(group, FLO_REPLICATOR_MEMBER), changes);
	flo_options_parse_replicator(merged, &after);

	flo_publication_alter(group, &before, &after);
	flo_store_save_options(group, FLO_REPLICATOR_MEMBER, merged);
	flo_conf_altered(group, FLO_REPLICATOR_MEMBER);

	PG_RETURN_VOID();
}

Datum
flo_alter_worker(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *worker = flo_argument_text(fcinfo, 1, "worker_name");
	Jsonb	   *changes = options_argument(fcinfo, 2);
	FloWorkerSpec *spec;
	FloSecrets	secrets;
	Jsonb	   *merged;

	if (strcmp(worker, FLO_REPLICATOR_MEMBER) == 0)
		flo_name_check_worker(worker);
	flo_conf_require_member(group, worker);

	spec = flo_store_worker(group, worker);
	changes = flo_secrets_take(changes, spec->sink, &secrets);
	flo_options_parse_worker(changes, spec->sink, &spec->options);
	merged = merge_options(flo_store_options(group, worker), changes);
	flo_options_parse_worker(merged, spec->sink, &spec->options);
	merged = flo_options_settle(merged, &spec->options);
	check_options(spec, &secrets, GetUserId());

	flo_store_save_options(group, worker, merged);
	flo_secrets_save(group, worker, &secrets);
	flo_conf_altered(group, worker);
	warn_of_trust(spec);

	PG_RETURN_VOID();
}

/* --- start_group(), stop_group() ----------------------------------------- */

/* The members a call is about, after checking that they exist and are the caller's */
static List *
members_argument(const char *group, const char *member)
{
	List	   *members;
	ListCell   *lc;

	flo_conf_require_group(group);
	if (member != NULL)
	{
		flo_conf_require_member(group, member);
		return list_make1((void *) member);
	}

	members = NIL;
	foreach(lc, flo_store_members(group))
	{
		char	   *name = ((FloMemberSpec *) lfirst(lc))->member;

		flo_conf_require_member(group, name);
		members = lappend(members, name);
	}

	return members;
}

/* Room in shared memory, which is as large as the number of processes allowed */
static void
check_free_processes(const char *group, const List *members)
{
	int			needed = 0;
	int			all;
	int			room = flo_members_room(&all);
	ListCell   *lc;

	foreach(lc, members)
	{
		FloMember	m;

		if (flo_member_look(group, lfirst(lc), &m) < 0 || (!m.wanted && m.pid == 0))
			needed++;
	}
	if (needed > 0 && needed > room)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no process is free for group \"%s\"", group),
				 errdetail("%d of %d are in use.", all - room, all),
				 errhint("Increase pg_flo.max_workers (and max_worker_processes) and restart the server.")));
}

static void
check_event_tables(const char *group, const List *members)
{
	ListCell   *lc;

	foreach(lc, members)
	{
		FloWorkerSpec *spec = flo_store_worker(group, lfirst(lc));

		if (spec != NULL)
			flo_event_tables_check_start(spec);
	}
}

/* In another database it begins with the tables that are there */
static void
note_first_tables(const char *group)
{
	FloTableChoice *entries = flo_store_table_choice(group);
	FloTableOids choice;

	if (entries == NULL)
		return;
	flo_choice_look_up(entries, &choice);
	flo_store_note_first_tables(group, flo_tables_covered(&choice), true);
}

Datum
flo_start_group(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *member = PG_ARGISNULL(1) ? NULL : flo_argument_text(fcinfo, 1, "member");
	List	   *members = members_argument(group, member);

	flo_require_preloaded();

	check_event_tables(group, members);
	flo_rule_tables_check_members(group, false);
	check_free_processes(group, members);

	if (flo_store_adopt_group(group))
	{
		ereport(NOTICE,
				(errmsg("group \"%s\" was configured in another database and is adopted here",
						group)));
		note_first_tables(group);
	}
	flo_store_set_started(group, member, true);
	flo_conf_started(group, member);

	PG_RETURN_VOID();
}

Datum
flo_stop_group(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *member = PG_ARGISNULL(1) ? NULL : flo_argument_text(fcinfo, 1, "member");

	(void) members_argument(group, member);
	flo_store_set_started(group, member, false);
	flo_conf_changed();

	PG_RETURN_VOID();
}
