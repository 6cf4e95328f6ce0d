/*
 * kafka_librdkafka.c
 *		The only code that knows librdkafka; module pg_flo_kafka.
 *
 * librdkafka does its I/O on threads of its own.  Messages are given to it from
 * the caller's thread; what it offers as blocking calls only, all that has to do
 * with transactions, is done by one more thread, to which the caller gives a task.
 *
 * Awkward cases:
 * - No thread must run PostgreSQL's signal handlers: all signals are blocked around
 *   everything that can start one.
 * - A task may hang as long as the broker does.  The process can end meanwhile:
 *   close() waits for so long as it is told and then leaves the threads alone.
 * - The library dereferences a null pointer when a producer asks for a group's
 *   offsets and the group's coordinator is not ready (seen with 2.0.2): a consumer
 *   asks, which lives for that alone and joins nothing.
 * - Callbacks of the library come on whichever thread serves it, so what they
 *   note is locked.
 */
#include "postgres.h"

#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "core/signals.h"
#include "events/kafka_impl.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

/* ms: how long a call lasts at most before it is looked whether to go on */
#define SLICE 200

/* ms: what an abort may take when the process ends, if nothing else says */
#define LAST_ABORT 500

/* ms: one look for the newest note */
#define LOOK_TIMEOUT 10000

struct FloKafka
{
	rd_kafka_t *rk;
	rd_kafka_conf_t *reader_conf;	/* until there was a reader */
	char	   *id;
	char	   *owner;
	pthread_t	thread;
	int			wake[2];		/* a pipe */

	pthread_mutex_t mutex;		/* of all that follows */
	pthread_cond_t changed;
	bool		looks_at_unstable;	/* brokers before 2.5 cannot wait for what
									 * is pending */
	bool		has_task;
	bool		has_ended;
	bool		closing;
	bool		closed;
	bool		in_transaction;
	FloKafkaTask task;
	FloKafkaFailure result;		/* of the task */
	FloKafkaFailure lost;		/* the first message that was not taken */
	FloKafkaFailure trouble;
	bool		has_note;
	FloKafkaNote note;			/* to be committed, or found */
};

extern PGDLLEXPORT const FloKafkaFunctions *flo_kafka_functions(void);

/* --- failures ------------------------------------------------------------ */

static FloKafkaProblem
problem_of(rd_kafka_resp_err_t code)
{
	switch (code)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return FLO_KAFKA_NO_PROBLEM;
		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__RESOLVE:
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
		case RD_KAFKA_RESP_ERR__TIMED_OUT:
		case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
		case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
		case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
		case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
			return FLO_KAFKA_UNREACHABLE;
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
			return FLO_KAFKA_LOGIN;
		case RD_KAFKA_RESP_ERR__SSL:
			return FLO_KAFKA_TLS;
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
			return FLO_KAFKA_DENIED;
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
			return FLO_KAFKA_NO_TOPIC;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
			return FLO_KAFKA_TOO_LARGE;
		case RD_KAFKA_RESP_ERR__FENCED:
		case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
		case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
			return FLO_KAFKA_FENCED;
		case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR__INVALID_ARG:
			return FLO_KAFKA_SETTING;
		default:
			return FLO_KAFKA_OTHER;
	}
}

/*
 * Of what the library says, how long it took is left out, by which nobody could know
 * the same failure again; and what a broker has said, it repeats: ASCII only.
 */
static void
describe(FloKafkaFailure *failure, rd_kafka_resp_err_t code, const char *topic, const char *words)
{
	char	   *end;

	memset(failure, 0, sizeof(FloKafkaFailure));
	failure->problem = problem_of(code);
	if (topic != NULL)
		strlcpy(failure->topic, topic, sizeof(failure->topic));
	strlcpy(failure->words, words != NULL && words[0] != '\0' ? words : rd_kafka_err2str(code),
			sizeof(failure->words));
	end = strstr(failure->words, " (after ");
	if (end != NULL)
		*end = '\0';
	for (char *c = failure->words; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = ' ';
}

static bool
is_closing(FloKafka *kafka)
{
	bool		closing;

	pthread_mutex_lock(&kafka->mutex);
	closing = kafka->closing;
	pthread_mutex_unlock(&kafka->mutex);
	return closing;
}

/* True when the call has to be made again.  Frees the error. */
static bool
look_at(FloKafka *kafka, rd_kafka_error_t * error, FloKafkaFailure *failure)
{
	rd_kafka_resp_err_t code = rd_kafka_error_code(error);
	bool		again = rd_kafka_error_is_retriable(error) != 0 &&
		rd_kafka_error_txn_requires_abort(error) == 0 && !is_closing(kafka);

	if (rd_kafka_error_is_fatal(error))
	{
		char		words[256];
		rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(kafka->rk, words, sizeof(words));

		if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR)
			code = fatal;
	}
	if (!again)
		describe(failure, code, NULL, NULL);
	rd_kafka_error_destroy(error);
	return again;
}

