/*
 * sink_nats.c
 *		Publishes events to subjects of NATS.
 *
 * Promises: with a stream, each event is in it exactly once and in order, whatever
 * is killed at any moment and however short the stream's window of duplicates is;
 * without one, whoever listens gets it at least once while he is there.  Events of
 * one row go to one partition.  When partitions change, all are told behind
 * everything that was published before.
 *
 * What may be done twice is told apart by places (nats_place.h): a change that is
 * not beyond the newest one published is passed over.  The stream says which that
 * is, for a process that comes after one which did not come to save it.
 *
 * Awkward cases:
 * - One event may be several messages: with TRUNCATE and DDL one for each
 *   partition, and as many as its format makes of a change.
 * - The pieces of a copy come in any order, and one that is in the stream in part
 *   may come again after others: so far as each of them is published is kept.
 * - With other options the next process publishes elsewhere; what the last one did
 *   is looked for where that published.
 */
#include "postgres.h"

#include "bus/outlet.h"
#include "bus/subject.h"
#include "conf/commit.h"
#include "core/clock.h"
#include "core/names.h"
#include "core/settings.h"
#include "events/event.h"
#include "events/event_key.h"
#include "events/nats_place.h"
#include "events/sink_nats_kv.h"
#include "events/template.h"
#include "monitor/state.h"
#include "utils/memutils.h"

/* Longest template */
#define SUBJECT_MAX 256

#define STREAM_NAME_MAX 255

/* Between two positions within a batch, where no stream tells how far we came, ms */
#define CHECKPOINT_INTERVAL 1000

typedef struct FloNatsSink
{
	FloSink		base;
	FloCounters *counters;
	const FloSinkHost *host;
	MemoryContext context;
	FloEventWriter *writer;
	FloOutlet  *outlet;
	bool		keeps;			/* there is a stream */
	FloOversize oversize;
	FloClock	saved_at;

	/* subjects */
	FloTemplate *template;
	FloPartitioning *partitioning;
	FloTemplateValues values;
	StringInfoData tokens[FLO_TOKENS];
	uint32		named;			/* table whose name is in the tokens, and */
	uint64		named_version;	/* its version */
	StringInfoData subject;
	StringInfoData text;		/* a name or an Id on its way */
	StringInfoData event;

	/* places */
	FloNatsState state;
	FloNatsPlace seen;			/* newest change handed in */
	FloNatsPlace *piece;		/* the one at hand, in the state's list */
	int			told;			/* partitions that know of the change, as the
								 * stream says */
} FloNatsSink;

/* --- options ------------------------------------------------------------- */

static const char *const subject_hint =
"An example is \"cdc.{group}.{schema}.{table}.{operation}\".";

pg_noreturn static void
refuse_subject(const char *problem)
{
	flo_conf_refuse(psprintf("invalid value for option \"subject\": %s", problem), subject_hint);
}

/* All subjects that a worker publishes to */
static char *
subjects_of(const FloTemplate *template, const char *group)
{
	FloTemplateValues values = {{[FLO_TOKEN_GROUP] = group}};
	StringInfoData subjects;

	initStringInfo(&subjects);
	flo_template_wildcard(template, &values, &subjects);
	return subjects.data;
}

static char *
stream_of(const FloWorkerSpec *spec)
{
	if (!spec->options.jetstream)
		return NULL;
	if (spec->options.stream != NULL)
		return pstrdup(spec->options.stream);
	return psprintf("cdc_%s", spec->group);
}

