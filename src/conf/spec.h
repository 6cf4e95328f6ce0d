/*
 * spec.h
 *		What the catalog tables say, as plain structs.
 */
#ifndef FLO_SPEC_H
#define FLO_SPEC_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

typedef enum FloMode
{
	FLO_MODE_STREAM,
	FLO_MODE_COPY,
	FLO_MODE_COPY_AND_STREAM
} FloMode;

typedef enum FloSinkKind
{
#define FLO_SINK(kind, name, ops) kind,
#include "conf/sink_list.h"
#undef FLO_SINK
} FloSinkKind;

typedef enum FloReleaseWal
{
	FLO_RELEASE_PUBLISHED,		/* when the data is on the broker's disk */
	FLO_RELEASE_APPLIED			/* when every worker has applied it */
} FloReleaseWal;

typedef enum FloKeyless
{
	FLO_KEYLESS_REFUSE,
	FLO_KEYLESS_FULL,
	FLO_KEYLESS_INSERT_ONLY,
	FLO_KEYLESS_SKIP
} FloKeyless;

typedef enum FloOriginFilter
{
	FLO_ORIGIN_LOCAL,			/* rows that arrived through an origin are not
								 * sent on */
	FLO_ORIGIN_ANY
} FloOriginFilter;

typedef enum FloOnError
{
	FLO_ON_ERROR_RETRY,
	FLO_ON_ERROR_STOP,
	FLO_ON_ERROR_DEAD_LETTER
} FloOnError;

typedef enum FloStart
{
	FLO_START_COPY,
	FLO_START_EARLIEST,
	FLO_START_LATEST,
	FLO_START_LSN,				/* the first commit at it or beyond */
	FLO_START_TIME				/* the first one then or later */
} FloStart;

typedef struct FloStartAt
{
	FloStart	kind;
	XLogRecPtr	lsn;
	TimestampTz time;
} FloStartAt;

typedef enum FloOnConflict
{
	FLO_CONFLICT_UPDATE,
	FLO_CONFLICT_ERROR,
	FLO_CONFLICT_SKIP
} FloOnConflict;

typedef enum FloOnMissing
{
	FLO_MISSING_INSERT,
	FLO_MISSING_SKIP,
	FLO_MISSING_ERROR
} FloOnMissing;

typedef enum FloCopyInto
{
	FLO_COPY_EMPTY,
	FLO_COPY_TRUNCATE,
	FLO_COPY_MERGE
} FloCopyInto;

typedef enum FloDdl
{
	FLO_DDL_APPLY,
	FLO_DDL_HOLD,
	FLO_DDL_IGNORE
} FloDdl;

typedef enum FloMasking
{
	FLO_MASKING_RULES,			/* what rules say */
	FLO_MASKING_STRICT			/* and nothing about which they say nothing */
} FloMasking;

/* Whose right DDL of the source has here */
typedef enum FloDdlTrustOption
{
	FLO_DDL_TRUST_OBJECT,		/* of the owner of what it is about; code of
								 * the source's is held */
	FLO_DDL_TRUST_SOURCE		/* of the worker's owner, whatever it does */
} FloDdlTrustOption;

/* How messages are compressed on their way to Kafka, and there */
typedef enum FloCompression
{
	FLO_COMPRESSION_NONE,
	FLO_COMPRESSION_GZIP,
	FLO_COMPRESSION_SNAPPY,
	FLO_COMPRESSION_LZ4,
	FLO_COMPRESSION_ZSTD
} FloCompression;

/* What connections to Kafka are: with TLS or not, with a password or not */
typedef enum FloSecurityProtocol
{
	FLO_SECURITY_PLAINTEXT,
	FLO_SECURITY_SSL,
	FLO_SECURITY_SASL_PLAINTEXT,
	FLO_SECURITY_SASL_SSL
} FloSecurityProtocol;

static inline bool
flo_security_has_tls(FloSecurityProtocol security)
{
	return security == FLO_SECURITY_SSL || security == FLO_SECURITY_SASL_SSL;
}

