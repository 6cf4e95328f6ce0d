/*
 * worker_generation.c
 *		Which life of its source a worker follows, and where that one's copy is.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "core/text.h"
#include "dest/consumer.h"
#include "dest/progress.h"
#include "dest/worker_generation.h"
#include "utils/builtins.h"

/* What the source says of its newest generation; NULL when it says nothing */
static FloGenerationRecord *
announced(FloWorker *w)
{
	return flo_records_get(w->bus, w->bucket, FLO_GENERATION_KEY, &flo_generation_format);
}

/* Which in the order of generations, -1 = of another group, or it is not said */
static int
place_of(const FloGenerationRecord *record, const char *generation)
{
	ListCell   *cell;

	foreach(cell, record->follows)
	{
		if (strcmp(lfirst(cell), generation) == 0)
			return foreach_current_index(cell);
	}
	return strcmp(record->generation, generation) == 0 ? list_length(record->follows) : -1;
}

/*
 * Forward only, from any generation of the group to any later one.  The chunk
 * may be of one that the source itself has left meanwhile.
 */
bool
flo_worker_may_follow(FloWorker *w, const FloChunkHeader *header)
{
	FloGenerationRecord *record;
	int			ours;
	int			other;

	if (!flo_progress_may_follow(w->progress, header) || (record = announced(w)) == NULL)
		return false;
	ours = place_of(record, flo_progress_generation(w->progress));
	other = place_of(record, flo_text_of_uuid(&header->generation));
	if (ours >= 0)
		return other > ours;
	return other == list_length(record->follows) && record->copy == FLO_COPY_ALL;
}

FloCopyPlace
flo_worker_copy_of(FloWorker *w, const FloChunkHeader *header)
{
	FloGenerationRecord *record;
	int			place;

	if (header->flags & FLO_CHUNK_COPIED)
		return FLO_PLACE_FIRST;
	if ((record = announced(w)) == NULL ||
		(place = place_of(record, flo_text_of_uuid(&header->generation))) < 0)
		return FLO_PLACE_NONE;
	if (place < list_length(record->follows))
		return FLO_PLACE_UNKNOWN;	/* its stream is being emptied */
	if (record->copy == FLO_COPY_ALL)
		return FLO_PLACE_MARKED;
	return record->copy == FLO_COPY_MISSING ? FLO_PLACE_GONE : FLO_PLACE_NONE;
}

bool
flo_worker_began_anew(FloWorker *w)
{
	FloChunkHeader header;

	return flo_consumer_first(w->consumer, &header) && !flo_progress_is_of(w->progress, &header);
}

bool
flo_worker_copies_all(FloWorker *w)
{
	FloGenerationRecord *record = announced(w);

	return record != NULL && record->copy == FLO_COPY_ALL &&
		strcmp(record->generation, flo_progress_generation(w->progress)) == 0;
}
