/*
 * nats_options.c
 *		What the NATS client library is told about a connection; module pg_flo_bus.
 */
#include "postgres.h"

#include <nats/nats.h>

#include "bus/greeting.h"
#include "bus/nats_options.h"

/* One read takes at most this much; also when the library starts to write */
#define IO_BUFFER_SIZE (512 * 1024)

/* Longest stall within a TLS record, ms */
#define WRITE_DEADLINE 10000

static bool
is_set(const char *value)
{
	return value != NULL && value[0] != '\0';
}

static natsStatus
set_servers(natsOptions *options, const char *urls)
{
	natsStatus	status;
	char	   *copy = strdup(urls);
	const char **servers;
	char	   *save = NULL;
	int			n = 0;

	if (copy == NULL)
		return NATS_NO_MEMORY;
	servers = (const char **) malloc(sizeof(char *) * (strlen(urls) + 1));
	if (servers == NULL)
	{
		free(copy);
		return NATS_NO_MEMORY;
	}
	for (char *one = strtok_r(copy, FLO_NATS_URL_SEPARATORS, &save); one != NULL;
		 one = strtok_r(NULL, FLO_NATS_URL_SEPARATORS, &save))
		servers[n++] = one;
	status = n > 0 ? natsOptions_SetServers(options, servers, n) : NATS_OK;
	free(servers);
	free(copy);
	return status;
}

static natsStatus
set_tls(natsOptions *options, const FloNatsOptions *from)
{
	natsStatus	status = natsOptions_SetSecure(options, true);

	if (status == NATS_OK && is_set(from->tls_ca_file))
		status = natsOptions_LoadCATrustedCertificates(options, from->tls_ca_file);
	if (status == NATS_OK && is_set(from->tls_cert_file))
		status = natsOptions_LoadCertificatesChain(options, from->tls_cert_file,
												   is_set(from->tls_key_file) ?
												   from->tls_key_file : from->tls_cert_file);
	return status;
}

/* Who logs in: each of these replaces what was set before it */
static natsStatus
set_login(natsOptions *options, const FloNatsOptions *from)
{
	natsStatus	status = NATS_OK;

	if (is_set(from->user))
		status = natsOptions_SetUserInfo(options, from->user,
										 from->password ? from->password : "");
	if (status == NATS_OK && is_set(from->token))
		status = natsOptions_SetToken(options, from->token);
	if (status == NATS_OK && is_set(from->nkey) && is_set(from->nkey_file))
		status = natsOptions_SetNKeyFromSeed(options, from->nkey, from->nkey_file);
	if (status == NATS_OK && is_set(from->credentials_file))
		status = natsOptions_SetUserCredentialsFromFiles(options, from->credentials_file, NULL);
	return status;
}

natsStatus
flo_nats_set_options(natsOptions *options, const FloNatsOptions *from)
{
	natsStatus	status = natsOptions_SetAllowReconnect(options, false);

	if (status == NATS_OK)
		status = natsOptions_SetSendAsap(options, true);
	if (status == NATS_OK)
		status = natsOptions_SetPingInterval(options, 0);
	if (status == NATS_OK)
		status = natsOptions_SetIOBufSize(options, IO_BUFFER_SIZE);
	if (status == NATS_OK)
		status = natsOptions_SetTimeout(options, from->timeout_ms);
	if (status == NATS_OK)
		status = natsOptions_SetWriteDeadline(options, WRITE_DEADLINE);
	if (status == NATS_OK)
		status = natsOptions_SetName(options, from->name);
	if (status == NATS_OK)
		status = set_servers(options, from->urls);
	if (status == NATS_OK)
		status = set_login(options, from);
	if (status == NATS_OK && from->tls)
		status = set_tls(options, from);
	return status;
}
