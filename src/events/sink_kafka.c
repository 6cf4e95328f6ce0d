/*
 * sink_kafka.c
 *		Sends events to topics of Kafka, each exactly once.
 *
 * Promises: a batch is one transaction of Kafka, and who reads committed
 * messages only sees all of it or nothing, once.  With the messages goes a note of
 * how far they reach, as an offset of a consumer group of our own: it is
 * committed with them or not at all.
 *
 * Our own position is committed after that.  When a process dies in between,
 * the next one finds in the note what is in the topics already, and passes over
 * that.  Notes are numbered, and the number of the last one that the position
 * covers is saved with it: a note of that number says nothing new.  Notes begin
 * with a random word that is saved, too, before anything is sent, so that those of
 * a worker that was dropped are nothing to another one of its name.
 *
 * Nobody else writes in our name meanwhile: the transactional.id fences whoever
 * had it before, and ends what that has left open.
 *
 * Awkward cases:
 * - A transaction of the source may take longer to be sent than one of Kafka may
 *   last.  Then it becomes several, cut between two changes.
 * - A loader of copied rows has an id of its own.  It sends a chunk in each
 *   transaction, and chunks that are handed out again come in any order: its notes
 *   name all that are there and have not been seen again.
 * - Without an answer from the brokers, everything waits, and the process can end.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/endpoint.h"
#include "core/clock.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/text.h"
#include "core/transaction.h"
#include "events/escape.h"
#include "events/event.h"
#include "events/event_key.h"
#include "events/kafka.h"
#include "events/place.h"
#include "events/sink_state.h"
#include "events/template.h"
#include "storage/ipc.h"
#include "utils/formatting.h"
#include "utils/memutils.h"

#define SERVE_INTERVAL 1000		/* ms */

/* ms: how long brokers may say nothing before that is shown */
#define PATIENCE 3000

/* ms: what the end of the process may take */
#define CLOSE_TIMEOUT 1000

/* ms: pause when the library has no room */
#define FULL_PAUSE 10

/* Messages between two looks at what brokers have answered */
#define SERVE_EVERY 256

/* What a message weighs beside its key, value and headers */
#define MESSAGE_OVERHEAD 128

/* Characters of the name of a schema or table in that of a topic, when it is escaped */
#define NAME_LIMIT 100

#define TOPIC_CHARACTERS \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

#define TOPIC_TOKENS (FLO_TOKEN_BIT(FLO_TOKEN_GROUP) | FLO_TOKEN_BIT(FLO_TOKEN_DATABASE) | \
					  FLO_TOKEN_BIT(FLO_TOKEN_SCHEMA) | FLO_TOKEN_BIT(FLO_TOKEN_TABLE) | \
					  FLO_TOKEN_BIT(FLO_TOKEN_OPERATION))

/* Of partitions: the brokers know how many there are */
#define ANY_NUMBER 2

/* Random word of a worker, as hex */
#define WORD_BYTES 8

/* Pieces of a copy that a note can name, and what their names are made of */
#define MAX_PIECES 64
#define PIECE_CHARACTERS "0123456789-"

typedef struct FloKafkaSink
{
	FloSink		base;
	FloWorkerSpec spec;
	FloCounters *counters;
	const FloSinkHost *host;
	MemoryContext context;
	FloEventWriter *writer;
	FloTemplate *template;
	FloPartitioning *partitioning;
	StringInfoData event;
	StringInfoData key;
	StringInfoData topic;		/* of the table and operation that follow */
	const char *topic_type;
	uint32		topic_relation;
	uint64		topic_version;
	uint64		reloads_seen;

	/* the brokers */
	const FloKafkaFunctions *functions;
	FloKafkaConfig *config;
	FloKafka   *kafka;			/* NULL: not connected */
	bool		loads;			/* it is a loader's */
	bool		task_runs;
	bool		in_transaction;
	FloClock	began;			/* the transaction */
	FloKafkaNote note;			/* of the transaction */
	int			unserved;		/* messages */
	FloClock	served_at;
	bool		waiting;		/* as flo.status says */

	/* what is where */
	char		word[2 * WORD_BYTES + 1];
	int64		committed;		/* number of the newest note in Kafka */
	int64		covered;		/* of the newest one that our position covers */
	int64		other;			/* the same of the loader's, or the worker's */
	FloPlace	seen;			/* newest change handed to us */
	FloPlace	done;			/* what is in Kafka already, 0 = nothing that
								 * would come again */
	List	   *pieces;			/* of char *: the same of a copy */
	char		piece[64];		/* the one at hand; "" = none */
} FloKafkaSink;

