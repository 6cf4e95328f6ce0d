/*
 * agent_peek.h
 *		What an agent does for flo.peek().
 */
#ifndef FLO_AGENT_PEEK_H
#define FLO_AGENT_PEEK_H

#include "bus/bus.h"
#include "bus/json.h"
#include "lib/stringinfo.h"

/* {"group", "max_events"} -> {"chunks": [{"seq", "data": base64}]}, oldest first */
extern void flo_peek_operation(FloBus *bus, FloJson arguments, StringInfo result);

#endif
