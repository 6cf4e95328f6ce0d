/*
 * ddl.c
 *		Writer and reader of DDL messages.
 *
 * JSON, because the message is read by three programs (replicator, worker,
 * whoever receives events) and is rare.  It stays in the source's encoding on
 * its way, like the rows around it.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "wire/ddl.h"
#include "wire/record.h"

/* Bytes of a statement that are shown in error messages */
#define SHOWN 300

const char *const flo_ddl_settings[FLO_DDL_SETTINGS] = {
	"TimeZone", "DateStyle", "IntervalStyle",
	"standard_conforming_strings", "transform_null_equals", "xmloption",
	"backslash_quote", "array_nulls", "bytea_output", "extra_float_digits", "xmlbinary",
	"lc_monetary", "timezone_abbreviations"
};

static const char *const phase_names[] = {"before", "after", "both", "names", NULL};

static const char *const named_kinds[] = {
	"index", "constraint", "sequence", "array", "statistics", NULL
};

#define PART(record, record_fields) \
	{.size = sizeof(record), .fields = record_fields, \
	 .nfields = lengthof(record_fields), .local = true}

static const FloField object_fields[] = {
	{FLO_FIELD(FloDdlObject, type, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlObject, schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, name, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlObject, relation, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, table_schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, table_name, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, member, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, oid, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, new_schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, new_name, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, leaves, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, root_schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, root_name, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, partition, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, creates, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, apart, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, attached, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, left_out_of, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, listed_in, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlObject, position, FLO_FIELD_INT64, FLO_OPTIONAL), FLO_IN(-1, PG_INT32_MAX),
	FLO_OTHERWISE(-1)},
};
static const FloRecordFormat object_format = PART(FloDdlObject, object_fields);

/* Another encoding may make a name longer than the server's are */
#define NAME_BYTES (4 * NAMEDATALEN)

static const FloField named_fields[] = {
	{FLO_FIELD(FloNamed, kind, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(named_kinds)},
	{FLO_FIELD(FloNamed, name, FLO_FIELD_TEXT, FLO_REQUIRED), FLO_AT_MOST(NAME_BYTES)},
	{FLO_FIELD(FloNamed, schema, FLO_FIELD_TEXT, FLO_REQUIRED), FLO_AT_MOST(NAME_BYTES)},
	{FLO_FIELD(FloNamed, of, FLO_FIELD_TEXT, FLO_REQUIRED), FLO_AT_MOST(NAME_BYTES)},
	{FLO_FIELD(FloNamed, relation, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloNamed, oid, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloNamed, trait, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloNamed, columns, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloNamed, to_schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloNamed, to_table, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloNamed, definition, FLO_FIELD_TEXT, FLO_OPTIONAL)},
};
static const FloRecordFormat named_format = PART(FloNamed, named_fields);

#define SETTING(name, i) \
	{name, FLO_FIELD_TEXT, FLO_OPTIONAL, offsetof(FloDdlStatement, settings) + (i) * sizeof(char *)}

static const FloField statement_fields[] = {
	{FLO_FIELD(FloDdlStatement, id, FLO_FIELD_INT64, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlStatement, phase, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(phase_names)},
	{FLO_FIELD(FloDdlStatement, tag, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlStatement, text, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlStatement, replay, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, search_path, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, role, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	SETTING("TimeZone", 0),
	SETTING("DateStyle", 1),
	SETTING("IntervalStyle", 2),
	SETTING("standard_conforming_strings", 3),
	SETTING("transform_null_equals", 4),
	SETTING("xmloption", 5),
	SETTING("backslash_quote", 6),
	SETTING("array_nulls", 7),
	SETTING("bytea_output", 8),
	SETTING("extra_float_digits", 9),
	SETTING("xmlbinary", 10),
	SETTING("lc_monetary", 11),
	SETTING("timezone_abbreviations", 12),
	{FLO_FIELD(FloDdlStatement, locale, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, xid, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, concurrent, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, about_owner, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, about_privileges, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, with_owner, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, defines, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, makes, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlStatement, objects, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(object_format)},
	{FLO_FIELD(FloDdlStatement, refers, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(object_format)},
	{FLO_FIELD(FloDdlStatement, named, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(named_format)},
	{FLO_FIELD(FloDdlStatement, tables, FLO_FIELD_JSON, FLO_OPTIONAL)},
};
static const FloRecordFormat statement_format = {
	.version = 1,
	.size = sizeof(FloDdlStatement),
	.fields = statement_fields,
	.nfields = lengthof(statement_fields),
	.local = true
};

static const FloField end_fields[] = {
	{FLO_FIELD(FloDdlEnd, id, FLO_FIELD_INT64, FLO_REQUIRED)},
	{FLO_FIELD(FloDdlEnd, goes_on, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDdlEnd, named, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(named_format)},
};
static const FloRecordFormat end_format = {
	.version = 1,
	.size = sizeof(FloDdlEnd),
	.fields = end_fields,
	.nfields = lengthof(end_fields),
	.local = true
};

StaticAssertDecl(sizeof(FloDdlPhase) == sizeof(int), "read as an int");
StaticAssertDecl(sizeof(FloNamedKind) == sizeof(int), "read as an int");

char *
flo_ddl_format(const FloDdlStatement *ddl)
{
	return flo_record_write(&statement_format, ddl);
}

FloDdlStatement *
flo_ddl_parse(const char *content)
{
	return flo_record_read(&statement_format, "DDL message", content, strlen(content));
}

char *
flo_ddl_end_format(const FloDdlEnd *end)
{
	return flo_record_write(&end_format, end);
}

FloDdlEnd *
flo_ddl_end_parse(const char *content)
{
	return flo_record_read(&end_format, "end of a DDL statement", content, strlen(content));
}

/* --- events -------------------------------------------------------------- */

static void
put_text(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(buf, "%s\"%s\": ", buf->data[buf->len - 1] != '{' ? ", " : "", key);
	escape_json(buf, value);
}

void
flo_ddl_append_command(StringInfo out, const FloDdlStatement *ddl)
{
	ListCell   *cell;

	appendStringInfoChar(out, '{');
	put_text(out, "tag", ddl->tag);
	put_text(out, "text", ddl->text);
	put_text(out, "search_path", ddl->search_path);
	appendStringInfoString(out, ", \"objects\": [");
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		appendStringInfoString(out, foreach_current_index(cell) > 0 ? ", {" : "{");
		put_text(out, "type", object->type);
		put_text(out, "schema", object->schema);
		put_text(out, "name", object->name);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoString(out, "], \"tables\": ");
	if (ddl->tables != NULL)
		(void) JsonbToCString(out, &ddl->tables->root, VARSIZE(ddl->tables));
	else
		appendStringInfoString(out, "[]");
	appendStringInfoChar(out, '}');
}

char *
flo_ddl_shown(const FloDdlStatement *ddl)
{
	return psprintf("%.*s", pg_mbcliplen(ddl->text, strlen(ddl->text), SHOWN), ddl->text);
}
