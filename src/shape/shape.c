/*
 * shape.c
 *		Rules and routes at work: from a change to the change it becomes.
 *
 * For each source table a plan is made: which rules and which route apply,
 * compiled.  It is kept by the table's OID; when the source describes the table
 * anew it is bound anew, and compiled anew only when the columns it uses have
 * other types.  When functions, types or roles change here, it is compiled
 * again at the next row.
 *
 * Rules fail closed: whatever does not fit - a column that is missing, a value
 * that is needed and was not sent, a table that got another name - is an
 * error that names the rule, never a row that passes as it is.
 *
 * Rows see the filters first, as they came; then transforms, each from the row
 * as it came to the value as it is by then; then the route.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "core/caches.h"
#include "core/error_context.h"
#include "core/settings.h"
#include "shape/budget.h"
#include "shape/known_tables.h"
#include "shape/refusals.h"
#include "shape/route.h"
#include "shape/rowkey.h"
#include "shape/rules.h"
#include "shape/shape.h"
#include "shape/strict.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* What becomes of the rows of one source table */
typedef struct FloPlan
{
	/* for which rules and columns it was compiled */
	MemoryContext context;		/* of all below */
	char	   *schema;
	char	   *table;
	uint64		catalogs;		/* count of changes of our catalogs then */
	FloShapeColumns columns;
	int			nrules;
	FloRule   **rules;			/* in the order of the specs */
	bool		incomplete;		/* rules name columns that are not there */
	int			filters;		/* operations that have a filter */
	int			transforms;		/* operations that have a transform */
	bool		key_transforms; /* some transform acts on a key, whatever the
								 * operation */

	/* to which definition of the relation it is bound */
	uint64		version;		/* 0: to none */
	FloRoute	route;			/* spec NULL: none */
	bool		nothing;		/* rows pass untouched */
} FloPlan;

typedef struct FloPlanEntry
{
	uint32		id;				/* OID of the source table; hash key */
	char		status;
	FloPlan    *plan;
} FloPlanEntry;

#define FLO_BY_ID flo_plans
#define FLO_BY_ID_ENTRY FloPlanEntry
#include "core/byid.h"

struct FloShape
{
	MemoryContext context;
	FloShapeSettings settings;

	/* what is in force */
	MemoryContext spec_context; /* of all below */
	FloShapeSpec *spec;
	bool		empty;
	flo_plans_hash *plans;
	List	   *functions;		/* Oid: that expressions call, of users */
	List	   *news;			/* of FloKnownTable *, to be kept */
	uint64		refreshed;		/* count of changes of our catalogs at the
								 * last refresh */

	/* the plan used before */
	const FloRelation *last_relation;
	uint64		last_version;
	uint64		last_catalogs;
	FloPlan    *last_plan;

	/* the change being made */
	MemoryContext row_context;	/* reset with each */
	StringInfoData scratch;
	FloChange	change;
	FloTuple	old;
	FloTuple	new;
	int			old_room;
	int			new_room;
	const FloChange *source;	/* what it is made from, for messages */
	bool		in_rule;		/* a rule is at work on its values */
};

/* Counts changes of what compiled rules depend on; its callbacks cannot be unregistered */
static uint64 catalogs_changed = 1;

static void
catalog_changed(Datum arg, int cache, uint32 hash)
{
	if (!flo_caches_forgotten())
		catalogs_changed++;
}

static int
operation_of(FloOp op)
{
	switch (op)
	{
		case FLO_OP_INSERT:
			return FLO_ON_INSERT;
		case FLO_OP_UPDATE:
			return FLO_ON_UPDATE;
		case FLO_OP_DELETE:
			return FLO_ON_DELETE;
		case FLO_OP_TRUNCATE:
			return FLO_ON_TRUNCATE;
		default:
			return 0;
	}
}

/* --- life ---------------------------------------------------------------- */

