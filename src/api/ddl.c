/*
 * ddl.c
 *		Decides on DDL that is held, and shows which statements travel.
 */
#include "postgres.h"

#include "api/function.h"
#include "conf/commit.h"
#include "conf/sql.h"
#include "core/text.h"
#include "fmgr.h"
#include "funcapi.h"
#include "source/ddl_classes.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

FLO_FUNCTION(flo_release_ddl);
FLO_FUNCTION(flo_skip_ddl);
FLO_FUNCTION(flo_statement_classes);

static void
decide(FunctionCallInfo fcinfo, const char *decision)
{
	char	   *id = flo_text_of_int64(PG_GETARG_INT64(0));
	char	   *group;
	char	   *worker;

	if (!flo_sql_member_of_row("pending_ddl", id, &group, &worker))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no DDL statement %s is held", id),
				 errhint("flo.pending_ddl lists those that are.")));
	flo_conf_require_member(group, worker);

	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.pending_ddl SET decision = $2 WHERE id = $1::bigint", 2, id, decision);
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

Datum
flo_statement_classes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; flo_ddl_class_row(i) != NULL; i++)
	{
		const FloDdlClass *class = flo_ddl_class_row(i);
		Datum		values[4];
		bool		nulls[4] = {false};

		values[0] = CStringGetTextDatum(class->name);
		values[1] = CStringGetTextDatum(class->commands);
		values[2] = CStringGetTextDatum(class->fate);
		values[3] = CStringGetTextDatum(class->remark);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
