/*
 * publication.h
 *		Which tables a group replicates, and the publications that say so to
 *		logical decoding.
 */
#ifndef FLO_PUBLICATION_H
#define FLO_PUBLICATION_H

#include "conf/choice.h"
#include "conf/spec.h"
#include "conf/store.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

/* Run a utility command as the current user */
extern void flo_publication_execute(const char *command);

/*
 * Make the publication(s) of a new group, as the current user, with core's own
 * checks.  Tables without usable replica identity are treated as the options
 * say.
 */
extern void flo_publication_create(const char *group, const FloTableOids *choice,
								   const FloReplicatorOptions *options);

/* Is it, or does it travel as a partition of one that is? */
extern bool flo_publication_sends(const char *group, Oid relation);

/* Could the table be added, as the option keyless_tables is? */
extern bool flo_publication_admits(Oid relation, const FloReplicatorOptions *options);

extern void flo_publication_add_table(const char *group, Oid relation,
									  const FloReplicatorOptions *options);
extern void flo_publication_remove_table(const char *group, Oid relation);

/* Changed options of an existing group */
extern void flo_publication_alter(const char *group, const FloReplicatorOptions *before,
								  const FloReplicatorOptions *after);

/* The existing publications of a group, as List of char *: for logical decoding */
extern List *flo_publication_names(const char *group);

/*
 * Make those that somebody has dropped, for what the group is to replicate;
 * 42501 for who may not
 */
extern void flo_publication_remake(const char *group);

/* The locks that flo_publication_create() needs, see core/lock.h; throws what it would */
extern List *flo_publication_wishes(const FloTableOids *choice,
									const FloReplicatorOptions *options);

/*
 * Take the locks that the next one needs, before anything is done that cannot
 * be undone.  Throws 55P03 when somebody keeps them.
 */
extern void flo_publication_prepare_drop(const char *group);

/*
 * Drop the group's publications and give the tables that were set to REPLICA
 * IDENTITY FULL for it their former one back.  Runs as the current user; can
 * be repeated.
 */
extern void flo_publication_drop(const char *group);

#endif
