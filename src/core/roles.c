/*
 * roles.c
 *		What one role may do in another's place.
 */
#include "postgres.h"

#include "core/compat_acl.h"
#include "core/roles.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

bool
flo_role_exists(Oid role)
{
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

char *
flo_role_shown(Oid role)
{
	char	   *name = GetUserNameFromId(role, true);

	return name != NULL ? psprintf("role \"%s\"", name) :
		psprintf("role with OID %u, which no longer exists", role);
}

bool
flo_role_has_rights_of(Oid role, Oid other)
{
	if (!flo_role_exists(role))
		return false;
	return superuser_arg(role) || (flo_role_exists(other) && has_privs_of_role(role, other));
}

bool
flo_role_can_become(Oid role, Oid other)
{
	return flo_role_exists(role) && flo_role_exists(other) && flo_compat_can_set_role(role, other);
}
