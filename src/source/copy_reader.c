/*
 * copy_reader.c
 *		Reads ranges of pages under the copy's snapshot and publishes the rows.
 *
 * A row travels as the INSERT message that logical decoding would have made of
 * it, so the destination treats copied and streamed rows alike.  Ranges are
 * read in physical order and cut into chunks by size alone: a range that has
 * to be read again gives the same chunks, and those already loaded are known
 * by their keys.
 *
 * Rules of the replicator are executed before rows are packed, with the rules
 * that the snapshot shows: so a range read again gives the same chunks, too.
 * When they have changed since, the copy begins again as well.
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/tableam.h"
#include "bus/stream.h"
#include "conf/backfills.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "source/copy.h"
#include "source/table_reader.h"
#include "storage/dsm.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wire/squeeze.h"

#define DISK_BLOCK 512			/* of getrusage() */
#define ACK_TIMEOUT 10000		/* ms */
#define FULL_PAUSE 200			/* ms until a chunk that found no space is
								 * sent again */
#define IDLE_PAUSE 50			/* ms between two looks for a range to read */
#define ROOM_PAUSE 50			/* ms between two looks whether there is room */

typedef struct Sent
{
	StringInfoData chunk;
	uint64		room;			/* that it takes in the stream, at most */
	char		subject[128];
	bool		pending;
} Sent;

typedef struct Copier
{
	const FloProcessArgs *args;
	FloCopyPlan *plan;
	FloBus	   *bus;
	char	   *subject;
	MemoryContext row_context;

	FloTableReader reader;
	FloTally	tally;			/* open: of the range */

	/* the chunk being packed */
	StringInfoData chunk;
	FloSqueezer squeezer;
	StringInfoData squeezed;	/* its memory, unless it is in flight */
	FloCopyKey	key;

	/*
	 * room in the stream that is taken for the pieces of a row, and not used
	 * yet
	 */
	uint64		room;
	FloCopyTask *task;			/* the range being read */
	long		blocks_read;	/* of the disk, by this process so far */

	/* in flight: kept until acknowledged */
	Sent		sent[FLO_WINDOW];
	uint64		next_token;
	uint64		next_ack;
} Copier;

/* --- publishing ---------------------------------------------------------- */

static void
send_again(Copier *c, Sent *sent, uint64 token)
{
	flo_bus_publish_stored(c->bus, sent->subject, token, sent->chunk.data, sent->chunk.len);
}

/*
 * Take acknowledgements; true when any answer came.  A broker that is full
 * takes chunks later: there are many writers and no order, so the same chunk
 * is simply sent again.
 */
static bool
take_acks(Copier *c)
{
	FloBusAck	ack;
	bool		any = false;

	while (flo_bus_next_ack(c->bus, &ack))
	{
		Sent	   *sent = &c->sent[ack.token % FLO_WINDOW];

		if (ack.token < c->next_ack || ack.token >= c->next_token || !sent->pending)
			continue;
		any = true;
		if (ack.stored)
		{
			sent->pending = false;
			flo_space_arrived(&c->plan->space, c->args->number, sent->room);
		}
		else if (flo_bus_is_full(ack.err_code))
		{
			flo_space_refused(&c->plan->space, ack.error);
			flo_wait_means(FLO_WAIT_SPACE);
			flo_wait(PGINVALID_SOCKET, false, FULL_PAUSE);
			send_again(c, sent, ack.token);
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the broker refused a chunk of the copy: %s", ack.error)));
	}
	while (c->next_ack < c->next_token && !c->sent[c->next_ack % FLO_WINDOW].pending)
		c->next_ack++;
	return any;
}

/* Until at most "allowed" chunks are in flight */
static void
wait_for_acks(Copier *c, int allowed)
{
	FloClock	since = flo_clock();

	for (;;)
	{
		flo_bus_pump(c->bus);
		if (take_acks(c))
			since = flo_clock();
		if ((int) (c->next_token - c->next_ack) <= allowed)
			return;
		if (flo_clock_passed(since, ACK_TIMEOUT))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("the broker did not acknowledge a chunk of the copy within %d s",
							ACK_TIMEOUT / 1000)));
		flo_helper_check(c->args->slot, c->args->incarnation);
		flo_bus_wait(c->bus, 1000);
	}
}

