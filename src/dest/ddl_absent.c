/*
 * ddl_absent.c
 *		Statements about what was never brought to this destination.
 *
 * In a group over schemas DDL of everything in them travels, but a destination
 * that was prepared by hand, or a copy that left out what brings code, has no
 * more than the tables need.  REFRESH of a materialized view that is not here
 * must not stop the rows; ALTER of a table that is not here must, and so must
 * that of a view which a statement of the stream or a copy has made here and
 * which somebody has dropped since.  A table whose rows do not travel - it is
 * unlogged, or has no key - need not be here, either; should they travel one day,
 * they come with a copy.
 *
 * Names are looked at, not arguments: what has the name is left to the server,
 * and if that finds something missing, flo_ddl_may_lack() has its say.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "conf/sql.h"
#include "dest/ddl_absent.h"
#include "dest/owed.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static bool
is_one_of(const char *type, const char *const *types)
{
	for (; *types != NULL; types++)
		if (strcmp(type, *types) == 0)
			return true;
	return false;
}

static const char *const relations[] = {"view", "materialized view", "sequence", "index", NULL};
static const char *const code[] = {
	"view", "materialized view", "function", "procedure", "routine", "aggregate", "operator",
	"trigger", "rule", NULL
};
static const char *const others[] = {
	"type", "domain", "collation", "policy", "statistics", "schema", NULL
};

/*
 * Can it be done without?  Tables whose rows travel cannot, nor what belongs
 * to them and is not code.
 */
static bool
is_dispensable(const FloDdlObject *object)
{
	if (object->schema == NULL)
		return false;
	if (is_one_of(object->type, code) || is_one_of(object->type, others))
		return strcmp(object->type, "type") != 0 || !OidIsValid(object->relation);
	return is_one_of(object->type, relations) && !OidIsValid(object->relation);
}

/* Is anything of the kind and name here?  Triggers and such are found by their name alone. */
static bool
is_here(const FloDdlObject *object, FloWorkerRules *routes)
{
	const char *schema = object->schema;
	const char *name = object->name;
	int64		mapped;
	FloSqlSession sql;
	bool		here;

	if (is_one_of(object->type, relations))
		(void) flo_worker_rules_name(routes, object->schema, object->name, &schema, &name, &mapped);
	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT,
				"SELECT CASE"
				" WHEN $1 IN ('view', 'materialized view', 'sequence', 'index') THEN EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = $3)"
				" WHEN $1 IN ('function', 'procedure', 'routine', 'aggregate') THEN EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = $3)"
				" WHEN $1 = 'operator' THEN EXISTS (SELECT FROM pg_operator o WHERE o.oprnamespace = n.oid AND o.oprname = $3)"
				" WHEN $1 IN ('type', 'domain') THEN EXISTS (SELECT FROM pg_type t WHERE t.typnamespace = n.oid AND t.typname = $3)"
				" WHEN $1 = 'collation' THEN EXISTS (SELECT FROM pg_collation c WHERE c.collnamespace = n.oid AND c.collname = $3)"
				" WHEN $1 = 'statistics' THEN EXISTS (SELECT FROM pg_statistic_ext s WHERE s.stxname = $3)"
				" WHEN $1 = 'trigger' THEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgname = $3)"
				" WHEN $1 = 'rule' THEN EXISTS (SELECT FROM pg_rewrite r WHERE r.rulename = $3)"
				" WHEN $1 = 'policy' THEN EXISTS (SELECT FROM pg_policy p WHERE p.polname = $3)"
				" WHEN $1 = 'schema' THEN n.oid IS NOT NULL"
				" ELSE true END"
				" FROM (SELECT (SELECT oid FROM pg_namespace WHERE nspname = $2) AS oid) n",
				3, object->type, schema, name);
	here = flo_sql_true(0, 1);
	flo_sql_end(&sql);
	return here;
}

static bool
is_creation(const FloDdlStatement *ddl)
{
	return strncmp(ddl->tag, "CREATE ", strlen("CREATE ")) == 0;
}

/* Is it, or does it belong to, a table whose rows do not travel, and that was never brought? */
static bool
is_of_absent_table(const FloDdlPlace *place, const FloDdlObject *object, FloWorkerRules *routes)
{
	const char *schema = object->table_schema;
	const char *name = object->table_name;
	int64		mapped;
	Oid			namespace;

	if (!object->apart || schema == NULL || name == NULL ||
		flo_ddl_was_made(place, schema, NULL, name) ||
		flo_owed_is(place->group, place->worker, object->relation))
		return false;
	(void) flo_worker_rules_name(routes, object->table_schema, object->table_name, &schema, &name,
								 &mapped);
	namespace = get_namespace_oid(schema, true);
	return !OidIsValid(namespace) || !OidIsValid(get_relname_relid(name, namespace));
}

static char *
absent_table(const FloDdlPlace *place, const FloDdlStatement *ddl, FloWorkerRules *routes)
{
	const FloDdlObject *first = linitial(ddl->objects);
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		if (!is_of_absent_table(place, lfirst(cell), routes))
			return NULL;
	}
	return psprintf("table %s, whose rows do not travel, is not here",
					quote_qualified_identifier(first->table_schema, first->table_name));
}

char *
flo_ddl_absent(const FloDdlPlace *place, const FloDdlStatement *ddl, FloWorkerRules *routes)
{
	char	   *table = ddl->objects != NIL ? absent_table(place, ddl, routes) : NULL;
	const FloDdlObject *first = ddl->objects != NIL ? linitial(ddl->objects) : NULL;
	ListCell   *cell;

	if (table != NULL || ddl->objects == NIL || is_creation(ddl))
		return table;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (object->creates || !is_dispensable(object) || is_here(object, routes) ||
			flo_ddl_was_made(place, object->schema, NULL, object->name))
			return NULL;
	}
	if (strcmp(first->type, "schema") == 0)
		return psprintf("schema %s is not here", quote_identifier(first->name));
	return psprintf("%s %s is not here", first->type,
					quote_qualified_identifier(first->schema, first->name));
}

bool
flo_ddl_may_lack(const FloDdlStatement *ddl, FloWorkerRules *routes)
{
	bool		creates = is_creation(ddl);
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		bool		of_code = !OidIsValid(object->relation) &&
			(strcmp(object->type, "index") == 0 || strcmp(object->type, "column") == 0);

		if (!is_one_of(object->type, code) && !of_code)
			return false;
		if (!creates && !is_here(object, routes))
			return false;		/* it was made here, and should be */
	}
	return ddl->objects != NIL && !ddl->concurrent;
}

bool
flo_ddl_is_lack(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_UNDEFINED_SCHEMA:
			return true;
		default:
			return false;
	}
}
