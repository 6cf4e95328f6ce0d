/*
 * reshape.c
 *		The rules and routes of a worker, for streamed and for copied rows.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "conf/shaping.h"
#include "core/transaction.h"
#include "dest/reshape.h"
#include "shape/shape.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

struct FloReshape
{
	char	   *group;
	char	   *worker;
	char	   *source;
	FloShape   *shape;
};

void
flo_reshape_load(FloReshape *reshape)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo rules",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = flo_transaction_begin();
	FloShapeSpec *spec;

	MemoryContextSwitchTo(context);
	spec = flo_shaping_load(reshape->group, reshape->worker, reshape->source);
	flo_transaction_end(old);
	flo_shape_load(reshape->shape, spec, context);
}

FloReshape *
flo_reshape_open(const FloWorkerSpec *spec, const char *source)
{
	FloReshape *reshape = palloc0(sizeof(FloReshape));
	FloShapeSettings settings = {0};

	reshape->group = pstrdup(spec->group);
	reshape->worker = pstrdup(spec->worker);
	reshape->source = pstrdup(source);
	settings.owner = spec->owner;
	settings.convert_updates = spec->sink == FLO_SINK_POSTGRES;
	reshape->shape = flo_shape_create(CurrentMemoryContext, &settings);
	flo_reshape_load(reshape);
	return reshape;
}

void
flo_reshape_forget(FloReshape *reshape, uint32 relation)
{
	flo_shape_forget(reshape->shape, relation);
}

static void
keep_seen(FloReshape *reshape)
{
	List	   *seen = flo_shape_take_seen(reshape->shape);

	if (seen != NIL)
		flo_shaping_keep_seen(reshape->group, reshape->worker, reshape->source, seen);
}

const FloChange *
flo_reshape_apply(FloReshape *reshape, const FloChange *change, FloCounters *counters)
{
	MemoryContext old = CurrentMemoryContext;
	bool		own_transaction = !IsTransactionState() && !flo_shape_is_empty(reshape->shape);
	const FloChange *result;

	if (own_transaction)
	{
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(old);
	}
	result = flo_shape_apply(reshape->shape, change);
	keep_seen(reshape);
	if (own_transaction)
		flo_transaction_end(old);
	if (result == NULL)
		counters->filtered++;
	return result;
}

const FloRelation *
flo_reshape_target(FloReshape *reshape, const FloRelation *relation)
{
	relation = flo_shape_target(reshape->shape, relation);
	keep_seen(reshape);
	return relation;
}

bool
flo_reshape_shares_target(FloReshape *reshape, const FloRelation *relation)
{
	return flo_shape_shares_target(reshape->shape, relation);
}

bool
flo_reshape_name(FloReshape *reshape, const char *schema, const char *table,
				 const char **to_schema, const char **to_table, int64 *mapped)
{
	const FloRouteSpec *route = flo_shape_route(reshape->shape, schema, table);

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

Oid
flo_reshape_table(FloReshape *reshape, const char *schema, const char *table)
{
	const char *to_schema;
	const char *to_table;
	int64		mapped;
	Oid			namespace;

	(void) flo_reshape_name(reshape, schema, table, &to_schema, &to_table, &mapped);
	namespace = get_namespace_oid(to_schema, true);
	return OidIsValid(namespace) ? get_relname_relid(to_table, namespace) : InvalidOid;
}

const char *
flo_reshape_column(FloReshape *reshape, const char *schema, const char *table, const char *column)
{
	const FloRouteSpec *route = flo_shape_route(reshape->shape, schema, table);

	for (int i = 0; route != NULL && i < route->nmappings; i++)
		if (strcmp(route->mappings[i].source, column) == 0)
			return route->mappings[i].destination;
	return column;
}