static inline bool
flo_security_has_sasl(FloSecurityProtocol security)
{
	return security == FLO_SECURITY_SASL_PLAINTEXT || security == FLO_SECURITY_SASL_SSL;
}

/* How a password is shown to Kafka */
typedef enum FloSaslMechanism
{
	FLO_SASL_PLAIN,
	FLO_SASL_SCRAM_SHA_256,
	FLO_SASL_SCRAM_SHA_512
} FloSaslMechanism;

/* Who says of which types fields are */
typedef enum FloSearchMapping
{
	FLO_SEARCH_STRICT,			/* the columns, and there are no others */
	FLO_SEARCH_DYNAMIC			/* whoever has the index */
} FloSearchMapping;

/* What becomes of JSON in a search index */
typedef enum FloSearchJson
{
	FLO_SEARCH_JSON_OBJECT,		/* it is kept and not searched */
	FLO_SEARCH_JSON_FLATTENED	/* each value in it is a keyword */
} FloSearchJson;

/* Which definitions come along with sync_schema */
typedef enum FloSchemaObjects
{
	FLO_SCHEMA_NEEDED,			/* tables and what they need */
	FLO_SCHEMA_ALL,				/* what else is in the group's schemas */
	FLO_SCHEMA_BY_CHOICE		/* all, unless the group is a list of tables */
} FloSchemaObjects;

/* What an event looks like */
typedef enum FloEventFormat
{
	FLO_FORMAT_PG_FLO,
	FLO_FORMAT_CLOUDEVENTS,
	FLO_FORMAT_DEBEZIUM
} FloEventFormat;

/* Where the attributes of CloudEvents are */
typedef enum FloCloudEventsMode
{
	FLO_CLOUDEVENTS_STRUCTURED, /* around the data */
	FLO_CLOUDEVENTS_BINARY		/* in headers */
} FloCloudEventsMode;

/* What is done with an event that is longer than a message may be */
typedef enum FloOversize
{
	FLO_OVERSIZE_ERROR,
	FLO_OVERSIZE_REFERENCE		/* sent without the values that do not fit */
} FloOversize;

/* Where events go, as a template */
#define FLO_DEFAULT_SUBJECT "cdc.{group}.{schema}.{table}.{operation}"

typedef enum FloLargeTransactions
{
	FLO_LARGE_EARLY,			/* published while they run */
	FLO_LARGE_AT_COMMIT
} FloLargeTransactions;

/* How chunks of rows travel, to workers that all read it */
typedef enum FloChunkCompression
{
	FLO_CHUNKS_LZ4,
	FLO_CHUNKS_PLAIN
} FloChunkCompression;

typedef struct FloReplicatorOptions
{
	FloReleaseWal release_wal;
	FloKeyless	keyless_tables;
	bool		publish_via_partition_root;
	FloOriginFilter origin;
	int64		stream_max_bytes;	/* bytes; 0 = unlimited; -1 = as the
									 * setting says */
	int64		stream_max_age; /* s; 0 = unlimited; -1 = as the setting says */
	int64		stream_replicas;	/* -1 = as the setting says */
	int64		copy_stream_max_bytes;	/* bytes */
	bool		schema_owner;
	bool		schema_privileges;
	FloSchemaObjects schema_objects;
	FloLargeTransactions large_transactions;
	int64		large_transaction_size; /* bytes: what is large */
	FloChunkCompression compression;
} FloReplicatorOptions;