static void
check_subject(const FloWorkerSpec *spec)
{
	const FloTemplate *template = flo_template_parse("subject", spec->options.subject,
													 FLO_TOKENS_ALL);
	char	   *subjects = subjects_of(template, spec->group);
	const char *problem = flo_subject_problem(subjects);

	if (strlen(spec->options.subject) > SUBJECT_MAX)
		refuse_subject(psprintf("it is longer than %d bytes", SUBJECT_MAX));
	if (strpbrk(spec->options.subject, "*>") != NULL)
		refuse_subject("it has a wildcard of NATS");
	/* what shares a part with a token is not among the subjects */
	for (const char *c = spec->options.subject; *c != '\0' && problem == NULL; c++)
		if (*c <= ' ' || *c > '~')
			problem = flo_subject_problem(" ");
	if (problem != NULL)
		refuse_subject(problem);
	if (subjects[0] == '*')
		refuse_subject("it begins with a token, so it could be any subject");
	if (subjects[0] == '$' || subjects[0] == '_' ||
		flo_subject_overlaps(subjects, psprintf("%s.>", flo_nats_inbox_prefix)))
		refuse_subject("it begins with what NATS keeps for itself");
	if (flo_subject_overlaps(subjects, "pgflo.>"))
		refuse_subject("it could be one of those of pg_flo's own streams");
	if (spec->options.partitions > 1 && !flo_template_uses(template, FLO_TOKEN_PARTITION))
		flo_conf_refuse("option \"partitions\" needs a subject with the token {partition}",
						"An example is \"cdc.{group}.{partition}.{schema}.{table}\".");
}

static void
check_stream(const FloWorkerSpec *spec)
{
	static const char *const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"0123456789_-";
	const char *stream = spec->options.stream;

	if (stream == NULL)
		return;
	if (!spec->options.jetstream)
		flo_conf_refuse("option \"stream\" is of no use without JetStream",
						"Leave it out, or do not set the option jetstream to false.");
	if (strspn(stream, allowed) != strlen(stream) || strlen(stream) > STREAM_NAME_MAX)
		flo_conf_refuse("invalid value for option \"stream\"",
						psprintf("The name of a stream consists of letters, digits, _ and -, at most %d.",
								 STREAM_NAME_MAX));
	if (strncmp(stream, "pgflo_", 6) == 0)
		flo_conf_refuse("a stream of pg_flo's own cannot take events",
						"Choose a name that does not begin with pgflo_.");
	if (strncmp(stream, "KV_", 3) == 0 || strncmp(stream, "OBJ_", 4) == 0)
		flo_conf_refuse("the stream of a bucket cannot take events",
						"Choose a name that does not begin with KV_ or OBJ_.");
}

static void
nats_check(const FloWorkerSpec *spec)
{
	if (spec->options.kv_bucket != NULL)
	{
		flo_nats_kv_check(spec);
		return;
	}
	check_subject(spec);
	check_stream(spec);
	(void) flo_partitioning_parse(spec->options.partition_by, (int) spec->options.partitions);
}

/* --- subjects ------------------------------------------------------------ */

static void
set_token(FloNatsSink *sink, FloToken token, const char *utf8, int len)
{
	StringInfo	out = &sink->tokens[token];

	resetStringInfo(out);
	flo_escape_append(out, FLO_ESCAPE_NATS, utf8, len);
	sink->values.values[token] = out->data;
}

static void
set_name(FloNatsSink *sink, FloToken token, const char *name)
{
	resetStringInfo(&sink->text);
	flo_event_append_name(sink->writer, &sink->text, name);
	set_token(sink, token, sink->text.data, sink->text.len);
}

/* Names change seldom from one event to the next */
static void
set_table(FloNatsSink *sink, const FloRelation *relation)
{
	if (relation != NULL && relation->version != 0 && sink->named == relation->id &&
		sink->named_version == relation->version)
		return;
	sink->named = relation != NULL ? relation->id : 0;
	sink->named_version = relation != NULL ? relation->version : 0;
	set_name(sink, FLO_TOKEN_SCHEMA, relation != NULL ? relation->schema : "");
	set_name(sink, FLO_TOKEN_TABLE, relation != NULL ? relation->name : "");
}

static void
set_operation(FloNatsSink *sink, const char *type)
{
	StringInfo	out = &sink->tokens[FLO_TOKEN_OPERATION];

	resetStringInfo(out);
	for (; *type != '\0'; type++)
		appendStringInfoChar(out, pg_ascii_tolower((unsigned char) *type));
	sink->values.values[FLO_TOKEN_OPERATION] = out->data;
}

