/*
 * kafka.c
 *		Loads the Kafka module, and says in PostgreSQL's words what it reports.
 */
#include "postgres.h"

#include "conf/sink_kinds.h"
#include "events/kafka.h"
#include "fmgr.h"

const FloKafkaFunctions *
flo_kafka_load(void)
{
	static const FloKafkaFunctions *loaded = NULL;
	const FloKafkaFunctions *functions;
	FloKafkaEntry entry;

	if (loaded != NULL)
		return loaded;
	flo_sink_require_module(FLO_SINK_KAFKA);
	entry = (FloKafkaEntry) load_external_function("$libdir/" FLO_KAFKA_MODULE, FLO_KAFKA_ENTRY,
												   true, NULL);
	functions = entry();
	if (functions->abi != FLO_KAFKA_ABI)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the libraries pg_flo and %s are of different versions", FLO_KAFKA_MODULE),
				 errhint("Restart the server after an upgrade of pg_flo.")));
	loaded = functions;
	return loaded;
}

static int
sqlstate_of(FloKafkaProblem problem)
{
	switch (problem)
	{
		case FLO_KAFKA_UNREACHABLE:
		case FLO_KAFKA_TLS:
			return ERRCODE_CONNECTION_FAILURE;
		case FLO_KAFKA_LOGIN:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case FLO_KAFKA_DENIED:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case FLO_KAFKA_NO_TOPIC:
			return ERRCODE_UNDEFINED_OBJECT;
		case FLO_KAFKA_TOO_LARGE:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case FLO_KAFKA_FENCED:
			return ERRCODE_OBJECT_IN_USE;
		case FLO_KAFKA_SETTING:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case FLO_KAFKA_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		default:
			return ERRCODE_EXTERNAL_ROUTINE_EXCEPTION;
	}
}

const char *
flo_kafka_hint(const FloKafkaFailure *failure)
{
	switch (failure->problem)
	{
		case FLO_KAFKA_UNREACHABLE:
			return "Check the worker's options brokers and security_protocol, and that the brokers run and can be reached.";
		case FLO_KAFKA_LOGIN:
			return "Check the worker's options sasl_mechanism, sasl_username and sasl_password.";
		case FLO_KAFKA_TLS:
			return "Check the brokers' certificate, and the worker's options ssl_ca_file, ssl_certificate_file and ssl_key_file.";
		case FLO_KAFKA_DENIED:
			return "Its user needs Write and Describe on the transactional id, Read on the group of that name, and Write, Describe and Read on the topics.";
		case FLO_KAFKA_NO_TOPIC:
			return "Create it, or let the brokers do so (auto.create.topics.enable).";
		case FLO_KAFKA_TOO_LARGE:
			return "Raise the topic's max.message.bytes, or set the worker's option max_message_bytes to that.";
		case FLO_KAFKA_FENCED:
			return "See whether another worker uses its transactional_id, or raise the worker's option transaction_timeout.";
		case FLO_KAFKA_SETTING:
			return "Check the worker's options, and the brokers' transaction.max.timeout.ms.";
		default:
			return NULL;
	}
}

void
flo_kafka_throw(const FloKafkaFailure *failure, const FloWorkerSpec *spec)
{
	const char *hint = flo_kafka_hint(failure);

	ereport(ERROR,
			(errcode(sqlstate_of(failure->problem)),
			 failure->problem == FLO_KAFKA_MEMORY ? errmsg("out of memory") :
			 failure->topic[0] != '\0' ?
			 errmsg("Kafka did not take what was sent to topic \"%s\": %s", failure->topic,
					failure->words) :
			 errmsg("Kafka at %s: %s", spec->options.brokers, failure->words),
			 hint != NULL ? errhint("%s", hint) : 0));
}
