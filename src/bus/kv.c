/*
 * kv.c
 *		Key-value buckets for others, which hold rows: not those of groups.
 *
 * A walk is a consumer of the last message of each subject, without the messages'
 * data, so it costs the bucket's keys and not its values.  Each step waits for all
 * that it has asked for: between two of them nothing is under way, and the caller
 * may use the connection.
 */
#include "postgres.h"

#include "bus/kv.h"
#include "bus/stream_impl.h"
#include "core/clock.h"
#include "core/text.h"

#define NANOSECONDS INT64CONST(1000000000)

/* Keys of a step, and how long the server waits for them (ms) */
#define WALK_BATCH 500
#define WALK_EXPIRES 2000
#define WALK_PATIENCE (4 * WALK_EXPIRES)

/* How long a consumer is kept between two steps (s): a full bucket may hold us up */
#define WALK_IDLE 600

/* What one of ours has for a description begins with this */
#define OWNER_MARK "rows of pg_flo worker "

/* A message is recognised as one that was published already within this time, s */
#define DUPLICATES_WINDOW 10

struct FloKvWalk
{
	FloBus	   *bus;
	char	   *stream;
	char	   *consumer;
	int			prefix;			/* bytes of a subject before the key */
	int64		left;
};

const char *
flo_kv_bucket_problem(const char *bucket)
{
	size_t		len = strlen(bucket);

	if (len == 0 || len > FLO_KV_BUCKET_MAX)
		return psprintf("it has more than %d bytes", FLO_KV_BUCKET_MAX);
	if (strspn(bucket, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != len)
		return "it may have letters, digits, \"_\" and \"-\"";
	if (strncmp(bucket, "pg_flo_state_", strlen("pg_flo_state_")) == 0)
		return "buckets of this name keep the state of groups";
	return NULL;
}

char *
flo_kv_stream(const char *bucket)
{
	return psprintf("KV_%s", bucket);
}

char *
flo_kv_subject(const char *bucket, const char *key)
{
	return psprintf("$KV.%s.%s", bucket, key);
}

/* --- making and checking ------------------------------------------------- */

static bool
make_bucket(FloBus *bus, const FloKvConfig *config)
{
	StringInfoData body;
	FloApiReply reply;

	initStringInfo(&body);
	appendStringInfo(&body, "{\"name\":\"KV_%s\",\"subjects\":[\"$KV.%s.>\"],\"description\":",
					 config->bucket, config->bucket);
	flo_json_append_string(&body, psprintf(OWNER_MARK "%s", config->owner));
	appendStringInfo(&body,
					 ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"new\""
					 ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0"
					 ",\"max_msg_size\":-1,\"max_msgs_per_subject\":%d"
					 ",\"num_replicas\":%d,\"duplicate_window\":" INT64_FORMAT
					 ",\"allow_rollup_hdrs\":true,\"deny_delete\":true"
					 ",\"deny_purge\":false,\"allow_direct\":true}",
					 config->history, config->replicas, NANOSECONDS * DUPLICATES_WINDOW);
	reply = flo_api_call(bus, body.data, "STREAM.CREATE.KV_%s", config->bucket);
	if (!reply.ok && reply.err_code != FLO_API_STREAM_IN_USE)
		flo_api_raise(&reply, "create bucket \"%s\"", config->bucket);
	return reply.ok;
}

static bool
is_string(FloJson config, const char *key, const char *text)
{
	FloJson		value;

	return flo_json_get(config, key, &value) && flo_json_string_is(value, text);
}

/* A limit as it was set; 0: none */
static int64
limit_of(FloJson config, const char *key)
{
	int64		value;

	return flo_json_get_int64(config, key, &value) && value > 0 ? value : 0;
}

/* Does the stream hold the keys of this bucket, and nothing else? */
static bool
has_our_subjects(FloJson config, const char *bucket)
{
	FloJson		subjects;
	FloJson		subject;
	int			cursor = 0;
	char	   *name;

	if (!flo_json_get(config, "subjects", &subjects) ||
		!flo_json_next_element(subjects, &cursor, &subject))
		return false;
	name = flo_json_string(subject);
	return name != NULL && strcmp(name, psprintf("$KV.%s.>", bucket)) == 0 &&
		!flo_json_next_element(subjects, &cursor, &subject);
}

/* Why what is put into the bucket would not stay there, or not be found; NULL: it does */
static const char *
why_unfit(FloJson config, const FloKvConfig *wanted)
{
	FloJson		other;

	if (flo_json_get(config, "mirror", &other) || flo_json_get(config, "sources", &other))
		return "it holds what another stream does";
	if (!has_our_subjects(config, wanted->bucket))
		return psprintf("its subjects are not \"$KV.%s.>\" alone", wanted->bucket);
	if (flo_json_is_true(config, "sealed"))
		return "it is sealed";
	if (!is_string(config, "retention", "limits"))
		return "its values go when they are read";
	if (limit_of(config, "max_age") > 0)
		return "its values go after a time";
	if (!is_string(config, "discard", "new") &&
		(limit_of(config, "max_bytes") > 0 || limit_of(config, "max_msgs") > 0))
		return "old values make room for new ones";
	if (!flo_json_is_true(config, "allow_rollup_hdrs"))
		return "it does not allow keys to be purged";
	if (limit_of(config, "max_msgs_per_subject") != wanted->history)
		return psprintf("its history is " INT64_FORMAT ", and kv_history is %d",
						limit_of(config, "max_msgs_per_subject"), wanted->history);
	return NULL;
}

/* True when it is not said whose it is */
static bool
check_owner(FloJson config, const FloKvConfig *wanted)
{
	char	   *description = flo_json_get_string(config, "description");

	if (description == NULL ||
		strncmp(description, OWNER_MARK, strlen(OWNER_MARK)) != 0)
		return true;
	if (strcmp(description + strlen(OWNER_MARK), wanted->owner) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("bucket \"%s\" belongs to another worker", wanted->bucket),
				 errdetail("It holds %s.", description),
				 errhint("Every worker needs a bucket of its own. If that worker is no more, delete the bucket.")));
	return false;
}

