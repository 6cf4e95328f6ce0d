/*
 * publisher.h
 *		Packs logical replication messages into chunks and publishes them in
 *		order, with a bounded number in flight.
 */
#ifndef FLO_PUBLISHER_H
#define FLO_PUBLISHER_H

#include "bus/bus.h"
#include "core/memory.h"
#include "monitor/tally.h"
#include "nodes/pg_list.h"
#include "wire/chunk.h"

typedef struct FloPublisher FloPublisher;

/* A publishing session, as session.c found it */
typedef struct FloSession
{
	uint16		flags;			/* in every chunk: what the generation begins
								 * with */
	bool		first;			/* nothing of the generation is in the stream */

	XLogRecPtr	start;			/* decode what commits after this */
	XLogRecPtr	from;			/* "from" of the session's first chunk */
	uint64		epoch;
	uint64		last_seq;		/* of the stream at session start */
	bool		one_by_one;		/* what follows a refused chunk might be
								 * stored: never more than one in flight */
} FloSession;

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
	void	   *arg;
} FloPublisherHost;

/*
 * "identity" gives the header's fields about the origin of the data; what is
 * published is counted in "tally".
 */
extern FloPublisher *flo_publisher_open(FloBus *bus, const char *subject,
										const FloChunkHeader *identity,
										const FloSession *session,
										const FloPublisherHost *host, FloTally *tally);

/*
 * Add one message of a transaction that has committed.  Sends full chunks and waits
 * for room in the window, and for room at the broker.  Throws when that refuses
 * a chunk for another reason or does not answer: the session is over then, and
 * what was not acknowledged is decoded again by the next one.
 */
extern void flo_publisher_append(FloPublisher *publisher, const char *data, uint32 len);

/*
 * Descriptions are kept as the plugin sends each but once.  "tables" is where they
 * are kept, and where the shaper keeps what it knows of tables.  All can be
 * forgotten between transactions if the plugin is made to describe every table
 * again; "room" says when.
 */
extern FloRoom *flo_publisher_room(const FloPublisher *publisher);
extern MemoryContext flo_publisher_tables(const FloPublisher *publisher);
extern void flo_publisher_forget(FloPublisher *publisher);

/*
 * Descriptions of tables kept with a transaction in progress hold for its
 * changes only, if a newer one has come since.  A description gets its age when
 * it is read from the plugin; it is appended by flo_publisher_replay(), and
 * what it replaced comes back with flo_publisher_end_replay() if it is newer.
 */
extern uint64 flo_publisher_next_age(FloPublisher *publisher);
extern void flo_publisher_replay(FloPublisher *publisher, uint64 age, const char *data, uint32 len);
extern void flo_publisher_end_replay(FloPublisher *publisher);

/*
 * Who looks at rows before they are packed, if anybody does at the moment.  He
 * is given the descriptions ('Y' and 'R' messages) that belong to a row before
 * it, whenever they are others than before; answers whether the row is to be
 * published, and may put other bytes in its place.
 */
typedef struct FloPublisherShaper
{
	bool		(*concerns) (void *arg);
	void		(*describe) (void *arg, const char *data, uint32 len);
	bool		(*row) (void *arg, uint32 relation, const char **data, uint32 *len);
} FloPublisherShaper;

extern void flo_publisher_set_shaper(FloPublisher *publisher, const FloPublisherShaper *shaper,
									 void *arg);

/* Take the broker's answers that have arrived; throws as above */
extern void flo_publisher_pump(FloPublisher *publisher);

/* Send what is packed, if anything is and the window has room.  Between transactions only. */
extern void flo_publisher_flush(FloPublisher *publisher);

/* Is there room to send at once what is packed, and is anything? */
extern bool flo_publisher_can_flush(FloPublisher *publisher);

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

/* The same for the marker of a comparison or a backfill (the chunk's flag), its one record */
extern void flo_publisher_place(FloPublisher *publisher, uint16 flag, const char *marker);

/* Bytes packed or sent that are not acknowledged */
extern int64 flo_publisher_pending_bytes(FloPublisher *publisher);

/* Commit time of the oldest transaction not acknowledged, 0 when none */
extern TimestampTz flo_publisher_oldest(FloPublisher *publisher);

#endif
