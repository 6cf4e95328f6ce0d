/*
 * traits.c
 *		What of a destination table decides how its changes may be gathered.
 *
 * Changes written as sets must leave what they would leave one by one, and
 * must meet the objections they would meet.  What can tell the two apart is
 * looked for here, in the table and in its partitions:
 *
 *	Triggers that fire and rules see each change in its place among those of
 *	all tables: nothing is gathered.
 *
 *	A second unique index or an exclusion constraint sees the order of changes
 *	of different rows: only runs of one operation are gathered.
 *
 *	Checks, generated columns, expressions in indexes and partition bounds may
 *	object to a version of a row that a later change replaces: every version
 *	is written.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "conf/fence.h"
#include "rewrite/prs2lock.h"
#include "sink/traits.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* Those of a fence let everything through that comes from here */
static bool
fires(const Trigger *trigger)
{
	char		off = (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA) ?
		TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

	return trigger->tgenabled != TRIGGER_DISABLED && trigger->tgenabled != off &&
		(trigger->tgtype &
		 (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)) != 0 &&
		!flo_fence_owns(trigger);
}

bool
flo_triggers_fire(Relation rel)
{
	bool		any = false;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		any |= fires(&rel->trigdesc->triggers[i]);
	return any;
}

static void
inspect_indexes(FloTraits *traits, Relation rel, bool is_leaf)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool		of_key = form->indisprimary ||
			(!is_leaf && index->rd_id == traits->key_index);

		/*
		 * the key's own index keeps its rows apart, and so do gathered
		 * changes
		 */
		if ((form->indisunique && !of_key) || form->indisexclusion || !form->indimmediate)
			traits->ordered = true;
		if (!form->indimmediate)
			traits->direct = false;
		if (RelationGetIndexExpressions(index) != NIL ||
			RelationGetIndexPredicate(index) != NIL)
			traits->each_image = true;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

static void
inspect(FloTraits *traits, Relation rel, bool is_leaf)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	traits->fires |= flo_triggers_fire(rel);
	if (rel->rd_rules != NULL && rel->rd_rules->numLocks > 0)
		traits->fires = true;
	if (constr != NULL && (constr->num_check > 0 || constr->has_generated_stored))
		traits->each_image = true;
	if (rel->rd_rel->relkind != RELKIND_RELATION || rel->rd_rel->relispartition)
		traits->each_image = true;
	inspect_indexes(traits, rel, is_leaf);
}

/* Changes of a partition's definition are changes of the target's, too */
static void
inspect_partitions(FloTraits *traits, FloTarget *target)
{
	List	   *children = find_all_inheritors(target->relid, RowExclusiveLock, NULL);
	ListCell   *lc;

	target->children = palloc(list_length(children) * sizeof(Oid));
	target->nchildren = 0;
	foreach(lc, children)
	{
		Relation	rel;

		if (lfirst_oid(lc) == target->relid)
			continue;
		target->children[target->nchildren++] = lfirst_oid(lc);
		rel = table_open(lfirst_oid(lc), NoLock);
		inspect(traits, rel, true);
		table_close(rel, NoLock);
	}
	list_free(children);
}

static bool
describe_key_column(FloKeyColumn *key, const FloTargetColumn *column, Oid family, Oid collation)
{
	Oid			base = getBaseType(column->type);
	TypeCacheEntry *type = lookup_type_cache(base, TYPECACHE_BTREE_OPFAMILY |
											 TYPECACHE_HASH_PROC | TYPECACHE_EQ_OPR);
	bool		same_bytes;

	/* What the index calls equal is what the type does */
	if (type->btree_opf != family || !OidIsValid(type->eq_opr))
		return false;
	key->collation = collation;
	key->typlen = type->typlen;
	same_bytes = flo_equal_is_same(base) &&
		(!OidIsValid(collation) || get_collation_isdeterministic(collation));
	if (same_bytes && type->typbyval)
		key->compare = FLO_KEY_BY_VALUE;
	else if (same_bytes && type->typlen == -1)
		key->compare = FLO_KEY_BY_BYTES;
	else if (same_bytes && type->typlen > 0 && base != NAMEOID)
		key->compare = FLO_KEY_FIXED;
	else
	{
		if (!OidIsValid(type->hash_proc))
			return false;
		key->compare = FLO_KEY_FUNCTIONS;
		fmgr_info_cxt(type->hash_proc, &key->hash, CurrentMemoryContext);
		fmgr_info_cxt(get_opcode(type->eq_opr), &key->equal, CurrentMemoryContext);
	}
	return true;
}

