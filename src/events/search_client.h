/*
 * search_client.h
 *		A search service, OpenSearch or Elasticsearch, over HTTP.
 *
 * There are two lines: one for what has to be known before anything goes on, and one for
 * documents, which are on their way meanwhile.
 */
#ifndef FLO_SEARCH_CLIENT_H
#define FLO_SEARCH_CLIENT_H

#include "events/headers.h"
#include "events/http.h"
#include "events/json_scan.h"
#include "sink/sink.h"

typedef struct FloSearchClient
{
	const FloWorkerSpec *spec;
	const FloSinkHost *host;
	MemoryContext context;
	MemoryContext turn;			/* of a request */
	const FloHttpFunctions *functions;
	FloHttp    *http;
	char	   *url;			/* without a slash at its end */
	char	   *shown;

	/* configuration */
	MemoryContext config_context;
	FloHeaders	headers;

	FloHttpLine *asking;
	FloHttpLine *posting;
	bool		posted;			/* a request with documents is under way */
	bool		answered;		/* it is over: "answer" */
	FloHttpResult answer;

	/* how it goes with the service */
	int			attempts;		/* that have failed since it last went well */
	FloClock	next_attempt;
	char		error[512];
	bool		waiting;		/* as flo.status says */
	FloClock	served_at;
} FloSearchClient;

extern FloSearchClient *flo_search_client_open(MemoryContext context, const FloWorkerSpec *spec,
											   const FloSinkHost *host);

/* Read secrets anew; outside of transactions, or in one */
extern void flo_search_client_configure(FloSearchClient *client);

/* What the service has answered */
typedef struct FloSearchAnswer
{
	int			status;			/* 2xx or 4xx */
	bool		cut;			/* it was too long */
	FloJsonPart body;			/* until the next request of the kind */
	char		error[512];		/* of 4xx, or "" */
} FloSearchAnswer;

/*
 * Ask, and wait for the answer.  As long as the service cannot be reached, is busy
 * or does not let us in, that is tried again.  "body" may be NULL.
 */
extern FloSearchAnswer flo_search_ask(FloSearchClient *client, const char *method,
									  const char *path, const char *body);

/* Raise an error: "what" could not be done */
pg_noreturn extern void flo_search_refused(FloSearchClient *client, const FloSearchAnswer *answer,
										   const char *what);

/* Send documents; the body stays as it is until answered */
extern void flo_search_post(FloSearchClient *client, const char *path, const char *body,
							size_t len);
extern void flo_search_give_up(FloSearchClient *client);

/* Let everything proceed for up to so long, and see to what is to be done once a second */
extern void flo_search_wait(FloSearchClient *client, long timeout_ms);

/* Is the failure one that another attempt may not meet, whatever is sent? */
extern bool flo_search_may_pass(const FloHttpResult *result);

/* Note a failure that is tried again after a pause, or that it went well */
extern void flo_search_failed(FloSearchClient *client, const char *error, const char *hint,
							  int64 retry_after);
extern void flo_search_succeeded(FloSearchClient *client);

/* What is to be done about a failure; may be NULL */
extern const char *flo_search_hint(const FloHttpResult *result);

/* For flo.status, while something fails; true when it does */
extern bool flo_search_show(FloSearchClient *client);

#endif
