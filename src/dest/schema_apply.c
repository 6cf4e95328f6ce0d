/*
 * schema_apply.c
 *		Creates what the source's tables are made of.
 *
 * The definitions go into flo.copied_objects first, which is the list of what
 * is to be done and then the record of it: each object is noted as done in the
 * transaction that creates it, so a worker that comes back goes on behind the
 * last one.  An object that exists already is compared with the source's
 * definition; the same: it is kept, another: an error that shows where they
 * differ.  Commands run with the rights of the worker's owner.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/stream.h"
#include "conf/visit.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/process.h"
#include "core/stop.h"
#include "core/trail.h"
#include "core/transaction.h"
#include "dest/myself.h"
#include "dest/schema_apply.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define BEFORE "before"
#define AFTER "after"

/* An object that is not there yet */
typedef struct Object
{
	char	   *ordinal;		/* a number */
	char	   *table;			/* an OID, "0" for what is no index or constraint */
	char	   *name;
	char	   *command;
	bool		has_address;
} Object;

/* --- taking the definitions ------------------------------------------------------- */

/* The list of a snapshot is made once; of another generation nothing is kept */
static bool
is_noted(const FloWorkerSpec *spec, const char *generation, const char *attempt)
{
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
				  " AND generation <> $3::uuid", 3, spec->group, spec->worker, generation);
	return flo_visit_run(SPI_OK_SELECT, "SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2 AND attempt >= $3::int LIMIT 1",
						 3, spec->group, spec->worker, attempt) > 0;
}

/*
 * Put a snapshot's definitions behind those of earlier ones.  What was done
 * with the very same definition is done; another takes the place of the one
 * before, and is compared with what exists here.  What was not done goes when
 * these are "all" there are, and not only those of some tables.
 */
static void
note_definitions(const FloWorkerSpec *spec, const char *generation, const char *attempt, const char *json,
				 bool all)
{
	flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.copied_objects (group_name, worker_name, generation, attempt, ordinal, section, object,"
				  " part_of, of_table, address_type, address_names, address_args, definition, command, action, done_at)"
				  " SELECT $1, $2, $3::uuid, $4::int, b.base + o.ordinal, o.object->>'section', o.object->>'object',"
				  " b.base + (o.object->>'part_of')::int, (o.object->>'of_table')::oid, o.object->>'type',"
				  " CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'names')) END,"
				  " CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'args')) END,"
				  " o.object->>'definition', o.object->>'command', d.action, d.done_at"
				  " FROM (SELECT coalesce(max(ordinal), 0) AS base FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2) b"
				  " CROSS JOIN json_array_elements($5::json) WITH ORDINALITY o (object, ordinal)"
				  " LEFT JOIN LATERAL (SELECT action, done_at FROM flo.copied_objects d WHERE d.group_name = $1 AND d.worker_name = $2"
				  " AND d.section = o.object->>'section' AND d.object = o.object->>'object' AND d.command = o.object->>'command'"
				  " AND (o.object->>'definition' = '' OR d.definition IS NOT DISTINCT FROM o.object->>'definition')"
				  " AND d.action IS NOT NULL LIMIT 1) d ON true",
				  5, spec->group, spec->worker, generation, attempt, json);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.copied_objects o WHERE group_name = $1 AND worker_name = $2 AND attempt < $3::int"
				  " AND (action IS NULL AND $4::bool OR EXISTS (SELECT FROM flo.copied_objects n WHERE n.group_name = $1 AND n.worker_name = $2"
				  " AND n.attempt = $3::int AND n.section = o.section AND n.object = o.object))",
				  4, spec->group, spec->worker, attempt, all ? "t" : "f");
}

static void
take_definitions(FloBus *bus, const FloWorkerSpec *spec, const char *key, const char *generation, uint32 attempt)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *number = psprintf("%u", attempt);
	char	   *json;
	FloVisit	visit;

	flo_visit_begin(&visit);
	if (!is_noted(spec, generation, number))
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		json = flo_bucket_get_text(bus, flo_name_bucket(spec->group), key, flo_schema_tag(generation, attempt));
		if (json == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the definitions that came with the copy are not in the group's state bucket"),
					 errhint("flo.resync() at the source copies everything afresh.")));
		json = pg_any_to_server(json, strlen(json), PG_UTF8);
		MemoryContextSwitchTo(spi);
		note_definitions(spec, generation, number, json, strcmp(key, FLO_SCHEMA_KEY) == 0);
	}
	flo_visit_end(&visit);
}

/* --- creating ------------------------------------------------------------------------ */

