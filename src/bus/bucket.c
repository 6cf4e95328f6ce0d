/*
 * bucket.c
 *		The state bucket of a group: keys, and texts of any size.
 *
 * A JetStream key-value bucket is a stream KV_<bucket> that keeps one message
 * for each subject $KV.<bucket>.<key>.  A removed key is a message too, with a
 * header that says so; such keys are absent to every reader here.
 */
#include "postgres.h"

#include "bus/stream.h"
#include "bus/stream_impl.h"
#include "core/names.h"

/* Its limit where the account wants one: definitions of many thousand tables */
#define BUCKET_MAX_BYTES ((int64) 64 * 1024 * 1024)

static char *
bucket_stream(const char *bucket)
{
	return psprintf("KV_%s", bucket);
}

static char *
key_subject(const char *bucket, const char *key)
{
	return psprintf("$KV.%s.%s", bucket, key);
}

char *
flo_bucket_subject(const char *bucket)
{
	return psprintf("$KV.%s.>", bucket);
}

bool
flo_bucket_info(FloBus *bus, const char *bucket, FloStreamInfo *info)
{
	return flo_stream_info(bus, bucket_stream(bucket), info);
}

/* What the server answers to a request to make one */
static FloApiReply
ask_for_bucket(FloBus *bus, const char *bucket, int replicas, int64 max_bytes,
			   const char *description)
{
	char	   *stream = bucket_stream(bucket);
	FloApiReply reply;
	StringInfoData body;

	/*
	 * no roll-ups: with such a header, who may write one key can remove all
	 * others
	 */
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"name\":");
	flo_json_append_string(&body, stream);
	appendStringInfoString(&body, ",\"subjects\":[");
	flo_json_append_string(&body, flo_bucket_subject(bucket));
	appendStringInfoString(&body, "],\"description\":");
	flo_json_append_string(&body, description);
	appendStringInfo(&body,
					 ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"new\""
					 ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":" INT64_FORMAT ",\"max_age\":0"
					 ",\"max_msg_size\":-1,\"max_msgs_per_subject\":1"
					 ",\"num_replicas\":%d,\"duplicate_window\":120000000000"
					 ",\"allow_rollup_hdrs\":false,\"deny_delete\":true"
					 ",\"deny_purge\":false,\"allow_direct\":true}",
					 max_bytes, Max(replicas, 1));
	reply = flo_api_call(bus, body.data, "STREAM.CREATE.%s", stream);
	return reply;
}

/* A limit for accounts that want one, else -1 */
static int64
wanted_limit(FloBus *bus, const FloStreamConfig *config)
{
	FloAccountInfo account;

	flo_account_info(bus, &account);
	if (!account.wants_max_bytes || config->max_bytes == 0)
		return -1;
	if (account.max_stream_bytes > 0)
		return Min(account.max_stream_bytes, BUCKET_MAX_BYTES);
	return Min(config->max_bytes, BUCKET_MAX_BYTES);
}

/* One that a worker has made, or an earlier version, is nobody's so far */
void
flo_bucket_update(FloBus *bus, const char *bucket, const FloStreamConfig *config,
				  const FloStreamInfo *there)
{
	FloStreamConfig owned = {0};

	owned.name = bucket_stream(bucket);
	owned.subject = flo_bucket_subject(bucket);
	owned.per_subject = 1;
	owned.max_bytes = there->max_bytes;
	owned.max_age = there->max_age;
	owned.replicas = there->replicas;
	owned.description = config->description;
	flo_stream_update(bus, &owned, there);
}

void
flo_bucket_create(FloBus *bus, const char *bucket, const FloStreamConfig *config)
{
	FloStreamInfo info;
	FloApiReply reply;

	do
	{
		if (flo_bucket_info(bus, bucket, &info))
		{
			flo_bucket_update(bus, bucket, config, &info);
			return;
		}
		reply = ask_for_bucket(bus, bucket, config->replicas, wanted_limit(bus, config),
							   config->description);

		/*
		 * in use: made by a worker at this moment, so it is looked at once
		 * more
		 */
	} while (reply.err_code == FLO_API_STREAM_IN_USE || flo_api_was_full(bus, &reply));
	if (!reply.ok)
		flo_api_raise(&reply, "create state bucket \"%s\"", bucket);
}

bool
flo_bucket_try_create(FloBus *bus, const char *bucket, int replicas)
{
	FloStreamInfo info;
	FloApiReply reply;

	if (flo_bucket_info(bus, bucket, &info))
		return true;
	reply = ask_for_bucket(bus, bucket, replicas, -1, "state of a pg_flo group");
	if (reply.ok || reply.err_code == FLO_API_STREAM_IN_USE)
		return true;
	/* with a limit, which only the source knows, that makes it */
	if (!flo_bus_is_full(reply.err_code) && reply.err_code != FLO_API_LIMIT_WANTED)
		flo_api_raise(&reply, "create state bucket \"%s\"", bucket);
	return false;
}

void
flo_bucket_delete(FloBus *bus, const char *bucket)
{
	flo_stream_delete(bus, bucket_stream(bucket));
}

/* Publish to a key and wait for the server's answer; false when there is no bucket */
static bool
store_key(FloBus *bus, const char *bucket, const char *key,
		  const char *header, const char *header_value, const char *value, FloApiReply *reply)
{
	FloBusReply raw;

	if (!flo_bus_try_request(bus, key_subject(bucket, key), header, header_value,
							 value, strlen(value), FLO_STREAM_REQUEST_TIMEOUT, &raw))
		return false;
	*reply = flo_api_reply(&raw);
	return true;
}

