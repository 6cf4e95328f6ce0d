/*
 * backfill.c
 *		flo.backfill(): asks for the rows of a table, for one worker of events.
 *
 * What a person has got wrong is said here; the backfill itself is the replicator's,
 * which begins at commit.
 */
#include "postgres.h"

#include "access/table.h"
#include "api/function.h"
#include "api/stream.h"
#include "conf/backfills.h"
#include "conf/commit.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/names.h"
#include "fmgr.h"
#include "shape/expr.h"
#include "utils/builtins.h"
#include "utils/rel.h"

FLO_FUNCTION(flo_backfill);
FLO_FUNCTION(flo_cancel_backfill);

/* As it will be compiled by who reads, with the same rights */
static void
check_condition(const char *text, Oid relation, Oid owner)
{
	Relation	rel = table_open(relation, AccessShareLock);
	bool		guarded;
	bool		fixed;

	(void) flo_expr_condition(text, owner, rel, &guarded, &fixed);
	table_close(rel, NoLock);
}

Datum
flo_backfill(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *wanted;
	FloBackfill backfill = {0};
	FloReportedWorker *worker;

	flo_argument_require(fcinfo, 1, "table_name");
	wanted = flo_argument_text(fcinfo, 2, "worker_name");
	backfill.condition = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	flo_require_streaming(group, "what follows the rows would not come");
	backfill.relation = flo_require_table(group, PG_GETARG_OID(1));
	backfill.table = flo_tables_name(backfill.relation);
	if (backfill.condition != NULL)
		check_condition(backfill.condition, backfill.relation, flo_store_replicator(group)->owner);
	worker = flo_require_reported(group, wanted);
	backfill.worker = worker->name;
	backfill.consumer = worker->consumer;
	if (!worker->backfills)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 worker->tables ?
				 errmsg("worker \"%s\" of group \"%s\" writes to tables", worker->name, group) :
				 errmsg("worker \"%s\" of group \"%s\" is of a version that takes no backfills",
						worker->name, group),
				 worker->tables ?
				 errhint("flo.resync() of the table copies it afresh, flo.compare() with repair => true writes rows that differ.") :
				 errhint("Upgrade pg_flo there.")));
	PG_RETURN_INT64(flo_backfills_ask(group, &backfill));
}

Datum
flo_cancel_backfill(PG_FUNCTION_ARGS)
{
	int64		id;
	char	   *group;
	char	   *worker;

	flo_argument_require(fcinfo, 0, "id");
	id = PG_GETARG_INT64(0);
	if (!flo_sql_member_of_row("backfills", psprintf(INT64_FORMAT, id), &group, &worker))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no backfill " INT64_FORMAT, id)));
	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	PG_RETURN_BOOL(flo_backfills_finish(id, FLO_BACKFILL_FAILED, "cancelled"));
}
