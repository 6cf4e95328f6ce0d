/*
 * greeting.c
 *		Why no NATS server lets us in; part of pg_flo_bus.
 *
 * The library tries all servers and says of the last, or that none is available:
 * a name without an address, a port without a server and one that does not answer
 * are all the same to it.  It drops what comes with a server's first line, where
 * one that takes no more connections says so.  So who was not let in comes once
 * more, by hand, says nothing and listens.  Who is silent then is asked whether it
 * is a PostgreSQL server, or one of HTTP.
 *
 * Runs on a thread beside PostgreSQL's, with all signals blocked: nothing here
 * allocates from its memory or reports errors.
 */
#include "postgres.h"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bus/greeting.h"

/* The first line has the addresses of the whole cluster in it */
#define GREETING_SIZE (32 * 1024)
#define DEFAULT_PORT "4222"
#define REFUSAL "\n-ERR '"

/* How long all servers together are asked, ms */
#define EXPLAIN_TIME 3000

/* How long who is silent may think about a question, ms */
#define SILENCE 300

static int64
milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000) + now.tv_nsec / 1000000;
}

/* Wait for a socket until a time of milliseconds(); false when that has passed */
static bool
wait_for(int sock, short events, int64 until)
{
	struct pollfd pfd = {
		.fd = sock,
		.events = events
	};
	int64		left = until - milliseconds();

	return left > 0 && poll(&pfd, 1, (int) left) > 0;
}

/* What stands between quotes behind -ERR goes into "words" */
static bool
find_refusal(const char *greeting, char *words, size_t size)
{
	const char *said = strstr(greeting, REFUSAL);
	const char *end;

	if (said == NULL)
		return false;
	said += strlen(REFUSAL);
	end = strchr(said, '\'');
	if (end == NULL)
		return false;
	snprintf(words, size, "the server takes no connection: %.*s%s", (int) (end - said), said,
			 strstr(said, "maximum connections") != NULL ? ", see its max_connections" : "");
	return true;
}

/* "INFO {" is how NATS begins; what is silent, or says something else, is none */
static FloNatsStatus
judge_greeting(const char *greeting, char *words, size_t size)
{
	const char *what = strncmp(greeting, "HTTP/", 5) == 0 ? "it is a web server" :
		greeting[0] == '\0' ? "it ended the connection without a word" : "it does not speak NATS";

	if (strncmp(greeting, "INFO ", 5) == 0)
		return FLO_NATS_OK;
	strlcpy(words, what, size);
	return FLO_NATS_NO_NATS;
}

static ssize_t
ask(int sock, const char *question, size_t len, char *answer, size_t size)
{
	ssize_t		n = 0;

	if (send(sock, question, len, MSG_NOSIGNAL) == (ssize_t) len &&
		wait_for(sock, POLLIN, milliseconds() + SILENCE))
		n = recv(sock, answer, size - 1, 0);
	answer[Max(n, 0)] = '\0';
	return n;
}

/* Nothing came by itself */
static FloNatsStatus
ask_silent(int sock, char *words, size_t size)
{
	/* an SSLRequest, which is answered by one letter */
	static const char question[] = {0, 0, 0, 8, 4, (char) 210, 22, 47};
	char		answer[16];

	if (ask(sock, question, sizeof(question), answer, sizeof(answer)) == 1 &&
		(answer[0] == 'S' || answer[0] == 'N'))
	{
		strlcpy(words, "it is a PostgreSQL server", size);
		return FLO_NATS_NO_NATS;
	}
	/* no line of HTTP */
	if (answer[0] != '\0' || ask(sock, "\r\n\r\n", 4, answer, sizeof(answer)) > 0)
		return judge_greeting(answer, words, size);
	strlcpy(words, "it takes the connection and says nothing", size);
	return FLO_NATS_NO_ANSWER;
}

static FloNatsStatus
listen_to(int sock, int64 until, char *words, size_t size)
{
	char		greeting[GREETING_SIZE];
	size_t		len = 0;
	bool		ended = false;

	greeting[0] = '\0';
	while (!ended && len < sizeof(greeting) - 1 && wait_for(sock, POLLIN, until))
	{
		ssize_t		n = recv(sock, greeting + len, sizeof(greeting) - 1 - len, 0);

		ended = n <= 0;
		len += Max(n, 0);
		greeting[len] = '\0';
		if (find_refusal(greeting, words, size))
			return FLO_NATS_NO_ROOM;
	}
	return len == 0 && !ended ? ask_silent(sock, words, size) :
		judge_greeting(greeting, words, size);
}

