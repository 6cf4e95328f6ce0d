/*
 * outlet_stream.c
 *		The stream that messages for others are kept in: made, or looked at
 *		whether it is one that keeps them.
 *
 * What can be found out of a message once it is consumed is nothing, so a stream
 * that forgets by what its consumers do will not do: nobody could tell what is
 * stored already.  The other limits of a stream are its owner's business.
 */
#include "postgres.h"

#include "bus/outlet.h"
#include "bus/stream_impl.h"
#include "bus/subject.h"

#define NANOSECONDS INT64CONST(1000000000)

/*
 * Nothing relies on the window, and a server remembers all Ids that are in it; it
 * may not be longer than the age limit.
 */
#define DUPLICATES_WINDOW 10	/* s */

#define ERR_SUBJECTS_OVERLAP 10065

pg_noreturn static void
unusable(const char *stream, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream \"%s\" cannot be used: %s", stream, why),
			 errhint("%s", hint)));
}

static bool
has(FloJson config, const char *key)
{
	FloJson		value;

	return flo_json_get(config, key, &value) &&
		!(value.len == 4 && memcmp(value.text, "null", 4) == 0) &&
		!(value.len == 5 && memcmp(value.text, "false", 5) == 0);
}

static bool
covers(FloJson config, const char *subjects)
{
	FloJson		list;
	FloJson		one;
	int			cursor = 0;

	if (!flo_json_get(config, "subjects", &list))
		return false;
	while (flo_json_next_element(list, &cursor, &one))
	{
		char	   *subject = flo_json_string(one);

		if (subject != NULL && flo_subject_covers(subject, subjects))
			return true;
	}
	return false;
}

static void
check(const FloStreamConfig *config, const FloApiReply *reply)
{
	static const char *const another = "Name another one in the option stream.";
	char	   *retention;
	FloJson		found;

	if (!flo_json_get(reply->json, "config", &found))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("JetStream's information about a stream is incomplete")));
	retention = flo_json_get_string(found, "retention");
	if (has(found, "mirror"))
		unusable(config->name, "it is a mirror", another);
	if (has(found, "sealed"))
		unusable(config->name, "it is sealed", another);
	if (has(found, "no_ack"))
		unusable(config->name, "it acknowledges nothing (no_ack)", another);
	if (has(found, "subject_transform"))
		unusable(config->name, "it changes subjects (subject_transform)", another);
	if (retention != NULL && strcmp(retention, "limits") != 0)
		unusable(config->name,
				 psprintf("it forgets what is consumed (retention \"%s\"), so nobody can tell what has been stored", retention),
				 "Name a stream with retention limits, and let one with another retention have it as its source.");
	if (!covers(found, config->subject))
		unusable(config->name, psprintf("it does not have the subjects \"%s\"", config->subject),
				 "Add them to the stream's subjects, or choose others in the option subject.");
}

static FloApiReply
ask(FloBus *bus, const FloStreamConfig *config)
{
	StringInfoData body;
	int64		window = DUPLICATES_WINDOW;

	if (config->max_age > 0)
		window = Min(window, config->max_age);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"name\":");
	flo_json_append_string(&body, config->name);
	appendStringInfoString(&body, ",\"subjects\":[");
	flo_json_append_string(&body, config->subject);
	appendStringInfoString(&body, "],\"description\":");
	flo_json_append_string(&body, config->description);
	appendStringInfo(&body,
					 ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\""
					 ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_msg_size\":-1"
					 ",\"max_bytes\":" INT64_FORMAT ",\"max_age\":" INT64_FORMAT
					 ",\"num_replicas\":%d,\"duplicate_window\":" INT64_FORMAT
					 ",\"allow_direct\":true}",
					 config->max_bytes > 0 ? config->max_bytes : -1,
					 config->max_age * NANOSECONDS, Max(config->replicas, 1),
					 window * NANOSECONDS);
	return flo_api_call(bus, body.data, "STREAM.CREATE.%s", config->name);
}

void
flo_outlet_stream(FloBus *bus, const FloStreamConfig *config)
{
	FloApiReply reply;

	if (flo_api_stream_info(bus, config->name, "", &reply))
	{
		check(config, &reply);
		return;
	}
	reply = ask(bus, config);
	if (reply.ok)
		return;
	if (reply.err_code == ERR_SUBJECTS_OVERLAP)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("could not create stream \"%s\": %s", config->name, reply.words),
				 errhint("Another stream has some of the subjects \"%s\": name that one in the option stream, or choose others in the option subject.",
						 config->subject)));
	flo_api_raise(&reply, "create stream \"%s\"", config->name);
}
