/*
 * preview.c
 *		flo.preview(): what the rules and routes in force make of one change.
 *
 * Runs the very code that workers and replicators run, and needs no broker and
 * no running member.  The change is made from JSON the way the source would
 * send it: as the local table describes it, in binary where all its types are
 * built in.  Where the table is not here, its columns are those given, with the
 * types of the routed table's columns, or what JSON says; and those that rules and
 * routes name, of which a NOTICE tells.
 *
 * A column left out of the new row of an UPDATE was not sent (an unchanged value
 * stored out of line); columns left out of the old row are not in the replica
 * identity, unless the source is here and its table says what that is.
 */
#include "postgres.h"

#include "access/transam.h"
#include "api/function.h"
#include "api/preview_columns.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "conf/commit.h"
#include "conf/named_secret.h"
#include "conf/rights.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/compat_name.h"
#include "core/names.h"
#include "core/roles.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "shape/route.h"
#include "shape/rules.h"
#include "shape/shape.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#define PREVIEW_COLUMNS 5

FLO_FUNCTION(flo_preview);

typedef struct Preview
{
	char	   *group;
	char	   *worker;			/* NULL: any */
	char	   *schema;
	char	   *table;
	Jsonb	   *new;
	Jsonb	   *old;
	bool		converts;		/* as a postgres sink wants it */
	bool		strict;			/* masking of the worker */
	Oid			owner;			/* of the worker */
	bool		at_source;		/* the table is that of the group's replicator */
	FloRelation *relation;
	Datum	   *new_datums;		/* by column of the relation */
	Datum	   *old_datums;
	FloChange	change;
} Preview;

/* --- arguments ----------------------------------------------------------- */

static Jsonb *
row_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Jsonb	   *row;

	if (PG_ARGISNULL(n))
		return NULL;
	row = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(row))
		flo_conf_refuse(psprintf("%s must be a JSON object", name), NULL);
	return row;
}

static FloOp
operation_argument(const char *operation, const Preview *preview)
{
	if (strcmp(operation, "INSERT") == 0)
	{
		if (preview->new == NULL || preview->old != NULL)
			flo_conf_refuse("an INSERT has a new_row and no old_row", NULL);
		return FLO_OP_INSERT;
	}
	if (strcmp(operation, "UPDATE") == 0)
	{
		if (preview->new == NULL)
			flo_conf_refuse("an UPDATE needs a new_row", NULL);
		return FLO_OP_UPDATE;
	}
	if (strcmp(operation, "DELETE") == 0)
	{
		if (preview->old == NULL || preview->new != NULL)
			flo_conf_refuse("a DELETE has an old_row and no new_row",
							"old_row holds what the replica identity gives: usually the key.");
		return FLO_OP_DELETE;
	}
	if (strcmp(operation, "TRUNCATE") == 0)
	{
		if (preview->old != NULL || preview->new != NULL)
			flo_conf_refuse("a TRUNCATE has no rows", NULL);
		return FLO_OP_TRUNCATE;
	}
	flo_conf_refuse(psprintf("invalid operation \"%s\"", operation),
					"Valid operations are: INSERT, UPDATE, DELETE, TRUNCATE.");
	return FLO_OP_INSERT;		/* not reached */
}

/* Whose rules and routes; without a name those of the only worker there is */
static void
choose_worker(Preview *preview)
{
	char	   *only = NULL;
	int			count = 0;
	ListCell   *lc;
	FloWorkerSpec *spec;

	foreach(lc, flo_store_members(preview->group))
	{
		FloMemberSpec *member = lfirst(lc);

		if (!member->is_replicator && ++count == 1)
			only = member->member;
	}
	if (preview->worker == NULL && count == 1)
		preview->worker = only;
	preview->converts = true;
	if (preview->worker == NULL)
		return;
	spec = flo_store_worker(preview->group, preview->worker);
	/* rules may be written, and tried, before there is any */
	if (spec == NULL && count == 0)
		return;
	if (spec == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no worker \"%s\" in this database",
						preview->group, preview->worker)));
	preview->converts = spec->sink == FLO_SINK_POSTGRES;
	preview->owner = spec->owner;
	preview->strict = spec->options.masking == FLO_MASKING_STRICT;
}

