/*
 * compare_table.h
 *		What is compared with what: a table here, and the tables of the source
 *		whose rows routes lead there.
 */
#ifndef FLO_COMPARE_TABLE_H
#define FLO_COMPARE_TABLE_H

#include "access/attnum.h"
#include "bus/comparison.h"
#include "conf/spec.h"
#include "core/as_role.h"
#include "dest/worker_rules.h"
#include "fmgr.h"
#include "shape/digest.h"
#include "sink/convert.h"
#include "wire/change.h"

/* A column here that the source sends */
typedef struct FloCompareColumn
{
	char	   *name;
	AttrNumber	attnum;
	Oid			type;			/* of a domain the type below, whose checks
								 * are nobody's code */
	int32		typmod;
	FmgrInfo	output;
	FmgrInfo   *hash;			/* of the type, where rows are told apart by
								 * the column; NULL: by its text */
	Oid			collation;
} FloCompareColumn;

/* A table of the source */
typedef struct FloCompareSource
{
	const FloComparePlanTable *plan;
	List	   *columns;		/* of the plan's, what they are called here:
								 * char *, NULL = left out */
	List	   *keys;			/* the same of its keys */
	bool		altered;		/* rules or routes make its rows others, or
								 * fewer */

	/* in the round of rows: how its rows come out of rules and routes */
	uint64		version;		/* of the relation that the rest is bound to,
								 * 0 = none */
	int		   *places;			/* where the table's columns are in it */
	FloConverter *converters;	/* for each of the table's columns */
	MemoryContext context;		/* of these */

	List	   *repairs;		/* of FloRepairKey *: its rows that differ
								 * here */
	bool		repairs_cut;	/* and more */
} FloCompareSource;

typedef struct FloCompareTable
{
	char	   *schema;
	char	   *table;
	List	   *sources;		/* of FloCompareSource * */
	char	   *trouble;		/* why it cannot be compared; NULL = it can */
	bool		passing;		/* that passes: another comparison may go well */

	/* the table, locked */
	Oid			relid;
	List	   *leaves;			/* OIDs of what holds its rows, locked, too */
	Oid			run_as;
	bool		restricted;

	/* what of it is compared */
	int			ncolumns;
	FloCompareColumn *columns;
	bool	   *in_bucket;		/* columns whose values choose the bucket, as
								 * at the source; none: all do */
	int64		nbuckets;		/* the fewest of a source; others fold */
	int			nkey;			/* columns that tell rows apart: those of the
								 * primary key here, or of the source's key,
								 * or all */
	int		   *key;
	bool		keyless;		/* all columns, as there is no key */
	const char *only_rows;		/* why sums cannot agree; NULL = they can */
} FloCompareTable;

/*
 * In a transaction: the tables here for those of the plan, which stays.  Lives in the
 * current memory context.
 */
extern List *flo_compare_tables(FloWorkerRules *rules, const FloComparePlan *plan);

/*
 * In the transaction that will read: lock the table, without waiting, and look at
 * it.  What stands in the way becomes its trouble.
 */
extern void flo_compare_table_open(FloCompareTable *table, const FloWorkerSpec *spec);

/* Columns of a table that another process has opened, by their numbers */
extern void flo_compare_table_take_columns(FloCompareTable *table, const AttrNumber *numbers,
										   int count);

/* Rows are about to be told apart: keys by what their types take for equal */
extern void flo_compare_table_hash_keys(FloCompareTable *table);

/* Before it is read no longer */
extern void flo_compare_table_unlock(FloCompareTable *table);

extern FloCompareSource *flo_compare_source(const FloCompareTable *table, uint32 relation);

/*
 * Find the table's columns in rows of the source as they are described now; false when
 * one of them is not there
 */
extern bool flo_compare_source_bind(const FloCompareTable *table, FloCompareSource *source,
									const FloRelation *relation);

/* A value here as it is compared, with the role of flo_compare_enter() */
extern FloDigestValue flo_compare_value(FloCompareColumn *column, Datum value);

/* As whom values are converted; left with flo_as_role_leave() */
extern void flo_compare_enter(const FloCompareTable *table, FloAsRole *as);

#endif
