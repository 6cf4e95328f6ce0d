/*
 * copy_schema_dump.h
 *		Publishes the definitions of a group's tables and of what they need.
 */
#ifndef FLO_COPY_SCHEMA_DUMP_H
#define FLO_COPY_SCHEMA_DUMP_H

#include "bus/bus.h"
#include "conf/spec.h"
#include "core/process.h"

/*
 * Have pg_dump write the definitions as an exported snapshot sees them, of
 * "tables" (OIDs; NIL: of the whole group), and put them into the state bucket
 * for a generation (a uuid as text) and an attempt.  With "only_missing" they
 * are not to be compared with what exists at the destination.  Needs a
 * transaction with that snapshot active; the process works for the member that
 * "args" names, and leaves with it.
 */
extern void flo_schema_publish(FloBus *bus, const FloReplicatorSpec *spec, const char *key,
							   const char *generation, uint32 attempt, List *tables,
							   bool only_missing, const char *snapshot, const FloProcessArgs *args);

#endif
