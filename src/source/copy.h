/*
 * copy.h
 *		The initial copy of a group's tables: its plan, and the processes that
 *		carry it out.
 */
#ifndef FLO_COPY_H
#define FLO_COPY_H

#include "bus/bus.h"
#include "core/process.h"
#include "monitor/state.h"
#include "nodes/pg_list.h"
#include "source/copy_space.h"
#include "storage/block.h"
#include "storage/spin.h"
#include "utils/relcache.h"
#include "wire/chunk.h"

typedef enum FloTaskState
{
	FLO_TASK_FREE,
	FLO_TASK_TAKEN,
	FLO_TASK_DONE
} FloTaskState;

/* A range of pages of one table */
typedef struct FloCopyTask
{
	/* what */
	Oid			relation;		/* to read: an ordinary table or a leaf
								 * partition */
	Oid			published;		/* as which its rows travel: itself or its
								 * partition root */
	Oid			filenode;		/* of the relation, as the snapshot sees it */
	BlockNumber first;
	BlockNumber end;			/* InvalidBlockNumber: to the end of the file */
	uint32		range;			/* number among the ranges of "published" */
	BlockNumber pages;			/* when it was planned */
	BlockNumber table_pages;	/* of the whole relation then */
	uint64		bytes;			/* of these pages, with their share of TOAST */
	uint64		rows_estimated;

	/* how far */
	FloTaskState state;
	int			copier;			/* who took it */
	uint32		chunks;
	uint64		rows;			/* so far */
	BlockNumber pages_done;		/* so far */
	bool		shaped;			/* rules of the replicator apply */
	bool		cold;			/* its pages come from the disk */
	uint64		in_pieces;		/* bytes of a row that is being published in
								 * pieces; 0 = none is */
} FloCopyTask;

/* In dynamic shared memory of the leader */
typedef struct FloCopyPlan
{
	slock_t		mutex;			/* guards the tasks' second half */
	char		snapshot[64];
	FloChunkHeader identity;
	char		group[FLO_NAME_BUF];
	char		subject[FLO_NAME_BUF + 32]; /* of the rows */
	int64		backfill;		/* number of the one whose rows these are; 0 =
								 * a copy's */
	uint32		attempt;
	uint32		chunk_size;		/* the same for all, so that a range read
								 * again gives the same chunks */
	int			methods;		/* how values may be compressed
								 * (compressed.h); likewise the same for all */
	bool		squeeze;		/* chunks are compressed */
	bool		binary;
	FloCopySpace space;
	int			spread;			/* copiers that may be at a relation that is
								 * slow to read */
	int			ntasks;
	FloCopyTask tasks[FLEXIBLE_ARRAY_MEMBER];
} FloCopyPlan;

/* A relation with rows of the group's, as the snapshot sees it */
typedef struct FloCopyRelation
{
	Oid			published;		/* as what its rows are sent: itself, or a
								 * parent of it */
	Oid			relation;
	Oid			filenode;
	const char *shape;			/* name and columns, of both */
	const char *published_shape;
} FloCopyRelation;

typedef void (*FloCopyRelationAction) (void *arg, const FloCopyRelation *relation);

/*
 * For each that the active snapshot sees in the group's publications, partition trees
 * down to their leaves, and that is not excepted: the largest first, in the caller's
 * memory context.  The view pg_publication_tables shows what they list now: a table
 * dropped since would be passed over, and of one that joined since some changes would
 * neither be in the snapshot nor in the stream.  A group that is gone has none.
 */
extern void flo_copy_each_relation(const char *group, FloCopyRelationAction action, void *arg);

/*
 * Lock a table for the length of the copy.  It must still be the one that the
 * snapshot sees: a rewritten one looks empty, and rows of one with other
 * columns would come in a shape that the stream has not reached.  55P03, 40001.
 */
extern Relation flo_copy_lock_relation(Oid relation, Oid filenode, const char *shape);

/* Pages of what is stored outside the relation's own file */
extern BlockNumber flo_copy_toast_pages(Relation rel);

/* So many rows has a relation of that many pages, as the planner would estimate */
extern double flo_copy_estimate_rows(Relation rel, BlockNumber pages);

/* How much of its bytes a task has read; under the plan's mutex, or not exactly */
extern uint64 flo_copy_task_bytes_done(const FloCopyTask *task);

/*
 * Pointers to the tasks of a plan, those of each table together; FloPlannedTable *
 * of all its tables, which needs a transaction
 */
extern FloCopyTask **flo_copy_tasks_by_table(FloCopyPlan *plan);
extern List *flo_copy_planned_tables(FloCopyPlan *plan);

/* Tell people at the destinations how much there is */
extern void flo_copy_publish_plan(FloBus *bus, const char *bucket, FloCopyPlan *plan,
								  const char *generation, bool marked);

/*
 * In this transaction, or in one of its own.  Sequences are in no snapshot: the
 * later they are read, the nearer they are.
 */
extern void flo_copy_publish_sequences(FloBus *bus, const char *group, const char *generation);

/* Entry points of the helpers; they return when they are done */
extern void flo_copy_leader_run(const FloProcessArgs *args);
extern void flo_copier_run(const FloProcessArgs *args);

#endif
