/*
 * unpublished.c
 *		Since when something is committed here that a group has not published.
 *
 * A replicator knows that of what it has decoded.  One that waits for its broker,
 * has stopped or failed decodes nothing, but commits go on: then the first commit
 * record behind its position tells.  Each call reads a part of WAL only, and what
 * was found is kept, so that looking often costs little.
 *
 * Awkward: WAL may be removed while it is read, when the slot is lost; then what
 * was found before holds, or else the last moment at which nothing was left to
 * publish: something may be committed since.
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "core/clock.h"
#include "core/compat_slot.h"
#include "core/names.h"
#include "miscadmin.h"
#include "monitor/backlog.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "replication/origin.h"
#include "source/slots.h"
#include "source/unpublished.h"

/* What one call reads of WAL at most: bytes, and ms; some is read in any case */
#define READ_BYTES (16 * 1024 * 1024)
#define READ_TIME 50

/* What an earlier call or this one knows of the WAL behind a position */
typedef enum Answer
{
	NOTHING,					/* no commit up to the end of WAL */
	FOUND,
	UNKNOWN						/* there is more to read, or WAL is gone */
} Answer;

/* Non-blocking, and WAL that is not there is an answer, too */
static int
read_page(XLogReaderState *state, XLogRecPtr page, int wanted, XLogRecPtr record, char *into)
{
	bool	   *gone = state->private_data;
	TimeLineID	current;
	XLogRecPtr	limit = GetFlushRecPtr(&current);
	XLogSegNo	segment;
	WALReadError error;
	int			count;

	XLByteToSeg(page, segment, wal_segment_size);
	*gone = segment <= XLogGetLastRemovedSegno();
	if (*gone)
		return -1;
	XLogReadDetermineTimeline(state, page, wanted, current);
	if (state->currTLI != current)
		limit = state->currTLIValidUntil;
	if (page + wanted > limit)
		return -1;
	count = (int) Min((XLogRecPtr) XLOG_BLCKSZ, limit - page);
	*gone = !WALRead(state, into, page, count, state->currTLI, &error);
	return *gone ? -1 : count;
}

/* What logical decoding would read there: a catalog's rows have no such flag */
static bool
is_row_change(uint8 kind, const char *data)
{
	uint8		wanted = 0;
	uint8		flags = 0;

	switch (kind)
	{
		case XLOG_HEAP_TRUNCATE:
			return true;
		case XLOG_HEAP_INSERT:
			wanted = XLH_INSERT_CONTAINS_NEW_TUPLE;
			flags = ((const xl_heap_insert *) data)->flags;
			break;
		case XLOG_HEAP_UPDATE:
		case XLOG_HEAP_HOT_UPDATE:
			wanted = XLH_UPDATE_CONTAINS_NEW_TUPLE;
			flags = ((const xl_heap_update *) data)->flags;
			break;
		case XLOG_HEAP_DELETE:
			wanted = XLH_DELETE_CONTAINS_OLD;
			flags = ((const xl_heap_delete *) data)->flags;
			break;
	}
	return (flags & wanted) != 0;
}

/* Does the record change rows of a table that is no catalog, or hold a message? */
static bool
is_change(XLogReaderState *reader)
{
	const char *data = XLogRecGetData(reader);

	switch (XLogRecGetRmid(reader))
	{
		case RM_LOGICALMSG_ID:
			return true;
		case RM_HEAP2_ID:
			return (XLogRecGetInfo(reader) & XLOG_HEAP_OPMASK) == XLOG_HEAP2_MULTI_INSERT &&
				(((const xl_heap_multi_insert *) data)->flags & XLH_INSERT_CONTAINS_NEW_TUPLE);
		case RM_HEAP_ID:
			return is_row_change(XLogRecGetInfo(reader) & XLOG_HEAP_OPMASK, data);
	}
	return false;
}

static bool
has_changed(const FloBacklog *backlog, TransactionId xid)
{
	for (int i = 0; i < Min(backlog->nxids, FLO_BACKLOG_XIDS); i++)
		if (backlog->xids[i] == xid)
			return true;
	return backlog->nxids > FLO_BACKLOG_XIDS;
}

static void
note_change(FloBacklog *backlog, TransactionId xid)
{
	if (has_changed(backlog, xid))
		return;
	if (backlog->nxids < FLO_BACKLOG_XIDS)
		backlog->xids[backlog->nxids] = xid;
	backlog->nxids++;
}

/*
 * Did it change rows?  One that may have begun before what was read counts;
 * autovacuum, statistics and statements that only change catalogs do not.
 */
static bool
concerns(const FloBacklog *backlog, TransactionId next_xid, TransactionId xid,
		 const xl_xact_parsed_commit *commit)
{
	if (!TransactionIdIsValid(next_xid) || TransactionIdPrecedes(xid, next_xid) ||
		has_changed(backlog, xid))
		return true;
	for (int i = 0; i < commit->nsubxacts; i++)
		if (has_changed(backlog, commit->subxacts[i]))
			return true;
	return false;
}

