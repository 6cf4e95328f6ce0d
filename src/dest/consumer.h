/*
 * consumer.h
 *		Hands out a group's chunks strictly in stream order, from a position on.
 */
#ifndef FLO_CONSUMER_H
#define FLO_CONSUMER_H

#include "bus/stream.h"
#include "core/compat.h"
#include "wire/chunk.h"

typedef struct FloConsumer FloConsumer;

typedef struct FloChunk
{
	FloChunkHeader header;
	uint64		seq;
	char	   *data;			/* plain; writable, header included; one more
								 * byte behind the end, too */
	int			len;
	FloBusDelivery delivery;
} FloChunk;

typedef enum FloTake
{
	FLO_TAKE_CHUNK,				/* here is one */
	FLO_TAKE_DRY,				/* nothing has arrived */
	FLO_TAKE_LOST				/* the place in the stream is lost: attach
								 * anew */
} FloTake;

extern FloConsumer *flo_consumer_open(FloBus *bus, const char *stream, const char *consumer);

/* Which generation the positions given to flo_consumer_attach() belong to */
extern void flo_consumer_set_generation(FloConsumer *consumer, const pg_uuid_t *generation);

/*
 * Find the place from which a worker with this position goes on, and make the
 * broker's consumer start there.  "hint" is a sequence to try first, 0 = none.
 * False when the stream does not exist; fails for good when the stream begins
 * after the position.
 */
extern bool flo_consumer_attach(FloConsumer *consumer, XLogRecPtr position, uint64 hint);

/*
 * Over a new connection, go on with the message after the last one taken.  False
 * when the stream ends before it: the place is lost.
 */
extern bool flo_consumer_resume(FloConsumer *consumer);

/* The stream goes on after an LSN that is beyond the position: fails for good */
pg_noreturn extern void flo_consumer_fail_gap(XLogRecPtr position, XLogRecPtr from);

/* The sequence at which the last attach starts */
extern uint64 flo_consumer_start(const FloConsumer *consumer);

/* The first chunk in the stream that counts; false when there is none */
extern bool flo_consumer_first(FloConsumer *consumer, FloChunkHeader *header);

/* The first one that can be begun with, and the lowest position that may do so */
extern bool flo_consumer_first_outside(FloConsumer *consumer, FloChunkHeader *header,
									   XLogRecPtr *first_outside);

/* What the first marker names, as a List of FloCopyKey *; NIL also when there is no marker */
extern List *flo_consumer_marker(FloConsumer *consumer);

/* The newest one */
extern bool flo_consumer_newest(FloConsumer *consumer, FloChunkHeader *header);

/*
 * The commit LSN of the first transaction that was committed at that time or later; of the
 * newest position when the stream has none.  "before": the stream also has one that was
 * committed earlier, so none is missing in between.  False when there is no stream.
 */
extern bool flo_consumer_since(FloConsumer *consumer, TimestampTz time, XLogRecPtr *lsn,
							   bool *before);

/*
 * The next chunk that counts: void messages and those already seen are passed
 * over.  The first one after an attach may start inside a transaction that ends
 * at or below the position; that one's rest is to be dropped.  Never waits.
 */
extern FloTake flo_consumer_take(FloConsumer *consumer, FloChunk *chunk);
extern void flo_consumer_release(FloConsumer *consumer, FloChunk *chunk);

/*
 * Nothing came for a while: is the stream still the one we are reading?  False
 * when the place is lost.
 */
extern bool flo_consumer_verify(FloConsumer *consumer);

/* Did that find something stored which has not come yet? */
extern bool flo_consumer_waits(const FloConsumer *consumer);

/*
 * How many bytes the stream holds behind a sequence: messages, which the broker
 * counts with every one that it delivers, by what one has on average
 */
extern int64 flo_consumer_bytes_behind(const FloConsumer *consumer, uint64 seq);

/* Look how far the stream goes, while none is taken */
extern void flo_consumer_look(FloConsumer *consumer);

/* Was the newest chunk taken the last of the stream? */
extern bool flo_consumer_at_end(const FloConsumer *consumer);

/* Nothing up to and including this sequence is needed any more */
extern void flo_consumer_ack(FloConsumer *consumer, uint64 seq);

#endif