/* The objects of a section that are still to be done, and fit a condition, as a List of Object * */
static List *
objects_to_do(const FloWorkerSpec *spec, const char *section, const char *which)
{
	FloVisit	visit;
	List	   *objects = NIL;
	uint64		rows;

	flo_visit_begin(&visit);
	rows = flo_visit_run(SPI_OK_SELECT, psprintf("SELECT ordinal, object, command, address_type IS NOT NULL, coalesce(of_table, 0)"
												 " FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
												 " AND section = $3 AND action IS NULL AND %s ORDER BY ordinal", which),
						 3, spec->group, spec->worker, section);
	for (uint64 i = 0; i < rows; i++)
	{
		Object	   *object = MemoryContextAllocZero(visit.caller, sizeof(Object));
		MemoryContext spi;

		object->ordinal = flo_visit_text(&visit, i, 1);
		object->name = flo_visit_text(&visit, i, 2);
		object->command = flo_visit_text(&visit, i, 3);
		object->has_address = flo_visit_true(i, 4);
		object->table = flo_visit_text(&visit, i, 5);
		spi = MemoryContextSwitchTo(visit.caller);
		objects = lappend(objects, object);
		MemoryContextSwitchTo(spi);
	}
	flo_visit_end(&visit);
	return objects;
}

/* Does it exist here, as the source has it?  Throws when it differs. */
static bool
exists_alike(const FloWorkerSpec *spec, const Object *object)
{
	FloVisit	visit;
	bool		exists;
	char	   *difference;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_SELECT, "SELECT f.object IS NOT NULL, CASE WHEN f.object IS NOT NULL THEN"
				  " CASE WHEN o.definition <> '' OR o.definition IS NULL THEN flo.definition_difference(o.definition, flo.definition_of(f.class, f.object)) END END"
				  " FROM flo.copied_objects o, LATERAL flo.find_object(o.address_type, o.address_names, o.address_args) f"
				  " WHERE o.group_name = $1 AND o.worker_name = $2 AND o.ordinal = $3::int",
				  3, spec->group, spec->worker, object->ordinal);
	exists = flo_visit_true(0, 1);
	difference = flo_visit_text(&visit, 0, 2);
	flo_visit_end(&visit);
	if (difference != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("%s exists here and differs from the source's", object->name),
				 errdetail_internal("%s", difference),
				 errhint("Make it the same or drop it here, or create the replicator without sync_schema.")));
	return exists;
}

/* What became of the object that this one belongs to; NULL when it belongs to none */
static char *
action_of_whole(const FloWorkerSpec *spec, const Object *object)
{
	FloVisit	visit;
	char	   *action = NULL;

	flo_visit_begin(&visit);
	if (flo_visit_run(SPI_OK_SELECT, "SELECT w.action FROM flo.copied_objects o JOIN flo.copied_objects w USING (group_name, worker_name)"
					  " WHERE o.group_name = $1 AND o.worker_name = $2 AND o.ordinal = $3::int AND w.ordinal = o.part_of",
					  3, spec->group, spec->worker, object->ordinal) == 1)
		action = flo_visit_text(&visit, 0, 1);
	flo_visit_end(&visit);
	return action;
}

static void
run_command(const FloWorkerSpec *spec, const Object *object)
{
	Oid			user;
	int			context;
	int			result;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(spec->owner, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	result = SPI_execute(object->command, false, 0);
	if (result < 0)
		elog(ERROR, "%s returned %s", object->name, SPI_result_code_string(result));
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	CommandCounterIncrement();
}

static void
note_done(const FloWorkerSpec *spec, const Object *object, const char *action)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_UPDATE, "UPDATE flo.copied_objects SET action = $4, done_at = clock_timestamp()"
				  " WHERE group_name = $1 AND worker_name = $2 AND ordinal = $3::int",
				  4, spec->group, spec->worker, object->ordinal, action);
	flo_visit_end(&visit);
}

static void
create_object(const FloWorkerSpec *spec, const Object *object)
{
	char	   *whole = object->has_address ? NULL : action_of_whole(spec, object);
	bool		kept = whole != NULL && strcmp(whole, "kept") == 0;

	flo_trail.operation = psprintf("sync_schema of %s", object->name);
	if (object->has_address && exists_alike(spec, object))
	{
		ereport(LOG,
				(errmsg("%s exists already with the source's definition and is kept", object->name)));
		kept = true;
	}
	if (!kept)
		run_command(spec, object);
	note_done(spec, object, kept ? "kept" : "created");
	flo_trail_clear();
}

/* All that is left of a section; with "together" in the transaction at hand */
static void
create_objects(const FloWorkerSpec *spec, List *objects, const char *what, bool together)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell   *cell;

	foreach(cell, objects)
	{
		flo_check_interrupts();
		flo_state_set(FLO_STATE_COPYING, "%s: %d of %d", what, foreach_current_index(cell) + 1, list_length(objects));
		if (!together)
		{
			(void) flo_transaction_begin();
			MemoryContextSwitchTo(context);
		}
		create_object(spec, lfirst(cell));
		if (!together)
			flo_transaction_end(context);
	}
}

