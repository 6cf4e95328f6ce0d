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

/* The form of flo.resync() that copies one table afresh */
extern void flo_resync_table(FunctionCallInfo fcinfo);

#endif
