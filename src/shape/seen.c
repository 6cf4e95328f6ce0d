/*
 * seen.c
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

#include "shape/route.h"
#include "shape/seen.h"

FloSeenTable *
flo_seen_find(const FloShapeSpec *spec, uint32 id)
{
	ListCell   *lc;

	foreach(lc, spec->seen)
	{
		FloSeenTable *seen = lfirst(lc);

		if (seen->id == id)
			return seen;
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
flo_seen_check_name(const FloShapeSpec *spec, const FloRelation *relation)
{
	const FloSeenTable *seen = flo_seen_find(spec, relation->id);
	const FloRouteSpec *before;
	char	   *who;

	if (seen == NULL || (strcmp(seen->schema, relation->schema) == 0 &&
						 strcmp(seen->table, relation->name) == 0))
		return;
	if (who_names(spec, relation->schema, relation->name) != NULL)
		return;
	who = who_names(spec, seen->schema, seen->table);
	if (who == NULL)
	{
		before = flo_route_find(spec->routes, seen->schema, seen->table);
		if (before == NULL || before == flo_route_find(spec->routes, relation->schema, relation->name))
			return;
		who = psprintf("route " INT64_FORMAT, before->id);
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table \"%s.%s\", which %s names, is now called \"%s.%s\" at the source",
					seen->schema, seen->table, who, relation->schema, relation->name),
			 errhint("Change the rules and routes to the new name; where nothing is to be done with its rows any more, say so by a route that only names it.")));
}

static void
check_place(const FloSeenTable *seen, const FloRelation *relation, const char *column,
			const char *who, int64 id)
{
	int			now = flo_relation_column(relation, column);
	int			then = 0;

	while (then < seen->ncolumns && strcmp(seen->columns[then], column) != 0)
		then++;
	if (now < 0 || then == seen->ncolumns || now <= then)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table \"%s.%s\", which %s " INT64_FORMAT " names, is another column now",
					column, relation->schema, relation->name, who, id),
			 errdetail("The one called so before was renamed or dropped at the source."),
			 errhint("If the %s is right for the new column, delete it and insert it again.", who)));
}

void
flo_seen_check_rule(const FloShapeSpec *spec, const FloRule *rule,
					const FloShapeColumns *columns, const FloRelation *relation)
{
	const FloSeenTable *seen = flo_seen_find(spec, relation->id);

	if (seen == NULL || rule->spec->id > seen->newest_rule)
		return;
	if (rule->column >= 0)
		check_place(seen, relation, rule->spec->column, "rule", rule->spec->id);
	for (int i = 0; rule->expr != NULL && i < rule->expr->ncolumns; i++)
		check_place(seen, relation, columns->items[rule->expr->columns[i]].name,
					"rule", rule->spec->id);
}

void
flo_seen_check_route(const FloShapeSpec *spec, const FloRouteSpec *route,
					 const FloRelation *relation)
{
	const FloSeenTable *seen = flo_seen_find(spec, relation->id);

	if (seen == NULL || route->id > seen->newest_route)
		return;
	for (int i = 0; i < route->nmappings; i++)
		check_place(seen, relation, route->mappings[i].source, "route", route->id);
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
is_as_seen(const FloSeenTable *seen, const FloRelation *relation, int64 newest_rule,
		   int64 newest_route)
{
	return seen->newest_rule == newest_rule && seen->newest_route == newest_route &&
		strcmp(seen->schema, relation->schema) == 0 &&
		strcmp(seen->table, relation->name) == 0 &&
		same_names(seen->ncolumns, seen->columns, relation, false) &&
		same_names(seen->nkeys, seen->keys, relation, true);
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

FloSeenTable *
flo_seen_note(FloShapeSpec *spec, const FloRelation *relation)
{
	FloSeenTable *seen = flo_seen_find(spec, relation->id);
	int64		newest_rule = 0;
	int64		newest_route = 0;
	ListCell   *lc;

	foreach(lc, spec->rules)
		newest_rule = Max(newest_rule, ((FloRuleSpec *) lfirst(lc))->id);
	foreach(lc, spec->routes)
		newest_route = Max(newest_route, ((FloRouteSpec *) lfirst(lc))->id);
	if (seen != NULL && is_as_seen(seen, relation, newest_rule, newest_route))
		return NULL;

	if (seen == NULL)
	{
		seen = palloc0(sizeof(FloSeenTable));
		spec->seen = lappend(spec->seen, seen);
	}
	seen->id = relation->id;
	seen->schema = pstrdup(relation->schema);
	seen->table = pstrdup(relation->name);
	seen->columns = copy_names(relation, false, &seen->ncolumns);
	seen->keys = copy_names(relation, true, &seen->nkeys);
	seen->newest_rule = newest_rule;
	seen->newest_route = newest_route;
	return seen;
}
