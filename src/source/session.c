/*
 * session.c
 *		Begins a publishing session.
 *
 * The stream, not the slot, says what has been published: the newest chunk
 * that counts carries the position to go on from.  Before that position is
 * believed it must be shown to be ours: same system, same generation of the
 * slot, a timeline in this server's history, and WAL that still reads the
 * same at the anchor.  PROTOCOL rules 3, 5, 7-11, 15.
 */
#include "postgres.h"

#include "access/timeline.h"
#include "access/xlog.h"
#include "core/text.h"
#include "monitor/state.h"
#include "source/session.h"
#include "source/slots.h"
#include "source/wal.h"
#include "utils/builtins.h"
#include "utils/uuid.h"
#include "wire/squeeze.h"

void
flo_session_read_end(FloBus *bus, const char *stream, const FloStreamInfo *info,
					 FloStreamEnd *end)
{
	FloChunkHeader headers[FLO_WINDOW + 1];
	int			count = 0;

	memset(end, 0, sizeof(*end));
	for (uint64 seq = info->last_seq;
		 info->messages > 0 && seq >= info->first_seq && count <= FLO_WINDOW; seq--)
	{
		FloStoredMessage message;
		const char *reason;

		if (!flo_stream_get(bus, stream, seq, &message))
			continue;
		reason = flo_chunk_open_own(&message.data, &message.len, &headers[count]);
		if (reason == NULL)
			count++;
		else
			ereport(WARNING,
					(errmsg("message " UINT64_FORMAT " of stream \"%s\" is passed over: %s",
							seq, stream, reason)));
		pfree(message.data);
	}

	/* oldest first: the newest that counts is the last of the highest epoch */
	for (int i = count - 1; i >= 0; i--)
	{
		if (headers[i].epoch < end->highest_epoch)
			continue;
		end->highest_epoch = headers[i].epoch;
		end->newest = headers[i];
		end->found = true;
	}
}

