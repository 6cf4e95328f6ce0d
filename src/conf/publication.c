/*
 * publication.c
 *		Which tables a group replicates, and the publications that say so to
 *		logical decoding.
 *
 * A publication lists its tables one by one, never FOR ALL TABLES or FOR TABLES
 * IN SCHEMA: that would need a superuser, and a table created later without a
 * key would make the application's UPDATE fail.  What a group over schemas or
 * over everything covers is therefore found here, once at creation and again
 * whenever a user's DDL makes or changes a table.
 *
 * Awkward cases:
 *
 * - A partition whose root is in the group is not listed: the root stands for
 *	 it.  A root that is left out takes its partitions with it.
 * - Inheritance children are tables of their own: the publication says ONLY.
 * - A new table joins inside the transaction that creates it, possibly many at
 *	 once in many sessions.  ALTER PUBLICATION would hold a lock to the end of
 *	 each, one after the other; the catalog row is written directly instead,
 *	 with the rights of the group's owner.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "conf/fence.h"
#include "conf/identity.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/compat_statement.h"
#include "core/compat_table.h"
#include "core/lock.h"
#include "core/names.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#define MAX_NAMES_IN_MESSAGE 10

/* --- tables -------------------------------------------------------------- */

/* "a, b, c and 7 more" */
static char *
names_of(const List *relations)
{
	StringInfoData names;
	ListCell   *lc;
	int			count = 0;

	initStringInfo(&names);
	foreach(lc, relations)
	{
		if (count++ == MAX_NAMES_IN_MESSAGE)
		{
			appendStringInfo(&names, " and %d more",
							 list_length(relations) - MAX_NAMES_IN_MESSAGE);
			break;
		}
		appendStringInfo(&names, "%s%s", count > 1 ? ", " : "", flo_tables_name(lfirst_oid(lc)));
	}

	return names.data;
}

/* Run a utility command as the current user */
void
flo_publication_execute(const char *command)
{
	int			result;

	SPI_connect();
	result = SPI_execute(command, false, 0);
	if (result != SPI_OK_UTILITY)
		elog(ERROR, "command returned %s: %s", SPI_result_code_string(result), command);
	SPI_finish();
}

/* --- locks, see core/lock.h ---------------------------------------------- */

/*
 * What ALTER and DROP PUBLICATION will lock.  Sessions that have made tables
 * keep a weak lock on the publication until they commit.
 */
static List *
wish_publication(List *wishes, const char *name)
{
	Oid			publication = get_publication_oid(name, true);

	if (!OidIsValid(publication))
		return wishes;
	return flo_lock_wish_object(wishes, PublicationRelationId, publication, AccessExclusiveLock,
								psprintf("publication \"%s\"", name));
}

/* What a table that joins needs by itself */
static List *
wish_table(List *wishes, Oid relation, const FloReplicatorOptions *options)
{
	if (options->keyless_tables == FLO_KEYLESS_FULL &&
		!flo_tables_have_identity(relation, options->publish_via_partition_root))
		wishes = flo_identity_wish_full(wishes, relation);
	return flo_lock_wish_relation(wishes, relation, ShareUpdateExclusiveLock);
}

List *
flo_publication_wishes(const FloTableOids *choice, const FloReplicatorOptions *options)
{
	List	   *wishes = NIL;
	ListCell   *lc;

	foreach(lc, flo_tables_covered(choice))
		wishes = wish_table(wishes, lfirst_oid(lc), options);
	return wishes;
}

/* --- publications -------------------------------------------------------- */

/* "TABLE ONLY a, ONLY b", or nothing for an empty list */
static void
append_tables(StringInfo command, const char *lead, const List *relations)
{
	ListCell   *lc;

	if (relations == NIL)
		return;

	appendStringInfoString(command, lead);
	foreach(lc, relations)
		appendStringInfo(command, "%sONLY %s", lc == list_head(relations) ? " " : ", ",
						 flo_tables_name(lfirst_oid(lc)));
}

static const char *
on_off(bool value)
{
	return value ? "true" : "false";
}

static void
create_publication(const char *name, const char *publish, bool via_root, const List *relations)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfo(&command, "CREATE PUBLICATION %s", quote_identifier(name));
	append_tables(&command, " FOR TABLE", relations);
	appendStringInfo(&command, " WITH (publish = '%s', publish_via_partition_root = %s"
					 FLO_PUBLISH_GENERATED ")",
					 publish, on_off(via_root));
	flo_publication_execute(command.data);
	pfree(command.data);
}

