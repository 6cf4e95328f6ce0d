/*
 * search_client.c
 *		A search service, OpenSearch or Elasticsearch, over HTTP.
 *
 * What is no fault of what was sent is tried again without end, after a pause that
 * grows: no connection, no answer, 5xx, 429 (with its Retry-After), and 401, 403, 404
 * and 405 for documents, which a person can mend while we wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "common/base64.h"
#include "conf/endpoint.h"
#include "conf/event_tables.h"
#include "core/loop.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "events/search_client.h"
#include "events/sink_state.h"
#include "utils/memutils.h"

#define SERVE_INTERVAL 1000		/* ms */

/* Longest answers that are kept: documents that were asked for are among them */
#define ANSWER_LIMIT (128 * 1024 * 1024)

/* --- configuration ------------------------------------------------------- */

static char *
basic_credentials(const char *user, const char *password)
{
	char	   *pair = psprintf("%s:%s", user, password);
	int			room = pg_b64_enc_len(strlen(pair)) + 1;
	char	   *text = palloc0(room);

	if (pg_b64_encode((void *) pair, strlen(pair), text, room - 1) < 0)
		elog(ERROR, "could not encode credentials");
	return psprintf("Basic %s", text);
}

/* Option auth, as event_tables.c has checked it */
static void
add_credentials(FloHeaders *headers, const char *auth)
{
	Jsonb	   *object = flo_sink_state_parse(auth);
	char	   *key = flo_sink_state_text(object, "api_key");

	if (key != NULL)
		flo_headers_add(headers, "Authorization", psprintf("ApiKey %s", key));
	else
		flo_headers_add(headers, "Authorization",
						basic_credentials(flo_sink_state_text(object, "user"),
										  flo_sink_state_text(object, "password")));
}

void
flo_search_client_configure(FloSearchClient *client)
{
	const FloWorkerSpec *spec = client->spec;
	MemoryContext context = AllocSetContextCreate(client->context, "pg_flo search configuration",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool		opened = !IsTransactionState();
	MemoryContext caller = opened ? flo_transaction_begin() : context;
	FloHeaders	result = {0};
	char	   *headers;
	char	   *auth;

	MemoryContextSwitchTo(context);
	flo_url_check_allowed(spec->options.url, spec->owner);
	if (spec->options.headers_file != NULL &&
		!flo_role_has_rights_of(spec->owner, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the worker's owner must not read files on the server"),
				 errhint("Grant it the role pg_read_server_files.")));
	headers = flo_secret_read(spec->group, spec->worker, "headers");
	auth = flo_secret_read(spec->group, spec->worker, "auth");
	if (opened)
		flo_transaction_end(caller);
	MemoryContextSwitchTo(context);
	if (headers != NULL)
		flo_headers_parse(&result, headers);
	if (spec->options.headers_file != NULL)
		flo_headers_read_file(&result, spec->options.headers_file);
	if (auth != NULL)
		add_credentials(&result, auth);
	MemoryContextSwitchTo(old);
	if (client->config_context != NULL)
		MemoryContextDelete(client->config_context);
	client->config_context = context;
	client->headers = result;
}

static void
out_of_memory(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY),
			 errmsg("out of memory"),
			 errdetail("Failed in the HTTP library.")));
}

static FloHttpLine *
open_line(FloSearchClient *client)
{
	FloHttpLine *line = client->functions->open_line(client->http, client->url,
													 (long) client->spec->options.timeout,
													 ANSWER_LIMIT);

	if (line == NULL)
		out_of_memory();
	return line;
}

FloSearchClient *
flo_search_client_open(MemoryContext context, const FloWorkerSpec *spec, const FloSinkHost *host)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	FloSearchClient *client = palloc0(sizeof(FloSearchClient));
	int			len;

	client->spec = spec;
	client->host = host;
	client->context = context;
	client->turn = AllocSetContextCreate(context, "pg_flo search request", ALLOCSET_DEFAULT_SIZES);
	client->url = pstrdup(spec->options.url);
	for (len = strlen(client->url); len > 0 && client->url[len - 1] == '/'; len--)
		client->url[len - 1] = '\0';
	client->shown = flo_url_shown(client->url);
	client->functions = flo_http_load();
	client->http = client->functions->open();
	if (client->http == NULL)
		out_of_memory();
	client->asking = open_line(client);
	client->posting = open_line(client);
	flo_search_client_configure(client);
	MemoryContextSwitchTo(old);
	return client;
}

/* --- failures ------------------------------------------------------------ */

const char *
flo_search_hint(const FloHttpResult *result)
{
	switch (result->status)
	{
		case 401:
		case 403:
		case 407:
			return "Check the worker's option auth, and what its user may do with the index.";
		case 404:
		case 405:
			return "Check the URL: it has to be that of OpenSearch or Elasticsearch itself.";
		case 413:
			return "Lower the worker's option batch_bytes, or raise http.max_content_length there.";
		case 429:
			return "The service is busy: give it more memory or processors, or lower the worker's option batch_bytes.";
	}
	if (result->status >= 400)
		return "Look into the log of the search service.";
	return flo_http_hint(result);
}

bool
flo_search_may_pass(const FloHttpResult *result)
{
	int			status = result->status;

	return status < 200 || (status >= 300 && status <= 399) || status == 401 || status == 403 ||
		status == 404 || status == 405 || status == 407 || status == 408 || status == 429 ||
		status >= 500;
}