FloShape *
flo_shape_create(MemoryContext parent, const FloShapeSettings *settings)
{
	static bool registered = false;
	MemoryContext context = AllocSetContextCreate(parent, "pg_flo shape", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloShape   *shape = palloc0(sizeof(FloShape));

	shape->context = context;
	shape->settings = *settings;
	shape->row_context = AllocSetContextCreate(context, "pg_flo shaped row",
											   ALLOCSET_DEFAULT_SIZES);
	shape->empty = true;
	initStringInfo(&shape->scratch);
	MemoryContextSwitchTo(old);

	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, catalog_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, catalog_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, catalog_changed, (Datum) 0);
		registered = true;
	}
	return shape;
}

void
flo_shape_load(FloShape *shape, FloShapeSpec *spec, MemoryContext context)
{
	if (shape->spec_context != NULL)
		MemoryContextDelete(shape->spec_context);
	MemoryContextSetParent(context, shape->context);
	shape->spec_context = context;
	shape->spec = spec;
	shape->empty = spec->rules == NIL && spec->routes == NIL && !shape->settings.strict;
	shape->plans = flo_plans_create(context, 16, NULL);
	shape->functions = NIL;
	shape->news = NIL;
	shape->refreshed = 0;
	shape->last_relation = NULL;
}

void
flo_shape_forget(FloShape *shape, uint32 relation)
{
	FloPlanEntry *entry = shape->plans != NULL ? flo_plans_lookup(shape->plans, relation) : NULL;

	shape->last_relation = NULL;
	if (entry == NULL)
		return;
	if (entry->plan != NULL)
		MemoryContextDelete(entry->plan->context);
	flo_plans_delete(shape->plans, relation);
}

void
flo_shape_set_owner(FloShape *shape, Oid owner)
{
	if (shape->settings.owner == owner)
		return;
	shape->settings.owner = owner;
	catalogs_changed++;
}

List *
flo_shape_take_news(FloShape *shape)
{
	List	   *news = shape->news;

	shape->news = NIL;
	return news;
}

/* --- messages ------------------------------------------------------------ */

/*
 * In pg_flo's processes the error context tells where an error happened, after the
 * transaction is gone; elsewhere it has to be told here.
 */
static void
report_rule(void *arg)
{
	FloShape   *shape = arg;

	if (shape->source != NULL && shape->source->relation != NULL &&
		(!shape->settings.strict ||
		 flo_strict_may_show_key(shape->spec, shape->source->relation)))
		flo_error_context.row = flo_row_key(shape->source);
	if (flo_error_context.group != NULL || flo_error_context.rule == 0)
		return;
	if (flo_error_context.row != NULL)
		errcontext("rule " INT64_FORMAT ", row %s", flo_error_context.rule, flo_error_context.row);
	else
		errcontext("rule " INT64_FORMAT, flo_error_context.rule);
}

