/*
 * joining.c
 *		Lets a table that a user's DDL has made or changed join a group that
 *		covers it, or sees that the rows of a partition do.
 *
 * A table that has just been made is empty and joins at once, before anything is
 * written to it.  One that holds rows by the time it can join has them copied,
 * as flo.add_table() makes it; so has a partition whose rows did not travel until
 * now, because it was unlogged or elsewhere.  What travelled before, as a
 * partition, needs no copy.
 *
 * Awkward: within one transaction a table may come and go, be filled in between,
 * and savepoints may be rolled back.  notes.h keeps what is known so far;
 * before.h tells how the transaction found things.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "conf/before.h"
#include "conf/fence.h"
#include "conf/identity.h"
#include "conf/joining.h"
#include "conf/notes.h"
#include "conf/publication.h"
#include "conf/tables.h"
#include "core/compat_acl.h"
#include "core/compat_statement.h"
#include "core/names.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static void
warn_left_out(const FloJoin *join, Oid relation, const char *reason, const char *hint)
{
	if (join->quiet)
		return;
	ereport(WARNING,
			(errmsg("table %s is not replicated by group \"%s\": %s",
					flo_tables_name(relation), join->replicator->group, reason),
			 errhint("%s", hint)));
}

/* Add the table to the publication with the rights of the group's owner */
static bool
join_publication(const FloJoin *join, const char *name, Oid relation)
{
	Oid			publication = get_publication_oid(name, true);
	PublicationRelInfo info = {0};

	if (!OidIsValid(publication))
		return false;

	/* the command that we are part of must not wait for others on our account */
	if (!ConditionalLockRelationOid(relation, ShareUpdateExclusiveLock))
	{
		warn_left_out(join, relation, "another session uses it",
					  "Call flo.add_table() when it has ended.");
		return false;
	}

	/* Keeps DROP PUBLICATION out, but not other sessions that add tables */
	LockDatabaseObject(PublicationRelationId, publication, 0, AccessShareLock);
	if (!SearchSysCacheExists1(PUBLICATIONOID, ObjectIdGetDatum(publication)))
		return false;

	info.relation = table_open(relation, NoLock);
	flo_compat_publish(publication, &info);
	table_close(info.relation, NoLock);
	CommandCounterIncrement();
	flo_fence_cover(join->replicator->group, FLO_FENCE_SOURCE, relation);
	return true;
}

/* A table that only had its inserts published has become a full member */
static void
leave_insert_publication(const char *group, Oid relation)
{
	Oid			publication = get_publication_oid(flo_name_insert_publication(group), true);
	ObjectAddress member = {PublicationRelRelationId, InvalidOid, 0};

	if (!OidIsValid(publication))
		return;

	member.objectId = GetSysCacheOid2(PUBLICATIONRELMAP, Anum_pg_publication_rel_oid,
									  ObjectIdGetDatum(relation),
									  ObjectIdGetDatum(publication));
	if (OidIsValid(member.objectId))
		performDeletion(&member, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
}

/* Does this one relation hold rows?  Pages without any count, too. */
static bool
holds_rows(Oid relation)
{
	Relation	rel = table_open(relation, AccessShareLock);
	bool		empty = !RELKIND_HAS_STORAGE(rel->rd_rel->relkind) ||
		RelationGetNumberOfBlocks(rel) == 0;

	table_close(rel, NoLock);
	return !empty;
}

static bool
has_rows(Oid relation)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		if (holds_rows(lfirst_oid(lc)))
			return true;
	}
	return false;
}

/* Where definitions travel, or a copy was wanted to begin with, rows that are there come along */
static bool
copies_rows(const FloReplicatorSpec *replicator)
{
	return replicator->track_ddl || flo_replicator_begins_with_copy(replicator);
}

static void
warn_rows_stay(const FloReplicatorSpec *replicator, Oid relation, const char *what)
{
	ereport(WARNING,
			(errmsg("rows that %s %s holds already are not replicated by group \"%s\"",
					what, flo_tables_name(relation), replicator->group),
			 errdetail("The table joins the group now; later changes of it are replicated."),
			 errhint("flo.resync() copies them.")));
}

/* --- partitions ---------------------------------------------------------- */

