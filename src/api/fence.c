/*
 * fence.c
 *		The triggers of fenced tables, and flo.unfence().
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "conf/commit.h"
#include "conf/cutover.h"
#include "conf/fence.h"
#include "conf/rights.h"
#include "core/arguments.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"

FLO_FUNCTION(flo_fence);
FLO_FUNCTION(flo_unfence);
FLO_FUNCTION(flo_prepare_fence);
FLO_FUNCTION(flo_raise_fence);

/* Before a row is written, or a table emptied */
Datum
flo_fence(PG_FUNCTION_ARGS)
{
	static bool seen;
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("flo.fence() can only be called as a trigger")));

	/* this lives as long as the statement, which has locked the table before */
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		Oid			relation = RelationGetRelid(trigger->tg_relation);
		FloFence   *fence = flo_fence_against(relation);

		if (fence != NULL)
			flo_fence_refuse(fence, relation, false);
		fcinfo->flinfo->fn_extra = &seen;
	}
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ?
						   trigger->tg_newtuple : trigger->tg_trigtuple);
}

/* Lower one; of a cut-over that is under way by force alone */
static bool
take_down(const char *group, FloFenceSide side, bool force)
{
	FloFence   *fence = flo_fence_state(group, side);

	if (fence == NULL || !fence->raised)
		return false;
	if (fence->attempt != 0 && !force)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" is fenced by cut-over " INT64_FORMAT, group, fence->attempt),
				 errhint("The other server is the primary: the way back is a cut-over there, of the group in the other direction. With force => true it is taken down whatever the other server does: both may take writes then.")));
	(void) flo_fence_lower(group, side, 0);
	if (fence->attempt != 0)
		ereport(WARNING,
				(errmsg("the tables of group \"%s\" take writes here again, whatever the other server does",
						group),
				 errhint("Writes that both have taken are not brought together by anybody.")));
	return true;
}

Datum
flo_unfence(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	bool		force;
	bool		asked;
	bool		was_raised;

	flo_argument_require(fcinfo, 1, "force");
	force = PG_GETARG_BOOL(1);
	flo_conf_require_group(group);
	flo_rights_require_owner(group);
	if (force)
		flo_cutover_force(group);


	/*
	 * what has not come to its fence here is undone, also where force was
	 * meant
	 */
	asked = flo_cutover_ask_cancel(group);
	if (asked)
	{
		ereport(NOTICE,
				(errmsg("the cut-over of group \"%s\" is being undone, by both sides", group),
				 errhint("flo.cutovers shows how far that is. Should the other server be gone for good: force => true.")));
		if (!force)
			PG_RETURN_VOID();
	}
	if (!asked && flo_fence_state(group, FLO_FENCE_SOURCE) == NULL &&
		flo_fence_state(group, FLO_FENCE_DESTINATION) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("group \"%s\" has no fence here", group),
				 errhint("flo.fence_status() shows those that there are.")));
	was_raised = take_down(group, FLO_FENCE_SOURCE, force);
	was_raised |= take_down(group, FLO_FENCE_DESTINATION, force);
	if (was_raised)
		ereport(NOTICE,
				(errmsg("the triggers of the fence stay, and let everything through"),
				 errhint("Another call of flo.unfence() removes them.")));
	else if (!asked && (!flo_fence_uninstall(group, FLO_FENCE_SOURCE, FLO_FENCE_PATIENCE) ||
						!flo_fence_uninstall(group, FLO_FENCE_DESTINATION, FLO_FENCE_PATIENCE)))
		ereport(WARNING,
				(errmsg("the triggers of the fence stay on some tables, since others use these; they let everything through")));
	PG_RETURN_VOID();
}

/* --- for tests, and for who has to mend something by hand ---------------- */

static FloFenceSide
side_argument(FunctionCallInfo fcinfo, int n)
{
	char	   *side = flo_argument_text(fcinfo, n, "side");

	if (strcmp(side, "source") == 0)
		return FLO_FENCE_SOURCE;
	if (strcmp(side, "destination") == 0)
		return FLO_FENCE_DESTINATION;
	flo_conf_refuse(psprintf("a fence has no side \"%s\"", side),
					"It is source or destination.");
}

Datum
flo_prepare_fence(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloFenceSide side = side_argument(fcinfo, 1);
	char	   *passing = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	List	   *tables = NIL;
	Datum	   *values;
	int			count;

	flo_argument_require(fcinfo, 2, "tables");
	flo_conf_require_group(group);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT,
					  &values, NULL, &count);
	for (int i = 0; i < count; i++)
		tables = lappend_oid(tables, DatumGetObjectId(values[i]));
	flo_rights_require_owner(group);
	flo_fence_require_rights(tables, GetUserId());
	flo_fence_install(group, side, tables, passing, FLO_FENCE_PATIENCE);
	PG_RETURN_VOID();
}

Datum
flo_raise_fence(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloFenceSide side = side_argument(fcinfo, 1);
	char	   *reason = flo_argument_text(fcinfo, 2, "reason");

	flo_argument_require(fcinfo, 3, "attempt");
	flo_conf_require_group(group);
	flo_rights_require_owner(group);
	flo_fence_raise(group, side, PG_GETARG_INT64(3), reason, FLO_FENCE_PATIENCE);
	PG_RETURN_VOID();
}
