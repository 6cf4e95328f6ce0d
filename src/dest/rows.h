/*
 * rows.h
 *		Does a table of this database hold rows?
 */
#ifndef FLO_ROWS_H
#define FLO_ROWS_H

/*
 * The table, which is locked, or a partition of it; other children are tables
 * of their own.  Rows count that this transaction has put in, and those of others
 * that were committed up to now; who must not miss those of others that are about
 * to be has a lock that keeps them out.
 */
extern bool flo_table_has_rows(Oid relation);

#endif
