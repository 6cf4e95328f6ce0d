/*
 * bus.c
 *		A connection to NATS, driven from this process's own event loop.
 *
 * The work is done by the module pg_flo_bus (bus_nats.c), which the first attempt
 * to connect loads (attempt.c).  Here is what needs PostgreSQL: waiting,
 * memory contexts, errors.  Every failure of the module becomes an error in
 * raise_status(), every word of the broker passes flo_bus_clean_words() first, so that
 * no password from a URL or a setting can reach a log.
 *
 * After an error the connection may still be used unless it is gone; messages
 * taken but not released are freed by flo_bus_close().
 */
#include "postgres.h"

#include "bus/attempt.h"
#include "bus/bus.h"
#include "bus/bus_impl.h"
#include "bus/failure.h"
#include "bus/json.h"
#include "core/clock.h"
#include "core/loop.h"
#include "monitor/state.h"
#include "utils/memutils.h"

/* Pause between two attempts of a process that has nothing to do without, ms */
#define CONNECT_RETRY_INTERVAL 1000

/*
 * A question that nobody has answered is put again after this, ms: a stream
 * may have got its leader
 */
#define ASK_AGAIN 1000

struct FloBus
{
	FloNats    *nats;			/* NULL: lost, and not renewed yet */
	char	   *name;
	char	   *settings;		/* by which it was made: see
								 * flo_bus_is_outdated() */
	uint64		reloads;		/* when that was looked at */
	char	   *watched;		/* subject, NULL = none */
	uint64		requests;		/* token of the last request */
	bool		overheard;		/* a wait for something else has taken in
								 * messages */
	FloBusFull	when_full;		/* NULL = who is refused does not wait */
	void	   *full_arg;
};

/* ---------------------------------------------------------------------------
 * Errors
 * ---------------------------------------------------------------------------
 */

/* The one place where a status of the module becomes an error */
pg_noreturn static void
raise_status(FloNatsStatus status, const char *words)
{
	FloFailure	failure = {0};

	if (flo_bus_describe_attempt(status, words, &failure))
		ereport(ERROR,
				(errcode(failure.sqlstate),
				 errmsg_internal("%s", failure.message),
				 errhint("%s", failure.hint)));
	words = flo_bus_clean_words(words);
	switch (status)
	{
		case FLO_NATS_MISCONFIGURED:
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("could not use the settings for the connection to NATS: %s", words),
					 errhint("Check the settings pg_flo.nats_*.")));
			break;
		case FLO_NATS_CLOSED:
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("lost the connection to NATS: %s", words)));
			break;
		case FLO_NATS_FORBIDDEN:
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("NATS refused a subject: %s", words),
					 errhint("Grant the NATS user the subjects that pg_flo needs.")));
			break;
		case FLO_NATS_TOO_LARGE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("message is too large for NATS: %s", words)));
			break;
		case FLO_NATS_NO_MEMORY:
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY),
					 errmsg("out of memory"),
					 errdetail("Failed in the NATS library.")));
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_EXCEPTION),
					 errmsg("NATS library reported an error: %s", words)));
			break;
	}
	pg_unreachable();
}

static void
check_status(FloBus *bus, FloNatsStatus status)
{
	if (status != FLO_NATS_OK)
		raise_status(status, flo_bus_module->error(bus->nats));
}

/* The same where the next pump is early enough to notice that the connection is gone */
static void
check_status_unless_closed(FloBus *bus, FloNatsStatus status)
{
	if (status != FLO_NATS_CLOSED)
		check_status(bus, status);
}

/* ---------------------------------------------------------------------------
 * Connecting
 * ---------------------------------------------------------------------------
 */

/* The connection is by the settings of now */
static void
note_settings(FloBus *bus)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (bus->settings != NULL)
		pfree(bus->settings);
	bus->settings = flo_bus_settings();
	bus->reloads = flo_reload_count;
	MemoryContextSwitchTo(old);
}

bool
flo_bus_is_outdated(FloBus *bus)
{
	char	   *settings;
	bool		same;

	if (bus->reloads == flo_reload_count)
		return false;
	settings = flo_bus_settings();
	same = strcmp(settings, bus->settings) == 0;
	pfree(settings);
	if (same)
		bus->reloads = flo_reload_count;
	return !same;
}

