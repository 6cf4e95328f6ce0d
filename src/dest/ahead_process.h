/*
 * ahead_process.h
 *		The process of a worker that applies a transaction ahead, see ahead.h.
 */
#ifndef FLO_AHEAD_PROCESS_H
#define FLO_AHEAD_PROCESS_H

#include "core/process.h"

extern void flo_ahead_run(const FloProcessArgs *args);

#endif
