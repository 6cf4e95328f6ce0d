/*
 * ddl_replay.h
 *		CREATE TABLE AS and SELECT INTO, as definition and rows.
 */
#ifndef FLO_DDL_REPLAY_H
#define FLO_DDL_REPLAY_H

#include "nodes/parsenodes.h"
#include "tcop/utility.h"

/* The CREATE TABLE that makes the same table without a query */
extern char *flo_ddl_replay_create_as(CreateTableAsStmt *statement);

/*
 * Run the statement's query into its table, which exists and is empty.
 * Returns the number of rows.
 */
extern uint64 flo_ddl_fill_created(CreateTableAsStmt *statement, const char *query_text,
								   ParamListInfo params, QueryEnvironment *environment,
								   QueryCompletion *completion);

#endif
