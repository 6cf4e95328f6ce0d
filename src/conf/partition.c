/*
 * partition.c
 *		Partitions as the catalogs describe them.
 *
 * Two partitions of different databases hold the same rows of their roots when
 * on each level from the root down the keys are the same and the bounds are
 * equal - and when both servers place a value alike.  The latter is so for
 * built-in types, operators and functions; not where OIDs are hashed (enums),
 * labels are ordered, or a locale orders that the other server may not have in
 * the same version.  Hashes also depend on the byte order and, of text, on the
 * encoding.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_database.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_type.h"
#include "conf/expression.h"
#include "conf/partition.h"
#include "core/compat_name.h"
#include "core/types.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static bool
is_builtin(Oid object)
{
	return object < FirstUnpinnedObjectId;
}

const char *
flo_partition_hashes(void)
{
#ifdef WORDS_BIGENDIAN
	return psprintf("big-endian %s", GetDatabaseEncodingName());
#else
	return psprintf("little-endian %s", GetDatabaseEncodingName());
#endif
}

char *
flo_partition_type(Oid type)
{
	HeapTuple	tuple;
	Form_pg_type form;
	char	   *name;

	type = getBaseType(type);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	name = quote_qualified_identifier(get_namespace_name(form->typnamespace),
									  NameStr(form->typname));
	ReleaseSysCache(tuple);
	return name;
}

/* --- collations ---------------------------------------------------------- */

/* The version that a provider has of a locale at this moment; NULL: none */
static char *
provider_version(PGFunction function, Oid object)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		version;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(object);
	fcinfo->args[0].isnull = false;
	version = function(fcinfo);
	return fcinfo->isnull ? NULL : text_to_cstring(DatumGetTextPP(version));
}

/* Provider and locale of those that order by bytes */
static bool
orders_by_bytes(const char *locale)
{
	static const char *const locales[] = {"c C", "c POSIX", "b C", "b C.UTF-8", "b C.UTF8"};

	for (int i = 0; i < lengthof(locales); i++)
		if (strcmp(locale, locales[i]) == 0)
			return true;
	return false;
}

const char *
flo_partition_collation(Oid collation, FloPartitionStrategy strategy)
{
	bool		is_default = collation == DEFAULT_COLLATION_OID;
	char	   *locale;
	char	   *version;

	if (!OidIsValid(collation) ||
		(strategy != FLO_BY_RANGE && get_collation_isdeterministic(collation)))
		return "";
	locale = flo_compat_collation_locale(is_default ? InvalidOid : collation);
	if (locale != NULL && orders_by_bytes(locale))
		return "C";
	version = is_default ?
		provider_version(pg_database_collation_actual_version, MyDatabaseId) :
		provider_version(pg_collation_actual_version, collation);
	if (locale == NULL || version == NULL)
		return NULL;
	return psprintf("%s %s %s", locale, version, GetDatabaseEncodingName());
}

/* --- keys ---------------------------------------------------------------- */

/* Values whose text means the same elsewhere, and that compare or hash by it */
static bool
type_is_portable(Oid type, FloPartitionStrategy strategy)
{
	Oid			element;

	type = getBaseType(type);
	if (get_typtype(type) == TYPTYPE_ENUM)
		return strategy == FLO_BY_LIST;
	if (!is_builtin(type))
		return false;
	element = get_element_type(type);
	if (OidIsValid(element))
		return type_is_portable(element, strategy);
	return !flo_type_names_object(type);
}

static bool
is_foreign_function(Oid function, void *arg)
{
	return !is_builtin(function);
}

/* Does any server compute it alike?  The server has made sure that it is immutable. */
static bool
is_foreign_node(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_foreign_function, NULL))
		return true;
	if (IsA(node, Var) || IsA(node, Const))
		return !is_builtin(getBaseType(exprType(node)));
	return expression_tree_walker(node, is_foreign_node, arg);
}

static char *
operators_name(Oid class, bool *builtin)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(class));
	Form_pg_opclass form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", class);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	name = quote_qualified_identifier(get_namespace_name(form->opcnamespace),
									  NameStr(form->opcname));
	*builtin = is_builtin(class);
	ReleaseSysCache(tuple);
	return name;
}

static void
describe_column(FloPartitionKey *key, Oid table, AttrNumber attnum, Oid *type)
{
	key->column = get_attname(table, attnum, false);
	*type = get_atttype(table, attnum);
}

