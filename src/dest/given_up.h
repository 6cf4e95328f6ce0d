/*
 * given_up.h
 *		The worker's side of tables that are given up, see flo.give_up().
 */
#ifndef FLO_DEST_GIVEN_UP_H
#define FLO_DEST_GIVEN_UP_H

#include "dest/worker_state.h"
#include "wire/copies.h"
#include "wire/ddl.h"

/* In the open transaction: add to the worker's list of copied tables those that are given up */
extern void flo_given_up_list(FloWorker *w);

/*
 * The change without what is passed over: rows of tables that are given up, and
 * what copies have already.  NULL when that is all of it.
 */
extern const FloChange *flo_given_up_leave_out(FloWorker *w, const FloChange *change);

/*
 * In a transaction: OIDs of these tables here, and of their partitions, in the
 * current memory context
 */
extern List *flo_given_up_here(FloWorker *w);

/* Is the statement about such tables, or partitions of such, and no others? */
extern bool flo_given_up_concerns(FloWorker *w, const FloDdlStatement *ddl);

/* Why rows of another table would be missing after the statement; NULL when none would */
extern char *flo_given_up_spreads(FloWorker *w, const FloDdlStatement *ddl);

/* What the statement does to them was done, or passed over */
extern void flo_given_up_follow(FloWorker *w, const FloDdlStatement *ddl);

/* The copied table that an object of a statement is or belongs to; NULL when it is of none */
extern FloCopiedTable *flo_given_up_table_of(FloWorker *w, const FloDdlObject *object);

/* The source was asked for a copy of a table */
extern void flo_given_up_requested(FloWorker *w, const FloCopyNotice *notice);

/*
 * For a sink that is told nothing of rows copied later: the tables of a marker
 * are taken up again from it on
 */
extern void flo_given_up_pass_marker(FloWorker *w, const List *keys);

#endif
