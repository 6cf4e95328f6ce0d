/*
 * process.c
 *		Starting pg_flo's background processes.
 */
#include "postgres.h"

#include <signal.h>

#include "core/process.h"
#include "miscadmin.h"

bool
flo_process_start(const FloProcessArgs *args, const char *name, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "pg_flo", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "flo_process_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, name, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "pg_flo", sizeof(worker.bgw_type));
	StaticAssertStmt(sizeof(*args) <= BGW_EXTRALEN, "arguments of a process are too large");
	memcpy(worker.bgw_extra, args, sizeof(*args));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

bool
flo_process_ended(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	return GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

/* Who is connected to a database has the server's own handler, which sets the latch */
void
flo_process_wake(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STARTED)
		kill(pid, SIGUSR1);
}
