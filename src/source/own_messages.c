/*
 * own_messages.c
 *		Which of the logical decoding messages in WAL are pg_flo's own.
 *
 * Any role can write one, and who may read WAL can copy a genuine one.  A
 * message counts when its signature is right, when it stands in the transaction
 * that it was signed for, under a subtransaction that this transaction still
 * has, and behind all messages of that transaction that counted before.  So no
 * copy counts: not in another transaction (ids are compared in 64 bits, which
 * are never used again), not beside the original, and not in the place of an
 * original that was rolled back with its savepoint.
 *
 * Whatever does not count is dropped.  It is never an error: everybody could
 * stop the replicator then.
 */
#include "postgres.h"

#include "access/transam.h"
#include "core/clock.h"
#include "source/own_messages.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Least time between two lines in the log, ms */
#define LOG_INTERVAL 60000

/* The last message of a transaction that has any; large ones come in pieces, among others */
typedef struct LastOrdinal
{
	TransactionId xid;			/* hash key */
	uint32		ordinal;
} LastOrdinal;

struct FloOwnMessages
{
	MemoryContext context;		/* of the key */
	FloMessageKey *key;
	HTAB	   *ordinals;		/* of LastOrdinal */
	FloOwnMessagesOver over;
	void	   *arg;
	int64	   *foreign;		/* counts those that are dropped */
	int64		unlogged;		/* dropped, not yet told in the log */
	FloClock	logged;
};

FloOwnMessages *
flo_own_messages_create(int64 *foreign)
{
	FloOwnMessages *own = palloc0(sizeof(FloOwnMessages));
	HASHCTL		control = {0};

	own->context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo message key",
										 ALLOCSET_SMALL_SIZES);
	own->foreign = foreign;
	control.keysize = sizeof(TransactionId);
	control.entrysize = sizeof(LastOrdinal);
	control.hcxt = CurrentMemoryContext;
	own->ordinals = hash_create("pg_flo messages of transactions", 16, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return own;
}

void
flo_own_messages_set_key(FloOwnMessages *own, const FloMessageKey *key)
{
	MemoryContext old;

	MemoryContextReset(own->context);
	old = MemoryContextSwitchTo(own->context);
	own->key = palloc(sizeof(FloMessageKey));
	own->key->group = pstrdup(key->group);
	own->key->key = pstrdup(key->key);
	MemoryContextSwitchTo(old);
}

void
flo_own_messages_when_over(FloOwnMessages *own, FloOwnMessagesOver over, void *arg)
{
	own->over = over;
	own->arg = arg;
}

bool
flo_own_messages_claims(const char *prefix)
{
	size_t		len = strlen(FLO_MESSAGE_PREFIX);

	return strncmp(prefix, FLO_MESSAGE_PREFIX, len) == 0 &&
		(prefix[len] == '\0' || prefix[len] == '_');
}

/* The 64 bits of a transaction that has ended, or runs: it is older than the next one */
static uint64
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

/* What was rolled back is not among them any more */
static bool
has_subtransaction(const ReorderBufferTXN *txn, TransactionId xid)
{
	dlist_iter	iter;

	if (txn->xid == xid)
		return true;
	dlist_foreach(iter, (dlist_head *) &txn->subtxns)
	{
		if (dlist_container(ReorderBufferTXN, node, iter.cur)->xid == xid)
			return true;
	}
	return false;
}

/* Is it the next one of its transaction?  Then it is the last one from now on. */
static bool
is_next(FloOwnMessages *own, TransactionId xid, uint32 ordinal)
{
	bool		found;
	LastOrdinal *last = hash_search(own->ordinals, &xid, HASH_ENTER, &found);

	if (found && ordinal <= last->ordinal)
		return false;
	last->ordinal = ordinal;
	return true;
}

/* Why a message does not count; NULL when it does, or is another group's */
static const char *
objection(FloOwnMessages *own, const ReorderBufferTXN *txn, bool transactional,
		  const char *prefix, const char *content, Size len,
		  FloMessage *message, FloMessageVerdict *verdict)
{
	*verdict = FLO_MESSAGE_FOREIGN;
	if (!transactional || txn == NULL)
		return "it is not transactional";
	if (strcmp(prefix, FLO_MESSAGE_PREFIX) != 0)
		return "pg_flo does not use this prefix";
	if (own->key == NULL)
		return "the group has no key";
	*verdict = flo_message_check(content, len, own->key, message);
	if (*verdict == FLO_MESSAGE_FOREIGN)
		return "its signature is wrong";
	if (*verdict == FLO_MESSAGE_FOR_OTHERS)
		return NULL;
	*verdict = FLO_MESSAGE_FOREIGN;
	if (message->transaction != full_xid(txn->xid))
		return "it was signed for another transaction";
	if (!has_subtransaction(txn, message->subtransaction))
		return "it was signed for a savepoint that was rolled back";
	if (!is_next(own, txn->xid, message->ordinal))
		return "it stands behind itself, or a later one";
	*verdict = FLO_MESSAGE_GENUINE;
	return NULL;
}

bool
flo_own_messages_admit(FloOwnMessages *own, const ReorderBufferTXN *txn, bool transactional,
					   const char *prefix, const char *content, Size len,
					   FloMessage *message)
{
	FloMessageVerdict verdict;
	const char *why = objection(own, txn, transactional, prefix, content, len, message, &verdict);
	FloClock	now;

	if (why == NULL)
		return verdict == FLO_MESSAGE_GENUINE;
	(*own->foreign)++;
	own->unlogged++;
	now = flo_clock();
	if (flo_clock_passed(own->logged, LOG_INTERVAL))
	{
		ereport(LOG,
				(errmsg("left out logical decoding messages with a prefix of pg_flo's that pg_flo has not written: " INT64_FORMAT,
						own->unlogged),
				 errdetail("The last one, in transaction %u: %s.",
						   txn != NULL ? txn->xid : InvalidTransactionId, why)));
		own->logged = now;
		own->unlogged = 0;
	}
	return false;
}

void
flo_own_messages_forget(FloOwnMessages *own, const ReorderBufferTXN *txn)
{
	bool		found = false;

	if (hash_get_num_entries(own->ordinals) > 0)
		hash_search(own->ordinals, &txn->xid, HASH_REMOVE, &found);
	if (found && own->over != NULL)
		own->over(own->arg, txn->xid);
}
