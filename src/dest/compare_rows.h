/*
 * compare_rows.h
 *		Rows of a table that is compared, here and as they come from the source, as
 *		text.
 */
#ifndef FLO_COMPARE_ROWS_H
#define FLO_COMPARE_ROWS_H

#include "access/relscan.h"
#include "dest/compare_table.h"
#include "utils/snapshot.h"

/*
 * All rows that the snapshot shows, values in the order of the table's columns.
 * "row" is called in a memory context that is reset behind it.  With "together", for each
 * of the table's leaves, those that other processes leave.
 */
typedef void (*FloCompareRowTaker) (void *arg, const FloDigestValue *values);

extern void flo_compare_scan(const FloCompareTable *table, Snapshot snapshot,
							 ParallelTableScanDesc *together, FloCompareRowTaker row, void *arg);

/*
 * The values of a row of the source, as they came out of rules and routes, in the
 * form that they have here; in the current memory context
 */
extern void flo_compare_convert(const FloCompareTable *table, FloCompareSource *source,
								const FloChange *change, FloDigestValue *values);

#endif
