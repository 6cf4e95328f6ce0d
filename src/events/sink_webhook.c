/*
 * sink_webhook.c
 *		Sends events to HTTP endpoints.
 *
 * Promises: each endpoint gets its events in order, the next only after the
 * one before was taken or set aside, and at least once; an event that is sent
 * again has the same Id, the request's idempotency key.  No answer holds us up.
 *
 * An endpoint has one request in flight and gathers events for the next
 * meanwhile.  When that is full too, everything waits for it: endpoints of one
 * worker are never further apart than two requests.
 *
 * What has been delivered to all endpoints is recorded at the end of a batch, and
 * within one every CHECKPOINT_INTERVAL, as the place of the newest such event;
 * what is not beyond it is passed over after a restart.
 *
 * Awkward cases: an endpoint that fails is tried again after a growing pause,
 * without end (on_error retry), or until max_attempts; then the worker fails
 * (stop), or the events become dead letters.  While it waits, subscriptions
 * may change: what was to go to an endpoint that is no more is dropped.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/endpoint.h"
#include "core/clock.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "events/event.h"
#include "events/http.h"
#include "events/letters.h"
#include "events/webhook_body.h"
#include "events/webhook_config.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define SERVE_INTERVAL 1000		/* ms */
#define CHECKPOINT_INTERVAL 1000	/* ms */

/* A request is sent when it has so many bytes, however few events those are */
#define FULL_BODY (1024 * 1024)

typedef struct Endpoint
{
	char	   *url;
	char	   *shown;			/* what of it may be shown */
	FloHookTarget *target;		/* of the configuration in force */
	FloHttpLine *line;
	FloWebhookBody *sending;	/* in flight or to be tried again, unless
								 * empty */
	FloWebhookBody *gathering;
	XLogRecPtr	not_before;		/* transaction in which it was configured: not
								 * for it */

	bool		in_flight;
	bool		failing;		/* it has not taken anything since it failed */
	int			attempts;
	TimestampTz first_attempt;
	TimestampTz last_attempt;
	FloClock	next_attempt;
	char		error[512];
} Endpoint;

typedef struct FloWebhookSink
{
	FloSink		base;
	FloWorkerSpec spec;
	FloCounters *counters;
	const FloSinkHost *host;
	MemoryContext context;
	ResourceOwner owner;
	FloEventWriter *writer;
	StringInfoData event;
	StringInfoData headers;		/* of it, in lines; for requests of one event */

	/* configuration */
	MemoryContext config_context;
	FloHookConfig *config;
	bool		stale;
	uint64		reloads_seen;

	/* requests */
	const FloHttpFunctions *functions;
	FloHttp    *http;
	List	   *endpoints;		/* of Endpoint * */
	bool		running;		/* it has been opened */
	bool		waiting;		/* as flo.status says */

	/* places */
	FloPlace	done;			/* delivered by a former process: not again */
	FloPlace	seen;			/* newest change handed to us */
	FloPlace	saved;
	FloClock	saved_at;
	FloClock	served_at;

	FloLetters	letters;
} FloWebhookSink;

/* --- places -------------------------------------------------------------- */

/* Everything up to here has been delivered to all endpoints */
static FloPlace
delivered(const FloWebhookSink *sink)
{
	FloPlace	result = sink->seen;
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		const Endpoint *endpoint = lfirst(lc);
		const FloWebhookBody *oldest = endpoint->sending->count > 0 ? endpoint->sending :
			endpoint->gathering;
		FloPlace	before;

		if (oldest->count == 0)
			continue;
		before = oldest->marks[0].place;
		before.ordinal--;
		if (flo_place_is_beyond(result, before))
			result = before;
	}
	return flo_place_is_beyond(sink->done, result) ? sink->done : result;
}

static inline bool
sends_arrays(const FloWebhookSink *sink)
{
	return sink->spec.options.events_per_request > 1;
}

static bool
body_is_full(const FloWebhookSink *sink, const FloWebhookBody *body)
{
	return body->count >= sink->spec.options.events_per_request ||
		body->text.len >= FULL_BODY;
}

/* --- endpoints ----------------------------------------------------------- */

