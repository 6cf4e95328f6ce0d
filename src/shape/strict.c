/*
 * strict.c
 *		Strict masking: no column goes on that nobody has decided about.
 *
 * Whatever way a column comes - a new table, ADD COLUMN, a rename, a route or a rule
 * that is no more - its table is described anew before its first row, and is
 * looked at here before that row goes anywhere.
 *
 * Decisions are about names.  A transform that acts on another column than was meant
 * still hides it; one that is kept by mistake is seen.  So of what is kept more is
 * asked: that it is the same table, the same type, and cannot be another column
 * that has taken the name since.  The protocol gives no numbers of columns, but
 * their order tells: columns go, and new ones come at the end, so a column can only
 * have come from its own place or from one behind it.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "core/compat.h"
#include "lib/stringinfo.h"
#include "shape/known_tables.h"
#include "shape/route.h"
#include "shape/strict.h"
#include "utils/builtins.h"

/* Names that a message lists */
#define SHOWN 20

static bool
is_about(const FloRuleSpec *rule, const char *schema, const char *table, const char *column)
{
	return rule->column != NULL && strcmp(rule->column, column) == 0 &&
		strcmp(rule->table, table) == 0 && strcmp(rule->schema, schema) == 0;
}

static bool
is_left_out(const FloShapeSpec *spec, const char *schema, const char *table, const char *column)
{
	const FloRouteSpec *route = flo_route_find(spec->routes, schema, table);

	for (int i = 0; route != NULL && i < route->nmappings; i++)
		if (strcmp(route->mappings[i].source, column) == 0)
			return route->mappings[i].destination == NULL;
	return false;
}

FloCover
flo_strict_cover(const FloShapeSpec *spec, const char *schema, const char *table,
				 const char *column, int needed, const FloRuleSpec **rule)
{
	int			changed = 0;
	int			kept = 0;
	ListCell   *lc;

	*rule = NULL;
	if (is_left_out(spec, schema, table, column))
		return FLO_COVER_LEFT_OUT;
	foreach(lc, spec->rules)
	{
		const FloRuleSpec *each = lfirst(lc);

		if (flo_action_is_filter(each->action) || !is_about(each, schema, table, column))
			continue;
		if (each->action == FLO_ACTION_KEEP)
			kept |= each->operations;
		else
			changed |= each->operations;
		if (*rule == NULL || each->action == FLO_ACTION_KEEP)
			*rule = each;
	}
	if (*rule == NULL)
		return FLO_COVER_NONE;
	if ((changed & needed) == needed)
		return changed != 0 ? FLO_COVER_CHANGED : FLO_COVER_KEPT;
	return ((changed | kept) & needed) == needed ? FLO_COVER_KEPT : FLO_COVER_PARTLY;
}

/*
 * Rules of a key act whatever the operation; the rest of an old row is sent where it
 * is the identity
 */
static int
operations_with(const FloRelation *relation, int column)
{
	if (relation->identity == REPLICA_IDENTITY_FULL)
		return FLO_ON_INSERT | FLO_ON_UPDATE | FLO_ON_DELETE;
	return relation->columns[column].is_key ? 0 : FLO_ON_INSERT | FLO_ON_UPDATE;
}

static FloCover
cover_of(const FloShapeSpec *spec, const FloRelation *relation, int column,
		 const FloRuleSpec **rule)
{
	return flo_strict_cover(spec, relation->schema, relation->name,
							relation->columns[column].name, operations_with(relation, column),
							rule);
}

/* --- nobody has decided -------------------------------------------------- */

static void
check_covers(const FloShapeSpec *spec, const FloRelation *relation)
{
	StringInfoData names;
	int			count = 0;
	int			first = -1;
	FloCover	worst = FLO_COVER_LEFT_OUT;
	const FloRuleSpec *rule;

	initStringInfo(&names);
	for (int i = 0; i < relation->natts; i++)
	{
		FloCover	cover = cover_of(spec, relation, i, &rule);

		if (cover > FLO_COVER_PARTLY)
			continue;
		if (first < 0)
		{
			first = i;
			worst = cover;
		}
		if (count++ < SHOWN)
			appendStringInfo(&names, "%s%s", count > 1 ? ", " : "", relation->columns[i].name);
	}
	if (first < 0)
		return;
	(void) cover_of(spec, relation, first, &rule);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 worst == FLO_COVER_NONE ?
			 errmsg("column \"%s\" of table \"%s.%s\" has no rule, and masking is strict",
					relation->columns[first].name, relation->schema, relation->name) :
			 errmsg("rule " INT64_FORMAT " for column \"%s\" of table \"%s.%s\" does not hold for all operations, and masking is strict",
					rule->id, relation->columns[first].name, relation->schema, relation->name),
			 errdetail("Nothing of the table goes on. Not decided about (%d): %s%s.", count, names.data,
					   count > SHOWN ? ", ..." : ""),
			 errhint("Write a rule for each, or one with the action \"keep\" where values may pass as they are; flo.masking_report() lists all. The worker then goes on by itself.")));
}

