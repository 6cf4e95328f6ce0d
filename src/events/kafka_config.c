/*
 * kafka_config.c
 *		What a worker's options make of librdkafka's configuration.
 *
 * What was allowed when it was written is checked again here, since the list of
 * allowed brokers and the rights of the owner may be others by now.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "conf/endpoint.h"
#include "conf/event_tables.h"
#include "core/files.h"
#include "core/names.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "events/kafka.h"
#include "miscadmin.h"

#define PASSWORD_LIMIT 4096

/* What waits in memory to be sent: bytes, and messages, which need some more */
#define QUEUE_BYTES (64 * INT64CONST(1024) * 1024)
#define QUEUE_MESSAGES "200000"

/* Settings that do not depend on options */
static const FloKafkaSetting fixed[] = {
	{"client.id", "pg_flo"},
	/* as Java's clients do, so that topics of both fit together */
	{"partitioner", "murmur2_random"},
	{"queue.buffering.max.messages", QUEUE_MESSAGES},
	{"delivery.report.only.error", "true"},
	/* how long a topic that is not there may be one that was just made */
	{"topic.metadata.propagation.max.ms", "10000"},
	{"reconnect.backoff.max.ms", "2000"},
	{"socket.keepalive.enable", "true"},
	{"ssl.endpoint.identification.algorithm", "https"},
};

static const char *const compressions[] = {"none", "gzip", "snappy", "lz4", "zstd"};
static const char *const protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl"};
static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};

static void
set(FloKafkaConfig *config, const char *name, const char *value)
{
	Assert(config->count < lengthof(config->settings));
	if (value == NULL)
		return;
	config->settings[config->count].name = name;
	config->settings[config->count++].value = value;
}

static void
set_number(FloKafkaConfig *config, const char *name, int64 value)
{
	set(config, name, psprintf(INT64_FORMAT, value));
}

/* Not a line feed that an editor has left at the file's end */
static const char *
password_of_file(const char *path)
{
	char	   *text = flo_files_read_secret(path, "password file", PASSWORD_LIMIT);
	size_t		len = strcspn(text, "\r\n");

	text[len] = '\0';
	return text;
}

static void
set_security(FloKafkaConfig *config, const FloWorkerOptions *options, const char *password)
{
	set(config, "security.protocol", protocols[options->security_protocol]);
	if (flo_security_has_tls(options->security_protocol))
	{
		set(config, "ssl.ca.location", options->ssl_ca_file);
		set(config, "ssl.certificate.location", options->ssl_certificate_file);
		set(config, "ssl.key.location", options->ssl_key_file);
	}
	if (flo_security_has_sasl(options->security_protocol))
	{
		set(config, "sasl.mechanism", mechanisms[options->sasl_mechanism]);
		set(config, "sasl.username", options->sasl_username);
		set(config, "sasl.password", options->sasl_password_file != NULL ?
			password_of_file(options->sasl_password_file) : password);
	}
}

static void
check_owner(const FloWorkerSpec *spec)
{
	const FloWorkerOptions *options = &spec->options;

	flo_brokers_check_allowed(options->brokers, spec->owner);
	if ((options->ssl_ca_file != NULL || options->ssl_certificate_file != NULL ||
		 options->ssl_key_file != NULL || options->sasl_password_file != NULL) &&
		!flo_role_has_rights_of(spec->owner, ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the worker's owner must not read files on the server"),
				 errhint("Grant it the role pg_read_server_files.")));
}

FloKafkaConfig *
flo_kafka_config(const FloWorkerSpec *spec)
{
	const FloWorkerOptions *options = &spec->options;
	FloKafkaConfig *config = palloc0(sizeof(FloKafkaConfig));
	MemoryContext caller = flo_transaction_begin();
	char	   *password;

	MemoryContextSwitchTo(caller);
	check_owner(spec);
	password = flo_secret_read(spec->group, spec->worker, "sasl_password");
	flo_transaction_end(caller);

	config->id = options->transactional_id != NULL ? options->transactional_id :
		flo_name_consumer(spec->group, spec->worker, GetSystemIdentifier(), MyDatabaseId);
	for (int i = 0; i < lengthof(fixed); i++)
		set(config, fixed[i].name, fixed[i].value);
	set(config, "bootstrap.servers", options->brokers);
	set(config, "compression.codec", compressions[options->compression]);
	set_number(config, "transaction.timeout.ms", options->transaction_timeout);

	/* a batch is one message to the broker, for which the same limit holds */
	set_number(config, "message.max.bytes", options->max_message_bytes);
	set_number(config, "batch.size", options->max_message_bytes);
	set_number(config, "queue.buffering.max.kbytes",
			   Max(QUEUE_BYTES, 2 * options->max_message_bytes) / 1024);
	set_security(config, options, password);
	return config;
}
