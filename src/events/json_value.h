/*
 * json_value.h
 *		A value as it travelled, written as PostgreSQL's own JSON functions do.
 */
#ifndef FLO_JSON_VALUE_H
#define FLO_JSON_VALUE_H

#include "events/json_type.h"
#include "lib/stringinfo.h"
#include "wire/change.h"

/*
 * Append the value, which is text or binary; text of the source is in
 * "encoding" and is converted to the server's.  Allocates in the current memory
 * context.  Never writes a line feed.
 */
extern void flo_json_append_value(StringInfo out, FloJsonType *type, const FloValue *value,
								  int encoding);

/* A string with its quotes; it is in the server's encoding */
extern void flo_json_append_text(StringInfo out, const char *text, int len);

#endif
