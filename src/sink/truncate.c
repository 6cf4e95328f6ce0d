/*
 * truncate.c
 *		Applies a TRUNCATE.
 *
 * The message lists every table that was truncated at the source, those that
 * a CASCADE reached included; tables that reference them only here must not be
 * emptied, so CASCADE is never used and a foreign key that objects is an
 * error.  All tables are emptied in one step, because foreign keys between
 * them would object otherwise.  A partitioned destination is emptied with its
 * partitions, any other table alone, as its children at the source are listed
 * for themselves.
 *
 * The tables may have different owners.  Each privilege is checked for the
 * user that rows of this table are applied as; then the server does the work
 * as this process, and runs triggers as each table's owner.  Servers before 16
 * cannot do the latter: there the tables of one user are a step of their own
 * when triggers could run.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "core/compat.h"
#include "core/trail.h"
#include "sink/truncate.h"

/* Tables to be emptied in one step */
typedef struct FloTruncateStep
{
	List	   *rels;
	List	   *relids;
	List	   *logged;
	Oid			user;			/* of all its tables */
	bool		mixed;			/* no: they have several */
	bool		triggers;		/* a TRUNCATE trigger would fire */
} FloTruncateStep;

static bool
has_firing_trigger(Relation rel)
{
	TriggerDesc *desc = rel->trigdesc;

	if (desc == NULL)
		return false;
	for (int i = 0; i < desc->numtriggers; i++)
	{
		Trigger    *trigger = &desc->triggers[i];
		char		off = (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA) ?
			TRIGGER_FIRES_ON_ORIGIN : TRIGGER_FIRES_ON_REPLICA;

		if (TRIGGER_FOR_TRUNCATE(trigger->tgtype) &&
			trigger->tgenabled != TRIGGER_DISABLED && trigger->tgenabled != off)
			return true;
	}
	return false;
}

static void
add_relation(FloTruncateStep *step, Oid relid, Oid user)
{
	Relation	rel;
	AclResult	acl;

	if (list_member_oid(step->relids, relid))
		return;
	rel = table_open(relid, NoLock);
	if (RELATION_IS_OTHER_TEMP(rel))
	{
		table_close(rel, NoLock);
		return;
	}
	acl = pg_class_aclcheck(relid, user, ACL_TRUNCATE);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, OBJECT_TABLE, RelationGetRelationName(rel));
	CheckTableNotInUse(rel, "TRUNCATE");

	if (step->rels == NIL)
		step->user = user;
	else if (step->user != user)
		step->mixed = true;
	step->triggers |= has_firing_trigger(rel);
	step->rels = lappend(step->rels, rel);
	step->relids = lappend_oid(step->relids, relid);
	if (RelationIsLogicallyLogged(rel))
		step->logged = lappend_oid(step->logged, relid);
}

/*
 * A step's tables are those of one user, or all when "user" is invalid.
 * Partitions are truncated with the rights their root is.
 */
static void
gather(FloRelmap *map, const FloChange *change, Oid user, FloTruncateStep *step)
{
	memset(step, 0, sizeof(FloTruncateStep));
	for (int i = 0; i < change->nrelations; i++)
	{
		FloTarget  *target;
		List	   *children;
		ListCell   *lc;

		flo_trail.schema = change->relations[i]->schema;
		flo_trail.table = change->relations[i]->name;
		target = flo_relmap_open(map, change->relations[i]);
		if (OidIsValid(user) && target->run_as != user)
			continue;
		LockRelationOid(target->relid, AccessExclusiveLock);
		add_relation(step, target->relid, target->run_as);
		if (!target->partitioned)
			continue;
		children = find_all_inheritors(target->relid, AccessExclusiveLock, NULL);
		foreach(lc, children)
			add_relation(step, lfirst_oid(lc), target->run_as);
	}

	/* An error from here on is about all of them: name the first */
	if (change->nrelations > 0)
	{
		flo_trail.schema = change->relations[0]->schema;
		flo_trail.table = change->relations[0]->name;
	}
}

static void
close_step(FloTruncateStep *step)
{
	ListCell   *lc;

	foreach(lc, step->rels)
		table_close((Relation) lfirst(lc), NoLock);
}

static void
run_step(FloTruncateStep *step, bool restart_identity)
{
	if (step->rels != NIL)
		flo_compat_truncate(step->rels, step->relids, step->logged, restart_identity,
							step->mixed);
	close_step(step);
	CommandCounterIncrement();
}

/* Act as one user for the time of a step; the target says how */
static void
run_as_user(FloRelmap *map, const FloChange *change, Oid user)
{
	FloTruncateStep step;
	FloActAs	saved;

	for (int i = 0; i < change->nrelations; i++)
	{
		FloTarget  *target = flo_relmap_open(map, change->relations[i]);

		if (target->run_as != user)
			continue;
		gather(map, change, user, &step);
		flo_target_enter(target, &saved);
		run_step(&step, change->restart_identity);
		flo_target_leave(&saved);
		return;
	}
}

/*
 * One partition was truncated at the source, whose rows otherwise arrive as its
 * root's.  Only a partition of that root can hold the same rows here.
 */
static void
check_partition(FloRelmap *map, const FloChange *change)
{
	Oid			root = flo_relmap_open(map, change->partition_of)->relid;
	FloTarget  *target;

	flo_trail.schema = change->relations[0]->schema;
	flo_trail.table = change->relations[0]->name;
	target = flo_relmap_open(map, change->relations[0]);
	if (!get_rel_relispartition(target->relid) ||
		!list_member_oid(get_partition_ancestors(target->relid), root))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition \"%s.%s\" was truncated at the source, but the table of that name here is no partition of \"%s.%s\"",
						target->schema, target->table,
						change->partition_of->schema, change->partition_of->name),
				 errhint("Delete its rows here and skip this transaction with flo.skip().")));
}

void
flo_truncate(FloRelmap *map, const FloChange *change)
{
	FloTruncateStep step;
	List	   *users = NIL;
	ListCell   *lc;

	if (change->partition_of != NULL)
		check_partition(map, change);
	gather(map, change, InvalidOid, &step);
	if (step.mixed && (FLO_TRUNCATE_SWITCHES_USER || !step.triggers))
	{
		run_step(&step, change->restart_identity);
		return;
	}
	close_step(&step);

	for (int i = 0; i < change->nrelations; i++)
		users = list_append_unique_oid(users,
									   flo_relmap_open(map, change->relations[i])->run_as);
	foreach(lc, users)
		run_as_user(map, change, lfirst_oid(lc));
}
