/*
 * stream.c
 *		JetStream administration: streams, stored messages and consumers.
 *
 * Each function is one or two requests to $JS.API.*, with JSON bodies.  The
 * replies of nats-server 2.9 to 2.15 differ in what they add, not in what is
 * read here; an update of a stream sends back whatever configuration the
 * server reported, so that nothing a newer server knows is lost.
 *
 * Awkward cases:
 * - A stream that is full, or gone, must not look like a message that is gone:
 *   "not found" is told apart by JetStream's err_code, not by the 404.
 * - A start sequence beyond the end is taken literally by nats-server 2.15 and
 *   clamped by older ones, so it is clamped here.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "bus/stream_impl.h"
#include "common/base64.h"
#include "core/clock.h"
#include "monitor/state.h"

#define NANOSECONDS INT64CONST(1000000000)

/* Bytes that may be on their way into a stream */
#define UNDER_WAY (6 * 256 * 1024)

/* Of an account's room, that which streams of the pipe leave to others */
#define OTHERS_PART 8

/* Bytes that any stream of the pipe may hold: two chunks, however long rows are */
#define SMALLEST_ROOM (512 * 1024)

/* ---------------------------------------------------------------------------
 * Calling the API
 * ---------------------------------------------------------------------------
 */

FloApiReply
flo_api_reply(const FloBusReply *raw)
{
	FloApiReply reply = {0};
	FloJson		error;
	int64		number;

	reply.json = flo_json(raw->data, raw->len);
	if (!flo_json_get(reply.json, "error", &error))
	{
		reply.ok = true;
		return reply;
	}
	if (flo_json_get_int64(error, "code", &number))
		reply.code = (int) number;
	if (flo_json_get_int64(error, "err_code", &number))
		reply.err_code = (int) number;
	reply.words = flo_json_get_string(error, "description");
	if (reply.words == NULL)
		reply.words = pstrdup("no description");
	return reply;
}

/*
 * JetStream is "temporarily unavailable": too few servers of a cluster are there.  One
 * who is about to begin waits for that, but not for ever, since it may be the server
 * we are at that is cut off.
 */
#define NO_LEADER 10008
#define ASK_AGAIN 1000			/* ms */

/* A question is answered by whoever has it; a consumer by the one that will lead it */
static int
patience(const char *call)
{
	return strncmp(call, "CONSUMER.", 9) == 0 ? FLO_STREAM_CHANGE_TIMEOUT :
		FLO_STREAM_REQUEST_TIMEOUT;
}

FloApiReply
flo_api_call(FloBus *bus, const char *body, const char *subject_format,...)
{
	char		subject[FLO_BUS_SUBJECT_SIZE] = "$JS.API.";
	FloBusReply raw;
	FloApiReply reply;
	FloClock	begun = flo_clock();
	va_list		args;

	va_start(args, subject_format);
	vsnprintf(subject + 8, sizeof(subject) - 8, subject_format, args);
	va_end(args);

	for (;;)
	{
		raw = flo_bus_request(bus, subject, body, strlen(body), patience(subject + 8));
		reply = flo_api_reply(&raw);
		if (reply.err_code != NO_LEADER || !flo_state_is_waiting() ||
			flo_clock_passed(begun, FLO_STREAM_CHANGE_TIMEOUT))
			return reply;
		if (flo_state_is_starting())
			flo_state_set(FLO_STATE_WAITING, "for JetStream to answer on \"%s\": %s", subject, reply.words);
		flo_bus_wait_for(bus, FLO_WAIT_NATS, ASK_AGAIN);
	}
}

/* Refused for want of room, and waited a turn: ask again */
bool
flo_api_was_full(FloBus *bus, const FloApiReply *reply)
{
	return !reply->ok && flo_bus_is_full(reply->err_code) &&
		flo_bus_wait_while_full(bus, reply->err_code, reply->words);
}

/* The account takes only streams with a lower max_bytes */
#define STREAM_TOO_LARGE 10122

