/*
 * memory.h
 *		How much a process may remember of the tables it has seen.
 */
#ifndef FLO_MEMORY_H
#define FLO_MEMORY_H

#include "utils/palloc.h"

/*
 * Do the server's own caches (relations, types, plans), what lies in "mine" and
 * below it and "others" (in bytes) take more than pg_flo.table_memory?  Walks
 * all contexts: to be asked now and then.
 */
extern bool flo_memory_is_short(MemoryContext mine, Size others);

/* Empty the server's own caches of what nobody uses just now */
extern void flo_memory_empty_caches(void);

#endif
