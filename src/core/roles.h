/*
 * roles.h
 *		What one role may do in another's place.  The only file that asks.
 *
 * Roles are kept and compared by OID.  A role that was dropped has no rights,
 * and nobody but a superuser has its; one that is made later under its name is
 * another role.
 *
 * Since version 16 a membership may be granted WITH INHERIT FALSE or WITH SET
 * FALSE.  What a member may do to objects of a role goes by INHERIT; what needs
 * that code runs as the role goes by SET, as in the server itself.
 */
#ifndef FLO_ROLES_H
#define FLO_ROLES_H

extern bool flo_role_exists(Oid role);

/* 'role "name"', or 'role with OID n, which no longer exists'; palloc'd */
extern char *flo_role_shown(Oid role);

/* Has "role" the rights of "other" as it is?  Superusers have those of all. */
extern bool flo_role_has_rights_of(Oid role, Oid other);

/* May "role" act as "other", with SET ROLE? */
extern bool flo_role_can_become(Oid role, Oid other);

#endif
