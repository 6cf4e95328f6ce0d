/*
 * lsn.h
 *		Where WAL ends, as a place that can be reached.
 *
 * At the end of a page the server says that the next record would begin behind the next
 * page's header (GetXLogInsertRecPtr(), pg_current_wal_insert_lsn()).  The last one has ended
 * before it, and who waits for the other place waits until somebody writes more.
 */
#ifndef FLO_LSN_H
#define FLO_LSN_H

#include "access/xlog.h"
#include "access/xlog_internal.h"

/* The begin of the page when a place is right behind its header; only a segment's is long */
static inline XLogRecPtr
flo_lsn_of_end(XLogRecPtr lsn)
{
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	if (lsn % (WalSegMinSize) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	return lsn;
}

/* The end of what has been written by anybody as yet, also in memory alone */
static inline XLogRecPtr
flo_lsn_of_written(void)
{
	return flo_lsn_of_end(GetXLogInsertRecPtr());
}

#endif
