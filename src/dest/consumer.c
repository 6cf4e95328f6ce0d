/*
 * consumer.c
 *		Hands out a group's chunks strictly in stream order.
 *
 * The broker's consumer is a tap, not a bookmark: it is re-created at every
 * attach, at the sequence that the position (an LSN) leads to, and its
 * redelivery is never relied upon.  What comes must follow in stream order;
 * what is older is dropped, and a jump forward means that the place is lost.
 *
 * A message whose epoch is lower than that of one of the FLO_WINDOW messages
 * before it is void: it arrived late from an older publishing session.  So is
 * what is no chunk at all.  If a void message should have mattered, the next
 * chunk does not link to the position and the loss is noticed.
 */
#include "postgres.h"

#include "core/clock.h"
#include "dest/consumer.h"
#include "dest/losses.h"
#include "monitor/state.h"
#include "utils/memutils.h"
#include "wire/squeeze.h"

/* Messages asked for at a time; two requests are kept open */
#define PULL_BATCH 16
#define PULL_EXPIRES 30000		/* ms */

/* Acknowledging is for the broker's book-keeping: one that is forgotten is made up by the next */
#define ACKS_KEPT 256

typedef struct AckSubject
{
	uint64		seq;
	char		subject[256];
} AckSubject;

/* Looking for a place means to look at its neighbours, too, again and again */
#define PROBES_KEPT 64

/* What is known of a stored message while searching */
typedef struct Probe
{
	uint64		asked;			/* the sequence that was looked at */
	uint64		seq;			/* the same, 0: none */
	FloChunkHeader header;
	XLogRecPtr	first_outside;	/* the lowest position that may begin here */
} Probe;

struct FloConsumer
{
	FloBus	   *bus;
	char	   *stream;
	char	   *name;

	/* place in the stream */
	uint64		next;			/* the sequence that must come next */
	pg_uuid_t	generation;		/* that the position belongs to */
	XLogRecPtr	position;		/* at the last attach */
	uint64		start;			/* below it, messages only tell their epoch */
	bool		entered;		/* a chunk to begin with has come */
	XLogRecPtr	sought;			/* of a search: a commit's end */
	uint64		epochs[FLO_WINDOW]; /* of the messages before next, by
									 * sequence; 0 = not known */

	/* how much there is */
	uint64		first;			/* sequences that the stream is known to have */
	uint64		last;
	double		mean;			/* bytes of a message */

	/* requests */
	int			requested[2];	/* messages still to come of the older and the
								 * newer one */
	AckSubject	acks[ACKS_KEPT];	/* of the newest chunks, by sequence */
	StringInfoData plain;		/* of the chunk that was handed out, if it
								 * came compressed */
	Probe	   *probes;			/* of a search, by sequence; see probe() */
	uint64		stalled_at;		/* next, when the last look found it stored
								 * but not delivered */
	FloLosses	losses;
};

FloConsumer *
flo_consumer_open(FloBus *bus, const char *stream, const char *consumer)
{
	FloConsumer *result = palloc0(sizeof(FloConsumer));
	MemoryContext old;

	result->bus = bus;
	result->stream = pstrdup(stream);
	result->name = pstrdup(consumer);
	old = MemoryContextSwitchTo(AllocSetContextCreate(CurrentMemoryContext, "pg_flo expanded chunk",
													  ALLOCSET_SMALL_SIZES));
	initStringInfo(&result->plain);
	MemoryContextSwitchTo(old);
	result->probes = palloc0(sizeof(Probe) * PROBES_KEPT);
	return result;
}

void
flo_consumer_set_generation(FloConsumer *c, const pg_uuid_t *generation)
{
	c->generation = *generation;
}

/* --- how much there is --------------------------------------------------- */

static void
note_stream(FloConsumer *c, const FloStreamInfo *info)
{
	c->first = info->first_seq;
	c->last = info->last_seq;
	if (info->messages > 0)
		c->mean = (double) info->bytes / info->messages;
}

