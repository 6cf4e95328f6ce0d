/*
 * place.h
 *		A snapshot at an exact place of the stream: between a replicator and the
 *		process that takes it.
 */
#ifndef FLO_MONITOR_PLACE_H
#define FLO_MONITOR_PLACE_H

#include "access/xlogdefs.h"

/* What the snapshot is for: one of each kind may be led at a time */
typedef enum FloPlaceUser
{
	FLO_PLACE_COMPARISON,
	FLO_PLACE_BACKFILL
} FloPlaceUser;

#define FLO_PLACE_USERS 2

/*
 * Who goes on to the next one: asked, building, taken, none: the leader; looking,
 * marked, missed: the replicator.
 */
typedef enum FloPlacePhase
{
	FLO_PLACE_NONE,				/* no snapshot is being taken */
	FLO_PLACE_ASKED,			/* one is about to be */
	FLO_PLACE_LOOKING,			/* the replicator stops where it might be */
	FLO_PLACE_BUILDING,			/* it begins at "restart" */
	FLO_PLACE_TAKEN,			/* it is at "lsn" */
	FLO_PLACE_MARKED,			/* and so is its marker, in the stream */
	FLO_PLACE_MISSED			/* the replicator was beyond it */
} FloPlacePhase;

typedef struct FloSourcePlace
{
	FloPlacePhase phase;
	int64		id;				/* of what is led, the replicator's; 0 = none */
	XLogRecPtr	restart;
	TransactionId horizon;		/* of the snapshot's builder, see
								 * SnapBuildFindSnapshot() */
	XLogRecPtr	lsn;
	uint32		marker;			/* dynamic shared memory with the text of the
								 * marker */
	uint32		progress;		/* another one, of what is read; 0 = none */
} FloSourcePlace;

/* For the replicator: nothing is led any more, or this one is */
extern void flo_source_place_order(FloPlaceUser user, int64 id);
extern FloSourcePlace flo_source_place_get(FloPlaceUser user);

/* Without a lock: for who has to look all the time */
extern FloPlacePhase flo_source_place_phase(FloPlaceUser user);
extern void flo_source_place_answer(FloPlaceUser user, FloPlacePhase phase);

/* For the leader, of the member in the entry; the replicator is woken */
extern FloSourcePlace flo_source_place_ordered(int slot, FloPlaceUser user);
extern void flo_source_place_tell(int slot, FloPlaceUser user, const FloSourcePlace *place);

#endif
