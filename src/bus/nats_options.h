/*
 * nats_options.h
 *		What the NATS client library is told about a connection; module pg_flo_bus.
 */
#ifndef FLO_NATS_OPTIONS_H
#define FLO_NATS_OPTIONS_H

#include <nats/nats.h>

#include "bus/bus_impl.h"

extern natsStatus flo_nats_set_options(natsOptions *options, const FloNatsOptions *from);

#endif
