/*
 * compare.c
 *		flo.compare(): asks for a comparison of a group's tables.
 *
 * What a person has got wrong is said here; the comparison itself is the
 * replicator's, which begins at commit, and flo.comparisons shows how far it is.
 */
#include "postgres.h"

#include "conf/commit.h"
#include "conf/comparisons.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/names.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "process/agent.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define DEFAULT_SAMPLES 100
#define MOST_SAMPLES 10000

/* A worker speaks every three seconds; one that has not for so long, ms, does not run */
#define SILENCE 60000

PG_FUNCTION_INFO_V1(flo_compare);

static bool
is_started(const char *group)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		const FloMemberSpec *member = lfirst(cell);

		if (member->is_replicator)
			return member->started;
	}
	return false;
}

static void
check_replicator(const char *group)
{
	FloReplicatorSpec *replicator;

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	replicator = flo_store_replicator(group);
	if (replicator->mode == FLO_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" has mode \"copy\": there is no stream in which both sides are at the same place", group)));
	if (!is_started(group))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" is stopped", group),
				 errhint("Start it with flo.start_group().")));
}

/* The table as which it is published, or all that are */
static List *
tables_argument(FunctionCallInfo fcinfo, const char *group)
{
	List	   *published = flo_store_published(group);
	Oid			relation = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);

	if (OidIsValid(relation) && get_rel_name(relation) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no table with OID %u", relation)));
	if (OidIsValid(relation) && !list_member_oid(published, relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table %s is not in group \"%s\"", flo_tables_name(relation), group),
				 errhint("flo.tables shows what is; a partition is there through its root.")));
	if (published == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" has no tables", group)));
	return OidIsValid(relation) ? list_make1_oid(relation) : published;
}

/* What the broker knows of the workers: one at least must be there to compare with */
static void
check_workers(const char *group, const char *wanted)
{
	FloJson		stream = flo_agent_call("stream_status", psprintf("{\"group\":\"%s\"}", group),
										NULL);
	TimestampTz since = GetCurrentTimestamp() - SILENCE * INT64CONST(1000);
	FloJson		workers;
	FloJson		worker;
	int			found = 0;
	bool		heard = false;
	int			cursor = 0;

	if (flo_json_get(stream, "workers", &workers))
	{
		while (flo_json_next_element(workers, &cursor, &worker))
		{
			char	   *name = flo_json_get_string(worker, "worker_name");
			char	   *consumer = flo_json_get_string(worker, "consumer");
			int64		seen = 0;

			if (name == NULL || (wanted != NULL && strcmp(name, wanted) != 0 &&
								 strcmp(consumer, wanted) != 0))
				continue;
			found++;
			(void) flo_json_get_int64(worker, "last_seen", &seen);
			heard |= seen >= since;
		}
	}
	if (found == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 wanted != NULL ?
				 errmsg("group \"%s\" has no worker \"%s\" that has reported to the broker", group,
						wanted) :
				 errmsg("group \"%s\" has no worker that has reported to the broker", group),
				 errhint("flo.stream_status() shows those that have.")));
	if (wanted != NULL && found > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
				 errmsg("%d databases have a worker \"%s\" of group \"%s\"", found, wanted, group),
				 errhint("Name its consumer, see flo.stream_status().")));
	if (!heard)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 wanted != NULL ?
				 errmsg("worker \"%s\" of group \"%s\" has not been heard of for a minute", wanted,
						group) :
				 errmsg("no worker of group \"%s\" has been heard of for a minute", group),
				 errhint("Start it, or see in flo.status at its database why it waits.")));
}

Datum
flo_compare(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloCompareRequest request = {0};

	flo_argument_require(fcinfo, 3, "repair");
	flo_argument_require(fcinfo, 4, "repair_extra");
	request.worker = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	request.repair = PG_GETARG_BOOL(3);
	request.repair_extra = PG_GETARG_BOOL(4);
	request.samples = PG_ARGISNULL(5) ? DEFAULT_SAMPLES : PG_GETARG_INT32(5);
	if (request.samples < 0 || request.samples > MOST_SAMPLES)
		flo_conf_refuse(psprintf("compare_samples must be between 0 and %d", MOST_SAMPLES), NULL);
	if (request.repair_extra && !request.repair)
		flo_conf_refuse("repair_extra needs repair => true", NULL);
	check_replicator(group);
	request.tables = tables_argument(fcinfo, group);
	check_workers(group, request.worker);
	PG_RETURN_INT64(flo_comparisons_ask(group, &request));
}
