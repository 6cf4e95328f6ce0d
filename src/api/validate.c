/*
 * validate.c
 *		Checks rows of flo.rules, flo.routes and flo.webhook_subscriptions when
 *		they are written.
 *
 * Promises: what can be known about a row by itself is checked by a row trigger
 * (22023, with the allowed values as the hint); what rows must not be together
 * is checked once per statement.  Whether the group, the worker or the table
 * exists is not asked: rules and routes may be written before them.
 *
 * A rule is also compiled, for the local table where that tells what the
 * source's is like, so that what can never work is refused here and not by a
 * process later.  Whoever writes a rule is its author, with whose rights its
 * expression runs; nobody can put somebody else's name to what he has written.
 *
 * A row that nobody of a started group would execute must not be passed over in
 * silence: start_group() refuses a group that has one, and a row for a group that
 * is started already is refused here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/function.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "conf/commit.h"
#include "conf/endpoint.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/names.h"
#include "core/roles.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "shape/rules.h"
#include "shape/shape.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"

FLO_FUNCTION(flo_validate_row);
FLO_FUNCTION(flo_validate_table);
FLO_FUNCTION(flo_rule_problem);

typedef enum ArgumentType
{
	ARGUMENT_TEXT,				/* a string, not empty */
	ARGUMENT_ANY_TEXT,			/* a string */
	ARGUMENT_CHARACTER,			/* a string of one character */
	ARGUMENT_COUNT,				/* a whole number, not negative */
	ARGUMENT_SCALAR,			/* string, number or boolean */
	ARGUMENT_SHORT,				/* "mask" or "keep" */
	ARGUMENT_INTEGER,			/* a whole number */
	ARGUMENT_BOOL
} ArgumentType;

typedef struct Argument
{
	const char *name;
	ArgumentType type;
	bool		required;
} Argument;

#define MAX_ACTION_ARGUMENTS 7

typedef struct Action
{
	const char *name;
	bool		needs_column;
	Argument	arguments[MAX_ACTION_ARGUMENTS + 1];
} Action;

static const Action actions[] = {
	{"regex", true, {{"pattern", ARGUMENT_TEXT, true}, {"replace", ARGUMENT_ANY_TEXT, true}, {"flags", ARGUMENT_ANY_TEXT}}},
	{"mask", true, {{"mask_char", ARGUMENT_CHARACTER}, {"keep_first", ARGUMENT_COUNT}, {"keep_last", ARGUMENT_COUNT}, {"short", ARGUMENT_SHORT}}},
	{"expression", true, {{"expression", ARGUMENT_TEXT, true}}},
	{"null", true, {{0}}},
	{"constant", true, {{"value", ARGUMENT_SCALAR, true}, {"allow_duplicates", ARGUMENT_BOOL}}},
	{"pseudonym", true, {{"kind", ARGUMENT_TEXT, true}, {"secret", ARGUMENT_TEXT, true}, {"subject", ARGUMENT_TEXT}, {"days", ARGUMENT_COUNT}, {"min", ARGUMENT_INTEGER}, {"max", ARGUMENT_INTEGER}, {"allow_duplicates", ARGUMENT_BOOL}}},
	{"hash", true, {{"secret", ARGUMENT_TEXT, true}, {"length", ARGUMENT_COUNT}, {"alphabet", ARGUMENT_TEXT}, {"allow_duplicates", ARGUMENT_BOOL}}},
	{"keep", true, {{0}}},
	{"eq", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"ne", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"gt", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"lt", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"gte", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"lte", true, {{"value", ARGUMENT_SCALAR, true}}},
	{"contains", true, {{"value", ARGUMENT_TEXT, true}}},
	{"where", false, {{"expression", ARGUMENT_TEXT, true}}},
};

static const char *const argument_hints[] = {
	"The value is a string that is not empty.",
	"The value is a string.",
	"The value is a string of one character.",
	"The value is a whole number, 0 or more.",
	"The value is a string, a number or a boolean.",
	"Valid values are: mask, keep.",
	"The value is a whole number.",
	"The value is true or false."
};