static void
begin_reporting(FloShape *shape, const FloChange *change, ErrorContextCallback *callback)
{
	static const char *const names[] = {NULL, "INSERT", "UPDATE", NULL, "DELETE"};
	int			operation = change != NULL ? operation_of(change->op) : 0;

	shape->source = operation > 0 && operation < FLO_ON_TRUNCATE ? change : NULL;
	flo_error_context.operation = shape->source != NULL ? names[operation] : NULL;
	flo_error_context.rule = 0;
	flo_error_context.row = NULL;
	callback->callback = report_rule;
	callback->arg = shape;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

static void
report_table(const FloRelation *relation)
{
	flo_error_context.schema = relation->schema;
	flo_error_context.table = relation->name;
}

static void
end_reporting(FloShape *shape, ErrorContextCallback *callback)
{
	error_context_stack = callback->previous;
	shape->source = NULL;
	flo_error_context.operation = NULL;
	flo_error_context.schema = NULL;
	flo_error_context.table = NULL;
	flo_error_context.rule = 0;
}

/* --- plans --------------------------------------------------------------- */

static bool
rule_is_for(const FloRuleSpec *rule, const FloRelation *relation)
{
	return strcmp(rule->schema, relation->schema) == 0 &&
		strcmp(rule->table, relation->name) == 0;
}

/* The table here that the rows go to, or come from */
static Oid
local_table(const FloRelation *relation, const FloRouteSpec *route)
{
	const char *schema = route != NULL && route->destination_schema != NULL ?
		route->destination_schema : relation->schema;
	const char *table = route != NULL && route->destination_table != NULL ?
		route->destination_table : relation->name;
	Oid			namespace = get_namespace_oid(schema, true);

	return OidIsValid(namespace) ? get_relname_relid(table, namespace) : InvalidOid;
}

static void
add_rule(FloPlan *plan, FloRule *rule)
{
	plan->rules[plan->nrules++] = rule;
	if (flo_action_is_filter(rule->spec->action))
		plan->filters |= rule->spec->operations;
	else if (flo_action_is_transform(rule->spec->action))
		plan->transforms |= rule->spec->operations;
}

static void
compile_rules(FloShape *shape, FloPlan *plan, const FloRelation *relation)
{
	const bool	events = !shape->settings.convert_updates;
	const FloRuleOffice office = {shape->settings.owner, shape->settings.decoding, events};
	ListCell   *lc;

	plan->rules = palloc((list_length(shape->spec->rules) + 1) * sizeof(FloRule *));
	foreach(lc, shape->spec->rules)
	{
		const FloRuleSpec *spec = lfirst(lc);

		if (!rule_is_for(spec, relation))
			continue;
		if (shape->settings.strict && flo_strict_may_lack(shape->spec, spec, relation))
		{
			plan->incomplete = true;
			continue;
		}
		flo_error_context.rule = spec->id;
		flo_error_context.column = spec->column;
		add_rule(plan, flo_rule_compile(spec, &office, &plan->columns));
		flo_error_context.column = NULL;
	}
	flo_error_context.rule = 0;
}

/* A plan bound to nothing; the one before is freed once this one is complete */
static FloPlan *
compile_plan(FloShape *shape, const FloRelation *relation)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo rules of a table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloPlan    *plan = palloc0(sizeof(FloPlan));
	const FloRouteSpec *route = flo_route_find(shape->spec->routes, relation->schema,
											   relation->name);

	plan->context = context;
	plan->schema = pstrdup(relation->schema);
	plan->table = pstrdup(relation->name);
	plan->catalogs = catalogs_changed;
	plan->columns.context = context;
	plan->columns.relation = relation;
	plan->columns.route = route;
	plan->columns.local = local_table(relation, route);
	compile_rules(shape, plan, relation);
	plan->columns.relation = NULL;
	MemoryContextSwitchTo(shape->spec_context);
	shape->functions = list_concat_unique_oid(shape->functions, plan->columns.functions);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, shape->spec_context);
	return plan;
}

static void
check_against_known(FloShape *shape, FloPlan *plan, const FloRelation *relation,
					const FloRouteSpec *route)
{
	for (int i = 0; i < plan->nrules; i++)
		flo_known_table_check_rule(shape->spec, plan->rules[i], &plan->columns, relation);
	if (route != NULL)
		flo_known_table_check_route(shape->spec, route, relation);
}

static void
note_known(FloShape *shape, const FloRelation *relation)
{
	MemoryContext old = MemoryContextSwitchTo(shape->spec_context);
	FloKnownTable *known = flo_known_table_note(shape->spec, relation);

	if (known != NULL)
		shape->news = lappend(shape->news, known);
	MemoryContextSwitchTo(old);
}

const FloRouteSpec *
flo_shape_route(const FloShape *shape, const char *schema, const char *table)
{
	return shape->spec != NULL ? flo_route_find(shape->spec->routes, schema, table) : NULL;
}

/*
 * Bind the plan to the relation as it is described now.  "local": as it is
 * in our own catalogs, which may differ from what will be sent.
 */
