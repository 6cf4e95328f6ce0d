/*
 * descriptions.c
 *		Descriptions of tables, by the OID of the table.
 *
 * What a transaction in progress has been described holds for its own changes only,
 * as others may see other columns meanwhile, and for all when it has committed,
 * unless something newer has come by then.
 */
#include "postgres.h"

#include "source/descriptions.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

struct FloDescriptions
{
	MemoryContext context;
	HTAB	   *relations;
	FloDescription *last;		/* that was asked for */
};

FloDescriptions *
flo_descriptions_create(MemoryContext parent)
{
	MemoryContext context = AllocSetContextCreate(parent, "pg_flo published tables",
												  ALLOCSET_SMALL_SIZES);
	FloDescriptions *set = MemoryContextAllocZero(context, sizeof(FloDescriptions));
	HASHCTL		control = {0};

	set->context = context;
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(FloDescription);
	control.hcxt = context;
	set->relations = hash_create("pg_flo relation descriptions", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return set;
}

void
flo_descriptions_drop(FloDescriptions *set)
{
	MemoryContextDelete(set->context);
}

void
flo_descriptions_keep(FloDescriptions *set, uint32 id, uint64 age, const char *block, int len)
{
	bool		found;
	FloDescription *kept = hash_search(set->relations, &id, HASH_ENTER, &found);

	if (found)
		pfree(kept->block);
	kept->age = age;
	kept->written = kept->shown = 0;
	kept->block = MemoryContextAlloc(set->context, len);
	memcpy(kept->block, block, len);
	kept->len = len;
}

FloDescription *
flo_descriptions_find(FloDescriptions *set, uint32 id)
{
	if (set->last == NULL || set->last->id != id)
		set->last = hash_search(set->relations, &id, HASH_FIND, NULL);
	return set->last;
}

void
flo_descriptions_take_over(FloDescriptions *set, FloDescriptions *other)
{
	HASH_SEQ_STATUS scan;
	FloDescription *theirs;

	hash_seq_init(&scan, other->relations);
	while ((theirs = hash_seq_search(&scan)) != NULL)
	{
		FloDescription *ours = flo_descriptions_find(set, theirs->id);

		if (ours == NULL || ours->age < theirs->age)
			flo_descriptions_keep(set, theirs->id, theirs->age, theirs->block, theirs->len);
	}
	flo_descriptions_drop(other);
}
