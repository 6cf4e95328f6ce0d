/*
 * search_ddl.h
 *		What statements at the source say of names, for whoever keeps names.
 */
#ifndef FLO_SEARCH_DDL_H
#define FLO_SEARCH_DDL_H

#include "wire/change.h"

typedef struct FloRename
{
	char	   *schema;			/* the table, as it was called before */
	char	   *table;
	char	   *new_schema;		/* of a table; else NULL */
	char	   *new_table;
	char	   *column;			/* of a column; else NULL */
	char	   *new_column;
} FloRename;

/* List of FloRename *, in the current memory context; of a change that is a statement */
extern List *flo_search_renames(const FloChange *change);

#endif
