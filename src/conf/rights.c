/*
 * rights.c
 *		Who may change a group, and who may read its rows.
 *
 * Promises: a group belongs to roles, not to names.  Owners, readers and
 * authors are recorded by OID and made known to the server as shared
 * dependencies, so that DROP ROLE names the table that holds them; should one
 * be dropped nevertheless (pg_upgrade does not carry dependencies over), its
 * member stops and a new role of that name has no rights.
 *
 * Whoever makes a worker gets to see the group's rows.  Where the replicator is
 * in this database, that needs the rights of its owner or of one of
 * flo.readers.  A database that holds only workers knows neither: there the
 * broker decides, by what its user may subscribe to.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "conf/api.h"
#include "conf/outlet.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/visit.h"
#include "core/arguments.h"
#include "core/compat.h"
#include "core/names.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(flo_set_owner);
PG_FUNCTION_INFO_V1(flo_grant_reader);
PG_FUNCTION_INFO_V1(flo_revoke_reader);

/* --- questions --------------------------------------------------------------------- */

/* Has the role the rights of the replicator's owner or, with "readers", of a reader? */
static bool
has_right_at_source(const char *group, Oid role, bool readers)
{
	FloVisit	visit;
	bool		result;
	uint64		count;

	flo_visit_begin(&visit);
	count = flo_visit_run(SPI_OK_SELECT,
				"SELECT owner::oid FROM flo.sources WHERE group_name = $1"
				" UNION ALL SELECT reader::oid FROM flo.readers WHERE group_name = $1 AND $2::bool",
				2, group, readers ? "t" : "f");
	result = superuser_arg(role);
	for (uint64 i = 0; i < count && !result; i++)
		result = flo_role_has_rights_of(role, flo_visit_oid(i, 1));
	flo_visit_end(&visit);
	return result;
}

static bool
owns_member(const char *group, Oid role)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
		if (flo_role_has_rights_of(role, ((FloMemberSpec *) lfirst(cell))->owner))
			return true;
	return false;
}

static bool
is_source(const char *group)
{
	bool		found;

	(void) flo_store_member_owner(group, FLO_REPLICATOR_MEMBER, &found);
	return found;
}

static bool
may_have_worker(const char *group, Oid role)
{
	return !is_source(group) || has_right_at_source(group, role, true);
}

/* --- checks ------------------------------------------------------------------------- */

pg_noreturn static void
refuse(const char *group, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for group \"%s\"", group),
			 errhint("%s", hint)));
}

void
flo_rights_require_worker(const char *group, Oid role)
{
	if (!may_have_worker(group, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s must not read the rows of group \"%s\"", flo_role_shown(role), group),
				 errhint("The owner of its replicator lets others do so with flo.grant_reader().")));
}

void
flo_rights_require_reader(const char *group)
{
	if (!is_source(group) && !superuser() && !owns_member(group, GetUserId()))
		refuse(group, "Its rows are for owners of its members here, members of those roles and superusers.");
	if (!may_have_worker(group, GetUserId()))
		refuse(group, "Its rows are for the owner of its replicator and for those whom he names with flo.grant_reader().");
}

void
flo_rights_require_viewer(const char *group)
{
	if (!flo_role_has_rights_of(GetUserId(), ROLE_PG_MONITOR))
		flo_rights_require_reader(group);
}

void
flo_rights_require_owner(const char *group)
{
	if (superuser() ||
		(is_source(group) ? has_right_at_source(group, GetUserId(), false) : owns_member(group, GetUserId())))
		return;
	refuse(group, is_source(group) ?
		   "Only the owner of its replicator, members of that role and superusers may change it." :
		   "Only owners of its members, members of those roles and superusers may change it.");
}

void
flo_rights_check_member(const char *group, Oid owner, bool reads)
{
	MemoryContext context = flo_transaction_begin();
	bool		exists = flo_role_exists(owner);
	bool		allowed = exists && (!reads || may_have_worker(group, owner));
	char	   *shown = MemoryContextStrdup(context, flo_role_shown(owner));

	flo_transaction_end(context);
	if (!exists)
		flo_fail(ERRCODE_UNDEFINED_OBJECT, "A superuser gives it another one with flo.set_owner().",
				 "the owner is a %s", shown);
	if (!allowed)
		flo_fail(ERRCODE_INSUFFICIENT_PRIVILEGE,
				 "The owner of the group's replicator lets others do so with flo.grant_reader().",
				 "the owner, %s, must not read the rows of group \"%s\"", shown, group);
	pfree(shown);
}

