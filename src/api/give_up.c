/*
 * give_up.c
 *		give_up(): one table that cannot be applied is left to itself, and the
 *		others go on.
 *
 * Names are those of the source, as everywhere at a destination, and no list of
 * the source's tables is here.  So a name is taken when the worker has failed at
 * such a table or has copied it, when a rule or route has met it, or when there
 * is a table here for its rows.  A sink of events knows no tables: any name will do.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/namespace.h"
#include "conf/commit.h"
#include "conf/given_up.h"
#include "conf/partition.h"
#include "conf/rule_tables.h"
#include "conf/sql.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/names.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "shape/route.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

FLO_FUNCTION(flo_give_up);

/* At the source */
typedef struct SourceName
{
	char	   *schema;
	char	   *table;
} SourceName;

static SourceName
name_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *text = flo_argument_text(fcinfo, n, "table_name");
	SourceName	name = {.schema = "public"};
	List	   *parts;

	if (!SplitIdentifierString(pstrdup(text), '.', &parts) || parts == NIL ||
		list_length(parts) > 2 ||
		*(char *) llast(parts) == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the name of a table", text),
				 errhint("Write schema.table, as it is called at the source, what is not all lower case letters and digits in double quotes: public.\"My Table\".")));
	if (list_length(parts) == 2)
		name.schema = linitial(parts);
	name.table = llast(parts);
	return name;
}

/* --- whose table --------------------------------------------------------- */

/*
 * Did the worker fail at such a table?  Then the error, and its OID at the source
 * if that was just now: later it may have got another name, or another its name.
 */
static bool
failed_at(const char *group, const char *worker, const SourceName *name, uint32 *relation,
		  char **error)
{
	FloMember	m;

	flo_require_preloaded();
	if (flo_member_look(group, worker, &m) < 0 ||
		strcmp(m.failed_table[0], name->schema) != 0 || strcmp(m.failed_table[1], name->table) != 0)
		return false;
	*relation = m.state == FLO_STATE_BACKOFF || m.state == FLO_STATE_FAILED ? m.failed_relation : 0;
	*error = pstrdup(m.failed_error);
	return true;
}

static List *
workers_of(const char *group)
{
	List	   *workers = NIL;
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator)
			workers = lappend(workers, member->member);
	}
	return workers;
}

/* When none is named: the only one, or the only one that has failed at the table */
static char *
choose_worker(const char *group, const SourceName *name)
{
	List	   *workers = workers_of(group);
	List	   *failed = NIL;
	ListCell   *cell;

	if (workers == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no worker in this database", group),
				 errhint("A table is given up at the destination that cannot apply it; at the source flo.remove_table() takes it out of the group.")));
	if (list_length(workers) == 1)
		return linitial(workers);
	foreach(cell, workers)
	{
		uint32		relation;
		char	   *error;

		if (failed_at(group, lfirst(cell), name, &relation, &error))
			failed = lappend(failed, lfirst(cell));
	}
	if (list_length(failed) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("group \"%s\" has several workers in this database", group),
				 errhint("Name the one that is to give up the table: flo.give_up(group_name, table_name, worker_name).")));
	return linitial(failed);
}

/* --- which table --------------------------------------------------------- */

/*
 * Has anything come of a table of this name, as far as that is kept: of
 * copies, by rules and routes, of tables given up?
 */
static bool
has_come(const char *group, const char *worker, const SourceName *name)
{
	static const char *const tables[] = {"given_up", "copied_tables", "shaped_tables"};
	FloSqlSession sql;
	bool		found = false;

	flo_sql_begin(&sql);
	for (int i = 0; i < lengthof(tables) && !found; i++)
		found = flo_sql_run(SPI_OK_SELECT,
							psprintf("SELECT FROM flo.%s WHERE group_name = $1 AND worker_name = $2"
									 " AND schema_name = $3 AND table_name = $4",
									 tables[i]),
							4, group, worker, name->schema, name->table) > 0;
	flo_sql_end(&sql);
	return found;
}

