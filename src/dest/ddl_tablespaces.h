/*
 * ddl_tablespaces.h
 *		Takes tablespaces out of DDL: they are each server's own.
 */
#ifndef FLO_DDL_TABLESPACES_H
#define FLO_DDL_TABLESPACES_H

#include "lib/stringinfo.h"
#include "nodes/nodes.h"

/*
 * Of a raw parse tree; what is taken out is told in "note".  True when nothing
 * is left of the statement.
 */
extern bool flo_ddl_drop_tablespaces(Node *statement, StringInfo note);

#endif
