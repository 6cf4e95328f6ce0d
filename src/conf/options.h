/*
 * options.h
 *		The option registry: every key of the "options" arguments, its type,
 *		bounds and default, in one table.
 */
#ifndef FLO_OPTIONS_H
#define FLO_OPTIONS_H

#include "conf/spec.h"
#include "utils/jsonb.h"

typedef enum FloOptionScope
{
	FLO_SCOPE_REPLICATOR = 1 << 0,
	FLO_SCOPE_POSTGRES = 1 << 1,
	FLO_SCOPE_FILE = 1 << 2,
	FLO_SCOPE_STDOUT = 1 << 3,
	FLO_SCOPE_WEBHOOK = 1 << 4
} FloOptionScope;

#define FLO_SCOPE_WORKERS \
	(FLO_SCOPE_POSTGRES | FLO_SCOPE_FILE | FLO_SCOPE_STDOUT | FLO_SCOPE_WEBHOOK)

extern FloOptionScope flo_options_scope_of_sink(FloSinkKind sink);

/*
 * Parse validated or user-given options into the struct (defaults filled in).
 * Unknown keys, wrong types and values out of bounds raise 22023, with the
 * list of known keys as the hint.
 */
extern void flo_options_parse_replicator(Jsonb *options, FloReplicatorOptions *result);
extern void flo_options_parse_worker(Jsonb *options, FloSinkKind sink, FloWorkerOptions *result);

#endif
