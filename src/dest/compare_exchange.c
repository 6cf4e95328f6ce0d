/*
 * compare_exchange.c
 *		The round of rows: those of the source, from the compare stream, against those
 *		here.
 *
 * The source publishes the rows of the buckets that any worker has asked for, table by
 * table.  They take the way of copied rows through rules and routes, and then the
 * values have the form that the table here gives them.  By that form both sides' rows
 * are chosen, so a row is never missed on one side for being in another bucket there.
 *
 * Messages may come in another order than they were sent, and twice: chunks of a range of a
 * table are taken by their ordinals, and ranges as they come, as several processes read
 * them there.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "core/names.h"
#include "core/text.h"
#include "dest/compare_state.h"
#include "dest/encoding.h"
#include "shape/value.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "wire/chunk.h"

/* Kilobytes that all sorts may have together, and one of them at least and at most */
#define SORT_MEMORY 49152
#define SORT_LEAST 64
#define SORT_MOST 16384

/* Chunks of a range that wait for one before them, and ranges of a table */
#define MOST_HELD 64
#define MOST_RANGES 1000000

/* Looks until a message is believed to be gone */
#define MOST_TRIES 20

/* What comes of a range */
typedef struct IncomingRange
{
	uint32		number;
	uint32		next;			/* ordinal of the chunk to come */
	List	   *held;			/* of FloStoredMessage *: later ones */
	StringInfoData part;		/* of a row larger than a chunk */
	uint32		part_total;		/* 0 = none */
} IncomingRange;

/* What comes of a table of the source */
typedef struct Incoming
{
	FloCompareUnit *unit;
	FloCompareSource *source;
	List	   *ranges;			/* of IncomingRange *: the newest comes last */
	int64		taken;			/* chunks */
	int64		chunks;			/* so many in all; -1 = not said */

	/* the key as the source has it, for a repair */
	uint64		version;		/* of the relation that this is bound to */
	int		   *key_places;
	FloReader  *key_readers;
} Incoming;

typedef struct Exchange
{
	FloCompareReader *r;
	char	   *stream;
	FloChangeParser *parser;
	int			encoding;
	FloCounters counters;		/* of rules: nobody's */
	List	   *incoming;		/* of Incoming * */
	MemoryContext row_context;
	MemoryContext turn;			/* of a message, and of a look at what is said */
	uint64		next;			/* sequence to be read; 0 = the first */
	int			tries;			/* times that it was not there, although later
								 * ones are */
} Exchange;

/* --- which rows ---------------------------------------------------------- */

/* Those that all tables that lead here bring */
void
flo_compare_choose_rows(FloCompareUnit *unit)
{
	FloCompareTable *table = unit->table;
	ListCell   *cell;

	flo_compare_table_hash_keys(table);
	unit->chooser = flo_digest_create(unit->reader->plan->seed, table->nbuckets, table->ncolumns,
									  table->in_bucket);
	foreach(cell, table->sources)
	{
		const FloComparePlanTable *plan = ((FloCompareSource *) lfirst(cell))->plan;
		bool	   *wanted;

		if (plan->wanted == NULL)
			continue;
		wanted = flo_buckets_parse(plan->wanted, plan->buckets);
		if (wanted == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("the plan of a comparison names buckets that there are not")));
		if (unit->wanted == NULL)
		{
			unit->wanted = palloc(sizeof(bool) * table->nbuckets);
			memset(unit->wanted, true, sizeof(bool) * table->nbuckets);
		}
		for (int64 i = 0; i < plan->buckets; i++)
			unit->wanted[i & (table->nbuckets - 1)] &= wanted[i];
	}
}

static FloCompareSort *
begin_sort(const FloCompareUnit *unit)
{
	int			share = SORT_MEMORY / (2 * list_length(unit->reader->units));

	return flo_compare_sort_begin(Min(Max(share, SORT_LEAST), SORT_MOST));
}

