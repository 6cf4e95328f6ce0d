/*
 * options.h
 *		The option registry: every key of the "options" arguments, its type,
 *		bounds and default, in one table.
 */
#ifndef FLO_OPTIONS_H
#define FLO_OPTIONS_H

#include "conf/spec.h"
#include "utils/jsonb.h"

/* A string, number or boolean as text; NULL for anything else, and for NULL */
extern char *flo_scalar_text(const JsonbValue *value);

/*
 * Parse validated or user-given options into the struct (defaults filled in).
 * Unknown keys, wrong types and values out of bounds raise 22023, with the
 * list of known keys as the hint.
 */
extern void flo_options_parse_replicator(Jsonb *options, FloReplicatorOptions *result);
extern void flo_options_parse_worker(Jsonb *options, FloSinkKind sink, FloWorkerOptions *result);

/* What is to be stored of them: what depends on the session's settings no longer does */
extern Jsonb *flo_options_settle(Jsonb *options, const FloWorkerOptions *parsed);

#endif
