/*
 * compare_read.c
 *		Reads tables under the snapshot of a comparison: sums, or rows.
 *
 * Both rounds read a table once, whole.  Of sums the state bucket gets some bytes for
 * each bucket.  Rows of the buckets that a worker has asked for go into a stream of
 * their own, in chunks like those of a copy: one writer, one table after the
 * other, so that who reads it needs no order but that of the stream.
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

/* Rows between two looks whether anybody wants us to go on */
#define ROWS_PER_LOOK 1024

/* Reading a table */
typedef struct TableScan
{
	FloCompareAttempt *attempt;
	FloCompareTable *table;
	FloTableReader reader;
	FloReading	reading;
	MemoryContext row_context;
	FloDigest  *digest;
	FloDigestValue *values;
	uint64		rows;

	/* rows that are sent */
	StringInfoData chunk;
	FloCopyKey	key;
	uint32		chunk_size;
	char	   *subject;
	uint64		token;			/* of the newest one */
} TableScan;

/* --- sending ------------------------------------------------------------- */

/* False when the answer has not come yet */
static bool
take_answer(TableScan *s, bool *stored)
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
publish(TableScan *s)
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
start_chunk(TableScan *s)
{
	flo_chunk_reset(&s->chunk);
	s->key.rows = 0;
	flo_chunk_append_copy_key(&s->chunk, &s->key);
}

static void
send_chunk(TableScan *s, uint16 flags)
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
send_huge_row(TableScan *s, const char *data, uint32 left)
{
	uint16		flags = 0;

	flo_chunk_append_raw(&s->chunk, s->reading.description, s->reading.description_len);
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
send_row(TableScan *s)
{
	const char *data = s->reader.message.data;
	uint32		len = s->reader.message.len;

	if (s->key.rows > 0 && s->chunk.len + len + sizeof(uint32) > s->chunk_size)
		send_chunk(s, 0);
	if (s->key.rows == 0 &&
		s->chunk.len + s->reading.description_len + len + sizeof(uint32) > s->chunk_size)
	{
		send_huge_row(s, data, len);
		return;
	}
	if (s->key.rows == 0)
		flo_chunk_append_raw(&s->chunk, s->reading.description, s->reading.description_len);
	flo_chunk_append(&s->chunk, data, len);
	s->key.rows++;
}

/* --- reading ------------------------------------------------------------- */

static bool *
key_flags(const FloComparePlanTable *plan)
{
	bool	   *is_key = palloc0(sizeof(bool) * Max(list_length(plan->columns), 1));
	ListCell   *column;
	ListCell   *key;

	foreach(column, plan->columns)
	{
		foreach(key, plan->keys)
			is_key[foreach_current_index(column)] |= strcmp(lfirst(column), lfirst(key)) == 0;
	}
	return is_key;
}

/* The row at hand as the digest wants it */
static void
take_values(TableScan *s)
{
	const FloChange *row = flo_change_parse(s->reader.parser, s->reader.message.data,
											s->reader.message.len);

	if (row->new.natts != s->digest->natts)
		elog(ERROR, "row of %d columns instead of %d", row->new.natts, s->digest->natts);
	for (int i = 0; i < row->new.natts; i++)
	{
		const FloValue *value = &row->new.values[i];

		s->values[i].data = value->kind == FLO_VALUE_NULL ? NULL : value->data;
		s->values[i].len = (int) value->len;
	}
}

static void
read_row(TableScan *s)
{
	if (flo_reading_row(&s->reader, &s->reading) != FLO_ROW_READ)
		return;
	take_values(s);
	if (s->attempt->plan.round == FLO_COMPARE_SUMS)
		flo_digest_add(s->digest, s->values);
	else if (s->table->wanted == NULL ||
			 s->table->wanted[flo_digest_bucket(s->digest, s->values)])
	{
		send_row(s);
		s->digest->rows++;
	}
}

static void
read_part(TableScan *s, const FloComparePart *part)
{
	const FloProcessArgs *args = s->attempt->args;
	TableScanDesc scan;

	flo_reading_begin(&s->reader, &s->reading, part->relation, s->table->plan.relation,
					  part->filenode);
	if (s->reading.description_len * 2 != strlen(s->table->plan.description))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("table \"%s\" got other columns while the comparison began: it begins again",
						s->table->plan.table)));
	scan = flo_reading_scan(&s->reading, 0, InvalidBlockNumber);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, s->reading.read))
	{
		MemoryContext old = MemoryContextSwitchTo(s->row_context);

		read_row(s);
		MemoryContextSwitchTo(old);
		MemoryContextReset(s->row_context);
		if (++s->rows % ROWS_PER_LOOK == 0)
		{
			flo_check_interrupts();
			flo_helper_check(args->slot, args->incarnation);
		}
	}
	table_endscan(scan);

	/* the last chunk goes with the description of its table */
	if (s->key.rows > 0)
		send_chunk(s, 0);
	flo_reading_end(&s->reading);
}

static void
tell(TableScan *s)
{
	FloCompareAttempt *a = s->attempt;
	FloCompareTableRecord record = {
		.relation = s->table->plan.relation,
		.attempt = a->plan.attempt,
		.lsn = a->lsn,
		.rows = (int64) s->digest->rows,
		.chunks = s->key.ordinal
	};

	if (a->plan.round == FLO_COMPARE_SUMS)
		record.sums = flo_digest_format(s->digest->buckets, s->digest->nbuckets);
	s->table->rows_read = record.rows;
	flo_comparison_put(a->bus, a->bucket,
					   flo_compare_table_key(a->plan.id, a->plan.attempt, record.relation),
					   a->generation, &flo_compare_table_format, &record);
}

static void
read_table(TableScan *s, FloCompareTable *table)
{
	ListCell   *cell;

	s->table = table;
	s->rows = 0;
	s->digest = flo_digest_create(s->attempt->plan.seed, table->plan.buckets,
								  list_length(table->plan.columns), key_flags(&table->plan));
	s->values = palloc0(sizeof(FloDigestValue) * Max(s->digest->natts, 1));
	memset(&s->key, 0, sizeof(s->key));
	s->key.relation = table->plan.relation;
	s->key.attempt = s->attempt->plan.attempt;
	start_chunk(s);
	foreach(cell, table->parts)
		read_part(s, lfirst(cell));
	tell(s);
}

void
flo_compare_read(FloCompareAttempt *a)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo compared tables",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext table_context = AllocSetContextCreate(context, "pg_flo compared table",
														ALLOCSET_DEFAULT_SIZES);
	TableScan  *s = MemoryContextAllocZero(context, sizeof(TableScan));
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	s->attempt = a;
	s->row_context = AllocSetContextCreate(context, "pg_flo compared row", ALLOCSET_DEFAULT_SIZES);
	s->subject = psprintf("%s.compare", flo_name_subject(a->group));
	s->chunk_size = (uint32) Min((int64) CHUNK_SIZE, flo_bus_max_payload(a->bus) - PAYLOAD_ALLOWANCE);
	initStringInfo(&s->chunk);
	flo_table_reader_open(&s->reader, context, a->group, "comparison", true);
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
