/*
 * compare.c
 *		A snapshot for a comparison, in the entry of the replicator.
 */
#include "postgres.h"

#include "monitor/compare.h"
#include "monitor/shmem.h"

static FloSourceCompare *
compare_of(int slot)
{
	return &flo_shared->entries[slot].compare;
}

void
flo_source_compare_order(int64 id)
{
	FloSourceCompare order = {.id = id};

	flo_lock_exclusive();
	*compare_of(flo_me->slot) = order;
	flo_unlock();
}

FloSourceCompare
flo_source_compare_get(void)
{
	return flo_source_compare_ordered(flo_me->slot);
}

FloComparePhase
flo_source_compare_phase(void)
{
	return *(volatile FloComparePhase *) &compare_of(flo_me->slot)->phase;
}

void
flo_source_compare_answer(FloComparePhase phase)
{
	flo_lock_exclusive();
	compare_of(flo_me->slot)->phase = phase;
	flo_unlock();
}

FloSourceCompare
flo_source_compare_ordered(int slot)
{
	FloSourceCompare compare;

	flo_lock_shared();
	compare = *compare_of(slot);
	flo_unlock();
	return compare;
}

void
flo_source_compare_tell(int slot, const FloSourceCompare *compare)
{
	flo_lock_exclusive();
	if (compare_of(slot)->id == compare->id)
		*compare_of(slot) = *compare;
	flo_unlock();
	flo_entry_wake(slot);
}
