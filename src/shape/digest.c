/*
 * digest.c
 *		Sums over the rows of a table that do not depend on their order.
 *
 * A row is hashed as the run of its columns, each a byte that says whether it is
 * NULL, its length and its bytes: no two different rows make the same run.  The
 * seed is another one in each comparison, so that nobody can prepare rows whose
 * hashes are the same.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "shape/digest.h"
#include "utils/memutils.h"

/* Rows of a bucket, on average */
#define ROWS_PER_BUCKET 2000

/* Hashes that have nothing to do with each other */
#define OF_KEY UINT64CONST(0x6b65795f666c6f31)
#define OF_ROW_LOW UINT64CONST(0x6c6f775f666c6f32)
#define OF_ROW_HIGH UINT64CONST(0x686967685f666c33)

/* Numbers of a bucket as text */
#define BUCKET_DIGITS 48

typedef struct Hashes
{
	uint64		key;
	uint64		low;
	uint64		high;
} Hashes;

int64
flo_digest_buckets_for(double rows)
{
	double		wanted = rows / ROWS_PER_BUCKET;

	if (wanted <= FLO_MIN_BUCKETS)
		return FLO_MIN_BUCKETS;
	if (wanted >= FLO_MAX_BUCKETS)
		return FLO_MAX_BUCKETS;
	return (int64) pg_nextpower2_32((uint32) wanted);
}

FloDigest *
flo_digest_create(uint64 seed, int64 nbuckets, int natts, const bool *is_key)
{
	FloDigest  *digest = palloc0(sizeof(FloDigest));

	Assert(nbuckets > 0 && nbuckets <= FLO_MAX_BUCKETS && (nbuckets & (nbuckets - 1)) == 0);
	digest->seed = seed;
	digest->nbuckets = (uint32) nbuckets;
	digest->natts = natts;
	digest->is_key = palloc0(sizeof(bool) * Max(natts, 1));
	for (int i = 0; i < natts; i++)
		digest->is_key[i] = is_key[i];
	digest->buckets = palloc0(sizeof(FloBucketSum) * nbuckets);
	return digest;
}

/* One after the other: a value is not copied to be hashed */
static uint64
mix(uint64 state, const char *data, int len)
{
	return hash_bytes_extended((const unsigned char *) data, len, state);
}

static uint64
mix_value(uint64 state, const FloDigestValue *value)
{
	uint64		head = value->data == NULL ? 0 : (UINT64CONST(1) << 32) | (uint32) value->len;

	head = pg_hton64(head);
	state = mix(state, (const char *) &head, sizeof(head));
	return value->data == NULL ? state : mix(state, value->data, value->len);
}

static bool
has_key(const FloDigest *digest)
{
	for (int i = 0; i < digest->natts; i++)
		if (digest->is_key[i])
			return true;
	return false;
}

/* In UTF-8; *freed is what has to be freed then, or NULL */
static FloDigestValue
portable(const FloDigestValue *value, char **freed)
{
	FloDigestValue result = *value;

	*freed = NULL;
	if (value->data == NULL || GetDatabaseEncoding() == PG_UTF8)
		return result;
	result.data = pg_server_to_any(value->data, value->len, PG_UTF8);
	if (result.data != value->data)
	{
		result.len = strlen(result.data);
		*freed = unconstify(char *, result.data);
	}
	return result;
}

static Hashes
hash_row(const FloDigest *digest, const FloDigestValue *values, bool key_alone)
{
	bool		keyed = has_key(digest);
	Hashes		hashes = {
		digest->seed ^ OF_KEY, digest->seed ^ OF_ROW_LOW, digest->seed ^ OF_ROW_HIGH
	};

	for (int i = 0; i < digest->natts; i++)
	{
		bool		of_key = !keyed || digest->is_key[i];
		char	   *freed;
		FloDigestValue value;

		if (key_alone && !of_key)
			continue;
		value = portable(&values[i], &freed);
		if (of_key)
			hashes.key = mix_value(hashes.key, &value);
		if (!key_alone)
		{
			hashes.low = mix_value(hashes.low, &value);
			hashes.high = mix_value(hashes.high, &value);
		}
		if (freed != NULL)
			pfree(freed);
	}
	return hashes;
}

uint32
flo_digest_bucket(const FloDigest *digest, const FloDigestValue *values)
{
	return (uint32) hash_row(digest, values, true).key & (digest->nbuckets - 1);
}

static void
add(FloBucketSum *sum, uint64 rows, uint64 low, uint64 high)
{
	sum->rows += rows;
	sum->low += low;
	sum->high += high + (sum->low < low ? 1 : 0);
}

void
flo_digest_add(FloDigest *digest, const FloDigestValue *values)
{
	Hashes		hashes = hash_row(digest, values, false);

	add(&digest->buckets[(uint32) hashes.key & (digest->nbuckets - 1)], 1, hashes.low,
		hashes.high);
	digest->rows++;
}

