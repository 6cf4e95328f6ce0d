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
	int			context = 0;

	GetUserIdAndSecContext(&as->user, &as->context);
	as->guc_level = 0;
	switch (mode)
	{
		case FLO_AS_ROLE_TRUSTED:
			context = as->context;
			break;
		case FLO_AS_ROLE_BRIEF:
			context = as->context | SECURITY_LOCAL_USERID_CHANGE;
			break;
		case FLO_AS_ROLE_PLAIN:
			context = as->context | SECURITY_LOCAL_USERID_CHANGE;
			as->guc_level = NewGUCNestLevel();
			break;
		case FLO_AS_ROLE_RESTRICTED:
			context = as->context | SECURITY_RESTRICTED_OPERATION;
			as->guc_level = NewGUCNestLevel();
			break;
		case FLO_AS_ROLE_ACROSS_COMMITS:
			as->guc_level = NewGUCNestLevel();
			break;
	}
	SetUserIdAndSecContext(role, context);
}

void
flo_as_role_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 0, false);
}

bool
flo_as_role_try(const char *name, const char *value)
{
	return set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, DEBUG2,
							 false) > 0;
}

void
flo_as_role_leave(const FloAsRole *as)
{
	SetUserIdAndSecContext(as->user, as->context);
	if (as->guc_level > 0)
		AtEOXact_GUC(false, as->guc_level);
}

void
flo_as_role_leave_late(const FloAsRole *as)
{
	SetUserIdAndSecContext(as->user, as->context);
}

void
flo_as_role_allow_naming(void)
{
	Oid			user;
	int			context;

	GetUserIdAndSecContext(&user, &context);
	if (!(context & SECURITY_RESTRICTED_OPERATION))
		SetUserIdAndSecContext(user, context & ~SECURITY_LOCAL_USERID_CHANGE);
}
