/*
 * lock.h
 *		Locks on what applications use, taken without standing in their way.
 *
 * Who waits for a lock holds up everybody who comes after him and wants a
 * weaker one, and waits himself as long as some idle transaction likes; who has
 * one of two and waits for the other holds up others with the first.  So all
 * locks that a call needs are tried at once, again and again, with nothing held
 * and nobody behind us in between, and given up after some seconds (or
 * lock_timeout, when that is less): 55P03, with the processes that hold what is
 * lacking.  An autovacuum makes room.  Once had they are kept to the end of the transaction.
 */
#ifndef FLO_LOCK_H
#define FLO_LOCK_H

#include "nodes/pg_list.h"
#include "storage/lock.h"

/* The list with one more wish; "what" names an object that is no relation in the error */
extern List *flo_lock_wish_relation(List *wishes, Oid relation, LOCKMODE mode);
extern List *flo_lock_wish_object(List *wishes, Oid class, Oid object, LOCKMODE mode, char *what);

extern void flo_lock_all(const List *wishes);

/*
 * What is written to all the time is never free of everybody at once: then nobody
 * gets on without waiting in the queue, and holding up who comes after him.  Locks
 * relations (OIDs), half a second at a time at most, and lets go of all in between; the
 * one that could not be had comes first then.  Gives up after "patience" ms (or
 * lock_timeout, when that is less): 55P03.  An autovacuum makes room, and a
 * deadlock is an attempt of ours that has failed, not anybody else's.  Whether relations
 * are there still the caller looks.
 */
extern void flo_lock_queue(const List *relations, LOCKMODE mode, int patience);

/* Does that process wait for a lock of ours, or for somebody who does?  And does anybody? */
extern bool flo_lock_waits_for_us(int pid);
extern bool flo_lock_anybody_waits(void);

#endif
