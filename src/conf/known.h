/*
 * known.h
 *		The replicators of this database, as a session remembers them.
 */
#ifndef FLO_KNOWN_H
#define FLO_KNOWN_H

#include "conf/store.h"

typedef struct FloKnownReplicator
{
	FloReplicatorSpec *spec;
	FloTableChoice *choice;
	List	   *astray;			/* OIDs of tables left out for their
								 * identities */
	List	   *requested;		/* OIDs of tables whose copies are still to
								 * come */
	bool		ours;			/* not restored or cloned from elsewhere */
} FloKnownReplicator;

/*
 * List of FloKnownReplicator *, NIL where the extension is not installed.  As
 * committed when the last lock was taken, whatever snapshot the transaction
 * reads with, and with its own changes; lives to the end of the transaction.
 */
extern List *flo_known_replicators(void);

#endif
