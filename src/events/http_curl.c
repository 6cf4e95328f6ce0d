/*
 * http_curl.c
 *		The only code that knows libcurl; module pg_flo_http.
 *
 * libcurl runs in its "multi socket" mode: it tells us its sockets and when it
 * wants to be called, and does I/O only inside act() and send(), on the thread
 * of the caller.  Its resolver may start a thread for each name it looks up.
 *
 * Awkward cases:
 * - Those threads must not run PostgreSQL's signal handlers: all signals are
 *   blocked around everything that can start one.
 * - A name server that does not answer must not block the process when a
 *   request is given up: CURLOPT_QUICK_EXIT leaves the thread alone.
 * - Nothing here may throw: libcurl's frames stand below its callbacks, and its
 *   memory is not PostgreSQL's.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <time.h>

#include "core/signals.h"
#include "events/http_impl.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

#define MAX_SOCKETS 256

/* Past this the connection is dropped, when an answer's body is of no interest */
#define BODY_LIMIT (64 * 1024)

/* Room that an answer gets first */
#define FIRST_ROOM (16 * 1024)

struct FloHttp
{
	CURLM	   *multi;
	int			nsockets;
	FloHttpSocket sockets[MAX_SOCKETS];
	bool		has_deadline;
	struct timespec deadline;
	int			active;			/* requests whose result was not taken yet */
	int			running;		/* those of them that have not ended */
};

struct FloHttpLine
{
	FloHttp    *http;
	CURL	   *easy;
	struct curl_slist *headers;
	bool		active;
	long		timeout_ms;
	size_t		received;
	size_t		limit;			/* of what may be received */
	size_t		nwords;
	char		words[FLO_HTTP_WORDS];

	/* the answer, when the line keeps it */
	bool		keeps;
	char	   *answer;
	size_t		room;
	char		error[CURL_ERROR_SIZE];
};

extern PGDLLEXPORT const FloHttpFunctions *flo_http_functions(void);

/* --- what libcurl calls -------------------------------------------------- */

static int
socket_changed(CURL *easy, curl_socket_t sock, int what, void *arg, void *socket_arg)
{
	FloHttp    *http = arg;
	int			i = 0;

	while (i < http->nsockets && http->sockets[i].sock != sock)
		i++;
	if (what == CURL_POLL_REMOVE)
	{
		if (i < http->nsockets)
			http->sockets[i] = http->sockets[--http->nsockets];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return 0;				/* it is served by the time-outs */
	if (i == http->nsockets)
		http->nsockets++;
	http->sockets[i].sock = sock;
	http->sockets[i].read = what != CURL_POLL_OUT;
	http->sockets[i].write = what != CURL_POLL_IN;
	return 0;
}

static int
timer_changed(CURLM *multi, long timeout_ms, void *arg)
{
	FloHttp    *http = arg;

	http->has_deadline = timeout_ms >= 0;
	if (timeout_ms < 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &http->deadline);
	http->deadline.tv_sec += timeout_ms / 1000;
	http->deadline.tv_nsec += (timeout_ms % 1000) * 1000000;
	if (http->deadline.tv_nsec >= 1000000000)
	{
		http->deadline.tv_sec++;
		http->deadline.tv_nsec -= 1000000000;
	}
	return 0;
}

/* False when memory is short */
static bool
make_room(FloHttpLine *line, size_t len)
{
	size_t		room = line->room > 0 ? line->room : FIRST_ROOM;
	char	   *answer;

	if (len <= line->room)
		return true;
	while (room < len)
		room *= 2;
	answer = realloc(line->answer, room);
	if (answer == NULL)
		return false;
	line->answer = answer;
	line->room = room;
	return true;
}

static void
forget_answer(FloHttpLine *line)
{
	free(line->answer);
	line->answer = NULL;
	line->room = 0;
}

static size_t
body_came(char *data, size_t size, size_t count, void *arg)
{
	FloHttpLine *line = arg;
	size_t		len = size * count;
	size_t		room = FLO_HTTP_WORDS - 1 - line->nwords;
	size_t		kept = len < room ? len : room;

	memcpy(line->words + line->nwords, data, kept);
	line->nwords += kept;
	if (line->keeps && line->received + len <= line->limit)
	{
		if (!make_room(line, line->received + len))
			return 0;
		memcpy(line->answer + line->received, data, len);
	}
	line->received += len;
	return line->received > line->limit ? 0 : len;
}

/* --- lines --------------------------------------------------------------- */

static FloHttp *
http_open(void)
{
	FloHttp    *http;
	sigset_t	saved;

	flo_block_signals(&saved);
	http = calloc(1, sizeof(FloHttp));
	if (http != NULL && (curl_global_init(CURL_GLOBAL_ALL) != 0 ||
						 (http->multi = curl_multi_init()) == NULL))
	{
		free(http);
		http = NULL;
	}
	if (http != NULL)
	{
		curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
		curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
		curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, timer_changed);
		curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	}
	flo_restore_signals(&saved);
	return http;
}

