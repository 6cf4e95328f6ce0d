/*
 * bus.c
 *		A connection to NATS, driven from this process's own event loop.
 *
 * The work is done by the module pg_flo_bus (bus_nats.c), which is loaded by
 * the first connection of a process.  Here is what needs PostgreSQL: waiting,
 * memory contexts, errors.  Every failure of the module becomes an error in
 * raise_status(), every word of the broker passes flo_bus_clean_words() first, so that
 * no password from a URL or a setting can reach a log.
 *
 * After an error the connection may still be used unless it is gone; messages
 * taken but not released are freed by flo_bus_close().
 */
#include "postgres.h"

#include <ctype.h>
#include <poll.h>
#include <unistd.h>

#include "bus/bus.h"
#include "bus/bus_impl.h"
#include "bus/failure.h"
#include "bus/json.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/files.h"
#include "core/loop.h"
#include "core/settings.h"
#include "fmgr.h"
#include "monitor/state.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

/* How long one server may take to answer a connection attempt, ms */
#define CONNECT_TIMEOUT 1000

/* How long an attempt may take in all, ms */
#define CONNECT_DEADLINE 10000

/* Pause between two attempts of a process that has nothing to do without, ms */
#define CONNECT_RETRY_INTERVAL 1000

/*
 * A question that nobody has answered is put again after this, ms: a stream
 * may have got its leader
 */
#define ASK_AGAIN 1000

/* Longest password that is read from a file */
#define PASSWORD_MAX 1024

struct FloBus
{
	FloNats    *nats;			/* NULL: lost, and not renewed yet */
	char	   *name;
	char	   *watched;		/* subject, NULL = none */
	uint64		requests;		/* token of the last request */
	FloBusFull	when_full;		/* NULL = who is refused does not wait */
	void	   *full_arg;
};

static const FloNatsFunctions *nats_functions = NULL;

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
		raise_status(status, nats_functions->error(bus->nats));
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

static void
load_module(void)
{
	FloNatsEntry entry;
	const FloNatsFunctions *functions;

	if (nats_functions != NULL)
		return;
	entry = (FloNatsEntry) load_external_function(FLO_NATS_MODULE, FLO_NATS_ENTRY, true, NULL);
	functions = entry();
	if (functions->abi != FLO_NATS_ABI)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the libraries pg_flo and pg_flo_bus are of different versions"),
				 errhint("Restart the server after an upgrade of pg_flo.")));
	nats_functions = functions;
}

static bool
is_set(const char *setting)
{
	return setting != NULL && setting[0] != '\0';
}

/* The password of pg_flo.nats_password_file, palloc'd */
static char *
read_password_file(void)
{
	char	   *password = flo_files_read_secret(flo_nats_password_file, "password file",
												 PASSWORD_MAX);
	size_t		len = strlen(password);
	size_t		blanks = 0;

	while (len > 0 && isspace((unsigned char) password[len - 1]))
		password[--len] = '\0';
	while (isspace((unsigned char) password[blanks]))
		blanks++;
	memmove(password, password + blanks, len - blanks + 1);
	/* or the end of it would stay behind */
	explicit_bzero(password + len - blanks, blanks);
	return password;
}

/* What the library opens by name is looked at before, and called by name when it is not there */
static void
check_files(void)
{
	if (is_set(flo_nats_credentials_file))
		flo_files_check(flo_nats_credentials_file, "NATS credentials file", true, 0);
	if (is_set(flo_nats_tls_ca_file))
		flo_files_check(flo_nats_tls_ca_file, "NATS CA file", false, 0);
	if (is_set(flo_nats_tls_cert_file))
		flo_files_check(flo_nats_tls_cert_file, "NATS certificate file",
						!is_set(flo_nats_tls_key_file), 0);
	if (is_set(flo_nats_tls_key_file))
		flo_files_check(flo_nats_tls_key_file, "NATS key file", true, 0);
}

/*
 * A name look-up or a TLS handshake may never end, and nothing ends its thread but
 * the end of the process.  So an attempt that takes too long is an error, which a
 * process does not outlive; or one who has something to lose leaves it alone and
 * makes another, a few times.
 */
#define HANGING_MAX 3

static int	threads_at_work = 0;
static FloNats *hanging[HANGING_MAX];
static int	nhanging = 0;

/*
 * What is to be done at exit has been done.  What the libraries would do then is
 * left out when their thread is still at work: it would pull the ground away
 * from under it, and a crash is one of the whole server.
 */
static void
leave_threads(int code, Datum arg)
{
	if (threads_at_work > 0)
		_exit(flo_exit_code(code));
}

/* Attempts that were left alone and are over by now; nobody needs what they bring any more */
static void
reap_hanging(void)
{
	char		words[512];
	int			kept = 0;

	for (int i = 0; i < nhanging; i++)
	{
		struct pollfd over = {
			.fd = nats_functions->connecting(hanging[i]),
			.events = POLLIN
		};

		if (poll(&over, 1, 0) <= 0)
			hanging[kept++] = hanging[i];
		else
		{
			threads_at_work--;
			if (nats_functions->connected(hanging[i], words, sizeof(words)) == FLO_NATS_OK)
				nats_functions->close(hanging[i]);
		}
	}
	nhanging = kept;
}