static void
bind_plan(FloShape *shape, FloPlan *plan, const FloRelation *relation, bool local)
{
	const FloRouteSpec *route = flo_route_find(shape->spec->routes, relation->schema,
											   relation->name);

	plan->nothing = plan->nrules == 0 && route == NULL && !shape->settings.strict;
	plan->key_transforms = false;
	for (int i = 0; i < plan->nrules; i++)
	{
		flo_rule_bind(plan->rules[i], &plan->columns, relation);
		plan->key_transforms |= plan->rules[i]->is_key &&
			flo_action_is_transform(plan->rules[i]->spec->action);
	}
	if (route == NULL)
		plan->route.spec = NULL;
	else
		flo_route_bind(&plan->route, route, relation, plan->context);

	/*
	 * of one that others are sent to it has to be known that it has rows
	 * there
	 */
	if ((!plan->nothing || flo_route_is_shared(shape->spec->routes, route, relation)) &&
		(!local || flo_known_table_find(shape->spec, relation->id) == NULL))
	{
		if (!local)
			check_against_known(shape, plan, relation, route);
		if (shape->settings.strict)
			flo_strict_check(shape->spec, relation);
		note_known(shape, relation);
	}
	plan->version = relation->version;
}

static bool
plan_is_fresh(const FloShape *shape, const FloPlan *plan)
{
	return shape->settings.decoding || plan->catalogs == catalogs_changed;
}

static FloPlan *
open_plan(FloShape *shape, const FloRelation *relation, bool local)
{
	bool		found;
	FloPlanEntry *entry = flo_plans_insert(shape->plans, relation->id, &found);
	FloPlan    *plan;

	if (!found)
		entry->plan = NULL;
	plan = entry->plan;
	if (plan == NULL || plan->version != relation->version)
		flo_known_table_check_name(shape->spec, relation);
	if (plan == NULL || local || !plan_is_fresh(shape, plan) ||
		strcmp(plan->schema, relation->schema) != 0 ||
		strcmp(plan->table, relation->name) != 0 ||
		(plan->version != relation->version &&
		 (plan->incomplete || !flo_columns_bind(&plan->columns, relation))))
	{
		FloPlan    *before = plan;

		/*
		 * a routed relation that stays the same keeps its version, by which
		 * sinks know it
		 */
		plan = compile_plan(shape, relation);
		if (before != NULL)
			plan->route = before->route;
		bind_plan(shape, plan, relation, local);
		entry->plan = plan;
		if (before != NULL)
			MemoryContextDelete(before->context);
	}
	else if (plan->version != relation->version)
	{
		plan->version = 0;
		bind_plan(shape, plan, relation, local);
	}
	return plan;
}

static inline FloPlan *
find_plan(FloShape *shape, const FloRelation *relation)
{
	if (unlikely(relation != shape->last_relation || relation->version != shape->last_version ||
				 (shape->last_catalogs != catalogs_changed && !shape->settings.decoding)))
	{
		FloPlanEntry *entry = flo_plans_lookup(shape->plans, relation->id);
		FloPlan    *plan = entry != NULL ? entry->plan : NULL;

		shape->last_relation = NULL;
		if (plan == NULL || plan->version != relation->version || !plan_is_fresh(shape, plan))
		{
			report_table(relation);
			plan = open_plan(shape, relation, false);
		}
		shape->last_relation = relation;
		shape->last_version = relation->version;
		shape->last_catalogs = catalogs_changed;
		shape->last_plan = plan;
	}
	return shape->last_plan;
}

bool
flo_shape_alters(const FloShape *shape, const char *schema, const char *table)
{
	const FloRouteSpec *route = flo_shape_route(shape, schema, table);
	ListCell   *lc;

	if (shape->empty)
		return false;
	foreach(lc, shape->spec->rules)
	{
		const FloRuleSpec *rule = lfirst(lc);

		if (strcmp(rule->schema, schema) == 0 && strcmp(rule->table, table) == 0)
			return true;
	}
	return route != NULL && !(route->operations & FLO_ON_INSERT);
}

int
flo_shape_known_to(const FloShape *shape, const char *schema, const char *table)
{
	return shape->spec != NULL ? flo_known_tables_to(shape->spec, schema, table) : 0;
}

const FloShapeSpec *
flo_shape_spec(const FloShape *shape)
{
	return shape->spec;
}

bool
flo_shape_is_empty(const FloShape *shape)
{
	return shape->empty;
}