static uint64
room_of(uint64 length)
{
	return length + FLO_MESSAGE_OVERHEAD;
}

/* Wait until there is room for all of it, with what is in flight looked after */
static void
take_room(Copier *c, uint64 bytes)
{
	bool		told = false;

	while (!flo_space_take(&c->plan->space, c->args->number, bytes, c->key.relation))
	{
		uint64		limit = c->plan->space.limit;

		if (bytes > limit && limit != 0 && !told)
			ereport(WARNING,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("a row needs " UINT64_FORMAT " bytes in the copy stream, which takes " UINT64_FORMAT,
							bytes, limit),
					 errhint("Raise copy_stream_max_bytes with flo.alter_replicator(); the copy waits for it.")));
		told |= bytes > limit;
		flo_bus_pump(c->bus);
		(void) take_acks(c);
		flo_helper_check(c->args->slot, c->args->incarnation);
		flo_bus_wait_for(c->bus, FLO_WAIT_SPACE, ROOM_PAUSE);
	}
}

static void
start_chunk(Copier *c)
{
	flo_chunk_reset(&c->chunk);
	c->key.rows = 0;
	flo_chunk_append_copy_key(&c->chunk, &c->key);
}

/*
 * Pieces of a row larger than a chunk are found by their subjects, the rest
 * need none of their own
 */
static void
send_chunk(Copier *c, uint16 flags)
{
	FloChunkHeader header = c->plan->identity;
	StringInfo	chunk = &c->chunk;
	StringInfoData free_chunk;
	Sent	   *sent;

	if (c->room == 0)
		take_room(c, room_of(c->chunk.len));
	wait_for_acks(c, FLO_WINDOW - 1);
	sent = &c->sent[c->next_token % FLO_WINDOW];
	sent->room = room_of(c->chunk.len);
	c->room -= Min(c->room, sent->room);
	flo_chunk_set_copy_rows(&c->chunk, c->key.rows);
	header.flags = FLO_CHUNK_COPY | flags;
	if (flo_chunk_squeeze(&c->squeezer, chunk, &c->squeezed))
	{
		chunk = &c->squeezed;
		header.flags |= FLO_CHUNK_COMPRESSED;
	}
	flo_chunk_seal(chunk, &header);

	free_chunk = sent->chunk;
	sent->chunk = *chunk;
	*chunk = free_chunk;
	if (flags & (FLO_CHUNK_STARTS_FRAGMENT | FLO_CHUNK_ENDS_FRAGMENT))
		snprintf(sent->subject, sizeof(sent->subject), "%s.%u-%u-%u-%u", c->subject,
				 c->key.relation, c->key.attempt, c->key.range, c->key.ordinal);
	else
		snprintf(sent->subject, sizeof(sent->subject), "%s.%d", c->subject, c->args->number);
	sent->pending = true;
	send_again(c, sent, c->next_token);
	c->next_token++;
	flo_injection_point("chunk.after");
	c->key.ordinal++;
	start_chunk(c);
}

static void
set_in_pieces(Copier *c, uint64 bytes)
{
	SpinLockAcquire(&c->plan->mutex);
	c->task->in_pieces = bytes;
	SpinLockRelease(&c->plan->mutex);
}

/* A row larger than a chunk: pieces of its own, the description in the first */
static void
send_huge_row(Copier *c, FloReading *r)
{
	const char *data = c->reader.message.data;
	uint32		left = c->reader.message.len;
	uint16		flags = 0;
	uint32		overhead = c->chunk.len;	/* of each piece */
	uint64		pieces = (left + r->description_len) / (c->plan->chunk_size - overhead) + 2;
	MemoryContext old;

	take_room(c, left + r->description_len + pieces * room_of(overhead));
	c->room = left + r->description_len + pieces * room_of(overhead);
	set_in_pieces(c, c->room);
	flo_chunk_append_raw(&c->chunk, r->description, r->description_len);
	flo_chunk_append_length(&c->chunk, left);
	c->key.rows = 1;
	while (left > 0)
	{
		uint32		room = c->plan->chunk_size - c->chunk.len;
		uint32		piece = Min(room, left);

		flo_chunk_append_raw(&c->chunk, data, piece);
		data += piece;
		left -= piece;
		send_chunk(c, flags | (left > 0 ? FLO_CHUNK_ENDS_FRAGMENT : 0));
		flags = FLO_CHUNK_STARTS_FRAGMENT;
	}
	wait_for_acks(c, 0);
	flo_space_arrived(&c->plan->space, c->args->number, c->room);
	c->room = 0;
	set_in_pieces(c, 0);

	/* do not keep the memory of a huge row */
	old = MemoryContextSwitchTo(GetMemoryChunkContext(c));
	pfree(c->reader.message.data);
	initStringInfo(&c->reader.message);
	MemoryContextSwitchTo(old);
}

