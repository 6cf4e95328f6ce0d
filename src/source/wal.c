/*
 * wal.c
 *		Reads this server's WAL, without waiting for more of it.
 */
#include "postgres.h"

#include <unistd.h>

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

/*
 * Like flo_wal_page, but WAL that is no longer there is an answer, not an error.  What
 * the server says that it has removed is what it has since it was started, so the file
 * is looked for.
 */
static int
read_page_if_there(XLogReaderState *state, XLogRecPtr page, int wanted,
				   XLogRecPtr record, char *into)
{
	TimeLineID	current;
	XLogRecPtr	limit = GetFlushRecPtr(&current);
	bool	   *gone = state->private_data;
	char		path[MAXPGPATH];
	XLogSegNo	segment;

	XLogReadDetermineTimeline(state, page, wanted, current);
	XLByteToSeg(page, segment, wal_segment_size);
	XLogFilePath(path, state->currTLI, segment, wal_segment_size);
	*gone = page + wanted <= limit && access(path, F_OK) != 0;
	if (*gone)
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
	bool		gone = false;

	reader = XLogReaderAllocate(wal_segment_size, NULL,
								XL_ROUTINE(.page_read = read_page_if_there,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close), &gone);
	if (reader == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	XLogBeginRead(reader, lsn);
	record = XLogReadRecord(reader, &error);
	if (record == NULL)
		result = gone ? FLO_ANCHOR_GONE : FLO_ANCHOR_DIFFERS;
	else
		result = record->xl_crc == crc ? FLO_ANCHOR_MATCHES : FLO_ANCHOR_DIFFERS;
	XLogReaderFree(reader);
	return result;
}