static void
set_options(FloHttpLine *line, const char *url, long timeout_ms)
{
	CURL	   *easy = line->easy;

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, line);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, line->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, body_came);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, line);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "pg_flo/0.2");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);

	/*
	 * The endpoint is the one that was configured, whatever it answers or the
	 * environment says
	 */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
}

static FloHttpLine *
http_open_line(FloHttp *http, const char *url, long timeout_ms, size_t kept)
{
	FloHttpLine *line;
	sigset_t	saved;

	flo_block_signals(&saved);
	line = calloc(1, sizeof(FloHttpLine));
	if (line != NULL && (line->easy = curl_easy_init()) == NULL)
	{
		free(line);
		line = NULL;
	}
	if (line != NULL)
	{
		line->http = http;
		line->timeout_ms = timeout_ms;
		line->keeps = kept > 0;
		line->limit = kept > 0 ? kept : BODY_LIMIT;
		set_options(line, url, timeout_ms);
	}
	flo_restore_signals(&saved);
	return line;
}

static void
http_cancel(FloHttpLine *line)
{
	sigset_t	saved;

	if (!line->active)
		return;
	flo_block_signals(&saved);
	curl_multi_remove_handle(line->http->multi, line->easy);
	curl_slist_free_all(line->headers);
	line->headers = NULL;
	line->active = false;
	line->http->active--;
	line->http->running = Min(line->http->running, line->http->active);
	flo_restore_signals(&saved);
}

static void
http_close_line(FloHttpLine *line)
{
	sigset_t	saved;

	http_cancel(line);
	flo_block_signals(&saved);
	curl_easy_cleanup(line->easy);
	forget_answer(line);
	free(line);
	flo_restore_signals(&saved);
}

/* False when memory is short */
static bool
add_header(struct curl_slist **list, const char *header)
{
	struct curl_slist *longer = curl_slist_append(*list, header);

	if (longer != NULL)
		*list = longer;
	return longer != NULL;
}

/* What is sent, and where; the headers are in the list */
static void
set_request(FloHttpLine *line, const FloHttpRequest *request, struct curl_slist *headers)
{
	CURL	   *easy = line->easy;

	if (request->url != NULL)
		curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) request->len);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->len > 0 ? request->body : "");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
}

static bool
http_send(FloHttpLine *line, const FloHttpRequest *request)
{
	struct curl_slist *list = NULL;
	bool		typed = false;
	bool		ok;
	sigset_t	saved;

	flo_block_signals(&saved);
	/* no wait for "100 Continue" */
	ok = add_header(&list, "Expect:");
	for (int i = 0; i < request->nheaders && ok; i++)
	{
		typed |= strncasecmp(request->headers[i], "Content-Type:", strlen("Content-Type:")) == 0;
		ok = add_header(&list, request->headers[i]);
	}
	ok = ok && (typed || add_header(&list, "Content-Type: application/json"));
	if (ok)
	{
		line->received = line->nwords = 0;
		line->error[0] = '\0';
		forget_answer(line);
		set_request(line, request, list);
		ok = curl_multi_add_handle(line->http->multi, line->easy) == CURLM_OK;
	}
	if (ok)
	{
		FloHttp    *http = line->http;

		line->headers = list;
		line->active = true;
		http->active++;
		/* with some libraries the exchange may be over when this returns */
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &http->running);
	}
	else
		curl_slist_free_all(list);
	flo_restore_signals(&saved);
	return ok;
}

/* --- the loop ------------------------------------------------------------ */

static int
http_sockets(FloHttp *http, FloHttpSocket *sockets, int room)
{
	for (int i = 0; i < http->nsockets && i < room; i++)
		sockets[i] = http->sockets[i];
	return http->nsockets;
}

