/*
 * early.c
 *		Transactions that travel before their commit: what is known of each.
 *
 * A transaction that is open keeps its pieces in the stream, and all that was
 * published since the first of them, whatever the workers have applied.  One that is
 * idle would keep it for ever, or fill a stream with a limit, so there is a measure
 * of that, as of what has to be remembered of its subtransactions.
 */
#include "postgres.h"

#include "source/early.h"
#include "utils/memutils.h"

/* Bytes of others that an open transaction may keep in the stream */
#define MAX_KEPT (INT64CONST(1024) * 1024 * 1024)

/* Subtransactions of one that are remembered: some 7 MB, here and as much there */
#define MAX_PARTS 65536

FloEarly *
flo_early_create(MemoryContext parent, TransactionId xid)
{
	FloEarly   *early = MemoryContextAllocZero(parent, sizeof(FloEarly));
	HASHCTL		control = {0};

	early->xid = xid;
	early->descriptions = flo_descriptions_create(parent);
	control.keysize = sizeof(TransactionId);
	control.entrysize = sizeof(FloEarlyPart);
	control.hcxt = parent;
	early->parts = hash_create("pg_flo subtransactions", 16, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return early;
}

void
flo_early_drop(FloEarly *early)
{
	if (early->descriptions != NULL)
		flo_descriptions_drop(early->descriptions);
	hash_destroy(early->parts);
	pfree(early);
}

FloCounters *
flo_early_counters(FloEarly *early, TransactionId subxid)
{
	bool		found;

	if (early->part == NULL || early->part->subxid != subxid)
	{
		early->part = hash_search(early->parts, &subxid, HASH_ENTER, &found);
		if (!found)
			memset(&early->part->counters, 0, sizeof(FloCounters));
	}
	return &early->part->counters;
}

bool
flo_early_forget(FloEarly *early, TransactionId subxid)
{
	early->part = NULL;
	return hash_search(early->parts, &subxid, HASH_REMOVE, NULL) != NULL;
}

void
flo_early_count(FloEarly *early, FloCounters *counters)
{
	HASH_SEQ_STATUS scan;
	FloEarlyPart *part;

	hash_seq_init(&scan, early->parts);
	while ((part = hash_seq_search(&scan)) != NULL)
		flo_counters_move(counters, &part->counters);
}

bool
flo_early_keeps_too_much(const FloEarly *early, int64 published, int64 own,
						 const FloEarlyLimits *limits)
{
	int64		kept = published - early->before;

	return kept - early->bytes - own > MAX_KEPT ||
		hash_get_num_entries(early->parts) > MAX_PARTS ||
		(limits->bytes > 0 && kept > limits->bytes) ||
		(limits->age > 0 && flo_clock_passed(early->since, limits->age));
}
