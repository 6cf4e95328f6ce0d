/*
 * injection_point.c
 *		Named points at which a test may halt a background process.
 *
 * A halted process does nothing at all, neither answers signals nor its peers,
 * as one that the machine has stopped.  It ends by SIGKILL, SIGQUIT (an
 * immediate stop of the server), or by itself when the postmaster is gone or a
 * SIGTERM has come, which is served where the process would serve it anyway.
 */
#include "postgres.h"

#include <unistd.h>

#include "core/injection_point.h"
#include "miscadmin.h"
#include "storage/pmsignal.h"
#include "utils/guc.h"

/* In the data directory, which is the working directory of all processes */
#define STOP_FILE "pg_flo.stop"

#define NAP 10000				/* microseconds */

const char *flo_injection_point_name = NULL;

static char *stop_at;
static int	stop_count;			/* times the process has come by */

static void
assign_stop_at(const char *newval, void *extra)
{
	flo_injection_point_name = newval != NULL && newval[0] != '\0' ? newval : NULL;
	stop_count = 0;
}

void
flo_injection_point_define(void)
{
	DefineCustomStringVariable("pg_flo.stop_at",
							   "Names a point at which a background process halts, for tests of pg_flo.",
							   NULL, &stop_at, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   NULL, assign_stop_at, NULL);
}

void
flo_injection_point_passed(const char *name)
{
	size_t		len = strlen(name);
	const char *rest = flo_injection_point_name + len;

	if (strncmp(flo_injection_point_name, name, len) != 0 || (*rest != '\0' && *rest != ':'))
		return;
	stop_count++;
	if (*rest == ':' && stop_count < atoi(rest + 1))
		return;
	if (unlink(STOP_FILE) != 0)
		return;
	ereport(LOG,
			(errmsg("halted at \"%s\"", flo_injection_point_name)));
	while (PostmasterIsAlive() && !ProcDiePending)
		pg_usleep(NAP);
}
