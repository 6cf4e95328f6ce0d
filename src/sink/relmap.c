/*
 * relmap.c
 *		Source tables and the destination tables their changes go to.
 *
 * For each source relation the destination table is looked up by name, its
 * columns are matched by name, and what applying needs to know of both is
 * kept: how each value is converted, which columns find a row, whose rights
 * to act with.  Nothing of this is looked up again per row.
 *
 * What is kept goes stale when the source describes the relation anew (its
 * version differs), when the destination table or its schema changes
 * (invalidation messages), or when routes do (flo_relmap_forget).  An
 * invalidation can arrive in the middle of anything, so it only leaves a mark;
 * the entry is made anew when it is next asked for.  While a table is locked,
 * which it is from its first change to the end of the transaction, nobody
 * else can change its definition.
 *
 * Changes are applied with the rights of the table's owner, as PostgreSQL's
 * own logical replication does since version 16: whoever may write code that
 * runs when rows of the table change (triggers, domain checks, expression
 * indexes) must not get the rights of the worker's owner by it.  So the
 * process becomes the owner in a security-restricted operation, and settings
 * changed within are undone.  Only an owner who could become the worker's user
 * anyway is not restricted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "core/error_context.h"
#include "core/roles.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "sink/relmap.h"
#include "sink/setwise.h"
#include "sink/statement.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

/* Where pg_flo's own tables are */
#define FLO_SCHEMA "flo"

typedef struct FloTargetEntry
{
	uint32		id;				/* OID of the source relation; hash key */
	char		status;
	FloTarget  *target;
} FloTargetEntry;

#define FLO_BY_ID flo_targets
#define FLO_BY_ID_ENTRY FloTargetEntry
#include "core/byid.h"

struct FloRelmap
{
	MemoryContext context;
	Oid			worker_owner;
	bool		as_worker;
	uint64		batch;
	flo_targets_hash *targets;
	void		(*on_rebuild) (void *arg, FloTarget *target);
	void	   *on_rebuild_arg;
	uint32		last_id;		/* the one asked for before */
	FloTarget  *last;
};

/* What the invalidation callbacks mark; they cannot be unregistered */
static FloRelmap *current_map = NULL;

static bool
depends_on(const FloTarget *target, Oid relid)
{
	if (relid == InvalidOid || target->relid == relid)
		return true;
	for (int i = 0; i < target->nchildren; i++)
		if (target->children[i] == relid)
			return true;
	return false;
}

/* Call "mark" for every target of the current map, if there is one */
static void
mark_targets(void (*mark) (FloTarget *target, uint32 value), uint32 value)
{
	flo_targets_iterator iterator;
	FloTargetEntry *entry;

	if (current_map == NULL)
		return;
	flo_targets_start_iterate(current_map->targets, &iterator);
	while ((entry = flo_targets_iterate(current_map->targets, &iterator)) != NULL)
		if (entry->target != NULL)
			mark(entry->target, value);
}

static void
mark_relation(FloTarget *target, uint32 relid)
{
	if (depends_on(target, relid))
		target->stale = true;
}

static void
relation_changed(Datum arg, Oid relid)
{
	mark_targets(mark_relation, relid);
}

static void
mark_namespace(FloTarget *target, uint32 hash)
{
	if (hash == 0 || target->namespace_hash == hash)
		target->stale = true;
}

static void
namespace_changed(Datum arg, int cache, uint32 hash)
{
	mark_targets(mark_namespace, hash);
}

static void
mark_roles(FloTarget *target, uint32 hash)
{
	target->allowed = false;
}

static void
roles_changed(Datum arg, int cache, uint32 hash)
{
	mark_targets(mark_roles, hash);
}

static void
map_is_gone(void *arg)
{
	FloRelmap  *map = arg;

	flo_relmap_forget(map);
	if (current_map == map)
		current_map = NULL;
}

Oid
flo_target_role(Oid worker_owner, bool as_worker, Oid owner)
{
	if (as_worker)
		return worker_owner;
	return flo_role_can_become(worker_owner, owner) ? owner : InvalidOid;
}

