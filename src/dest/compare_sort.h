/*
 * compare_sort.h
 *		Rows of both sides of a comparison, sorted and compared.
 */
#ifndef FLO_COMPARE_SORT_H
#define FLO_COMPARE_SORT_H

#include "shape/digest.h"

/* 128 bits of some of a row's values */
typedef struct FloRowHash
{
	uint64		one;
	uint64		other;
} FloRowHash;

/* Of the values named by "columns", as their types tell them apart; or of all, as text */
extern FloRowHash flo_row_hash(uint64 seed, const FloDigestValue *values, const int *columns,
							   int count);

/* Bytes of a value that are kept to be shown: rows are compared by their hashes */
#define FLO_COMPARE_SHOWN 1000

/* A row as it is shown; valid until the next one is asked for */
typedef struct FloCompareRow
{
	FloRowHash	key;
	FloRowHash	row;
	const char *values;			/* see flo_compare_row_value() */
	const char *end;
} FloCompareRow;

/*
 * The row's values one after the other: NULL for NULL, palloc'd; *cut says that there
 * was more
 */
extern char *flo_compare_row_value(const char **next, bool *cut);

typedef struct FloCompareSort FloCompareSort;

/* Sorts in so many kilobytes and temporary files, which go with the transaction */
extern FloCompareSort *flo_compare_sort_begin(int kilobytes);

/* Values to be shown, and behind them others that are kept whole */
extern void flo_compare_sort_put(FloCompareSort *sort, FloRowHash key, FloRowHash row,
								 const FloDigestValue *values, int count,
								 const FloDigestValue *whole, int whole_count);

extern int64 flo_compare_sort_rows(const FloCompareSort *sort);

extern void flo_compare_sort_end(FloCompareSort *sort);

typedef struct FloCompareCounts
{
	int64		missing;		/* at the source only */
	int64		extra;			/* at the destination only */
	int64		different;		/* of one key, and not the same */
} FloCompareCounts;

/*
 * Rows of either side; one of them may be NULL.  Of rows that have one key and
 * differ in the same way only the first is told.
 */
typedef void (*FloCompareSample) (void *arg, const FloCompareRow *source,
								  const FloCompareRow *destination);

/*
 * Compare.  Keys need not be unique: of those that are the same as many must be
 * there.  "proceed" is called now and then, and may throw.
 */
extern void flo_compare_sorted(FloCompareSort *source, FloCompareSort *destination,
							   FloCompareCounts *counts, FloCompareSample sample,
							   void (*proceed) (void *arg), void *arg);

#endif
