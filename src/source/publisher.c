/*
 * publisher.c
 *		Packs logical replication messages into chunks and publishes them.
 *
 * Promise: the stream holds the messages of this session in order and without
 * a hole.  Every publish names the sequence the stream must end at, so the
 * broker itself refuses whatever would leave one.  The first FLO_WINDOW
 * chunks of a session go one at a time; from then on no late publish of an
 * older session can fit any more, and up to FLO_WINDOW are in flight.
 *
 * Every chunk can be read on its own: before the first change of a relation
 * in a chunk its description is put there, from the copy kept of what
 * pgoutput sent once.
 *
 * What is in flight is kept.  A broker that is full refuses a chunk and, as they
 * name their place, all behind it (where it would not, they are sent one by one).
 * When each has been answered nothing of them can still be stored, so the same
 * chunks are sent again, in the same session, until there is room.  After any
 * other refusal the session is over.
 *
 * Awkward: a row may be larger than a message of the broker, so a record may
 * be split over chunks; and a transaction may be larger than memory, so this
 * waits for the broker while the reorder buffer's transaction is open.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "source/publisher.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wire/change.h"

/* Chunks are sent when they reach this many bytes; larger ones gain nothing */
#define CHUNK_TARGET (256 * 1024)

/* Room in max_payload for the NATS headers */
#define HEADER_ALLOWANCE 512

/* A broker that takes less than this in one message is of no use */
#define SMALLEST_PAYLOAD (16 * 1024)

/* Longest wait for the broker's answer to a publish, in ms */
#define ACK_TIMEOUT 10000

/* JetStream's err_code that is part of the protocol */
#define ERR_WRONG_LAST_SEQUENCE 10071

typedef struct InFlight
{
	XLogRecPtr	position;
	TimestampTz commit_time;	/* of the oldest transaction in it; 0 for a
								 * heartbeat */
	FloClock	sent;
	StringInfoData chunk;		/* sealed */
	bool		inside;			/* it starts in the midst of a transaction */
	XLogRecPtr	upto;			/* that begins after this */
	FloCounters counters;		/* of the transactions that end in it */
	uint64		number;			/* of the chunk */
} InFlight;

typedef struct RelationEntry
{
	uint32		id;
	uint64		chunk;			/* number of the last chunk that holds the
								 * description */
	char	   *block;			/* length-prefixed records: its types, then
								 * itself */
	int			len;
	uint64		age;			/* larger is newer */

	/* what a transaction's own description replaced while it is replayed */
	bool		replaced;
	char	   *before;			/* NULL: there was none */
	int			before_len;
	uint64		before_age;
	bool		shown;			/* the shaper knows the block */
} RelationEntry;

struct FloPublisher
{
	FloBus	   *bus;
	char	   *subject;
	uint32		limit;			/* size of a chunk, in bytes */
	FloPublisherHost host;

	/* the chunk being packed */
	StringInfoData chunk;
	uint16		flags;			/* in every chunk of the session */
	FloChunkHeader header;		/* of that chunk; upto, position and flags as
								 * far as known */
	TimestampTz oldest;			/* commit time of its first transaction */

	/* the transaction being packed */
	bool		in_transaction;
	uint64		txn_number;		/* number of the chunk it began in */
	TimestampTz txn_time;
	XLogRecPtr	upto;			/* last commit packed */
	XLogRecPtr	position;		/* newest position published; never goes back */

	/* the window */
	uint64		first_free;		/* sequence from which on pipelining is safe */
	uint64		next_seq;		/* sequence the next chunk will get */
	uint64		next_ack;		/* sequence the next answer is about */
	InFlight	flights[FLO_WINDOW];	/* of sequences next_ack .. next_seq -
										 * 1, by sequence */

	/* relations */
	MemoryContext tables;		/* for what is kept of tables, here and by the
								 * shaper */
	MemoryContext described;	/* within it: all relations */
	HTAB	   *relations;
	FloRoom    *room;			/* for descriptions */
	StringInfoData types;		/* type records waiting for their relation */
	RelationEntry *last_relation;	/* of the change before */

	/* who looks at rows */
	const FloPublisherShaper *shaper;
	void	   *shaper_arg;
	uint64		age;			/* of the newest description */
	uint64		replayed_age;	/* of the one being replayed; 0: none is */
	bool		any_replaced;

