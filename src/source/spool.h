/*
 * spool.h
 *		Large transactions between the decoder and the publisher.
 */
#ifndef FLO_SPOOL_H
#define FLO_SPOOL_H

#include "source/publisher.h"

typedef struct FloSpool FloSpool;

extern FloSpool *flo_spool_create(FloPublisher *publisher);

/*
 * Take one message of the decoder (see FloDecoderEmit) and hand on what may be
 * published by now: whole transactions in the order of their commits.
 */
extern void flo_spool_message(FloSpool *spool, TransactionId xid, const char *data, uint32 len);

/* No transaction is on its way */
extern bool flo_spool_is_empty(FloSpool *spool);

#endif
