/*
 * known_tables.c
 *		Notices when a table or column that rules name gets another name.
 *
 * Rules and routes name tables of the source.  When one of these is renamed,
 * its rows come under a name that no rule knows, and would pass unmasked.  So
 * every table to which something applied is remembered by its OID, and comes
 * under another name only when somebody has named that one, too.
 *
 * A column that was renamed is missing, which stops the member anyway, unless
 * another has taken its name.  The protocol gives no numbers of columns, but it
 * keeps their order: columns go, and new ones come at the end, so a column's
 * place can only become smaller.  Rules written since are about the columns
 * as they are now.
 */
#include "postgres.h"

#include "shape/known_tables.h"
#include "shape/route.h"
#include "utils/builtins.h"

FloKnownTable *
flo_known_table_find(const FloShapeSpec *spec, uint32 id)
{
	ListCell   *lc;

	foreach(lc, spec->known_tables)
	{
		FloKnownTable *known = lfirst(lc);

		if (known->id == id)
			return known;
	}
	return NULL;
}

/* What names exactly this table, for a message; NULL when nothing does */
static char *
who_names(const FloShapeSpec *spec, const char *schema, const char *table)
{
	ListCell   *lc;

	foreach(lc, spec->rules)
	{
		const FloRuleSpec *rule = lfirst(lc);

		if (strcmp(rule->schema, schema) == 0 && strcmp(rule->table, table) == 0)
			return psprintf("rule " INT64_FORMAT, rule->id);
	}
	foreach(lc, spec->routes)
	{
		const FloRouteSpec *route = lfirst(lc);

		if (strcmp(route->source_schema, schema) == 0 && route->source_table != NULL &&
			strcmp(route->source_table, table) == 0)
			return psprintf("route " INT64_FORMAT, route->id);
	}
	return NULL;
}

void
flo_known_table_check_name(const FloShapeSpec *spec, const FloRelation *relation)
{
	const FloKnownTable *known = flo_known_table_find(spec, relation->id);
	const FloRouteSpec *before;
	char	   *who;

	if (known == NULL || (strcmp(known->schema, relation->schema) == 0 &&
						  strcmp(known->table, relation->name) == 0))
		return;
	if (who_names(spec, relation->schema, relation->name) != NULL)
		return;
	who = who_names(spec, known->schema, known->table);
	if (who == NULL)
	{
		before = flo_route_find(spec->routes, known->schema, known->table);
		if (before == NULL ||
			before == flo_route_find(spec->routes, relation->schema, relation->name))
			return;
		who = psprintf("route " INT64_FORMAT, before->id);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s.%s\", which %s names, is now called \"%s.%s\" at the source",
					known->schema, known->table, who, relation->schema, relation->name),
			 errhint("Change the rules and routes to the new name; where nothing is to be done with its rows any more, say so by a route that only names it.")));
}

static void
check_place(const FloKnownTable *known, const FloRelation *relation, const char *column,
			const char *who, int64 id)
{
	int			now = flo_relation_column(relation, column);
	int			then = 0;

	while (then < known->ncolumns && strcmp(known->columns[then], column) != 0)
		then++;
	if (now < 0 || then == known->ncolumns || now <= then)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table \"%s.%s\", which %s " INT64_FORMAT " names, is another column now",
					column, relation->schema, relation->name, who, id),
			 errdetail("The one called so before was renamed or dropped at the source."),
			 errhint("If the %s is right for the new column, delete it and insert it again.",
					 who)));
}

void
flo_known_table_check_rule(const FloShapeSpec *spec, const FloRule *rule,
						   const FloShapeColumns *columns, const FloRelation *relation)
{
	const FloKnownTable *known = flo_known_table_find(spec, relation->id);

	if (known == NULL || rule->spec->id > known->newest_rule)
		return;
	if (rule->column >= 0)
		check_place(known, relation, rule->spec->column, "rule", rule->spec->id);
	for (int i = 0; rule->expr != NULL && i < rule->expr->ncolumns; i++)
		check_place(known, relation, columns->items[rule->expr->columns[i]].name,
					"rule", rule->spec->id);
}

