/*
 * chunk.h
 *		One NATS message: a header and a run of logical replication messages.
 *
 * src/wire/README.md describes the bytes.  A chunk is written by appending
 * messages to a buffer and sealed with a header; a reader parses the header,
 * verifies the checksum, then steps through the records without copying them.
 */
#ifndef FLO_CHUNK_H
#define FLO_CHUNK_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "utils/uuid.h"

/*
 * W of the protocol: the most publishes a session may have in flight, and
 * the distance over which a late message of an older session can still be
 * recognised as void.  Part of the protocol: all readers and writers of a
 * stream must agree on it.
 */
#define FLO_WINDOW 4

/* Flags */
#define FLO_CHUNK_STARTS_INSIDE		0x0001	/* begins within a transaction */
#define FLO_CHUNK_ENDS_INSIDE		0x0002	/* ends within a transaction */
#define FLO_CHUNK_STARTS_FRAGMENT	0x0004	/* first bytes go on with a record
											 * of the chunk before */
#define FLO_CHUNK_ENDS_FRAGMENT		0x0008	/* last record goes on in the next
											 * chunk */
#define FLO_CHUNK_HEARTBEAT			0x0010	/* no records: only a position */
#define FLO_CHUNK_PIECE				0x0020	/* rows of a transaction that is
											 * still running; begins with a
											 * FloPieceKey, see piece.h */
#define FLO_CHUNK_COPY				0x0040	/* rows of a table copy; begins
											 * with a FloCopyKey */
#define FLO_CHUNK_COPIED			0x0080	/* the generation begins with a
											 * copy of the tables */
#define FLO_CHUNK_COPY_ONLY			0x0100	/* and ends with it: mode copy */
#define FLO_CHUNK_MARKER			0x0200	/* tables named here are copied
											 * anew: wait for them */
#define FLO_CHUNK_COMPARE			0x0400	/* tables are compared as they are
											 * here: one record, see compare.h */
#define FLO_CHUNK_BACKFILL			0x0800	/* rows of a table as they are
											 * here come for one worker: one
											 * record, see backfill.h */
#define FLO_CHUNK_OVER_PIECES		0x1000	/* pieces of a transaction that is
											 * open at its start lie before it */
#define FLO_CHUNK_COMPRESSED		0x2000	/* its records are, see squeeze.h */
#define FLO_CHUNK_KNOWN_FLAGS		0x3FFF

/* Rows of no transaction, or none */
#define FLO_CHUNK_OUTSIDE \
	(FLO_CHUNK_HEARTBEAT | FLO_CHUNK_MARKER | FLO_CHUNK_COMPARE | FLO_CHUNK_BACKFILL)

/* The version of the format that 0.1 writes.  It says less of statements, see ddl.h. */
#define FLO_CHUNK_OF_0_1 1

typedef struct FloChunkHeader
{
	uint16		version;		/* read, not written: that is ours */

	/* origin of the data */
	uint64		system_identifier;
	TimeLineID	timeline;
	pg_uuid_t	generation;
	XLogRecPtr	generation_start;
	uint16		encoding;		/* of all text in the records (enum pg_enc) */

	/* place in the stream */
	uint64		epoch;			/* number of the publishing session */
	uint64		number;			/* of the chunk in its epoch, from 1 */
	uint64		txn_number;		/* number of the chunk where the oldest
								 * transaction open at the start began, or its
								 * first piece is; else = number */
	uint16		flags;
	uint32		rest;			/* bytes of a record begun earlier that are
								 * still to come, at the start; 0 = not told */

	/* what it covers; end LSNs of commit records */
	XLogRecPtr	from;			/* all commits at or below are in earlier
								 * chunks */
	XLogRecPtr	upto;			/* last complete commit at or before the end
								 * of this chunk */
	XLogRecPtr	position;		/* >= upto; no commit lies between upto and
								 * position */
	TimestampTz commit_time;	/* of the commit at upto, or of a heartbeat's
								 * sending */

	/* the last WAL record read */
	XLogRecPtr	anchor_lsn;
	uint32		anchor_crc;
} FloChunkHeader;

/*
 * First record of a chunk of the copy stream: which piece of which table it
 * is.  A piece is loaded once, however often it arrives.
 */