/* NULL: of no row */
static void
set_key(FloNatsSink *sink, const FloChange *change)
{
	StringInfo	out = &sink->tokens[FLO_TOKEN_KEY];

	if (change == NULL || change->op == FLO_OP_TRUNCATE || change->op == FLO_OP_MESSAGE)
	{
		set_token(sink, FLO_TOKEN_KEY, "", 0);
		return;
	}
	resetStringInfo(out);
	flo_event_key_token(sink->writer, out, change, flo_event_is_old(sink->writer),
						FLO_ESCAPE_NATS, '/', FLO_EVENT_KEY_MAX);
	sink->values.values[FLO_TOKEN_KEY] = out->data;
}

static const char *
subject_for(FloNatsSink *sink, int partition)
{
	StringInfo	out = &sink->tokens[FLO_TOKEN_PARTITION];

	resetStringInfo(out);
	appendStringInfo(out, "%d", partition);
	sink->values.values[FLO_TOKEN_PARTITION] = out->data;
	resetStringInfo(&sink->subject);
	flo_template_expand(sink->template, &sink->values, &sink->subject);
	return sink->subject.data;
}

/* --- publishing ---------------------------------------------------------- */

/*
 * What the event appended last looks like as a message; "partition" is -1 unless
 * it goes to several.  The Id is within sink->text.
 */
static void
describe(FloNatsSink *sink, int partition, FloOutletMessage *message, FloBusHeader *headers)
{
	const FloEventHeader *given;

	resetStringInfo(&sink->text);
	appendStringInfoString(&sink->text, flo_event_id(sink->writer));
	if (partition >= 0)
		appendStringInfo(&sink->text, "@%d", partition);
	message->id = sink->text.data;
	message->headers = headers;
	message->nheaders = flo_event_headers(sink->writer, &given);
	for (int i = 0; i < message->nheaders; i++)
	{
		headers[i].name = given[i].name;
		headers[i].value = given[i].value;
	}
	message->data = sink->event.data;
	message->len = sink->event.len;
}

pg_noreturn static void
refuse_size(const FloNatsSink *sink, const FloRelation *relation, int64 size, int64 limit)
{
	const bool	reference = sink->oversize == FLO_OVERSIZE_REFERENCE;

	flo_fail(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
			 reference ? "Raise max_payload of the NATS server and max_msg_size of the stream, then start the worker." :
			 "Set the worker's option oversize to reference, or raise max_payload of the NATS server and max_msg_size of the stream, then start the worker.",
			 "event \"%s\" of table \"%s.%s\" is too large for NATS%s: " INT64_FORMAT " bytes with its headers, of " INT64_FORMAT,
			 flo_event_id(sink->writer), relation->schema, relation->name,
			 reference ? ", whatever is left out" : "", size, limit);
}

/* Append one event of a change, as large as a message may be */
static void
append_event(FloNatsSink *sink, const FloTransaction *txn, const FloChange *change, int which,
			 const FloRelation *relation)
{
	int64		limit = flo_outlet_max_size(sink->outlet);
	FloBusHeader headers[FLO_EVENT_MAX_HEADERS];
	FloOutletMessage message = {.place = ""};
	int64		size;

	resetStringInfo(&sink->event);
	flo_event_append(sink->writer, &sink->event, txn, change, which);
	/* what is far from the limit need not be measured */
	if (sink->event.len < limit / 2)
		return;
	describe(sink, (int) sink->state.partitions, &message, headers);
	size = flo_outlet_size(sink->outlet, &message) + FLO_NATS_PLACE_SIZE;
	if (size <= limit)
		return;
	resetStringInfo(&sink->event);
	if (sink->oversize == FLO_OVERSIZE_ERROR || limit <= size - message.len ||
		!flo_event_append_within(sink->writer, &sink->event, txn, change, which,
								 limit - (size - message.len)))
		refuse_size(sink, relation, size, limit);
}

