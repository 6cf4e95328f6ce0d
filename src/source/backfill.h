/*
 * backfill.h
 *		Backfills at the source: the rows of a table for one worker of events.
 */
#ifndef FLO_SOURCE_BACKFILL_H
#define FLO_SOURCE_BACKFILL_H

#include "bus/bus.h"
#include "conf/backfills.h"
#include "conf/spec.h"
#include "core/clock.h"
#include "core/process.h"
#include "source/copy.h"
#include "source/place.h"
#include "source/retention.h"
#include "storage/dsm.h"

/* The replicator's part */
typedef struct FloBackfillControl
{
	const char *group;
	const FloGeneration *generation;
	FloPlace	place;			/* and who leads it */
	MemoryContext context;		/* reset in each look */
	int64		id;				/* of the one at hand; 0 = none */
	bool		copies;			/* the group copies */
	bool		told;			/* the worker, that all rows are published */
	bool		look;			/* somebody may have asked for one */
	FloClock	looked;
	FloClock	gone;			/* when the worker was not there first; 0 = it
								 * is */
	uint64		purged;			/* of the stream */
	uint32		put_off;		/* newest snapshot that the worker is told to
								 * pass; 0 = none */
	uint32		shown;			/* segment of the plan that is read; 0 = not
								 * known */
	dsm_segment *segment;		/* attached; NULL = none */
} FloBackfillControl;

/* In no transaction */
extern void flo_backfill_open(FloBackfillControl *control);

/* Between transactions, now and then; none begins while the group copies */
extern void flo_backfill_look(FloBackfillControl *control, FloRetention *retention, bool copies);

/* Entry point of the helper; returns when it is done */
extern void flo_backfiller_run(const FloProcessArgs *args);

#endif