void
flo_known_table_check_route(const FloShapeSpec *spec, const FloRouteSpec *route,
							const FloRelation *relation)
{
	const FloKnownTable *known = flo_known_table_find(spec, relation->id);

	if (known == NULL || route->id > known->newest_route)
		return;
	for (int i = 0; i < route->nmappings; i++)
		check_place(known, relation, route->mappings[i].source, "route", route->id);
}

char *
flo_known_type(const FloColumn *column)
{
	return column->type_name != NULL ?
		quote_qualified_identifier(column->type_schema, column->type_name) :
		psprintf("%u", column->type);
}

static bool
same_types(const FloKnownTable *known, const FloRelation *relation)
{
	for (int i = 0; i < Min(known->ntypes, relation->natts); i++)
		if (strcmp(known->types[i], flo_known_type(&relation->columns[i])) != 0)
			return false;
	return known->ntypes == relation->natts;
}

static bool
same_names(int count, char **names, const FloRelation *relation, bool keys)
{
	int			at = 0;

	for (int i = 0; i < relation->natts; i++)
	{
		if (keys && !relation->columns[i].is_key)
			continue;
		if (at == count || strcmp(names[at], relation->columns[i].name) != 0)
			return false;
		at++;
	}
	return at == count;
}

static bool
is_as_known(const FloKnownTable *known, const FloRelation *relation, int64 newest_rule,
			int64 newest_route)
{
	return known->newest_rule == newest_rule && known->newest_route == newest_route &&
		strcmp(known->schema, relation->schema) == 0 &&
		strcmp(known->table, relation->name) == 0 &&
		same_names(known->ncolumns, known->columns, relation, false) &&
		same_types(known, relation) &&
		same_names(known->nkeys, known->keys, relation, true);
}

static char **
copy_names(const FloRelation *relation, bool keys, int *count)
{
	char	  **names = palloc(Max(relation->natts, 1) * sizeof(char *));

	*count = 0;
	for (int i = 0; i < relation->natts; i++)
		if (!keys || relation->columns[i].is_key)
			names[(*count)++] = pstrdup(relation->columns[i].name);
	return names;
}

FloKnownTable *
flo_known_table_note(FloShapeSpec *spec, const FloRelation *relation)
{
	FloKnownTable *known = flo_known_table_find(spec, relation->id);
	int64		newest_rule = 0;
	int64		newest_route = 0;
	ListCell   *lc;

	foreach(lc, spec->rules)
		newest_rule = Max(newest_rule, ((FloRuleSpec *) lfirst(lc))->id);
	foreach(lc, spec->routes)
		newest_route = Max(newest_route, ((FloRouteSpec *) lfirst(lc))->id);
	if (known != NULL && is_as_known(known, relation, newest_rule, newest_route))
		return NULL;

	if (known == NULL)
	{
		known = palloc0(sizeof(FloKnownTable));
		spec->known_tables = lappend(spec->known_tables, known);
	}
	known->id = relation->id;
	known->schema = pstrdup(relation->schema);
	known->table = pstrdup(relation->name);
	known->columns = copy_names(relation, false, &known->ncolumns);
	known->keys = copy_names(relation, true, &known->nkeys);
	known->types = palloc(Max(relation->natts, 1) * sizeof(char *));
	known->ntypes = relation->natts;
	for (int i = 0; i < relation->natts; i++)
		known->types[i] = flo_known_type(&relation->columns[i]);
	known->newest_rule = newest_rule;
	known->newest_route = newest_route;
	return known;
}

int
flo_known_tables_to(const FloShapeSpec *spec, const char *schema, const char *table)
{
	int			count = 0;
	ListCell   *lc;

	foreach(lc, spec->known_tables)
	{
		const FloKnownTable *known = lfirst(lc);
		const FloRouteSpec *route = flo_route_find(spec->routes, known->schema, known->table);

		if (strcmp(schema, route != NULL && route->destination_schema != NULL ?
				   route->destination_schema : known->schema) == 0 &&
			strcmp(table, route != NULL && route->destination_table != NULL ?
				   route->destination_table : known->table) == 0)
			count++;
	}
	return count;
}
