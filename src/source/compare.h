/*
 * compare.h
 *		A comparison at the source: its tables, and reading them under a snapshot.
 */
#ifndef FLO_SOURCE_COMPARE_H
#define FLO_SOURCE_COMPARE_H

#include "bus/comparison.h"
#include "core/process.h"
#include "port/atomics.h"
#include "shape/digest.h"
#include "source/table_reader.h"
#include "wire/chunk.h"

/* An ordinary table or a leaf partition that is read */
typedef struct FloComparePart
{
	Oid			relation;
	Oid			filenode;		/* as the snapshot sees it */
} FloComparePart;

typedef struct FloCompareTable
{
	FloComparePlanTable plan;
	List	   *parts;			/* of FloComparePart * */
	bool	   *wanted;			/* round of rows: its buckets; NULL = all */
	int64		rows_read;
	uint64		description;	/* flo_compare_description_hash() */
} FloCompareTable;

/* One snapshot of it */
typedef struct FloCompareAttempt
{
	const FloProcessArgs *args;
	const char *group;
	const char *bucket;
	const char *generation;
	FloBus	   *bus;
	FloComparePlan plan;		/* "tables" are filled in when it is written */
	List	   *tables;			/* of FloCompareTable * */
	XLogRecPtr	lsn;
	List	   *helpers;		/* of BackgroundWorkerHandle *: they read */
	FloChunkHeader identity;	/* of chunks with rows */

	/* Called now and then while there is nothing to do but wait for workers */
	void		(*wait) (void *arg);

	/* Where it can be seen how far reading is; 0 = nowhere any more */
	void		(*show_plan) (void *arg, uint32 segment);
	void	   *arg;
} FloCompareAttempt;

/*
 * In a transaction: describe what is published of these tables (OIDs), as parts and
 * columns are now.  A List of FloCompareTable *; what is not published is left out.
 */
extern List *flo_compare_describe(const char *group, MemoryContext context, const List *tables);

/*
 * Under the snapshot, which is active: 40001 or 55P03 unless the attempt's tables
 * are what they were when they were described; then they are locked.
 */
extern void flo_compare_lock(FloCompareAttempt *a);

/* By this a table's description is known again, in another process */
extern uint64 flo_compare_description_hash(const char *description, int len);

/* Read them, by so many processes, and tell the workers: sums or rows, as the plan's round is */
extern void flo_compare_read(FloCompareAttempt *a, int processes);

/* It failed: what they read is of no use any more */
extern void flo_compare_end_helpers(FloCompareAttempt *a);

/* How many rows of each table have been read, of the leader whose plan is there */
typedef void (*FloCompareProgress) (void *arg, Oid relation, int64 rows);
extern void flo_compare_progress(uint32 segment, FloCompareProgress tell, void *arg);

/* A process that reads for the leader; returns when there is nothing left to read */
extern void flo_compare_helper_run(const FloProcessArgs *args);

/* All of a table is read */
extern void flo_compare_table_read(FloCompareAttempt *a, FloCompareTable *table,
								   FloCompareTableRecord *record);

/* Which of the columns are the key's, palloc'd */
extern bool *flo_compare_key_flags(const FloComparePlanTable *plan);

/* --- reading pages of a table -------------------------------------------- */

typedef struct FloCompareScan
{
	const FloProcessArgs *args;
	FloTableReader reader;
	FloReading	reading;
	MemoryContext row_context;
	FloDigestValue *values;		/* of the row at hand, which is in
								 * reader.message */
	int			natts;			/* that there must be */
	void		(*row) (void *arg);
	void	   *arg;
	pg_atomic_uint64 *read;		/* counts rows, for people; NULL = nobody */
} FloCompareScan;

extern void flo_compare_scan_open(FloCompareScan *scan, MemoryContext context, const char *group,
								  const FloProcessArgs *args);

/*
 * From page "first" to before "end"; "row" is called for each, in a memory context that is
 * reset behind it.  40001 when the table's description has another hash.  The
 * table is closed by the second one.
 */
extern void flo_compare_scan_pages(FloCompareScan *scan, const FloComparePart *part,
								   Oid published, uint64 description, BlockNumber first,
								   BlockNumber end);
extern void flo_compare_scan_close(FloCompareScan *scan);

/* --- sending rows -------------------------------------------------------- */

typedef struct FloCompareSender FloCompareSender;

/*
 * In the current memory context.  "wait" is called while the stream is full, unless it
 * is NULL; chunks are of the identity.
 */
extern FloCompareSender *flo_compare_sender_create(FloBus *bus, const char *group,
												   const FloProcessArgs *args,
												   const FloChunkHeader *identity,
												   void (*wait) (void *arg), void *arg);

/* A range, whose chunks the key tells apart; rows are those at hand in the scan */
extern void flo_compare_sender_begin(FloCompareSender *s, const FloCompareScan *scan,
									 const FloCopyKey *key);
extern void flo_compare_sender_row(FloCompareSender *s);

/* The last chunk, while the table is open; how many there were */
extern uint32 flo_compare_sender_end(FloCompareSender *s);

/* Rows of a table that one of the workers lacks, has otherwise, or has too many */
typedef struct FloCompareRepair
{
	const char *group;
	int64		id;
	char	   *consumer;
	Oid			relation;
	List	   *keys;			/* of char *, columns */
	List	   *repairs;		/* of FloRepairKey * */
	bool		extra;			/* those that are too many, too */
} FloCompareRepair;

/* In transactions of its own: send the rows again; how many that were, and removals */
extern int64 flo_compare_repair(const FloCompareRepair *order);

#endif