static void
note_delivery(FloConsumer *c, const FloBusDelivery *delivery)
{
	c->last = delivery->stream_seq + delivery->pending;
	c->mean += (delivery->len - c->mean) / 16;
}

void
flo_consumer_look(FloConsumer *c)
{
	FloStreamInfo info;

	if (flo_stream_info(c->bus, c->stream, &info))
		note_stream(c, &info);
}

int64
flo_consumer_bytes_behind(const FloConsumer *c, uint64 seq)
{
	/* what lies before the place where it started is applied */
	uint64		done = Max(seq, Max(c->start, Max(c->first, 1)) - 1);

	return c->last > done ? (int64) ((c->last - done) * c->mean) : 0;
}

bool
flo_consumer_at_end(const FloConsumer *c)
{
	return c->next > c->last;
}

/* --- finding the place --------------------------------------------------- */

/* By a search what an earlier one knew may be gone, or there under the same number */
static bool
begin_search(FloConsumer *c, FloStreamInfo *info)
{
	memset(c->probes, 0, sizeof(Probe) * PROBES_KEPT);
	return flo_stream_info(c->bus, c->stream, info);
}

static void
look_at(FloConsumer *c, uint64 seq, Probe *p)
{
	FloStoredMessage message;

	p->asked = seq;
	p->seq = 0;
	if (!flo_stream_get(c->bus, c->stream, seq, &message))
		return;
	if (flo_chunk_open_own(&message.data, &message.len, &p->header) == NULL)
	{
		p->seq = seq;
		p->first_outside = flo_chunk_first_outside(message.data, message.len, &p->header);
	}
	pfree(message.data);
}

/* Epoch 0 stands for "no message" and "no chunk", both of which make nothing void */
static uint64
probe(FloConsumer *c, uint64 seq, Probe *p)
{
	Probe	   *kept = &c->probes[seq % PROBES_KEPT];

	if (kept->asked != seq)
		look_at(c, seq, kept);
	*p = *kept;
	return p->seq != 0 ? p->header.epoch : 0;
}

/* Is there a chunk that counts at a sequence? */
static bool
counts_at(FloConsumer *c, const FloStreamInfo *info, uint64 seq, Probe *p)
{
	uint64		epoch = probe(c, seq, p);
	bool		is_void = epoch == 0;

	for (int back = 1; back <= FLO_WINDOW && !is_void && seq >= info->first_seq + back; back++)
	{
		Probe		before;

		is_void = probe(c, seq - back, &before) > epoch;
	}
	return !is_void;
}

/* The newest chunk that counts at or below a sequence */
static Probe
effective_at_or_below(FloConsumer *c, const FloStreamInfo *info, uint64 seq)
{
	Probe		result;

	for (; seq >= info->first_seq && seq > 0; seq--)
	{
		if (counts_at(c, info, seq, &result))
			return result;
	}
	result.seq = 0;
	return result;
}

/* LSNs of another generation mean nothing here */
static bool
is_ours(const FloConsumer *c, const FloChunkHeader *header)
{
	return memcmp(&header->generation, &c->generation, sizeof(pg_uuid_t)) == 0;
}

/* May a reader with our position enter the stream here? */
static bool
may_begin_at(FloConsumer *c, const Probe *p)
{
	return p->seq != 0 && p->first_outside <= c->position;
}

/* Does it leave something out after the position? */
static bool
is_beyond(FloConsumer *c, const Probe *p)
{
	return p->header.from > c->position;
}

/* Does it end where the position is, or later? */
static bool
reaches(FloConsumer *c, const Probe *p)
{
	return p->header.position >= c->position && is_ours(c, &p->header);
}

/*
 * The first chunk for which "test" is true, given that it is for "last" and,
 * once true, remains so over the chunks that count: none of their LSNs ever
 * goes back.
 */
