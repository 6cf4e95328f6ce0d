/*
 * wal.h
 *		Reads this server's WAL, without waiting for more of it.
 */
#ifndef FLO_WAL_H
#define FLO_WAL_H

#include "access/xlogreader.h"

/* Of an XLogReaderRoutine: -1 when the WAL asked for is not flushed yet */
extern int	flo_wal_page(XLogReaderState *state, XLogRecPtr page, int wanted, XLogRecPtr record,
						 char *into);

/* How far there was WAL when a page was last asked for */
extern XLogRecPtr flo_wal_end(void);

/*
 * Does the WAL of this server hold, at an LSN, a record with this checksum?
 */
typedef enum FloAnchorResult
{
	FLO_ANCHOR_MATCHES,
	FLO_ANCHOR_DIFFERS,
	FLO_ANCHOR_GONE				/* that WAL was removed: nothing can be said */
} FloAnchorResult;

extern FloAnchorResult flo_wal_check_anchor(XLogRecPtr lsn, uint32 crc);

#endif
