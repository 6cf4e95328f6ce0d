/*
 * ddl_same.c
 *		Compares what a DDL statement would make with what is there.
 *
 * Types are compared by what the definition's type name means here, expressions
 * (defaults, generated columns, checks, indexes) as the parser understands them
 * here.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "core/compat_table.h"
#include "dest/ddl_present.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "parser/parse_utilcmd.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* The type of a column definition; serial types are what they stand for */
static Oid
defined_type(const TypeName *name, int32 *typmod, bool *serial)
{
	Oid			type;

	*typmod = -1;
	*serial = false;
	if (list_length(name->names) == 1)
	{
		const char *word = strVal(linitial(name->names));

		*serial = true;
		if (strcmp(word, "serial") == 0 || strcmp(word, "serial4") == 0)
			return INT4OID;
		if (strcmp(word, "bigserial") == 0 || strcmp(word, "serial8") == 0)
			return INT8OID;
		if (strcmp(word, "smallserial") == 0 || strcmp(word, "serial2") == 0)
			return INT2OID;
		*serial = false;
	}
	typenameTypeIdAndMod(NULL, name, &type, typmod);
	return type;
}

/* --- expressions --------------------------------------------------------- */

/* For an expression over the table's row */
static ParseState *
begin_parse(Relation relation, const char *text)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item = addRangeTableEntryForRelation(pstate, relation, AccessShareLock,
															 NULL, false, true);

	pstate->p_sourcetext = text;
	addNSItemToQuery(pstate, item, true, true, true);
	return pstate;
}

static Node *
cook(Relation relation, Node *raw, ParseExprKind kind, const char *text)
{
	ParseState *pstate = begin_parse(relation, text);
	Node	   *expression = transformExpr(pstate, copyObject(raw), kind);

	if (kind == EXPR_KIND_CHECK_CONSTRAINT || kind == EXPR_KIND_INDEX_PREDICATE)
		expression = coerce_to_boolean(pstate, expression, "expression");
	assign_expr_collations(pstate, expression);
	free_parsestate(pstate);
	return expression;
}

/* Is the default, NULL for none, the one that is there? */
static bool
same_default(Relation relation, Form_pg_attribute att, Node *raw, const char *text)
{
	Node	   *stored = att->atthasdef ? build_column_default(relation, att->attnum) : NULL;
	ParseState *pstate;
	Node	   *cooked;

	if (stored == NULL || raw == NULL)
		return (stored == NULL) == (raw == NULL);
	pstate = begin_parse(relation, text);
	cooked = cookDefault(pstate, copyObject(raw), att->atttypid, att->atttypmod,
						 NameStr(att->attname), att->attgenerated);
	free_parsestate(pstate);
	return equal(stored, cooked);
}

/* --- constraints --------------------------------------------------------- */

static char
contype_of(ConstrType type)
{
	switch (type)
	{
		case CONSTR_PRIMARY:
			return CONSTRAINT_PRIMARY;
		case CONSTR_UNIQUE:
			return CONSTRAINT_UNIQUE;
		case CONSTR_FOREIGN:
			return CONSTRAINT_FOREIGN;
		case CONSTR_CHECK:
			return CONSTRAINT_CHECK;
		case CONSTR_EXCLUSION:
			return CONSTRAINT_EXCLUSION;
		default:
			return '\0';
	}
}

static const char *
name_of_constraint(const Constraint *constraint)
{
	switch (constraint->contype)
	{
		case CONSTR_PRIMARY:
			return "PRIMARY KEY";
		case CONSTR_UNIQUE:
			return "UNIQUE";
		case CONSTR_FOREIGN:
			return "FOREIGN KEY";
		case CONSTR_CHECK:
			return "CHECK";
		default:
			return "EXCLUDE";
	}
}

/* Are the numbers in an array of pg_constraint those of the named columns? */
static bool
same_columns(Oid relation, HeapTuple tuple, AttrNumber attribute, List *names)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(CONSTROID, tuple, attribute, &isnull);
	ArrayType  *array;
	int16	   *keys;

	if (names == NIL)
		return true;
	if (isnull)
		return false;
	array = DatumGetArrayTypeP(value);
	if (ARR_DIMS(array)[0] != list_length(names))
		return false;
	keys = (int16 *) ARR_DATA_PTR(array);
	for (int i = 0; i < list_length(names); i++)
		if (get_attnum(relation, strVal(list_nth(names, i))) != keys[i])
			return false;
	return true;
}

