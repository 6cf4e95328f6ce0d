/*
 * publisher.c
 *		Packs logical replication messages into chunks and publishes them.
 *
 * Every chunk can be read on its own: before the first change of a relation
 * in a chunk its description is put there, from the copy kept of what
 * pgoutput sent once.
 *
 * A transaction may travel before its commit, in pieces: chunks of its own, with the
 * descriptions that it was given, between those of what has committed.  It keeps
 * the stream from being purged, so before anything is packed there is a look whether
 * one keeps too much of it, and is to be withdrawn: a record that its pieces are void.
 *
 * Awkward: a row may be larger than a message of the broker, so a record may
 * be split over chunks; and a transaction may be larger than memory, so this
 * waits for the broker while the reorder buffer's transaction is open.
 */
#include "postgres.h"

#include "access/transam.h"
#include "core/error_context.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "source/publisher.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/change.h"
#include "wire/piece.h"
#include "wire/squeeze.h"

/*
 * Bytes that travel, descriptions not counted, from which on a chunk is sent: a message
 * costs the processes on its way much whatever it holds, but for a larger one the broker
 * finds its memory anew each time.  While the window is full chunks grow up to the limit
 * of plain bytes, so that a distant broker has as much on its way to it: no more, as what
 * the broker is asked waits behind it on a slow line.
 */
#define CHUNK_TARGET (60 * 1024)
#define CHUNK_LIMIT (256 * 1024)

/*
 * Plain bytes of a chunk that is expected to travel as the target, at most, what fits into
 * a buffer of 512 kB with a byte behind it.  It travels with so many if it does not become
 * as small as the one before.  Where early transactions may keep less than ROOMY that could
 * be more than there is ever room for: there the limit is that of all chunks.
 */
#define CHUNK_LARGEST (512 * 1024 - 2)
#define ROOMY (64 * 1024 * 1024)

/* Room in max_payload for the NATS headers */
#define HEADER_ALLOWANCE 512

/* Bytes between two looks at what open transactions keep */
#define LOOK_AFTER 4096

/* A broker that takes less than this in one message is of no use */
#define SMALLEST_PAYLOAD (16 * 1024)

struct FloPublisher
{
	FloWindow  *window;
	uint32		largest;		/* size of any chunk, in bytes */
	FloPublisherHost host;

	/* the chunk being packed */
	StringInfoData chunk;
	FloSqueezer squeezer;
	StringInfoData squeezed;	/* its memory, unless it is in flight */
	int			empty;			/* its size with nothing packed */
	uint32		target;			/* its size to be sent at when there is room */
	uint32		limit;			/* and at most */
	int			described_len;	/* of it, descriptions */
	FloClock	sent;			/* the one before was */
	uint16		flags;			/* in every chunk of the session */
	FloChunkHeader header;		/* of that chunk; upto, position and flags as
								 * far as known */
	TimestampTz oldest;			/* commit time of its first transaction */
	int64		published;		/* bytes of those that were sent, as they were */

	/* the transaction being packed */
	bool		in_transaction;
	uint64		txn_number;		/* number of the chunk it began in */
	TimestampTz txn_time;
	XLogRecPtr	upto;			/* last commit packed */
	XLogRecPtr	position;		/* newest position published; never goes back */

	/* those that travel before their commit */
	dlist_head	early;			/* of FloEarly: that have pieces in the stream */
	FloEarly   *piece;			/* of which the chunk being packed is one */
	TransactionId subxid;		/* of the message at hand */
	FloEarlyLimits limits;
	int64		looked;			/* bytes published and packed when these were
								 * last held against them */

	/* descriptions */
	MemoryContext tables;		/* for what is kept of tables, here and by the
								 * shaper */
	FloDescriptions *own;		/* of what is published in order */
	FloDescriptions *described; /* that hold now */
	uint64		turn;			/* counts when others held */
	uint64		round;			/* counts that, and chunks */
	uint64		age;			/* of the newest description */
	FloRoom    *room;			/* for descriptions */
	StringInfoData types;		/* type records waiting for their relation */

