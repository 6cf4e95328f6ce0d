/*
 * given_names.c
 *		Things whose name the server may have chosen, and what tells them apart
 *		without it.
 *
 * A constraint with an index has the index's name, so only the index is told.
 * A table's row type has the table's name; the type of its arrays has one that
 * the server makes up.  Triggers of foreign keys are called after their OID and
 * are of no concern to anybody.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "conf/given_names.h"
#include "core/as_role.h"
#include "core/attempt.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* As pg_constraint has it; older servers have no word for it */
#define NOT_NULL 'n'

void
flo_given_names_enter(FloAsRole *as)
{
	flo_as_role_enter(as, GetUserId(), FLO_AS_ROLE_PLAIN);
	flo_as_role_set("search_path", "pg_catalog, pg_temp");
	flo_as_role_set("quote_all_identifiers", "off");
}

static FloNamedThing *
make_thing(const ObjectAddress *object, FloNamedKind kind, const char *name)
{
	FloNamedThing *thing = palloc0(sizeof(FloNamedThing));

	thing->object = *object;
	thing->named.kind = kind;
	thing->named.name = pstrdup(name);
	thing->named.trait = "";
	return thing;
}

/* False when that is gone */
static bool
belongs_to_relation(FloNamedThing *thing, Oid relation)
{
	char	   *name = OidIsValid(relation) ? get_rel_name(relation) : NULL;

	if (name == NULL)
		return false;
	ObjectAddressSet(thing->whole, RelationRelationId, relation);
	thing->named.relation = relation;
	thing->named.of = name;
	thing->named.schema = get_namespace_name(get_rel_namespace(relation));
	return thing->named.schema != NULL;
}

/* The row type of a table or view is that relation */
static bool
belongs_to_type(FloNamedThing *thing, Oid type)
{
	Oid			relation = get_typ_typrelid(type);
	HeapTuple	tuple;
	Form_pg_type form;

	if (OidIsValid(relation) && get_rel_relkind(relation) != RELKIND_COMPOSITE_TYPE)
		return belongs_to_relation(thing, relation);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_type) GETSTRUCT(tuple);
	ObjectAddressSet(thing->whole, TypeRelationId, type);
	thing->named.oid = type;
	thing->named.of = pstrdup(NameStr(form->typname));
	thing->named.schema = get_namespace_name(form->typnamespace);
	ReleaseSysCache(tuple);
	return thing->named.schema != NULL;
}

static List *
add_column(List *columns, Oid relation, AttrNumber number)
{
	char	   *name = number != InvalidAttrNumber ? get_attname(relation, number, true) : NULL;

	return lappend(columns, name != NULL ? name : pstrdup(""));
}

typedef struct Writing
{
	PGFunction	write;
	Oid			object;
	char	   *text;
} Writing;

static void
write_text(void *arg)
{
	Writing    *writing = arg;

	writing->text =
		TextDatumGetCString(DirectFunctionCall1(writing->write, ObjectIdGetDatum(writing->object)));
}

/*
 * What the server writes of an object; NULL when an expression is nested too
 * deep for that.  It could be made all the same, and nobody's statement is to fail
 * because of what we want to know of it.
 */
static char *
written_if_possible(PGFunction write, Oid object)
{
	Writing		writing = {write, object};
	ErrorData  *error = flo_attempt(write_text, &writing, false);

	if (error != NULL && error->sqlerrcode != ERRCODE_STATEMENT_TOO_COMPLEX)
		ReThrowError(error);
	return writing.text;
}

/* From its method on: what is before that has names in it */
static char *
definition_of_index(Relation index)
{
	char	   *text = written_if_possible(pg_get_indexdef, RelationGetRelid(index));
	char	   *name = psprintf(" INDEX %s ON ", quote_identifier(RelationGetRelationName(index)));
	Oid			table = index->rd_index->indrelid;
	char	   *of = psprintf("%s USING ", quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
																	  get_rel_name(table)));
	char	   *found = text != NULL ? strstr(text, name) : NULL;

	found = found != NULL ? strstr(found + strlen(name), of) : NULL;
	return found != NULL ? found + strlen(of) : text;
}

/* --- relations ----------------------------------------------------------- */

