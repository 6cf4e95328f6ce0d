/*
 * own_messages.h
 *		Which of the logical decoding messages in WAL are pg_flo's own.
 */
#ifndef FLO_OWN_MESSAGES_H
#define FLO_OWN_MESSAGES_H

#include "replication/reorderbuffer.h"
#include "wire/message.h"

typedef struct FloOwnMessages FloOwnMessages;

extern FloOwnMessages *flo_own_messages_create(int64 *foreign);

/* The group's key, which is copied.  Until the first call nothing is genuine. */
extern void flo_own_messages_set_key(FloOwnMessages *own, const FloMessageKey *key);

/* Called when a transaction that had genuine messages has ended */
typedef void (*FloOwnMessagesOver) (void *arg, TransactionId xid);
extern void flo_own_messages_when_over(FloOwnMessages *own, FloOwnMessagesOver over, void *arg);

/* Is the prefix one of pg_flo's?  Other messages are no concern of it. */
extern bool flo_own_messages_claims(const char *prefix);

/*
 * Did pg_flo write this message for the group, at this place?  Then "message" is
 * filled in, and points into the content.  Else it is to be dropped, and has
 * been counted unless it is another group's.  "txn" is the top-level
 * transaction, NULL for a message outside of transactions.  Reads no catalogs
 * and does not throw, whatever the content is.
 */
extern bool flo_own_messages_admit(FloOwnMessages *own, const ReorderBufferTXN *txn,
								   bool transactional,
								   const char *prefix, const char *content, Size len,
								   FloMessage *message);

/* A transaction has ended, a piece-wise one too: its ordinals are not needed any more */
extern void flo_own_messages_forget(FloOwnMessages *own, const ReorderBufferTXN *txn);

#endif
