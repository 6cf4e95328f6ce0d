/*
 * generation.c
 *		Which life of its slot a replicator is in, and how one begins.
 *
 * A generation is what begins with a slot and ends with its loss.  The first one
 * comes with the group; flo.resync() marks the row of flo.generations, and the
 * replicator that finds the mark begins another, in steps that each may be the
 * last before a crash, or before the next flo.resync():
 *
 *		slot -> row -> stream emptied -> announced -> first chunk
 *
 *	 slot		until the row is there the mark stands, so it is made once more
 *	 row		lists all generations before: whichever of them the newest chunk of
 *				the stream is of, the stream is ours, and is emptied
 *	 announced	under a key of the state bucket, with the same list: a worker goes on
 *				from any of them, also past some that it never saw
 *
 * So no step needs to know how far the one before had got, and any number of
 * generations may be begun without a chunk.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/records.h"
#include "conf/store.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "monitor/state.h"
#include "replication/syncrep.h"
#include "source/generation.h"
#include "source/slots.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

FloGeneration *
flo_generation_load(const char *group)
{
	MemoryContext old = flo_transaction_begin();
	FloGeneration *generation;

	MemoryContextSwitchTo(old);
	generation = flo_store_generation(group);
	flo_transaction_end(old);
	return generation;
}

/* Commits that are to be durable wait for standbys, where the server is told to */
static void
show_standbys(void)
{
	if (SyncRepStandbyNames != NULL && SyncRepStandbyNames[0] != '\0')
		flo_state_set(FLO_STATE_WAITING,
					  "for a commit to reach standbys, see synchronous_standby_names");
}

/* Durable before it returns */
static void
save(const char *group, const FloGeneration *generation)
{
	MemoryContext old = flo_transaction_begin();

	show_standbys();
	ForceSyncCommit();
	flo_store_save_generation(group, generation);
	flo_transaction_end(old);
}

void
flo_generation_save_epoch(const char *group, uint64 epoch)
{
	MemoryContext old = flo_transaction_begin();

	show_standbys();
	ForceSyncCommit();
	flo_store_save_epoch(group, epoch);
	flo_transaction_end(old);
}

