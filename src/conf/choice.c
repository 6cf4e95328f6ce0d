/*
 * choice.c
 *		Which tables a group's choice covers.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "conf/choice.h"
#include "conf/tables.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* Of more relations than this it is cheaper to look at every entry once */
#define MANY_RELATIONS 32

/* --- entries ------------------------------------------------------------- */

/* No privileges are asked for: these are the group's names, not the session's */
static Oid
table_called(const char *name)
{
	List	   *parts = textToQualifiedNameList(cstring_to_text(name));
	Oid			schema = get_namespace_oid(strVal(linitial(parts)), true);

	return OidIsValid(schema) ? get_relname_relid(strVal(llast(parts)), schema) : InvalidOid;
}

static bool
is_there(int cache, const FloChosen *entry)
{
	return OidIsValid(entry->object) &&
		SearchSysCacheExists1(cache, ObjectIdGetDatum(entry->object));
}

/* Each once: a group may have thousands of tables */
static List *
each_once(List *oids)
{
	list_sort(oids, list_oid_cmp);
	list_deduplicate_oid(oids);
	return oids;
}

static List *
tables_of(const List *entries)
{
	List	   *oids = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		const FloChosen *entry = lfirst(lc);
		Oid			relation = InvalidOid;

		if (is_there(RELOID, entry))
			relation = entry->object;
		else if (!entry->former)
			relation = table_called(entry->name);
		if (OidIsValid(relation))
			oids = lappend_oid(oids, relation);
	}
	return each_once(oids);
}

/* What is replicated already stays so, whatever it is called now */
static List *
exceptions_of(const FloTableChoice *choice)
{
	List	   *oids = NIL;
	ListCell   *lc;

	foreach(lc, choice->except_tables)
	{
		const FloChosen *entry = lfirst(lc);
		bool		there = is_there(RELOID, entry);
		Oid			relation = there ? entry->object : table_called(entry->name);

		if (OidIsValid(relation) && (there || !flo_publication_has_table(choice->group, relation)))
			oids = lappend_oid(oids, relation);
	}
	return each_once(oids);
}

static List *
schemas_of(const List *entries)
{
	List	   *oids = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		const FloChosen *entry = lfirst(lc);
		Oid			schema = InvalidOid;

		if (is_there(NAMESPACEOID, entry))
			schema = entry->object;
		else if (!entry->former)
			schema = get_namespace_oid(entry->name, true);
		if (OidIsValid(schema))
			oids = lappend_oid(oids, schema);
	}
	return each_once(oids);
}

/* Another version may have quoted a word that this one does not */
static bool
same_but_for_quotes(const char *a, const char *b)
{
	for (;;)
	{
		a += *a == '"';
		b += *b == '"';
		if (*a == '"' || *b == '"')
			continue;
		if (*a != *b)
			return false;
		if (*a == '\0')
			return true;
		a++;
		b++;
	}
}

List *
flo_choice_about(List *entries, const List *relations)
{
	List	   *names = NIL;
	List	   *found = NIL;
	ListCell   *lc;
	ListCell   *name;

	if (list_length(relations) > MANY_RELATIONS)
		return entries;
	foreach(lc, relations)
	{
		if (get_rel_name(lfirst_oid(lc)) != NULL)
			names = lappend(names, flo_tables_name(lfirst_oid(lc)));
	}
	foreach(lc, entries)
	{
		const FloChosen *entry = lfirst(lc);
		bool		about = list_member_oid(relations, entry->object);

		foreach(name, names)
			about = about || same_but_for_quotes(lfirst(name), entry->name);
		if (about)
			found = lappend(found, lfirst(lc));
	}
	return found;
}

Oid
flo_choice_called(const char *name, bool schema)
{
	return schema ? get_namespace_oid(name, true) : table_called(name);
}

bool
flo_schema_takes_all(const FloReplicatorOptions *options, const FloTableOids *covered)
{
	return options->schema_objects == FLO_SCHEMA_ALL ||
		(options->schema_objects == FLO_SCHEMA_BY_CHOICE &&
		 (covered->all || covered->schemas != NIL));
}

void
flo_choice_look_up(const FloTableChoice *choice, FloTableOids *oids)
{
	oids->all = choice->all;
	oids->tables = tables_of(choice->tables);
	oids->schemas = schemas_of(choice->schemas);
	oids->except_tables = exceptions_of(choice);
}

void
flo_choice_look_up_about(const FloTableChoice *choice, const List *relations, FloTableOids *oids)
{
	oids->all = choice->all;
	oids->tables = tables_of(flo_choice_about(choice->tables, relations));
	oids->schemas = schemas_of(choice->schemas);
	oids->except_tables = exceptions_of(choice);
}

static FloChosen *
make_entry(Oid object, const char *name, bool former)
{
	FloChosen  *entry = palloc(sizeof(FloChosen));

	entry->object = object;
	entry->name = pstrdup(name);
	entry->former = former;
	return entry;
}

FloChosen *
flo_choice_entry(Oid relation)
{
	return make_entry(relation, flo_tables_name(relation), false);
}

static List *
entries_of_tables(const List *relations)
{
	List	   *entries = NIL;
	ListCell   *lc;

	foreach(lc, relations)
		entries = lappend(entries, flo_choice_entry(lfirst_oid(lc)));
	return entries;
}

FloTableChoice *
flo_choice_make(const char *group, const FloTableOids *oids)
{
	FloTableChoice *choice = palloc0(sizeof(FloTableChoice));
	ListCell   *lc;

	choice->group = pstrdup(group);
	choice->all = oids->all;
	choice->tables = entries_of_tables(oids->tables);
	choice->except_tables = entries_of_tables(oids->except_tables);
	foreach(lc, oids->schemas)
		choice->schemas = lappend(choice->schemas,
								  make_entry(lfirst_oid(lc), get_namespace_name(lfirst_oid(lc)),
											 false));
	return choice;
}