static bool
same_check(Relation relation, HeapTuple tuple, const Constraint *constraint, const char *query)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conbin, &isnull);

	return !isnull && constraint->raw_expr != NULL &&
		equal(stringToNode(TextDatumGetCString(value)),
			  cook(relation, constraint->raw_expr, EXPR_KIND_CHECK_CONSTRAINT, query));
}

static char
action_of(char action)
{
	return action != '\0' ? action : FKCONSTR_ACTION_NOACTION;
}

static bool
same_reference(Relation relation, HeapTuple tuple, const Constraint *constraint, List *columns)
{
	Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);

	return same_columns(RelationGetRelid(relation), tuple, Anum_pg_constraint_conkey, columns) &&
		RangeVarGetRelid(constraint->pktable, NoLock, true) == form->confrelid &&
		same_columns(form->confrelid, tuple, Anum_pg_constraint_confkey, constraint->pk_attrs) &&
		form->confdeltype == action_of(constraint->fk_del_action) &&
		form->confupdtype == action_of(constraint->fk_upd_action);
}

/* The columns of INCLUDE, which constraints do not list */
static bool
same_included(Oid index, List *names)
{
	Relation	relation;
	bool		same;

	if (!OidIsValid(index))
		return names == NIL;
	relation = index_open(index, AccessShareLock);
	same = list_length(names) == relation->rd_index->indnatts - relation->rd_index->indnkeyatts;
	for (int i = 0; same && i < list_length(names); i++)
		same = get_attnum(relation->rd_index->indrelid, strVal(list_nth(names, i))) ==
			relation->rd_index->indkey.values[relation->rd_index->indnkeyatts + i];
	index_close(relation, NoLock);
	return same;
}

/* What a table constraint says besides its columns */
static bool
same_manner(Form_pg_constraint form, const Constraint *constraint)
{
	switch (constraint->contype)
	{
		case CONSTR_PRIMARY:
		case CONSTR_UNIQUE:
			if (!same_included(form->conindid, constraint->including))
				return false;
			break;
		case CONSTR_CHECK:
		case CONSTR_FOREIGN:
			if (!flo_compat_enforced_alike(form, constraint) ||
				(constraint->initially_valid && !form->convalidated))
				return false;
			break;
		default:
			break;
	}
	return form->condeferrable == constraint->deferrable &&
		form->condeferred == constraint->initdeferred;
}

/* "column" is where the constraint stands, NULL when it stands for itself */
static bool
same_constraint(Relation relation, HeapTuple tuple, const Constraint *constraint, char *column,
				const char *text)
{
	Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(tuple);
	List	   *columns = column != NULL ? list_make1(makeString(column)) : NIL;

	if (form->contype != contype_of(constraint->contype))
		return false;

	/* in a column's definition, what follows it is told apart */
	if (column == NULL && !same_manner(form, constraint))
		return false;
	switch (constraint->contype)
	{
		case CONSTR_CHECK:
			return same_check(relation, tuple, constraint, text);
		case CONSTR_FOREIGN:
			return same_reference(relation, tuple, constraint,
								  column != NULL ? columns : constraint->fk_attrs);
		default:
			return same_columns(RelationGetRelid(relation), tuple, Anum_pg_constraint_conkey,
								column != NULL ? columns : constraint->keys);
	}
}

/*
 * Is there one like it, of its name if it has one?  True for what is no
 * constraint in the catalog.
 */
static bool
has_constraint(Relation relation, Constraint *constraint, char *column, const char *text)
{
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = contype_of(constraint->contype) == '\0';

	catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(relation)));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
		found = (constraint->conname == NULL ||
				 strcmp(constraint->conname,
						NameStr(((Form_pg_constraint) GETSTRUCT(tuple))->conname)) == 0) &&
			same_constraint(relation, tuple, constraint, column, text);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

Oid
flo_ddl_constraint_like(Relation relation, const Constraint *constraint)
{
	if (contype_of(constraint->contype) == '\0')
		return InvalidOid;
	if (constraint->conname != NULL)
		return get_relation_constraint_oid(RelationGetRelid(relation), constraint->conname, true);
	if (constraint->contype == CONSTR_PRIMARY && OidIsValid(flo_compat_primary_key(relation)))
		return get_index_constraint(flo_compat_primary_key(relation));
	return InvalidOid;
}

