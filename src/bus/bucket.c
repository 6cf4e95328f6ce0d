/*
 * bucket.c
 *		The state bucket of a group: keys, and texts of any size.
 *
 * A JetStream key-value bucket is a stream KV_<bucket> that keeps one message
 * for each subject $KV.<bucket>.<key>.  A removed key is a message too, with a
 * header that says so; such keys are absent to every reader here.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "bus/stream_impl.h"
#include "core/names.h"

/* Bytes of one value of a text that may be larger */
#define PIECE_SIZE (256 * 1024)

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

void
flo_bucket_create(FloBus *bus, const char *bucket, int replicas)
{
	char	   *stream = bucket_stream(bucket);
	FloApiReply reply;
	StringInfoData body;

	if (flo_api_stream_info(bus, stream, "", &reply))
		return;
	/* no roll-ups: with such a header, who may write one key can remove all others */
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"name\":");
	flo_json_append_string(&body, stream);
	appendStringInfoString(&body, ",\"subjects\":[");
	flo_json_append_string(&body, flo_bucket_subject(bucket));
	appendStringInfo(&body,
					 "],\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"new\""
					 ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0"
					 ",\"max_msg_size\":-1,\"max_msgs_per_subject\":1"
					 ",\"num_replicas\":%d,\"duplicate_window\":120000000000"
					 ",\"allow_rollup_hdrs\":false,\"deny_delete\":true"
					 ",\"deny_purge\":false,\"allow_direct\":true}",
					 Max(replicas, 1));
	reply = flo_api_call(bus, body.data, "STREAM.CREATE.%s", stream);
	if (!reply.ok && reply.err_code != FLO_API_STREAM_IN_USE)
		flo_api_raise(&reply, "create state bucket \"%s\"", bucket);
}

void
flo_bucket_delete(FloBus *bus, const char *bucket)
{
	flo_stream_delete(bus, bucket_stream(bucket));
}

/* Publish to a key and wait until it is stored */
static void
store_key(FloBus *bus, const char *bucket, const char *key,
		  const char *header, const char *header_value, const char *value)
{
	FloBusReply raw;
	FloApiReply reply;

	if (!flo_bus_try_request(bus, key_subject(bucket, key), header, header_value,
							 value, strlen(value), FLO_STREAM_REQUEST_TIMEOUT, &raw))
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("state bucket \"%s\" does not exist", bucket)));
	reply = flo_api_reply(&raw);
	if (!reply.ok)
		flo_api_raise(&reply, "write key \"%s\" of state bucket \"%s\"", key, bucket);
}

void
flo_bucket_put(FloBus *bus, const char *bucket, const char *key, const char *value, bool wait)
{
	if (wait)
		store_key(bus, bucket, key, NULL, NULL, value);
	else
		flo_bus_publish(bus, key_subject(bucket, key), value, strlen(value));
}

void
flo_bucket_remove(FloBus *bus, const char *bucket, const char *key)
{
	store_key(bus, bucket, key, "KV-Operation", "DEL", "");
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
	return is_removal(headers) ? NULL : message.data;
}

/* --- texts of any size ------------------------------------------------------- */

/* Number of pieces of a text, 0 when there is none (of the generation, unless NULL) */
static int64
count_pieces(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	FloTextRecord *record = flo_records_get(bus, bucket, key, &flo_text_format);

	if (record == NULL || (generation != NULL && strcmp(record->generation, generation) != 0))
		return 0;
	return record->pieces;
}

void
flo_bucket_put_text(FloBus *bus, const char *bucket, const char *key,
					const char *generation, const char *text)
{
	size_t		left = strlen(text);
	size_t		size = (size_t) Min((int64) PIECE_SIZE, flo_bus_max_payload(bus) / 2);
	FloTextRecord record = {unconstify(char *, generation), 0};

	do
	{
		size_t		len = Min(left, size);
		char	   *piece = pnstrdup(text, len);

		flo_bucket_put(bus, bucket, psprintf("%s." INT64_FORMAT, key, ++record.pieces), piece, true);
		pfree(piece);
		text += len;
		left -= len;
	} while (left > 0);
	flo_records_put(bus, bucket, key, &flo_text_format, &record, true);
}

bool
flo_bucket_has_text(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	return count_pieces(bus, bucket, key, generation) > 0;
}

char *
flo_bucket_get_text(FloBus *bus, const char *bucket, const char *key, const char *generation)
{
	int64		pieces = count_pieces(bus, bucket, key, generation);
	StringInfoData text;

	if (pieces == 0)
		return NULL;
	initStringInfo(&text);
	for (int64 i = 1; i <= pieces; i++)
	{
		char	   *piece = flo_bucket_get(bus, bucket, psprintf("%s." INT64_FORMAT, key, i));

		if (piece == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("piece " INT64_FORMAT " of " INT64_FORMAT " of \"%s\" is missing in state bucket \"%s\"",
							i, pieces, key, bucket)));
		appendStringInfoString(&text, piece);
		pfree(piece);
	}
	return text.data;
}

void
flo_bucket_remove_text(FloBus *bus, const char *bucket, const char *key)
{
	int64		pieces = count_pieces(bus, bucket, key, NULL);

	if (pieces == 0)
		return;
	flo_bucket_remove(bus, bucket, key);
	for (int64 i = 1; i <= pieces; i++)
		flo_bucket_remove(bus, bucket, psprintf("%s." INT64_FORMAT, key, i));
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

	if (!flo_api_stream_info(bus, bucket_stream(bucket), psprintf("{\"subjects_filter\":\"$KV.%s.%s>\"}", bucket, beginning), &reply))
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
