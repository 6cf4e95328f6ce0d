/*
 * compare_table.c
 *		What is compared with what: a table here, and the tables of the source
 *		whose rows routes lead there.
 *
 * Locks are taken without waiting, since the worker stands still meanwhile, and
 * before the snapshot: what was rewritten before is seen as it is, and nothing is
 * rewritten after.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "core/compat_table.h"
#include "core/roles.h"
#include "dest/compare_table.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/typcache.h"

/* --- tables of the source ------------------------------------------------ */

static FloCompareTable *
table_named(List **tables, const char *schema, const char *name)
{
	FloCompareTable *table;
	ListCell   *cell;

	foreach(cell, *tables)
	{
		table = lfirst(cell);
		if (strcmp(table->schema, schema) == 0 && strcmp(table->table, name) == 0)
			return table;
	}
	table = palloc0(sizeof(FloCompareTable));
	table->schema = pstrdup(schema);
	table->table = pstrdup(name);
	*tables = lappend(*tables, table);
	return table;
}

static List *
names_here(FloWorkerRules *rules, const FloComparePlanTable *plan, const List *names)
{
	List	   *here = NIL;
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *name = flo_worker_rules_column(rules, plan->schema, plan->table, lfirst(cell));

		here = lappend(here, name != NULL ? pstrdup(name) : NULL);
	}
	return here;
}

static FloCompareSource *
describe_source(FloWorkerRules *rules, const FloComparePlanTable *plan)
{
	FloCompareSource *source = palloc0(sizeof(FloCompareSource));

	source->plan = plan;
	source->columns = names_here(rules, plan, plan->columns);
	source->keys = names_here(rules, plan, plan->keys);
	source->altered = flo_worker_rules_alter(rules, plan->schema, plan->table) ||
		list_member_ptr(source->columns, NULL);
	return source;
}

List *
flo_compare_tables(FloWorkerRules *rules, const FloComparePlan *plan)
{
	List	   *tables = NIL;
	ListCell   *cell;

	foreach(cell, plan->tables)
	{
		const FloComparePlanTable *one = lfirst(cell);
		FloCompareTable *table;
		const char *schema;
		const char *name;
		int64		mapped;

		(void) flo_worker_rules_name(rules, one->schema, one->table, &schema, &name, &mapped);
		table = table_named(&tables, schema, name);
		table->sources = lappend(table->sources, describe_source(rules, one));
	}
	foreach(cell, tables)
	{
		FloCompareTable *table = lfirst(cell);

		if (flo_worker_rules_known_to(rules, table->schema, table->table) >
			list_length(table->sources))
			table->trouble = psprintf("table \"%s.%s\" gets rows of other tables as well: compare all tables of the group",
									  table->schema, table->table);
	}
	return tables;
}

FloCompareSource *
flo_compare_source(const FloCompareTable *table, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, table->sources)
	{
		FloCompareSource *source = lfirst(cell);

		if (source->plan->relation == relation)
			return source;
	}
	return NULL;
}