/* The one of this process, for its end */
static FloKafkaSink *opened = NULL;

/* --- what is said of it -------------------------------------------------- */

static void
describe_waiting(FloKafkaSink *sink, const FloKafkaFailure *failure)
{
	FloFailure	told = {.sqlstate = ERRCODE_CONNECTION_FAILURE};
	char		described[FLO_ERROR_BUF];

	sink->waiting = true;
	flo_state_set(FLO_STATE_WAITING, "for Kafka at %.80s: %.120s", sink->spec.options.brokers,
				  failure->problem != FLO_KAFKA_NO_PROBLEM ? failure->words : "no answer");
	if (failure->problem == FLO_KAFKA_NO_PROBLEM)
		return;
	snprintf(described, sizeof(described), "Kafka at %s: %s", sink->spec.options.brokers,
			 failure->words);
	told.message = told.described = described;
	told.hint = flo_kafka_hint(failure);
	if (!flo_state_knows(&told))
		flo_state_retry_failure(FLO_RETRIED_ENDPOINT, &told);
}

static void
note_success(FloKafkaSink *sink)
{
	if (sink->waiting)
		flo_state_set(FLO_STATE_STREAMING, NULL);
	sink->waiting = false;
	flo_state_recovered(FLO_RETRIED_ENDPOINT);
}

/* What is to be done once a second however long we wait; since when, or 0 */
static void
serve(FloKafkaSink *sink, FloClock since)
{
	FloKafkaFailure failure;

	if (!flo_clock_passed(sink->served_at, SERVE_INTERVAL))
		return;
	sink->served_at = flo_clock();
	sink->functions->trouble(sink->kafka, &failure);
	if (since != 0 &&
		(failure.problem != FLO_KAFKA_NO_PROBLEM || flo_clock_passed(since, PATIENCE)))
		describe_waiting(sink, &failure);
	sink->host->serve(sink->host->arg);
}

/*
 * Who is fenced within the time that brokers give a transaction was fenced by
 * another producer.  Trying again would fence that one.
 */
pg_noreturn static void
fail(FloKafkaSink *sink, const FloKafkaFailure *failure)
{
	if (failure->problem == FLO_KAFKA_FENCED && sink->in_transaction &&
		!flo_clock_passed(sink->began, sink->spec.options.transaction_timeout))
		flo_fail(ERRCODE_OBJECT_IN_USE, "See which other worker uses it, and give one of them another one, with the option transactional_id.",
				 "another producer has taken over the transactional id \"%s\" in Kafka",
				 sink->config->id);
	flo_kafka_throw(failure, &sink->spec);
}

/* --- tasks --------------------------------------------------------------- */

/* Until the task that is under way has ended */
static void
await_task(FloKafkaSink *sink, FloKafkaFailure *failure)
{
	FloClock	since = flo_clock();

	while (!sink->functions->ended(sink->kafka, failure))
	{
		FloWaitSocket socket = {.sock = sink->functions->descriptor(sink->kafka),.read = true};

		flo_wait_means(FLO_WAIT_KAFKA);
		flo_wait_sockets(&socket, 1, SERVE_INTERVAL);
		serve(sink, since);
	}
	sink->task_runs = false;
}

static void
run_task(FloKafkaSink *sink, FloKafkaTask task, const FloKafkaNote *note)
{
	FloKafkaFailure failure;

	/* one may have been left alone by an error */
	if (sink->task_runs)
		await_task(sink, &failure);
	sink->task_runs = true;
	sink->functions->start(sink->kafka, task, note);
	await_task(sink, &failure);
	if (failure.problem != FLO_KAFKA_NO_PROBLEM)
		fail(sink, &failure);
	note_success(sink);
}

static void
close_kafka(int code, Datum arg)
{
	if (opened != NULL && opened->kafka != NULL)
		opened->functions->close(opened->kafka, CLOSE_TIMEOUT);
	opened = NULL;
}

/* --- notes --------------------------------------------------------------- */