static const char *const rule_operations[] = {"INSERT", "UPDATE", "DELETE", NULL};
static const char *const all_operations[] = {"INSERT", "UPDATE", "DELETE", "TRUNCATE", NULL};
static const char *const event_types[] = {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "DDL", NULL};

/* The row being checked */
typedef struct Row
{
	HeapTuple	tuple;
	TupleDesc	descriptor;
} Row;

/* A column's value; NULL columns that must not be are left to the table's constraints */
static Datum
column_value(const Row *row, const char *name, bool *isnull)
{
	int			number = SPI_fnumber(row->descriptor, name);

	if (number <= 0)
		elog(ERROR, "column \"%s\" is missing", name);
	return heap_getattr(row->tuple, number, row->descriptor, isnull);
}

static char *
column_text(const Row *row, const char *name)
{
	bool		isnull;
	Datum		value = column_value(row, name, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static Jsonb *
column_object(const Row *row, const char *name)
{
	bool		isnull;
	Datum		value = column_value(row, name, &isnull);
	Jsonb	   *object;

	if (isnull)
		return NULL;
	object = DatumGetJsonbP(value);
	if (!JB_ROOT_IS_OBJECT(object))
		flo_conf_refuse(psprintf("%s must be a JSON object", name), NULL);

	return object;
}

static void
check_names(const Row *row)
{
	char	   *group = column_text(row, "group_name");
	char	   *worker = column_text(row, "worker_name");

	if (group != NULL)
		flo_name_check_group(group);
	if (worker != NULL)
		flo_name_check_worker(worker);
}

static void
check_not_empty(const Row *row, const char *column)
{
	char	   *value = column_text(row, column);

	if (value != NULL && value[0] == '\0')
		flo_conf_refuse(psprintf("%s must not be empty", column), NULL);
}

static char *
list_words(const char *const *words)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; words[i] != NULL; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", words[i]);
	return list.data;
}

static void
check_operations(const Row *row, const char *const *known)
{
	bool		isnull;
	Datum		value = column_value(row, "operations", &isnull);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			seen = 0;
	char	   *hint = psprintf("Valid operations are: %s.", list_words(known));

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	if (count == 0)
		flo_conf_refuse("operations must not be empty", hint);

	for (int i = 0; i < count; i++)
	{
		char	   *operation = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		int			which = 0;

		if (operation == NULL)
			flo_conf_refuse("operations must not contain nulls", hint);
		while (known[which] != NULL && strcmp(known[which], operation) != 0)
			which++;
		if (known[which] == NULL)
			flo_conf_refuse(psprintf("invalid operation \"%s\"", operation), hint);
		if (seen & (1 << which))
			flo_conf_refuse(psprintf("operation \"%s\" is listed twice", operation), NULL);
		seen |= 1 << which;
	}
}

/* --- rules --------------------------------------------------------------- */

static bool
argument_fits(ArgumentType type, const JsonbValue *value)
{
	char	   *text = value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;

	switch (type)
	{
		case ARGUMENT_TEXT:
			return text != NULL && text[0] != '\0';
		case ARGUMENT_ANY_TEXT:
			return text != NULL;
		case ARGUMENT_CHARACTER:
			return text != NULL && pg_mbstrlen(text) == 1;
		case ARGUMENT_COUNT:
			if (value->type != jbvNumeric)
				return false;
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
			return strspn(text, "0123456789") == strlen(text) && strlen(text) <= 9;
		case ARGUMENT_SCALAR:
			return text != NULL || value->type == jbvNumeric || value->type == jbvBool;
		case ARGUMENT_INTEGER:
			if (value->type != jbvNumeric)
				return false;
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
			return strspn(text, "-0123456789") == strlen(text) && strlen(text) <= 20;
		case ARGUMENT_BOOL:
			return value->type == jbvBool;
		case ARGUMENT_SHORT:
			return text != NULL && (strcmp(text, "mask") == 0 || strcmp(text, "keep") == 0);
	}

	return false;
}

static char *
list_arguments(const Action *action)
{
	const char *names[MAX_ACTION_ARGUMENTS + 1] = {NULL};

	for (int i = 0; action->arguments[i].name != NULL; i++)
		names[i] = action->arguments[i].name;
	return list_words(names);
}

static void
check_arguments(const Action *action, Jsonb *arguments)
{
	JsonbIterator *it = JsonbIteratorInit(&arguments->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;
	int			given = 0;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;
		int			which = 0;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);

		while (action->arguments[which].name != NULL &&
			   strcmp(action->arguments[which].name, name) != 0)
			which++;
		if (action->arguments[which].name == NULL)
			flo_conf_refuse(psprintf("unknown argument \"%s\" of action \"%s\"", name,
									 action->name),
							action->arguments[0].name == NULL ? "It has no arguments." :
							psprintf("Its arguments are: %s.", list_arguments(action)));
		if (!argument_fits(action->arguments[which].type, &value))
			flo_conf_refuse(psprintf("invalid argument \"%s\" of action \"%s\"", name,
									 action->name),
							argument_hints[action->arguments[which].type]);
		given |= 1 << which;
	}

	for (int i = 0; action->arguments[i].name != NULL; i++)
		if (action->arguments[i].required && (given & (1 << i)) == 0)
			flo_conf_refuse(psprintf("action \"%s\" needs the argument \"%s\"", action->name,
									 action->arguments[i].name),
							psprintf("Its arguments are: %s.", list_arguments(action)));
}

