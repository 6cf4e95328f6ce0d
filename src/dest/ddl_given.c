/*
 * ddl_given.c
 *		Gives what a statement has made here the names that it has at the source.
 *
 * The server names what a statement only implies, after what there is in the
 * schema.  A destination that has less, or other things, comes to other names,
 * and the next statement that uses one would miss or, worse, hit something
 * else.  So the source tells afterwards what is called how; here that is found
 * by what it belongs to, its columns and its definition.
 *
 * Awkward cases.  Partitions that are not here have nothing to be named; those
 * that are only here keep what the server called theirs, and make room where
 * that is in the way.  What was there before the statement counts as what it
 * would have made only when its definition is the same.  Names may have to
 * change places, which takes a third one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "conf/given_names.h"
#include "core/as_role.h"
#include "core/error_context.h"
#include "dest/ddl_apply.h"
#include "dest/ddl_given.h"
#include "dest/ddl_known.h"
#include "mb/pg_wchar.h"
#include "nodes/parsenodes.h"
#include "parser/scansup.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define NOT_NULL 'n'			/* as pg_constraint has it; older servers have
								 * no word for it */

/* --- statements whose names are to come ---------------------------------- */

typedef struct Expected
{
	int64		id;
	int64		entry;
	bool		bounded;
	List	   *made;			/* of ObjectAddress * */
} Expected;

/* Of the transaction they are from, and in its memory */
static List *expected = NIL;
static FullTransactionId expected_in;

void
flo_ddl_expect_names(const FloDdlStatement *ddl, int64 entry, const List *made, bool bounded)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Expected   *one = palloc0(sizeof(Expected));
	ListCell   *cell;

	one->id = ddl->id;
	one->entry = entry;
	one->bounded = bounded;
	foreach(cell, made)
	{
		ObjectAddress *object = palloc(sizeof(ObjectAddress));

		*object = *(ObjectAddress *) lfirst(cell);
		one->made = lappend(one->made, object);
	}
	if (!FullTransactionIdEquals(expected_in, GetTopFullTransactionId()))
		expected = NIL;
	expected_in = GetTopFullTransactionId();
	expected = lcons(one, expected);
	MemoryContextSwitchTo(old);
}

static const Expected *
find_expected(int64 id)
{
	ListCell   *cell;

	if (!FullTransactionIdEquals(expected_in, GetTopFullTransactionIdIfAny()))
		return NULL;
	foreach(cell, expected)
	{
		if (((Expected *) lfirst(cell))->id == id)
			return lfirst(cell);
	}
	return NULL;
}

/* --- what is to be named ------------------------------------------------- */

/* Something here that may be meant */
typedef struct Candidate
{
	FloNamedThing *thing;
	int			made;			/* place among what the statement has made; -1
								 * = was there before */
	bool		taken;
} Candidate;

/* A table or type, and what it has */
typedef struct Whole
{
	ObjectAddress object;
	List	   *candidates;		/* of Candidate * */
} Whole;

/* A name of the source */
typedef struct Wanted
{
	const FloNamed *named;
	char	   *name;			/* as this server would read it */
	const Whole *whole;
	Oid			to;
	List	   *columns;		/* of char *, as they are called here */
	Candidate  *found;
} Wanted;

typedef struct Naming
{
	const FloDdlPlace *place;
	const Expected *statement;
	FloWorkerRules *routes;
	List	   *wholes;			/* of Whole * */
	List	   *wanted;			/* of Wanted * */
	List	   *names;			/* for flo.ddl_log, of char * */
	StringInfoData detail;
} Naming;

static bool
is_same(const ObjectAddress *one, const ObjectAddress *other)
{
	return one->classId == other->classId && one->objectId == other->objectId;
}

static int
order_made(const Naming *naming, const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, naming->statement->made)
	{
		if (is_same(lfirst(cell), object))
			return foreach_current_index(cell);
	}
	return -1;
}

/* What was made comes first, in order */
static int
compare_candidates(const ListCell *a, const ListCell *b)
{
	uint32		one = ((Candidate *) lfirst(a))->made;
	uint32		other = ((Candidate *) lfirst(b))->made;

	return (one > other) - (one < other);
}

