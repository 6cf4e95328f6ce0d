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

#include "dest/consumer.h"
#include "monitor/shstate.h"
#include "utils/timestamp.h"

/* Messages asked for at a time; two requests are kept open */
#define PULL_BATCH 16
#define PULL_EXPIRES 30000		/* ms */

/* More attaches than this within a minute: somebody else uses our name */
#define MAX_ATTACHES 6

/* Acknowledging is for the broker's book-keeping: one that is forgotten is made up by the next */
#define ACKS_KEPT 256

typedef struct AckSubject
{
	uint64		seq;
	char		subject[256];
} AckSubject;

struct FloConsumer
{
	FloBus	   *bus;
	char	   *stream;
	char	   *name;

	/* place in the stream */
	uint64		next;			/* the sequence that must come next */
	pg_uuid_t	generation;		/* that the position belongs to */
	uint64		start;			/* below it, messages only tell their epoch */
	bool		headless;		/* what comes belongs to a transaction whose begin is gone */
	uint64		epochs[FLO_WINDOW]; /* of the messages before next, by sequence; 0 = not known */

	/* requests */
	int			requested[2];	/* messages still to come of the older and the newer one */
	AckSubject	acks[ACKS_KEPT];	/* of the newest chunks, by sequence */
	uint64		stalled_at;		/* next, when the last look found it stored but not delivered */
	TimestampTz attached[MAX_ATTACHES]; /* newest first */
};

FloConsumer *
flo_consumer_open(FloBus *bus, const char *stream, const char *consumer)
{
	FloConsumer *result = palloc0(sizeof(FloConsumer));

	result->bus = bus;
	result->stream = pstrdup(stream);
	result->name = pstrdup(consumer);
	return result;
}

void
flo_consumer_set_generation(FloConsumer *c, const pg_uuid_t *generation)
{
	c->generation = *generation;
}

/* --- finding the place -------------------------------------------------------------- */

/* What is known of a stored message while searching */
typedef struct Probe
{
	uint64		seq;			/* 0: none */
	FloChunkHeader header;
} Probe;

/* Epoch 0 stands for "no message" and "no chunk", both of which make nothing void */
static uint64
probe(FloConsumer *c, uint64 seq, FloChunkHeader *header)
{
	FloStoredMessage message;
	uint64		epoch = 0;

	if (!flo_stream_get(c->bus, c->stream, seq, &message))
		return 0;
	if (flo_chunk_parse(message.data, message.len, header) == NULL)
		epoch = header->epoch;
	pfree(message.data);
	return epoch;
}

/* The newest chunk that counts at or below a sequence */
static Probe
effective_at_or_below(FloConsumer *c, const FloStreamInfo *info, uint64 seq)
{
	Probe		result = {0};

	for (; seq >= info->first_seq && seq > 0; seq--)
	{
		uint64		epoch = probe(c, seq, &result.header);
		bool		is_void = epoch == 0;

		for (int back = 1; back <= FLO_WINDOW && !is_void && seq >= info->first_seq + back; back++)
		{
			FloChunkHeader before;

			is_void = probe(c, seq - back, &before) > epoch;
		}
		if (!is_void)
		{
			result.seq = seq;
			return result;
		}
	}
	result.seq = 0;
	return result;
}

/* LSNs of another generation mean nothing here */
static bool
is_ours(FloConsumer *c, const Probe *p)
{
	return memcmp(&p->header.generation, &c->generation, sizeof(pg_uuid_t)) == 0;
}

static bool
is_entrance(const Probe *p, XLogRecPtr position)
{
	return p->seq != 0 && p->header.from <= position &&
		!(p->header.flags & FLO_CHUNK_STARTS_INSIDE);
}

/* From a chunk inside a transaction back to the one where that began */
static Probe
transaction_start(FloConsumer *c, const FloStreamInfo *info, Probe p)
{
	while (p.seq != 0 && (p.header.flags & FLO_CHUNK_STARTS_INSIDE))
	{
		uint64		back = Max(p.header.number - p.header.txn_number, 1);

		if (back >= p.seq)
			back = 1;
		p = effective_at_or_below(c, info, p.seq - back);
	}
	return p;
}

static void
fail_gap(XLogRecPtr position, XLogRecPtr from)
{
	flo_fail(ERRCODE_DATA_CORRUPTED,
			 "The stream no longer holds what this worker needs: it was purged, expired or lost by the broker. Start over with flo.resync() at the source.",
			 "gap: this worker has everything up to %X/%X, the stream goes on after %X/%X",
			 LSN_FORMAT_ARGS(position), LSN_FORMAT_ARGS(from));
}

