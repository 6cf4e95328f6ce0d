/*
 * sink_nats_kv.h
 *		What a worker with sink nats and the option kv_bucket does.
 */
#ifndef FLO_SINK_NATS_KV_H
#define FLO_SINK_NATS_KV_H

#include "sink/sink.h"

extern void flo_nats_kv_check(const FloWorkerSpec *spec);

/* Is it what such a worker has saved? */
extern bool flo_nats_kv_is_state(const char *state);
extern FloSink *flo_nats_kv_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
								 const FloSinkHost *host);

#endif
