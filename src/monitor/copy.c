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
#include "core/loop.h"
#include "monitor/copy.h"
#include "monitor/shmem.h"

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

void
flo_dest_copy_begin(const pg_uuid_t *generation, bool exact, bool backfill)
{
	FloDestCopy *copy = dest_of(flo_me->slot);

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
	uint64		floor;

	flo_lock_shared();
	floor = copy->runs ? copy->seen : 0;
	for (int i = 0; i < FLO_MAX_LOADERS; i++)
		floor = Min(floor, copy->low[i] - 1);
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
flo_dest_copy_count(int slot, uint32 incarnation)
{
	FloDestCopy *copy = dest_of(slot);
	bool		enough = false;

	flo_lock_exclusive();
	if (flo_shared->entries[slot].incarnation == incarnation)
		enough = ++copy->loaded >= copy->awaited;
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
