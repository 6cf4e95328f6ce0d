/*
 * gather.c
 *		Changes of one table that were read but not written yet.
 *
 * Changes of one key follow from each other: what is updated or deleted must
 * be there, what is inserted must not.  So the first change of a key says
 * whether its row has to exist, and the last one how it ends.  A change that
 * does not follow from the ones before it is a conflict; it is not gathered
 * with them, and writing finds out.
 *
 * Where the order of different rows matters, or keys change, the changes are a
 * run of one operation instead, each key once, written in its order.
 */
#include "postgres.h"

#include "access/toast_compression.h"
#include "catalog/pg_class.h"
#include "common/hashfn.h"
#include "core/compat.h"
#include "core/error_context.h"
#include "port/pg_bitutils.h"
#include "sink/gather.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "wire/compressed.h"

#define FLO_FIRST_ROOM	64
#define FLO_FREE_SLOT	(-1)

/* Values from so many bytes on are looked at for how they are stored */
#define FLO_LONG_VALUE	512

/* A slot may also stand for the key a moved row gets */
#define FLO_MOVED_SLOT(net)		(-(net) - 2)

FloGather *
flo_gather_create(MemoryContext parent)
{
	FloGather  *gather = MemoryContextAllocZero(parent, sizeof(FloGather));

	gather->context = AllocSetContextCreate(parent, "pg_flo gathered changes",
											ALLOCSET_DEFAULT_SIZES);
	return gather;
}

void
flo_gather_begin(FloGather *gather, FloTarget *target, FloTraits *traits)
{
	gather->target = target;
	gather->traits = traits;
	flo_gather_reset(gather);
}

void
flo_gather_reset(FloGather *gather)
{
	MemoryContextReset(gather->context);
	gather->bytes = 0;
	gather->nlogged = gather->log_room = 0;
	gather->nnets = gather->net_room = 0;
	gather->nhashed = 0;
	gather->mask = 0;
	gather->log = NULL;
	gather->nets = NULL;
	gather->slots = NULL;
	gather->run_bits = NULL;
	gather->vain = gather->worthwhile = NULL;
}

/* --- keys ---------------------------------------------------------------- */

/* Consecutive values must not become a run of taken slots' neighbours */
static inline uint32
mix(uint64 value)
{
	value *= UINT64CONST(0x9E3779B97F4A7C15);
	return (uint32) (value >> 32);
}

static inline uint32
hash_key(const FloTraits *traits, FloRow row)
{
	uint32		hash = 0;

	for (int i = 0; i < traits->nkey; i++)
	{
		FloKeyColumn *key = &traits->key[i];
		Datum		value = row[key->column];
		uint32		part = 0;

		switch (key->compare)
		{
			case FLO_KEY_BY_VALUE:
				part = mix((uint64) value);
				break;
			case FLO_KEY_BY_BYTES:
				part = hash_bytes((unsigned char *) VARDATA_ANY(DatumGetPointer(value)),
								  VARSIZE_ANY_EXHDR(DatumGetPointer(value)));
				break;
			case FLO_KEY_FIXED:
				part = hash_bytes((unsigned char *) DatumGetPointer(value), key->typlen);
				break;
			case FLO_KEY_FUNCTIONS:
				part = DatumGetUInt32(FunctionCall1Coll(&key->hash, key->collation, value));
				break;
		}
		hash = (i == 0) ? part : hash_combine(hash, part);
	}
	return hash;
}

static inline bool
same_key(const FloTraits *traits, FloRow a, FloRow b)
{
	for (int i = 0; i < traits->nkey; i++)
	{
		FloKeyColumn *key = &traits->key[i];
		Datum		x = a[key->column];
		Datum		y = b[key->column];
		bool		same = false;

		switch (key->compare)
		{
			case FLO_KEY_BY_VALUE:
				same = x == y;
				break;
			case FLO_KEY_BY_BYTES:
				same = VARSIZE_ANY_EXHDR(DatumGetPointer(x)) ==
					VARSIZE_ANY_EXHDR(DatumGetPointer(y)) &&
					memcmp(VARDATA_ANY(DatumGetPointer(x)), VARDATA_ANY(DatumGetPointer(y)),
						   VARSIZE_ANY_EXHDR(DatumGetPointer(x))) == 0;
				break;
			case FLO_KEY_FIXED:
				same = memcmp(DatumGetPointer(x), DatumGetPointer(y), key->typlen) == 0;
				break;
			case FLO_KEY_FUNCTIONS:
				same = DatumGetBool(FunctionCall2Coll(&key->equal, key->collation, x, y));
				break;
		}
		if (!same)
			return false;
	}
	return true;
}