/* --- the relation -------------------------------------------------------- */

static Oid
type_of_json(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNumeric:
			return NUMERICOID;
		case jbvBool:
			return BOOLOID;
		case jbvBinary:
			return JSONBOID;
		default:
			return TEXTOID;
	}
}

/* A column like the one that it is routed to, or else of a type; unless it is there */
static void
add_column(FloRelation *relation, char *name, Oid type, const FloRouteSpec *route,
		   const FloRelation *routed)
{
	FloColumn  *column = &relation->columns[relation->natts];
	const char *there_name = name;
	int			there = -1;

	if (flo_relation_column(relation, name) >= 0)
		return;
	for (int i = 0; routed != NULL && i < route->nmappings; i++)
		if (strcmp(route->mappings[i].source, name) == 0)
			there_name = route->mappings[i].destination;
	if (routed != NULL && there_name != NULL)
		there = flo_relation_column(routed, there_name);
	if (there >= 0)
	{
		*column = routed->columns[there];
		column->is_key = false;
	}
	else
	{
		column->type = type;
		column->typmod = -1;
	}
	column->name = name;
	relation->natts++;
}

/* The keys of an object become columns */
static void
add_columns(FloRelation *relation, Jsonb *row, const FloRouteSpec *route,
			const FloRelation *routed)
{
	JsonbIterator *it = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
		add_column(relation, name, type_of_json(&value), route, routed);
	}
}

static FloRelation *
make_relation(const Preview *preview, const FloShapeSpec *spec, const List *named)
{
	FloRelation *relation = palloc0(sizeof(FloRelation));
	const FloRouteSpec *route = flo_route_find(spec->routes, preview->schema, preview->table);
	FloRelation *routed = NULL;
	int			count = list_length(named);
	ListCell   *cell;

	if (route != NULL)
		routed = flo_shape_local_relation(route->destination_schema != NULL ?
										  route->destination_schema : preview->schema,
										  route->destination_table != NULL ?
										  route->destination_table : preview->table);
	relation->id = 1;
	relation->schema = preview->schema;
	relation->name = preview->table;
	relation->identity = REPLICA_IDENTITY_DEFAULT;
	relation->version = flo_relation_new_version();
	if (preview->new != NULL)
		count += JsonContainerSize(&preview->new->root);
	if (preview->old != NULL)
		count += JsonContainerSize(&preview->old->root);
	relation->columns = palloc0((count + 1) * sizeof(FloColumn));
	if (preview->new != NULL)
		add_columns(relation, preview->new, route, routed);
	if (preview->old != NULL)
		add_columns(relation, preview->old, route, routed);
	foreach(cell, named)
		add_column(relation, lfirst(cell), TEXTOID, route, routed);
	return relation;
}

static bool
has_key(Jsonb *row, const char *name)
{
	JsonbValue	space;

	return getKeyJsonValueFromContainer(&row->root, name, strlen(name), &space) != NULL;
}

/* What the old row tells of the replica identity */
static void
set_identity(Preview *preview)
{
	FloRelation *relation = preview->relation;
	bool		all = true;

	if (preview->at_source && preview->old != NULL)
	{
		preview->change.old_is_key = relation->identity != REPLICA_IDENTITY_FULL;
		return;
	}
	if (preview->old == NULL)
	{
		/* UPDATE without an old row */
		if (relation->identity == REPLICA_IDENTITY_FULL)
			relation->identity = REPLICA_IDENTITY_DEFAULT;
		return;
	}
	for (int i = 0; i < relation->natts; i++)
		all &= has_key(preview->old, relation->columns[i].name);
	relation->identity = all ? REPLICA_IDENTITY_FULL : REPLICA_IDENTITY_DEFAULT;
	for (int i = 0; i < relation->natts; i++)
		relation->columns[i].is_key = all || has_key(preview->old, relation->columns[i].name);
	preview->change.old_is_key = !all;
}

static void
check_keys(const Preview *preview, Jsonb *row)
{
	JsonbIterator *it = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
		if (flo_relation_column(preview->relation, name) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist in table \"%s.%s\"",
							name, preview->schema, preview->table),
					 errhint("Generated columns are not sent.")));
	}
}

