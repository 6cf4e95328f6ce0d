/*
 * before.h
 *		Tables as they were when the transaction began.
 *
 * Holds for tables that the transaction has locked against changes by others.
 */
#ifndef FLO_BEFORE_H
#define FLO_BEFORE_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

extern Snapshot flo_before_begin(void);
extern void flo_before_end(Snapshot before);

/* Was the table in the publication? */
extern bool flo_before_listed(Snapshot before, Oid publication, Oid relation);

/* Was it, or a partitioned table above it, one of these? */
extern bool flo_before_below(Snapshot before, const List *tables, Oid relation);

/* Did changes of the table travel, as its own or as those of a partitioned table above it? */
typedef enum FloTravelled
{
	FLO_TRAVELLED_NOT,
	FLO_TRAVELLED_ONCE,			/* a DETACH CONCURRENTLY was under way: not
								 * its newest ones */
	FLO_TRAVELLED_ALL
} FloTravelled;

extern FloTravelled flo_before_travelled(Snapshot before, Oid publication, Oid relation);

#endif
