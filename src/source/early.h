/*
 * early.h
 *		Transactions that travel before their commit: what is known of each.
 */
#ifndef FLO_EARLY_H
#define FLO_EARLY_H

#include "core/clock.h"
#include "lib/ilist.h"
#include "monitor/tally.h"
#include "source/descriptions.h"
#include "utils/hsearch.h"

/* How much of the stream one may keep from being purged before it is withdrawn; 0: any */
typedef struct FloEarlyLimits
{
	int64		bytes;			/* of the stream, since a first piece */
	int			age;			/* of that, in ms */
} FloEarlyLimits;

typedef struct FloEarly
{
	dlist_node	node;			/* in the order of their first pieces */
	TransactionId xid;
	uint32		npieces;		/* that were published */
	uint64		first;			/* number of the first one's chunk */
	FloClock	since;			/* it was */
	int64		before;			/* bytes that the session had published then */
	int64		bytes;			/* of the pieces */
	bool		withdrawn;		/* no piece any more: it comes whole */

	FloDescriptions *descriptions;
	TransactionId subxid;		/* whose rows come next, for who reads the
								 * piece at hand */
	HTAB	   *parts;			/* by subtransaction: what of it was packed */
	struct FloEarlyPart *part;	/* the last one's */
} FloEarly;

typedef struct FloEarlyPart
{
	TransactionId subxid;		/* hash key */
	FloCounters counters;
} FloEarlyPart;

extern FloEarly *flo_early_create(MemoryContext parent, TransactionId xid);
extern void flo_early_drop(FloEarly *early);

/* What is packed of a subtransaction, or of the transaction itself, is counted there */
extern FloCounters *flo_early_counters(FloEarly *early, TransactionId subxid);

/* That subtransaction is rolled back: true when something of it was packed */
extern bool flo_early_forget(FloEarly *early, TransactionId subxid);

/* All that counts, now that it has committed */
extern void flo_early_count(FloEarly *early, FloCounters *counters);

/*
 * Does it keep too much, when the session has published so many bytes, and "own" of
 * them are its own beside those of its pieces?
 */
extern bool flo_early_keeps_too_much(const FloEarly *early, int64 published, int64 own,
									 const FloEarlyLimits *limits);

#endif