static FloNamedThing *
look_at_index(const ObjectAddress *object)
{
	Oid			constraint = get_index_constraint(object->objectId);
	Relation	index = relation_open(object->objectId, AccessShareLock);
	FloNamedThing *thing = make_thing(object, FLO_NAMED_INDEX, RelationGetRelationName(index));
	HeapTuple	tuple = OidIsValid(constraint) ?
		SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint)) : NULL;
	Oid			table = index->rd_index->indrelid;

	for (int i = 0; i < index->rd_index->indnatts; i++)
		thing->named.columns = add_column(thing->named.columns, table,
										  index->rd_index->indkey.values[i]);
	if (HeapTupleIsValid(tuple))
	{
		thing->named.trait = psprintf("%c", ((Form_pg_constraint) GETSTRUCT(tuple))->contype);
		thing->named.definition = written_if_possible(pg_get_constraintdef, constraint);
		ReleaseSysCache(tuple);
	}
	else
	{
		thing->named.trait = index->rd_index->indisunique ? "unique" : "";
		thing->named.definition = definition_of_index(index);
	}
	relation_close(index, AccessShareLock);
	return belongs_to_relation(thing, table) ? thing : NULL;
}

static FloNamedThing *
look_at_sequence(const ObjectAddress *object)
{
	char	   *name = get_rel_name(object->objectId);
	FloNamedThing *thing;
	Oid			table;
	int32		column;

	if (name == NULL ||
		(!sequenceIsOwned(object->objectId, DEPENDENCY_AUTO, &table, &column) &&
		 !sequenceIsOwned(object->objectId, DEPENDENCY_INTERNAL, &table, &column)))
		return NULL;
	thing = make_thing(object, FLO_NAMED_SEQUENCE, name);
	thing->named.columns = add_column(NIL, table, column);
	return belongs_to_relation(thing, table) ? thing : NULL;
}

static FloNamedThing *
look_at_relation(const ObjectAddress *object)
{
	switch (get_rel_relkind(object->objectId))
	{
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return IsToastNamespace(get_rel_namespace(object->objectId)) ? NULL :
				look_at_index(object);
		case RELKIND_SEQUENCE:
			return look_at_sequence(object);
		default:
			return NULL;
	}
}

/* --- constraints --------------------------------------------------------- */

static List *
columns_of(Oid relation, HeapTuple tuple, AttrNumber attribute)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(CONSTROID, tuple, attribute, &isnull);
	List	   *columns = NIL;
	ArrayType  *array;

	if (isnull)
		return NIL;
	array = DatumGetArrayTypeP(value);
	for (int i = 0; i < ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)); i++)
		columns = add_column(columns, relation, ((int16 *) ARR_DATA_PTR(array))[i]);
	return columns;
}

/*
 * The tables' names are told apart, and whether it is deferrable is the same
 * for all that are made of one
 */
static void
look_at_reference(FloNamedThing *thing, HeapTuple tuple)
{
	Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);
	StringInfoData definition;
	ListCell   *cell;

	thing->to = form->confrelid;
	thing->named.to_table = get_rel_name(form->confrelid);
	thing->named.to_schema = get_namespace_name(get_rel_namespace(form->confrelid));
	initStringInfo(&definition);
	appendStringInfo(&definition, "%c%c%c%s", form->confupdtype, form->confdeltype,
					 form->confmatchtype,
					 form->condeferrable ? " deferrable" : "");
	foreach(cell, columns_of(form->confrelid, tuple, Anum_pg_constraint_confkey))
		appendStringInfo(&definition, " %s", quote_identifier(lfirst(cell)));
	thing->named.definition = definition.data;
}

static FloNamedThing *
look_at_constraint(const ObjectAddress *object)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(object->objectId));
	Form_pg_constraint form;
	FloNamedThing *thing = NULL;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	if (form->contype == CONSTRAINT_CHECK || form->contype == CONSTRAINT_FOREIGN ||
		form->contype == NOT_NULL)
	{
		thing = make_thing(object, FLO_NAMED_CONSTRAINT, NameStr(form->conname));
		thing->named.trait = psprintf("%c", form->contype);
		thing->named.columns = columns_of(form->conrelid, tuple, Anum_pg_constraint_conkey);
		if (form->contype == CONSTRAINT_CHECK)
			thing->named.definition = written_if_possible(pg_get_constraintdef, object->objectId);
		else if (form->contype == CONSTRAINT_FOREIGN)
			look_at_reference(thing, tuple);
		if (OidIsValid(form->conrelid) ? !belongs_to_relation(thing, form->conrelid) :
			!belongs_to_type(thing, form->contypid))
			thing = NULL;
	}
	ReleaseSysCache(tuple);
	return thing;
}

/* --- types and statistics ------------------------------------------------ */

static FloNamedThing *
look_at_type(const ObjectAddress *object)
{
	Oid			element = get_element_type(object->objectId);
	HeapTuple	tuple;
	FloNamedThing *thing;

	if (!OidIsValid(element) || get_array_type(element) != object->objectId)
		return NULL;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(object->objectId));
	if (!HeapTupleIsValid(tuple))
		return NULL;
	thing = make_thing(object, FLO_NAMED_ARRAY,
					   NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	return belongs_to_type(thing, element) ? thing : NULL;
}

