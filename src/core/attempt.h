/*
 * attempt.h
 *		Something that may fail, in a subtransaction.
 */
#ifndef FLO_ATTEMPT_H
#define FLO_ATTEMPT_H

#include "utils/elog.h"

/*
 * Runs it, in the current memory context.  NULL when it has run: its effects stay
 * if "keep".  Else its error, likewise allocated, and nothing of it is left; the
 * caller throws what is none of his with ReThrowError().  Works also while WAL is
 * decoded.  Locks are given back when it fails, and unless "keep".
 */
extern ErrorData *flo_attempt(void (*run) (void *arg), void *arg, bool keep);

/*
 * For who runs in it: what deferred constraints would say at the commit, now.  They are not
 * deferred any more in this transaction.
 */
extern void flo_attempt_constraints(void);

/*
 * The same in a transaction of its own, between transactions: it has a snapshot, and
 * its commit is as durable as synchronous_commit = on has it.
 */
extern ErrorData *flo_attempt_transaction(void (*run) (void *arg), void *arg);

/* Something that may fail, in a callback of a process that exits; an error is forgotten */
extern void flo_attempt_at_exit(void (*run) (void *arg), void *arg);

#endif
