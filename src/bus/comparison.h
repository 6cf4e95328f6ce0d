/*
 * comparison.h
 *		What source and destinations tell each other of a comparison, in the
 *		group's state bucket.
 *
 * Each snapshot of a comparison has a number, its attempt, from 1: the first round
 * is of sums, the second of rows, and one that a worker has missed is taken again.
 * All but the progress are texts in pieces (bucket_text.h) tagged with the source's
 * generation, each written once; the source removes them all when it is over.
 */
#ifndef FLO_COMPARISON_H
#define FLO_COMPARISON_H

#include "access/xlogdefs.h"
#include "bus/bus.h"
#include "nodes/pg_list.h"
#include "wire/record.h"

/* All that the source says, and all that workers say, of a comparison: "comparison.7." */
#define FLO_COMPARISON_PREFIX "comparison."
#define FLO_COMPARED_PREFIX "compared."
#define FLO_COMPARING_PREFIX "comparing."

/* --- the source ---------------------------------------------------------- */

typedef enum FloCompareRound
{
	FLO_COMPARE_SUMS,
	FLO_COMPARE_ROWS
} FloCompareRound;

/* A table as it is published; what its rows are compared by */
typedef struct FloComparePlanTable
{
	uint32		relation;		/* OID at the source */
	char	   *schema;
	char	   *table;
	int64		buckets;
	int64		rows;			/* as the server estimates */
	int64		bytes;
	List	   *columns;		/* of char *, in the order in which they are
								 * hashed */
	List	   *keys;			/* of char *; none: the whole row is the key */
	char	   *description;	/* hexadecimal form of its 'Y' and 'R'
								 * records, each behind its length as in a
								 * chunk */
	char	   *wanted;			/* round of rows: of these buckets, see
								 * flo_buckets_format(); NULL = all */
} FloComparePlanTable;

/*
 * "comparison.<id>.<attempt>.plan", before the marker; when it is gone the comparison
 * is over, and nothing more comes
 */
typedef struct FloComparePlan
{
	int64		id;
	uint32		attempt;
	int			round;			/* a FloCompareRound */
	uint64		seed;			/* of the digests */
	int64		encoding;		/* of the text in descriptions (enum pg_enc) */
	int64		samples;		/* at most so many of a table */
	bool		repair;			/* keys of what differs are wanted, in the
								 * round of rows */
	bool		repair_extra;
	List	   *workers;		/* of char *, consumers */
	List	   *tables;			/* of FloComparePlanTable * */
} FloComparePlan;

/*
 * "comparison.<id>.<attempt>.table.<oid>": all of a table is read.  In the round of
 * sums it has these; in that of rows it is in the compare stream, in so many chunks
 * like those of a copy, with ordinals from 0 in one range.
 */
typedef struct FloCompareTableRecord
{
	uint32		relation;
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot */
	int64		rows;			/* sums: of the table; rows: that were
								 * published */
	int64		chunks;
	char	   *sums;			/* see flo_digest_format(); NULL in the round
								 * of rows, and when it failed */
	char	   *failed;			/* why it cannot be read; NULL = it was */
} FloCompareTableRecord;

/* --- the workers --------------------------------------------------------- */

typedef enum FloComparedState
{
	FLO_COMPARED_EQUAL,
	FLO_COMPARED_DIFFERENT,		/* and how: after the round of rows */
	FLO_COMPARED_BUCKETS,		/* rows are needed: of the buckets named, or
								 * all */
	FLO_COMPARED_VOID,			/* nothing can be said, see detail */
	FLO_COMPARED_MISSED,		/* another snapshot is needed */
	FLO_COMPARED_FAILED			/* and one would not help */
} FloComparedState;

typedef struct FloComparedSample
{
	char	   *kind;			/* "missing", "extra" or "different" */
	char	   *key;			/* JSON objects, column -> text */
	char	   *source_row;		/* NULL: none */
	char	   *destination_row;
} FloComparedSample;

/* The key of a row at the source, by the plan's keys */
typedef struct FloRepairKey
{
	List	   *values;			/* of char * */
	bool		extra;			/* the destination has a row, the source none */
} FloRepairKey;

/*
 * "compared.<id>.<attempt>.<consumer>.<oid>", of a table; <oid> 0: of all that the
 * plan names and that has no result of its own
 */
typedef struct FloComparedRecord
{
	uint32		relation;
	uint32		attempt;
	char	   *worker;
	int			state;			/* a FloComparedState */
	int64		rows;			/* at the destination */
	int64		missing;
	int64		extra;
	int64		different;
	char	   *buckets;		/* see FLO_COMPARED_BUCKETS; NULL = all */
	char	   *detail;
	List	   *samples;		/* of FloComparedSample * */
	List	   *repairs;		/* of FloRepairKey *, when the plan wants them */
	bool		repairs_cut;	/* there are more */
} FloComparedRecord;

/* Keys that are said of a table at most, for a repair */
#define FLO_MAX_REPAIRS 10000

/*
 * "comparing.<id>.<consumer>", fire and forget: how far it is.  What all workers
 * have read of the compare stream is removed from it.
 */
typedef struct FloComparingRecord
{
	uint32		attempt;
	uint64		seq;			/* of the compare stream: nothing up to it is
								 * needed any more */
	uint64		rows;
} FloComparingRecord;

extern char *flo_compare_plan_key(int64 id, uint32 attempt);
extern char *flo_compare_table_key(int64 id, uint32 attempt, uint32 relation);
extern char *flo_compared_key(int64 id, uint32 attempt, const char *consumer, uint32 relation);
extern char *flo_comparing_key(int64 id, const char *consumer);

extern const FloRecordFormat flo_compare_plan_format;
extern const FloRecordFormat flo_compare_table_format;
extern const FloRecordFormat flo_compared_format;
extern const FloRecordFormat flo_comparing_format;

/* Written as texts, and read; NULL when it is not there (of the generation) */
extern void flo_comparison_put(FloBus *bus, const char *bucket, const char *key,
							   const char *generation, const FloRecordFormat *format,
							   const void *record);
extern void *flo_comparison_get(FloBus *bus, const char *bucket, const char *key,
								const char *generation, const FloRecordFormat *format);

#endif
