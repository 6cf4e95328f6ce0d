/*
 * copy_definitions.h
 *		Puts the definitions that came with a copy into flo.copied_objects.
 */
#ifndef FLO_COPY_DEFINITIONS_H
#define FLO_COPY_DEFINITIONS_H

#include "dest/copy_receive.h"

/* Those of a snapshot, unless they are there, from under this key; in a transaction */
extern void flo_definitions_take(const FloReception *what, const char *key, uint32 attempt);

/* Have any of this generation been? */
extern bool flo_definitions_taken(const FloWorkerSpec *spec, const char *generation);

#endif
