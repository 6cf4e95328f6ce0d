/*
 * fence.h
 *		Fences: tables of a group that take no writes, because another server is to
 *		take them, does, or has not taken over yet.
 *
 * A fence is prepared (its triggers are there and let everything through), then
 * raised and lowered by one row of flo.fences each, for each group and side.
 * While it is raised, whoever writes to its tables gets 55000, whatever his role,
 * settings, isolation level or the age of his transaction; so does who changes
 * their definitions.  Only workers of the group, and of the groups named as
 * passing, write: known by being the process in the entry of such a member.
 *
 * All functions here need an open transaction, in which they do what they do;
 * nothing is decided before it commits.  Rights are the caller's business.
 */
#ifndef FLO_FENCE_H
#define FLO_FENCE_H

#include "commands/trigger.h"
#include "core/compat.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum FloFenceSide
{
	FLO_FENCE_SOURCE,			/* what the group reads here */
	FLO_FENCE_DESTINATION		/* what its worker writes here */
} FloFenceSide;

/* Row of flo.fences */
typedef struct FloFence
{
	char	   *group;
	FloFenceSide side;
	bool		raised;			/* else prepared */
	int64		attempt;		/* cut-over that has raised it; 0 = none */
	char	   *reason;			/* NULL when there is none */
	TimestampTz since;			/* raised or lowered */
	List	   *tables;			/* OIDs of those given; partitions and
								 * inheriting tables are meant, too */
	List	   *passing;		/* char *: groups whose workers pass beside
								 * its own */
} FloFence;

/* ms to wait for locks when there is no reason for another number */
#define FLO_FENCE_PATIENCE 5000

/*
 * Prepare it, or add tables to one that is prepared or raised already; "passing"
 * (NULL = none) names one more group whose workers pass.  Takes SHARE ROW
 * EXCLUSIVE on the tables to the end of the transaction, waiting "patience" ms in
 * all, a fraction of a second at a time (55P03 then).  With many tables: some of
 * them in each of several transactions.
 */
extern void flo_fence_install(const char *group, FloFenceSide side, const List *tables,
							  const char *passing, int patience);

/*
 * Raise it: locks the tables in the same way, so that whoever has written to them
 * has committed; for the side of the source the group's tables of now, those that
 * it was not prepared for as well.  Nobody writes between the lock and the end of
 * the transaction, and nobody after it.  The commit is flushed, whatever
 * synchronous_commit says.  Raised by the same attempt already: nothing; by another
 * one, or not prepared: 55000.
 */
extern void flo_fence_raise(const char *group, FloFenceSide side, int64 attempt,
							const char *reason, int patience);

/*
 * May the role have them fenced?  Who may make triggers of theirs may (42501
 * otherwise), and nobody those of the system and of extensions (42809).
 */
extern void flo_fence_require_rights(const List *tables, Oid role);

/* Lower it; takes no lock on tables.  False when it was not raised by that attempt (0 = any). */
extern bool flo_fence_lower(const char *group, FloFenceSide side, int64 attempt);

/*
 * Remove it, raised or not, with its triggers.  False when the triggers had to stay,
 * since others use the tables: they let everything through.
 */
extern bool flo_fence_uninstall(const char *group, FloFenceSide side, int patience);

/* As it is now, committed, or changed by this transaction; NULL: not even prepared */
extern FloFence *flo_fence_state(const char *group, FloFenceSide side);

/* --- for others than the cut-over ---------------------------------------- */

/* From _PG_init: hooks that keep the definitions of fenced tables as they are */
extern void flo_fence_guard_init(void);

/* Throw 55000 while it is raised; "detail" says why not then */
extern void flo_fence_require_lowered(const char *group, FloFenceSide side, const char *detail);

/* A table is about to join the group by DDL: throw 55000 while its fence keeps this process out */
extern void flo_fence_require_joining(const char *group, Oid relation);

/*
 * A table has just joined the group, or was made for it: a fence that is prepared,
 * or raised, covers it from now on.
 */
extern void flo_fence_cover(const char *group, FloFenceSide side, Oid relation);

/* Is it a trigger of a fence?  Workers' fast ways look past those. */
extern bool flo_fence_owns(const Trigger *trigger);

/* The raised fence that keeps this process from writing to the table; NULL: none */
extern FloFence *flo_fence_against(Oid relation);

/* Throw 55000 because of it */
pg_noreturn extern void flo_fence_refuse(const FloFence *fence, Oid relation,
										 bool definition);

#endif
