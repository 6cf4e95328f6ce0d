/*
 * copy.c
 *		Where a copy of a group's tables is, in the entry of its member.
 *
 * Of the source's part the replicator writes what it orders, before it starts
 * the leader, and the limit and may_fill at any time; the leader writes the rest.  Of the
 * destination's part the worker writes all but what its loaders show.
 */
#include "postgres.h"

#include "core/clock.h"
#include "core/compat_process.h"
#include "core/loop.h"
#include "monitor/copy.h"
#include "monitor/shmem.h"
#include "utils/memutils.h"

static FloSourceCopy *
source_of(int slot)
{
	return &flo_shared->entries[slot].copy.source;
}

static FloDestCopy *
dest_of(int slot)
{
	return &flo_shared->entries[slot].copy.dest;
}

static FloOwners *
owners_of(int slot)
{
	return &flo_shared->entries[slot].owners;
}

static FloTurns *
turns_of(int slot)
{
	return &flo_shared->entries[slot].turns;
}

/* --- the source's side --------------------------------------------------- */

void
flo_source_copy_order(const FloSourceCopy *order)
{
	flo_lock_exclusive();
	*source_of(flo_me->slot) = *order;
	flo_unlock();
}

FloSourceCopy
flo_source_copy_get(void)
{
	return flo_source_copy_ordered(flo_me->slot);
}

/* Looked at all the time; it is read and written as a whole */
FloCopyPhase
flo_source_copy_phase(void)
{
	return *(volatile FloCopyPhase *) &source_of(flo_me->slot)->phase;
}

void
flo_source_copy_set_limit(int64 bytes)
{
	flo_lock_exclusive();
	source_of(flo_me->slot)->stream_limit = bytes;
	flo_unlock();
}

void
flo_source_copy_may_fill(void)
{
	flo_lock_exclusive();
	source_of(flo_me->slot)->may_fill = true;
	flo_unlock();
}

FloSourceCopy
flo_source_copy_ordered(int slot)
{
	FloSourceCopy copy;

	flo_lock_shared();
	copy = *source_of(slot);
	flo_unlock();
	return copy;
}

void
flo_source_copy_tell(int slot, FloSourceCopy *copy)
{
	flo_lock_exclusive();
	copy->stream_limit = source_of(slot)->stream_limit;
	copy->may_fill = source_of(slot)->may_fill;
	*source_of(slot) = *copy;
	flo_unlock();
}

void
flo_source_copy_set_phase(int slot, FloCopyPhase phase)
{
	flo_lock_exclusive();
	source_of(slot)->phase = phase;
	flo_unlock();
	flo_entry_wake(slot);
}

void
flo_source_copy_set_full(int slot, const char *words)
{
	FloSourceCopy *copy = source_of(slot);

	flo_lock_exclusive();
	flo_entry_put_text(copy->broker_full, sizeof(copy->broker_full), words);
	flo_unlock();
}

/* --- the destination's side ---------------------------------------------- */

/* Chunks that loaders hand over take no more */
#define AREA_LIMIT (16 * 1024 * 1024)

static dsa_area *area;			/* of these, for the worker and each loader */

void
flo_dest_copy_begin(const pg_uuid_t *generation, bool exact, bool backfill)
{
	FloDestCopy *copy = dest_of(flo_me->slot);
	FloOwners  *owners = owners_of(flo_me->slot);
	MemoryContext old;

	/* one that ended in an error has left it */
	flo_dest_copy_close();
	old = MemoryContextSwitchTo(TopMemoryContext);
	area = dsa_create(LWTRANCHE_PARALLEL_QUERY_DSA);
	MemoryContextSwitchTo(old);
	dsa_pin_mapping(area);
	dsa_set_size_limit(area, AREA_LIMIT);
	flo_lock_exclusive();
	memset(copy, 0, sizeof(*copy));
	copy->runs = true;
	copy->generation = *generation;
	copy->exact = exact;
	copy->backfill = backfill;
	copy->later = copy->awaited = PG_UINT64_MAX;
	for (int i = 0; i < FLO_MAX_LOADERS; i++)
		copy->low[i] = PG_UINT64_MAX;
	memset(turns_of(flo_me->slot), 0, sizeof(FloTurns));
	memset(owners, 0, sizeof(*owners));
	owners->area = dsa_get_handle(area);
	flo_unlock();
}

void
flo_dest_copy_end(void)
{
	flo_lock_exclusive();
	dest_of(flo_me->slot)->runs = false;
	flo_unlock();
}

