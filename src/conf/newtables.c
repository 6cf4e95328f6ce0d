/*
 * newtables.c
 *		Lets tables join the groups that cover them, inside the transaction that
 *		creates or changes them.
 *
 * The event trigger sees the commands that can make a table a member: it was
 * created, came into a covered schema, became permanent, got a key, or was
 * attached to or detached from a partitioned table.  It costs one look into
 * flo.replicators when no group covers anything, and never fails the user's
 * command for what pg_flo cannot do with the table.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "conf/newtables.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "wire/ddl.h"

PG_FUNCTION_INFO_V1(flo_new_tables);

/* The OIDs a query returns in its first column, added to the list */
static List *
append_oids(List *oids, const char *query, const char *schema, const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2] = {(Datum) 0, (Datum) 0};
	char		nulls[2] = {'n', 'n'};

	SPI_connect();
	if (schema != NULL)
	{
		values[0] = CStringGetTextDatum(schema);
		nulls[0] = ' ';
	}
	if (name != NULL)
	{
		values[1] = CStringGetTextDatum(name);
		nulls[1] = ' ';
	}
	if (SPI_execute_with_args(query, 2, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the commands of an event trigger");

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		oids = list_append_unique_oid(oids, DatumGetObjectId(value));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();

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

		if (command->subtype == AT_AttachPartition || command->subtype == AT_DetachPartition)
		{
			RangeVar   *name = ((PartitionCmd *) command->def)->name;

			oids = append_oids(oids,
							   "SELECT c.oid FROM pg_catalog.pg_class c"
							   "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
							   " WHERE c.relname = $2 AND c.relkind IN ('r', 'p')"
							   "   AND ($1 IS NULL OR n.nspname = $1)",
							   name->schemaname, name->relname);
		}
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

static void
join_group(const FloReplicatorSpec *replicator, Oid relation, bool detached)
{
	FloTableChoice *choice = flo_store_table_choice(replicator->group);
	FloTableOids oids;

	if (choice == NULL)
		return;
	flo_tables_lookup(choice, &oids);
	flo_publication_join(replicator, &oids, relation, detached);
}

static void
join_groups(const List *groups, Oid relation, bool detached)
{
	ListCell   *lc;
	char		relkind = get_rel_relkind(relation);

	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE) ||
		get_rel_persistence(relation) != RELPERSISTENCE_PERMANENT)
		return;

	foreach(lc, groups)
	{
		FloMemberSpec *member = lfirst(lc);
		FloReplicatorSpec *replicator = member->is_replicator ? flo_store_replicator(member->group) : NULL;

		if (replicator != NULL)
			join_group(replicator, relation, detached);
	}
}

/*
 * Is there any group to join?  The lock is kept to the end of the transaction:
 * create_replicator() waits for it before it looks for the tables there are,
 * so that a table made at the same time is seen by one side or the other.
 */
static bool
any_replicator(void)
{
	Oid			replicators = flo_store_table("replicators");

	if (!OidIsValid(replicators))
		return false;
	LockRelationOid(replicators, RowExclusiveLock);

	return flo_store_has_rows(replicators);
}

/*
 * A group that leaves out what has no key says so when the command ends, as for
 * any new table.
 */
void
flo_newtables_made(Oid table)
{
	ListCell   *lc;

	if (!any_replicator())
		return;
	foreach(lc, flo_store_members(NULL))
	{
		FloMemberSpec *member = lfirst(lc);
		FloReplicatorSpec *replicator = member->is_replicator ? flo_store_replicator(member->group) : NULL;

		if (replicator != NULL && replicator->track_ddl &&
			flo_publication_admits(table, &replicator->options) &&
			OidIsValid(replicator->owner) && flo_compat_class_ownercheck(table, replicator->owner))
			join_group(replicator, table, false);
	}
}

List *
flo_newtables_attached(Oid partition)
{
	List	   *joined = NIL;
	ListCell   *lc;
	ListCell   *copy;

	foreach(lc, flo_store_members(NULL))
	{
		FloMemberSpec *member = lfirst(lc);
		FloReplicatorSpec *replicator = member->is_replicator ? flo_store_replicator(member->group) : NULL;

		if (replicator == NULL || !replicator->track_ddl)
			continue;
		foreach(copy, flo_publication_attached(replicator, partition))
		{
			FloDdlExpected *table = palloc(sizeof(FloDdlExpected));

			table->group = replicator->group;
			table->relation = lfirst_oid(copy);
			table->again = replicator->options.publish_via_partition_root;
			joined = lappend(joined, table);
		}
	}
	return joined;
}

Datum
flo_new_tables(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;
	List	   *members;
	List	   *relations;
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("flo.new_tables() can only be called as an event trigger")));

	if (creating_extension || IsBinaryUpgrade || !any_replicator())
		PG_RETURN_NULL();

	members = flo_store_members(NULL);

	/* what the command being ended has touched */
	relations = append_oids(NIL,
							"SELECT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
							" WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							"   AND NOT in_extension",
							NULL, NULL);
	relations = append_named_partitions(relations, trigger->parsetree);
	foreach(lc, relations)
		join_groups(members, lfirst_oid(lc), is_detach(trigger->parsetree));

	PG_RETURN_NULL();
}
