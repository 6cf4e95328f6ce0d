/*
 * place.c
 *		A snapshot at an exact place of the stream, in the entry of the replicator.
 */
#include "postgres.h"

#include "monitor/place.h"
#include "monitor/shmem.h"

static FloSourcePlace *
place_of(int slot, FloPlaceUser user)
{
	return &flo_shared->entries[slot].places[user];
}

void
flo_source_place_order(FloPlaceUser user, int64 id)
{
	FloSourcePlace order = {.id = id};

	flo_lock_exclusive();
	*place_of(flo_me->slot, user) = order;
	flo_unlock();
}

FloSourcePlace
flo_source_place_get(FloPlaceUser user)
{
	return flo_source_place_ordered(flo_me->slot, user);
}

FloPlacePhase
flo_source_place_phase(FloPlaceUser user)
{
	return *(volatile FloPlacePhase *) &place_of(flo_me->slot, user)->phase;
}

void
flo_source_place_answer(FloPlaceUser user, FloPlacePhase phase)
{
	flo_lock_exclusive();
	place_of(flo_me->slot, user)->phase = phase;
	flo_unlock();
}

FloSourcePlace
flo_source_place_ordered(int slot, FloPlaceUser user)
{
	FloSourcePlace place;

	flo_lock_shared();
	place = *place_of(slot, user);
	flo_unlock();
	return place;
}

void
flo_source_place_tell(int slot, FloPlaceUser user, const FloSourcePlace *place)
{
	flo_lock_exclusive();
	if (place_of(slot, user)->id == place->id)
		*place_of(slot, user) = *place;
	flo_unlock();
	flo_entry_wake(slot);
}