static List *
copy_entries(const List *entries)
{
	List	   *copy = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		const FloChosen *entry = lfirst(lc);

		copy = lappend(copy, make_entry(entry->object, entry->name, entry->former));
	}
	return copy;
}

FloTableChoice *
flo_choice_copy(const FloTableChoice *choice)
{
	FloTableChoice *copy = palloc0(sizeof(FloTableChoice));

	copy->group = pstrdup(choice->group);
	copy->all = choice->all;
	copy->tables = copy_entries(choice->tables);
	copy->schemas = copy_entries(choice->schemas);
	copy->except_tables = copy_entries(choice->except_tables);
	return copy;
}

bool
flo_choice_is(const FloChosen *entry, Oid relation)
{
	return entry->object == relation ||
		(!is_there(RELOID, entry) && strcmp(entry->name, flo_tables_name(relation)) == 0);
}

bool
flo_choice_excepts_name(const FloTableChoice *choice, const char *schema, const char *name)
{
	const char *full;
	ListCell   *lc;

	if (choice->except_tables == NIL || schema == NULL)
		return false;
	full = quote_qualified_identifier(schema, name);
	foreach(lc, choice->except_tables)
	{
		if (strcmp(((FloChosen *) lfirst(lc))->name, full) == 0)
			return true;
	}
	return false;
}

bool
flo_choice_lists(const FloTableChoice *choice, Oid relation, const char *schema, const char *name)
{
	const char *full;
	ListCell   *lc;

	if (choice->tables == NIL || schema == NULL)
		return false;
	full = quote_qualified_identifier(schema, name);
	foreach(lc, choice->tables)
	{
		const FloChosen *entry = lfirst(lc);

		if ((OidIsValid(relation) && entry->object == relation) ||
			(!entry->former && strcmp(entry->name, full) == 0 && !is_there(RELOID, entry)))
			return true;
	}
	return false;
}

bool
flo_choice_has_schema(const FloTableChoice *choice, const char *schema)
{
	Oid			there;
	ListCell   *lc;

	if (choice->all)
		return true;
	if (choice->schemas == NIL || schema == NULL)
		return false;
	there = get_namespace_oid(schema, true);
	foreach(lc, choice->schemas)
	{
		const FloChosen *entry = lfirst(lc);

		if (OidIsValid(there) && (entry->object == there ||
								  (!entry->former && !is_there(NAMESPACEOID, entry) &&
								   strcmp(entry->name, schema) == 0)))
			return true;
		if (!OidIsValid(there) && strcmp(entry->name, schema) == 0)
			return true;
	}
	return false;
}

/* --- tables -------------------------------------------------------------- */

/* Is any of the table's ancestors in the list? */
static bool
ancestor_in(Oid relation, const List *list)
{
	ListCell   *lc;

	if (list == NIL || !get_rel_relispartition(relation))
		return false;

	foreach(lc, get_partition_ancestors(relation))
	{
		if (list_member_oid(list, lfirst_oid(lc)))
			return true;
	}

	return false;
}

bool
flo_tables_left_out(const FloTableOids *choice, Oid relation)
{
	return list_member_oid(choice->except_tables, relation) ||
		ancestor_in(relation, choice->except_tables);
}

bool
flo_choice_excepts(const FloTableChoice *choice, Oid relation)
{
	FloTableOids oids = {0};

	if (choice->except_tables == NIL)
		return false;
	oids.except_tables = exceptions_of(choice);
	return flo_tables_left_out(&oids, relation);
}

/* Covered by "all" or by a schema, disregarding partitioning */
static bool
covered_by_place(const FloTableOids *choice, Form_pg_class class)
{
	if (!flo_tables_is_kind(class->relkind) ||
		class->relpersistence != RELPERSISTENCE_PERMANENT)
		return false;
	if (!choice->all && !list_member_oid(choice->schemas, class->relnamespace))
		return false;

	return !flo_tables_of_system(class->oid, class->relnamespace);
}

static bool
covered_alone(const FloTableOids *choice, Oid relation)
{
	HeapTuple	tuple;
	bool		covered;

	if (flo_tables_left_out(choice, relation))
		return false;
	if (list_member_oid(choice->tables, relation))
		return true;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		return false;
	covered = covered_by_place(choice, (Form_pg_class) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);

	return covered;
}

bool
flo_tables_cover(const FloTableOids *choice, Oid relation)
{
	if (!covered_alone(choice, relation))
		return false;

	if (get_rel_relispartition(relation))
	{
		ListCell   *lc;

		foreach(lc, get_partition_ancestors(relation))
		{
			if (covered_alone(choice, lfirst_oid(lc)))
				return false;
		}
	}

	return true;
}

List *
flo_tables_covered(const FloTableOids *choice)
{
	List	   *candidates = list_copy(choice->tables);
	List	   *result = NIL;
	ListCell   *lc;

	if (choice->all || choice->schemas != NIL)
	{
		Relation	rel = table_open(RelationRelationId, AccessShareLock);
		SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
		HeapTuple	tuple;

		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

			if (covered_by_place(choice, class))
				candidates = lappend_oid(candidates, class->oid);
		}
		systable_endscan(scan);
		table_close(rel, AccessShareLock);
	}

	list_sort(candidates, list_oid_cmp);
	list_deduplicate_oid(candidates);

	foreach(lc, candidates)
	{
		CHECK_FOR_INTERRUPTS();
		if (flo_tables_cover(choice, lfirst_oid(lc)))
			result = lappend_oid(result, lfirst_oid(lc));
	}

	return result;
}
