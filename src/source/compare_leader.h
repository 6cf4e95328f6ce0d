/*
 * compare_leader.h
 *		The process that leads a comparison, for the files that run it.
 */
#ifndef FLO_COMPARE_LEADER_H
#define FLO_COMPARE_LEADER_H

#include "bus/comparison.h"
#include "conf/comparisons.h"
#include "conf/spec.h"
#include "core/clock.h"
#include "source/compare.h"
#include "source/generation.h"
#include "source/ownership.h"
#include "source/place.h"

typedef struct FloComparedWorker
{
	char	   *consumer;
	char	   *name;			/* as people see it */
	TimestampTz at;				/* of its newest report */
	FloClock	heard;			/* when that was seen to change */
	bool		gone;
	FloComparedRecord *whole;	/* what it says of all tables, in this look */
} FloComparedWorker;

/* A table with one of the workers */
typedef struct FloComparedPair
{
	Oid			relation;
	FloComparedWorker *worker;
	bool		pending;		/* no answer of this round yet */
	bool		rows;			/* rows of it are wanted */
	char	   *buckets;		/* of these; NULL = all */
	bool		finished;
	List	   *repairs;		/* of FloRepairKey *: to be written again */
	bool		repairs_cut;	/* there are more that differ */
	bool		repaired;		/* they were */
	int64		left;			/* rows that differed before that */
} FloComparedPair;

typedef struct FloCompareLeader
{
	const FloProcessArgs *args;
	MemoryContext context;
	MemoryContext turn;			/* reset in each look */
	MemoryContext repairs;		/* of the pairs; reset when they are made */
	int			repaired;		/* so often */
	char	   *group;
	char	   *bucket;
	char	   *generation;
	FloGeneration *begun;
	FloBus	   *bus;
	FloReplicatorSpec *spec;
	FloClaim	claim;
	FloCompareRequest *request;
	List	   *workers;		/* of FloComparedWorker * */
	List	   *tables;			/* of FloCompareTable * */
	List	   *pairs;			/* of FloComparedPair * */
	FloCompareAttempt attempt;
	uint32		attempts;		/* so far */
	FloPlaceTaker place;
	FloClock	heard;
	FloClock	shown;			/* how far they are */
	uint64		purged;			/* of the compare stream */
} FloCompareLeader;

/*
 * What people see of all that is not finished; "worker" NULL = with all, "relation" 0 =
 * all tables
 */
extern void flo_comparison_show(FloCompareLeader *l, const char *worker, Oid relation,
								const char *state, const char *detail);
extern void flo_comparison_fail_pair(FloCompareLeader *l, FloComparedPair *pair,
									 const char *detail);

/*
 * Look, now and then, which workers have spoken: those that have not for so many ms
 * have failed
 */
extern void flo_comparison_hear(FloCompareLeader *l, int longest);

/* Take what comes until nobody has anything to say any more of the attempt at hand */
extern void flo_comparison_await_results(FloCompareLeader *l);

/*
 * The stream with rows is full: remove what has been read.  Under the snapshot nothing
 * can be written down.
 */
extern void flo_comparison_make_room(void *leader);

#endif
