/*
 * caches.c
 *		What the server's caches of catalogs hold: what is now, or what was.
 *
 * A process that decodes WAL has catalogs of two times before it.  A row of the past is
 * read by its table as that was then, a table of ours is written as it is now, and both
 * are looked up in the same caches, whose entries do not tell of which time they are.
 * The server drops what has changed when it hears of it, which is once now and once when
 * the change is decoded: what was put there between the two for one time would be used
 * for the other.  Rows would be read by columns that are yet to come, or ours be written
 * to a file that has been replaced.  So all is dropped whenever such a process turns from
 * one to the other, as the server's own functions for decoding do it.
 *
 * Awkward: dropping calls everybody back who wants to know of changes.  Who takes that
 * as a reason to look at something has to ask whether it is one, or looking would
 * follow upon looking for ever.  News that arrives while all is dropped looks like that
 * to whoever asks, so it is counted, and all is dropped once more for it.
 */
#include "postgres.h"

#include "core/caches.h"
#include "storage/sinval.h"
#include "utils/inval.h"

static FloTimes held = FLO_NOW;
static bool forgetting = false;

void
flo_caches_forget(void)
{
	uint64		heard = SharedInvalidMessageCounter;

	forgetting = true;
	PG_TRY();
	{
		InvalidateSystemCaches();
	}
	PG_FINALLY();
	{
		forgetting = false;
	}
	PG_END_TRY();
	if (SharedInvalidMessageCounter != heard)
		InvalidateSystemCaches();
	held = FLO_NO_TIME;
}

bool
flo_caches_turn_to(FloTimes times)
{
	if (held == times)
		return false;
	if (held != FLO_NO_TIME)
		flo_caches_forget();
	held = times;
	return true;
}

bool
flo_caches_forgotten(void)
{
	return forgetting;
}
