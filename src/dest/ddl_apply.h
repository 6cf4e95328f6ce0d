/*
 * ddl_apply.h
 *		Runs DDL of the source at this destination.
 */
#ifndef FLO_DDL_APPLY_H
#define FLO_DDL_APPLY_H

#include "conf/ddl.h"
#include "dest/worker_rules.h"
#include "tcop/utility.h"
#include "wire/ddl.h"

/* How a statement is run: any of these together */
typedef enum FloDdlMode
{
	FLO_DDL_CHECKED = 1,		/* is the result the source's, whatever the
								 * rows? */
	FLO_DDL_TRUST_KEYS = 2,		/* foreign keys are not checked: rows of a
								 * table are still to be copied */
	FLO_DDL_EMPTY = 4,			/* rows of the tables it changes will be
								 * copied afresh, and go */
	FLO_DDL_DECIDED = 8,		/* a person has decided that it is run as it
								 * is */
	FLO_DDL_COMING = 16,		/* the table it changes may not be here yet:
								 * then it comes with its copy, as it is by
								 * then */
	FLO_DDL_TRUSTED = 32		/* the worker's owner takes the source's word
								 * for it: with all his rights, whatever it
								 * does */
} FloDdlMode;

/*
 * Within the transaction of the rows around it, for a worker of "owner".
 * Returns why the statement should be held instead, having done nothing; NULL
 * when it was applied and noted.  Throws what the statement throws; the
 * statement then stands in flo_error_context.
 */
extern char *flo_ddl_apply(const FloDdlPlace *place, const FloDdlStatement *ddl, Oid owner,
						   FloWorkerRules *routes, FloDdlMode mode);

/*
 * A statement that cannot run in a transaction block: outside any transaction.
 * Does nothing when its effect is there already.  Not noted: outcome and detail
 * are for that.
 */
extern char *flo_ddl_apply_concurrent(const FloDdlPlace *place, const FloDdlStatement *ddl,
									  Oid owner,
									  FloWorkerRules *routes, FloDdlMode mode, const char **outcome,
									  char **detail);

/*
 * In a transaction.  A person has let it pass, and has perhaps made the change.
 * What has the name here that a table would have got by it is none of the
 * group's from now on, if it has rows or the statement has failed.
 */
extern void flo_ddl_pass_over(const char *group, const FloDdlStatement *ddl, FloWorkerRules *routes,
							  bool failed);

/* In the log, with what it has made; the number of the entry */
extern int64 flo_ddl_note_outcome(const FloDdlPlace *place, const FloDdlStatement *ddl,
								  const char *outcome, const char *detail);

#endif