static Probe
first_that(FloConsumer *c, const FloStreamInfo *info, Probe last,
		   bool (*test) (FloConsumer *c, const Probe *p))
{
	uint64		low = info->first_seq - 1;	/* untrue there, or nothing counts */

	/* mostly it is near: what is looked at are whole messages */
	for (uint64 step = 1; last.seq > low + step; step *= 2)
	{
		uint64		before = last.seq - step;
		Probe		m = effective_at_or_below(c, info, before);

		if (m.seq == 0 || !test(c, &m))
		{
			low = before;
			break;
		}
		last = m;
	}
	while (last.seq - low > 1)
	{
		uint64		middle = low + (last.seq - low) / 2;
		Probe		m = effective_at_or_below(c, info, middle);

		if (m.seq > low && test(c, &m))
			last = m;
		else
			low = middle;
	}
	return last;
}

/*
 * Back to the chunk where the transaction began that is open at this one's
 * start.  What is open at the start of that chunk ends before it, hence at or
 * below the position, so no further.
 */
static Probe
transaction_start(FloConsumer *c, const FloStreamInfo *info, Probe p)
{
	while (p.seq != 0 && (p.header.flags & FLO_CHUNK_STARTS_INSIDE) && !may_begin_at(c, &p))
	{
		uint64		back = Max(p.header.number - p.header.txn_number, 1);

		if (back >= p.seq)
			back = 1;
		p = effective_at_or_below(c, info, p.seq - back);
	}
	return p;
}

/*
 * The chunk of that number in the session of a probe, going back from there.  Void
 * messages may lie in between, so it takes more than one step.  Seq 0: it is gone.
 */
static Probe
back_to_number(FloConsumer *c, const FloStreamInfo *info, Probe p, uint64 number)
{
	uint64		epoch = p.header.epoch;

	while (p.seq != 0 && p.header.epoch == epoch && p.header.number > number)
	{
		uint64		back = p.header.number - number;

		p = effective_at_or_below(c, info, back < p.seq ? p.seq - back : 0);
	}
	if (p.seq != 0 && p.header.epoch != epoch)
		p.seq = 0;
	return p;
}

/*
 * Nobody goes on at a chunk, or behind the last one, without the pieces of what is open
 * there.  Those that are gone were not needed, or the end of their transaction shows
 * that they were.
 */
static uint64
oldest_piece(FloConsumer *c, const FloStreamInfo *info, uint64 start)
{
	Probe		p = effective_at_or_below(c, info, Min(start, info->last_seq));
	Probe		oldest;

	if (p.seq == 0 || !is_ours(c, &p.header))
		return start;
	if (!(p.header.flags & FLO_CHUNK_OVER_PIECES))
		return p.seq < start && (p.header.flags & FLO_CHUNK_PIECE) ? p.seq : start;
	oldest = back_to_number(c, info, p, p.header.txn_number);
	return Min(start, Max(oldest.seq, info->first_seq));
}

void
flo_consumer_fail_gap(XLogRecPtr position, XLogRecPtr from)
{
	flo_fail(ERRCODE_DATA_CORRUPTED,
			 "The stream no longer holds what this worker needs: it was purged, expired or lost by the broker. Restore a newer backup of the broker, then flo.start_group(); else start over with flo.resync() at the source.",
			 "gap: this worker has everything up to %X/%X, the stream goes on after %X/%X",
			 LSN_FORMAT_ARGS(position), LSN_FORMAT_ARGS(from));
}

/*
 * Where everything after the position can be had: the newest chunk that leaves
 * nothing out, or the one where the transaction began that it starts inside.
 */
