/*
 * loop.c
 *		Signals, waiting and reloading for pg_flo's background processes.
 *
 * SIGTERM is served by the server's own die(): every interrupt check is an exit,
 * which nothing can catch, so no wait may last longer than one call of flo_wait().
 * To the server that exit is a fatal error; here it is what somebody has asked
 * for (stop, drop, alter, shutdown, pg_terminate_backend).  So its message is kept
 * out of the log, and the exit code becomes 0, about which the postmaster is
 * silent.  SIGHUP sets a flag that is served at the next wait.
 *
 * A process that waits for an answer in the midst of a turn takes the news of its latch
 * along, of which the end of the turn has to hear: flo_wait_take_woken().
 *
 * A wait outside of a transaction is what waiting for the next command is to a
 * backend, and does what is done there: statistics are handed in, invalidation
 * messages that hold up the others' queue are taken in, and pg_stat_activity
 * says "idle".
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "access/xact.h"
#include "core/compat_process.h"
#include "core/loop.h"
#include "core/transaction.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pidfile.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

/* In the order of FloWaitFor */
static const char *const wait_names[] = {
	"PgFloIdle", "PgFloStream", "PgFloNats", "PgFloSpace", "PgFloApply", "PgFloDecision",
	"PgFloHttp", "PgFloOutput", "PgFloDump", "PgFloMember", "PgFloLock", "PgFloKafka"
};

/* flo_wait_means(); 0, what is idle, stands for nothing said */
static FloWaitFor next_wait = FLO_WAIT_IDLE;

uint64		flo_reload_count = 0;

/* The latch was set, and has been reset since it was asked */
static bool woken = false;

/* Kept from one wait to the next, since nearly all are for the same socket */
static struct
{
	WaitEventSet *set;
	pgsocket	sock;
	int			position;
}			kept;

/* --- an orderly stop ----------------------------------------------------- */

/* In the data directory, which is the working directory of all processes */
#define POSTMASTER_FILE "postmaster.pid"

static volatile sig_atomic_t stop_requested = false;
static emit_log_hook_type next_log_hook = NULL;

/* Sends the second request, however long what is at work then keeps the process */
static timer_t last_call;
static struct itimerspec patience;
static volatile sig_atomic_t patient = false;

/* What is called here may be called by a handler: that the timer is made before */
static void
request_stop(SIGNAL_ARGS)
{
	int			save_errno = errno;
	bool		first = !stop_requested;

	stop_requested = true;
	if (first && patient && timer_settime(last_call, 0, &patience, NULL) == 0)
		SetLatch(MyLatch);
	else
		die(FLO_SIGNAL_ARGUMENTS);
	errno = save_errno;
}

void
flo_stop_after(int ms)
{
	struct sigevent event = {0};

	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGTERM;
	patience.it_value.tv_sec = ms / 1000;
	patience.it_value.tv_nsec = ms % 1000 * 1000000L;
	patient = timer_create(CLOCK_MONOTONIC, &event, &last_call) == 0;
}

void
flo_stop_now(void)
{
	patient = false;
	raise(SIGTERM);
	CHECK_FOR_INTERRUPTS();
	pg_unreachable();
}

bool
flo_stop_requested(void)
{
	return stop_requested;
}

