/*
 * truncate.h
 *		Applies a TRUNCATE.
 */
#ifndef FLO_TRUNCATE_H
#define FLO_TRUNCATE_H

#include "sink/relmap.h"

/*
 * Empty the destinations of exactly the tables in the message, in one step.
 * Restarts the sequences they own when the message says so.  Of "given_up", OIDs of
 * tables here, those that refer to them by foreign keys are emptied with them.
 */
extern void flo_truncate(FloRelmap *map, const FloChange *change, List *given_up);

#endif
