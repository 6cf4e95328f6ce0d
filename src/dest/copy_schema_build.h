/*
 * copy_schema_build.h
 *		Builds the indexes that come with a copy, by several processes.
 */
#ifndef FLO_COPY_SCHEMA_BUILD_H
#define FLO_COPY_SCHEMA_BUILD_H

#include "conf/spec.h"
#include "core/process.h"

/* Of a worker's copy; zeroed at first, in a memory context that lasts as long as it */
typedef struct FloBuilders
{
	BackgroundWorkerHandle **handles;	/* NULL or one that may have ended */
	int			size;
	bool		begun;			/* while rows are loaded */
	int64		done;			/* indexes, when some were started last */
	bool		stuck;			/* they came to nothing: left for the end */
} FloBuilders;

/*
 * While rows are loaded: have the indexes of tables that are in built.  Where it fails,
 * or has to wait for a person, that is left for the end.
 */
extern void flo_schema_build_early(const FloWorkerSpec *spec, FloBuilders *builders);

/* All rows are in: returns when processes have built what they can */
extern void flo_schema_build(const FloWorkerSpec *spec, FloBuilders *builders);

/* Entry point of such a process; returns when nothing is left for it */
extern void flo_schema_builder_run(const FloProcessArgs *args);

#endif
