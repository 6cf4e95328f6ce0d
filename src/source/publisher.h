/*
 * publisher.h
 *		Packs logical replication messages into chunks and publishes them in
 *		order, with a bounded number in flight.
 */
#ifndef FLO_PUBLISHER_H
#define FLO_PUBLISHER_H

#include "core/memory.h"
#include "nodes/pg_list.h"
#include "source/early.h"
#include "source/window.h"

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
	int64		allowed;		/* bytes that the account leaves the stream */
} FloSession;

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
 * A large transaction that is read again has descriptions of its own, which hold
 * between "begin" and "end", and after that for all unless they have newer ones.  A
 * description gets its age when it is read from the plugin; 0: it is the newest.
 */
extern uint64 flo_publisher_next_age(FloPublisher *publisher);
extern void flo_publisher_begin_whole(FloPublisher *publisher);
extern void flo_publisher_append_aged(FloPublisher *publisher, uint64 age, const char *data,
									  uint32 len);
extern void flo_publisher_end_whole(FloPublisher *publisher);

/*
 * A transaction that is still running, in pieces: what is appended between "begin" and
 * "end" is published, each message under its subtransaction.  The publisher itself may
 * withdraw it, at any message of whatever transaction; then, and when it is withdrawn
 * from here, it has to come whole.  That holds, too, when its commit answers that nothing
 * of it was published.  "commit" is the COMMIT message that it would have had.
 */
extern void flo_publisher_set_limits(FloPublisher *publisher, const FloEarlyLimits *limits);
extern void flo_publisher_begin_piece(FloPublisher *publisher, FloEarly *early);
extern void flo_publisher_append_piece(FloPublisher *publisher, TransactionId subxid, uint64 age,
									   const char *data, uint32 len);
extern void flo_publisher_end_piece(FloPublisher *publisher);
extern void flo_publisher_withdraw(FloPublisher *publisher, FloEarly *early);
extern void flo_publisher_abort_part(FloPublisher *publisher, FloEarly *early,
									 TransactionId subxid);
extern bool flo_publisher_commit_early(FloPublisher *publisher, FloEarly *early,
									   const char *commit);

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

/* May chunks be compressed, as all that read them can expand it?  At any time, at first not. */
extern void flo_publisher_set_squeeze(FloPublisher *publisher, bool on);

/* May what is behind a refused chunk be stored?  Then one is in flight; at any time. */
extern void flo_publisher_set_one_by_one(FloPublisher *publisher, bool one_by_one);

/* Bytes to be sent from now on before the host is to wait for room; at any time, at first all */
extern void flo_publisher_set_allowed(FloPublisher *publisher, int64 bytes);

/* Take the broker's answers that have arrived; throws as above */
extern void flo_publisher_pump(FloPublisher *publisher);

/* Send what is packed, if anything is and the window has room.  Between transactions only. */
extern void flo_publisher_flush(FloPublisher *publisher);

/* The same when no chunk has been sent for so long */
extern void flo_publisher_flush_after(FloPublisher *publisher, int ms);

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

/* Bytes of pieces of transactions that are still running */
extern int64 flo_publisher_open_bytes(FloPublisher *publisher);

/* Commit time of the oldest transaction not acknowledged, 0 when none */
extern TimestampTz flo_publisher_oldest(FloPublisher *publisher);

#endif