static List *
candidates_of(const Naming *naming, const ObjectAddress *whole)
{
	List	   *candidates = NIL;
	ListCell   *cell;

	foreach(cell, flo_given_names_of(whole))
	{
		Candidate  *candidate = palloc0(sizeof(Candidate));

		candidate->thing = lfirst(cell);
		candidate->made = order_made(naming, &candidate->thing->object);
		candidates = lappend(candidates, candidate);
	}
	list_sort(candidates, compare_candidates);
	return candidates;
}

static const Whole *
whole_of(Naming *naming, const ObjectAddress *object)
{
	Whole	   *whole;
	ListCell   *cell;

	foreach(cell, naming->wholes)
	{
		if (is_same(&((Whole *) lfirst(cell))->object, object))
			return lfirst(cell);
	}
	if (object->classId == RelationRelationId)
		LockRelationOid(object->objectId, AccessShareLock);
	whole = palloc0(sizeof(Whole));
	whole->object = *object;
	whole->candidates = candidates_of(naming, object);
	naming->wholes = lcons(whole, naming->wholes);
	return whole;
}

/* What the name belongs to, here; false when there is no such thing */
static bool
find_whole(const Naming *naming, const FloNamed *named, ObjectAddress *object)
{
	Oid			schema;

	if (OidIsValid(named->relation))
		ObjectAddressSet(*object, RelationRelationId,
						 flo_worker_rules_table(naming->routes, named->schema, named->of));
	else
	{
		schema = get_namespace_oid(named->schema, true);
		ObjectAddressSet(*object, TypeRelationId,
						 GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										 CStringGetDatum(named->of), ObjectIdGetDatum(schema)));
	}
	return OidIsValid(object->objectId);
}

/* Columns as they are called here; false when one is left out */
static bool
map_columns(const Naming *naming, Wanted *wanted)
{
	const FloNamed *named = wanted->named;
	ListCell   *cell;

	foreach(cell, named->columns)
	{
		const char *column = lfirst(cell);

		if (OidIsValid(named->relation) && column[0] != '\0')
			column = flo_worker_rules_column(naming->routes, named->schema, named->of, column);
		if (column == NULL)
			return false;
		wanted->columns = lappend(wanted->columns, pstrdup(column));
	}
	return true;
}

static void
add_wanted(Naming *naming, const FloNamed *named)
{
	Wanted	   *wanted = palloc0(sizeof(Wanted));
	ObjectAddress object;

	wanted->named = named;
	wanted->name = pstrdup(named->name);
	truncate_identifier(wanted->name, strlen(wanted->name), false);
	if (!find_whole(naming, named, &object) || !map_columns(naming, wanted))
		return;
	if (named->to_table != NULL && named->to_schema != NULL)
	{
		wanted->to = flo_worker_rules_table(naming->routes, named->to_schema, named->to_table);
		if (!OidIsValid(wanted->to))
			return;
	}
	wanted->whole = whole_of(naming, &object);
	naming->wanted = lappend(naming->wanted, wanted);
}

/* --- which one is meant -------------------------------------------------- */

