/*
 * copy_schema_apply.h
 *		Creates what the source's tables are made of, before and after the copy.
 */
#ifndef FLO_COPY_SCHEMA_APPLY_H
#define FLO_COPY_SCHEMA_APPLY_H

#include "dest/copy_receive.h"

/*
 * Take the definitions that the source has published for a snapshot of a
 * generation, under this key, and create what rows need, in one transaction.
 * What a person has to decide on is waited for; false when the copy is to be
 * left meanwhile.  The same for the next one.
 */
extern bool flo_schema_create_before(const FloReception *what, const char *key, uint32 attempt);

/*
 * All rows are in: what indexes builders have left (copy_schema_build.h), constraints,
 * triggers; each in a transaction of its own.  Unless the rows of all tables are,
 * foreign keys are left for another call.
 */
extern bool flo_schema_create_after(const FloReception *what, bool complete);

#endif