/* ms until the library wants to be called, -1 = it does not */
static long
deadline_in(FloHttp *http)
{
	struct timespec now;
	long		left;

	if (!http->has_deadline)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	left = (long) (http->deadline.tv_sec - now.tv_sec) * 1000 +
		(http->deadline.tv_nsec - now.tv_nsec + 999999) / 1000000;
	return left > 0 ? left : 0;
}

/* What has ended already is not to be waited for */
static long
http_timeout(FloHttp *http)
{
	return http->running < http->active ? 0 : deadline_in(http);
}

static void
http_act(FloHttp *http, int sock, bool readable, bool writable)
{
	sigset_t	saved;

	if (sock < 0 && deadline_in(http) != 0)
		return;
	flo_block_signals(&saved);
	if (sock < 0)
	{
		http->has_deadline = false;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &http->running);
	}
	else
		curl_multi_socket_action(http->multi, sock,
								 (readable ? CURL_CSELECT_IN : 0) |
								 (writable ? CURL_CSELECT_OUT : 0), &http->running);
	flo_restore_signals(&saved);
}

/*
 * The library's own words for what happens again and again hold the time that it
 * took: nobody could tell by them that it is the same again.
 */
static void
describe_failure(FloHttpLine *line, CURLcode code, FloHttpResult *result)
{
	const char *words = line->error[0] ? line->error : curl_easy_strerror(code);
	size_t		size = sizeof(result->error);
	long		reason = 0;

	curl_easy_getinfo(line->easy, CURLINFO_OS_ERRNO, &reason);
	switch (code)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
			snprintf(result->error, size, "the name of its host cannot be resolved");
			result->hint = "Check the host in the URL, and the name servers of this machine.";
			break;
		case CURLE_COULDNT_CONNECT:
			snprintf(result->error, size, "%s", reason == ECONNREFUSED ? "connection refused" :
					 reason == EHOSTUNREACH ? "no route to host" :
					 reason == ENETUNREACH ? "network is unreachable" : "it cannot be connected to");
			result->hint = "Check host and port of the URL, and that the endpoint runs there.";
			break;
		case CURLE_OPERATION_TIMEDOUT:
			snprintf(result->error, size, "no answer within %g s", line->timeout_ms / 1000.0);
			result->hint = "Check that the endpoint answers, or give it more time with the worker's option timeout.";
			break;
		case CURLE_SSL_CONNECT_ERROR:
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_ISSUER_ERROR:
			snprintf(result->error, size, "TLS: %s", words);
			result->hint = "Check the endpoint's certificate, and that this machine trusts who has signed it.";
			break;
		case CURLE_GOT_NOTHING:
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
			snprintf(result->error, size, "it ended the connection without an answer");
			result->hint = "Look into the log of the endpoint, or of a proxy before it.";
			break;
		default:
			strlcpy(result->error, words, size);
			break;
	}
}

static void
describe_result(FloHttpLine *line, CURLcode code, FloHttpResult *result)
{
	long		status = 0;
	curl_off_t	retry_after = 0;

	memset(result, 0, sizeof(FloHttpResult));
	result->line = line;
	curl_easy_getinfo(line->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(line->easy, CURLINFO_RETRY_AFTER, &retry_after);

	/* a body that was too long is as good as none */
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && line->received > line->limit))
	{
		result->cut = line->received > line->limit;
		result->body = line->answer;
		result->len = line->keeps && !result->cut ? line->received : 0;
		result->status = (int) status;
		result->retry_after = retry_after;
		memcpy(result->words, line->words, line->nwords);
	}
	else
		describe_failure(line, code, result);
}

static bool
http_take(FloHttp *http, FloHttpResult *result)
{
	CURLMsg    *message;
	int			left;
	bool		found = false;
	sigset_t	saved;

	flo_block_signals(&saved);
	while (!found && (message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		FloHttpLine *line;
		CURLcode	code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &line);
		describe_result(line, code, result);
		http_cancel(line);
		found = true;
	}
	flo_restore_signals(&saved);
	return found;
}

static const FloHttpFunctions functions = {
	.abi = FLO_HTTP_ABI,
	.open = http_open,
	.open_line = http_open_line,
	.close_line = http_close_line,
	.send = http_send,
	.cancel = http_cancel,
	.sockets = http_sockets,
	.timeout = http_timeout,
	.act = http_act,
	.take = http_take,
};

const FloHttpFunctions *
flo_http_functions(void)
{
	return &functions;
}
