/*
 * definitions.h
 *		Tells destinations, through the state bucket, what the group's tables look
 *		like.
 */
#ifndef FLO_DEFINITIONS_H
#define FLO_DEFINITIONS_H

#include "bus/bus.h"
#include "conf/spec.h"

typedef struct FloDefinitions FloDefinitions;

/* In the current memory context; from here on changes of tables are noticed */
extern FloDefinitions *flo_definitions_create(const char *bucket);

/* Also what comes with the tables may be other from here on: look at all of them */
extern void flo_definitions_look_at_all(FloDefinitions *definitions);

/* Somebody, maybe we, has removed a key from the bucket */
extern void flo_definitions_removed(const char *key);

/*
 * Put what has changed into the bucket, if something has and it was not looked at a
 * moment ago; who is "busy" does so after some seconds only.  Not in a transaction.
 * What the broker has no room for is tried again.
 */
extern void flo_definitions_publish(FloDefinitions *definitions, FloBus *bus,
									const FloReplicatorSpec *spec, bool busy);

#endif
