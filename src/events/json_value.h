/*
 * json_value.h
 *		A value as it travelled, written as PostgreSQL's own JSON functions do.
 */
#ifndef FLO_JSON_VALUE_H
#define FLO_JSON_VALUE_H

#include "lib/stringinfo.h"
#include "wire/change.h"

typedef struct FloJsonType FloJsonType;

/*
 * How values of a source column are written.  Needs a transaction; the result
 * lives in "context".  Types of the source's users are looked up here by
 * their name; where there is none of that name, values become strings.
 */
extern FloJsonType *flo_json_type(const FloColumn *column, MemoryContext context);

/*
 * Can values in binary form only be written with the catalogs at hand, i.e.
 * within a transaction?
 */
extern bool flo_json_needs_catalog(const FloJsonType *type);

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
