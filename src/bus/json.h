/*
 * json.h
 *		Reads the JSON that the broker sends, writes what it is sent.
 *
 * A value is a span of the original text and nothing is built in memory, so
 * acknowledgements can be read at the rate they arrive.  Readers never throw
 * on any input: what is malformed is simply not found.  Unlike the server's
 * json type it needs no transaction and no agreement about encodings: JSON is
 * UTF-8, whatever the database is.
 */
#ifndef FLO_JSON_H
#define FLO_JSON_H

#include "lib/stringinfo.h"

typedef struct FloJson
{
	const char *text;
	int			len;
} FloJson;

extern FloJson flo_json(const char *document, int len);

/* The value of an object's key */
extern bool flo_json_get(FloJson object, const char *key, FloJson *value);
extern bool flo_json_get_int64(FloJson object, const char *key, int64 *value);
extern bool flo_json_get_uint64(FloJson object, const char *key, uint64 *value);

/* Is the value of a key, which need not be there, true? */
extern bool flo_json_is_true(FloJson object, const char *key);

/*
 * A string's characters, palloc'd; NULL when it is not a string.  Characters
 * that the database's encoding may not have become '?'.
 */
extern char *flo_json_get_string(FloJson object, const char *key);
extern char *flo_json_string(FloJson value);

/*
 * Step through an object's members or an array's elements: start with the
 * cursor at 0, false at the end.
 */
extern bool flo_json_next_member(FloJson object, int *cursor, FloJson *key, FloJson *value);
extern bool flo_json_next_element(FloJson array, int *cursor, FloJson *value);

/* Is this string (with its quotes) exactly "text"? */
extern bool flo_json_string_is(FloJson value, const char *text);

/* Append a quoted string */
extern void flo_json_append_string(StringInfo buf, const char *text);

#endif
