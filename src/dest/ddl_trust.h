/*
 * ddl_trust.h
 *		What in a DDL statement of the source can do no harm to whom it runs as.
 */
#ifndef FLO_DDL_TRUST_H
#define FLO_DDL_TRUST_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

/*
 * Trusted are superusers, the worker's owner and the role that the statement
 * runs as: what is theirs, they have chosen here.
 */
typedef struct FloDdlTrust
{
	Oid			worker_owner;
	Oid			runs_as;
	List	   *schemas;		/* the source's search_path as it is here, of
								 * FloDdlSchema * */
	Oid			table;			/* whose columns expressions are over, 0 =
								 * none that exists */
	bool		in_query;		/* a view's: more kinds of nodes */
	List	   *sequences;		/* of FloDdlTarget *: of nextval() */
	char	   *reason;			/* why the statement is to be held: the first
								 * that was found */
} FloDdlTrust;

typedef struct FloDdlSchema
{
	Oid			oid;
	char	   *name;
	bool		trusted;		/* nobody else can put anything there */
} FloDdlSchema;

extern bool flo_ddl_role_is_trusted(const FloDdlTrust *trust, Oid role);

/* Can nobody but trusted roles create objects there, or drop them? */
extern bool flo_ddl_schema_is_trusted(const FloDdlTrust *trust, Oid schema);

/*
 * Find the schemas of the source's search_path, and say which path the
 * statement may run with: the trusted ones of them, never pg_temp first.
 */
extern char *flo_ddl_trusted_path(FloDdlTrust *trust, const char *search_path);

/* Note why the statement is to be held, unless a reason is known already */
extern void flo_ddl_distrust(FloDdlTrust *trust, const char *format,...) pg_attribute_printf(2, 3);

/*
 * The following look at one part of a raw parse tree, while the path above is
 * in force, and set trust->reason.  A name that is only found in a schema
 * which is not trusted, of an object whose owner is, gets that schema in the tree.
 */

/* A type, and what values of it run when they come and go */
extern void flo_ddl_check_type(FloDdlTrust *trust, TypeName *name);

/* A table the statement refers to; with "keys" only its columns are compared with */
extern void flo_ddl_check_relation(FloDdlTrust *trust, RangeVar *name, bool keys);

/* Expressions and lists of them; NULL is fine */
extern void flo_ddl_check_expression(FloDdlTrust *trust, Node *expression);
extern void flo_ddl_check_operator(FloDdlTrust *trust, List *names);
extern void flo_ddl_check_collation(FloDdlTrust *trust, List *names);
extern void flo_ddl_check_opclass(FloDdlTrust *trust, List *names, const char *access_method);

/* A view's query */
extern void flo_ddl_check_query(FloDdlTrust *trust, Node *query);

#endif
