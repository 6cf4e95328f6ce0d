/*
 * decoder.h
 *		Decoding of the group's replication slot, inside this process.
 */
#ifndef FLO_DECODER_H
#define FLO_DECODER_H

#include "access/xlogdefs.h"
#include "conf/spec.h"
#include "conf/store.h"
#include "nodes/pg_list.h"
#include "source/own_messages.h"

/*
 * Receives one logical replication message, valid until it returns.  Large
 * transactions come in pieces while they run (STREAM START, STREAM STOP, STREAM
 * COMMIT, STREAM ABORT); "xid" is the subtransaction of a change in a piece,
 * and invalid otherwise.  The message itself does not hold it.  Called
 * inside the reorder buffer's own transaction: it may wait, and may throw,
 * after which the decoder is unusable and the process has to leave.
 */
typedef void (*FloDecoderEmit) (void *arg, TransactionId xid, const char *data, uint32 len);

/*
 * Is given every message of pg_flo's own for the group, inside the decoder's
 * transaction: returns what to emit of its payload, in the current memory
 * context, or NULL for nothing; *prefix becomes the prefix to emit it with.
 */
typedef char *(*FloDecoderMessage) (void *arg, const FloMessage *message, const char **prefix);

/*
 * The server's caches have been emptied: what is needed as it is now, while all else
 * is looked up as it was, is looked up at once.
 */
typedef void (*FloDecoderAfresh) (void *arg);

typedef struct FloDecoder FloDecoder;

/*
 * Acquire the slot and decode what commits after "start" (at least the slot's
 * confirmed_flush, which the caller checks).  55006 when another process
 * holds the slot.
 */
extern FloDecoder *flo_decoder_open(const char *slot, XLogRecPtr start, List *publications,
									FloOriginFilter origin, FloOwnMessages *own,
									FloDecoderEmit emit, FloDecoderMessage message,
									FloDecoderAfresh afresh, void *arg);

/* Change what is sent on; in force for transactions decoded from now on */
extern void flo_decoder_set_origin(FloDecoder *decoder, FloOriginFilter origin);

/*
 * Which tables are left out, also as partitions of one that is not; kept, not
 * copied, and NULL for none.  For what is decoded from now on.
 */
extern void flo_decoder_set_choice(FloDecoder *decoder, FloTableChoice *choice);

/* How values may be compressed as they travel (compressed.h); at any time, at first in no way */
extern void flo_decoder_set_methods(FloDecoder *decoder, int methods);

/*
 * Read one WAL record, false when all flushed WAL has been read; is it of the end of a
 * transaction, as it may be; decode it, before the next one is read.  After that no
 * transaction is half emitted; one of this process is open until the decoder rests.
 */
extern bool flo_decoder_read(FloDecoder *decoder);
extern bool flo_decoder_ends_transaction(FloDecoder *decoder);
extern void flo_decoder_decode(FloDecoder *decoder);
extern void flo_decoder_rest(FloDecoder *decoder);

/* Bytes that the plugin keeps of tables, and its way to forget them all; between steps only */
extern Size flo_decoder_table_memory(FloDecoder *decoder);
extern void flo_decoder_forget(FloDecoder *decoder);

/* Bytes of WAL still to be read that were read before and emit nothing, 0 = none */
extern uint64 flo_decoder_left_again(FloDecoder *decoder);

/*
 * The last record read tells which transactions run: where it stands, the oldest of
 * them, and the next one that there will be.  False when it does not.
 */
extern bool flo_decoder_running(FloDecoder *decoder, XLogRecPtr *lsn, TransactionId *oldest,
								TransactionId *next);

/* End of the last record decoded: everything that committed below it was emitted */
extern XLogRecPtr flo_decoder_position(FloDecoder *decoder);

/* The last record that is or was decoded, start and checksum; false before the first */
extern bool flo_decoder_anchor(FloDecoder *decoder, XLogRecPtr *lsn, uint32 *crc);

/*
 * The newest record of the running transactions that was decoded, by which the slot's
 * restart point moves (slots.h); and where it could move were one decoded now, invalid
 * when it could not.
 */
extern XLogRecPtr flo_decoder_newest_restart(FloDecoder *decoder);
extern XLogRecPtr flo_decoder_possible_restart(FloDecoder *decoder);

/* Release WAL below an LSN; "save" also makes that survive a crash (one fsync) */
extern void flo_decoder_confirm(FloDecoder *decoder, XLogRecPtr lsn, bool save);

#endif