void
flo_dest_copy_close(void)
{
	if (area != NULL)
		dsa_detach(area);
	area = NULL;
}

void
flo_dest_copy_note_newest(uint32 attempt)
{
	FloDestCopy *copy = dest_of(flo_me->slot);

	flo_lock_exclusive();
	copy->newest = Max(copy->newest, attempt);
	flo_unlock();
}

void
flo_dest_copy_admit(uint32 attempt)
{
	FloDestCopy *copy = dest_of(flo_me->slot);

	flo_lock_exclusive();
	copy->attempt = attempt;
	copy->later = PG_UINT64_MAX;
	flo_unlock();
}

uint64
flo_dest_copy_floor(void)
{
	const FloDestCopy *copy = dest_of(flo_me->slot);
	FloOwners  *owners = owners_of(flo_me->slot);
	uint64		floor;

	flo_lock_shared();
	floor = copy->runs ? copy->seen : 0;
	for (int i = 0; i < FLO_MAX_LOADERS; i++)
	{
		floor = Min(floor, copy->low[i] - 1);
		for (int j = 0; j < FLO_HANDED; j++)
			if (owners->at[i].handed[j].sequence != 0)
				floor = Min(floor, owners->at[i].handed[j].sequence - 1);
	}
	flo_unlock();
	return floor;
}

uint64
flo_dest_copy_later(void)
{
	return flo_dest_copy_get(flo_me->slot).later;
}

uint64
flo_dest_copy_loaded(void)
{
	return flo_dest_copy_get(flo_me->slot).loaded;
}

bool
flo_dest_copy_await(uint64 chunks)
{
	FloDestCopy *copy = dest_of(flo_me->slot);
	bool		to_come;

	flo_lock_exclusive();
	copy->awaited = chunks;
	to_come = copy->loaded < chunks;
	flo_unlock();
	return to_come;
}

void
flo_dest_copy_count(int slot, uint32 incarnation, uint64 chunks)
{
	FloDestCopy *copy = dest_of(slot);
	bool		enough = false;

	flo_lock_exclusive();
	if (flo_shared->entries[slot].incarnation == incarnation)
	{
		copy->loaded += chunks;
		enough = copy->loaded >= copy->awaited;
	}
	flo_unlock();
	if (enough)
		flo_entry_wake(slot);
}

FloDestCopy
flo_dest_copy_get(int slot)
{
	FloDestCopy copy;

	flo_lock_shared();
	copy = *dest_of(slot);
	flo_unlock();
	return copy;
}

void
flo_dest_copy_show(int slot, uint32 incarnation, int number, uint64 seen, uint64 low)
{
	FloDestCopy *copy = dest_of(slot);

	flo_lock_exclusive();
	if (flo_shared->entries[slot].incarnation == incarnation)
	{
		copy->seen = Max(copy->seen, seen);
		copy->low[number] = low;
	}
	flo_unlock();
}

void
flo_dest_copy_hold(int slot, uint32 attempt, uint64 sequence)
{
	FloDestCopy *copy = dest_of(slot);

	flo_lock_exclusive();
	if (copy->attempt < attempt)
		copy->later = Min(copy->later, sequence);
	flo_unlock();
}

/* --- turns --------------------------------------------------------------- */

static void
set_turn(int slot, int number, uint32 relation, uint64 sequence)
{
	FloTurns   *turns = turns_of(slot);

	flo_lock_exclusive();
	turns->at[number].relation = relation;
	turns->at[number].sequence = sequence;
	flo_unlock();
	ConditionVariableBroadcast(&flo_shared->entries[slot].turn);
}

void
flo_dest_copy_queue(int slot, int number, uint32 relation, uint64 sequence)
{
	set_turn(slot, number, relation, sequence);
}

void
flo_dest_copy_leave(int slot, int number)
{
	/* nobody else writes it */
	if (turns_of(slot)->at[number].relation != 0)
		set_turn(slot, number, 0, 0);
}

static bool
is_first(int slot, int number)
{
	FloTurns   *turns = turns_of(slot);
	bool		first = true;

	flo_lock_shared();
	for (int i = 0; i < FLO_MAX_LOADERS && first; i++)
		first = turns->at[i].relation != turns->at[number].relation ||
			turns->at[i].sequence >= turns->at[number].sequence;
	flo_unlock();
	return first;
}