/* Of this database, from here where that is asked for, and of a transaction that changed rows */
static bool
is_commit(XLogReaderState *reader, const FloBacklog *backlog, TransactionId next_xid,
		  TimestampTz *at)
{
	uint8		kind = XLogRecGetInfo(reader) & XLOG_XACT_OPMASK;
	xl_xact_parsed_commit commit;

	if (XLogRecGetRmid(reader) != RM_XACT_ID ||
		(kind != XLOG_XACT_COMMIT && kind != XLOG_XACT_COMMIT_PREPARED) ||
		(backlog->only_local && XLogRecGetOrigin(reader) != InvalidReplOriginId))
		return false;
	ParseCommitRecord(XLogRecGetInfo(reader), (xl_xact_commit *) XLogRecGetData(reader), &commit);
	if (commit.dbId != MyDatabaseId ||
		!concerns(backlog, next_xid,
				  kind == XLOG_XACT_COMMIT ? XLogRecGetXid(reader) : commit.twophase_xid, &commit))
		return false;
	*at = commit.xact_time;
	return true;
}

static Answer
read_records(XLogReaderState *reader, FloBacklog *backlog, TransactionId next_xid)
{
	FloClock	began = flo_clock();
	const bool *gone = reader->private_data;
	char	   *error;
	XLogRecPtr	begin = flo_compat_find_next_record(reader, backlog->upto, &error);

	if (XLogRecPtrIsInvalid(begin))
		return *gone ? UNKNOWN : NOTHING;
	XLogBeginRead(reader, begin);
	while (XLogReadRecord(reader, &error) != NULL)
	{
		backlog->upto = reader->EndRecPtr;
		if (is_change(reader))
			note_change(backlog, XLogRecGetXid(reader));
		else if (is_commit(reader, backlog, next_xid, &backlog->committed_at))
		{
			backlog->commit = reader->EndRecPtr;
			return FOUND;
		}
		if (backlog->upto - begin > READ_BYTES || flo_clock_passed(began, READ_TIME))
			return UNKNOWN;
	}
	return *gone || error != NULL ? UNKNOWN : NOTHING;
}

/*
 * Between a look for the segment and opening it, it may be removed: that is an
 * error.  Nothing but the file is open here, and no interrupt is served.
 */
static Answer
read_on(FloBacklog *backlog, TransactionId next_xid)
{
	MemoryContext context = CurrentMemoryContext;
	bool		gone = false;
	volatile Answer answer = UNKNOWN;
	XLogReaderState *reader = XLogReaderAllocate(wal_segment_size, NULL,
												 XL_ROUTINE(.page_read = read_page,
															.segment_open = wal_segment_open,
															.segment_close = wal_segment_close),
												 &gone);

	if (reader == NULL)
		return UNKNOWN;
	PG_TRY();
	{
		answer = read_records(reader, backlog, next_xid);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	XLogReaderFree(reader);
	return answer;
}

static Answer
look_behind(const char *group, XLogRecPtr position, TransactionId next_xid, bool only_local,
			TimestampTz *at)
{
	FloBacklog	backlog;
	XLogRecPtr	before;
	Answer		answer;

	flo_backlog_get(group, &backlog);
	if (backlog.only_local != only_local || backlog.upto < position || backlog.from > position ||
		(!XLogRecPtrIsInvalid(backlog.commit) && backlog.commit <= position))
	{
		memset(&backlog, 0, sizeof(backlog));
		backlog.only_local = only_local;
		backlog.from = backlog.upto = position;
	}
	*at = backlog.committed_at;
	if (!XLogRecPtrIsInvalid(backlog.commit))
		return FOUND;
	before = backlog.upto;
	answer = read_on(&backlog, next_xid);
	if (backlog.upto != before)
		flo_backlog_note(group, &backlog);
	*at = backlog.committed_at;
	return answer;
}

TimestampTz
flo_unpublished_since(const char *group, bool only_local)
{
	FloMember	member = {0};
	FloSlotInfo slot;
	XLogRecPtr	position;
	TimestampTz at;

	if (flo_preloaded())
		(void) flo_member_look(group, FLO_REPLICATOR_MEMBER, &member);
	if (member.oldest_pending != 0)
		return member.oldest_pending;
	if (RecoveryInProgress())
		return 0;

	flo_slot_info(flo_name_slot(MyDatabaseId, group), &slot);
	/* nothing of what was decoded is pending, which may be much */
	position = Max(Max(member.durable_lsn, member.known_lsn),
				   Max(member.received_lsn, slot.confirmed_flush));
	if (XLogRecPtrIsInvalid(position) || position >= GetFlushRecPtr(NULL))
		return 0;
	switch (look_behind(group, position, member.next_xid, only_local, &at))
	{
		case NOTHING:
			return 0;
		case FOUND:
			return at;
		case UNKNOWN:
			return member.source_seen;
	}
	return 0;
}