pg_noreturn static void
refuse_note(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("what the worker has committed to its consumer group in Kafka cannot be read"),
			 errhint("Somebody else has committed offsets to that group: give the worker another transactional_id.")));
}

/* "<word> <LSN> <ordinal>", or "<word> <piece> <piece> ..." of a loader */
static void
read_note(FloKafkaSink *sink, char *text)
{
	char	   *save;
	char	   *one = strtok_r(text + strlen(sink->word), " ", &save);
	MemoryContext old;

	if (!sink->loads)
	{
		char	   *ordinal = strtok_r(NULL, " ", &save);
		char	   *end;

		if (one == NULL || ordinal == NULL || !flo_lsn_try(one, &sink->done.final_lsn))
			refuse_note();
		sink->done.ordinal = strtou64(ordinal, &end, 10);
		if (*end != '\0')
			refuse_note();
		return;
	}
	old = MemoryContextSwitchTo(sink->context);
	sink->pieces = NIL;
	for (; one != NULL; one = strtok_r(NULL, " ", &save))
	{
		if (strspn(one, PIECE_CHARACTERS) != strlen(one))
			refuse_note();
		sink->pieces = lappend(sink->pieces, pstrdup(one));
	}
	MemoryContextSwitchTo(old);
}

static void
write_note(FloKafkaSink *sink)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	appendStringInfoString(&text, sink->word);
	if (!sink->loads)
		appendStringInfo(&text, " %X/%X " UINT64_FORMAT, LSN_FORMAT_ARGS(sink->seen.final_lsn),
						 sink->seen.ordinal);
	else
	{
		appendStringInfo(&text, " %s", sink->piece);
		foreach(lc, sink->pieces)
		{
			if (foreach_current_index(lc) < MAX_PIECES)
				appendStringInfo(&text, " %s", (char *) lfirst(lc));
		}
	}
	strlcpy(sink->note.text, text.data, sizeof(sink->note.text));
	sink->note.number = sink->committed + 1;
	pfree(text.data);
}

/* --- transactions -------------------------------------------------------- */

static void
open_kafka(FloKafkaSink *sink)
{
	FloKafkaFailure failure;
	char	   *id = sink->loads ? psprintf("%s-copy", sink->config->id) : sink->config->id;

	sink->kafka = sink->functions->open(sink->config->settings, sink->config->count, id,
										sink->word, &failure);
	if (sink->kafka == NULL)
		flo_kafka_throw(&failure, &sink->spec);
	opened = sink;
}

/*
 * Outside of a batch, or as one begins.  A loader is known by the transaction that it
 * has its chunks in.
 */
static void
connect_to_brokers(FloKafkaSink *sink)
{
	FloKafkaNote note;

	if (sink->kafka != NULL)
		return;
	sink->loads = IsTransactionState();
	if (sink->loads)
	{
		int64		worker = sink->covered;

		sink->covered = sink->other;
		sink->other = worker;
	}
	open_kafka(sink);
	run_task(sink, FLO_KAFKA_CONNECT, NULL);
	sink->committed = sink->covered;
	if (!sink->functions->newest_note(sink->kafka, &note) || note.number <= sink->covered)
		return;
	sink->committed = note.number;
	read_note(sink, note.text);
}

static void
begin_transaction(FloKafkaSink *sink)
{
	FloKafkaFailure failure;

	if (sink->in_transaction)
		return;
	flo_injection_point("send.before");
	if (!sink->functions->begin(sink->kafka, &failure))
		flo_kafka_throw(&failure, &sink->spec);
	sink->in_transaction = true;
	sink->began = flo_clock();
}

static void
commit_transaction(FloKafkaSink *sink)
{
	write_note(sink);
	flo_injection_point("send.after");
	run_task(sink, FLO_KAFKA_COMMIT, &sink->note);
	sink->in_transaction = false;
	sink->committed = sink->note.number;
	flo_injection_point("committed.after");
}

/* --- messages ------------------------------------------------------------ */

static char *
name_token(FloKafkaSink *sink, const char *name)
{
	StringInfoData utf8;
	StringInfoData token;

	initStringInfo(&utf8);
	initStringInfo(&token);
	flo_event_append_name(sink->writer, &utf8, name);
	flo_escape_append(&token, FLO_ESCAPE_TOPIC, utf8.data, utf8.len);
	flo_escape_bound(&token, FLO_ESCAPE_TOPIC, 0, NAME_LIMIT);
	pfree(utf8.data);
	return token.data;
}