static FloBus *
wrap_connection(FloNats *nats, const char *name)
{
	FloBus	   *bus = MemoryContextAllocZero(TopMemoryContext, sizeof(FloBus));

	bus->nats = nats;
	bus->name = MemoryContextStrdup(TopMemoryContext, name);
	note_settings(bus);
	flo_wait_forget();
	return bus;
}

/*
 * NULL when no server can be reached; *reason says why then, and flo.status that
 * the member waits for it
 */
static FloNats *
try_connect(const char *name, bool patient, char **reason)
{
	FloNats    *nats = NULL;
	char		words[512];
	FloFailure	failure = {0};
	FloNatsStatus status = flo_bus_attempt(name, patient, &nats, words, sizeof(words));

	if (status == FLO_NATS_OK)
	{
		flo_state_recovered(FLO_RETRIED_BROKER);
		return nats;
	}
	if (!flo_bus_describe_attempt(status, words, &failure))
		raise_status(status, words);
	*reason = (char *) failure.message;
	flo_state_set(FLO_STATE_WAITING, "for NATS: %s", *reason);
	flo_state_retry(FLO_RETRIED_BROKER, failure.sqlstate, failure.hint, failure.message);
	return NULL;
}

FloBus *
flo_bus_await(const char *name)
{
	MemoryContext attempt = AllocSetContextCreate(CurrentMemoryContext, "pg_flo connection attempt",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(attempt);
	FloNats    *nats;
	char	   *reason;

	while ((nats = try_connect(name, false, &reason)) == NULL)
	{
		flo_wait_means(FLO_WAIT_NATS);
		flo_wait(PGINVALID_SOCKET, false, CONNECT_RETRY_INTERVAL);
		MemoryContextReset(attempt);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(attempt);
	return wrap_connection(nats, name);
}

bool
flo_bus_renew(FloBus *bus, char **reason)
{
	flo_wait_forget();
	if (bus->nats != NULL)
		flo_bus_module->close(bus->nats);
	bus->nats = NULL;
	/* by the settings of now: they may say that the broker is elsewhere */
	flo_check_interrupts();
	bus->nats = try_connect(bus->name, true, reason);
	if (bus->nats == NULL)
		return false;
	note_settings(bus);
	if (bus->watched != NULL)
		check_status(bus, flo_bus_module->watch(bus->nats, bus->watched));
	return true;
}

static void
step_pump(void *arg)
{
	flo_bus_pump(arg);
}

void
flo_bus_refresh(FloBus *bus)
{
	char	   *reason = NULL;

	if (flo_bus_guard(step_pump, bus, &reason))
		return;
	pfree(reason);
	if (!flo_bus_renew(bus, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
				 errmsg("%s", reason)));
}

bool
flo_bus_guard(FloBusStep step, void *arg, char **reason)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool done = true;

	PG_TRY();
	{
		step(arg);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_CONNECTION_EXCEPTION ||
			geterrcode() == ERRCODE_PROTOCOL_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(old);
		error = CopyErrorData();
		FlushErrorState();
		*reason = pstrdup(error->message);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	return done;
}

FloBus *
flo_bus_connect(const char *name)
{
	FloNats    *nats = NULL;
	char		words[512];
	FloNatsStatus status = flo_bus_attempt(name, false, &nats, words, sizeof(words));

	if (status != FLO_NATS_OK)
		raise_status(status, words);
	return wrap_connection(nats, name);
}

void
flo_bus_close(FloBus *bus)
{
	flo_wait_forget();
	if (bus->nats != NULL)
		flo_bus_module->close(bus->nats);
	if (bus->watched != NULL)
		pfree(bus->watched);
	pfree(bus->name);
	pfree(bus->settings);
	pfree(bus);
}

void
flo_bus_when_full(FloBus *bus, FloBusFull when_full, void *arg)
{
	bus->when_full = when_full;
	bus->full_arg = arg;
}

bool
flo_bus_is_full(int err_code)
{
	switch (err_code)
	{
		case 10002:				/* limits of the account exceeded */
		case 10005:				/* no suitable peers: none has room */
		case 10023:				/* insufficient resources */
		case 10026:				/* too many consumers */
		case 10027:				/* too many streams */
		case 10028:				/* memory exceeded */
		case 10047:				/* insufficient storage */
		case 10077:				/* the store refuses: the stream is full */
			return true;
	}
	return false;
}

bool
flo_bus_wait_while_full(FloBus *bus, int err_code, const char *words)
{
	if (bus->when_full == NULL)
		return false;
	bus->when_full(bus->full_arg, err_code, words);
	return true;
}

int64
flo_bus_max_payload(FloBus *bus)
{
	return flo_bus_module->max_payload(bus->nats);
}

/* ---------------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------------
 */

static void
pump(FloBus *bus, bool readable)
{
	int			before = flo_bus_module->pending(bus->nats);

	check_status(bus, flo_bus_module->pump(bus->nats, readable));
	bus->overheard |= flo_bus_module->pending(bus->nats) > before;
}

void
flo_bus_pump(FloBus *bus)
{
	pump(bus, false);
}

void
flo_bus_wait(FloBus *bus, long timeout_ms)
{
	int			fired = flo_wait(flo_bus_module->socket(bus->nats),
								 flo_bus_module->want_write(bus->nats), timeout_ms);

	pump(bus, (fired & WL_SOCKET_READABLE) != 0);
}

void
flo_bus_rest(FloBus *bus, long timeout_ms)
{
	bool		missed = flo_wait_take_woken() ||
		(bus->overheard && flo_bus_module->pending(bus->nats) > 0);

	flo_bus_wait(bus, missed ? 0 : timeout_ms);
	bus->overheard = false;
	(void) flo_wait_take_woken();
}

void
flo_bus_rest_for(FloBus *bus, FloWaitFor what, long timeout_ms)
{
	flo_wait_means(what);
	flo_bus_rest(bus, timeout_ms);
}

void
flo_bus_wait_for(FloBus *bus, FloWaitFor what, long timeout_ms)
{
	flo_wait_means(what);
	flo_bus_wait(bus, timeout_ms);
}

/* ---------------------------------------------------------------------------
 * Request and reply
 * ---------------------------------------------------------------------------
 */

/* Take the reply with this token if it has arrived; older ones are dropped */
static bool
take_reply(FloBus *bus, uint64 token, FloBusReply *reply, int *status)
{
	FloNatsMessage message;
	FloNatsStatus taken;

	while ((taken = flo_bus_module->take(bus->nats, FLO_NATS_REPLIES, &message)) == FLO_NATS_OK)
	{
		bool		ours = message.token == token || message.status == 503;

		if (ours)
		{
			reply->data = pnstrdup(message.data, message.len);
			reply->len = message.len;
			*status = message.status;
		}
		flo_bus_module->release(bus->nats, message.impl);
		if (ours)
			return true;
	}
	if (taken != FLO_NATS_NONE)
		check_status(bus, taken);
	return false;
}

/* Is it the same whether the request is carried out once or twice? */
static bool
can_be_repeated(const char *subject)
{
	static const char *const calls[] = {
		"$JS.API.STREAM.INFO.", "$JS.API.STREAM.MSG.GET.", "$JS.API.STREAM.PURGE.",
		"$JS.API.CONSUMER.DELETE.", "$JS.API.CONSUMER.DURABLE.CREATE."
	};

	for (int i = 0; i < lengthof(calls); i++)
		if (strncmp(subject, calls[i], strlen(calls[i])) == 0)
			return true;
	return false;
}

bool
flo_bus_try_request(FloBus *bus, const char *subject, const char *header,
					const char *header_value, const char *data, int len,
					int timeout_ms, FloBusReply *reply)
{
	uint64		token = ++bus->requests;
	FloClock	deadline = flo_clock_in(timeout_ms);
	FloClock	sent = flo_clock();
	FloBusHeader sent_header = {header, header_value};
	int			status = 0;

	check_status(bus, flo_bus_module->publish(bus->nats, subject, FLO_NATS_REPLIES, token,
											  &sent_header, header != NULL, data, len));
	while (!take_reply(bus, token, reply, &status))
	{
		long		left = flo_clock_left(deadline);

		if (flo_clock_passed(sent, ASK_AGAIN))
		{
			if (flo_state_is_starting())
				flo_state_set(FLO_STATE_WAITING, "for JetStream to answer on \"%s\"; while a stream elects its leader nobody does", subject);
			sent = flo_clock();

			/*
			 * the same answer twice is no harm, and one to a question of
			 * before is passed over
			 */
			if (can_be_repeated(subject))
				check_status(bus,
							 flo_bus_module->publish(bus->nats, subject, FLO_NATS_REPLIES, token,
													 &sent_header, header != NULL, data, len));
		}

		if (left <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("NATS did not answer a request within %d ms", timeout_ms),
					 errdetail("The request was sent to subject \"%s\".", subject)));
		flo_bus_wait_for(bus, FLO_WAIT_NATS, Min(left, ASK_AGAIN));
	}
	return status != 503;
}

FloBusReply
flo_bus_request(FloBus *bus, const char *subject, const char *data, int len, int timeout_ms)
{
	FloBusReply reply;

	if (flo_bus_try_request(bus, subject, NULL, NULL, data, len, timeout_ms, &reply))
		return reply;
	if (strncmp(subject, "$JS.API.", 8) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("JetStream is not enabled in NATS"),
				 errdetail("There are no responders on subject \"%s\".", subject),
				 errhint("Start nats-server with JetStream, for example with the option -js, "
						 "and enable it for the account.")));
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("NATS has no responders on subject \"%s\"", subject)));
}

