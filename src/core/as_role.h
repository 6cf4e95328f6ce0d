/*
 * as_role.h
 *		Acting as another role for a while.
 *
 * User, security context and settings are changed together and put back
 * together.  An error needs no clean-up: the abort of the (sub)transaction
 * restores all three.
 */
#ifndef FLO_AS_ROLE_H
#define FLO_AS_ROLE_H

#include "postgres.h"

typedef enum FloAsRoleMode
{
	/* may do what the role may, but not become another one */
	FLO_AS_ROLE_PLAIN,

	/*
	 * the same for what is done often and sets nothing: settings are not put
	 * back
	 */
	FLO_AS_ROLE_BRIEF,

	/* the same for a role that could become us anyhow: may become another one */
	FLO_AS_ROLE_TRUSTED,

	/*
	 * a security-restricted operation: code that runs in it cannot leave
	 * anything behind that runs later as us
	 */
	FLO_AS_ROLE_RESTRICTED,

	/*
	 * for commands that commit in their midst: a security context must not
	 * outlast a transaction
	 */
	FLO_AS_ROLE_ACROSS_COMMITS
} FloAsRoleMode;

/* What is to be put back */
typedef struct FloAsRole
{
	Oid			user;
	int			context;
	int			guc_level;		/* 0 = settings are none of ours */
} FloAsRole;

/* In a transaction.  Calls nest; each is left in reverse order. */
extern void flo_as_role_enter(FloAsRole *as, Oid role, FloAsRoleMode mode);

/* A setting that lasts until the innermost flo_as_role_leave() */
extern void flo_as_role_set(const char *name, const char *value);

/* The same; false, and nothing changed, for a value that this server refuses */
extern bool flo_as_role_try(const char *name, const char *value);

extern void flo_as_role_leave(const FloAsRole *as);

/*
 * A role named in a statement is to be looked at as if it were set now, which a
 * changed role forbids: allowed until the innermost flo_as_role_leave(), unless
 * the operation is restricted.
 */
extern void flo_as_role_allow_naming(void);

/*
 * The transaction in which it was entered, and the settings with it, has
 * ended: only the role is left to put back
 */
extern void flo_as_role_leave_late(const FloAsRole *as);

#endif
