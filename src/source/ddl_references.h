/*
 * ddl_references.h
 *		Tables and sequences that a DDL statement only refers to.
 */
#ifndef FLO_DDL_REFERENCES_H
#define FLO_DDL_REFERENCES_H

#include "nodes/nodes.h"
#include "wire/ddl.h"

/*
 * Add to ddl->refers the tables of foreign keys, LIKE and INHERITS, those
 * whose rows are a type of a column, and the sequences of defaults, as the
 * search_path in force finds them before the statement has run; nothing is
 * locked.
 */
extern void flo_ddl_describe_references(FloDdlStatement *ddl, Node *statement);

#endif