int64
flo_strict_require(const FloShapeSpec *spec, const char *schema, const char *table,
				   const char *column)
{
	const FloRuleSpec *rule;
	FloCover	cover = flo_strict_cover(spec, schema, table, column,
										 FLO_ON_INSERT | FLO_ON_UPDATE, &rule);

	if (cover <= FLO_COVER_PARTLY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" gets a column \"%s\" that has no rule for all operations, and masking is strict",
						schema, table, column),
				 errhint("Write a rule for it, or one with the action \"keep\" if its values may pass as they are. The worker then goes on by itself.")));
	return cover == FLO_COVER_CHANGED ? rule->id : 0;
}

/* --- is it what was decided about? --------------------------------------- */

pg_noreturn static void
report_doubt(const FloRuleSpec *rule, const FloRelation *relation, char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of table \"%s.%s\", which rule " INT64_FORMAT " keeps, may not be the one that was meant, and masking is strict",
					rule->column, relation->schema, relation->name, rule->id),
			 errdetail_internal("%s", why),
			 errhint("If its values may pass as they are, delete rules for columns that are gone and this one, and insert it again; else write another one.")));
}

static int
known_place(const FloKnownTable *known, const char *column)
{
	for (int i = 0; i < known->ncolumns; i++)
		if (strcmp(known->columns[i], column) == 0)
			return i;
	return -1;
}

static char *
type_in_words(const char *type)
{
	return strspn(type, "0123456789") == strlen(type) ?
		format_type_be((Oid) strtoul(type, NULL, 10)) : pstrdup(type);
}

/*
 * How many columns were dropped at most, which is how far one can have come forward:
 * names at the end that are not known may be of columns that have come
 */
static int
count_dropped(const FloKnownTable *known, const FloRelation *relation)
{
	int			old = relation->natts;

	while (old > 0 && known_place(known, relation->columns[old - 1].name) < 0)
		old--;
	return Max(known->ncolumns - old, 0);
}

/*
 * Columns that are gone, and could be the one that is now called as the rule says: if
 * one of them was not kept, it must not begin to be.  That one was dropped and the next
 * one has got its name looks as if the next one were dropped.  A rule that was written
 * since knows of the table as it is, but one that still changes what is gone speaks
 * against it.
 */
static void
check_renamed(const FloShapeSpec *spec, const FloKnownTable *known, const FloRelation *relation,
			  int place, const FloRuleSpec *rule)
{
	FloCover	doubtful = rule->id > known->newest_rule ? FLO_COVER_CHANGED : FLO_COVER_NONE;
	int			then = known_place(known, relation->columns[place].name);
	int			end = then < 0 ? known->ncolumns :
		Max(then, place + count_dropped(known, relation) + 1);

	for (int i = place; i < Min(end, known->ncolumns); i++)
	{
		const FloRuleSpec *other;
		FloCover	cover;
		bool		is_gone = true;

		for (int j = 0; is_gone && j < relation->natts; j++)
			is_gone = strcmp(relation->columns[j].name, known->columns[i]) != 0;
		cover = flo_strict_cover(spec, known->schema, known->table, known->columns[i], 0, &other);
		if (is_gone && cover != FLO_COVER_KEPT && cover >= doubtful)
			report_doubt(rule, relation,
						 psprintf("Column \"%s\" was renamed or dropped at the source, and may now be called so.",
								  known->columns[i]));
	}
}

static void
check_kept(const FloShapeSpec *spec, const FloKnownTable *known, const FloRelation *relation,
		   int place, const FloRuleSpec *rule)
{
	const FloColumn *column = &relation->columns[place];
	int			then = known_place(known, column->name);
	char	   *type = flo_known_type(column);

	check_renamed(spec, known, relation, place, rule);
	if (rule->id > known->newest_rule)
		return;
	if (strcmp(known->schema, relation->schema) != 0 || strcmp(known->table, relation->name) != 0)
		report_doubt(rule, relation, psprintf("The table was called \"%s.%s\" before.",
											  known->schema, known->table));
	if (then >= 0 && then < known->ntypes && strcmp(known->types[then], type) != 0)
		report_doubt(rule, relation, psprintf("Its type was %s and is %s now.",
											  type_in_words(known->types[then]),
											  type_in_words(type)));
}

void
flo_strict_check(const FloShapeSpec *spec, const FloRelation *relation)
{
	const FloKnownTable *known = flo_known_table_find(spec, relation->id);

	check_covers(spec, relation);
	for (int i = 0; known != NULL && i < relation->natts; i++)
	{
		const FloRuleSpec *rule;

		if (cover_of(spec, relation, i, &rule) == FLO_COVER_KEPT)
			check_kept(spec, known, relation, i, rule);
	}
}

bool
flo_strict_may_show_key(const FloShapeSpec *spec, const FloRelation *relation)
{
	const FloRuleSpec *rule;

	for (int i = 0; i < relation->natts; i++)
		if (relation->columns[i].is_key && cover_of(spec, relation, i, &rule) != FLO_COVER_KEPT)
			return false;
	return true;
}

/*
 * Of a table that has not come before nothing tells whether a column that was
 * masked has got another name, one that is kept
 */
bool
flo_strict_may_lack(const FloShapeSpec *spec, const FloRuleSpec *rule, const FloRelation *relation)
{
	if (rule->column == NULL || flo_action_is_filter(rule->action))
		return false;
	for (int i = 0; i < relation->natts; i++)
		if (strcmp(relation->columns[i].name, rule->column) == 0)
			return false;
	return rule->action == FLO_ACTION_KEEP || flo_known_table_find(spec, relation->id) != NULL;
}
