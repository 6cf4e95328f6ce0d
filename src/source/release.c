/*
 * release.c
 *		What the slot lets go of, and from where the next process reads.
 *
 * The slot is confirmed at what nobody needs any more.  WAL is read from its
 * restart_lsn, which lies further back: it moves to a record that lists the running
 * transactions, or to the last such record before the oldest transaction that was open
 * there, when that was decoded and then confirmed.  The server writes one every fifteen
 * seconds at most, so under load hundreds of megabytes lie between two.  All of it would
 * be read again by a process that has nothing to publish, so such a record is written
 * here when that is worth it.
 *
 * Never in vain: one is pending at most, half of pg_flo.restart_distance was read since
 * the last one, and no transaction that has been open since before that holds the slot
 * where it is.  So a server where nothing happens writes none.
 *
 * A process that is told to stop has one more written, and its workers say at once
 * how far they are: what they have is confirmed.  That takes milliseconds, and no
 * longer than SETTLE_TIME when a worker does not answer.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/settings.h"
#include "source/presence.h"
#include "source/release.h"
#include "source/reports.h"
#include "source/slots.h"
#include "storage/standby.h"
#include "utils/timestamp.h"

/* ms between two saves of the slot to disk, each an fsync */
#define SLOT_SAVE_INTERVAL 10000

/*
 * ms that an orderly stop may take for it; the second where a transaction holds the
 * slot, or no worker has said a word for so long that none will now
 */
#define SETTLE_TIME 1000
#define SETTLE_TIME_SHORT 100
#define WORKERS_SILENT 10000

/* Bytes that are read again in a moment: not worth a record, nor a pause, at a stop */
#define SETTLED_DISTANCE (256 * 1024)

/* ms: who had nothing left to publish so long ago is not up to date */
#define UP_TO_DATE 1000

static uint64
restart_distance(void)
{
	return (uint64) flo_restart_distance * 1024 * 1024;
}

/* Would the slot move further than so many bytes, were a record read here? */
static bool
record_helps(Replicator *rep, uint64 bytes)
{
	XLogRecPtr	restart = flo_slot_restart();
	XLogRecPtr	possible = flo_decoder_possible_restart(rep->decoder);

	return possible > restart && possible - restart > bytes;
}

/*
 * What is open at a record began after the one before, mostly: then it is the next one
 * that moves the slot, to this.
 */
static bool
record_is_due(Replicator *rep, XLogRecPtr confirmed)
{
	XLogRecPtr	newest = flo_decoder_newest_restart(rep->decoder);

	return confirmed > flo_slot_restart() + restart_distance() &&
		!flo_slot_restart_pending() &&
		flo_decoder_position(rep->decoder) >=
		Max(newest, rep->running_logged) + restart_distance() / 2 &&
		(record_helps(rep, 0) || flo_decoder_possible_restart(rep->decoder) >= newest);
}

static XLogRecPtr
confirm(Replicator *rep, bool save)
{
	XLogRecPtr	lsn = Min(flo_retention_confirmable(rep->retention, rep->spec->options.release_wal),
						  rep->published);

	save |= flo_clock_passed(rep->slot_saved, SLOT_SAVE_INTERVAL);
	save &= lsn > rep->slot_saved_lsn;
	if (!XLogRecPtrIsInvalid(lsn))
	{
		flo_injection_point("confirm.before");
		flo_decoder_confirm(rep->decoder, lsn, save);
		flo_injection_point("confirm.after");
	}
	if (save)
	{
		rep->slot_saved = flo_clock();
		rep->slot_saved_lsn = lsn;
	}
	return lsn;
}

void
flo_release_wal(Replicator *rep)
{
	if (record_is_due(rep, confirm(rep, false)))
		rep->running_logged = LogStandbySnapshot();
}

/* --- an orderly stop ----------------------------------------------------- */

static bool
is_out_of_time(Replicator *rep)
{
	FloClock	heard = flo_retention_heard(rep->retention);
	bool		alone = heard == 0 || flo_clock_passed(heard, WORKERS_SILENT);

	return flo_clock_passed(rep->settling, alone ? SETTLE_TIME_SHORT : SETTLE_TIME);
}

static bool
up_to_date(Replicator *rep)
{
	return !TimestampDifferenceExceeds(rep->caught_up.at, GetCurrentTimestamp(), UP_TO_DATE);
}

/* Nothing left to be gained: the slot has moved, or cannot */
static bool
has_settled(Replicator *rep)
{
	XLogRecPtr	read = flo_decoder_position(rep->decoder);

	if (read <= flo_slot_restart() + SETTLED_DISTANCE || !up_to_date(rep) ||
		is_out_of_time(rep))
		return true;
	if (flo_slot_restart_pending())
		return false;			/* until that is confirmed, another one would
								 * be passed over */
	if (read < rep->settle_lsn)
		return false;

	/* what is open may be over in a moment, as the scanner's with this news */
	if (!record_helps(rep, SETTLED_DISTANCE))
		return flo_clock_passed(rep->settling, SETTLE_TIME_SHORT);
	rep->settle_lsn = LogStandbySnapshot();
	XLogFlush(rep->settle_lsn);
	return false;
}

bool
flo_release_settled(Replicator *rep)
{
	bool		settled;

	if (rep->settling == 0)
	{
		rep->settling = flo_clock();
		flo_presence_tell(rep);
	}
	rep->key_removed |= flo_reports_take(rep->bus, rep->bucket, rep->retention);
	(void) confirm(rep, false);
	settled = has_settled(rep);
	if (settled)
		(void) confirm(rep, true);
	return settled;
}
