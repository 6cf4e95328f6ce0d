/*
 * direct.h
 *		Writes gathered changes to an ordinary table without a statement.
 */
#ifndef FLO_DIRECT_H
#define FLO_DIRECT_H

#include "sink/gather.h"
#include "sink/sink.h"

/* Can the gathered changes be written this way? */
extern bool flo_direct_possible(const FloGather *gather);

/*
 * Write them, as the current user, with the current memory context for what
 * lives no longer than this.  False when a row was missing, changed in the
 * meantime, or there when it should not be: then, or after an error, what was
 * written must be undone.
 */
extern bool flo_direct_write(FloGather *gather, const FloSinkHost *host);

#endif
