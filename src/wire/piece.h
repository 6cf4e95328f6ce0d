/*
 * piece.h
 *		Transactions that travel before their commit: the records that say so.
 *
 * A piece is a chunk with FLO_CHUNK_PIECE: rows of one transaction that is still
 * running.  src/wire/README.md describes the bytes, doc/protocol.md the rules.
 */
#ifndef FLO_PIECE_H
#define FLO_PIECE_H

#include "lib/stringinfo.h"
#include "wire/chunk.h"

/* First record of a piece */
typedef struct FloPieceKey
{
	TransactionId xid;			/* at the source */
	uint32		ordinal;		/* of the piece in its session, from 1 */
} FloPieceKey;

extern void flo_chunk_append_piece_key(StringInfo buf, const FloPieceKey *key);

/*
 * The key of a piece, read before anything else, also before the rest of a record
 * that the piece before it began; false when malformed.
 */
extern bool flo_chunk_next_piece_key(FloChunkReader *reader, FloPieceKey *key);

/* In a piece: rows from here on are of this subtransaction, or of the transaction itself again */
extern void flo_chunk_append_subtransaction(StringInfo buf, TransactionId subxid);

/* That subtransaction's rows are void; with subxid = xid, all of its pieces are */
extern void flo_chunk_append_void(StringInfo buf, TransactionId xid, TransactionId subxid);

/*
 * The transaction of so many pieces has committed.  "commit" is the COMMIT message
 * that it would have had, a letter and what flo_change_parse() reads.
 */
#define FLO_COMMIT_SIZE 26
extern void flo_chunk_append_piece_commit(StringInfo buf, TransactionId xid, const char *commit,
										  uint32 npieces);

/* Sizes of these records, with their length in front */
#define FLO_SUBTRANSACTION_RECORD_SIZE 9
#define FLO_VOID_RECORD_SIZE 13
#define FLO_PIECE_COMMIT_RECORD_SIZE 38

#endif
