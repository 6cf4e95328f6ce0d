/*
 * ddl_parts.h
 *		Which objects of a database are parts of which.
 */
#ifndef FLO_DDL_PARTS_H
#define FLO_DDL_PARTS_H

#include "catalog/objectaddress.h"

/*
 * One step from a part to what it is part of; false, and nothing changed, for
 * what is nobody's part
 */
extern bool flo_ddl_to_whole(ObjectAddress *object);

/*
 * The table of a trigger, rule, policy or membership in a publication: with the
 * table it goes whoever made it, but it is not the table's.  0 = none of these.
 */
extern Oid	flo_ddl_table_of_attached(const ObjectAddress *object);

/* The constraint that a trigger of the server's enforces; 0 = it is somebody's own */
extern Oid	flo_ddl_constraint_of_trigger(Oid trigger);

/* Does the server make and drop it by itself, with what it belongs to? */
extern bool flo_ddl_is_servers(const ObjectAddress *object);

/* A partition's copy of its root's trigger? */
extern bool flo_ddl_is_clone(const ObjectAddress *object);

#endif