/* Publish what was appended last; "several": to each partition */
static void
publish(FloNatsSink *sink, int partition, bool several, const FloNatsPlace *place)
{
	FloBusHeader headers[FLO_EVENT_MAX_HEADERS];
	FloOutletMessage message;
	char		text[FLO_NATS_PLACE_SIZE];

	describe(sink, several ? partition : -1, &message, headers);
	flo_nats_place_write(place, sink->state.writer, text, sizeof(text));
	message.place = text;
	message.subject = subject_for(sink, partition);
	flo_outlet_add(sink->outlet, &message);
}

/* It was handed in by this process, or the stream has it of one before */
static bool
is_known(const FloNatsSink *sink, const FloNatsPlace *place)
{
	const FloNatsPlace *newest = place->kind == FLO_NATS_STREAMED ? &sink->seen : sink->piece;

	return newest != NULL && newest->kind == place->kind &&
		!flo_nats_place_is_beyond(place, newest);
}

static void
note(FloNatsSink *sink, const FloNatsPlace *place)
{
	MemoryContext old;

	if (place->kind == FLO_NATS_STREAMED)
		sink->seen = *place;
	else if (sink->piece != NULL)
		*sink->piece = *place;
	else
	{
		old = MemoryContextSwitchTo(sink->context);
		flo_nats_state_note_piece(&sink->state, place);
		sink->piece = flo_nats_state_piece(&sink->state, place->piece);
		MemoryContextSwitchTo(old);
	}
}

/* Where the change stands; of a copied row its piece is looked up */
static void
find_place(FloNatsSink *sink, const FloTransaction *txn, FloNatsPlace *place)
{
	memset(place, 0, sizeof(*place));
	place->epoch = sink->state.epoch;
	place->ordinal = txn->ordinal;
	if (txn->copy_id == NULL)
	{
		place->kind = FLO_NATS_STREAMED;
		place->final_lsn = txn->final_lsn;
		return;
	}
	place->kind = FLO_NATS_COPIED;
	strlcpy(place->piece, txn->copy_id, sizeof(place->piece));
	if (sink->piece == NULL || strcmp(sink->piece->piece, place->piece) != 0)
		sink->piece = flo_nats_state_piece(&sink->state, place->piece);
}

/* One event of a change, to its partition or to all of them */
static void
publish_event(FloNatsSink *sink, const FloTransaction *txn, const FloChange *change, int which,
			  FloNatsPlace *place)
{
	const FloRelation *relation = change->op == FLO_OP_TRUNCATE ?
		change->truncated[which].relation : change->relation;
	int			partition;
	int			count;

	append_event(sink, txn, change, which, relation);
	partition = flo_event_partition(sink->writer, sink->partitioning, change, relation,
									flo_event_is_old(sink->writer));
	count = partition < 0 ? sink->state.partitions : 1;
	set_table(sink, relation);
	set_operation(sink, flo_event_type(sink->writer));
	if (flo_template_uses(sink->template, FLO_TOKEN_KEY))
		set_key(sink, change);
	for (int i = 0; i < count; i++)
	{
		place->message++;
		if (is_known(sink, place))
			continue;
		publish(sink, partition < 0 ? i : partition, count > 1, place);
		note(sink, place);
	}

	/* do not keep the memory of a huge row */
	if (sink->event.maxlen > 1024 * 1024)
	{
		MemoryContext old = MemoryContextSwitchTo(sink->context);

		pfree(sink->event.data);
		initStringInfo(&sink->event);
		MemoryContextSwitchTo(old);
	}
}

/* --- partitions ---------------------------------------------------------- */

