/*
 * commit.h
 *		What the SQL functions of pg_flo share, and their effects at commit.
 */
#ifndef FLO_COMMIT_H
#define FLO_COMMIT_H

#include "core/compat.h"
#include "fmgr.h"

/* From _PG_init: the transaction callback that makes changes known at commit */
extern void flo_conf_xact_init(void);

/* This transaction has changed the configuration: tell the launcher at commit */
extern void flo_conf_changed(void);

/*
 * This transaction starts members of the group: at commit those that failed or
 * wait for their next attempt are tried at once.  member NULL = all.
 */
extern void flo_conf_started(const char *group, const char *member);

/* The same for a member whose options have changed */
extern void flo_conf_altered(const char *group, const char *member);

/* Was flo_conf_started() called for the group in this very transaction? */
extern bool flo_conf_started_here(const char *group);

/* --- checks -------------------------------------------------------------- */

/* Raise 22023; "hint" may be NULL */
pg_noreturn extern void flo_conf_refuse(const char *message, const char *hint);

/* Raise 42704 unless the group has a member in this database */
extern void flo_conf_require_group(const char *group);

/*
 * Raise 42704 unless the member exists, 42501 unless the current user has the
 * rights of its owner (or is a superuser).
 */
extern void flo_conf_require_member(const char *group, const char *member);

#endif
