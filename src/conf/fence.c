/*
 * fence.c
 *		Which fences are raised, and whom they keep out.
 *
 * The row of flo.fences decides, read with a snapshot of this very moment: that of
 * a REPEATABLE READ transaction would show the fence as it was when that began.
 * Who has the lock that writing takes, and finds the fence lowered, may write as
 * long as he keeps the lock, because raising it waits for that; so one look for
 * each statement and table is enough.
 *
 * The rows are read directly: the triggers do so in everybody's statements, with
 * the rights of whoever runs them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "conf/fence_rows.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/roles.h"
#include "core/text.h"
#include "monitor/state.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Columns of flo.fences */
enum
{
	COLUMN_GROUP = 1,
	COLUMN_SIDE,
	COLUMN_RAISED,
	COLUMN_ATTEMPT,
	COLUMN_REASON,
	COLUMN_SINCE,
	COLUMN_TABLES,
	COLUMN_PASSING
};

/* --- the rows ------------------------------------------------------------ */

static Datum
column(HeapTuple tuple, TupleDesc desc, int number, bool *isnull)
{
	return heap_getattr(tuple, number, desc, isnull);
}

static bool
is_raised(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;

	return DatumGetBool(column(tuple, desc, COLUMN_RAISED, &isnull));
}

static List *
oids_of(Datum array)
{
	ArrayType  *oids = DatumGetArrayTypeP(array);
	Datum	   *values;
	int			count;
	List	   *list = NIL;

	deconstruct_array(oids, OIDOID, sizeof(Oid), true, TYPALIGN_INT, &values, NULL, &count);
	for (int i = 0; i < count; i++)
		list = lappend_oid(list, DatumGetObjectId(values[i]));
	return list;
}

static FloFence *
fence_of(HeapTuple tuple, TupleDesc desc)
{
	FloFence   *fence = palloc0(sizeof(FloFence));
	bool		isnull;
	Datum		value;

	fence->group = TextDatumGetCString(column(tuple, desc, COLUMN_GROUP, &isnull));
	value = column(tuple, desc, COLUMN_SIDE, &isnull);
	fence->side = strcmp(TextDatumGetCString(value), "source") == 0 ?
		FLO_FENCE_SOURCE : FLO_FENCE_DESTINATION;
	fence->raised = is_raised(tuple, desc);
	value = column(tuple, desc, COLUMN_ATTEMPT, &isnull);
	fence->attempt = isnull ? 0 : DatumGetInt64(value);
	value = column(tuple, desc, COLUMN_REASON, &isnull);
	fence->reason = isnull ? NULL : TextDatumGetCString(value);
	fence->since = DatumGetTimestampTz(column(tuple, desc, COLUMN_SINCE, &isnull));
	fence->tables = oids_of(column(tuple, desc, COLUMN_TABLES, &isnull));
	fence->passing = flo_texts_of_array(column(tuple, desc, COLUMN_PASSING, &isnull));
	return fence;
}

