/*
 * target_hook.c
 *		URLs and headers of webhooks.
 *
 * A URL that passes must mean the same to libcurl, else a prefix in
 * pg_flo.webhook_allow could be got around; headers must stay in their line.
 */
#include "postgres.h"

#include <curl/curl.h>

/* for its static functions; the Makefile leaves it out of the module's own list */
#include "conf/endpoint.c"

#include "core/settings.h"
#include "events/headers.h"
#include "mb/pg_wchar.h"

#include "fuzz.h"

static char *
part_of(CURLU *url, CURLUPart part)
{
	char	   *text = NULL;
	char	   *copy;

	if (curl_url_get(url, part, &text,
					 part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) != CURLUE_OK)
		return NULL;
	copy = pstrdup(text);
	curl_free(text);
	return copy;
}

/* The host as libcurl writes it, who has several ways to write an address */
static char *
host_of(const char *text)
{
	CURLU	   *url = curl_url();
	char	   *host = NULL;

	if (curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
		host = part_of(url, CURLUPART_HOST);
	curl_url_cleanup(url);
	return host;
}

/* What libcurl refuses is sent nowhere */
static void
check_as_curl_sees_it(const char *text)
{
	CURLU	   *curl;
	Url			url;
	char	   *alone;

	if (parse_url(text, &url) != NULL)
		return;
	curl = curl_url();
	if (curl_url_set(curl, CURLUPART_URL, text, 0) == CURLUE_OK)
	{
		alone = psprintf("%s://%.*s", url.secure ? "https" : "http", url.host_len, url.host);
		fuzz_check(strcmp(part_of(curl, CURLUPART_SCHEME), url.secure ? "https" : "http") == 0);
		fuzz_check(atoi(part_of(curl, CURLUPART_PORT)) == url.port);
		fuzz_check(host_of(alone) != NULL &&
				   strcmp(part_of(curl, CURLUPART_HOST), host_of(alone)) == 0);
		fuzz_check(part_of(curl, CURLUPART_USER) == NULL &&
				   part_of(curl, CURLUPART_PASSWORD) == NULL);
		fuzz_check(part_of(curl, CURLUPART_FRAGMENT) == NULL);
		fuzz_check(url.path[0] != '/' ||
				   strncmp(part_of(curl, CURLUPART_PATH), url.path, strcspn(url.path, "?")) == 0);
	}
	curl_url_cleanup(curl);
}

static void
try_allowed(const char *list, const char *url)
{
	char	   *saved = flo_webhook_allow;
	MemoryContext context = CurrentMemoryContext;

	flo_webhook_allow = unconstify(char *, list);
	PG_TRY();
	{
		flo_url_check_allowed(url, InvalidOid);
	}
	PG_CATCH();
	{
		fuzz_judge_error(context);
	}
	PG_END_TRY();
	flo_webhook_allow = saved;
}

static void
try_headers(const char *text)
{
	FloHeaders	headers = {0};

	flo_headers_parse(&headers, text);
	for (int i = 0; i < headers.count; i++)
		fuzz_check(strpbrk(headers.lines[i], "\r\n") == NULL);
}

void
fuzz_hook(const char *data, size_t len)
{
	char	   *first = fuzz_next_text(&data, &len);
	char	   *second = fuzz_next_text(&data, &len);

	if (first == NULL)
		return;
	check_as_curl_sees_it(first);
	(void) flo_header_problem(first, strlen(first), second != NULL ? second : "",
							  second != NULL ? strlen(second) : 0);
	if (second != NULL)
		try_allowed(first, second);
	if (pg_verify_mbstr(GetDatabaseEncoding(), first, strlen(first), true))
		try_headers(first);
}
