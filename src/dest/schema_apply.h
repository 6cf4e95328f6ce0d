/*
 * schema_apply.h
 *		Creates what the source's tables are made of, before and after the copy.
 */
#ifndef FLO_SCHEMA_APPLY_H
#define FLO_SCHEMA_APPLY_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "core/process.h"

/*
 * Take the definitions that the source has published for a snapshot of a
 * generation, under this key, and create what rows need, in one transaction.
 */
extern void flo_schema_create_before(FloBus *bus, const FloWorkerSpec *spec, const char *key,
									 const char *generation, uint32 attempt);

/*
 * All rows are in: indexes, constraints, triggers; each in a transaction of its
 * own, those of different tables by several processes.  Unless the rows of all
 * tables are, foreign keys are left for another call.
 */
extern void flo_schema_create_after(const FloWorkerSpec *spec, bool complete);

/* Entry point of such a process; returns when no table is left */
extern void flo_schema_builder_run(const FloProcessArgs *args);

#endif
