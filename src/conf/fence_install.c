/*
 * fence_install.c
 *		Preparing fences, raising and lowering them, and taking them away.
 *
 * The triggers are made long before a fence is raised, so that raising it is the
 * change of one row.  They fire for each row, as partitions and tables that
 * inherit are written to by other names; for whatever session_replication_role
 * says; and on partitions made later, by the server's own cloning.  Statements
 * that empty a table have no rows, and their triggers are not cloned: each table
 * that is there has one, and fence_guard.c knows later ones.
 *
 * They belong to the extension as its indexes do to a table: DROP EXTENSION takes
 * them along.  pg_dump writes them down like any other trigger; where they are
 * restored there is no row, and they let everything through.
 *
 * A table has these triggers once, however many groups fence it: the rows say who
 * is kept out.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "conf/fence_rows.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/attempt.h"
#include "core/lock.h"
#include "core/text.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define ROW_EVENTS (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

bool		flo_fence_works = false;

/* --- which tables -------------------------------------------------------- */

static const char *
side_name(FloFenceSide side)
{
	return side == FLO_FENCE_SOURCE ? "source" : "destination";
}

static bool
has_rows(Oid relation)
{
	char		kind = get_rel_relkind(relation);

	return flo_tables_is_kind(kind) || kind == RELKIND_FOREIGN_TABLE;
}

/* With what is below them, each after what it is below; those that are gone are left out */
static List *
with_children(const List *tables)
{
	List	   *all = NIL;
	ListCell   *cell;

	foreach(cell, tables)
	{
		ListCell   *below;

		if (!has_rows(lfirst_oid(cell)))
			continue;
		foreach(below, find_all_inheritors(lfirst_oid(cell), NoLock, NULL))
		{
			if (has_rows(lfirst_oid(below)))
				all = list_append_unique_oid(all, lfirst_oid(below));
		}
	}
	return all;
}

/*
 * Locked, there and below those: none joins them any more until the lock is given
 * back.  With "gate", a table of ours, that is locked together with them.
 */
static List *
lock_tables(const List *tables, Oid gate, LOCKMODE mode, int patience)
{
	List	   *all = with_children(tables);
	int			count;

	do
	{
		List	   *wanted = list_copy(all);

		count = list_length(all);
		if (OidIsValid(gate))
			wanted = lappend_oid(wanted, gate);
		flo_lock_queue(wanted, mode, patience);
		all = with_children(tables);
	} while (list_length(all) > count);
	return all;
}

static char *
text_of_oids(const List *oids)
{
	List	   *texts = NIL;
	ListCell   *cell;

	foreach(cell, oids)
		texts = lappend(texts, psprintf("%u", lfirst_oid(cell)));
	return flo_text_of_array(texts);
}

/* --- triggers ------------------------------------------------------------ */

/* A name that no trigger of the table has, nor one of a table that may become its parent */
static char *
trigger_name(Oid relation, bool for_rows)
{
	const char *kind = for_rows ? "" : "_truncate";
	char	   *name = psprintf("pg_flo_fence_%u%s", relation, kind);

	for (int i = 2; OidIsValid(get_trigger_oid(relation, name, true)); i++)
		name = psprintf("pg_flo_fence_%u%s_%d", relation, kind, i);
	return name;
}

static void
create_trigger(Oid relation, bool for_rows)
{
	CreateTrigStmt *statement = makeNode(CreateTrigStmt);
	ObjectAddress trigger;
	ObjectAddress extension;

	statement->trigname = trigger_name(relation, for_rows);
	statement->relation = makeRangeVar(get_namespace_name(get_rel_namespace(relation)),
									   get_rel_name(relation), -1);
	statement->funcname = list_make2(makeString("flo"), makeString("fence"));
	statement->row = for_rows;
	statement->timing = TRIGGER_TYPE_BEFORE;
	statement->events = for_rows ? ROW_EVENTS : TRIGGER_TYPE_TRUNCATE;
	trigger = CreateTriggerFiringOn(statement, NULL, relation, InvalidOid, InvalidOid, InvalidOid,
									flo_fence_function(), InvalidOid, NULL, false, false,
									TRIGGER_FIRES_ALWAYS);
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("pg_flo", false));
	recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
	CommandCounterIncrement();
}

/* One that somebody has disabled, or that was restored without */
static void
enable_trigger(Oid relation, char *name)
{
	AlterTableCmd *command = makeNode(AlterTableCmd);

	command->subtype = AT_EnableAlwaysTrig;
	command->name = name;
	AlterTableInternal(relation, list_make1(command), false);
	CommandCounterIncrement();
}

