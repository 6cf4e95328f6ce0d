/*
 * outlet.c
 *		Messages for others, under subjects of their own: in order, and each
 *		stored in a JetStream stream exactly once; or for whoever listens.
 *
 * Promises: a message is stored right behind the one before it, or not at all.
 * The first one after we have looked at the stream says which sequence the stream
 * must end at, each other one which Id its last message must have, that of its
 * predecessor.  So neither a message that was refused nor one of somebody else's
 * leaves a hole, and what a connection that is gone still brings cannot come
 * twice.  How far we came is read from the stream: its newest message of ours has
 * its place in a header.  None of that asks for a window of duplicates, which the
 * Id is there for as well.
 *
 * Whatever goes wrong, it is the same that is done: wait for the answers that are
 * due, look at the stream, send what is not in it.
 *
 * Awkward cases:
 * - Where others publish to the same stream, any message of theirs breaks the row
 *   of ours: then fewer are under way at a time, in the end one, which expects
 *   nothing but its own subject to be as we know it.
 * - A full stream refuses messages until somebody makes room.
 * - nats-server 2.9 may take a message and remove it again (FloAccountInfo): there
 *   one at a time is under way.
 * - Nobody acknowledges what no stream keeps: a message to ourselves comes back
 *   when the server has taken what was sent before it.
 */
#include "postgres.h"

#include "bus/outlet.h"
#include "bus/stream_impl.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "lib/stringinfo.h"
#include "monitor/state.h"
#include "utils/memutils.h"

/* Messages that are kept until they are stored, and their bytes */
#define WINDOW 2048
#define WINDOW_BYTES (8 * 1024 * 1024)

/*
 * nats-server takes a record of more than 32 MB in its files for a broken one.  Newer
 * ones refuse such a message; older ones store it, and after a crash have lost it, and
 * all behind it.  That is with the subject.
 */
#define STORED_MAX (32 * 1024 * 1024 - 64 * 1024)

/* A larger buffer is given back when its message is stored */
#define KEPT_BUFFER 2048

/* Without a stream: messages between two to ourselves */
#define ECHO_EVERY 256

/* Answers are looked for after so many messages, and waited for so long (ms) */
#define PUMP_EVERY 64
#define ACK_TIMEOUT 10000

#define SERVE_INTERVAL 1000		/* ms */
#define ACCOUNT_INTERVAL 2000	/* ms between two looks at the account's limit */
#define FULL_PAUSE 1000			/* ms */
#define RECONNECT_FIRST 100		/* ms */
#define RECONNECT_AGAIN 1000	/* ms */

/* So many are under way while the stream is full */
#define FULL_WINDOW 8

#define HEADERS_MAX 16

/* Bytes that a header needs beside its name and value, and all of them together */
#define HEADER_SIZE 4
#define HEADERS_SIZE 12

#define ID_HEADER "Nats-Msg-Id"
#define PLACE_HEADER "Flo-Place"
#define EXPECTED_ID_HEADER "Nats-Expected-Last-Msg-Id"
#define EXPECTED_SUBJECT_HEADER "Nats-Expected-Last-Subject-Sequence"

/* err_codes of JetStream */
#define ERR_WRONG_LAST_ID 10070
#define ERR_WRONG_LAST_SEQUENCE 10071
#define ERR_TOO_LARGE 10054
#define ERR_STILL_IN_WORK 10158 /* a message of this Id */
#define ERR_NO_RESPONDERS 503

typedef struct Parcel
{
	StringInfoData text;		/* subject, id, place, headers, data; each
								 * with a zero byte */
	int			id;				/* where they begin */
	int			place;
	int			headers;
	int			nheaders;
	int			data;
	int			data_len;
} Parcel;

/* What the answers since the last look at the stream have said */
typedef enum Trouble
{
	NO_TROUBLE,
	CONFLICT,					/* the stream does not end where we thought */
	FULL
} Trouble;

