/*
 * visit.h
 *		Visits to the tables of schema flo, for the files that read and write
 *		them.
 *
 * Between begin and end SPI is connected and the current user is the owner of
 * the extension.  Results copied out live in the memory context that was
 * current at begin.
 */
#ifndef FLO_VISIT_H
#define FLO_VISIT_H

#include "conf/store.h"
#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct FloVisit
{
	FloAsRole	as;
	MemoryContext caller;
	bool		pushed_snapshot;
} FloVisit;

extern void flo_visit_begin(FloVisit *visit);
extern void flo_visit_end(FloVisit *visit);

/*
 * While it is on, flo_visit_run() only reads, and with the snapshot that is
 * active, not with the transaction's.
 */
extern void flo_visit_as_of_now(bool on);

/*
 * Run a statement whose arguments are all text (NULL pointers are NULLs); the
 * statement casts them as it needs.  Returns the number of rows; any SPI
 * result but the expected one is an error.
 */
extern uint64 flo_visit_run(int expected, const char *sql, int nargs,...);

/* The same for what runs often: *plan, NULL at first, is kept by the process */
extern uint64 flo_visit_run_kept(SPIPlanPtr *plan, int expected, const char *sql, int nargs,...);

/* Values of the result; rows count from 0, columns from 1.  NULL for NULL. */
extern char *flo_visit_text(const FloVisit *visit, uint64 row, int column);
extern bool flo_visit_true(uint64 row, int column);
extern Oid	flo_visit_oid(uint64 row, int column);	/* InvalidOid for NULL */
extern Jsonb *flo_visit_jsonb(const FloVisit *visit, uint64 row, int column);

/* A text[] as List of char *; NIL for NULL, which *isnull tells from empty */
extern List *flo_visit_list(const FloVisit *visit, uint64 row, int column, bool *isnull);

extern char *flo_text_of_int64(int64 value);

#endif