static uint64
locate(FloConsumer *c, const FloStreamInfo *info, uint64 hint)
{
	Probe		newest;
	Probe		p;
	XLogRecPtr	goes_on;

	if (hint >= info->first_seq && hint <= info->last_seq)
	{
		p = effective_at_or_below(c, info, hint);
		if (may_begin_at(c, &p) && is_ours(c, &p.header))
			return p.seq;
	}
	p = newest = effective_at_or_below(c, info, info->last_seq);
	if (newest.seq == 0)
		return info->last_seq + 1;	/* nothing here counts */
	if (!is_ours(c, &newest.header))
		return newest.seq;		/* the worker decides whether it may follow */

	/* We have all of it, and where its last transaction began may be purged */
	if (newest.header.upto <= c->position && !(newest.header.flags & FLO_CHUNK_ENDS_INSIDE))
		return newest.seq + 1;

	if (is_beyond(c, &newest))
	{
		Probe		beyond = first_that(c, info, newest, is_beyond);

		p = effective_at_or_below(c, info, beyond.seq - 1);
		if (p.seq == 0)
			flo_consumer_fail_gap(c->position, beyond.header.from);
	}
	goes_on = p.header.upto;
	p = transaction_start(c, info, p);
	if (may_begin_at(c, &p))
		return p.seq;
	if (goes_on > c->position)
		flo_consumer_fail_gap(c->position, goes_on);

	/*
	 * All there is are pieces of one transaction without its begin, as a full
	 * stream leaves them when its limit is raised.  The source sends it
	 * again, or what comes after it shows the gap.
	 */
	return info->last_seq + 1;
}

/*
 * Markers and heartbeats move no "from": a chunk that leaves nothing out after
 * the position may still have one before it that was never taken.  So start
 * at the first chunk that reaches the position; what is in it is known by LSN.
 */
static uint64
earliest_unseen(FloConsumer *c, const FloStreamInfo *info, uint64 found)
{
	Probe		p = effective_at_or_below(c, info, Min(found, info->last_seq));

	if (p.seq == 0 || !reaches(c, &p))
		return found;
	return first_that(c, info, p, reaches).seq;
}

bool
flo_consumer_first(FloConsumer *c, FloChunkHeader *header)
{
	FloStreamInfo info;

	if (!begin_search(c, &info) || info.messages == 0)
		return false;
	for (uint64 seq = info.first_seq; seq <= info.last_seq; seq++)
	{
		Probe		p;

		if (counts_at(c, &info, seq, &p))
		{
			*header = p.header;
			return true;
		}
	}
	return false;
}

/* Are the pieces there of all that is open at the chunk's start? */
static bool
has_pieces(FloConsumer *c, const FloStreamInfo *info, Probe p)
{
	return !(p.header.flags & FLO_CHUNK_OVER_PIECES) ||
		back_to_number(c, info, p, p.header.txn_number).seq != 0;
}

bool
flo_consumer_first_outside(FloConsumer *c, FloChunkHeader *header, XLogRecPtr *first_outside)
{
	FloStreamInfo info;

	if (!begin_search(c, &info) || info.messages == 0)
		return false;
	for (uint64 seq = info.first_seq; seq <= info.last_seq; seq++)
	{
		Probe		p;

		if (counts_at(c, &info, seq, &p) && p.first_outside != FLO_NEVER_OUTSIDE &&
			has_pieces(c, &info, p))
		{
			*header = p.header;
			*first_outside = p.first_outside;
			return true;
		}
	}
	return false;
}

List *
flo_consumer_marker(FloConsumer *c)
{
	FloStreamInfo info;
	List	   *keys = NIL;
	bool		found = false;

	if (!flo_stream_info(c->bus, c->stream, &info))
		return NIL;
	for (uint64 seq = info.first_seq; seq <= info.last_seq && !found; seq++)
	{
		FloStoredMessage message;
		FloChunkHeader header;
		FloChunkReader reader;
		FloCopyKey	key;

		if (!flo_stream_get(c->bus, c->stream, seq, &message))
			continue;
		found = flo_chunk_open_own(&message.data, &message.len, &header) == NULL &&
			(header.flags & FLO_CHUNK_MARKER);
		if (found)
		{
			flo_chunk_read(&reader, message.data, message.len);
			while (flo_chunk_next_copy_key(&reader, &key))
				keys = lappend(keys, memcpy(palloc(sizeof(key)), &key, sizeof(key)));
		}
		pfree(message.data);
	}
	return keys;
}

bool
flo_consumer_newest(FloConsumer *c, FloChunkHeader *header)
{
	FloStreamInfo info;
	Probe		p;

	if (!begin_search(c, &info) || info.messages == 0)
		return false;
	p = effective_at_or_below(c, &info, info.last_seq);
	*header = p.header;
	return p.seq != 0;
}

