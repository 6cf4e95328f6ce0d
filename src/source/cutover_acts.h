/*
 * cutover_acts.h
 *		What the source of a cut-over does to its own database: one transaction
 *		each, that may be repeated.
 */
#ifndef FLO_CUTOVER_ACTS_H
#define FLO_CUTOVER_ACTS_H

#include "conf/cutover.h"
#include "source/replicator_state.h"
#include "utils/elog.h"

/* Why an attempt is undone, or fails */
typedef struct FloCutoverTrouble
{
	int			sqlstate;
	const char *problem;
	const char *hint;			/* NULL: none */
} FloCutoverTrouble;

/* They return NULL, or the error that has undone the transaction */

/* The destination is chosen: tell it, and be PREPARING */
extern ErrorData *flo_cutover_begin(Replicator *rep, FloCutover *c);

/* Triggers of the fence, and a worker for the way back; "keep" false: only try */
extern ErrorData *flo_cutover_prepare(Replicator *rep, FloCutover *c);
extern ErrorData *flo_cutover_make_worker(Replicator *rep, FloCutover *c, bool keep);

/* All writers out, sequences read: FENCED.  55P03 when somebody does not go. */
extern ErrorData *flo_cutover_fence(Replicator *rep, FloCutover *c);

/* Compare the tables, as they are behind the fence; then what that has come to */
typedef enum FloCutoverCompared
{
	FLO_COMPARED_NOT_YET,
	FLO_COMPARED_EQUAL,
	FLO_COMPARED_NOT_EQUAL
} FloCutoverCompared;

extern ErrorData *flo_cutover_compare(Replicator *rep, FloCutover *c);
extern FloCutoverCompared flo_cutover_compared(FloCutover *c, char **words);

/* The destination may open */
extern ErrorData *flo_cutover_tell_open(Replicator *rep, FloCutover *c);

/* Ask the destination to give up: CANCELLING */
extern ErrorData *flo_cutover_cancel(Replicator *rep, FloCutover *c,
									 const FloCutoverTrouble *trouble);

/* The destination will never open, or has nothing to open for: CANCELLED, unfenced */
extern ErrorData *flo_cutover_take_back(Replicator *rep, FloCutover *c,
										const FloCutoverTrouble *trouble);

/* Our worker of the way back goes; tell the destination that its part can go, too */
extern ErrorData *flo_cutover_drop_worker(Replicator *rep, FloCutover *c);

/* It is open: RELEASED.  Was forced: fenced again. */
extern ErrorData *flo_cutover_release(Replicator *rep, FloCutover *c, const char *since);

/* A dry run is over: CHECKED */
extern ErrorData *flo_cutover_checked(Replicator *rep, FloCutover *c);

/* A word for people, in a transaction of its own */
extern void flo_cutover_tell(FloCutover *c, const char *step, const char *detail);

/* The worker here of the group of the way back, palloc'd; NULL: none */
extern char *flo_cutover_worker_of(const char *reverse);

/* Standbys that have not flushed what is before the LSN; NULL: none.  In no transaction. */
extern char *flo_cutover_standbys_behind(XLogRecPtr lsn);

#endif