struct FloOutlet
{
	FloBus	   *bus;
	MemoryContext context;
	MemoryContext scratch;		/* reset with each step */
	char	   *stream;			/* NULL: none */
	char	   *subjects;
	void		(*serve) (void *arg);
	void	   *arg;
	FloClock	served_at;
	bool		waiting;		/* as flo.status says */
	int64		max_message;	/* of the stream; 0 = no limit */

	/* Messages by number: first <= sent <= next */
	Parcel		parcels[WINDOW];
	uint64		first;			/* not stored for certain */
	uint64		sent;			/* not under way */
	uint64		next;
	int64		bytes;			/* of them all */
	char		stored[FLO_OUTLET_TEXT_MAX];	/* place of the one before
												 * "first" */
	int			pumped;			/* sent since the last look for answers */
	FloClock	heard_at;		/* the last answer, or something was sent to
								 * an idle server */

	/*
	 * The row of those under way: a new one begins with each look at the
	 * stream
	 */
	bool		placed;			/* we know where the stream ends */
	uint32		row;
	uint64		row_first;		/* number of its first message */
	uint64		last_seq;		/* which expects this */
	bool		by_subject;		/* the only one under way goes by its subject */
	Trouble		trouble;
	uint64		unanswered;		/* of the row */
	char		words[160];		/* the broker's */
	uint64		echoed;			/* without a stream: the last message to
								 * ourselves stands behind this one */

	/* How many may be under way */
	FloClock	account_looked;
	int			window;
	int			window_max;
	int			unbroken;		/* stored since it was last changed */

	uint64		doubted;		/* message that JetStream takes for a
								 * duplicate, and which we then looked for; by
								 * number, from 1 */
	bool		full;			/* it was, when last heard of */
};

/* --- what is kept of a message ------------------------------------------- */

static Parcel *
parcel_of(FloOutlet *outlet, uint64 number)
{
	return &outlet->parcels[number % WINDOW];
}

static const char *
subject_of(const Parcel *parcel)
{
	return parcel->text.data;
}

static const char *
id_of(const Parcel *parcel)
{
	return parcel->text.data + parcel->id;
}

static const char *
place_of(const Parcel *parcel)
{
	return parcel->text.data + parcel->place;
}

static int
append_text(StringInfo out, const char *text)
{
	int			at = out->len;

	appendBinaryStringInfo(out, text, strlen(text) + 1);
	return at;
}

static void
fill(FloOutlet *outlet, Parcel *parcel, const FloOutletMessage *message)
{
	StringInfo	text = &parcel->text;

	if (text->data == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(outlet->context);

		initStringInfo(text);
		MemoryContextSwitchTo(old);
	}
	resetStringInfo(text);
	append_text(text, message->subject);
	parcel->id = append_text(text, message->id);
	parcel->place = append_text(text, message->place);
	parcel->headers = text->len;
	parcel->nheaders = message->nheaders;
	for (int i = 0; i < message->nheaders; i++)
	{
		append_text(text, message->headers[i].name);
		append_text(text, message->headers[i].value);
	}
	parcel->data = text->len;
	parcel->data_len = message->len;
	appendBinaryStringInfo(text, message->data, message->len);
	outlet->bytes += text->len;
}

static void
let_go(FloOutlet *outlet, Parcel *parcel)
{
	strlcpy(outlet->stored, place_of(parcel), sizeof(outlet->stored));
	outlet->bytes -= parcel->text.len;

	/* not the memory of a huge one, but its Id, which the next one names */
	if (parcel->text.maxlen > KEPT_BUFFER)
	{
		parcel->text.data = repalloc(parcel->text.data, parcel->headers);
		parcel->text.maxlen = parcel->headers;
	}
	outlet->first++;
}

/* --- sending ------------------------------------------------------------- */

static uint64
token_of(const FloOutlet *outlet, uint64 number)
{
	return ((uint64) outlet->row << 32) | (number & 0xffffffff);
}