static FloNatsStatus
describe_errno(int error, char *words, size_t size)
{
	const char *what = error == ECONNREFUSED ? "connection refused" :
		error == EHOSTUNREACH ? "no route to host" :
		error == ENETUNREACH ? "network is unreachable" : NULL;

	if (error == 0 || error == ETIMEDOUT)
	{
		strlcpy(words, "no answer, as with a firewall between or a machine that is down", size);
		return FLO_NATS_NO_ANSWER;
	}
	if (what != NULL)
		strlcpy(words, what, size);
	else
		snprintf(words, size, "connection failed, error %d", error);
	return FLO_NATS_NO_LISTENER;
}

static FloNatsStatus
try_address(const struct addrinfo *address, int timeout_ms, char *words, size_t size)
{
	int64		until = milliseconds() + timeout_ms;
	FloNatsStatus status;
	int			error = 0;
	socklen_t	len = sizeof(error);
	int			sock = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return describe_errno(errno, words, size);
	if (connect(sock, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS)
		status = describe_errno(errno, words, size);
	else if (!wait_for(sock, POLLOUT, until))
		status = describe_errno(0, words, size);
	else if (getsockopt(sock, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
		status = describe_errno(error, words, size);
	else
		status = listen_to(sock, until, words, size);
	close(sock);
	return status;
}

/* Takes "nats://user:password@host:port" apart, of which all but the host may be missing */
static void
split_url(char *url, const char **host, const char **port)
{
	char	   *p;

	if ((p = strstr(url, "://")) != NULL)
		url = p + 3;
	if ((p = strrchr(url, '@')) != NULL)
		url = p + 1;
	url[strcspn(url, "/")] = '\0';
	*port = DEFAULT_PORT;
	if (url[0] == '[' && (p = strchr(url, ']')) != NULL)
	{
		url++;
		*p++ = '\0';
	}
	else
		p = strrchr(url, ':');
	if (p != NULL && *p == ':')
	{
		*p = '\0';
		if (p[1] != '\0')
			*port = p + 1;
	}
	*host = url[0] != '\0' ? url : "localhost";
}

/* The first of its addresses where something listens, else the last */
static FloNatsStatus
try_server(const char *host, const char *port, int timeout_ms, char *words, size_t size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses;
	FloNatsStatus status = FLO_NATS_NO_NAME;
	int			error = getaddrinfo(host, port, &hints, &addresses);

	if (error != 0)
	{
		snprintf(words, size, "the name \"%.100s\" cannot be resolved%s", host,
				 error == EAI_AGAIN ? " now: no name server answers" : "");
		return status;
	}
	for (const struct addrinfo *one = addresses; one != NULL; one = one->ai_next)
	{
		status = try_address(one, timeout_ms, words, size);
		if (status != FLO_NATS_NO_LISTENER && status != FLO_NATS_NO_ANSWER)
			break;
	}
	freeaddrinfo(addresses);
	return status;
}

/* ms for each of them */
static int
time_for_one(const char *urls, int timeout_ms)
{
	int			servers = 1;

	for (const char *c = urls; *c; c++)
		servers += *c == ',';
	return Min(timeout_ms, EXPLAIN_TIME / servers);
}

FloNatsStatus
flo_nats_explain(const char *urls, int timeout_ms, const char *said, char *words, size_t size)
{
	bool		several = strchr(urls, ',') != NULL;
	char	   *copy = strdup(urls);
	char	   *save = NULL;
	FloNatsStatus found = FLO_NATS_OK;
	size_t		len = 0;
	int			count = 0;

	if (copy == NULL)
		return FLO_NATS_OK;
	timeout_ms = time_for_one(urls, timeout_ms);
	words[0] = '\0';
	for (char *url = strtok_r(copy, FLO_NATS_URL_SEPARATORS, &save); url != NULL;
		 url = strtok_r(NULL, FLO_NATS_URL_SEPARATORS, &save))
	{
		const char *host;
		const char *port;
		char		one[256];
		FloNatsStatus status;

		split_url(url, &host, &port);
		status = try_server(host, port, timeout_ms, one, sizeof(one));
		if (status == FLO_NATS_OK)
			strlcpy(one, said, sizeof(one));
		if (several)
			snprintf(words + len, size - len, "%s%s:%s: %s", len > 0 ? "; " : "", host, port, one);
		else
			strlcpy(words, one, size);
		len = strlen(words);
		found = count++ == 0 || found == status ? status : FLO_NATS_UNREACHABLE;
	}
	free(copy);
	return found;
}