void
flo_digest_merge(FloBucketSum *into, const FloBucketSum *from, int64 nbuckets)
{
	for (int64 i = 0; i < nbuckets; i++)
		add(&into[i], from[i].rows, from[i].low, from[i].high);
}

void
flo_digest_share(FloSharedSum *sums, int64 nbuckets)
{
	for (int64 i = 0; i < nbuckets; i++)
	{
		pg_atomic_init_u64(&sums[i].rows, 0);
		pg_atomic_init_u64(&sums[i].low, 0);
		pg_atomic_init_u64(&sums[i].high, 0);
	}
}

/* What overflows one half is carried by who made it do so */
void
flo_digest_add_shared(FloSharedSum *into, const FloDigest *digest)
{
	for (int64 i = 0; i < digest->nbuckets; i++)
	{
		const FloBucketSum *sum = &digest->buckets[i];
		uint64		before;

		if (sum->rows == 0)
			continue;
		before = pg_atomic_fetch_add_u64(&into[i].low, (int64) sum->low);
		(void) pg_atomic_fetch_add_u64(&into[i].high, (int64) (sum->high +
															   (before + sum->low < before)));
		(void) pg_atomic_fetch_add_u64(&into[i].rows, (int64) sum->rows);
	}
}

void
flo_digest_read_shared(FloSharedSum *from, FloBucketSum *buckets, int64 nbuckets)
{
	for (int64 i = 0; i < nbuckets; i++)
	{
		buckets[i].rows = pg_atomic_read_u64(&from[i].rows);
		buckets[i].low = pg_atomic_read_u64(&from[i].low);
		buckets[i].high = pg_atomic_read_u64(&from[i].high);
	}
}

/* --- as text ------------------------------------------------------------- */

static const char digits[] = "0123456789abcdef";

static int
digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *
put_number(char *at, uint64 number)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = digits[(number >> shift) & 15];
	return at;
}

static bool
take_number(const char **at, uint64 *number)
{
	*number = 0;
	for (int i = 0; i < 16; i++)
	{
		int			digit = digit_of(*(*at)++);

		if (digit < 0)
			return false;
		*number = *number << 4 | (uint64) digit;
	}
	return true;
}

char *
flo_digest_format(const FloBucketSum *buckets, int64 nbuckets)
{
	char	   *text = palloc(nbuckets * BUCKET_DIGITS + 1);
	char	   *at = text;

	for (int64 i = 0; i < nbuckets; i++)
	{
		at = put_number(at, buckets[i].rows);
		at = put_number(at, buckets[i].low);
		at = put_number(at, buckets[i].high);
	}
	*at = '\0';
	return text;
}

FloBucketSum *
flo_digest_parse(const char *text, int64 nbuckets)
{
	FloBucketSum *buckets;

	if (nbuckets < 1 || nbuckets > FLO_MAX_BUCKETS ||
		strlen(text) != (size_t) nbuckets * BUCKET_DIGITS)
		return NULL;
	buckets = palloc(sizeof(FloBucketSum) * nbuckets);
	for (int64 i = 0; i < nbuckets; i++)
	{
		if (!take_number(&text, &buckets[i].rows) || !take_number(&text, &buckets[i].low) ||
			!take_number(&text, &buckets[i].high))
			return NULL;
	}
	return buckets;
}

bool *
flo_buckets_differing(const FloBucketSum *one, const FloBucketSum *other, int64 nbuckets,
					  int64 *count)
{
	bool	   *result = palloc(sizeof(bool) * nbuckets);

	*count = 0;
	for (int64 i = 0; i < nbuckets; i++)
	{
		result[i] = one[i].rows != other[i].rows || one[i].low != other[i].low ||
			one[i].high != other[i].high;
		*count += result[i];
	}
	return result;
}

char *
flo_buckets_format(const bool *wanted, int64 nbuckets)
{
	char	   *text = palloc0(nbuckets / 4 + 1);

	for (int64 i = 0; i < nbuckets; i += 4)
		text[i / 4] = digits[wanted[i] | wanted[i + 1] << 1 | wanted[i + 2] << 2 |
							 wanted[i + 3] << 3];
	return text;
}

bool *
flo_buckets_parse(const char *text, int64 nbuckets)
{
	bool	   *wanted;

	if (nbuckets < FLO_MIN_BUCKETS || nbuckets > FLO_MAX_BUCKETS ||
		strlen(text) != (size_t) nbuckets / 4)
		return NULL;
	wanted = palloc(sizeof(bool) * nbuckets);
	for (int64 i = 0; i < nbuckets; i += 4)
	{
		int			digit = digit_of(text[i / 4]);

		if (digit < 0)
			return NULL;
		for (int bit = 0; bit < 4; bit++)
			wanted[i + bit] = (digit >> bit & 1) != 0;
	}
	return wanted;
}