/* Are the columns that find a row those of the destination's key? */
static bool
describe_key(FloTraits *traits, const FloTarget *target)
{
	Relation	index;
	bool		usable;

	if (target->match_by != FLO_MATCH_KEY || target->nkey == 0 ||
		target->nkey != target->nmatch || target->key_deferrable)
		return false;
	for (int i = 0; i < target->nkey; i++)
		if (!target->columns[target->key[i]].matched)
			return false;

	traits->nkey = target->nkey;
	traits->key = palloc0(target->nkey * sizeof(FloKeyColumn));
	index = index_open(target->key_index, AccessShareLock);
	usable = index->rd_rel->relam == BTREE_AM_OID;
	for (int i = 0; i < target->nkey && usable; i++)
	{
		traits->key[i].column = target->key[i];
		usable = describe_key_column(&traits->key[i], &target->columns[target->key[i]],
									 index->rd_opfamily[i], index->rd_indcollation[i]);
	}
	index_close(index, AccessShareLock);
	return usable;
}

/* What becomes of the columns the source does not have, and which must not be NULL */
static void
inspect_columns(FloTraits *traits, const FloTarget *target, TupleDesc desc)
{
	bool	   *sent = palloc0(Max(desc->natts, 1) * sizeof(bool));

	traits->notnull = palloc(Max(target->natts, 1) * sizeof(int));
	for (int i = 0; i < target->natts; i++)
	{
		FloTargetColumn *column = &target->columns[i];

		sent[column->attnum - 1] = true;
		if (TupleDescAttr(desc, column->attnum - 1)->attnotnull && !column->generated)
			traits->notnull[traits->nnotnull++] = i;
		if (column->type >= FirstNormalObjectId)
			traits->user_code = true;
		if (column->generated)
			traits->direct = false;
	}
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || sent[i])
			continue;
		if (att->atthasdef || att->attidentity || att->attgenerated ||
			get_typtype(att->atttypid) == TYPTYPE_DOMAIN)
			traits->direct_insert = false;
		if (att->attnotnull && !att->atthasdef && !att->attidentity)
			traits->each_image = true;
	}
	pfree(sent);
}

FloTraits *
flo_traits(FloTarget *target)
{
	MemoryContext old_context;
	FloTraits  *traits;
	Relation	rel;

	if (likely(target->traits != NULL))
		return target->traits;

	old_context = MemoryContextSwitchTo(target->context);
	traits = palloc0(sizeof(FloTraits));
	traits->key_index = target->key_index;
	rel = table_open(target->relid, NoLock);
	traits->direct = rel->rd_rel->relkind == RELKIND_RELATION &&
		(RelationGetDescr(rel)->constr == NULL ||
		 !RelationGetDescr(rel)->constr->has_generated_stored);
	traits->direct_insert = true;
	inspect(traits, rel, false);
	if (target->partitioned)
		inspect_partitions(traits, target);
	inspect_columns(traits, target, RelationGetDescr(rel));
	table_close(rel, NoLock);
	traits->keyed = describe_key(traits, target) && target->touch != NULL;
	MemoryContextSwitchTo(old_context);
	target->traits = traits;
	return traits;
}

bool
flo_traits_foreign_keys(const FloTarget *target, bool any, const List *referring)
{
	Relation	rel = table_open(target->relid, NoLock);
	bool		found = any && target->partitioned;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		found |= RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE &&
			(any || list_member_oid(referring, trigger->tgconstrrelid));
	}
	table_close(rel, NoLock);
	return found;
}
