/*
 * compat_acl.h
 *		Who may do what.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_ACL_H
#define FLO_COMPAT_ACL_H

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "core/compat.h"
#include "utils/acl.h"

/* Privileges of a role on a database; ownership of a database */
static inline AclResult
flo_compat_database_aclcheck(Oid database, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, role, mode);
#else
	return pg_database_aclcheck(database, role, mode);
#endif
}

static inline bool
flo_compat_database_ownercheck(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

/* May the role look up names there (ACL_USAGE), or make objects (ACL_CREATE)? */
static inline bool
flo_compat_schema_allows(Oid schema, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, mode) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(schema, role, mode) == ACLCHECK_OK;
#endif
}

static inline bool
flo_compat_class_ownercheck(Oid relation, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relation, role);
#else
	return pg_class_ownercheck(relation, role);
#endif
}

/* May "member" become "role" by SET ROLE? */
static inline bool
flo_compat_can_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return member_can_set_role(member, role);
#else
	return is_member_of_role(member, role);
#endif
}

#endif
