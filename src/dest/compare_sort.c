/*
 * compare_sort.c
 *		Rows of both sides of a comparison, sorted and compared.
 *
 * A row is sorted as the hash of its key, that of all its values, and the
 * beginnings of these for people to see.  So a sort needs the same memory
 * whatever the rows are, and what does not fit goes to temporary files.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "core/compat_table.h"
#include "dest/compare_sort.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

#define HASHES (2 * sizeof(FloRowHash))

/* Rows between two calls of "proceed" */
#define PROCEED_EVERY 1024

struct FloCompareSort
{
	Tuplesortstate *state;
	StringInfoData buffer;
	int64		rows;
	bool		sorted;
	MemoryContext context;		/* of the row at hand */
};

/* --- filling ------------------------------------------------------------- */

FloCompareSort *
flo_compare_sort_begin(int kilobytes)
{
	FloCompareSort *sort = palloc0(sizeof(FloCompareSort));

	sort->state = tuplesort_begin_datum(BYTEAOID, ByteaLessOperator, InvalidOid, false, kilobytes,
										NULL, TUPLESORT_NONE);
	sort->context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo compared row",
										  ALLOCSET_SMALL_SIZES);
	initStringInfo(&sort->buffer);
	return sort;
}

/* By its text, or by what its type takes for equal */
static uint64
mix(uint64 state, const FloDigestValue *value, bool by_type)
{
	uint64		head = value->data == NULL ? 0 :
		(UINT64CONST(1) << 32) | (by_type ? 0 : (uint32) value->len);

	state = hash_bytes_extended((const unsigned char *) &head, sizeof(head), state);
	if (value->data == NULL)
		return state;
	if (by_type)
		return hash_bytes_extended((const unsigned char *) &value->hash, sizeof(value->hash),
								   state);
	return hash_bytes_extended((const unsigned char *) value->data, value->len, state);
}

FloRowHash
flo_row_hash(uint64 seed, const FloDigestValue *values, const int *columns, int count)
{
	FloRowHash	hash = {seed, ~seed};

	for (int i = 0; i < count; i++)
	{
		const FloDigestValue *value = &values[columns != NULL ? columns[i] : i];

		hash.one = mix(hash.one, value, columns != NULL && value->is_hashed);
		hash.other = mix(hash.other, value, columns != NULL && value->is_hashed);
	}
	return hash;
}

/* A value, or its beginning, cut between characters */
static void
append_value(StringInfo buffer, const FloDigestValue *value, int limit)
{
	int32		shown = value->data == NULL ? -1 : Min(value->len, limit);

	if (value->data != NULL && shown < value->len)
		shown = pg_mbcliplen(value->data, value->len, shown);
	appendBinaryStringInfo(buffer, (char *) &shown, sizeof(shown));
	if (value->data == NULL)
		return;
	appendStringInfoChar(buffer, shown < value->len ? '+' : ' ');
	appendBinaryStringInfo(buffer, value->data, shown);
}

void
flo_compare_sort_put(FloCompareSort *sort, FloRowHash key, FloRowHash row,
					 const FloDigestValue *values, int count,
					 const FloDigestValue *whole, int whole_count)
{
	StringInfo	buffer = &sort->buffer;

	resetStringInfo(buffer);
	appendBinaryStringInfo(buffer, "\0\0\0\0", VARHDRSZ);
	appendBinaryStringInfo(buffer, (char *) &key, sizeof(key));
	appendBinaryStringInfo(buffer, (char *) &row, sizeof(row));
	for (int i = 0; i < count; i++)
		append_value(buffer, &values[i], FLO_COMPARE_SHOWN);
	for (int i = 0; i < whole_count; i++)
		append_value(buffer, &whole[i], PG_INT32_MAX);
	SET_VARSIZE(buffer->data, buffer->len);
	tuplesort_putdatum(sort->state, PointerGetDatum(buffer->data), false);
	sort->rows++;
}

int64
flo_compare_sort_rows(const FloCompareSort *sort)
{
	return sort->rows;
}

void
flo_compare_sort_end(FloCompareSort *sort)
{
	tuplesort_end(sort->state);
	MemoryContextDelete(sort->context);
	pfree(sort->buffer.data);
	pfree(sort);
}

