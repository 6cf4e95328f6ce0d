/*
 * backlog.c
 *		What was found in WAL behind the position of a replicator.
 *
 * Whoever has read on writes it down; of two at once the last one, which costs
 * no more than that the other's part is read again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "monitor/backlog.h"
#include "monitor/shmem.h"

static int
find(const char *group)
{
	return flo_entry_find(MyDatabaseId, group, FLO_REPLICATOR_MEMBER);
}

void
flo_backlog_get(const char *group, FloBacklog *backlog)
{
	int			slot;

	memset(backlog, 0, sizeof(FloBacklog));
	flo_lock_shared();
	slot = find(group);
	if (slot >= 0)
		*backlog = flo_shared->entries[slot].backlog;
	flo_unlock();
}

void
flo_backlog_note(const char *group, const FloBacklog *backlog)
{
	int			slot;

	flo_lock_exclusive();
	slot = find(group);
	if (slot >= 0)
		flo_shared->entries[slot].backlog = *backlog;
	flo_unlock();
}
