/*
 * compare_sending.c
 *		Rows of the buckets that a worker has asked for, into a stream of their own.
 *
 * In chunks like those of a copy, range by range: those of one come in their order, those
 * of several, which several processes read, as it happens.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/names.h"
#include "monitor/state.h"
#include "source/compare.h"
#include "utils/memutils.h"
#include "wire/chunk.h"

/* Chunks of rows; see the publisher's for why */
#define CHUNK_SIZE (256 * 1024)
#define PAYLOAD_ALLOWANCE 512

#define ACK_TIMEOUT 10000		/* ms */
#define FULL_PAUSE 200			/* ms */

struct FloCompareSender
{
	FloBus	   *bus;
	const FloProcessArgs *args;
	void		(*wait) (void *arg);
	void	   *arg;
	FloChunkHeader identity;
	const FloCompareScan *scan;
	StringInfoData chunk;
	FloCopyKey	key;
	uint32		chunk_size;
	char	   *subject;
	uint64		token;			/* of the newest publish */
};

/* --- sending ------------------------------------------------------------- */

/* False when the answer has not come yet */
static bool
take_answer(FloCompareSender *s, bool *stored)
{
	FloBusAck	ack;

	flo_bus_pump(s->bus);
	while (flo_bus_next_ack(s->bus, &ack))
	{
		if (ack.token != s->token)
			continue;
		*stored = ack.stored;
		if (!ack.stored && !flo_bus_is_full(ack.err_code))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the broker refused a chunk of the comparison: %s", ack.error)));
		return true;
	}
	return false;
}

/*
 * Until it is stored, one chunk after the other: a broker or stream that is full takes
 * it later, when the workers have read what is there, and nothing may overtake it.
 */
static void
publish(FloCompareSender *s)
{
	bool		stored = false;

	while (!stored)
	{
		FloClock	since = flo_clock();

		flo_bus_publish_stored(s->bus, s->subject, ++s->token, s->chunk.data, s->chunk.len);
		while (!take_answer(s, &stored))
		{
			if (flo_clock_passed(since, ACK_TIMEOUT))
				ereport(ERROR,
						(errcode(ERRCODE_CONNECTION_FAILURE),
						 errmsg("the broker did not acknowledge a chunk of the comparison within %d s",
								ACK_TIMEOUT / 1000)));
			flo_helper_check(s->args->slot, s->args->incarnation);
			flo_bus_wait(s->bus, 1000);
		}
		if (!stored)
		{
			if (s->wait != NULL)
				s->wait(s->arg);
			flo_bus_wait_for(s->bus, FLO_WAIT_SPACE, FULL_PAUSE);
		}
	}
}

static void
start_chunk(FloCompareSender *s)
{
	flo_chunk_reset(&s->chunk);
	s->key.rows = 0;
	flo_chunk_append_copy_key(&s->chunk, &s->key);
}

static void
send_chunk(FloCompareSender *s, uint16 flags)
{
	FloChunkHeader header = s->identity;

	flo_chunk_set_copy_rows(&s->chunk, s->key.rows);
	header.flags = FLO_CHUNK_COPY | flags;
	flo_chunk_seal(&s->chunk, &header);
	publish(s);
	s->key.ordinal++;
	start_chunk(s);
}

/* A row larger than a chunk: pieces of its own, the description in the first */
static void
send_huge_row(FloCompareSender *s, const char *data, uint32 left)
{
	uint16		flags = 0;

	flo_chunk_append_raw(&s->chunk, s->scan->reading.description, s->scan->reading.description_len);
	flo_chunk_append_length(&s->chunk, left);
	s->key.rows = 1;
	while (left > 0)
	{
		uint32		room = s->chunk_size - s->chunk.len;
		uint32		piece = Min(room, left);

		flo_chunk_append_raw(&s->chunk, data, piece);
		data += piece;
		left -= piece;
		send_chunk(s, flags | (left > 0 ? FLO_CHUNK_ENDS_FRAGMENT : 0));
		flags = FLO_CHUNK_STARTS_FRAGMENT;
	}
}

void
flo_compare_sender_row(FloCompareSender *s)
{
	const char *data = s->scan->reader.message.data;
	uint32		len = s->scan->reader.message.len;

	if (s->key.rows > 0 && s->chunk.len + len + sizeof(uint32) > s->chunk_size)
		send_chunk(s, 0);
	if (s->key.rows == 0 &&
		s->chunk.len + s->scan->reading.description_len + len + sizeof(uint32) > s->chunk_size)
	{
		send_huge_row(s, data, len);
		return;
	}
	if (s->key.rows == 0)
		flo_chunk_append_raw(&s->chunk, s->scan->reading.description,
							 s->scan->reading.description_len);
	flo_chunk_append(&s->chunk, data, len);
	s->key.rows++;
}

/* --- ranges -------------------------------------------------------------- */

FloCompareSender *
flo_compare_sender_create(FloBus *bus, const char *group, const FloProcessArgs *args,
						  const FloChunkHeader *identity, void (*wait) (void *arg), void *arg)
{
	FloCompareSender *s = palloc0(sizeof(FloCompareSender));

	s->bus = bus;
	s->args = args;
	s->identity = *identity;
	s->wait = wait;
	s->arg = arg;
	s->subject = psprintf("%s.compare", flo_name_subject(group));
	s->chunk_size = (uint32) Min((int64) CHUNK_SIZE, flo_bus_max_payload(bus) - PAYLOAD_ALLOWANCE);
	initStringInfo(&s->chunk);
	return s;
}

void
flo_compare_sender_begin(FloCompareSender *s, const FloCompareScan *scan, const FloCopyKey *key)
{
	s->scan = scan;
	s->key = *key;
	start_chunk(s);
}

uint32
flo_compare_sender_end(FloCompareSender *s)
{
	if (s->key.rows > 0)
		send_chunk(s, 0);
	return s->key.ordinal;
}
