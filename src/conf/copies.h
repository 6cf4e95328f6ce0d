/*
 * copies.h
 *		The copy that a member has at hand, or had last: tables flo.copies and
 *		flo.planned_tables, for flo.copy_progress and flo.copy_summary().
 *
 * Both ends of a copy write them, each for itself.  Every function needs an open
 * transaction with an active snapshot.
 */
#ifndef FLO_COPIES_H
#define FLO_COPIES_H

#include "nodes/pg_list.h"

/* What is being done.  At the source: */
#define FLO_PHASE_SNAPSHOT "waiting for snapshot"
#define FLO_PHASE_PLANNING "planning"
#define FLO_PHASE_DUMPING "dumping schema"
#define FLO_PHASE_READING "reading"
#define FLO_PHASE_PUBLISHED "published"

/* At a destination: */
#define FLO_PHASE_SOURCE "waiting for source"
#define FLO_PHASE_SCHEMA "creating schema"
#define FLO_PHASE_LOADING "loading"
#define FLO_PHASE_KEYS "checking foreign keys"
#define FLO_PHASE_INDEXES "building indexes"
#define FLO_PHASE_CONSTRAINTS "building constraints"
#define FLO_PHASE_SEQUENCES "setting sequences"

/*
 * The member begins a copy of this generation, or goes on with the one that it
 * has not finished: what is known of that stays.
 */
extern void flo_copies_begin(const char *group, const char *member, const char *generation,
							 const char *phase);

extern void flo_copies_phase(const char *group, const char *member, const char *phase);

/*
 * The tables (FloPlannedTable *, see bus/records.h) that come with the snapshot of
 * this number, beside those of the same copy that came with one before
 */
extern void flo_copies_plan(const char *group, const char *member, uint32 attempt,
							const List *tables);

/*
 * Bytes of such a table, as it was planned; 0 = nothing is known of it.  *alone: the
 * table of that name here has columns of types that the server came with only.
 */
extern uint64 flo_copies_planned_bytes(const char *group, const char *member, uint32 relation,
									   bool *alone);

/* How many of the foreign keys that are here already have been checked */
extern void flo_copies_keys(const char *group, const char *member, int checked, int all);

/*
 * All is done.  What was, in words for the log: "3 tables, 4301000 rows, 481 MB in
 * 19 s"; NULL when it was known to be done before.
 */
extern char *flo_copies_finish(const char *group, const char *member);

#endif
