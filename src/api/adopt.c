/*
 * adopt.c
 *		flo.adopt(): what was prepared at a destination is what the source has.
 *
 * A destination knows tables by the source's word, and what the source has made
 * while it followed.  Views, functions, sequences and types that somebody has
 * restored from a dump it does not: they may as well be his own.  One call says
 * what they are.  It gives the source's owners the right to change them, so it
 * is for people who have the right themselves; nothing of the stream's can call
 * it, whatever code of a destination it makes run.
 */
#include "postgres.h"

#include "api/function.h"
#include "conf/commit.h"
#include "conf/sql.h"
#include "core/arguments.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

FLO_FUNCTION(flo_adopt);

/* The object's owner: one whose rights both the caller and a worker's owner have */
#define IS_ALLOWED \
	" pg_has_role($6::oid, a.owner, 'USAGE') AND EXISTS (SELECT FROM flo.workers w WHERE w.group_name = $1" \
	" AND w.sink = 'postgres' AND EXISTS (SELECT FROM pg_roles o WHERE o.oid = w.owner) AND pg_has_role(w.owner, a.owner, 'USAGE'))"

#define ADOPTABLE \
	" FROM flo.adoptable($2::oid[], $3::oid[], $4::oid[], $5::oid[]) a"

typedef struct Call
{
	char	   *group;
	char	   *objects[4];		/* schemas, relations, types, routines: of
								 * OIDs, as text */
	char	   *user;			/* OID */
	char	   *may;
} Call;

/* An array of OIDs of whatever kind, as oid[] is written */
static char *
oids_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	StringInfoData text;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	flo_argument_require(fcinfo, n, name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), ARR_ELEMTYPE(PG_GETARG_ARRAYTYPE_P(n)), sizeof(Oid),
					  true, TYPALIGN_INT, &values, &nulls, &count);
	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			appendStringInfo(&text, "%s%u", text.len > 1 ? "," : "", DatumGetObjectId(values[i]));
	appendStringInfoChar(&text, '}');
	return text.data;
}

static void
require_person(void)
{
	/* members and their helpers alike */
	bool		ours = MyBgworkerEntry != NULL &&
		strcmp(MyBgworkerEntry->bgw_library_name, "pg_flo") == 0;

	if (ours || InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("flo.adopt() cannot be called by code that a member of a group runs, or within a security-restricted operation"),
				 errhint("Call it in a session.")));
}

/* What is known is known to all workers of the group */
static void
require_owner_of_workers(const char *group)
{
	FloSqlSession sql;
	List	   *workers = NIL;
	uint64		count;
	ListCell   *cell;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT, "SELECT worker_name FROM flo.workers WHERE group_name = $1 AND sink = 'postgres'", 1, group);
	for (uint64 i = 0; i < count; i++)
	{
		char	   *worker = flo_sql_text(&sql, i, 1);
		MemoryContext spi = MemoryContextSwitchTo(sql.caller);

		workers = lappend(workers, worker);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	if (workers == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no worker with a postgres sink in this database", group),
				 errhint("Call flo.create_worker() first.")));
	foreach(cell, workers)
		flo_conf_require_member(group, lfirst(cell));
}

static uint64
run(const Call *call, int expected, const char *statement)
{
	return flo_sql_run(expected, statement, 7, call->group, call->objects[0], call->objects[1],
					   call->objects[2], call->objects[3], call->user, call->may);
}

/* The first object that a query finds fault with; NULL = none */
static char *
first_of(const Call *call, const char *query)
{
	FloSqlSession sql;
	char	   *name = NULL;

	flo_sql_begin(&sql);
	if (run(call, SPI_OK_SELECT, query) > 0)
		name = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return name;
}