static bool
is_among(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* Those of statistics are a set: the server orders them as the table has them */
static bool
same_columns(FloNamedKind kind, const List *one, const List *other)
{
	ListCell   *a;
	ListCell   *b;

	if (list_length(one) != list_length(other))
		return false;
	forboth(a, one, b, other)
	{
		if (kind == FLO_NAMED_STATISTICS ? !is_among(other, lfirst(a)) :
			strcmp(lfirst(a), lfirst(b)) != 0)
			return false;
	}
	return true;
}

static bool
fits(const Wanted *wanted, const Candidate *candidate)
{
	const FloNamed *named = &candidate->thing->named;

	return !candidate->taken && named->kind == wanted->named->kind &&
		candidate->thing->to == wanted->to &&
		strcmp(named->trait, wanted->named->trait) == 0 &&
		same_columns(named->kind, named->columns, wanted->columns);
}

static bool
is_alike(const Wanted *one, const Wanted *other)
{
	return one->whole == other->whole && one->named->kind == other->named->kind &&
		one->to == other->to &&
		strcmp(one->named->trait, other->named->trait) == 0 &&
		same_columns(one->named->kind, one->columns, other->columns);
}

static bool
same_definition(const Wanted *wanted, const Candidate *candidate)
{
	const char *definition = candidate->thing->named.definition;

	if (definition == NULL || wanted->named->definition == NULL)
		return definition == wanted->named->definition;
	return strcmp(definition, wanted->named->definition) == 0;
}

static void
take(Wanted *wanted, Candidate *candidate)
{
	wanted->found = candidate;
	candidate->taken = true;
}

/*
 * As many as there are names left for things like them: in order, whatever the
 * definitions look like here
 */
static bool
are_as_many(const Naming *naming, const Wanted *wanted)
{
	int			count = 0;
	ListCell   *cell;

	foreach(cell, wanted->whole->candidates)
		count += ((Candidate *) lfirst(cell))->made >= 0 && fits(wanted, lfirst(cell));
	foreach(cell, naming->wanted)
		count -= ((Wanted *) lfirst(cell))->found == NULL && is_alike(wanted, lfirst(cell));
	return count == 0;
}

/* Was it there before, is the group's, and nothing that the source has named? */
static bool
may_be_taken(const Naming *naming, const Wanted *wanted, const Candidate *candidate)
{
	const FloNamed *named = wanted->named;

	return (!naming->statement->bounded ||
			flo_ddl_may_change(naming->place->group, &candidate->thing->object, NIL)) &&
		!flo_ddl_was_made(naming->place, named->schema,
						  named->kind == FLO_NAMED_CONSTRAINT ? named->of : NULL,
						  candidate->thing->named.name);
}

typedef enum Pass
{
	MADE_AND_CALLED_SO,
	MADE_ALIKE,
	CALLED_SO,
	MADE_IN_ORDER,
	THERE_ALIKE,
	NPASSES
} Pass;

static bool
is_meant(const Naming *naming, Pass pass, const Wanted *wanted, const Candidate *candidate)
{
	bool		made = candidate->made >= 0;
	bool		called_so = strcmp(candidate->thing->named.name, wanted->name) == 0;

	switch (pass)
	{
		case MADE_AND_CALLED_SO:
			return made && called_so && same_definition(wanted, candidate);
		case MADE_ALIKE:
			return made && same_definition(wanted, candidate);
		case CALLED_SO:
			return !made && called_so;
		case MADE_IN_ORDER:
			return made && are_as_many(naming, wanted);
		default:
			return !made && same_definition(wanted, candidate) &&
				may_be_taken(naming, wanted, candidate);
	}
}

static void
find_meant(Naming *naming)
{
	ListCell   *cell;
	ListCell   *one;

	for (Pass pass = 0; pass < NPASSES; pass++)
		foreach(cell, naming->wanted)
	{
		Wanted	   *wanted = lfirst(cell);

		if (wanted->found == NULL)
			foreach(one, wanted->whole->candidates)
		{
			if (fits(wanted, lfirst(one)) && is_meant(naming, pass, wanted, lfirst(one)))
			{
				take(wanted, lfirst(one));
				break;
			}
		}
	}
}

/* --- giving a name ------------------------------------------------------- */

static bool
constraint_is(Oid constraint, bool (*is) (Form_pg_constraint))
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	bool		result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = is((Form_pg_constraint) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	return result;
}

/* One that has its name from the parent's, by which the server knows that they belong together */
static bool
is_inherited(Form_pg_constraint form)
{
	return form->coninhcount > 0 &&
		(form->contype == CONSTRAINT_CHECK || form->contype == NOT_NULL);
}

/* One that nobody has asked for by itself */
static bool
is_implied(Form_pg_constraint form)
{
	return OidIsValid(form->conparentid) || form->contype == NOT_NULL;
}

static Oid
constraint_called(const FloNamedThing *thing, const char *name)
{
	return thing->whole.classId == TypeRelationId ?
		get_domain_constraint_oid(thing->whole.objectId, name, true) :
		get_relation_constraint_oid(thing->whole.objectId, name, true);
}

/* The statistics object of a name in the schema of another; 0 = none */
static Oid
statistics_called(Oid like, const char *name, HeapTuple *tuple)
{
	Oid			schema;

	*tuple = SearchSysCacheCopy1(STATEXTOID, ObjectIdGetDatum(like));
	if (!HeapTupleIsValid(*tuple))
		elog(ERROR, "cache lookup failed for statistics object %u", like);
	schema = ((Form_pg_statistic_ext) GETSTRUCT(*tuple))->stxnamespace;
	return GetSysCacheOid2(STATEXTNAMENSP, Anum_pg_statistic_ext_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(schema));
}

/* A name that is an array type's, the server takes from it */
static Oid
type_called(const char *name, Oid schema)
{
	Oid			type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
									   ObjectIdGetDatum(schema));
	Oid			element = OidIsValid(type) ? get_element_type(type) : InvalidOid;

	return OidIsValid(element) && get_array_type(element) == type ? InvalidOid : type;
}

