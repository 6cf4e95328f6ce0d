/*
 * compare.h
 *		A comparison at the source: its tables, and reading them under a snapshot.
 */
#ifndef FLO_SOURCE_COMPARE_H
#define FLO_SOURCE_COMPARE_H

#include "bus/comparison.h"
#include "core/process.h"
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
	FloChunkHeader identity;	/* of chunks with rows */

	/* Called now and then while there is nothing to do but wait for workers */
	void		(*wait) (void *arg);
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

/* Read them and tell the workers: their sums, or rows */
extern void flo_compare_read(FloCompareAttempt *a);

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