/* Wait until the attempt is over, "patient" ones no longer than until it takes too long */
static FloNatsStatus
finish_connecting(FloNats *nats, bool patient, char *words, size_t words_size)
{
	static bool registered = false;
	FloClock	begun = flo_clock();
	pgsocket	over = nats_functions->connecting(nats);

	if (!registered)
		on_proc_exit(leave_threads, 0);
	registered = true;
	threads_at_work++;
	flo_wait_means(FLO_WAIT_NATS);
	while ((flo_wait(over, false, CONNECT_TIMEOUT / 2) & WL_SOCKET_READABLE) == 0)
	{
		if (flo_clock_passed(begun, CONNECT_DEADLINE))
		{
			if (patient && nhanging < HANGING_MAX)
			{
				hanging[nhanging++] = nats;
				flo_wait_forget();
				snprintf(words, words_size, "no end of the attempt within %d s",
						 CONNECT_DEADLINE / 1000);
				return FLO_NATS_NO_ANSWER;
			}
			ereport(ERROR,
					(errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
					 errmsg("could not connect to NATS at \"%s\" within %d s", flo_nats_url,
							CONNECT_DEADLINE / 1000),
					 errhint("Look for a name server that does not answer, or something that accepts connections and does not go on with TLS.")));
		}
		if (flo_me != NULL && flo_clock_passed(begun, CONNECT_TIMEOUT / 2))
			flo_state_set(FLO_STATE_WAITING, "for NATS: connecting to \"%s\"", flo_nats_url);
		flo_wait_means(FLO_WAIT_NATS);
	}
	threads_at_work--;
	flo_wait_forget();
	return nats_functions->connected(nats, words, words_size);
}

/*
 * Files are looked at before the library opens them: it would wait for a FIFO, and
 * read a secret that others can change.  The password is read here, so it is wiped
 * whatever happens, also out of the words of an error.
 */
static FloNatsStatus
connect_as_configured(const char *name, bool patient, FloNats **nats, char *words,
					  size_t words_size)
{
	FloNatsOptions options = {0};
	volatile FloNatsStatus status;
	char	   *volatile password = NULL;

	load_module();
	reap_hanging();
	check_files();
	options.name = name;
	options.urls = flo_nats_url;
	options.user = flo_nats_user;
	options.password = flo_nats_password;
	if (is_set(flo_nats_password_file))
		options.password = password = read_password_file();
	options.token = flo_nats_token;
	options.credentials_file = flo_nats_credentials_file;
	/* the library knows the scheme, and does nothing about it */
	options.tls = flo_nats_tls || (is_set(flo_nats_url) && strstr(flo_nats_url, "tls://") != NULL);
	options.tls_ca_file = flo_nats_tls_ca_file;
	options.tls_cert_file = flo_nats_tls_cert_file;
	options.tls_key_file = flo_nats_tls_key_file;
	options.inbox_prefix = flo_nats_inbox_prefix;
	options.timeout_ms = CONNECT_TIMEOUT;

	words[0] = '\0';
	/* the library would connect to this machine */
	if (!is_set(flo_nats_url))
	{
		strlcpy(words, "pg_flo.nats_url is empty", words_size);
		status = FLO_NATS_UNREACHABLE;
	}
	else
		status = nats_functions->connect(&options, nats, words, words_size);
	PG_TRY();
	{
		if (status == FLO_NATS_OK)
			status = finish_connecting(*nats, patient, words, words_size);
	}
	PG_FINALLY();
	{
		if (password != NULL)
		{
			flo_bus_blot(words, password);
			explicit_bzero(password, strlen(password));
			pfree(password);
		}
	}
	PG_END_TRY();
	return status;
}

static FloBus *
wrap_connection(FloNats *nats, const char *name)
{
	FloBus	   *bus = MemoryContextAllocZero(TopMemoryContext, sizeof(FloBus));

	bus->nats = nats;
	bus->name = MemoryContextStrdup(TopMemoryContext, name);
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
	FloNatsStatus status = connect_as_configured(name, patient, &nats, words, sizeof(words));

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
		nats_functions->close(bus->nats);
	bus->nats = NULL;
	/* by the settings of now: they may say that the broker is elsewhere */
	flo_check_interrupts();
	bus->nats = try_connect(bus->name, true, reason);
	if (bus->nats == NULL)
		return false;
	if (bus->watched != NULL)
		check_status(bus, nats_functions->watch(bus->nats, bus->watched));
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
	FloNatsStatus status = connect_as_configured(name, false, &nats, words, sizeof(words));

	if (status != FLO_NATS_OK)
		raise_status(status, words);
	return wrap_connection(nats, name);
}

void
flo_bus_close(FloBus *bus)
{
	flo_wait_forget();
	if (bus->nats != NULL)
		nats_functions->close(bus->nats);
	if (bus->watched != NULL)
		pfree(bus->watched);
	pfree(bus->name);
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
	return nats_functions->max_payload(bus->nats);
}