	/* who looks at rows */
	const FloPublisherShaper *shaper;
	void	   *shaper_arg;

	FloTally   *tally;			/* open: of the transaction being packed */
	FloCounters packed;			/* of those that end in the chunk being packed */
	FloCommits	commits;		/* of those that the broker does not have */
};

/* --- chunks -------------------------------------------------------------- */

static bool
chunk_is_empty(FloPublisher *pub)
{
	return pub->chunk.len == pub->empty;
}

/* What is open at the start of the chunk, and in which chunk the oldest of that began */
static void
note_open(FloPublisher *pub)
{
	FloChunkHeader *header = &pub->header;

	header->flags = pub->flags;
	header->txn_number = header->number;
	if (pub->in_transaction)
	{
		header->flags |= FLO_CHUNK_STARTS_INSIDE;
		header->txn_number = pub->txn_number;
	}
	if (!dlist_is_empty(&pub->early))
	{
		header->flags |= FLO_CHUNK_OVER_PIECES;
		header->txn_number = Min(header->txn_number,
								 dlist_head_element(FloEarly, node, &pub->early)->first);
	}
}

/* An empty chunk: a piece or not */
static void
begin_chunk(FloPublisher *pub)
{
	flo_chunk_reset(&pub->chunk);
	pub->described_len = 0;
	pub->header.from = pub->upto;
	note_open(pub);
	pub->header.rest = 0;
	pub->oldest = pub->in_transaction ? pub->txn_time : 0;
	if (pub->piece != NULL)
	{
		FloPieceKey key = {pub->piece->xid, pub->piece->npieces + 1};

		pub->header.flags |= FLO_CHUNK_PIECE;
		flo_chunk_append_piece_key(&pub->chunk, &key);
		pub->piece->subxid = pub->piece->xid;
	}
	pub->empty = pub->chunk.len;
}

static void
start_chunk(FloPublisher *pub)
{
	pub->header.number++;
	pub->round++;
	begin_chunk(pub);
}

static void
count_piece(FloPublisher *pub, int bytes)
{
	FloEarly   *early = pub->piece;

	if (early->npieces++ == 0)
	{
		early->first = pub->header.number;
		early->since = flo_clock();
		early->before = pub->published;
		dlist_push_tail(&pub->early, &early->node);
	}
	early->bytes += bytes;
}

/* The next chunk will become as small as one of so many bytes did, of which so many travel */
static void
expect_size(FloPublisher *pub, int64 bytes, int travel)
{
	int64		largest = pub->largest;

	if (pub->limits.bytes > 0 && pub->limits.bytes < ROOMY)
		largest = Min(largest, CHUNK_LIMIT);
	pub->target = (uint32) Min(CHUNK_TARGET * bytes / travel, largest);
	pub->limit = Max(pub->target, Min(CHUNK_LIMIT, pub->largest));
}

/* Seal and publish the chunk as it is; there must be room in the window */
static void
send_chunk(FloPublisher *pub)
{
	FloFlight	flight = {0};
	StringInfo	chunk = &pub->chunk;

	if (pub->in_transaction)
		pub->header.flags |= FLO_CHUNK_ENDS_INSIDE;
	pub->position = Max(pub->position, pub->upto);
	pub->header.upto = pub->upto;
	pub->header.position = pub->position;
	pub->host.anchor(pub->host.arg, &pub->header.anchor_lsn, &pub->header.anchor_crc);
	if (!(pub->header.flags & FLO_CHUNK_OUTSIDE) &&
		flo_chunk_squeeze(&pub->squeezer, chunk, &pub->squeezed))
	{
		chunk = &pub->squeezed;
		pub->header.flags |= FLO_CHUNK_COMPRESSED;
	}
	flo_chunk_seal(chunk, &pub->header);
	expect_size(pub, pub->chunk.len, chunk->len);
	pub->sent = flo_clock();

	flight.position = pub->position;
	flight.commit_time = pub->oldest;
	flight.inside = (pub->header.flags & FLO_CHUNK_STARTS_INSIDE) != 0;
	flight.upto = pub->header.from;
	flo_counters_move(&flight.counters, &pub->packed);
	flight.number = pub->header.number;
	flight.chunk = *chunk;
	if (pub->piece != NULL)
		count_piece(pub, chunk->len);
	pub->published += chunk->len;
	flo_window_send(pub->window, &flight);
	*chunk = flight.chunk;
	start_chunk(pub);
}

