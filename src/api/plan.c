/*
 * plan.c
 *		What flo.create_replicator() would say, without being called: for
 *		flo.check_plan().
 *
 * Each question that the function asks before it does anything is asked here by
 * itself, with the same code, so that all of its answers are told and not the
 * first one only.  Nothing is locked for longer than a look, and nothing written.
 */
#include "postgres.h"

#include <unistd.h>

#include "api/function.h"
#include "api/members.h"
#include "api/tables.h"
#include "commands/dbcommands.h"
#include "conf/identity.h"
#include "conf/rights.h"
#include "conf/tables.h"
#include "core/attempt.h"
#include "core/compat_acl.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "source/dump_program.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#define PLAN_COLUMNS 4
#define TABLE_COLUMNS 5

FLO_FUNCTION(flo_plan_problems);
FLO_FUNCTION(flo_planned_tables);

typedef struct Inquiry
{
	FunctionCallInfo fcinfo;
	FloReplicatorRequest request;
	Oid			relation;		/* the one that is looked at */
	bool		has_identity;
	char	   *lack;
	bool		locked;
} Inquiry;

/* --- plan_problems() ----------------------------------------------------- */

static void
look_at_arguments(void *arg)
{
	Inquiry    *plan = arg;

	flo_replicator_arguments(plan->fcinfo, &plan->request);
}

static void
look_at_tables(void *arg)
{
	Inquiry    *plan = arg;

	flo_replicator_tables(plan->fcinfo, &plan->request, false);
	flo_replicator_check_exceptions(&plan->request.choice);
}

static void
look_at_kind(void *arg)
{
	flo_tables_check_kind(((Inquiry *) arg)->relation);
}

static void
look_at_rights(void *arg)
{
	flo_rights_check_source(GetUserId());
}

static void
look_at_name(void *arg)
{
	Inquiry    *plan = arg;

	if (plan->request.spec.group != NULL)
		flo_replicator_check_new(plan->request.spec.group);
}

static void
look_at_dump_program(void *arg)
{
	Inquiry    *plan = arg;
	char	   *path;

	if (!plan->request.spec.sync_schema)
		return;
	path = flo_dump_program();
	if (access(path, X_OK) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not run \"%s\", which sync_schema needs: %m", path),
				 errhint("Set pg_flo.pg_dump_path to the pg_dump of this server's version.")));
}

static void
put_problem(ReturnSetInfo *result, const char *item, const ErrorData *error, const char *hint)
{
	const char *detail = error->detail == NULL ? error->message :
		psprintf("%s: %s", error->message, error->detail);
	Datum		values[PLAN_COLUMNS];
	bool		nulls[PLAN_COLUMNS] = {false};

	values[0] = CStringGetTextDatum(item);
	values[1] = CStringGetTextDatum("error");
	values[2] = CStringGetTextDatum(detail);
	values[3] = CStringGetTextDatum(error->hint != NULL ? error->hint : hint);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* False when there is a problem; "hint" is for errors that have none */
static bool
ask(Inquiry *plan, void (*question) (void *arg), const char *item, const char *hint)
{
	ErrorData  *error = flo_attempt(question, plan, false);

	if (error != NULL)
		put_problem((ReturnSetInfo *) plan->fcinfo->resultinfo, item, error, hint);
	return error == NULL;
}

static char *
grant_of_database(void)
{
	return psprintf("GRANT CREATE ON DATABASE %s TO %s;",
					quote_identifier(get_database_name(MyDatabaseId)),
					quote_identifier(GetUserNameFromId(GetUserId(), false)));
}

Datum
flo_plan_problems(PG_FUNCTION_ARGS)
{
	Inquiry		plan = {0};
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	plan.fcinfo = fcinfo;
	plan.request.nameless = true;
	(void) ask(&plan, look_at_rights, "rights of the plan", grant_of_database());
	if (!ask(&plan, look_at_arguments, "arguments of the plan",
			 "doc/sql.md has the arguments of flo.create_replicator()."))
		return (Datum) 0;
	(void) ask(&plan, look_at_name, "name of the plan", "Choose another name for the group.");
	(void) ask(&plan, look_at_dump_program, "pg_dump of the plan",
			   "Set pg_flo.pg_dump_path to the pg_dump of this server's version.");
	if (!ask(&plan, look_at_tables, "tables of the plan",
			 "Name schemas and tables that are here, each once."))
		return (Datum) 0;
	foreach(cell, plan.request.choice.tables)
	{
		plan.relation = lfirst_oid(cell);
		(void) ask(&plan, look_at_kind, "tables of the plan", "Leave it out.");
	}
	return (Datum) 0;
}

/* --- planned_tables() ---------------------------------------------------- */

static void
look_at_identity(void *arg)
{
	Inquiry    *plan = arg;

	plan->lack = NULL;
	plan->has_identity = true;
	plan->locked = !flo_try_to_read_table(plan->relation);
	if (plan->locked)
		return;
	plan->lack = flo_identity_lack(plan->relation);
	plan->has_identity =
		flo_tables_have_identity(plan->relation,
								 plan->request.spec.options.publish_via_partition_root);
}

static void
put_planned(Inquiry *plan)
{
	ReturnSetInfo *result = (ReturnSetInfo *) plan->fcinfo->resultinfo;
	Datum		values[TABLE_COLUMNS];
	bool		nulls[TABLE_COLUMNS] = {false};

	values[0] = ObjectIdGetDatum(plan->relation);
	values[1] = BoolGetDatum(plan->has_identity);
	values[2] = plan->lack != NULL ? CStringGetTextDatum(plan->lack) : (Datum) 0;
	nulls[2] = plan->lack == NULL;
	values[3] = BoolGetDatum(flo_compat_class_ownercheck(plan->relation, GetUserId()));
	values[4] = BoolGetDatum(plan->locked);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * planned_tables(...): those that the group would cover: relation, whether it has a
 * usable replica identity, what is special about one that is not usable, whether
 * the caller owns it, whether somebody has it locked, so that it was not looked at
 */
Datum
flo_planned_tables(PG_FUNCTION_ARGS)
{
	Inquiry		plan = {0};
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	plan.fcinfo = fcinfo;
	plan.request.nameless = true;

	/* what is wrong with them plan_problems() tells */
	if (flo_attempt(look_at_arguments, &plan, false) != NULL ||
		flo_attempt(look_at_tables, &plan, false) != NULL)
		return (Datum) 0;
	foreach(cell, flo_tables_covered(&plan.request.choice))
	{
		plan.relation = lfirst_oid(cell);
		if (flo_attempt(look_at_kind, &plan, false) == NULL &&
			flo_attempt(look_at_identity, &plan, false) == NULL)
			put_planned(&plan);
	}
	return (Datum) 0;
}
