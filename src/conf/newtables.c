/*
 * newtables.c
 *		Lets tables join the groups that cover them, inside the transaction that
 *		creates or changes them.
 *
 * The event trigger sees the commands that can make a table a member: it was
 * created, came into a covered schema, became permanent, got a key, or was
 * attached to or detached from a partitioned table.  It runs no query of its
 * own, takes no lock for tables that cannot join (temporary, unlogged, foreign),
 * and never fails the user's command for what pg_flo cannot do with the table.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "conf/known.h"
#include "conf/newtables.h"
#include "conf/publication.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"
#include "wire/ddl.h"

/* Columns of pg_event_trigger_ddl_commands() */
#define COMMAND_CLASS 1
#define COMMAND_OBJECT 2
#define COMMAND_IN_EXTENSION 8

PG_FUNCTION_INFO_V1(flo_new_tables);

/*
 * Relations that the command being ended has touched.  The function that event
 * triggers call is called as such: a query would be one more in the user's
 * session.
 */
static List *
touched_relations(void)
{
	LOCAL_FCINFO(call, 0);
	FmgrInfo	function;
	ReturnSetInfo result = {T_ReturnSetInfo};
	TupleTableSlot *slot;
	List	   *relations = NIL;

	fmgr_info(F_PG_EVENT_TRIGGER_DDL_COMMANDS, &function);
	InitFunctionCallInfoData(*call, &function, 0, InvalidOid, NULL, (Node *) &result);
	result.econtext = CreateStandaloneExprContext();
	result.allowedModes = SFRM_Materialize;
	(void) FunctionCallInvoke(call);

	slot = MakeSingleTupleTableSlot(result.setDesc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(result.setResult, true, false, slot))
	{
		bool		isnull;
		Oid			class = DatumGetObjectId(slot_getattr(slot, COMMAND_CLASS, &isnull));
		Oid			object = DatumGetObjectId(slot_getattr(slot, COMMAND_OBJECT, &isnull));

		if (class == RelationRelationId && !DatumGetBool(slot_getattr(slot, COMMAND_IN_EXTENSION, &isnull)))
			relations = list_append_unique_oid(relations, object);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(result.setResult);
	FreeExprContext(result.econtext, true);

	return relations;
}

/* All relations of a name, whatever their schemas */
static List *
append_named(List *oids, const char *name)
{
	Relation	class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_relname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	scan = systable_beginscan(class, ClassNameNspIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		oids = list_append_unique_oid(oids, ((Form_pg_class) GETSTRUCT(tuple))->oid);
	systable_endscan(scan);
	table_close(class, AccessShareLock);

	return oids;
}

/*
 * Partitions named by ATTACH and DETACH: the command itself is about their
 * parent.  The user's search_path is not at hand here, so a bare name means
 * the tables of that name in every schema; to look at one too many does no
 * harm.
 */
static List *
append_named_partitions(List *oids, Node *statement)
{
	ListCell   *lc;

	if (statement == NULL || !IsA(statement, AlterTableStmt))
		return oids;

	foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, lc);
		RangeVar   *name;
		Oid			relation;

		if (command->subtype != AT_AttachPartition && command->subtype != AT_DetachPartition)
			continue;
		name = ((PartitionCmd *) command->def)->name;
		if (name->schemaname == NULL)
			oids = append_named(oids, name->relname);
		else if (OidIsValid(relation = RangeVarGetRelid(name, NoLock, true)))
			oids = list_append_unique_oid(oids, relation);
	}

	return oids;
}

static bool
is_detach(Node *statement)
{
	ListCell   *lc;

	if (statement == NULL || !IsA(statement, AlterTableStmt))
		return false;
	foreach(lc, ((AlterTableStmt *) statement)->cmds)
	{
		AlterTableType subtype = lfirst_node(AlterTableCmd, lc)->subtype;

		if (subtype == AT_DetachPartition || subtype == AT_DetachPartitionFinalize)
			return true;
	}
	return false;
}