typedef struct FloWorkerOptions
{
	/* every worker */
	int64		batch_size;		/* rows in one destination transaction */
	FloOnError	on_error;
	FloStartAt	start;
	char	   *tables;			/* NULL = all */
	FloMasking	masking;

	/* postgres */
	FloOnConflict on_conflict;
	FloOnMissing on_missing;
	bool		fire_triggers;
	bool		run_as_owner;
	FloCopyInto copy_into;
	int64		loaders;
	FloDdl		ddl;
	FloDdlTrustOption ddl_trust;
	int64		lock_timeout;	/* ms */
	bool		allow_cutover;

	/* events */
	FloEventFormat format;
	char	   *cloudevents_source; /* NULL = the default */
	FloCloudEventsMode cloudevents_mode;
	bool		tombstones;
	FloOversize oversize;

	/* file */
	char	   *directory;
	int64		max_size;		/* bytes */
	int64		max_age;		/* ms */

	/* webhook */
	char	   *url;
	char	   *headers_file;
	char	   *secret_file;
	int64		timeout;		/* ms */
	int64		max_attempts;
	int64		events_per_request;

	char	   *partition_by;	/* nats, kafka */

	/* nats */
	char	   *subject;		/* template */
	int64		partitions;
	bool		jetstream;
	char	   *stream;			/* NULL = the default */
	int64		stream_max_bytes;	/* of one that is made; bytes, 0 =
									 * unlimited */
	int64		stream_max_age; /* likewise; s, 0 = unlimited */
	int64		stream_replicas;	/* likewise; -1 = as the setting says */
	char	   *kv_bucket;		/* NULL: events, to subjects */
	int64		kv_history;

	/* kafka */
	char	   *brokers;
	char	   *topic;			/* template */
	char	   *transactional_id;	/* NULL = made of the worker's name and
									 * place */
	FloCompression compression;
	int64		max_message_bytes;
	int64		transaction_timeout;	/* ms */
	FloSecurityProtocol security_protocol;
	char	   *ssl_ca_file;
	char	   *ssl_certificate_file;
	char	   *ssl_key_file;
	FloSaslMechanism sasl_mechanism;
	char	   *sasl_username;
	char	   *sasl_password_file;

	/* search, beside url, headers_file and timeout */
	char	   *index;			/* a template */
	char	   *id;				/* "key", or quoted names of columns */
	FloSearchMapping mapping;
	FloSearchJson json;
	int64		batch_bytes;
	int64		batch_ms;
	int64		gc_deletes;		/* ms */
} FloWorkerOptions;

typedef struct FloReplicatorSpec
{
	char	   *group;
	Oid			owner;			/* may have been dropped */
	FloMode		mode;
	int			copy_workers;
	bool		sync_schema;
	bool		track_ddl;
	bool		started;
	FloReplicatorOptions options;
} FloReplicatorSpec;

/* Does the group begin with rows, or with definitions alone, before it streams? */
static inline bool
flo_replicator_begins_with_copy(const FloReplicatorSpec *spec)
{
	return spec->mode != FLO_MODE_STREAM || spec->sync_schema;
}

typedef struct FloWorkerSpec
{
	char	   *group;
	char	   *worker;
	Oid			owner;			/* may have been dropped */
	FloSinkKind sink;
	bool		started;
	FloWorkerOptions options;
	char	   *stored_options; /* as they stand in the table */
} FloWorkerSpec;

/* The life of a slot: from its creation to its loss.  Row of flo.generations. */
typedef struct FloGeneration
{
	pg_uuid_t	id;
	XLogRecPtr	start;			/* the slot's consistent point */
	uint64		epoch;			/* highest publishing session started here */

	/*
	 * The generations before it, each but the first begun by flo.resync(),
	 * oldest first: uuids as text.  The stream and the workers may still be
	 * at any of them.
	 */
	List	   *follows;		/* of char *; NIL = it is the first */
	XLogRecPtr	given_up;		/* start of the range that was given up; it
								 * ends at "start" */

	bool		resync;			/* flo.resync() was called: begin the next one */
	bool		copied;			/* the copy it began with is over */
} FloGeneration;

/* One member as the launcher wants to see it running */
typedef struct FloMemberSpec
{
	char	   *group;
	char	   *member;			/* worker name, or FLO_REPLICATOR_MEMBER */
	bool		is_replicator;
	bool		started;
	FloSinkKind sink;
	Oid			owner;			/* may have been dropped */
} FloMemberSpec;

#endif
