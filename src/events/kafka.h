/*
 * kafka.h
 *		Kafka, from this process's own loop.
 *
 * librdkafka does the work, in a module that only Kafka workers load.  All waits
 * end when the process is told to.
 */
#ifndef FLO_KAFKA_H
#define FLO_KAFKA_H

#include "events/kafka_impl.h"

/* Load the module; 55000 when it is of another version, 58P01 when it is missing */
extern const FloKafkaFunctions *flo_kafka_load(void);

/* What a worker's options make of the library's configuration */
typedef struct FloKafkaConfig
{
	FloKafkaSetting settings[32];
	int			count;
	char	   *id;				/* transactional.id and consumer group */
} FloKafkaConfig;

/*
 * In the current memory context.  Outside of a transaction, since it reads
 * flo.secrets.  42501 when the owner must not do this any more.
 */
extern FloKafkaConfig *flo_kafka_config(const FloWorkerSpec *spec);

/* Raise it: with an SQLSTATE, and with a hint where there is one */
pg_noreturn extern void flo_kafka_throw(const FloKafkaFailure *failure, const FloWorkerSpec *spec);

/* What can be done about it; NULL when nobody knows */
extern const char *flo_kafka_hint(const FloKafkaFailure *failure);

#endif