/* The last message of exactly this subject; 0: none */
static uint64
last_of_subject(FloOutlet *outlet, const char *subject)
{
	FloStoredMessage message;

	if (!flo_stream_get_last(outlet->bus, outlet->stream, subject, &message))
		return 0;
	pfree(message.data);
	return message.seq;
}

/*
 * Others write there as well, or the server counts what it has refused: then the message is
 * to be the next one of its subject, wherever in the stream that is.
 */
static bool
goes_by_subject(const FloOutlet *outlet, uint64 number)
{
	return outlet->window == 1 && (outlet->window_max > 1 || number == outlet->row_first);
}

/* What has to be so for the message to be stored */
static FloBusHeader
condition(FloOutlet *outlet, uint64 number, char *buf, size_t size)
{
	FloBusHeader header = {FLO_BUS_EXPECTED_SEQUENCE, buf};

	outlet->by_subject = goes_by_subject(outlet, number);
	if (outlet->by_subject)
	{
		header.name = EXPECTED_SUBJECT_HEADER;
		snprintf(buf, size, UINT64_FORMAT,
				 last_of_subject(outlet, subject_of(parcel_of(outlet, number))));
	}
	else if (number == outlet->row_first)
		snprintf(buf, size, UINT64_FORMAT, outlet->last_seq);
	else
	{
		header.name = EXPECTED_ID_HEADER;
		header.value = id_of(parcel_of(outlet, number - 1));
	}
	return header;
}

static void
send(FloOutlet *outlet, uint64 number)
{
	const Parcel *parcel = parcel_of(outlet, number);
	FloBusHeader headers[HEADERS_MAX + 3];
	int			nheaders = 0;
	char		buf[24];
	const char *text = parcel->text.data + parcel->headers;

	if (outlet->stream != NULL)
	{
		headers[nheaders++] = condition(outlet, number, buf, sizeof(buf));
		headers[nheaders++] = (FloBusHeader)
		{
			PLACE_HEADER, place_of(parcel)
		};
	}
	headers[nheaders++] = (FloBusHeader)
	{
		ID_HEADER, id_of(parcel)
	};
	for (int i = 0; i < parcel->nheaders; i++)
	{
		headers[nheaders].name = text;
		text += strlen(text) + 1;
		headers[nheaders++].value = text;
		text += strlen(text) + 1;
	}
	if (outlet->sent == outlet->first)
		outlet->heard_at = flo_clock();
	/* whatever the connection says, it may have left */
	outlet->sent++;
	outlet->unanswered++;
	outlet->pumped++;
	flo_injection_point("send.before");
	flo_bus_publish_with(outlet->bus, subject_of(parcel), headers, nheaders,
						 outlet->stream != NULL ? token_of(outlet, number) : 0,
						 parcel->text.data + parcel->data, parcel->data_len);
	flo_injection_point("send.after");
}

/* --- answers ------------------------------------------------------------- */

/* One more is stored where it belongs: after a whole window of them it may grow */
static void
stored(FloOutlet *outlet, const FloBusAck *ack)
{
	outlet->last_seq = ack->seq;
	if (outlet->full)
		flo_state_recovered(FLO_RETRIED_ROOM);
	outlet->full = false;
	let_go(outlet, parcel_of(outlet, outlet->first));
	if (++outlet->unbroken < outlet->window || outlet->window == outlet->window_max)
		return;
	outlet->window = Min(outlet->window * 2, outlet->window_max);
	outlet->unbroken = 0;
}

/*
 * Another message has its Id: ours, which has come late, or one that we do not find
 * when we look for it
 */
static void
doubt(FloOutlet *outlet, const Parcel *parcel)
{
	if (outlet->doubted != outlet->first + 1)
	{
		outlet->doubted = outlet->first + 1;
		outlet->trouble = CONFLICT;
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("stream \"%s\" has got another message with the Id \"%s\"", outlet->stream,
					id_of(parcel)),
			 errdetail("JetStream takes this one for a duplicate as long as the stream's duplicates window lasts."),
			 errhint("It is published when the window is over. Another worker must not write to the same subjects.")));
}