bool
flo_kv_prepare(FloBus *bus, const FloKvConfig *config)
{
	char	   *stream = flo_kv_stream(config->bucket);
	FloApiReply reply;
	FloJson		found;
	FloJson		state;
	int64		messages = 0;
	const char *problem;

	while (!flo_api_stream_info(bus, stream, "", &reply))
	{
		if (make_bucket(bus, config))
			return false;
	}
	if (!flo_json_get(reply.json, "config", &found) ||
		!flo_json_get(reply.json, "state", &state) ||
		!flo_json_get_int64(state, "messages", &messages))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's information about a stream is incomplete")));
	problem = why_unfit(found, config);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("bucket \"%s\" cannot keep the rows of tables: %s", config->bucket, problem),
				 errhint("Change it, delete it, so that it is made as it has to be, or name another one.")));
	return check_owner(found, config) && messages > 0;
}

/* --- walking ------------------------------------------------------------- */

FloKvWalk *
flo_kv_walk(FloBus *bus, const char *bucket, const char *filter)
{
	FloKvWalk  *walk = palloc0(sizeof(FloKvWalk));
	StringInfoData body;
	FloApiReply reply;

	walk->bus = bus;
	walk->stream = flo_kv_stream(bucket);
	walk->prefix = strlen("$KV..") + strlen(bucket);
	initStringInfo(&body);
	appendStringInfo(&body, "{\"stream_name\":\"%s\",\"config\":{\"filter_subject\":\"%s\""
					 ",\"deliver_policy\":\"last_per_subject\",\"ack_policy\":\"none\""
					 ",\"replay_policy\":\"instant\",\"headers_only\":true,\"num_replicas\":1"
					 ",\"mem_storage\":true,\"inactive_threshold\":" INT64_FORMAT "}}",
					 walk->stream, flo_kv_subject(bucket, filter), NANOSECONDS * WALK_IDLE);
	reply = flo_api_call(bus, body.data, "CONSUMER.CREATE.%s", walk->stream);
	if (!reply.ok)
		flo_api_raise(&reply, "read the keys of bucket \"%s\"", bucket);
	walk->consumer = flo_json_get_string(reply.json, "name");
	if (walk->consumer == NULL || !flo_json_get_int64(reply.json, "num_pending", &walk->left))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's information about a consumer is incomplete")));
	return walk;
}

static void
read_key(const FloKvWalk *walk, const FloBusDelivery *delivery, FloKvKey *key)
{
	const char *lsn = flo_bus_delivery_header(delivery, "Flo-Commit-LSN");
	const char *place = flo_bus_delivery_header(delivery, "Flo-Place");

	if (strlen(delivery->subject) <= walk->prefix)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("NATS delivered a key of another bucket")));
	key->key = pstrdup(delivery->subject + walk->prefix);
	key->seq = delivery->stream_seq;
	key->removed = flo_bus_delivery_header(delivery, "KV-Operation") != NULL;
	if (lsn == NULL || !flo_lsn_try(lsn, &key->lsn))
		key->lsn = InvalidXLogRecPtr;
	key->place = pstrdup(place != NULL ? place : "");
}

/* A pull has ended before all had come: it was too slow, or they have been removed meanwhile */
static bool
more_to_come(const FloKvWalk *walk)
{
	FloApiReply reply = flo_api_call(walk->bus, "", "CONSUMER.INFO.%s.%s", walk->stream,
									 walk->consumer);
	int64		pending;

	if (!reply.ok)
		flo_api_raise(&reply, "read the keys of stream \"%s\"", walk->stream);
	return !flo_json_get_int64(reply.json, "num_pending", &pending) || pending > 0;
}

int
flo_kv_walk_next(FloKvWalk *walk, FloKvKey **keys)
{
	int			wanted = (int) Min(walk->left, WALK_BATCH);
	FloClock	deadline = flo_clock_in(WALK_PATIENCE);
	FloBusDelivery delivery;
	int			count = 0;
	bool		ended = false;

	*keys = palloc(sizeof(FloKvKey) * WALK_BATCH);
	if (wanted > 0)
		flo_bus_pull(walk->bus, walk->stream, walk->consumer, wanted, WALK_EXPIRES);
	while (count < wanted)
	{
		while (flo_bus_next_delivery(walk->bus, &delivery))
		{
			if (delivery.status != 0)
				ended = true;
			else if (count < wanted)
				read_key(walk, &delivery, &(*keys)[count++]);
			flo_bus_release(walk->bus, &delivery);
		}
		if (count == wanted || (ended && !more_to_come(walk)))
			break;
		if (ended)
			flo_bus_pull(walk->bus, walk->stream, walk->consumer, wanted - count, WALK_EXPIRES);
		ended = false;
		if (flo_clock_left(deadline) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("NATS did not deliver the keys of stream \"%s\"", walk->stream)));
		flo_bus_wait_for(walk->bus, FLO_WAIT_NATS, 1000);
	}
	walk->left -= count;
	if (count == 0)
		flo_consumer_delete(walk->bus, walk->stream, walk->consumer);
	return count;
}
