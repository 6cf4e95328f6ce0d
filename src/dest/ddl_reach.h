/*
 * ddl_reach.h
 *		The objects of this database that a group's DDL may touch.
 *
 * A statement of the source says names, and names are all that its objects and
 * others of this database may have in common.  So a group may change an object
 * only when flo.group_objects has it:
 *
 * - it was made here by a statement of the group's, or
 * - it is a table that was in the group before the source's statement, under
 *   the name it had then, with the types of its columns; or a table without
 *   rows that the source has just made, too; or
 * - a person has released a statement that changes it.
 *
 * What is part of such an object (index, constraint, owned sequence, partition)
 * is the group's as well.
 */
#ifndef FLO_DDL_REACH_H
#define FLO_DDL_REACH_H

#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "tcop/utility.h"

/*
 * Take an existing table for the group's.  "empty_only": not when it has rows.
 * With "types", what its columns' types are, too.  Returns whether it is the
 * group's now; one that somebody has said is not stays so.
 */
extern bool flo_ddl_adopt(const char *group, Oid relation, bool empty_only, bool types);

/*
 * What has the name of one that the source has made, and a person has let that
 * statement pass.  It is the group's if it has no rows, and the statement had
 * not "failed"; else it is noted that it is not.
 */
extern void flo_ddl_disown(const char *group, Oid relation, bool failed);

/* A person has released a statement about these (of FloDdlTarget *) */
extern void flo_ddl_own_targets(const char *group, List *targets);

/* Why a statement must not change one of these (of FloDdlTarget *); NULL = it may */
extern char *flo_ddl_out_of_reach(const char *group, List *targets);

/* Run one utility statement of a text, as the current user; it may be changed */
extern void flo_ddl_run(RawStmt *statement, const char *text, ProcessUtilityContext context);

/*
 * Run one statement as the current user, in a subtransaction.  Returns NULL;
 * or why a person has to decide, with nothing done: it would drop, alter or
 * empty what is not the group's, CASCADE included, or make something that
 * depends on such a relation.  With "enforce" off that is nobody's concern.
 * What was made and changed is the group's afterwards.
 */
extern char *flo_ddl_run_within_reach(const char *group, bool enforce, RawStmt *statement, const char *text);

#endif