static void
send_when_room(FloPublisher *pub)
{
	flo_window_await_room(pub->window);
	send_chunk(pub);
}

/* Append a record, split over as many chunks as it takes */
static void
put_record(FloPublisher *pub, const char *data, uint32 len)
{
	uint32		room = pub->limit - pub->chunk.len;

	if (len + sizeof(uint32) <= room)
	{
		flo_chunk_append(&pub->chunk, data, len);
		return;
	}
	if (room <= sizeof(uint32))
	{
		send_when_room(pub);
		room = pub->limit - pub->chunk.len;
	}
	flo_chunk_append_length(&pub->chunk, len);
	room -= sizeof(uint32);
	while (len > room)
	{
		flo_chunk_append_raw(&pub->chunk, data, room);
		data += room;
		len -= room;
		pub->header.flags |= FLO_CHUNK_ENDS_FRAGMENT;
		send_when_room(pub);
		pub->header.flags |= FLO_CHUNK_STARTS_FRAGMENT;
		pub->header.rest = len;
		room = pub->limit - pub->chunk.len;
	}
	flo_chunk_append_raw(&pub->chunk, data, len);
}

/* --- relations ----------------------------------------------------------- */

static uint32
get_id(const char *data)
{
	uint32		id;

	memcpy(&id, data, sizeof(id));
	return pg_ntoh32(id);
}

/* Keep a relation's description, with the types that came before it */
static void
remember_relation(FloPublisher *pub, uint64 age, const char *data, uint32 len)
{
	uint32		id = get_id(data + 1);

	flo_room_note(pub->room, id);
	flo_chunk_append(&pub->types, data, len);
	flo_descriptions_keep(pub->described, id, age, pub->types.data, pub->types.len);
	resetStringInfo(&pub->types);
}

/* From now on these hold: nobody has been shown them yet */
static void
describe_by(FloPublisher *pub, FloDescriptions *set)
{
	pub->described = set;
	pub->turn++;
	pub->round++;
}

MemoryContext
flo_publisher_tables(const FloPublisher *pub)
{
	return pub->tables;
}

FloRoom *
flo_publisher_room(const FloPublisher *pub)
{
	return pub->room;
}

void
flo_publisher_forget(FloPublisher *pub)
{
	Assert(!pub->in_transaction);
	flo_descriptions_drop(pub->own);
	pub->own = flo_descriptions_create(pub->tables);
	describe_by(pub, pub->own);
}

uint64
flo_publisher_next_age(FloPublisher *pub)
{
	return ++pub->age;
}

static FloDescription *
find_relation(FloPublisher *pub, const char *id_bytes)
{
	uint32		id = get_id(id_bytes);
	FloDescription *found = flo_descriptions_find(pub->described, id);

	if (found == NULL)
		elog(ERROR, "change of relation %u before its description", id);
	return found;
}

/*
 * Put a relation's records into this chunk unless they are there.  Records that
 * had to be split over chunks are in none of them for who begins to read there.
 */
static void
describe_relation(FloPublisher *pub, FloDescription *entry)
{
	uint64		round = pub->round;
	int			at = 0;

	if (entry->written == round)
		return;
	while (at < entry->len)
	{
		uint32		len = get_id(entry->block + at);

		put_record(pub, entry->block + at + sizeof(uint32), len);
		at += sizeof(uint32) + len;
	}
	entry->written = pub->round == round ? round : 0;
	if (pub->round == round)
		pub->described_len += entry->len;
}