/* The fence's own trigger for rows, or for TRUNCATE; NULL when there is none that is whole */
static const Trigger *
find_trigger(Relation rel, bool for_rows)
{
	int16		events = for_rows ? ROW_EVENTS : TRIGGER_TYPE_TRUNCATE;

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (flo_fence_owns(trigger) && (trigger->tgtype & events) == events &&
			TRIGGER_FOR_ROW(trigger->tgtype) == for_rows &&
			TRIGGER_FOR_BEFORE(trigger->tgtype) && trigger->tgnattr == 0 &&
			trigger->tgqual == NULL)
			return trigger;
	}
	return NULL;
}

static void
ensure_trigger(Oid relation, bool for_rows)
{
	Relation	rel = table_open(relation, NoLock);
	const Trigger *found = find_trigger(rel, for_rows);
	bool		missing = found == NULL;
	char	   *asleep = found != NULL && found->tgenabled != TRIGGER_FIRES_ALWAYS ?
		pstrdup(found->tgname) : NULL;

	table_close(rel, NoLock);
	if (missing)
		create_trigger(relation, for_rows);
	else if (asleep != NULL)
		enable_trigger(relation, asleep);
}

/* As the extension's owner, whom fence_guard.c lets do it */
static void
ensure_triggers(const List *relations)
{
	FloAsRole	as;
	ListCell   *cell;

	flo_store_enter(&as);
	flo_fence_works = true;
	PG_TRY();
	{
		foreach(cell, relations)
		{
			ensure_trigger(lfirst_oid(cell), true);
			if (get_rel_relkind(lfirst_oid(cell)) != RELKIND_FOREIGN_TABLE)
				ensure_trigger(lfirst_oid(cell), false);
		}
	}
	PG_FINALLY();
	{
		flo_fence_works = false;
	}
	PG_END_TRY();
	flo_store_leave(&as);
}

/* Those of partitions go with their root's */
static void
drop_triggers(Oid relation)
{
	Relation	rel = table_open(relation, NoLock);
	ObjectAddresses *triggers = new_object_addresses();

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];
		ObjectAddress address;

		if (!flo_fence_owns(trigger) || trigger->tgisclone)
			continue;
		ObjectAddressSet(address, TriggerRelationId, trigger->tgoid);
		add_exact_object_address(&address, triggers);
	}
	table_close(rel, NoLock);
	performMultipleDeletions(triggers, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	free_object_addresses(triggers);
	CommandCounterIncrement();
}

/* --- rows ---------------------------------------------------------------- */

static void
add_to_row(const char *group, FloFenceSide side, const List *tables, const char *passing)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.fences AS f (group_name, side, tables, passing)"
			   " VALUES ($1, $2, $3::oid[], CASE WHEN $4 IS NULL THEN '{}' ELSE ARRAY[$4] END)"
			   " ON CONFLICT (group_name, side) DO UPDATE SET"
			   " tables = (SELECT array_agg(DISTINCT t ORDER BY t) FROM unnest(f.tables || excluded.tables) t),"
			   " passing = coalesce((SELECT array_agg(DISTINCT p ORDER BY p) FROM unnest(f.passing || excluded.passing) p), '{}')",
			   4, group, side_name(side), text_of_oids(tables), passing);
}

/* Lock them, and see that they have their triggers; all that are meant */
static List *
secure(const List *tables, Oid gate, int patience)
{
	List	   *all = lock_tables(tables, gate, ShareRowExclusiveLock, patience);

	ensure_triggers(all);
	return all;
}

void
flo_fence_install(const char *group, FloFenceSide side, const List *tables, const char *passing,
				  int patience)
{
	add_to_row(group, side, secure(tables, InvalidOid, patience), passing);
}

/* Their locks without waiting, so that a user's command does not wait on our account */
static bool
try_lock(const List *tables)
{
	ListCell   *cell;

	foreach(cell, tables)
	{
		if (!ConditionalLockRelationOid(lfirst_oid(cell), ShareRowExclusiveLock))
			return false;
	}
	return true;
}

void
flo_fence_cover(const char *group, FloFenceSide side, Oid relation)
{
	FloFence   *fence = flo_fence_state(group, side);
	List	   *all;

	if (fence == NULL)
		return;
	if (side == FLO_FENCE_DESTINATION)
	{
		flo_fence_install(group, side, list_make1_oid(relation), NULL, FLO_FENCE_PATIENCE);
		return;
	}

	/*
	 * that it is the group's, its publication says; raising the fence makes
	 * up for what is missing
	 */
	all = with_children(list_make1_oid(relation));
	if (try_lock(all))
		ensure_triggers(all);
}

