/*
 * parts.h
 *		The rows of a partition of the source, at the destination.
 */
#ifndef FLO_PARTS_H
#define FLO_PARTS_H

#include "sink/relmap.h"

/*
 * The partition here that provably holds the same rows as the one that was
 * truncated, locked in ACCESS EXCLUSIVE mode; invalid when there is none.
 */
extern Oid	flo_part_lock(const FloTarget *target, const FloTruncated *truncated);

/*
 * Delete its rows from the target by the bounds they had at the source, as the
 * target's user; needs an SPI connection.  Throws 55000, with the reason, when
 * it cannot be told here which rows these are.
 */
extern void flo_part_delete(const FloTarget *target, const FloTruncated *truncated);

#endif