void
flo_target_refuse(Oid worker_owner, Oid owner, const char *schema, const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("%s must not apply changes to table \"%s.%s\" as its owner \"%s\"",
					flo_role_shown(worker_owner), schema, table, GetUserNameFromId(owner, true)),
			 errhint("Grant role \"%s\" to %s, or set the worker's option run_as_owner and grant it the table's privileges.",
					 GetUserNameFromId(owner, true), flo_role_shown(worker_owner))));
}

Oid
flo_relmap_role(const FloRelmap *map, Oid owner)
{
	return flo_target_role(map->worker_owner, map->as_worker, owner);
}

FloRelmap *
flo_relmap_create(MemoryContext context, Oid worker_owner, bool as_worker)
{
	static bool registered = false;
	FloRelmap  *map = MemoryContextAllocZero(context, sizeof(FloRelmap));
	MemoryContextCallback *callback = MemoryContextAllocZero(context,
															 sizeof(MemoryContextCallback));

	map->context = context;
	map->worker_owner = worker_owner;
	map->as_worker = as_worker;
	map->targets = flo_targets_create(context, 64, NULL);

	/* Statements live outside the context */
	callback->func = map_is_gone;
	callback->arg = map;
	MemoryContextRegisterResetCallback(context, callback);

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		registered = true;
	}

	/* A worker whose options changed has opened its sink anew */
	if (current_map != NULL)
		flo_relmap_forget(current_map);
	current_map = map;
	return map;
}

void
flo_relmap_on_rebuild(FloRelmap *map, void (*function) (void *arg, FloTarget *target), void *arg)
{
	map->on_rebuild = function;
	map->on_rebuild_arg = arg;
}

void
flo_relmap_begin(FloRelmap *map)
{
	map->batch++;
}

static void
free_target(FloTarget *target)
{
	flo_statement_forget(target);
	flo_setwise_forget(target);
	MemoryContextDelete(target->context);
}

void
flo_relmap_forget_table(FloRelmap *map, uint32 relation)
{
	FloTargetEntry *entry = flo_targets_lookup(map->targets, relation);
	FloTarget  *target = entry != NULL ? entry->target : NULL;

	map->last = NULL;
	if (entry == NULL)
		return;
	Assert(target == NULL || target->gather == NULL);
	flo_targets_delete(map->targets, relation);
	if (target != NULL)
		free_target(target);
}

void
flo_relmap_forget(FloRelmap *map)
{
	flo_targets_iterator iterator;
	FloTargetEntry *entry;

	map->last = NULL;
	flo_targets_start_iterate(map->targets, &iterator);
	while ((entry = flo_targets_iterate(map->targets, &iterator)) != NULL)
	{
		FloTarget  *target = entry->target;

		entry->target = NULL;
		if (target != NULL)
			free_target(target);
	}
}

/*
 * Find and lock the table.  The schema's own privileges do not matter here:
 * which tables a group may write to is decided by their owners' roles.
 */
static Oid
lock_by_name(const FloRelation *relation)
{
	const FloRelation *source = relation->source != NULL ? relation->source : relation;
	Oid			relid = InvalidOid;
	Oid			locked = InvalidOid;
	bool		schema_exists;

	for (;;)
	{
		uint64		seen = SharedInvalidMessageCounter;
		Oid			namespace = get_namespace_oid(relation->schema, true);

		schema_exists = OidIsValid(namespace);
		relid = schema_exists ? get_relname_relid(relation->name, namespace) : InvalidOid;
		if (relid == locked && OidIsValid(relid))
			break;
		if (OidIsValid(locked))
			UnlockRelationOid(locked, RowExclusiveLock);
		locked = relid;
		if (OidIsValid(relid))
			LockRelationOid(relid, RowExclusiveLock);
		else
			AcceptInvalidationMessages();
		if (seen == SharedInvalidMessageCounter)
			break;
	}

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist at the destination", relation->schema,
						relation->name),
				 schema_exists ?
				 errdetail("The replicator publishes changes of \"%s.%s\".",
						   source->schema, source->name) :
				 errdetail("The replicator publishes changes of \"%s.%s\"; there is no schema \"%s\" here.",
						   source->schema, source->name, relation->schema),
				 errhint("Create the table here, or remove it from the group at the source.")));
	return relid;
}

