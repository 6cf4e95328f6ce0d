/*
 * loader.h
 *		Loads copied rows: the worker's side of it, and the helper processes.
 */
#ifndef FLO_LOADER_H
#define FLO_LOADER_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "core/process.h"

/* Entry point of a loader; returns when the copy is in */
extern void flo_loader_run(const FloProcessArgs *args);

/*
 * Have loaders take in the copy that a generation begins with, and return when
 * all of it is durable.  "generation" is the uuid as text, "report" is called
 * now and then.
 */
extern void flo_loader_receive(FloBus *bus, const FloWorkerSpec *spec, const char *consumer,
							   const char *generation, void (*report) (void *), void *arg);

#endif
