/*
 * bus_nats.c
 *		A connection, as the NATS client library has it; module pg_flo_bus.
 *
 * The library runs in its external event loop mode: it tells us the socket and
 * whether it wants to write, and does I/O only inside pump() and publish(), on
 * the thread of the caller, once it is connected.  Its own threads (three, all
 * idle) never run code of ours but report_error(), which counts.
 *
 * Awkward cases:
 * - The library's threads must not run PostgreSQL's signal handlers, and its
 *   poll() gives up on EINTR.  So signals are blocked around everything that
 *   can start a thread or poll.  With TLS, the library polls inside a read or
 *   write for the rest of a record; SIGTERM stays open there, so a server that
 *   hangs in the middle of a record costs the connection, not the shutdown.
 * - Any blocking call of the library would wait for bytes that nobody reads
 *   (we are the reader), so none is used once the connection stands.
 * - To connect is such a call, and a name server or the other end of a TLS
 *   handshake may keep it for ever.  It runs in a thread of its own, which
 *   touches nothing that the main thread looks at meanwhile.
 * - Nothing here may throw: the library holds its locks while it calls us, and
 *   its memory is not PostgreSQL's.
 */
#include "postgres.h"

#include <nats/nats.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/bus_impl.h"
#include "bus/greeting.h"
#include "bus/nats_options.h"
#include "core/settings.h"
#include "core/signals.h"
#include "fmgr.h"
#include "lib/ilist.h"
#include "port/atomics.h"

PG_MODULE_MAGIC;

/* Reads in one pump(), so that a flood cannot fill memory while we look away */
#define READS_PER_PUMP 8

/* How long close() tries to get rid of queued bytes, ms */
#define CLOSE_FLUSH_TIME 100

#define INBOX_COUNT 4			/* all but FLO_NATS_NOWHERE */
#define SUBJECT_SIZE 128

/* A message the caller holds */
typedef struct Held
{
	dlist_node	node;
	natsMsg    *message;
} Held;

/* Messages not needed any more are kept until there are so many, or so many bytes */
#define DISCARD_COUNT 32
#define DISCARD_BYTES (64 * 1024)

struct FloNats
{
	natsOptions *options;
	natsConnection *connection;
	natsSubscription *subscriptions[INBOX_COUNT];
	bool		tls;

	/*
	 * while connecting: its thread, which writes a byte into the pipe when it
	 * is done
	 */
	pthread_t	thread;
	char	   *urls;
	int			timeout_ms;
	int			done[2];
	natsStatus	connect_status;
	FloNatsStatus reason;		/* why there is no server */

	/* what the library told us about its socket */
	int			socket;
	bool		want_write;

	/* names of the inboxes: <inbox>.<kind>[<round>].<token> */
	char		inbox[64];
	char		inbox_prefix[FLO_NATS_INBOX_PREFIX_SIZE];
	uint32		pull_round;

	dlist_head	held;
	natsMsg    *discarded[DISCARD_COUNT];
	int			ndiscarded;
	int			discarded_bytes;
	uint32		errors_seen;	/* of errors_reported */
	bool		forbidden;		/* and we said so: reports may be late */
	char		error[512];
};

static const char *const inbox_letters = "rap";

/*
 * Errors that servers reported so far, counted on a library thread.  Shared by
 * all connections of the process: the count only says that it is worth asking.
 */
static pg_atomic_uint32 errors_reported;

extern PGDLLEXPORT const FloNatsFunctions *flo_nats_functions(void);

/* --- What the library calls ---------------------------------------------- */

/*
 * Without the library's ping timer, an idle connection that was cut somewhere
 * on the way would never be missed.
 */
static void
set_keepalive(int sock)
{
	int			on = 1;
	int			idle = 30;
	int			interval = 10;
	int			count = 3;

	setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
#endif
}

static natsStatus
loop_attach(void **user_data, void *loop, natsConnection *connection, natsSock sock)
{
	FloNats    *nats = (FloNats *) loop;

	nats->socket = sock;
	set_keepalive(sock);
	*user_data = nats;
	return NATS_OK;
}

static natsStatus
loop_read(void *user_data, bool add)
{
	/* We always read */
	return NATS_OK;
}

static natsStatus
loop_write(void *user_data, bool add)
{
	((FloNats *) user_data)->want_write = add;
	return NATS_OK;
}

