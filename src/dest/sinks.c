/*
 * sinks.c
 *		Finds the implementation of a kind of sink.
 */
#include "postgres.h"

#include "sink/sink.h"

static const FloSinkOps *const sinks[] = {
#define FLO_SINK(kind, name, ops) [kind] = &ops,
#include "conf/sink_list.h"
#undef FLO_SINK
};

const FloSinkOps *
flo_sink_ops(FloSinkKind kind)
{
	return sinks[kind];
}
