/*
 * copy_sequences.h
 *		Where the source's sequences are.
 */
#ifndef FLO_COPY_SEQUENCES_H
#define FLO_COPY_SEQUENCES_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "dest/table_filter.h"
#include "dest/worker_rules.h"

/*
 * Set sequences as a message says; none goes back.  Only those that a table owns
 * or uses in a default which rows of the group go to here, as their owner; others
 * are told of in the log.  Needs an open transaction.  08P01 for anything that is
 * no such message, 42501 when the worker's owner must not act for a sequence's
 * owner, 22003 for a value beyond a sequence's bounds.
 */
extern void flo_sequences_set(const FloWorkerSpec *spec, FloWorkerRules *rules,
							  FloTableFilter *tables, const char *message, int len);

/* The same with the values that came with the copy, in a transaction of its own */
extern void flo_sequences_take(FloBus *bus, const FloWorkerSpec *spec, const char *generation);

#endif