static void
describe_expression(FloPartitionKey *key, Oid table, Node *expression, Oid *type)
{
	Bitmapset  *attnums = NULL;
	int			member = -1;

	key->expression = flo_expression_text(table, expression);
	pull_varattnos(expression, 1, &attnums);
	while ((member = bms_next_member(attnums, member)) >= 0)
	{
		AttrNumber	attnum = member + FirstLowInvalidHeapAttributeNumber;

		/* the row as a whole, or what only this server has */
		if (attnum <= 0)
			key->portable = false;
		else
			key->columns = lappend(key->columns, get_attname(table, attnum, false));
	}
	key->portable &= !is_foreign_node(expression, NULL);
	*type = exprType(expression);
}

static FloPartitionStrategy
strategy_of(char letter)
{
	return letter == PARTITION_STRATEGY_LIST ? FLO_BY_LIST :
		letter == PARTITION_STRATEGY_RANGE ? FLO_BY_RANGE : FLO_BY_HASH;
}

/* By what a table is partitioned: a level without bounds; NULL for any other table */
static FloPartitionLevel *
describe_keys(Oid table)
{
	HeapTuple	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(table));
	FloPartitionLevel *level;
	Form_pg_partitioned_table form;
	oidvector  *classes;
	oidvector  *collations;
	List	   *expressions = NIL;
	int			used = 0;
	Datum		datum;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_partitioned_table) GETSTRUCT(tuple);
	level = palloc0(sizeof(FloPartitionLevel));
	level->strategy = strategy_of(form->partstrat);
	datum = SysCacheGetAttr(PARTRELID, tuple, Anum_pg_partitioned_table_partclass, &isnull);
	classes = (oidvector *) DatumGetPointer(datum);
	datum = SysCacheGetAttr(PARTRELID, tuple, Anum_pg_partitioned_table_partcollation, &isnull);
	collations = (oidvector *) DatumGetPointer(datum);
	datum = SysCacheGetAttr(PARTRELID, tuple, Anum_pg_partitioned_table_partexprs, &isnull);
	if (!isnull)
		expressions = stringToNode(TextDatumGetCString(datum));

	for (int i = 0; i < form->partnatts; i++)
	{
		FloPartitionKey *key = palloc0(sizeof(FloPartitionKey));
		AttrNumber	attnum = form->partattrs.values[i];
		const char *collation;
		bool		builtin;
		Oid			type;

		key->portable = true;
		if (attnum != 0)
			describe_column(key, table, attnum, &type);
		else
			describe_expression(key, table, list_nth(expressions, used++), &type);
		key->type = flo_partition_type(type);
		key->operators = operators_name(classes->values[i], &builtin);
		collation = flo_partition_collation(collations->values[i], level->strategy);
		key->collation = pstrdup(collation != NULL ? collation : "?");
		key->portable &= builtin && collation != NULL && type_is_portable(type, level->strategy);
		level->keys = lappend(level->keys, key);
	}
	ReleaseSysCache(tuple);
	return level;
}

/* --- bounds -------------------------------------------------------------- */

static char *
value_text(const Const *value)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(value->consttype, &output, &varlena);
	return OidOutputFunctionCall(output, value->constvalue);
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

static List *
range_end(const List *datums)
{
	List	   *end = NIL;
	ListCell   *cell;

	foreach(cell, datums)
	{
		PartitionRangeDatum *datum = lfirst(cell);

		if (datum->kind == PARTITION_RANGE_DATUM_VALUE)
			end = lappend(end, psprintf("=%s", value_text((Const *) datum->value)));
		else
			end = lappend(end, pstrdup(datum->kind == PARTITION_RANGE_DATUM_MINVALUE ? "<" : ">"));
	}
	return end;
}

/* NULL for what is no partition any more */
static FloPartitionBound *
describe_bound(Oid partition)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(partition));
	FloPartitionBound *bound;
	PartitionBoundSpec *spec;
	Datum		datum;
	bool		isnull;
	ListCell   *cell;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	datum = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);
	spec = isnull ? NULL : stringToNode(TextDatumGetCString(datum));
	ReleaseSysCache(tuple);
	if (spec == NULL)
		return NULL;

	bound = palloc0(sizeof(FloPartitionBound));
	bound->is_default = spec->is_default;
	foreach(cell, spec->listdatums)
	{
		Const	   *value = lfirst(cell);

		if (value->constisnull)
			bound->with_null = true;
		else
			bound->values = lappend(bound->values, value_text(value));
	}
	list_sort(bound->values, compare_texts);
	bound->from = range_end(spec->lowerdatums);
	bound->to = range_end(spec->upperdatums);
	if (!spec->is_default && spec->strategy == PARTITION_STRATEGY_HASH)
	{
		bound->modulus = spec->modulus;
		bound->remainder = spec->remainder;
	}
	return bound;
}

