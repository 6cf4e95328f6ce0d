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
#include "core/trail.h"
#include "core/transaction.h"
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
	char	   *name;
	char	   *command;
	bool		has_address;
} Object;

/* --- taking the definitions ------------------------------------------------------- */

/* Make the list of what is to be done, unless it is there */
static void
note_definitions(const FloWorkerSpec *spec, const char *generation, const char *json)
{
	FloVisit	visit;

	flo_visit_begin(&visit);
	flo_visit_run(SPI_OK_DELETE, "DELETE FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
				  " AND generation <> $3::uuid", 3, spec->group, spec->worker, generation);
	if (json != NULL &&
		flo_visit_run(SPI_OK_SELECT, "SELECT FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2 LIMIT 1",
					  2, spec->group, spec->worker) == 0)
		flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.copied_objects (group_name, worker_name, generation, ordinal, section, object,"
					  " part_of, address_type, address_names, address_args, definition, command)"
					  " SELECT $1, $2, $3::uuid, o.ordinal, o.object->>'section', o.object->>'object', (o.object->>'part_of')::int,"
					  " o.object->>'type',"
					  " CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'names')) END,"
					  " CASE WHEN o.object->>'type' IS NOT NULL THEN ARRAY(SELECT json_array_elements_text(o.object->'args')) END,"
					  " o.object->>'definition', o.object->>'command'"
					  " FROM json_array_elements($4::json) WITH ORDINALITY o (object, ordinal)",
					  4, spec->group, spec->worker, generation, json);
	flo_visit_end(&visit);
}

/* --- creating ------------------------------------------------------------------------ */

/* The objects of a section that are still to be done, as a List of Object * */
static List *
objects_to_do(const FloWorkerSpec *spec, const char *section)
{
	FloVisit	visit;
	List	   *objects = NIL;
	uint64		rows;

	flo_visit_begin(&visit);
	rows = flo_visit_run(SPI_OK_SELECT, "SELECT ordinal, object, command, address_type IS NOT NULL FROM flo.copied_objects"
						 " WHERE group_name = $1 AND worker_name = $2 AND section = $3 AND action IS NULL ORDER BY ordinal",
						 3, spec->group, spec->worker, section);
	for (uint64 i = 0; i < rows; i++)
	{
		Object	   *object = MemoryContextAllocZero(visit.caller, sizeof(Object));
		MemoryContext spi;

		object->ordinal = flo_visit_text(&visit, i, 1);
		object->name = flo_visit_text(&visit, i, 2);
		object->command = flo_visit_text(&visit, i, 3);
		object->has_address = flo_visit_true(i, 4);
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
				  " flo.definition_difference(o.definition, flo.definition_of(f.class, f.object)) END"
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
flo_schema_create_before(FloBus *bus, const FloWorkerSpec *spec, const char *generation)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);
	char	   *json;

	MemoryContextSwitchTo(context);
	json = flo_bucket_get_text(bus, flo_name_bucket(spec->group), FLO_SCHEMA_KEY, generation);
	if (json != NULL)
		json = pg_any_to_server(json, strlen(json), PG_UTF8);
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	note_definitions(spec, generation, json);
	create_objects(spec, objects_to_do(spec, BEFORE), "creating tables and what they need", true);
	ForceSyncCommit();
	flo_transaction_end(old);
	MemoryContextDelete(context);
}

/* Foreign keys, which need the rows of all tables */
static List *
without_foreign_keys(List *objects)
{
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, objects)
		if (strstr(((Object *) lfirst(cell))->command, " FOREIGN KEY ") == NULL)
			rest = lappend(rest, lfirst(cell));
	return rest;
}

void
flo_schema_create_after(const FloWorkerSpec *spec, bool complete)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);
	List	   *objects;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	objects = objects_to_do(spec, AFTER);
	if (!complete)
		objects = without_foreign_keys(objects);
	flo_transaction_end(context);
	create_objects(spec, objects, "building indexes and constraints", false);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
