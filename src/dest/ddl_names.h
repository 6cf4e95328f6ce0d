/*
 * ddl_names.h
 *		The names in a DDL statement, as they are at this destination.
 */
#ifndef FLO_DDL_NAMES_H
#define FLO_DDL_NAMES_H

#include "nodes/nodes.h"
#include "nodes/primnodes.h"
#include "wire/ddl.h"

/*
 * Where a table of the source is here; false when that is where it was.
 * "about": the statement is about it.
 */
typedef bool (*FloDdlMapTable) (void *arg, const char *schema, const char *table, bool about,
								const char **to_schema, const char **to_table);

/* What a column of a table of the source is called here; NULL when it is left out */
typedef const char *(*FloDdlMapColumn) (void *arg, const char *schema, const char *table,
										const char *column);

/*
 * Change the raw parse tree: the tables the statement is about get the schema
 * they had at the source, and go where routes send them.  What the group does
 * not track is taken out of lists of names.  Columns are mapped where they are
 * of another table: those a foreign key refers to.
 */
extern void flo_ddl_map_names(Node *statement, const FloDdlStatement *ddl,
							  FloDdlMapTable map, FloDdlMapColumn map_column, void *arg);

/*
 * What a relation is renamed or moved to, as routes lead that.  Returns why it
 * cannot be done; *nothing says that it is there already.
 */
extern char *flo_ddl_map_new_name(Node *statement, const FloDdlStatement *ddl, FloDdlMapTable map,
								  void *arg, bool *nothing);

/* The relations that an existing statement changes, by name; List of RangeVar * */
extern List *flo_ddl_changed_relations(Node *statement);

#endif
