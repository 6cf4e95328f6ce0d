/*
 * fence_guard.c
 *		Keeps the definitions of fenced tables as they are, their triggers among them.
 *
 * What would let writes through beside the fence is DDL: to drop or disable its
 * triggers, to drop, empty or detach a table.  The rest is refused because its
 * effects would not reach the server that takes over.  So whatever changes a table,
 * its columns, indexes, constraints, triggers, rules or policies is an error while
 * its fence is raised, for whatever cause it happens: DROP SCHEMA CASCADE too.
 * Privileges, comments, publications, REINDEX and VACUUM are nobody's concern here;
 * VACUUM FULL and CLUSTER, which write a table anew, count as definitions.
 *
 * The server tells of each object that it changes by the object access hook, after
 * it has locked the table, so a fence that is being raised is waited for; a few
 * ways to alter a table and CREATE INDEX are looked at as statements.  A server that
 * has not preloaded pg_flo has no hooks: there the triggers are all that there is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "conf/fence_rows.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static object_access_hook_type next_object_access = NULL;
static ProcessUtility_hook_type next_ProcessUtility = NULL;

/* Where the parts of a table say whose they are */
typedef struct FloPartCatalog
{
	Oid			catalog;
	Oid			index;			/* by OID */
	AttrNumber	oid;
	AttrNumber	relation;
} FloPartCatalog;

static const FloPartCatalog part_catalogs[] = {
	{TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, Anum_pg_trigger_tgrelid},
	{ConstraintRelationId, ConstraintOidIndexId, Anum_pg_constraint_oid,
	Anum_pg_constraint_conrelid},
	{RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, Anum_pg_rewrite_ev_class},
	{PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid, Anum_pg_policy_polrelid},
	{AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid,
	Anum_pg_attrdef_adrelid},
};

/* The row may have been made by the command that is under way */
static Oid
relation_of_part(const FloPartCatalog *of, Oid part)
{
	Relation	catalog = table_open(of->catalog, AccessShareLock);
	Oid			relation = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		isnull;

	ScanKeyInit(&key, of->oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(part));
	scan = systable_beginscan(catalog, of->index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		relation = DatumGetObjectId(heap_getattr(tuple, of->relation, RelationGetDescr(catalog),
												 &isnull));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relation;
}

/* An index is its table's */
static Oid
table_of(Oid relation)
{
	char		kind = get_rel_relkind(relation);

	return kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX ?
		IndexGetRelation(relation, true) : relation;
}

static const FloPartCatalog *
part_catalog(Oid class)
{
	for (int i = 0; i < lengthof(part_catalogs); i++)
	{
		if (part_catalogs[i].catalog == class)
			return &part_catalogs[i];
	}
	return NULL;
}

/* May an object of the kind be part of a table's definition? */
static bool
is_watched(Oid class)
{
	return class == RelationRelationId || class == IndexRelationId ||
		class == InheritsRelationId || class == NamespaceRelationId ||
		part_catalog(class) != NULL;
}

/* The table whose definition the object is part of; invalid: none */
static Oid
relation_of(Oid class, Oid object)
{
	const FloPartCatalog *catalog = part_catalog(class);

	return catalog != NULL ? relation_of_part(catalog, object) : table_of(object);
}

/* REINDEX CONCURRENTLY drops an index when another has taken its place */
static bool
is_replaced(ObjectAccessType access, const void *arg)
{
	return access == OAT_DROP && arg != NULL &&
		(((const ObjectAccessDrop *) arg)->dropflags & PERFORM_DELETION_CONCURRENT_LOCK) != 0;
}

static void
refuse_if_fenced(Oid relation, bool definition)
{
	FloFence   *fence = OidIsValid(relation) ? flo_fence_against(relation) : NULL;

	if (fence != NULL)
		flo_fence_refuse(fence, relation, definition);
}

/* The name of a schema is part of those of its tables */
static void
refuse_if_any_fenced(Oid schema)
{
	ListCell   *fence;
	ListCell   *table;

	foreach(fence, flo_fences(false))
	{
		foreach(table, ((FloFence *) lfirst(fence))->tables)
		{
			if (get_rel_namespace(lfirst_oid(table)) == schema)
				refuse_if_fenced(lfirst_oid(table), true);
		}
	}
}

/* May anything be fenced here?  Not while the system itself works on its catalogs */
static bool
is_guarded(void)
{
	return !flo_fence_works && OidIsValid(MyDatabaseId) && IsTransactionState() &&
		IsNormalProcessingMode() && !RecoveryInProgress() && flo_fence_any();
}

static void
guard_object_access(ObjectAccessType access, Oid class, Oid object, int subobject, void *arg)
{
	if (next_object_access)
		next_object_access(access, class, object, subobject, arg);

	if (access != OAT_POST_CREATE && access != OAT_POST_ALTER && access != OAT_DROP &&
		access != OAT_TRUNCATE)
		return;
	if (!is_watched(class) || object < FirstNormalObjectId || is_replaced(access, arg) ||
		!is_guarded())
		return;
	if (class == NamespaceRelationId)
		refuse_if_any_fenced(object);
	else
		refuse_if_fenced(relation_of(class, object), access != OAT_TRUNCATE);

	/* a table gets another parent, or loses one: that one's rows change, too */
	if (class == InheritsRelationId && access == OAT_POST_ALTER && arg != NULL)
		refuse_if_fenced(((ObjectAccessPostAlter *) arg)->auxiliary_id, true);
}

/* The table that a statement is about of which the hook above does not hear all, or late */
static RangeVar *
altered(const Node *statement)
{
	if (IsA(statement, AlterTableStmt))
		return ((AlterTableStmt *) statement)->relation;
	if (IsA(statement, IndexStmt))
		return ((IndexStmt *) statement)->relation;
	return NULL;
}

static void
guard_utility(PlannedStmt *pstmt, const char *query, bool readonly, ProcessUtilityContext context,
			  ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
			  QueryCompletion *completion)
{
	RangeVar   *name = altered(pstmt->utilityStmt);
	Oid			relation = InvalidOid;

	if (name != NULL && OidIsValid(MyDatabaseId) && IsTransactionState())
		relation = RangeVarGetRelid(name, NoLock, true);
	if (OidIsValid(relation))
		relation = table_of(relation);
	if (OidIsValid(relation) && is_guarded())
		refuse_if_fenced(relation, true);
	next_ProcessUtility(pstmt, query, readonly, context, params, environment, dest, completion);

	/* it may have waited for the lock of who has raised the fence */
	if (OidIsValid(relation) && is_guarded())
		refuse_if_fenced(relation, true);
}

void
flo_fence_guard_init(void)
{
	next_object_access = object_access_hook;
	object_access_hook = guard_object_access;
	next_ProcessUtility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = guard_utility;
}
