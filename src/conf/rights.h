/*
 * rights.h
 *		Who may change a group, and who may read its rows.
 *
 * Each function throws 42501 with a hint, or 42704 when the group is not here.
 */
#ifndef FLO_RIGHTS_H
#define FLO_RIGHTS_H

#include "utils/rel.h"

/*
 * May the role have a worker, which reads the group's rows?  Where the
 * replicator is: its owner and those who were granted it.  Elsewhere anybody,
 * for only the broker can tell.
 */
extern void flo_rights_require_worker(const char *group, Oid role);

/* Reading them by other means: elsewhere owners of members here only */
extern void flo_rights_require_reader(const char *group);

/* The same, or a member of pg_monitor: names, sizes and positions, no rows */
extern void flo_rights_require_viewer(const char *group);

/* For what concerns all members: the replicator's owner, elsewhere an owner of a member here */
extern void flo_rights_require_owner(const char *group);

/*
 * For a member's own process, in no transaction: its owner exists and, with
 * "reads", may still read the group's rows.  The member fails for good otherwise.
 */
extern void flo_rights_check_member(const char *group, Oid owner, bool reads);

/*
 * Statement trigger: make the roles in the table known to the server, so that
 * DROP ROLE says what depends on them.
 */
extern void flo_rights_note_roles(Relation table);

/* Raise 42501 unless the role may have a replicator: REPLICATION, and CREATE on the database */
extern void flo_rights_check_source(Oid role);

#endif
