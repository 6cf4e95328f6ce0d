/*
 * identity.c
 *		Replica identities: whether a table's UPDATE and DELETE can be replicated,
 *		and REPLICA IDENTITY FULL for groups that want it.
 *
 * Awkward cases:
 *
 * - Changes of partitions that are published as their root's are described by
 *	 the root's identity, but hold what the partition's own one records.
 * - Before version 18 generated columns are not sent, those of a key neither.
 * - REPLICA IDENTITY FULL set for a group is remembered and undone with the
 *	 group, unless another publication still sends the table's updates: taking
 *	 it away would make them fail.
 * - Since version 18, FULL makes a table with virtual generated columns reject
 *	 its own UPDATEs while it is published.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "conf/identity.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/compat_acl.h"
#include "core/compat_table.h"
#include "core/lock.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

void		(*flo_identity_made_full) (Oid relation) = NULL;

/*
 * Names of the columns of a table's identity index, as a List of char *; those
 * that travel, or those that do not
 */
static List *
identity_columns(Relation rel, bool sent)
{
	Oid			id = RelationGetReplicaIndex(rel);
	Relation	index;
	List	   *names = NIL;

	if (!OidIsValid(id))
		return NIL;
	index = RelationIdGetRelation(id);
	if (!RelationIsValid(index))
		return NIL;
	for (int i = 0; i < index->rd_index->indnkeyatts; i++)
	{
		AttrNumber	attnum = index->rd_index->indkey.values[i];
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

		if (sent == (FLO_SENDS_GENERATED || column->attgenerated == '\0'))
			names = lappend(names, pstrdup(NameStr(column->attname)));
	}
	RelationClose(index);

	return names;
}

/* Does the server let rows of the table be changed, as far as its identity goes? */
static bool
may_change(Relation rel)
{
	return rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ||
		OidIsValid(RelationGetReplicaIndex(rel));
}

static bool
is_usable(Relation rel)
{
	if (!flo_tables_is_kind(rel->rd_rel->relkind))
		return true;
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return flo_compat_full_identity_works(rel);
	return may_change(rel) && identity_columns(rel, false) == NIL;
}

bool
flo_identity_own(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	bool		usable = is_usable(rel);

	table_close(rel, NoLock);
	return usable;
}

/* Do the old rows of a partition hold what identifies a row of the root? */
static bool
fits(Relation partition, Relation root)
{
	List	   *wanted;
	List	   *given;
	ListCell   *lc;

	if (partition->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return root->rd_rel->relreplident == REPLICA_IDENTITY_FULL ||
			OidIsValid(RelationGetReplicaIndex(root));
	if (root->rd_rel->relreplident == REPLICA_IDENTITY_FULL)
		return false;

	wanted = identity_columns(root, true);
	given = identity_columns(partition, true);
	foreach(lc, wanted)
	{
		ListCell   *other;
		bool		found = false;

		foreach(other, given)
			found |= strcmp(lfirst(lc), lfirst(other)) == 0;
		if (!found)
			return false;
	}

	return wanted != NIL;
}

static bool
partition_fits(Oid partition, Oid root)
{
	Relation	part = table_open(partition, AccessShareLock);
	Relation	rel = table_open(root, AccessShareLock);
	bool		result = fits(part, rel);

	table_close(rel, NoLock);
	table_close(part, NoLock);

	return result;
}

bool
flo_identity_strays(Relation table, Relation published)
{
	if (!may_change(table))
		return false;
	if (RelationGetRelid(table) == RelationGetRelid(published))
		return !is_usable(table);
	return !is_usable(published) || !fits(table, published);
}

bool
flo_identity_table_strays(Oid table, Oid published)
{
	Relation	rel = table_open(table, AccessShareLock);
	Relation	as = table_open(published, AccessShareLock);
	bool		strays = flo_identity_strays(rel, as);

	table_close(as, NoLock);
	table_close(rel, NoLock);
	return strays;
}

bool
flo_tables_have_identity(Oid relation, bool via_root)
{
	bool		partitioned = get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE;
	ListCell   *lc;

	if ((!partitioned || via_root) && !flo_identity_own(relation))
		return false;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		Oid			part = lfirst_oid(lc);

		if (part == relation || get_rel_relkind(part) == RELKIND_PARTITIONED_TABLE)
			continue;
		if (!flo_identity_own(part) ||
			(via_root && get_rel_relkind(part) == RELKIND_RELATION &&
			 !partition_fits(part, relation)))
			return false;
	}

	return true;
}

char *
flo_identity_lack(Oid relation)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		Relation	rel;
		List	   *unsent;
		char	   *lack = NULL;

		if (!flo_tables_is_kind(get_rel_relkind(lfirst_oid(lc))))
			continue;
		rel = table_open(lfirst_oid(lc), AccessShareLock);
		unsent = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ? NIL :
			identity_columns(rel, false);
		if (unsent != NIL)
			lack = psprintf("the replica identity of %s has generated column \"%s\", which servers before version 18 do not send",
							flo_tables_name(lfirst_oid(lc)), (char *) linitial(unsent));
		else if (rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL &&
				 !flo_compat_full_identity_works(rel))
			lack = psprintf("REPLICA IDENTITY FULL of %s has virtual generated columns, which are not sent", flo_tables_name(lfirst_oid(lc)));
		table_close(rel, NoLock);
		if (lack != NULL)
			return lack;
	}
	return NULL;
}

