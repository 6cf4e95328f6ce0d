/*
 * pieces.h
 *		What has come of transactions that are still running at the source.
 */
#ifndef FLO_PIECES_H
#define FLO_PIECES_H

#include "dest/consumer.h"

typedef struct FloPieces FloPieces;

/* Reads a file of pieces, a block of records at a time */
typedef struct FloPieceReader
{
	MemoryContext context;		/* where the block is */
	int			file;			/* File */
	uint64		offset;			/* up to where it was read */
	char	   *block;
	Size		room;			/* of the block, but for a byte behind its end */
	Size		filled;
	Size		at;
} FloPieceReader;

/* As much as fits into a block, of what there is up to "limit"; false when there is no more */
extern bool flo_piece_reader_fill(FloPieceReader *reader, uint64 limit);

/* The next whole record of the block: writable, with one more byte behind it; NULL: none */
extern char *flo_piece_reader_next(FloPieceReader *reader, uint32 *len);

extern FloPieces *flo_pieces_create(MemoryContext context);

/* The files go however this ends: for before_shmem_exit() and PG_ENSURE_ERROR_CLEANUP() */
extern void flo_pieces_remove_files(int code, Datum pieces);

/*
 * Keep a piece.  NULL, or how it breaks the protocol.  One that does not go on where
 * those kept end is passed over, and the transaction with it: its end shows whether
 * it was needed.
 */
extern const char *flo_pieces_take(FloPieces *pieces, const FloChunk *chunk);

/* Of which transaction was the piece that came last? */
extern TransactionId flo_pieces_last(const FloPieces *pieces);

/* A chunk of this session has come: pieces of others are void.  True when it is a new one. */
extern bool flo_pieces_follow_session(FloPieces *pieces, uint64 epoch);

/* That subtransaction's rows are void; with subxid = xid, all of the transaction's pieces */
extern void flo_pieces_void(FloPieces *pieces, TransactionId xid, TransactionId subxid);

/* Nothing of this transaction is needed any more; of any */
extern void flo_pieces_forget(FloPieces *pieces, TransactionId xid);
extern void flo_pieces_forget_all(FloPieces *pieces);

/* The stream's sequence of the oldest piece that is kept, 0 = none is; and bytes of all */
extern uint64 flo_pieces_first(const FloPieces *pieces);
extern int64 flo_pieces_bytes(const FloPieces *pieces);

/* Are there just so many pieces of it, and no half record?  Then read them from the first on. */
extern bool flo_pieces_open(FloPieces *pieces, TransactionId xid, uint32 npieces);

/*
 * Reading, a block of records at a time: false at the end.  Of a block one record after
 * the other: writable, with one more byte behind it; NULL at its end.  Rows of void
 * subtransactions are left out.
 */
extern bool flo_pieces_read_block(FloPieces *pieces);
extern char *flo_pieces_next(FloPieces *pieces, uint32 *len);

/* Its file and how far that is written; false when it has none, or void subtransactions */
extern bool flo_pieces_file(const FloPieces *pieces, TransactionId xid, char *path, uint64 *size);

#endif
