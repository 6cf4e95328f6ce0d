/*
 * sink_nats_kv.h
 *		What a worker with sink nats and the option kv_bucket does.
 */
#ifndef FLO_SINK_NATS_KV_H
#define FLO_SINK_NATS_KV_H

#include "sink/sink.h"

extern void flo_nats_kv_check(const FloWorkerSpec *spec);
extern FloSink *flo_nats_kv_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
								 const FloSinkHost *host);

#endif
