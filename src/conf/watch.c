/*
 * watch.c
 *		Tells a background process that its configuration may have changed.
 *
 * A trigger on the configuration tables sends a relation cache invalidation
 * with the transaction that changed them, so the news arrives at its commit
 * and not when it rolls back.  So do those of publications.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "conf/watch.h"
#include "core/caches.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static const char *const watched_names[] = {
	"groups", "sources", "chosen", "workers", "readers", "rules", "routes", "webhook_subscriptions", "named_secrets",
	"dead_letters", "copy_requests", "compare_requests", "backfills", "given_up"
};

static Oid	watched[lengthof(watched_names)];
static Oid	cutovers;
static bool changed = false;
static bool cutovers_changed = true;

static void
relation_changed(Datum arg, Oid relation)
{
	if (flo_caches_forgotten())
		return;
	if (!OidIsValid(relation))
		changed = true;
	if (!OidIsValid(relation) || relation == cutovers)
		cutovers_changed = true;
	for (int i = 0; i < lengthof(watched) && !changed; i++)
		changed = relation == watched[i];
}

/* Later servers pass over one that is missing, without a word to who decodes */
static void
publication_changed(Datum arg, int cache, uint32 hash)
{
	changed |= !flo_caches_forgotten();
}

void
flo_watch_init(void)
{
	Oid			schema = get_namespace_oid("flo", false);

	for (int i = 0; i < lengthof(watched); i++)
		watched[i] = get_relname_relid(watched_names[i], schema);
	cutovers = get_relname_relid("cutovers", schema);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PUBLICATIONOID, publication_changed, (Datum) 0);
}

bool
flo_watch_changed(void)
{
	bool		result;

	AcceptInvalidationMessages();
	result = changed;
	changed = false;
	return result;
}

bool
flo_watch_pending(void)
{
	return changed;
}

bool
flo_watch_cutovers_changed(void)
{
	bool		result = cutovers_changed;

	cutovers_changed = false;
	return result;
}
