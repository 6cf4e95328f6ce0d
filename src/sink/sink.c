/*
 * sink.c
 *		Finds the implementation of a kind of sink.
 */
#include "postgres.h"

#include "sink/sink.h"

const FloSinkOps *
flo_sink_ops(FloSinkKind kind)
{
	switch (kind)
	{
		case FLO_SINK_POSTGRES:
			return &flo_sink_postgres;
		case FLO_SINK_FILE:
			return &flo_sink_file;
		case FLO_SINK_STDOUT:
			return &flo_sink_stdout;
		case FLO_SINK_WEBHOOK:
			return &flo_sink_webhook;
	}
	return NULL;
}
