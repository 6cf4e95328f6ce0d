/*
 * ddl_rewrites.h
 *		Rewrites of a table whose result its rows do not determine.
 */
#ifndef FLO_DDL_REWRITES_H
#define FLO_DDL_REWRITES_H

#include "nodes/nodes.h"

/*
 * Why running the statement here could give other values than at the source,
 * as a sentence in the current memory context; NULL when it could not.  Names
 * must be mapped; throws what the statement itself would throw.
 */
extern char *flo_ddl_undetermined(Node *statement, const char *text);

#endif
