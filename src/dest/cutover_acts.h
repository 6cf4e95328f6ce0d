/*
 * cutover_acts.h
 *		What the destination of a cut-over does to its own database: one transaction
 *		each, that may be repeated.  They return NULL, or the error that has undone
 *		it.
 */
#ifndef FLO_DEST_CUTOVER_ACTS_H
#define FLO_DEST_CUTOVER_ACTS_H

#include "conf/cutover.h"
#include "dest/worker_state.h"
#include "utils/elog.h"

/* Held DDL, dead letters, copies that are owed, ...: an error for the first thing in the way */
extern ErrorData *flo_cutover_check(FloWorker *w, FloCutover *c);

/* Nobody but workers writes here */
extern ErrorData *flo_cutover_raise(FloWorker *w, FloCutover *c);

/* The replicator of the way back: made and started, or only tried */
extern ErrorData *flo_cutover_make_replicator(FloWorker *w, FloCutover *c);
extern ErrorData *flo_cutover_try_replicator(FloWorker *w, FloCutover *c);

/* Into these states */
extern ErrorData *flo_cutover_set_checked(FloWorker *w, FloCutover *c);
extern ErrorData *flo_cutover_set_prepared(FloWorker *w, FloCutover *c);
extern ErrorData *flo_cutover_open(FloWorker *w, FloCutover *c);
extern ErrorData *flo_cutover_undo(FloWorker *w, FloCutover *c);	/* a person asked */
extern ErrorData *flo_cutover_give_up(FloWorker *w, FloCutover *c, const ErrorData *why);

/* The group of the way back is dropped */
extern ErrorData *flo_cutover_drop_replicator(FloWorker *w, FloCutover *c);

/* In the open transaction: cancelled, for ever */
extern void flo_cutover_cancelled(FloCutover *c, int sqlstate, const char *problem,
								  const char *hint);

/* In the open transaction: the source has dropped its part of the way back, so can we */
extern bool flo_cutover_ask_clean_up(FloCutover *c);

/*
 * In the open transaction: has this database, as a source, been left for the one
 * from which the group comes?
 */
extern bool flo_cutover_has_released(const char *group);

#endif