static inline uint32
slot_hash(const FloGather *gather, int slot)
{
	if (slot >= 0)
		return gather->nets[slot].hash;
	return hash_key(gather->traits, gather->nets[FLO_MOVED_SLOT(slot)].row);
}

static inline FloRow
slot_key(const FloGather *gather, int slot)
{
	return slot >= 0 ? gather->nets[slot].key : gather->nets[FLO_MOVED_SLOT(slot)].row;
}

static void
put_slot(FloGather *gather, uint32 hash, int slot)
{
	uint32		at = hash & gather->mask;

	while (gather->slots[at] != FLO_FREE_SLOT)
		at = (at + 1) & gather->mask;
	gather->slots[at] = slot;
}

static void
grow_slots(FloGather *gather, uint32 room)
{
	int		   *old = gather->slots;
	uint32		old_room = old != NULL ? gather->mask + 1 : 0;

	gather->slots = MemoryContextAlloc(gather->context, room * sizeof(int));
	memset(gather->slots, 0xFF, room * sizeof(int));
	gather->mask = room - 1;
	for (uint32 i = 0; i < old_room; i++)
		if (old[i] != FLO_FREE_SLOT)
			put_slot(gather, slot_hash(gather, old[i]), old[i]);
	if (old != NULL)
		pfree(old);
}

/* Enter nets[first..nnets), of which none is there yet */
static void
hash_nets(FloGather *gather, int first)
{
	/* at most half of them are used, and a moved row takes two */
	uint32		wanted = pg_nextpower2_32(Max(gather->nnets, FLO_FIRST_ROOM) *
										  (gather->run_moves ? 4 : 2));

	if (gather->slots == NULL || gather->mask + 1 < wanted)
		grow_slots(gather, wanted);
	for (int i = first; i < gather->nnets; i++)
		put_slot(gather, gather->nets[i].hash, i);
	gather->nhashed = gather->nnets;
}

static bool
find_slot(const FloGather *gather, uint32 hash, FloRow key, int *slot)
{
	uint32		at;

	if (gather->slots == NULL)
		return false;
	for (at = hash & gather->mask; (*slot = gather->slots[at]) != FLO_FREE_SLOT;
		 at = (at + 1) & gather->mask)
	{
		if (*slot >= 0 && gather->nets[*slot].hash != hash)
			continue;
		if (same_key(gather->traits, slot_key(gather, *slot), key))
			return true;
	}
	return false;
}

/* --- reading ------------------------------------------------------------- */

