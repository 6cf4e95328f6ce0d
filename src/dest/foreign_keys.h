/*
 * foreign_keys.h
 *		Foreign keys of tables whose rows were loaded without looking at them.
 */
#ifndef FLO_FOREIGN_KEYS_H
#define FLO_FOREIGN_KEYS_H

#include "conf/spec.h"

/* In the open transaction: the foreign keys of the table are to be checked when all rows are in */
extern void flo_foreign_keys_unchecked(const FloWorkerSpec *spec, Oid relation);

/* In the open transaction: is there any such table? */
extern bool flo_foreign_keys_are_unchecked(const FloWorkerSpec *spec);

/*
 * Check each foreign key from or to tables that were loaded since the last
 * check, one query and one transaction each.  Opens transactions of its own.
 * 23503 when rows violate one, 42501 when the table's owner must not read what
 * it refers to.
 */
extern void flo_foreign_keys_check(const FloWorkerSpec *spec);

/* In the open transaction: they need no other check */
extern void flo_foreign_keys_checked(const FloWorkerSpec *spec);

#endif
