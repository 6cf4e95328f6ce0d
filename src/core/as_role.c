/*
 * as_role.c
 *		The one place that decides as whom, and how restricted, we act.
 */
#include "postgres.h"

#include "core/as_role.h"
#include "miscadmin.h"
#include "utils/guc.h"

void
flo_as_role_enter(FloAsRole *as, Oid role, FloAsRoleMode mode)
{
	int			context;

	GetUserIdAndSecContext(&as->user, &as->context);
	as->guc_level = NewGUCNestLevel();
	if (mode == FLO_AS_ROLE_ACROSS_COMMITS)
		context = 0;
	else
		context = as->context | SECURITY_LOCAL_USERID_CHANGE;
	if (mode == FLO_AS_ROLE_RESTRICTED)
		context |= SECURITY_RESTRICTED_OPERATION;
	SetUserIdAndSecContext(role, context);
}

void
flo_as_role_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

bool
flo_as_role_try(const char *name, const char *value)
{
	return set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, DEBUG2, false) > 0;
}

void
flo_as_role_leave(const FloAsRole *as)
{
	SetUserIdAndSecContext(as->user, as->context);
	AtEOXact_GUC(false, as->guc_level);
}

void
flo_as_role_leave_late(const FloAsRole *as)
{
	SetUserIdAndSecContext(as->user, as->context);
}
