/*
 * ddl_present.h
 *		Is the effect of a DDL statement there already?
 */
#ifndef FLO_DDL_PRESENT_H
#define FLO_DDL_PRESENT_H

#include "lib/stringinfo.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"

/*
 * True when nothing remains to be done.  Parts whose effect is there are taken
 * out of the statement and told in "note".  Throws when what is there has the
 * name but not the shape.  Names must be mapped.
 */
extern bool flo_ddl_present(Node *statement, const char *text, bool with_owner, StringInfo note);

/* --- comparisons, in ddl_same.c ------------------------------------------ */

struct ColumnDef;
struct Constraint;
struct IndexStmt;

/* Why the column is not as defined, or NULL when it is */
extern char *flo_ddl_column_differs(Relation relation, int attnum, struct ColumnDef *column,
									bool in_primary_key, const char *text);

/* The columns of CREATE TABLE against those of an existing table */
extern char *flo_ddl_table_differs(Relation relation, List *elements, bool complete,
								   const char *text);

/*
 * The constraint that has its name, or (when it has none) is the primary key,
 * of whatever shape; 0 = none
 */
extern Oid	flo_ddl_constraint_like(Relation relation, const struct Constraint *constraint);

/* Is the column one of its own? */
extern bool flo_ddl_constraint_has_column(Oid constraint, AttrNumber column);

/* An existing constraint, by name or (when it has none) as the primary key */
extern bool flo_ddl_constraint_there(Relation relation, struct Constraint *constraint,
									 const char *text);

/* An index of the name on the same table, with the same columns */
extern char *flo_ddl_index_differs(Oid index, struct IndexStmt *statement, const char *text);

#endif