	/*
	 * A transaction counts when the broker has the chunk that it ends in:
	 * what another session sends again is counted there.
	 */
	FloTally   *tally;			/* open: of the transaction being packed */
	FloCounters packed;			/* of those that end in the chunk being packed */
	FloCommits	commits;		/* of those that the broker does not have,
								 * under the number of the chunk they end in */
};

/* --- the window ---------------------------------------------------------- */

static int
in_flight(FloPublisher *pub)
{
	return (int) (pub->next_seq - pub->next_ack);
}

static int
window_size(FloPublisher *pub)
{
	return pub->next_ack >= pub->first_free ? FLO_WINDOW : 1;
}

static InFlight *
flight_of(FloPublisher *pub, uint64 seq)
{
	return &pub->flights[seq % FLO_WINDOW];
}

static void
refused(FloPublisher *pub, const FloBusAck *ack)
{
	if (ack->err_code == ERR_WRONG_LAST_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the broker refused a chunk: %s", ack->error),
				 errdetail("The stream ends elsewhere than this publishing session expected; a new session finds its place again.")));
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("the broker refused a chunk: %s", ack->error)));
}

static void
check_overdue(FloClock sent)
{
	if (flo_clock_passed(sent, ACK_TIMEOUT))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("the broker did not acknowledge a chunk within %d s", ACK_TIMEOUT / 1000)));
}

/* Hand a chunk of the window to the connection, for the first time or again */
static void
send_flight(FloPublisher *pub, uint64 seq)
{
	InFlight   *flight = flight_of(pub, seq);

	flight->sent = flo_clock();
	flo_bus_publish_expect(pub->bus, pub->subject, seq - 1, seq, flight->chunk.data,
						   flight->chunk.len);
}

static void
await_answer(FloPublisher *pub, uint64 seq, FloBusAck *ack)
{
	while (!flo_bus_next_ack(pub->bus, ack))
	{
		check_overdue(flight_of(pub, seq)->sent);
		flo_bus_wait(pub->bus, 1000);
	}
	if (ack->token != seq)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the broker answered to sequence " UINT64_FORMAT " where " UINT64_FORMAT " was due",
						ack->token, seq)));
}

/* A batch at the source are the changes of the transactions that end in a chunk */
static void
count_stored(FloPublisher *pub, InFlight *flight)
{
	FloCounters *c = &flight->counters;

	if (c->transactions > 0)
		flo_histogram_add(&pub->tally->histograms, FLO_HISTOGRAM_BATCH,
						  c->inserts + c->updates + c->deletes + c->truncates, 1);
	flo_commits_durable(&pub->commits, flight->number, &pub->tally->histograms);
	flo_counters_move(&pub->tally->done, c);
}

static void
stored(FloPublisher *pub, const FloBusAck *ack)
{
	uint64		seq = pub->next_ack;

	if (in_flight(pub) == 0 || ack->token != seq || ack->seq != seq)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the broker acknowledged sequence " UINT64_FORMAT " where " UINT64_FORMAT " was due",
						ack->seq, seq)));
	flo_injection_point("acknowledge.before");
	pub->next_ack++;
	count_stored(pub, flight_of(pub, seq));
	pub->host.acked(pub->host.arg, flight_of(pub, seq)->position, seq);
	flo_injection_point("acknowledge.after");
}

/* The only chunk in flight is to get another sequence */
static void
move_window(FloPublisher *pub, uint64 seq)
{
	InFlight	flight = *flight_of(pub, pub->next_ack);

	if (seq == pub->next_ack)
		return;
	if (in_flight(pub) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the stream ends before sequence " UINT64_FORMAT " instead of " UINT64_FORMAT, seq, pub->next_ack),
				 errdetail("A new session finds its place again.")));
	*flight_of(pub, pub->next_ack) = *flight_of(pub, seq);
	*flight_of(pub, seq) = flight;
	pub->next_ack = seq;
	pub->next_seq = seq + 1;
}

/*
 * The oldest chunk in flight was refused since the broker is full.  Once those
 * behind it have been answered too, none of them can still be stored: the oldest
 * is sent until there is room, and when it is in, the others.
 */
