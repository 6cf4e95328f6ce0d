/*
 * entries.h
 *		Index entries of rows that are written without a statement.
 */
#ifndef FLO_ENTRIES_H
#define FLO_ENTRIES_H

#include "core/compat_table.h"
#include "nodes/execnodes.h"

typedef struct FloEntries
{
	ResultRelInfo *info;		/* its indexes are open */
	EState	   *estate;
	bool		plain;			/* entries are of columns alone, and nothing
								 * but uniqueness is checked */
	bool	   *keeps;			/* of each index: does a row that keeps its
								 * columns keep its place, see entries.c? */
} FloEntries;

/* Takes memory of the executor state, which the entries live in */
extern void flo_entries_begin(FloEntries *entries, ResultRelInfo *info, EState *estate);

/* Of a new row, which lies at the slot's tid */
extern void flo_entries_insert(FloEntries *entries, TupleTableSlot *slot);

/*
 * Of a new version of the row that was at the old slot's tid.  Both slots are
 * taken apart.  "repeated": pages of the index may be full of versions of rows that
 * nobody sees any more.
 */
extern void flo_entries_update(FloEntries *entries, TupleTableSlot *old, TupleTableSlot *new,
							   FloIndexUpdate which, bool repeated);

#endif
