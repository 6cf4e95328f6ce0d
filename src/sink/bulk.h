/*
 * bulk.h
 *		Index entries of a table that is filled within one transaction.
 */
#ifndef FLO_BULK_H
#define FLO_BULK_H

#include "wire/change.h"

/*
 * The table is empty, and rows for it follow in this transaction, which is no
 * subtransaction: may its indexes be built at the end of it?  Then it is locked until
 * then, and sets of new rows make no entries.  False where that cannot be, or somebody
 * else has the table open.  Errors of the building are about the source's table.
 */
extern bool flo_bulk_begin(Oid relation, const FloRelation *source);

/* Is it such a one? */
extern bool flo_bulk_has(Oid relation);

/* Build the indexes of all of them, in the same transaction; 23505 where rows have one key */
extern void flo_bulk_build(void);

#endif