bool
flo_shape_concerns(FloShape *shape, const FloRelation *relation)
{
	ErrorContextCallback callback;
	FloPlan    *plan;

	if (shape->empty)
		return false;
	begin_reporting(shape, NULL, &callback);
	plan = find_plan(shape, relation);
	end_reporting(shape, &callback);
	return !plan->nothing;
}

const FloRelation *
flo_shape_target(FloShape *shape, const FloRelation *relation)
{
	ErrorContextCallback callback;
	FloPlan    *plan;

	if (shape->empty)
		return relation;
	begin_reporting(shape, NULL, &callback);
	plan = find_plan(shape, relation);
	end_reporting(shape, &callback);
	return plan->route.spec != NULL ? &plan->route.relation : relation;
}

bool
flo_shape_shares_target(const FloShape *shape, const FloRelation *relation)
{
	return shape->spec != NULL &&
		flo_route_is_shared(shape->spec->routes,
							flo_route_find(shape->spec->routes, relation->schema, relation->name),
							relation);
}

bool
flo_shape_knows(const FloShape *shape, const char *schema, const char *table)
{
	ListCell   *lc;

	if (shape->spec == NULL)
		return false;
	foreach(lc, shape->spec->known_tables)
	{
		const FloKnownTable *known = lfirst(lc);

		if (strcmp(known->schema, schema) == 0 && strcmp(known->table, table) == 0)
			return true;
	}
	return false;
}

bool
flo_shape_is_stale(const FloShape *shape)
{
	return !shape->empty && shape->refreshed != catalogs_changed;
}

void
flo_shape_refresh(FloShape *shape)
{
	uint64		catalogs = catalogs_changed;
	ErrorContextCallback callback;
	ListCell   *lc;

	begin_reporting(shape, NULL, &callback);
	shape->last_relation = NULL;
	foreach(lc, shape->spec->rules)
	{
		const FloRuleSpec *rule = lfirst(lc);
		FloRelation *relation = flo_shape_local_relation(rule->schema, rule->table);
		FloPlanEntry *entry;

		if (relation == NULL)
			continue;
		entry = flo_plans_lookup(shape->plans, relation->id);
		/* done already, for another rule of the table */
		if (entry != NULL && entry->plan != NULL && entry->plan->catalogs == catalogs &&
			strcmp(entry->plan->table, rule->table) == 0 &&
			strcmp(entry->plan->schema, rule->schema) == 0)
			continue;
		report_table(relation);
		(void) open_plan(shape, relation, true);
	}
	end_reporting(shape, &callback);
	shape->refreshed = catalogs;
}

void
flo_shape_look_up(const FloShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->functions)
		(void) SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(lfirst_oid(lc)));
}

/* --- filters ------------------------------------------------------------- */

typedef enum FloFate
{
	FLO_FATE_DROPPED,
	FLO_FATE_INSERT,
	FLO_FATE_UPDATE,
	FLO_FATE_DELETE
} FloFate;

/* All filters of the operation, one after the other; FLO_UNKNOWN only for an old row */
static FloVerdict
judge(FloShape *shape, FloPlan *plan, const FloRowView *view, int operation)
{
	FloVerdict	all = FLO_PASSES;

	for (int i = 0; i < plan->nrules; i++)
	{
		FloRule    *rule = plan->rules[i];
		FloVerdict	verdict;

		if (!flo_action_is_filter(rule->spec->action) || !(rule->spec->operations & operation))
			continue;
		flo_error_context.rule = rule->spec->id;
		shape->in_rule = true;
		verdict = flo_rule_filter(rule, &plan->columns, view);
		shape->in_rule = false;
		if (verdict == FLO_UNKNOWN && operation == FLO_ON_DELETE)
			verdict = rule->spec->allow_empty_deletes ? FLO_PASSES : FLO_FAILS;
		if (verdict == FLO_UNKNOWN && !view->old)
			flo_refuse_unknown(rule);
		if (verdict == FLO_FAILS)
			return FLO_FAILS;
		if (verdict == FLO_UNKNOWN)
			all = FLO_UNKNOWN;
	}
	return all;
}

