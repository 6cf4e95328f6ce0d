/*
 * compare_state.h
 *		The process that compares, for the files that run it.
 *
 * compare_reader.c takes the snapshot and reads, compare_together.c with helpers,
 * compare_sums.c and compare_exchange.c compare with what the source says,
 * compare_result.c tells what has come of it, compare_pace.c is what all do now and then.
 */
#ifndef FLO_COMPARE_STATE_H
#define FLO_COMPARE_STATE_H

#include "bus/comparison.h"
#include "core/clock.h"
#include "core/process.h"
#include "dest/compare_marker.h"
#include "dest/compare_rows.h"
#include "dest/compare_sort.h"
#include "dest/table_filter.h"
#include "wire/change.h"

struct FloCompareReader;

/* A table here, and where its comparison is */
typedef struct FloCompareUnit
{
	struct FloCompareReader *reader;
	FloCompareTable *table;
	int64		rows;			/* here, as far as it is read */
	bool		read;			/* all of it */
	bool		told;			/* what came of it */
	int64		source_rows;	/* as the source says; -1 = not said */

	/* round of sums */
	FloDigest  *digest;

	/* round of rows */
	FloDigest  *chooser;		/* chooses the bucket of a row */
	bool	   *wanted;			/* of these buckets; NULL = all */
	FloCompareSort *here;
	FloCompareSort *source;
	FloCompareCounts counts;
	List	   *samples;		/* of FloComparedSample * */
} FloCompareUnit;

typedef struct FloCompareReader
{
	const FloProcessArgs *args;
	char	   *group;
	char	   *worker;
	char	   *consumer;
	char	   *bucket;
	FloWorkerSpec *spec;
	FloWorkerRules *rules;
	FloTableFilter *filter;		/* of the option "tables"; NULL = all */
	FloBus	   *bus;			/* NULL before there is a snapshot */
	MemoryContext context;		/* of the process */

	/* the order */
	FloCompareOrder *order;
	int64		id;
	uint32		attempt;
	XLogRecPtr	lsn;
	char	   *generation;
	FloComparePlan *plan;
	List	   *left_out;		/* of FloComparePlanTable *: not taken by the
								 * worker */
	List	   *units;			/* of FloCompareUnit * */

	/* reading */
	bool		gave_way;		/* the worker needed what we had locked */
	FloClock	looked;
	FloClock	noted;
	struct FloCompareProgress *progress;
	uint64		seq;			/* of the compare stream, up to which all is
								 * in */

	List	   *outcomes;		/* of FloCompareOutcome *: told, not written
								 * down */
} FloCompareReader;

/* --- compare_pace.c ------------------------------------------------------ */

/*
 * To be called now and then: leaves with its worker, throws when it is in its way, and
 * says how far it is
 */
extern void flo_compare_proceed(FloCompareReader *r);

/* Throws when the source has ended the comparison.  Asks the broker. */
extern void flo_compare_check_source(FloCompareReader *r);

/* OIDs of the source's tables of which all is said in this round */
extern List *flo_compare_said(FloCompareReader *r);
extern bool flo_compare_all_said(const FloCompareTable *table, const List *said);

/* ms between two looks at what it has said, at least and at most, and whether it is at it */
#define FLO_COMPARE_PAUSE 20
#define FLO_COMPARE_PAUSE_MAX 500
#define FLO_COMPARE_PATIENCE 3000

/* --- compare_together.c -------------------------------------------------- */

/* How many helpers are worth their start, of the worker's loaders but one */
extern int	flo_compare_helpers_for(const FloCompareReader *r);

/* Read all tables that have a digest with so many helpers, or as many as are free */
extern void flo_compare_read_together(FloCompareReader *r, Snapshot snapshot, int helpers);

/* --- compare_sums.c ------------------------------------------------------ */

/* Compare all units that were read, as the source's sums come */
extern void flo_compare_sums(FloCompareReader *r);

/* --- compare_exchange.c -------------------------------------------------- */

/* Which rows are wanted: before the tables are read */
extern void flo_compare_choose_rows(FloCompareUnit *unit);

/* A row here */
extern void flo_compare_take_row(FloCompareUnit *unit, const FloDigestValue *values);

/* Take in the source's rows and compare; in the transaction that has read */
extern void flo_compare_exchange(FloCompareReader *r);

/* --- compare_result.c ---------------------------------------------------- */

/* In a transaction: the tables are being compared; what an earlier comparison left is over */
extern void flo_compare_note_begin(FloCompareReader *r);

/*
 * What came of a unit: told to the source at once, and to people, too, unless a
 * transaction is open
 */
extern void flo_compare_tell(FloCompareUnit *unit, FloComparedState state, const bool *buckets,
							 const char *detail);

/* Of a table that the worker does not take */
extern void flo_compare_tell_left_out(FloCompareReader *r, const FloComparePlanTable *table);

/* Write down what was told in a transaction that is over */
extern void flo_compare_write(FloCompareReader *r);

#endif
