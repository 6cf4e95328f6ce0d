/*
 * ddl_filter.c
 *		Which DDL statements concern a group.
 *
 * Decided while decoding, with the catalogs as they were just before the
 * statement: a table belongs to the group when it, or a partitioned table
 * above it, is in one of the group's publications.  What does not exist yet
 * belongs to it when its schema does, unless it takes the name of a table that
 * was left out.  A group with a table list is sent what
 * is done to these tables and what belongs to them (indexes, owned sequences,
 * constraints, comments, types their columns use); triggers, policies, rules,
 * views and functions only travel where a whole schema does.
 *
 * A statement's second message says how things are after it, when names and
 * membership may be others: it passes when the first one did.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/publication.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "wire/ddl.h"

#include "source/ddl_filter.h"

#define KEPT_MAX 64				/* statements within statements */

struct FloDdlFilter
{
	MemoryContext context;		/* of what is loaded */
	char	   *group;
	bool		track;
	bool		with_owner;
	bool		with_privileges;
	List	   *publications;	/* of char * */
	FloTableChoice *choice;

	List	   *first;			/* of FloChosen *: tables that destinations know without a statement */

	/* first phases that passed and wait for their second one; a ring */
	int64		kept[KEPT_MAX];
	int			nkept;
};

FloDdlFilter *
flo_ddl_filter_create(void)
{
	FloDdlFilter *filter = palloc0(sizeof(FloDdlFilter));

	filter->context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo DDL filter",
											ALLOCSET_SMALL_SIZES);
	return filter;
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

void
flo_ddl_filter_load(FloDdlFilter *filter, const FloReplicatorSpec *spec, const FloTableChoice *choice)
{
	List	   *publications = flo_publication_names(spec->group);
	MemoryContext old;

	MemoryContextReset(filter->context);
	old = MemoryContextSwitchTo(filter->context);
	filter->group = pstrdup(spec->group);
	filter->track = spec->track_ddl;
	filter->with_owner = spec->options.schema_owner;
	filter->with_privileges = spec->options.schema_privileges;
	filter->publications = copy_names(publications);
	filter->choice = flo_choice_copy(choice);
	filter->first = flo_store_first_tables(spec->group);
	MemoryContextSwitchTo(old);
}

static bool
is_listed(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

static bool
is_in_publications(FloDdlFilter *filter, Oid relation)
{
	List	   *publications = GetRelationPublications(relation);
	ListCell   *cell;

	foreach(cell, publications)
	{
		char	   *name = get_publication_name(lfirst_oid(cell), true);

		if (name != NULL && is_listed(filter->publications, name))
			return true;
	}
	return false;
}

static bool
is_published(FloDdlFilter *filter, Oid relation)
{
	ListCell   *cell;

	if (is_in_publications(filter, relation))
		return true;
	if (!get_rel_relispartition(relation))
		return false;
	foreach(cell, get_partition_ancestors(relation))
		if (is_in_publications(filter, lfirst_oid(cell)))
			return true;
	return false;
}

/* A table of the group's with a column of this type, 0 = there is none.  Tables depend on the types they use. */
static Oid
published_user_of(FloDdlFilter *filter, Oid type, int depth)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			used = InvalidOid;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TypeRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	while (!OidIsValid(used) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId)
			used = is_published(filter, form->objid) ? form->objid : InvalidOid;

		/* arrays of it, domains over it, composites with it */
		else if (form->classid == TypeRelationId && depth < 8)
			used = published_user_of(filter, form->objid, depth + 1);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return used;
}

static bool
is_excepted(FloDdlFilter *filter, const FloDdlObject *object)
{
	if (OidIsValid(object->relation) && flo_choice_excepts(filter->choice, object->relation))
		return true;
	return object->creates && flo_choice_excepts_name(filter->choice, object->schema, object->name);
}

static bool
is_covered(FloDdlFilter *filter, const FloDdlObject *object)
{
	if (is_excepted(filter, object))
		return false;
	if (flo_choice_has_schema(filter->choice, object->schema))
		return true;
	if (OidIsValid(object->relation) && !object->attached && is_published(filter, object->relation))
		return true;
	return OidIsValid(object->oid) && OidIsValid(published_user_of(filter, object->oid, 0));
}

static bool
is_first(FloDdlFilter *filter, Oid relation, const char *schema, const char *name)
{
	ListCell   *cell;

	if (!OidIsValid(relation) || schema == NULL || name == NULL)
		return false;
	foreach(cell, filter->first)
	{
		const FloChosen *table = lfirst(cell);

		if (table->object == relation)
			return strcmp(table->name, quote_qualified_identifier(schema, name)) == 0;
	}
	return false;
}

/*
 * Is the table that it is or belongs to, or that uses it, one that destinations
 * have under its name?  Others they know from the statement that made them.
 */
static void
note_member(FloDdlFilter *filter, FloDdlObject *object)
{
	Oid			user = OidIsValid(object->oid) ? published_user_of(filter, object->oid, 0) : InvalidOid;

	if (OidIsValid(user))
	{
		object->table_schema = get_namespace_name(get_rel_namespace(user));
		object->table_name = get_rel_name(user);
	}
	object->member = is_first(filter, OidIsValid(user) ? user : object->relation,
							  object->table_schema, object->table_name);
}

/*
 * Keep the objects that are the group's; those of a list are taken out one by
 * one.  What is done with a table left out (made, attached to one of the
 * group's) is not for others to know.
 */
static List *
covered_objects(FloDdlFilter *filter, const FloDdlStatement *ddl)
{
	List	   *covered = NIL;
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		FloDdlObject *object = lfirst(cell);

		object->member = false;
		if (is_covered(filter, object))
		{
			note_member(filter, object);
			object->leaves = object->new_schema != NULL && strcmp(object->new_schema, object->schema) != 0 &&
				strcmp(object->type, "schema") != 0 && !flo_choice_has_schema(filter->choice, object->new_schema);
			covered = lappend(covered, object);
		}
		else if (object->position < 0 && is_excepted(filter, object))
			return NIL;
		else if (object->position < 0)
			rest = lappend(rest, object);
	}
	return covered == NIL ? NIL : list_concat(covered, rest);
}

static bool
passed_before(FloDdlFilter *filter, int64 id)
{
	for (int i = 0; i < Min(filter->nkept, KEPT_MAX); i++)
		if (filter->kept[i] == id)
			return true;
	return false;
}

char *
flo_ddl_filter_apply(FloDdlFilter *filter, const char *payload, Size len)
{
	FloDdlStatement *ddl;
	ListCell   *cell;

	if (!filter->track)
		return NULL;
	ddl = flo_ddl_parse(pnstrdup(payload, len));
	if (ddl->phase == FLO_DDL_AFTER)
		return passed_before(filter, ddl->id) ? flo_ddl_format(ddl) : NULL;
	if ((ddl->about_owner && !filter->with_owner) ||
		(ddl->about_privileges && !filter->with_privileges))
		return NULL;
	ddl->objects = covered_objects(filter, ddl);
	if (ddl->objects == NIL)
		return NULL;
	foreach(cell, ddl->refers)
	{
		FloDdlObject *object = lfirst(cell);

		if (is_covered(filter, object))
			note_member(filter, object);
		else
			object->member = false;
	}
	ddl->with_owner = filter->with_owner;
	if (ddl->phase == FLO_DDL_BEFORE)
		filter->kept[filter->nkept++ % KEPT_MAX] = ddl->id;
	return flo_ddl_format(ddl);
}