static natsStatus
loop_detach(void *user_data)
{
	((FloNats *) user_data)->socket = -1;
	((FloNats *) user_data)->want_write = false;
	return NATS_OK;
}

/*
 * Runs on a library thread.  Being there keeps newer libraries from writing to
 * stderr; the words are asked for by pump().
 */
static void
report_error(natsConnection *connection, natsSubscription *subscription,
			 natsStatus status, void *closure)
{
	pg_atomic_fetch_add_u32(&errors_reported, 1);
}

/* --- Status and words ---------------------------------------------------- */

/* The library's words begin with "(file.c:123): " */
static const char *
without_position(const char *text)
{
	const char *end;

	if (text[0] == '(' && (end = strstr(text, "): ")) != NULL)
		return end + 3;
	return text;
}

static void
describe_status(natsStatus status, char *error, size_t error_size)
{
	natsStatus	last_status = NATS_OK;
	const char *text = nats_GetLastError(&last_status);

	if (text == NULL || text[0] == '\0' || last_status != status)
		text = natsStatus_GetText(status);
	strlcpy(error, without_position(text), error_size);
}

static FloNatsStatus
translate_status(natsStatus status)
{
	switch (status)
	{
		case NATS_OK:
			return FLO_NATS_OK;
		case NATS_CONNECTION_CLOSED:
		case NATS_CONNECTION_DISCONNECTED:
		case NATS_STALE_CONNECTION:
		case NATS_IO_ERROR:
			return FLO_NATS_CLOSED;
		case NATS_NOT_PERMITTED:
			return FLO_NATS_FORBIDDEN;
		case NATS_MAX_PAYLOAD:
			return FLO_NATS_TOO_LARGE;
		case NATS_NO_MEMORY:
			return FLO_NATS_NO_MEMORY;
		default:
			return FLO_NATS_ERROR;
	}
}

/* The connection is closed: remember why, in the server's words if it has any */
static FloNatsStatus
closed_status(FloNats *nats)
{
	const char *text = NULL;
	natsStatus	status = natsConnection_GetLastError(nats->connection, &text);

	if (status == NATS_OK || text == NULL || text[0] == '\0')
		text = "server closed the connection";
	strlcpy(nats->error, without_position(text), sizeof(nats->error));
	return status == NATS_CONNECTION_AUTH_FAILED ? FLO_NATS_REFUSED : FLO_NATS_CLOSED;
}

static FloNatsStatus
failed_status(FloNats *nats, natsStatus status)
{
	if (status == NATS_OK)
		return FLO_NATS_OK;
	if (natsConnection_IsClosed(nats->connection))
		return closed_status(nats);
	describe_status(status, nats->error, sizeof(nats->error));
	return translate_status(status);
}

/* --- Connecting ---------------------------------------------------------- */

static natsStatus
set_callbacks(FloNats *nats)
{
	natsStatus	status = natsOptions_Create(&nats->options);

	if (status == NATS_OK)
		status = natsOptions_SetEventLoop(nats->options, nats, loop_attach, loop_read,
										  loop_write, loop_detach);
	if (status == NATS_OK)
		status = natsOptions_SetErrorHandler(nats->options, report_error, NULL);
	return status;
}

/* Subject that answers of a kind arrive at; the token is "*" to subscribe */
static void
inbox_subject(FloNats *nats, FloNatsInbox inbox, const char *token, char *subject)
{
	if (inbox == FLO_NATS_PULLS)
		snprintf(subject, SUBJECT_SIZE, "%s.%c%u.%s", nats->inbox,
				 inbox_letters[inbox], nats->pull_round, token);
	else
		snprintf(subject, SUBJECT_SIZE, "%s.%c.%s", nats->inbox,
				 inbox_letters[inbox], token);
}

static natsStatus
subscribe(FloNats *nats, FloNatsInbox inbox, const char *subject)
{
	natsStatus	status;
	char		buf[SUBJECT_SIZE];
	natsSubscription **sub = &nats->subscriptions[inbox];

	natsSubscription_Destroy(*sub);
	*sub = NULL;
	if (subject == NULL)
	{
		inbox_subject(nats, inbox, "*", buf);
		subject = buf;
	}
	status = natsConnection_SubscribeSync(sub, nats->connection, subject);
	if (status == NATS_OK)
		status = natsSubscription_SetPendingLimits(*sub, -1, -1);
	return status;
}

