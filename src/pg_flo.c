/*
 * pg_flo.c
 *		What loading the library does: settings, shared memory, hooks, launcher.
 *
 * A backend that loads it late, because the library was not preloaded, gets
 * the settings and SQL functions only; the latter say what is missing.  The
 * same in a server that pg_upgrade has started and in single-user mode: there
 * somebody works on the cluster itself, and nothing of ours may run or act.
 */
#include "postgres.h"

#include "conf/commit.h"
#include "conf/fence.h"
#include "conf/guard.h"
#include "conf/newtables.h"
#include "core/settings.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "monitor/wake.h"
#include "process/launcher.h"
#include "source/ddl_capture.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	flo_settings_define();
	flo_conf_xact_init();
	if (!IsBinaryUpgrade)
		flo_newtables_init();
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade ||
		!IsPostmasterEnvironment)
		return;
	flo_shmem_init();
	flo_guard_init();
	flo_fence_guard_init();
	flo_ddl_capture_init();
	flo_launcher_register();
}