/* ---------------------------------------------------------------------------
 * Publishing
 * ---------------------------------------------------------------------------
 */

void
flo_bus_publish(FloBus *bus, const char *subject, const char *data, int len)
{
	if (bus->nats != NULL)
		check_status_unless_closed(bus,
								   flo_bus_module->publish(bus->nats, subject, FLO_NATS_NOWHERE, 0,
														   NULL, 0, data, len));
}

void
flo_bus_publish_expect(FloBus *bus, const char *subject, uint64 expected_seq,
					   uint64 token, const char *data, int len)
{
	char		expected[24];
	FloBusHeader header = {FLO_BUS_EXPECTED_SEQUENCE, expected};

	snprintf(expected, sizeof(expected), UINT64_FORMAT, expected_seq);
	check_status(bus, flo_bus_module->publish(bus->nats, subject, FLO_NATS_ACKS, token,
											  &header, 1, data, len));
}

void
flo_bus_publish_stored(FloBus *bus, const char *subject, uint64 token, const char *data, int len)
{
	check_status(bus, flo_bus_module->publish(bus->nats, subject, FLO_NATS_ACKS, token,
											  NULL, 0, data, len));
}

void
flo_bus_publish_with(FloBus *bus, const char *subject, const FloBusHeader *headers, int nheaders,
					 uint64 token, const char *data, int len)
{
	check_status(bus, flo_bus_module->publish(bus->nats, subject,
											  token != 0 ? FLO_NATS_ACKS : FLO_NATS_NOWHERE, token,
											  headers, nheaders, data, len));
}