static void
refused(FloOutlet *outlet, const Parcel *parcel, const FloBusAck *ack)
{
	strlcpy(outlet->words, ack->error, sizeof(outlet->words));
	if (ack->err_code == ERR_WRONG_LAST_ID || ack->err_code == ERR_WRONG_LAST_SEQUENCE ||
		ack->err_code == ERR_STILL_IN_WORK)
		outlet->trouble = CONFLICT;
	else if (flo_bus_is_full(ack->err_code))
		outlet->trouble = FULL;
	else if (ack->err_code == ERR_TOO_LARGE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("stream \"%s\" takes no message as large as that to subject \"%s\"",
						outlet->stream, subject_of(parcel))));
	else
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" refused a message to subject \"%s\": %s", outlet->stream,
						subject_of(parcel), ack->error)));
}

static void
answered(FloOutlet *outlet, uint64 number, const FloBusAck *ack)
{
	Parcel	   *parcel = parcel_of(outlet, number);

	if (outlet->trouble != NO_TROUBLE)
	{
		/*
		 * Once one is refused, those behind it are, unless they are there
		 * already; or the account was given a limit just now.  What is stored
		 * all the same would stand for those before it.
		 */
		if (ack->stored && !ack->duplicate)
			flo_stream_remove(outlet->bus, outlet->stream, ack->seq);
		return;
	}
	if (number != outlet->first)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("stream \"%s\" answered to a message before the one ahead of it",
						outlet->stream)));
	if (!ack->stored)
		refused(outlet, parcel, ack);
	else if (ack->duplicate && ack->seq != outlet->last_seq + 1)
		doubt(outlet, parcel);
	else if (!outlet->by_subject && ack->seq != outlet->last_seq + 1)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("stream \"%s\" stored a message as " UINT64_FORMAT " where " UINT64_FORMAT " was due",
						outlet->stream, ack->seq, outlet->last_seq + 1)));
	else
		stored(outlet, ack);
}

static void
take_echo(FloOutlet *outlet, uint64 number)
{
	while (outlet->first < Min(number, outlet->sent))
		let_go(outlet, parcel_of(outlet, outlet->first));
}

static void
take_answers(FloOutlet *outlet)
{
	FloBusAck	ack;

	outlet->pumped = 0;
	while (flo_bus_next_ack(outlet->bus, &ack))
	{
		uint64		number = outlet->first + (int32) ((uint32) ack.token - (uint32) outlet->first);

		if (ack.err_code == ERR_NO_RESPONDERS && outlet->stream != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("no stream takes messages to subject \"%s\"",
							subject_of(parcel_of(outlet, outlet->first))),
					 errdetail("Stream \"%s\" is gone, or has lost this subject.", outlet->stream)));
		if (ack.token >> 32 != outlet->row)
			continue;
		outlet->heard_at = flo_clock();
		outlet->unanswered -= ack.echo ? 0 : 1;
		if (ack.echo)
			take_echo(outlet, number);
		else if (number >= outlet->first && number < outlet->sent)
			answered(outlet, number, &ack);
	}
}

/* --- the place in the stream --------------------------------------------- */

/* The value of a header in a message's block of them; palloc'd */
static char *
header_value(const char *block, const char *name)
{
	size_t		len = strlen(name);

	for (const char *line = block; line != NULL; line = strstr(line, "\r\n"))
	{
		const char *end;

		if (line != block)
			line += 2;
		if (strncmp(line, name, len) != 0 || line[len] != ':')
			continue;
		line += len + 1;
		while (*line == ' ')
			line++;
		end = strstr(line, "\r\n");
		return end != NULL ? pnstrdup(line, end - line) : pstrdup(line);
	}
	return NULL;
}

