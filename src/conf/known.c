/*
 * known.c
 *		The replicators of this database, as a session remembers them.
 *
 * Users' DDL asks for them with every statement, and should neither pay for
 * queries nor show them: to pg_stat_statements, to auto_explain, to the
 * conflict detection of serializable transactions.  So they are read once, and
 * again after a change, which the trigger on the configuration tables announces
 * by an invalidation of the table.
 *
 * Awkward case: a transaction that reads with an old snapshot must not make the
 * session remember what it sees.  It is read as of now.
 */
#include "postgres.h"

#include "conf/known.h"
#include "conf/sql.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static MemoryContext context = NULL;
static List *known = NIL;
static bool up_to_date = false;

/* Whose invalidation is waited for; 0 before the extension is there */
static Oid	replicators = InvalidOid;
static Oid	groups = InvalidOid;
static Oid	chosen = InvalidOid;
static Oid	astray = InvalidOid;
static Oid	requests = InvalidOid;

static void
relation_changed(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || relation == replicators || relation == groups ||
		relation == chosen || relation == astray || relation == requests)
		up_to_date = false;
}

/* The names of all that have a row, and whether it is of this very database */
static List *
read_names(void)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, flo_store_members(NULL))
	{
		FloMemberSpec *member = lfirst(lc);

		if (member->is_replicator)
			names = lappend(names, member->group);
	}
	return names;
}

static List *
requested_tables(const char *group)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, flo_store_copy_requests(group))
		tables = lappend_oid(tables, ((FloCopyRequest *) lfirst(lc))->relation);
	return tables;
}

static void
read_all(void)
{
	ListCell   *lc;

	foreach(lc, read_names())
	{
		FloKnownReplicator *replicator = palloc0(sizeof(FloKnownReplicator));

		replicator->spec = flo_store_replicator(lfirst(lc));
		replicator->choice = flo_store_table_choice(lfirst(lc));
		replicator->astray = flo_store_astray(lfirst(lc));
		replicator->requested = requested_tables(lfirst(lc));
		(void) flo_store_group_exists(lfirst(lc), &replicator->ours);
		if (replicator->spec != NULL && replicator->choice != NULL)
			known = lappend(known, replicator);
	}
}

/* What is forgotten may still be in use further up in the stack */
static void
forget(void)
{
	if (context != NULL)
		MemoryContextSetParent(context, TopTransactionContext);
	context = NULL;
	known = NIL;
}

/*
 * Where the extension is still that of another library, nothing is known of what
 * is replicated: statements that concern it must not get lost.  Where nothing leaves
 * the database, none does.
 */
static void
refuse_other_version(void)
{
	Oid			former = flo_store_table("replicators");

	if (OidIsValid(former) && flo_store_other_version() != NULL && flo_store_has_rows(former))
		flo_store_require_version();
}

static void
load(void)
{
	MemoryContext caller;

	forget();
	replicators = flo_store_table("sources");
	groups = flo_store_table("groups");
	chosen = flo_store_table("chosen");
	astray = flo_store_table("astray");
	requests = flo_store_table("copy_requests");
	if (!OidIsValid(replicators))
	{
		refuse_other_version();
		return;
	}
	context = AllocSetContextCreate(CurTransactionContext, "pg_flo replicators",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	up_to_date = true;			/* unless an invalidation arrives meanwhile */
	PushActiveSnapshot(GetLatestSnapshot());
	flo_sql_as_of_now(true);
	PG_TRY();
	{
		read_all();
	}
	PG_CATCH();
	{
		flo_sql_as_of_now(false);
		up_to_date = false;
		context = NULL;
		known = NIL;
		PG_RE_THROW();
	}
	PG_END_TRY();
	flo_sql_as_of_now(false);
	PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);
}

List *
flo_known_replicators(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}
	if (!up_to_date)
		load();
	return known;
}