static void
outwait_full_broker(FloPublisher *pub, FloBusAck *refusal)
{
	uint64		seq = pub->next_ack;
	FloBusAck	ack;

	for (uint64 behind = seq + 1; behind < pub->next_seq; behind++)
	{
		await_answer(pub, behind, &ack);
		if (ack.stored)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("the broker stored sequence " UINT64_FORMAT " after it had refused the one before", behind)));
	}
	ack = *refusal;
	while (!ack.stored)
	{
		InFlight   *flight;

		if (!flo_bus_is_full(ack.err_code))
			refused(pub, &ack);
		flight = flight_of(pub, seq);
		seq = pub->host.full(pub->host.arg, &ack, flight->chunk.len, flight->inside,
							 flight->upto) + 1;
		move_window(pub, seq);
		send_flight(pub, seq);
		await_answer(pub, seq, &ack);
	}
	for (uint64 behind = seq + 1; behind < pub->next_seq; behind++)
		send_flight(pub, behind);
	stored(pub, &ack);
}

void
flo_publisher_pump(FloPublisher *pub)
{
	FloBusAck	ack;

	flo_bus_pump(pub->bus);
	while (flo_bus_next_ack(pub->bus, &ack))
	{
		if (ack.stored)
			stored(pub, &ack);
		else if (flo_bus_is_full(ack.err_code) && ack.token == pub->next_ack && in_flight(pub) > 0)
			outwait_full_broker(pub, &ack);
		else
			refused(pub, &ack);
	}
	if (in_flight(pub) > 0)
		check_overdue(flight_of(pub, pub->next_ack)->sent);
}

static void
wait_for_room(FloPublisher *pub)
{
	flo_publisher_pump(pub);
	while (in_flight(pub) >= window_size(pub))
	{
		flo_bus_wait(pub->bus, 1000);
		flo_publisher_pump(pub);
	}
}

/* --- chunks -------------------------------------------------------------- */

static bool
chunk_is_empty(FloPublisher *pub)
{
	return pub->chunk.len == FLO_CHUNK_HEADER_SIZE;
}

static void
start_chunk(FloPublisher *pub)
{
	flo_chunk_reset(&pub->chunk);
	pub->header.number++;
	pub->header.from = pub->upto;
	pub->header.flags = pub->flags | (pub->in_transaction ? FLO_CHUNK_STARTS_INSIDE : 0);
	pub->header.txn_number = pub->in_transaction ? pub->txn_number : pub->header.number;
	pub->header.rest = 0;
	pub->oldest = pub->in_transaction ? pub->txn_time : 0;
}

/* Seal and publish the chunk as it is; there must be room in the window */
static void
send_chunk(FloPublisher *pub)
{
	InFlight   *flight = flight_of(pub, pub->next_seq);
	StringInfoData free_buffer;

	if (pub->in_transaction)
		pub->header.flags |= FLO_CHUNK_ENDS_INSIDE;
	pub->position = Max(pub->position, pub->upto);
	pub->header.upto = pub->upto;
	pub->header.position = pub->position;
	pub->host.anchor(pub->host.arg, &pub->header.anchor_lsn, &pub->header.anchor_crc);
	flo_chunk_seal(&pub->chunk, &pub->header);

	flight->position = pub->position;
	flight->commit_time = pub->oldest;
	flight->inside = (pub->header.flags & FLO_CHUNK_STARTS_INSIDE) != 0;
	flight->upto = pub->header.from;
	flo_counters_move(&flight->counters, &pub->packed);
	flight->number = pub->header.number;
	free_buffer = flight->chunk;
	flight->chunk = pub->chunk;
	pub->chunk = free_buffer;
	flo_injection_point("publish.before");
	send_flight(pub, pub->next_seq);
	flo_injection_point("publish.after");
	pub->next_seq++;
	pub->tally->done.bytes += flight->chunk.len;
	start_chunk(pub);
}