/* --- what the library calls ---------------------------------------------- */

static void
not_delivered(rd_kafka_t * rk, const rd_kafka_message_t * message, void *arg)
{
	FloKafka   *kafka = arg;

	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR ||
		message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
		message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
		return;
	pthread_mutex_lock(&kafka->mutex);
	if (kafka->lost.problem == FLO_KAFKA_NO_PROBLEM)
		describe(&kafka->lost, message->err,
				 message->rkt != NULL ? rd_kafka_topic_name(message->rkt) : NULL, NULL);
	pthread_mutex_unlock(&kafka->mutex);
}

/* That all are down is known by what was said of each */
static void
note_trouble(rd_kafka_t * rk, int code, const char *words, void *arg)
{
	FloKafka   *kafka = arg;
	FloKafkaFailure failure;

	if (code == RD_KAFKA_RESP_ERR__FATAL)
		return;
	describe(&failure, code, NULL, words);
	pthread_mutex_lock(&kafka->mutex);
	if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
		kafka->trouble.problem == FLO_KAFKA_NO_PROBLEM)
		kafka->trouble = failure;
	pthread_mutex_unlock(&kafka->mutex);
}

/* Nothing goes to the server's log past PostgreSQL */
static void
say_nothing(const rd_kafka_t * rk, int level, const char *facility, const char *words)
{
}

/* --- tasks, on a thread of their own ------------------------------------- */

/* What nobody can mend by waiting */
static bool
is_refused(FloKafka *kafka, FloKafkaFailure *failure)
{
	bool		refused;

	pthread_mutex_lock(&kafka->mutex);
	refused = kafka->trouble.problem == FLO_KAFKA_LOGIN ||
		kafka->trouble.problem == FLO_KAFKA_TLS;
	if (refused)
		*failure = kafka->trouble;
	pthread_mutex_unlock(&kafka->mutex);
	return refused;
}

/* The newest of the group's offsets that we have committed */
static void
choose_note(FloKafka *kafka, const rd_kafka_topic_partition_list_t * offsets)
{
	size_t		len = strlen(kafka->owner);

	pthread_mutex_lock(&kafka->mutex);
	kafka->has_note = false;
	for (int i = 0; i < offsets->cnt; i++)
	{
		const		rd_kafka_topic_partition_t *one = &offsets->elems[i];

		if (one->err != RD_KAFKA_RESP_ERR_NO_ERROR || one->metadata == NULL ||
			one->metadata_size < len || one->metadata_size > FLO_KAFKA_NOTE_MAX ||
			memcmp(one->metadata, kafka->owner, len) != 0 ||
			(kafka->has_note && one->offset <= kafka->note.number))
			continue;
		kafka->has_note = true;
		kafka->note.number = one->offset;
		strlcpy(kafka->note.topic, one->topic, sizeof(kafka->note.topic));
		memcpy(kafka->note.text, one->metadata, one->metadata_size);
		kafka->note.text[one->metadata_size] = '\0';
	}
	pthread_mutex_unlock(&kafka->mutex);
}

/* True when it has to be asked again */
static bool
take_offsets(FloKafka *kafka, rd_kafka_event_t * event, FloKafkaFailure *failure)
{
	rd_kafka_resp_err_t code = event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT :
		rd_kafka_event_error(event);
	const		rd_kafka_group_result_t **groups;
	size_t		count = 0;

	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		const		rd_kafka_ListConsumerGroupOffsets_result_t *all =
			rd_kafka_event_ListConsumerGroupOffsets_result(event);

		groups = rd_kafka_ListConsumerGroupOffsets_result_groups(all, &count);
		if (count > 0 && rd_kafka_group_result_error(groups[0]) != NULL)
			code = rd_kafka_error_code(rd_kafka_group_result_error(groups[0]));
	}
	if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count > 0)
		choose_note(kafka, rd_kafka_group_result_partitions(groups[0]));
	if (problem_of(code) == FLO_KAFKA_NO_PROBLEM)
		return false;
	if (code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE && !kafka->looks_at_unstable)
		return kafka->looks_at_unstable = true;
	if (problem_of(code) != FLO_KAFKA_DENIED && problem_of(code) != FLO_KAFKA_SETTING)
		return true;
	describe(failure, code, NULL, NULL);
	return false;
}