static FloNatsStatus
connect_status(natsStatus status, FloNatsStatus reason)
{
	switch (status)
	{
		case NATS_CONNECTION_AUTH_FAILED:
		case NATS_NOT_PERMITTED:
			return FLO_NATS_REFUSED;
		case NATS_NO_MEMORY:
			return FLO_NATS_NO_MEMORY;
		default:
			return reason;
	}
}

/* For each message, the library wakes a thread that frees it; so let them go together */
static void
free_discarded(FloNats *nats)
{
	for (int i = 0; i < nats->ndiscarded; i++)
		natsMsg_Destroy(nats->discarded[i]);
	nats->ndiscarded = 0;
	nats->discarded_bytes = 0;
}

static void
discard(FloNats *nats, natsMsg *message)
{
	if (message == NULL)
		return;
	nats->discarded[nats->ndiscarded++] = message;
	nats->discarded_bytes += natsMsg_GetDataLength(message);
	if (nats->ndiscarded == DISCARD_COUNT || nats->discarded_bytes >= DISCARD_BYTES)
		free_discarded(nats);
}

static void
free_nats(FloNats *nats)
{
	free_discarded(nats);
	/* In this order: ending a subscription of an open connection sends bytes */
	if (nats->connection != NULL)
		natsConnection_Close(nats->connection);
	for (int i = 0; i < INBOX_COUNT; i++)
		natsSubscription_Destroy(nats->subscriptions[i]);
	natsConnection_Destroy(nats->connection);
	natsOptions_Destroy(nats->options);
	free(nats->urls);
	free(nats);
}

static natsStatus
make_connection(FloNats *nats)
{
	natsStatus	status = natsConnection_Connect(&nats->connection, nats->options);
	natsInbox  *inbox = NULL;

	if (status == NATS_OK)
		status = natsInbox_Create(&inbox);
	if (status != NATS_OK)
		return status;
	/* the library's begin with _INBOX */
	snprintf(nats->inbox, sizeof(nats->inbox), "%s%s", nats->inbox_prefix,
			 inbox + strlen("_INBOX"));
	natsInbox_Destroy(inbox);
	for (int i = 0; i <= FLO_NATS_PULLS && status == NATS_OK; i++)
		status = subscribe(nats, i, NULL);
	return status;
}

/* Is it for want of a server, or did one end the attempt, without a word of why? */
static bool
was_sent_away(natsStatus status)
{
	/* of one among several servers, or without PONG to older libraries */
	return status == NATS_CONNECTION_CLOSED || status == NATS_IO_ERROR ||
		status == NATS_PROTOCOL_ERROR || status == NATS_SSL_ERROR || status == NATS_TIMEOUT ||
		status == NATS_ADDRESS_MISSING || status == NATS_NO_SERVER;
}

/* Where the library's words do not lead to the cause */
static FloNatsStatus
explain_end(FloNats *nats)
{
	natsStatus	status = nats->connect_status;
	char		said[sizeof(nats->error)];
	char		words[sizeof(nats->error)];
	FloNatsStatus found;

	strlcpy(said, nats->error, sizeof(said));
	if (status == NATS_SECURE_CONNECTION_WANTED)
	{
		snprintf(nats->error, sizeof(nats->error), "%.300s: the server offers no TLS, and %s", said,
				 strstr(nats->urls, "tls://") == NULL ? "pg_flo.nats_tls is on" :
				 "pg_flo.nats_url has the scheme tls");
		return FLO_NATS_NO_TLS;
	}
	if (status == NATS_SECURE_CONNECTION_REQUIRED)
		return FLO_NATS_NO_TLS;
	if (!was_sent_away(status))
		return FLO_NATS_UNREACHABLE;
	if (status == NATS_CONNECTION_CLOSED || strstr(said, "PONG") != NULL)
	{
		snprintf(words, sizeof(words), "the server ended the connection%s (%.300s)",
				 nats->tls ? " after the TLS handshake: it may want a client certificate, see pg_flo.nats_tls_cert_file" : "", said);
		strlcpy(said, words, sizeof(said));
	}
	found = flo_nats_explain(nats->urls, nats->timeout_ms, said, nats->error, sizeof(nats->error));
	if (found != FLO_NATS_OK)
		return found;
	strlcpy(nats->error, said, sizeof(nats->error));
	return status == NATS_SSL_ERROR ? FLO_NATS_NO_TLS : FLO_NATS_UNREACHABLE;
}