/* --- rows from JSON ------------------------------------------------------ */

static char *
json_as_text(JsonbContainer *container)
{
	return JsonbToCString(NULL, container, container == NULL ? 0 : 64);
}

/*
 * As the type's input function reads it, each element in quotes: none can be taken
 * for NULL, or for a part of the array's form.
 */
static void
append_array(StringInfo out, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		first = true;

	appendStringInfoChar(out, '{');
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		char	   *text = NULL;

		if (token != WJB_ELEM)
			continue;
		if (!first)
			appendStringInfoChar(out, ',');
		first = false;
		switch (value.type)
		{
			case jbvNull:
				appendStringInfoString(out, "NULL");
				continue;
			case jbvString:
				text = pnstrdup(value.val.string.val, value.val.string.len);
				break;
			case jbvNumeric:
				text = DatumGetCString(DirectFunctionCall1(numeric_out,
														   NumericGetDatum(value.val.numeric)));
				break;
			case jbvBool:
				text = value.val.boolean ? "true" : "false";
				break;
			default:
				if (JsonContainerIsArray(value.val.binary.data))
				{
					append_array(out, value.val.binary.data);
					continue;
				}
				text = json_as_text(value.val.binary.data);
		}
		appendStringInfoChar(out, '"');
		for (; *text != '\0'; text++)
		{
			if (*text == '"' || *text == '\\')
				appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, *text);
		}
		appendStringInfoChar(out, '"');
	}
	appendStringInfoChar(out, '}');
}

/* The text that the type's input function understands */
static char *
text_of_json(const JsonbValue *value, Oid type)
{
	StringInfoData out;

	switch (value->type)
	{
		case jbvString:
			{
				char	   *text = pnstrdup(value->val.string.val, value->val.string.len);

				if (getBaseType(type) != JSONOID && getBaseType(type) != JSONBOID)
					return text;
				initStringInfo(&out);
				escape_json(&out, text);
				return out.data;
			}
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			if (OidIsValid(get_element_type(getBaseType(type))) &&
				JsonContainerIsArray(value->val.binary.data))
			{
				initStringInfo(&out);
				append_array(&out, value->val.binary.data);
				return out.data;
			}
			return json_as_text(value->val.binary.data);
	}
}

static void
make_value(const FloColumn *column, const JsonbValue *json, bool binary, FloValue *value,
		   Datum *datum)
{
	Oid			function;
	Oid			param;
	bool		is_varlena;

	getTypeInputInfo(column->type, &function, &param);
	*datum = OidInputFunctionCall(function, text_of_json(json, column->type), param,
								  column->typmod);
	if (binary)
	{
		bytea	   *bytes;

		getTypeBinaryOutputInfo(column->type, &function, &is_varlena);
		bytes = OidSendFunctionCall(function, *datum);
		value->kind = FLO_VALUE_BINARY;
		value->len = VARSIZE(bytes) - VARHDRSZ;
		value->data = palloc(value->len + 1);
		memcpy(value->data, VARDATA(bytes), value->len);
	}
	else
	{
		char	   *text;

		getTypeOutputInfo(column->type, &function, &is_varlena);
		text = OidOutputFunctionCall(function, *datum);
		flo_value_set_text(value, text, strlen(text));
	}
}

/* With "key_only" other values count as missing */
static void
make_tuple(const Preview *preview, Jsonb *row, char missing, bool key_only, bool binary,
		   FloTuple *tuple, Datum **datums)
{
	const FloRelation *relation = preview->relation;

	tuple->natts = relation->natts;
	tuple->values = palloc0((relation->natts + 1) * sizeof(FloValue));
	tuple->compressed = NULL;
	*datums = palloc0((relation->natts + 1) * sizeof(Datum));
	for (int i = 0; i < relation->natts; i++)
	{
		const FloColumn *column = &relation->columns[i];
		JsonbValue	space;
		JsonbValue *json = getKeyJsonValueFromContainer(&row->root, column->name,
														strlen(column->name), &space);

		if (json == NULL || (key_only && !column->is_key))
			tuple->values[i].kind = missing;
		else if (json->type == jbvNull)
			tuple->values[i].kind = FLO_VALUE_NULL;
		else
			make_value(column, json, binary, &tuple->values[i], &(*datums)[i]);
	}
}