static void
refuse_keyless(const List *keyless)
{
	char	   *lack = NULL;
	ListCell   *lc;

	foreach(lc, keyless)
	{
		if (lack == NULL)
			lack = flo_identity_lack(lfirst_oid(lc));
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_plural("table %s has no usable replica identity",
						   "tables have no usable replica identity: %s",
						   list_length(keyless), names_of(keyless)),
			 lack != NULL ? errdetail("%c%s.", pg_toupper((unsigned char) lack[0]), lack + 1) : 0,
			 errhint("Add a primary key or set a replica identity, the same for a partitioned table "
					 "and its partitions, or choose with the option keyless_tables: full, insert_only or skip.")));
}

/*
 * Tables without a key get one, or are sorted out, before any is listed: from then
 * on an UPDATE of a table that has none would be an error in the application.  The
 * second publication is made without tables as well: others may join it.
 */
void
flo_publication_create(const char *group, const FloTableOids *choice,
					   const FloReplicatorOptions *options)
{
	List	   *publish = NIL;
	List	   *keyless = NIL;
	List	   *only_inserts = NIL;
	ListCell   *lc;

	foreach(lc, flo_tables_covered(choice))
	{
		if (flo_tables_have_identity(lfirst_oid(lc), options->publish_via_partition_root))
			publish = lappend_oid(publish, lfirst_oid(lc));
		else
			keyless = lappend_oid(keyless, lfirst_oid(lc));
	}

	if (keyless != NIL)
	{
		switch (options->keyless_tables)
		{
			case FLO_KEYLESS_REFUSE:
				refuse_keyless(keyless);
				break;
			case FLO_KEYLESS_FULL:
				foreach(lc, keyless)
					flo_identity_set_full(group, lfirst_oid(lc),
										  options->publish_via_partition_root);
				publish = list_concat(publish, keyless);
				break;
			case FLO_KEYLESS_INSERT_ONLY:
				only_inserts = keyless;
				break;
			case FLO_KEYLESS_SKIP:
				ereport(NOTICE,
						(errmsg("not replicated because they have no usable replica identity: %s",
								names_of(keyless))));
				break;
		}
	}

	if (publish == NIL && only_inserts == NIL && !choice->all && choice->schemas == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no table is left to replicate")));

	create_publication(flo_name_publication(group), "insert, update, delete, truncate",
					   options->publish_via_partition_root, publish);
	if (options->keyless_tables == FLO_KEYLESS_INSERT_ONLY)
		create_publication(flo_name_insert_publication(group), "insert",
						   options->publish_via_partition_root, only_inserts);
}

bool
flo_publication_sends(const char *group, Oid relation)
{
	ListCell   *lc;

	if (flo_publication_has_table(group, relation))
		return true;
	if (!get_rel_relispartition(relation))
		return false;
	foreach(lc, get_partition_ancestors(relation))
	{
		if (flo_publication_has_table(group, lfirst_oid(lc)))
			return true;
	}
	return false;
}

bool
flo_publication_admits(Oid relation, const FloReplicatorOptions *options)
{
	return options->keyless_tables == FLO_KEYLESS_FULL ||
		options->keyless_tables == FLO_KEYLESS_INSERT_ONLY ||
		flo_tables_have_identity(relation, options->publish_via_partition_root);
}

void
flo_publication_add_table(const char *group, Oid relation,
						  const FloReplicatorOptions *options)
{
	const char *publication = flo_name_publication(group);

	flo_lock_all(wish_publication(wish_publication(wish_table(NIL, relation, options), publication),
								  flo_name_insert_publication(group)));
	if (!flo_tables_have_identity(relation, options->publish_via_partition_root))
	{
		switch (options->keyless_tables)
		{
			case FLO_KEYLESS_REFUSE:
			case FLO_KEYLESS_SKIP:
				refuse_keyless(list_make1_oid(relation));
				break;
			case FLO_KEYLESS_FULL:
				flo_identity_set_full(group, relation, options->publish_via_partition_root);
				break;
			case FLO_KEYLESS_INSERT_ONLY:
				publication = flo_name_insert_publication(group);
				break;
		}
	}

	flo_publication_execute(psprintf("ALTER PUBLICATION %s ADD TABLE ONLY %s",
									 quote_identifier(publication), flo_tables_name(relation)));
	flo_fence_cover(group, FLO_FENCE_SOURCE, relation);
}

void
flo_publication_remake(const char *group)
{
	FloReplicatorSpec *spec = flo_store_replicator(group);
	FloTableOids choice;

	if (flo_publication_names(group) != NIL)
		return;
	flo_choice_look_up(flo_store_table_choice(group), &choice);
	flo_lock_all(flo_publication_wishes(&choice, &spec->options));
	flo_publication_create(group, &choice, &spec->options);
}

List *
flo_publication_names(const char *group)
{
	List	   *names = NIL;
	char	   *name = flo_name_publication(group);

	if (OidIsValid(get_publication_oid(name, true)))
		names = lappend(names, name);
	name = flo_name_insert_publication(group);
	if (OidIsValid(get_publication_oid(name, true)))
		names = lappend(names, name);

	return names;
}

/* Published as their root or not, partitions need other identities */
static void
refuse_changed_identities(const char *name, bool via_root)
{
	Oid			publication = get_publication_oid(name, true);
	List	   *keyless = NIL;
	ListCell   *lc;

	if (!OidIsValid(publication))
		return;
	foreach(lc, flo_compat_published(publication))
	{
		if (!flo_tables_have_identity(lfirst_oid(lc), via_root))
			keyless = lappend_oid(keyless, lfirst_oid(lc));
	}
	if (keyless != NIL)
		refuse_keyless(keyless);
}

void
flo_publication_alter(const char *group, const FloReplicatorOptions *before,
					  const FloReplicatorOptions *after)
{
	ListCell   *lc;

	if (after->keyless_tables == FLO_KEYLESS_INSERT_ONLY &&
		!OidIsValid(get_publication_oid(flo_name_insert_publication(group), true)))
		create_publication(flo_name_insert_publication(group), "insert",
						   after->publish_via_partition_root, NIL);

	if (before->publish_via_partition_root == after->publish_via_partition_root)
		return;
	refuse_changed_identities(flo_name_publication(group), after->publish_via_partition_root);
	foreach(lc, flo_publication_names(group))
		flo_publication_execute(psprintf("ALTER PUBLICATION %s SET (publish_via_partition_root = %s)",
										 quote_identifier(lfirst(lc)),
										 on_off(after->publish_via_partition_root)));
}

/* --- undoing ------------------------------------------------------------- */

/*
 * What is needed to give those of these tables (NIL: all) their identities
 * back, and for the publications
 */
static void
lock_for_undoing(const char *group, const List *tables, List *wishes)
{
	ListCell   *lc;

	foreach(lc, flo_store_full_identities(group))
	{
		FloFullIdentity *identity = lfirst(lc);

		if (tables == NIL || list_member_oid(tables, identity->relation))
			wishes = flo_identity_wish_restore(wishes, identity);
	}
	foreach(lc, flo_publication_names(group))
		wishes = wish_publication(wishes, lfirst(lc));
	flo_lock_all(wishes);
}

void
flo_publication_remove_table(const char *group, Oid relation)
{
	ListCell   *lc;
	List	   *parts = flo_tables_with_partitions(relation);

	lock_for_undoing(group, parts, flo_lock_wish_relation(NIL, relation, ShareUpdateExclusiveLock));
	foreach(lc, flo_publication_names(group))
	{
		if (flo_publication_lists(lfirst(lc), relation))
			flo_publication_execute(psprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s",
											 quote_identifier(lfirst(lc)),
											 flo_tables_name(relation)));
	}

	foreach(lc, flo_store_full_identities(group))
	{
		FloFullIdentity *identity = lfirst(lc);

		if (list_member_oid(parts, identity->relation))
			flo_identity_restore(group, identity);
	}
}

void
flo_publication_prepare_drop(const char *group)
{
	lock_for_undoing(group, NIL, NIL);
}

void
flo_publication_drop(const char *group)
{
	ListCell   *lc;

	foreach(lc, flo_publication_names(group))
		flo_publication_execute(psprintf("DROP PUBLICATION %s", quote_identifier(lfirst(lc))));

	foreach(lc, flo_store_full_identities(group))
		flo_identity_restore(group, lfirst(lc));
}
