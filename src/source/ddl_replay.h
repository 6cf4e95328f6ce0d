/*
 * ddl_replay.h
 *		CREATE TABLE AS and SELECT INTO, as definition and rows.
 */
#ifndef FLO_DDL_REPLAY_H
#define FLO_DDL_REPLAY_H

#include "nodes/parsenodes.h"
#include "wire/ddl.h"

/* The CREATE TABLE that makes the same table without a query */
extern char *flo_ddl_replay_create_as(CreateTableAsStmt *statement);

/* From _PG_init: the hook in every backend */
extern void flo_ddl_replay_init(void);

/*
 * The table that the statement about to be run will make and fill: it joins
 * its groups in between.  NULL for none; returns what was awaited before, which
 * is to be put back however the statement ends.
 */
extern const FloDdlObject *flo_ddl_replay_await(const FloDdlObject *table);

#endif
