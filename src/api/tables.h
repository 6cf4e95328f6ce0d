/*
 * tables.h
 *		The tables of a group, for other SQL functions.
 */
#ifndef FLO_API_TABLES_H
#define FLO_API_TABLES_H

#include "fmgr.h"
#include "nodes/pg_list.h"

/* 42501 unless the caller owns all of these (OIDs) */
extern void flo_check_table_owners(const List *relations);

/*
 * Lock the table and its partitions for a look, without waiting; false: another
 * session changes one
 */
extern bool flo_try_to_read_table(Oid relation);

/* The form of flo.resync() that copies one table afresh */
extern void flo_resync_table(FunctionCallInfo fcinfo);

#endif
