/*
 * rights.c
 *		Who owns a member, and who may read the rows of a group: grant_reader(), set_owner().
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_class.h"
#include "conf/choice.h"
#include "conf/commit.h"
#include "conf/event_tables.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/compat_acl.h"
#include "core/names.h"
#include "core/roles.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

FLO_FUNCTION(flo_set_owner);
FLO_FUNCTION(flo_grant_reader);
FLO_FUNCTION(flo_revoke_reader);

/* The arguments of both functions: the group's replicator is here and the caller's */
static char *
reader_argument(FunctionCallInfo fcinfo, char **group)
{
	*group = flo_argument_text(fcinfo, 0, "group_name");
	flo_argument_require(fcinfo, 1, "reader");
	flo_conf_require_member(*group, FLO_REPLICATOR_MEMBER);
	return psprintf("%u", PG_GETARG_OID(1));
}

Datum
flo_grant_reader(PG_FUNCTION_ARGS)
{
	char	   *group;
	char	   *reader = reader_argument(fcinfo, &group);

	if (!flo_role_exists(PG_GETARG_OID(1)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %s does not exist", reader)));
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.readers (group_name, reader) VALUES ($1, $2::oid::regrole) ON CONFLICT DO NOTHING",
			   2, group, reader);
	PG_RETURN_VOID();
}

Datum
flo_revoke_reader(PG_FUNCTION_ARGS)
{
	char	   *group;
	char	   *reader = reader_argument(fcinfo, &group);
	uint64		count = flo_sql_do(SPI_OK_DELETE,
								   "DELETE FROM flo.readers WHERE group_name = $1 AND reader::oid = $2::oid", 2, group, reader);

	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s is no reader of group \"%s\"", flo_role_shown(PG_GETARG_OID(1)), group),
				 errhint("flo.readers shows who is.")));
	PG_RETURN_VOID();
}

/* The new owner could have made the replicator */
static void
give_replicator(const char *group, Oid owner)
{
	FloTableOids choice;
	ListCell   *lc;

	flo_rights_check_source(owner);
	flo_choice_look_up(flo_store_table_choice(group), &choice);
	foreach(lc, flo_tables_covered(&choice))
	{
		if (flo_publication_has_table(group, lfirst_oid(lc)) &&
			!flo_compat_class_ownercheck(lfirst_oid(lc), owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s does not own table %s of group \"%s\"", flo_role_shown(owner),
							flo_tables_name(lfirst_oid(lc)), group),
					 errhint("Give it the table or its owner's rights first, or take the table out with flo.remove_table().")));
	}
	foreach(lc, flo_publication_names(group))
		flo_publication_execute(psprintf("ALTER PUBLICATION %s OWNER TO %s",
										 quote_identifier(lfirst(lc)),
										 quote_identifier(GetUserNameFromId(owner, false))));
}

/* The new owner could have made the worker */
static void
give_worker(const char *group, const char *worker, Oid owner)
{
	FloSecrets	unchanged = {0};

	flo_rights_require_worker(group, owner);
	flo_event_tables_check(flo_store_worker(group, worker), &unchanged, owner);
}

Datum
flo_set_owner(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *member = flo_argument_text(fcinfo, 1, "member");
	Oid			owner;

	flo_argument_require(fcinfo, 2, "new_owner");
	owner = PG_GETARG_OID(2);
	flo_conf_require_member(group, member);
	if (!flo_role_can_become(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to give a member to %s", flo_role_shown(owner)),
				 errhint("It can be given to a role that exists and that you could become with SET ROLE.")));
	if (strcmp(member, FLO_REPLICATOR_MEMBER) == 0)
		give_replicator(group, owner);
	else
		give_worker(group, member, owner);

	flo_sql_do(SPI_OK_UPDATE,
			   strcmp(member, FLO_REPLICATOR_MEMBER) == 0 ?
			   "UPDATE flo.sources SET owner = $2::oid::regrole WHERE group_name = $1 AND $3 = 'replicator'" :
			   "UPDATE flo.workers SET owner = $2::oid::regrole WHERE group_name = $1 AND worker_name = $3",
			   3, group, psprintf("%u", owner), member);
	flo_conf_altered(group, member);
	PG_RETURN_VOID();
}
