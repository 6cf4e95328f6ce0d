/*
 * pieces.h
 *		What has come of transactions that are still running at the source.
 */
#ifndef FLO_PIECES_H
#define FLO_PIECES_H

#include "dest/consumer.h"

typedef struct FloPieces FloPieces;

/* "lasting": files outlive the transactions of this process; else they go with the one at hand */
extern FloPieces *flo_pieces_create(MemoryContext context, bool lasting);

/*
 * Keep a piece.  NULL, or how it breaks the protocol.  One that does not go on where
 * those kept end is passed over, and the transaction with it: its end shows whether
 * it was needed.
 */
extern const char *flo_pieces_take(FloPieces *pieces, const FloChunk *chunk);

/* A chunk of this session has come: pieces of others are void */
extern void flo_pieces_follow_session(FloPieces *pieces, uint64 epoch);

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

#endif