/* A new partition of a root that the group lists needs an identity, which a group may give it */
static void
identify_partition(const FloJoin *join, Oid partition, Oid root)
{
	const FloReplicatorSpec *replicator = join->replicator;
	bool		via_root = replicator->options.publish_via_partition_root;

	if (get_rel_relkind(partition) == RELKIND_PARTITIONED_TABLE ||
		(flo_identity_own(partition) && !(via_root && flo_identity_table_strays(partition, root))))
		return;
	if (replicator->options.keyless_tables == FLO_KEYLESS_FULL &&
		flo_compat_class_ownercheck(partition, GetUserId()) &&
		flo_identity_can_be_full(partition) && flo_identity_try_lock(partition) &&
		(!via_root || flo_identity_own(root)))
		flo_identity_set_full(replicator->group, partition, true);
	else if (!join->quiet && !flo_identity_own(partition) && flo_identity_lack(partition) == NULL)
		ereport(WARNING,
				(errmsg("partition %s has no usable replica identity: UPDATE and DELETE of it will fail",
						flo_tables_name(partition)),
				 errdetail("Its parent %s is replicated by group \"%s\".",
						   flo_tables_name(root), replicator->group),
				 errhint("Give it the replica identity that its parent has.")));
}

/*
 * Rows of the table can be changed without anybody knowing elsewhere which ones
 * they are: the replicator leaves the table out from here on, until its identity
 * is mended.  Then what is published for it is copied anew.
 */
static void
look_at_identity(const FloJoin *join, Oid table, Oid published)
{
	const FloReplicatorSpec *replicator = join->replicator;
	bool		strays = flo_identity_table_strays(table, published);
	const char *lack;

	if (strays == list_member_oid(join->astray, table))
		return;
	if (!strays)
	{
		if (!flo_store_found(replicator->group, table))
			return;
		flo_store_request_copy(replicator->group, published, FLO_REQUEST_ANEW_FROM_HERE);
		ereport(NOTICE,
				(errmsg("table %s is replicated again by group \"%s\", with a copy of %s",
						flo_tables_name(table), replicator->group, flo_tables_name(published))));
		return;
	}
	if (!flo_store_lost(replicator->group, table))
		return;
	lack = flo_identity_lack(table);
	ereport(WARNING,
			(errmsg("table %s is not replicated by group \"%s\" any more: %s",
					flo_tables_name(table), replicator->group,
					lack != NULL ? lack : psprintf("its replica identity does not identify a row of %s, as which it is published", flo_tables_name(published))),
			 errhint("When its replica identity is mended, %s is copied.",
					 flo_tables_name(published))));
}

static bool
is_whole(const char *group, Oid relation)
{
	FloNote		note = flo_notes_get(group, relation);

	return note == FLO_NOTE_WHOLE || note == FLO_NOTE_ASKED;
}

/* The partitioned table as which the group's changes of the partition are found, topmost */
static Oid
published_root(const char *publication, Oid partition)
{
	Oid			root = InvalidOid;
	ListCell   *lc;

	foreach(lc, get_partition_ancestors(partition))
	{
		if (flo_publication_lists(publication, lfirst_oid(lc)))
			root = lfirst_oid(lc);
	}
	return root;
}

/* Has what the partition holds travelled until now? */
static bool
has_travelled(const FloJoin *join, const char *publication, Oid leaf, Oid root)
{
	Oid			id = get_publication_oid(publication, true);
	Snapshot	before = flo_before_begin();
	bool		travelled;

	/*
	 * a root that was added just now: whoever did that has said what becomes
	 * of its rows
	 */
	travelled = !flo_before_listed(before, id, root) ||
		(flo_notes_get(join->replicator->group, leaf) != FLO_NOTE_APART &&
		 flo_before_travelled(before, id, leaf) == FLO_TRAVELLED_ALL);
	flo_before_end(before);
	return travelled;
}

/*
 * A copy is still to come with which the table's rows were to come, and will find
 * them elsewhere: it was, or was part of, what is not published as such any more.
 * Meanwhile its changes have been left out at the destinations.
 */
static bool
misses_copy(const FloJoin *join, Oid relation, Oid published)
{
	List	   *others = list_delete_oid(list_copy(join->requested), published);
	Snapshot	before;
	bool		misses;

	if (others == NIL)
		return false;
	before = flo_before_begin();
	misses = flo_before_below(before, others, relation);
	flo_before_end(before);
	return misses;
}

/*
 * Rows of the leaf partition that its group has never had are asked for; true:
 * the root has to be copied
 */
