/*
 * loader.h
 *		Loads copied rows: the worker's side of it, and the helper processes.
 */
#ifndef FLO_LOADER_H
#define FLO_LOADER_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "core/process.h"
#include "nodes/pg_list.h"

/* Entry point of a loader; returns when the copy is in */
extern void flo_loader_run(const FloProcessArgs *args);

/*
 * Have loaders take in the copy that a generation begins with, or with "keys"
 * (a List of FloCopyKey *) the tables that a marker names; return when all of
 * it is durable, or false when the source has given up that snapshot for a
 * newer one.  Only rows of snapshot "attempt" are taken, with 0 of any.
 * "generation" is the uuid as text, "report" is called now and then.
 */
extern bool flo_loader_receive(FloBus *bus, const FloWorkerSpec *spec, const char *consumer,
							   const char *generation, List *keys, uint32 attempt,
							   void (*report) (void *), void *arg);

/* The newest snapshot that the source has begun for a marker; 0 = none */
extern uint32 flo_loader_newest(FloBus *bus, const char *group, const char *generation);

/* The sequence of the copy stream up to which everything is durable, as far as is known */
extern uint64 flo_loader_floor(void);

#endif
