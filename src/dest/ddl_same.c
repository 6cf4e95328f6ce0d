/*
 * ddl_same.c
 *		Compares what a DDL statement would make with what is there.
 *
 * Types are compared by what the definition's type name means here, defaults
 * as parsed expressions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_node.h"
#include "parser/parse_type.h"
#include "parser/parse_utilcmd.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "core/compat.h"
#include "dest/ddl_present.h"

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

/* Is the default, NULL for none, the one that is there? */
static bool
same_default(Relation relation, Form_pg_attribute att, Node *raw, const char *text)
{
	Node	   *stored = att->atthasdef ? build_column_default(relation, att->attnum) : NULL;
	ParseState *pstate;
	Node	   *cooked;

	if (stored == NULL || raw == NULL)
		return (stored == NULL) == (raw == NULL);
	pstate = make_parsestate(NULL);
	pstate->p_sourcetext = text;
	cooked = cookDefault(pstate, copyObject(raw), att->atttypid, att->atttypmod,
						 NameStr(att->attname), 0);
	free_parsestate(pstate);
	return equal(stored, cooked);
}

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
			generated = true;
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
	if (!serial && !identity && !generated && !same_default(relation, att, expression, text))
		return psprintf("column \"%s\" has another default here", column->colname);
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
			if (strcmp(strVal(lfirst(key)), column) == 0)
				return true;
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

/* --- constraints -------------------------------------------------------------------- */

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

static bool
same_columns(Relation relation, HeapTuple tuple, List *names)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(CONSTROID, tuple, Anum_pg_constraint_conkey, &isnull);
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
		if (get_attnum(RelationGetRelid(relation), strVal(list_nth(names, i))) != keys[i])
			return false;
	return true;
}

bool
flo_ddl_constraint_there(Relation relation, Constraint *constraint)
{
	Oid			found = InvalidOid;
	HeapTuple	tuple;
	bool		same;

	if (contype_of(constraint->contype) == '\0')
		return false;
	if (constraint->conname != NULL)
		found = get_relation_constraint_oid(RelationGetRelid(relation), constraint->conname, true);
	else if (constraint->contype == CONSTR_PRIMARY && OidIsValid(flo_compat_primary_key(relation)))
		found = get_index_constraint(flo_compat_primary_key(relation));
	if (!OidIsValid(found))
		return false;
	tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(found));
	same = ((Form_pg_constraint) GETSTRUCT(tuple))->contype == contype_of(constraint->contype) &&
		same_columns(relation, tuple, constraint->contype == CONSTR_FOREIGN ? constraint->fk_attrs : constraint->keys);
	ReleaseSysCache(tuple);
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("another constraint of this name exists on table \"%s.%s\"",
						get_namespace_name(RelationGetNamespace(relation)), RelationGetRelationName(relation))));
	return true;
}

/* --- indexes ------------------------------------------------------------------------ */

char *
flo_ddl_index_differs(Oid relid, IndexStmt *statement, const char *text)
{
	Relation	index;
	Form_pg_index form;
	char	   *difference = NULL;
	Oid			table;

	if (get_rel_relkind(relid) != RELKIND_INDEX && get_rel_relkind(relid) != RELKIND_PARTITIONED_INDEX)
		return pstrdup("it is no index here");
	index = relation_open(relid, AccessShareLock);
	form = index->rd_index;
	table = RangeVarGetRelid(statement->relation, NoLock, false);
	if (form->indrelid != table)
		difference = pstrdup("it belongs to another table here");
	else if (form->indisunique != statement->unique)
		difference = pstrdup(form->indisunique ? "it is unique here" : "it is not unique here");
	else if (form->indnkeyatts != list_length(statement->indexParams) ||
			 form->indnatts - form->indnkeyatts != list_length(statement->indexIncludingParams))
		difference = pstrdup("it has another number of columns here");
	else if ((RelationGetIndexPredicate(index) != NIL) != (statement->whereClause != NULL))
		difference = pstrdup("its condition is another here");
	for (int i = 0; difference == NULL && i < form->indnkeyatts; i++)
	{
		IndexElem  *element = list_nth_node(IndexElem, statement->indexParams, i);
		AttrNumber	attnum = form->indkey.values[i];

		if ((element->name == NULL) != (attnum == 0) ||
			(element->name != NULL && get_attnum(table, element->name) != attnum))
			difference = pstrdup("its columns are others here");
	}
	relation_close(index, AccessShareLock);
	return difference;
}