static int
error_class(const FloApiReply *reply, const char **hint)
{
	switch (reply->err_code)
	{
		case 10039:				/* not enabled for the account */
		case 10076:				/* not enabled */
			*hint = "Enable JetStream in nats-server, and for the account.";
			return ERRCODE_CONNECTION_FAILURE;
		case 10074:				/* replicas without a cluster */
			*hint = "Set pg_flo.stream_replicas to 1, or connect to a NATS cluster.";
			return ERRCODE_CONNECTION_EXCEPTION;
		case 10113:				/* account wants a maximum */
			*hint = "The NATS account requires pg_flo.stream_max_bytes to be set, at the source.";
			return ERRCODE_CONNECTION_EXCEPTION;
		case STREAM_TOO_LARGE:
			*hint = "The NATS account takes only streams with a lower pg_flo.stream_max_bytes.";
			return ERRCODE_CONNECTION_EXCEPTION;
	}
	if (flo_bus_is_full(reply->err_code))
	{
		*hint = "Check the limits of JetStream's storage, of the account and of the stream.";
		return ERRCODE_INSUFFICIENT_RESOURCES;
	}
	if (reply->code == 401 || reply->code == 403)
		return ERRCODE_INSUFFICIENT_PRIVILEGE;
	if (reply->code == 503)
		return ERRCODE_CONNECTION_FAILURE;
	return ERRCODE_CONNECTION_EXCEPTION;
}