bool
flo_ddl_constraint_has_column(Oid constraint, AttrNumber column)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	bool		isnull = true;
	Datum		value;
	bool		has = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	value = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conkey, &isnull);
	if (!isnull)
	{
		ArrayType  *array = DatumGetArrayTypeP(value);

		for (int i = 0; i < ARR_DIMS(array)[0]; i++)
			has |= ((int16 *) ARR_DATA_PTR(array))[i] == column;
	}
	ReleaseSysCache(tuple);
	return has;
}

/*
 * Has the table its check from its parents alone?  The server then makes one
 * of it and another that is alike
 */
static bool
is_only_inherited(Oid constraint)
{
	HeapTuple	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	Form_pg_constraint form;
	bool		inherited;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_constraint) GETSTRUCT(tuple);
	inherited = form->contype == CONSTRAINT_CHECK && form->coninhcount > 0 && !form->conislocal;
	ReleaseSysCache(tuple);
	return inherited;
}

bool
flo_ddl_constraint_there(Relation relation, Constraint *constraint, const char *text)
{
	Oid			there = flo_ddl_constraint_like(relation, constraint);

	if (!OidIsValid(there) || is_only_inherited(there))
		return false;
	if (!has_constraint(relation, constraint, NULL, text))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("another constraint of this name exists on table \"%s.%s\"",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation))));
	return true;
}

/* --- columns ------------------------------------------------------------- */

/*
 * What says that a column is not null may stand anywhere in its definition, so all
 * of it is read before anything is compared.  The default of a serial or identity
 * column is none to compare: it names a sequence, which has another name here.
 */
char *
flo_ddl_column_differs(Relation relation, int attnum, ColumnDef *column, bool in_primary_key,
					   const char *text)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), attnum - 1);
	int32		typmod;
	bool		serial;
	Oid			type = defined_type(column->typeName, &typmod, &serial);
	bool		not_null = column->is_not_null || serial || in_primary_key;
	bool		generated = false;
	bool		identity = false;
	Node	   *expression = column->raw_default;
	ListCell   *cell;

	foreach(cell, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, cell);

		if (constraint->contype == CONSTR_NOTNULL || constraint->contype == CONSTR_PRIMARY)
			not_null = true;
		else if (constraint->contype == CONSTR_DEFAULT)
			expression = constraint->raw_expr;
		else if (constraint->contype == CONSTR_IDENTITY)
			identity = not_null = true;
		else if (constraint->contype == CONSTR_GENERATED)
		{
			generated = true;
			expression = constraint->raw_expr;
		}
	}
	if (att->atttypid != type || att->atttypmod != typmod)
		return psprintf("column \"%s\" has type %s here instead of %s", column->colname,
						format_type_with_typemod(att->atttypid, att->atttypmod),
						format_type_with_typemod(type, typmod));
	if (att->attnotnull != not_null)
		return psprintf("column \"%s\" is %s here", column->colname,
						att->attnotnull ? "NOT NULL" : "nullable");
	if ((att->attidentity != '\0') != identity || (att->attgenerated != '\0') != generated)
		return psprintf("column \"%s\" is generated in another way here", column->colname);
	if (!serial && !identity && !same_default(relation, att, expression, text))
		return psprintf("column \"%s\" %s here", column->colname,
						generated ? "is generated from another expression" : "has another default");
	foreach(cell, column->constraints)
	{
		Constraint *constraint = lfirst_node(Constraint, cell);

		if (!has_constraint(relation, constraint, column->colname, text))
			return psprintf("column \"%s\" lacks a constraint here: %s", column->colname,
							name_of_constraint(constraint));
	}
	return NULL;
}

static bool
is_named_key(List *elements, const char *column)
{
	ListCell   *cell;
	ListCell   *key;

	foreach(cell, elements)
	{
		Constraint *constraint = lfirst(cell);

		if (!IsA(constraint, Constraint) || constraint->contype != CONSTR_PRIMARY)
			continue;
		foreach(key, constraint->keys)
		{
			if (strcmp(strVal(lfirst(key)), column) == 0)
				return true;
		}
	}
	return false;
}