bool
flo_search_show(FloSearchClient *client)
{
	if (client->attempts == 0)
	{
		if (client->waiting)
			flo_state_set(FLO_STATE_STREAMING, NULL);
		client->waiting = false;
		return false;
	}
	client->waiting = true;
	flo_state_set(FLO_STATE_WAITING, "for search service \"%s\": %.120s; attempt %d, retry in %ld s",
				  client->shown, client->error, client->attempts,
				  (flo_clock_left(client->next_attempt) + 999) / 1000);
	return true;
}

void
flo_search_failed(FloSearchClient *client, const char *error, const char *hint, int64 retry_after)
{
	FloFailure	failure = {.sqlstate = ERRCODE_CONNECTION_FAILURE,.hint = hint};
	char		described[1024];

	strlcpy(client->error, error, sizeof(client->error));
	client->attempts++;
	client->next_attempt = flo_clock_in(flo_http_pause(client->attempts, retry_after));
	snprintf(described, sizeof(described), "search service \"%s\" did not take a request: %s",
			 client->shown, client->error);
	failure.message = described;
	failure.described = described;
	flo_search_show(client);
	flo_state_retry_failure(FLO_RETRIED_ENDPOINT, &failure);
}

void
flo_search_succeeded(FloSearchClient *client)
{
	if (client->attempts > 0)
	{
		client->attempts = 0;
		client->error[0] = '\0';
		flo_search_show(client);
	}
	flo_state_recovered(FLO_RETRIED_ENDPOINT);
}

/* --- requests ------------------------------------------------------------ */

static void
send_request(FloSearchClient *client, FloHttpLine *line, const char *method, const char *path,
			 const char *body, size_t len)
{
	MemoryContext old = MemoryContextSwitchTo(client->turn);
	FloHttpRequest request = {.method = method,.body = body,.len = len};

	request.url = psprintf("%s%s", client->url, path);
	request.headers = (const char *const *) client->headers.lines;
	request.nheaders = client->headers.count;
	if (!client->functions->send(line, &request))
		out_of_memory();
	MemoryContextSwitchTo(old);
	MemoryContextReset(client->turn);
}

void
flo_search_post(FloSearchClient *client, const char *path, const char *body, size_t len)
{
	send_request(client, client->posting, "POST", path, body, len);
	client->posted = true;
	client->answered = false;
}

void
flo_search_give_up(FloSearchClient *client)
{
	client->functions->cancel(client->posting);
	client->functions->cancel(client->asking);
	client->posted = client->answered = false;
}

static void
serve(FloSearchClient *client)
{
	if (!flo_clock_passed(client->served_at, SERVE_INTERVAL))
		return;
	client->served_at = flo_clock();
	client->host->serve(client->host->arg);
}

/* True when the answer to what was asked has come */
static bool
take(FloSearchClient *client, FloHttpResult *asked)
{
	FloHttpResult result;
	bool		found = false;

	while (client->functions->take(client->http, &result))
	{
		if (result.line == client->posting)
		{
			client->answer = result;
			client->answered = true;
			client->posted = false;
		}
		else if (asked != NULL)
		{
			*asked = result;
			found = true;
		}
	}
	return found;
}

void
flo_search_wait(FloSearchClient *client, long timeout_ms)
{
	if (!client->answered)
		flo_http_wait(client->functions, client->http, Min(timeout_ms, SERVE_INTERVAL));
	(void) take(client, NULL);
	serve(client);
}

FloSearchAnswer
flo_search_ask(FloSearchClient *client, const char *method, const char *path, const char *body)
{
	FloSearchAnswer answer = {0};
	FloHttpResult result;

	for (;;)
	{
		/* an error may have ended the one before */
		client->functions->cancel(client->asking);
		send_request(client, client->asking, method, path, body, body != NULL ? strlen(body) : 0);
		while (!take(client, &result))
		{
			flo_http_wait(client->functions, client->http, SERVE_INTERVAL);
			serve(client);
		}
		/* the caller knows what a 404 says of an index */
		if (!flo_search_may_pass(&result) || result.status == 404)
			break;
		flo_http_describe_failure(&result, &client->headers, answer.error,
								  sizeof(answer.error));
		flo_search_failed(client, answer.error, flo_search_hint(&result), result.retry_after);
		while (flo_clock_left(client->next_attempt) > 0)
		{
			flo_http_wait(client->functions, client->http,
						  Min(flo_clock_left(client->next_attempt), SERVE_INTERVAL));
			(void) take(client, NULL);
			flo_search_show(client);
			serve(client);
		}
	}
	flo_search_succeeded(client);
	flo_http_describe_failure(&result, &client->headers, answer.error, sizeof(answer.error));
	answer.status = result.status;
	answer.cut = result.cut;
	answer.body = flo_json_part(result.body, (int) result.len);
	return answer;
}

void
flo_search_refused(FloSearchClient *client, const FloSearchAnswer *answer, const char *what)
{
	FloHttpResult result = {.status = answer->status};

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("search service \"%s\" does not %s: %s", client->shown, what,
					answer->cut ? "the answer is too long" : answer->error),
			 errhint("%s", flo_search_hint(&result))));
}