/* The source's name of a table whose rows a route leads to the table here that has this name */
static char *
routed_here(const List *routes, const SourceName *name)
{
	ListCell   *cell;

	foreach(cell, routes)
	{
		const FloRouteSpec *route = lfirst(cell);
		const char *schema = route->destination_schema != NULL ? route->destination_schema :
			route->source_schema;
		const char *from = route->source_table != NULL ? route->source_table : name->table;
		const char *table = route->destination_table != NULL ? route->destination_table : from;

		if (strcmp(schema, name->schema) == 0 && strcmp(table, name->table) == 0)
			return quote_qualified_identifier(route->source_schema, from);
	}
	return NULL;
}

/* Is there a table here for its rows, as one that travels under this name? */
static void
require_here(const char *group, const char *worker, const SourceName *name)
{
	List	   *routes = flo_rule_tables_load(group, worker, NULL)->routes;
	const FloRouteSpec *route = flo_route_find(routes, name->schema, name->table);
	const char *schema = route != NULL && route->destination_schema != NULL ?
		route->destination_schema : name->schema;
	const char *table = route != NULL && route->destination_table != NULL ?
		route->destination_table : name->table;
	Oid			namespace = get_namespace_oid(schema, true);
	Oid			relation = OidIsValid(namespace) ? get_relname_relid(table, namespace) : InvalidOid;
	char		kind = OidIsValid(relation) ? get_rel_relkind(relation) : '\0';
	Oid			root = flo_partition_root(relation);
	char	   *source = route == NULL ? routed_here(routes, name) : NULL;

	if (source != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" of this database gets the rows of %s of the source",
						name->schema, name->table, source),
				 errhint("Names are those of the source: flo.give_up('%s', %s).", group,
						 quote_literal_cstr(source))));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("worker \"%s\" of group \"%s\" knows no table \"%s.%s\"", worker, group,
						name->schema, name->table),
				 errdetail("It has neither failed at such a table nor copied it, and there is none here for its rows."),
				 errhint("Names are those of the source, as in flo.tables there, in double quotes where they are not all lower case; last_error in flo.status shows the table that fails.")));
	if (OidIsValid(root))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s.%s\" is a partition here, and no rows have come under its name",
						name->schema, name->table),
				 errhint("Rows of partitions travel under the name of the partitioned table, which is given up as a whole: %s.",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(root)),
													get_rel_name(root)))));
}

Datum
flo_give_up(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	SourceName	name = name_argument(fcinfo, 1);
	char	   *worker = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	FloGivenUp	table = {
		.schema = name.schema,
		.table = name.table
	};
	char	   *error = NULL;

	flo_conf_require_group(group);
	if (worker == NULL)
		worker = choose_worker(group, &name);
	else if (strcmp(worker, FLO_REPLICATOR_MEMBER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a worker", worker),
				 errhint("At the source flo.remove_table() takes a table out of the group.")));
	flo_conf_require_member(group, worker);
	if (!failed_at(group, worker, &name, &table.relation, &error) &&
		!has_come(group, worker, &name) &&
		flo_store_worker(group, worker)->sink == FLO_SINK_POSTGRES)
		require_here(group, worker, &name);

	if (!flo_given_up_add(group, worker, &table, error, GetUserId()))
	{
		ereport(NOTICE,
				(errmsg("worker \"%s\" of group \"%s\" has given up table \"%s.%s\" already",
						worker, group, name.schema, name.table)));
		PG_RETURN_VOID();
	}
	ereport(LOG,
			(errmsg("worker \"%s\" of group \"%s\" is told by \"%s\" to give up table \"%s.%s\"",
					worker, group, GetUserNameFromId(GetUserId(), false), name.schema,
					name.table)));
	flo_conf_altered(group, worker);
	PG_RETURN_VOID();
}