static Oid
schema_of_type(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Oid			schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);
	return schema;
}

/* What has a name that the thing is to have; false when nothing has */
static bool
holder_of(const FloNamedThing *thing, const char *name, ObjectAddress *holder)
{
	Oid			id = thing->object.objectId;
	HeapTuple	tuple;
	Oid			class = thing->object.classId;
	Oid			found;

	switch (thing->named.kind)
	{
		case FLO_NAMED_INDEX:
		case FLO_NAMED_SEQUENCE:
			found = get_relname_relid(name, get_rel_namespace(id));
			if (!OidIsValid(found) && OidIsValid(get_index_constraint(id)))
			{
				class = ConstraintRelationId;
				found = constraint_called(thing, name);
			}
			break;
		case FLO_NAMED_CONSTRAINT:
			found = constraint_called(thing, name);
			break;
		case FLO_NAMED_STATISTICS:
			found = statistics_called(id, name, &tuple);
			break;
		default:
			found = type_called(name, schema_of_type(id));
			break;
	}
	/* a constraint with an index is called like that */
	if (class == ConstraintRelationId && OidIsValid(found) &&
		OidIsValid(get_constraint_index(found)) &&
		get_index_constraint(get_constraint_index(found)) == found)
	{
		class = RelationRelationId;
		found = get_constraint_index(found);
	}
	ObjectAddressSet(*holder, class, found);
	return OidIsValid(found);
}

static void
rename_statistics(Oid statistics, const char *name)
{
	Relation	catalog = table_open(StatisticExtRelationId, RowExclusiveLock);
	HeapTuple	tuple;

	(void) statistics_called(statistics, name, &tuple);
	namestrcpy(&((Form_pg_statistic_ext) GETSTRUCT(tuple))->stxname, name);
	CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
	table_close(catalog, RowExclusiveLock);
}

/* Children have it by the same name */
static void
rename_constraint(const FloNamedThing *thing, const char *from, const char *name)
{
	ListCell   *cell;

	RenameConstraintById(thing->object.objectId, name);
	if (thing->whole.classId != RelationRelationId)
		return;
	CacheInvalidateRelcacheByRelid(thing->whole.objectId);
	if (thing->named.trait[0] != CONSTRAINT_CHECK && thing->named.trait[0] != NOT_NULL)
		return;
	foreach(cell, find_all_inheritors(thing->whole.objectId, AccessExclusiveLock, NULL))
	{
		Oid			constraint = get_relation_constraint_oid(lfirst_oid(cell), from, true);

		if (lfirst_oid(cell) == thing->whole.objectId || !OidIsValid(constraint) ||
			!constraint_is(constraint, is_inherited))
			continue;
		RenameConstraintById(constraint, name);
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
	}
}

static char *
name_now(const FloNamedThing *thing)
{
	FloNamedThing *now = flo_given_name(&thing->object);

	if (now == NULL)
		elog(ERROR, "lost what is called \"%s\"", thing->named.name);
	return now->named.name;
}

static void
rename_thing(const FloNamedThing *thing, const char *name)
{
	Oid			id = thing->object.objectId;

	switch (thing->named.kind)
	{
		case FLO_NAMED_INDEX:
			RenameRelationInternal(id, name, true, true);
			break;
		case FLO_NAMED_SEQUENCE:
			RenameRelationInternal(id, name, true, false);
			break;
		case FLO_NAMED_CONSTRAINT:
			rename_constraint(thing, name_now(thing), name);
			break;
		case FLO_NAMED_ARRAY:
			RenameTypeInternal(id, name, schema_of_type(id));
			break;
		case FLO_NAMED_STATISTICS:
			rename_statistics(id, name);
			break;
	}
	CommandCounterIncrement();
}