static void
make_change(Preview *preview, FloOp op)
{
	FloRelation *relation = preview->relation;
	bool		binary = true;

	for (int i = 0; i < relation->natts; i++)
		binary &= relation->columns[i].type < FirstNormalObjectId;
	set_identity(preview);
	preview->change.op = op;
	preview->change.relation = relation;
	if (op == FLO_OP_TRUNCATE)
	{
		preview->change.ntruncated = 1;
		preview->change.truncated = palloc0(sizeof(FloTruncated));
		preview->change.truncated[0].relation = relation;
	}
	if (preview->new != NULL)
		make_tuple(preview, preview->new,
				   op == FLO_OP_UPDATE ? FLO_VALUE_UNCHANGED : FLO_VALUE_NULL, false, binary,
				   &preview->change.new, &preview->new_datums);
	if (preview->old != NULL)
	{
		preview->change.has_old = true;
		make_tuple(preview, preview->old, FLO_VALUE_NULL, preview->at_source, binary,
				   &preview->change.old, &preview->old_datums);
	}
}

/* --- rows to JSON -------------------------------------------------------- */

static bool
looks_like_number(const char *text)
{
	const char *digits = text + (*text == '-' ? 1 : 0);
	size_t		whole = strspn(digits, "0123456789");
	const char *rest = digits + whole;

	if (whole == 0 || (whole > 1 && digits[0] == '0'))
		return false;
	if (*rest == '.')
	{
		size_t		fraction = strspn(rest + 1, "0123456789");

		if (fraction == 0)
			return false;
		rest += 1 + fraction;
	}
	return *rest == '\0';
}

/* A value that was changed: only its text is known, and the type it had */
static void
set_changed(JsonbValue *json, const FloColumn *column, const FloValue *value)
{
	int			len;
	FloReader	reader;
	char	   *text;
	char		category = TYPCATEGORY_STRING;
	bool		preferred;

	flo_reader_init(&reader, column, InvalidOid);
	text = unconstify(char *, flo_reader_text(&reader, value, &len));
	text = pnstrdup(text, len);
	if (OidIsValid(reader.type))
		get_type_category_preferred(reader.type, &category, &preferred);
	if (category == TYPCATEGORY_NUMERIC && looks_like_number(text))
	{
		json->type = jbvNumeric;
		json->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
																ObjectIdGetDatum(InvalidOid),
																Int32GetDatum(-1)));
		return;
	}
	json->type = jbvString;
	json->val.string.val = text;
	json->val.string.len = strlen(text);
}

/* As the server's own JSON functions write a value of this type */
static Jsonb *
datum_to_json(Datum datum, Oid type)
{
	FmgrInfo	function;
	FuncExpr   *call = makeFuncExpr(F_TO_JSONB, JSONBOID,
									list_make1(makeNullConst(type, -1, InvalidOid)),
									InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);

	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) call, &function);
	return DatumGetJsonbP(FunctionCall1(&function, datum));
}

static void
set_json(JsonbValue *json, Jsonb *from)
{
	if (JB_ROOT_IS_SCALAR(from))
		(void) JsonbExtractScalar(&from->root, json);
	else
	{
		json->type = jbvBinary;
		json->val.binary.data = &from->root;
		json->val.binary.len = VARSIZE(from) - VARHDRSZ;
	}
}

/* Is it a value of the row as it came?  Its datum then; untouched values keep their bytes. */
static bool
find_datum(const Preview *preview, int column, const FloValue *value, Datum *datum)
{
	if (preview->new != NULL && preview->change.new.values[column].data == value->data)
		*datum = preview->new_datums[column];
	else if (preview->old != NULL && preview->change.old.values[column].data == value->data)
		*datum = preview->old_datums[column];
	else
		return false;
	return true;
}