static void
send_when_room(FloPublisher *pub)
{
	wait_for_room(pub);
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
remember_relation(FloPublisher *pub, const char *data, uint32 len)
{
	uint32		id = get_id(data + 1);
	bool		found;
	RelationEntry *entry = hash_search(pub->relations, &id, HASH_ENTER, &found);

	flo_room_note(pub->room, id);
	if (!found)
		memset((char *) entry + sizeof(id), 0, sizeof(RelationEntry) - sizeof(id));
	if (pub->replayed_age != 0 && !entry->replaced)
	{
		entry->replaced = pub->any_replaced = true;
		entry->before = entry->block;
		entry->before_len = entry->len;
		entry->before_age = entry->age;
	}
	else if (entry->block != NULL)
		pfree(entry->block);
	entry->age = pub->replayed_age != 0 ? pub->replayed_age : ++pub->age;
	flo_chunk_append(&pub->types, data, len);
	entry->block = MemoryContextAlloc(pub->described, pub->types.len);
	memcpy(entry->block, pub->types.data, pub->types.len);
	entry->len = pub->types.len;
	entry->chunk = 0;
	entry->shown = false;
	resetStringInfo(&pub->types);
}

static void
create_relations(FloPublisher *pub)
{
	HASHCTL		control = {0};

	pub->described = AllocSetContextCreate(pub->tables, "pg_flo published tables",
										   ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(RelationEntry);
	control.hcxt = pub->described;
	pub->relations = hash_create("pg_flo relation descriptions", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
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
	pub->last_relation = NULL;
	MemoryContextDelete(pub->described);
	create_relations(pub);
}

uint64
flo_publisher_next_age(FloPublisher *pub)
{
	return ++pub->age;
}

void
flo_publisher_replay(FloPublisher *pub, uint64 age, const char *data, uint32 len)
{
	pub->replayed_age = age;
	flo_publisher_append(pub, data, len);
	pub->replayed_age = 0;
}

void
flo_publisher_end_replay(FloPublisher *pub)
{
	HASH_SEQ_STATUS scan;
	RelationEntry *entry;

	if (!pub->any_replaced)
		return;
	pub->any_replaced = false;
	hash_seq_init(&scan, pub->relations);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (!entry->replaced)
			continue;
		entry->replaced = false;
		if (entry->before == NULL)
			continue;
		if (entry->before_age > entry->age)
		{
			pfree(entry->block);
			entry->block = entry->before;
			entry->len = entry->before_len;
			entry->age = entry->before_age;
			entry->chunk = 0;
			entry->shown = false;
		}
		else
			pfree(entry->before);
		entry->before = NULL;
	}
}

static RelationEntry *
find_relation(FloPublisher *pub, const char *id_bytes)
{
	uint32		id = get_id(id_bytes);

	if (pub->last_relation == NULL || pub->last_relation->id != id)
		pub->last_relation = hash_search(pub->relations, &id, HASH_FIND, NULL);
	if (pub->last_relation == NULL)
		elog(ERROR, "change of relation %u before its description", id);
	return pub->last_relation;
}

/*
 * Put a relation's records into this chunk unless they are there.  Records that
 * had to be split over chunks are in none of them for who begins to read there.
 */
static void
describe_relation(FloPublisher *pub, RelationEntry *entry)
{
	uint64		chunk = pub->header.number;
	int			at = 0;

	if (entry->chunk == chunk)
		return;
	while (at < entry->len)
	{
		uint32		len = get_id(entry->block + at);

		put_record(pub, entry->block + at + sizeof(uint32), len);
		at += sizeof(uint32) + len;
	}
	entry->chunk = pub->header.number == chunk ? chunk : 0;
}

/*
 * Append a change of some relations, each described in this chunk first.  A
 * chunk that has content and cannot take it all is sent before, so that the
 * descriptions stand in the chunk where the change begins.
 */
static void
append_change(FloPublisher *pub, const char *data, uint32 len,
			  const char *ids, uint32 nids)
{
	Size		needed = (Size) len + sizeof(uint32);

	for (uint32 i = 0; i < nids; i++)
	{
		RelationEntry *entry = find_relation(pub, ids + i * sizeof(uint32));

		if (entry->chunk != pub->header.number)
			needed += entry->len;
	}
	if (!chunk_is_empty(pub) && pub->chunk.len + needed > pub->limit)
		send_when_room(pub);
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
	if (!chunk_is_empty(pub) && pub->chunk.len + len + sizeof(uint32) > pub->limit)
		send_when_room(pub);
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
append_commit(FloPublisher *pub, const char *data, uint32 len)
{
	append_plain(pub, data, len);
	pub->in_transaction = false;
	pub->upto = get64(data + 10);
	pub->header.commit_time = (TimestampTz) get64(data + 18);
	pub->tally->open.transactions++;
	flo_counters_move(&pub->packed, &pub->tally->open);
	flo_commits_note(&pub->commits, pub->header.commit_time, pub->header.number);
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
	RelationEntry *entry;

	if (pub->shaper == NULL || !pub->shaper->concerns(pub->shaper_arg))
		return true;
	entry = find_relation(pub, *data + 1);
	for (int at = 0; at < entry->len && !entry->shown;)
	{
		uint32		record_len = get_id(entry->block + at);

		pub->shaper->describe(pub->shaper_arg, entry->block + at + sizeof(uint32), record_len);
		at += sizeof(uint32) + record_len;
	}
	entry->shown = true;
	return pub->shaper->row(pub->shaper_arg, entry->id, data, len);
}

/*
 * Rules come first: a row that they drop must not bring its table's description
 * along, nor begin a chunk.  Descriptions are only kept; they are written in each
 * chunk before the first row that needs them there.
 */
void
flo_publisher_append(FloPublisher *pub, const char *data, uint32 len)
{
	if ((data[0] == FLO_OP_INSERT || data[0] == FLO_OP_UPDATE || data[0] == FLO_OP_DELETE) &&
		!shape(pub, &data, &len))
	{
		pub->tally->open.filtered++;
		return;
	}
	switch (data[0])
	{
		case FLO_OP_INSERT:
			pub->tally->open.inserts++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_UPDATE:
			pub->tally->open.updates++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_DELETE:
			pub->tally->open.deletes++;
			append_change(pub, data, len, data + 1, 1);
			break;
		case FLO_OP_TRUNCATE:
			pub->tally->open.truncates++;
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
			remember_relation(pub, data, len);
			break;
		case FLO_OP_MESSAGE:
			append_plain(pub, data, len);
			break;
		default:

			/* origins are no business of a destination */
			break;
	}
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
	pub->bus = bus;
	pub->subject = pstrdup(subject);
	pub->limit = (uint32) Min((int64) CHUNK_TARGET, flo_bus_max_payload(bus) - HEADER_ALLOWANCE);
	pub->host = *host;
	pub->tally = tally;

	pub->header = *identity;
	pub->header.encoding = (uint16) GetDatabaseEncoding();
	pub->flags = session->flags;
	pub->header.epoch = session->epoch;
	pub->header.number = 0;
	pub->upto = session->from;
	pub->position = session->start;

	pub->next_seq = pub->next_ack = session->last_seq + 1;
	pub->first_free = session->one_by_one ? PG_UINT64_MAX : session->last_seq + 1 + FLO_WINDOW;

	pub->tables = AllocSetContextCreate(CurrentMemoryContext, "pg_flo tables",
										ALLOCSET_DEFAULT_SIZES);
	create_relations(pub);
	pub->room = flo_room_create(pub->tables);
	initStringInfo(&pub->types);
	initStringInfo(&pub->chunk);
	enlargeStringInfo(&pub->chunk, pub->limit + 1);
	for (int i = 0; i < FLO_WINDOW; i++)
	{
		initStringInfo(&pub->flights[i].chunk);
		enlargeStringInfo(&pub->flights[i].chunk, pub->limit + 1);
	}
	start_chunk(pub);
	return pub;
}

bool
flo_publisher_can_flush(FloPublisher *pub)
{
	return !chunk_is_empty(pub) && in_flight(pub) < window_size(pub);
}

void
flo_publisher_flush(FloPublisher *pub)
{
	Assert(!pub->in_transaction);
	if (flo_publisher_can_flush(pub))
		send_chunk(pub);
}

bool
flo_publisher_idle(FloPublisher *pub)
{
	return chunk_is_empty(pub) && in_flight(pub) == 0 && !pub->in_transaction;
}

void
flo_publisher_heartbeat(FloPublisher *pub, XLogRecPtr position)
{
	Assert(flo_publisher_idle(pub));
	pub->header.flags = pub->flags | FLO_CHUNK_HEARTBEAT;
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
	wait_for_room(pub);
	pub->header.flags = pub->flags | flag;
	pub->header.commit_time = GetCurrentTimestamp();
}

static void
end_marker(FloPublisher *pub)
{
	send_chunk(pub);
	while (in_flight(pub) > 0)
	{
		flo_bus_wait(pub->bus, 1000);
		flo_publisher_pump(pub);
	}
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
	int64		bytes = pub->chunk.len - FLO_CHUNK_HEADER_SIZE;

	for (uint64 seq = pub->next_ack; seq < pub->next_seq; seq++)
		bytes += flight_of(pub, seq)->chunk.len;
	return bytes;
}

TimestampTz
flo_publisher_oldest(FloPublisher *pub)
{
	for (uint64 seq = pub->next_ack; seq < pub->next_seq; seq++)
		if (flight_of(pub, seq)->commit_time != 0)
			return flight_of(pub, seq)->commit_time;
	return pub->oldest;
}
