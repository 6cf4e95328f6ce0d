/*
 * search_mapping.c
 *		Types of fields for the types of columns.
 *
 * The table in doc/events-search.md.  What a field cannot take is left out of the
 * index and stays in the document where the service can do that
 * (ignore_malformed, ignore_above), so that a document is the row, whatever is in
 * it: NaN, infinite dates, texts longer than a term may be.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "events/json_type.h"
#include "events/json_value.h"
#include "events/search_mapping.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#define KEYWORD "{\"type\":\"keyword\",\"ignore_above\":8191}"
#define TEXT "{\"type\":\"text\",\"fields\":{\"keyword\":" KEYWORD "}}"
#define KEPT "{\"type\":\"object\",\"enabled\":false}"
#define NOT_SEARCHED "{\"type\":\"keyword\",\"index\":false,\"doc_values\":false}"
#define LENIENT(type) "{\"type\":\"" type "\",\"ignore_malformed\":true}"

/* Digits that a long always has room for */
#define LONG_DIGITS 18

static void append_type(StringInfo out, Oid type, int32 typmod, const char *flattened);

/* With a scale of 0, and digits that fit, they are whole numbers */
static const char *
mapping_of_numeric(int32 typmod)
{
	int			precision = ((typmod - VARHDRSZ) >> 16) & 0xffff;
	int			scale = (typmod - VARHDRSZ) & 0x7ff;

	if (typmod >= (int32) VARHDRSZ && scale == 0 && precision <= LONG_DIGITS)
		return LENIENT("long");
	return LENIENT("double");
}

/* NULL: by what kind of type it is */
static const char *
mapping_of_builtin(Oid type, int32 typmod, const char *flattened)
{
	switch (type)
	{
		case BOOLOID:
			return "{\"type\":\"boolean\"}";
		case INT2OID:
			return "{\"type\":\"short\"}";
		case INT4OID:
			return "{\"type\":\"integer\"}";
		case INT8OID:
		case OIDOID:
			return "{\"type\":\"long\"}";
		case FLOAT4OID:
			return LENIENT("float");
		case FLOAT8OID:
			return LENIENT("double");
		case NUMERICOID:
			return mapping_of_numeric(typmod);
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return LENIENT("date");
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case XMLOID:
			return TEXT;
		case JSONOID:
		case JSONBOID:
			return flattened;
		case BYTEAOID:
		case TSVECTOROID:
			return NOT_SEARCHED;
		case INETOID:
			return LENIENT("ip");
		default:
			return NULL;
	}
}

/* A row within a row: objects have the names as they are */
static void
append_row(StringInfo out, Oid type, const char *flattened)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	const char *separator = "";

	appendStringInfoString(out, "{\"properties\":{");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		appendStringInfoString(out, separator);
		flo_json_append_text(out, NameStr(att->attname), strlen(NameStr(att->attname)));
		appendStringInfoChar(out, ':');
		append_type(out, att->atttypid, att->atttypmod, flattened);
		separator = ",";
	}
	appendStringInfoString(out, "}}");
	ReleaseTupleDesc(desc);
}

static void
append_type(StringInfo out, Oid type, int32 typmod, const char *flattened)
{
	const char *mapping;
	Oid			element;

	check_stack_depth();
	type = getBaseTypeAndTypmod(type, &typmod);
	element = get_element_type(type);
	if (OidIsValid(element))
	{
		/* any field takes several values */
		append_type(out, element, typmod, flattened);
		return;
	}
	if (type != RECORDOID && type_is_rowtype(type))
	{
		append_row(out, type, flattened);
		return;
	}
	mapping = mapping_of_builtin(type, typmod, flattened != NULL ?
								 psprintf("{\"type\":\"%s\"}", flattened) : KEPT);
	if (mapping == NULL)
		mapping = get_typtype(type) == TYPTYPE_BASE && type >= FirstNormalObjectId ? TEXT : KEYWORD;
	appendStringInfoString(out, mapping);
}

bool
flo_search_is_vector(const FloColumn *column)
{
	return column->type_name != NULL && strcmp(column->type_name, "vector") == 0;
}

void
flo_search_mapping(StringInfo out, const FloColumn *column, const char *flattened)
{
	Oid			type = flo_json_local_type(column);

	if (flo_search_is_vector(column))
		appendStringInfoString(out, "{\"type\":\"float\",\"index\":false}");
	else if (OidIsValid(type))
		append_type(out, type, column->typmod, flattened);
	else
		appendStringInfoString(out, TEXT);	/* a string, as events have it */
}

void
flo_search_field(StringInfo out, const char *column)
{
	StringInfoData name;

	initStringInfo(&name);
	for (const char *c = column; *c != '\0'; c++)
	{
		bool		first = c == column && (*c == '_' || (*c > 0 && *c <= ' '));

		if (first || *c == '.' || *c == '=')
			appendStringInfo(&name, "=%02x", (unsigned char) *c);
		else
			appendStringInfoChar(&name, *c);
	}
	flo_json_append_text(out, name.data, name.len);
	pfree(name.data);
}
