/*
 * naming.c
 *		Keeps the names of what was chosen, for dumps and for what is made anew.
 *
 * What the entries are is said by their OIDs (choice.h).  Their names are brought
 * up to date when a transaction ends that has renamed one of them; an entry whose
 * table or schema was dropped takes on the one that got its name; and a table left
 * out leaves behind the name that it had.  The latter holds at once: what the same
 * transaction makes under that name, and fills, must not leave the source.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/choice.h"
#include "conf/known.h"
#include "conf/naming.h"
#include "conf/publication.h"
#include "conf/tables.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

/* One of the three lists of a choice */
typedef struct Entries
{
	const char *group;
	const char *kind;			/* as in flo.chosen */
	List	   *entries;
} Entries;

static bool
is_schema(const Entries *list)
{
	return strcmp(list->kind, "schema") == 0;
}

static bool
is_exception(const Entries *list)
{
	return strcmp(list->kind, "except") == 0;
}

/* NULL when it is gone */
static const char *
name_now(const Entries *list, Oid object)
{
	if (!OidIsValid(object))
		return NULL;
	if (is_schema(list))
		return get_namespace_name(object);
	return get_rel_name(object) == NULL ? NULL : flo_tables_name(object);
}

static bool
has_entry(const Entries *list, Oid object)
{
	ListCell   *lc;

	foreach(lc, list->entries)
	{
		if (((FloChosen *) lfirst(lc))->object == object)
			return true;
	}
	return false;
}

static List *
parts_of(const char *name)
{
	return textToQualifiedNameList(cstring_to_text(name));
}

/*
 * In another schema, or one that is called otherwise now, a table is kept out
 * by the names it would have had
 */
static void
carry_former_names(const Entries *list, const char *old_name, const char *new_name)
{
	char	   *old_schema = strVal(linitial(parts_of(old_name)));
	char	   *new_schema = strVal(linitial(parts_of(new_name)));
	ListCell   *lc;

	if (strcmp(old_schema, new_schema) == 0)
		return;
	foreach(lc, list->entries)
	{
		const FloChosen *entry = lfirst(lc);
		List	   *parts = parts_of(entry->name);
		FloChosen	carried = {InvalidOid, NULL, true};

		if (!entry->former || strcmp(strVal(linitial(parts)), old_schema) != 0)
			continue;
		carried.name = (char *) quote_qualified_identifier(new_schema, strVal(llast(parts)));
		flo_store_add_chosen(list->group, list->kind, &carried);
	}
}

static void
rename_entry(const Entries *list, const FloChosen *entry, const char *name)
{
	FloChosen	before = {InvalidOid, entry->name, true};

	flo_store_rename_chosen(list->group, list->kind, entry, name);
	if (!is_exception(list))
		return;
	flo_store_add_chosen(list->group, list->kind, &before);
	carry_former_names(list, entry->name, name);
}

/* Is there something now that the name of an entry which is nothing else means? */
static void
renew_entry(const Entries *list, const FloChosen *entry)
{
	FloChosen	next = {InvalidOid, entry->name, false};

	if (entry->former && !is_exception(list))
		return;
	next.object = flo_choice_called(entry->name, is_schema(list));
	if (!OidIsValid(next.object) || has_entry(list, next.object) ||
		(is_exception(list) && flo_publication_has_table(list->group, next.object)))
		return;
	if (!entry->former)
		flo_store_retire_chosen(list->group, list->kind, entry);
	flo_store_add_chosen(list->group, list->kind, &next);
}

/* Those "about" what has changed */
static void
follow(const char *group, const char *kind, List *entries, const List *about)
{
	Entries		list = {group, kind, entries};
	ListCell   *lc;

	foreach(lc, about)
	{
		const FloChosen *entry = lfirst(lc);
		const char *name = name_now(&list, entry->object);

		if (name == NULL)
			renew_entry(&list, entry);
		else if (strcmp(name, entry->name) != 0)
			rename_entry(&list, entry, name);
	}
}

void
flo_naming_follow_exceptions(const List *replicators)
{
	ListCell   *lc;

	foreach(lc, replicators)
	{
		const FloKnownReplicator *replicator = lfirst(lc);

		if (!replicator->ours || replicator->choice->except_tables == NIL)
			continue;
		follow(replicator->choice->group, "except", replicator->choice->except_tables,
			   replicator->choice->except_tables);
		CommandCounterIncrement();
	}
}

void
flo_naming_follow(const List *replicators, const List *relations, bool schemas)
{
	ListCell   *lc;

	foreach(lc, replicators)
	{
		const FloTableChoice *choice = ((FloKnownReplicator *) lfirst(lc))->choice;
		List	   *tables = choice->tables;
		List	   *except = choice->except_tables;

		/* elsewhere names are all there is */
		if (!((FloKnownReplicator *) lfirst(lc))->ours)
			continue;
		if (!schemas)
		{
			tables = flo_choice_about(tables, relations);
			except = flo_choice_about(except, relations);
		}
		follow(choice->group, "table", choice->tables, tables);
		follow(choice->group, "schema", choice->schemas, choice->schemas);
		follow(choice->group, "except", choice->except_tables, except);
	}
}