static bool
chunk_is_full(const FloPublisher *pub, Size needed)
{
	return pub->chunk.len + needed > pub->limit ||
		(pub->chunk.len - pub->described_len + needed > pub->target &&
		 flo_window_has_room(pub->window));
}

/*
 * What comes next takes so many bytes.  A chunk that has content and cannot take it
 * all is sent before.
 */
static void
make_room(FloPublisher *pub, Size needed)
{
	if (pub->piece != NULL)
		needed += FLO_SUBTRANSACTION_RECORD_SIZE;
	if (!chunk_is_empty(pub) && chunk_is_full(pub, needed))
		send_when_room(pub);
	if (pub->piece != NULL && pub->piece->subxid != pub->subxid)
	{
		flo_chunk_append_subtransaction(&pub->chunk, pub->subxid);
		pub->piece->subxid = pub->subxid;
	}
}

/* Append a change of some relations, each described before it in the chunk where it begins */
static void
append_change(FloPublisher *pub, const char *data, uint32 len,
			  const char *ids, uint32 nids)
{
	Size		needed = (Size) len + sizeof(uint32);

	for (uint32 i = 0; i < nids; i++)
	{
		FloDescription *entry = find_relation(pub, ids + i * sizeof(uint32));

		if (entry->written != pub->round)
			needed += entry->len;
	}
	make_room(pub, needed);
	for (uint32 i = 0; i < nids; i++)
		describe_relation(pub, find_relation(pub, ids + i * sizeof(uint32)));
	put_record(pub, data, len);
}

/* --- messages ------------------------------------------------------------ */

static uint64
get64(const char *data)
{
	uint64		value;

	memcpy(&value, data, sizeof(value));
	return pg_ntoh64(value);
}

static void
append_plain(FloPublisher *pub, const char *data, uint32 len)
{
	make_room(pub, (Size) len + sizeof(uint32));
	put_record(pub, data, len);
}

/* BEGIN: final LSN, commit time, xid */
static void
append_begin(FloPublisher *pub, const char *data, uint32 len)
{
	append_plain(pub, data, len);
	pub->in_transaction = true;
	pub->txn_number = pub->header.number;
	pub->txn_time = (TimestampTz) get64(data + 9);
	if (pub->oldest == 0)
		pub->oldest = pub->txn_time;
}

/* COMMIT: flags, commit LSN, end LSN, commit time */
static void
note_commit(FloPublisher *pub, const char *commit)
{
	pub->in_transaction = false;
	pub->upto = get64(commit + 10);
	pub->header.commit_time = (TimestampTz) get64(commit + 18);
	pub->packed.transactions++;
	flo_commits_note(&pub->commits, pub->header.commit_time, pub->header.number);
}

static void
append_commit(FloPublisher *pub, const char *data, uint32 len)
{
	append_plain(pub, data, len);
	flo_counters_move(&pub->packed, &pub->tally->open);
	note_commit(pub, data);
}

void
flo_publisher_set_shaper(FloPublisher *pub, const FloPublisherShaper *shaper, void *arg)
{
	pub->shaper = shaper;
	pub->shaper_arg = arg;
}

/* False when the row is to be left out */
static bool
shape(FloPublisher *pub, const char **data, uint32 *len)
{
	FloDescription *entry;

	if (pub->shaper == NULL || !pub->shaper->concerns(pub->shaper_arg))
		return true;
	entry = find_relation(pub, *data + 1);
	for (int at = 0; at < entry->len && entry->shown != pub->turn;)
	{
		uint32		record_len = get_id(entry->block + at);

		pub->shaper->describe(pub->shaper_arg, entry->block + at + sizeof(uint32), record_len);
		at += sizeof(uint32) + record_len;
	}
	entry->shown = pub->turn;
	return pub->shaper->row(pub->shaper_arg, entry->id, data, len);
}