static bool
has_name(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (lfirst(cell) != NULL && strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

bool
flo_compare_source_bind(const FloCompareTable *table, FloCompareSource *source,
						const FloRelation *relation)
{
	MemoryContext old;

	if (source->version == relation->version)
		return true;
	if (source->context != NULL)
		MemoryContextDelete(source->context);
	source->context = AllocSetContextCreate(GetMemoryChunkContext(source), "pg_flo compared source",
											ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(source->context);
	source->places = palloc(Max(table->ncolumns, 1) * sizeof(int));
	source->converters = palloc0(Max(table->ncolumns, 1) * sizeof(FloConverter));
	source->version = relation->version;
	for (int i = 0; i < table->ncolumns; i++)
	{
		const FloCompareColumn *column = &table->columns[i];
		int			place = 0;

		while (place < relation->natts &&
			   strcmp(relation->columns[place].name, column->name) != 0)
			place++;
		if (place == relation->natts)
			source->version = 0;
		else
			flo_converter_init(&source->converters[i], relation->columns[place].type,
							   column->type, column->typmod, source->context);
		source->places[i] = place;
	}
	MemoryContextSwitchTo(old);
	return source->version != 0;
}

/* --- the table here ------------------------------------------------------ */

pg_attribute_printf(2, 3) static void
trouble(FloCompareTable *table, const char *format,...)
{
	StringInfoData words;

	initStringInfo(&words);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&words, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&words, needed);
	}
	table->trouble = words.data;
}

static void
trouble_lock(FloCompareTable *table, Oid relid)
{
	table->passing = true;
	trouble(table, "table \"%s.%s\" is locked by another session", table->schema,
			OidIsValid(relid) ? get_rel_name(relid) : table->table);
}

/* False with its trouble when it is not to be had at once */
static bool
lock_table(FloCompareTable *table)
{
	for (;;)
	{
		Oid			namespace = get_namespace_oid(table->schema, true);
		Oid			relid = OidIsValid(namespace) ?
			get_relname_relid(table->table, namespace) : InvalidOid;

		if (OidIsValid(table->relid) && relid == table->relid)
			return true;
		if (OidIsValid(table->relid))
			UnlockRelationOid(table->relid, AccessShareLock);
		table->relid = InvalidOid;
		if (!OidIsValid(relid))
		{
			trouble(table, "table \"%s.%s\" does not exist at the destination", table->schema,
					table->table);
			return false;
		}
		if (!ConditionalLockRelationOid(relid, AccessShareLock))
		{
			trouble_lock(table, relid);
			return false;
		}
		table->relid = relid;
		AcceptInvalidationMessages();
	}
}

/* What holds the rows: the table, or all its partitions */
static void
lock_leaves(FloCompareTable *table, Relation rel)
{
	List	   *all;
	ListCell   *cell;

	if (rel->rd_rel->relkind == RELKIND_RELATION)
	{
		table->leaves = list_make1_oid(table->relid);
		return;
	}
	all = find_all_inheritors(table->relid, NoLock, NULL);
	foreach(cell, all)
	{
		Oid			relid = lfirst_oid(cell);
		char		kind;

		if (relid == table->relid)
			continue;
		if (!ConditionalLockRelationOid(relid, AccessShareLock))
		{
			trouble_lock(table, relid);
			return;
		}
		kind = get_rel_relkind(relid);
		if (kind == RELKIND_RELATION)
			table->leaves = lappend_oid(table->leaves, relid);
		else if (kind != RELKIND_PARTITIONED_TABLE)
			trouble(table, "partition \"%s\" of table \"%s.%s\" is not a plain table",
					get_rel_name(relid), table->schema, table->table);
		else
			table->leaves = lappend_oid(table->leaves, relid);
	}
}

void
flo_compare_table_unlock(FloCompareTable *table)
{
	ListCell   *cell;

	if (!OidIsValid(table->relid))
		return;
	foreach(cell, table->leaves)
	{
		if (lfirst_oid(cell) != table->relid)
			UnlockRelationOid(lfirst_oid(cell), AccessShareLock);
	}
	UnlockRelationOid(table->relid, AccessShareLock);
	table->relid = InvalidOid;
}

/* With the rights by which the worker writes there */
static void
check_rights(FloCompareTable *table, Relation rel, const FloWorkerSpec *spec)
{
	char		kind = rel->rd_rel->relkind;

	table->run_as = spec->options.run_as_owner ? spec->owner : rel->rd_rel->relowner;
	table->restricted = table->run_as != GetUserId() &&
		!flo_role_can_become(table->run_as, GetUserId());
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		trouble(table, "\"%s.%s\" is not a table", table->schema, table->table);
	else if (IsCatalogRelation(rel) || strcmp(table->schema, "flo") == 0)
		trouble(table, "\"%s.%s\" is a system table", table->schema, table->table);
	else if (!spec->options.run_as_owner && !flo_role_can_become(spec->owner, table->run_as))
		trouble(table, "%s must not act as the owner of table \"%s.%s\"",
				flo_role_shown(spec->owner), table->schema, table->table);
	else if (pg_class_aclcheck(table->relid, table->run_as, ACL_SELECT) != ACLCHECK_OK)
		trouble(table, "role \"%s\" has no privilege SELECT on table \"%s.%s\"",
				GetUserNameFromId(table->run_as, true), table->schema, table->table);
	else if (check_enable_rls(table->relid, table->run_as, true) == RLS_ENABLED)
		trouble(table, "row-level security of table \"%s.%s\" applies to role \"%s\"",
				table->schema, table->table, GetUserNameFromId(table->run_as, true));
}

/* --- columns ------------------------------------------------------------- */

static void
add_column(FloCompareTable *table, Form_pg_attribute att)
{
	FloCompareColumn *column = &table->columns[table->ncolumns++];
	Oid			function;
	bool		varlena;

	column->name = pstrdup(NameStr(att->attname));
	column->attnum = att->attnum;
	column->typmod = att->atttypmod;
	column->collation = att->attcollation;
	column->type = getBaseTypeAndTypmod(att->atttypid, &column->typmod);
	getTypeOutputInfo(column->type, &function, &varlena);
	fmgr_info(function, &column->output);
}

void
flo_compare_table_take_columns(FloCompareTable *table, const AttrNumber *numbers, int count)
{
	Relation	rel = table_open(table->relid, AccessShareLock);

	table->columns = palloc0(Max(count, 1) * sizeof(FloCompareColumn));
	for (int i = 0; i < count; i++)
		add_column(table, TupleDescAttr(RelationGetDescr(rel), numbers[i] - 1));
	table_close(rel, AccessShareLock);
}

static Form_pg_attribute
attribute_named(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att;
	}
	return NULL;
}