void
flo_bus_echo(FloBus *bus, uint64 token)
{
	check_status(bus, flo_bus_module->publish(bus->nats, NULL, FLO_NATS_ACKS, token,
											  NULL, 0, NULL, 0));
}

/* {"stream":"s","seq":1} or {"error":{"code":400,"err_code":10071,"description":"..."}} */
static void
parse_ack(FloJson json, FloBusAck *ack)
{
	FloJson		error;
	int64		code;
	char	   *words;

	if (flo_json_get(json, "error", &error))
	{
		if (flo_json_get_int64(error, "err_code", &code) ||
			flo_json_get_int64(error, "code", &code))
			ack->err_code = (int) code;
		words = flo_json_get_string(error, "description");
		strlcpy(ack->error, words != NULL ? words : "", sizeof(ack->error));
		if (words != NULL)
			pfree(words);
	}
	else if (flo_json_get_uint64(json, "seq", &ack->seq) && ack->seq > 0)
	{
		ack->stored = true;
		ack->duplicate = flo_json_is_true(json, "duplicate");
	}
	else
		strlcpy(ack->error, "malformed acknowledgement", sizeof(ack->error));
}

bool
flo_bus_next_ack(FloBus *bus, FloBusAck *ack)
{
	FloNatsMessage message;
	FloNatsStatus taken = flo_bus_module->take(bus->nats, FLO_NATS_ACKS, &message);

	if (taken == FLO_NATS_NONE)
		return false;
	check_status(bus, taken);
	memset(ack, 0, sizeof(*ack));
	ack->token = message.token;
	if (message.status != 0)
	{
		ack->err_code = message.status;
		strlcpy(ack->error, message.status == 503 ? "no stream listens on the subject" :
				message.status_text, sizeof(ack->error));
	}
	else if (message.len == 0)
		ack->echo = true;
	else
		parse_ack(flo_json(message.data, message.len), ack);
	flo_bus_module->release(bus->nats, message.impl);
	return true;
}

