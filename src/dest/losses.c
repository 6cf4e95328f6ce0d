/*
 * losses.c
 *		How often a worker's place in the stream was lost at the broker.
 *
 * Two workers of one name would make the consumer anew, each for itself, for ever.  A
 * cluster that changes leaders loses the place likewise: another of its servers may
 * have more luck.
 */
#include "postgres.h"

#include "core/loop.h"
#include "dest/losses.h"
#include "monitor/state.h"

#define PAUSE 1000				/* ms */

static bool
is_too_often(FloClock *times)
{
	FloClock	oldest = times[FLO_MAX_LOSSES - 1];

	if (oldest != 0 && !flo_clock_passed(oldest, 60 * 1000))
		return true;
	memmove(&times[1], &times[0], sizeof(FloClock) * (FLO_MAX_LOSSES - 1));
	times[0] = flo_clock();
	return false;
}

void
flo_losses_taken(FloLosses *losses, const char *consumer, const char *stream)
{
	if (is_too_often(losses->taken))
		flo_fail(ERRCODE_OBJECT_IN_USE,
				 "A copy of this database is running too? Set pg_flo.enabled to off in the copy, or drop its worker.",
				 "another worker uses consumer \"%s\" of stream \"%s\"", consumer, stream);
}

void
flo_losses_lost(FloLosses *losses, const char *consumer, const char *stream)
{
	if (!is_too_often(losses->lost))
		return;
	flo_wait_means(FLO_WAIT_NATS);
	flo_wait(PGINVALID_SOCKET, false, PAUSE);
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_EXCEPTION),
			 errmsg("consumer \"%s\" of stream \"%s\" loses its place again and again", consumer,
					stream),
			 errhint("Look into the log of nats-server.")));
}
