/*
 * ddl_absent.h
 *		Statements about what was never brought to this destination.
 */
#ifndef FLO_DDL_ABSENT_H
#define FLO_DDL_ABSENT_H

#include "conf/ddl.h"
#include "dest/worker_rules.h"
#include "wire/ddl.h"

/*
 * Why the statement is passed over: all it is about is not here, holds no rows
 * of the group and was never made here for it.  NULL when it is to be run.
 */
extern char *flo_ddl_absent(const FloDdlPlace *place, const FloDdlStatement *ddl,
							FloWorkerRules *routes);

/*
 * Of another one: may it fail because something else was never brought?  When
 * that is so, rows do not depend on it: it is about code, or what belongs to code.
 */
extern bool flo_ddl_may_lack(const FloDdlStatement *ddl, FloWorkerRules *routes);

/* Does the error say that something is not there? */
extern bool flo_ddl_is_lack(int sqlstate);

#endif
