/*
 * kafka_impl.h
 *		The table of functions through which pg_flo talks to its Kafka module.
 *
 * The module is a shared library of its own, so that only Kafka workers map
 * librdkafka, and so that pg_flo can be built without.  None of these functions
 * throws or allocates in a memory context, and none but close() blocks: what the
 * library does only in a blocking call is a task, which a thread of the module
 * sees to.
 */
#ifndef FLO_KAFKA_IMPL_H
#define FLO_KAFKA_IMPL_H

#include "events/event.h"

#define FLO_KAFKA_MODULE "pg_flo_kafka"
#define FLO_KAFKA_ENTRY "flo_kafka_functions"

/* Raised with every change of this file: both modules must agree */
#define FLO_KAFKA_ABI 1

/* Longest name of a topic, and the most that brokers keep beside an offset */
#define FLO_KAFKA_TOPIC_MAX 249
#define FLO_KAFKA_NOTE_MAX 4096

typedef struct FloKafka FloKafka;

/* A property of the library's configuration */
typedef struct FloKafkaSetting
{
	const char *name;
	const char *value;
} FloKafkaSetting;

typedef enum FloKafkaProblem
{
	FLO_KAFKA_NO_PROBLEM,
	FLO_KAFKA_UNREACHABLE,		/* the library tries again */
	FLO_KAFKA_LOGIN,
	FLO_KAFKA_TLS,
	FLO_KAFKA_DENIED,
	FLO_KAFKA_NO_TOPIC,
	FLO_KAFKA_TOO_LARGE,
	FLO_KAFKA_FENCED,			/* another producer has the transactional.id,
								 * or the transaction took too long */
	FLO_KAFKA_SETTING,
	FLO_KAFKA_MEMORY,
	FLO_KAFKA_OTHER
} FloKafkaProblem;

typedef struct FloKafkaFailure
{
	FloKafkaProblem problem;
	char		topic[FLO_KAFKA_TOPIC_MAX + 1]; /* "": not about one */
	char		words[256];		/* the same each time */
} FloKafkaFailure;

/* What is committed with a transaction, as an offset of our consumer group */
typedef struct FloKafkaNote
{
	char		topic[FLO_KAFKA_TOPIC_MAX + 1]; /* any that exists */
	int64		number;			/* of the transaction */
	char		text[FLO_KAFKA_NOTE_MAX + 1];
} FloKafkaNote;

typedef enum FloKafkaTask
{
	FLO_KAFKA_CONNECT,			/* fence others, end their transactions, and
								 * find the newest note */
	FLO_KAFKA_COMMIT,
	FLO_KAFKA_ABORT
} FloKafkaTask;

typedef struct FloKafkaMessage
{
	const char *topic;
	int			partition;		/* -1: by the key */
	const char *key;			/* NULL: none */
	size_t		key_len;
	const char *value;			/* NULL: a tombstone */
	size_t		value_len;
	const FloEventHeader *headers;
	int			nheaders;
} FloKafkaMessage;

typedef enum FloKafkaSent
{
	FLO_KAFKA_SENT,
	FLO_KAFKA_FULL,				/* later: nothing of it was taken */
	FLO_KAFKA_NOT_SENT
} FloKafkaSent;

typedef struct FloKafkaFunctions
{
	uint32		abi;

	/*
	 * NULL: see the failure.  "id" is the transactional.id and the consumer
	 * group; of notes only those count that begin with "owner".
	 */
	FloKafka   *(*open) (const FloKafkaSetting *settings, int count, const char *id,
						 const char *owner, FloKafkaFailure *failure);

	/*
	 * Before the process ends: abort what is open.  Waits so long for it at
	 * most.
	 */
	void		(*close) (FloKafka *kafka, int timeout_ms);

	/*
	 * One task at a time, and no message meanwhile; "note" is for COMMIT, and
	 * is copied.  The descriptor becomes readable when it has ended; then
	 * ended() says so once.
	 */
	void		(*start) (FloKafka *kafka, FloKafkaTask task, const FloKafkaNote *note);
	int			(*descriptor) (FloKafka *kafka);
	bool		(*ended) (FloKafka *kafka, FloKafkaFailure *failure);

	/* After CONNECT: false when there is none */
	bool		(*newest_note) (FloKafka *kafka, FloKafkaNote *note);

	/* Begin a transaction: nothing goes to a broker yet */
	bool		(*begin) (FloKafka *kafka, FloKafkaFailure *failure);

	/* What is given is copied */
	FloKafkaSent (*send) (FloKafka *kafka, const FloKafkaMessage *message,
						  FloKafkaFailure *failure);

	/* Take in what brokers have answered; false when a message was not taken */
	bool		(*serve) (FloKafka *kafka, FloKafkaFailure *failure);

	/* What keeps the brokers from being reached, if that is so */
	void		(*trouble) (FloKafka *kafka, FloKafkaFailure *failure);
} FloKafkaFunctions;

typedef const FloKafkaFunctions *(*FloKafkaEntry) (void);

#endif