/* Which topic the event at hand goes to; many in a row go to the same */
static void
find_topic(FloKafkaSink *sink, const FloRelation *relation)
{
	const char *type = flo_event_type(sink->writer);
	FloTemplateValues values = {0};
	char	   *names[4];

	if (sink->topic.len > 0 && sink->topic_type == type &&
		sink->topic_relation == relation->id && sink->topic_version == relation->version)
		return;
	names[0] = name_token(sink, sink->host->source_database);
	names[1] = name_token(sink, relation->schema);
	names[2] = name_token(sink, relation->name);
	names[3] = asc_tolower(type, strlen(type));
	values.values[FLO_TOKEN_GROUP] = sink->spec.group;
	values.values[FLO_TOKEN_DATABASE] = names[0];
	values.values[FLO_TOKEN_SCHEMA] = names[1];
	values.values[FLO_TOKEN_TABLE] = names[2];
	values.values[FLO_TOKEN_OPERATION] = names[3];
	resetStringInfo(&sink->topic);
	flo_template_expand(sink->template, &values, &sink->topic);
	for (int i = 0; i < lengthof(names); i++)
		pfree(names[i]);
	if (sink->topic.len > FLO_KAFKA_TOPIC_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the name of a topic would have %d characters, and %d is the limit: %s",
						sink->topic.len, FLO_KAFKA_TOPIC_MAX, sink->topic.data),
				 errhint("Shorten the worker's option topic.")));
	sink->topic_type = type;
	sink->topic_relation = relation->id;
	sink->topic_version = relation->version;
}

/* The library has no room while the brokers are slow */
static void
send_message(FloKafkaSink *sink, const FloKafkaMessage *message)
{
	FloClock	since = flo_clock();
	FloKafkaFailure failure = {0};
	FloKafkaSent sent;

	while ((sent = sink->functions->send(sink->kafka, message, &failure)) == FLO_KAFKA_FULL)
	{
		flo_wait_means(FLO_WAIT_KAFKA);
		flo_wait(PGINVALID_SOCKET, false, FULL_PAUSE);
		if (!sink->functions->serve(sink->kafka, &failure))
			fail(sink, &failure);
		serve(sink, since);
	}
	if (sent == FLO_KAFKA_NOT_SENT)
		fail(sink, &failure);
	if (++sink->unserved < SERVE_EVERY)
		return;
	sink->unserved = 0;
	if (!sink->functions->serve(sink->kafka, &failure))
		fail(sink, &failure);
	serve(sink, 0);
	if (sink->waiting)
		note_success(sink);
}

/* The event, in a message with so much else in it */
static void
shorten(FloKafkaSink *sink, const FloTransaction *txn, const FloChange *change, int which,
		int64 rest)
{
	int64		limit = sink->spec.options.max_message_bytes;
	int64		size = rest + sink->event.len;
	bool		refers = sink->spec.options.oversize == FLO_OVERSIZE_REFERENCE;

	resetStringInfo(&sink->event);
	if (refers && rest < limit &&
		flo_event_append_within(sink->writer, &sink->event, txn, change, which, limit - rest))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("an event makes a message of " INT64_FORMAT " bytes, and max_message_bytes is " INT64_FORMAT,
					size, limit),
			 refers ? errdetail("Its key and what else has to be in it are longer than that.") : 0,
			 errhint("Raise the worker's option max_message_bytes, and max.message.bytes of the topic%s.",
					 refers ? "" : ", or set the option oversize to reference")));
}

