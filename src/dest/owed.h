/*
 * owed.h
 *		Copies that a worker owes: until they are in, its position says nothing
 *		about the rows of these tables.
 */
#ifndef FLO_OWED_H
#define FLO_OWED_H

#include "dest/worker_state.h"

/*
 * In the open transaction: the source asked for these copies in the source
 * transaction at hand, or withdraws them
 */
extern void flo_owed_take_message(FloWorker *w, const char *payload, int len);

/* In the open transaction: nothing is complete beyond "since" before the table's copy is in */
extern void flo_owed_add(const char *group, const char *worker, uint32 relation, uint32 request,
						 XLogRecPtr since, TimestampTz at);

/*
 * In the open transaction: was a copy of the table, named by its OID at the
 * source, asked for, and is not in yet?
 */
extern bool flo_owed_is(const char *group, const char *worker, uint32 relation);

/* In the open transaction: the copy of the table is in */
extern void flo_owed_fulfilled(const char *group, const char *worker, uint32 relation);

/*
 * The first message of the generation has been read, its markers taken note
 * of.  Cheap when it was before.
 */
extern void flo_owed_entered(FloWorker *w);

/* In the open transaction: what is shown from now on goes by what is recorded */
extern void flo_owed_look(FloWorker *w);

/* What may be shown as durable */
extern XLogRecPtr flo_owed_durable(const FloWorker *w);

#endif
