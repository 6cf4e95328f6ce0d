/*
 * ddl_rewrites.h
 *		Rewrites of a table whose result its rows do not determine.
 */
#ifndef FLO_DDL_REWRITES_H
#define FLO_DDL_REWRITES_H

#include "nodes/nodes.h"
#include "wire/ddl.h"

/*
 * Why running the statement here could give other values than at the source,
 * as a sentence in the current memory context; NULL when it could not.  Names
 * must be mapped; throws what the statement itself would throw.
 */
extern char *flo_ddl_undetermined(Node *statement, const FloDdlStatement *ddl, const char *text);

/*
 * Why the statement may mean something else here: the source's settings, which
 * were to be in force by now, are not, and it has constants.  NULL: they are, or
 * it has none.
 */
extern char *flo_ddl_refused(const FloDdlStatement *ddl, const char *text);

#endif