FloDispute *
flo_dispute(bool removable, const char *hint, const char *format,...)
{
	FloDispute *dispute = palloc0(sizeof(FloDispute));
	StringInfoData text;
	va_list		args;

	initStringInfo(&text);
	for (;;)
	{
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	dispute->message = text.data;
	dispute->hint = hint;
	dispute->sqlstate = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	dispute->removable = removable;
	return dispute;
}

FloDispute *
flo_session_dispute_system(const FloChunkHeader *newest, const FloChunkHeader *identity)
{
	if (newest->system_identifier == identity->system_identifier)
		return NULL;
	return flo_dispute(false, "Two groups of one name need two NATS accounts. What is there can be removed in that cluster.",
					   "the stream is owned by another source: system " UINT64_FORMAT " instead of " UINT64_FORMAT,
					   newest->system_identifier, identity->system_identifier);
}

/* Whose generation is it?  "earlier": one before this one. */
static FloDispute *
dispute_generation(const FloChunkHeader *newest, const FloChunkHeader *identity,
				   const FloGeneration *generation, bool *earlier)
{
	char	   *id = flo_text_of_uuid(&newest->generation);
	FloDispute *dispute = flo_session_dispute_system(newest, identity);
	ListCell   *cell;

	*earlier = false;
	if (dispute != NULL)
		return dispute;
	if (generation == NULL)
		return flo_dispute(true, "Remove it with flo.drop_replicator(..., purge_stream => true) where it is no longer needed, or use another group name.",
						   "the stream is of another generation, owned by an earlier group of this name");
	if (memcmp(&newest->generation, &generation->id, sizeof(pg_uuid_t)) == 0)
		return NULL;
	foreach(cell, generation->follows)
		* earlier |= strcmp(lfirst(cell), id) == 0;
	if (*earlier)
		return NULL;
	return flo_dispute(true, "This server was restored to a state before flo.resync(), which leads out once more; or it is the stream of an earlier group of this name.",
					   "the stream is owned by another generation of this group: %s instead of %s",
					   id, flo_text_of_uuid(&generation->id));
}

/* Was the chunk published by a server whose history is ours? */
static FloDispute *
dispute_history(const FloChunkHeader *newest, const FloChunkHeader *identity)
{
	static const char *const hint =
		"This server was restored, cloned or promoted without all that had been published; flo.resync() starts a new generation.";
	XLogRecPtr	resume = newest->position;
	XLogRecPtr	flushed = GetFlushRecPtr(NULL);

	if (resume > flushed)
		return flo_dispute(false, hint, "history diverged: published up to %X/%X, but this server has WAL up to %X/%X only",
						   LSN_FORMAT_ARGS(resume), LSN_FORMAT_ARGS(flushed));
	if (newest->timeline != identity->timeline)
	{
		List	   *history = readTimeLineHistory(identity->timeline);

		if (!tliInHistory(newest->timeline, history) ||
			tliSwitchPoint(newest->timeline, history, NULL) < resume)
			return flo_dispute(false, hint, "history diverged: published up to %X/%X on timeline %u, which this server left earlier",
							   LSN_FORMAT_ARGS(resume), newest->timeline);
	}
	if (!XLogRecPtrIsInvalid(newest->anchor_lsn) &&
		flo_wal_check_anchor(newest->anchor_lsn, newest->anchor_crc) == FLO_ANCHOR_DIFFERS)
		return flo_dispute(false, hint,
						   "history diverged at %X/%X: the WAL there is not what was published",
						   LSN_FORMAT_ARGS(newest->anchor_lsn));
	return NULL;
}

FloDispute *
flo_session_dispute(const FloStreamEnd *end, const FloChunkHeader *identity,
					const FloGeneration *generation, bool *earlier)
{
	FloDispute *dispute = dispute_generation(&end->newest, identity, generation, earlier);
	FloDispute *history;

	if (dispute != NULL && !dispute->removable)
		return dispute;
	if (dispute == NULL && end->highest_epoch > generation->epoch)
	{
		dispute = flo_dispute(false, "Only one copy of a source may run its groups: set pg_flo.enabled to off on a clone.",
							  "another replicator publishes to the stream: its session is " UINT64_FORMAT ", the last one here was " UINT64_FORMAT,
							  end->highest_epoch, generation->epoch);
		dispute->sqlstate = ERRCODE_OBJECT_IN_USE;
		return dispute;
	}
	if (*earlier)
		return NULL;

	/* of an earlier group here: unless this is a copy of where that is */
	history = dispute_history(&end->newest, identity);
	if (dispute != NULL && history != NULL)
		dispute->removable = false;
	return dispute != NULL ? dispute : history;
}

void
flo_dispute_fail(const FloDispute *dispute)
{
	flo_fail(dispute->sqlstate, dispute->hint, "%s", dispute->message);
}

bool
flo_session_check(const FloStreamEnd *end, const FloChunkHeader *identity,
				  const FloGeneration *generation)
{
	FloDispute *dispute;
	bool		earlier = false;

	if (!end->found)
		return false;
	dispute = flo_session_dispute(end, identity, generation, &earlier);
	if (dispute != NULL)
		flo_dispute_fail(dispute);
	return earlier;
}

XLogRecPtr
flo_session_check_slot(const char *name)
{
	FloSlotInfo slot;

	flo_slot_info(name, &slot);
	if (!slot.exists)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "It was dropped, or this server was promoted without it: flo.resync() starts a new generation.",
				 "lost slot: replication slot \"%s\" does not exist any more", name);
	if (slot.idle_too_long)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "See idle_replication_slot_timeout; flo.resync() starts a new generation.",
				 "lost slot: the server has invalidated replication slot \"%s\", which was not used for longer than idle_replication_slot_timeout",
				 name);
	if (slot.invalidated)
		flo_fail(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "See max_slot_wal_keep_size; flo.resync() starts a new generation.",
				 "lost slot: the server has removed WAL that replication slot \"%s\" needs", name);
	return slot.confirmed_flush;
}

static void
fail_gap(FloRetention *retention, XLogRecPtr published, XLogRecPtr confirmed_flush)
{
	const FloWorkerReport *lacks = flo_retention_lacks(retention, confirmed_flush);

	flo_fail(ERRCODE_DATA_CORRUPTED,
			 "Restore a newer backup of the broker, or flo.drop_consumer() a worker that is no more (flo.stream_status() has its name), then flo.start_group(). Otherwise flo.resync() starts a new generation.",
			 "gap: the stream ends at %X/%X, transactions up to %X/%X are lost, and %s",
			 LSN_FORMAT_ARGS(published), LSN_FORMAT_ARGS(confirmed_flush),
			 lacks == NULL ? "no worker has registered yet" :
			 psprintf("worker \"%s\" of database \"%s\" lacks them", lacks->worker, lacks->database));
}

void
flo_session_begin(const FloStreamInfo *info, const FloStreamEnd *end,
				  const FloChunkHeader *identity, uint64 recorded_epoch,
				  XLogRecPtr confirmed_flush, FloRetention *retention, FloSession *session)
{
	XLogRecPtr	published = identity->generation_start;
	XLogRecPtr	from = identity->generation_start;

	if (end->found)
	{
		published = end->newest.position;
		from = end->newest.upto;
	}

	if (published < confirmed_flush)
	{
		if (!flo_retention_all_have(retention, confirmed_flush))
			fail_gap(retention, published, confirmed_flush);
		published = from = confirmed_flush;
	}
	session->first = !end->found;
	session->start = published;
	session->from = from;
	session->epoch = Max(recorded_epoch, end->highest_epoch) + 1;
	session->last_seq = info->last_seq;
}
