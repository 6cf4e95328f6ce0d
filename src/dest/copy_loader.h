/*
 * copy_loader.h
 *		Helper processes that load copied rows.
 */
#ifndef FLO_COPY_LOADER_H
#define FLO_COPY_LOADER_H

#include "core/process.h"

/* Entry point of a loader; returns when the copy is in, or is not taken any further */
extern void flo_loader_run(const FloProcessArgs *args);

#endif