static FloFate
decide(FloShape *shape, FloPlan *plan, const FloChange *change, int operation)
{
	FloRowView	old = {change, true};
	FloRowView	new = {change, false};
	bool		passes;

	if (operation == FLO_ON_DELETE)
		return judge(shape, plan, &old, operation) == FLO_PASSES ?
			FLO_FATE_DELETE : FLO_FATE_DROPPED;
	passes = judge(shape, plan, &new, operation) == FLO_PASSES;
	if (operation == FLO_ON_INSERT)
		return passes ? FLO_FATE_INSERT : FLO_FATE_DROPPED;

	/* without an old row the key is the same, and nothing else is known of it */
	if (shape->settings.convert_updates && change->has_old)
	{
		FloVerdict	before = judge(shape, plan, &old, operation);

		if (passes && before == FLO_FAILS && flo_row_is_complete(change))
			return FLO_FATE_INSERT;
		if (!passes && before == FLO_PASSES)
			return FLO_FATE_DELETE;
	}
	return passes ? FLO_FATE_UPDATE : FLO_FATE_DROPPED;
}

/* --- transforms ---------------------------------------------------------- */

static FloTuple *
copy_tuple(FloShape *shape, const FloTuple *from, FloTuple *to, int *room)
{
	if (from->natts > *room)
	{
		to->values = MemoryContextAlloc(shape->context, from->natts * sizeof(FloValue));
		*room = from->natts;
	}
	to->natts = from->natts;
	to->compressed = from->compressed;
	memcpy(to->values, from->values, from->natts * sizeof(FloValue));
	return to;
}

static void
transform_tuple(FloShape *shape, FloPlan *plan, const FloRowView *view, int operations,
				FloTuple *tuple)
{
	bool		key_only = view->old && view->change->old_is_key;

	for (int i = 0; i < plan->nrules; i++)
	{
		FloRule    *rule = plan->rules[i];
		const FloShapeColumn *column;

		if (!flo_action_is_transform(rule->spec->action) ||
			!((rule->spec->operations & operations) || rule->is_key))
			continue;
		column = &plan->columns.items[rule->column];
		if (key_only && !column->is_key)
			continue;
		flo_error_context.rule = rule->spec->id;
		flo_refuse_mixed_key(rule, view->change);
		shape->in_rule = true;
		flo_rule_transform(rule, &plan->columns, view, &tuple->values[column->index],
						   &shape->scratch);
		shape->in_rule = false;
	}
}

static FloTuple *
shape_tuple(FloShape *shape, FloPlan *plan, const FloRowView *view, FloFate fate, int operations)
{
	const FloChange *change = view->change;
	FloTuple   *tuple = view->old ?
		copy_tuple(shape, &change->old, &shape->old, &shape->old_room) :
		copy_tuple(shape, &change->new, &shape->new, &shape->new_room);

	/* what becomes an INSERT must be whole */
	for (int i = 0; fate == FLO_FATE_INSERT && i < tuple->natts; i++)
		if (tuple->values[i].kind == FLO_VALUE_UNCHANGED)
			tuple->values[i] = *flo_view_value(view, i, change->relation->columns[i].is_key);
	if ((plan->transforms & operations) || plan->key_transforms)
		transform_tuple(shape, plan, view, operations, tuple);
	if (plan->route.spec != NULL && plan->route.sources != NULL)
		flo_route_project(&plan->route, tuple, tuple);
	return tuple;
}

/* --- changes ------------------------------------------------------------- */

static int
operation_of_fate(FloFate fate)
{
	return fate == FLO_FATE_INSERT ? FLO_ON_INSERT :
		fate == FLO_FATE_UPDATE ? FLO_ON_UPDATE : FLO_ON_DELETE;
}

