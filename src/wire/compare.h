/*
 * compare.h
 *		What a comparison says in the group's stream: its marker, and rows that are
 *		written again.
 */
#ifndef FLO_COMPARE_H
#define FLO_COMPARE_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "wire/record.h"

/*
 * The one record of a chunk with FLO_CHUNK_COMPARE: exactly here, where all that
 * committed below "lsn" has been read and nothing else, the source has its
 * snapshot.  What is compared, and whose part it is, stands in the state bucket
 * (FloComparePlan of bus/comparison.h), and was put there before.
 */
typedef struct FloCompareMarker
{
	int64		id;				/* of the comparison */
	uint32		attempt;		/* number of its snapshot, from 1 */
	XLogRecPtr	lsn;			/* of that */
	List	   *workers;		/* of char *, consumers: whom it concerns */
} FloCompareMarker;

extern char *flo_compare_marker_format(const FloCompareMarker *marker);

/* Throws 08P01 for anything else, 0A000 for one of a later version */
extern FloCompareMarker *flo_compare_marker_parse(const char *data, uint32 len);

/*
 * Payload of FLO_MESSAGE_REPAIR, in the stream under FLO_REPAIR_PREFIX, in the
 * source's transaction that has locked the rows: they are as they are here, for the
 * workers named.  "records" is the hexadecimal form of length-prefixed records as in a chunk: 'Y' and
 * 'R' of one table, then rows to be written by key as 'I', and rows to be removed as 'D'.
 */
typedef struct FloRepairMessage
{
	int64		id;
	List	   *workers;		/* of char *, consumers */
	char	   *records;
} FloRepairMessage;

extern char *flo_repair_format(const FloRepairMessage *message);
extern FloRepairMessage *flo_repair_parse(const char *data, uint32 len);

/* The bytes of such records, palloc'd with one more byte behind; throws 08P01 */
extern char *flo_repair_records(const FloRepairMessage *message, uint32 *len);

#endif
