/*
 * ddl.c
 *		Writer and reader of DDL messages.
 *
 * JSON, because the message is read by three programs (replicator, worker,
 * whoever receives events) and is rare.  Fields that are absent have their
 * zero value, so fields can be added without a new version.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "wire/ddl.h"

#define DDL_VERSION 1

const char *const flo_ddl_settings[FLO_DDL_SETTINGS] = {
	"TimeZone", "DateStyle", "IntervalStyle",
	"standard_conforming_strings", "transform_null_equals", "xmloption"
};

static const char *const phase_names[] = {"before", "after", "both"};

/* --- writing ------------------------------------------------------------------- */

static void
put_key(StringInfo buf, const char *key)
{
	if (buf->data[buf->len - 1] != '{')
		appendStringInfoString(buf, ", ");
	appendStringInfo(buf, "\"%s\": ", key);
}

static void
put_text(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	put_key(buf, key);
	escape_json(buf, value);
}

static void
put_number(StringInfo buf, const char *key, int64 value)
{
	put_key(buf, key);
	appendStringInfo(buf, INT64_FORMAT, value);
}

static void
put_true(StringInfo buf, const char *key, bool value)
{
	if (!value)
		return;
	put_key(buf, key);
	appendStringInfoString(buf, "true");
}

static void
put_object(StringInfo buf, const FloDdlObject *object)
{
	appendStringInfoChar(buf, '{');
	put_text(buf, "type", object->type);
	put_text(buf, "schema", object->schema);
	put_text(buf, "name", object->name);
	if (OidIsValid(object->relation))
		put_number(buf, "relation", object->relation);
	if (OidIsValid(object->oid))
		put_number(buf, "oid", object->oid);
	put_true(buf, "creates", object->creates);
	put_true(buf, "attached", object->attached);
	if (object->position >= 0)
		put_number(buf, "position", object->position);
	appendStringInfoChar(buf, '}');
}

static void
put_expected(StringInfo buf, const List *expected)
{
	ListCell   *cell;

	if (expected == NIL)
		return;
	put_key(buf, "expected");
	appendStringInfoChar(buf, '[');
	foreach(cell, expected)
	{
		const FloDdlExpected *table = lfirst(cell);

		appendStringInfoString(buf, foreach_current_index(cell) > 0 ? ", {" : "{");
		put_text(buf, "group", table->group);
		put_number(buf, "relation", table->relation);
		put_true(buf, "again", table->again);
		appendStringInfoChar(buf, '}');
	}
	appendStringInfoChar(buf, ']');
}

char *
flo_ddl_format(const FloDdlStatement *ddl)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	put_number(&buf, "version", DDL_VERSION);
	put_number(&buf, "id", ddl->id);
	put_text(&buf, "phase", phase_names[ddl->phase]);
	put_text(&buf, "tag", ddl->tag);
	put_text(&buf, "text", ddl->text);
	put_text(&buf, "replay", ddl->replay);
	put_text(&buf, "search_path", ddl->search_path);
	put_text(&buf, "role", ddl->role);
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
		put_text(&buf, flo_ddl_settings[i], ddl->settings[i]);
	put_true(&buf, "concurrent", ddl->concurrent);
	put_true(&buf, "about_owner", ddl->about_owner);
	put_true(&buf, "about_privileges", ddl->about_privileges);
	put_true(&buf, "with_owner", ddl->with_owner);
	put_key(&buf, "objects");
	appendStringInfoChar(&buf, '[');
	foreach(cell, ddl->objects)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoString(&buf, ", ");
		put_object(&buf, lfirst(cell));
	}
	appendStringInfoChar(&buf, ']');
	put_expected(&buf, ddl->expected);
	if (ddl->tables != NULL)
	{
		put_key(&buf, "tables");
		(void) JsonbToCString(&buf, &ddl->tables->root, VARSIZE(ddl->tables));
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

void
flo_ddl_append_command(StringInfo out, const FloDdlStatement *ddl)
{
	ListCell   *cell;

	appendStringInfoChar(out, '{');
	put_text(out, "tag", ddl->tag);
	put_text(out, "text", ddl->text);
	put_text(out, "search_path", ddl->search_path);
	put_key(out, "objects");
	appendStringInfoChar(out, '[');
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		appendStringInfoString(out, foreach_current_index(cell) > 0 ? ", {" : "{");
		put_text(out, "type", object->type);
		put_text(out, "schema", object->schema);
		put_text(out, "name", object->name);
		appendStringInfoChar(out, '}');
	}
	appendStringInfoChar(out, ']');
	put_key(out, "tables");
	if (ddl->tables != NULL)
		(void) JsonbToCString(out, &ddl->tables->root, VARSIZE(ddl->tables));
	else
		appendStringInfoString(out, "[]");
	appendStringInfoChar(out, '}');
}