char *
flo_ddl_table_differs(Relation relation, List *elements, bool complete, const char *text)
{
	int			defined = 0;
	int			there = 0;
	ListCell   *cell;

	foreach(cell, elements)
	{
		ColumnDef  *column = lfirst(cell);
		AttrNumber	attnum;
		char	   *difference;

		if (IsA(column, Constraint) &&
			!has_constraint(relation, (Constraint *) lfirst(cell), NULL, text))
			return psprintf("it lacks a constraint here: %s", name_of_constraint(lfirst(cell)));
		if (!IsA(column, ColumnDef) || column->typeName == NULL)
		{
			complete &= IsA(column, Constraint);
			continue;
		}
		defined++;
		attnum = get_attnum(RelationGetRelid(relation), column->colname);
		if (attnum == InvalidAttrNumber)
			return psprintf("column \"%s\" is missing here", column->colname);
		difference = flo_ddl_column_differs(relation, attnum, column,
											is_named_key(elements, column->colname), text);
		if (difference != NULL)
			return difference;
	}
	for (int i = 0; i < RelationGetDescr(relation)->natts; i++)
		there += !TupleDescAttr(RelationGetDescr(relation), i)->attisdropped;
	if (complete && there != defined)
		return pstrdup("it has more columns here");
	return NULL;
}

/* --- indexes ------------------------------------------------------------- */

/* Expressions of an index as they were parsed, not as the planner has them; NULL for none */
static Node *
stored_expression(Relation index, AttrNumber attribute)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, attribute, &isnull);

	return isnull ? NULL : stringToNode(TextDatumGetCString(value));
}

static char *
elements_differ(Relation index, Relation table, IndexStmt *statement, const char *text)
{
	List	   *expressions = (List *) stored_expression(index, Anum_pg_index_indexprs);
	int			expression = 0;

	for (int i = 0; i < index->rd_index->indnatts; i++)
	{
		bool		key = i < index->rd_index->indnkeyatts;
		IndexElem  *element = key ? list_nth_node(IndexElem, statement->indexParams, i) :
			list_nth_node(IndexElem, statement->indexIncludingParams,
						  i - index->rd_index->indnkeyatts);
		AttrNumber	attnum = index->rd_index->indkey.values[i];
		int			wanted = element->ordering == SORTBY_DESC ? INDOPTION_DESC : 0;

		if (element->nulls_ordering == SORTBY_NULLS_FIRST ||
			(element->nulls_ordering == SORTBY_NULLS_DEFAULT && wanted != 0))
			wanted |= INDOPTION_NULLS_FIRST;
		if ((element->name == NULL) != (attnum == 0) ||
			(element->name != NULL && get_attnum(RelationGetRelid(table), element->name) != attnum))
			return pstrdup("its columns are others here");
		if (element->name == NULL &&
			!equal(list_nth(expressions, expression++),
				   cook(table, element->expr, EXPR_KIND_INDEX_EXPRESSION, text)))
			return pstrdup("its expressions are others here");
		if (key && index->rd_indam->amcanorder && index->rd_indoption[i] != wanted)
			return pstrdup("its order is another here");
	}
	return NULL;
}

static bool
same_condition(Relation index, Relation table, Node *condition, const char *text)
{
	Node	   *stored = stored_expression(index, Anum_pg_index_indpred);

	if (condition == NULL || stored == NULL)
		return condition == NULL && stored == NULL;
	return equal(stored, cook(table, condition, EXPR_KIND_INDEX_PREDICATE, text));
}

char *
flo_ddl_index_differs(Oid relid, IndexStmt *statement, const char *text)
{
	Relation	index;
	Relation	table;
	Form_pg_index form;
	char	   *difference = NULL;

	if (get_rel_relkind(relid) != RELKIND_INDEX &&
		get_rel_relkind(relid) != RELKIND_PARTITIONED_INDEX)
		return pstrdup("it is no index here");
	index = relation_open(relid, AccessShareLock);
	form = index->rd_index;
	table = relation_openrv(statement->relation, AccessShareLock);
	if (form->indrelid != RelationGetRelid(table))
		difference = pstrdup("it belongs to another table here");
	else if (form->indisunique != statement->unique)
		difference = pstrdup(form->indisunique ? "it is unique here" : "it is not unique here");
	else if (statement->accessMethod != NULL &&
			 strcmp(statement->accessMethod, get_am_name(index->rd_rel->relam)) != 0)
		difference = pstrdup("its method is another here");
	else if (form->indnkeyatts != list_length(statement->indexParams) ||
			 form->indnatts - form->indnkeyatts != list_length(statement->indexIncludingParams))
		difference = pstrdup("it has another number of columns here");
	else if (!same_condition(index, table, statement->whereClause, text))
		difference = pstrdup("its condition is another here");
	else
		difference = elements_differ(index, table, statement, text);
	relation_close(table, AccessShareLock);
	relation_close(index, AccessShareLock);
	return difference;
}
