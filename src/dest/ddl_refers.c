/*
 * ddl_refers.c
 *		Relations that objects of a database refer to.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_type.h"
#include "dest/ddl_known.h"
#include "dest/ddl_parts.h"
#include "dest/ddl_refers.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

/* A foreign key depends on the index of the other table's key, which may be any of them */
static bool
is_index(const ObjectAddress *object)
{
	char		kind = object->classId == RelationRelationId ? get_rel_relkind(object->objectId) :
		'\0';

	return kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX;
}

List *
flo_ddl_add_references(List *references, const ObjectAddress *object)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->classId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->objectId));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress other;

		if (form->refobjid < FirstNormalObjectId ||
			(object->objectSubId != 0 && form->objsubid != object->objectSubId))
			continue;
		ObjectAddressSet(other, form->refclassid, form->refobjid);
		while ((other.classId == TypeRelationId || is_index(&other)) && flo_ddl_to_whole(&other))
			;
		if (other.classId == RelationRelationId)
			references = flo_ddl_add_address(references, RelationRelationId, other.objectId);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return references;
}

/* The objects of a catalog that says in a column that they are the table's; of ObjectAddress * */
static List *
objects_of_table(Oid class, Oid index, AttrNumber column, AttrNumber oid, Oid relation)
{
	Relation	catalog = table_open(class, AccessShareLock);
	List	   *objects = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, index, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		objects = flo_ddl_add_address(objects, class,
									  DatumGetObjectId(heap_getattr(tuple, oid,
																	RelationGetDescr(catalog),
																	&isnull)));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return objects;
}

List *
flo_ddl_add_references_of_table(List *references, Oid relation)
{
	ObjectAddress table;
	ListCell   *cell;

	ObjectAddressSet(table, RelationRelationId, relation);
	references = flo_ddl_add_references(references, &table);
	foreach(cell,
			objects_of_table(AttrDefaultRelationId, AttrDefaultIndexId, Anum_pg_attrdef_adrelid,
							 Anum_pg_attrdef_oid, relation))
		references = flo_ddl_add_references(references, lfirst(cell));
	return references;
}

char *
flo_ddl_key_definition(const ObjectAddress *object)
{
	HeapTuple	tuple = object->classId != ConstraintRelationId ? NULL :
		SearchSysCache1(CONSTROID, ObjectIdGetDatum(object->objectId));
	bool		is_key;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	is_key = ((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN;
	ReleaseSysCache(tuple);
	return is_key ? pg_get_constraintdef_command(object->objectId) : NULL;
}

List *
flo_ddl_add_keys_of_table(List *keys, Oid relation)
{
	ListCell   *cell;

	foreach(cell, objects_of_table(ConstraintRelationId, ConstraintRelidTypidNameIndexId,
								   Anum_pg_constraint_conrelid, Anum_pg_constraint_oid, relation))
	{
		char	   *key = flo_ddl_key_definition(lfirst(cell));

		if (key != NULL)
			keys = lappend(keys, key);
	}
	return keys;
}

void
flo_ddl_default_of_column(ObjectAddress *object, const ObjectAddress *column)
{
	ObjectAddressSet(*object, AttrDefaultRelationId,
					 GetAttrDefaultOid(column->objectId, column->objectSubId));
}
