/*
 * ddl_reach.h
 *		The objects of this database that a group's DDL may touch.
 *
 * A statement of the source says names, and names are all that its objects and
 * others of this database may have in common.  So a group may change only an
 * object that it is known, see ddl_known.h, to be allowed to.
 */
#ifndef FLO_DDL_REACH_H
#define FLO_DDL_REACH_H

#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "tcop/utility.h"

/*
 * What a statement is about (of FloDdlTarget *), as it is before it runs, without
 * what is part of something else; and afterwards, when a person has released it:
 * what is still there is the group's.
 */
extern List *flo_ddl_wholes(List *targets);
extern void flo_ddl_own(const char *group, List *wholes);

/* Why a statement must not change one of these (of FloDdlTarget *); NULL = it may */
extern char *flo_ddl_out_of_reach(const char *group, List *targets);

/* Why it must not be run for what is in an object that it may change: a schema of another name */
extern char *flo_ddl_takes_along(const char *group, Node *statement);

/* Why it must not refer to one of these */
extern char *flo_ddl_refers_out_of_reach(const char *group, List *referred);

/* Run one utility statement of a text, as the current user; it may be changed */
extern void flo_ddl_run(RawStmt *statement, const char *text, ProcessUtilityContext context);

/*
 * Run one statement as the current user, in a subtransaction.  Returns NULL;
 * or why a person has to decide, with nothing done: it would drop, alter or
 * empty what is not the group's, CASCADE included, or make something that
 * depends on such a relation.  With "enforce" off that is nobody's concern.
 * What was made and, when it is off, changed is the group's afterwards, and what is
 * referred to may be referred to again.  All that was made, parts included and in
 * order, goes to "made" (of ObjectAddress *) unless that is NULL.
 */
extern char *flo_ddl_run_within_reach(const char *group, bool enforce, RawStmt *statement,
									  const char *text, List **made);

#endif