/* Does the postmaster say in its file that it shuts the server down? */
static bool
server_is_stopping(void)
{
	char		text[MAXPGPATH];
	char	   *line = text;
	int			file = open(POSTMASTER_FILE, O_RDONLY);
	ssize_t		len;

	if (file < 0)
		return false;
	len = read(file, text, sizeof(text) - 1);
	close(file);
	text[Max(len, 0)] = '\0';
	for (int i = 1; i < LOCK_FILE_LINE_PM_STATUS && line != NULL; i++)
		if ((line = strchr(line, '\n')) != NULL)
			line++;
	return line != NULL &&
		strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

/*
 * The launcher is the one that the postmaster starts again, and with 0 it would
 * not: only a server that goes down can do without it.
 */
int
flo_exit_code(int code)
{
	if (code != 1 || !stop_requested)
		return code;
	return MyBgworkerEntry->bgw_restart_time == BGW_NEVER_RESTART || server_is_stopping() ? 0 : 1;
}

/* Runs last, since it was registered first */
static void
leave(int code, Datum arg)
{
	if (flo_exit_code(code) != code)
		proc_exit(flo_exit_code(code));
}

static void
drop_message_of_stop(ErrorData *error)
{
	if (stop_requested && error->elevel == FATAL && error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		error->output_to_server = false;
	if (next_log_hook != NULL)
		next_log_hook(error);
}

/* --- signals and waiting ------------------------------------------------- */

void
flo_loop_init(void)
{
	on_proc_exit(leave, (Datum) 0);
	next_log_hook = emit_log_hook;
	emit_log_hook = drop_message_of_stop;
	pqsignal(SIGTERM, request_stop);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
}

void
flo_check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();

	/* with helpers at work settings stay what they are */
	if (ConfigReloadPending && !IsInParallelMode())
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		flo_reload_count++;
	}
}

uint32
flo_wait_event(FloWaitFor what)
{
	static uint32 known[lengthof(wait_names)];

	if (known[what] == 0)
		known[what] = flo_compat_wait_event(wait_names[what]);
	return known[what];
}

void
flo_wait_means(FloWaitFor what)
{
	next_wait = what;
}

static uint32
next_event(FloWaitFor usual)
{
	FloWaitFor	what = next_wait != FLO_WAIT_IDLE ? next_wait : usual;

	next_wait = FLO_WAIT_IDLE;
	return flo_wait_event(what);
}

/*
 * About to wait.  Within a transaction nothing changes: waiting for more of one
 * is work, and a process that is woken would have to take in invalidations where
 * nobody expects them.  What was looked up in catalogs just now keeps vacuum from
 * nothing, though.
 */
static void
before_wait(void)
{
	MemoryContext old = CurrentMemoryContext;

	if (IsTransactionOrTransactionBlock())
	{
		InvalidateCatalogSnapshotConditionally();
		return;
	}
	if (catchupInterruptPending)
	{
		ProcessCatchupInterrupt();
		MemoryContextSwitchTo(old);
	}
	flo_statistics_report_idle();
	pgstat_report_activity(STATE_IDLE, NULL);
}

static void
after_wait(void)
{
	if (!IsTransactionOrTransactionBlock())
		pgstat_report_activity(STATE_RUNNING, NULL);
}

static void
reset_latch(void)
{
	ResetLatch(MyLatch);
	woken = true;
}

bool
flo_wait_take_woken(void)
{
	bool		taken = woken;

	woken = false;
	return taken;
}

void
flo_wait_forget(void)
{
	if (kept.set != NULL)
		FreeWaitEventSet(kept.set);
	kept.set = NULL;
}

/* The set for the socket, made when it is another one than before */
static WaitEventSet *
wait_set(pgsocket sock, uint32 events)
{
	if (kept.set != NULL && kept.sock != sock)
		flo_wait_forget();
	if (kept.set == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		WaitEventSet *set = flo_compat_wait_set_create(3);

		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		kept.position = AddWaitEventToSet(set, events, sock, NULL, NULL);
		MemoryContextSwitchTo(old);
		kept.set = set;
		kept.sock = sock;
	}
	else
		ModifyWaitEvent(kept.set, kept.position, events, NULL);
	return kept.set;
}