/*
 * Rules come first: a row that they drop must not bring its table's description
 * along, nor begin a chunk.  Descriptions are only kept; they are written in each
 * chunk before the first row that needs them there.
 */
static void
append_message(FloPublisher *pub, FloCounters *counters, uint64 age, const char *data, uint32 len)
{
	if ((data[0] == FLO_OP_INSERT || data[0] == FLO_OP_UPDATE || data[0] == FLO_OP_DELETE) &&
		!shape(pub, &data, &len))
	{
		counters->filtered++;
		return;
	}
	switch (data[0])
	{
		case FLO_OP_INSERT:
			counters->inserts++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_UPDATE:
			counters->updates++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_DELETE:
			counters->deletes++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_TRUNCATE:
			counters->truncates++;
			append_change(pub, data, len, data + 6, get_id(data + 1));
			break;
		case FLO_OP_BEGIN:
			append_begin(pub, data, len);
			break;
		case FLO_OP_COMMIT:
			append_commit(pub, data, len);
			break;
		case FLO_OP_TYPE:
			flo_chunk_append(&pub->types, data, len);
			break;
		case FLO_OP_RELATION:
			remember_relation(pub, age, data, len);
			break;
		case FLO_OP_MESSAGE:
			append_plain(pub, data, len);
			break;
		default:

			/* origins are no business of a destination */
			break;
	}
}

/*
 * Before so many bytes are packed.  Not for each row of many, as that asks for the time:
 * each chunk begins with a look.
 */
static void
withdraw_what_keeps_too_much(FloPublisher *pub, uint32 len)
{
	int64		packed = (int64) pub->chunk.len + len;
	dlist_mutable_iter iter;

	if (!chunk_is_empty(pub) && pub->published + packed - pub->looked < LOOK_AFTER)
		return;
	pub->looked = pub->published + packed;
	dlist_foreach_modify(iter, &pub->early)
	{
		FloEarly   *early = dlist_container(FloEarly, node, iter.cur);

		if (flo_early_keeps_too_much(early, pub->published + packed,
									 early == pub->piece ? packed : 0, &pub->limits))
			flo_publisher_withdraw(pub, early);
	}
}

/* One row of what has no piece in the stream yet may be more than all its pieces may keep */
static bool
begins_too_large(const FloPublisher *pub, uint32 len)
{
	return pub->piece->npieces == 0 && pub->limits.bytes > 0 &&
		(int64) pub->chunk.len + len > pub->limits.bytes;
}

void
flo_publisher_append(FloPublisher *pub, const char *data, uint32 len)
{
	flo_publisher_append_aged(pub, 0, data, len);
}

void
flo_publisher_append_aged(FloPublisher *pub, uint64 age, const char *data, uint32 len)
{
	if (!dlist_is_empty(&pub->early))
		withdraw_what_keeps_too_much(pub, len);
	append_message(pub, &pub->tally->open, age != 0 ? age : ++pub->age, data, len);
}

void
flo_publisher_begin_whole(FloPublisher *pub)
{
	describe_by(pub, flo_descriptions_create(pub->tables));
}

void
flo_publisher_end_whole(FloPublisher *pub)
{
	flo_descriptions_take_over(pub->own, pub->described);
	describe_by(pub, pub->own);
}

/* --- before the commit --------------------------------------------------- */

void
flo_publisher_set_limits(FloPublisher *pub, const FloEarlyLimits *limits)
{
	pub->limits = *limits;
}

void
flo_publisher_set_squeeze(FloPublisher *pub, bool on)
{
	pub->squeezer.on = on;
}

void
flo_publisher_set_one_by_one(FloPublisher *pub, bool one_by_one)
{
	flo_window_set_one_by_one(pub->window, one_by_one);
}

void
flo_publisher_set_allowed(FloPublisher *pub, int64 bytes)
{
	flo_window_set_allowed(pub->window, bytes);
}

