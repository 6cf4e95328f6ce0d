/*
 * cutover_acts.c
 *		What the destination of a cut-over does to its own database.
 */
#include "postgres.h"

#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "conf/fence.h"
#include "conf/given_up.h"
#include "conf/sql.h"
#include "conf/tables.h"
#include "core/names.h"
#include "core/text.h"
#include "dest/cutover_acts.h"
#include "utils/lsyscache.h"

typedef struct Act
{
	FloWorker  *w;
	FloCutover *c;
	const ErrorData *why;
} Act;

/* --- checks -------------------------------------------------------------- */

/* What must not be there of this worker */
static const struct
{
	const char *count;
	const char *problem;
	const char *hint;
}			obstacles[] = {

	{"SELECT count(*) FROM flo.pending_ddl WHERE group_name = $1 AND worker_name = $2",
		"statements of the source are held here",
	"flo.pending_ddl shows them; flo.release_ddl() or flo.skip_ddl()."},
	{"SELECT count(*) FROM flo.dead_letters WHERE group_name = $1 AND worker_name = $2",
		"there are dead letters",
	"flo.dead_letters shows them."},
	{"SELECT count(*) FROM flo.owed_copies WHERE group_name = $1 AND worker_name = $2",
		"tables are being copied",
	"flo.copy_progress shows how far they are."},
};

static void
refuse(const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg_internal("%s", problem),
			 hint != NULL ? errhint("%s", hint) : 0));
}

static bool
any(FloSqlSession *sql, const char *count, FloWorker *w)
{
	(void) flo_sql_run(SPI_OK_SELECT, count, 2, w->group, w->worker);
	return strcmp(flo_sql_text(sql, 0, 1), "0") != 0;
}

/*
 * A table here that a replicator made by hand does not send; invalid: none.  Parts go by
 * their whole.
 */
static Oid
left_out(const FloCutover *c)
{
	List	   *sent = flo_store_published(c->reverse);
	ListCell   *cell;

	foreach(cell, c->tables)
	{
		Oid			table = lfirst_oid(cell);
		List	   *wholes = get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL;

		if (!list_member_oid(sent, table) && get_rel_relkind(table) == RELKIND_RELATION &&
			list_length(list_difference_oid(wholes, sent)) == list_length(wholes))
			return table;
	}
	return InvalidOid;
}

static void
check(void *arg)
{
	Act		   *act = arg;
	FloWorker  *w = act->w;
	FloCutover *c = act->c;
	FloSqlSession sql;
	char	   *given_up;
	FloReplicatorSpec *back;
	Oid			missing;

	if (c->problem != NULL)
		refuse(c->problem, c->hint);
	if (!w->spec->options.allow_cutover)
		refuse("the worker does not allow a cut-over",
			   "Set its option \"allow_cutover\" to true.");
	flo_fence_require_rights(c->tables, w->spec->owner);
	given_up = flo_given_up_names(w->group, w->worker);
	if (given_up != NULL)
		refuse(psprintf("tables are given up here, whose rows are not complete: %s", given_up),
			   "flo.resync() at the source copies them anew.");
	back = c->reverse != NULL ? flo_store_replicator(c->reverse) : NULL;
	if (back != NULL && back->options.origin != FLO_ORIGIN_LOCAL)
		refuse("the replicator of the way back sends on what comes from the source",
			   "Set its option \"origin\" to \"local\".");
	missing = back != NULL ? left_out(c) : InvalidOid;
	if (OidIsValid(missing))
		refuse(psprintf("the replicator of the way back, group \"%s\", does not send table %s",
						c->reverse, flo_tables_name(missing)),
			   "Add it there with flo.add_table(), or choose another name: a group is made then.");
	flo_sql_begin(&sql);
	for (int i = 0; i < lengthof(obstacles); i++)
		if (any(&sql, obstacles[i].count, w))
			refuse(obstacles[i].problem, obstacles[i].hint);
	if (c->reverse != NULL &&
		any(&sql, "SELECT (SELECT count(*) FROM flo.rules WHERE group_name = $1 AND coalesce(worker_name, $2) = $2)"
			" + (SELECT count(*) FROM flo.routes WHERE group_name = $1 AND coalesce(worker_name, $2) = $2)", w) && back == NULL)
		refuse("rules or routes of the worker make rows other than at the source: the way back cannot undo that",
			   "Make the group of the way back yourself, with rules and routes of its own, and name it; or cut over without reverse.");
	flo_sql_end(&sql);
}

/* --- the fence, the way back --------------------------------------------- */

static void
raise_fence(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;

	flo_fence_install(c->group, FLO_FENCE_DESTINATION, c->tables, c->reverse,
					  FLO_CUTOVER_LOCK_PATIENCE);
	flo_fence_raise(c->group, FLO_FENCE_DESTINATION, c->attempt,
					psprintf("cut-over of group \"%s\" to this database", c->group),
					FLO_CUTOVER_LOCK_PATIENCE);
}

/*
 * As the worker's owner, who must own the tables.  What was made by hand before is
 * used as it is.
 */