pg_noreturn static void
raise_absent(const char *bucket)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_EXCEPTION),
			 errmsg("state bucket \"%s\" does not exist", bucket)));
}

void
flo_bucket_put(FloBus *bus, const char *bucket, const char *key, const char *value, bool wait)
{
	FloApiReply reply;

	if (!wait)
	{
		flo_bus_publish(bus, key_subject(bucket, key), value, strlen(value));
		return;
	}
	do
	{
		if (!store_key(bus, bucket, key, NULL, NULL, value, &reply))
			raise_absent(bucket);
	} while (flo_api_was_full(bus, &reply));
	if (!reply.ok)
		flo_api_raise(&reply, "write key \"%s\" of state bucket \"%s\"", key, bucket);
}

bool
flo_bucket_try_put(FloBus *bus, const char *bucket, const char *key, const char *value)
{
	FloApiReply reply;

	if (!store_key(bus, bucket, key, NULL, NULL, value, &reply))
		return false;
	if (!reply.ok && !flo_bus_is_full(reply.err_code))
		flo_api_raise(&reply, "write key \"%s\" of state bucket \"%s\"", key, bucket);
	return reply.ok;
}

/*
 * A removal is a message, which has told those who watch the bucket when the
 * broker has no room for it.  A purge of the key needs none; who may not purge
 * is answered with what the broker said first.
 */
void
flo_bucket_remove(FloBus *bus, const char *bucket, const char *key)
{
	FloApiReply reply;
	FloApiReply purged;
	StringInfoData body;

	if (!store_key(bus, bucket, key, "KV-Operation", "DEL", "", &reply) || reply.ok)
		return;
	if (flo_bus_is_full(reply.err_code))
	{
		initStringInfo(&body);
		appendStringInfoString(&body, "{\"filter\":");
		flo_json_append_string(&body, key_subject(bucket, key));
		appendStringInfoChar(&body, '}');
		purged = flo_api_call(bus, body.data, "STREAM.PURGE.%s", bucket_stream(bucket));
		if (purged.ok)
			return;
	}
	flo_api_raise(&reply, "remove key \"%s\" of state bucket \"%s\"", key, bucket);
}

void
flo_bucket_purge(FloBus *bus, const char *bucket, const char *beginning)
{
	FloApiReply reply;
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"filter\":");
	flo_json_append_string(&body, psprintf("$KV.%s.%s>", bucket, beginning));
	appendStringInfoChar(&body, '}');
	reply = flo_api_call(bus, body.data, "STREAM.PURGE.%s", bucket_stream(bucket));
	if (!reply.ok)
		flo_api_raise(&reply, "remove keys \"%s\" of state bucket \"%s\"", beginning, bucket);
}

/* Do these headers mark a removed key? */
static bool
is_removal(const char *headers)
{
	return headers != NULL &&
		(strstr(headers, "KV-Operation: DEL") != NULL ||
		 strstr(headers, "KV-Operation: PURGE") != NULL ||
		 strstr(headers, "KV-Operation:DEL") != NULL ||
		 strstr(headers, "KV-Operation:PURGE") != NULL);
}

/*
 * Does it hold anything?  nats-server 2.9 crashes when it is asked for a message
 * of a stream that it is making at that moment, as the other side of a new group
 * may have it do; one that has messages is made.
 */
static bool
is_filled(FloBus *bus, const char *bucket)
{
	static char filled[FLO_NAME_BUF + 32];
	FloStreamInfo info;

	if (strcmp(filled, bucket) == 0)
		return true;
	if (!flo_stream_info(bus, bucket_stream(bucket), &info) || info.messages == 0)
		return false;
	strlcpy(filled, bucket, sizeof(filled));
	return true;
}

char *
flo_bucket_get(FloBus *bus, const char *bucket, const char *key)
{
	char	   *headers = NULL;
	FloStoredMessage message;
	StringInfoData body;

	if (!is_filled(bus, bucket))
		return NULL;
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"last_by_subj\":");
	flo_json_append_string(&body, key_subject(bucket, key));
	appendStringInfoChar(&body, '}');
	if (!flo_api_get_message(bus, bucket_stream(bucket), body.data, true, &message, &headers))
		return NULL;
	/* whatever has removed it */
	return message.len == 0 || is_removal(headers) ? NULL : message.data;
}

char *
flo_schema_tag(const char *generation, uint32 attempt)
{
	return psprintf("%s-%u", generation, attempt);
}

List *
flo_bucket_keys(FloBus *bus, const char *bucket, const char *beginning)
{
	FloApiReply reply;
	FloJson		state;
	FloJson		subjects;
	FloJson		subject;
	FloJson		count;
	int			cursor = 0;
	int			prefix = strlen("$KV..") + strlen(bucket);
	List	   *keys = NIL;

	if (!flo_api_stream_info(bus, bucket_stream(bucket),
							 psprintf("{\"subjects_filter\":\"$KV.%s.%s>\"}", bucket, beginning),
							 &reply))
		return NIL;
	if (!flo_json_get(reply.json, "state", &state) ||
		!flo_json_get(state, "subjects", &subjects))
		return NIL;
	while (flo_json_next_member(subjects, &cursor, &subject, &count))
	{
		char	   *name = flo_json_string(subject);

		if (name == NULL || strlen(name) <= prefix)
			continue;
		if (flo_bucket_get(bus, bucket, name + prefix) != NULL)
			keys = lappend(keys, pstrdup(name + prefix));
	}
	return keys;
}
