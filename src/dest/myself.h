/*
 * myself.h
 *		What a worker is told to do, read outside of transactions.
 */
#ifndef FLO_MYSELF_H
#define FLO_MYSELF_H

#include "conf/spec.h"

/* NULL when the worker is no more; in the current memory context, as all here */
extern FloWorkerSpec *flo_my_spec(const char *group, const char *worker);
extern char *flo_my_database(void);

extern bool flo_same_options(const FloWorkerOptions *a, const FloWorkerOptions *b);

#endif
