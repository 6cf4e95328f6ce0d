/*
 * memory.h
 *		How much a process may remember of the tables it has seen.
 */
#ifndef FLO_MEMORY_H
#define FLO_MEMORY_H

#include "utils/palloc.h"

typedef struct FloRoom FloRoom;

/* "mine" is where the caller remembers tables, and where the room remembers which */
extern FloRoom *flo_room_create(MemoryContext mine);

/* A table was learned, by its OID at the source */
extern void flo_room_note(FloRoom *room, uint32 table);

/* Have so many tables been learned since the last look that another one is due? */
extern bool flo_room_is_due(const FloRoom *room);

/*
 * Shall tables be forgotten?  Looks when that is due: do the server's own caches
 * (relations, types, plans), what lies in "mine" and below it and "others" (in
 * bytes) take more than pg_flo.table_memory?  Not when the tables learned lately
 * are mostly such as had been forgotten before: they would come again.  Then what
 * they take is granted, and half as much again.
 */
extern bool flo_room_is_needed(FloRoom *room, Size others);

/* Is it still too much after some were forgotten?  Walks all contexts. */
extern bool flo_room_is_short(const FloRoom *room, Size others);

/* All that should be is forgotten; what the server's caches hold may go, too */
extern void flo_room_made(FloRoom *room, Size others);

#endif
