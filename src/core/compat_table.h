/*
 * compat_table.h
 *		Tables: what they are, and writing to them.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_TABLE_H
#define FLO_COMPAT_TABLE_H

#include "access/genam.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "catalog/pg_constraint.h"
#include "commands/tablecmds.h"
#include "core/compat.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/tuplesort.h"

/* ALTER TABLE ... ALTER COLUMN ... SET EXPRESSION, which there is since 17 */
static inline bool
flo_compat_is_set_expression(AlterTableType type)
{
#if PG_VERSION_NUM >= 170000
	return type == AT_SetExpression;
#else
	return false;
#endif
}

/*
 * Are a constraint and one that is to be both ENFORCED, or both NOT ENFORCED,
 * which there is since 18?
 */
static inline bool
flo_compat_enforced_alike(Form_pg_constraint form, const Constraint *constraint)
{
#if PG_VERSION_NUM >= 180000
	return form->conenforced == constraint->is_enforced;
#else
	return true;
#endif
}

/* Make all indexes of a table anew, which is locked, in this transaction */
static inline void
flo_compat_reindex(Oid relation)
{
	ReindexParams params = {0};

#if PG_VERSION_NUM >= 170000
	(void) reindex_relation(NULL, relation, REINDEX_REL_CHECK_CONSTRAINTS, &params);
#else
	(void) reindex_relation(relation, REINDEX_REL_CHECK_CONSTRAINTS, &params);
#endif
}

/*
 * Truncate tables that are open and locked, without CASCADE.  Before 16 the
 * triggers run as the current user whatever as_table_owner says.
 */
static inline void
flo_compat_truncate(List *rels, List *relids, List *logged, bool restart_identity,
					bool as_table_owner)
{
#if PG_VERSION_NUM >= 160000
	ExecuteTruncateGuts(rels, relids, logged, DROP_RESTRICT, restart_identity,
						as_table_owner);
#else
	ExecuteTruncateGuts(rels, relids, logged, DROP_RESTRICT, restart_identity);
#endif
}

/*
 * Since 18, a table with REPLICA IDENTITY FULL can only be updated while
 * published when its stored generated columns are published, too, and not at
 * all when it has virtual ones.
 */
#if PG_VERSION_NUM >= 180000
#define FLO_PUBLISH_GENERATED ", publish_generated_columns = stored"
#define FLO_SENDS_GENERATED true
#else
#define FLO_PUBLISH_GENERATED ""
#define FLO_SENDS_GENERATED false
#endif

static inline bool
flo_compat_full_identity_works(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetDescr(relation)->constr == NULL ||
		!RelationGetDescr(relation)->constr->has_generated_virtual;
#else
	return true;
#endif
}

#define FLO_TRUNCATE_SWITCHES_USER (PG_VERSION_NUM >= 160000)

/* The primary key's index; invalid when there is none or it is deferrable */
static inline Oid
flo_compat_primary_key(Relation relation)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(relation, false);
#else
	return RelationGetPrimaryKeyIndex(relation);
#endif
}

/* An executor state that knows one relation, as number 1 */
static inline void
flo_compat_init_range_table(EState *estate, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
#endif

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&permissions, rte);
#endif
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(rte), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(rte), permissions);
#else
	ExecInitRangeTable(estate, list_make1(rte));
#endif
}

/* The next value of a sort, a copy of it in the current memory context; false at the end */
static inline bool
flo_compat_tuplesort_getdatum(Tuplesortstate *state, Datum *value, bool *isnull)
{
#if PG_VERSION_NUM >= 160000
	return tuplesort_getdatum(state, true, true, value, isnull, NULL);
#else
	return tuplesort_getdatum(state, true, value, isnull, NULL);
#endif
}

static inline TableScanDesc
flo_compat_table_beginscan(Relation rel, Snapshot snapshot)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan(rel, snapshot, 0, NULL, SO_NONE);
#else
	return table_beginscan(rel, snapshot, 0, NULL);
#endif
}

static inline TableScanDesc
flo_compat_table_beginscan_parallel(Relation rel, ParallelTableScanDesc together)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_parallel(rel, together, SO_NONE);
#else
	return table_beginscan_parallel(rel, together);
#endif
}

