/*
 * failure.h
 *		What is said of an attempt to connect to NATS that has failed.
 */
#ifndef FLO_BUS_FAILURE_H
#define FLO_BUS_FAILURE_H

#include "bus/bus_impl.h"
#include "monitor/state.h"

/* Blot out all occurrences of a secret */
extern void flo_bus_blot(char *text, const char *secret);

/* Words of the library or the broker, without what must not be shown; palloc'd */
extern char *flo_bus_clean_words(const char *words);

/*
 * Does the status say that we could not connect, for a reason that may go away by
 * itself?  Then with which words, palloc'd, and what is to be done.
 */
extern bool flo_bus_describe_attempt(FloNatsStatus status, const char *words, FloFailure *failure);

#endif
