/*
 * copy_views.c
 *		What the views of copies need beside the tables of schema flo.
 *
 * The server shows progress of a process to its own role and to those who may
 * read all statistics.  How far indexes of a copy are is shown to everybody, like
 * the rest of it: it is asked as the extension's owner.
 */
#include "postgres.h"

#include "api/function.h"
#include "conf/sql.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

FLO_FUNCTION(flo_index_builds);

Datum
flo_index_builds(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	FloSqlSession sql;
	uint64		rows;

	InitMaterializedSRF(fcinfo, 0);
	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT p.relid, p.phase, p.blocks_done, p.blocks_total, p.tuples_done, p.tuples_total"
					   " FROM pg_stat_progress_create_index p JOIN pg_stat_activity a ON a.pid = p.pid"
					   " WHERE p.datname = current_database() AND a.backend_type LIKE 'pg\\_flo%'", 0);
	for (uint64 i = 0; i < rows; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	flo_sql_end(&sql);
	return (Datum) 0;
}
