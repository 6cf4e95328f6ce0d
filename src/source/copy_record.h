/*
 * copy_record.h
 *		Writes down how far a copy is at the source, for people.
 *
 * Between transactions only.
 */
#ifndef FLO_COPY_RECORD_H
#define FLO_COPY_RECORD_H

#include "core/clock.h"
#include "monitor/copy.h"
#include "source/copy.h"

typedef struct FloCopyRecorder
{
	const char *group;
	FloCopyPlan *plan;			/* the leader's, attached */
	bool		planned;		/* what it says of tables is written down */
	uint64		rows;
	int			done;
	FloCopyPhase phase;
	FloClock	at;
} FloCopyRecorder;

/* A copy waits for its snapshot, or one that was not finished goes on with another */
extern void flo_copy_record_begin(FloCopyRecorder *recorder, const char *generation);

/* The leader has made its plan */
extern void flo_copy_record_plan(FloCopyRecorder *recorder);

/* In a transaction: how far each table of the plan is */
extern void flo_copy_record_tables(const char *group, FloCopyPlan *plan, XLogRecPtr lsn);

/* How far it is: once a second at most until all is published; tells in the log when all is done */
extern void flo_copy_record(FloCopyRecorder *recorder);

#endif
