/*
 * greeting.c
 *		Why a NATS server sends somebody away at once; part of pg_flo_bus.
 *
 * A server that takes no more connections says so right behind its first line,
 * and closes.  The library drops what came with that line, and all that it tells
 * is that the connection is closed, as when a server dies.  So who was sent away
 * comes once more, by hand, says nothing and listens.
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
	strlcpy(words, said, Min(size, (size_t) (end - said) + 1));
	return true;
}

static bool
listen_to(const struct addrinfo *address, int64 until, char *words, size_t size)
{
	char		greeting[GREETING_SIZE];
	size_t		len = 0;
	bool		found = false;
	int			sock = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return false;
	if ((connect(sock, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS) &&
		wait_for(sock, POLLOUT, until))
	{
		while (!found && len < sizeof(greeting) - 1 && wait_for(sock, POLLIN, until))
		{
			ssize_t		n = recv(sock, greeting + len, sizeof(greeting) - 1 - len, 0);

			if (n <= 0)
				break;
			len += n;
			greeting[len] = '\0';
			found = find_refusal(greeting, words, size);
		}
	}
	close(sock);
	return found;
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

/*
 * What one of the servers says to send us away, in "words".  False when none does
 * so within "timeout_ms" each, name look-ups not counted.
 */
bool
flo_nats_refusal(const char *urls, int timeout_ms, char *words, size_t size)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char	   *copy = strdup(urls);
	char	   *save = NULL;
	bool		found = false;

	if (copy == NULL)
		return false;
	for (char *url = strtok_r(copy, FLO_NATS_URL_SEPARATORS, &save); url != NULL && !found;
		 url = strtok_r(NULL, FLO_NATS_URL_SEPARATORS, &save))
	{
		const char *host;
		const char *port;
		struct addrinfo *addresses;
		int64		until;

		split_url(url, &host, &port);
		if (getaddrinfo(host, port, &hints, &addresses) != 0)
			continue;
		until = milliseconds() + timeout_ms;
		for (struct addrinfo *one = addresses; one != NULL && !found; one = one->ai_next)
			found = listen_to(one, until, words, size);
		freeaddrinfo(addresses);
	}
	free(copy);
	return found;
}
