/*
 * endpoint.c
 *		What workers that send events may be told: URLs and headers, and brokers
 *		of Kafka.
 *
 * Promises: a URL that passes is understood by every client in the same way,
 * so that a prefix in pg_flo.webhook_allow cannot be got around: scheme and
 * host are compared as a whole and the path by its segments; user names,
 * fragments, dot segments, backslashes and anything outside printable ASCII
 * are refused.  A header cannot end the line it stands in, nor say what the
 * worker itself has to say.
 */
#include "postgres.h"

#include <ctype.h>

#include "conf/endpoint.h"
#include "core/roles.h"
#include "core/settings.h"
#include "miscadmin.h"

#define HEADER_VALUE_MAX 8000

/* Bytes of a URL that messages show at most */
#define SHOWN_MAX 120

/* A URL in its parts; they point into it */
typedef struct Url
{
	bool		secure;
	const char *host;
	int			host_len;
	int			port;
	const char *path;			/* up to the end; "" or begins with / or ? */
} Url;

static bool
host_is_valid(const char *host, int len)
{
	if (len > 2 && host[0] == '[' && host[len - 1] == ']')
	{
		for (int i = 1; i < len - 1; i++)
			if (!isxdigit((unsigned char) host[i]) && host[i] != ':' && host[i] != '.')
				return false;
		return true;
	}
	for (int i = 0; i < len; i++)
		if (!isalnum((unsigned char) host[i]) && host[i] != '-' && host[i] != '.' && host[i] != '_')
			return false;
	return len > 0 && host[0] != '.' && host[0] != '-';
}

/* Length of what separates two segments of a path, for whoever decodes it first */
static int
separator_at(const char *at)
{
	return *at == '/' ? 1 :
		pg_strncasecmp(at, "%2f", 3) == 0 || pg_strncasecmp(at, "%5c", 3) == 0 ? 3 : 0;
}

/*
 * Is one of the path's segments "." or "..", perhaps percent-encoded?  Some servers leave
 * out what follows a semicolon.
 */
static bool
has_dot_segment(const char *path)
{
	const char *at = path;

	while (*at != '\0' && *at != '?')
	{
		int			dots = 0;

		at += separator_at(at);
		while (*at == '.' || pg_strncasecmp(at, "%2e", 3) == 0)
		{
			at += *at == '.' ? 1 : 3;
			dots++;
		}
		if ((dots == 1 || dots == 2) &&
			(*at == '\0' || *at == '?' || *at == ';' || separator_at(at) > 0))
			return true;
		while (*at != '\0' && *at != '?' && separator_at(at) == 0)
			at++;
	}
	return false;
}

/* Digits up to the path: the port, or -1 */
static int
parse_port(const char *text, const char **end)
{
	int			port = 0;

	if (!isdigit((unsigned char) *text))
		return -1;
	for (; isdigit((unsigned char) *text); text++)
	{
		port = port * 10 + (*text - '0');
		if (port > 65535)
			return -1;
	}
	*end = text;
	return port > 0 ? port : -1;
}

/* NULL, or what is wrong */
static const char *
parse_url(const char *text, Url *url)
{
	const char *at;

	if (strlen(text) > FLO_URL_MAX)
		return "it is too long";
	for (at = text; *at; at++)
		if (*at <= ' ' || *at > '~' || strchr("\\\"<>^`{|}", *at) != NULL)
			return "it holds a character that must be percent-encoded";

	url->secure = pg_strncasecmp(text, "https://", 8) == 0;
	if (!url->secure && pg_strncasecmp(text, "http://", 7) != 0)
		return "its scheme is not http or https";
	url->host = text + (url->secure ? 8 : 7);
	url->host_len = strcspn(url->host, "/?#");
	if (memchr(url->host, '@', url->host_len) != NULL)
		return "it holds a user name or password";
	if (strchr(url->host, '#') != NULL)
		return "it has a fragment";
	url->path = url->host + url->host_len;
	url->port = url->secure ? 443 : 80;

	if (url->host[0] == '[')
		at = memchr(url->host, ']', url->host_len);
	else
		at = url->host;
	at = at != NULL ? memchr(at, ':', url->host + url->host_len - at) : NULL;
	if (at != NULL)
	{
		const char *end = at;

		url->port = parse_port(at + 1, &end);
		if (url->port < 0 || end != url->path)
			return "its port is not a number between 1 and 65535";
		url->host_len = at - url->host;
	}
	if (!host_is_valid(url->host, url->host_len))
		return "its host is not a name or an address";
	if (has_dot_segment(url->path))
		return "its path holds \".\" or \"..\"";
	return NULL;
}

void
flo_url_check(const char *text)
{
	Url			url;
	const char *problem = parse_url(text, &url);

	/* the URL itself is not repeated: it may hold a password */
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid webhook URL: %s", problem),
				 errhint("An example is \"https://example.com/hook\". Secrets belong into the options headers and secret, or into files.")));
}

char *
flo_url_shown(const char *text)
{
	Url			url;

	if (parse_url(text, &url) != NULL)
		return pstrdup("(not a URL)");
	return psprintf("%.*s%s", (int) Min(url.path - text, SHOWN_MAX), text,
					url.path[0] == '\0' || strcmp(url.path, "/") == 0 ? "" : "/...");
}