static const Action *
find_action(const char *name)
{
	StringInfoData known;

	initStringInfo(&known);
	for (int i = 0; i < lengthof(actions); i++)
	{
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
		appendStringInfo(&known, "%s%s", i > 0 ? ", " : "", actions[i].name);
	}
	flo_conf_refuse(psprintf("unknown action \"%s\"", name),
					psprintf("Actions are: %s.", known.data));

	return NULL;				/* not reached */
}

static void
check_rule(const Row *row)
{
	char	   *stage = column_text(row, "stage");
	char	   *action_name = column_text(row, "action");
	char	   *column = column_text(row, "column_name");
	Jsonb	   *arguments = column_object(row, "arguments");
	const Action *action;

	check_names(row);
	check_not_empty(row, "schema_name");
	check_not_empty(row, "table_name");
	check_not_empty(row, "column_name");
	check_operations(row, rule_operations);

	if (stage != NULL && strcmp(stage, "worker") != 0 && strcmp(stage, "replicator") != 0)
		flo_conf_refuse(psprintf("invalid stage \"%s\"", stage),
						"Valid stages are: worker, replicator.");
	if (stage != NULL && strcmp(stage, "replicator") == 0 &&
		column_text(row, "worker_name") != NULL)
		flo_conf_refuse("a rule for the stage \"replicator\" cannot name a worker",
						"What leaves the replicator is the same for all workers.");

	if (action_name == NULL)
		return;
	action = find_action(action_name);
	if (action->needs_column && column == NULL)
		flo_conf_refuse(psprintf("action \"%s\" needs a column_name", action_name), NULL);
	if (arguments != NULL)
		check_arguments(action, arguments);
}

/* Columns whose change leaves the author as he is: they say when, not what */
static bool
says_only_when(const char *column)
{
	static const char *const names[] = {
		"author", "operations", "allow_empty_deletes", "position", "enabled", NULL
	};

	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], column) == 0)
			return true;
	return false;
}

/* Is what the row does another thing than before? */
static bool
does_something_else(const Row *row, HeapTuple before)
{
	for (int i = 0; i < row->descriptor->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(row->descriptor, i);
		bool		null_now;
		bool		null_before;
		Datum		now;
		Datum		then;

		if (att->attisdropped || says_only_when(NameStr(att->attname)))
			continue;
		now = heap_getattr(row->tuple, i + 1, row->descriptor, &null_now);
		then = heap_getattr(before, i + 1, row->descriptor, &null_before);
		if (null_now != null_before ||
			(!null_now && !datum_image_eq(now, then, att->attbyval, att->attlen)))
			return true;
	}
	return false;
}