static void
refuse_virtual_columns(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	bool		works = flo_compat_full_identity_works(rel);

	table_close(rel, NoLock);
	if (!works)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s cannot have REPLICA IDENTITY FULL: it has virtual generated columns",
						flo_tables_name(relation)),
				 errhint("Add a primary key or make the columns STORED.")));
}

/*
 * Not as SQL: users' event triggers are told of what users do, and one that
 * forbids ALTER TABLE must not make their CREATE TABLE fail.
 */
static void
set_identity(Oid relation, char identity)
{
	ReplicaIdentityStmt *statement = makeNode(ReplicaIdentityStmt);
	AlterTableCmd *command = makeNode(AlterTableCmd);

	statement->identity_type = identity;
	command->subtype = AT_ReplicaIdentity;
	command->def = (Node *) statement;
	EventTriggerInhibitCommandCollection();
	PG_TRY();
	{
		AlterTableInternal(relation, list_make1(command), false);
	}
	PG_FINALLY();
	{
		EventTriggerUndoInhibitCommandCollection();
	}
	PG_END_TRY();
	CommandCounterIncrement();
}

static bool
has_index(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	bool		has = OidIsValid(RelationGetReplicaIndex(rel));

	table_close(rel, NoLock);
	return has;
}

/*
 * Partitions get it with their root, whether or not they have an identity of
 * their own, when their changes are published as the root's.
 */
void
flo_identity_set_full(const char *group, Oid relation, bool via_root)
{
	bool		all = via_root && get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE;
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		Oid			part = lfirst_oid(lc);
		HeapTuple	tuple;
		char		before;

		if (!flo_tables_is_kind(get_rel_relkind(part)) || (!all && flo_identity_own(part)))
			continue;

		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(part));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for relation %u", part);
		before = ((Form_pg_class) GETSTRUCT(tuple))->relreplident;
		ReleaseSysCache(tuple);
		if (before == REPLICA_IDENTITY_FULL && flo_identity_own(part))
			continue;
		refuse_virtual_columns(part);
		if (before == REPLICA_IDENTITY_INDEX && has_index(part))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("the replica identity of partition %s is an index, that of %s cannot be one",
							flo_tables_name(part), flo_tables_name(relation)),
					 errhint("Set both to REPLICA IDENTITY FULL, or use the option publish_via_partition_root = false.")));

		set_identity(part, REPLICA_IDENTITY_FULL);
		if (flo_identity_made_full != NULL)
			flo_identity_made_full(part);
		flo_store_add_full_identity(group, part, before);
	}
}

/* Would flo_identity_set_full() go through?  A user's DDL must not fail for it. */
bool
flo_identity_can_be_full(Oid relation)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);
		bool		can = !flo_tables_is_kind(rel->rd_rel->relkind) ||
			(flo_compat_full_identity_works(rel) &&
			 (rel->rd_rel->relreplident != REPLICA_IDENTITY_INDEX ||
			  !OidIsValid(RelationGetReplicaIndex(rel))));

		table_close(rel, NoLock);
		if (!can)
			return false;
	}

	return true;
}

List *
flo_identity_wish_full(List *wishes, Oid relation)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
		wishes = flo_lock_wish_relation(wishes, lfirst_oid(lc), AccessExclusiveLock);
	return wishes;
}

bool
flo_identity_try_lock(Oid relation)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessExclusiveLock))
			return false;
	}
	return true;
}

/* Does any publication still send this table's updates or deletes? */
static bool
updates_are_published(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	PublicationDesc desc;
	bool		result;

	RelationBuildPublicationDesc(rel, &desc);
	result = desc.pubactions.pubupdate || desc.pubactions.pubdelete;
	table_close(rel, NoLock);

	return result;
}

static bool
is_still_full(Oid relation)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	bool		full;

	if (!HeapTupleIsValid(tuple))
		return false;
	full = ((Form_pg_class) GETSTRUCT(tuple))->relreplident == REPLICA_IDENTITY_FULL;
	ReleaseSysCache(tuple);
	return full;
}

List *
flo_identity_wish_restore(List *wishes, const FloFullIdentity *identity)
{
	if (!is_still_full(identity->relation) ||
		!flo_compat_class_ownercheck(identity->relation, GetUserId()))
		return wishes;
	return flo_lock_wish_relation(wishes, identity->relation, AccessExclusiveLock);
}

void
flo_identity_restore(const char *group, const FloFullIdentity *identity)
{
	Oid			relation = identity->relation;

	flo_store_remove_full_identity(group, relation);
	if (!is_still_full(relation))
		return;

	if (updates_are_published(relation))
		ereport(NOTICE,
				(errmsg("table %s keeps REPLICA IDENTITY FULL: another publication has it",
						flo_tables_name(relation))));
	else if (!flo_compat_class_ownercheck(relation, GetUserId()))
		ereport(WARNING,
				(errmsg("table %s keeps REPLICA IDENTITY FULL: it belongs to another role",
						flo_tables_name(relation)),
				 errhint("Run ALTER TABLE ... REPLICA IDENTITY %s.",
						 identity->before == REPLICA_IDENTITY_NOTHING ? "NOTHING" : "DEFAULT")));
	else
		set_identity(relation, identity->before == REPLICA_IDENTITY_NOTHING ?
					 REPLICA_IDENTITY_NOTHING : REPLICA_IDENTITY_DEFAULT);
}
