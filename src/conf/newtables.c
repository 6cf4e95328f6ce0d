/*
 * newtables.c
 *		Lets tables join the groups that cover them, inside the transaction that
 *		makes it possible, whatever statement that is.
 *
 * At the end of each transaction all that it has changed is looked at: the
 * server's own list of relations whose descriptions others have to forget says
 * which those are.  A key or a replica identity of a table, of a partition or of
 * the partitioned table above it, an index attached or made valid, another
 * schema, another parent, rows that are logged from now on: nothing of that
 * needs to be known here.  Then everything is there for good, and what holds rows
 * by now is copied.
 *
 * For a table to have its rows in the stream from the first one on it has to
 * join before that is written, perhaps in the same transaction: so an event
 * trigger looks at the usual commands when they end, too, and tells what is left
 * out, which the end of the transaction does not repeat.
 *
 * Neither fails the user's command for what pg_flo cannot do with the table, nor
 * takes a lock for tables that cannot join (temporary, unlogged, foreign).  A
 * transaction that changes no table, and any in a database without groups, pays
 * next to nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "conf/joining.h"
#include "conf/known.h"
#include "conf/naming.h"
#include "conf/newtables.h"
#include "conf/notes.h"
#include "conf/publication.h"
#include "conf/tables.h"
#include "core/compat_acl.h"
#include "core/compat_process.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

/* Columns of pg_event_trigger_ddl_commands() */
#define COMMAND_CLASS 1
#define COMMAND_OBJECT 2
#define COMMAND_IN_EXTENSION 8

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

		if (class == RelationRelationId &&
			!DatumGetBool(slot_getattr(slot, COMMAND_IN_EXTENSION, &isnull)))
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

	ScanKeyInit(&key, Anum_pg_class_relname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
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
may_join(Oid relation)
{
	return flo_tables_is_kind(get_rel_relkind(relation)) &&
		get_rel_persistence(relation) == RELPERSISTENCE_PERMANENT;
}

static List *
with_ancestors(Oid relation)
{
	return get_rel_relispartition(relation) ?
		lappend_oid(get_partition_ancestors(relation), relation) : list_make1_oid(relation);
}

static void
look(const FloKnownReplicator *replicator, Oid relation, bool quiet)
{
	FloTableOids choice;
	FloJoin		join = {
		replicator->spec, &choice, replicator->astray, replicator->requested, quiet
	};

	flo_choice_look_up_about(replicator->choice, with_ancestors(relation), &choice);
	flo_join_look(&join, relation);
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
	Oid			replicators = flo_store_table("sources");

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
			look(replicator, table, false);
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
		{
			if (strcmp(((FloKnownReplicator *) lfirst(lc))->spec->group, group) != 0)
				look(lfirst(lc), relation, false);
		}
	}
}

/* --- what a statement or transaction has touched ------------------------- */

/* A DETACH CONCURRENTLY makes a partition a table of its own before it ends */
static List *
append_leaving(List *tables, Oid root)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(root));
	scan = systable_beginscan(inherits, InheritsParentIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		if (((Form_pg_inherits) GETSTRUCT(tuple))->inhdetachpending)
			tables = lappend_oid(tables, ((Form_pg_inherits) GETSTRUCT(tuple))->inhrelid);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return tables;
}

/*
 * An index of a partitioned table becomes valid, and a key, with the last of its
 * parts.  The server forgets the index then, but not what it knows of the table's
 * keys: nor does logical decoding.
 */
static void
forget_keys(Oid table)
{
	ListCell   *lc;

	CacheInvalidateRelcacheByRelid(table);
	if (get_rel_relispartition(table))
		foreach(lc, get_partition_ancestors(table))
			CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
	CommandEndInvalidationMessages();
}

/* The tables that these relations are or belong to, and all partitioned ones above them */
static List *
tables_of(const List *relations)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, relations)
	{
		Oid			relation = lfirst_oid(lc);
		char		kind = get_rel_relkind(relation);

		if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX)
			relation = IndexGetRelation(relation, true);
		if (!OidIsValid(relation) || !may_join(relation))
			continue;
		if (kind == RELKIND_PARTITIONED_INDEX)
			forget_keys(relation);
		tables = list_concat(tables, with_ancestors(relation));
		if (get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE)
			tables = append_leaving(tables, relation);
	}
	list_sort(tables, list_oid_cmp);
	list_deduplicate_oid(tables);
	return tables;
}

static void
look_at_all(const List *relations, bool quiet)
{
	List	   *tables = tables_of(relations);
	List	   *replicators = tables == NIL ? NIL : in_order_of_joining(replicators_to_join());
	ListCell   *group;
	ListCell   *lc;

	foreach(group, replicators)
	{
		const FloKnownReplicator *replicator = lfirst(group);
		FloTableOids choice;
		FloJoin		join = {replicator->spec, &choice, replicator->astray, replicator->requested};

		flo_choice_look_up_about(replicator->choice, tables, &choice);
		foreach(lc, tables)
		{
			/* the statement is about the table itself */
			join.quiet = quiet || !list_member_oid(relations, lfirst_oid(lc));
			flo_join_look(&join, lfirst_oid(lc));
		}
	}
}

void
flo_newtables_after(const Node *statement)
{
	flo_naming_follow_exceptions(flo_known_replicators());
	look_at_all(append_named_partitions(touched_relations(), (Node *) statement), false);
}

/* --- the end of a transaction -------------------------------------------- */

/* Relations whose descriptions this transaction has changed; has it changed schemas? */
static List *
changed_relations(bool *schemas)
{
	SharedInvalidationMessage *messages;
	bool		init_file;
	int			count = xactGetCommittedInvalidationMessages(&messages, &init_file);
	List	   *relations = NIL;

	*schemas = false;
	for (int i = 0; i < count; i++)
	{
		if (messages[i].id == SHAREDINVALRELCACHE_ID && messages[i].rc.dbId == MyDatabaseId)
			relations = lappend_oid(relations, messages[i].rc.relId);
		else if (messages[i].id == NAMESPACEOID)
			*schemas = true;
	}
	list_sort(relations, list_oid_cmp);
	list_deduplicate_oid(relations);
	return relations;
}

/* Is there, after the statement, one that a group could have? */
static bool
any_is_table(const List *relations)
{
	const ListCell *lc;

	foreach(lc, relations)
	{
		char		kind = get_rel_relkind(lfirst_oid(lc));

		if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
			get_rel_persistence(lfirst_oid(lc)) != RELPERSISTENCE_TEMP)
			return true;
	}
	return false;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	List	   *relations;
	bool		schemas;

	if ((event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE) ||
		!OidIsValid(MyDatabaseId) || !TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		XactReadOnly || flo_compat_is_autovacuum())
		return;
	relations = changed_relations(&schemas);
	if (relations == NIL && !schemas)
		return;

	/*
	 * with an extension of another version this would be refused: a view that
	 * is in the way of its update has to be dropped, and temporary tables are
	 * nobody's business
	 */
	if (!OidIsValid(flo_store_table("sources")) && !schemas && !any_is_table(relations))
		return;
	if (flo_known_replicators() == NIL)
		return;
	CommandCounterIncrement();
	flo_naming_follow(flo_known_replicators(), relations, schemas);
	look_at_all(relations, true);
}

void
flo_newtables_init(void)
{
	flo_notes_init();
	RegisterXactCallback(at_transaction_end, NULL);
}
