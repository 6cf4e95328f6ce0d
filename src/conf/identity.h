/*
 * identity.h
 *		Replica identities of tables and partitions.
 */
#ifndef FLO_IDENTITY_H
#define FLO_IDENTITY_H

#include "conf/store.h"
#include "utils/relcache.h"

/*
 * Can UPDATE and DELETE of the table, and of all its partitions, be replicated,
 * when partitions are published as their root or for themselves?
 */
extern bool flo_tables_have_identity(Oid relation, bool via_root);

/* The same for this relation alone */
extern bool flo_identity_own(Oid relation);

/*
 * Can rows of the table be changed without its old ones saying which row of what
 * is published, the table itself or a partitioned table above it, that is?  The
 * first also serves logical decoding.
 */
extern bool flo_identity_strays(Relation table, Relation published);
extern bool flo_identity_table_strays(Oid table, Oid published);

/*
 * What is special about the identity that a table, or a partition of it, has
 * and cannot use; NULL: it has none
 */
extern char *flo_identity_lack(Oid relation);

/*
 * REPLICA IDENTITY FULL for a group, as the current user; partitions get it
 * with their root.  Throws where flo_identity_can_be_full() says no.  It excludes
 * everybody: the locks come first, with flo_lock_all(), or within a user's DDL
 * with flo_identity_try_lock(), which does not wait.
 */
extern bool flo_identity_can_be_full(Oid relation);
extern bool flo_identity_try_lock(Oid relation);
extern List *flo_identity_wish_full(List *wishes, Oid relation);
extern void flo_identity_set_full(const char *group, Oid relation, bool via_root);

/* Told of each table that was given it; set by whoever writes DDL into WAL */
extern void (*flo_identity_made_full) (Oid relation);

/* Give a table its former identity back; the lock comes first */
extern List *flo_identity_wish_restore(List *wishes, const FloFullIdentity *identity);
extern void flo_identity_restore(const char *group, const FloFullIdentity *identity);

#endif