/* The bounds of a partition, a default's with those of its siblings; NIL for none */
static List *
describe_bounds(Oid partition, Oid parent)
{
	FloPartitionBound *own = describe_bound(partition);
	List	   *bounds = own != NULL ? list_make1(own) : NIL;
	ListCell   *cell;

	if (own == NULL || !own->is_default)
		return bounds;
	foreach(cell, find_inheritance_children(parent, NoLock))
	{
		FloPartitionBound *sibling = lfirst_oid(cell) != partition ?
			describe_bound(lfirst_oid(cell)) : NULL;

		if (sibling != NULL)
			bounds = lappend(bounds, sibling);
	}
	return bounds;
}

Oid
flo_partition_root(Oid relation)
{
	List	   *ancestors = get_rel_relispartition(relation) ? get_partition_ancestors(relation) :
		NIL;

	return ancestors != NIL ? llast_oid(ancestors) : InvalidOid;
}

FloPartition *
flo_partition_describe(Oid partition, Oid ancestor)
{
	FloPartition *description = palloc0(sizeof(FloPartition));
	List	   *ancestors = get_partition_ancestors(partition);
	Oid			child = partition;
	ListCell   *cell;

	description->relation = partition;
	description->schema = get_namespace_name(get_rel_namespace(partition));
	description->name = get_rel_name(partition);
	description->hashes = pstrdup(flo_partition_hashes());
	foreach(cell, ancestors)
	{
		Oid			parent = lfirst_oid(cell);
		FloPartitionLevel *level = describe_keys(parent);

		if (level == NULL)
			elog(ERROR, "table %u has partitions but no partition key", parent);
		level->bounds = describe_bounds(child, parent);
		description->levels = lcons(level, description->levels);
		if (parent == ancestor)
			break;
		child = parent;
	}
	return description;
}

/* --- the same, here ------------------------------------------------------ */

static bool
same_name(const FloRelation *relation, const char *source, const char *here)
{
	if (relation != NULL)
		source = flo_partition_column(relation, source);
	return source != NULL && strcmp(source, here) == 0;
}

static bool
same_key(const FloRelation *relation, const FloPartitionKey *source, const FloPartitionKey *here)
{
	ListCell   *cell;

	if (!source->portable || !here->portable || strcmp(source->type, here->type) != 0 ||
		strcmp(source->operators, here->operators) != 0 ||
		strcmp(source->collation, here->collation) != 0)
		return false;
	if (source->column != NULL || here->column != NULL)
		return source->column != NULL && here->column != NULL &&
			same_name(relation, source->column, here->column);

	/* within an expression nothing is renamed */
	foreach(cell, source->columns)
	{
		if (!same_name(relation, lfirst(cell), lfirst(cell)))
			return false;
	}
	return strcmp(source->expression, here->expression) == 0;
}

static bool
same_keys(const FloRelation *relation, const FloPartitionLevel *source,
		  const FloPartitionLevel *here)
{
	if (here == NULL || source->strategy != here->strategy ||
		list_length(source->keys) != list_length(here->keys))
		return false;
	for (int i = 0; i < list_length(source->keys); i++)
		if (!same_key(relation, list_nth(source->keys, i), list_nth(here->keys, i)))
			return false;
	return true;
}

bool
flo_partition_same_keys(Oid table, const FloPartitionLevel *level, const FloRelation *relation)
{
	return same_keys(relation, level, describe_keys(table));
}

/* The partition of a table that is the level's here; invalid when there is none */
static Oid
find_child(Oid table, const FloPartition *partition, const FloPartitionLevel *level,
		   const FloRelation *relation)
{
	FloPartitionLevel *here = describe_keys(table);
	ListCell   *cell;

	if (!same_keys(relation, level, here) ||
		(level->strategy == FLO_BY_HASH && strcmp(partition->hashes, flo_partition_hashes()) != 0))
		return InvalidOid;
	foreach(cell, find_inheritance_children(table, NoLock))
	{
		here->bounds = describe_bounds(lfirst_oid(cell), table);
		if (here->bounds != NIL && flo_partition_same_bounds(level, here))
			return lfirst_oid(cell);
	}
	return InvalidOid;
}

Oid
flo_partition_parent(Oid root, const FloPartition *partition, int level,
					 const FloRelation *relation)
{
	Oid			table = root;

	for (int i = 0; i < level && OidIsValid(table); i++)
		table = find_child(table, partition, list_nth(partition->levels, i), relation);
	return table;
}

Oid
flo_partition_find(Oid root, const FloPartition *partition, const FloRelation *relation)
{
	return flo_partition_parent(root, partition, list_length(partition->levels), relation);
}