static Endpoint *
endpoint_create(FloWebhookSink *sink, FloHookTarget *target)
{
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	Endpoint   *endpoint = palloc0(sizeof(Endpoint));

	endpoint->url = pstrdup(target->url);
	endpoint->shown = flo_url_shown(target->url);
	MemoryContextSwitchTo(old);
	endpoint->target = target;
	endpoint->sending = flo_webhook_body_create(sink->context);
	endpoint->gathering = flo_webhook_body_create(sink->context);
	endpoint->line = sink->functions->open_line(sink->http, target->url,
												(long) sink->spec.options.timeout, 0);
	if (endpoint->line == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed in the HTTP library.")));
	return endpoint;
}

static void
endpoint_free(FloWebhookSink *sink, Endpoint *endpoint)
{
	sink->functions->close_line(endpoint->line);
	flo_webhook_body_free(endpoint->sending);
	flo_webhook_body_free(endpoint->gathering);
	pfree(endpoint->url);
	pfree(endpoint->shown);
	pfree(endpoint);
}

/* Those of the new configuration; what is in work at one of them stays so */
static void
adopt_targets(FloWebhookSink *sink)
{
	List	   *former = sink->endpoints;
	List	   *endpoints = NIL;
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	ListCell   *lc;
	ListCell   *other;

	foreach(lc, sink->config->targets)
	{
		FloHookTarget *target = lfirst(lc);
		Endpoint   *endpoint = NULL;

		foreach(other, former)
		{
			if (strcmp(((Endpoint *) lfirst(other))->url, target->url) == 0)
				endpoint = lfirst(other);
		}
		if (endpoint == NULL)
		{
			endpoint = endpoint_create(sink, target);
			/* while running, from the next transaction on */
			endpoint->not_before = sink->running ? sink->seen.final_lsn : InvalidXLogRecPtr;
		}
		else
			former = list_delete_ptr(former, endpoint);
		endpoint->target = target;
		endpoints = lappend(endpoints, endpoint);
	}
	foreach(lc, former)
	{
		Endpoint   *endpoint = lfirst(lc);

		sink->counters->filtered += endpoint->sending->count + endpoint->gathering->count;
		endpoint_free(sink, endpoint);
	}
	list_free(former);
	sink->endpoints = endpoints;
	MemoryContextSwitchTo(old);
}

/* Between requests: take in what has changed */
static void
reload(FloWebhookSink *sink)
{
	MemoryContext context = AllocSetContextCreate(sink->context, "pg_flo webhook configuration",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext former = sink->config_context;
	MemoryContext old = MemoryContextSwitchTo(context);

	sink->stale = false;
	sink->reloads_seen = flo_reload_count;
	sink->config = flo_hook_config(&sink->spec);
	sink->config_context = context;
	adopt_targets(sink);
	MemoryContextSwitchTo(old);
	if (former != NULL)
		MemoryContextDelete(former);
}

/* --- requests ------------------------------------------------------------ */

static void
post(FloWebhookSink *sink, FloHttpLine *line, const FloWebhookBody *body)
{
	const FloHookConfig *config = sink->config;
	MemoryContext old = MemoryContextSwitchTo(body->context);
	const char *array_type = flo_event_array_type(sink->writer);
	List	   *lines = flo_webhook_body_headers(body);
	const char **headers = palloc(sizeof(char *) *
								  (config->headers.count + list_length(lines) + 3));
	int			count = config->headers.count;
	FloHttpRequest request = {.body = body->text.data,.len = body->text.len,.headers = headers};
	ListCell   *lc;

	if (count > 0)
		memcpy(headers, config->headers.lines, sizeof(char *) * count);
	foreach(lc, lines)
		headers[count++] = lfirst(lc);
	if (body->text.data[0] == '[' && array_type != NULL)
		headers[count++] = psprintf("Content-Type: %s", array_type);
	if (body->count == 1)
		headers[count++] = psprintf("Idempotency-Key: %s", body->marks[0].id);
	else
		headers[count++] = psprintf("Idempotency-Key: %s..%s", body->marks[0].id,
									body->marks[body->count - 1].id);
	if (config->secret != NULL)
		headers[count++] = flo_hook_signature(config, sink->owner, body->text.data, body->text.len);
	request.nheaders = count;
	if (!sink->functions->send(line, &request))
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed in the HTTP library.")));
	MemoryContextSwitchTo(old);
}

/* --- dead letters -------------------------------------------------------- */

static void
set_aside(FloWebhookSink *sink, Endpoint *endpoint)
{
	const FloWebhookBody *body = endpoint->sending;

	for (int i = 0; i < body->count; i++)
	{
		const FloMark *mark = &body->marks[i];
		FloDeadLetter letter = {.url = endpoint->url,.event_id = mark->id,.error = endpoint->error};

		letter.event = pnstrdup(body->text.data + mark->offset, mark->len);
		letter.headers = mark->headers;
		letter.lsn = mark->place.final_lsn;
		letter.attempts = endpoint->attempts;
		letter.first_attempt = endpoint->first_attempt;
		letter.last_attempt = endpoint->last_attempt;
		flo_letters_add(&sink->letters, &letter);
		pfree(letter.event);
	}
	ereport(LOG,
			(errmsg("%d events for endpoint \"%s\" were set aside as dead letters: %s",
					body->count, endpoint->shown, endpoint->error)));
}

static void
checkpoint(FloWebhookSink *sink)
{
	sink->saved_at = flo_clock();
	if (!flo_place_is_beyond(delivered(sink), sink->saved) && sink->letters.pending == NIL)
		return;
	sink->host->checkpoint(sink->host->arg);
}

/* --- what is said of it -------------------------------------------------- */

/* For flo.status: the endpoint that has failed most often */
static void
show_waiting(FloWebhookSink *sink)
{
	Endpoint   *worst = NULL;
	ListCell   *lc;
	long		left;

	foreach(lc, sink->endpoints)
	{
		Endpoint   *endpoint = lfirst(lc);

		if (endpoint->attempts > (worst ? worst->attempts : 0))
			worst = endpoint;
	}
	if (worst == NULL)
	{
		if (sink->waiting)
			flo_state_set(FLO_STATE_STREAMING, NULL);
		sink->waiting = false;
		return;
	}
	sink->waiting = true;
	left = flo_clock_left(worst->next_attempt);
	if (worst->in_flight)
		flo_state_set(FLO_STATE_WAITING, "for endpoint \"%s\"%s: %.80s; attempt %d is under way",
					  worst->shown, flo_webhook_body_table(worst->sending), worst->error,
					  worst->attempts + 1);
	else
		flo_state_set(FLO_STATE_WAITING, "for endpoint \"%s\"%s: %.80s; attempt %d, retry in %ld s",
					  worst->shown, flo_webhook_body_table(worst->sending), worst->error,
					  worst->attempts, (left + 999) / 1000);
}

/* --- results ------------------------------------------------------------- */

/* The request is off our hands */
static void
end_delivery(Endpoint *endpoint)
{
	flo_webhook_body_clear(endpoint->sending);
	endpoint->attempts = 0;
	endpoint->error[0] = '\0';
}

/* Each attempt counts; the answer's own words may be others each time */
static void
note_failure(FloWebhookSink *sink, Endpoint *endpoint, const FloHttpResult *result)
{
	FloFailure	failure = {.sqlstate = ERRCODE_CONNECTION_FAILURE,.hint = flo_http_hint(result)};
	char		message[256];
	char		described[1024];

	snprintf(message, sizeof(message), "%d %s %s", result->status, result->error, endpoint->shown);
	snprintf(described, sizeof(described), "endpoint \"%s\" did not take an event: %s",
			 endpoint->shown, endpoint->error);
	failure.message = message;
	failure.described = described;
	endpoint->failing = true;
	show_waiting(sink);
	flo_state_retry_failure(FLO_RETRIED_ENDPOINT, &failure);
}

/* It may have been a former process that failed */
static void
note_success(FloWebhookSink *sink, Endpoint *endpoint)
{
	ListCell   *lc;

	endpoint->failing = false;
	foreach(lc, sink->endpoints)
	{
		if (((Endpoint *) lfirst(lc))->failing)
			return;
	}
	flo_state_recovered(FLO_RETRIED_ENDPOINT);
}

static void
delivery_failed(FloWebhookSink *sink, Endpoint *endpoint, const FloHttpResult *result)
{
	FloOnError	on_error = sink->spec.options.on_error;
	const FloMark *first;

	if (on_error == FLO_ON_ERROR_RETRY || endpoint->attempts < sink->spec.options.max_attempts)
	{
		int64		pause = flo_http_pause(endpoint->attempts, result->retry_after);

		endpoint->next_attempt = flo_clock_in(pause);
		note_failure(sink, endpoint, result);
		return;
	}
	if (on_error == FLO_ON_ERROR_DEAD_LETTER)
	{
		set_aside(sink, endpoint);
		end_delivery(endpoint);
		return;
	}
	checkpoint(sink);
	first = &endpoint->sending->marks[0];
	flo_error_context.commit_lsn = first->place.final_lsn;
	flo_error_context.schema = first->schema;
	flo_error_context.table = first->table;
	flo_error_context_source(first->relation, first->schema, first->table);
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("endpoint \"%s\" did not take an event in %d attempts: %s",
					endpoint->shown, endpoint->attempts, endpoint->error)));
}

