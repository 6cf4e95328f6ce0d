/*
 * joining.h
 *		Lets a table that a user's DDL has made or changed join a group that
 *		covers it.
 */
#ifndef FLO_JOINING_H
#define FLO_JOINING_H

#include "conf/choice.h"
#include "conf/store.h"

typedef struct FloJoin
{
	const FloReplicatorSpec *replicator;
	const FloTableOids *choice;
	const List *astray;			/* tables of it that are left out for their
								 * identities */
	const List *requested;		/* tables whose copies are still to come */
	bool		quiet;			/* what does not join was told of before */
} FloJoin;

/*
 * Never fails the user's statement: what cannot join is left out with a WARNING.
 * May be called again and again for the same table.
 */
extern void flo_join_look(const FloJoin *join, Oid relation);

#endif
