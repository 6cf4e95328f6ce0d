/*
 * setwise.h
 *		Writes gathered changes by statements over sets of rows.
 */
#ifndef FLO_SETWISE_H
#define FLO_SETWISE_H

#include "sink/gather.h"

/*
 * As flo_direct_write(), for any table: needs an SPI connection, and runs in
 * the current memory context.
 */
extern bool flo_setwise_write(FloGather *gather);

/* Free all statements of the target */
extern void flo_setwise_forget(FloTarget *target);

#endif