static Endpoint *
endpoint_of_line(const FloWebhookSink *sink, const FloHttpLine *line)
{
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		if (((Endpoint *) lfirst(lc))->line == line)
			return lfirst(lc);
	}
	return NULL;
}

static void
take_results(FloWebhookSink *sink)
{
	FloHttpResult result;

	while (sink->functions->take(sink->http, &result))
	{
		Endpoint   *endpoint = endpoint_of_line(sink, result.line);

		if (endpoint == NULL)
			continue;
		endpoint->in_flight = false;
		endpoint->attempts++;
		endpoint->last_attempt = GetCurrentTimestamp();
		flo_http_describe_failure(&result, &sink->config->headers, endpoint->error,
								  sizeof(endpoint->error));
		if (endpoint->error[0] != '\0')
		{
			delivery_failed(sink, endpoint, &result);
			continue;
		}
		end_delivery(endpoint);
		note_success(sink, endpoint);
	}
}

/* --- driving ------------------------------------------------------------- */

/* Begin what can be begun; "all": also requests that are not full */
static void
start_requests(FloWebhookSink *sink, bool all)
{
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		Endpoint   *endpoint = lfirst(lc);

		if (endpoint->in_flight)
			continue;
		if (endpoint->sending->count == 0 && endpoint->gathering->count > 0 &&
			(all || body_is_full(sink, endpoint->gathering)))
		{
			FloWebhookBody *empty = endpoint->sending;

			endpoint->sending = endpoint->gathering;
			endpoint->gathering = empty;
		}
		if (endpoint->sending->count == 0 ||
			(endpoint->attempts > 0 && flo_clock_left(endpoint->next_attempt) > 0))
			continue;
		if (endpoint->attempts == 0)
			endpoint->first_attempt = GetCurrentTimestamp();
		post(sink, endpoint->line, endpoint->sending);
		endpoint->in_flight = true;
	}
}

