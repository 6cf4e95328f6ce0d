/*
 * compare_control.h
 *		The replicator's part in comparing tables: it starts the process that leads a
 *		comparison, and puts the marker into the stream.
 */
#ifndef FLO_COMPARE_CONTROL_H
#define FLO_COMPARE_CONTROL_H

#include "bus/bus.h"
#include "core/clock.h"
#include "core/process.h"
#include "postmaster/bgworker.h"
#include "source/decoder.h"
#include "source/publisher.h"

typedef struct FloCompareControl
{
	const char *group;
	FloBus	   *bus;

	/* who leads a comparison, and which one */
	BackgroundWorkerHandle *leader; /* NULL: none runs */
	int64		id;
	bool		look;			/* somebody may have asked for one */
	FloClock	looked;
	bool		shown;			/* that it is read */
	FloClock	ended;			/* when the last one ended; 0 = all that
								 * workers may have said since is gone */

	/*
	 * As the builder of its snapshot, which reads the same WAL, see
	 * SnapBuildFindSnapshot()
	 */
	int			stage;			/* what has to end before it is consistent */
	TransactionId next_phase_at;
	XLogRecPtr	considered;		/* the last record that was looked at */
	bool		late;			/* it was waited for long enough */
} FloCompareControl;

/* In no transaction; what an earlier process has left is cleared away */
extern void flo_compare_open(FloCompareControl *control);

/* Between transactions, now and then */
extern void flo_compare_look(FloCompareControl *control);

/*
 * Between transactions, after each record: nothing is decoded beyond a snapshot before
 * its marker
 */
extern void flo_compare_step(FloCompareControl *control, FloDecoder *decoder,
							 FloPublisher *publisher);

/* Remove what comparisons have at the broker */
extern void flo_compare_clean(FloBus *bus, const char *group);

/* Entry point of the helper; returns when it is done */
extern void flo_comparer_run(const FloProcessArgs *args);

#endif