/* In the order of the first source, those that all sources have */
static void
choose_columns(FloCompareTable *table, TupleDesc desc)
{
	const FloCompareSource *first = linitial(table->sources);
	ListCell   *cell;

	table->columns = palloc0((list_length(first->columns) + 1) * sizeof(FloCompareColumn));
	foreach(cell, first->columns)
	{
		const char *name = lfirst(cell);
		Form_pg_attribute att;
		bool		all = true;
		ListCell   *other;

		if (name == NULL)
			continue;
		foreach(other, table->sources)
			all &= has_name(((FloCompareSource *) lfirst(other))->columns, name);
		att = attribute_named(desc, name);
		if (att == NULL)
		{
			trouble(table, "column \"%s\" of table \"%s.%s\" does not exist at the destination",
					name, table->schema, table->table);
			return;
		}
		if (att->attgenerated != '\0')
			table->only_rows = psprintf("column \"%s\" is generated at the destination", name);
		else if (all)
			add_column(table, att);
	}
}

/* Are these the table's columns, in the same order? */
static bool
are_columns(const FloCompareTable *table, const List *names)
{
	ListCell   *cell = list_head(names);

	for (int i = 0; i < table->ncolumns; i++)
	{
		if (cell == NULL || lfirst(cell) == NULL ||
			strcmp(lfirst(cell), table->columns[i].name) != 0)
			return false;
		cell = lnext(names, cell);
	}
	return cell == NULL;
}

/* Can the sums of the sources be those of the table here? */
static void
consider_sums(FloCompareTable *table)
{
	const FloCompareSource *first = linitial(table->sources);
	ListCell   *cell;

	foreach(cell, table->sources)
	{
		const FloCompareSource *source = lfirst(cell);
		ListCell   *key;

		if (source->altered)
			table->only_rows = "rules or routes change its rows";
		else if (table->only_rows == NULL && !are_columns(table, source->columns))
			table->only_rows = "the tables that lead here have different columns";
		else if (list_length(source->keys) != list_length(first->keys))
			table->only_rows = "the tables that lead here have different keys";
		foreach(key, source->keys)
		{
			if (lfirst(key) == NULL || !has_name(first->keys, lfirst(key)))
				table->only_rows = "the tables that lead here have different keys";
		}
	}
}

