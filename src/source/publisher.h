/*
 * publisher.h
 *		Packs logical replication messages into chunks and publishes them in
 *		order, with a bounded number in flight.
 */
#ifndef FLO_PUBLISHER_H
#define FLO_PUBLISHER_H

#include "bus/bus.h"
#include "monitor/shstate.h"
#include "nodes/pg_list.h"
#include "wire/chunk.h"

typedef struct FloPublisher FloPublisher;

/* A publishing session, as session.c found it */
typedef struct FloSession
{
	uint16		flags;			/* in every chunk: what the generation begins with */

	XLogRecPtr	start;			/* decode what commits after this */
	XLogRecPtr	from;			/* "from" of the session's first chunk */
	uint64		epoch;
	uint64		last_seq;		/* of the stream at session start */
} FloSession;

/* Called for every chunk the broker has acknowledged, in order */
typedef void (*FloPublisherAcked) (void *arg, XLogRecPtr position, uint64 seq);

/* Asked for the last WAL record read, when a chunk is sealed */
typedef bool (*FloPublisherAnchor) (void *arg, XLogRecPtr *lsn, uint32 *crc);

/* "identity" gives the header's fields about the origin of the data */
extern FloPublisher *flo_publisher_open(FloBus *bus, const char *subject,
										const FloChunkHeader *identity,
										const FloSession *session,
										FloPublisherAcked acked,
										FloPublisherAnchor anchor, void *arg);

/*
 * Add one message; signature of FloDecoderEmit.  Sends full chunks and waits
 * for room in the window.  Throws when the broker refuses a chunk or does not
 * answer: the session is over then, and what was not acknowledged is decoded
 * again by the next one.
 */
extern void flo_publisher_append(void *publisher, const char *data, uint32 len);

/* Take the broker's answers that have arrived; throws as above */
extern void flo_publisher_pump(FloPublisher *publisher);

/* Send what is packed, if anything is and the window has room.  Between transactions only. */
extern void flo_publisher_flush(FloPublisher *publisher);

/*
 * Nothing packed and nothing in flight: positions up to here are the
 * broker's.  Only then may a heartbeat be sent.
 */
extern bool flo_publisher_idle(FloPublisher *publisher);

/* Everything that commits at or below "position" has been published: say so */
extern void flo_publisher_heartbeat(FloPublisher *publisher, XLogRecPtr position);

/*
 * Publish a marker: at this point of the stream the tables in the keys (a List
 * of FloCopyKey *) are copied anew.  Returns when the broker has it.
 */
extern void flo_publisher_marker(FloPublisher *publisher, List *keys);

/* Commit time of the oldest transaction not acknowledged, 0 when none */
extern TimestampTz flo_publisher_oldest(FloPublisher *publisher);

/* Counters grown since the last call */
extern void flo_publisher_take_counters(FloPublisher *publisher, FloCounters *counters);

#endif