static void
send_event(FloKafkaSink *sink, const FloTransaction *txn, const FloChange *change, int which)
{
	const FloRelation *relation = change->op == FLO_OP_TRUNCATE ?
		change->truncated[which].relation : change->relation;
	FloKafkaMessage message = {.partition = -1};
	int64		size;

	resetStringInfo(&sink->event);
	resetStringInfo(&sink->key);
	flo_event_append(sink->writer, &sink->event, txn, change, which);
	find_topic(sink, relation);
	message.topic = sink->topic.data;
	if (!flo_partitioning_append(sink->writer, sink->partitioning, &sink->key, change, relation,
								 flo_event_is_old(sink->writer)))
		message.partition = 0;
	else
	{
		message.key = sink->key.data;
		message.key_len = sink->key.len;
	}
	size = MESSAGE_OVERHEAD + sink->key.len;
	message.nheaders = flo_event_headers(sink->writer, &message.headers);
	for (int i = 0; i < message.nheaders; i++)
		size += strlen(message.headers[i].name) + strlen(message.headers[i].value);
	if (size + sink->event.len > sink->spec.options.max_message_bytes)
	{
		shorten(sink, txn, change, which, size);
		message.nheaders = flo_event_headers(sink->writer, &message.headers);
	}
	if (!flo_event_is_tombstone(sink->writer))
	{
		message.value = sink->event.data;
		message.value_len = sink->event.len;
	}
	begin_transaction(sink);
	strlcpy(sink->note.topic, message.topic, sizeof(sink->note.topic));
	send_message(sink, &message);
}

/* --- the sink ------------------------------------------------------------ */

static void
kafka_check(const FloWorkerSpec *spec)
{
	FloTemplate *template = flo_template_parse("topic", spec->options.topic, TOPIC_TOKENS);
	FloTemplateValues values;
	StringInfoData topic;

	for (int i = 0; i < FLO_TOKENS; i++)
		values.values[i] = "a";
	initStringInfo(&topic);
	flo_template_expand(template, &values, &topic);
	if (strspn(topic.data, TOPIC_CHARACTERS) != topic.len || topic.len == 0 ||
		topic.len > FLO_KAFKA_TOPIC_MAX || strcmp(topic.data, ".") == 0 ||
		strcmp(topic.data, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "topic"),
				 errhint("The name of a topic is made of up to %d letters, digits and the characters . _ and -.",
						 FLO_KAFKA_TOPIC_MAX)));
	if (spec->options.transactional_id != NULL &&
		strlen(spec->options.transactional_id) > FLO_KAFKA_TOPIC_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for option \"%s\"", "transactional_id"),
				 errhint("It has up to %d bytes.", FLO_KAFKA_TOPIC_MAX)));
}

pg_noreturn static void
refuse_state(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the recorded state of the worker cannot be read")));
}

static void
parse_state(FloKafkaSink *sink, const char *state)
{
	Jsonb	   *saved = flo_sink_state_parse(state);
	char	   *word = flo_sink_state_text(saved, "word");
	char	   *pieces = flo_sink_state_text(saved, "pieces");
	char	   *save;

	if (word == NULL || strlen(word) != 2 * WORD_BYTES || pieces == NULL ||
		!flo_sink_state_int64(saved, "batch", &sink->covered) ||
		!flo_sink_state_int64(saved, "copy", &sink->other))
		refuse_state();
	strlcpy(sink->word, word, sizeof(sink->word));
	for (char *one = strtok_r(pieces, " ", &save); one != NULL; one = strtok_r(NULL, " ", &save))
		sink->pieces = lappend(sink->pieces, pstrdup(one));
}

/* Nothing is sent before it is saved */
static void
choose_word(FloKafkaSink *sink)
{
	uint8		bytes[WORD_BYTES];

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	for (int i = 0; i < WORD_BYTES; i++)
		sprintf(sink->word + 2 * i, "%02x", bytes[i]);
}

static FloSink *
kafka_open(const FloWorkerSpec *spec, FloTally *tally, const char *state, const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo Kafka sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloKafkaSink *sink = palloc0(sizeof(FloKafkaSink));

	sink->base.ops = &flo_sink_kafka;
	sink->spec = *spec;
	sink->counters = &tally->open;
	sink->host = host;
	sink->context = context;
	sink->writer = flo_event_writer_open(context, spec, host);
	initStringInfo(&sink->event);
	initStringInfo(&sink->key);
	initStringInfo(&sink->topic);
	sink->functions = flo_kafka_load();
	sink->config = flo_kafka_config(spec);
	sink->template = flo_template_parse("topic", spec->options.topic, TOPIC_TOKENS);
	sink->partitioning = flo_partitioning_parse(spec->options.partition_by, ANY_NUMBER);
	sink->reloads_seen = flo_reload_count;
	if (state != NULL)
		parse_state(sink, state);
	else
		choose_word(sink);
	before_shmem_exit(close_kafka, (Datum) 0);
	MemoryContextSwitchTo(old);
	return &sink->base;
}