static void
sort_row(FloCompareUnit *unit, FloCompareSort **sort, const FloDigestValue *values,
		 const FloDigestValue *keys, int nkeys)
{
	FloCompareTable *table = unit->table;
	uint64		seed = unit->reader->plan->seed;

	if (unit->wanted != NULL && !unit->wanted[flo_digest_bucket(unit->chooser, values)])
		return;
	if (*sort == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(unit->reader->context);

		*sort = begin_sort(unit);
		MemoryContextSwitchTo(old);
	}
	flo_compare_sort_put(*sort, flo_row_hash(seed, values, table->key, table->nkey),
						 flo_row_hash(seed, values, NULL, table->ncolumns), values,
						 table->ncolumns, keys, nkeys);
}

/* Rows without a key cannot be written again */
static bool
has_keys(const FloCompareUnit *unit)
{
	ListCell   *cell;

	foreach(cell, unit->table->sources)
	{
		if (((FloCompareSource *) lfirst(cell))->plan->keys == NIL)
			return false;
	}
	return true;
}

/* Are keys of rows here those of the source, by which it can look for them? */
static bool
names_extra_rows(const FloCompareUnit *unit)
{
	const FloCompareSource *source = linitial(unit->table->sources);

	return unit->reader->plan->repair_extra && list_length(unit->table->sources) == 1 &&
		!source->altered && source->keys != NIL;
}

void
flo_compare_take_row(FloCompareUnit *unit, const FloDigestValue *values)
{
	const FloCompareSource *source = linitial(unit->table->sources);
	FloDigestValue *keys;
	int			nkeys = 0;
	ListCell   *cell;

	if (!names_extra_rows(unit))
	{
		sort_row(unit, &unit->here, values, NULL, 0);
		return;
	}
	keys = palloc(list_length(source->keys) * sizeof(FloDigestValue));
	foreach(cell, source->keys)
	{
		for (int i = 0; i < unit->table->ncolumns; i++)
			if (strcmp(unit->table->columns[i].name, lfirst(cell)) == 0)
				keys[nkeys++] = values[i];
	}
	sort_row(unit, &unit->here, values, keys, nkeys);
}

/* --- rows of the source -------------------------------------------------- */

static void
bind_keys(Incoming *in, const FloRelation *relation)
{
	const FloComparePlanTable *plan = in->source->plan;
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(in));
	int			nkeys = list_length(plan->keys);

	in->key_places = palloc0(Max(nkeys, 1) * sizeof(int));
	in->key_readers = palloc0(Max(nkeys, 1) * sizeof(FloReader));
	for (int i = 0; i < nkeys; i++)
	{
		int			place = 0;

		while (place < relation->natts &&
			   strcmp(relation->columns[place].name, list_nth(plan->keys, i)) != 0)
			place++;
		if (place == relation->natts)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("rows of table \"%s.%s\" came without their key", plan->schema,
							plan->table)));
		in->key_places[i] = place;
		flo_reader_init(&in->key_readers[i], &relation->columns[place], InvalidOid);
	}
	in->version = relation->version;
	MemoryContextSwitchTo(old);
}

/*
 * The key of a row as the source has it, and behind it which table's it is.  NULL when
 * nobody asks, or when it is no value to be in a temporary file here: then the table is
 * not repaired.
 */
static FloDigestValue *
source_keys(Incoming *in, const FloChange *change, int *nkeys)
{
	FloDigestValue *keys;

	*nkeys = in->unit->reader->plan->repair ? list_length(in->source->plan->keys) : 0;
	if (*nkeys > 0 && !flo_worker_rules_may_show_key(in->unit->reader->rules, change->relation))
		*nkeys = 0;
	if (*nkeys == 0)
		return NULL;
	if (in->version != change->relation->version)
		bind_keys(in, change->relation);
	keys = palloc0((*nkeys + 1) * sizeof(FloDigestValue));
	keys[*nkeys].data = psprintf("%u", in->source->plan->relation);
	keys[*nkeys].len = strlen(keys[*nkeys].data);
	for (int i = 0; i < *nkeys; i++)
	{
		const FloValue *value = &change->new.values[in->key_places[i]];

		if (value->kind == FLO_VALUE_TEXT || value->kind == FLO_VALUE_BINARY)
			keys[i].data = flo_reader_text(&in->key_readers[i], value, &keys[i].len);
	}
	(*nkeys)++;
	return keys;
}