static void
new_uuid(pg_uuid_t *uuid)
{
	if (!pg_strong_random(uuid->data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x40;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/* --- the first one ------------------------------------------------------- */

/*
 * The first start of a group: its slot, and the generation that begins with
 * it.  A slot without a recorded generation is the remains of a crash between
 * the two; nothing was published from it.  Definitions without rows are at the
 * broker before it is recorded: those of a later moment would not be the ones
 * that the stream begins with, and there would be no rows to make up for it.
 */
static FloGeneration *
begin(FloCopyControl *copy, const FloReplicatorSpec *spec)
{
	FloGeneration *generation = palloc0(sizeof(FloGeneration));
	char	   *snapshot;

	flo_slot_drop(copy->slot);
	new_uuid(&generation->id);
	copy->generation = generation;
	if (flo_replicator_begins_with_copy(spec))
		flo_state_pending(copy->since, 0, -1);
	flo_state_set(FLO_STATE_WAITING,
				  "for write transactions that were open when the slot was created");
	if (!flo_replicator_begins_with_copy(spec))
		generation->start = flo_slot_create(copy->slot);
	else
	{
		/*
		 * a crash may have left one, by a process of this group that never
		 * published anything else
		 */
		flo_stream_delete(copy->bus, flo_name_copy_stream(copy->group));
		flo_copy_awaits_snapshot(copy, generation);
		generation->start = flo_slot_create_with_snapshot(copy->slot,
														  spec->mode != FLO_MODE_COPY, &snapshot);
		flo_copy_begin(copy, snapshot);
		if (spec->mode == FLO_MODE_STREAM)
			flo_copy_await_published(copy);
	}
	save(copy->group, generation);
	return generation;
}

/* --- those that follow --------------------------------------------------- */

static bool
is_listed(const List *generations, const char *id)
{
	ListCell   *cell;

	foreach(cell, generations)
	{
		if (strcmp(lfirst(cell), id) == 0)
			return true;
	}
	return false;
}

/*
 * All that the group has been, also what this server does not know since it was
 * restored to a state before: the state bucket says it in full, and shows with
 * a generation that is ours that it is of this group.
 */
static List *
ancestors(FloCopyControl *copy, const FloGeneration *old)
{
	List	   *ids = lappend(list_copy(old->follows), flo_text_of_uuid(&old->id));
	FloGenerationRecord *announced = flo_records_get(copy->bus, copy->bucket, FLO_GENERATION_KEY,
													 &flo_generation_format);
	List	   *said;
	bool		ours = false;
	ListCell   *cell;

	if (announced == NULL)
		return ids;
	said = lappend(announced->follows, announced->generation);
	foreach(cell, said)
		ours |= is_listed(ids, lfirst(cell));
	foreach(cell, said)
	{
		if (ours && !is_listed(ids, lfirst(cell)))
			ids = lappend(ids, lfirst(cell));
	}
	return ids;
}

/*
 * The lowest position that any worker, or else the stream, has of what came
 * before: what a new generation gives up begins there.
 */
static XLogRecPtr
lowest_position(FloCopyControl *copy, const List *generations, XLogRecPtr published)
{
	ListCell   *cell;

	foreach(cell, flo_reports(copy->bus, copy->bucket))
	{
		FloWorkerReport *report = lfirst(cell);

		if (!report->awaits_resync && is_listed(generations, report->generation))
			published = Min(published, report->lsn);
	}
	return published;
}

/*
 * flo.resync(): what is lost is given up, the group goes on from now.  One that
 * was begun and published nothing is given up with what it had given up itself.
 */
static FloGeneration *
renew(FloCopyControl *copy, const FloGeneration *old)
{
	FloGeneration *generation = palloc0(sizeof(FloGeneration));
	char	   *stream = flo_name_stream(copy->group);
	XLogRecPtr	published = old->follows != NIL ? old->given_up : old->start;
	FloStreamInfo info;
	FloStreamEnd end;

	generation->epoch = old->epoch;
	generation->follows = ancestors(copy, old);
	if (flo_stream_info(copy->bus, stream, &info))
	{
		flo_session_read_end(copy->bus, stream, &info, &end);
		if (end.found && memcmp(&end.newest.generation, &old->id, sizeof(pg_uuid_t)) == 0)
			published = end.newest.position;
		generation->epoch = Max(old->epoch, end.highest_epoch);
	}
	generation->given_up = lowest_position(copy, generation->follows, published);
	new_uuid(&generation->id);
	flo_slot_drop(copy->slot);
	flo_injection_point("slot.before");
	flo_state_set(FLO_STATE_WAITING,
				  "for write transactions that were open when the slot was created");
	generation->start = flo_slot_create(copy->slot);
	flo_injection_point("slot.after");
	save(copy->group, generation);
	flo_injection_point("generation.after");
	ereport(LOG,
			(errmsg("group \"%s\" begins anew at %X/%X: what was committed after %X/%X and is not yet at the destinations is given up",
					copy->group, LSN_FORMAT_ARGS(generation->start),
					LSN_FORMAT_ARGS(generation->given_up))));
	return generation;
}

void
flo_generation_empty_stream(FloBus *bus, const char *stream, FloStreamInfo *info, FloStreamEnd *end)
{
	flo_stream_purge_below(bus, stream, info->last_seq + 1);
	flo_injection_point("empty.after");
	end->found = false;
	(void) flo_stream_info(bus, stream, info);
}

/*
 * Does the state bucket say it?  What cannot be read there was not written by us,
 * and is written over: nobody but the source says what its generations are.
 */
bool
flo_generation_is_announced(const FloCopyControl *copy)
{
	FloGenerationRecord *said;

	if (copy->generation->follows == NIL)
		return true;
	said = flo_records_get_readable(copy->bus, copy->bucket, FLO_GENERATION_KEY,
									&flo_generation_format);
	return said != NULL && strcmp(said->generation, flo_text_of_uuid(&copy->generation->id)) == 0;
}

void
flo_generation_announce(FloCopyControl *copy, const FloReplicatorSpec *spec)
{
	const FloGeneration *generation = copy->generation;
	FloGenerationRecord record = {0};

	if (flo_generation_is_announced(copy))
		return;
	strlcpy(record.generation, flo_text_of_uuid(&generation->id), sizeof(record.generation));
	record.follows = generation->follows;
	record.copy = flo_copy_of_generation(copy, spec);
	record.given_up = generation->given_up;
	record.start = generation->start;
	flo_records_put(copy->bus, copy->bucket, FLO_GENERATION_KEY, &flo_generation_format, &record,
					true);
	flo_injection_point("announce.after");
}

/* --- at the start of a process ------------------------------------------- */

bool
flo_generation_begins_with_copy(const FloGeneration *generation, const FloReplicatorSpec *spec)
{
	return flo_replicator_begins_with_copy(spec) && generation->follows == NIL;
}

FloGeneration *
flo_generation_find(FloCopyControl *copy, const FloReplicatorSpec *spec, FloGeneration *generation)
{
	if (generation == NULL)
		return begin(copy, spec);
	if (generation->resync)
		generation = renew(copy, generation);
	copy->generation = generation;
	if (flo_generation_begins_with_copy(generation, spec))
		flo_copy_resume(copy, spec->mode != FLO_MODE_COPY);
	return generation;
}
