/*
 * cutover_heard.c
 *		What the workers of a group say of cut-overs to them, as it comes in.
 *
 * May be old, and may be anything that a worker ever was; only what is final for an
 * attempt is acted upon (source/cutover.c).
 */
#include "postgres.h"

#include "nodes/pg_list.h"
#include "source/cutover_heard.h"
#include "utils/memutils.h"

/* A worker's newest word, in a memory context of its own */
typedef struct Heard
{
	MemoryContext context;
	FloCutoverRecord *record;
} Heard;

static List *heard = NIL;		/* of Heard * */

static Heard *
find(const char *consumer)
{
	ListCell   *cell;

	foreach(cell, heard)
	{
		Heard	   *one = lfirst(cell);

		if (strcmp(one->record->consumer, consumer) == 0)
			return one;
	}
	return NULL;
}

static void
forget(const char *consumer)
{
	Heard	   *one = find(consumer);

	if (one == NULL)
		return;
	heard = list_delete_ptr(heard, one);
	MemoryContextDelete(one->context);
}

void
flo_cutover_hear(const char *key, const char *value)
{
	MemoryContext context;
	MemoryContext old;
	FloCutoverRecord *record;

	if (strncmp(key, FLO_CUTOVER_PREFIX, strlen(FLO_CUTOVER_PREFIX)) != 0)
		return;
	if (value == NULL)
	{
		forget(key + strlen(FLO_CUTOVER_PREFIX));
		return;
	}
	context = AllocSetContextCreate(TopMemoryContext, "pg_flo cut-over heard",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	record = flo_cutover_record_read(key, value);
	MemoryContextSwitchTo(old);
	if (record == NULL)
	{
		MemoryContextDelete(context);
		return;
	}
	forget(record->consumer);
	old = MemoryContextSwitchTo(TopMemoryContext);
	heard = lappend(heard, MemoryContextAllocZero(context, sizeof(Heard)));
	((Heard *) llast(heard))->context = context;
	((Heard *) llast(heard))->record = record;
	MemoryContextSwitchTo(old);
}

const FloCutoverRecord *
flo_cutover_heard(const char *consumer)
{
	Heard	   *one = find(consumer);

	return one != NULL ? one->record : NULL;
}