static void
take_record(Exchange *x, Incoming *in, char *data, uint32 len)
{
	const FloChange *change = flo_change_parse(x->parser, data, len);
	FloCompareTable *table = in->unit->table;
	MemoryContext old;
	FloDigestValue *values;
	FloDigestValue *keys;
	FloAsRole	as;
	int			nkeys;

	if (change->op != FLO_OP_INSERT)
		return;
	if (change->relation->id != in->source->plan->relation)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a chunk of table \"%s.%s\" has rows of another table",
						in->source->plan->schema, in->source->plan->table)));
	old = MemoryContextSwitchTo(x->row_context);
	keys = source_keys(in, change, &nkeys);
	change = flo_worker_rules_apply(x->r->rules, change, &x->counters);
	if (change != NULL)
	{
		values = palloc(Max(table->ncolumns, 1) * sizeof(FloDigestValue));
		flo_compare_enter(table, &as);
		flo_compare_convert(table, in->source, change, values);
		flo_as_role_leave(&as);
		sort_row(in->unit, &in->unit->source, values, keys, nkeys);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(x->row_context);
}

/* More bytes of a row that is larger than a chunk */
static void
take_part(Exchange *x, Incoming *in, IncomingRange *range, const char *data, uint32 len)
{
	enlargeStringInfo(&range->part, len + 1);
	appendBinaryStringInfo(&range->part, data, len);
	if ((uint32) range->part.len < range->part_total)
		return;
	take_record(x, in, range->part.data, range->part_total);
	range->part_total = 0;
	pfree(range->part.data);
}

static void
begin_part(Exchange *x, Incoming *in, IncomingRange *range, const char *data, uint32 len,
		   uint32 total)
{
	MemoryContext old;

	if (total > MaxAllocSize / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a row of table \"%s.%s\" is too large to be compared",
						in->source->plan->schema, in->source->plan->table)));
	old = MemoryContextSwitchTo(GetMemoryChunkContext(in));
	initStringInfo(&range->part);
	MemoryContextSwitchTo(old);
	range->part_total = total;
	take_part(x, in, range, data, len);
}

static void
take_chunk(Exchange *x, Incoming *in, IncomingRange *range, FloStoredMessage *message)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;
	const char *data;
	uint32		len;
	uint32		total;

	(void) flo_chunk_parse(message->data, message->len, &header);
	if (header.encoding != x->encoding)
	{
		x->encoding = header.encoding;
		flo_follow_encoding(x->parser, x->encoding);
	}
	flo_change_begin_chunk(x->parser);
	flo_chunk_read(&reader, message->data, message->len);
	(void) flo_chunk_next_copy_key(&reader, &key);
	if (((header.flags & FLO_CHUNK_STARTS_FRAGMENT) != 0) != (range->part_total > 0))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a chunk of table \"%s.%s\" does not go on with the one before it",
						in->source->plan->schema, in->source->plan->table)));
	if (range->part_total > 0)
	{
		len = flo_chunk_take_raw(&reader, range->part_total - range->part.len, &data);
		take_part(x, in, range, data, len);
	}
	while (flo_chunk_next(&reader, &data, &len, &total))
	{
		if (len == total)
			take_record(x, in, unconstify(char *, data), len);
		else
			begin_part(x, in, range, data, len, total);
	}
	range->next++;
	in->taken++;
}

/* --- the stream ---------------------------------------------------------- */

static Incoming *
incoming_of(Exchange *x, uint32 relation)
{
	ListCell   *cell;

	foreach(cell, x->incoming)
	{
		Incoming   *in = lfirst(cell);

		if (in->source->plan->relation == relation)
			return in;
	}
	return NULL;
}