void
flo_publisher_begin_piece(FloPublisher *pub, FloEarly *early)
{
	Assert(!pub->in_transaction && pub->piece == NULL && !early->withdrawn);
	if (!chunk_is_empty(pub))
		send_when_room(pub);
	pub->piece = early;
	describe_by(pub, early->descriptions);
	begin_chunk(pub);
}

void
flo_publisher_end_piece(FloPublisher *pub)
{
	if (pub->piece == NULL)
		return;
	if (!chunk_is_empty(pub))
		send_when_room(pub);
	pub->piece = NULL;
	describe_by(pub, pub->own);
	begin_chunk(pub);
}

void
flo_publisher_append_piece(FloPublisher *pub, TransactionId subxid, uint64 age, const char *data,
						   uint32 len)
{
	if (!dlist_is_empty(&pub->early))
		withdraw_what_keeps_too_much(pub, len);
	if (pub->piece != NULL && begins_too_large(pub, len))
		flo_publisher_withdraw(pub, pub->piece);
	if (pub->piece == NULL)
		return;
	pub->subxid = TransactionIdIsValid(subxid) ? subxid : pub->piece->xid;
	append_message(pub, flo_early_counters(pub->piece, pub->subxid), age, data, len);
}

static void
append_void(FloPublisher *pub, TransactionId xid, TransactionId subxid)
{
	make_room(pub, FLO_VOID_RECORD_SIZE);
	flo_chunk_append_void(&pub->chunk, xid, subxid);
}

/* It has no pieces in the stream any more */
static void
end_early(FloEarly *early)
{
	if (early->npieces > 0)
		dlist_delete(&early->node);
	early->npieces = 0;
}

void
flo_publisher_withdraw(FloPublisher *pub, FloEarly *early)
{
	FloEarly   *piece = pub->piece;

	flo_publisher_end_piece(pub);
	if (early->npieces > 0)
		append_void(pub, early->xid, early->xid);
	end_early(early);
	early->withdrawn = true;
	if (piece != NULL && piece != early)
		flo_publisher_begin_piece(pub, piece);
}

void
flo_publisher_abort_part(FloPublisher *pub, FloEarly *early, TransactionId subxid)
{
	if (flo_early_forget(early, subxid) && early->npieces > 0)
		append_void(pub, early->xid, subxid);
}

bool
flo_publisher_commit_early(FloPublisher *pub, FloEarly *early, const char *commit)
{
	if (early->npieces == 0)
		return false;
	make_room(pub, FLO_PIECE_COMMIT_RECORD_SIZE);
	flo_chunk_append_piece_commit(&pub->chunk, early->xid, commit, early->npieces);
	flo_early_count(early, &pub->packed);
	note_commit(pub, commit);
	if (pub->oldest == 0)
		pub->oldest = pub->header.commit_time;
	end_early(early);
	flo_descriptions_take_over(pub->own, early->descriptions);
	early->descriptions = NULL;
	describe_by(pub, pub->own);
	return true;
}

/* --- the session --------------------------------------------------------- */

