/*
 * recover.c
 *		skip() and resync(): a person's ways out of "failed".
 *
 * Both only write down what is to be done; the member does it, and both are
 * logged, since what they give up is lost on purpose.
 */
#include "postgres.h"

#include "api/drop.h"
#include "api/function.h"
#include "api/tables.h"
#include "conf/commit.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/names.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"

FLO_FUNCTION(flo_skip);
FLO_FUNCTION(flo_resync);

/* Did the worker fail at this transaction, and has not got past it since? */
static bool
failed_at(const char *group, const char *worker, XLogRecPtr lsn)
{
	FloMember	m;

	flo_require_preloaded();
	return flo_member_look(group, worker, &m) >= 0 && !XLogRecPtrIsInvalid(lsn) &&
		m.last_error_lsn == lsn && m.last_error_exact && m.durable_lsn <= lsn;
}

Datum
flo_skip(PG_FUNCTION_ARGS)
{
	char	   *group;
	char	   *worker;
	XLogRecPtr	lsn;

	flo_argument_require(fcinfo, 0, "group_name");
	flo_argument_require(fcinfo, 1, "worker_name");
	flo_argument_require(fcinfo, 2, "lsn");
	group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	worker = text_to_cstring(PG_GETARG_TEXT_PP(1));
	lsn = PG_GETARG_LSN(2);

	if (strcmp(worker, FLO_REPLICATOR_MEMBER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a worker", worker)));
	flo_conf_require_member(group, worker);
	if (!failed_at(group, worker, lsn) || !flo_store_save_skip(group, worker, lsn))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker \"%s\" of group \"%s\" did not fail at transaction %X/%X",
						worker, group, LSN_FORMAT_ARGS(lsn)),
				 errhint("Only the transaction named by last_error in flo.status can be skipped.")));
	ereport(LOG,
			(errmsg("worker \"%s\" of group \"%s\" is told by \"%s\" to skip the transaction at %X/%X",
					worker, group, GetUserNameFromId(GetUserId(), false), LSN_FORMAT_ARGS(lsn))));
	flo_conf_altered(group, worker);
	PG_RETURN_VOID();
}

Datum
flo_resync(PG_FUNCTION_ARGS)
{
	char	   *group;
	FloMemberSpec replicator = {0};

	flo_argument_require(fcinfo, 0, "group_name");
	flo_argument_require(fcinfo, 2, "copy");
	group = text_to_cstring(PG_GETARG_TEXT_PP(0));

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	if (!PG_ARGISNULL(1) && PG_GETARG_BOOL(2))
	{
		flo_resync_table(fcinfo);
		PG_RETURN_VOID();
	}
	if (!PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("one table alone cannot go on from now"),
				 errhint("Leave out copy => false to copy it afresh.")));
	if (flo_store_replicator(group)->mode == FLO_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" does not stream", group)));
	replicator.group = group;
	replicator.member = FLO_REPLICATOR_MEMBER;
	replicator.is_replicator = true;
	flo_members_stop(list_make1(&replicator));
	if (!flo_store_request_resync(group))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" has never begun, there is nothing to give up", group),
				 errhint("flo.start_group() starts it.")));
	flo_publication_remake(group);

	/*
	 * what is given up comes with the copy: every table is copied afresh at
	 * the new start
	 */
	if (PG_GETARG_BOOL(2))
		flo_store_request_copy_of_all(group);
	flo_conf_altered(group, FLO_REPLICATOR_MEMBER);
	PG_RETURN_VOID();
}
