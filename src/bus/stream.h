/*
 * stream.h
 *		JetStream administration: streams, stored messages, consumers, and the
 *		state bucket of a group.  What lies in that: records.h.
 *
 * All of it is request and reply on the group's own connection, with JSON
 * bodies.  Errors of the broker are raised as 08xxx / 42501 / 53xxx with its
 * words in the detail.  Results are allocated in the caller's context.
 */
#ifndef FLO_STREAM_H
#define FLO_STREAM_H

#include "access/xlogdefs.h"
#include "bus/bus.h"
#include "bus/json.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#define FLO_STREAM_REQUEST_TIMEOUT 5000 /* ms */

/* What a server of a cluster answers that has been elected first, which takes up to nine seconds */
#define FLO_STREAM_CHANGE_TIMEOUT 12000

/* What the broker adds to a message, and more than that */
#define FLO_MESSAGE_OVERHEAD 512

typedef struct FloStreamConfig
{
	const char *name;
	const char *subject;
	int64		max_bytes;		/* 0 = unlimited */
	int64		max_age;		/* s, 0 = unlimited */
	int			replicas;
	int			per_subject;	/* messages kept of each subject, 0 = all */
	const char *description;
} FloStreamConfig;

typedef struct FloStreamInfo
{
	uint64		messages;
	uint64		bytes;
	uint64		first_seq;		/* last_seq + 1 when empty */
	uint64		last_seq;
	uint64		consumers;
	int64		max_bytes;		/* 0 = unlimited */
	int64		max_age;		/* s, 0 = unlimited */
	int			replicas;
	char	   *description;
	FloJson		config;			/* all of it */
} FloStreamInfo;

/*
 * What the account may keep and does, as far as the server says; not what the
 * server itself has room for
 */
typedef struct FloAccountInfo
{
	int64		bytes;			/* in files */
	int64		max_bytes;		/* 0 = the account has no limit of its own */
	int64		streams;
	int64		max_streams;	/* likewise */
	int64		max_stream_bytes;	/* likewise, of one stream */
	bool		wants_max_bytes;	/* a stream must have a limit */

	bool		limited;		/* there may be limits that are not told here */
} FloAccountInfo;

extern void flo_account_info(FloBus *bus, FloAccountInfo *account);

/*
 * Bytes that may be added to a stream of the pipe such that others get on: what lets it be
 * removed again may have to be stored in the same account first, as events are.  It leaves an
 * eighth of the account; of that it takes up to a half, so that it gets on whatever others
 * have: an eighth of it, or any of that half when "alone", where nothing has to be stored for
 * what it holds.  PG_INT64_MAX: no limit.
 */
extern int64 flo_account_room(const FloAccountInfo *account, const FloStreamInfo *info,
							  bool alone);

/* That eighth */
extern int64 flo_account_left_to_others(const FloAccountInfo *account);

/*
 * Would what is sent behind a message that is refused for the account's limit be taken as
 * if that were stored?  nats-server up to 2.10.10 stores it first, and removes it again;
 * 2.10.11 to 2.11.11 and 2.12.0 to 2.12.3 count it all the same.  Then one goes at a time.
 */
extern bool flo_stream_counts_refused(const FloAccountInfo *account, const FloStreamInfo *info);

/* false, and nothing but zeros, when there is no such stream */
extern bool flo_stream_info(FloBus *bus, const char *stream, FloStreamInfo *info);

/* Create (file storage, limits retention, discard new, direct reads allowed) */
extern void flo_stream_create(FloBus *bus, const FloStreamConfig *config);

/* The same, but false when the broker has no room for what max_bytes promises */
extern bool flo_stream_try_create(FloBus *bus, const FloStreamConfig *config);

/*
 * Make an existing stream what config says, and what one is created with, where that
 * was changed by hand, as "there" shows; a WARNING when the broker has no room for what
 * its limits promise.  max_bytes falls no further than to what the stream holds and what
 * may be on its way: ask again later.
 */
extern void flo_stream_update(FloBus *bus, const FloStreamConfig *config,
							  const FloStreamInfo *there);

extern void flo_stream_delete(FloBus *bus, const char *stream); /* absent: no error */

