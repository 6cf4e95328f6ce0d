/*
 * commit.c
 *		What a change of the configuration does when its transaction commits.
 *
 * Promises: a change takes effect at commit and not before; a rollback starts
 * or stops nothing; a change made by plain DML counts as one made by a
 * function.  The launcher learns of it through a flag in shared memory, running
 * members through relation cache invalidation, which the server itself delivers
 * at commit.
 *
 * Awkward cases: a rolled back savepoint may leave the flag set, so that the
 * launcher looks once more and finds nothing new.  A prepared transaction is
 * committed by another session that knows nothing of the flag, hence refused.
 * After the commit nothing may fail, so all that is needed then is copied
 * beforehand.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/commit.h"
#include "conf/store.h"
#include "core/names.h"
#include "core/roles.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Members to be tried at once; in TopTransactionContext */
typedef struct Attempt
{
	char		group[FLO_NAME_BUF];
	char		member[FLO_NAME_BUF];	/* "" = all */
	bool		started;		/* by start_group(), not only altered */
} Attempt;

static bool changed = false;
static List *attempts = NIL;

void
flo_conf_changed(void)
{
	changed = true;
}

static void
remember_attempt(const char *group, const char *member, bool started)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Attempt    *attempt = palloc0(sizeof(Attempt));

	strlcpy(attempt->group, group, sizeof(attempt->group));
	if (member)
		strlcpy(attempt->member, member, sizeof(attempt->member));
	attempt->started = started;
	attempts = lappend(attempts, attempt);
	MemoryContextSwitchTo(old);

	changed = true;
}

void
flo_conf_started(const char *group, const char *member)
{
	remember_attempt(group, member, true);
}

void
flo_conf_altered(const char *group, const char *member)
{
	remember_attempt(group, member, false);
}

bool
flo_conf_started_here(const char *group)
{
	ListCell   *lc;

	foreach(lc, attempts)
	{
		Attempt    *attempt = lfirst(lc);

		if (attempt->started && strcmp(attempt->group, group) == 0)
			return true;
	}

	return false;
}

static void
make_known(void)
{
	ListCell   *lc;

	if (!flo_preloaded())
		return;

	foreach(lc, attempts)
	{
		Attempt    *attempt = lfirst(lc);

		flo_members_retry(MyDatabaseId, attempt->group,
						  attempt->member[0] ? attempt->member : NULL);
	}

	flo_members_changed(MyDatabaseId);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!changed)
		return;

	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has changed the configuration of pg_flo")));
			break;
		case XACT_EVENT_COMMIT:
			make_known();
			changed = false;
			attempts = NIL;
			break;
		case XACT_EVENT_ABORT:
			changed = false;
			attempts = NIL;
			break;
		default:
			break;
	}
}

void
flo_conf_xact_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

/* --- checks -------------------------------------------------------------- */

void
flo_conf_refuse(const char *message, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 hint != NULL ? errhint("%s", hint) : 0));
}

void
flo_conf_require_group(const char *group)
{
	if (!flo_name_is_valid(group) || !flo_store_group_exists(group, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" does not exist in this database", group),
				 errhint("flo.status shows the groups of this database; flo.create_replicator() "
						 "and flo.create_worker() make one.")));
}

void
flo_conf_require_member(const char *group, const char *member)
{
	bool		found;
	Oid			owner;

	flo_conf_require_group(group);

	owner = flo_store_member_owner(group, member, &found);
	if (!found)
	{
		if (strcmp(member, FLO_REPLICATOR_MEMBER) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("group \"%s\" has no replicator in this database", group),
					 errhint("The replicator belongs to the source database.")));
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no worker \"%s\" in this database", group, member),
				 errhint("flo.status shows the members of the group.")));
	}

	if (!flo_role_has_rights_of(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for member \"%s\" of group \"%s\"", member, group),
				 flo_role_exists(owner) ? 0 :
				 errdetail("Its owner, %s, has left it to superusers.", flo_role_shown(owner)),
				 errhint("Only its owner, members of that role and superusers may change it.")));
}
