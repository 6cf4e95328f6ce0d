/*
 * window.c
 *		Chunks on their way to the broker.
 *
 * Promise: the stream holds the chunks of this session in order and without a hole.
 * Every publish names the sequence the stream must end at, so the broker itself
 * refuses whatever would leave one.  The first FLO_WINDOW chunks of a session go one
 * at a time; from then on no late publish of an older session can fit any more, and
 * up to FLO_WINDOW are in flight.
 *
 * What is in flight is kept.  A broker that is full refuses a chunk and, as they
 * name their place, all behind it (where it would not, they are sent one by one).
 * When each has been answered nothing of them can still be stored, so the same
 * chunks are sent again, in the same session, until there is room.  Some servers count
 * what they refused (flo_stream_counts_refused()): what such a one says it has counted is
 * named then, if the stream still ends where we know it to.  After any other refusal the
 * session is over.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "core/injection_point.h"
#include "source/window.h"

/* Longest wait for the broker's answer to a publish, in ms */
#define ACK_TIMEOUT 10000

/* JetStream's err_code that is part of the protocol */
#define ERR_WRONG_LAST_SEQUENCE 10071

struct FloWindow
{
	FloBus	   *bus;
	char	   *subject;
	FloPublisherHost host;
	uint64		first_free;		/* sequence from which on pipelining is safe */
	bool		one_by_one;		/* it is not */
	int64		allowed;		/* bytes to be stored until the host is asked */
	uint64		next_seq;		/* sequence the next chunk will get */
	uint64		next_ack;		/* sequence the next answer is about */
	uint64		ahead;			/* so many more than are there the server has
								 * counted */
	uint64		recounted;		/* sequence for which that was found, since it
								 * was last refused for another reason */
	FloFlight	flights[FLO_WINDOW];	/* of sequences next_ack .. next_seq -
										 * 1, by sequence */

	/*
	 * A transaction counts when the broker has the chunk that it ends in:
	 * what another session sends again is counted there.
	 */
	FloTally   *tally;
	FloCommits *commits;		/* of those that the broker does not have,
								 * under the number of the chunk they end in */
};

FloWindow *
flo_window_create(FloBus *bus, const char *subject, uint64 last_seq, bool one_by_one,
				  uint32 limit, const FloPublisherHost *host, FloTally *tally,
				  FloCommits *commits)
{
	FloWindow  *window = palloc0(sizeof(FloWindow));

	window->bus = bus;
	window->subject = pstrdup(subject);
	window->host = *host;
	window->next_seq = window->next_ack = last_seq + 1;
	window->first_free = last_seq + 1 + FLO_WINDOW;
	window->one_by_one = one_by_one;
	window->allowed = PG_INT64_MAX;
	window->tally = tally;
	window->commits = commits;
	for (int i = 0; i < FLO_WINDOW; i++)
	{
		initStringInfo(&window->flights[i].chunk);
		enlargeStringInfo(&window->flights[i].chunk, limit + 1);
	}
	return window;
}

int
flo_window_in_flight(const FloWindow *window)
{
	return (int) (window->next_seq - window->next_ack);
}

void
flo_window_set_one_by_one(FloWindow *window, bool one_by_one)
{
	window->one_by_one = one_by_one;
}

/* What is under way may not be there yet */
void
flo_window_set_allowed(FloWindow *window, int64 bytes)
{
	window->allowed = bytes - flo_window_bytes(window);
}

static int
window_size(const FloWindow *window)
{
	return !window->one_by_one && window->next_ack >= window->first_free ? FLO_WINDOW : 1;
}

bool
flo_window_has_room(const FloWindow *window)
{
	return flo_window_in_flight(window) < window_size(window);
}

static FloFlight *
flight_of(const FloWindow *window, uint64 seq)
{
	return unconstify(FloFlight *, &window->flights[seq % FLO_WINDOW]);
}

static void
refused(const FloBusAck *ack)
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