static bool
complete_leaf(const FloJoin *join, const char *publication, Oid leaf, Oid root)
{
	const FloReplicatorSpec *replicator = join->replicator;
	bool		via_root = replicator->options.publish_via_partition_root;
	bool		copy_root = false;

	if (get_rel_relkind(leaf) != RELKIND_RELATION ||
		get_rel_persistence(leaf) != RELPERSISTENCE_PERMANENT ||
		list_member_oid(join->choice->except_tables, leaf))
		return false;
	if (via_root && misses_copy(join, leaf, root))
		return true;
	if (is_whole(replicator->group, leaf))
		return false;
	/* what was a member by itself has its rows there */
	if (holds_rows(leaf) && !flo_publication_lists(publication, leaf) &&
		!has_travelled(join, publication, leaf, root))
	{
		bool		apart = flo_notes_get(replicator->group, leaf) == FLO_NOTE_APART;

		if (!copies_rows(replicator))
			warn_rows_stay(replicator, leaf, "partition");
		else if (via_root)
			copy_root = true;
		else
			flo_store_request_copy(replicator->group, leaf,
								   apart ? FLO_REQUEST_ANEW_FROM_HERE : FLO_REQUEST_ADD_FROM_HERE);
	}
	flo_notes_set(replicator->group, leaf, FLO_NOTE_WHOLE);
	return copy_root;
}

static void
look_at_partition(const FloJoin *join, Oid partition)
{
	const char *publication = flo_name_publication(join->replicator->group);
	Oid			root = published_root(publication, partition);
	bool		copy_root = false;
	ListCell   *lc;

	if (!OidIsValid(root))
		return;
	identify_partition(join, partition, root);
	foreach(lc, flo_tables_with_partitions(partition))
		copy_root |= complete_leaf(join, publication, lfirst_oid(lc), root);
	if (copy_root)
		flo_store_request_copy(join->replicator->group, root, FLO_REQUEST_ANEW_FROM_HERE);
}

/* --- tables -------------------------------------------------------------- */

/* Unlogged partitions have no part in what travels, only in a copy to come */
static void
note_parts(const char *group, Oid relation, FloNote note)
{
	ListCell   *lc;

	foreach(lc, flo_tables_with_partitions(relation))
	{
		if (note == FLO_NOTE_ASKED ||
			get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_PERMANENT)
			flo_notes_set(group, lfirst_oid(lc), note);
	}
}

/*
 * Give the table an identity where the group does that; NULL: it cannot join.
 * Else what it joins.
 */
static const char *
publication_to_join(const FloJoin *join, Oid relation)
{
	const FloReplicatorSpec *replicator = join->replicator;
	const char *group = replicator->group;
	const char *lack;

	if (flo_tables_have_identity(relation, replicator->options.publish_via_partition_root))
		return flo_name_publication(group);
	switch (replicator->options.keyless_tables)
	{
		case FLO_KEYLESS_REFUSE:
			lack = flo_identity_lack(relation);
			warn_left_out(join, relation, lack != NULL ? lack : "it has no usable replica identity",
						  copies_rows(replicator) ?
						  "It joins, with its rows, as soon as it has a primary key." :
						  "It joins as soon as it has a primary key.");
			return NULL;
		case FLO_KEYLESS_SKIP:
			return NULL;
		case FLO_KEYLESS_FULL:
			if (!flo_identity_can_be_full(relation))
			{
				warn_left_out(join, relation, "it cannot have REPLICA IDENTITY FULL",
							  "Add a primary key or make its generated columns STORED.");
				return NULL;
			}
			if (!flo_identity_try_lock(relation))
			{
				warn_left_out(join, relation, "another session uses it",
							  "Call flo.add_table() when it has ended.");
				return NULL;
			}
			flo_identity_set_full(group, relation, replicator->options.publish_via_partition_root);
			return flo_name_publication(group);
		case FLO_KEYLESS_INSERT_ONLY:
			return flo_name_insert_publication(group);
	}
	return NULL;
}

/* What the destinations have of a table that joins the publication now */
static FloTravelled
travelled_until_now(const FloJoin *join, Oid relation)
{
	const char *group = join->replicator->group;
	Oid			publication = get_publication_oid(flo_name_publication(group), true);
	Snapshot	before;
	FloTravelled travelled;

	if (flo_publication_lists(flo_name_insert_publication(group), relation) ||
		flo_notes_get(group, relation) == FLO_NOTE_WHOLE)
		return FLO_TRAVELLED_ALL;
	before = flo_before_begin();
	travelled = flo_before_travelled(before, publication, relation);
	flo_before_end(before);
	if (travelled == FLO_TRAVELLED_ALL && flo_notes_get(group, relation) == FLO_NOTE_APART)
		travelled = FLO_TRAVELLED_ONCE;
	return travelled;
}

