/*
 * stream.c
 *		What SQL functions require that ask something of a group's running replicator
 *		and of its workers.
 *
 * The workers are asked for at the broker, where they report.
 */
#include "postgres.h"

#include "api/stream.h"
#include "conf/commit.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/names.h"
#include "process/agent.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

/* A worker speaks every three seconds; one that has not for so long, ms, does not run */
#define SILENCE 60000

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

void
flo_require_streaming(const char *group, const char *why)
{
	FloReplicatorSpec *replicator;

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	replicator = flo_store_replicator(group);
	if (replicator->mode == FLO_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" has mode \"copy\": %s", group, why)));
	if (!is_started(group))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" is stopped", group),
				 errhint("Start it with flo.start_group().")));
}

List *
flo_require_tables(const char *group)
{
	List	   *published = flo_store_published(group);

	if (published == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" has no tables", group)));
	return published;
}

Oid
flo_require_table(const char *group, Oid relation)
{
	if (get_rel_name(relation) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("there is no table with OID %u", relation)));
	if (!list_member_oid(flo_store_published(group), relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table %s is not in group \"%s\"", flo_tables_name(relation), group),
				 errhint("flo.tables shows what is; a partition is there through its root.")));
	return relation;
}

FloReportedWorker *
flo_require_reported(const char *group, const char *wanted)
{
	FloJson		stream = flo_agent_call("stream_status", psprintf("{\"group\":\"%s\"}", group),
										NULL);
	TimestampTz since = GetCurrentTimestamp() - SILENCE * INT64CONST(1000);
	FloJson		workers;
	FloJson		worker;
	FloReportedWorker *result = palloc0(sizeof(FloReportedWorker));
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
			int64		flag = 0;

			if (name == NULL || (wanted != NULL && strcmp(name, wanted) != 0 &&
								 strcmp(consumer, wanted) != 0))
				continue;
			found++;
			(void) flo_json_get_int64(worker, "last_seen", &seen);
			heard |= seen >= since;
			result->name = name;
			result->consumer = consumer;
			result->tables = flo_json_get_int64(worker, "tables", &flag) && flag != 0;
			result->backfills = flo_json_get_int64(worker, "backfills", &flag) && flag != 0;
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
	return result;
}
