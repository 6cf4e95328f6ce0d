/*
 * copy_control.h
 *		The replicator's part in copying tables.
 */
#ifndef FLO_COPY_CONTROL_H
#define FLO_COPY_CONTROL_H

#include "bus/records.h"
#include "conf/spec.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "nodes/pg_list.h"
#include "postmaster/bgworker.h"
#include "source/copy.h"
#include "source/copy_record.h"
#include "source/publisher.h"

typedef struct FloCopyControl
{
	TimestampTz since;			/* a copy begins with the process, or began
								 * before it */
	char	   *group;
	char	   *slot;
	char	   *bucket;
	FloBus	   *bus;
	const FloGeneration *generation;
	BackgroundWorkerHandle *leader; /* NULL: none runs */
	FloCopyRecorder recorder;	/* how far it is, for people */
	int64		stream_limit;	/* copy_stream_max_bytes */
	List	   *requested;		/* of FloCopyRequest *: what a copy after a
								 * marker is of */
	List	   *marker;			/* of FloCopyKey *: the marker at its snapshot */
	XLogRecPtr	marker_lsn;		/* where that belongs; invalid = it is in the
								 * stream */
} FloCopyControl;

/* A snapshot is to be taken for the copy that this generation begins with */
extern void flo_copy_awaits_snapshot(FloCopyControl *control, const FloGeneration *generation);

/* Start that copy, under the snapshot of its slot */
extern void flo_copy_begin(FloCopyControl *control, const char *snapshot);

/* Wait until all of it is at the broker */
extern void flo_copy_await_published(FloCopyControl *control);

/*
 * Go on with it in a later process: what was not finished is copied from a new
 * snapshot; where the stream is decoded ("marked"), as if somebody had asked
 * for these tables now.
 */
extern void flo_copy_resume(FloCopyControl *control, bool marked);

/*
 * Copy the tables that flo.copy_requests lists, if any: publishes a marker and
 * takes a snapshot.  No slot may be held.  With "first" the next chunk is the
 * generation's first; when it follows another one it is a marker then, if need
 * be of no tables: who finds no marker there knows that it was purged.
 */
extern void flo_copy_requested(FloCopyControl *control, FloPublisher *publisher,
							   const FloReplicatorSpec *spec, bool first);

/* Between transactions: everything that committed below "position" was published */
extern void flo_copy_mark_snapshot(FloCopyControl *control, FloPublisher *publisher,
								   XLogRecPtr position);

/* The stream has what comes before it: copiers may begin */
extern void flo_copy_may_fill(FloCopyControl *control);

/* Does somebody want that, and no copy runs? */
extern bool flo_copy_wanted(FloCopyControl *control);

/* The option copy_stream_max_bytes, also while a copy runs */
extern void flo_copy_set_limit(FloCopyControl *control, int64 bytes);

/* What a generation that follows another says of its copy */
extern FloCopyAfresh flo_copy_of_generation(FloCopyControl *control,
											const FloReplicatorSpec *spec);

/* Has a copy just ended?  Throws when its leader did so before it was done. */
extern bool flo_copy_check(FloCopyControl *control);

extern FloCopyPhase flo_copy_phase(void);

/* Set the member's state: streaming, or copying and how far */
extern void flo_copy_show(void);

#endif