/* ---------------------------------------------------------------------------
 * Waiting
 * ---------------------------------------------------------------------------
 */

void
flo_bus_pump(FloBus *bus)
{
	check_status(bus, nats_functions->pump(bus->nats));
}

void
flo_bus_wait(FloBus *bus, long timeout_ms)
{
	flo_wait(nats_functions->socket(bus->nats), nats_functions->want_write(bus->nats),
			 timeout_ms);
	flo_bus_pump(bus);
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

	while ((taken = nats_functions->take(bus->nats, FLO_NATS_REPLIES, &message)) == FLO_NATS_OK)
	{
		bool		ours = message.token == token || message.status == 503;

		if (ours)
		{
			reply->data = pnstrdup(message.data, message.len);
			reply->len = message.len;
			*status = message.status;
		}
		nats_functions->release(bus->nats, message.impl);
		if (ours)
			return true;
	}
	if (taken != FLO_NATS_NONE)
		check_status(bus, taken);
	return false;
}

/* Does the request change nothing? */
static bool
is_question(const char *subject)
{
	return strncmp(subject, "$JS.API.STREAM.INFO.", 20) == 0 ||
		strncmp(subject, "$JS.API.STREAM.MSG.GET.", 23) == 0;
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

	check_status(bus, nats_functions->publish(bus->nats, subject, FLO_NATS_REPLIES, token,
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
			if (is_question(subject))
				check_status(bus,
							 nats_functions->publish(bus->nats, subject, FLO_NATS_REPLIES, token,
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
								   nats_functions->publish(bus->nats, subject, FLO_NATS_NOWHERE, 0,
														   NULL, 0, data, len));
}

void
flo_bus_publish_expect(FloBus *bus, const char *subject, uint64 expected_seq,
					   uint64 token, const char *data, int len)
{
	char		expected[24];
	FloBusHeader header = {FLO_BUS_EXPECTED_SEQUENCE, expected};

	snprintf(expected, sizeof(expected), UINT64_FORMAT, expected_seq);
	check_status(bus, nats_functions->publish(bus->nats, subject, FLO_NATS_ACKS, token,
											  &header, 1, data, len));
}

void
flo_bus_publish_stored(FloBus *bus, const char *subject, uint64 token, const char *data, int len)
{
	check_status(bus, nats_functions->publish(bus->nats, subject, FLO_NATS_ACKS, token,
											  NULL, 0, data, len));
}

void
flo_bus_publish_with(FloBus *bus, const char *subject, const FloBusHeader *headers, int nheaders,
					 uint64 token, const char *data, int len)
{
	check_status(bus, nats_functions->publish(bus->nats, subject,
											  token != 0 ? FLO_NATS_ACKS : FLO_NATS_NOWHERE, token,
											  headers, nheaders, data, len));
}

void
flo_bus_echo(FloBus *bus, uint64 token)
{
	check_status(bus, nats_functions->publish(bus->nats, NULL, FLO_NATS_ACKS, token,
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
	FloNatsStatus taken = nats_functions->take(bus->nats, FLO_NATS_ACKS, &message);

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
	nats_functions->release(bus->nats, message.impl);
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
	check_status(bus, nats_functions->publish(bus->nats, subject, FLO_NATS_PULLS, 0,
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
		FloNatsStatus taken = nats_functions->take(bus->nats, FLO_NATS_PULLS, &message);

		if (taken == FLO_NATS_NONE)
			return false;
		check_status(bus, taken);
		if (message.status != 100)
			break;
		/* A sign of life is no news */
		nats_functions->release(bus->nats, message.impl);
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
		nats_functions->release(bus->nats, message.impl);
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("NATS delivered a message that no consumer sent")));
	}
	return true;
}

const char *
flo_bus_delivery_header(const FloBusDelivery *delivery, const char *name)
{
	return nats_functions->header(delivery->impl, name);
}

void
flo_bus_release(FloBus *bus, FloBusDelivery *delivery)
{
	nats_functions->release(bus->nats, delivery->impl);
	delivery->impl = NULL;
}

void
flo_bus_pull_reset(FloBus *bus)
{
	check_status(bus, nats_functions->reset_pulls(bus->nats));
}

/* ---------------------------------------------------------------------------
 * Watching
 * ---------------------------------------------------------------------------
 */

void
flo_bus_watch(FloBus *bus, const char *subject)
{
	check_status(bus, nats_functions->watch(bus->nats, subject));
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
	taken = nats_functions->take(bus->nats, FLO_NATS_UPDATES, &message);
	if (taken != FLO_NATS_OK)
	{
		if (taken != FLO_NATS_NONE)
			check_status_unless_closed(bus, taken);
		return false;
	}
	update->subject = pstrdup(message.subject);
	update->data = pnstrdup(message.data, message.len);
	update->len = message.len;
	nats_functions->release(bus->nats, message.impl);
	return true;
}
