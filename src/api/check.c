/*
 * check.c
 *		What flo.check() and flo.check_plan() ask that SQL cannot say as well: where
 *		a worker would put the changes of tables of the source.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_class.h"
#include "conf/commit.h"
#include "conf/rule_tables.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/text.h"
#include "dest/table_filter.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "shape/route.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/tuplestore.h"

#define TARGET_COLUMNS 7

FLO_FUNCTION(flo_worker_targets);

/* Source column to destination column, as flo.routes has it */
static Datum
mappings_of(const FloRouteSpec *route)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	for (int i = 0; route != NULL && i < route->nmappings; i++)
	{
		appendStringInfoString(&buf, i > 0 ? "," : "");
		escape_json(&buf, route->mappings[i].source);
		appendStringInfoChar(&buf, ':');
		if (route->mappings[i].destination != NULL)
			escape_json(&buf, route->mappings[i].destination);
		else
			appendStringInfoString(&buf, "null");
	}
	appendStringInfoChar(&buf, '}');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data));
}

static void
put_target(ReturnSetInfo *result, const char *worker, const List *routes,
		   const FloRelation *relation, int ordinal)
{
	const FloRouteSpec *route = flo_route_find(routes, relation->schema, relation->name);
	const char *schema = route != NULL && route->destination_schema != NULL ?
		route->destination_schema : relation->schema;
	const char *table = route != NULL && route->destination_table != NULL ?
		route->destination_table : relation->name;
	Datum		values[TARGET_COLUMNS];
	bool		nulls[TARGET_COLUMNS] = {false};

	values[0] = CStringGetTextDatum(worker);
	values[1] = Int32GetDatum(ordinal);
	values[2] = CStringGetTextDatum(schema);
	values[3] = CStringGetTextDatum(table);
	values[4] = mappings_of(route);
	values[5] = BoolGetDatum(route == NULL || (route->operations & FLO_ON_TRUNCATE) != 0);
	values[6] = BoolGetDatum(route != NULL);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
put_targets(ReturnSetInfo *result, const FloWorkerSpec *worker, const List *schemas,
			const List *tables)
{
	FloShapeSpec *shape = flo_rule_tables_load(worker->group, worker->worker, "");
	FloTableFilter *filter = worker->options.tables == NULL ? NULL :
		flo_table_filter_create(CurrentMemoryContext, worker->options.tables);

	for (int i = 0; i < list_length(tables) && i < list_length(schemas); i++)
	{
		FloRelation relation = {0};
		FloChange	change = {0};

		relation.id = i + 1;
		relation.schema = list_nth(schemas, i);
		relation.name = list_nth(tables, i);
		change.op = FLO_OP_INSERT;
		change.relation = &relation;
		if (flo_table_filter(filter, &change) != NULL)
			put_target(result, worker->worker, shape->routes, &relation, i + 1);
	}
}

/*
 * worker_targets(group_name, schemas, tables): for each worker that writes to tables,
 * those of the named tables that it takes, by their place in the lists, and where
 * they go
 */
Datum
flo_worker_targets(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	List	   *schemas = flo_texts_of_array(PG_GETARG_DATUM(1));
	List	   *tables = flo_texts_of_array(PG_GETARG_DATUM(2));
	ListCell   *cell;

	flo_conf_require_group(group);
	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator && member->sink == FLO_SINK_POSTGRES)
			put_targets(result, flo_store_worker(group, member->member), schemas, tables);
	}
	return (Datum) 0;
}
