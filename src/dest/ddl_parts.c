/*
 * ddl_parts.c
 *		Which objects of a database are parts of which.
 *
 * By what kind of object it is, since dependencies alone do not tell: a view
 * depends on a table as its trigger does.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_publication_namespace.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_range.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "dest/ddl_parts.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* A row of a catalog by OID; the value of one of its columns, an OID; 0 when it is gone */
static Oid
oid_of_row(Oid class, Oid object, AttrNumber column)
{
	Relation	catalog = table_open(class, AccessShareLock);
	HeapTuple	tuple = get_catalog_object_by_oid(catalog, get_object_attnum_oid(class), object);
	Oid			value = InvalidOid;
	bool		isnull;

	if (HeapTupleIsValid(tuple))
		value = DatumGetObjectId(heap_getattr(tuple, column, RelationGetDescr(catalog), &isnull));
	table_close(catalog, AccessShareLock);
	return value;
}

static Oid
published_table(Oid membership)
{
	HeapTuple	tuple = SearchSysCache1(PUBLICATIONREL, ObjectIdGetDatum(membership));
	Oid			table;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	table = ((Form_pg_publication_rel) GETSTRUCT(tuple))->prrelid;
	ReleaseSysCache(tuple);
	return table;
}

static bool
go_to(ObjectAddress *object, Oid class, Oid whole)
{
	if (!OidIsValid(whole))
		return false;
	ObjectAddressSet(*object, class, whole);
	return true;
}

static bool
type_to_whole(ObjectAddress *object)
{
	Oid			type = object->objectId;
	Oid			element = get_element_type(type);
	Oid			relation = get_typ_typrelid(type);

	if (OidIsValid(element))
		return go_to(object, TypeRelationId, element);
	if (get_typtype(type) == TYPTYPE_MULTIRANGE)
		return go_to(object, TypeRelationId, get_multirange_range(type));
	return OidIsValid(relation) && get_rel_relkind(relation) != RELKIND_COMPOSITE_TYPE &&
		go_to(object, RelationRelationId, relation);
}

static bool
relation_to_whole(ObjectAddress *object)
{
	Oid			relation = object->objectId;
	Oid			table;
	int32		column;

	switch (get_rel_relkind(relation))
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return go_to(object, RelationRelationId, IndexGetRelation(relation, true));
		case RELKIND_COMPOSITE_TYPE:
			return go_to(object, TypeRelationId, get_rel_type_id(relation));
		case RELKIND_SEQUENCE:
			return (sequenceIsOwned(relation, DEPENDENCY_AUTO, &table, &column) ||
					sequenceIsOwned(relation, DEPENDENCY_INTERNAL, &table, &column)) &&
				go_to(object, RelationRelationId, table);
		default:
			return false;
	}
}

static bool
constraint_to_whole(ObjectAddress *object)
{
	Oid			constraint = object->objectId;

	return go_to(object, RelationRelationId,
				 oid_of_row(ConstraintRelationId, constraint, Anum_pg_constraint_conrelid)) ||
		go_to(object, TypeRelationId,
			  oid_of_row(ConstraintRelationId, constraint, Anum_pg_constraint_contypid));
}

/* The range type whose constructor it is; 0 = none */
static Oid
type_of_function(Oid function)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			type = InvalidOid;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (!OidIsValid(type) && HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (((Form_pg_depend) GETSTRUCT(tuple))->deptype == DEPENDENCY_INTERNAL &&
			((Form_pg_depend) GETSTRUCT(tuple))->refclassid == TypeRelationId)
			type = ((Form_pg_depend) GETSTRUCT(tuple))->refobjid;
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return type;
}

bool
flo_ddl_to_whole(ObjectAddress *object)
{
	Oid			id = object->objectId;

	switch (object->classId)
	{
		case RelationRelationId:
			return relation_to_whole(object);
		case TypeRelationId:
			return type_to_whole(object);
		case ConstraintRelationId:
			return constraint_to_whole(object);
		case IndexRelationId:
			return go_to(object, RelationRelationId, IndexGetRelation(id, true));
		case AttrDefaultRelationId:
			return go_to(object, RelationRelationId, GetAttrDefaultColumnAddress(id).objectId);
		case ProcedureRelationId:
			return go_to(object, TypeRelationId, type_of_function(id));
		case CastRelationId:
			return go_to(object, TypeRelationId,
						 oid_of_row(CastRelationId, id, Anum_pg_cast_castsource));
		case StatisticExtRelationId:
			return go_to(object, RelationRelationId,
						 oid_of_row(StatisticExtRelationId, id, Anum_pg_statistic_ext_stxrelid));
		default:
			return false;
	}
}

Oid
flo_ddl_table_of_attached(const ObjectAddress *object)
{
	switch (object->classId)
	{
		case TriggerRelationId:
			return oid_of_row(TriggerRelationId, object->objectId, Anum_pg_trigger_tgrelid);
		case RewriteRelationId:
			return oid_of_row(RewriteRelationId, object->objectId, Anum_pg_rewrite_ev_class);
		case PolicyRelationId:
			return oid_of_row(PolicyRelationId, object->objectId, Anum_pg_policy_polrelid);
		case PublicationRelRelationId:
			return published_table(object->objectId);
		default:
			return InvalidOid;
	}
}

Oid
flo_ddl_constraint_of_trigger(Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	HeapTuple	tuple = get_catalog_object_by_oid(catalog, Anum_pg_trigger_oid, trigger);
	Oid			constraint = InvalidOid;

	if (HeapTupleIsValid(tuple) && ((Form_pg_trigger) GETSTRUCT(tuple))->tgisinternal)
		constraint = ((Form_pg_trigger) GETSTRUCT(tuple))->tgconstraint;
	table_close(catalog, AccessShareLock);
	return constraint;
}

bool
flo_ddl_is_servers(const ObjectAddress *object)
{
	switch (object->classId)
	{
		case PublicationNamespaceRelationId:
			return true;
		case RelationRelationId:
			return IsToastNamespace(get_rel_namespace(object->objectId));
		case TriggerRelationId:
			return OidIsValid(flo_ddl_constraint_of_trigger(object->objectId));
		case ConstraintRelationId:
			/* a foreign key's copy for a partition */
			return OidIsValid(oid_of_row(ConstraintRelationId, object->objectId,
										 Anum_pg_constraint_conparentid));
		default:
			return false;
	}
}

bool
flo_ddl_is_clone(const ObjectAddress *object)
{
	return object->classId == TriggerRelationId &&
		OidIsValid(oid_of_row(TriggerRelationId, object->objectId, Anum_pg_trigger_tgparentid));
}
