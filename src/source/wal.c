/*
 * wal.c
 *		Reads this server's WAL, without waiting for more of it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogutils.h"
#include "source/wal.h"

/* How far there was WAL when a page was last asked for */
static XLogRecPtr read_limit;

int
flo_wal_page(XLogReaderState *state, XLogRecPtr page, int wanted, XLogRecPtr record, char *into)
{
	TimeLineID	current;
	XLogRecPtr	limit = GetFlushRecPtr(&current);
	WALReadError error;
	int			count;

	XLogReadDetermineTimeline(state, page, wanted, current);
	if (state->currTLI != current)
		limit = state->currTLIValidUntil;
	read_limit = limit;
	if (page + wanted > limit)
		return -1;
	count = (int) Min((XLogRecPtr) XLOG_BLCKSZ, limit - page);
	if (!WALRead(state, into, page, count, state->currTLI, &error))
		WALReadRaiseError(&error);
	return count;
}

XLogRecPtr
flo_wal_end(void)
{
	return read_limit;
}

/* Like flo_wal_page, but WAL that is no longer there is an answer, not an error */
static int
read_page_if_there(XLogReaderState *state, XLogRecPtr page, int wanted,
				   XLogRecPtr record, char *into)
{
	XLogSegNo	segment;

	XLByteToSeg(page, segment, wal_segment_size);
	if (segment <= XLogGetLastRemovedSegno())
		return -1;
	return flo_wal_page(state, page, wanted, record, into);
}

FloAnchorResult
flo_wal_check_anchor(XLogRecPtr lsn, uint32 crc)
{
	XLogReaderState *reader;
	XLogRecord *record;
	char	   *error = NULL;
	FloAnchorResult result;
	XLogSegNo	segment;

	XLByteToSeg(lsn, segment, wal_segment_size);
	if (segment <= XLogGetLastRemovedSegno())
		return FLO_ANCHOR_GONE;
	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = read_page_if_there,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close), NULL);
	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	XLogBeginRead(reader, lsn);
	record = XLogReadRecord(reader, &error);
	if (record == NULL)
		result = FLO_ANCHOR_DIFFERS;
	else
		result = record->xl_crc == crc ? FLO_ANCHOR_MATCHES : FLO_ANCHOR_DIFFERS;
	XLogReaderFree(reader);
	return result;
}