static const FloChange *
shape_row(FloShape *shape, FloPlan *plan, const FloChange *change)
{
	const FloRouteSpec *route = plan->route.spec;
	int			operation = operation_of(change->op);
	FloChange  *result = &shape->change;
	FloFate		fate = operation == FLO_ON_INSERT ? FLO_FATE_INSERT :
		operation == FLO_ON_UPDATE ? FLO_FATE_UPDATE : FLO_FATE_DELETE;
	FloRowView	old = {change, true};
	FloRowView	new = {change, false};
	int			operations;

	if (route != NULL && !(route->operations & operation))
		return NULL;
	if (plan->filters & operation)
		fate = decide(shape, plan, change, operation);
	if (fate == FLO_FATE_DROPPED)
		return NULL;
	operations = operation | operation_of_fate(fate);
	if (route != NULL && !(route->operations & operation_of_fate(fate)))
		return NULL;
	if (operations == operation && route == NULL && !(plan->transforms & operation) &&
		!plan->key_transforms)
		return change;

	*result = *change;
	if (route != NULL)
		result->relation = &plan->route.relation;
	result->op = fate == FLO_FATE_INSERT ? FLO_OP_INSERT :
		fate == FLO_FATE_UPDATE ? FLO_OP_UPDATE : FLO_OP_DELETE;
	result->has_old = change->has_old && fate != FLO_FATE_INSERT;
	if (result->has_old)
		result->old = *shape_tuple(shape, plan, &old, fate, operations);
	if (fate != FLO_FATE_DELETE)
		result->new = *shape_tuple(shape, plan, &new, fate, operations);
	return result;
}

static const FloChange *
shape_row_in_time(FloShape *shape, FloPlan *plan, const FloChange *change)
{
	MemoryContext context = CurrentMemoryContext;
	const FloChange *result;

	if (plan->nrules == 0)
		return shape_row(shape, plan, change);
	shape->in_rule = false;
	flo_budget_begin();
	PG_TRY();
	{
		result = shape_row(shape, plan, change);
	}
	PG_CATCH();
	{
		if (flo_budget_end() && geterrcode() == ERRCODE_QUERY_CANCELED)
		{
			MemoryContextSwitchTo(context);
			flo_refuse_slow();
		}
		/* in a session it is the caller's own value */
		if (shape->settings.strict && shape->in_rule && flo_error_context.group != NULL)
		{
			MemoryContextSwitchTo(context);
			flo_refuse_value();
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
	(void) flo_budget_end();
	return result;
}

/* Each table by its own route, a partition by its root's; filters have no say */
static const FloChange *
shape_truncate(FloShape *shape, const FloChange *change)
{
	FloChange  *result = &shape->change;

	*result = *change;
	result->ntruncated = 0;
	result->truncated = palloc(Max(change->ntruncated, 1) * sizeof(FloTruncated));
	for (int i = 0; i < change->ntruncated; i++)
	{
		const FloTruncated *from = &change->truncated[i];
		FloPlan    *plan = find_plan(shape, from->relation);
		const FloRouteSpec *route = plan->route.spec;
		FloTruncated *to = &result->truncated[result->ntruncated];

		if (route != NULL && !(route->operations & FLO_ON_TRUNCATE))
			continue;
		if (from->part != NULL)
			flo_refuse_part(plan->rules, plan->nrules, from);
		to->relation = route != NULL ? &plan->route.relation : from->relation;
		to->part = from->part;
		result->ntruncated++;
	}
	return result->ntruncated > 0 ? result : NULL;
}

const FloChange *
flo_shape_apply(FloShape *shape, const FloChange *change)
{
	ErrorContextCallback callback;
	MemoryContext old;
	const FloChange *result;
	FloPlan    *plan;

	if (likely(shape->empty))
		return change;
	/* the usual case again, without preparing for errors */
	if (change->op != FLO_OP_TRUNCATE && change->relation == shape->last_relation &&
		change->relation->version == shape->last_version &&
		shape->last_catalogs == catalogs_changed && shape->last_plan->nothing)
		return change;

	begin_reporting(shape, change, &callback);
	MemoryContextReset(shape->row_context);
	old = MemoryContextSwitchTo(shape->row_context);
	if (change->op == FLO_OP_TRUNCATE)
		result = shape_truncate(shape, change);
	else
	{
		report_table(change->relation);
		plan = find_plan(shape, change->relation);
		result = plan->nothing ? change : shape_row_in_time(shape, plan, change);
	}
	MemoryContextSwitchTo(old);
	end_reporting(shape, &callback);
	return result;
}
