/*
 * escape.h
 *		Names and values as one legal token of the place that events go to.
 *
 * Whatever the text, its token is legal there, never empty, and of no other text;
 * reading it back needs nothing but the token.  doc/events.md describes them.
 */
#ifndef FLO_ESCAPE_H
#define FLO_ESCAPE_H

#include "lib/stringinfo.h"

typedef enum FloEscape
{
	FLO_ESCAPE_NATS,			/* a token of a subject, also of a key in a
								 * bucket: [A-Za-z0-9_-], =2E */
	FLO_ESCAPE_INDEX,			/* of the name of a search index: [a-z0-9_],
								 * =2e */
	FLO_ESCAPE_TOPIC			/* of the name of a Kafka topic: [A-Za-z0-9_],
								 * -2E */
} FloEscape;

/* Longest token of a name: each byte becomes three at most */
#define FLO_ESCAPED_NAME_SIZE (3 * NAMEDATALEN + 1)

/* "text" is in UTF-8 */
extern void flo_escape_append(StringInfo out, FloEscape escape, const char *text, int len);

/* What stands for NULL: no text has this token */
extern void flo_escape_append_null(StringInfo out, FloEscape escape);

/*
 * Bound what was appended from "start" on: when that is longer, it becomes a mark
 * and the SHA-256 of what it was, in hex, which is no other text's token either.
 */
extern void flo_escape_bound(StringInfo out, FloEscape escape, int start, int limit);

/* What was appended from "start" on becomes its SHA-256 in hex */
extern void flo_escape_hash(StringInfo out, int start, const char *digits);

#define FLO_HEX_LOWER "0123456789abcdef"
#define FLO_HEX_UPPER "0123456789ABCDEF"

#endif