/* With all signals blocked, as they were when it was made */
static void *
connect_thread(void *arg)
{
	FloNats    *nats = (FloNats *) arg;

	nats->connect_status = make_connection(nats);
	if (nats->connect_status != NATS_OK)
	{
		describe_status(nats->connect_status, nats->error, sizeof(nats->error));
		nats->reason = explain_end(nats);
	}
	nats_ReleaseThreadMemory();
	if (write(nats->done[1], "", 1) < 0)
		close(nats->done[1]);	/* wakes the reader as well */
	return NULL;
}

/*
 * Signals are blocked from before the library opens until our own thread runs: a
 * thread inherits the mask, and none but the main one may run the server's
 * handlers.  What is allocated here is freed by the other half, or at once when
 * there will be none.
 */
static FloNatsStatus
start_connecting(const FloNatsOptions *options, FloNats **result, char *error, size_t error_size)
{
	FloNats    *nats = (FloNats *) calloc(1, sizeof(FloNats));
	natsStatus	status;
	bool		started = false;
	sigset_t	saved;

	if (nats == NULL)
		return FLO_NATS_NO_MEMORY;
	nats->socket = -1;
	nats->tls = options->tls;
	nats->timeout_ms = options->timeout_ms;
	nats->urls = strdup(options->urls);
	if (nats->urls == NULL)
	{
		free(nats);
		return FLO_NATS_NO_MEMORY;
	}
	strlcpy(nats->inbox_prefix, options->inbox_prefix, sizeof(nats->inbox_prefix));
	dlist_init(&nats->held);
	nats->errors_seen = pg_atomic_read_u32(&errors_reported);

	flo_block_signals(&saved);
	status = nats_Open(-1);
	if (status == NATS_OK)
		status = set_callbacks(nats);
	if (status == NATS_OK)
		status = flo_nats_set_options(nats->options, options);
	if (status != NATS_OK)
		describe_status(status, error, error_size);
	else if (pipe(nats->done) != 0)
		snprintf(error, error_size, "could not create a pipe: %s", strerror(errno));
	else if ((errno = pthread_create(&nats->thread, NULL, connect_thread, nats)) != 0)
	{
		snprintf(error, error_size, "could not create a thread: %s", strerror(errno));
		close(nats->done[0]);
		close(nats->done[1]);
	}
	else
		started = true;
	if (!started)
		free_nats(nats);
	flo_restore_signals(&saved);

	*result = nats;
	if (started)
		return FLO_NATS_OK;
	if (status == NATS_NO_MEMORY)
		return FLO_NATS_NO_MEMORY;
	return status != NATS_OK ? FLO_NATS_MISCONFIGURED : FLO_NATS_ERROR;
}

static int
get_connecting(FloNats *nats)
{
	return nats->done[0];
}

static FloNatsStatus
finish_connecting(FloNats *nats, char *error, size_t error_size)
{
	FloNatsStatus result;
	sigset_t	saved;

	pthread_join(nats->thread, NULL);
	close(nats->done[0]);
	close(nats->done[1]);
	if (nats->connect_status == NATS_OK)
		return FLO_NATS_OK;
	strlcpy(error, nats->error, error_size);
	result = connect_status(nats->connect_status, nats->reason);
	flo_block_signals(&saved);
	free_nats(nats);
	flo_restore_signals(&saved);
	return result;
}

/* --- Socket I/O ---------------------------------------------------------- */

static int
get_socket(FloNats *nats)
{
	return nats->socket;
}

static bool
get_want_write(FloNats *nats)
{
	return nats->want_write;
}

static int64
get_max_payload(FloNats *nats)
{
	return natsConnection_GetMaxPayload(nats->connection);
}

static const char *
get_error(FloNats *nats)
{
	return nats->error;
}

/* Which of read and write is possible right now */
static short
poll_socket(FloNats *nats, int timeout_ms)
{
	struct pollfd pfd = {nats->socket, POLLIN | (nats->want_write ? POLLOUT : 0), 0};

	if (nats->socket < 0 || poll(&pfd, 1, timeout_ms) <= 0)
		return 0;
	return pfd.revents;
}