void
flo_api_raise(const FloApiReply *reply, const char *what_format,...)
{
	char		what[256];
	const char *hint = NULL;
	int			sqlstate = error_class(reply, &hint);
	va_list		args;

	va_start(args, what_format);
	vsnprintf(what, sizeof(what), what_format, args);
	va_end(args);
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("could not %s: %s", what, reply->words),
			 errdetail("JetStream answered with error %d.", reply->err_code),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/* ---------------------------------------------------------------------------
 * Streams
 * ---------------------------------------------------------------------------
 */

bool
flo_api_stream_info(FloBus *bus, const char *stream, const char *body, FloApiReply *reply)
{
	*reply = flo_api_call(bus, body, "STREAM.INFO.%s", stream);
	if (reply->ok)
		return true;
	if (reply->err_code != FLO_API_STREAM_NOT_FOUND)
		flo_api_raise(reply, "get information about stream \"%s\"", stream);
	return false;
}

/* A limit as we have it: 0 = none, where JetStream says -1 or 0 */
static int64
get_limit(FloJson config, const char *key)
{
	int64		value;

	return flo_json_get_int64(config, key, &value) && value > 0 ? value : 0;
}

static void
read_stream_info(FloJson json, FloStreamInfo *info)
{
	FloJson		state;
	int64		replicas;

	memset(info, 0, sizeof(*info));
	if (!flo_json_get(json, "config", &info->config) || !flo_json_get(json, "state", &state) ||
		!flo_json_get_uint64(state, "messages", &info->messages) ||
		!flo_json_get_uint64(state, "bytes", &info->bytes) ||
		!flo_json_get_uint64(state, "first_seq", &info->first_seq) ||
		!flo_json_get_uint64(state, "last_seq", &info->last_seq) ||
		!flo_json_get_uint64(state, "consumer_count", &info->consumers))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's information about a stream is incomplete")));
	if (info->messages == 0)
		info->first_seq = info->last_seq + 1;
	info->max_bytes = get_limit(info->config, "max_bytes");
	info->max_age = get_limit(info->config, "max_age");
	if (info->max_age > 0)
		info->max_age = (info->max_age + NANOSECONDS - 1) / NANOSECONDS;
	info->replicas = flo_json_get_int64(info->config, "num_replicas", &replicas) ? (int) replicas : 1;
	info->description = flo_json_get_string(info->config, "description");
	if (info->description == NULL)
		info->description = pstrdup("");
}

void
flo_account_info(FloBus *bus, FloAccountInfo *account)
{
	FloApiReply reply = flo_api_call(bus, "", "INFO");
	FloJson		limits;
	FloJson		required;

	memset(account, 0, sizeof(*account));
	if (!reply.ok)
		return;
	flo_json_get_int64(reply.json, "storage", &account->bytes);
	flo_json_get_int64(reply.json, "streams", &account->streams);
	account->limited = flo_json_get(reply.json, "tiers", &limits);
	if (!flo_json_get(reply.json, "limits", &limits))
		return;
	account->max_bytes = get_limit(limits, "max_storage");
	account->max_streams = get_limit(limits, "max_streams");
	account->max_stream_bytes = get_limit(limits, "storage_max_stream_bytes");
	account->wants_max_bytes = flo_json_get(limits, "max_bytes_required", &required) &&
		required.len == 4;		/* true */
	account->limited |= account->max_bytes > 0;
}

int64
flo_account_left_to_others(const FloAccountInfo *account)
{
	return account->max_bytes / OTHERS_PART;
}

int64
flo_account_room(const FloAccountInfo *account, const FloStreamInfo *info, bool alone)
{
	int			replicas = Max(info->replicas, 1);
	int64		left = account->max_bytes - account->bytes;
	int64		part = flo_account_left_to_others(account);
	int64		stored = (int64) info->bytes * replicas;
	int64		own = Max(part / OTHERS_PART, SMALLEST_ROOM * replicas) - stored;

	if (account->max_bytes <= 0)
		return PG_INT64_MAX;
	if (alone)
		own = left;
	return Max(0, Max(left - part, Min(own, left - part / 2))) / replicas;
}

/* From 2.11 on they tell their version with a stream's configuration */
static bool
counts_what_is_stored(FloJson config)
{
	FloJson		metadata;
	char	   *version;
	int			major,
				minor,
				patch;

	if (!flo_json_get(config, "metadata", &metadata) ||
		(version = flo_json_get_string(metadata, "_nats.ver")) == NULL ||
		sscanf(version, "%d.%d.%d", &major, &minor, &patch) != 3)
		return false;
	if (major != 2)
		return major > 2;
	return minor > 12 || (minor == 12 && patch >= 4) || (minor == 11 && patch >= 12);
}

bool
flo_stream_counts_refused(const FloAccountInfo *account, const FloStreamInfo *info)
{
	return account->limited && !counts_what_is_stored(info->config);
}

bool
flo_stream_info(FloBus *bus, const char *stream, FloStreamInfo *info)
{
	FloApiReply reply;

	memset(info, 0, sizeof(*info));
	if (!flo_api_stream_info(bus, stream, "", &reply))
		return false;
	read_stream_info(reply.json, info);
	return true;
}

/* What the server answers to a request to make it */
static FloApiReply
ask_for_stream(FloBus *bus, const FloStreamConfig *config)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"name\":");
	flo_json_append_string(&body, config->name);
	appendStringInfoString(&body, ",\"subjects\":[");
	flo_json_append_string(&body, config->subject);
	appendStringInfoString(&body, "],\"description\":");
	flo_json_append_string(&body, config->description != NULL ? config->description : "");

	/*
	 * The duplicates window is of no use to us, since messages carry no id,
	 * but it may not be longer than the age limit.
	 */
	appendStringInfo(&body,
					 ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"new\""
					 ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_msg_size\":-1"
					 ",\"max_bytes\":" INT64_FORMAT ",\"max_age\":" INT64_FORMAT
					 ",\"num_replicas\":%d,\"duplicate_window\":" INT64_FORMAT
					 ",\"allow_direct\":true}",
					 config->max_bytes > 0 ? config->max_bytes : -1,
					 config->max_age * NANOSECONDS,
					 Max(config->replicas, 1), NANOSECONDS);
	return flo_api_call(bus, body.data, "STREAM.CREATE.%s", config->name);
}

void
flo_stream_create(FloBus *bus, const FloStreamConfig *config)
{
	FloApiReply reply;

	do
		reply = ask_for_stream(bus, config);
	while (flo_api_was_full(bus, &reply));
	if (!reply.ok)
		flo_api_raise(&reply, "create stream \"%s\"", config->name);
}

bool
flo_stream_try_create(FloBus *bus, const FloStreamConfig *config)
{
	FloApiReply reply = ask_for_stream(bus, config);

	if (!reply.ok && !flo_bus_is_full(reply.err_code))
		flo_api_raise(&reply, "create stream \"%s\"", config->name);
	return reply.ok;
}

/*
 * What pg_flo relies on, whatever somebody has made of it by hand: the other
 * members of a stream's configuration are as the server has them.
 */