static void
check_kind(Relation rel, const FloTarget *target)
{
	char		kind = rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot apply changes to \"%s.%s\", which is not a table",
						target->schema, target->table),
				 errdetail_relkind_not_supported(kind)));

	/* Rows from the broker must not become configuration */
	if (IsCatalogRelation(rel) || strcmp(target->schema, FLO_SCHEMA) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot apply changes to the system table \"%s.%s\"",
						target->schema, target->table)));
}

/* One error for all columns the destination does not have */
static void
report_missing_columns(const FloTarget *target, const FloRelation *relation, TupleDesc desc)
{
	StringInfoData list;
	const char *first = NULL;
	int			count = 0;

	initStringInfo(&list);
	for (int i = 0; i < relation->natts; i++)
	{
		const char *name = relation->columns[i].name;
		bool		found = false;

		for (int j = 0; j < desc->natts && !found; j++)
			found = !TupleDescAttr(desc, j)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, j)->attname), name) == 0;
		if (found)
			continue;
		if (first == NULL)
			first = name;
		appendStringInfo(&list, "%s\"%s\"", count++ > 0 ? ", " : "", name);
		if (relation->columns[i].source_name != NULL)
			appendStringInfo(&list, " (\"%s\" by a route)", relation->columns[i].source_name);
	}
	if (relation->source != NULL)
		relation = relation->source;
	flo_error_context.column = first;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table \"%s.%s\" does not exist at the destination",
					first, target->schema, target->table),
			 errdetail_plural("The source's table \"%s.%s\" has a column that is missing here: %s.",
							  "The source's table \"%s.%s\" has columns that are missing here: %s.",
							  count, relation->schema, relation->name, list.data),
			 errhint("Add it to the destination table, or leave it out at the source with a column list of the publication.")));
}

/*
 * Types whose binary form, as text, is what is kept of them, functions that judge it are
 * the server's, and storage that the server may compress
 */
static bool
may_be_compressed(Form_pg_attribute att)
{
	switch (att->atttypid)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case BYTEAOID:
		case JSONOID:
			return att->attstorage == TYPSTORAGE_EXTENDED || att->attstorage == TYPSTORAGE_MAIN;
		default:
			return false;
	}
}

static void
map_columns(FloTarget *target, const FloRelation *relation, TupleDesc desc)
{
	target->natts = relation->natts;
	target->columns = palloc0(Max(relation->natts, 1) * sizeof(FloTargetColumn));
	for (int i = 0; i < relation->natts; i++)
	{
		const FloColumn *source = &relation->columns[i];
		FloTargetColumn *column = &target->columns[i];
		Form_pg_attribute att = NULL;

		for (int j = 0; j < desc->natts; j++)
		{
			att = TupleDescAttr(desc, j);
			if (!att->attisdropped && strcmp(NameStr(att->attname), source->name) == 0)
				break;
			att = NULL;
		}
		if (att == NULL)
			report_missing_columns(target, relation, desc);

		column->name = pstrdup(source->name);
		column->quoted = pstrdup(quote_identifier(source->name));
		column->attnum = att->attnum;
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->typlen = att->attlen;
		column->typbyval = att->attbyval;
		column->compressed = !target->partitioned && may_be_compressed(att);
		column->compression = att->attcompression;
		column->generated = (att->attgenerated != '\0');
		column->identity_always = (att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS);
		flo_error_context.column = column->name;
		flo_converter_init(&column->converter, source->type, column->type,
						   column->typmod, target->context);
		flo_error_context.column = NULL;
	}
}

/*
 * The index whose columns identify a row of the destination: the primary key,
 * else the one chosen as replica identity.  False when there is none.
 */
static bool
find_key_index(Relation rel, Oid *key_index, int *nkey, AttrNumber *attnums, bool *deferrable)
{
	List	   *indexes = RelationGetIndexList(rel);
	bool		found_primary = false;
	ListCell   *lc;

	*nkey = 0;
	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisvalid && index->indisunique && !index->indisexclusion &&
			(index->indisprimary ||
			 (index->indisreplident && index->indimmediate && !found_primary)))
		{
			*nkey = index->indnkeyatts;
			for (int i = 0; i < *nkey; i++)
				attnums[i] = index->indkey.values[i];
			*deferrable = !index->indimmediate;
			*key_index = index->indexrelid;
			found_primary |= index->indisprimary;
		}
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return *nkey > 0;
}

