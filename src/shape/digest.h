/*
 * digest.h
 *		Sums over the rows of a table that do not depend on their order, by which
 *		two sides find out whether they hold the same.
 *
 * Pure functions over values as text.  Rows fall into buckets by their key; a
 * bucket has a count and a sum of 128 bits of its rows' hashes, so sums of parts
 * of a table add up to that of the whole, and a row that is there twice counts
 * twice.  Both sides must use the same seed, number of buckets, columns in the same
 * order, and key.  Text is hashed in UTF-8, whatever the databases are.
 */
#ifndef FLO_DIGEST_H
#define FLO_DIGEST_H

#include "port/atomics.h"

/* Of a table; a power of two */
#define FLO_MIN_BUCKETS 64
#define FLO_MAX_BUCKETS 65536

typedef struct FloBucketSum
{
	uint64		rows;
	uint64		low;			/* sum of the hashes, modulo 2^128 */
	uint64		high;
} FloBucketSum;

/*
 * A column's value as text in the database's encoding; data NULL = NULL.  What keys are
 * told apart by may be a hash of its type's, the same for values that are equal there,
 * however they are written.
 */
typedef struct FloDigestValue
{
	const char *data;
	int			len;
	bool		is_hashed;
	uint64		hash;
} FloDigestValue;

typedef struct FloDigest
{
	uint64		seed;
	uint32		nbuckets;
	int			natts;
	bool	   *is_key;			/* [natts]; none is: the whole row is the key */
	uint64		rows;
	FloBucketSum *buckets;		/* [nbuckets] */
} FloDigest;

/* So many are fit for a table of about that many rows */
extern int64 flo_digest_buckets_for(double rows);

/* In the current memory context, with sums of no rows */
extern FloDigest *flo_digest_create(uint64 seed, int64 nbuckets, int natts, const bool *is_key);

/* The bucket of a row, by its key alone; what it allocates is little */
extern uint32 flo_digest_bucket(const FloDigest *digest, const FloDigestValue *values);

/* Add a row */
extern void flo_digest_add(FloDigest *digest, const FloDigestValue *values);

/* Add the sums of "from", of as many buckets */
extern void flo_digest_merge(FloBucketSum *into, const FloBucketSum *from, int64 nbuckets);

/*
 * Sums in shared memory, of several processes that add up parts of a table: as sums
 * know no order, additions of two that come at once are as good as one after the other,
 * and need no lock.  To be read when all have added theirs.
 */
typedef struct FloSharedSum
{
	pg_atomic_uint64 rows;
	pg_atomic_uint64 low;
	pg_atomic_uint64 high;
} FloSharedSum;

extern void flo_digest_share(FloSharedSum *sums, int64 nbuckets);
extern void flo_digest_add_shared(FloSharedSum *into, const FloDigest *digest);
extern void flo_digest_read_shared(FloSharedSum *from, FloBucketSum *buckets, int64 nbuckets);

/* For documents, palloc'd; "parse" is NULL for what is not of so many buckets */
extern char *flo_digest_format(const FloBucketSum *buckets, int64 nbuckets);
extern FloBucketSum *flo_digest_parse(const char *text, int64 nbuckets);

/*
 * A choice of buckets: one byte for each (it is asked for each row).  As text a
 * hex digit holds four, the lowest bit first; "parse" is NULL for what is not of so many.
 */
extern bool *flo_buckets_differing(const FloBucketSum *one, const FloBucketSum *other,
								   int64 nbuckets, int64 *count);
extern char *flo_buckets_format(const bool *wanted, int64 nbuckets);
extern bool *flo_buckets_parse(const char *text, int64 nbuckets);

#endif