/* How long until an endpoint is to be tried again */
static long
next_attempt_in(const FloWebhookSink *sink, long timeout_ms)
{
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		const Endpoint *endpoint = lfirst(lc);

		if (!endpoint->in_flight && endpoint->sending->count > 0)
			timeout_ms = Min(timeout_ms, flo_clock_left(endpoint->next_attempt));
	}
	return timeout_ms;
}

/* What is to be done once a second however long we wait */
static void
serve(FloWebhookSink *sink)
{
	if (!flo_clock_passed(sink->served_at, SERVE_INTERVAL))
		return;
	sink->served_at = flo_clock();
	show_waiting(sink);
	if (flo_clock_passed(sink->saved_at, CHECKPOINT_INTERVAL))
		checkpoint(sink);
	sink->host->serve(sink->host->arg);
	if (sink->stale)
		reload(sink);
}

/* One turn: wait for something to happen, and see to it */
static void
drive(FloWebhookSink *sink, long timeout_ms)
{
	flo_http_wait(sink->functions, sink->http, next_attempt_in(sink, timeout_ms));
	take_results(sink);
	if (list_length(sink->letters.pending) >= FLO_LETTERS_ROOM)
		checkpoint(sink);
	serve(sink);
}

static void
deliver_all(FloWebhookSink *sink)
{
	for (;;)
	{
		bool		pending = false;
		ListCell   *lc;

		start_requests(sink, true);
		foreach(lc, sink->endpoints)
			pending |= ((Endpoint *) lfirst(lc))->sending->count > 0;
		if (!pending)
			break;
		drive(sink, SERVE_INTERVAL);
	}
	show_waiting(sink);
}

