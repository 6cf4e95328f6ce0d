/*
 * ddl_targets.h
 *		The objects of this database that a DDL statement names to change them.
 */
#ifndef FLO_DDL_TARGETS_H
#define FLO_DDL_TARGETS_H

#include "catalog/objectaddress.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

typedef struct FloDdlTarget
{
	ObjectAddress object;
	Oid			table;			/* of a part without an owner of its own
								 * (trigger, policy, column); 0 = none */
	bool		also;			/* the statement is about another one: it only
								 * joins this one to it */
} FloDdlTarget;

/*
 * Of a raw parse tree with names mapped, as the search_path in force finds
 * them; nothing is locked.  A list of FloDdlTarget *.  What does not exist here
 * is left out, what the statement makes as well.
 */
extern List *flo_ddl_targets(Node *statement);

/* The tables that it makes others like */
extern List *flo_ddl_models(Node *statement);

/* One more, by name, if it exists */
extern List *flo_ddl_add_relation_target(List *targets, const struct RangeVar *name);

/* The role to whom it belongs; 0 = nobody is known */
extern Oid	flo_ddl_target_owner(const FloDdlTarget *target);

/* Whom a role stands for: pg_database_owner for one that changes with the database's owner */
extern Oid	flo_ddl_actual_role(Oid role);

/* The role that an object of a catalog belongs to; 0 = there is none, or nobody owns such */
extern Oid	flo_ddl_owner(Oid class, Oid object);

/* The role that a schema in fact belongs to; 0 when there is none */
extern Oid	flo_ddl_schema_owner(Oid schema);

/* 0 when there is no such object, OID 0 included */
extern Oid	flo_ddl_relation_owner(Oid relation);
extern Oid	flo_ddl_type_owner(Oid type);

/* Of names that end with that of a part: the table; NULL when nothing is left */
extern struct RangeVar *flo_ddl_table_of_part(List *names);

/* The table of a sequence's OWNED BY; NULL = none is named */
extern struct RangeVar *flo_ddl_owned_by(List *options);

#endif
