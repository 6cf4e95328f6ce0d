/*
 * compare_control.h
 *		The replicator's part in comparing tables: it starts the process that leads a
 *		comparison.
 */
#ifndef FLO_COMPARE_CONTROL_H
#define FLO_COMPARE_CONTROL_H

#include "bus/bus.h"
#include "core/clock.h"
#include "core/process.h"
#include "source/place.h"

typedef struct FloCompareControl
{
	const char *group;
	FloBus	   *bus;

	FloPlace	place;			/* and who leads a comparison */
	int64		id;				/* which one */
	bool		look;			/* somebody may have asked for one */
	FloClock	looked;
	bool		shown;			/* that it is read */
	FloClock	ended;			/* when the last one ended; 0 = all that
								 * workers may have said since is gone */
} FloCompareControl;

/* In no transaction; what an earlier process has left is cleared away */
extern void flo_compare_open(FloCompareControl *control);

/* Between transactions, now and then */
extern void flo_compare_look(FloCompareControl *control);

/* Remove what comparisons have at the broker */
extern void flo_compare_clean(FloBus *bus, const char *group);

/* Entry point of the helper; returns when it is done */
extern void flo_comparer_run(const FloProcessArgs *args);

#endif
