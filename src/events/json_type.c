/*
 * json_type.c
 *		What kind of type a column is of, as far as JSON is concerned.
 *
 * The only part of writing JSON that looks into the catalogs, but for the few types
 * that flo_json_needs_catalog() tells of.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/compat_name.h"
#include "events/json_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* OIDs below are the same in every cluster of a version, and kept by later ones */
#define FIRST_VARYING_OID 10000

/* Types whose receive and output functions do without catalogs */
static bool
is_self_sufficient(Oid type)
{
	switch (type)
	{
		case UUIDOID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case TIMEOID:
		case TIMETZOID:
		case INTERVALOID:
		case BITOID:
		case VARBITOID:
		case MONEYOID:
		case POINTOID:
		case LSEGOID:
		case PATHOID:
		case BOXOID:
		case POLYGONOID:
		case LINEOID:
		case CIRCLEOID:
		case TSVECTOROID:
		case TSQUERYOID:
		case LSNOID:
		case TIDOID:
		case XIDOID:
		case XID8OID:
		case CIDOID:
		case OIDOID:
		case CHAROID:
		case JSONPATHOID:
			return true;
		default:
			return false;
	}
}

/*
 * Built-in types have the same OID everywhere.  Aliases of OIDs travel as numbers
 * that mean something at the source alone: they become strings, which nobody
 * takes for amounts.
 */
static JsonKind
kind_of_scalar(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return KIND_BOOL;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return KIND_INTEGER;
		case FLOAT4OID:
			return KIND_FLOAT4;
		case FLOAT8OID:
			return KIND_FLOAT8;
		case NUMERICOID:
			return KIND_NUMERIC;
		case DATEOID:
			return KIND_DATE;
		case TIMESTAMPOID:
			return KIND_TIMESTAMP;
		case TIMESTAMPTZOID:
			return KIND_TIMESTAMPTZ;
		case JSONOID:
			return KIND_JSON;
		case JSONBOID:
			return KIND_JSONB;
		case BYTEAOID:
			return KIND_BYTEA;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case NAMEOID:
		case UNKNOWNOID:
		case CSTRINGOID:
		case REFCURSOROID:
		case XMLOID:
			return KIND_TEXT;
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
			return KIND_NUMBER_ALIAS;
		default:
			return KIND_OTHER;
	}
}

static void
describe_other(FloJsonType *result, Oid type, MemoryContext context)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form = (Form_pg_type) GETSTRUCT(tuple);

	if (OidIsValid(form->typreceive))
	{
		result->has_binary = true;
		result->receive_param = getTypeIOParam(tuple);
		fmgr_info_cxt(form->typreceive, &result->receive, context);
		fmgr_info_cxt(form->typoutput, &result->output, context);
	}
	ReleaseSysCache(tuple);
	result->needs_catalog = !is_self_sufficient(type);
}

static FloJsonType *describe(Oid type, MemoryContext context);

static void
describe_row(FloJsonType *result, Oid type, MemoryContext context)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);

	result->keys = MemoryContextAlloc(context, sizeof(char *) * Max(desc->natts, 1));
	result->fields = MemoryContextAlloc(context, sizeof(FloJsonType *) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		StringInfoData key;

		if (att->attisdropped)
			continue;
		initStringInfo(&key);
		escape_json(&key, NameStr(att->attname));
		appendStringInfoChar(&key, ':');
		result->keys[result->nfields] = MemoryContextStrdup(context, key.data);
		result->fields[result->nfields] = describe(att->atttypid, context);
		result->needs_catalog |= result->fields[result->nfields]->needs_catalog;
		result->nfields++;
	}
	ReleaseTupleDesc(desc);
}

/* A type of this database */
static FloJsonType *
describe(Oid type, MemoryContext context)
{
	FloJsonType *result = MemoryContextAllocZero(context, sizeof(FloJsonType));
	Oid			element;

	check_stack_depth();
	if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
		return result;
	type = getBaseType(type);
	element = get_element_type(type);
	if (OidIsValid(element))
	{
		int16		len;
		bool		by_value;
		char		align;
		Oid			io_param;
		Oid			output;

		result->kind = KIND_ARRAY;
		result->element = describe(element, context);
		result->needs_catalog = result->element->needs_catalog;
		get_type_io_data(element, IOFunc_output, &len, &by_value, &align,
						 &result->delimiter, &io_param, &output);
	}
	else if (type != RECORDOID && type_is_rowtype(type))
	{
		result->kind = KIND_ROW;
		describe_row(result, type, context);
	}
	else
	{
		result->kind = kind_of_scalar(type);
		if (result->kind == KIND_OTHER)
			describe_other(result, type, context);
	}
	return result;
}

Oid
flo_json_local_type(const FloColumn *column)
{
	Oid			schema;

	if (column->type < FIRST_VARYING_OID)
		return SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(column->type)) ? column->type :
			InvalidOid;
	/* Other OIDs mean something else here */
	if (column->type_name == NULL)
		return InvalidOid;
	schema = get_namespace_oid(column->type_schema, true);
	if (!OidIsValid(schema))
		return InvalidOid;
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(column->type_name),
						   ObjectIdGetDatum(schema));
}

FloJsonType *
flo_json_type(const FloColumn *column, MemoryContext context)
{
	return describe(flo_json_local_type(column), context);
}

bool
flo_json_needs_catalog(const FloJsonType *type)
{
	return type->needs_catalog;
}