static void
make_way_back(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	Oid			owner = act->w->spec->owner;
	StringInfoData tables;
	const char *args[3] = {c->reverse};
	ListCell   *cell;

	if (flo_store_replicator(c->reverse) == NULL)
	{
		initStringInfo(&tables);
		foreach(cell, c->tables)
			appendStringInfo(&tables, "%c%u", foreach_current_index(cell) > 0 ? ',' : '{',
							 lfirst_oid(cell));
		appendStringInfoChar(&tables, '}');
		args[1] = tables.data;
		args[2] = c->options == NULL ? "{}" :
			JsonbToCString(NULL, &c->options->root, VARSIZE(c->options));
		(void) flo_cutover_call(owner, "SELECT flo.create_replicator($1, tables => $2::oid[]::regclass[],"
								" options => $3::jsonb || '{\"origin\": \"local\"}')", 3, args);
		flo_cutover_save_reverse(c, true);
	}
	(void) flo_cutover_call(owner, "SELECT flo.start_group($1)", 1, args);
}

/* --- states -------------------------------------------------------------- */

static void
set_checked(void *arg)
{
	Act		   *act = arg;

	flo_cutover_set(act->c, FLO_CUTOVER_CHECKED, InvalidXLogRecPtr);
}

static void
set_prepared(void *arg)
{
	Act		   *act = arg;

	flo_cutover_set(act->c, FLO_CUTOVER_PREPARED, InvalidXLogRecPtr);
	flo_cutover_step(act->c, "prepare", "%d tables here take writes of pg_flo alone",
					 list_length(act->c->tables));
}

/*
 * The one decision.  Where this database was left for the other one before, it is
 * not any more.
 */
static void
set_open(void *arg)
{
	Act		   *act = arg;
	FloCutover *c = act->c;
	ListCell   *cell;

	flo_cutover_set(c, FLO_CUTOVER_OPEN, InvalidXLogRecPtr);
	(void) flo_fence_lower(c->group, FLO_FENCE_DESTINATION, c->attempt);
	foreach(cell, flo_cutover_returned(c->group))
		(void) flo_fence_lower(lfirst(cell), FLO_FENCE_SOURCE, 0);
	flo_cutover_step(c, "open", "this database is the primary");
}

void
flo_cutover_cancelled(FloCutover *c, int sqlstate, const char *problem, const char *hint)
{
	flo_cutover_blame(c, sqlstate, problem, hint);
	flo_cutover_set(c, FLO_CUTOVER_CANCELLED, InvalidXLogRecPtr);
	(void) flo_fence_lower(c->group, FLO_FENCE_DESTINATION, c->attempt);
	flo_cutover_step(c, "undo", "%s", problem);
}

static void
give_up(void *arg)
{
	Act		   *act = arg;

	if (act->why != NULL)
		flo_cutover_cancelled(act->c, act->why->sqlerrcode, act->why->message, act->why->hint);
	else
		flo_cutover_cancelled(act->c, ERRCODE_QUERY_CANCELED, "somebody has called flo.unfence() there",
							  NULL);
}

static void
clean_up(void *arg)
{
	Act		   *act = arg;
	const char *args[1] = {act->c->reverse};

	if (flo_store_replicator(act->c->reverse) != NULL)
		(void) flo_cutover_call(act->w->spec->owner,
								"SELECT flo.drop_replicator($1, purge_stream => true)", 1, args);
	flo_cutover_save_reverse(act->c, false);
	flo_cutover_step(act->c, "undo", "replicator of group \"%s\" dropped", act->c->reverse);
}

bool
flo_cutover_ask_clean_up(FloCutover *c)
{
	return flo_sql_do(SPI_OK_UPDATE, "UPDATE flo.cutovers SET cancel_asked = true WHERE group_name = $1 AND worker_name = $2",
					  2, c->group, c->member) > 0;
}

bool
flo_cutover_has_released(const char *group)
{
	return flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.cutovers WHERE role = 'source' AND state = 'released' AND reverse = $1",
					  1, group) > 0;
}

/* --- from outside -------------------------------------------------------- */

static ErrorData *
run(void (*what) (void *arg), Act *act, const char *point)
{
	return flo_cutover_do(act->c, point, true, what, act);
}

ErrorData *
flo_cutover_check(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(check, &act, "check");
}

ErrorData *
flo_cutover_raise(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(raise_fence, &act, "raise");
}

ErrorData *
flo_cutover_make_replicator(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(make_way_back, &act, "way");
}

ErrorData *
flo_cutover_try_replicator(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return flo_cutover_do(c, "try", false, make_way_back, &act);
}

ErrorData *
flo_cutover_set_checked(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(set_checked, &act, "checked");
}

ErrorData *
flo_cutover_set_prepared(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(set_prepared, &act, "prepared");
}

ErrorData *
flo_cutover_open(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(set_open, &act, "open");
}

ErrorData *
flo_cutover_undo(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(give_up, &act, "undo");
}

ErrorData *
flo_cutover_give_up(FloWorker *w, FloCutover *c, const ErrorData *why)
{
	Act			act = {.w = w,.c = c,.why = why};

	return run(give_up, &act, "give_up");
}

ErrorData *
flo_cutover_drop_replicator(FloWorker *w, FloCutover *c)
{
	Act			act = {.w = w,.c = c};

	return run(clean_up, &act, "clean");
}