static char *
wanted_members(const FloStreamConfig *config)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfo(&body, "{\"max_bytes\":" INT64_FORMAT ",\"max_age\":" INT64_FORMAT ",\"num_replicas\":%d"
					 ",\"discard\":\"new\",\"max_msgs\":-1,\"max_msg_size\":-1,\"max_msgs_per_subject\":%d"
					 ",\"no_ack\":false",
					 config->max_bytes > 0 ? config->max_bytes : -1, config->max_age * NANOSECONDS,
					 Max(config->replicas, 1), config->per_subject > 0 ? config->per_subject : -1);
	appendStringInfoString(&body, ",\"subjects\":[");
	flo_json_append_string(&body, config->subject);
	appendStringInfoString(&body, "],\"description\":");
	flo_json_append_string(&body, config->description);
	appendStringInfoChar(&body, '}');
	return body.data;
}

/*
 * Is it the same?  Servers say -1 or 0 where there is no limit, and escape in
 * strings what need not be.
 */
static bool
is_same_value(FloJson wanted, FloJson current)
{
	FloJson		one;
	FloJson		other = {0};
	int			cursor = 0;
	int			other_cursor = 0;

	if (wanted.text[0] == '[')
	{
		while (flo_json_next_element(wanted, &cursor, &one))
			if (!flo_json_next_element(current, &other_cursor, &other) ||
				!is_same_value(one, other))
				return false;
		return !flo_json_next_element(current, &other_cursor, &other);
	}
	if (wanted.text[0] == '"')
	{
		char	   *text = flo_json_string(current);

		return text != NULL && strcmp(flo_json_string(wanted), text) == 0;
	}
	if (wanted.len == 2 && memcmp(wanted.text, "-1", 2) == 0 && current.len == 1 &&
		current.text[0] == '0')
		return true;
	return wanted.len == current.len && memcmp(wanted.text, current.text, wanted.len) == 0;
}

/* Servers leave out what is false, empty or zero */
static FloJson
left_out(FloJson wanted)
{
	switch (wanted.text[0])
	{
		case '"':
			return flo_json("\"\"", 2);
		case '[':
			return flo_json("[]", 2);
		case 'f':
			return flo_json("false", 5);
		default:
			return flo_json("0", 1);
	}
}

static bool
is_as_wanted(FloJson wanted, FloJson current)
{
	FloJson		key;
	FloJson		value;
	FloJson		other;
	int			cursor = 0;

	while (flo_json_next_member(wanted, &cursor, &key, &value))
	{
		if (!flo_json_get(current, flo_json_string(key), &other))
			other = left_out(value);
		if (!is_same_value(value, other))
			return false;
	}
	return true;
}

/*
 * nats-server removes the oldest messages of a stream that is given less room than it takes,
 * also of one that refuses new ones when it is full: a limit falls with what is there.
 */
static FloStreamConfig
keep_what_is_there(const FloStreamConfig *config, const FloStreamInfo *there)
{
	FloStreamConfig result = *config;

	if (config->max_bytes <= 0)
		return result;
	result.max_bytes = Max(config->max_bytes, (int64) there->bytes + UNDER_WAY);
	if (there->max_bytes > 0)
		result.max_bytes = Min(result.max_bytes, Max(there->max_bytes, config->max_bytes));
	return result;
}

#define WARNING_INTERVAL 60000	/* ms */

/* It is tried again and again, and said now and then */
static void
warn_of_limits(const char *stream, const FloApiReply *reply)
{
	static FloClock warned = 0;

	if (!flo_clock_passed(warned, WARNING_INTERVAL))
		return;
	warned = flo_clock();
	ereport(WARNING,
			(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
			 errmsg("stream \"%s\" keeps its limits: %s", stream, reply->words),
			 errdetail("JetStream answered with error %d.", reply->err_code)));
}

