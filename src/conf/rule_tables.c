/*
 * rule_tables.c
 *		Rows of flo.rules and flo.routes as specs, and what is kept of the tables
 *		they were applied to.
 *
 * All rows are read with one snapshot, so that rules and routes changed
 * together take effect together.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "conf/named_secret.h"
#include "conf/options.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/attempt.h"
#include "core/names.h"
#include "core/text.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "shape/rules.h"
#include "shape/shape.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

static const char *const action_names[] = {
	"regex", "mask", "expression", "null", "constant", "pseudonym", "hash", "keep",
	"eq", "ne", "gt", "lt", "gte", "lte", "contains", "where"
};

/* --- rows as specs ------------------------------------------------------- */

static Datum
field(HeapTuple tuple, TupleDesc descriptor, const char *name, bool *isnull)
{
	int			number = SPI_fnumber(descriptor, name);

	if (number <= 0)
		elog(ERROR, "column \"%s\" is missing", name);
	return heap_getattr(tuple, number, descriptor, isnull);
}

static char *
field_text(HeapTuple tuple, TupleDesc descriptor, const char *name)
{
	bool		isnull;
	Datum		value = field(tuple, descriptor, name, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static int
field_operations(HeapTuple tuple, TupleDesc descriptor)
{
	static const char *const names[] = {"INSERT", "UPDATE", "DELETE", "TRUNCATE"};
	bool		isnull;
	Datum		value = field(tuple, descriptor, "operations", &isnull);
	int			operations = 0;
	ListCell   *cell;

	if (isnull)
		return 0;
	foreach(cell, flo_texts_of_array(value))
	{
		for (int i = 0; i < lengthof(names); i++)
			if (strcmp(lfirst(cell), names[i]) == 0)
				operations |= 1 << i;
	}
	return operations;
}

static char *
argument(Jsonb *arguments, const char *name)
{
	JsonbValue	space;

	return flo_scalar_text(getKeyJsonValueFromContainer(&arguments->root, name, strlen(name),
														&space));
}

static int
argument_count(Jsonb *arguments, const char *name, int missing)
{
	char	   *text = argument(arguments, name);

	return text != NULL ? atoi(text) : missing;
}

static void
set_action(FloRuleSpec *spec, const char *name)
{
	for (int i = 0; i < lengthof(action_names); i++)
		if (strcmp(action_names[i], name) == 0)
		{
			spec->action = (FloAction) i;
			return;
		}
	elog(ERROR, "unknown action \"%s\"", name);
}

/* What cannot be had is told when the rule is compiled */
static void
set_secret(FloRuleSpec *spec)
{
	const char *value;

	if (spec->secret_name != NULL &&
		flo_named_secret_find(spec->secret_name, spec->author, &value) == FLO_SECRET_FOUND)
		spec->secret = pstrdup(value);
}

FloRuleSpec *
flo_rule_tables_rule(HeapTuple tuple, TupleDesc descriptor)
{
	FloRuleSpec *spec = palloc0(sizeof(FloRuleSpec));
	bool		isnull;
	Jsonb	   *arguments;
	char	   *text;

	spec->id = DatumGetInt64(field(tuple, descriptor, "id", &isnull));
	spec->schema = field_text(tuple, descriptor, "schema_name");
	spec->table = field_text(tuple, descriptor, "table_name");
	spec->column = field_text(tuple, descriptor, "column_name");
	set_action(spec, field_text(tuple, descriptor, "action"));
	spec->author = DatumGetObjectId(field(tuple, descriptor, "author", &isnull));
	spec->operations = field_operations(tuple, descriptor);
	spec->allow_empty_deletes =
		DatumGetBool(field(tuple, descriptor, "allow_empty_deletes", &isnull));

	arguments = DatumGetJsonbP(field(tuple, descriptor, "arguments", &isnull));
	spec->pattern = argument(arguments, "pattern");
	spec->replace = argument(arguments, "replace");
	spec->flags = argument(arguments, "flags");
	text = argument(arguments, "mask_char");
	spec->mask_char = text != NULL ? text : pstrdup("*");
	spec->keep_first = argument_count(arguments, "keep_first", 1);
	spec->keep_last = argument_count(arguments, "keep_last", 1);
	text = argument(arguments, "short");
	spec->keep_short = text != NULL && strcmp(text, "keep") == 0;
	spec->value = argument(arguments, "value");
	spec->expression = argument(arguments, "expression");
	spec->kind = argument(arguments, "kind");
	spec->min = argument(arguments, "min");
	spec->max = argument(arguments, "max");
	spec->days = argument(arguments, "days");
	spec->subject = argument(arguments, "subject");
	spec->length = argument(arguments, "length");
	spec->alphabet = argument(arguments, "alphabet");
	text = argument(arguments, "allow_duplicates");
	spec->allow_duplicates = text != NULL && strcmp(text, "true") == 0;
	spec->secret_name = argument(arguments, "secret");
	set_secret(spec);
	return spec;
}

static void
set_mappings(FloRouteSpec *route, Jsonb *mappings)
{
	JsonbIterator *it = JsonbIteratorInit(&mappings->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	route->mappings = palloc((JsonContainerSize(&mappings->root) + 1) * sizeof(FloMapping));
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		FloMapping *mapping;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		mapping = &route->mappings[route->nmappings++];
		mapping->source = pnstrdup(key.val.string.val, key.val.string.len);
		mapping->destination = flo_scalar_text(&value);
	}
}

static void *
make_route(HeapTuple tuple, TupleDesc descriptor)
{
	FloRouteSpec *route = palloc0(sizeof(FloRouteSpec));
	bool		isnull;

	route->id = DatumGetInt64(field(tuple, descriptor, "id", &isnull));
	route->source_schema = field_text(tuple, descriptor, "source_schema");
	route->source_table = field_text(tuple, descriptor, "source_table");
	if (strcmp(route->source_table, "*") == 0)
		route->source_table = NULL;
	route->destination_schema = field_text(tuple, descriptor, "destination_schema");
	route->destination_table = field_text(tuple, descriptor, "destination_table");
	route->operations = field_operations(tuple, descriptor);
	set_mappings(route, DatumGetJsonbP(field(tuple, descriptor, "column_mappings", &isnull)));
	return route;
}

/* --- reading and writing ------------------------------------------------- */

static uint64
query(const char *sql, int nargs, const char *const *args, bool read_only)
{
	Oid			types[11];
	Datum		values[11] = {0};
	char		nulls[11] = {0};
	int			result;

	Assert(nargs <= lengthof(types));
	for (int i = 0; i < nargs; i++)
	{
		types[i] = TEXTOID;
		nulls[i] = args[i] != NULL ? ' ' : 'n';
		values[i] = args[i] != NULL ? CStringGetTextDatum(args[i]) : (Datum) 0;
	}
	result = SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, 0);
	if (result < 0)
		elog(ERROR, "statement on schema flo returned %s: %s", SPI_result_code_string(result), sql);
	return SPI_processed;
}

static char **
field_names(HeapTuple tuple, TupleDesc descriptor, const char *name, int *count)
{
	bool		isnull;
	List	   *list = flo_texts_of_array(field(tuple, descriptor, name, &isnull));
	char	  **names = palloc((list_length(list) + 1) * sizeof(char *));
	ListCell   *cell;

	foreach(cell, list)
		names[foreach_current_index(cell)] = lfirst(cell);
	*count = list_length(list);
	return names;
}

static FloKnownTable *
seen_table(HeapTuple tuple, TupleDesc descriptor)
{
	FloKnownTable *known = palloc0(sizeof(FloKnownTable));
	bool		isnull;

	known->id = DatumGetObjectId(field(tuple, descriptor, "relation", &isnull));
	known->schema = field_text(tuple, descriptor, "schema_name");
	known->table = field_text(tuple, descriptor, "table_name");
	known->newest_rule = DatumGetInt64(field(tuple, descriptor, "newest_rule", &isnull));
	known->newest_route = DatumGetInt64(field(tuple, descriptor, "newest_route", &isnull));
	known->columns = field_names(tuple, descriptor, "columns", &known->ncolumns);
	known->keys = field_names(tuple, descriptor, "keys", &known->nkeys);
	known->types = field_names(tuple, descriptor, "types", &known->ntypes);
	return known;
}

/* The rows of a query, each made a struct in the given context */
static List *
read_rows(MemoryContext context, const char *sql, int nargs, const char *const *args,
		  void *(*make) (HeapTuple tuple, TupleDesc descriptor))
{
	List	   *list = NIL;
	uint64		count = query(sql, nargs, args, true);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (uint64 i = 0; i < count; i++)
		list = lappend(list, make(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
	MemoryContextSwitchTo(old);
	return list;
}

static void *
make_rule(HeapTuple tuple, TupleDesc descriptor)
{
	return flo_rule_tables_rule(tuple, descriptor);
}

static void *
make_known(HeapTuple tuple, TupleDesc descriptor)
{
	return seen_table(tuple, descriptor);
}

FloShapeSpec *
flo_rule_tables_load(const char *group, const char *member, const char *source)
{
	FloShapeSpec *spec = palloc0(sizeof(FloShapeSpec));
	MemoryContext context = CurrentMemoryContext;
	bool		is_replicator = member != NULL && strcmp(member, FLO_REPLICATOR_MEMBER) == 0;
	const char *args[] = {
		group, is_replicator ? NULL : member, is_replicator ? "replicator" : "worker"
	};
	const char *known_args[] = {group, member, source};
	FloAsRole	as;

	Assert(ActiveSnapshotSet());
	flo_store_enter(&as);
	SPI_connect();
	spec->rules = read_rows(context,
							"SELECT * FROM flo.rules WHERE group_name = $1 AND enabled AND stage = $3"
							" AND (worker_name IS NULL OR worker_name = $2) ORDER BY position, id",
							3, args, make_rule);
	if (!is_replicator)
		spec->routes = read_rows(context,
								 "SELECT * FROM flo.routes WHERE group_name = $1 AND enabled"
								 " AND (worker_name IS NULL OR worker_name = $2)"
								 " ORDER BY source_table = '*', worker_name IS NULL, id",
								 2, args, make_route);
	if (member != NULL && source != NULL)
		spec->known_tables = read_rows(context,
									   "SELECT * FROM flo.shaped_tables"
									   " WHERE group_name = $1 AND worker_name = $2 AND source = $3",
									   3, known_args, make_known);
	SPI_finish();
	flo_store_leave(&as);
	MemoryContextSwitchTo(context);
	return spec;
}

char *
flo_rule_tables_fingerprint(const char *group)
{
	MemoryContext context = CurrentMemoryContext;
	const char *args[] = {group};
	char	   *result;
	FloAsRole	as;

	flo_store_enter(&as);
	SPI_connect();
	query("SELECT coalesce(md5(string_agg(r::text || coalesce(s.set_at::text, ''), ',' ORDER BY id)), '')"
		  "  FROM flo.rules r LEFT JOIN flo.named_secrets s ON s.name = r.arguments ->> 'secret'"
		  " WHERE group_name = $1 AND enabled AND stage = 'replicator'", 1, args, true);
	result = MemoryContextStrdup(context,
								 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	flo_store_leave(&as);
	MemoryContextSwitchTo(context);
	return result;
}

static char *
text_array(int count, char **strings)
{
	List	   *texts = NIL;

	for (int i = 0; i < count; i++)
		texts = lappend(texts, strings[i]);
	return flo_text_of_array(texts);
}

void
flo_rule_tables_keep_known(const char *group, const char *member, const char *source,
						   const List *known)
{
	MemoryContext context = CurrentMemoryContext;
	FloAsRole	as;
	ListCell   *lc;

	flo_store_enter(&as);
	SPI_connect();
	foreach(lc, known)
	{
		FloKnownTable *table = lfirst(lc);
		const char *args[] = {
			group, member, source, psprintf("%u", table->id), table->schema, table->table,
			text_array(table->ncolumns, table->columns),
			psprintf(INT64_FORMAT, table->newest_rule), psprintf(INT64_FORMAT, table->newest_route),
			text_array(table->nkeys, table->keys), text_array(table->ntypes, table->types)
		};

		query("INSERT INTO flo.shaped_tables (group_name, worker_name, source, relation, schema_name,"
			  " table_name, columns, newest_rule, newest_route, keys, types)"
			  " VALUES ($1, $2, $3, $4::oid, $5, $6, $7::text[], $8::bigint, $9::bigint, $10::text[],"
			  " $11::text[])"
			  " ON CONFLICT (group_name, worker_name, source, relation) DO UPDATE"
			  " SET schema_name = excluded.schema_name, table_name = excluded.table_name,"
			  " columns = excluded.columns, newest_rule = excluded.newest_rule,"
			  " newest_route = excluded.newest_route, keys = excluded.keys, types = excluded.types",
			  lengthof(args), args, false);
	}
	/* what other sources' tables were called is of no more use */
	if (known != NIL)
	{
		const char *args[] = {group, member, source};

		query("DELETE FROM flo.shaped_tables"
			  " WHERE group_name = $1 AND worker_name = $2 AND source <> $3", 3, args, false);
	}
	SPI_finish();
	flo_store_leave(&as);
	MemoryContextSwitchTo(context);
}

/* --- checks -------------------------------------------------------------- */

/* First column of the first row in the caller's context, or NULL */
static char *
first_value(const char *sql, int nargs, const char *const *args)
{
	MemoryContext context = CurrentMemoryContext;
	FloAsRole	as;
	char	   *value = NULL;

	flo_store_enter(&as);
	SPI_connect();
	if (query(sql, nargs, args, false) > 0)
		value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (value != NULL)
		value = MemoryContextStrdup(context, value);
	SPI_finish();
	flo_store_leave(&as);
	MemoryContextSwitchTo(context);
	return value;
}

/*
 * Does a table of the name here have the source's columns?  It does where the
 * source is here, and where rows go to it by their own names.
 */
static bool
local_table_tells(const FloRuleSpec *spec, const char *group, const char *worker)
{
	const char *args[] = {group, spec->schema, spec->table, worker};
	char	   *other;

	if (first_value("SELECT 'here' FROM flo.sources WHERE group_name = $1", 1, args) != NULL)
		return true;
	other = first_value("SELECT 'route' FROM flo.routes WHERE group_name = $1 AND enabled"
						" AND source_schema = $2 AND source_table IN ($3, '*')"
						" UNION ALL"
						" SELECT sink FROM flo.workers WHERE group_name = $1 AND sink <> 'postgres'"
						" AND ($4 IS NULL OR worker_name = $4)", 4, args);
	return other == NULL;
}

/* Do those who execute it write no tables? */
static bool
makes_events(const char *group, const char *worker)
{
	const char *args[] = {group, worker};

	return first_value("SELECT 'yes' FROM flo.workers WHERE group_name = $1"
					   " AND ($2 IS NULL OR worker_name = $2) HAVING bool_and(sink <> 'postgres')",
					   2, args) != NULL;
}

/*
 * Where masking is strict a column comes only after its rule, and one that is gone is
 * let alone: rules may name what the table has not got
 */
static bool
may_come_later(const FloRuleSpec *spec, const char *group, const char *worker,
			   const FloRelation *relation)
{
	const char *args[] = {group, worker};

	if (spec->column == NULL || flo_action_is_filter(spec->action))
		return false;
	for (int i = 0; i < relation->natts; i++)
		if (strcmp(relation->columns[i].name, spec->column) == 0)
			return false;
	return first_value("SELECT 'strict' FROM flo.workers WHERE group_name = $1"
					   " AND ($2 IS NULL OR worker_name = $2) AND options ->> 'masking' = 'strict'",
					   2, args) != NULL;
}

void
flo_rule_tables_check_rule(const FloRuleSpec *spec, const char *group, const char *worker,
						   bool at_replicator)
{
	FloRelation *relation = NULL;

	if (at_replicator || local_table_tells(spec, group, worker))
		relation = flo_shape_local_relation(spec->schema, spec->table);
	if (relation != NULL && !at_replicator && may_come_later(spec, group, worker, relation))
		relation = NULL;
	flo_rule_try(spec, relation, at_replicator,
				 !at_replicator && makes_events(group, worker));
}

typedef struct Trial
{
	FloRuleSpec *spec;
	char	   *group;
	char	   *worker;
	bool		at_replicator;
} Trial;

static void
try_rule(void *arg)
{
	const Trial *trial = arg;

	flo_rule_tables_check_rule(trial->spec, trial->group, trial->worker, trial->at_replicator);
}

/*
 * Read as the owner of the extension, tried after that is over: what the rule's
 * author may do is found out as the author, not as somebody who may do more.
 */
char *
flo_rule_tables_problem(int64 id)
{
	MemoryContext context = CurrentMemoryContext;
	const char *args[] = {flo_text_of_int64(id)};
	FloAsRole	as;
	Trial		trial = {0};
	ErrorData  *error;

	flo_store_enter(&as);
	SPI_connect();
	if (query("SELECT * FROM flo.rules WHERE id = $1::bigint", 1, args, false) > 0)
	{
		HeapTuple	tuple = SPI_tuptable->vals[0];
		TupleDesc	descriptor = SPI_tuptable->tupdesc;

		MemoryContextSwitchTo(context);
		trial.spec = flo_rule_tables_rule(tuple, descriptor);
		trial.group = field_text(tuple, descriptor, "group_name");
		trial.worker = field_text(tuple, descriptor, "worker_name");
		trial.at_replicator = strcmp(field_text(tuple, descriptor, "stage"), "replicator") == 0;
	}
	SPI_finish();
	flo_store_leave(&as);
	MemoryContextSwitchTo(context);
	if (trial.spec == NULL)
		return NULL;

	/* what compiling has opened and locked goes with it, error or not */
	error = flo_attempt(try_rule, &trial, false);
	return error != NULL ? error->message : NULL;
}

void
flo_rule_tables_check_members(const char *group, bool started)
{
	static const char *const started_only =
		"SELECT 'yes' FROM flo.sources WHERE group_name = $1 AND started"
		" UNION ALL SELECT 'yes' FROM flo.workers WHERE group_name = $1 AND started";
	static const char *const orphans =
		"SELECT what FROM ("
		" SELECT format('rule %s is for the replicator', id) AS what FROM flo.rules r"
		"  WHERE group_name = $1 AND enabled AND stage = 'replicator'"
		"    AND NOT EXISTS (SELECT FROM flo.sources x WHERE x.group_name = $1)"
		" UNION ALL"
		" SELECT format('rule %s is for %s', id, coalesce('worker \"' || worker_name || '\"', 'workers')) FROM flo.rules r"
		"  WHERE group_name = $1 AND enabled AND stage = 'worker'"
		"    AND NOT EXISTS (SELECT FROM flo.workers x WHERE x.group_name = $1"
		"                    AND (r.worker_name IS NULL OR x.worker_name = r.worker_name))"
		" UNION ALL"
		" SELECT format('route %s is for %s', id, coalesce('worker \"' || worker_name || '\"', 'workers')) FROM flo.routes r"
		"  WHERE group_name = $1 AND enabled"
		"    AND NOT EXISTS (SELECT FROM flo.workers x WHERE x.group_name = $1"
		"                    AND (r.worker_name IS NULL OR x.worker_name = r.worker_name))) o LIMIT 1";
	const char *args[] = {group};
	char	   *orphan;

	if (started && first_value(started_only, 1, args) == NULL)
		return;
	orphan = first_value(orphans, 1, args);
	if (orphan != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s, and group \"%s\" has no such member in this database", orphan, group),
				 errhint("Nothing would execute it: create the member, write the rule or route in the database where it is, or disable it.")));
}
