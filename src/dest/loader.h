/*
 * loader.h
 *		Helper processes that load copied rows.
 */
#ifndef FLO_LOADER_H
#define FLO_LOADER_H

#include "core/process.h"

/* Entry point of a loader; returns when the copy is in, or is not taken any further */
extern void flo_loader_run(const FloProcessArgs *args);

/* The sequence of the copy stream up to which everything is durable, as far as is known */
extern uint64 flo_loader_floor(void);

#endif
