/*
 * triggers.c
 *		The triggers of the configuration tables, and of everybody's DDL.
 */
#include "postgres.h"

#include "api/function.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "conf/commit.h"
#include "conf/guard.h"
#include "conf/newtables.h"
#include "conf/rights.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/rel.h"

FLO_FUNCTION(flo_config_changed);
FLO_EVENT_TRIGGER(flo_guard_drop);
FLO_EVENT_TRIGGER(flo_new_tables);

static bool
concerns_members_alone(const char *table)
{
	return strcmp(table, "copy_requests") == 0 || strcmp(table, "compare_requests") == 0 ||
		strcmp(table, "backfills") == 0 || strcmp(table, "chosen") == 0 ||
		strcmp(table, "astray") == 0 ||
		strcmp(table, "given_up") == 0;
}

/*
 * Statement trigger on the configuration tables.  A request for a copy and what
 * a table is called concern running members alone, which the invalidation
 * reaches also from a prepared transaction: users' DDL writes them, and may be
 * prepared.
 */
Datum
flo_config_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("flo.config_changed() can only be called as a trigger")));

	if (!concerns_members_alone(RelationGetRelationName(trigger->tg_relation)))
		flo_conf_changed();
	flo_rights_note_roles(trigger->tg_relation);
	CacheInvalidateRelcache(trigger->tg_relation);

	return PointerGetDatum(NULL);
}

/* Event trigger before a command that may drop the extension */
Datum
flo_guard_drop(PG_FUNCTION_ARGS)
{
	if (!IsBinaryUpgrade)
		flo_guard_init();

	PG_RETURN_NULL();
}

/* Event trigger after any command that may make or change a table */
Datum
flo_new_tables(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("flo.new_tables() can only be called as an event trigger")));

	if (!creating_extension && !IsBinaryUpgrade)
		flo_newtables_after(trigger->parsetree);

	PG_RETURN_NULL();
}