static void
check_objects(const Call *call)
{
	char	   *name =
		first_of(call, "SELECT 'schema ' || quote_ident(n.nspname) FROM pg_namespace n WHERE"
				 " (n.oid = ANY ($2::oid[]) OR n.oid IN (SELECT c.relnamespace FROM pg_class c WHERE c.oid = ANY ($3::oid[])"
				 " UNION SELECT t.typnamespace FROM pg_type t WHERE t.oid = ANY ($4::oid[])"
				 " UNION SELECT p.pronamespace FROM pg_proc p WHERE p.oid = ANY ($5::oid[])))"
				 " AND (n.nspname ~ '^pg_' OR n.nspname IN ('information_schema', 'flo'))");

	if (name != NULL)
		flo_conf_refuse(psprintf("%s is the system's or pg_flo's", name), NULL);
	name = first_of(call, "SELECT pg_describe_object(a.class, a.object, 0)" ADOPTABLE
					" WHERE a.named"
					" AND (EXISTS (SELECT FROM pg_depend d WHERE d.classid = a.class AND d.objid = a.object AND d.deptype IN ('e', 'i'))"
					" OR EXISTS (SELECT FROM pg_depend d WHERE d.classid = a.class AND d.objid = a.object AND d.deptype = 'a'"
					" AND a.class = 'pg_class'::regclass AND d.refclassid = a.class)"
					" OR EXISTS (SELECT FROM pg_type e WHERE a.class = 'pg_type'::regclass AND e.typarray = a.object)"
					" OR EXISTS (SELECT FROM pg_class c WHERE a.class = 'pg_class'::regclass AND c.oid = a.object AND c.relkind NOT IN ('r', 'p', 'v', 'm', 'S')))");
	if (name != NULL)
		flo_conf_refuse(psprintf("%s is part of another object, an extension's, or of a kind that does not travel", name),
						"Name what it is part of.");
	name = first_of(call, "SELECT pg_describe_object(a.class, a.object, 0)" ADOPTABLE " WHERE a.named AND NOT (" IS_ALLOWED ")");
	if (name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s belongs to a role whose rights you or the worker's owner do not have",
						name),
				 errhint("DDL of the source could not be run on it.")));
}

/* Those of schemas that are others' are left out, and told */
static void
tell_left_out(const Call *call)
{
	char	   *names = first_of(call,
								 "SELECT string_agg(pg_describe_object(x.class, x.object, 0), ', ')"
								 " FROM (SELECT a.class, a.object, row_number() OVER () AS place" ADOPTABLE
								 " WHERE NOT (" IS_ALLOWED ")) x WHERE x.place <= 5 HAVING count(*) > 0");

	if (names != NULL)
		ereport(NOTICE,
				(errmsg("left out is what belongs to roles whose rights you or the worker's owner do not have: %s ...", names)));
}

/* What is named gets just that; of the rest, what somebody has decided on stays so */
static void
adopt(const Call *call, ReturnSetInfo *result)
{
	FloSqlSession sql;
	uint64		count;

	flo_sql_begin(&sql);
	count = run(call, SPI_OK_INSERT_RETURNING,
				"INSERT INTO flo.group_objects (object_oid, class_oid, group_name, may)"
				" SELECT DISTINCT ON (a.object, a.class) a.object, a.class, $1, $7" ADOPTABLE " WHERE" IS_ALLOWED
				" AND (a.named OR NOT EXISTS (SELECT FROM flo.group_objects g WHERE g.group_name = $1 AND g.class_oid = a.class AND g.object_oid = a.object"
				" AND NOT (g.may = 'refer' AND $7 = 'change')))"
				" ON CONFLICT ON CONSTRAINT group_objects_pkey DO UPDATE SET may = EXCLUDED.may WHERE group_objects.may <> EXCLUDED.may"
				" RETURNING (pg_identify_object(class_oid, object_oid, 0)).type, (pg_identify_object(class_oid, object_oid, 0)).identity");
	for (uint64 i = 0; i < count; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(flo_sql_text(&sql, i, 1)),
		CStringGetTextDatum(flo_sql_text(&sql, i, 2))};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	flo_sql_end(&sql);
}

/* adopt(group_name, schemas, relations, types, routines, may): type, object */
Datum
flo_adopt(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"schemas", "relations", "types", "routines"};
	Call		call = {flo_argument_text(fcinfo, 0, "group_name")};

	for (int i = 0; i < lengthof(names); i++)
		call.objects[i] = oids_argument(fcinfo, i + 1, names[i]);
	call.may = flo_argument_text(fcinfo, 5, "may");
	call.user = psprintf("%u", GetUserId());
	require_person();
	flo_conf_require_group(call.group);
	require_owner_of_workers(call.group);
	if (strcmp(call.may, "change") != 0 && strcmp(call.may, "refer") != 0 &&
		strcmp(call.may, "nothing") != 0)
		flo_conf_refuse(psprintf("invalid value for may: \"%s\"", call.may),
						"Valid values are: change, refer, nothing.");
	InitMaterializedSRF(fcinfo, 0);
	check_objects(&call);
	tell_left_out(&call);
	adopt(&call, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}