typedef struct FloCopyKey
{
	uint32		relation;		/* OID at the source, of the table published */
	uint32		attempt;		/* number of the snapshot it was read under */
	uint32		range;			/* of the table; in a marker one of
								 * FLO_MARKER_... */
	uint32		ordinal;		/* of the chunk in its range, from 0; in a
								 * marker the number of the request */
	uint32		rows;			/* that begin in it; in a marker
								 * FLO_MARKER_AGAIN and ..._DEFINITIONS */
} FloCopyKey;

/*
 * Two markers enclose the part of the stream in which a table has joined, or is
 * to be copied afresh, and its snapshot is still to come: rows there are in the
 * copy.  The second one stands exactly at the snapshot, so that the table has
 * the shape in which its rows were read.  A marker without tables begins a
 * generation that follows another one and has no copy to wait for.
 */
#define FLO_MARKER_BEGIN 0
#define FLO_MARKER_SNAPSHOT 1

/* Destinations have rows of the table; its definition comes along */
#define FLO_MARKER_AGAIN 1
#define FLO_MARKER_DEFINITIONS 2

/* Size of the header on the wire, in bytes */
#define FLO_CHUNK_HEADER_SIZE 124

/*
 * Writing.  "buf" holds room for the header followed by the records, so a
 * sealed chunk is buf->data, buf->len and nothing is copied.
 */
extern void flo_chunk_reset(StringInfo buf);
extern void flo_chunk_append(StringInfo buf, const char *data, uint32 len);

/* a record's length prefix alone, and raw bytes: for records split over chunks */
extern void flo_chunk_append_length(StringInfo buf, uint32 len);
extern void flo_chunk_append_raw(StringInfo buf, const char *data, uint32 len);
extern void flo_chunk_seal(StringInfo buf, const FloChunkHeader *header);

/* The key as first record; the writer patches the rows in when it knows them */
extern void flo_chunk_append_copy_key(StringInfo buf, const FloCopyKey *key);
extern void flo_chunk_set_copy_rows(StringInfo buf, uint32 rows);

/*
 * The header.  Returns NULL when the bytes are a well-formed chunk, else a short
 * reason ("bad checksum", ...).  Never throws.  Whether compressed records can be
 * expanded only flo_chunk_open() tells, which all readers of records need.
 */
extern const char *flo_chunk_parse(const char *data, size_t len, FloChunkHeader *header);

/* The reason (this pointer) of a chunk that an older reader must not pass over */
extern const char *const flo_chunk_is_newer;

typedef struct FloChunkReader
{
	const char *next;
	const char *end;
} FloChunkReader;

extern void flo_chunk_read(FloChunkReader *reader, const char *data, size_t len);

/*
 * The lowest position with which a reader may enter the stream at this chunk:
 * its "from"; or, when it starts inside a transaction, the end of that, whose
 * rest such a reader drops.  FLO_NEVER_OUTSIDE when that does not end here.
 */
#define FLO_NEVER_OUTSIDE PG_UINT64_MAX
extern XLogRecPtr flo_chunk_first_outside(const char *data, size_t len,
										  const FloChunkHeader *header);

/*
 * The commit LSN of the first transaction that was committed at that time or later and
 * begins or ends here; invalid when there is none.  *before is set when an earlier one does.
 */
extern XLogRecPtr flo_chunk_first_since(const char *data, size_t len,
										const FloChunkHeader *header, TimestampTz time,
										bool *before);

/*
 * The next record: true and its bytes, false at the end.  "total" is the
 * record's full length; when the chunk ends before it does (the chunk then
 * has FLO_CHUNK_ENDS_FRAGMENT), *len is smaller than *total.
 */
extern bool flo_chunk_next(FloChunkReader *reader, const char **data, uint32 *len, uint32 *total);

/* The key of a copy chunk, read before its other records; false when malformed */
extern bool flo_chunk_next_copy_key(FloChunkReader *reader, FloCopyKey *key);

/* Up to len bytes that belong to a record begun in an earlier chunk */
extern uint32 flo_chunk_take_raw(FloChunkReader *reader, uint32 len, const char **data);

#endif
