/*
 * ddl_masking.h
 *		What strict masking has to do with statements of the source.
 */
#ifndef FLO_DDL_MASKING_H
#define FLO_DDL_MASKING_H

#include "dest/worker_rules.h"
#include "nodes/nodes.h"
#include "wire/ddl.h"

/*
 * Before a statement runs, with names as they are here: throw 55000 when it adds a
 * column that nobody has decided about.  Why it has to be held, or NULL: rows that
 * are here would get its default, which a rule would have changed.
 */
extern char *flo_ddl_masking_refused(Node *statement, const FloDdlStatement *ddl,
									 FloWorkerRules *rules);

/*
 * The same by what has come of it, whatever it was.  First: what its tables have
 * here.  In a transaction; NIL unless masking is strict.
 */
extern List *flo_ddl_masking_before(const FloDdlStatement *ddl, FloWorkerRules *rules);

extern char *flo_ddl_masking_after(const List *before, FloWorkerRules *rules);

/* The content of a message without what may be a value: the text and expressions */
extern char *flo_ddl_masking_content(FloDdlStatement *ddl);

#endif