/* Tell all partitions, old ones and new ones, behind everything that they had before */
static void
tell_partitions(FloNatsSink *sink)
{
	FloNatsState *state = &sink->state;
	int			count = flo_template_uses(sink->template, FLO_TOKEN_PARTITION) ?
		Max(state->partitions, state->partitions_before) : 1;
	FloNatsPlace place = {.kind = FLO_NATS_NOTICE,.epoch = state->epoch};

	set_table(sink, NULL);
	set_key(sink, NULL);
	set_operation(sink, "REPARTITION");
	for (int i = sink->told; i < count; i++)
	{
		StringInfoData members;

		initStringInfo(&members);
		appendStringInfo(&members, "\"Partitions\":%d,\"PartitionsBefore\":%d,\"Partition\":%d",
						 state->partitions, state->partitions_before, i);
		resetStringInfo(&sink->event);
		flo_event_append_notice(sink->writer, &sink->event,
								psprintf("repartition-%s-%u-%d", state->writer, state->epoch, i),
								"REPARTITION", members.data);
		place.message = i + 1;
		publish(sink, i, false, &place);
		pfree(members.data);
	}
	flo_outlet_drain(sink->outlet);
	state->told = true;
}

/* Are they others than those that the last process published to? */
static void
compare_partitions(FloNatsSink *sink, const FloWorkerOptions *options, bool first)
{
	FloNatsState *state = &sink->state;

	if (!first && (state->partitions != (int) options->partitions ||
				   strcmp(state->partition_by, options->partition_by) != 0))
	{
		state->partitions_before = state->told ? state->partitions :
			Max(state->partitions, state->partitions_before);
		state->epoch++;
		state->told = false;
		sink->told = 0;
	}
	state->partitions = (int) options->partitions;
	state->partition_by = pstrdup(options->partition_by);
}

/* --- the sink ------------------------------------------------------------ */

/* What the newest message in the stream says that is not saved */
static void
learn(FloNatsSink *sink, const char *text)
{
	FloNatsState *state = &sink->state;
	FloNatsPlace place;

	if (text == NULL || !flo_nats_place_read(text, state->writer, &place))
		return;
	if (place.kind == FLO_NATS_NOTICE)
		sink->told = place.epoch == state->epoch ? (int) place.message : 0;
	else if (place.epoch >= state->epoch)
		state->told = true;
	state->epoch = Max(state->epoch, place.epoch);
	if (place.kind == FLO_NATS_COPIED)
		flo_nats_state_note_piece(state, &place);
	else if (place.kind == FLO_NATS_STREAMED &&
			 flo_nats_place_is_beyond(&place, &state->streamed))
		state->streamed = place;
}

static void
open_subjects(FloNatsSink *sink, const FloWorkerSpec *spec)
{
	initStringInfo(&sink->subject);
	initStringInfo(&sink->text);
	initStringInfo(&sink->event);
	for (int i = 0; i < FLO_TOKENS; i++)
		initStringInfo(&sink->tokens[i]);
	sink->template = flo_template_parse("subject", spec->options.subject, FLO_TOKENS_ALL);
	sink->partitioning = flo_partitioning_parse(spec->options.partition_by,
												(int) spec->options.partitions);
	set_name(sink, FLO_TOKEN_GROUP, spec->group);
	set_name(sink, FLO_TOKEN_DATABASE,
			 sink->host->source_database != NULL ? sink->host->source_database : "");
}

/* The connection, and the stream */
static void
open_outlet(FloNatsSink *sink, const FloWorkerSpec *spec)
{
	char	   *stream = stream_of(spec);
	char	   *subjects = subjects_of(sink->template, spec->group);
	const FloOutletConfig config = {
		.name = psprintf("pg_flo sink %s %s", spec->group, spec->worker),
		.stream = stream,
		.subjects = subjects,
		.serve = sink->host->serve,
		.arg = sink->host->arg,
	};
	const FloStreamConfig wanted = {
		.name = stream,
		.subject = subjects,
		.max_bytes = Max(spec->options.stream_max_bytes, 0),
		.max_age = Max(spec->options.stream_max_age, 0),
		.replicas = spec->options.stream_replicas > 0 ? (int) spec->options.stream_replicas :
		flo_stream_replicas,
		.description = psprintf("events of worker %s of group %s, pg_flo", spec->worker,
								spec->group),
	};

	sink->keeps = stream != NULL;
	sink->outlet = flo_outlet_open(sink->context, &config);
	if (sink->keeps)
		flo_outlet_stream(flo_outlet_bus(sink->outlet), &wanted);
	if (sink->state.stream != NULL)
		learn(sink, flo_outlet_last(sink->outlet, sink->state.stream, sink->state.subjects));
	sink->state.stream = stream;
	sink->state.subjects = subjects;
}

