/*
 * replay.h
 *		Handing out plain transactions, in the place of the reorder buffer.
 */
#ifndef FLO_REPLAY_H
#define FLO_REPLAY_H

#include "replication/logical.h"

/* Who takes messages of transactions that pgoutput was not asked about */
typedef struct FloReplayTo
{
	void		(*emit) (void *arg, TransactionId xid, const char *data, uint32 len);
	void	   *arg;
	int			methods;		/* of compression, see row_writer.h */
} FloReplayTo;

/* Once for a context */
extern void flo_replay_open(LogicalDecodingContext *context);

/*
 * Is the record at hand the commit of such a transaction?  Then it has been handed out,
 * and the reorder buffer is to forget it.  Within a transaction; "mine" is reset.
 */
extern bool flo_replay_commit(LogicalDecodingContext *context, MemoryContext mine,
							  const FloReplayTo *to);

/* Before the first change of a piece of a transaction in progress, within its snapshot */
extern void flo_replay_begin_piece(ReorderBufferTXN *txn);

/* After the last one: from now on rolled back subtransactions of it are told of */
extern void flo_replay_end_piece(ReorderBufferTXN *txn);

/*
 * The transaction that is open from before a record is decoded until the decoder rests.
 * True when the server's caches have been emptied for it.
 */
extern bool flo_replay_begin(void);
extern void flo_replay_rest(LogicalDecodingContext *context);

#endif
