/*
 * memory.c
 *		How much a process may remember of the tables it has seen.
 *
 * A group may see any number of tables, partitions of a day or staging tables
 * that live for a second among them, and its processes run for months.  What
 * is known of a table is made again from what the stream says whenever it
 * comes again, so all of it may be forgotten at any time between two batches;
 * it only costs making it.  So when the memory for it is used up, what was not
 * used just now goes.
 *
 * It costs too much when the tables in use alone need more: forgotten, they are
 * learned again at once, and so for ever.  That shows by their OIDs, which are
 * remembered over the forgetting: when most of what was learned since had been
 * known before, nothing is forgotten, and more memory is granted, up to eight times
 * as much.  Once tables come and go again, the setting holds again.
 *
 * The server's caches forget tables that are dropped, but none that live.
 */
#include "postgres.h"

#include "core/caches.h"
#include "core/memory.h"
#include "core/settings.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Tables learned between two looks at how much memory they take */
#define LOOK_EVERY 32

/* Tables that are kept in mind at most: half a megabyte of OIDs */
#define MAX_IN_MIND 16384

/* What is granted at most, in terms of the setting */
#define MOST_GRANTED 8

struct FloRoom
{
	MemoryContext mine;
	HTAB	   *known;			/* OIDs learned since the last forgetting */
	HTAB	   *forgotten;		/* by it, and before; NULL = none yet */
	uint32		learned;		/* since then */
	uint32		again;			/* of these, such as had been known */
	uint32		looked;			/* "learned" at the last look */
	Size		granted;		/* above the setting, 0 = nothing */
};

static HTAB *
create_set(FloRoom *room)
{
	HASHCTL		control = {0};

	control.keysize = control.entrysize = sizeof(uint32);
	control.hcxt = room->mine;
	return hash_create("pg_flo tables seen", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

FloRoom *
flo_room_create(MemoryContext mine)
{
	FloRoom    *room = MemoryContextAllocZero(mine, sizeof(FloRoom));

	room->mine = mine;
	room->known = create_set(room);
	return room;
}

void
flo_room_note(FloRoom *room, uint32 table)
{
	bool		found;

	(void) hash_search(room->known, &table, HASH_ENTER, &found);
	if (found)
		return;					/* another shape of one that is known */
	room->learned++;
	if (room->forgotten != NULL && hash_search(room->forgotten, &table, HASH_FIND, NULL) != NULL)
		room->again++;
}

static Size
taken(const FloRoom *room, Size others)
{
	return others + MemoryContextMemAllocated(room->mine, true) +
		(CacheMemoryContext != NULL ? MemoryContextMemAllocated(CacheMemoryContext, true) : 0);
}

bool
flo_room_is_short(const FloRoom *room, Size others)
{
	return taken(room, others) > (Size) flo_table_memory * 1024;
}

bool
flo_room_is_due(const FloRoom *room)
{
	return room->learned - room->looked >= LOOK_EVERY;
}

bool
flo_room_is_needed(FloRoom *room, Size others)
{
	Size		most = (Size) flo_table_memory * 1024 * MOST_GRANTED;
	Size		use;

	if (!flo_room_is_due(room))
		return false;
	room->looked = room->learned;
	use = taken(room, others);
	if (use <= Max((Size) flo_table_memory * 1024, room->granted))
		return false;
	if (room->again < room->learned / 2 || use > most)
		return true;
	room->granted = Min(use + use / 2, most);
	return false;
}

/*
 * Those of several forgettings: of tables in turn, each has seen others than the one
 * before, and they would never be taken for such as had been known.
 */
static void
keep_in_mind(FloRoom *room)
{
	HASH_SEQ_STATUS scan;
	uint32	   *table;

	if (room->forgotten == NULL || hash_get_num_entries(room->forgotten) > MAX_IN_MIND)
	{
		if (room->forgotten != NULL)
			hash_destroy(room->forgotten);
		room->forgotten = room->known;
		return;
	}
	hash_seq_init(&scan, room->known);
	while ((table = hash_seq_search(&scan)) != NULL)
		(void) hash_search(room->forgotten, table, HASH_ENTER, NULL);
	hash_destroy(room->known);
}

void
flo_room_made(FloRoom *room, Size others)
{
	keep_in_mind(room);
	room->known = create_set(room);
	room->learned = room->again = room->looked = 0;
	room->granted = 0;
	if (flo_room_is_short(room, others))
		flo_caches_forget();
}
