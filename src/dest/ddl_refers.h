/*
 * ddl_refers.h
 *		Relations that objects of a database refer to.
 *
 * That is a foreign key's table, a parent, the sequence of a default, the table
 * whose rows are a column's type.
 */
#ifndef FLO_DDL_REFERS_H
#define FLO_DDL_REFERS_H

#include "catalog/objectaddress.h"
#include "nodes/pg_list.h"

/*
 * Add those of an object or, with a number of a column, of that column, to a
 * list of ObjectAddress *
 */
extern List *flo_ddl_add_references(List *references, const ObjectAddress *object);

/* Those of a table's columns and defaults */
extern List *flo_ddl_add_references_of_table(List *references, Oid relation);

/* Is it a foreign key?  Then what it is, as SQL; NULL for anything else. */
extern char *flo_ddl_key_definition(const ObjectAddress *object);

/* Add those of a table to a list of char * */
extern List *flo_ddl_add_keys_of_table(List *keys, Oid relation);

/* The default of a column, which is given as part of its table */
extern void flo_ddl_default_of_column(ObjectAddress *object, const ObjectAddress *column);

#endif