void
flo_dest_copy_await_turn(int slot, int number, long ms)
{
	FloClock	deadline = flo_clock_in(ms);

	while (!is_first(slot, number) && flo_clock() < deadline)
		(void) ConditionVariableTimedSleep(&flo_shared->entries[slot].turn, ms,
										   flo_wait_event(FLO_WAIT_APPLY));
	ConditionVariableCancelSleep();
}

/* --- tables of one loader ------------------------------------------------ */

/* What is there now is not for a ghost, nor its area.  Under the lock. */
static FloOwners *
living(int slot, uint32 incarnation)
{
	return flo_shared->entries[slot].incarnation == incarnation ? owners_of(slot) : NULL;
}

/* false when the worker that made it has ended meanwhile */
static bool
attach_area(dsa_handle handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	PG_TRY();
	{
		area = dsa_attach(handle);
		dsa_pin_mapping(area);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	return area != NULL;
}

bool
flo_dest_copy_join(int slot, uint32 incarnation, int number)
{
	FloOwners  *owners;
	dsa_handle	handle;
	bool		runs;

	flo_lock_shared();
	runs = living(slot, incarnation) != NULL && dest_of(slot)->runs;
	handle = owners_of(slot)->area;
	flo_unlock();
	if (!runs || !attach_area(handle))
		return false;
	flo_lock_exclusive();
	owners = living(slot, incarnation);
	if (owners != NULL)
		owners->at[number].procno = flo_compat_my_procno() + 1;
	flo_unlock();
	return owners != NULL;
}

/* How many tables it has; *place: of this one among them, or else a free one, -1 = none */
static int
count_tables(const FloOwners *owners, int number, uint32 relation, int *place, bool *has)
{
	int			count = 0;

	*place = -1;
	*has = false;
	for (int i = 0; i < FLO_OWN_TABLES && !*has; i++)
	{
		uint32		table = owners->at[number].tables[i];

		count += table != 0;
		*has = table == relation && table != 0;
		if (*has || (table == 0 && *place < 0))
			*place = i;
	}
	return count;
}

/* The one that has it, or else that is to have it; -1 = all have enough */
static int
find_owner(const FloOwners *owners, int number, uint32 relation, int *place, bool *owned)
{
	int			best = -1;
	int			fewest = FLO_OWN_TABLES;

	*owned = false;
	for (int i = 0; i < FLO_MAX_LOADERS && !*owned; i++)
	{
		int			at;
		int			count = count_tables(owners, i, relation, &at, owned);

		if (owners->at[i].procno == 0 || at < 0)
			continue;
		if (*owned || count < fewest || (count == fewest && i == number))
		{
			best = i;
			fewest = count;
			*place = at;
		}
	}
	return best;
}

static bool
hand_over(FloOwners *owners, int owner, const FloHanded *chunk)
{
	for (int i = 0; i < FLO_HANDED && DsaPointerIsValid(chunk->data); i++)
	{
		if (owners->at[owner].handed[i].sequence != 0)
			continue;
		owners->at[owner].handed[i] = *chunk;
		return true;
	}
	return false;
}

/* Whose is it?  With "chunk", if it is another's, that is handed over. */
static FloOwned
own(int slot, uint32 incarnation, int number, uint32 relation, bool take, const FloHanded *chunk)
{
	FloOwners  *owners;
	FloOwned	result = FLO_OWNED_FULL;
	int			place = 0;
	bool		owned = false;
	int			owner = -1;
	int			procno = 0;

	flo_lock_exclusive();
	owners = living(slot, incarnation);
	if (owners != NULL)
		owner = find_owner(owners, number, relation, &place, &owned);
	if (owner < 0 || (!owned && !take))
		result = FLO_OWNED_NOT;
	else if (owner == number)
		result = FLO_OWNED_HERE;
	else if (chunk != NULL && hand_over(owners, owner, chunk))
	{
		result = FLO_OWNED_HANDED;
		procno = owners->at[owner].procno;
	}
	if (result == FLO_OWNED_HERE || result == FLO_OWNED_HANDED)
		owners->at[owner].tables[place] = relation;
	flo_unlock();
	flo_procno_wake(procno - 1);
	return result;
}

static FloHanded
copy_chunk(uint64 sequence, const char *data, uint32 len)
{
	FloHanded	chunk = {.sequence = sequence,.len = len};

	chunk.data = dsa_allocate_extended(area, (Size) len + 1, DSA_ALLOC_NO_OOM);
	if (DsaPointerIsValid(chunk.data))
		memcpy(dsa_get_address(area, chunk.data), data, len);
	return chunk;
}

static void
drop_chunk(const FloHanded *chunk)
{
	if (DsaPointerIsValid(chunk->data))
		dsa_free(area, chunk->data);
}

FloOwned
flo_dest_copy_own(int slot, uint32 incarnation, int number, uint32 relation, bool take,
				  uint64 sequence, const char *data, uint32 len)
{
	FloOwned	owned = own(slot, incarnation, number, relation, take, NULL);
	FloHanded	chunk;

	if (owned != FLO_OWNED_FULL || flo_dest_copy_is_full(slot, relation))
		return owned;
	chunk = copy_chunk(sequence, data, len);
	owned = own(slot, incarnation, number, relation, take, &chunk);
	if (owned != FLO_OWNED_HANDED)
		drop_chunk(&chunk);
	return owned;
}

/* Hands it to one that has none, if there is one */
static FloOwned
give(int slot, uint32 incarnation, const FloHanded *chunk)
{
	FloOwned	result = FLO_OWNED_NOT;
	FloOwners  *owners;
	int			procno = 0;

	flo_lock_exclusive();
	owners = living(slot, incarnation);
	for (int i = 0; owners != NULL && i < FLO_MAX_LOADERS && procno == 0; i++)
	{
		int			place;
		bool		has;

		if (owners->at[i].procno == 0 || count_tables(owners, i, 0, &place, &has) > 0)
			continue;
		result = FLO_OWNED_FULL;
		if (chunk != NULL && hand_over(owners, i, chunk))
			procno = owners->at[i].procno;
	}
	flo_unlock();
	flo_procno_wake(procno - 1);
	return procno != 0 ? FLO_OWNED_HANDED : result;
}

FloOwned
flo_dest_copy_give(int slot, uint32 incarnation, uint64 sequence, const char *data, uint32 len)
{
	FloOwned	given = give(slot, incarnation, NULL);
	FloHanded	chunk;

	if (given == FLO_OWNED_NOT)
		return given;
	chunk = copy_chunk(sequence, data, len);
	given = give(slot, incarnation, &chunk);
	if (given != FLO_OWNED_HANDED)
		drop_chunk(&chunk);
	return given;
}

/* Of one that is nobody's it is not known */
bool
flo_dest_copy_is_full(int slot, uint32 relation)
{
	FloOwners  *owners = owners_of(slot);
	bool		full = false;

	flo_lock_shared();
	for (int i = 0; i < FLO_MAX_LOADERS && !full; i++)
	{
		int			place;

		(void) count_tables(owners, i, relation, &place, &full);
		for (int j = 0; j < FLO_HANDED && full; j++)
			full = owners->at[i].handed[j].sequence != 0;
	}
	flo_unlock();
	return full;
}

void
flo_dest_copy_disown(int slot, uint32 incarnation, int number, uint32 relation)
{
	FloOwners  *owners;

	flo_lock_exclusive();
	owners = living(slot, incarnation);
	for (int i = 0; owners != NULL && i < FLO_OWN_TABLES; i++)
		if (owners->at[number].tables[i] == relation)
			owners->at[number].tables[i] = 0;
	flo_unlock();
}

bool
flo_dest_copy_handed(int slot, uint32 incarnation, int number, uint64 *sequence, char **data,
					 int *len)
{
	FloOwners  *owners;
	FloHanded	first = {.sequence = PG_UINT64_MAX};

	flo_lock_shared();
	owners = living(slot, incarnation);
	for (int i = 0; owners != NULL && i < FLO_HANDED; i++)
	{
		const FloHanded *handed = &owners->at[number].handed[i];

		if (handed->sequence > *sequence && handed->sequence < first.sequence)
			first = *handed;
	}
	flo_unlock();
	if (first.sequence == PG_UINT64_MAX)
		return false;
	*sequence = first.sequence;
	*data = dsa_get_address(area, first.data);
	*len = (int) first.len;
	return true;
}

void
flo_dest_copy_took(int slot, uint32 incarnation, int number, uint64 sequence)
{
	FloOwners  *owners;
	dsa_pointer data = InvalidDsaPointer;

	flo_lock_exclusive();
	owners = living(slot, incarnation);
	for (int i = 0; owners != NULL && i < FLO_HANDED; i++)
	{
		FloHanded  *handed = &owners->at[number].handed[i];

		if (handed->sequence != sequence)
			continue;
		data = handed->data;
		handed->sequence = 0;
	}
	flo_unlock();
	if (DsaPointerIsValid(data))
		dsa_free(area, data);
}
