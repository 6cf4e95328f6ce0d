/*
 * worker_rules.c
 *		The rules and routes of a worker, for streamed and for copied rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "conf/rule_tables.h"
#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/worker_rules.h"
#include "shape/shape.h"
#include "shape/strict.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

struct FloWorkerRules
{
	char	   *group;
	char	   *worker;
	char	   *source;
	FloShape   *shape;
	bool		strict;
	bool		only_read;
};

void
flo_worker_rules_load(FloWorkerRules *rules)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo rules",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = flo_transaction_begin();
	FloShapeSpec *spec;

	MemoryContextSwitchTo(context);
	spec = flo_rule_tables_load(rules->group, rules->worker, rules->source);
	flo_transaction_end(old);
	flo_shape_load(rules->shape, spec, context);
}

FloWorkerRules *
flo_worker_rules_open(const FloWorkerSpec *spec, const char *source)
{
	FloWorkerRules *rules = palloc0(sizeof(FloWorkerRules));
	FloShapeSettings settings = {0};

	rules->group = pstrdup(spec->group);
	rules->worker = pstrdup(spec->worker);
	rules->source = pstrdup(source);
	settings.owner = spec->owner;
	settings.convert_updates = spec->sink == FLO_SINK_POSTGRES;
	rules->strict = settings.strict = spec->options.masking == FLO_MASKING_STRICT;
	rules->shape = flo_shape_create(CurrentMemoryContext, &settings);
	flo_worker_rules_load(rules);
	return rules;
}

void
flo_worker_rules_only_read(FloWorkerRules *rules)
{
	rules->only_read = true;
}

void
flo_worker_rules_forget(FloWorkerRules *rules, uint32 relation)
{
	flo_shape_forget(rules->shape, relation);
}

static void
keep_news(FloWorkerRules *rules)
{
	List	   *news = flo_shape_take_news(rules->shape);

	if (news != NIL && !rules->only_read)
		flo_rule_tables_keep_known(rules->group, rules->worker, rules->source, news);
}

const FloChange *
flo_worker_rules_apply(FloWorkerRules *rules, const FloChange *change, FloCounters *counters)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState() && !flo_shape_is_empty(rules->shape);
	const FloChange *result;

	if (own_transaction)
	{
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(old);
	}
	result = flo_shape_apply(rules->shape, change);
	keep_news(rules);
	if (own_transaction)
		flo_transaction_end(old);
	if (result == NULL)
		counters->filtered++;
	return result;
}

const FloRelation *
flo_worker_rules_target(FloWorkerRules *rules, const FloRelation *relation)
{
	relation = flo_shape_target(rules->shape, relation);
	keep_news(rules);
	return relation;
}

bool
flo_worker_rules_name(FloWorkerRules *rules, const char *schema, const char *table,
					  const char **to_schema, const char **to_table, int64 *mapped)
{
	const FloRouteSpec *route = flo_shape_route(rules->shape, schema, table);

	*to_schema = schema;
	*to_table = table;
	*mapped = 0;
	if (route == NULL)
		return false;
	if (route->destination_schema != NULL)
		*to_schema = route->destination_schema;
	if (route->destination_table != NULL)
		*to_table = route->destination_table;
	if (route->nmappings > 0)
		*mapped = route->id;
	return true;
}

/*
 * A table that no route sends elsewhere goes to the one of its own name here.
 * Has one come, be it streamed or copied, whose name a route gives to this one?
 */
static bool
comes_by_its_own_name(FloWorkerRules *rules, const FloRelation *relation)
{
	const char *schema;
	const char *table;
	int64		mapped;

	return flo_worker_rules_name(rules, relation->schema, relation->name, &schema, &table,
								 &mapped) &&
		(strcmp(schema, relation->schema) != 0 || strcmp(table, relation->name) != 0) &&
		flo_shape_route(rules->shape, schema, table) == NULL &&
		(flo_shape_knows(rules->shape, schema, table) ||
		 flo_copied_knows(rules->group, rules->worker, schema, table));
}

bool
flo_worker_rules_alter(const FloWorkerRules *rules, const char *schema, const char *table)
{
	return flo_shape_alters(rules->shape, schema, table);
}

int
flo_worker_rules_known_to(const FloWorkerRules *rules, const char *schema, const char *table)
{
	return flo_shape_known_to(rules->shape, schema, table);
}

bool
flo_worker_rules_shares_target(FloWorkerRules *rules, const FloRelation *relation)
{
	return flo_shape_shares_target(rules->shape, relation) ||
		comes_by_its_own_name(rules, relation);
}

Oid
flo_worker_rules_table(FloWorkerRules *rules, const char *schema, const char *table)
{
	const char *to_schema;
	const char *to_table;
	int64		mapped;
	Oid			namespace;

	(void) flo_worker_rules_name(rules, schema, table, &to_schema, &to_table, &mapped);
	namespace = get_namespace_oid(to_schema, true);
	return OidIsValid(namespace) ? get_relname_relid(to_table, namespace) : InvalidOid;
}

const char *
flo_worker_rules_column(FloWorkerRules *rules, const char *schema, const char *table,
						const char *column)
{
	const FloRouteSpec *route = flo_shape_route(rules->shape, schema, table);

	for (int i = 0; route != NULL && i < route->nmappings; i++)
		if (strcmp(route->mappings[i].source, column) == 0)
			return route->mappings[i].destination;
	return column;
}

const char *
flo_worker_rules_source_column(FloWorkerRules *rules, const char *schema, const char *table,
							   const char *column)
{
	const FloRouteSpec *route = flo_shape_route(rules->shape, schema, table);

	for (int i = 0; route != NULL && i < route->nmappings; i++)
		if (route->mappings[i].destination != NULL &&
			strcmp(route->mappings[i].destination, column) == 0)
			return route->mappings[i].source;
	return column;
}

bool
flo_worker_rules_are_none(const FloWorkerRules *rules)
{
	return flo_shape_is_empty(rules->shape);
}

bool
flo_worker_rules_is_strict(const FloWorkerRules *rules)
{
	return rules->strict;
}

int64
flo_worker_rules_require_cover(FloWorkerRules *rules, const char *schema, const char *table,
							   const char *column)
{
	return flo_strict_require(flo_shape_spec(rules->shape), schema, table, column);
}

bool
flo_worker_rules_may_show_key(FloWorkerRules *rules, const FloRelation *relation)
{
	return !rules->strict || flo_strict_may_show_key(flo_shape_spec(rules->shape), relation);
}
