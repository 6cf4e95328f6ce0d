/*
 * schema_apply.h
 *		Creates what the source's tables are made of, before and after the copy.
 */
#ifndef FLO_SCHEMA_APPLY_H
#define FLO_SCHEMA_APPLY_H

#include "bus/bus.h"
#include "conf/spec.h"

/*
 * Take the definitions that the source has published for a generation (none:
 * nothing happens) and create what rows need, in one transaction.
 */
extern void flo_schema_create_before(FloBus *bus, const FloWorkerSpec *spec, const char *generation);

/*
 * Rows are in: indexes, constraints, triggers; each in a transaction of its
 * own.  Unless the rows are "complete", foreign keys are left for another call.
 */
extern void flo_schema_create_after(const FloWorkerSpec *spec, bool complete);

#endif