/* Those that are read there now are among the newest */
static IncomingRange *
range_of(Incoming *in, uint32 number)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(in));
	IncomingRange *range = NULL;

	for (int i = list_length(in->ranges) - 1; i >= 0 && range == NULL; i--)
		if (((IncomingRange *) list_nth(in->ranges, i))->number == number)
			range = list_nth(in->ranges, i);
	if (range == NULL && list_length(in->ranges) < MOST_RANGES)
	{
		range = palloc0(sizeof(IncomingRange));
		range->number = number;
		in->ranges = lappend(in->ranges, range);
	}
	MemoryContextSwitchTo(old);
	return range;
}

/* Of this round, and which table's and range's; else NULL */
static Incoming *
recognise(Exchange *x, const FloStoredMessage *message, IncomingRange **range, uint32 *ordinal)
{
	FloChunkHeader header;
	FloChunkReader reader;
	FloCopyKey	key;
	Incoming   *in;

	if (flo_chunk_parse(message->data, message->len, &header) != NULL ||
		!(header.flags & FLO_CHUNK_COPY) || (header.flags & FLO_CHUNK_COMPRESSED) ||
		strcmp(flo_text_of_uuid(&header.generation), x->r->generation) != 0)
		return NULL;
	flo_chunk_read(&reader, message->data, message->len);
	if (!flo_chunk_next_copy_key(&reader, &key) || key.attempt != x->r->attempt)
		return NULL;
	in = incoming_of(x, key.relation);
	*ordinal = key.ordinal;
	*range = in != NULL ? range_of(in, key.range) : NULL;
	return *range != NULL && key.ordinal >= (*range)->next ? in : NULL;
}

static uint32
ordinal_of(const FloStoredMessage *message)
{
	FloChunkReader reader;
	FloCopyKey	key = {0};

	flo_chunk_read(&reader, message->data, message->len);
	(void) flo_chunk_next_copy_key(&reader, &key);
	return key.ordinal;
}

/* Those that waited for the one that came */
static void
take_held(Exchange *x, Incoming *in, IncomingRange *range)
{
	bool		again = true;

	while (again)
	{
		ListCell   *cell;

		again = false;
		foreach(cell, range->held)
		{
			FloStoredMessage *message = lfirst(cell);

			if (ordinal_of(message) > range->next)
				continue;
			again = ordinal_of(message) == range->next;
			range->held = foreach_delete_current(range->held, cell);
			if (again)
				take_chunk(x, in, range, message);
			pfree(message->data);
			pfree(message);
			if (again)
				break;
		}
	}
}

static void
hold(Incoming *in, IncomingRange *range, const FloStoredMessage *message)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(in));
	FloStoredMessage *copy = palloc(sizeof(FloStoredMessage));

	*copy = *message;
	copy->data = palloc(message->len + 1);
	memcpy(copy->data, message->data, message->len);
	range->held = lappend(range->held, copy);
	MemoryContextSwitchTo(old);
	if (list_length(range->held) > MOST_HELD)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a chunk of table \"%s.%s\" is not in the compare stream",
						in->source->plan->schema, in->source->plan->table)));
}

/*
 * The message to come is not there: is it because there is none yet?  Those that all
 * have read are removed from the stream's beginning.
 */
static bool
find_next(Exchange *x)
{
	FloStreamInfo info;

	if (!flo_stream_info(x->r->bus, x->stream, &info) || info.messages == 0)
		return false;
	if (x->next > info.last_seq + 1)
		x->next = 0;			/* it is another stream now */
	if (x->next > info.last_seq)
		return false;
	if (x->next < info.first_seq)
		x->next = info.first_seq;
	else if (++x->tries > MOST_TRIES)
		x->next++;				/* somebody has deleted it */
	return true;
}

