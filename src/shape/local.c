/*
 * local.c
 *		Local tables as the source would describe them.
 *
 * Rules are checked against these when they are written, and compiled against
 * them where the replicator executes them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat_table.h"
#include "nodes/bitmapset.h"
#include "shape/shape.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

static void
set_type(FloColumn *column, Oid type, int32 typmod)
{
	HeapTuple	tuple;

	column->type = type;
	column->typmod = typmod;
	if (type < FirstGenbkiObjectId)
		return;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(getBaseType(type)));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	column->type_schema = get_namespace_name(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	column->type_name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
}

static FloRelation *
describe(Relation rel, const char *schema)
{
	FloRelation *relation = palloc0(sizeof(FloRelation));
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_IDENTITY_KEY);

	relation->id = RelationGetRelid(rel);
	relation->schema = pstrdup(schema);
	relation->name = pstrdup(RelationGetRelationName(rel));
	relation->identity = rel->rd_rel->relreplident;
	relation->version = flo_relation_new_version();
	relation->columns = palloc0(Max(desc->natts, 1) * sizeof(FloColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		FloColumn  *column = &relation->columns[relation->natts];

		/* generated columns are not sent, but for stored ones since 18 */
		if (att->attisdropped ||
			(att->attgenerated != '\0' &&
			 !(FLO_SENDS_GENERATED && att->attgenerated == ATTRIBUTE_GENERATED_STORED)))
			continue;
		column->name = pstrdup(NameStr(att->attname));
		column->is_key = relation->identity == REPLICA_IDENTITY_FULL ||
			bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber, key);
		set_type(column, att->atttypid, att->atttypmod);
		relation->natts++;
	}
	bms_free(key);
	return relation;
}

FloRelation *
flo_shape_local_relation(const char *schema, const char *table)
{
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			relid = OidIsValid(namespace) ? get_relname_relid(table, namespace) : InvalidOid;
	char		kind;
	Relation	rel;
	FloRelation *relation = NULL;

	if (!OidIsValid(relid))
		return NULL;
	kind = get_rel_relkind(relid);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return NULL;
	rel = try_relation_open(relid, AccessShareLock);
	if (rel == NULL)
		return NULL;
	relation = describe(rel, schema);
	relation_close(rel, AccessShareLock);
	return relation;
}
