/*
 * ddl_known.h
 *		What flo.group_objects knows of the objects of this database.
 *
 * A group may change an object when
 *
 * - it was made here by a statement of the group's, or
 * - it is a table that was in the group before the source's statement, under
 *   the name it had then, with the types of its columns; or a table without
 *   rows that the source has just made, too; or
 * - a person has said so: with flo.adopt(), or by releasing a statement that
 *   changes it.
 *
 * It may refer to one (with a foreign key, a default that takes numbers, a
 * column of a row type) when it may change it, or a person has released a
 * statement that refers to it; or when it is a table's of another group, see
 * flo_ddl_may_refer().  What is part of an object (index, constraint, owned
 * sequence, partition) goes with it.
 */
#ifndef FLO_DDL_KNOWN_H
#define FLO_DDL_KNOWN_H

#include "catalog/objectaddress.h"
#include "nodes/pg_list.h"

/* What a statement of the group's may do with an object: each includes the one before */
typedef enum FloDdlMay
{
	FLO_MAY_UNKNOWN,
	FLO_MAY_NOTHING,			/* somebody has said that it is not the
								 * group's */
	FLO_MAY_REFER,
	FLO_MAY_CHANGE
} FloDdlMay;

/* "own", of ObjectAddress *: what counts as the group's though it is not written down */
extern bool flo_ddl_may_change(const char *group, const ObjectAddress *object, const List *own);
extern bool flo_ddl_may_change_table(const char *group, Oid relation, const List *own);

/*
 * Also what another group may change here whose worker has the same owner and
 * follows the same server: whoever has the right at the source to refer from
 * one of its tables to another need not lose it because they are in two groups.
 */
extern bool flo_ddl_may_refer(const char *group, const ObjectAddress *object, const List *own);

/* Write down; what is known to be more stays so.  In a transaction, as any role. */
extern void flo_ddl_know(const char *group, const List *objects, FloDdlMay may);

/* Which rows a table may have that is taken for the group's */
typedef enum FloDdlRows
{
	FLO_ROWS_ANY,				/* the source says that it is a member */
	FLO_ROWS_NONE,				/* also none of transactions under way: they
								 * are waited for */
	FLO_ROWS_NONE_SEEN			/* none so far: it gets those of a copy,
								 * perhaps by several loaders */
} FloDdlRows;

/*
 * Take an existing table for the group's, unless it has other rows.  With
 * "types", what its columns' types are, too.  Returns whether it is the group's
 * now; one that somebody has said is not stays so.
 */
extern bool flo_ddl_adopt(const char *group, Oid relation, FloDdlRows rows, bool types);

/* The same, whatever is in it and has been said of it: somebody takes the source's word */
extern void flo_ddl_take(const char *group, Oid relation, bool types);

/*
 * A sequence that was here when the definitions of a copy came, and is alike:
 * defaults may take numbers of it, unless somebody has done so already.
 */
extern void flo_ddl_adopt_sequence(const char *group, Oid relation);

/*
 * What has the name of one that the source has made, and a person has let that
 * statement pass.  It is the group's if it has no rows, and the statement had
 * not "failed"; else it is noted that it is not.
 */
extern void flo_ddl_disown(const char *group, Oid relation, bool failed);

/* Lists of ObjectAddress *, each object once */
extern List *flo_ddl_add_address(List *objects, Oid class, Oid id);
extern bool flo_ddl_has_address(const List *objects, const ObjectAddress *object);

#endif
