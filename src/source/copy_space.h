/*
 * copy_space.h
 *		Room in the copy stream, shared out among the copiers.
 */
#ifndef FLO_COPY_SPACE_H
#define FLO_COPY_SPACE_H

#include "postgres_ext.h"
#include "storage/spin.h"

/* More copiers than this are not started: see the argument copy_workers */
#define FLO_MAX_COPIERS 64

/* In the plan, which is shared memory; all of it guarded by the mutex */
typedef struct FloCopySpace
{
	slock_t		mutex;
	uint64		limit;			/* bytes the stream may hold; 0 = any */
	uint64		promised;		/* bytes that copiers have taken for
								 * themselves, ever */
	uint64		arrived;		/* of these, acknowledged or given back */
	uint64		pending[FLO_MAX_COPIERS];	/* promised and not arrived, by
											 * copier */
	bool		wanted;			/* a copier waits */
	bool		refused;		/* the broker had no room for a chunk */
	char		words[64];		/* and said so */
	uint64		largest;		/* what one row needs and will never get; 0 =
								 * none */
	Oid			relation;		/* its table */

	/* the leader's last look at the broker */
	uint64		stored;			/* bytes there */
	uint64		room;			/* and how many more the account has for it */
	uint64		arrived_then;	/* "arrived" just before it */
} FloCopySpace;

extern void flo_space_init(FloCopySpace *space);

/*
 * For a copier: take room for all of something.  False when there is none now;
 * what can be had in part only would keep others, and itself, waiting for ever.
 */
extern bool flo_space_take(FloCopySpace *space, int copier, uint64 bytes, Oid relation);

/* Part of it is acknowledged, or was not used */
extern void flo_space_arrived(FloCopySpace *space, int copier, uint64 bytes);

/* The broker has less room than that, and said so */
extern void flo_space_refused(FloCopySpace *space, const char *words);

/* --- for the leader ------------------------------------------------------ */

/* A copier has ended: what it had not sent never comes */
extern void flo_space_copier_ended(FloCopySpace *space, int copier);

/* The limit, as it may have been changed */
extern void flo_space_set_limit(FloCopySpace *space, uint64 limit);

/* Around a look at the broker: what it finds includes all that had arrived before */
extern uint64 flo_space_before_look(FloCopySpace *space);
extern void flo_space_looked(FloCopySpace *space, uint64 arrived_before, uint64 stored,
							 uint64 room);

/*
 * Has the broker refused a chunk since this was asked last?  "words": its own,
 * of sizeof(space->words) bytes
 */
extern bool flo_space_was_refused(FloCopySpace *space, char *words);

/*
 * Has a copier waited since this was asked last?  "largest" and "relation":
 * for a row that does not fit at all, or 0
 */
extern bool flo_space_is_wanted(FloCopySpace *space, uint64 *largest, Oid *relation);

#endif
