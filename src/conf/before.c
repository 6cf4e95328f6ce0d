/*
 * before.c
 *		Tables as they were when the transaction began.
 *
 * What a transaction has changed itself is invisible to a snapshot whose command
 * is the first.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication_rel.h"
#include "conf/before.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

Snapshot
flo_before_begin(void)
{
	Snapshot	before = RegisterSnapshot(GetLatestSnapshot());

	before->curcid = FirstCommandId;
	return before;
}

void
flo_before_end(Snapshot before)
{
	UnregisterSnapshot(before);
}

bool
flo_before_listed(Snapshot before, Oid publication, Oid relation)
{
	Relation	rel = table_open(PublicationRelRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		listed;

	ScanKeyInit(&keys[0], Anum_pg_publication_rel_prrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	ScanKeyInit(&keys[1], Anum_pg_publication_rel_prpubid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(publication));
	scan = systable_beginscan(rel, PublicationRelPrrelidPrpubidIndexId, true, before, 2, keys);
	listed = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return listed;
}

/* False when there was no such relation */
static bool
class_of(Snapshot before, Oid relation, FormData_pg_class *class)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(rel, ClassOidIndexId, true, before, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		memcpy(class, GETSTRUCT(tuple), CLASS_TUPLE_SIZE);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

static bool
was_permanent(Snapshot before, Oid relation)
{
	FormData_pg_class class;

	return class_of(before, relation, &class) && class.relpersistence == RELPERSISTENCE_PERMANENT;
}

static bool
was_partition(Snapshot before, Oid relation)
{
	FormData_pg_class class;

	return class_of(before, relation, &class) && class.relispartition;
}

/* The partitioned table above, or InvalidOid; other children are tables of their own */
static Oid
parent_of(Snapshot before, Oid relation, bool *pending)
{
	Relation	rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			parent = InvalidOid;

	if (!was_partition(before, relation))
		return InvalidOid;
	rel = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(rel, InheritsRelidSeqnoIndexId, true, before, 1, &key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;
		*pending |= ((Form_pg_inherits) GETSTRUCT(tuple))->inhdetachpending;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return parent;
}

bool
flo_before_below(Snapshot before, const List *tables, Oid relation)
{
	bool		pending = false;

	for (Oid table = relation; OidIsValid(table); table = parent_of(before, table, &pending))
		if (list_member_oid(tables, table))
			return true;
	return false;
}

FloTravelled
flo_before_travelled(Snapshot before, Oid publication, Oid relation)
{
	bool		pending = false;

	if (!was_permanent(before, relation))
		return FLO_TRAVELLED_NOT;
	for (Oid table = relation; OidIsValid(table); table = parent_of(before, table, &pending))
		if (flo_before_listed(before, publication, table))
			return pending ? FLO_TRAVELLED_ONCE : FLO_TRAVELLED_ALL;
	return FLO_TRAVELLED_NOT;
}
