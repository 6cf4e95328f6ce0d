/*
 * ddl_masking.h
 *		What strict masking has to do with statements of the source.
 */
#ifndef FLO_DDL_MASKING_H
#define FLO_DDL_MASKING_H

#include "dest/worker_rules.h"
#include "wire/ddl.h"

/* Before a statement runs: what its tables have here.  In a transaction; NIL unless masking is strict. */
extern List *flo_ddl_masking_before(const FloDdlStatement *ddl, FloWorkerRules *rules);

/*
 * After it: throw 55000 when a table has got a column that nobody has decided about.
 * Why the statement has to be held, or NULL: rows that are here have got its default,
 * which a rule would have changed.
 */
extern char *flo_ddl_masking_after(const List *before, FloWorkerRules *rules);

/* The content of a message without what may be a value: the text and expressions */
extern char *flo_ddl_masking_content(FloDdlStatement *ddl);

#endif
