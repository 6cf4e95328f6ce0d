/*
 * worker_config.c
 *		What a worker is told to do, and when that has changed.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "conf/watch.h"
#include "core/transaction.h"
#include "dest/worker_config.h"
#include "dest/worker_copies.h"
#include "dest/worker_rules.h"
#include "dest/worker_state.h"
#include "miscadmin.h"
#include "sink/sink.h"
#include "storage/ipc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

FloWorkerSpec *
flo_my_spec(const char *group, const char *worker)
{
	MemoryContext old = flo_transaction_begin();
	FloWorkerSpec *spec;

	MemoryContextSwitchTo(old);
	spec = flo_store_worker(group, worker);
	flo_transaction_end(old);
	return spec;
}

char *
flo_my_database(void)
{
	MemoryContext old = flo_transaction_begin();
	char	   *name;

	MemoryContextSwitchTo(old);
	name = get_database_name(MyDatabaseId);
	flo_transaction_end(old);
	return name;
}

/* Has anything changed?  Takes in invalidations. */
void
flo_worker_notice_configuration(FloWorker *w)
{
	if (flo_watch_changed())
		w->rules_stale = w->options_stale = true;
}

/*
 * Between batches: rules, routes and subscriptions, and tables that are given
 * up, as they are now
 */
void
flo_worker_load_rules(FloWorker *w)
{
	w->rules_stale = false;
	w->rules_loads++;
	flo_worker_rules_load(w->rules);
	flo_worker_look_at_copies(w);
	if (w->sink != NULL)
		w->sink->ops->invalidate(w->sink);
}

/*
 * Between batches.  False when the worker is no more or its options are others, or
 * what a sink of events still has in hand may be of a table that was given up: the
 * launcher starts it again.
 */
bool
flo_worker_follow_configuration(FloWorker *w)
{
	flo_worker_notice_configuration(w);
	if (w->rules_stale)
		flo_worker_load_rules(w);
	if (w->begins_again || flo_bus_is_outdated(w->bus))
		return false;
	if (!w->options_stale)
		return true;
	w->options_stale = false;
	if (!flo_worker_is_unaltered(w))
		return false;
	flo_rights_check_member(w->group, w->spec->owner, true);
	return true;
}

/*
 * Is it what it was when this process began?  w->spec stays as it is: what is
 * read here is as short-lived as wherever the configuration is looked at.
 */
bool
flo_worker_is_unaltered(FloWorker *w)
{
	MemoryContext aside = AllocSetContextCreate(CurrentMemoryContext, "pg_flo configuration",
												ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(aside);
	FloWorkerSpec *spec = flo_my_spec(w->group, w->worker);
	bool		same = spec != NULL && spec->owner == w->spec->owner &&
		strcmp(spec->stored_options, w->spec->stored_options) == 0;

	MemoryContextSwitchTo(old);
	MemoryContextDelete(aside);
	return same;
}

void
flo_worker_leave_if_altered(FloWorker *w)
{
	flo_worker_notice_configuration(w);
	if (!flo_bus_is_outdated(w->bus))
	{
		if (!w->options_stale)
			return;
		if (flo_worker_is_unaltered(w))
		{
			w->options_stale = w->sink != NULL; /* the loop tells it */
			return;
		}
	}
	proc_exit(0);
}