/* --- letters sent again -------------------------------------------------- */

/* One request, and its result; "error" is empty when it was taken */
static void
send_once(FloWebhookSink *sink, const FloDeadLetter *letter, char *error, size_t size)
{
	FloHookTarget target = {.url = letter->url};
	Endpoint   *endpoint = endpoint_create(sink, &target);
	FloPlace	nowhere = {0};
	FloHttpResult result;
	bool		done = false;

	flo_webhook_body_add(endpoint->sending, sends_arrays(sink) && letter->headers == NULL,
						 letter->event, strlen(letter->event), letter->event_id, nowhere, NULL);
	flo_webhook_body_add_headers(endpoint->sending, letter->headers);
	post(sink, endpoint->line, endpoint->sending);
	while (!done)
	{
		flo_http_wait(sink->functions, sink->http, SERVE_INTERVAL);
		while (sink->functions->take(sink->http, &result))
			done |= result.line == endpoint->line;
		if (!done)
			serve(sink);
	}
	flo_http_describe_failure(&result, &sink->config->headers, error, size);
	endpoint_free(sink, endpoint);
}

/* What takes a letter takes events again, though there may be none to be sent to it */
static void
note_taken(FloWebhookSink *sink, const char *url)
{
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		if (strcmp(((Endpoint *) lfirst(lc))->url, url) == 0)
			note_success(sink, lfirst(lc));
	}
}

/* Between batches, so no request is under way */
static void
redrive(void *arg, const FloDeadLetter *letter, char *error, size_t size)
{
	FloWebhookSink *sink = arg;

	send_once(sink, letter, error, size);
	if (error[0] == '\0')
		note_taken(sink, letter->url);
}

static bool
redrive_one(FloWebhookSink *sink)
{
	return flo_letters_redrive(&sink->letters, redrive, sink);
}

/* --- the sink ------------------------------------------------------------ */