static Datum
tuple_to_json(const Preview *preview, const FloRelation *relation, const FloTuple *tuple,
			  bool key_only)
{
	FloJsonb	row = {0};

	flo_compat_push_jsonb(&row, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < tuple->natts; i++)
	{
		const FloColumn *column = &relation->columns[i];
		const FloValue *value = &tuple->values[i];
		JsonbValue	json;
		Datum		datum;
		int			source = flo_relation_column(preview->relation,
												 column->source_name != NULL ? column->source_name :
												 column->name);

		if (value->kind == FLO_VALUE_UNCHANGED || (key_only && !column->is_key))
			continue;
		json.type = jbvString;
		json.val.string.val = column->name;
		json.val.string.len = strlen(column->name);
		flo_compat_push_jsonb(&row, WJB_KEY, &json);
		if (value->kind == FLO_VALUE_NULL)
			json.type = jbvNull;
		else if (find_datum(preview, source, value, &datum))
			set_json(&json, datum_to_json(datum, column->type));
		else
			set_changed(&json, column, value);
		flo_compat_push_jsonb(&row, WJB_VALUE, &json);
	}
	flo_compat_push_jsonb(&row, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(row.result));
}

/* --- what is not known --------------------------------------------------- */

static List *
keys_of(Jsonb *row)
{
	JsonbIterator *it = JsonbIteratorInit(&row->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *names = NIL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
			names = lappend(names, pnstrdup(value.val.string.val, value.val.string.len));
	return names;
}

/* Columns that matter and are in no row; where the table is here, only an INSERT needs them */
static void
tell_assumed(const Preview *preview, FloOp op, const List *named, bool known)
{
	List	   *assumed = NIL;
	ListCell   *cell;

	if (op == FLO_OP_TRUNCATE || (known && op != FLO_OP_INSERT))
		return;
	foreach(cell, named)
	{
		if ((preview->new == NULL || !has_key(preview->new, lfirst(cell))) &&
			(preview->old == NULL || !has_key(preview->old, lfirst(cell))) &&
			flo_relation_column(preview->relation, lfirst(cell)) >= 0)
			assumed = lappend(assumed, lfirst(cell));
	}
	flo_preview_tell_assumed(preview->relation, assumed, op, known);
}

/* --- the function -------------------------------------------------------- */

static const char *
name_of(FloOp op)
{
	return op == FLO_OP_INSERT ? "INSERT" : op == FLO_OP_UPDATE ? "UPDATE" :
		op == FLO_OP_DELETE ? "DELETE" : "TRUNCATE";
}

static FloShape *
make_shape(const Preview *preview, FloShapeSpec *spec, bool converts, Oid owner, bool strict)
{
	FloShapeSettings settings = {0};
	FloShape   *shape;

	settings.owner = owner;
	settings.convert_updates = converts;
	settings.strict = strict;
	shape = flo_shape_create(CurrentMemoryContext, &settings);
	flo_shape_load(shape, spec, AllocSetContextCreate(CurrentMemoryContext, "pg_flo rules",
													  ALLOCSET_SMALL_SIZES));
	return shape;
}

static void
return_change(ReturnSetInfo *result, const Preview *preview, const FloChange *change)
{
	const FloRelation *relation = change->op == FLO_OP_TRUNCATE ? change->truncated[0].relation :
		change->relation;
	Datum		values[PREVIEW_COLUMNS] = {0};
	bool		nulls[PREVIEW_COLUMNS] = {false};

	values[0] = CStringGetTextDatum(relation->schema);
	values[1] = CStringGetTextDatum(relation->name);
	values[2] = CStringGetTextDatum(name_of(change->op));
	nulls[3] = change->op == FLO_OP_DELETE || change->op == FLO_OP_TRUNCATE;
	if (!nulls[3])
		values[3] = tuple_to_json(preview, relation, &change->new, false);
	nulls[4] = !change->has_old || change->op == FLO_OP_TRUNCATE;
	if (!nulls[4])
		values[4] = tuple_to_json(preview, relation, &change->old, change->old_is_key);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Who could make pseudonyms of values of his choice could find out what others' stand for */
static void
check_secrets(const Preview *preview, List *rules)
{
	ListCell   *lc;
	const char *value;

	foreach(lc, rules)
	{
		FloRuleSpec *rule = lfirst(lc);

		if (rule->secret_name != NULL && strcmp(rule->schema, preview->schema) == 0 &&
			strcmp(rule->table, preview->table) == 0 &&
			flo_named_secret_find(rule->secret_name, GetUserId(), &value) == FLO_SECRET_FORBIDDEN)
			flo_named_secret_refuse(FLO_SECRET_FORBIDDEN, rule->secret_name, GetUserId());
	}
}

/*
 * Code of the rules' authors runs with what the caller gives it: he must be a
 * reader of the group or, before it has members here, have the authors' rights.
 */
static void
check_rights(const Preview *preview, const FloShapeSpec *at_replicator,
			 const FloShapeSpec *at_worker)
{
	ListCell   *lc;

	if (flo_store_group_exists(preview->group, NULL))
	{
		flo_rights_require_reader(preview->group);
		return;
	}
	foreach(lc, list_concat_copy(at_replicator->rules, at_worker->rules))
	{
		FloRuleSpec *rule = lfirst(lc);

		if (!flo_role_has_rights_of(GetUserId(), rule->author))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for rule " INT64_FORMAT " of group \"%s\"", rule->id,
							preview->group),
					 errhint("It belongs to %s.", flo_role_shown(rule->author))));
	}
}

