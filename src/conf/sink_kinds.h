/*
 * sink_kinds.h
 *		The names that kinds of sinks have in SQL, and what they need.
 */
#ifndef FLO_SINK_KINDS_H
#define FLO_SINK_KINDS_H

#include "conf/spec.h"

extern const char *flo_sink_name(FloSinkKind kind);

/* False when there is none of that name */
extern bool flo_sink_find(const char *name, FloSinkKind *kind);

/* 58P01 when it needs a module that is not installed */
extern void flo_sink_require_module(FloSinkKind kind);

/* All, as a hint lists them */
extern char *flo_sink_names(void);

#endif
