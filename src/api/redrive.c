/*
 * redrive.c
 *		Has dead letters sent again.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/namespace.h"
#include "conf/commit.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/text.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

FLO_FUNCTION(flo_redrive);
FLO_FUNCTION(flo_redrive_group);

/* Workers look after their letters when this table changes, as if it were configuration */
static void
tell_workers(void)
{
	Oid			schema = get_namespace_oid("flo", false);

	CacheInvalidateRelcacheByRelid(get_relname_relid("dead_letters", schema));
}

/* Ask for the letters that a condition chooses, oldest first; their number */
static uint64
request(const char *condition, const char *argument)
{
	uint64		count = flo_sql_do(SPI_OK_UPDATE, psprintf("UPDATE flo.dead_letters SET redrive_requested_at = now() WHERE %s", condition),
								   1, argument);

	tell_workers();
	return count;
}

static void
warn_if_stopped(const char *group, const char *worker)
{
	FloWorkerSpec *spec = flo_store_worker(group, worker);

	if (spec != NULL && !spec->started)
		ereport(NOTICE,
				(errmsg("worker \"%s\" of group \"%s\" is stopped", worker, group),
				 errdetail("It sends its letters again when it is started.")));
}

Datum
flo_redrive(PG_FUNCTION_ARGS)
{
	char	   *id;
	char	   *group;
	char	   *worker;

	flo_argument_require(fcinfo, 0, "id");
	id = flo_text_of_int64(PG_GETARG_INT64(0));
	if (!flo_sql_member_of_row("dead_letters", id, &group, &worker))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no dead letter %s", id),
				 errhint("flo.dead_letters shows those of your workers.")));
	flo_conf_require_member(group, worker);
	(void) request("id = $1::bigint", id);
	warn_if_stopped(group, worker);
	PG_RETURN_VOID();
}

Datum
flo_redrive_group(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	ListCell   *lc;
	bool		found = false;

	flo_conf_require_group(group);
	foreach(lc, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(lc);

		if (member->is_replicator ||
			(member->sink != FLO_SINK_WEBHOOK && member->sink != FLO_SINK_SEARCH))
			continue;
		flo_conf_require_member(group, member->member);
		warn_if_stopped(group, member->member);
		found = true;
	}

	/*
	 * without such a worker there are no letters, and nobody was asked for
	 * his rights
	 */
	PG_RETURN_INT64(found ? request("group_name = $1", group) : 0);
}
