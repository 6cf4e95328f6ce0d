/*
 * failure.c
 *		What is said of an attempt to connect to NATS that has failed.
 */
#include "postgres.h"

#include "bus/failure.h"
#include "core/settings.h"

void
flo_bus_blot(char *text, const char *secret)
{
	size_t		len = secret != NULL ? strlen(secret) : 0;
	char	   *found;

	if (len < 3)
		return;
	while ((found = strstr(text, secret)) != NULL)
		memset(found, '*', len);
}

char *
flo_bus_clean_words(const char *words)
{
	char	   *text = pstrdup(words);

	flo_bus_blot(text, flo_nats_password);
	flo_bus_blot(text, flo_nats_token);
	return text;
}

bool
flo_bus_describe_attempt(FloNatsStatus status, const char *words, FloFailure *failure)
{
	static const char *const hints[] = {
		[FLO_NATS_UNREACHABLE] = "Check pg_flo.nats_url and that the server runs.",
		[FLO_NATS_NO_NAME] = "Check the host in pg_flo.nats_url, and the name servers of this machine.",
		[FLO_NATS_NO_LISTENER] = "Check host and port in pg_flo.nats_url, and that nats-server runs there.",
		[FLO_NATS_NO_ANSWER] = "Check host and port in pg_flo.nats_url, firewalls between, and that nats-server can answer.",
		[FLO_NATS_NO_NATS] = "Check the port in pg_flo.nats_url: that for clients is 4222 unless nats-server is told otherwise.",
		[FLO_NATS_NO_TLS] = "Check pg_flo.nats_tls and pg_flo.nats_tls_ca_file against nats-server's configuration and certificate.",
		[FLO_NATS_NO_ROOM] = "Raise max_connections of nats-server, or of the account there.",
		[FLO_NATS_REFUSED] = "Check pg_flo.nats_user, pg_flo.nats_password and the other pg_flo.nats_* settings.",
	};

	if (status < FLO_NATS_UNREACHABLE || status > FLO_NATS_REFUSED)
		return false;
	failure->hint = hints[status];
	if (status == FLO_NATS_REFUSED)
	{
		failure->sqlstate = ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		failure->message = psprintf("NATS refused the connection: %s", flo_bus_clean_words(words));
	}
	else
	{
		failure->sqlstate = ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION;
		failure->message = psprintf("could not connect to NATS at \"%s\": %s", flo_nats_url,
									flo_bus_clean_words(words));
	}
	return true;
}