static Oid
author_of(HeapTuple tuple, TupleDesc descriptor)
{
	Row			row = {tuple, descriptor};
	bool		isnull;
	Datum		value = column_value(&row, "author", &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

/*
 * The author of a new or changed row.  Another than the one who writes can be
 * named by somebody who could act as him: that is how a dump is restored.
 */
static HeapTuple
set_author(Row *row, HeapTuple before)
{
	Oid			given = author_of(row->tuple, row->descriptor);
	Oid			former = before != NULL ? author_of(before, row->descriptor) : InvalidOid;
	Oid			author = given;
	Datum		value;
	int			number = SPI_fnumber(row->descriptor, "author");
	bool		isnull = false;

	if (OidIsValid(former) && (!OidIsValid(given) || given == former))
		author = does_something_else(row, before) ? GetUserId() : former;
	else if (!OidIsValid(given))
		author = GetUserId();
	else if (!superuser() && !flo_role_can_become(GetUserId(), given))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to write a row as %s", flo_role_shown(given)),
				 errhint("Leave the column author alone: it is set to whoever writes the row.")));
	if (given == author)
		return row->tuple;
	value = ObjectIdGetDatum(author);
	return heap_modify_tuple_by_cols(row->tuple, row->descriptor, 1, &number, &value, &isnull);
}

static HeapTuple
check_rule_of_row(Row *row, HeapTuple before)
{
	FloRuleSpec *spec;
	char	   *stage;
	bool		isnull;
	bool		restored = before == NULL &&
		OidIsValid(author_of(row->tuple, row->descriptor));

	check_rule(row);
	/* what must not be null is refused by the table */
	if (column_text(row, "action") == NULL || column_text(row, "table_name") == NULL ||
		column_text(row, "schema_name") == NULL || column_text(row, "group_name") == NULL ||
		column_object(row, "arguments") == NULL)
		return row->tuple;
	row->tuple = set_author(row, before);
	spec = flo_rule_tables_rule(row->tuple, row->descriptor);
	/* its author is gone: it stops whoever executes it */
	if (!flo_role_exists(spec->author))
		return row->tuple;
	/* one that no longer fits can always be disabled */
	if (!DatumGetBool(column_value(row, "enabled", &isnull)))
	{
		flo_rule_try(spec, NULL, false, false);
		return row->tuple;
	}
	/* a dump has rules, and no secrets */
	if (spec->secret_name != NULL && spec->secret == NULL && restored)
	{
		ereport(WARNING,
				(errmsg("rule " INT64_FORMAT " needs the secret \"%s\", which is not in this database",
						spec->id, spec->secret_name),
				 errhint("Set it with flo.set_secret() before the group is started.")));
		return row->tuple;
	}
	flo_rule_require_secret(spec);
	stage = column_text(row, "stage");
	flo_rule_tables_check_rule(spec, column_text(row, "group_name"),
							   column_text(row, "worker_name"),
							   stage != NULL && strcmp(stage, "replicator") == 0);
	return row->tuple;
}

/* --- routes -------------------------------------------------------------- */

static void
check_mappings(Jsonb *mappings)
{
	JsonbIterator *it = JsonbIteratorInit(&mappings->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;
	List	   *targets = NIL;
	ListCell   *lc;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *column;
		char	   *target;

		if (token != WJB_KEY)
			continue;
		column = pnstrdup(key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvNull)
			continue;
		if (value.type != jbvString || value.val.string.len == 0)
			flo_conf_refuse(psprintf("invalid mapping of column \"%s\"", column),
							"The value is the name of the destination column, or null to leave the column out.");

		target = pnstrdup(value.val.string.val, value.val.string.len);
		foreach(lc, targets)
		{
			if (strcmp(lfirst(lc), target) == 0)
				flo_conf_refuse(psprintf("two columns are mapped to \"%s\"", target), NULL);
		}
		targets = lappend(targets, target);
	}
}

