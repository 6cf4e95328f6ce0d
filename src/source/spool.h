/*
 * spool.h
 *		Large transactions between the decoder and the publisher.
 */
#ifndef FLO_SPOOL_H
#define FLO_SPOOL_H

#include "source/publisher.h"

typedef struct FloSpool FloSpool;

/* Whether a transaction may be published before its commit, asked before each piece */
typedef bool (*FloSpoolMay) (void *arg);

extern FloSpool *flo_spool_create(FloPublisher *publisher, FloSpoolMay may, void *arg);

/* From how many bytes on they are, or only at their commit */
#define FLO_AT_COMMIT PG_INT64_MAX
extern void flo_spool_set_threshold(FloSpool *spool, int64 threshold);

/* All that have been come whole now, at their commit; between steps of the decoder */
extern void flo_spool_withdraw(FloSpool *spool);

/*
 * Take one message of the decoder (see FloDecoderEmit) and hand on what may be
 * published by now: whole transactions in the order of their commits, and pieces of
 * those that travel early.
 */
extern void flo_spool_message(FloSpool *spool, TransactionId xid, const char *data, uint32 len);

/* No transaction is on its way */
extern bool flo_spool_is_empty(FloSpool *spool);

#endif
