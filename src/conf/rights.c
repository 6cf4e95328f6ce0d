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
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "commands/dbcommands.h"
#include "conf/commit.h"
#include "conf/event_tables.h"
#include "conf/publication.h"
#include "conf/rights.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/compat.h"
#include "core/compat_acl.h"
#include "core/names.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* --- questions ----------------------------------------------------------- */

/* Has the role the rights of the replicator's owner or, with "readers", of a reader? */
static bool
has_right_at_source(const char *group, Oid role, bool readers)
{
	FloSqlSession sql;
	bool		result;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						"SELECT owner::oid FROM flo.sources WHERE group_name = $1"
						" UNION ALL SELECT reader::oid FROM flo.readers WHERE group_name = $1 AND $2::bool",
						2, group, readers ? "t" : "f");
	result = superuser_arg(role);
	for (uint64 i = 0; i < count && !result; i++)
		result = flo_role_has_rights_of(role, flo_sql_oid(i, 1));
	flo_sql_end(&sql);
	return result;
}

static bool
owns_member(const char *group, Oid role)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		if (flo_role_has_rights_of(role, ((FloMemberSpec *) lfirst(cell))->owner))
			return true;
	}
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

/* --- checks -------------------------------------------------------------- */

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
		(is_source(group) ? has_right_at_source(group, GetUserId(), false) :
		 owns_member(group, GetUserId())))
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

/* --- what the server knows of our roles ---------------------------------- */

static const char *const role_columns[] = {"owner", "author", "reader"};

void
flo_rights_note_roles(Relation table)
{
	const char *column = NULL;
	AttrNumber	number = InvalidAttrNumber;
	ObjectAddress holder;
	FloSqlSession sql;
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
	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT,
						psprintf("SELECT DISTINCT %s::oid FROM flo.%s", column,
								 RelationGetRelationName(table)), 0);
	for (uint64 i = 0; i < count; i++)
	{
		ObjectAddress role;

		ObjectAddressSet(role, AuthIdRelationId, flo_sql_oid(i, 1));

		/*
		 * shown as "privileges for column ... of table ..."; DROP OWNED
		 * leaves it
		 */
		if (flo_role_exists(role.objectId))
			recordSharedDependencyOn(&holder, &role, SHARED_DEPENDENCY_ACL);
	}
	flo_sql_end(&sql);
}

void
flo_rights_check_source(Oid role)
{
	AclResult	result;

	if (!superuser_arg(role) && !has_rolreplication(role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create a replicator"),
				 errhint("The role needs the attribute REPLICATION or SUPERUSER.")));

	result = flo_compat_database_aclcheck(MyDatabaseId, role, ACL_CREATE);
	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_DATABASE, get_database_name(MyDatabaseId));
}