/* --- readers ---------------------------------------------------------------------------- */

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
	FloVisit	visit;
	char	   *group;
	char	   *reader = reader_argument(fcinfo, &group);

	if (!flo_role_exists(PG_GETARG_OID(1)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role with OID %s does not exist", reader)));
	flo_visit_begin(&visit);
	(void) flo_visit_run(SPI_OK_INSERT,
				"INSERT INTO flo.readers (group_name, reader) VALUES ($1, $2::oid::regrole) ON CONFLICT DO NOTHING",
				2, group, reader);
	flo_visit_end(&visit);
	PG_RETURN_VOID();
}

Datum
flo_revoke_reader(PG_FUNCTION_ARGS)
{
	FloVisit	visit;
	char	   *group;
	char	   *reader = reader_argument(fcinfo, &group);
	uint64		count;

	flo_visit_begin(&visit);
	count = flo_visit_run(SPI_OK_DELETE,
				"DELETE FROM flo.readers WHERE group_name = $1 AND reader::oid = $2::oid", 2, group, reader);
	flo_visit_end(&visit);
	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s is no reader of group \"%s\"", flo_role_shown(PG_GETARG_OID(1)), group),
				 errhint("flo.readers shows who is.")));
	PG_RETURN_VOID();
}

/* --- another owner ------------------------------------------------------------------------ */

/* The new owner could have made the replicator */
static void
give_replicator(const char *group, Oid owner)
{
	FloTableOids choice;
	ListCell   *lc;

	flo_conf_check_source_privileges(owner);
	flo_choice_look_up(flo_store_table_choice(group), &choice);
	foreach(lc, flo_tables_covered(&choice))
		if (flo_publication_has_table(group, lfirst_oid(lc)) &&
			!flo_compat_class_ownercheck(lfirst_oid(lc), owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s does not own table %s of group \"%s\"", flo_role_shown(owner),
							flo_tables_name(lfirst_oid(lc)), group),
					 errhint("Give it the table or its owner's rights first, or take the table out with flo.remove_table().")));
	foreach(lc, flo_publication_names(group))
		flo_publication_execute(psprintf("ALTER PUBLICATION %s OWNER TO %s", quote_identifier(lfirst(lc)),
										 quote_identifier(GetUserNameFromId(owner, false))));
}

/* The new owner could have made the worker */
static void
give_worker(const char *group, const char *worker, Oid owner)
{
	FloSecrets	unchanged = {0};

	flo_rights_require_worker(group, owner);
	flo_outlet_check(flo_store_worker(group, worker), &unchanged, owner);
}

Datum
flo_set_owner(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *member = flo_argument_text(fcinfo, 1, "member");
	Oid			owner;
	FloVisit	visit;

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

	flo_visit_begin(&visit);
	(void) flo_visit_run(SPI_OK_UPDATE,
				strcmp(member, FLO_REPLICATOR_MEMBER) == 0 ?
				"UPDATE flo.sources SET owner = $2::oid::regrole WHERE group_name = $1 AND $3 = 'replicator'" :
				"UPDATE flo.workers SET owner = $2::oid::regrole WHERE group_name = $1 AND worker_name = $3",
				3, group, psprintf("%u", owner), member);
	flo_visit_end(&visit);
	flo_conf_altered(group, member);
	PG_RETURN_VOID();
}

/* --- what the server knows of our roles ----------------------------------------------------- */

static const char *const role_columns[] = {"owner", "author", "reader"};

void
flo_rights_note_roles(Relation table)
{
	const char *column = NULL;
	AttrNumber	number = InvalidAttrNumber;
	ObjectAddress holder;
	FloVisit	visit;
	uint64		count;

	for (int i = 0; i < lengthof(role_columns) && number == InvalidAttrNumber; i++)
	{
		column = role_columns[i];
		number = get_attnum(RelationGetRelid(table), column);
	}
	if (number == InvalidAttrNumber)
		return;

	ObjectAddressSubSet(holder, RelationRelationId, RelationGetRelid(table), number);
	deleteSharedDependencyRecordsFor(holder.classId, holder.objectId, holder.objectSubId);
	flo_visit_begin(&visit);
	count = flo_visit_run(SPI_OK_SELECT,
				psprintf("SELECT DISTINCT %s::oid FROM flo.%s", column, RelationGetRelationName(table)), 0);
	for (uint64 i = 0; i < count; i++)
	{
		ObjectAddress role;

		ObjectAddressSet(role, AuthIdRelationId, flo_visit_oid(i, 1));
		/* shown as "privileges for column ... of table ..."; DROP OWNED leaves it */
		if (flo_role_exists(role.objectId))
			recordSharedDependencyOn(&holder, &role, SHARED_DEPENDENCY_ACL);
	}
	flo_visit_end(&visit);
}
