/*
 * http.c
 *		Loads the HTTP module and drives it from this process's own loop.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "core/loop.h"
#include "events/http.h"
#include "fmgr.h"

/* Sockets waited for at a time; those beyond are looked at every POLL_SLICE ms */
#define MAX_SOCKETS 64
#define POLL_SLICE 50

/* ms: pauses between attempts, and the most that an endpoint may ask for */
#define FIRST_PAUSE 500
#define LONGEST_PAUSE (60 * 1000)
#define LONGEST_RETRY_AFTER (3600 * 1000)

const FloHttpFunctions *
flo_http_load(void)
{
	static const FloHttpFunctions *loaded = NULL;
	const FloHttpFunctions *functions;
	FloHttpEntry entry;

	if (loaded != NULL)
		return loaded;
	entry = (FloHttpEntry) load_external_function(FLO_HTTP_MODULE, FLO_HTTP_ENTRY, true, NULL);
	functions = entry();
	if (functions->abi != FLO_HTTP_ABI)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the libraries pg_flo and pg_flo_http are of different versions"),
				 errhint("Restart the server after an upgrade of pg_flo.")));
	loaded = functions;
	return loaded;
}

void
flo_http_wait(const FloHttpFunctions *functions, FloHttp *http, long timeout_ms)
{
	FloHttpSocket wanted[MAX_SOCKETS];
	FloWaitSocket sockets[MAX_SOCKETS];
	int			count = functions->sockets(http, wanted, MAX_SOCKETS);
	long		due = functions->timeout(http);

	if (due >= 0)
		timeout_ms = Min(timeout_ms, due);
	if (count > MAX_SOCKETS)
	{
		count = MAX_SOCKETS;
		timeout_ms = Min(timeout_ms, POLL_SLICE);
	}
	for (int i = 0; i < count; i++)
	{
		memset(&sockets[i], 0, sizeof(FloWaitSocket));
		sockets[i].sock = wanted[i].sock;
		sockets[i].read = wanted[i].read;
		sockets[i].write = wanted[i].write;
	}
	flo_wait_sockets(sockets, count, timeout_ms);
	for (int i = 0; i < count; i++)
		if (sockets[i].ready)
			functions->act(http, sockets[i].sock, sockets[i].readable, sockets[i].writable);
	functions->act(http, -1, false, false);
}

void
flo_http_describe_failure(const FloHttpResult *result, const FloHeaders *headers, char *error,
						  size_t size)
{
	char		words[FLO_HTTP_WORDS];
	int			len = 0;

	error[0] = '\0';
	if (result->status >= 200 && result->status <= 299)
		return;
	if (result->status == 0)
	{
		snprintf(error, size, "%s", result->error);
		return;
	}
	/* bytes of a stranger: ASCII only */
	for (const char *c = result->words; *c && len < 120; c++)
		words[len++] = *c >= ' ' && *c <= '~' ? *c : ' ';
	while (len > 0 && words[len - 1] == ' ')
		len--;
	words[len] = '\0';
	flo_headers_hide(headers, words);
	snprintf(error, size, "HTTP %d%s%s", result->status, len > 0 ? ": " : "", words);
}

int64
flo_http_pause(int attempts, int64 retry_after)
{
	int64		pause = (int64) FIRST_PAUSE << Min(attempts - 1, 10);

	pause = Min(pause, LONGEST_PAUSE);
	pause = pause / 2 + (int64) (pg_prng_double(&pg_global_prng_state) * pause / 2);
	return Max(pause, Min(retry_after, LONGEST_RETRY_AFTER / 1000) * 1000);
}

const char *
flo_http_hint(const FloHttpResult *result)
{
	int			status = result->status;

	if (status == 0)
		return result->hint;
	if (status >= 300 && status <= 399)
		return "Redirects are not followed: name the URL that takes the events.";
	switch (status)
	{
		case 401:
		case 403:
		case 407:
			return "Check the worker's options headers and secret.";
		case 404:
		case 405:
		case 410:
			return "Check the path of the URL: it has to take POST requests.";
		case 413:
			return "Lower the worker's option events_per_request.";
		case 429:
			return "The endpoint limits the rate: raise its limit, or the worker's option events_per_request.";
	}
	return status >= 500 ? "Look into the log of the endpoint." :
		"The endpoint does not accept what it gets: look into its log.";
}