/* Only the server's count stands against the only chunk that is under way */
static bool
is_counted_otherwise(FloWindow *window, uint64 seq, const FloBusAck *ack)
{
	unsigned long long counted;

	if (ack->err_code != ERR_WRONG_LAST_SEQUENCE || window_size(window) > 1 ||
		window->recounted == seq ||
		sscanf(ack->error, "wrong last sequence: %llu", &counted) != 1 ||
		counted < seq - 1 || counted == seq - 1 + window->ahead ||
		window->host.end(window->host.arg) != seq - 1)
		return false;
	window->ahead = counted - (seq - 1);
	window->recounted = seq;
	return true;
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
send_flight(FloWindow *window, uint64 seq)
{
	FloFlight  *flight = flight_of(window, seq);

	flight->sent = flo_clock();
	flo_bus_publish_expect(window->bus, window->subject, seq - 1 + window->ahead, seq,
						   flight->chunk.data, flight->chunk.len);
}

static void
await_answer(FloWindow *window, uint64 seq, FloBusAck *ack)
{
	while (!flo_bus_next_ack(window->bus, ack))
	{
		check_overdue(flight_of(window, seq)->sent);
		flo_bus_wait(window->bus, 1000);
	}
	if (ack->token != seq)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the broker answered to sequence " UINT64_FORMAT " where " UINT64_FORMAT " was due",
						ack->token, seq)));
}

/* A batch at the source are the changes of the transactions that end in a chunk */
static void
count_stored(FloWindow *window, FloFlight *flight)
{
	FloCounters *c = &flight->counters;

	if (c->transactions > 0)
		flo_histogram_add(&window->tally->histograms, FLO_HISTOGRAM_BATCH,
						  c->inserts + c->updates + c->deletes + c->truncates, 1);
	flo_commits_durable(window->commits, flight->number, &window->tally->histograms);
	flo_counters_move(&window->tally->done, c);
}

static void
stored(FloWindow *window, const FloBusAck *ack)
{
	uint64		seq = window->next_ack;

	if (flo_window_in_flight(window) == 0 || ack->token != seq || ack->seq != seq)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the broker acknowledged sequence " UINT64_FORMAT " where " UINT64_FORMAT " was due",
						ack->seq, seq)));
	flo_injection_point("acknowledge.before");
	window->next_ack++;
	count_stored(window, flight_of(window, seq));
	window->host.acked(window->host.arg, flight_of(window, seq)->position, seq);
	flo_injection_point("acknowledge.after");
}

/* The only chunk in flight is to get another sequence */
static void
move_window(FloWindow *window, uint64 seq)
{
	FloFlight	flight = *flight_of(window, window->next_ack);

	if (seq == window->next_ack)
		return;
	if (flo_window_in_flight(window) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the stream ends before sequence " UINT64_FORMAT " instead of " UINT64_FORMAT, seq, window->next_ack),
				 errdetail("A new session finds its place again.")));
	*flight_of(window, window->next_ack) = *flight_of(window, seq);
	*flight_of(window, seq) = flight;
	window->next_ack = seq;
	window->next_seq = seq + 1;
}

/*
 * What is behind a refused chunk is answered.  If any of it is stored all the same, the stream
 * has a hole before it, which the next session would take for nothing: it is removed.
 */
static void
await_answers_behind(FloWindow *window, uint64 seq)
{
	uint64		torn = 0;
	FloBusAck	ack;

	for (uint64 behind = seq + 1; behind < window->next_seq; behind++)
	{
		await_answer(window, behind, &ack);
		if (!ack.stored)
			continue;
		window->host.remove(window->host.arg, ack.seq);
		torn = behind;
	}
	if (torn != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the broker stored sequence " UINT64_FORMAT " after it had refused the one before",
						torn)));
}

