/*
 * memory.c
 *		How much a process may remember of the tables it has seen.
 *
 * A group may see any number of tables, partitions of a day or staging tables
 * that live for a second among them, and its processes run for months.  What
 * is known of a table is made again from what the stream says whenever it
 * comes again, so all of it may be forgotten at any time between two batches;
 * it only costs making it.  So nothing is counted: when the memory for it is
 * used up, what was not used just now goes.
 *
 * The server's caches forget tables that are dropped, but none that live.
 */
#include "postgres.h"

#include "core/memory.h"
#include "core/settings.h"
#include "utils/inval.h"
#include "utils/memutils.h"

bool
flo_memory_is_short(MemoryContext mine, Size others)
{
	Size		taken = others + MemoryContextMemAllocated(mine, true) +
		(CacheMemoryContext != NULL ? MemoryContextMemAllocated(CacheMemoryContext, true) : 0);

	return taken > (Size) flo_table_memory * 1024;
}

void
flo_memory_empty_caches(void)
{
	InvalidateSystemCaches();
}