/* One message; false when there is none yet */
static bool
take_message(Exchange *x)
{
	FloStoredMessage message;
	Incoming   *in;
	IncomingRange *range;
	uint32		ordinal;

	if (x->next == 0 || !flo_stream_get(x->r->bus, x->stream, x->next, &message))
		return find_next(x);
	x->tries = 0;
	in = recognise(x, &message, &range, &ordinal);
	if (in != NULL && ordinal > range->next)
		hold(in, range, &message);
	else if (in != NULL)
	{
		take_chunk(x, in, range, &message);
		take_held(x, in, range);
	}
	x->r->seq = x->next++;
	return true;
}

/* --- what has come of it ------------------------------------------------- */

static char *
row_json(const FloCompareUnit *unit, const FloCompareRow *row, bool key_alone)
{
	const FloCompareTable *table = unit->table;
	const char *next = row->values;
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < table->ncolumns; i++)
	{
		bool		cut;
		char	   *value = flo_compare_row_value(&next, &cut);
		bool		wanted = !key_alone;

		for (int j = 0; j < table->nkey; j++)
			wanted |= table->key[j] == i;
		if (!wanted)
			continue;
		appendStringInfoString(&json, json.len == 0 ? "{" : ", ");
		escape_json(&json, table->columns[i].name);
		appendStringInfoString(&json, ": ");
		if (value == NULL)
			appendStringInfoString(&json, "null");
		else
			escape_json(&json, cut ? psprintf("%s...", value) : value);
	}
	appendStringInfoString(&json, json.len == 0 ? "{}" : "}");
	return json.data;
}

/*
 * What stands behind the values that are shown is the key at the source, and behind
 * that, of a row that came from there, which table's it is
 */
static void
note_repair(FloCompareUnit *unit, const FloCompareRow *row, bool extra)
{
	FloCompareSource *source = linitial(unit->table->sources);
	FloRepairKey *repair;
	List	   *values = NIL;
	const char *next = row->values;
	bool		cut;

	for (int i = 0; i < unit->table->ncolumns; i++)
		(void) flo_compare_row_value(&next, &cut);
	while (next < row->end)
		values = lappend(values, flo_compare_row_value(&next, &cut));
	if (values == NIL)
		return;					/* nothing of its key may be told */
	if (!extra)
	{
		source = flo_compare_source(unit->table, strtoul(llast(values), NULL, 10));
		values = list_delete_last(values);
	}
	if (list_member_ptr(values, NULL))
		return;
	if (list_length(source->repairs) >= FLO_MAX_REPAIRS)
	{
		source->repairs_cut = true;
		list_free_deep(values);
		return;
	}
	repair = palloc0(sizeof(FloRepairKey));
	repair->values = values;
	repair->extra = extra;
	source->repairs = lappend(source->repairs, repair);
}

static void
take_difference(void *arg, const FloCompareRow *source, const FloCompareRow *here)
{
	FloCompareUnit *unit = arg;
	FloCompareReader *r = unit->reader;
	MemoryContext old = MemoryContextSwitchTo(r->context);

	if (list_length(unit->samples) < r->plan->samples)
	{
		FloComparedSample *sample = palloc0(sizeof(FloComparedSample));

		sample->kind = source == NULL ? "extra" : here == NULL ? "missing" : "different";
		sample->key = row_json(unit, source != NULL ? source : here, true);
		sample->source_row = source != NULL ? row_json(unit, source, false) : NULL;
		sample->destination_row = here != NULL ? row_json(unit, here, false) : NULL;
		unit->samples = lappend(unit->samples, sample);
	}
	if (source != NULL && r->plan->repair && has_keys(unit))
		note_repair(unit, source, false);
	else if (source == NULL && names_extra_rows(unit))
		note_repair(unit, here, true);
	MemoryContextSwitchTo(old);
}

static void
proceed(void *arg)
{
	flo_compare_proceed(((FloCompareUnit *) arg)->reader);
}