/* --- finding a time ------------------------------------------------------ */

static bool
is_at_or_after(FloConsumer *c, const Probe *p)
{
	return p->header.upto >= c->sought;
}

/* From a piece, of which there may be very many, to where the last commit before it ends */
static Probe
before_pieces(FloConsumer *c, const FloStreamInfo *info, Probe p)
{
	Probe		found;

	c->sought = p.header.upto;
	found = first_that(c, info, p, is_at_or_after);
	return found.seq < p.seq ? found : effective_at_or_below(c, info, p.seq - 1);
}

/*
 * The newest chunk at or below a sequence in which a transaction ends, since that one's
 * time is its header's; seq 0 when there is none, or all of it was before "time".  What
 * a heartbeat says is when it was sent: all commits before it are older.
 */
static Probe
last_commit(FloConsumer *c, const FloStreamInfo *info, uint64 seq, TimestampTz time)
{
	Probe		p = effective_at_or_below(c, info, seq);

	while (p.seq != 0 && ((p.header.flags & FLO_CHUNK_OUTSIDE) || p.header.upto == p.header.from))
	{
		uint64		back = 1;

		if ((p.header.flags & FLO_CHUNK_OUTSIDE) && p.header.commit_time < time)
			break;
		if (p.header.flags & FLO_CHUNK_PIECE)
		{
			p = before_pieces(c, info, p);
			continue;
		}
		/* in the midst of a large transaction: to where that began */
		if (p.header.flags & FLO_CHUNK_STARTS_INSIDE)
			back = Max(p.header.number - p.header.txn_number, 1);
		p = effective_at_or_below(c, info, back < p.seq ? p.seq - back : 0);
	}
	return p;
}

bool
flo_consumer_since(FloConsumer *c, TimestampTz time, XLogRecPtr *lsn, bool *before)
{
	FloStreamInfo info;
	FloStoredMessage message;
	Probe		newest;
	Probe		found = {0};
	uint64		low;
	uint64		high;

	*before = false;
	if (!begin_search(c, &info) || info.messages == 0)
		return false;
	newest = effective_at_or_below(c, &info, info.last_seq);
	if (newest.seq == 0)
		return false;
	low = info.first_seq - 1;	/* what ends up to there was before */
	high = info.last_seq;
	while (low < high)
	{
		uint64		middle = low + (high - low + 1) / 2;
		Probe		p = last_commit(c, &info, middle, time);

		*before |= p.seq != 0 && p.header.commit_time < time;
		if (p.seq > low && p.header.commit_time >= time)
		{
			found = p;
			high = p.seq - 1;
		}
		else
			low = middle;
	}
	*lsn = newest.header.position;
	if (found.seq == 0 || !flo_stream_get(c->bus, c->stream, found.seq, &message))
		return true;
	if (flo_chunk_open_own(&message.data, &message.len, &found.header) == NULL)
		*lsn = flo_chunk_first_since(message.data, message.len, &found.header, time, before);
	else
		*lsn = InvalidXLogRecPtr;
	if (XLogRecPtrIsInvalid(*lsn))
		*lsn = found.header.upto;
	pfree(message.data);
	return true;
}

/* --- taking -------------------------------------------------------------- */

static void
request_more(FloConsumer *c)
{
	if (c->requested[1] > 0 || c->requested[0] > PULL_BATCH / 2)
		return;
	flo_bus_pull(c->bus, c->stream, c->name, PULL_BATCH, PULL_EXPIRES);
	if (c->requested[0] > 0)
		c->requested[1] = PULL_BATCH;
	else
		c->requested[0] = PULL_BATCH;
}

static void
older_request_ended(FloConsumer *c)
{
	c->requested[0] = c->requested[1];
	c->requested[1] = 0;
}

static void
message_came(FloConsumer *c)
{
	if (c->requested[0] > 0)
		c->requested[0]--;
	if (c->requested[0] == 0)
		older_request_ended(c);
}