/*
 * The sequence to start at: the last chunk that begins outside a transaction
 * and leaves nothing out after the position.  "from" never decreases over the
 * chunks that count, so it can be bisected.
 */
static uint64
locate(FloConsumer *c, const FloStreamInfo *info, XLogRecPtr position, uint64 hint)
{
	uint64		low = info->first_seq;
	uint64		high = info->last_seq;
	XLogRecPtr	beyond = InvalidXLogRecPtr;
	Probe		p;

	c->headless = false;
	if (info->messages == 0)
		return info->last_seq + 1;
	if (hint >= low && hint <= high)
	{
		p = effective_at_or_below(c, info, hint);
		if (is_entrance(&p, position) && is_ours(c, &p))
			return p.seq;
	}
	p = effective_at_or_below(c, info, high);
	if (p.seq == 0)
		return info->last_seq + 1;	/* nothing here counts */
	if (!is_ours(c, &p))
		return p.seq;			/* the worker decides whether it may follow */

	/* We have all of it, and where its last transaction began may be purged */
	if (p.header.upto <= position && !(p.header.flags & FLO_CHUNK_ENDS_INSIDE))
		return p.seq + 1;

	/* at low "from" is not beyond the position, or nothing counts; at high it is beyond */
	low--;
	while (p.header.from > position && high - low > 1)
	{
		uint64		middle = low + (high - low) / 2;
		Probe		m = effective_at_or_below(c, info, middle);

		if (m.seq != 0 && m.header.from > position)
			high = middle;
		else
			low = middle;
	}
	if (p.header.from > position)
	{
		beyond = effective_at_or_below(c, info, high).header.from;
		p = effective_at_or_below(c, info, low);
		if (p.seq == 0)
			fail_gap(position, beyond);
	}
	p = transaction_start(c, info, p);
	if (is_entrance(&p, position))
		return p.seq;
	if (!XLogRecPtrIsInvalid(beyond))
		fail_gap(position, beyond);

	/*
	 * All there is are pieces of one transaction without its begin, as a full
	 * stream leaves them when its limit is raised.  The source sends it again,
	 * or what comes after it shows the gap.
	 */
	c->headless = true;
	return info->last_seq + 1;
}

/*
 * Markers and heartbeats move no "from": a chunk that leaves nothing out after
 * the position may still have one before it that was never taken.  So start
 * at the first chunk that reaches the position; what is in it is known by LSN.
 */
static uint64
earliest_unseen(FloConsumer *c, const FloStreamInfo *info, XLogRecPtr position, uint64 found)
{
	Probe		p = effective_at_or_below(c, info, Min(found, info->last_seq));
	uint64		low = info->first_seq - 1;

	if (p.seq == 0 || p.header.position < position || !is_ours(c, &p))
		return found;
	while (p.seq - low > 1)
	{
		uint64		middle = low + (p.seq - low) / 2;
		Probe		m = effective_at_or_below(c, info, middle);

		if (m.seq > low && m.header.position >= position && is_ours(c, &m))
			p = m;
		else
			low = middle;
	}
	return is_entrance(&p, position) ? p.seq : found;
}

static bool
first_chunk(FloConsumer *c, bool outside, FloChunkHeader *header)
{
	FloStreamInfo info;

	if (!flo_stream_info(c->bus, c->stream, &info) || info.messages == 0)
		return false;
	for (uint64 seq = info.first_seq; seq <= info.last_seq; seq++)
	{
		Probe		p = effective_at_or_below(c, &info, seq);

		if (p.seq != 0 && !(outside && (p.header.flags & FLO_CHUNK_STARTS_INSIDE)))
		{
			*header = p.header;
			return true;
		}
	}
	return false;
}

bool
flo_consumer_first(FloConsumer *c, FloChunkHeader *header)
{
	return first_chunk(c, false, header);
}

bool
flo_consumer_entrance(FloConsumer *c, FloChunkHeader *header)
{
	return first_chunk(c, true, header);
}