static inline TableScanDesc
flo_compat_table_beginscan_range(Relation rel, Snapshot snapshot, ItemPointer low,
								 ItemPointer high)
{
#if PG_VERSION_NUM >= 190000
	return table_beginscan_tidrange(rel, snapshot, low, high, SO_NONE);
#else
	return table_beginscan_tidrange(rel, snapshot, low, high);
#endif
}

/* All columns of a description have been made known: since 19 it cannot be used before */
static inline void
flo_compat_desc_is_whole(TupleDesc desc)
{
#if PG_VERSION_NUM >= 190000
	TupleDescFinalize(desc);
#endif
}

static inline TupleTableSlot *
flo_compat_make_slot(TupleDesc desc, const TupleTableSlotOps *ops)
{
#if PG_VERSION_NUM >= 190000
	return MakeTupleTableSlot(desc, ops, 0);
#else
	return MakeTupleTableSlot(desc, ops);
#endif
}

static inline TM_Result
flo_compat_tuple_delete(Relation rel, ItemPointer tid, CommandId cid, Snapshot snapshot)
{
	TM_FailureData failure;

#if PG_VERSION_NUM >= 190000
	return table_tuple_delete(rel, tid, cid, 0, snapshot, InvalidSnapshot, true, &failure);
#else
	return table_tuple_delete(rel, tid, cid, snapshot, InvalidSnapshot, true, &failure, false);
#endif
}

static inline IndexScanDesc
flo_compat_index_beginscan(Relation rel, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 190000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0, SO_NONE);
#elif PG_VERSION_NUM >= 180000
	return index_beginscan(rel, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(rel, index, snapshot, nkeys, 0);
#endif
}

/* Index entries of a new row, without deferred checks */
static inline void
flo_compat_insert_index_tuples(ResultRelInfo *info, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 190000
	ExecInsertIndexTuples(info, estate, 0, slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL, false);
#else
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL);
#endif
}

/* Which indexes get entries of a new version of a row */
typedef enum FloIndexUpdate
{
	FLO_INDEXES_NONE,
	FLO_INDEXES_SUMMARIZING,	/* such as BRIN; since 16 */
	FLO_INDEXES_ALL
} FloIndexUpdate;

static inline bool
flo_compat_summarizes(const IndexInfo *info)
{
#if PG_VERSION_NUM >= 160000
	return info->ii_Summarizing;
#else
	return false;
#endif
}

/* A new version of the row at "tid" */
static inline TM_Result
flo_compat_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, CommandId cid,
						Snapshot snapshot, FloIndexUpdate *which)
{
	TM_FailureData failure;
	LockTupleMode lock_mode;
	TM_Result	result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes = TU_None;
#else
	bool		update_indexes = false;
#endif

#if PG_VERSION_NUM >= 190000
	result = table_tuple_update(rel, tid, slot, cid, 0, snapshot, InvalidSnapshot, true,
								&failure, &lock_mode, &update_indexes);
#else
	result = table_tuple_update(rel, tid, slot, cid, snapshot, InvalidSnapshot, true,
								&failure, &lock_mode, &update_indexes);
#endif
#if PG_VERSION_NUM >= 160000
	*which = update_indexes == TU_None ? FLO_INDEXES_NONE :
		update_indexes == TU_Summarizing ? FLO_INDEXES_SUMMARIZING : FLO_INDEXES_ALL;
#else
	*which = update_indexes ? FLO_INDEXES_ALL : FLO_INDEXES_NONE;
#endif
	return result;
}

/* Its index entries, without deferred checks */
static inline void
flo_compat_update_index_tuples(ResultRelInfo *info, TupleTableSlot *slot, EState *estate,
							   FloIndexUpdate which)
{
#if PG_VERSION_NUM >= 190000
	ExecInsertIndexTuples(info, estate,
						  EIIT_IS_UPDATE |
						  (which == FLO_INDEXES_SUMMARIZING ? EIIT_ONLY_SUMMARIZING : 0),
						  slot, NIL, NULL);
#elif PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL,
						  which == FLO_INDEXES_SUMMARIZING);
#else
	ExecInsertIndexTuples(info, slot, estate, true, false, NULL, NIL);
#endif
}

#endif
