/*
 * worker_ddl.h
 *		What a worker does when it comes upon DDL.
 */
#ifndef FLO_WORKER_DDL_H
#define FLO_WORKER_DDL_H

#include "dest/worker_state.h"

/* A DDL message, within its transaction; may set "rewind" or "leave" */
extern void flo_worker_process_ddl(FloWorker *w, const FloChange *change);

/* One of a transaction that is given up */
extern void flo_worker_pass_over_ddl(FloWorker *w, const FloChange *change);

#endif
