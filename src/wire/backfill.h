/*
 * backfill.h
 *		What a backfill says in the group's stream: its marker.
 */
#ifndef FLO_BACKFILL_H
#define FLO_BACKFILL_H

#include "access/xlogdefs.h"
#include "wire/record.h"

/*
 * The one record of a chunk with FLO_CHUNK_BACKFILL: exactly here, where all that
 * committed below "lsn" has been read and nothing else, the source has the snapshot
 * under which it reads the table for one worker.
 */
typedef struct FloBackfillMarker
{
	char	   *consumer;		/* of the worker */
	uint32		attempt;		/* number of the snapshot, among those of
								 * copies */
	XLogRecPtr	lsn;			/* of that */
	uint32		relation;		/* OID at the source, as it is published */
	char	   *schema;
	char	   *table;
} FloBackfillMarker;

extern char *flo_backfill_marker_format(const FloBackfillMarker *marker);

/* Throws 08P01 for anything else, 0A000 for one of a later version */
extern FloBackfillMarker *flo_backfill_marker_parse(const char *data, uint32 len);

#endif
