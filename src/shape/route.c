/*
 * route.c
 *		Where the changes of a table go, and under which names.
 *
 * A route makes another FloRelation of the source's: other schema, table and
 * column names, and some columns less.  Sinks see nothing but that one, which
 * keeps its address while the source's relation lives.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "shape/route.h"
#include "utils/memutils.h"

const FloRouteSpec *
flo_route_find(const List *routes, const char *schema, const char *table)
{
	ListCell   *lc;

	foreach(lc, routes)
	{
		const FloRouteSpec *route = lfirst(lc);

		if (strcmp(route->source_schema, schema) == 0 &&
			(route->source_table == NULL || strcmp(route->source_table, table) == 0))
			return route;
	}
	return NULL;
}

static const char *
either(const char *name, const char *same)
{
	return name != NULL ? name : same;
}

bool
flo_route_is_shared(const List *routes, const FloRouteSpec *route, const FloRelation *relation)
{
	const char *schema = route != NULL ? either(route->destination_schema, relation->schema) :
		relation->schema;
	const char *table = route != NULL ? either(route->destination_table, relation->name) :
		relation->name;
	ListCell   *lc;

	foreach(lc, routes)
	{
		const FloRouteSpec *other = lfirst(lc);
		const char *name = either(other->destination_table,
								  either(other->source_table, table));

		/* the same table by another route, which does not apply */
		if (other == route || (strcmp(other->source_schema, relation->schema) == 0 &&
							   (other->source_table == NULL ||
								strcmp(other->source_table, relation->name) == 0)))
			continue;
		if (strcmp(either(other->destination_schema, other->source_schema), schema) == 0 &&
			strcmp(name, table) == 0)
			return true;
	}
	return false;
}

static const FloMapping *
find_mapping(const FloRouteSpec *spec, const char *column)
{
	for (int i = 0; i < spec->nmappings; i++)
		if (strcmp(spec->mappings[i].source, column) == 0)
			return &spec->mappings[i];
	return NULL;
}

/* Every mapping must be about a column that is there */
static void
check_mappings(const FloRouteSpec *spec, const FloRelation *source)
{
	for (int i = 0; i < spec->nmappings; i++)
	{
		int			column = 0;

		while (column < source->natts &&
			   strcmp(source->columns[column].name, spec->mappings[i].source) != 0)
			column++;
		if (column == source->natts)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" does not exist in table \"%s.%s\"",
							spec->mappings[i].source, source->schema, source->name),
					 errdetail("Route " INT64_FORMAT " of flo.routes maps it.", spec->id),
					 errhint("If the column was renamed or dropped, or is left out of the publication, change the route.")));
		if (spec->mappings[i].destination == NULL && source->columns[column].is_key &&
			source->identity != REPLICA_IDENTITY_FULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("route " INT64_FORMAT " leaves out column \"%s\", which identifies the rows of table \"%s.%s\"",
							spec->id, spec->mappings[i].source, source->schema, source->name),
					 errhint("Give the column another value with a rule instead.")));
	}
}

static void
check_duplicates(const FloRouteSpec *spec, const FloRelation *relation)
{
	for (int i = 0; i < relation->natts; i++)
		for (int j = 0; j < i; j++)
			if (strcmp(relation->columns[i].name, relation->columns[j].name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("route " INT64_FORMAT " gives two columns of table \"%s.%s\" the name \"%s\"",
								spec->id, relation->source->schema, relation->source->name,
								relation->columns[i].name)));
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
same_relation(const FloRelation *a, const FloRelation *b)
{
	if (a->id != b->id || a->identity != b->identity || a->natts != b->natts ||
		!same_text(a->schema, b->schema) || !same_text(a->name, b->name))
		return false;
	for (int i = 0; i < a->natts; i++)
	{
		const FloColumn *x = &a->columns[i];
		const FloColumn *y = &b->columns[i];

		if (!same_text(x->name, y->name) || x->type != y->type || x->typmod != y->typmod ||
			x->is_key != y->is_key || !same_text(x->type_schema, y->type_schema) ||
			!same_text(x->type_name, y->type_name) || !same_text(x->source_name, y->source_name))
			return false;
	}
	return true;
}

static char *
copy_text(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

void
flo_route_bind(FloRoute *route, const FloRouteSpec *spec, const FloRelation *source,
			   MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloRelation relation = {0};
	int		   *sources = palloc(Max(source->natts, 1) * sizeof(int));

	check_mappings(spec, source);
	relation.id = source->id;
	relation.schema = pstrdup(spec->destination_schema != NULL ? spec->destination_schema :
							  source->schema);
	relation.name = pstrdup(spec->destination_table != NULL ? spec->destination_table :
							source->name);
	relation.identity = source->identity;
	relation.source = source;
	relation.columns = palloc0(Max(source->natts, 1) * sizeof(FloColumn));
	for (int i = 0; i < source->natts; i++)
	{
		const FloColumn *from = &source->columns[i];
		const FloMapping *mapping = find_mapping(spec, from->name);
		FloColumn  *to = &relation.columns[relation.natts];

		if (mapping != NULL && mapping->destination == NULL)
			continue;
		to->name = pstrdup(mapping != NULL ? mapping->destination : from->name);
		to->source_name = mapping != NULL ? pstrdup(from->name) : NULL;
		to->type = from->type;
		to->typmod = from->typmod;
		to->is_key = from->is_key;
		to->type_schema = copy_text(from->type_schema);
		to->type_name = copy_text(from->type_name);
		sources[relation.natts++] = i;
	}
	check_duplicates(spec, &relation);
	MemoryContextSwitchTo(old);

	relation.version = route->spec != NULL && same_relation(&relation, &route->relation) ?
		route->relation.version : flo_relation_new_version();
	route->spec = spec;
	route->relation = relation;
	route->sources = relation.natts < source->natts ? sources : NULL;
}

void
flo_route_project(const FloRoute *route, const FloTuple *from, FloTuple *to)
{
	to->natts = route->relation.natts;
	for (int i = 0; i < to->natts; i++)
		to->values[i] = from->values[route->sources[i]];
}
