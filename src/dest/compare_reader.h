/*
 * compare_reader.h
 *		The process of a worker that compares, see compare_marker.h.
 */
#ifndef FLO_COMPARE_READER_H
#define FLO_COMPARE_READER_H

#include "core/process.h"

extern void flo_compare_reader_run(const FloProcessArgs *args);

#endif