static void
check_route(const Row *row)
{
	char	   *source = column_text(row, "source_table");
	Jsonb	   *mappings = column_object(row, "column_mappings");

	check_names(row);
	check_not_empty(row, "source_schema");
	check_not_empty(row, "source_table");
	check_not_empty(row, "destination_schema");
	check_not_empty(row, "destination_table");
	check_operations(row, all_operations);

	if (mappings != NULL)
		check_mappings(mappings);
	if (source == NULL || strcmp(source, "*") != 0)
		return;

	if (column_text(row, "destination_table") != NULL)
		flo_conf_refuse("a route for every table of a schema cannot name a destination_table",
						"Its tables keep their names; set destination_schema.");
	if (mappings != NULL && JsonContainerSize(&mappings->root) > 0)
		flo_conf_refuse("a route for every table of a schema cannot map columns", NULL);
}

static void
check_subscription(const Row *row)
{
	char	   *url = column_text(row, "url");

	check_names(row);
	check_not_empty(row, "schema_name");
	check_not_empty(row, "table_name");
	check_operations(row, event_types);
	if (url != NULL)
	{
		flo_url_check(url);
		flo_url_check_allowed(url, GetUserId());
	}
}

static TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function can only be called as a trigger")));

	return (TriggerData *) fcinfo->context;
}

Datum
flo_validate_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);
	Row			row;

	row.tuple = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
		trigger->tg_newtuple : trigger->tg_trigtuple;
	row.descriptor = RelationGetDescr(trigger->tg_relation);

	if (strcmp(table, "rules") == 0)
		row.tuple = check_rule_of_row(&row, TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
									  trigger->tg_trigtuple : NULL);
	else if (strcmp(table, "routes") == 0)
		check_route(&row);
	else
	{
		check_subscription(&row);
		row.tuple = set_author(&row, TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
							   trigger->tg_trigtuple : NULL);
	}

	return PointerGetDatum(row.tuple);
}

/* --- what rows must not be together -------------------------------------- */