bool
flo_consumer_attach(FloConsumer *c, XLogRecPtr position, uint64 hint)
{
	FloStreamInfo info;
	uint64		first_wanted;

	flo_bus_pull_reset(c->bus);
	c->requested[0] = c->requested[1] = 0;
	if (!begin_search(c, &info))
		return false;
	note_stream(c, &info);
	c->position = position;
	c->entered = false;
	c->start = info.last_seq + 1;
	if (info.messages > 0)
	{
		c->start = earliest_unseen(c, &info, locate(c, &info, hint));
		c->start = oldest_piece(c, &info, c->start);
	}
	c->stalled_at = 0;

	/* the messages before it are read too, for their epochs */
	first_wanted = c->start > FLO_WINDOW ? c->start - FLO_WINDOW : 1;
	c->next = Min(Max(first_wanted, info.first_seq), c->start);
	memset(c->epochs, 0, sizeof(c->epochs));
	flo_consumer_create(c->bus, c->stream, c->name, c->next);
	request_more(c);
	return true;
}

bool
flo_consumer_resume(FloConsumer *c)
{
	FloStreamInfo info;

	flo_bus_pull_reset(c->bus);
	c->requested[0] = c->requested[1] = 0;
	c->stalled_at = 0;
	if (!flo_stream_info(c->bus, c->stream, &info) || c->next > info.last_seq + 1)
		return false;
	note_stream(c, &info);
	flo_consumer_create(c->bus, c->stream, c->name, c->next);
	request_more(c);
	return true;
}

uint64
flo_consumer_start(const FloConsumer *c)
{
	return c->start;
}

static bool
seen_later_epoch(FloConsumer *c, uint64 epoch)
{
	for (int i = 0; i < FLO_WINDOW; i++)
		if (c->epochs[i] > epoch)
			return true;
	return false;
}

/*
 * Messages that are gone leave a hole, those that expired or were purged all at
 * the front.  Whether they matter shows the next link.
 */
static bool
skip_hole(FloConsumer *c, uint64 seq)
{
	Probe		p;
	FloStreamInfo info;

	if (begin_search(c, &info) && info.first_seq > c->next)
	{
		memset(c->epochs, 0, sizeof(c->epochs));
		c->next = Min(info.first_seq, seq);
	}
	while (c->next < seq)
	{
		if (probe(c, c->next, &p) != 0)
			return false;
		c->epochs[c->next % FLO_WINDOW] = 0;
		c->next++;
	}
	return true;
}

/* Look at a message that has come; true when it is a chunk that counts */
static bool
examine(FloConsumer *c, FloBusDelivery *delivery, FloChunk *chunk)
{
	const char *reason;
	bool		counts;

	chunk->seq = delivery->stream_seq;
	chunk->data = delivery->data;
	chunk->len = delivery->len;
	reason = flo_chunk_open(&chunk->data, &chunk->len, &chunk->header, &c->plain);
	counts = reason == NULL && !seen_later_epoch(c, chunk->header.epoch);

	c->epochs[delivery->stream_seq % FLO_WINDOW] = reason == NULL ? chunk->header.epoch : 0;
	c->next = delivery->stream_seq + 1;
	if (reason == flo_chunk_is_newer)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("message " UINT64_FORMAT " of stream \"%s\" cannot be read: %s",
						delivery->stream_seq, c->stream, reason),
				 errhint("Upgrade pg_flo here to the version of the source.")));
	if (reason != NULL)
		ereport(WARNING,
				(errmsg("message " UINT64_FORMAT " of stream \"%s\" is passed over: %s",
						delivery->stream_seq, c->stream, reason)));
	if (!counts || delivery->stream_seq < c->start)
		return false;

	/*
	 * pieces of a transaction whose begin is gone: one that starts outside
	 * follows, or shows the gap
	 */
	if (!c->entered && is_ours(c, &chunk->header) &&
		(chunk->header.flags & FLO_CHUNK_STARTS_INSIDE) &&
		flo_chunk_first_outside(chunk->data, chunk->len, &chunk->header) > c->position)
		return false;
	c->entered = true;
	return true;
}