static bool
look_for_note(FloKafka *kafka, rd_kafka_t * reader, rd_kafka_queue_t * queue,
			  FloKafkaFailure *failure)
{
	rd_kafka_ListConsumerGroupOffsets_t *request =
		rd_kafka_ListConsumerGroupOffsets_new(kafka->id, NULL);
	rd_kafka_AdminOptions_t *options =
		rd_kafka_AdminOptions_new(reader, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
	rd_kafka_event_t *event = NULL;
	rd_kafka_error_t *error;
	bool		again;
	char		words[256];

	/* what another transaction has pending is waited for */
	error = rd_kafka_AdminOptions_set_require_stable_offsets(options, !kafka->looks_at_unstable);
	if (error != NULL)
		rd_kafka_error_destroy(error);
	(void) rd_kafka_AdminOptions_set_request_timeout(options, LOOK_TIMEOUT, words, sizeof(words));
	rd_kafka_ListConsumerGroupOffsets(reader, &request, 1, options, queue);
	while (event == NULL && !is_closing(kafka))
	{
		event = rd_kafka_queue_poll(queue, SLICE);
		rd_kafka_poll(kafka->rk, 0);
		rd_kafka_poll(reader, 0);
	}
	again = take_offsets(kafka, event, failure);
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ListConsumerGroupOffsets_destroy(request);
	return again;
}

static void
do_connect(FloKafka *kafka, FloKafkaFailure *failure)
{
	rd_kafka_queue_t *queue;
	rd_kafka_t *reader;
	rd_kafka_error_t *error;
	char		words[256];

	while ((error = rd_kafka_init_transactions(kafka->rk, SLICE)) != NULL)
	{
		bool		again = look_at(kafka, error, failure);

		rd_kafka_poll(kafka->rk, 0);
		if (!again || is_refused(kafka, failure))
			return;
	}
	reader = rd_kafka_new(RD_KAFKA_CONSUMER, kafka->reader_conf, words, sizeof(words));
	if (reader == NULL)
	{
		describe(failure, RD_KAFKA_RESP_ERR__INVALID_ARG, NULL, words);
		return;
	}
	kafka->reader_conf = NULL;
	queue = rd_kafka_queue_new(reader);
	while (look_for_note(kafka, reader, queue, failure) && !is_closing(kafka))
		usleep(SLICE * 1000);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy_flags(reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

/* Until all messages are taken; false when one was not */
static bool
flush(FloKafka *kafka, FloKafkaFailure *failure)
{
	for (;;)
	{
		rd_kafka_resp_err_t code = rd_kafka_flush(kafka->rk, SLICE);
		bool		closing;

		pthread_mutex_lock(&kafka->mutex);
		closing = kafka->closing;
		*failure = kafka->lost;
		pthread_mutex_unlock(&kafka->mutex);
		if (failure->problem != FLO_KAFKA_NO_PROBLEM)
			return false;
		if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
			return true;
		if (closing || code != RD_KAFKA_RESP_ERR__TIMED_OUT)
		{
			describe(failure, code, NULL, NULL);
			return false;
		}
	}
}

/*
 * The library wants these calls to wait as long as the transaction may take.  What
 * they serve meanwhile are the reports on messages.
 */
static void
do_commit(FloKafka *kafka, FloKafkaFailure *failure)
{
	rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
	rd_kafka_topic_partition_t *one =
		rd_kafka_topic_partition_list_add(offsets, kafka->note.topic, 0);
	rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata_new(kafka->id);
	rd_kafka_error_t *error;
	bool		ok = flush(kafka, failure);

	one->offset = kafka->note.number;
	one->metadata = strdup(kafka->note.text);
	one->metadata_size = one->metadata != NULL ? strlen(kafka->note.text) : 0;
	while (ok && (error = rd_kafka_send_offsets_to_transaction(kafka->rk, offsets, group,
															   -1)) != NULL)
		ok = look_at(kafka, error, failure);
	while (ok && (error = rd_kafka_commit_transaction(kafka->rk, -1)) != NULL)
		ok = look_at(kafka, error, failure);
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_consumer_group_metadata_destroy(group);
}

static void
do_abort(FloKafka *kafka, int timeout_ms, FloKafkaFailure *failure)
{
	rd_kafka_error_t *error;

	while ((error = rd_kafka_abort_transaction(kafka->rk, timeout_ms)) != NULL)
		if (!look_at(kafka, error, failure))
			break;
}

static void
run_task(FloKafka *kafka, FloKafkaTask task, FloKafkaFailure *result)
{
	memset(result, 0, sizeof(FloKafkaFailure));
	switch (task)
	{
		case FLO_KAFKA_CONNECT:
			do_connect(kafka, result);
			break;
		case FLO_KAFKA_COMMIT:
			do_commit(kafka, result);
			break;
		case FLO_KAFKA_ABORT:
			do_abort(kafka, -1, result);
			break;
	}
}

/* The pipe never fills up: there is one byte in it for a task at most */
static void
end_task(FloKafka *kafka, const FloKafkaFailure *result)
{
	kafka->result = *result;
	if (result->problem == FLO_KAFKA_NO_PROBLEM)
	{
		kafka->trouble.problem = FLO_KAFKA_NO_PROBLEM;
		if (kafka->task != FLO_KAFKA_CONNECT)
			kafka->in_transaction = false;
	}
	else if (kafka->lost.problem != FLO_KAFKA_NO_PROBLEM)
		kafka->result = kafka->lost;	/* that is why */
	kafka->has_task = false;
	kafka->has_ended = true;
	if (write(kafka->wake[1], "", 1) < 0)
		kafka->closing = true;	/* it cannot be */
}

static void *
run_tasks(void *arg)
{
	FloKafka   *kafka = arg;
	FloKafkaFailure result;
	bool		in_transaction;

	pthread_mutex_lock(&kafka->mutex);
	while (!kafka->closing)
	{
		FloKafkaTask task = kafka->task;

		if (!kafka->has_task)
		{
			pthread_cond_wait(&kafka->changed, &kafka->mutex);
			continue;
		}
		pthread_mutex_unlock(&kafka->mutex);
		run_task(kafka, task, &result);
		pthread_mutex_lock(&kafka->mutex);
		end_task(kafka, &result);
	}
	in_transaction = kafka->in_transaction;
	pthread_mutex_unlock(&kafka->mutex);

	/* readers need not wait until the broker gives the transaction up */
	if (in_transaction && rd_kafka_fatal_error(kafka->rk, NULL, 0) == RD_KAFKA_RESP_ERR_NO_ERROR)
		do_abort(kafka, LAST_ABORT, &result);
	rd_kafka_destroy(kafka->rk);
	pthread_mutex_lock(&kafka->mutex);
	kafka->closed = true;
	pthread_cond_broadcast(&kafka->changed);
	pthread_mutex_unlock(&kafka->mutex);
	return NULL;
}

/* --- opening and closing ------------------------------------------------- */

static rd_kafka_conf_t *
configure(const FloKafkaSetting *settings, int count, const char *id_name, FloKafka *kafka,
		  FloKafkaFailure *failure)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		words[256];

	for (int i = -1; i < count; i++)
	{
		const char *name = i < 0 ? id_name : settings[i].name;
		const char *value = i < 0 ? kafka->id : settings[i].value;

		if (rd_kafka_conf_set(conf, name, value, words, sizeof(words)) == RD_KAFKA_CONF_OK)
			continue;
		/* the library's words would hold the value */
		snprintf(words, sizeof(words), "librdkafka does not take what its %s is to be", name);
		describe(failure, RD_KAFKA_RESP_ERR__INVALID_ARG, NULL, words);
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	rd_kafka_conf_set_opaque(conf, kafka);
	rd_kafka_conf_set_dr_msg_cb(conf, not_delivered);
	rd_kafka_conf_set_error_cb(conf, note_trouble);
	rd_kafka_conf_set_log_cb(conf, say_nothing);
	return conf;
}

static void
free_all(FloKafka *kafka)
{
	for (int i = 0; i < 2; i++)
		if (kafka->wake[i] >= 0)
			close(kafka->wake[i]);
	if (kafka->reader_conf != NULL)
		rd_kafka_conf_destroy(kafka->reader_conf);
	free(kafka->id);
	free(kafka->owner);
	free(kafka);
}

static bool
open_library(FloKafka *kafka, const FloKafkaSetting *settings, int count,
			 FloKafkaFailure *failure)
{
	rd_kafka_conf_t *conf = configure(settings, count, "transactional.id", kafka, failure);
	char		words[256];

	if (conf == NULL)
		return false;
	kafka->reader_conf = configure(settings, count, "group.id", kafka, failure);
	if (kafka->reader_conf == NULL)
	{
		rd_kafka_conf_destroy(conf);
		return false;
	}
	kafka->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, words, sizeof(words));
	if (kafka->rk == NULL)
	{
		rd_kafka_conf_destroy(conf);
		describe(failure, RD_KAFKA_RESP_ERR__INVALID_ARG, NULL, words);
		return false;
	}
	if (pthread_create(&kafka->thread, NULL, run_tasks, kafka) == 0)
		return true;
	rd_kafka_destroy(kafka->rk);
	failure->problem = FLO_KAFKA_MEMORY;
	return false;
}

static FloKafka *
kafka_open(const FloKafkaSetting *settings, int count, const char *id, const char *owner,
		   FloKafkaFailure *failure)
{
	FloKafka   *kafka = calloc(1, sizeof(FloKafka));
	sigset_t	saved;
	bool		ok;

	memset(failure, 0, sizeof(FloKafkaFailure));
	if (kafka != NULL)
	{
		kafka->wake[0] = kafka->wake[1] = -1;
		kafka->id = strdup(id);
		kafka->owner = strdup(owner);
	}
	if (kafka == NULL || kafka->id == NULL || kafka->owner == NULL ||
		pipe2(kafka->wake, O_CLOEXEC | O_NONBLOCK) != 0)
	{
		if (kafka != NULL)
			free_all(kafka);
		failure->problem = FLO_KAFKA_MEMORY;
		return NULL;
	}
	pthread_mutex_init(&kafka->mutex, NULL);
	pthread_cond_init(&kafka->changed, NULL);
	flo_block_signals(&saved);
	ok = open_library(kafka, settings, count, failure);
	flo_restore_signals(&saved);
	if (ok)
		return kafka;
	free_all(kafka);
	return NULL;
}

static void
kafka_close(FloKafka *kafka, int timeout_ms)
{
	struct timespec deadline;
	sigset_t	saved;
	bool		closed;

	flo_block_signals(&saved);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += timeout_ms / 1000;
	deadline.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (deadline.tv_nsec >= 1000000000L)
	{
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&kafka->mutex);
	kafka->closing = true;
	pthread_cond_broadcast(&kafka->changed);
	while (!kafka->closed &&
		   pthread_cond_timedwait(&kafka->changed, &kafka->mutex, &deadline) == 0)
		;
	closed = kafka->closed;
	pthread_mutex_unlock(&kafka->mutex);
	if (closed)
	{
		pthread_join(kafka->thread, NULL);
		free_all(kafka);
	}
	flo_restore_signals(&saved);
}

/* --- for the caller ------------------------------------------------------ */

static void
kafka_start(FloKafka *kafka, FloKafkaTask task, const FloKafkaNote *note)
{
	pthread_mutex_lock(&kafka->mutex);
	kafka->task = task;
	if (note != NULL)
		kafka->note = *note;
	kafka->has_task = true;
	kafka->has_ended = false;
	pthread_cond_broadcast(&kafka->changed);
	pthread_mutex_unlock(&kafka->mutex);
}

static int
kafka_descriptor(FloKafka *kafka)
{
	return kafka->wake[0];
}

static bool
kafka_ended(FloKafka *kafka, FloKafkaFailure *failure)
{
	char		byte;
	bool		ended;

	pthread_mutex_lock(&kafka->mutex);
	ended = kafka->has_ended;
	if (ended)
		*failure = kafka->result;
	kafka->has_ended = false;
	pthread_mutex_unlock(&kafka->mutex);
	while (read(kafka->wake[0], &byte, 1) > 0)
		;
	return ended;
}

static bool
kafka_newest_note(FloKafka *kafka, FloKafkaNote *note)
{
	bool		found;

	pthread_mutex_lock(&kafka->mutex);
	found = kafka->has_note;
	*note = kafka->note;
	pthread_mutex_unlock(&kafka->mutex);
	return found;
}

static bool
kafka_begin(FloKafka *kafka, FloKafkaFailure *failure)
{
	sigset_t	saved;
	rd_kafka_error_t *error;

	flo_block_signals(&saved);
	error = rd_kafka_begin_transaction(kafka->rk);
	if (error != NULL && look_at(kafka, error, failure))
		describe(failure, RD_KAFKA_RESP_ERR__STATE, NULL, NULL);
	flo_restore_signals(&saved);
	pthread_mutex_lock(&kafka->mutex);
	kafka->in_transaction = error == NULL;
	memset(&kafka->lost, 0, sizeof(FloKafkaFailure));
	pthread_mutex_unlock(&kafka->mutex);
	return error == NULL;
}

static rd_kafka_headers_t *
make_headers(const FloKafkaMessage *message)
{
	rd_kafka_headers_t *headers;

	if (message->nheaders == 0)
		return NULL;
	headers = rd_kafka_headers_new(message->nheaders);
	for (int i = 0; i < message->nheaders; i++)
		(void) rd_kafka_header_add(headers, message->headers[i].name, -1,
								   message->headers[i].value, -1);
	return headers;
}

static rd_kafka_resp_err_t
produce(FloKafka *kafka, const FloKafkaMessage *message)
{
	rd_kafka_headers_t *headers = make_headers(message);
	rd_kafka_resp_err_t code;

	code = rd_kafka_producev(kafka->rk,
							 RD_KAFKA_V_TOPIC(message->topic),
							 RD_KAFKA_V_PARTITION(message->partition < 0 ? RD_KAFKA_PARTITION_UA :
												  message->partition),
							 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
							 RD_KAFKA_V_KEY(message->key, message->key_len),
							 RD_KAFKA_V_VALUE(unconstify(char *, message->value),
											  message->value_len),
							 RD_KAFKA_V_HEADERS(headers),
							 RD_KAFKA_V_END);
	if (code != RD_KAFKA_RESP_ERR_NO_ERROR && headers != NULL)
		rd_kafka_headers_destroy(headers);
	return code;
}

/* Takes in reports; false when a message was lost */
static bool
kafka_serve(FloKafka *kafka, FloKafkaFailure *failure)
{
	sigset_t	saved;
	bool		lost;

	flo_block_signals(&saved);
	rd_kafka_poll(kafka->rk, 0);
	flo_restore_signals(&saved);
	pthread_mutex_lock(&kafka->mutex);
	lost = kafka->lost.problem != FLO_KAFKA_NO_PROBLEM;
	if (lost)
		*failure = kafka->lost;
	pthread_mutex_unlock(&kafka->mutex);
	return !lost;
}

/*
 * Starts no thread.  A transaction that has failed takes no more: what the reports
 * say is why.
 */
static FloKafkaSent
kafka_send(FloKafka *kafka, const FloKafkaMessage *message, FloKafkaFailure *failure)
{
	rd_kafka_resp_err_t code = produce(kafka, message);

	if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
		return FLO_KAFKA_SENT;
	if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
		return FLO_KAFKA_FULL;
	if (!kafka_serve(kafka, failure))
		return FLO_KAFKA_NOT_SENT;
	if (code == RD_KAFKA_RESP_ERR__FATAL)
		code = rd_kafka_fatal_error(kafka->rk, NULL, 0);
	describe(failure, code, message->topic, NULL);
	return FLO_KAFKA_NOT_SENT;
}

static void
kafka_trouble(FloKafka *kafka, FloKafkaFailure *failure)
{
	pthread_mutex_lock(&kafka->mutex);
	*failure = kafka->trouble;
	pthread_mutex_unlock(&kafka->mutex);
}

static const FloKafkaFunctions functions = {
	.abi = FLO_KAFKA_ABI,
	.open = kafka_open,
	.close = kafka_close,
	.start = kafka_start,
	.descriptor = kafka_descriptor,
	.ended = kafka_ended,
	.newest_note = kafka_newest_note,
	.begin = kafka_begin,
	.send = kafka_send,
	.serve = kafka_serve,
	.trouble = kafka_trouble,
};

const FloKafkaFunctions *
flo_kafka_functions(void)
{
	return &functions;
}
