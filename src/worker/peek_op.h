/*
 * peek_op.h
 *		What an agent does for flo.peek().
 */
#ifndef FLO_PEEK_OP_H
#define FLO_PEEK_OP_H

#include "bus/bus.h"
#include "bus/json.h"
#include "lib/stringinfo.h"

/* {"group", "max_events"} -> {"chunks": [{"seq", "data": base64}]}, oldest first */
extern void flo_peek_operation(FloBus *bus, FloJson arguments, StringInfo result);

#endif