static bool
may_join(Oid relation)
{
	return flo_tables_is_kind(get_rel_relkind(relation)) &&
		get_rel_persistence(relation) == RELPERSISTENCE_PERMANENT;
}

static void
join_group(const FloKnownReplicator *replicator, Oid relation, bool detached)
{
	FloTableOids oids;

	flo_tables_lookup(replicator->choice, &oids);
	flo_publication_join(replicator->spec, &oids, relation, detached);
}

/*
 * The replicators there are, for a table that may join them.  The lock is kept
 * to the end of the transaction: create_replicator() wants its opposite before
 * it looks for the tables there are, so that a table made at the same time is
 * seen by one side or the other.
 */
static List *
replicators_to_join(void)
{
	Oid			replicators = flo_store_table("replicators");

	if (!OidIsValid(replicators))
		return NIL;
	LockRelationOid(replicators, RowExclusiveLock);

	return flo_known_replicators();
}

/* Those first that give it an identity, with which it may join others */
static List *
in_order_of_joining(const List *replicators)
{
	List	   *first = NIL;
	List	   *rest = NIL;
	ListCell   *lc;

	foreach(lc, replicators)
	{
		if (((FloKnownReplicator *) lfirst(lc))->spec->options.keyless_tables == FLO_KEYLESS_FULL)
			first = lappend(first, lfirst(lc));
		else
			rest = lappend(rest, lfirst(lc));
	}
	return list_concat(first, rest);
}

/*
 * A group that leaves out what has no key says so when the command ends, as for
 * any new table.
 */
void
flo_newtables_made(Oid table)
{
	ListCell   *lc;

	if (!may_join(table))
		return;
	foreach(lc, in_order_of_joining(replicators_to_join()))
	{
		FloKnownReplicator *replicator = lfirst(lc);
		FloReplicatorSpec *spec = replicator->spec;

		if (spec->track_ddl && flo_publication_admits(table, &spec->options) &&
			OidIsValid(spec->owner) && flo_compat_class_ownercheck(table, spec->owner))
			join_group(replicator, table, false);
	}
}

void
flo_newtables_identified(const char *group)
{
	ListCell   *identity;
	ListCell   *lc;

	foreach(identity, flo_store_full_identities(group))
	{
		Oid			relation = ((FloFullIdentity *) lfirst(identity))->relation;

		if (!may_join(relation))
			continue;
		foreach(lc, replicators_to_join())
			if (strcmp(((FloKnownReplicator *) lfirst(lc))->spec->group, group) != 0)
				join_group(lfirst(lc), relation, false);
	}
}

List *
flo_newtables_attached(Oid partition)
{
	List	   *joined = NIL;
	ListCell   *lc;
	ListCell   *copy;

	foreach(lc, flo_known_replicators())
	{
		FloReplicatorSpec *spec = ((FloKnownReplicator *) lfirst(lc))->spec;

		if (!spec->track_ddl)
			continue;
		foreach(copy, flo_publication_attached(spec, partition))
		{
			FloDdlExpected *table = palloc(sizeof(FloDdlExpected));

			table->group = spec->group;
			table->relation = lfirst_oid(copy);
			table->again = spec->options.publish_via_partition_root;
			joined = lappend(joined, table);
		}
	}
	return joined;
}

Datum
flo_new_tables(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;
	ListCell   *relation;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("flo.new_tables() can only be called as an event trigger")));

	if (creating_extension || IsBinaryUpgrade)
		PG_RETURN_NULL();

	foreach(relation, append_named_partitions(touched_relations(), trigger->parsetree))
		if (may_join(lfirst_oid(relation)))
			foreach(lc, in_order_of_joining(replicators_to_join()))
				join_group(lfirst(lc), lfirst_oid(relation), is_detach(trigger->parsetree));

	PG_RETURN_NULL();
}
