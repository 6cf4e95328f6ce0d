/*
 * naming.h
 *		Keeps the names of what was chosen, for dumps and for what is made anew.
 */
#ifndef FLO_NAMING_H
#define FLO_NAMING_H

#include "nodes/pg_list.h"

/*
 * What tables left out are called now, within the transaction that has renamed
 * them; of FloKnownReplicator *
 */
extern void flo_naming_follow_exceptions(const List *replicators);

/*
 * At the end of a transaction that has changed these relations, perhaps schemas; of
 * FloKnownReplicator *
 */
extern void flo_naming_follow(const List *replicators, const List *relations, bool schemas);

#endif