void
flo_schema_create_before(FloBus *bus, const FloWorkerSpec *spec, const char *key,
						 const char *generation, uint32 attempt)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	take_definitions(bus, spec, key, generation, attempt);
	create_objects(spec, objects_to_do(spec, BEFORE, "true"), "creating tables and what they need", true);
	ForceSyncCommit();
	flo_transaction_end(old);
	MemoryContextDelete(context);
}

/* --- after the rows ------------------------------------------------------------------- */

#define OF_TABLES "of_table IS NOT NULL"

static List *
objects_after(const FloWorkerSpec *spec, const char *which)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *objects;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	objects = objects_to_do(spec, AFTER, which);
	flo_transaction_end(context);
	return objects;
}

/*
 * Is the object still to be done, and nobody at another of its table?  Building
 * two indexes of a table at once would be possible, but a primary key needs it
 * alone.  The lock is held to the end of the transaction.
 */
static bool
claim(const FloWorkerSpec *spec, const Object *object)
{
	FloVisit	visit;
	bool		claimed;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_SELECT, "SELECT pg_try_advisory_xact_lock(hashtext($1 || '/' || $2), $3::oid::int)",
				  3, spec->group, spec->worker, object->table);
	claimed = flo_visit_true(0, 1) &&
		flo_visit_run(SPI_OK_SELECT, "SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
					  " AND ordinal = $3::int AND action IS NULL", 3, spec->group, spec->worker, object->ordinal) == 1;
	flo_visit_end(&visit);
	return claimed;
}

/* Builds what others are not at; true when it did something */
static bool
build_some(const FloWorkerSpec *spec, List *objects)
{
	MemoryContext context = CurrentMemoryContext;
	bool		any = false;
	ListCell   *cell;

	foreach(cell, objects)
	{
		flo_check_interrupts();
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		if (claim(spec, lfirst(cell)))
		{
			flo_stop_point("build.before");
			create_object(spec, lfirst(cell));
			any = true;
		}
		flo_transaction_end(context);
	}
	return any;
}

void
flo_schema_builder_run(const FloProcessArgs *args)
{
	FloMember  *m = &flo_shared->members[args->slot];
	FloWorkerSpec *spec;
	char	   *group;
	char	   *worker;

	LWLockAcquire(flo_shared->lock, LW_SHARED);
	group = pstrdup(m->group);
	worker = pstrdup(m->member);
	LWLockRelease(flo_shared->lock);
	spec = flo_my_spec(group, worker);
	if (spec == NULL)
		return;
	while (build_some(spec, objects_after(spec, OF_TABLES)))
		flo_helper_check(args->slot, args->incarnation);
}

static int
tables_of(List *objects)
{
	List	   *tables = NIL;
	ListCell   *cell;

	foreach(cell, objects)
		tables = list_append_unique_oid(tables, (Oid) strtoul(((Object *) lfirst(cell))->table, NULL, 10));
	return list_length(tables);
}

/*
 * Helpers build indexes while there are tables for more than one process; the
 * rest is the worker's own, also when the server has no process free.
 */
static void
build_together(const FloWorkerSpec *spec)
{
	List	   *objects = objects_after(spec, OF_TABLES);
	int			wanted = Min((int) spec->options.loaders, tables_of(objects));
	BackgroundWorkerHandle **builders = palloc0(sizeof(BackgroundWorkerHandle *) * Max(wanted, 1));
	int			running = 0;

	for (int i = 0; i < wanted && wanted > 1; i++)
	{
		FloProcessArgs args = {0};

		args.database = MyDatabaseId;
		args.slot = flo_my_slot;
		args.incarnation = flo_me->incarnation;
		args.helper = FLO_HELPER_BUILDER;
		args.number = i;
		if (!flo_process_start(&args, psprintf("pg_flo builder %s %s %d", spec->group, spec->worker, i), &builders[i]))
			builders[i] = NULL;
	}
	do
	{
		running = 0;
		for (int i = 0; i < wanted; i++)
			running += builders[i] != NULL && !flo_process_ended(builders[i]);
		if (running > 0)
		{
			flo_state_set(FLO_STATE_COPYING, "building indexes: %d left of %d, %d processes",
						  list_length(objects_after(spec, OF_TABLES)), list_length(objects), running);
			(void) flo_wait(PGINVALID_SOCKET, false, 500);
		}
	} while (running > 0);
}

void
flo_schema_create_after(const FloWorkerSpec *spec, bool complete)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(context);
	build_together(spec);
	create_objects(spec, objects_after(spec, complete ? "true" : "command NOT LIKE '% FOREIGN KEY %'"), "building indexes and constraints", false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