/* The destination's key in terms of the columns the source sends */
static void
map_key(FloTarget *target, Relation rel)
{
	AttrNumber	attnums[INDEX_MAX_KEYS];
	int			nkey;

	target->nkey = 0;
	if (!find_key_index(rel, &target->key_index, &nkey, attnums, &target->key_deferrable))
		return;
	target->key = palloc(nkey * sizeof(int));
	target->key_quoted = palloc(nkey * sizeof(char *));
	for (int i = 0; i < nkey; i++)
	{
		int			column;

		for (column = 0; column < target->natts; column++)
			if (target->columns[column].attnum == attnums[i] &&
				!target->columns[column].generated)
				break;
		if (column == target->natts)
			return;
		target->key[i] = column;
		target->key_quoted[i] = target->columns[column].quoted;
	}
	for (int i = 0; i < nkey; i++)
		target->columns[target->key[i]].in_key = true;
	target->nkey = nkey;
}

/*
 * How rows are found for UPDATE and DELETE.  With replica identity FULL all
 * columns of the old row are known, so the destination's key serves best, but for
 * one that several rows may have until a transaction ends.
 */
static void
choose_match(FloTarget *target, const FloRelation *relation)
{
	target->match = palloc(Max(target->natts, 1) * sizeof(int));
	target->nmatch = 0;
	if (relation->identity == REPLICA_IDENTITY_FULL)
	{
		for (int i = 0; i < target->nkey; i++)
			target->match[target->nmatch++] = target->key[i];
		target->match_by = target->nmatch > 0 && !target->key_deferrable ?
			FLO_MATCH_KEY : FLO_MATCH_ROW;
	}
	else
	{
		for (int i = 0; i < relation->natts; i++)
			if (relation->columns[i].is_key)
				target->match[target->nmatch++] = i;
		target->match_by = (target->nmatch > 0) ? FLO_MATCH_KEY : FLO_MATCH_NOTHING;
	}
	for (int i = 0; i < target->nmatch; i++)
		target->columns[target->match[i]].matched = true;
}

static void
make_bitmaps(FloTarget *target)
{
	target->nwords = Max((target->natts + 63) / 64, 1);
	target->writable = palloc0(target->nwords * sizeof(uint64));
	target->matched = palloc0(target->nwords * sizeof(uint64));
	target->identity = palloc0(target->nwords * sizeof(uint64));
	for (int i = 0; i < target->natts; i++)
	{
		FloTargetColumn *column = &target->columns[i];

		if (!column->generated)
			flo_bit_set(target->writable, i);
		if (column->matched)
			flo_bit_set(target->matched, i);
		if (column->identity_always)
		{
			flo_bit_set(target->identity, i);
			target->has_identity = true;
		}
	}
}

static char *
find_touch_column(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !att->attgenerated &&
			att->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
			return pstrdup(quote_identifier(NameStr(att->attname)));
	}
	return NULL;
}

/* The relation's own copy changes with the next description of it */
static void
copy_source(FloTarget *target, const FloRelation *relation)
{
	target->source = *relation;
	target->source.schema = pstrdup(relation->schema);
	target->source.name = pstrdup(relation->name);
	target->source.source = NULL;
	target->source_schema = pstrdup(relation->source != NULL ? relation->source->schema :
									relation->schema);
	target->source_table = pstrdup(relation->source != NULL ? relation->source->name :
								   relation->name);
	target->source.columns = palloc(Max(relation->natts, 1) * sizeof(FloColumn));
	for (int i = 0; i < relation->natts; i++)
	{
		target->source.columns[i] = relation->columns[i];
		target->source.columns[i].name = pstrdup(relation->columns[i].name);
		target->source.columns[i].type_schema = NULL;
		target->source.columns[i].type_name = NULL;
		target->source.columns[i].source_name = NULL;
	}
}