/* Remove all messages with a lower sequence */
extern void flo_stream_purge_below(FloBus *bus, const char *stream, uint64 seq);

/* Remove one message */
extern void flo_stream_remove(FloBus *bus, const char *stream, uint64 seq);

typedef struct FloStoredMessage
{
	uint64		seq;
	char	   *subject;
	char	   *data;			/* one more byte behind the end is writable */
	int			len;
} FloStoredMessage;

/* The message stored under a sequence, from the stream's leader; false: no such message */
extern bool flo_stream_get(FloBus *bus, const char *stream, uint64 seq, FloStoredMessage *message);

/* The newest message of a subject */
extern bool flo_stream_get_last(FloBus *bus, const char *stream, const char *subject,
								FloStoredMessage *message);

/*
 * (Re-)create a pull consumer that starts at a sequence: acknowledge all, no
 * redelivery for hours, no limit on unacknowledged messages.  An existing
 * consumer of the name is deleted first.  start_seq is clamped to last + 1.
 */
extern void flo_consumer_create(FloBus *bus, const char *stream, const char *consumer,
								uint64 start_seq);

/*
 * (Re-)create a pull consumer that several processes share: from the first
 * message on, each acknowledged by itself and handed out again when that has
 * not happened after ack_wait seconds.
 */
extern void flo_consumer_create_shared(FloBus *bus, const char *stream, const char *consumer,
									   int ack_wait);

/* false: absent */
extern bool flo_consumer_delete(FloBus *bus, const char *stream, const char *consumer);

extern List *flo_consumer_names(FloBus *bus, const char *stream);	/* List of char * */

/*
 * State bucket: a JetStream key-value bucket with one value per key, readable
 * with the usual tools ("nats kv get pg_flo_state_users source").
 */
/* false when there is no such bucket */
extern bool flo_bucket_info(FloBus *bus, const char *bucket, FloStreamInfo *info);

/*
 * For the source.  Of the configuration, which is that of the group's stream,
 * replicas and description hold; its limit where the account wants one.  One
 * that exists gets the description.
 */
extern void flo_bucket_create(FloBus *bus, const char *bucket, const FloStreamConfig *config);

/* The same of one that exists, as "there" shows */
extern void flo_bucket_update(FloBus *bus, const char *bucket, const FloStreamConfig *config,
							  const FloStreamInfo *there);

/* For a worker, which can do without: false when the broker does not take it now */
extern bool flo_bucket_try_create(FloBus *bus, const char *bucket, int replicas);
extern void flo_bucket_delete(FloBus *bus, const char *bucket); /* absent: no error */

/*
 * Fire and forget, or stored for certain when "wait".  Those who watch the bucket
 * are told in any case, also when the broker has no room to store it.
 */
extern void flo_bucket_put(FloBus *bus, const char *bucket, const char *key, const char *value,
						   bool wait);

/* Stored for certain; false when the broker has no room for it, or there is no bucket */
extern bool flo_bucket_try_put(FloBus *bus, const char *bucket, const char *key, const char *value);

extern char *flo_bucket_get(FloBus *bus, const char *bucket, const char *key);	/* NULL: absent */

/* Absent: no error.  Needs no room, if need be by a purge of the key. */
extern void flo_bucket_remove(FloBus *bus, const char *bucket, const char *key);

/* All keys with this beginning, and that they were ever there: nobody is told.  For the source. */
extern void flo_bucket_purge(FloBus *bus, const char *bucket, const char *beginning);

/*
 * List of char *, NIL when the bucket is absent.  "beginning" is "" or the
 * first part of the keys with its dot.
 */
extern List *flo_bucket_keys(FloBus *bus, const char *bucket, const char *beginning);

/*
 * Texts that come with a copy: definitions, and values of sequences.  Those of
 * a copy that a marker asks for do not take the place of the first one's.
 */
#define FLO_SCHEMA_KEY "schema"
#define FLO_MARKED_SCHEMA_KEY "schema-marked"

/* What the former belongs to: a generation and a snapshot of it */
extern char *flo_schema_tag(const char *generation, uint32 attempt);

#define FLO_SEQUENCES_KEY "sequences"

/* The subject under which changes of the bucket's keys are published, for flo_bus_watch() */
extern char *flo_bucket_subject(const char *bucket);

#endif