/* Values that are equal may be written in several ways, as of numeric or citext */
void
flo_compare_table_hash_keys(FloCompareTable *table)
{
	for (int i = 0; i < table->nkey && !table->keyless; i++)
	{
		FloCompareColumn *column = &table->columns[table->key[i]];
		TypeCacheEntry *type = lookup_type_cache(column->type, TYPECACHE_HASH_EXTENDED_PROC);

		if (!OidIsValid(type->hash_extended_proc))
			continue;
		column->hash = palloc(sizeof(FmgrInfo));
		fmgr_info(type->hash_extended_proc, column->hash);
	}
}

FloDigestValue
flo_compare_value(FloCompareColumn *column, Datum value)
{
	FloDigestValue result = {OutputFunctionCall(&column->output, value)};

	result.len = strlen(result.data);
	if (column->hash != NULL)
	{
		result.is_hashed = true;
		result.hash = DatumGetUInt64(FunctionCall2Coll(column->hash, column->collation, value,
													   Int64GetDatum(0)));
	}
	return result;
}

/*
 * Buckets go by the source's key.  Rows are told apart by the primary key here, which
 * is what is written by; else by the source's; else they are compared as a whole.
 */
static void
choose_keys(FloCompareTable *table, Relation rel)
{
	const FloCompareSource *first = linitial(table->sources);
	Oid			oid = flo_compat_primary_key(rel);
	Relation	primary = OidIsValid(oid) ? index_open(oid, AccessShareLock) : NULL;
	int			nprimary = primary != NULL ? IndexRelationGetNumberOfKeyAttributes(primary) : 0;
	int			nbucket = 0;

	table->in_bucket = palloc0(Max(table->ncolumns, 1) * sizeof(bool));
	table->key = palloc(Max(table->ncolumns, 1) * sizeof(int));
	for (int i = 0; i < table->ncolumns; i++)
	{
		table->in_bucket[i] = has_name(first->keys, table->columns[i].name);
		nbucket += table->in_bucket[i];
		for (int j = 0; j < nprimary; j++)
			if (primary->rd_index->indkey.values[j] == table->columns[i].attnum)
				table->key[table->nkey++] = i;
	}
	if (primary != NULL)
		index_close(primary, NoLock);
	if (nprimary == 0 || table->nkey < nprimary)
	{
		table->nkey = 0;
		for (int i = 0; i < table->ncolumns; i++)
			if (nbucket == 0 || table->in_bucket[i])
				table->key[table->nkey++] = i;
	}
	table->keyless = nprimary == 0 && nbucket == 0;
}

static void
choose_buckets(FloCompareTable *table)
{
	ListCell   *cell;

	table->nbuckets = FLO_MAX_BUCKETS;
	foreach(cell, table->sources)
		table->nbuckets = Min(table->nbuckets, ((FloCompareSource *) lfirst(cell))->plan->buckets);
}

void
flo_compare_table_open(FloCompareTable *table, const FloWorkerSpec *spec)
{
	Relation	rel;

	if (table->trouble != NULL || !lock_table(table))
		return;
	rel = table_open(table->relid, NoLock);
	check_rights(table, rel, spec);
	if (table->trouble == NULL)
		lock_leaves(table, rel);
	if (table->trouble == NULL)
		choose_columns(table, RelationGetDescr(rel));
	if (table->trouble == NULL)
	{
		choose_keys(table, rel);
		choose_buckets(table);
		consider_sums(table);
	}
	table_close(rel, NoLock);
	if (table->trouble != NULL)
		flo_compare_table_unlock(table);
}

void
flo_compare_enter(const FloCompareTable *table, FloAsRole *as)
{
	flo_as_role_enter(as, table->run_as,
					  table->restricted ? FLO_AS_ROLE_RESTRICTED : FLO_AS_ROLE_TRUSTED);
}
