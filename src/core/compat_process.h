/*
 * compat_process.h
 *		Processes, their waiting and their settings; hooks.
 *
 * See compat.h.
 */
#ifndef FLO_COMPAT_PROCESS_H
#define FLO_COMPAT_PROCESS_H

#include "core/compat.h"
#include "miscadmin.h"
#include "postmaster/autovacuum.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/guc.h"
#include "utils/wait_event.h"

/* What a handler of signals is told, to pass it on */
#if PG_VERSION_NUM >= 190000
#define FLO_SIGNAL_ARGUMENTS postgres_signal_arg, pg_siginfo
#else
#define FLO_SIGNAL_ARGUMENTS postgres_signal_arg
#endif

/* The number by which another process's PGPROC is found again */
static inline int
flo_compat_my_procno(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProcNumber;
#else
	return MyProc->pgprocno;
#endif
}

/* A set of events to wait for; freed by the caller */
static inline WaitEventSet *
flo_compat_wait_set_create(int events)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, events);
#else
	return CreateWaitEventSet(CurrentMemoryContext, events);
#endif
}

/* What pg_stat_activity shows a process to wait for; by name since 17 */
static inline uint32
flo_compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* Memory of configuration parameters: malloc'ed until 15, in a context since */
static inline void *
flo_compat_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

static inline void
flo_compat_guc_free(void *ptr)
{
#if PG_VERSION_NUM >= 160000
	guc_free(ptr);
#else
	free(ptr);
#endif
}

static inline bool
flo_compat_is_autovacuum(void)
{
#if PG_VERSION_NUM >= 170000
	return AmAutoVacuumWorkerProcess();
#else
	return IsAutoVacuumWorkerProcess();
#endif
}

/* The process that runs a virtual transaction; 0 when it has ended or is a prepared one */
static inline int
flo_compat_vxid_pid(VirtualTransactionId vxid)
{
#if PG_VERSION_NUM >= 170000
	PGPROC	   *proc = ProcNumberGetProc(vxid.procNumber);
	bool		here = proc != NULL && proc->vxid.lxid == vxid.localTransactionId;
#else
	PGPROC	   *proc = BackendIdGetProc(vxid.backendId);
	bool		here = proc != NULL && proc->lxid == vxid.localTransactionId;
#endif

	return here ? proc->pid : 0;
}

/* Until 17 the executor is also told whether a query is run only once: the hook passes it on */
#if PG_VERSION_NUM >= 180000
#define FLO_EXECUTE_ONCE_PARAMETER
#define FLO_EXECUTE_ONCE_ARGUMENT
#else
#define FLO_EXECUTE_ONCE_PARAMETER , bool once
#define FLO_EXECUTE_ONCE_ARGUMENT , once
#endif

#endif
