/*
 * losses.h
 *		How often a worker's place in the stream was lost at the broker.
 */
#ifndef FLO_LOSSES_H
#define FLO_LOSSES_H

#include "core/clock.h"

/* Of a kind: more often within a minute is too often */
#define FLO_MAX_LOSSES 5

/* Zeroed: none yet.  Times, newest first */
typedef struct FloLosses
{
	FloClock	taken[FLO_MAX_LOSSES];	/* somebody deleted the consumer */
	FloClock	lost[FLO_MAX_LOSSES];	/* the broker did not go on with it */
} FloLosses;

/* Too often: the worker is failed, since another one of its name does the same to it */
extern void flo_losses_taken(FloLosses *losses, const char *consumer, const char *stream);

/* Too often: an ERROR of the connection after a pause, so that the worker takes another one */
extern void flo_losses_lost(FloLosses *losses, const char *consumer, const char *stream);

#endif