List *
flo_consumer_marker(FloConsumer *c)
{
	FloStreamInfo info;
	List	   *keys = NIL;

	if (!flo_stream_info(c->bus, c->stream, &info))
		return NIL;
	for (uint64 seq = info.first_seq; seq <= info.last_seq && keys == NIL; seq++)
	{
		FloStoredMessage message;
		FloChunkHeader header;
		FloChunkReader reader;
		FloCopyKey	key;

		if (!flo_stream_get(c->bus, c->stream, seq, &message))
			continue;
		if (flo_chunk_parse(message.data, message.len, &header) == NULL && (header.flags & FLO_CHUNK_MARKER))
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

	if (!flo_stream_info(c->bus, c->stream, &info) || info.messages == 0)
		return false;
	p = effective_at_or_below(c, &info, info.last_seq);
	*header = p.header;
	return p.seq != 0;
}

/* --- taking ------------------------------------------------------------------------------ */

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

/* Two workers of one name would take the consumer from each other for ever */
static void
count_attach(FloConsumer *c)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz oldest = c->attached[MAX_ATTACHES - 1];

	if (oldest != 0 && !TimestampDifferenceExceeds(oldest, now, 60 * 1000))
		flo_fail(ERRCODE_OBJECT_IN_USE,
				 "A copy of this database is running too? Set pg_flo.enabled to off in the copy, or drop its worker.",
				 "another worker uses consumer \"%s\" of stream \"%s\"", c->name, c->stream);
	memmove(&c->attached[1], &c->attached[0], sizeof(TimestampTz) * (MAX_ATTACHES - 1));
	c->attached[0] = now;
}

void
flo_consumer_rewind(FloConsumer *c)
{
	memset(c->attached, 0, sizeof(c->attached));
}

bool
flo_consumer_attach(FloConsumer *c, XLogRecPtr position, uint64 hint)
{
	FloStreamInfo info;
	uint64		first_wanted;

	flo_bus_pull_reset(c->bus);
	c->requested[0] = c->requested[1] = 0;
	if (!flo_stream_info(c->bus, c->stream, &info))
		return false;
	count_attach(c);
	c->start = earliest_unseen(c, &info, position, locate(c, &info, position, hint));
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

	c->requested[0] = c->requested[1] = 0;
	c->stalled_at = 0;
	if (!flo_stream_info(c->bus, c->stream, &info) || c->next > info.last_seq + 1)
		return false;
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
	FloChunkHeader header;
	FloStreamInfo info;

	if (flo_stream_info(c->bus, c->stream, &info) && info.first_seq > c->next)
	{
		memset(c->epochs, 0, sizeof(c->epochs));
		c->next = Min(info.first_seq, seq);
	}
	while (c->next < seq)
	{
		if (probe(c, c->next, &header) != 0)
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
	const char *reason = flo_chunk_parse(delivery->data, delivery->len, &chunk->header);
	bool		counts = reason == NULL && !seen_later_epoch(c, chunk->header.epoch);

	c->epochs[delivery->stream_seq % FLO_WINDOW] = reason == NULL ? chunk->header.epoch : 0;
	c->next = delivery->stream_seq + 1;
	if (reason != NULL)
		ereport(WARNING,
				(errmsg("message " UINT64_FORMAT " of stream \"%s\" is passed over: %s",
						delivery->stream_seq, c->stream, reason)));
	if (!counts || delivery->stream_seq < c->start)
		return false;
	if (c->headless && (chunk->header.flags & FLO_CHUNK_STARTS_INSIDE))
		return false;
	c->headless = false;
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

/* A status instead of a message: false when the consumer is gone */
static bool
take_status(FloConsumer *c, const FloBusDelivery *delivery)
{
	if (delivery->status == 404 || delivery->status == 408)
	{
		older_request_ended(c);
		return true;
	}
	if (delivery->status == 409 || delivery->status == 503)
		return false;
	return true;
}

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
		request_more(c);
		if (delivery->stream_seq < c->next)
		{
			flo_bus_release(c->bus, delivery);
			continue;
		}
		if (delivery->stream_seq > c->next && !skip_hole(c, delivery->stream_seq))
		{
			flo_bus_release(c->bus, delivery);
			return FLO_TAKE_LOST;
		}
		remember_ack(c, delivery);
		if (!examine(c, delivery, chunk))
		{
			flo_bus_release(c->bus, delivery);
			continue;
		}
		chunk->seq = delivery->stream_seq;
		chunk->data = delivery->data;
		chunk->len = delivery->len;
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
 * consumer is gone; one look may meet a message on its way, so it takes two.
 */
bool
flo_consumer_verify(FloConsumer *c)
{
	FloStreamInfo info;
	bool		waiting;
	bool		stalled;

	if (!flo_stream_info(c->bus, c->stream, &info) || c->next > info.last_seq + 1)
		return false;
	waiting = c->next <= info.last_seq;
	stalled = waiting && c->stalled_at == c->next;
	c->stalled_at = waiting ? c->next : 0;
	return !stalled;
}

void
flo_consumer_ack(FloConsumer *c, uint64 seq)
{
	const AckSubject *ack = &c->acks[seq % ACKS_KEPT];

	if (ack->seq == seq && seq != 0)
		flo_bus_publish(c->bus, ack->subject, "+ACK", 4);
}
