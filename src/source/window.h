/*
 * window.h
 *		Chunks on their way to the broker: a bounded number, in order.
 */
#ifndef FLO_WINDOW_H
#define FLO_WINDOW_H

#include "bus/bus.h"
#include "core/clock.h"
#include "monitor/tally.h"
#include "wire/chunk.h"

/* Whom the publisher serves */
typedef struct FloPublisherHost
{
	/* Called for every chunk the broker has acknowledged, in order */
	void		(*acked) (void *arg, XLogRecPtr position, uint64 seq);

	/* Asked for the last WAL record read, when a chunk is sealed */
	bool		(*anchor) (void *arg, XLogRecPtr *lsn, uint32 *crc);

	/*
	 * The broker has no room for the next chunk, of "size" bytes: wait a
	 * while, and have it make some.  Returns the sequence at which the stream
	 * ends now, which a message that was refused late may have moved.
	 * "inside": what it goes on with is a transaction that begins after
	 * "upto".
	 */
	uint64		(*full) (void *arg, const FloBusAck *refusal, int size, bool inside,
						 XLogRecPtr upto);

	/*
	 * Likewise before it is sent, and nothing is under way: that much is more
	 * than may be stored as yet.
	 */
	void		(*await_room) (void *arg, int size, bool inside, XLogRecPtr upto);

	/* The sequence at which the stream ends now; 0: it is gone */
	uint64		(*end) (void *arg);

	/* This message must not stay in the stream */
	void		(*remove) (void *arg, uint64 seq);
	void	   *arg;
} FloPublisherHost;

typedef struct FloFlight
{
	XLogRecPtr	position;
	TimestampTz commit_time;	/* of the oldest transaction in it; 0 for a
								 * heartbeat or a piece */
	bool		inside;			/* it starts in the midst of a transaction */
	XLogRecPtr	upto;			/* that begins after this */
	FloCounters counters;		/* of the transactions that end in it */
	uint64		number;			/* of the chunk */
	StringInfoData chunk;		/* sealed */
	FloClock	sent;			/* the window's */
} FloFlight;

typedef struct FloWindow FloWindow;

/*
 * The stream ends at last_seq; what is acknowledged is counted in "tally", the
 * latency of "commits" with it.  Chunks have up to "limit" bytes.
 */
extern FloWindow *flo_window_create(FloBus *bus, const char *subject, uint64 last_seq,
									bool one_by_one, uint32 limit, const FloPublisherHost *host,
									FloTally *tally, FloCommits *commits);

/* From now on, or no more; what is in flight is */
extern void flo_window_set_one_by_one(FloWindow *window, bool one_by_one);

/* Bytes that may be stored from now on before the host is asked; at first any number */
extern void flo_window_set_allowed(FloWindow *window, int64 bytes);

/* How many are not acknowledged, and may another one be sent? */
extern int	flo_window_in_flight(const FloWindow *window);
extern bool flo_window_has_room(const FloWindow *window);

/*
 * Take the broker's answers that have arrived.  Waits while the broker is full, throws
 * when it refuses a chunk for another reason or does not answer.
 */
extern void flo_window_pump(FloWindow *window);
extern void flo_window_await_room(FloWindow *window);
extern void flo_window_await_all(FloWindow *window);

/*
 * Send a chunk; there must be room.  The window takes its buffer and leaves
 * another one in its place.
 */
extern void flo_window_send(FloWindow *window, FloFlight *flight);

/* Bytes that are not acknowledged, and the commit time of their oldest transaction or 0 */
extern int64 flo_window_bytes(const FloWindow *window);
extern TimestampTz flo_window_oldest(const FloWindow *window);

#endif
