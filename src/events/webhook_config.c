/*
 * webhook_config.c
 *		Where a webhook worker sends events, and with what secrets.
 *
 * Subscriptions to the same URL are one endpoint, which gets each event once.
 * What was allowed when it was written is checked again here, since the list
 * of allowed URLs and the rights of the owner may be others by now.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "conf/endpoint.h"
#include "core/files.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "events/webhook_config.h"

static FloHookTarget *
target_of(FloHookConfig *config, const char *url)
{
	FloHookTarget *target;
	ListCell   *lc;

	foreach(lc, config->targets)
	{
		target = lfirst(lc);
		if (strcmp(target->url, url) == 0)
			return target;
	}
	target = palloc0(sizeof(FloHookTarget));
	target->url = pstrdup(url);
	config->targets = lappend(config->targets, target);
	return target;
}

/* --- all of it ----------------------------------------------------------- */

static void
check_owner(const FloWorkerSpec *spec)
{
	const FloWorkerOptions *options = &spec->options;

	if ((options->headers_file != NULL || options->secret_file != NULL) &&
		!flo_role_has_rights_of(spec->owner, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the worker's owner must not read files on the server"),
				 errhint("Grant it the role pg_read_server_files.")));
}

static void
read_targets(FloHookConfig *config, const FloWorkerSpec *spec)
{
	ListCell   *lc;

	if (spec->options.url != NULL)
		target_of(config, spec->options.url)->takes_all = true;
	foreach(lc, flo_subscriptions(spec->group, spec->worker))
	{
		FloSubscription *subscription = lfirst(lc);
		FloHookTarget *target = target_of(config, subscription->url);

		/*
		 * whoever sends events somewhere must be somebody who could have made
		 * the worker do so
		 */
		if (!flo_role_can_become(subscription->author, spec->owner))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("the author of a subscription, %s, must not act as the worker's owner, %s",
							flo_role_shown(subscription->author), flo_role_shown(spec->owner)),
					 errhint("Grant the second role to the first, or write the subscription anew as another role.")));
		target->subscriptions = lappend(target->subscriptions, subscription);
	}
	foreach(lc, config->targets)
		flo_url_check_allowed(((FloHookTarget *) lfirst(lc))->url, spec->owner);
}

FloHookConfig *
flo_hook_config(const FloWorkerSpec *spec)
{
	FloHookConfig *config = palloc0(sizeof(FloHookConfig));
	MemoryContext context = flo_transaction_begin();
	char	   *headers;

	MemoryContextSwitchTo(context);
	check_owner(spec);
	read_targets(config, spec);
	headers = flo_secret_read(spec->group, spec->worker, "headers");
	config->secret = flo_secret_read(spec->group, spec->worker, "secret");
	flo_transaction_end(context);

	if (headers != NULL)
		flo_headers_parse(&config->headers, headers);
	if (spec->options.headers_file != NULL)
		flo_headers_read_file(&config->headers, spec->options.headers_file);
	if (spec->options.secret_file != NULL)
		config->secret =
			flo_headers_trim(flo_files_read_secret(spec->options.secret_file, "secret file",
												   FLO_HEADERS_FILE_LIMIT));
	config->secret_len = config->secret != NULL ? strlen(config->secret) : 0;
	if (config->secret_len == 0)
		config->secret = NULL;
	return config;
}

static bool
operation_matches(const FloSubscription *subscription, const char *type)
{
	ListCell   *lc;

	if (subscription->operations == NIL)
		return true;
	foreach(lc, subscription->operations)
	{
		if (strcmp(lfirst(lc), type) == 0)
			return true;
	}
	return false;
}

bool
flo_hook_wants(const FloHookTarget *target, const char *type, const char *schema, const char *table)
{
	ListCell   *lc;

	if (target->takes_all)
		return true;
	foreach(lc, target->subscriptions)
	{
		FloSubscription *subscription = lfirst(lc);

		if ((subscription->schema == NULL || strcmp(subscription->schema, schema) == 0) &&
			(subscription->table == NULL || strcmp(subscription->table, table) == 0) &&
			operation_matches(subscription, type))
			return true;
	}
	return false;
}

/* The server's HMAC wants a resource owner, which there is in transactions only */
char *
flo_hook_signature(const FloHookConfig *config, ResourceOwner owner, const char *body, size_t len)
{
	ResourceOwner former = CurrentResourceOwner;
	pg_hmac_ctx *hmac;
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *header = palloc(64 + 2 * sizeof(digest));
	char	   *at = header + sprintf(header, "X-Pg-Flo-Signature: sha256=");

	CurrentResourceOwner = owner;
	hmac = pg_hmac_create(PG_SHA256);
	if (hmac == NULL || pg_hmac_init(hmac, (uint8 *) config->secret, config->secret_len) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) body, len) < 0 ||
		pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a signature: %s", pg_hmac_error(hmac));
	pg_hmac_free(hmac);
	CurrentResourceOwner = former;
	for (int i = 0; i < sizeof(digest); i++)
		at += sprintf(at, "%02x", digest[i]);
	return header;
}