char *
flo_compare_row_value(const char **next, bool *cut)
{
	int32		length;
	char	   *value;

	memcpy(&length, *next, sizeof(length));
	*next += sizeof(length);
	*cut = false;
	if (length < 0)
		return NULL;
	*cut = **next == '+';
	value = pnstrdup(*next + 1, length);
	*next += 1 + length;
	return value;
}

/* --- comparing ----------------------------------------------------------- */

/* One side, at its next row */
typedef struct Side
{
	FloCompareSort *sort;
	bool		there;			/* is there one? */
	FloCompareRow row;

	/* rows of the key at hand that the other side has not */
	int64		left;
	FloCompareRow first;
	char	   *first_data;
} Side;

static void
advance(Side *side)
{
	MemoryContext old;
	Datum		datum;
	bool		isnull;

	MemoryContextReset(side->sort->context);
	old = MemoryContextSwitchTo(side->sort->context);
	side->there = flo_compat_tuplesort_getdatum(side->sort->state, &datum, &isnull);
	MemoryContextSwitchTo(old);
	if (!side->there)
		return;
	if (isnull || VARSIZE_ANY_EXHDR(DatumGetPointer(datum)) < HASHES)
		elog(ERROR, "a sorted row is shorter than its hashes");
	side->row.values = VARDATA_ANY(DatumGetPointer(datum));
	side->row.end = side->row.values + VARSIZE_ANY_EXHDR(DatumGetPointer(datum));
	memcpy(&side->row.key, side->row.values, sizeof(FloRowHash));
	memcpy(&side->row.row, side->row.values + sizeof(FloRowHash), sizeof(FloRowHash));
	side->row.values += HASHES;
}

static void
begin_side(Side *side, FloCompareSort *sort)
{
	memset(side, 0, sizeof(*side));
	side->sort = sort;
	tuplesort_performsort(sort->state);
	advance(side);
}

/* The other side does not have this row */
static void
leave(Side *side)
{
	if (side->left++ == 0)
	{
		size_t		length = side->row.end - side->row.values;

		side->first_data = palloc(length + 1);
		memcpy(side->first_data, side->row.values, length);
		side->first = side->row;
		side->first.values = side->first_data;
		side->first.end = side->first_data + length;
	}
	advance(side);
}

static void
end_key(Side *side)
{
	side->left = 0;
	if (side->first_data != NULL)
		pfree(side->first_data);
	side->first_data = NULL;
}

static inline bool
has_key(const Side *side, const FloRowHash *key)
{
	return side->there && memcmp(&side->row.key, key, sizeof(FloRowHash)) == 0;
}

/* All rows of the lowest key */
static void
compare_key(Side *source, Side *destination)
{
	bool		first = !destination->there ||
		(source->there && memcmp(&source->row.key, &destination->row.key, sizeof(FloRowHash)) < 0);
	FloRowHash	key = first ? source->row.key : destination->row.key;

	for (;;)
	{
		bool		here = has_key(source, &key);
		bool		there = has_key(destination, &key);
		int			order;

		if (!here && !there)
			return;
		order = !there ? -1 : !here ? 1 :
			memcmp(&source->row.row, &destination->row.row, sizeof(FloRowHash));
		if (order < 0)
			leave(source);
		else if (order > 0)
			leave(destination);
		else
		{
			advance(source);
			advance(destination);
		}
	}
}

void
flo_compare_sorted(FloCompareSort *source, FloCompareSort *destination, FloCompareCounts *counts,
				   FloCompareSample sample, void (*proceed) (void *arg), void *arg)
{
	Side		s;
	Side		d;
	uint64		keys = 0;

	memset(counts, 0, sizeof(*counts));
	begin_side(&s, source);
	proceed(arg);
	begin_side(&d, destination);
	while (s.there || d.there)
	{
		int64		different;

		if (keys++ % PROCEED_EVERY == 0)
			proceed(arg);
		compare_key(&s, &d);
		different = Min(s.left, d.left);
		counts->different += different;
		counts->missing += s.left - different;
		counts->extra += d.left - different;
		if (s.left > 0 || d.left > 0)
			sample(arg, s.left > 0 ? &s.first : NULL, d.left > 0 ? &d.first : NULL);
		end_key(&s);
		end_key(&d);
	}
}
