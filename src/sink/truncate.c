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
 * Of a partition that was truncated alone, the message has the root as whose
 * its rows travel, and what tells them from others.  Here the root may be
 * partitioned otherwise, or not at all, whatever its partitions are called: a
 * partition that provably holds the same rows is truncated, otherwise the rows
 * are deleted by the bounds they had at the source.  Where these do not say it
 * here - no two servers hash an enum alike - it is an error.
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
#include "catalog/heap.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "conf/fence.h"
#include "conf/partition.h"
#include "core/compat_table.h"
#include "core/error_context.h"
#include "miscadmin.h"
#include "sink/parts.h"
#include "sink/truncate.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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
			trigger->tgenabled != TRIGGER_DISABLED && trigger->tgenabled != off &&
			!flo_fence_owns(trigger))
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

/* What an error is about from here on */
static void
name_table(const FloRelation *relation)
{
	const FloRelation *source = relation->source != NULL ? relation->source : relation;

	flo_error_context.schema = relation->schema;
	flo_error_context.table = relation->name;
	flo_error_context_source(source->id, source->schema, source->name);
}

/* The target of one of the tables; valid until the next one is opened */
static FloTarget *
open_target(FloRelmap *map, const FloChange *change, int i)
{
	const FloRelation *relation = change->truncated[i].relation;

	name_table(relation);
	return flo_relmap_open(map, relation);
}

/* The table that is emptied for one that was truncated; invalid: rows have to be deleted instead */
static Oid
lock_table(const FloTarget *target, const FloTruncated *truncated)
{
	if (truncated->part != NULL)
		return flo_part_lock(target, truncated);
	LockRelationOid(target->relid, AccessExclusiveLock);
	return target->relid;
}

/*
 * Tables that are given up and refer to them: the source has emptied those in the
 * same statement, and what is in them here is of no use any more.  In a step of one
 * user, his.  One that is nothing to the worker's owner stays, and is in the way.
 */
static void
add_given_up(FloRelmap *map, FloTruncateStep *step, Oid user, List *given_up)
{
	int			before;

	do
	{
		ListCell   *cell;

		before = list_length(step->relids);
		foreach(cell, heap_truncate_find_FKs(step->relids))
		{
			Relation	rel;
			Oid			role;

			if (!list_member_oid(given_up, lfirst_oid(cell)))
				continue;
			rel = table_open(lfirst_oid(cell), AccessExclusiveLock);
			role = flo_relmap_role(map, rel->rd_rel->relowner);
			table_close(rel, NoLock);
			if (OidIsValid(role) && (!OidIsValid(user) || user == role))
				add_relation(step, lfirst_oid(cell), role);
		}
	} while (list_length(step->relids) > before);
}

/*
 * A step's tables are those of one user, or all when "user" is invalid.
 * Partitions are truncated with the rights their root is.
 */
static void
gather(FloRelmap *map, const FloChange *change, Oid user, List *given_up, FloTruncateStep *step)
{
	memset(step, 0, sizeof(FloTruncateStep));
	for (int i = 0; i < change->ntruncated; i++)
	{
		FloTarget  *target = open_target(map, change, i);
		Oid			table;
		ListCell   *lc;

		if (OidIsValid(user) && target->run_as != user)
			continue;
		table = lock_table(target, &change->truncated[i]);
		if (!OidIsValid(table))
			continue;
		add_relation(step, table, target->run_as);
		if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
			continue;
		foreach(lc, find_all_inheritors(table, AccessExclusiveLock, NULL))
			add_relation(step, lfirst_oid(lc), target->run_as);
	}
	if (given_up != NIL && step->relids != NIL)
		add_given_up(map, step, user, given_up);

	/* An error from here on is about all of them: name the first */
	if (change->ntruncated > 0)
		name_table(change->truncated[0].relation);
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
run_as_user(FloRelmap *map, const FloChange *change, Oid user, List *given_up)
{
	FloTruncateStep step;
	FloAsRole	saved;

	for (int i = 0; i < change->ntruncated; i++)
	{
		if (open_target(map, change, i)->run_as != user)
			continue;
		gather(map, change, user, given_up, &step);
		flo_target_enter(open_target(map, change, i), &saved);
		run_step(&step, change->restart_identity);
		flo_target_leave(&saved);
		return;
	}
}

static void
run_steps(FloRelmap *map, const FloChange *change, List *given_up)
{
	FloTruncateStep step;
	List	   *users = NIL;
	ListCell   *lc;

	gather(map, change, InvalidOid, given_up, &step);
	if (step.mixed && (FLO_TRUNCATE_SWITCHES_USER || !step.triggers))
	{
		run_step(&step, change->restart_identity);
		return;
	}
	close_step(&step);

	for (int i = 0; i < change->ntruncated; i++)
		users = list_append_unique_oid(users, open_target(map, change, i)->run_as);
	foreach(lc, users)
		run_as_user(map, change, lfirst_oid(lc), given_up);
}

/*
 * Rows are deleted when the tables that refer to them are empty already: those
 * were truncated in the same statement.
 */
void
flo_truncate(FloRelmap *map, const FloChange *change, List *given_up)
{
	run_steps(map, change, given_up);
	for (int i = 0; i < change->ntruncated; i++)
	{
		FloTarget  *target;

		if (change->truncated[i].part == NULL)
			continue;
		target = open_target(map, change, i);
		if (!OidIsValid(flo_part_lock(target, &change->truncated[i])))
			flo_part_delete(target, &change->truncated[i]);
	}
}