/* Runs through the rows, until "look" has seen enough */
static void
scan(bool (*look) (HeapTuple tuple, TupleDesc desc, void *arg), void *arg)
{
	Oid			table = flo_store_table("fences");
	Relation	rel;
	Snapshot	snapshot;
	SysScanDesc sysscan;
	HeapTuple	tuple;

	if (!OidIsValid(table))
		return;
	rel = table_open(table, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	sysscan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(sysscan)) &&
		   look(tuple, RelationGetDescr(rel), arg))
		;
	systable_endscan(sysscan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

static bool
look_for_raised(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(bool *) arg = is_raised(tuple, desc);
	return !*(bool *) arg;
}

bool
flo_fence_any(void)
{
	bool		found = false;

	scan(look_for_raised, &found);
	return found;
}

static bool
gather_raised(HeapTuple tuple, TupleDesc desc, void *arg)
{
	if (is_raised(tuple, desc))
		*(List **) arg = lappend(*(List **) arg, fence_of(tuple, desc));
	return true;
}

static bool
gather_all(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(List **) arg = lappend(*(List **) arg, fence_of(tuple, desc));
	return true;
}

List *
flo_fences(bool prepared)
{
	List	   *fences = NIL;

	scan(prepared ? gather_all : gather_raised, &fences);
	return fences;
}

FloFence *
flo_fence_state(const char *group, FloFenceSide side)
{
	ListCell   *cell;

	foreach(cell, flo_fences(true))
	{
		FloFence   *fence = lfirst(cell);

		if (fence->side == side && strcmp(fence->group, group) == 0)
			return fence;
	}
	return NULL;
}

/* --- whom it keeps out --------------------------------------------------- */

/* One that has joined the group since belongs to it, too */
static bool
lists(const FloFence *fence, Oid relation)
{
	return list_member_oid(fence->tables, relation) ||
		(fence->side == FLO_FENCE_SOURCE && flo_publication_has_table(fence->group, relation));
}

static bool
covers(const FloFence *fence, Oid relation)
{
	ListCell   *cell;

	if (lists(fence, relation))
		return true;
	if (!get_rel_relispartition(relation))
		return false;
	foreach(cell, get_partition_ancestors(relation))
	{
		if (lists(fence, lfirst_oid(cell)))
			return true;
	}
	return false;
}

bool
flo_fence_keeps_out(const FloFence *fence)
{
	ListCell   *cell;

	if (!fence->raised || flo_works_for(fence->group))
		return false;
	foreach(cell, fence->passing)
	{
		if (flo_works_for(lfirst(cell)))
			return false;
	}
	return true;
}

FloFence *
flo_fence_against(Oid relation)
{
	ListCell   *cell;

	foreach(cell, flo_fences(false))
	{
		FloFence   *fence = lfirst(cell);

		if (covers(fence, relation) && flo_fence_keeps_out(fence))
			return fence;
	}
	return NULL;
}

void
flo_fence_refuse(const FloFence *fence, Oid relation, bool definition)
{
	const char *table = flo_tables_name(relation);
	char	   *since = pstrdup(timestamptz_to_str(fence->since));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 definition ?
			 errmsg("cannot change the definition of table %s: it is fenced by group \"%s\"",
					table, fence->group) :
			 errmsg("cannot write to table %s: it is fenced by group \"%s\"", table, fence->group),
			 fence->reason != NULL ?
			 errdetail("The fence stands since %s: %s.", since, fence->reason) :
			 errdetail("The fence stands since %s.", since),
			 fence->side == FLO_FENCE_SOURCE ?
			 errhint("Write to the server that takes over from this one. flo.fence_status() shows the fence, flo.unfence() takes it down.") :
			 errhint("Write to the source of the group, until this server has taken over. flo.fence_status() shows the fence, flo.unfence() takes it down.")));
}

void
flo_fence_require_lowered(const char *group, FloFenceSide side, const char *detail)
{
	const FloFence *fence = flo_fence_state(group, side);

	if (fence != NULL && fence->raised)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" is fenced", group),
				 errdetail("%s", detail),
				 errhint("flo.fence_status() shows the fence, flo.unfence() takes it down.")));
}

void
flo_fence_require_joining(const char *group, Oid relation)
{
	const FloFence *fence = flo_fence_state(group, FLO_FENCE_SOURCE);

	if (fence != NULL && flo_fence_keeps_out(fence))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s cannot join group \"%s\" while that is fenced",
						flo_tables_name(relation), group),
				 errhint("Make it at the server that takes over from this one, or where the group does not cover it. flo.fence_status() shows the fence, flo.unfence() takes it down.")));
}

void
flo_fence_require_rights(const List *tables, Oid role)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		Oid			relation = lfirst_oid(cell);

		if (flo_tables_of_system(relation, get_rel_namespace(relation)))
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("table %s is the system's or an extension's, and cannot be fenced",
							flo_tables_name(relation))));
		if (pg_class_aclcheck(relation, role, ACL_TRIGGER) != ACLCHECK_OK)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s must not fence table %s", flo_role_shown(role),
							flo_tables_name(relation)),
					 errhint("Grant that role TRIGGER on the table.")));
	}
}

Oid
flo_fence_function(void)
{
	oidvector  *none = buildoidvector(NULL, 0);
	Oid			schema = get_namespace_oid("flo", true);

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("fence"),
						   PointerGetDatum(none), ObjectIdGetDatum(schema));
}

bool
flo_fence_owns(const Trigger *trigger)
{
	return trigger->tgfoid >= FirstNormalObjectId && trigger->tgfoid == flo_fence_function();
}