/* ---------------------------------------------------------------------------
 * Consuming
 * ---------------------------------------------------------------------------
 */

void
flo_bus_pull(FloBus *bus, const char *stream, const char *consumer,
			 int batch, int expires_ms)
{
	char		subject[FLO_BUS_SUBJECT_SIZE];
	char		body[80];

	snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer);
	snprintf(body, sizeof(body), "{\"batch\":%d,\"expires\":" INT64_FORMAT "}",
			 batch, (int64) expires_ms * 1000000);
	check_status(bus, flo_bus_module->publish(bus->nats, subject, FLO_NATS_PULLS, 0,
											  NULL, 0, body, strlen(body)));
}

/*
 * The reply subject tells where in the stream a message stands:
 * $JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<time>.<pending>
 * Servers in a domain put <domain>.<account> behind ACK and may add a token
 * at the end.
 */
static bool
parse_ack_subject(const char *reply, FloBusDelivery *delivery)
{
	const char *tokens[12];
	int			n = 0;
	int			first;

	if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0)
		return false;
	tokens[n++] = reply;
	for (const char *at = strchr(reply, '.'); at != NULL; at = strchr(at + 1, '.'))
	{
		if (n == lengthof(tokens))
			break;
		tokens[n++] = at + 1;
	}
	if (n < 9 || n == 10)
		return false;
	first = n == 9 ? 2 : 4;		/* the stream's name */
	delivery->stream_seq = strtou64(tokens[first + 3], NULL, 10);
	delivery->pending = strtou64(tokens[first + 6], NULL, 10);
	return delivery->stream_seq > 0;
}

bool
flo_bus_next_delivery(FloBus *bus, FloBusDelivery *delivery)
{
	FloNatsMessage message;

	for (;;)
	{
		FloNatsStatus taken = flo_bus_module->take(bus->nats, FLO_NATS_PULLS, &message);

		if (taken == FLO_NATS_NONE)
			return false;
		check_status(bus, taken);
		if (message.status != 100)
			break;
		/* A sign of life is no news */
		flo_bus_module->release(bus->nats, message.impl);
	}
	memset(delivery, 0, sizeof(*delivery));
	delivery->subject = message.subject;
	delivery->data = message.data;
	delivery->len = message.len;
	delivery->ack_subject = message.reply;
	delivery->status = message.status;
	delivery->status_text = message.status_text;
	delivery->impl = message.impl;
	if (message.status == 0 && !parse_ack_subject(message.reply, delivery))
	{
		flo_bus_module->release(bus->nats, message.impl);
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("NATS delivered a message that no consumer sent")));
	}
	return true;
}

const char *
flo_bus_delivery_header(const FloBusDelivery *delivery, const char *name)
{
	return flo_bus_module->header(delivery->impl, name);
}

void
flo_bus_release(FloBus *bus, FloBusDelivery *delivery)
{
	flo_bus_module->release(bus->nats, delivery->impl);
	delivery->impl = NULL;
}

void
flo_bus_pull_reset(FloBus *bus)
{
	check_status(bus, flo_bus_module->reset_pulls(bus->nats));
}

/* ---------------------------------------------------------------------------
 * Watching
 * ---------------------------------------------------------------------------
 */

void
flo_bus_watch(FloBus *bus, const char *subject)
{
	check_status(bus, flo_bus_module->watch(bus->nats, subject));
	if (bus->watched != NULL)
		pfree(bus->watched);
	bus->watched = MemoryContextStrdup(TopMemoryContext, subject);
}

bool
flo_bus_next_update(FloBus *bus, FloBusUpdate *update)
{
	FloNatsMessage message;
	FloNatsStatus taken;

	if (bus->nats == NULL)
		return false;
	taken = flo_bus_module->take(bus->nats, FLO_NATS_UPDATES, &message);
	if (taken != FLO_NATS_OK)
	{
		if (taken != FLO_NATS_NONE)
			check_status_unless_closed(bus, taken);
		return false;
	}
	update->subject = pstrdup(message.subject);
	update->data = pnstrdup(message.data, message.len);
	update->len = message.len;
	flo_bus_module->release(bus->nats, message.impl);
	return true;
}