static void
send_row(Copier *c, FloReading *r)
{
	uint32		limit = c->plan->chunk_size;

	if (c->key.rows > 0 && c->chunk.len + c->reader.message.len + sizeof(uint32) > limit)
		send_chunk(c, 0);
	if (c->key.rows == 0 &&
		c->chunk.len + r->description_len + c->reader.message.len + sizeof(uint32) > limit)
	{
		send_huge_row(c, r);
		return;
	}
	if (c->key.rows == 0)
		flo_chunk_append_raw(&c->chunk, r->description, r->description_len);
	flo_chunk_append(&c->chunk, c->reader.message.data, c->reader.message.len);
	c->key.rows++;
}

/* --- reading ------------------------------------------------------------- */

/* False when the row does not go */
static bool
copy_row(Copier *c, FloReading *r)
{
	switch (flo_reading_row(&c->reader, r))
	{
		case FLO_ROW_READ:
			send_row(c, r);
			return true;
		case FLO_ROW_DROPPED:
			c->tally.open.filtered++;
			break;
		case FLO_ROW_UNPUBLISHED:
			break;
	}
	return false;
}

/* Has what was read since the last look come from the disk, most of it? */
static bool
reads_disk(Copier *c)
{
	struct rusage usage;
	long		before = c->blocks_read;

	getrusage(RUSAGE_SELF, &usage);
	c->blocks_read = usage.ru_inblock;
	return c->blocks_read - before > (long) c->plan->chunk_size / 2 / DISK_BLOCK;
}

/* For flo.copy_progress, now and then */
static void
show_progress(Copier *c, FloReading *r, uint64 rows)
{
	FloCopyTask *task = c->task;
	BlockNumber block = ItemPointerGetBlockNumber(&r->read->tts_tid);
	bool		cold = reads_disk(c);

	SpinLockAcquire(&c->plan->mutex);
	task->cold |= cold;
	task->rows = rows;
	task->pages_done = Min(block - task->first, task->pages);
	SpinLockRelease(&c->plan->mutex);
}

static uint64
scan_range(Copier *c, const FloCopyTask *task, FloReading *r)
{
	uint32		ordinal = 0;
	TableScanDesc scan = flo_reading_scan(r, task->first, task->end);
	uint64		rows = 0;
	uint64		seen = 0;

	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, r->read))
	{
		MemoryContext old = MemoryContextSwitchTo(c->row_context);

		/*
		 * of a table that is copied all rows count, of a backfill those that
		 * go
		 */
		rows += copy_row(c, r) || c->plan->backfill == 0;
		seen++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(c->row_context);
		if (c->key.ordinal != ordinal)
		{
			ordinal = c->key.ordinal;
			show_progress(c, r, rows);
		}
		if ((seen & 0x3ff) == 0)
		{
			flo_check_interrupts();
			flo_helper_check(c->args->slot, c->args->incarnation);
		}
	}
	table_endscan(scan);
	return rows;
}

/* --- tasks --------------------------------------------------------------- */

/*
 * The first range that is free and of a relation where nobody is at work: its indexes at
 * the destinations stay dense when rows come in their order, and one copier reads more
 * from memory than the broker takes.  Where rules or the disk make that slow, there may
 * be others.  Ranges of a relation follow each other.  *left: there are free ones at all.
 */
static FloCopyTask *
find_task(FloCopyPlan *plan, bool *left)
{
	Oid			relation = InvalidOid;
	FloCopyTask *first = NULL;
	int			readers = 0;
	int			allowed = 1;

	*left = false;
	for (int i = 0; i < plan->ntasks; i++)
	{
		FloCopyTask *task = &plan->tasks[i];

		if (task->relation != relation)
		{
			if (first != NULL && readers < allowed)
				break;
			relation = task->relation;
			first = NULL;
			readers = 0;
			allowed = 1;
		}
		if (task->shaped || task->cold || plan->backfill != 0)
			allowed = plan->spread;
		readers += task->state == FLO_TASK_TAKEN;
		if (task->state == FLO_TASK_FREE && first == NULL)
			first = task;
		*left |= task->state == FLO_TASK_FREE;
	}
	return first != NULL && readers < allowed ? first : NULL;
}

