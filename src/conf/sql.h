/*
 * sql.h
 *		Statements on the tables of schema flo, for the files that read and write
 *		them.
 *
 * Between begin and end SPI is connected and the current user is the owner of
 * the extension.  Results copied out live in the memory context that was
 * current at begin.
 */
#ifndef FLO_SQL_H
#define FLO_SQL_H

#include "conf/store.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct FloSqlSession
{
	FloAsRole	as;
	MemoryContext caller;
	bool		pushed_snapshot;
} FloSqlSession;

extern void flo_sql_begin(FloSqlSession *sql);
extern void flo_sql_end(FloSqlSession *sql);

/*
 * While it is on, flo_sql_run() only reads, and with the snapshot that is
 * active, not with the transaction's.
 */
extern void flo_sql_as_of_now(bool on);

/*
 * Run a statement whose arguments are all text (NULL pointers are NULLs); the
 * statement casts them as it needs.  Returns the number of rows; any SPI
 * result but the expected one is an error.
 */
extern uint64 flo_sql_run(int expected, const char *statement, int nargs,...);

/* The same in a session of its own, where nothing but the number of rows is looked at */
extern uint64 flo_sql_do(int expected, const char *statement, int nargs,...);

/* The same for what runs often: *plan, NULL at first, is kept by the process */
extern uint64 flo_sql_run_kept(SPIPlanPtr *plan, int expected, const char *statement, int nargs,
							   ...);

/*
 * The member to which the row of this table of schema flo belongs that has the id
 * (text of a bigint); false when there is none.
 */
extern bool flo_sql_member_of_row(const char *table, const char *id, char **group, char **worker);

/* Values of the result; rows count from 0, columns from 1.  NULL for NULL. */
extern char *flo_sql_text(const FloSqlSession *sql, uint64 row, int column);
extern bool flo_sql_true(uint64 row, int column);
extern Oid	flo_sql_oid(uint64 row, int column);	/* InvalidOid for NULL */
extern Jsonb *flo_sql_jsonb(const FloSqlSession *sql, uint64 row, int column);

/* A text[] as List of char *; NIL for NULL, which *isnull tells from empty */
extern List *flo_sql_list(const FloSqlSession *sql, uint64 row, int column, bool *isnull);

#endif