/* Place of the newest message under these subjects, NULL: there is none; palloc'd */
static char *
last_place(FloOutlet *outlet, const char *stream, const char *subjects)
{
	StringInfoData body;
	FloStoredMessage message;
	char	   *headers = NULL;
	char	   *place = NULL;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"last_by_subj\":");
	flo_json_append_string(&body, subjects);
	appendStringInfoChar(&body, '}');
	if (!flo_api_get_message(outlet->bus, stream, body.data, true, &message, &headers))
		return NULL;
	if (headers != NULL)
		place = header_value(headers, PLACE_HEADER);
	pfree(message.data);
	return place;
}

/* The account may be given a limit at any time, or the server be another one */
static void
mind_account(FloOutlet *outlet)
{
	FloAccountInfo account;
	FloStreamInfo info = {0};

	outlet->account_looked = flo_clock();
	flo_account_info(outlet->bus, &account);
	if (account.limited)
		(void) flo_stream_info(outlet->bus, outlet->stream, &info);
	outlet->window_max = flo_stream_counts_refused(&account, &info) ? 1 : WINDOW;
	outlet->window = Min(outlet->window, outlet->window_max);
}

/* Where the stream ends, and how large a message it takes */
static void
look(FloOutlet *outlet)
{
	uint64		known = outlet->last_seq;
	FloApiReply reply;
	FloJson		part;

	if (!flo_api_stream_info(outlet->bus, outlet->stream, "", &reply))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" does not exist", outlet->stream)));
	if (!flo_json_get(reply.json, "state", &part) ||
		!flo_json_get_uint64(part, "last_seq", &outlet->last_seq))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's information about a stream is incomplete")));
	if (outlet->last_seq < known)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stream \"%s\" has lost messages that it had acknowledged", outlet->stream),
				 errdetail("It ended at sequence " UINT64_FORMAT ", and ends at " UINT64_FORMAT " now.",
						   known, outlet->last_seq),
				 errhint("What was recorded as sent is not sent again: flo.backfill() at the source brings rows.")));
	outlet->max_message = 0;
	if (flo_json_get(reply.json, "config", &part))
		flo_json_get_int64(part, "max_msg_size", &outlet->max_message);
}

/* Begin a new row behind what is stored already */
static void
find_place(FloOutlet *outlet)
{
	char	   *place = NULL;

	/*
	 * in this order: what is stored in between is in the way of the first
	 * message
	 */
	if (outlet->stream != NULL)
	{
		mind_account(outlet);
		look(outlet);
		place = last_place(outlet, outlet->stream, outlet->subjects);
	}
	for (uint64 number = outlet->first; place != NULL && number < outlet->sent; number++)
	{
		if (strcmp(place_of(parcel_of(outlet, number)), place) != 0)
			continue;
		while (outlet->first <= number)
			let_go(outlet, parcel_of(outlet, outlet->first));
	}
	outlet->row++;
	outlet->row_first = outlet->sent = outlet->echoed = outlet->first;
	outlet->trouble = NO_TROUBLE;
	outlet->unanswered = 0;
	outlet->placed = true;
}

char *
flo_outlet_last(FloOutlet *outlet, const char *stream, const char *subjects)
{
	return last_place(outlet, stream, subjects);
}

/* --- waiting ------------------------------------------------------------- */

static void
show_waiting(FloOutlet *outlet, const char *what, const char *words)
{
	outlet->waiting = true;
	flo_state_set(FLO_STATE_WAITING, "for %s: %s", what, words);
}

static void
show_progress(FloOutlet *outlet)
{
	if (outlet->waiting)
		flo_state_set(FLO_STATE_STREAMING, NULL);
	outlet->waiting = false;
}

static void
serve(FloOutlet *outlet)
{
	if (!flo_clock_passed(outlet->served_at, SERVE_INTERVAL))
		return;
	outlet->served_at = flo_clock();
	outlet->serve(outlet->arg);
}

/* What the steps below are given */
typedef struct Step
{
	FloOutlet  *outlet;
	long		timeout;		/* ms */
} Step;