static void
compare(FloCompareUnit *unit)
{
	if (unit->here == NULL)
		unit->here = begin_sort(unit);
	if (unit->source == NULL)
		unit->source = begin_sort(unit);
	flo_compare_sorted(unit->source, unit->here, &unit->counts, take_difference, proceed, unit);
	flo_compare_sort_end(unit->source);
	flo_compare_sort_end(unit->here);
	unit->source = unit->here = NULL;
	flo_compare_tell(unit, unit->counts.missing + unit->counts.extra + unit->counts.different > 0 ?
					 FLO_COMPARED_DIFFERENT : FLO_COMPARED_EQUAL, NULL, NULL);
}

/* How many chunks each table has, as far as the source has said it */
static void
note_said(Exchange *x)
{
	FloCompareReader *r = x->r;
	List	   *said = flo_compare_said(r);
	ListCell   *cell;

	foreach(cell, x->incoming)
	{
		Incoming   *in = lfirst(cell);
		FloCompareTableRecord *record;

		if (in->chunks >= 0 || !list_member_oid(said, in->source->plan->relation))
			continue;
		record = flo_comparison_get(r->bus, r->bucket,
									flo_compare_table_key(r->id, r->attempt,
														  in->source->plan->relation),
									r->generation, &flo_compare_table_format);
		if (record == NULL)
			continue;
		in->chunks = record->chunks;
		if (record->failed != NULL && in->unit->table->trouble == NULL)
		{
			in->unit->table->trouble = MemoryContextStrdup(r->context, record->failed);
			in->unit->table->passing = true;
		}
	}
}

/* Compare what is complete; is anything still to come? */
static bool
compare_complete(Exchange *x)
{
	bool		more = false;
	ListCell   *cell;

	foreach(cell, x->r->units)
	{
		FloCompareUnit *unit = lfirst(cell);
		bool		complete = true;
		ListCell   *other;

		if (unit->told || unit->table->trouble != NULL)
			continue;
		foreach(other, x->incoming)
		{
			Incoming   *in = lfirst(other);

			complete &= in->unit != unit || (in->chunks >= 0 && in->taken >= in->chunks);
		}
		if (complete)
			compare(unit);
		more |= !complete;
	}
	return more;
}

static Exchange *
begin(FloCompareReader *r)
{
	Exchange   *x = palloc0(sizeof(Exchange));
	ListCell   *cell;

	x->r = r;
	x->stream = flo_name_compare_stream(r->group);
	x->parser = flo_change_parser_create(CurrentMemoryContext);
	x->encoding = -1;
	x->row_context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared row",
										   ALLOCSET_DEFAULT_SIZES);
	x->turn = AllocSetContextCreate(CurrentMemoryContext, "pg_flo comparison turn",
									ALLOCSET_DEFAULT_SIZES);
	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);
		ListCell   *other;

		if (unit->table->trouble != NULL)
			continue;			/* its rows are passed over */
		foreach(other, unit->table->sources)
		{
			Incoming   *in = palloc0(sizeof(Incoming));

			in->unit = unit;
			in->source = lfirst(other);
			in->chunks = -1;
			x->incoming = lappend(x->incoming, in);
		}
	}
	return x;
}

void
flo_compare_exchange(FloCompareReader *r)
{
	Exchange   *x = begin(r);
	FloClock	asked = flo_clock();
	FloClock	looked = 0;
	long		pause = FLO_COMPARE_PAUSE;

	MemoryContextSwitchTo(x->turn);
	for (;;)
	{
		MemoryContextReset(x->turn);
		flo_compare_proceed(r);
		if (take_message(x))
		{
			pause = FLO_COMPARE_PAUSE;
			if (!flo_clock_passed(looked, FLO_COMPARE_PAUSE_MAX))
				continue;
		}
		looked = flo_clock();
		note_said(x);
		if (!compare_complete(x))
			break;
		if (flo_clock_passed(asked, FLO_COMPARE_PATIENCE))
		{
			asked = flo_clock();
			flo_compare_check_source(r);
		}
		flo_bus_wait_for(r->bus, FLO_WAIT_APPLY, pause);
		pause = Min(pause * 2, FLO_COMPARE_PAUSE_MAX);
	}
	MemoryContextSwitchTo(r->context);
}