static void
describe_target(FloRelmap *map, FloTarget *target, const FloRelation *relation)
{
	Relation	rel;
	TupleDesc	desc;

	copy_source(target, relation);
	target->schema = pstrdup(relation->schema);
	target->table = pstrdup(relation->name);
	target->quoted = quote_qualified_identifier(relation->schema, relation->name);

	target->relid = lock_by_name(relation);
	target->stale = false;		/* what arrives from here on counts */
	rel = table_open(target->relid, NoLock);
	check_kind(rel, target);
	target->partitioned = (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE);
	target->is_partition = rel->rd_rel->relispartition;
	target->owner = rel->rd_rel->relowner;
	target->run_as = map->as_worker ? map->worker_owner : target->owner;
	target->namespace_hash =
		GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(RelationGetNamespace(rel)));

	desc = RelationGetDescr(rel);
	map_columns(target, relation, desc);
	map_key(target, rel);
	choose_match(target, relation);
	make_bitmaps(target);
	target->touch = find_touch_column(desc);
	table_close(rel, NoLock);
}

/*
 * May changes be applied with these roles?  Table privileges are checked by
 * each statement itself.
 */
static void
check_roles(FloRelmap *map, FloTarget *target)
{
	if (!OidIsValid(flo_relmap_role(map, target->owner)))
		flo_target_refuse(map->worker_owner, target->owner, target->schema, target->table);

	/*
	 * Policies are not applied to replicated rows: refuse rather than ignore
	 * them
	 */
	if (check_enable_rls(target->relid, target->run_as, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("role \"%s\" cannot apply changes to table \"%s.%s\", whose row-level security applies to it",
						GetUserNameFromId(target->run_as, true),
						target->schema, target->table),
				 errhint("Disable row-level security on the table, or apply with a role that bypasses it.")));

	target->privileges = pg_class_aclmask(target->relid, target->run_as,
										  FLO_ROW_PRIVILEGES,
										  ACLMASK_ALL);
	target->restricted = target->run_as != GetUserId() &&
		!flo_role_can_become(target->run_as, GetUserId());
	target->allowed = true;
}

static FloTarget *
build_target(FloRelmap *map, FloTargetEntry *entry, const FloRelation *relation)
{
	MemoryContext context;
	MemoryContext old_context;
	FloTarget  *target = entry->target;

	if (target != NULL && target->gather != NULL)
	{
		map->on_rebuild(map->on_rebuild_arg, target);
		entry = flo_targets_lookup(map->targets, relation->id);
	}
	entry->target = NULL;
	map->last = NULL;
	if (target != NULL)
		free_target(target);

	context = AllocSetContextCreate(map->context, "pg_flo destination table",
									ALLOCSET_SMALL_SIZES);
	target = MemoryContextAllocZero(context, sizeof(FloTarget));
	target->context = context;
	target->version = relation->version;

	/*
	 * From here on invalidations reach it, and a failure leaves it to be
	 * built again
	 */
	entry->target = target;
	old_context = MemoryContextSwitchTo(context);
	describe_target(map, target, relation);
	MemoryContextSwitchTo(old_context);
	target->built = true;
	return target;
}

static inline bool
is_current(const FloTarget *target, const FloRelation *relation)
{
	return target != NULL && target->built && !target->stale &&
		target->version == relation->version;
}

FloTarget *
flo_relmap_open(FloRelmap *map, const FloRelation *relation)
{
	FloTarget  *target = (map->last_id == relation->id) ? map->last : NULL;

	if (target == NULL)
	{
		FloTargetEntry *entry = flo_targets_lookup(map->targets, relation->id);

		if (entry == NULL)
		{
			bool		found;

			entry = flo_targets_insert(map->targets, relation->id, &found);
			entry->target = NULL;
		}
		target = entry->target;
	}

	if (unlikely(!is_current(target, relation) || target->batch != map->batch))
	{
		/* The lock brings in what changed before it was ours */
		if (is_current(target, relation))
			LockRelationOid(target->relid, RowExclusiveLock);
		while (!is_current(target, relation))
			target = build_target(map, flo_targets_lookup(map->targets, relation->id),
								  relation);
		target->batch = map->batch;
	}
	if (unlikely(!target->allowed))
		check_roles(map, target);

	map->last_id = relation->id;
	map->last = target;
	return target;
}

void
flo_target_enter(const FloTarget *target, FloAsRole *saved)
{
	flo_as_role_enter(saved, target->run_as,
					  target->restricted ? FLO_AS_ROLE_RESTRICTED : FLO_AS_ROLE_TRUSTED);
}

void
flo_target_leave(const FloAsRole *saved)
{
	flo_as_role_leave(saved);
}
