/*
 * ddl_known.c
 *		What flo.group_objects knows of the objects of this database.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "conf/choice.h"
#include "conf/sql.h"
#include "conf/tables.h"
#include "core/lock.h"
#include "dest/ddl_known.h"
#include "dest/ddl_parts.h"
#include "dest/rows.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static const char *const may_names[] = {NULL, "nothing", "refer", "change"};

/* --- lists --------------------------------------------------------------- */

bool
flo_ddl_has_address(const List *objects, const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, objects)
	{
		const ObjectAddress *other = lfirst(cell);

		if (other->classId == object->classId && other->objectId == object->objectId)
			return true;
	}
	return false;
}

List *
flo_ddl_add_address(List *objects, Oid class, Oid id)
{
	ObjectAddress *object = palloc(sizeof(ObjectAddress));

	ObjectAddressSet(*object, class, id);
	if (flo_ddl_has_address(objects, object))
		return objects;
	return lappend(objects, object);
}

/* --- asking -------------------------------------------------------------- */

static FloDdlMay
may_of_name(const char *name)
{
	for (int may = FLO_MAY_NOTHING; may <= FLO_MAY_CHANGE; may++)
		if (strcmp(may_names[may], name) == 0)
			return may;
	elog(ERROR, "unknown value \"%s\" in flo.group_objects", name);
}

/*
 * What is written of the very object.  Read directly: this may be asked in the
 * midst of a statement, as a role that may not read the table.
 */
static FloDdlMay
recorded(const char *group, const ObjectAddress *object)
{
	Oid			schema = get_namespace_oid("flo", false);
	Relation	table = table_open(get_relname_relid("group_objects", schema), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	FloDdlMay	result = FLO_MAY_UNKNOWN;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->objectId));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->classId));
	scan = systable_beginscan(table, get_relname_relid("group_objects_pkey", schema), true, NULL,
							  2, keys);
	while (result == FLO_MAY_UNKNOWN && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, 3, RelationGetDescr(table), &isnull);

		if (strcmp(TextDatumGetCString(name), group) == 0)
			result = may_of_name(TextDatumGetCString(heap_getattr(tuple, 4, RelationGetDescr(table),
																  &isnull)));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return result;
}

static List *
parents_of(Oid relation)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	List	   *parents = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		parents = lappend_oid(parents, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parents;
}

/* The object itself, or, of a table, one of those it is a partition of */
static bool
knows(const char *group, const ObjectAddress *object, FloDdlMay may, const List *own)
{
	ListCell   *cell;

	if (flo_ddl_has_address(own, object) || recorded(group, object) >= may)
		return true;
	if (object->classId == RelationRelationId && get_rel_relispartition(object->objectId))
		foreach(cell, parents_of(object->objectId))
	{
		ObjectAddress parent;

		ObjectAddressSet(parent, RelationRelationId, lfirst_oid(cell));
		if (knows(group, &parent, may, own))
			return true;
	}
	return false;
}

static bool
knows_whole(const char *group, const ObjectAddress *object, FloDdlMay may, const List *own)
{
	ObjectAddress whole = *object;

	do
	{
		if (knows(group, &whole, may, own))
			return true;
	} while (flo_ddl_to_whole(&whole));
	return false;
}

bool
flo_ddl_may_change(const char *group, const ObjectAddress *object, const List *own)
{
	return knows_whole(group, object, FLO_MAY_CHANGE, own);
}

bool
flo_ddl_may_change_table(const char *group, Oid relation, const List *own)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, relation);
	return knows(group, &object, FLO_MAY_CHANGE, own);
}

/* Groups with a worker of the same owner here, that follows the same server; of char * */
static List *
siblings_of(const char *group)
{
	FloSqlSession sql;
	List	   *siblings = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT o.group_name"
					   " FROM flo.workers w JOIN flo.progress p USING (group_name, worker_name)"
					   " JOIN flo.workers o ON o.owner = w.owner AND o.sink = 'postgres' AND o.group_name <> w.group_name"
					   " JOIN flo.progress q ON q.group_name = o.group_name AND q.worker_name = o.worker_name"
					   " AND q.system_identifier = p.system_identifier"
					   " WHERE w.group_name = $1 AND w.sink = 'postgres'", 1, group);
	for (uint64 i = 0; i < rows; i++)
	{
		char	   *sibling = flo_sql_text(&sql, i, 1);
		MemoryContext spi = MemoryContextSwitchTo(sql.caller);

		siblings = lappend(siblings, sibling);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	return siblings;
}

bool
flo_ddl_may_refer(const char *group, const ObjectAddress *object, const List *own)
{
	ListCell   *cell;

	if (knows_whole(group, object, FLO_MAY_REFER, own))
		return true;
	foreach(cell, siblings_of(group))
	{
		if (knows_whole(lfirst(cell), object, FLO_MAY_CHANGE, NIL))
			return true;
	}
	return false;
}

/* --- writing ------------------------------------------------------------- */

void
flo_ddl_know(const char *group, const List *objects, FloDdlMay may)
{
	FloSqlSession sql;
	ListCell   *cell;

	if (objects == NIL)
		return;
	flo_sql_begin(&sql);
	foreach(cell, objects)
	{
		const ObjectAddress *object = lfirst(cell);

		flo_sql_run(SPI_OK_INSERT, "INSERT INTO flo.group_objects VALUES ($1::oid, $2::oid, $3, $4)"
					" ON CONFLICT ON CONSTRAINT group_objects_pkey DO UPDATE SET may = EXCLUDED.may"
					" WHERE array_position('{nothing,refer,change}', group_objects.may) < array_position('{nothing,refer,change}', EXCLUDED.may)",
					4, psprintf("%u", object->objectId), psprintf("%u", object->classId), group,
					may_names[may]);
	}
	flo_sql_end(&sql);
	CommandCounterIncrement();
}