/* --- making room --------------------------------------------------------- */

/* A name that nothing has */
static char *
spare_name(const FloNamedThing *thing, const char *like)
{
	ObjectAddress holder;

	for (int i = 1;; i++)
	{
		char	   *end = psprintf("_here%d", i);
		char	   *name = psprintf("%.*s%s",
									pg_mbcliplen(like, strlen(like), NAMEDATALEN - 1 - strlen(end)),
									like, end);

		if (!holder_of(thing, name, &holder))
			return name;
	}
}

/*
 * Did it only arise on a partition or from a column of the group's, so that
 * nothing of the source's is about it?
 */
static bool
may_make_room(const Naming *naming, const FloNamedThing *thing)
{
	bool		implied = thing->named.kind == FLO_NAMED_INDEX ?
		get_rel_relispartition(thing->object.objectId) :
		thing->named.kind == FLO_NAMED_CONSTRAINT &&
		constraint_is(thing->object.objectId, is_implied);

	return implied &&
		(!naming->statement->bounded ||
		 flo_ddl_may_change(naming->place->group, &thing->whole, NIL)) &&
		!flo_ddl_was_made(naming->place, thing->named.schema,
						  thing->named.kind == FLO_NAMED_CONSTRAINT ? thing->named.of : NULL,
						  thing->named.name);
}

static bool
is_wanted(const Naming *naming, const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, naming->wanted)
	{
		const Wanted *wanted = lfirst(cell);

		if (wanted->found != NULL && is_same(&wanted->found->thing->object, object) &&
			strcmp(name_now(wanted->found->thing), wanted->name) != 0)
			return true;
	}
	return false;
}

pg_noreturn static void
refuse_taken(const Wanted *wanted, const ObjectAddress *holder)
{
	bool		relation = holder->classId == RelationRelationId;

	ereport(ERROR,
			(errcode(relation ? ERRCODE_DUPLICATE_TABLE : ERRCODE_DUPLICATE_OBJECT),
			 errmsg("the name \"%s\", which %s has at the source, is taken here by %s",
					wanted->name,
					getObjectDescription(&wanted->found->thing->object, false),
					getObjectDescription(holder, false)),
			 errhint("Rename what has it, or drop it; then it goes on by itself.")));
}

/* What has a name that is wanted gets another one, for now or for good */
static void
make_room(const Naming *naming, const Wanted *wanted, const ObjectAddress *holder)
{
	FloNamedThing *thing;

	thing = flo_given_name(holder);
	if (thing == NULL || !(is_wanted(naming, holder) || may_make_room(naming, thing)))
		refuse_taken(wanted, holder);
	rename_thing(thing, spare_name(thing, thing->named.name));
}

/* --- what was there before ----------------------------------------------- */

static const char *
kind_name(const FloNamed *named)
{
	return named->kind == FLO_NAMED_INDEX ? "index" : named->kind == FLO_NAMED_CONSTRAINT ?
		"constraint" :
		named->kind == FLO_NAMED_SEQUENCE ? "sequence" : "statistics";
}

static void
add_detail(Naming *naming, const char *text)
{
	appendStringInfo(&naming->detail, "%s%s", naming->detail.len > 0 ? "; " : "", text);
}

static const Candidate *
candidate_that_is(const Whole *whole, const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, whole->candidates)
	{
		if (is_same(&((Candidate *) lfirst(cell))->thing->object, object))
			return lfirst(cell);
	}
	return NULL;
}

/*
 * Has just the like of what was made the name already?  Then it was not to be
 * made a second time: somebody had prepared it, or routes lead two tables to this.
 */
static bool
is_double(const Wanted *wanted, const ObjectAddress *holder)
{
	const FloNamedThing *made = wanted->found->thing;
	const Candidate *there = candidate_that_is(wanted->whole, holder);

	if (wanted->found->made < 0 || there == NULL || there->made >= 0 || !fits(wanted, there))
		return false;
	if (made->named.kind == FLO_NAMED_INDEX ? get_rel_relispartition(made->object.objectId) :
		made->named.kind != FLO_NAMED_CONSTRAINT ||
		constraint_is(made->object.objectId, is_implied))
		return false;
	return made->named.definition != NULL && there->thing->named.definition != NULL &&
		strcmp(made->named.definition, there->thing->named.definition) == 0;
}

