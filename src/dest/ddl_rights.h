/*
 * ddl_rights.h
 *		As whom a DDL statement of the source runs here, and whether it may.
 */
#ifndef FLO_DDL_RIGHTS_H
#define FLO_DDL_RIGHTS_H

#include "core/as_role.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

typedef struct FloDdlRights
{
	Oid			role;
	char	   *search_path;	/* quoted names */
	bool		restricted;		/* as a security-restricted operation */
	List	   *sequences;		/* of FloDdlTarget *: those that its
								 * expressions take numbers of */
} FloDdlRights;

/*
 * Rights of the owner of what the statement, a raw parse tree with names
 * mapped, is about; or of the worker's owner, when that one cannot be it.
 * "search_path" is the source's, NULL for none.  Returns NULL; or why the
 * statement must not run without a person's word, as a part of a sentence.
 * Names may be qualified in the tree.  Nothing of the statement runs in here.
 */
extern char *flo_ddl_rights(Node *statement, Oid worker_owner, const char *search_path,
							FloDdlRights *rights);

/* Those of a statement that is run as it is: the worker's owner's, with the source's search_path */
extern void flo_ddl_full_rights(Node *statement, Oid worker_owner, const char *search_path,
								FloDdlRights *rights);

/* Take them; flo_as_role_leave() gives them back */
extern void flo_ddl_take_rights(FloAsRole *as, const FloDdlRights *rights);

#endif