/* First column of the first row, or NULL; valid until SPI_finish() */
static char *
first_value(const char *query)
{
	if (SPI_execute(query, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tables of schema flo");

	return SPI_processed == 0 ? NULL :
		SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/*
 * Two routes share a destination when some worker follows both and they name
 * the same table, "*" standing for any.  They do not when one of them is the
 * exception to the other: a table to its schema's "*", a worker's own to that
 * of all workers.
 */
static const char *const shared_destination =
"WITH r AS ("
"  SELECT id, group_name, worker_name, source_schema, source_table, operations,"
"         coalesce(destination_schema, source_schema) AS schema_name,"
"         CASE source_table WHEN '*' THEN '*' ELSE coalesce(destination_table, source_table) END AS table_name"
"    FROM flo.routes WHERE enabled)"
"SELECT format('routes %s and %s', a.id, b.id) FROM r a JOIN r b"
"    ON a.group_name = b.group_name AND a.id < b.id"
"   AND (a.worker_name = b.worker_name OR a.worker_name IS NULL OR b.worker_name IS NULL)"
"   AND a.schema_name = b.schema_name"
"   AND (a.table_name = b.table_name OR a.table_name = '*' OR b.table_name = '*')"
" WHERE NOT (a.source_schema = b.source_schema AND a.source_table = b.source_table)"
"   AND NOT (a.source_schema = b.source_schema AND a.source_table = '*' AND b.table_name = b.source_table)"
"   AND NOT (a.source_schema = b.source_schema AND b.source_table = '*' AND a.table_name = a.source_table)"
"   AND 'TRUNCATE' = ANY (a.operations || b.operations)"
" ORDER BY a.id, b.id";

/*
 * A column and the one that it refers to are compared by the server: what makes
 * other values of one must make the same of the other.  Where a route leads a
 * table elsewhere, or rows become events, keys here say nothing.
 */
static const char *const unpaired_key =
"WITH p AS ("
"  SELECT r.*, r.action || (r.arguments - 'allow_duplicates')::text AS what FROM flo.rules r"
"   WHERE r.enabled AND r.action IN ('pseudonym', 'hash')),"
" k AS ("
"  SELECT c.conname, c.conrelid, c.confrelid, a.attname AS near, f.attname AS far"
"    FROM pg_constraint c CROSS JOIN LATERAL unnest(c.conkey, c.confkey) n (near, far)"
"    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = n.near"
"    JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = n.far"
"   WHERE c.contype = 'f' AND c.conparentid = 0),"
" e AS ("
"  SELECT conname, conrelid AS here, near AS here_column, confrelid AS there, far AS there_column FROM k"
"  UNION ALL SELECT conname, confrelid, far, conrelid, near FROM k),"
" t AS (SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace)"
"SELECT format('rule %s makes other values of column %I of table %I.%I, which the foreign key %I compares with column %I of %I.%I,"
" and that has no such rule',"
"              p.id, p.column_name, p.schema_name, p.table_name, e.conname, e.there_column, o.nspname, o.relname)"
"  FROM p JOIN t ON t.nspname = p.schema_name AND t.relname = p.table_name"
"  JOIN e ON e.here = t.oid AND e.here_column = p.column_name JOIN t o ON o.oid = e.there"
" WHERE NOT EXISTS (SELECT FROM p q WHERE q.group_name = p.group_name AND q.stage = p.stage AND q.what = p.what"
"                      AND (q.worker_name IS NULL OR q.worker_name IS NOT DISTINCT FROM p.worker_name)"
"                      AND q.schema_name = o.nspname AND q.table_name = o.relname AND q.column_name = e.there_column)"
"   AND NOT (p.stage = 'worker' AND ("
"        EXISTS (SELECT FROM flo.routes x WHERE x.group_name = p.group_name AND x.enabled"
"                   AND (x.source_schema, x.source_table) IN ((p.schema_name, p.table_name), (p.schema_name, '*'),"
"                                                             (o.nspname, o.relname), (o.nspname, '*')))"
"        OR (SELECT bool_and(w.sink <> 'postgres') FROM flo.workers w WHERE w.group_name = p.group_name"
"               AND (p.worker_name IS NULL OR w.worker_name = p.worker_name)) IS TRUE))"
" ORDER BY p.id LIMIT 1";

/* Every enabled row of a started group must have somebody who executes it */
static void
check_executors(const char *table)
{
	uint64		count;
	char	  **groups;

	if (SPI_execute(psprintf("SELECT DISTINCT group_name FROM flo.%s WHERE enabled", table),
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the tables of schema flo");
	count = SPI_processed;
	groups = palloc((count + 1) * sizeof(char *));
	for (uint64 i = 0; i < count; i++)
		groups[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	for (uint64 i = 0; i < count; i++)
		flo_rule_tables_check_members(groups[i], true);
}

Datum
flo_validate_table(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = trigger_data(fcinfo);
	const char *table = RelationGetRelationName(trigger->tg_relation);
	FloAsRole	as;
	char	   *found;

	flo_store_enter(&as);
	SPI_connect();

	found = strcmp(table, "routes") == 0 ? first_value(shared_destination) : NULL;
	if (found != NULL)
		flo_conf_refuse(psprintf("%s share a destination and pass TRUNCATE", found),
						"A TRUNCATE of one source would empty the rows of the other: leave it out of operations.");

	found = strcmp(table, "rules") == 0 ? first_value(unpaired_key) : NULL;
	if (found != NULL)
		flo_conf_refuse(found, "Write, change or delete the rules of both columns in one statement.");

	if (!TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		check_executors(table);

	SPI_finish();
	flo_store_leave(&as);

	return PointerGetDatum(NULL);
}

/* rule_problem(id), for flo.check() */
Datum
flo_rule_problem(PG_FUNCTION_ARGS)
{
	char	   *problem = flo_rule_tables_problem(PG_GETARG_INT64(0));

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