/* Does everything below "prefix" include the URL? */
static bool
is_below(const Url *prefix, const Url *url)
{
	size_t		len = strlen(prefix->path);
	const char *path = url->path[0] == '\0' ? "/" : url->path;	/* the same place */

	if (prefix->secure != url->secure || prefix->port != url->port ||
		prefix->host_len != url->host_len ||
		pg_strncasecmp(prefix->host, url->host, url->host_len) != 0)
		return false;
	if (strncmp(prefix->path, path, len) != 0)
		return false;
	return len == 0 || prefix->path[len - 1] == '/' || strchr("/?", path[len]) != NULL;
}

/* The next one of a list, palloc'd; NULL at its end */
static char *
next_of_list(const char **list)
{
	const char *start = *list + strspn(*list, " \t,");
	int			len = strcspn(start, ",");

	*list = start + len;
	while (len > 0 && isspace((unsigned char) start[len - 1]))
		len--;
	return len > 0 ? pnstrdup(start, len) : NULL;
}

/* Does pg_flo.webhook_allow list the URL, which is a valid one? */
static bool
is_allowed(const char *text)
{
	const char *list = flo_webhook_allow;
	Url			url;
	Url			prefix;
	char	   *one;

	if (parse_url(text, &url) != NULL)
		return false;
	while ((one = next_of_list(&list)) != NULL)
		if (parse_url(one, &prefix) == NULL && is_below(&prefix, &url))
			return true;
	return false;
}

void
flo_url_check_allowed(const char *url, Oid role)
{
	if (!superuser_arg(role) && !is_allowed(url))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s must not send events to this URL", flo_role_shown(role)),
				 errhint("Only superusers may choose any URL; for others an administrator lists prefixes in pg_flo.webhook_allow.")));
}

/* --- brokers ------------------------------------------------------------- */

#define KAFKA_PORT 9092

/* Is it host[:port]?  The host points into it. */
static bool
parse_broker(const char *text, Url *broker)
{
	const char *after = text[0] == '[' ? strchr(text, ']') : text;
	const char *colon = after != NULL ? strchr(after, ':') : NULL;
	const char *end = colon;

	broker->host = text;
	broker->host_len = colon != NULL ? colon - text : strlen(text);
	broker->port = colon != NULL ? parse_port(colon + 1, &end) : KAFKA_PORT;
	return broker->port > 0 && (colon == NULL || *end == '\0') &&
		host_is_valid(broker->host, broker->host_len);
}

void
flo_brokers_check(const char *brokers)
{
	const char *list = brokers;
	bool		valid = strlen(brokers) <= FLO_BROKERS_MAX;
	int			count = 0;
	Url			broker;
	char	   *one;

	for (; valid && (one = next_of_list(&list)) != NULL; count++)
		valid = parse_broker(one, &broker);
	if (!valid || count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "brokers"),
				 errhint("The value is a list such as \"kafka1.example.com:9092,kafka2.example.com:9092\".")));
}

static bool
broker_is_allowed(const Url *broker)
{
	const char *list = flo_kafka_allow;
	Url			allowed;
	char	   *one;

	while ((one = next_of_list(&list)) != NULL)
		if (parse_broker(one, &allowed) && allowed.port == broker->port &&
			allowed.host_len == broker->host_len &&
			pg_strncasecmp(allowed.host, broker->host, broker->host_len) == 0)
			return true;
	return false;
}

void
flo_brokers_check_allowed(const char *brokers, Oid role)
{
	const char *list = brokers;
	Url			broker;
	char	   *one;

	if (superuser_arg(role))
		return;
	while ((one = next_of_list(&list)) != NULL)
		if (!parse_broker(one, &broker) || !broker_is_allowed(&broker))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("%s must not send events to broker \"%s\"", flo_role_shown(role), one),
					 errhint("Only superusers may choose any broker; for others an administrator lists them in pg_flo.kafka_allow.")));
}

/* --- headers ------------------------------------------------------------- */

const char *
flo_header_problem(const char *name, int name_len, const char *value, int value_len)
{
	static const char *const reserved[] = {
		"Host", "Content-Length", "Content-Type", "Transfer-Encoding", "Connection", "Expect",
		"Upgrade", "Idempotency-Key", "X-Pg-Flo-Signature"
	};

	if (name_len == 0)
		return "its name is empty";
	for (int i = 0; i < name_len; i++)
		if (!isalnum((unsigned char) name[i]) &&
			(name[i] == '\0' || strchr("!#$%&'*+-.^_`|~", name[i]) == NULL))
			return "its name holds a character that is not allowed there";
	for (int i = 0; i < lengthof(reserved); i++)
		if (strlen(reserved[i]) == name_len && pg_strncasecmp(reserved[i], name, name_len) == 0)
			return "it is set by the worker itself";
	if ((name_len >= 4 && pg_strncasecmp(name, "Flo-", 4) == 0) ||
		(name_len >= 3 && pg_strncasecmp(name, "ce-", 3) == 0))
		return "it begins as those of events do";
	if (value_len > HEADER_VALUE_MAX)
		return "its value is too long";
	for (int i = 0; i < value_len; i++)
		if (((unsigned char) value[i] < ' ' && value[i] != '\t') || value[i] == 0x7f)
			return "its value holds a line break or another control character";
	return NULL;
}