static FloSink *
open_events(const FloWorkerSpec *spec, FloTally *tally, const char *state, const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo NATS sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloNatsSink *sink = palloc0(sizeof(FloNatsSink));

	sink->base.ops = &flo_sink_nats;
	sink->counters = &tally->open;
	sink->host = host;
	sink->context = context;
	sink->oversize = spec->options.oversize;
	sink->writer = flo_event_writer_open(context, spec, host);
	nats_check(spec);			/* settings may be others than when it was set */
	open_subjects(sink, spec);
	if (state != NULL)
		flo_nats_state_read(state, &sink->state);
	else
		flo_nats_state_begin(&sink->state);
	open_outlet(sink, spec);
	compare_partitions(sink, &spec->options, state == NULL);
	sink->seen = sink->state.streamed;
	sink->saved_at = flo_clock();
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static FloSink *
nats_open(const FloWorkerSpec *spec, FloTally *tally, const char *state, const FloSinkHost *host)
{
	if (spec->options.kv_bucket != NULL)
		return flo_nats_kv_open(spec, tally, state, host);
	return open_events(spec, tally, flo_nats_kv_is_state(state) ? NULL : state, host);
}

static void
nats_begin(FloSink *base)
{
	FloNatsSink *sink = (FloNatsSink *) base;

	if (!sink->state.told)
		tell_partitions(sink);
}

static void
nats_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloNatsSink *sink = (FloNatsSink *) base;
	FloNatsPlace place;
	FloNatsPlace end;
	int			count = flo_event_count(sink->writer, change);

	/* what was published before counts in this attempt, too */
	flo_event_tally(sink->counters, change);
	find_place(sink, txn, &place);
	end = place;
	end.message = PG_UINT32_MAX;
	if (is_known(sink, &end))
		return;
	for (int i = 0; i < count; i++)
		publish_event(sink, txn, change, i, &place);
	if (!sink->keeps && flo_clock_passed(sink->saved_at, CHECKPOINT_INTERVAL))
	{
		sink->saved_at = flo_clock();
		sink->host->checkpoint(sink->host->arg);
	}
}

static void
nats_finish(FloSink *base)
{
	FloNatsSink *sink = (FloNatsSink *) base;

	flo_outlet_drain(sink->outlet);
	/* the piece is in the copy's account with the transaction that saves this */
	if (sink->piece != NULL)
		flo_nats_state_forget_piece(&sink->state, sink->piece->piece);
	sink->piece = NULL;
}

/* What was handed in is published all the same, and passed over when it comes again */
static void
nats_abort(FloSink *base)
{
}

static void
nats_invalidate(FloSink *base)
{
	flo_event_forget(((FloNatsSink *) base)->writer);
}

static void
nats_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloNatsSink *) base)->writer, relation);
}

static char *
nats_save(FloSink *base)
{
	FloNatsSink *sink = (FloNatsSink *) base;
	const char *stored = flo_outlet_stored(sink->outlet);
	FloNatsPlace place;

	if (stored != NULL && flo_nats_place_read(stored, sink->state.writer, &place) &&
		place.kind == FLO_NATS_STREAMED)
		sink->state.streamed = place;
	return flo_nats_state_write(&sink->state);
}

static void
nats_idle(FloSink *base)
{
	flo_outlet_pump(((FloNatsSink *) base)->outlet);
}

const FloSinkOps flo_sink_nats = {
	.transactional = false,
	.check = nats_check,
	.open = nats_open,
	.begin = nats_begin,
	.change = nats_change,
	.finish = nats_finish,
	.abort = nats_abort,
	.invalidate = nats_invalidate,
	.forget = nats_forget,
	.save = nats_save,
	.idle = nats_idle,
};