static bool
same_value(const FloValue *a, const FloValue *b)
{
	if (b->kind == FLO_VALUE_UNCHANGED)
		return true;
	return a->kind == b->kind && a->len == b->len &&
		(a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static bool
moves(const FloGather *gather, const FloChange *change)
{
	const FloTraits *traits = gather->traits;

	if (change->op != FLO_OP_UPDATE || !change->has_old)
		return false;
	for (int i = 0; i < traits->nkey; i++)
	{
		int			column = traits->key[i].column;

		if (!same_value(&change->old.values[column], &change->new.values[column]))
			return true;
	}
	return false;
}

static inline FloRow
alloc_row(FloGather *gather)
{
	return MemoryContextAlloc(gather->context,
							  gather->target->natts * (sizeof(Datum) + 1));
}

static void
note_long(FloGather *gather, int column, bool vain)
{
	Size		size = gather->target->nwords * sizeof(uint64);

	if (gather->vain == NULL)
	{
		gather->vain = MemoryContextAllocZero(gather->context, size);
		gather->worthwhile = MemoryContextAllocZero(gather->context, size);
	}
	flo_bit_set(vain ? gather->vain : gather->worthwhile, column);
}

/*
 * In the form that it came in, when that is how the column keeps it: then it need not
 * be compressed.  What the type's function has made of it is compared, which has judged
 * the value, and converted it to this encoding; keys are compared by their bytes here.
 * What stays plain is noted.
 */
static Datum
keep_form(FloGather *gather, int at, const FloTuple *tuple, const FloValue *value, Datum made)
{
	const FloTargetColumn *column = &gather->target->columns[at];
	const FloCompressed *form = flo_compressed_form(tuple, value);
	struct varlena *plain = (struct varlena *) DatumGetPointer(made);
	char		method = CompressionMethodIsValid(column->compression) ? column->compression :
		default_toast_compression;
	bool		same = form != NULL && form->method == method &&
		VARSIZE_ANY_EXHDR(plain) == value->len;

	if (!same || form->datum == NULL || column->matched || column->in_key ||
		memcmp(VARDATA_ANY(plain), value->data, value->len) != 0)
	{
		note_long(gather, at, same && form->datum == NULL);
		return made;
	}
	pfree(plain);
	return datumCopy(PointerGetDatum(form->datum), false, -1);
}

static inline void
read_value(FloGather *gather, int at, const FloTuple *tuple, Datum *datum, char *kind)
{
	FloTargetColumn *column = &gather->target->columns[at];
	const FloValue *value = &tuple->values[at];

	switch (value->kind)
	{
		case FLO_VALUE_NULL:
			*datum = (Datum) 0;
			*kind = FLO_ROW_NULL;
			break;
		case FLO_VALUE_UNCHANGED:
			*datum = (Datum) 0;
			*kind = FLO_ROW_UNCHANGED;
			break;
		default:
			flo_error_context.column = column->name;
			*datum = flo_convert(&column->converter, value);
			if (unlikely(value->len >= FLO_LONG_VALUE) && column->compressed)
				*datum = keep_form(gather, at, tuple, value, *datum);
			*kind = FLO_ROW_VALUE;
	}
}

/* Values go to the current memory context, which is the gather's */
static void
read_new(FloGather *gather, const FloTuple *tuple, FloLogged *logged)
{
	FloTarget  *target = gather->target;
	FloRow		row = alloc_row(gather);
	char	   *kinds = flo_row_kinds(row, target->natts);

	for (int i = 0; i < target->natts; i++)
	{
		if (unlikely(target->columns[i].generated))
		{
			row[i] = (Datum) 0;
			kinds[i] = FLO_ROW_NULL;
			continue;
		}
		read_value(gather, i, tuple, &row[i], &kinds[i]);
		if (unlikely(kinds[i] == FLO_ROW_UNCHANGED))
			logged->partial = true;
	}
	logged->new = row;
}

/* The key, and what could stand in for values the new row does not have */
static void
read_old(FloGather *gather, const FloChange *change, FloLogged *logged)
{
	FloTarget  *target = gather->target;
	FloRow		row = alloc_row(gather);
	char	   *kinds = flo_row_kinds(row, target->natts);
	bool		complete = logged->partial && !change->old_is_key;

	for (int i = 0; i < target->natts; i++)
	{
		FloTargetColumn *column = &target->columns[i];

		row[i] = (Datum) 0;
		kinds[i] = FLO_ROW_NULL;
		if (column->matched ||
			(complete && !column->generated &&
			 flo_row_kinds(logged->new, target->natts)[i] == FLO_ROW_UNCHANGED))
			read_value(gather, i, &change->old, &row[i], &kinds[i]);
	}
	logged->old = row;
	logged->old_is_key = change->old_is_key;
}

static bool
has_key(const FloGather *gather, FloRow row)
{
	char	   *kinds = flo_row_kinds(row, gather->target->natts);

	for (int i = 0; i < gather->traits->nkey; i++)
		if (kinds[gather->traits->key[i].column] != FLO_ROW_VALUE)
			return false;
	return true;
}

/* --- runs ---------------------------------------------------------------- */

static void
begin_run(FloGather *gather, const FloChange *change, bool run, bool run_moves)
{
	gather->run = run;
	gather->run_op = change->op;
	gather->run_moves = run_moves;
	if (!run || change->op != FLO_OP_UPDATE)
		return;
	gather->run_bits = MemoryContextAllocZero(gather->context,
											  gather->target->nwords * sizeof(uint64));
	for (int i = 0; i < change->new.natts; i++)
		if (change->new.values[i].kind == FLO_VALUE_UNCHANGED)
			flo_bit_set(gather->run_bits, i);
}

static bool
continues(const FloGather *gather, const FloChange *change, bool run, bool run_moves)
{
	if (run != gather->run)
		return false;
	if (!run)
		return true;
	if (change->op != gather->run_op || run_moves != gather->run_moves)
		return false;
	if (change->op != FLO_OP_UPDATE)
		return true;
	for (int i = 0; i < change->new.natts; i++)
		if ((change->new.values[i].kind == FLO_VALUE_UNCHANGED) != flo_bit_get(gather->run_bits, i))
			return false;
	return true;
}

/* --- net effects --------------------------------------------------------- */

static FloNet *
append_net(FloGather *gather, FloNetKind kind, FloRow key, const FloLogged *logged)
{
	FloNet	   *net;

	if (gather->nnets == gather->net_room)
	{
		gather->net_room = Max(gather->net_room * 2, FLO_FIRST_ROOM);
		if (gather->nets == NULL)
			gather->nets = MemoryContextAlloc(gather->context, gather->net_room * sizeof(FloNet));
		else
			gather->nets = repalloc(gather->nets, gather->net_room * sizeof(FloNet));
	}
	net = &gather->nets[gather->nnets++];
	net->kind = kind;
	net->key = key;
	net->row = logged->new;
	net->partial = logged->partial;
	net->hash = 0;
	return net;
}

static FloNetKind
first_kind(char op)
{
	switch (op)
	{
		case FLO_OP_INSERT:
			return FLO_NET_INSERT;
		case FLO_OP_UPDATE:
			return FLO_NET_UPDATE;
		default:
			return FLO_NET_DELETE;
	}
}

static FloFit
add_to_run(FloGather *gather, const FloLogged *logged, FloRow key)
{
	FloNet	   *net;
	uint32		hash;
	int			slot;

	if (logged->op == FLO_OP_INSERT)
	{
		append_net(gather, FLO_NET_INSERT, key, logged);
		return FLO_FIT_ADDED;
	}
	hash = hash_key(gather->traits, key);
	if (find_slot(gather, hash, key, &slot))
		return FLO_FIT_FLUSH;
	if (logged->moves && !has_key(gather, logged->new))
		return FLO_FIT_NEVER;
	net = append_net(gather, first_kind(logged->op), key, logged);
	net->hash = hash;
	hash_nets(gather, gather->nnets - 1);
	if (logged->moves)
	{
		hash = hash_key(gather->traits, logged->new);
		if (!find_slot(gather, hash, logged->new, &slot))
			put_slot(gather, hash, FLO_MOVED_SLOT(gather->nnets - 1));
	}
	return FLO_FIT_ADDED;
}

/* Would the server take this version of a row?  If not, it must see it */
static bool
may_be_dropped(const FloGather *gather, FloRow row)
{
	const FloTraits *traits = gather->traits;
	char	   *kinds = flo_row_kinds(row, gather->target->natts);

	if (traits->each_image)
		return false;
	for (int i = 0; i < traits->nnotnull; i++)
		if (kinds[traits->notnull[i]] == FLO_ROW_NULL)
			return false;
	return true;
}

/* The new version of a row of which some values are those of the version before */
static void
merge_row(FloGather *gather, FloNet *net, const FloLogged *logged)
{
	int			natts = gather->target->natts;
	FloRow		row;
	char	   *kinds;
	char	   *before;

	if (!logged->partial)
	{
		net->row = logged->new;
		net->partial = false;
		return;
	}
	row = alloc_row(gather);
	memcpy(row, logged->new, natts * (sizeof(Datum) + 1));
	kinds = flo_row_kinds(row, natts);
	before = flo_row_kinds(net->row, natts);
	net->partial = false;
	for (int i = 0; i < natts; i++)
	{
		if (kinds[i] != FLO_ROW_UNCHANGED)
			continue;
		row[i] = net->row[i];
		kinds[i] = before[i];
		if (kinds[i] == FLO_ROW_UNCHANGED)
			net->partial = true;
	}
	net->row = row;
}

/* False when the change does not follow from what happened to the key before */
static bool
add_to_net(FloGather *gather, FloNet *net, const FloLogged *logged)
{
	bool		exists = net->kind != FLO_NET_DELETE && net->kind != FLO_NET_NOTHING;

	if (exists == (logged->op == FLO_OP_INSERT))
		return false;
	if (gather->traits->each_image || (exists && !may_be_dropped(gather, net->row)))
		return false;
	switch (logged->op)
	{
		case FLO_OP_INSERT:
			net->kind = (net->kind == FLO_NET_DELETE) ? FLO_NET_REPLACE : FLO_NET_INSERT;
			net->row = logged->new;
			net->partial = false;
			break;
		case FLO_OP_UPDATE:
			merge_row(gather, net, logged);
			break;
		default:
			net->kind = (net->kind == FLO_NET_INSERT) ? FLO_NET_NOTHING : FLO_NET_DELETE;
			net->row = NULL;
			net->partial = false;
	}
	return true;
}

/* Enter the INSERTs gathered so far.  False when a key came twice: they conflict */
static bool
hash_inserts(FloGather *gather)
{
	int			slot;

	grow_slots(gather, pg_nextpower2_32(Max(gather->nnets, FLO_FIRST_ROOM) * 2));
	for (int i = 0; i < gather->nnets; i++)
	{
		FloNet	   *net = &gather->nets[i];

		net->hash = hash_key(gather->traits, net->key);
		if (find_slot(gather, net->hash, net->key, &slot))
			return false;
		put_slot(gather, net->hash, i);
	}
	gather->nhashed = gather->nnets;
	return true;
}

static FloFit
add_net(FloGather *gather, const FloLogged *logged, FloRow key)
{
	FloNet	   *net;
	uint32		hash;
	int			slot;

	/* as long as there are only these, their keys need not be known */
	if (logged->op == FLO_OP_INSERT && gather->nhashed == 0)
	{
		append_net(gather, FLO_NET_INSERT, key, logged);
		return FLO_FIT_ADDED;
	}
	if (gather->nhashed < gather->nnets)
	{
		if (!hash_inserts(gather))
			return FLO_FIT_FLUSH;
	}
	hash = hash_key(gather->traits, key);
	if (find_slot(gather, hash, key, &slot))
		return add_to_net(gather, &gather->nets[slot], logged) ? FLO_FIT_ADDED : FLO_FIT_FLUSH;
	net = append_net(gather, first_kind(logged->op), key, logged);
	net->hash = hash;
	hash_nets(gather, gather->nnets - 1);
	return FLO_FIT_ADDED;
}

static void
append_log(FloGather *gather, const FloLogged *logged)
{
	if (gather->nlogged == gather->log_room)
	{
		gather->log_room = Max(gather->log_room * 2, FLO_FIRST_ROOM);
		if (gather->log == NULL)
			gather->log = MemoryContextAlloc(gather->context, gather->log_room * sizeof(FloLogged));
		else
			gather->log = repalloc(gather->log, gather->log_room * sizeof(FloLogged));
	}
	gather->log[gather->nlogged++] = *logged;
}

static bool
may_be_gathered(const FloGather *gather, const FloChange *change)
{
	if (change->op == FLO_OP_INSERT)
		return true;
	if (!gather->traits->keyed)
		return false;
	return gather->target->source.identity != REPLICA_IDENTITY_FULL ||
		(change->has_old && !change->old_is_key);
}

FloFit
flo_gather_add(FloGather *gather, const FloChange *change, XLogRecPtr commit_lsn)
{
	FloLogged	logged = {0};
	MemoryContext old_context;
	FloRow		key;
	FloFit		fit;
	bool		run;

	if (!may_be_gathered(gather, change))
		return FLO_FIT_NEVER;
	logged.op = change->op;
	logged.commit_lsn = commit_lsn;
	logged.moves = moves(gather, change);
	if (logged.moves && gather->target->has_identity)
		return FLO_FIT_NEVER;
	run = gather->traits->ordered || logged.moves;
	if (gather->nlogged == 0)
		begin_run(gather, change, run, logged.moves);
	else if (!continues(gather, change, run, logged.moves))
		return FLO_FIT_FLUSH;

	old_context = MemoryContextSwitchTo(gather->context);
	if (change->op != FLO_OP_DELETE)
		read_new(gather, &change->new, &logged);
	if (change->op != FLO_OP_INSERT && change->has_old)
		read_old(gather, change, &logged);
	flo_error_context.column = NULL;
	MemoryContextSwitchTo(old_context);

	/* what the source does not send */
	if (logged.partial && logged.op == FLO_OP_INSERT)
		return FLO_FIT_NEVER;
	key = logged.old != NULL ? logged.old : logged.new;
	if (gather->traits->keyed && !has_key(gather, key))
		return FLO_FIT_NEVER;
	fit = gather->run ? add_to_run(gather, &logged, key) : add_net(gather, &logged, key);
	if (fit == FLO_FIT_ADDED)
		append_log(gather, &logged);
	return fit;
}