void
flo_stream_update(FloBus *bus, const FloStreamConfig *config, const FloStreamInfo *there)
{
	FloStreamConfig kept = keep_what_is_there(config, there);
	FloApiReply reply;
	StringInfoData body;
	char	   *wanted = wanted_members(&kept);
	FloJson		ours = flo_json(wanted, strlen(wanted));
	FloJson		key;
	FloJson		value;
	int			cursor = 0;

	if (is_as_wanted(ours, there->config))
		return;

	/* All that the server reported, with our members replaced */
	initStringInfo(&body);
	appendBinaryStringInfo(&body, wanted, ours.len - 1);
	while (flo_json_next_member(there->config, &cursor, &key, &value))
	{
		FloJson		replaced;

		if (!flo_json_get(ours, flo_json_string(key), &replaced))
			appendStringInfo(&body, ",%.*s:%.*s", key.len, key.text, value.len, value.text);
	}
	appendStringInfoChar(&body, '}');
	reply = flo_api_call(bus, body.data, "STREAM.UPDATE.%s", config->name);
	/* what the stream holds can be had, and let go of, under its old limits */
	if (!reply.ok && (flo_bus_is_full(reply.err_code) || reply.err_code == STREAM_TOO_LARGE))
		warn_of_limits(config->name, &reply);
	else if (!reply.ok)
		flo_api_raise(&reply, "change stream \"%s\"", config->name);
}

void
flo_stream_delete(FloBus *bus, const char *stream)
{
	FloApiReply reply = flo_api_call(bus, "", "STREAM.DELETE.%s", stream);

	if (!reply.ok && reply.err_code != FLO_API_STREAM_NOT_FOUND)
		flo_api_raise(&reply, "delete stream \"%s\"", stream);
}

void
flo_stream_purge_below(FloBus *bus, const char *stream, uint64 seq)
{
	char		body[64];
	FloApiReply reply;
	FloStreamInfo info;

	if (!flo_stream_info(bus, stream, &info) || seq <= info.first_seq)
		return;

	/* Beyond the end, nats-server 2.9 would move the end of the stream */
	snprintf(body, sizeof(body), "{\"seq\":" UINT64_FORMAT "}", Min(seq, info.last_seq + 1));
	reply = flo_api_call(bus, body, "STREAM.PURGE.%s", stream);
	if (!reply.ok)
		flo_api_raise(&reply, "purge stream \"%s\"", stream);
}

void
flo_stream_remove(FloBus *bus, const char *stream, uint64 seq)
{
	char		body[64];
	FloApiReply reply;

	snprintf(body, sizeof(body), "{\"seq\":" UINT64_FORMAT ",\"no_erase\":true}", seq);
	reply = flo_api_call(bus, body, "STREAM.MSG.DELETE.%s", stream);
	if (!reply.ok)
		flo_api_raise(&reply, "remove message " UINT64_FORMAT " of stream \"%s\"", seq, stream);
}

/* ---------------------------------------------------------------------------
 * Stored messages
 * ---------------------------------------------------------------------------
 */

/* Bytes of a base64 member; one byte behind the end is there and zero */
static char *
get_base64(FloJson object, const char *key, int *len)
{
	FloJson		value;
	char	   *result;

	*len = 0;
	if (!flo_json_get(object, key, &value) || value.len < 2)
		return NULL;
	result = palloc(pg_b64_dec_len(value.len - 2) + 1);
	*len = pg_b64_decode(value.text + 1, value.len - 2, (void *) result,
						 pg_b64_dec_len(value.len - 2));
	if (*len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's copy of a message is not valid base64")));
	result[*len] = '\0';
	return result;
}

bool
flo_api_get_message(FloBus *bus, const char *stream, const char *body,
					bool stream_missing_ok, FloStoredMessage *message, char **headers)
{
	FloApiReply reply = flo_api_call(bus, body, "STREAM.MSG.GET.%s", stream);
	FloJson		stored;
	int			len;

	if (!reply.ok)
	{
		if (reply.err_code != FLO_API_NO_MESSAGE &&
			!(stream_missing_ok && reply.err_code == FLO_API_STREAM_NOT_FOUND))
			flo_api_raise(&reply, "get a message of stream \"%s\"", stream);
		return false;
	}
	if (!flo_json_get(reply.json, "message", &stored) ||
		!flo_json_get_uint64(stored, "seq", &message->seq))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's copy of a message is incomplete")));
	message->subject = flo_json_get_string(stored, "subject");
	message->data = get_base64(stored, "data", &message->len);
	if (message->data == NULL)
		message->data = palloc0(1);
	if (headers != NULL)
		*headers = get_base64(stored, "hdrs", &len);
	pfree(unconstify(char *, reply.json.text));
	return true;
}

bool
flo_stream_get(FloBus *bus, const char *stream, uint64 seq, FloStoredMessage *message)
{
	char		body[64];

	snprintf(body, sizeof(body), "{\"seq\":" UINT64_FORMAT "}", seq);
	return flo_api_get_message(bus, stream, body, false, message, NULL);
}

bool
flo_stream_get_last(FloBus *bus, const char *stream, const char *subject, FloStoredMessage *message)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"last_by_subj\":");
	flo_json_append_string(&body, subject);
	appendStringInfoChar(&body, '}');
	return flo_api_get_message(bus, stream, body.data, false, message, NULL);
}