/* The list of brokers that are allowed may be another one */
static void
look_at_settings(FloKafkaSink *sink)
{
	MemoryContext old;

	if (sink->reloads_seen == flo_reload_count || IsTransactionState())
		return;
	sink->reloads_seen = flo_reload_count;
	old = flo_transaction_begin();
	flo_brokers_check_allowed(sink->spec.options.brokers, sink->spec.owner);
	flo_transaction_end(old);
}

static void
kafka_begin(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;

	look_at_settings(sink);
	connect_to_brokers(sink);
	sink->piece[0] = '\0';
}

/* Is it in Kafka, of an attempt that was cut short? */
static bool
is_there_already(const FloKafkaSink *sink, const FloTransaction *txn, FloPlace place)
{
	ListCell   *lc;

	if (txn->copy_id == NULL)
		return !flo_place_is_beyond(place, sink->done);
	foreach(lc, sink->pieces)
	{
		if (strcmp(lfirst(lc), txn->copy_id) == 0)
			return true;
	}
	return false;
}

static void
kafka_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;
	FloPlace	place = {txn->final_lsn, txn->ordinal};
	int			count = flo_event_count(sink->writer, change);
	bool		already;

	if (txn->copy_id != NULL && sink->piece[0] == '\0')
		strlcpy(sink->piece, txn->copy_id, sizeof(sink->piece));
	already = is_there_already(sink, txn, place);
	flo_event_tally(sink->counters, change);
	if (!already && sink->in_transaction && txn->copy_id == NULL &&
		flo_clock_passed(sink->began, sink->spec.options.transaction_timeout / 2))
	{
		commit_transaction(sink);
		sink->done = sink->seen;
	}
	for (int i = 0; i < count && !already; i++)
		send_event(sink, txn, change, i);
	sink->seen = place;
}

static void
kafka_finish(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;
	ListCell   *lc;

	if (sink->in_transaction)
		commit_transaction(sink);
	if (sink->loads)
	{
		/* it will not come again */
		foreach(lc, sink->pieces)
		{
			if (strcmp(lfirst(lc), sink->piece) == 0)
				sink->pieces = foreach_delete_current(sink->pieces, lc);
		}
		sink->covered = sink->committed;
	}
	else if (!flo_place_is_beyond(sink->done, sink->seen))
	{
		memset(&sink->done, 0, sizeof(sink->done));
		sink->covered = sink->committed;
	}
}

static void
kafka_abort(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;

	if (!sink->in_transaction)
		return;
	sink->in_transaction = false;
	run_task(sink, FLO_KAFKA_ABORT, NULL);
}

static void
kafka_invalidate(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;

	sink->topic.len = 0;
	flo_event_forget(sink->writer);
}

static void
kafka_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloKafkaSink *) base)->writer, relation);
}

static char *
kafka_save(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;
	StringInfoData state;
	ListCell   *lc;

	initStringInfo(&state);
	appendStringInfo(&state, "{\"word\": \"%s\", \"batch\": " INT64_FORMAT ", \"copy\": " INT64_FORMAT
					 ", \"pieces\": \"", sink->word, sink->loads ? sink->other : sink->covered,
					 sink->loads ? sink->covered : sink->other);
	foreach(lc, sink->pieces)
		appendStringInfo(&state, "%s ", (char *) lfirst(lc));
	appendStringInfoString(&state, "\"}");
	return state.data;
}

static void
kafka_idle(FloSink *base)
{
	FloKafkaSink *sink = (FloKafkaSink *) base;

	look_at_settings(sink);
	connect_to_brokers(sink);
	if (flo_clock_passed(sink->served_at, SERVE_INTERVAL))
	{
		FloKafkaFailure failure;

		/* the library talks with the brokers meanwhile */
		sink->served_at = flo_clock();
		(void) sink->functions->serve(sink->kafka, &failure);
	}
}

const FloSinkOps flo_sink_kafka = {
	.transactional = false,
	.check = kafka_check,
	.open = kafka_open,
	.begin = kafka_begin,
	.change = kafka_change,
	.finish = kafka_finish,
	.abort = kafka_abort,
	.invalidate = kafka_invalidate,
	.forget = kafka_forget,
	.save = kafka_save,
	.idle = kafka_idle,
};