/*
 * What the rules say may be a secret, so rights to all of them come before anything
 * is tried, and before an error could quote one.
 */
Datum
flo_preview(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Preview		preview = {0};
	char	   *operation;
	FloOp		op;
	FloShapeSpec *at_replicator;
	FloShapeSpec *at_worker;
	const FloChange *change;
	List	   *named;
	bool		known;

	preview.group = flo_argument_text(fcinfo, 0, "group_name");
	preview.table = flo_argument_text(fcinfo, 1, "table_name");
	operation = flo_argument_text(fcinfo, 2, "operation");
	preview.new = row_argument(fcinfo, 3, "new_row");
	preview.old = row_argument(fcinfo, 4, "old_row");
	preview.schema = flo_argument_text(fcinfo, 5, "schema_name");
	preview.worker = PG_ARGISNULL(6) ? NULL : flo_argument_text(fcinfo, 6, "worker_name");
	op = operation_argument(operation, &preview);
	flo_name_check_group(preview.group);

	at_replicator = flo_rule_tables_load(preview.group, FLO_REPLICATOR_MEMBER, NULL);
	choose_worker(&preview);
	at_worker = flo_rule_tables_load(preview.group, preview.worker, NULL);
	if (at_replicator->rules == NIL && at_worker->rules == NIL && at_worker->routes == NIL &&
		!flo_store_group_exists(preview.group, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" does not exist in this database, and has no rules or routes here",
						preview.group)));
	check_rights(&preview, at_replicator, at_worker);
	check_secrets(&preview, at_replicator->rules);
	check_secrets(&preview, at_worker->rules);

	preview.relation = flo_shape_local_relation(preview.schema, preview.table);
	known = preview.relation != NULL;
	preview.at_source = known && flo_store_replicator(preview.group) != NULL;
	named = list_concat(flo_preview_named(at_replicator, preview.schema, preview.table),
						flo_preview_named(at_worker, preview.schema, preview.table));
	if (!known)
		preview.relation = make_relation(&preview, at_worker, named);
	if (preview.new != NULL)
		check_keys(&preview, preview.new);
	if (preview.old != NULL)
		check_keys(&preview, preview.old);
	tell_assumed(&preview, op, named, known);
	if (preview.at_source && (op == FLO_OP_UPDATE || op == FLO_OP_DELETE))
		flo_preview_tell_identity(preview.relation,
								  preview.old != NULL ? keys_of(preview.old) : NIL,
								  preview.old != NULL);
	make_change(&preview, op);

	InitMaterializedSRF(fcinfo, 0);
	change = flo_shape_apply(make_shape(&preview, at_replicator, true, InvalidOid, false),
							 &preview.change);
	if (change != NULL)
		change = flo_shape_apply(make_shape(&preview, at_worker, preview.converts, preview.owner,
											preview.strict), change);
	if (change != NULL)
		return_change(result, &preview, change);
	return (Datum) 0;
}
