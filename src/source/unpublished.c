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

#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "core/clock.h"
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

/* Of this database, and from here where that is asked for */
static bool
is_commit(XLogReaderState *reader, bool only_local, TimestampTz *at)
{
	uint8		kind = XLogRecGetInfo(reader) & XLOG_XACT_OPMASK;
	xl_xact_parsed_commit commit;

	if (XLogRecGetRmid(reader) != RM_XACT_ID ||
		(kind != XLOG_XACT_COMMIT && kind != XLOG_XACT_COMMIT_PREPARED) ||
		(only_local && XLogRecGetOrigin(reader) != InvalidRepOriginId))
		return false;
	ParseCommitRecord(XLogRecGetInfo(reader), (xl_xact_commit *) XLogRecGetData(reader), &commit);
	if (commit.dbId != MyDatabaseId)
		return false;
	*at = commit.xact_time;
	return true;
}

static Answer
read_records(XLogReaderState *reader, FloBacklog *backlog)
{
	FloClock	began = flo_clock();
	XLogRecPtr	begin = XLogFindNextRecord(reader, backlog->upto);
	const bool *gone = reader->private_data;
	char	   *error;

	if (XLogRecPtrIsInvalid(begin))
		return *gone ? UNKNOWN : NOTHING;
	XLogBeginRead(reader, begin);
	while (XLogReadRecord(reader, &error) != NULL)
	{
		backlog->upto = reader->EndRecPtr;
		if (is_commit(reader, backlog->only_local, &backlog->committed_at))
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
read_on(FloBacklog *backlog)
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
		answer = read_records(reader, backlog);
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
look_behind(const char *group, XLogRecPtr position, bool only_local, TimestampTz *at)
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
	answer = read_on(&backlog);
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
	position = Max(Max(member.durable_lsn, member.known_lsn), slot.confirmed_flush);
	if (XLogRecPtrIsInvalid(position) || position >= GetFlushRecPtr(NULL))
		return 0;
	switch (look_behind(group, position, only_local, &at))
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
