/*
 * saved.h
 *		Reads the JSON objects that sinks have saved, without a transaction.
 */
#ifndef FLO_SAVED_H
#define FLO_SAVED_H

#include "utils/jsonb.h"

/* XX001 when it is no JSON object */
extern Jsonb *flo_saved_parse(const char *text);

/* Members; palloc'd.  NULL and false when there is none of that type. */
extern char *flo_saved_text(Jsonb *saved, const char *key);
extern bool flo_saved_int64(Jsonb *saved, const char *key, int64 *value);

#endif
