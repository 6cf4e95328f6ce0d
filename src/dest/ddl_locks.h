/*
 * ddl_locks.h
 *		Locks that a statement of the source needs here, and who holds them.
 */
#ifndef FLO_DDL_LOCKS_H
#define FLO_DDL_LOCKS_H

#include "nodes/nodes.h"

/*
 * Lock the relations that the statement changes, and show for whom it waits;
 * 55P03 with the holder's pid after lock_timeout.
 */
extern void flo_ddl_lock_relations(Node *statement);

#endif