static void
drop_double(const FloNamedThing *thing)
{
	Oid			id = thing->object.objectId;
	bool		index = thing->named.kind == FLO_NAMED_INDEX;
	AlterTableCmd *command = makeNode(AlterTableCmd);

	/* of a table, as its children have it, too */
	if ((!index || OidIsValid(get_index_constraint(id))) &&
		thing->whole.classId == RelationRelationId)
	{
		command->subtype = AT_DropConstraint;
		command->name = name_now(thing);
		command->behavior = DROP_RESTRICT;
		AlterTableInternal(thing->whole.objectId, list_make1(command), true);
	}
	else
		performDeletion(&thing->object, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	CommandCounterIncrement();
}

static bool
has_name(const Wanted *wanted)
{
	const FloNamedThing *thing = wanted->found->thing;

	/* it goes with its parent's */
	if (thing->named.kind == FLO_NAMED_CONSTRAINT &&
		constraint_is(thing->object.objectId, is_inherited))
		return true;
	return strcmp(name_now(thing), wanted->name) == 0;
}

static void
give_name(Naming *naming, const Wanted *wanted)
{
	const FloNamedThing *thing = wanted->found->thing;
	ObjectAddress holder;

	/* gone with what was made twice, or right */
	if (flo_given_name(&thing->object) == NULL || has_name(wanted))
		return;
	if (!holder_of(thing, wanted->name, &holder))
		rename_thing(thing, wanted->name);
	else if (is_double(wanted, &holder))
	{
		drop_double(thing);
		add_detail(naming,
				   psprintf("%s \"%s\" exists already", kind_name(wanted->named), wanted->name));
	}
	else
	{
		make_room(naming, wanted, &holder);
		rename_thing(thing, wanted->name);
	}
}

/* --- telling ------------------------------------------------------------- */

static void
tell(Naming *naming, const Wanted *wanted)
{
	const FloNamed *named = wanted->named;
	bool		in_table = named->kind == FLO_NAMED_CONSTRAINT;

	if (wanted->found == NULL || named->kind == FLO_NAMED_ARRAY)
		return;
	if (wanted->found->made < 0 && strcmp(wanted->found->thing->named.name, wanted->name) != 0)
		add_detail(naming,
				   psprintf("%s \"%s\" is called \"%s\" now, as at the source", kind_name(named),
							wanted->found->thing->named.name, wanted->name));
	naming->names = lappend(naming->names,
							flo_ddl_made_name(named->schema, in_table ? named->of : NULL,
											  named->name));
	if (named->kind == FLO_NAMED_INDEX && strlen(named->trait) == 1)
		naming->names = lappend(naming->names,
								flo_ddl_made_name(named->schema, named->of, named->name));
}

void
flo_ddl_give_names(const FloDdlPlace *place, const FloDdlStatement *ddl, FloWorkerRules *routes)
{
	Naming		naming = {
		.place = place,
		.statement = find_expected(ddl->id),
		.routes = routes
	};
	FloAsRole	as;
	ListCell   *cell;

	if (ddl->named == NIL || naming.statement == NULL)
		return;
	initStringInfo(&naming.detail);
	flo_error_context.operation = flo_ddl_shown(ddl);
	PushActiveSnapshot(GetTransactionSnapshot());
	flo_given_names_enter(&as);
	foreach(cell, ddl->named)
		add_wanted(&naming, lfirst(cell));
	find_meant(&naming);
	foreach(cell, naming.wanted)
	{
		if (((Wanted *) lfirst(cell))->found != NULL)
			give_name(&naming, lfirst(cell));
	}
	foreach(cell, naming.wanted)
		tell(&naming, lfirst(cell));
	flo_as_role_leave(&as);
	flo_ddl_note_made(naming.statement->entry, naming.names,
					  naming.detail.len > 0 ? naming.detail.data : NULL);
	PopActiveSnapshot();
	flo_error_context.operation = NULL;
}