static FloNatsStatus
pump(FloNats *nats, bool readable)
{
	sigset_t	saved;
	uint32		errors;

	if (nats->tls)
		flo_block_most_signals(&saved);
	readable &= !nats->want_write;
	for (int i = 0; i < READS_PER_PUMP; i++)
	{
		short		ready = readable && i == 0 ? POLLIN : poll_socket(nats, 0);

		if (ready == 0)
			break;
		if (ready & POLLOUT)
			natsConnection_ProcessWriteEvent(nats->connection);
		if (ready & (POLLIN | POLLHUP | POLLERR))
			natsConnection_ProcessReadEvent(nats->connection);
	}
	if (nats->tls)
		flo_restore_signals(&saved);

	if (natsConnection_IsClosed(nats->connection))
		return closed_status(nats);

	errors = pg_atomic_read_u32(&errors_reported);
	if (errors != nats->errors_seen || !nats->forbidden)
	{
		const char *text = NULL;

		nats->errors_seen = errors;
		if (natsConnection_GetLastError(nats->connection, &text) == NATS_NOT_PERMITTED)
		{
			nats->forbidden = true;
			strlcpy(nats->error, text, sizeof(nats->error));
			return FLO_NATS_FORBIDDEN;
		}
	}
	return FLO_NATS_OK;
}

static void
close_connection(FloNats *nats)
{
	sigset_t	saved;
	dlist_mutable_iter iter;

	flo_block_signals(&saved);

	/*
	 * Bytes still queued would make the library wait for an answer that only
	 * we could read, so give the socket a moment to take them.
	 */
	for (int i = 0; i < CLOSE_FLUSH_TIME / 10 && nats->want_write; i++)
	{
		short		ready = poll_socket(nats, 10);

		if (ready & POLLOUT)
			natsConnection_ProcessWriteEvent(nats->connection);
		if (ready & (POLLIN | POLLHUP | POLLERR))
			natsConnection_ProcessReadEvent(nats->connection);
	}
	dlist_foreach_modify(iter, &nats->held)
	{
		Held	   *held = dlist_container(Held, node, iter.cur);

		natsMsg_Destroy(held->message);
		free(held);
	}
	free_nats(nats);
	flo_restore_signals(&saved);
}

/* --- Messages ------------------------------------------------------------ */

/* The library would let a value bring headers of its own along */
static natsStatus
set_header(natsMsg *message, const FloBusHeader *header)
{
	if (strpbrk(header->name, "\r\n:") != NULL || strpbrk(header->value, "\r\n") != NULL)
		return NATS_INVALID_ARG;
	return natsMsgHeader_Set(message, header->name, header->value);
}

static FloNatsStatus
publish(FloNats *nats, const char *subject, FloNatsInbox inbox, uint64 token,
		const FloBusHeader *headers, int nheaders, const char *data, int len)
{
	natsStatus	status;
	char		reply[SUBJECT_SIZE];
	char		token_text[24];
	const char *reply_to = NULL;

	if (inbox != FLO_NATS_NOWHERE)
	{
		snprintf(token_text, sizeof(token_text), UINT64_FORMAT, token);
		inbox_subject(nats, inbox, token_text, reply);
		if (subject == NULL)
			subject = reply;
		else
			reply_to = reply;
	}
	if (nheaders > 0)
	{
		natsMsg    *message = NULL;

		status = natsMsg_Create(&message, subject, reply_to, data, len);
		for (int i = 0; i < nheaders && status == NATS_OK; i++)
			status = set_header(message, &headers[i]);
		if (status == NATS_OK)
			status = natsConnection_PublishMsg(nats->connection, message);
		discard(nats, message);
	}
	else if (reply_to != NULL)
		status = natsConnection_PublishRequest(nats->connection, subject, reply_to, data, len);
	else
		status = natsConnection_Publish(nats->connection, subject, data, len);

	/* Let it leave now: pump() is for what the socket did not take */
	if (status == NATS_OK && nats->want_write)
	{
		sigset_t	saved;

		if (nats->tls)
			flo_block_most_signals(&saved);
		if (poll_socket(nats, 0) & POLLOUT)
			natsConnection_ProcessWriteEvent(nats->connection);
		if (nats->tls)
			flo_restore_signals(&saved);
	}
	return failed_status(nats, status);
}

/* A message without data may be the server's: then it has a status header */
static void
read_status(natsMsg *message, FloNatsMessage *result)
{
	const char *value = NULL;

	if (natsMsgHeader_Get(message, "Status", &value) != NATS_OK || value == NULL)
		return;
	result->status = atoi(value);
	if (natsMsgHeader_Get(message, "Description", &value) != NATS_OK || value == NULL)
		value = "";
	result->status_text = unconstify(char *, value);
}