int
flo_wait(pgsocket sock, bool want_write, long timeout_ms)
{
	int			fired;

	flo_check_interrupts();
	before_wait();
	if (sock == PGINVALID_SOCKET)
		fired = WaitLatch(MyLatch,
						  WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout_ms >= 0 ? WL_TIMEOUT : 0),
						  timeout_ms, next_event(FLO_WAIT_IDLE));
	else
	{
		uint32		events = WL_SOCKET_READABLE | (want_write ? WL_SOCKET_WRITEABLE : 0);
		WaitEvent	event;

		fired = WL_TIMEOUT;
		if (WaitEventSetWait(wait_set(sock, events), timeout_ms, &event, 1,
							 next_event(FLO_WAIT_STREAM)) > 0)
			fired = event.events;
	}
	after_wait();
	if (fired & WL_LATCH_SET)
		reset_latch();
	flo_check_interrupts();
	return fired;
}

static void
note_events(FloWaitSocket *sockets, const WaitEvent *events, int count)
{
	for (int i = 0; i < count; i++)
	{
		FloWaitSocket *socket = events[i].user_data;

		if (socket == NULL)
			continue;
		socket->ready = true;
		socket->readable = (events[i].events & WL_SOCKET_READABLE) != 0;
		socket->writable = (events[i].events & WL_SOCKET_WRITEABLE) != 0;
	}
}

int
flo_wait_sockets(FloWaitSocket *sockets, int count, long timeout_ms)
{
	WaitEventSet *set;
	WaitEvent  *events = palloc(sizeof(WaitEvent) * (count + 2));
	int			fired = 0;
	int			n;

	flo_check_interrupts();
	before_wait();
	set = flo_compat_wait_set_create(count + 2);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < count; i++)
	{
		uint32		wanted = (sockets[i].read ? WL_SOCKET_READABLE : 0) |
			(sockets[i].write ? WL_SOCKET_WRITEABLE : 0);

		sockets[i].ready = sockets[i].readable = sockets[i].writable = false;
		if (wanted != 0)
			AddWaitEventToSet(set, wanted, sockets[i].sock, NULL, &sockets[i]);
	}
	n = WaitEventSetWait(set, timeout_ms, events, count + 2, next_event(FLO_WAIT_HTTP));
	FreeWaitEventSet(set);
	after_wait();
	note_events(sockets, events, n);
	for (int i = 0; i < n; i++)
		fired |= events[i].events;
	pfree(events);
	if (fired & WL_LATCH_SET)
		reset_latch();
	if (n == 0)
		fired = WL_TIMEOUT;
	flo_check_interrupts();
	return fired;
}

/*
 * ALTER DATABASE and ALTER ROLE reach background processes, too.  Whatever changes
 * what text means, which rows are seen, who we are or how long we may take is set
 * back here, at a strength that no later reload undoes.
 */
void
flo_pin_session_settings(void)
{
	static const char *const settings[][2] = {
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"search_path", "pg_catalog, pg_temp"},

		/*
		 * no statement of ours is worth it: compiling a query over many
		 * catalogs takes seconds
		 */
		{"jit", "off"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "GMT"},
		{"extra_float_digits", "3"},
		{"bytea_output", "hex"},
		{"xmloption", "content"},
		{"lc_monetary", "C"},
		{"check_function_bodies", "off"},
		{"row_security", "on"},
		{"transform_null_equals", "off"},
		{"array_nulls", "on"},
		{"backslash_quote", "safe_encoding"},
		{"standard_conforming_strings", "on"},
		{"force_parallel_mode", "off"},
		{"debug_parallel_query", "off"},
		{"transaction_timeout", "0"},
		{"lock_timeout", "0"},
		{"session_replication_role", "origin"},
		{"quote_all_identifiers", "off"},
		{"role", "none"},
		{"exit_on_error", "off"},
		{"gin_fuzzy_search_limit", "0"},
		{"temp_file_limit", "-1"},
	};

	for (int i = 0; i < lengthof(settings); i++)
	{
		/* Some exist in some versions only */
		if (GetConfigOption(settings[i][0], true, false) == NULL)
			continue;
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	}

	/* Text is published as it is stored; a chunk says in which encoding */
	SetConfigOption("client_encoding", GetDatabaseEncodingName(), PGC_SUSET, PGC_S_OVERRIDE);
}