/* --- reading ------------------------------------------------------------------- */

static void
malformed(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("malformed DDL message: %s", what)));
}

static JsonbValue *
get_value(JsonbContainer *object, const char *key, JsonbValue *into)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), into);
}

static char *
get_text(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (get_value(object, key, &value) == NULL || value.type == jbvNull)
		return NULL;
	if (value.type != jbvString)
		malformed("a field is not a string");
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static char *
get_required_text(JsonbContainer *object, const char *key)
{
	char	   *text = get_text(object, key);

	if (text == NULL)
		malformed("a field is missing");
	return text;
}

static int64
get_number(JsonbContainer *object, const char *key, int64 otherwise)
{
	JsonbValue	value;

	if (get_value(object, key, &value) == NULL || value.type == jbvNull)
		return otherwise;
	if (value.type != jbvNumeric)
		malformed("a field is not a number");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

static bool
get_true(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (get_value(object, key, &value) == NULL)
		return false;
	return value.type == jbvBool && value.val.boolean;
}

static void *
get_object(JsonbContainer *container)
{
	FloDdlObject *object = palloc0(sizeof(FloDdlObject));

	object->type = get_required_text(container, "type");
	object->schema = get_text(container, "schema");
	object->name = get_required_text(container, "name");
	object->relation = (Oid) get_number(container, "relation", 0);
	object->oid = (Oid) get_number(container, "oid", 0);
	object->creates = get_true(container, "creates");
	object->attached = get_true(container, "attached");
	object->position = (int) get_number(container, "position", -1);
	return object;
}

static void *
get_expected(JsonbContainer *container)
{
	FloDdlExpected *table = palloc0(sizeof(FloDdlExpected));

	table->group = get_required_text(container, "group");
	table->relation = (Oid) get_number(container, "relation", 0);
	table->again = get_true(container, "again");
	return table;
}

/* The objects of an array, each read by a function; NIL when there is no array */
static List *
get_list(JsonbContainer *root, const char *key, void *(*get) (JsonbContainer *))
{
	JsonbValue	array;
	List	   *list = NIL;

	if (get_value(root, key, &array) == NULL)
		return NIL;
	if (array.type != jbvBinary || !JsonContainerIsArray(array.val.binary.data))
		malformed("a list is not an array");
	for (uint32 i = 0; i < JsonContainerSize(array.val.binary.data); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array.val.binary.data, i);

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
			malformed("an object is not one");
		list = lappend(list, get(element->val.binary.data));
	}
	return list;
}

static FloDdlPhase
get_phase(JsonbContainer *root)
{
	char	   *name = get_required_text(root, "phase");

	for (int i = 0; i < lengthof(phase_names); i++)
		if (strcmp(name, phase_names[i]) == 0)
			return (FloDdlPhase) i;
	malformed("unknown phase");
	return FLO_DDL_BEFORE;		/* not reached */
}

FloDdlStatement *
flo_ddl_parse(const char *content)
{
	Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(content)));
	JsonbContainer *root = &json->root;
	FloDdlStatement	   *ddl = palloc0(sizeof(FloDdlStatement));
	JsonbValue	tables;

	if (!JB_ROOT_IS_OBJECT(json))
		malformed("it is no JSON object");
	if (get_number(root, "version", 0) != DDL_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unknown version of a DDL message"),
				 errhint("Update pg_flo here to the version of the source.")));
	ddl->id = get_number(root, "id", 0);
	ddl->phase = get_phase(root);
	ddl->tag = get_required_text(root, "tag");
	ddl->text = get_required_text(root, "text");
	ddl->replay = get_text(root, "replay");
	ddl->search_path = get_text(root, "search_path");
	ddl->role = get_text(root, "role");
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
		ddl->settings[i] = get_text(root, flo_ddl_settings[i]);
	ddl->concurrent = get_true(root, "concurrent");
	ddl->about_owner = get_true(root, "about_owner");
	ddl->about_privileges = get_true(root, "about_privileges");
	ddl->with_owner = get_true(root, "with_owner");
	ddl->objects = get_list(root, "objects", get_object);
	ddl->expected = get_list(root, "expected", get_expected);
	if (get_value(root, "tables", &tables) != NULL && tables.type == jbvBinary)
		ddl->tables = JsonbValueToJsonb(&tables);
	return ddl;
}
