/*
 * ownership.h
 *		May this database do what it likes with a group's stream, copy stream and
 *		state bucket?
 */
#ifndef FLO_OWNERSHIP_H
#define FLO_OWNERSHIP_H

#include "bus/owner.h"
#include "bus/stream.h"
#include "conf/spec.h"
#include "source/session.h"

/* What a database holds to be its own */
typedef struct FloClaim
{
	const char *group;
	FloOwner	owner;			/* this database */
	const FloGeneration *generation;	/* of its replicator; NULL = it has
										 * none, or that never began */
} FloClaim;

/* This database, by name and OID; in a transaction */
extern FloOwner flo_ownership_here(void);

/*
 * NULL, or why something there is not this database's: it is recorded as another
 * one's, what was published is, or another copy of this database goes on
 * with it.  With a dispute that is "removable" it is of an earlier group here.
 */
extern FloDispute *flo_ownership_dispute(FloBus *bus, const FloClaim *claim);

/*
 * NULL, or that another copy of this database publishes, which shows by what it
 * says of itself, or may do so: for a caller that has stopped its own replicator.
 * Takes as long as such a one may be silent, 6.5 s at most, unless the last one has
 * said that it ends.
 */
extern FloDispute *flo_ownership_living_copy(FloBus *bus, const char *group);

/* Descriptions that record this database as the owner */
extern char *flo_ownership_of_stream(const FloClaim *claim);
extern char *flo_ownership_of_copy(const FloClaim *claim);
extern char *flo_ownership_of_bucket(const FloClaim *claim);

/*
 * This database's claim to a group as JSON, for an operation of an agent; in a
 * transaction.  And back.
 */
extern char *flo_ownership_claim(const char *group);
extern FloClaim flo_ownership_parse(FloJson json);

#endif