/* As the server's functions return them */
static Datum
expressions_of_statistics(PG_FUNCTION_ARGS)
{
	Datum		array = DirectFunctionCall1(pg_get_statisticsobjdef_expressions,
											PG_GETARG_DATUM(0));

	return CStringGetTextDatum(OidOutputFunctionCall(F_ARRAY_OUT, array));
}

/* Its kinds and expressions; the server orders the columns as the table has them */
static char *
definition_of_statistics(HeapTuple tuple)
{
	Oid			id = ((Form_pg_statistic_ext) GETSTRUCT(tuple))->oid;
	bool		isnull;
	Datum		kinds = SysCacheGetAttr(STATEXTOID, tuple, Anum_pg_statistic_ext_stxkind, &isnull);
	ArrayType  *array = DatumGetArrayTypeP(kinds);
	char	   *expressions = "";

	(void) SysCacheGetAttr(STATEXTOID, tuple, Anum_pg_statistic_ext_stxexprs, &isnull);
	if (!isnull)
		expressions = written_if_possible(expressions_of_statistics, id);
	return expressions == NULL ? NULL :
		psprintf("%.*s %s", ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)),
				 (char *) ARR_DATA_PTR(array), expressions);
}

static FloNamedThing *
look_at_statistics(const ObjectAddress *object)
{
	HeapTuple	tuple = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(object->objectId));
	Form_pg_statistic_ext form;
	FloNamedThing *thing;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_statistic_ext) GETSTRUCT(tuple);
	thing = make_thing(object, FLO_NAMED_STATISTICS, NameStr(form->stxname));
	for (int i = 0; i < form->stxkeys.dim1; i++)
		thing->named.columns = add_column(thing->named.columns, form->stxrelid,
										  form->stxkeys.values[i]);
	thing->named.definition = definition_of_statistics(tuple);
	if (!belongs_to_relation(thing, form->stxrelid))
		thing = NULL;
	ReleaseSysCache(tuple);
	return thing;
}

FloNamedThing *
flo_given_name(const ObjectAddress *object)
{
	switch (object->classId)
	{
		case RelationRelationId:
			return look_at_relation(object);
		case ConstraintRelationId:
			return look_at_constraint(object);
		case TypeRelationId:
			return look_at_type(object);
		case StatisticExtRelationId:
			return look_at_statistics(object);
		default:
			return NULL;
	}
}

/* --- all of one ---------------------------------------------------------- */

static List *
add_thing(List *things, Oid class, Oid id)
{
	ObjectAddress object;
	FloNamedThing *thing;

	ObjectAddressSet(object, class, id);
	thing = OidIsValid(id) ? flo_given_name(&object) : NULL;
	return thing != NULL ? lappend(things, thing) : things;
}

static List *
add_constraints(List *things, AttrNumber column, Oid whole)
{
	Relation	catalog = table_open(ConstraintRelationId, AccessShareLock);
	List	   *constraints = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *cell;

	ScanKeyInit(&keys[0], Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(column == Anum_pg_constraint_conrelid ? whole : InvalidOid));
	ScanKeyInit(&keys[1], Anum_pg_constraint_contypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(column == Anum_pg_constraint_contypid ? whole : InvalidOid));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		constraints = lappend_oid(constraints, ((Form_pg_constraint) GETSTRUCT(tuple))->oid);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	foreach(cell, constraints)
		things = add_thing(things, ConstraintRelationId, lfirst_oid(cell));
	return things;
}

List *
flo_given_names_of(const ObjectAddress *whole)
{
	Oid			id = whole->objectId;
	List	   *things = NIL;
	Relation	relation;
	ListCell   *cell;

	if (whole->classId == TypeRelationId)
		return add_constraints(add_thing(NIL, TypeRelationId, get_array_type(id)),
							   Anum_pg_constraint_contypid, id);
	things = add_thing(things, TypeRelationId, get_array_type(get_rel_type_id(id)));
	things = add_constraints(things, Anum_pg_constraint_conrelid, id);
	foreach(cell, getOwnedSequences(id))
		things = add_thing(things, RelationRelationId, lfirst_oid(cell));
	relation = relation_open(id, NoLock);
	foreach(cell, RelationGetIndexList(relation))
		things = add_thing(things, RelationRelationId, lfirst_oid(cell));
	foreach(cell, RelationGetStatExtList(relation))
		things = add_thing(things, StatisticExtRelationId, lfirst_oid(cell));
	relation_close(relation, NoLock);
	return things;
}
