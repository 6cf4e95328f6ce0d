/*
 * sink_state.h
 *		Reads the JSON objects that sinks have saved, without a transaction.
 */
#ifndef FLO_SINK_STATE_H
#define FLO_SINK_STATE_H

#include "utils/jsonb.h"

/* XX001 when it is no JSON object */
extern Jsonb *flo_sink_state_parse(const char *text);

/* Members; palloc'd.  NULL and false when there is none of that type. */
extern char *flo_sink_state_text(Jsonb *saved, const char *key);
extern bool flo_sink_state_int64(Jsonb *saved, const char *key, int64 *value);

#endif
