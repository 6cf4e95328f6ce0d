/*
 * generation.h
 *		Which life of its slot a replicator is in, and how one begins.
 */
#ifndef FLO_GENERATION_H
#define FLO_GENERATION_H

#include "source/copy_control.h"
#include "source/session.h"

/*
 * The generation recorded, or a new one: at the first start of a group, and when
 * flo.resync() asks for it.  Goes on with, or begins, the copy that comes with
 * it.  Waits for write transactions that are open; may fail for good (flo_fail).
 */
extern FloGeneration *flo_generation_find(FloCopyControl *copy, const FloReplicatorSpec *spec,
										  FloGeneration *recorded);

/* The one recorded, NULL when the group has never begun */
extern FloGeneration *flo_generation_load(const char *group);

/* One that was begun by flo.resync() does not: it asks for copies of tables */
extern bool flo_generation_begins_with_copy(const FloGeneration *generation,
											const FloReplicatorSpec *spec);

/* Durable before it returns: what is published next relies on it */
extern void flo_generation_save_epoch(const char *group, uint64 epoch);

/*
 * What is in the stream is of an earlier generation, whose LSNs must not be
 * compared with the new one's.  *info and *end become those of an empty stream.
 */
extern void flo_generation_empty_stream(FloBus *bus, const char *stream,
										FloStreamInfo *info, FloStreamEnd *end);

/* Before the first chunk of a generation that follows others: tell workers that they may */
extern void flo_generation_announce(FloCopyControl *copy, const FloReplicatorSpec *spec);
extern bool flo_generation_is_announced(const FloCopyControl *copy);

#endif
