/*
 * sequences.h
 *		Where the source's sequences are.
 */
#ifndef FLO_SEQUENCES_H
#define FLO_SEQUENCES_H

#include "bus/bus.h"
#include "conf/spec.h"

/*
 * Set sequences as a message says; none goes back, one that is not here is
 * passed over.  Needs an open transaction, and the worker's owner may set them.
 */
extern void flo_sequences_set(const FloWorkerSpec *spec, const char *message, int len);

/* The same with the values that came with the copy, in a transaction of its own */
extern void flo_sequences_take(FloBus *bus, const FloWorkerSpec *spec, const char *generation);

#endif
