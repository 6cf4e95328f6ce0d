/*
 * stream_impl.h
 *		What stream.c and bucket.c share: one call of the JetStream API.
 */
#ifndef FLO_STREAM_IMPL_H
#define FLO_STREAM_IMPL_H

#include "bus/json.h"
#include "bus/stream.h"
#include "core/compat.h"

/* Errors of the API that mean something to us (err_code) */
#define FLO_API_CONSUMER_NOT_FOUND	10014
#define FLO_API_NO_MESSAGE			10037
#define FLO_API_STREAM_IN_USE		10058
#define FLO_API_STREAM_NOT_FOUND	10059
#define FLO_API_LIMIT_WANTED		10113

typedef struct FloApiReply
{
	FloJson		json;
	bool		ok;
	int			code;			/* like an HTTP status */
	int			err_code;
	char	   *words;
} FloApiReply;

/* What the server answered */
extern FloApiReply flo_api_reply(const FloBusReply *raw);

/* Call $JS.API.<subject>; throws only when there is no answer */
extern FloApiReply flo_api_call(FloBus *bus, const char *body, const char *subject_format,...)
			pg_attribute_printf(3, 4);

/* Refused for want of room, and a turn was waited: ask again.  See flo_bus_when_full(). */
extern bool flo_api_was_full(FloBus *bus, const FloApiReply *reply);

/* Raise the error in a reply; "what" is what could not be done */
pg_noreturn extern void flo_api_raise(const FloApiReply *reply, const char *what_format,...)
			pg_attribute_printf(2, 3);

/* STREAM.INFO, with the names of the subjects that hold messages if asked for */
extern bool flo_api_stream_info(FloBus *bus, const char *stream, const char *body,
								FloApiReply *reply);

/*
 * STREAM.MSG.GET; false when there is no such message, or when the stream is
 * absent and may be.  "headers" is set to the message's headers as sent (NULL:
 * none) and may be NULL.
 */
extern bool flo_api_get_message(FloBus *bus, const char *stream, const char *body,
								bool stream_missing_ok, FloStoredMessage *message,
								char **headers);

#endif
