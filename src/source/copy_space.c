/*
 * copy_space.c
 *		Room in the copy stream, shared out among the copiers.
 *
 * A row larger than a chunk is published in pieces, and can be loaded, and its
 * pieces removed, only when all are there.  Were copiers to publish such rows as
 * room comes, a few halves of rows could fill the stream for ever.  So a copier
 * takes room for the whole row before its first piece, and all chunks take room:
 * what has been begun can always be finished, what is finished is loaded, and
 * what is loaded makes room.  Only a row that is larger than the stream waits
 * without end, and is named.
 *
 * What is taken is counted exactly.  The bytes at the broker are what the last
 * look found, plus at most all that was promised since and had not arrived
 * before that look.  In an account with a limit they leave room to others; only
 * what has the stream for itself is tried whatever there is.
 */
#include "postgres.h"

#include "source/copy_space.h"

void
flo_space_init(FloCopySpace *space)
{
	memset(space, 0, sizeof(*space));
	space->room = PG_UINT64_MAX;
	SpinLockInit(&space->mutex);
}

bool
flo_space_take(FloCopySpace *space, int copier, uint64 bytes, Oid relation)
{
	uint64		coming;
	bool		taken;

	SpinLockAcquire(&space->mutex);
	coming = space->promised - space->arrived_then;
	taken = (space->limit == 0 || space->stored + coming + bytes <= space->limit) &&
		(coming + bytes <= space->room || space->stored + coming == 0);
	if (taken)
	{
		space->promised += bytes;
		space->pending[copier] += bytes;
	}
	else
	{
		space->wanted = true;
		if (space->limit > 0 && bytes > space->limit && bytes > space->largest)
		{
			space->largest = bytes;
			space->relation = relation;
		}
	}
	SpinLockRelease(&space->mutex);
	return taken;
}

static void
arrived(FloCopySpace *space, int copier, uint64 bytes)
{
	bytes = Min(bytes, space->pending[copier]);
	space->pending[copier] -= bytes;
	space->arrived += bytes;
}

void
flo_space_arrived(FloCopySpace *space, int copier, uint64 bytes)
{
	SpinLockAcquire(&space->mutex);
	arrived(space, copier, bytes);
	SpinLockRelease(&space->mutex);
}

void
flo_space_refused(FloCopySpace *space, const char *words)
{
	SpinLockAcquire(&space->mutex);
	space->refused = true;
	strlcpy(space->words, words, sizeof(space->words));
	SpinLockRelease(&space->mutex);
}

bool
flo_space_was_refused(FloCopySpace *space, char *words)
{
	bool		refused;

	SpinLockAcquire(&space->mutex);
	refused = space->refused;
	space->refused = false;
	strlcpy(words, space->words, sizeof(space->words));
	SpinLockRelease(&space->mutex);
	return refused;
}

void
flo_space_copier_ended(FloCopySpace *space, int copier)
{
	flo_space_arrived(space, copier, PG_UINT64_MAX);
}

void
flo_space_set_limit(FloCopySpace *space, uint64 limit)
{
	SpinLockAcquire(&space->mutex);
	space->limit = limit;
	if (limit == 0 || space->largest <= limit)
		space->largest = 0;
	SpinLockRelease(&space->mutex);
}

uint64
flo_space_before_look(FloCopySpace *space)
{
	uint64		result;

	SpinLockAcquire(&space->mutex);
	result = space->arrived;
	SpinLockRelease(&space->mutex);
	return result;
}

void
flo_space_looked(FloCopySpace *space, uint64 arrived_before, uint64 stored, uint64 room)
{
	SpinLockAcquire(&space->mutex);
	space->stored = stored;
	space->room = room;
	space->arrived_then = arrived_before;
	SpinLockRelease(&space->mutex);
}

bool
flo_space_is_wanted(FloCopySpace *space, uint64 *largest, Oid *relation)
{
	bool		wanted;

	SpinLockAcquire(&space->mutex);
	wanted = space->wanted;
	space->wanted = false;
	*largest = space->largest;
	*relation = space->relation;
	SpinLockRelease(&space->mutex);
	return wanted;
}
