/*
 * comparisons.h
 *		Comparisons at the source: what was asked for, and what people see of it.
 *
 * Tables flo.compare_requests, flo.comparisons and flo.comparison_samples.  Every
 * function needs an open transaction.
 */
#ifndef FLO_COMPARISONS_H
#define FLO_COMPARISONS_H

#include "access/xlogdefs.h"
#include "bus/comparison.h"
#include "nodes/pg_list.h"

/* States of a comparison */
#define FLO_COMPARISON_WAITING "waiting"
#define FLO_COMPARISON_SNAPSHOT "snapshot"
#define FLO_COMPARISON_READING "reading"
#define FLO_COMPARISON_COMPARING "comparing"
#define FLO_COMPARISON_REPAIRING "repairing"
#define FLO_COMPARISON_REPAIRED "repaired"
#define FLO_COMPARISON_FAILED "failed"

typedef struct FloCompareRequest
{
	int64		id;
	char	   *worker;			/* NULL = all */
	bool		repair;
	bool		repair_extra;
	int64		samples;
	List	   *tables;			/* OIDs, as they are published */
} FloCompareRequest;

/* Ask for one: its number.  55006 when one of the tables is being compared with that worker. */
extern int64 flo_comparisons_ask(const char *group, const FloCompareRequest *request);

/*
 * The next one that nobody has begun with, 0 when there is none; and a certain one, NULL
 * when it is gone
 */
extern int64 flo_comparisons_next(const char *group);
extern FloCompareRequest *flo_comparisons_request(int64 id);
extern void flo_comparisons_begin(int64 id);

/*
 * It is over: of this one, 0 = all that were begun with, what is not finished has failed;
 * how many had begun
 */
extern uint64 flo_comparisons_over(const char *group, int64 id, const char *detail);

/* It is with these workers (of char *): their rows take the place of those without one */
extern void flo_comparisons_workers(const char *group, int64 id, const List *workers);

/*
 * Where it is; "worker" NULL = with all, "relation" 0 = all tables, of what is not
 * finished.  "lsn" may be invalid, "detail" NULL.
 */
extern void flo_comparisons_state(const char *group, int64 id, const char *worker, Oid relation,
								  const char *state, XLogRecPtr lsn, const char *detail);

/* The snapshot is there, and the source reads what is not finished */
extern void flo_comparisons_reading(const char *group, int64 id, XLogRecPtr lsn);

/* The worker's tables are compared: how far it is, for people */
extern void flo_comparisons_comparing(const char *group, int64 id, const char *worker,
									  const char *detail);

/* So many rows a table has, about, and so many were read so far */
extern void flo_comparisons_estimate(const char *group, int64 id, Oid relation, int64 rows);
extern void flo_comparisons_progress(const char *group, int64 id, Oid relation, int64 rows);

/* What the source has read of a table */
extern void flo_comparisons_read(const char *group, int64 id, Oid relation, int64 rows);

/* The last word on a table, or with "state" not the last one */
extern void flo_comparisons_result(const char *group, int64 id, const char *worker,
								   const FloComparedRecord *record, const char *state);

extern const char *flo_compared_state_name(FloComparedState state);

#endif