static uint64
token_of(const char *subject)
{
	const char *dot = strrchr(subject, '.');

	return dot != NULL ? strtoull(dot + 1, NULL, 10) : 0;
}

/* -1 when the library does not say: taking one will say why */
static int
count_pending(FloNats *nats, FloNatsInbox inbox)
{
	natsSubscription *subscription = nats->subscriptions[inbox];
	int			count = 0;

	if (subscription != NULL &&
		natsSubscription_GetPending(subscription, &count, NULL) != NATS_OK)
		return -1;
	return count;
}

static int
pending(FloNats *nats)
{
	int			count = 0;

	for (FloNatsInbox inbox = FLO_NATS_ACKS; inbox < INBOX_COUNT; inbox++)
		count += Max(count_pending(nats, inbox), 0);
	return count;
}

static FloNatsStatus
take(FloNats *nats, FloNatsInbox inbox, FloNatsMessage *result)
{
	natsMsg    *message = NULL;
	natsStatus	status;
	Held	   *held;
	static char nothing[2];

	memset(result, 0, sizeof(*result));
	/* the library would compose words about there being nothing */
	if (count_pending(nats, inbox) == 0)
		return FLO_NATS_NONE;
	status = natsSubscription_NextMsg(&message, nats->subscriptions[inbox], 0);
	if (status == NATS_NO_RESPONDERS)
	{
		/* The library swallows this message, and the token with it */
		result->subject = result->data = nothing;
		result->status = 503;
		result->status_text = "no responders";
		return FLO_NATS_OK;
	}
	if (status != NATS_OK)
		return failed_status(nats, status);

	held = (Held *) malloc(sizeof(Held));
	if (held == NULL)
	{
		natsMsg_Destroy(message);
		return FLO_NATS_NO_MEMORY;
	}
	held->message = message;
	dlist_push_tail(&nats->held, &held->node);

	/*
	 * The library allocates a message with its data as one piece that nobody
	 * else uses, and always puts a zero byte behind the data.
	 */
	result->impl = held;
	result->subject = unconstify(char *, natsMsg_GetSubject(message));
	result->reply = unconstify(char *, natsMsg_GetReply(message));
	result->data = unconstify(char *, natsMsg_GetData(message));
	result->len = natsMsg_GetDataLength(message);
	if (result->len == 0)
		read_status(message, result);
	if (inbox == FLO_NATS_REPLIES || inbox == FLO_NATS_ACKS)
		result->token = token_of(result->subject);
	return FLO_NATS_OK;
}

static void
release(FloNats *nats, void *impl)
{
	Held	   *held = (Held *) impl;

	if (held == NULL)
		return;
	dlist_delete(&held->node);
	discard(nats, held->message);
	free(held);
}

static const char *
header_of(void *impl, const char *name)
{
	const char *value = NULL;

	return natsMsgHeader_Get(((Held *) impl)->message, name, &value) == NATS_OK ? value : NULL;
}

static FloNatsStatus
watch(FloNats *nats, const char *subject)
{
	natsStatus	status;
	sigset_t	saved;

	flo_block_signals(&saved);
	status = subscribe(nats, FLO_NATS_UPDATES, subject);
	flo_restore_signals(&saved);
	return failed_status(nats, status);
}

static FloNatsStatus
reset_pulls(FloNats *nats)
{
	natsStatus	status;
	sigset_t	saved;

	flo_block_signals(&saved);
	nats->pull_round++;
	status = subscribe(nats, FLO_NATS_PULLS, NULL);
	flo_restore_signals(&saved);
	return failed_status(nats, status);
}

const FloNatsFunctions *
flo_nats_functions(void)
{
	static const FloNatsFunctions functions = {
		.abi = FLO_NATS_ABI,
		.connect = start_connecting,
		.connecting = get_connecting,
		.connected = finish_connecting,
		.close = close_connection,
		.socket = get_socket,
		.want_write = get_want_write,
		.max_payload = get_max_payload,
		.error = get_error,
		.pump = pump,
		.publish = publish,
		.take = take,
		.release = release,
		.pending = pending,
		.header = header_of,
		.watch = watch,
		.reset_pulls = reset_pulls,
	};

	return &functions;
}