static void
remember_ack(FloConsumer *c, const FloBusDelivery *delivery)
{
	AckSubject *ack = &c->acks[delivery->stream_seq % ACKS_KEPT];

	if (strlcpy(ack->subject, delivery->ack_subject, sizeof(ack->subject)) < sizeof(ack->subject))
		ack->seq = delivery->stream_seq;
	else
		ack->seq = 0;
}

/* A status instead of a message: false when the consumer is gone, or its leader */
static bool
take_status(FloConsumer *c, const FloBusDelivery *delivery)
{
	if (delivery->status == 404 || delivery->status == 408)
	{
		older_request_ended(c);
		return true;
	}
	if (delivery->status != 409 && delivery->status != 503)
		return true;
	if (delivery->status == 409 && strcmp(delivery->status_text, "Consumer Deleted") == 0)
		flo_losses_taken(&c->losses, c->name, c->stream);
	else
		flo_losses_lost(&c->losses, c->name, c->stream);
	return false;
}

/*
 * More is asked for before what came is handed out, so that the next messages
 * travel while this one is applied.  What is lower than the next one was handed out
 * before; what is higher leaves a hole, which is looked at, or the place is lost.
 */
FloTake
flo_consumer_take(FloConsumer *c, FloChunk *chunk)
{
	FloBusDelivery *delivery = &chunk->delivery;

	while (flo_bus_next_delivery(c->bus, delivery))
	{
		bool		usable;

		if (delivery->status != 0)
		{
			usable = take_status(c, delivery);
			flo_bus_release(c->bus, delivery);
			if (!usable)
				return FLO_TAKE_LOST;
			request_more(c);
			continue;
		}
		message_came(c);
		note_delivery(c, delivery);
		request_more(c);
		if (delivery->stream_seq < c->next)
		{
			flo_bus_release(c->bus, delivery);
			continue;
		}
		if (delivery->stream_seq > c->next && !skip_hole(c, delivery->stream_seq))
		{
			flo_bus_release(c->bus, delivery);
			flo_losses_lost(&c->losses, c->name, c->stream);
			return FLO_TAKE_LOST;
		}
		remember_ack(c, delivery);
		if (!examine(c, delivery, chunk))
		{
			flo_bus_release(c->bus, delivery);
			continue;
		}
		return FLO_TAKE_CHUNK;
	}
	request_more(c);
	return FLO_TAKE_DRY;
}

void
flo_consumer_release(FloConsumer *c, FloChunk *chunk)
{
	flo_bus_release(c->bus, &chunk->delivery);
}

/*
 * Messages that the stream has and that do not come mean that the broker's
 * consumer is gone; one look may meet a message on its way, so it takes two.  The
 * newest may be missing in the stream, as a broker leaves it that has lost them.
 */
bool
flo_consumer_verify(FloConsumer *c)
{
	FloStreamInfo info;
	bool		waiting;
	bool		stalled;

	if (!flo_stream_info(c->bus, c->stream, &info) || c->next > info.last_seq + 1)
		return false;
	note_stream(c, &info);
	waiting = c->next <= info.last_seq;
	stalled = waiting && c->stalled_at == c->next;
	if (stalled && skip_hole(c, info.last_seq + 1))
		waiting = stalled = false;	/* they are gone */
	c->stalled_at = waiting ? c->next : 0;
	if (stalled)
		flo_losses_lost(&c->losses, c->name, c->stream);
	return !stalled;
}

bool
flo_consumer_waits(const FloConsumer *c)
{
	return c->stalled_at != 0;
}

void
flo_consumer_ack(FloConsumer *c, uint64 seq)
{
	const AckSubject *ack = &c->acks[seq % ACKS_KEPT];

	if (ack->seq == seq && seq != 0)
		flo_bus_publish(c->bus, ack->subject, "+ACK", 4);
}
