/*
 * compare_sending.c
 *		Rows of the buckets that a worker has asked for, into a stream of their own.
 *
 * In chunks like those of a copy, by one writer, one table after the other: who reads
 * them needs no order but that of the stream.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "core/clock.h"
#include "core/injection_point.h"
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

/* Reading a table */
typedef struct RowScan
{
	FloCompareAttempt *attempt;
	FloCompareScan scan;
	const bool *wanted;			/* buckets; NULL = all */
	FloDigest  *digest;			/* by which they are told */
	StringInfoData chunk;
	FloCopyKey	key;
	uint32		chunk_size;
	char	   *subject;
	uint64		token;			/* of the newest publish */
} RowScan;

/* --- sending ------------------------------------------------------------- */

/* False when the answer has not come yet */
static bool
take_answer(RowScan *s, bool *stored)
{
	FloCompareAttempt *a = s->attempt;
	FloBusAck	ack;

	flo_bus_pump(a->bus);
	while (flo_bus_next_ack(a->bus, &ack))
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
publish(RowScan *s)
{
	FloCompareAttempt *a = s->attempt;
	bool		stored = false;

	while (!stored)
	{
		FloClock	since = flo_clock();

		flo_bus_publish_stored(a->bus, s->subject, ++s->token, s->chunk.data, s->chunk.len);
		while (!take_answer(s, &stored))
		{
			if (flo_clock_passed(since, ACK_TIMEOUT))
				ereport(ERROR,
						(errcode(ERRCODE_CONNECTION_FAILURE),
						 errmsg("the broker did not acknowledge a chunk of the comparison within %d s",
								ACK_TIMEOUT / 1000)));
			flo_helper_check(a->args->slot, a->args->incarnation);
			flo_bus_wait(a->bus, 1000);
		}
		if (!stored)
		{
			a->wait(a->arg);
			flo_bus_wait_for(a->bus, FLO_WAIT_SPACE, FULL_PAUSE);
		}
	}
}

static void
start_chunk(RowScan *s)
{
	flo_chunk_reset(&s->chunk);
	s->key.rows = 0;
	flo_chunk_append_copy_key(&s->chunk, &s->key);
}

static void
send_chunk(RowScan *s, uint16 flags)
{
	FloChunkHeader header = s->attempt->identity;

	flo_chunk_set_copy_rows(&s->chunk, s->key.rows);
	header.flags = FLO_CHUNK_COPY | flags;
	header.position = header.from = header.upto = s->attempt->lsn;
	flo_chunk_seal(&s->chunk, &header);
	publish(s);
	s->key.ordinal++;
	start_chunk(s);
}

/* A row larger than a chunk: pieces of its own, the description in the first */
static void
send_huge_row(RowScan *s, const char *data, uint32 left)
{
	uint16		flags = 0;

	flo_chunk_append_raw(&s->chunk, s->scan.reading.description, s->scan.reading.description_len);
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

static void
send_row(RowScan *s)
{
	const char *data = s->scan.reader.message.data;
	uint32		len = s->scan.reader.message.len;

	if (s->key.rows > 0 && s->chunk.len + len + sizeof(uint32) > s->chunk_size)
		send_chunk(s, 0);
	if (s->key.rows == 0 &&
		s->chunk.len + s->scan.reading.description_len + len + sizeof(uint32) > s->chunk_size)
	{
		send_huge_row(s, data, len);
		return;
	}
	if (s->key.rows == 0)
		flo_chunk_append_raw(&s->chunk, s->scan.reading.description,
							 s->scan.reading.description_len);
	flo_chunk_append(&s->chunk, data, len);
	s->key.rows++;
}

/* --- reading ------------------------------------------------------------- */

static void
take_row(void *arg)
{
	RowScan    *s = arg;

	if (s->wanted != NULL && !s->wanted[flo_digest_bucket(s->digest, s->scan.values)])
		return;
	send_row(s);
	s->digest->rows++;
}

static void
read_table(RowScan *s, FloCompareTable *table)
{
	FloCompareTableRecord record = {0};
	ListCell   *cell;

	s->wanted = table->wanted;
	s->scan.natts = list_length(table->plan.columns);
	s->digest = flo_digest_create(s->attempt->plan.seed, table->plan.buckets, s->scan.natts,
								  flo_compare_key_flags(&table->plan));
	s->scan.values = palloc0(sizeof(FloDigestValue) * Max(s->scan.natts, 1));
	memset(&s->key, 0, sizeof(s->key));
	s->key.relation = table->plan.relation;
	s->key.attempt = s->attempt->plan.attempt;
	start_chunk(s);
	foreach(cell, table->parts)
	{
		flo_compare_scan_pages(&s->scan, lfirst(cell), table->plan.relation, table->description,
							   0, InvalidBlockNumber);

		/* the last chunk goes with the description of its table */
		if (s->key.rows > 0)
			send_chunk(s, 0);
		flo_compare_scan_close(&s->scan);
	}
	record.rows = (int64) s->digest->rows;
	record.chunks = s->key.ordinal;
	flo_compare_table_read(s->attempt, table, &record);
}

void
flo_compare_read_rows(FloCompareAttempt *a)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo compared tables",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext table_context = AllocSetContextCreate(context, "pg_flo compared table",
														ALLOCSET_DEFAULT_SIZES);
	RowScan    *s = MemoryContextAllocZero(context, sizeof(RowScan));
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	s->attempt = a;
	s->scan.row = take_row;
	s->scan.arg = s;
	s->subject = psprintf("%s.compare", flo_name_subject(a->group));
	s->chunk_size = (uint32) Min((int64) CHUNK_SIZE,
								 flo_bus_max_payload(a->bus) - PAYLOAD_ALLOWANCE);
	initStringInfo(&s->chunk);
	flo_compare_scan_open(&s->scan, context, a->group, a->args);
	foreach(cell, a->tables)
	{
		flo_injection_point("compared.before");
		MemoryContextSwitchTo(table_context);
		read_table(s, lfirst(cell));
		MemoryContextSwitchTo(context);
		MemoryContextReset(table_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