/* With a copy the replicator lets it join when it takes the snapshot */
static bool
join_with_copy(const FloJoin *join, Oid relation)
{
	const FloReplicatorSpec *replicator = join->replicator;

	if (!copies_rows(replicator))
	{
		warn_rows_stay(replicator, relation, "table");
		return false;
	}
	flo_store_request_copy(replicator->group, relation, FLO_REQUEST_ADD);
	ereport(NOTICE,
			(errmsg("table %s joins group \"%s\" with a copy of the rows it holds",
					flo_tables_name(relation), replicator->group)));
	return true;
}

static void
join_table(const FloJoin *join, Oid relation)
{
	const char *group = join->replicator->group;
	const char *publication = publication_to_join(join, relation);
	FloTravelled travelled;

	if (publication == NULL || flo_publication_lists(publication, relation))
		return;
	flo_fence_require_joining(group, relation);
	travelled = travelled_until_now(join, relation);
	if (travelled == FLO_TRAVELLED_NOT && has_rows(relation) && join_with_copy(join, relation))
	{
		note_parts(group, relation, FLO_NOTE_ASKED);
		return;
	}
	if (!join_publication(join, publication, relation))
		return;
	note_parts(group, relation, FLO_NOTE_WHOLE);
	if (strcmp(publication, flo_name_publication(group)) == 0)
		leave_insert_publication(group, relation);
	if (travelled == FLO_TRAVELLED_ONCE && copies_rows(join->replicator))
		flo_store_request_copy(group, relation, FLO_REQUEST_ANEW_FROM_HERE);
}

/* Of the table, or of all partitions that are published as it */
static void
look_at_identities(const FloJoin *join, Oid relation)
{
	const char *publication = flo_name_publication(join->replicator->group);
	bool		via_root = join->replicator->options.publish_via_partition_root;
	Oid			root = InvalidOid;
	ListCell   *lc;

	if (get_rel_relispartition(relation))
		root = published_root(publication, relation);
	if (!OidIsValid(root) && flo_publication_lists(publication, relation))
		root = relation;
	if (!OidIsValid(root))
		return;
	foreach(lc, flo_tables_with_partitions(relation))
	{
		Oid			table = lfirst_oid(lc);

		if (get_rel_relkind(table) == RELKIND_RELATION &&
			get_rel_persistence(table) == RELPERSISTENCE_PERMANENT &&
			!flo_tables_left_out(join->choice, table))
			look_at_identity(join, table, via_root ? root : table);
	}
}

/* What leaves a table that is left out stays left out with it */
static bool
leaves_left_out(const FloJoin *join, Oid relation)
{
	const char *group = join->replicator->group;
	bool		left_out = flo_notes_get(group, relation) == FLO_NOTE_LEFT_OUT;

	if (!left_out && join->choice->except_tables != NIL)
	{
		Snapshot	before = flo_before_begin();

		left_out = flo_before_below(before, join->choice->except_tables, relation);
		flo_before_end(before);
	}
	if (!left_out)
		return false;
	flo_store_add_chosen(group, "except", flo_choice_entry(relation));
	warn_left_out(join, relation, "it was a partition of a table that is left out",
				  "It is listed in except_tables now; flo.add_table() lets it join.");
	return true;
}

void
flo_join_look(const FloJoin *join, Oid relation)
{
	const FloReplicatorSpec *replicator = join->replicator;
	const char *publication = flo_name_publication(replicator->group);

	/* none: a group being dropped, or one restored without it */
	if (!OidIsValid(get_publication_oid(publication, true)))
		return;
	if (flo_tables_left_out(join->choice, relation))
	{
		flo_notes_set(replicator->group, relation, FLO_NOTE_LEFT_OUT);
		return;
	}
	if (get_rel_relispartition(relation))
		look_at_partition(join, relation);
	look_at_identities(join, relation);
	if (!flo_publication_lists(publication, relation) && flo_tables_cover(join->choice, relation) &&
		flo_notes_get(replicator->group, relation) != FLO_NOTE_ASKED &&
		!leaves_left_out(join, relation))
	{
		if (OidIsValid(replicator->owner) &&
			flo_compat_class_ownercheck(relation, replicator->owner))
			join_table(join, relation);
		else
			warn_left_out(join, relation, "it does not belong to the group's owner",
						  "Call flo.add_table() as a role that owns both.");
	}
	if (flo_publication_lists(publication, relation) &&
		!(get_rel_relispartition(relation) && OidIsValid(published_root(publication, relation))) &&
		misses_copy(join, relation, relation))
		flo_store_request_copy(replicator->group, relation, FLO_REQUEST_ANEW_FROM_HERE);
	if (!flo_publication_sends(replicator->group, relation) &&
		flo_notes_get(replicator->group, relation) <= FLO_NOTE_WHOLE)
		flo_notes_set(replicator->group, relation, FLO_NOTE_APART);
}
