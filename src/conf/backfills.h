/*
 * backfills.h
 *		Backfills: what was asked for at the source (flo.backfills), and which one a
 *		worker has come to (flo.due_backfills).
 *
 * Every function needs an open transaction.
 */
#ifndef FLO_BACKFILLS_H
#define FLO_BACKFILLS_H

#include "access/xlogdefs.h"
#include "wire/record.h"

/* States at the source */
#define FLO_BACKFILL_WAITING "waiting"
#define FLO_BACKFILL_SNAPSHOT "snapshot"
#define FLO_BACKFILL_READING "reading"
#define FLO_BACKFILL_PUBLISHED "published"
#define FLO_BACKFILL_DONE "done"
#define FLO_BACKFILL_FAILED "failed"

typedef struct FloBackfill
{
	int64		id;
	char	   *worker;
	char	   *consumer;
	Oid			relation;		/* as it is published */
	char	   *table;			/* quoted and qualified */
	char	   *condition;		/* NULL = all rows */

	/* how far; of no use for a new one */
	bool		published;
	uint32		attempt;
	XLogRecPtr	lsn;
	int64		chunks;
	int64		rows;
	int64		bytes;
} FloBackfill;

/* --- at the source ------------------------------------------------------- */

/* Ask for one: its number */
extern int64 flo_backfills_ask(const char *group, const FloBackfill *backfill);

/* The one whose turn it is, NULL when there is none; and a certain one, also when it is over */
extern FloBackfill *flo_backfills_next(const char *group);
extern FloBackfill *flo_backfills_get(int64 id);

/* Where it is, unless it is over; "attempt" 0 and "lsn" invalid = as before */
extern void flo_backfills_state(int64 id, const char *state, uint32 attempt, XLogRecPtr lsn,
								const char *detail);

/* All rows are at the broker, as the struct says */
extern void flo_backfills_published(const FloBackfill *backfill);

/* It is over; false when it was, or is not there */
extern bool flo_backfills_finish(int64 id, const char *state, const char *detail);

/* --- at a worker --------------------------------------------------------- */

typedef struct FloDueBackfill
{
	char		generation[FLO_UUID_BUF];
	uint32		attempt;
	Oid			relation;		/* at the source */
	bool		over;			/* its rows are in, or do not come */
	char	   *left_out;		/* why not; NULL: they are in */
} FloDueBackfill;

extern FloDueBackfill *flo_due_backfill(const char *group, const char *worker);
extern void flo_due_backfill_save(const char *group, const char *worker,
								  const FloDueBackfill *due);

#endif