/* ---------------------------------------------------------------------------
 * Consumers
 * ---------------------------------------------------------------------------
 */

/* "rest" is the part of the configuration that differs */
static void
create_consumer(FloBus *bus, const char *stream, const char *consumer, const char *rest)
{
	FloApiReply reply;
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"stream_name\":");
	flo_json_append_string(&body, stream);
	appendStringInfoString(&body, ",\"config\":{\"durable_name\":");
	flo_json_append_string(&body, consumer);
	appendStringInfo(&body, ",%s,\"max_deliver\":-1,\"max_ack_pending\":-1,\"replay_policy\":\"instant\"}}", rest);
	reply = flo_api_call(bus, body.data, "CONSUMER.DURABLE.CREATE.%s.%s", stream, consumer);
	if (!reply.ok)
		flo_api_raise(&reply, "create consumer \"%s\" of stream \"%s\"", consumer, stream);
}

void
flo_consumer_create(FloBus *bus, const char *stream, const char *consumer, uint64 start_seq)
{
	FloStreamInfo info;

	flo_consumer_delete(bus, stream, consumer);
	if (!flo_stream_info(bus, stream, &info))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("stream \"%s\" does not exist", stream)));
	start_seq = Min(start_seq, info.last_seq + 1);
	start_seq = Max(start_seq, 1);

	/* Redelivery is never relied upon: a day is "never" */
	create_consumer(bus, stream, consumer,
					psprintf("\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":" UINT64_FORMAT
							 ",\"ack_policy\":\"all\",\"ack_wait\":" INT64_FORMAT,
							 start_seq, NANOSECONDS * SECS_PER_DAY));
}

void
flo_consumer_create_shared(FloBus *bus, const char *stream, const char *consumer, int ack_wait)
{
	flo_consumer_delete(bus, stream, consumer);
	create_consumer(bus, stream, consumer,
					psprintf("\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":" INT64_FORMAT,
							 NANOSECONDS * ack_wait));
}

bool
flo_consumer_delete(FloBus *bus, const char *stream, const char *consumer)
{
	FloApiReply reply = flo_api_call(bus, "", "CONSUMER.DELETE.%s.%s", stream, consumer);

	if (!reply.ok && reply.err_code != FLO_API_CONSUMER_NOT_FOUND &&
		reply.err_code != FLO_API_STREAM_NOT_FOUND)
		flo_api_raise(&reply, "delete consumer \"%s\" of stream \"%s\"", consumer, stream);
	return reply.ok;
}

List *
flo_consumer_names(FloBus *bus, const char *stream)
{
	List	   *names = NIL;

	/* The server answers with one page at a time */
	for (;;)
	{
		FloApiReply reply;
		FloJson		page;
		FloJson		name;
		char		body[64];
		int64		total = 0;
		int			cursor = 0;
		int			before = list_length(names);

		snprintf(body, sizeof(body), "{\"offset\":%d}", before);
		reply = flo_api_call(bus, body, "CONSUMER.NAMES.%s", stream);
		if (!reply.ok)
		{
			if (reply.err_code != FLO_API_STREAM_NOT_FOUND)
				flo_api_raise(&reply, "list the consumers of stream \"%s\"", stream);
			return NIL;
		}
		flo_json_get_int64(reply.json, "total", &total);
		if (!flo_json_get(reply.json, "consumers", &page))
			break;
		while (flo_json_next_element(page, &cursor, &name))
			names = lappend(names, flo_json_string(name));
		if (list_length(names) == before || list_length(names) >= total)
			break;
	}
	return names;
}
