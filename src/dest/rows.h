/*
 * rows.h
 *		Does a table of this database hold rows?
 */
#ifndef FLO_ROWS_H
#define FLO_ROWS_H

/*
 * The table, which is locked, or a partition of it; other children are tables
 * of their own.  Rows of others that were committed up to now count.
 */
extern bool flo_table_has_rows(Oid relation);

#endif