FloPublisher *
flo_publisher_open(FloBus *bus, const char *subject, const FloChunkHeader *identity,
				   const FloSession *session, const FloPublisherHost *host, FloTally *tally)
{
	FloPublisher *pub = palloc0(sizeof(FloPublisher));

	if (flo_bus_max_payload(bus) < SMALLEST_PAYLOAD)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("max_payload of nats-server is " INT64_FORMAT " bytes, less than the %d that pg_flo needs",
						flo_bus_max_payload(bus), SMALLEST_PAYLOAD),
				 errhint("Raise max_payload in the configuration of nats-server.")));
	pub->largest = (uint32) Min((int64) CHUNK_LARGEST, flo_bus_max_payload(bus) - HEADER_ALLOWANCE);
	expect_size(pub, 1, 1);
	pub->host = *host;
	pub->tally = tally;

	pub->header = *identity;
	pub->header.encoding = (uint16) GetDatabaseEncoding();
	pub->flags = session->flags;
	pub->header.epoch = session->epoch;
	pub->header.number = 0;
	pub->upto = session->from;
	pub->position = session->start;

	pub->window = flo_window_create(bus, subject, session->last_seq, session->one_by_one,
									pub->largest, host, tally, &pub->commits);
	flo_window_set_allowed(pub->window, session->allowed);

	dlist_init(&pub->early);
	pub->tables = AllocSetContextCreate(CurrentMemoryContext, "pg_flo tables",
										ALLOCSET_DEFAULT_SIZES);
	pub->own = flo_descriptions_create(pub->tables);
	describe_by(pub, pub->own);
	pub->room = flo_room_create(pub->tables);
	initStringInfo(&pub->types);
	initStringInfo(&pub->chunk);
	enlargeStringInfo(&pub->chunk, pub->largest + 1);
	initStringInfo(&pub->squeezed);
	enlargeStringInfo(&pub->squeezed, pub->largest + 1);
	start_chunk(pub);
	return pub;
}

void
flo_publisher_pump(FloPublisher *pub)
{
	flo_window_pump(pub->window);
}

bool
flo_publisher_can_flush(FloPublisher *pub)
{
	return !chunk_is_empty(pub) && flo_window_has_room(pub->window);
}

void
flo_publisher_flush(FloPublisher *pub)
{
	Assert(!pub->in_transaction);
	if (flo_publisher_can_flush(pub))
		send_chunk(pub);
}

void
flo_publisher_flush_after(FloPublisher *pub, int ms)
{
	if (!pub->in_transaction && flo_clock_passed(pub->sent, ms))
		flo_publisher_flush(pub);
}

bool
flo_publisher_idle(FloPublisher *pub)
{
	return chunk_is_empty(pub) && flo_window_in_flight(pub->window) == 0 && !pub->in_transaction;
}

void
flo_publisher_heartbeat(FloPublisher *pub, XLogRecPtr position)
{
	Assert(flo_publisher_idle(pub));
	pub->header.flags |= FLO_CHUNK_HEARTBEAT;
	pub->header.commit_time = GetCurrentTimestamp();
	pub->position = Max(pub->position, position);
	send_chunk(pub);
}

/* A chunk of its own */
static void
begin_marker(FloPublisher *pub, uint16 flag)
{
	Assert(!pub->in_transaction);
	if (!chunk_is_empty(pub))
		send_when_room(pub);
	flo_window_await_room(pub->window);
	pub->header.flags |= flag;
	pub->header.commit_time = GetCurrentTimestamp();
}

static void
end_marker(FloPublisher *pub)
{
	send_chunk(pub);
	flo_window_await_all(pub->window);
}

void
flo_publisher_marker(FloPublisher *pub, List *keys)
{
	ListCell   *cell;

	begin_marker(pub, FLO_CHUNK_MARKER);
	foreach(cell, keys)
		flo_chunk_append_copy_key(&pub->chunk, lfirst(cell));
	end_marker(pub);
}

void
flo_publisher_place(FloPublisher *pub, uint16 flag, const char *marker)
{
	begin_marker(pub, flag);
	flo_chunk_append(&pub->chunk, marker, strlen(marker));
	end_marker(pub);
}

int64
flo_publisher_pending_bytes(FloPublisher *pub)
{
	return pub->chunk.len - pub->empty + flo_window_bytes(pub->window);
}

int64
flo_publisher_open_bytes(FloPublisher *pub)
{
	int64		bytes = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &pub->early)
		bytes += dlist_container(FloEarly, node, iter.cur)->bytes;
	return bytes;
}

TimestampTz
flo_publisher_oldest(FloPublisher *pub)
{
	TimestampTz oldest = flo_window_oldest(pub->window);

	return oldest != 0 ? oldest : pub->oldest;
}