static FloSink *
webhook_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
			 const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo webhook sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloWebhookSink *sink = palloc0(sizeof(FloWebhookSink));

	sink->base.ops = &flo_sink_webhook;
	sink->spec = *spec;
	sink->counters = &tally->open;
	sink->host = host;
	sink->context = context;
	sink->owner = ResourceOwnerCreate(NULL, "pg_flo webhook sink");
	flo_letters_init(&sink->letters, &sink->spec, context);
	sink->writer = flo_event_writer_open(context, spec, host);
	initStringInfo(&sink->event);
	initStringInfo(&sink->headers);
	if (state != NULL)
		sink->seen = sink->saved = sink->done = flo_place_parse(state);
	sink->functions = flo_http_load();
	sink->http = sink->functions->open();
	if (sink->http == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed in the HTTP library.")));
	reload(sink);
	sink->running = true;
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static void
webhook_begin(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;

	if (!IsTransactionState() && (sink->stale || sink->reloads_seen != flo_reload_count))
		reload(sink);
}

/* Hand an event to an endpoint, waiting for room */
static void
offer(FloWebhookSink *sink, const char *url, FloPlace place, const FloRelation *relation)
{
	for (;;)
	{
		Endpoint   *endpoint = NULL;
		ListCell   *lc;

		/* it may go away while we wait */
		foreach(lc, sink->endpoints)
		{
			if (strcmp(((Endpoint *) lfirst(lc))->url, url) == 0)
				endpoint = lfirst(lc);
		}
		if (endpoint == NULL)
			return;
		if (!body_is_full(sink, endpoint->gathering))
		{
			flo_webhook_body_add(endpoint->gathering, sends_arrays(sink), sink->event.data,
								 sink->event.len, flo_event_id(sink->writer), place, relation);
			if (!sends_arrays(sink))
				flo_webhook_body_add_headers(endpoint->gathering, sink->headers.data);
			start_requests(sink, false);
			return;
		}
		start_requests(sink, false);
		if (body_is_full(sink, endpoint->gathering))
			drive(sink, SERVE_INTERVAL);
	}
}

/* URLs of the endpoints that want this event; in the current memory context */
static List *
who_wants(const FloWebhookSink *sink, const FloTransaction *txn, const FloChange *change,
		  const FloRelation *relation)
{
	const char *type = flo_event_type_name(flo_event_type_of(change));
	List	   *urls = NIL;
	ListCell   *lc;

	foreach(lc, sink->endpoints)
	{
		const Endpoint *endpoint = lfirst(lc);

		if ((XLogRecPtrIsInvalid(endpoint->not_before) || txn->final_lsn > endpoint->not_before) &&
			flo_hook_wants(endpoint->target, type, relation->schema, relation->name))
			urls = lappend(urls, pstrdup(endpoint->url));
	}
	return urls;
}

/* Those of the event at hand */
static void
note_headers(FloWebhookSink *sink)
{
	const FloEventHeader *headers;
	int			count = flo_event_headers(sink->writer, &headers);

	resetStringInfo(&sink->headers);
	for (int i = 0; i < count; i++)
		appendStringInfo(&sink->headers, "%s: %s\n", headers[i].name, headers[i].value);
}

static void
webhook_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;
	FloPlace	place = {txn->final_lsn, txn->ordinal};
	bool		wanted = false;
	bool		already = txn->copy_id == NULL && !flo_place_is_beyond(place, sink->done);
	int			count = flo_event_count(sink->writer, change);

	for (int i = 0; i < count; i++)
	{
		const FloRelation *relation = change->op == FLO_OP_TRUNCATE ?
			change->truncated[i].relation : change->relation;
		List	   *urls = who_wants(sink, txn, change, relation);
		ListCell   *lc;

		wanted |= urls != NIL;
		/* by an attempt that was cut short; it counts in this one */
		if (urls == NIL || already)
			continue;
		resetStringInfo(&sink->event);
		flo_event_append(sink->writer, &sink->event, txn, change, i);
		if (!sends_arrays(sink))
			note_headers(sink);
		foreach(lc, urls)
			offer(sink, lfirst(lc), place, relation);
		list_free_deep(urls);
	}
	if (wanted)
		flo_event_tally(sink->counters, change);
	else
		sink->counters->filtered++;
	if (already)
		return;
	sink->seen = place;
	serve(sink);
}

static void
webhook_finish(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;

	deliver_all(sink);
	/* the rows of a copy come within a transaction */
	if (sink->letters.wanted && sink->letters.pending == NIL && !IsTransactionState())
		sink->letters.wanted = redrive_one(sink);
}

/* Half a transaction is to come again: of it, what was delivered is passed over */
static void
webhook_abort(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;
	ListCell   *lc;

	sink->seen = sink->done = delivered(sink);
	foreach(lc, sink->endpoints)
	{
		Endpoint   *endpoint = lfirst(lc);

		sink->functions->cancel(endpoint->line);
		endpoint->in_flight = false;
		flo_webhook_body_clear(endpoint->gathering);
		end_delivery(endpoint);
	}
}

static void
webhook_invalidate(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;

	sink->stale = true;
	sink->letters.wanted = true;
	flo_event_forget(sink->writer);
}

static void
webhook_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloWebhookSink *) base)->writer, relation);
}

static char *
webhook_save(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;
	FloPlace	place = delivered(sink);

	flo_letters_write(&sink->letters);
	sink->saved = place;
	return flo_place_save(place);
}

static void
webhook_idle(FloSink *base)
{
	FloWebhookSink *sink = (FloWebhookSink *) base;

	if (sink->stale || sink->reloads_seen != flo_reload_count)
		reload(sink);
	while (sink->letters.wanted)
		sink->letters.wanted = redrive_one(sink);
}

const FloSinkOps flo_sink_webhook = {
	.transactional = false,
	.open = webhook_open,
	.begin = webhook_begin,
	.change = webhook_change,
	.finish = webhook_finish,
	.abort = webhook_abort,
	.invalidate = webhook_invalidate,
	.forget = webhook_forget,
	.save = webhook_save,
	.idle = webhook_idle,
};