/* NULL when there is nothing left to read */
static FloCopyTask *
take_task(Copier *c)
{
	for (;;)
	{
		FloCopyTask *task;
		bool		left;

		SpinLockAcquire(&c->plan->mutex);
		task = find_task(c->plan, &left);
		if (task != NULL)
		{
			task->state = FLO_TASK_TAKEN;
			task->copier = c->args->number;
		}
		SpinLockRelease(&c->plan->mutex);
		if (task != NULL || !left)
			return task;
		flo_helper_check(c->args->slot, c->args->incarnation);
		flo_bus_wait_for(c->bus, FLO_WAIT_IDLE, IDLE_PAUSE);
	}
}

static void
do_task(Copier *c, FloCopyTask *task)
{
	FloReading	reading;
	uint64		rows;
	bool		empty;

	flo_injection_point("range.before");
	flo_table_reader_check_rules(&c->reader);
	memset(&c->key, 0, sizeof(c->key));
	c->task = task;
	c->key.relation = task->published;
	c->key.attempt = c->plan->attempt;
	c->key.range = task->range;
	flo_reading_begin(&c->reader, &reading, task->relation, task->published, task->filenode);
	SpinLockAcquire(&c->plan->mutex);
	task->shaped = reading.shaped;
	SpinLockRelease(&c->plan->mutex);
	start_chunk(c);
	rows = scan_range(c, task, &reading);

	/*
	 * a table without rows sends its description: its destination may have to
	 * be emptied
	 */
	empty = c->key.rows == 0 && c->key.ordinal == 0 && task->range == 0;
	if (empty)
		flo_chunk_append_raw(&c->chunk, reading.description, reading.description_len);
	if (c->key.rows > 0 || empty)
		send_chunk(c, 0);
	wait_for_acks(c, 0);
	flo_injection_point("range.after");
	flo_reading_end(&reading);

	SpinLockAcquire(&c->plan->mutex);
	task->chunks = c->key.ordinal;
	task->rows = rows;
	task->pages_done = task->pages;
	task->state = FLO_TASK_DONE;
	SpinLockRelease(&c->plan->mutex);
	flo_tally_commit(&c->tally);
	flo_tally_hand_in();
}

/* Which rows a backfill is of, as the snapshot shows it */
static const char *
condition_of(int64 id, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloBackfill *backfill = flo_backfills_get(id);

	MemoryContextSwitchTo(old);
	return backfill != NULL ? backfill->condition : NULL;
}

void
flo_copier_run(const FloProcessArgs *args)
{
	Copier	   *c = palloc0(sizeof(Copier));
	dsm_segment *segment = dsm_attach(args->segment);
	FloCopyTask *task;
	MemoryContext context = CurrentMemoryContext;

	if (segment == NULL)
		return;					/* the leader is gone */
	dsm_pin_mapping(segment);
	c->args = args;
	c->plan = dsm_segment_address(segment);
	flo_tally_begin(&c->tally, args->slot, args->incarnation);
	c->subject = c->plan->subject;
	c->next_token = c->next_ack = 1;
	initStringInfo(&c->chunk);
	c->squeezer.on = c->plan->squeeze;
	initStringInfo(&c->squeezed);
	for (int i = 0; i < FLO_WINDOW; i++)
		initStringInfo(&c->sent[i].chunk);
	c->row_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo copied row",
										   ALLOCSET_DEFAULT_SIZES);
	c->bus = flo_bus_connect(psprintf("pg_flo copier %s %d", c->plan->group, args->number));

	if (!flo_transaction_start_at(c->plan->snapshot))
		return;					/* the leader is gone, or needs no more
								 * copiers */
	flo_table_reader_open(&c->reader, context, c->plan->group, "copy", false);
	c->reader.methods = c->plan->methods;
	if (c->plan->backfill != 0)
		c->reader.where = condition_of(c->plan->backfill, context);
	while ((task = take_task(c)) != NULL)
		do_task(c, task);
	PopActiveSnapshot();
	flo_transaction_commit();
}