static void
step_send(void *arg)
{
	FloOutlet  *outlet = ((Step *) arg)->outlet;

	if (!outlet->placed)
		find_place(outlet);
	else if (outlet->stream != NULL && flo_clock_passed(outlet->account_looked, ACCOUNT_INTERVAL))
		mind_account(outlet);
	while (outlet->trouble == NO_TROUBLE && outlet->sent < outlet->next &&
		   outlet->sent - outlet->first < outlet->window)
	{
		send(outlet, outlet->sent);
		if (outlet->pumped >= PUMP_EVERY)
		{
			flo_bus_pump(outlet->bus);
			take_answers(outlet);
		}
	}
	if (outlet->stream == NULL && outlet->sent > outlet->echoed &&
		(outlet->sent - outlet->echoed >= ECHO_EVERY || ((Step *) arg)->timeout > 0))
	{
		flo_bus_echo(outlet->bus, token_of(outlet, outlet->sent));
		outlet->echoed = outlet->sent;
	}
}

static void
step_wait(void *arg)
{
	Step	   *step = arg;

	flo_bus_wait_for(step->outlet->bus, FLO_WAIT_NATS, step->timeout);
	take_answers(step->outlet);
}

static void
step_pump(void *arg)
{
	FloOutlet  *outlet = ((Step *) arg)->outlet;

	flo_bus_pump(outlet->bus);
	take_answers(outlet);
}

/* The connection is gone: another one, however long it takes */
static void
reconnect(FloOutlet *outlet, const char *why)
{
	char		shown[256];
	char	   *reason = NULL;
	long		pause = RECONNECT_FIRST;

	outlet->placed = false;
	strlcpy(shown, why, sizeof(shown));
	for (;;)
	{
		show_waiting(outlet, "NATS", shown);
		flo_wait_means(FLO_WAIT_NATS);
		flo_wait(PGINVALID_SOCKET, false, pause);
		serve(outlet);
		if (flo_bus_renew(outlet->bus, &reason))
			break;
		strlcpy(shown, reason, sizeof(shown));
		MemoryContextReset(outlet->scratch);
		pause = RECONNECT_AGAIN;
	}
}

static void
run(FloOutlet *outlet, FloBusStep function, long timeout)
{
	Step		step = {outlet, timeout};
	char	   *reason = NULL;

	if (!flo_bus_guard(function, &step, &reason))
		reconnect(outlet, reason);
}

/* Messages are under way, and have not been answered */
static bool
awaits_answers(const FloOutlet *outlet)
{
	return outlet->placed && outlet->sent > outlet->first;
}

/* Behind one for which there was no room others may find some, see answered() */
static bool
awaits_refusals(const FloOutlet *outlet)
{
	return outlet->trouble == FULL && outlet->unanswered > 0 &&
		!flo_clock_passed(outlet->heard_at, ACK_TIMEOUT);
}

/*
 * Something was refused, and what was sent behind it will be: but for want of room, their
 * answers need not be waited for, since none of it can be stored any more unless all
 * before it is.  Look at the stream, and send again.
 */
static void
see_to_trouble(FloOutlet *outlet)
{
	if (outlet->trouble == FULL)
	{
		show_waiting(outlet, psprintf("room in stream \"%s\"", outlet->stream), outlet->words);
		outlet->full = true;
		outlet->window = Min(outlet->window, FULL_WINDOW);
		flo_state_retry(FLO_RETRIED_ROOM, ERRCODE_INSUFFICIENT_RESOURCES,
						"Make room in the stream, or raise its limits or those of the account.",
						outlet->words);
		flo_wait_means(FLO_WAIT_SPACE);
		flo_wait(PGINVALID_SOCKET, false, FULL_PAUSE);
	}
	else
		outlet->window = Max(outlet->window / 8, 1);
	outlet->unbroken = 0;
	outlet->placed = false;
}

/*
 * One turn towards having less under way.  What is asked and said meanwhile is
 * allocated in a context of its own.
 */
