/*
 * kv.h
 *		Key-value buckets for others, which hold rows: not those of groups.
 *
 * A bucket is a stream KV_<bucket>, a key the subject $KV.<bucket>.<key> in it, as
 * the clients of NATS have agreed upon.
 */
#ifndef FLO_KV_H
#define FLO_KV_H

#include "access/xlogdefs.h"
#include "bus/bus.h"

/* Longest name of a bucket, without the terminating zero */
#define FLO_KV_BUCKET_MAX 64

/* Words on what is wrong with a name, NULL: nothing */
extern const char *flo_kv_bucket_problem(const char *bucket);

extern char *flo_kv_stream(const char *bucket);
extern char *flo_kv_subject(const char *bucket, const char *key);

typedef struct FloKvConfig
{
	const char *bucket;
	const char *owner;			/* words that say whose it is */
	int			history;		/* values kept of each key */
	int			replicas;
} FloKvConfig;

/*
 * Make the bucket where there is none, else see whether it can be used: 55000 when
 * it would not keep what it is given, 55006 when it is another worker's.  True when
 * it holds keys and does not say that it is ours.
 */
extern bool flo_kv_prepare(FloBus *bus, const FloKvConfig *config);

/*
 * Walk through the keys that a filter such as "public.orders.>" matches, oldest value first.  What is published
 * between two steps is not seen.  A connection that is lost meanwhile is an error,
 * 08006.
 */
typedef struct FloKvWalk FloKvWalk;

typedef struct FloKvKey
{
	char	   *key;			/* without bucket */
	uint64		seq;
	bool		removed;
	XLogRecPtr	lsn;			/* header Flo-Commit-LSN; invalid: there is
								 * none */
	char	   *place;			/* header Flo-Place; "": there is none */
} FloKvKey;

extern FloKvWalk *flo_kv_walk(FloBus *bus, const char *bucket, const char *filter);

/* The next ones, palloc'd; their number, 0 at the end, which also ends the walk */
extern int	flo_kv_walk_next(FloKvWalk *walk, FloKvKey **keys);

#endif
