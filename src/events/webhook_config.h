/*
 * webhook_config.h
 *		Where a webhook worker sends events, and with what secrets.
 */
#ifndef FLO_WEBHOOK_CONFIG_H
#define FLO_WEBHOOK_CONFIG_H

#include "conf/event_tables.h"
#include "events/headers.h"
#include "utils/resowner.h"
#include "wire/change.h"

typedef struct FloHookTarget
{
	char	   *url;
	bool		takes_all;		/* the worker's own url */
	List	   *subscriptions;	/* of FloSubscription *, to the same url */
} FloHookTarget;

typedef struct FloHookConfig
{
	List	   *targets;		/* of FloHookTarget * */
	FloHeaders	headers;
	char	   *secret;			/* of the signature; NULL: none */
	int			secret_len;
} FloHookConfig;

/*
 * Read options, subscriptions, secrets and their files, in a transaction of
 * its own; in the current memory context.  42501 when the worker's owner may
 * not do what it is told.
 */
extern FloHookConfig *flo_hook_config(const FloWorkerSpec *spec);

/* Does the target get events of this type (FLO_EVENT_*) and table? */
extern bool flo_hook_wants(const FloHookTarget *target, const char *type,
						   const char *schema, const char *table);

/* The header that signs a body, palloc'd; of a configuration with a secret */
extern char *flo_hook_signature(const FloHookConfig *config, ResourceOwner owner,
								const char *body, size_t len);

#endif