static void
refuse_raised(const FloFence *fence)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 fence->attempt != 0 ?
			 errmsg("group \"%s\" is fenced already, by cut-over " INT64_FORMAT,
					fence->group, fence->attempt) :
			 errmsg("group \"%s\" is fenced already", fence->group),
			 errhint("flo.fence_status() shows the fence, flo.unfence() takes it down.")));
}

/*
 * At the source those that the group has now, and none that joins at the same time:
 * who lets one join keeps a lock on flo.sources to the end of his transaction
 * (newtables.c).
 */
static List *
secure_all(const FloFence *fence, int patience)
{
	List	   *tables = fence->side == FLO_FENCE_SOURCE ?
		flo_store_published(fence->group) : fence->tables;
	List	   *all;

	for (;;)
	{
		all = secure(tables, fence->side == FLO_FENCE_SOURCE ? flo_store_table("sources") :
					 InvalidOid, patience);
		if (fence->side == FLO_FENCE_DESTINATION)
			return all;
		tables = flo_store_published(fence->group);
		if (list_difference_oid(tables, all) == NIL)
			return all;
	}
}

void
flo_fence_raise(const char *group, FloFenceSide side, int64 attempt, const char *reason,
				int patience)
{
	FloFence   *fence = flo_fence_state(group, side);
	char	   *tables;

	if (fence == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the fence of group \"%s\" is not prepared", group)));
	if (fence->raised && fence->attempt == attempt)
		return;
	if (fence->raised)
		refuse_raised(fence);

	tables = text_of_oids(secure_all(fence, patience));
	if (flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.fences SET raised = true, attempt = nullif($3::bigint, 0),"
				   " reason = $4, since = clock_timestamp(), tables = $5::oid[]"
				   " WHERE group_name = $1 AND side = $2 AND NOT raised",
				   5, group, side_name(side), flo_text_of_int64(attempt), reason, tables) == 0)
		refuse_raised(flo_fence_state(group, side));
	ForceSyncCommit();
}

bool
flo_fence_lower(const char *group, FloFenceSide side, int64 attempt)
{
	return flo_sql_do(SPI_OK_UPDATE,
					  "UPDATE flo.fences SET raised = false, attempt = NULL, reason = NULL, since = clock_timestamp()"
					  " WHERE group_name = $1 AND side = $2 AND raised"
					  " AND ($3::bigint = 0 OR attempt = $3::bigint)",
					  3, group, side_name(side), flo_text_of_int64(attempt)) > 0;
}

/* --- taking it away ------------------------------------------------------ */

typedef struct Removal
{
	List	   *tables;
	List	   *kept;			/* what other fences need */
	int			patience;
} Removal;

static void
remove_triggers(void *arg)
{
	const Removal *removal = arg;
	List	   *all = lock_tables(removal->tables, InvalidOid, AccessExclusiveLock,
								  removal->patience);
	FloAsRole	as;
	ListCell   *cell;

	flo_store_enter(&as);
	flo_fence_works = true;
	PG_TRY();
	{
		foreach(cell, all)
			drop_triggers(lfirst_oid(cell));
	}
	PG_FINALLY();
	{
		flo_fence_works = false;
	}
	PG_END_TRY();
	flo_store_leave(&as);

	/* a partition may have had but those of its root */
	ensure_triggers(list_difference_oid(all, list_difference_oid(all, removal->kept)));
}

/* Tables with triggers of a fence, those that came with a dump or have left a group among them */
static List *
with_triggers(void)
{
	List	   *tables = NIL;
	FloSqlSession sql;
	uint64		count;

	flo_sql_begin(&sql);
	count = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT tgrelid FROM pg_trigger"
						" WHERE tgfoid = 'flo.fence'::regproc AND tgparentid = 0", 0);
	for (uint64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		tables = lappend_oid(tables, flo_sql_oid(i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return tables;
}

bool
flo_fence_uninstall(const char *group, FloFenceSide side, int patience)
{
	Removal		removal = {NIL, NIL, patience};
	bool		found = false;
	ErrorData  *error;
	ListCell   *cell;

	foreach(cell, flo_fences(true))
	{
		const FloFence *fence = lfirst(cell);

		if (fence->side == side && strcmp(fence->group, group) == 0)
			found = true;
		else
			removal.kept = list_concat_unique_oid(removal.kept, fence->tables);
	}
	if (!found)
		return true;
	flo_sql_do(SPI_OK_DELETE, "DELETE FROM flo.fences WHERE group_name = $1 AND side = $2",
			   2, group, side_name(side));
	removal.kept = with_children(removal.kept);
	removal.tables = list_difference_oid(with_triggers(), removal.kept);
	error = flo_attempt(remove_triggers, &removal, true);
	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	return false;
}