static List *add_types_of_columns(List *objects, Oid relid);

/* Types of columns that are neither built in nor an extension's, and what they are made of */
static List *
add_type(List *objects, Oid type)
{
	Oid			element = get_element_type(type);

	if (type < FirstNormalObjectId)
		return objects;
	if (OidIsValid(element))
		return add_type(objects, element);
	if (OidIsValid(getExtensionOfObject(TypeRelationId, type)))
		return objects;
	if (get_typtype(type) == TYPTYPE_DOMAIN)
		objects = add_type(objects, getBaseType(type));
	if (get_typtype(type) == TYPTYPE_COMPOSITE)
	{
		if (get_rel_relkind(get_typ_typrelid(type)) != RELKIND_COMPOSITE_TYPE)
			return objects;
		objects = add_types_of_columns(objects, get_typ_typrelid(type));
	}
	return flo_ddl_add_address(objects, TypeRelationId, type);
}

static List *
add_types_of_columns(List *objects, Oid relid)
{
	Relation	relation = relation_open(relid, AccessShareLock);

	for (int i = 0; i < RelationGetNumberOfAttributes(relation); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), i);

		if (!att->attisdropped)
			objects = add_type(objects, att->atttypid);
	}
	relation_close(relation, NoLock);
	return objects;
}

/* Is it no parent of a table but of partitions, and no child of one that is not the group's? */
static bool
stands_alone(const char *group, Oid relation)
{
	ListCell   *cell;

	foreach(cell, parents_of(relation))
	{
		if (!flo_ddl_may_change_table(group, lfirst_oid(cell), NIL))
			return false;
	}
	return get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE ||
		find_inheritance_children(relation, NoLock) == NIL;
}

/*
 * Rows that others have put in and not committed cannot be seen, so they are
 * waited for, where none can be seen; nobody queues behind us meanwhile, for the
 * table may have nothing to do with the group.  The lock stays to the end of the
 * transaction, which makes the table the group's.
 */
static bool
is_empty(Oid relation, bool for_certain)
{
	List	   *wishes = NIL;
	ListCell   *cell;

	if (flo_table_has_rows(relation))
		return false;
	if (!for_certain)
		return true;
	foreach(cell, find_all_inheritors(relation, NoLock, NULL))
		wishes = flo_lock_wish_relation(wishes, lfirst_oid(cell), ShareRowExclusiveLock);
	flo_lock_all(wishes);
	return !flo_table_has_rows(relation);
}

void
flo_ddl_take(const char *group, Oid relation, bool types)
{
	List	   *objects = flo_ddl_add_address(NIL, RelationRelationId, relation);
	ListCell   *cell;

	foreach(cell, getOwnedSequences(relation))
		objects = flo_ddl_add_address(objects, RelationRelationId, lfirst_oid(cell));
	if (types)
		objects = add_types_of_columns(objects, relation);
	flo_ddl_know(group, objects, FLO_MAY_CHANGE);
}

bool
flo_ddl_adopt(const char *group, Oid relation, FloDdlRows rows, bool types)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, relation);
	if (recorded(group, &object) == FLO_MAY_NOTHING)
		return false;
	if (recorded(group, &object) == FLO_MAY_CHANGE ||
		(rows != FLO_ROWS_ANY && flo_ddl_may_change_table(group, relation, NIL)))
		return true;
	LockRelationOid(relation, AccessShareLock);
	if (!flo_tables_is_kind(get_rel_relkind(relation)) || relation < FirstNormalObjectId ||
		(rows != FLO_ROWS_ANY &&
		 (!stands_alone(group, relation) || !is_empty(relation, rows == FLO_ROWS_NONE))))
		return false;
	flo_ddl_take(group, relation, types);
	return true;
}

void
flo_ddl_adopt_sequence(const char *group, Oid relation)
{
	ObjectAddress object;
	bool		unused;

	ObjectAddressSet(object, RelationRelationId, relation);
	if (recorded(group, &object) != FLO_MAY_UNKNOWN)
		return;
	unused = flo_sql_do(SPI_OK_SELECT, "SELECT FROM pg_class c, LATERAL flo.sequence_state(c.oid) s"
						" WHERE c.oid = $1::oid AND c.relkind = 'S' AND NOT s.is_called"
						" AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid"
						" AND d.classid = 'pg_attrdef'::regclass)",
						1, psprintf("%u", relation)) > 0;
	if (unused)
		flo_ddl_know(group, flo_ddl_add_address(NIL, RelationRelationId, relation), FLO_MAY_REFER);
}

void
flo_ddl_disown(const char *group, Oid relation, bool failed)
{
	if (!flo_tables_is_kind(get_rel_relkind(relation)) ||
		flo_ddl_may_change_table(group, relation, NIL))
		return;
	if (failed || !flo_ddl_adopt(group, relation, FLO_ROWS_NONE, false))
		flo_ddl_know(group, flo_ddl_add_address(NIL, RelationRelationId, relation),
					 FLO_MAY_NOTHING);
}