static void
turn(FloOutlet *outlet)
{
	MemoryContext old = MemoryContextSwitchTo(outlet->scratch);

	if (awaits_refusals(outlet))
		run(outlet, step_wait, SERVE_INTERVAL);
	else if (outlet->trouble != NO_TROUBLE)
		see_to_trouble(outlet);
	run(outlet, step_send, SERVE_INTERVAL);
	if (awaits_answers(outlet) && outlet->trouble == NO_TROUBLE)
		run(outlet, step_wait, SERVE_INTERVAL);
	if (awaits_answers(outlet) && flo_clock_passed(outlet->heard_at, ACK_TIMEOUT))
		reconnect(outlet, "the answer to a message is overdue");
	serve(outlet);
	MemoryContextSwitchTo(old);
	MemoryContextReset(outlet->scratch);
}

/* The same without waiting for anything but a connection */
static void
step(FloOutlet *outlet, FloBusStep function)
{
	MemoryContext old = MemoryContextSwitchTo(outlet->scratch);

	run(outlet, function, 0);
	MemoryContextSwitchTo(old);
	MemoryContextReset(outlet->scratch);
}

/* --- what the caller sees ------------------------------------------------ */

FloOutlet *
flo_outlet_open(MemoryContext context, const FloOutletConfig *config)
{
	FloOutlet  *outlet = MemoryContextAllocZero(context, sizeof(FloOutlet));

	outlet->context = context;
	outlet->scratch = AllocSetContextCreate(context, "pg_flo outlet", ALLOCSET_SMALL_SIZES);
	outlet->stream = config->stream != NULL ? MemoryContextStrdup(context, config->stream) : NULL;
	outlet->subjects = MemoryContextStrdup(context, config->subjects);
	outlet->serve = config->serve;
	outlet->arg = config->arg;
	outlet->bus = flo_bus_connect(config->name);
	outlet->window = outlet->window_max = WINDOW;
	outlet->served_at = flo_clock();
	return outlet;
}

FloBus *
flo_outlet_bus(FloOutlet *outlet)
{
	return outlet->bus;
}

int64
flo_outlet_size(const FloOutlet *outlet, const FloOutletMessage *message)
{
	int64		size = HEADERS_SIZE + message->len;

	size += strlen(ID_HEADER) + strlen(message->id) + HEADER_SIZE;
	if (outlet->stream != NULL)
		size += strlen(PLACE_HEADER) + strlen(message->place) + HEADER_SIZE +
			strlen(EXPECTED_ID_HEADER) + FLO_OUTLET_TEXT_MAX + HEADER_SIZE;
	for (int i = 0; i < message->nheaders; i++)
		size += strlen(message->headers[i].name) + strlen(message->headers[i].value) + HEADER_SIZE;
	return size;
}

int64
flo_outlet_max_size(FloOutlet *outlet)
{
	int64		limit;

	if (!outlet->placed)
		turn(outlet);			/* looks at the stream */
	limit = flo_bus_max_payload(outlet->bus);
	if (outlet->stream != NULL)
		limit = Min(limit, STORED_MAX);
	return outlet->max_message > 0 ? Min(limit, outlet->max_message) : limit;
}

void
flo_outlet_pump(FloOutlet *outlet)
{
	step(outlet, step_pump);
}

void
flo_outlet_add(FloOutlet *outlet, const FloOutletMessage *message)
{
	Assert(message->nheaders <= HEADERS_MAX);
	/* the one before the first is named by it, and stays */
	while (outlet->next - outlet->first >= WINDOW - 1 ||
		   (outlet->next > outlet->first && outlet->bytes >= WINDOW_BYTES))
		turn(outlet);
	show_progress(outlet);
	fill(outlet, parcel_of(outlet, outlet->next), message);
	outlet->next++;
	if (outlet->trouble == NO_TROUBLE)
		step(outlet, step_send);
	serve(outlet);
}

void
flo_outlet_drain(FloOutlet *outlet)
{
	while (outlet->next > outlet->first)
		turn(outlet);
	show_progress(outlet);
}

const char *
flo_outlet_stored(const FloOutlet *outlet)
{
	return outlet->stored[0] != '\0' ? outlet->stored : NULL;
}
