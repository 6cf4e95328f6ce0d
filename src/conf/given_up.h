/*
 * given_up.h
 *		Table flo.given_up: source tables whose rows a worker passes over, see
 *		flo.give_up(), until a copy of them that was asked for since is in.
 *
 * Functions that read or write rows need an open transaction.
 */
#ifndef FLO_GIVEN_UP_H
#define FLO_GIVEN_UP_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"

typedef struct FloGivenUp
{
	int64		id;
	uint32		relation;		/* OID at the source; 0 = nothing of the table
								 * has come yet: it is the name */
	char	   *schema;			/* at the source, as last seen */
	char	   *table;
	bool		begun;			/* something of it has been passed over */
	uint32		passed;			/* newest attempt at its copy of which that
								 * was rows, 0 = none */
	bool		asked;			/* a copy that was asked for since is coming,
								 * or being loaded */
} FloGivenUp;

/* List of FloGivenUp * */
extern List *flo_given_up_tables(const char *group, const char *worker);

/*
 * The table is given up from now on.  A copy that is under way, if any, does not
 * take it up again.  "error" is why, or NULL, and "by" the name of a role.  False
 * when it was given up before and no copy is coming: nothing has changed then.
 * Throws 42704 when the worker is no more.
 */
extern bool flo_given_up_add(const char *group, const char *worker, const FloGivenUp *table,
							 const char *error, Oid by);

/*
 * What we know of the table and its name now.  Unless "lsn" is invalid something of
 * it is passed over in the transaction at that LSN; of an attempt at its copy, unless
 * that is 0.
 */
extern void flo_given_up_note(const FloGivenUp *table, uint32 relation, const char *schema,
							  const char *name, XLogRecPtr lsn, uint32 attempt);

/* The OID at the source of a table that is perhaps known by this name only */
extern void flo_given_up_learn(const char *group, const char *worker, uint32 relation,
							   const char *schema, const char *name);

/* A copy of the table is coming that was asked for by this request, in this attempt */
extern void flo_given_up_ask(const char *group, const char *worker, uint32 relation, uint32 request,
							 uint32 attempt);

/* Such a copy is in: the table is taken up again.  False when none is coming. */
extern bool flo_given_up_take(const char *group, const char *worker, uint32 relation);

/* A partition becomes a table by itself, and as much is missing in it */
extern void flo_given_up_part(const FloGivenUp *root, uint32 relation, const char *schema,
							  const char *name);

/* There is no such table any more, or none of the group */
extern void flo_given_up_forget(const FloGivenUp *table);
extern void flo_given_up_forget_all(const char *group, const char *worker);

/* The worker goes on with another generation */
extern void flo_given_up_begin(const char *group, const char *worker);

/* Their names in one text, quoted and qualified; NULL when there are none */
extern char *flo_given_up_names(const char *group, const char *worker);

#endif
