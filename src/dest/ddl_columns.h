/*
 * ddl_columns.h
 *		The columns in a DDL statement, as a route names them.
 */
#ifndef FLO_DDL_COLUMNS_H
#define FLO_DDL_COLUMNS_H

#include "dest/worker_rules.h"
#include "lib/stringinfo.h"
#include "nodes/nodes.h"

/*
 * Change the raw parse tree of a statement about one table of the source, to
 * which a route with column_mappings applies.  What concerns a column that the
 * route leaves out is taken from the statement and told in "note"; *nothing
 * says that no more is left.  Returns why the statement cannot be mapped, as a
 * sentence, or NULL.
 */
extern char *flo_ddl_map_columns(Node *statement, FloWorkerRules *routes, const char *schema,
								 const char *table, bool *nothing, StringInfo note);

#endif
