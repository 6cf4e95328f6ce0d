/*
 * expression.h
 *		Expressions over the columns of one table as SQL, without a lock.
 */
#ifndef FLO_EXPRESSION_H
#define FLO_EXPRESSION_H

#include "nodes/nodes.h"

/*
 * In the current memory context.  Its columns are the table's as the catalogs
 * are read at this moment.
 */
extern char *flo_expression_text(Oid table, Node *expression);

#endif