/* The oldest chunk, which was refused, is sent until there is room */
static void
persist(FloWindow *window, FloBusAck *ack)
{
	uint64		seq = window->next_ack;

	while (!ack->stored)
	{
		FloFlight  *flight = flight_of(window, seq);

		if (flo_bus_is_full(ack->err_code))
		{
			seq = window->host.full(window->host.arg, ack, flight->chunk.len, flight->inside,
									flight->upto) + 1;
			move_window(window, seq);
			window->recounted = 0;
		}
		else if (!is_counted_otherwise(window, seq, ack))
			refused(ack);
		send_flight(window, seq);
		await_answer(window, seq, ack);
	}
	stored(window, ack);
}

/*
 * The oldest chunk in flight was refused since the broker is full.  Once those
 * behind it have been answered too, none of them can still be stored: the oldest
 * is sent until there is room, and when it is in, the others.
 */
static void
outwait_full_broker(FloWindow *window, FloBusAck *ack)
{
	await_answers_behind(window, window->next_ack);
	persist(window, ack);
	while (flo_window_in_flight(window) > 0 && window_size(window) == 1)
	{
		send_flight(window, window->next_ack);
		await_answer(window, window->next_ack, ack);
		persist(window, ack);
	}
	for (uint64 behind = window->next_ack; behind < window->next_seq; behind++)
		send_flight(window, behind);
}

void
flo_window_pump(FloWindow *window)
{
	FloBusAck	ack;

	flo_bus_pump(window->bus);
	while (flo_bus_next_ack(window->bus, &ack))
	{
		if (ack.stored)
			stored(window, &ack);
		else if (flo_bus_is_full(ack.err_code) && ack.token == window->next_ack &&
				 flo_window_in_flight(window) > 0)
			outwait_full_broker(window, &ack);
		else if (ack.token == window->next_ack && flo_window_in_flight(window) == 1 &&
				 is_counted_otherwise(window, window->next_ack, &ack))
			send_flight(window, window->next_ack);
		else
			refused(&ack);
	}
	if (flo_window_in_flight(window) > 0)
		check_overdue(flight_of(window, window->next_ack)->sent);
}

void
flo_window_await_room(FloWindow *window)
{
	flo_window_pump(window);
	while (!flo_window_has_room(window))
	{
		flo_bus_wait(window->bus, 1000);
		flo_window_pump(window);
	}
}

void
flo_window_await_all(FloWindow *window)
{
	while (flo_window_in_flight(window) > 0)
	{
		flo_bus_wait(window->bus, 1000);
		flo_window_pump(window);
	}
}

static void
keep_to_allowed(FloWindow *window, const FloFlight *flight)
{
	int			size = flight->chunk.len;

	if (window->allowed < size + FLO_MESSAGE_OVERHEAD)
	{
		flo_window_await_all(window);
		window->host.await_room(window->host.arg, size, flight->inside, flight->upto);
	}
	window->allowed -= size + FLO_MESSAGE_OVERHEAD;
}

void
flo_window_send(FloWindow *window, FloFlight *flight)
{
	FloFlight  *place;
	StringInfoData free_buffer;

	keep_to_allowed(window, flight);
	place = flight_of(window, window->next_seq);
	free_buffer = place->chunk;
	*place = *flight;
	flight->chunk = free_buffer;
	flo_injection_point("publish.before");
	send_flight(window, window->next_seq);
	flo_injection_point("publish.after");
	window->next_seq++;
	window->tally->done.bytes += place->chunk.len;
}

int64
flo_window_bytes(const FloWindow *window)
{
	int64		bytes = 0;

	for (uint64 seq = window->next_ack; seq < window->next_seq; seq++)
		bytes += flight_of(window, seq)->chunk.len;
	return bytes;
}

TimestampTz
flo_window_oldest(const FloWindow *window)
{
	for (uint64 seq = window->next_ack; seq < window->next_seq; seq++)
		if (flight_of(window, seq)->commit_time != 0)
			return flight_of(window, seq)->commit_time;
	return 0;
}
