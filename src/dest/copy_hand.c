/*
 * copy_hand.c
 *		What a loader has in hand: chunks that it was handed and that are not durable.
 *
 * The stream is purged by what loaders say, for the consumer cannot be asked:
 * a purge makes nats-server 2.9 forget what it has handed out, and the next
 * acknowledgement moves its floor over messages that are still being loaded.
 * So a chunk that is acknowledged may still be read, and is handed out again when
 * loaders start anew, as long as its loader counts it among what it has in hand.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/stream.h"
#include "dest/copy_loader_state.h"
#include "utils/memutils.h"

/*
 * One at a time: several loaders that have a share of a table each would be far
 * apart in its indexes
 */
#define PULL_BATCH 1

void
flo_hand_show(FloLoader *l)
{
	uint64		low = l->in_hand;

	if (l->waits)
		low = Min(low, l->next.stream_seq);
	if (l->expected > 0)
		low = Min(low, Max(l->bound, l->last_seen + 1));
	flo_dest_copy_show(l->args->slot, l->args->incarnation, l->args->number, l->last_seen, low);
}

/*
 * What a request brings comes after everything that was handed out before it.
 * A request that never ended may still bring something.
 */
void
flo_hand_request(FloLoader *l)
{
	if (l->expected <= 0)
		l->bound = flo_dest_copy_get(l->args->slot).seen + 1;
	l->expected = PULL_BATCH;
	flo_hand_show(l);
	flo_bus_pull(l->bus, l->stream, l->consumer, PULL_BATCH, FLO_PULL_EXPIRES);
	l->requested = flo_clock();
}

/* Of a sitting all at once, lest the broker hand it out again, or no more */
void
flo_hand_done(FloLoader *l, const char *ack_subject)
{
	MemoryContext old;

	if (l->sitting.open)
	{
		flo_bus_publish(l->bus, ack_subject, "+ACK", 4);
		flo_hand_show(l);
		return;
	}
	old = MemoryContextSwitchTo(GetMemoryChunkContext(l));
	l->unacked = lappend(l->unacked, pstrdup(ack_subject));
	MemoryContextSwitchTo(old);
}

void
flo_hand_acknowledge(FloLoader *l)
{
	ListCell   *cell;

	if (l->unacked == NIL && l->in_hand == PG_UINT64_MAX)
		return;
	if (!XLogRecPtrIsInvalid(l->unflushed))
		XLogFlush(l->unflushed);
	flo_tally_hand_in();
	foreach(cell, l->unacked)
		flo_bus_publish(l->bus, lfirst(cell), "+ACK", 4);
	list_free_deep(l->unacked);
	l->unacked = NIL;
	l->unflushed = InvalidXLogRecPtr;
	l->in_hand = Min(l->current, l->sitting.open ? l->sitting.low : PG_UINT64_MAX);
	flo_hand_show(l);
}

void
flo_hand_hold(FloLoader *l, uint32 attempt)
{
	flo_hand_acknowledge(l);
	l->in_hand = l->current;
	flo_hand_show(l);
	flo_dest_copy_hold(l->args->slot, attempt, l->in_hand);
}
