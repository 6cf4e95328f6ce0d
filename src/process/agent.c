/*
 * agent.c
 *		Asks the broker on behalf of an SQL function.
 *
 * The backend puts the request into a dynamic shared memory segment, starts a
 * background process and waits for the answer in a message queue there.  The
 * process is connected to no database: it needs the settings only.  It is
 * also lent out to write a decoding message, or rows of schema flo, in a transaction of
 * its own; then it is connected to the database, and not to the broker.
 *
 * Awkward cases:
 * - The process may die, or never be started: the queue then says that nobody
 *   will send any more.
 * - The backend may be cancelled: whatever ends the wait ends the process too.
 *   Its calls to the broker are bounded by themselves, so a backend that was
 *   killed leaves nothing behind for long.
 * - An error in the process is the backend's to report: it travels as data and
 *   the process logs nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "conf/message.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/loop.h"
#include "core/text.h"
#include "core/transaction.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "process/agent.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "storage/shm_toc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/resowner.h"

PGDLLEXPORT void flo_agent_main(Datum arg);

#define AGENT_MAGIC 0x666c6f61
#define KEY_REQUEST 1
#define KEY_QUEUE 2
#define QUEUE_SIZE 65536
#define OPERATION_SIZE 32

/* First byte of an answer */
#define ANSWER_RESULT 'R'
#define ANSWER_ERROR 'E'

typedef struct Request
{
	char		operation[OPERATION_SIZE];
	int			encoding;		/* of the backend's database */
	int			len;
	char		arguments[FLEXIBLE_ARRAY_MEMBER];
} Request;

/* What the backend holds while it waits */
typedef struct Call
{
	dsm_segment *segment;
	shm_mq_handle *queue;
	BackgroundWorkerHandle *process;
} Call;

/* ---------------------------------------------------------------------------
 * In the backend
 * ---------------------------------------------------------------------------
 */

static void
open_segment(Call *call, const char *operation, const char *arguments)
{
	shm_toc_estimator estimator;
	shm_toc    *toc;
	Request    *request;
	shm_mq	   *queue;
	int			len = strlen(arguments);
	Size		request_size = offsetof(Request, arguments) + len + 1;
	Size		size;

	shm_toc_initialize_estimator(&estimator);
	shm_toc_estimate_chunk(&estimator, request_size);
	shm_toc_estimate_chunk(&estimator, QUEUE_SIZE);
	shm_toc_estimate_keys(&estimator, 2);
	size = shm_toc_estimate(&estimator);

	call->segment = dsm_create(size, 0);
	toc = shm_toc_create(AGENT_MAGIC, dsm_segment_address(call->segment), size);

	request = shm_toc_allocate(toc, request_size);
	strlcpy(request->operation, operation, OPERATION_SIZE);
	request->encoding = GetDatabaseEncoding();
	request->len = len;
	memcpy(request->arguments, arguments, len + 1);
	shm_toc_insert(toc, KEY_REQUEST, request);

	queue = shm_mq_create(shm_toc_allocate(toc, QUEUE_SIZE), QUEUE_SIZE);
	shm_toc_insert(toc, KEY_QUEUE, queue);
	shm_mq_set_receiver(queue, MyProc);
	call->queue = shm_mq_attach(queue, call->segment, NULL);
}

static bool
start_process(Call *call, Oid database)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	if (OidIsValid(database))
		worker.bgw_flags |= BGWORKER_BACKEND_DATABASE_CONNECTION;
	memcpy(worker.bgw_extra, &database, sizeof(database));
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = UInt32GetDatum(dsm_segment_handle(call->segment));
	strlcpy(worker.bgw_library_name, "pg_flo", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "flo_agent_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "pg_flo agent for PID %d", MyProcPid);
	strlcpy(worker.bgw_type, "pg_flo agent", sizeof(worker.bgw_type));
	if (!RegisterDynamicBackgroundWorker(&worker, &call->process))
		return false;
	shm_mq_set_handle(call->queue, call->process);
	return true;
}

static void
set_error(FloAgentError *error, int sqlstate, const char *message, const char *hint)
{
	error->sqlstate = sqlstate;
	error->message = pstrdup(message);
	error->detail = NULL;
	error->hint = hint != NULL ? pstrdup(hint) : NULL;
}

/* Copies the answer out of the queue; sets error->message when it is an error */
static FloJson
read_answer(const char *data, Size size, FloAgentError *error)
{
	FloJson		body = flo_json(pnstrdup(data + 1, size - 1), size - 1);
	int64		sqlstate;

	if (data[0] == ANSWER_RESULT)
		return body;
	if (!flo_json_get_int64(body, "sqlstate", &sqlstate))
		sqlstate = ERRCODE_CONNECTION_EXCEPTION;
	error->answered = true;
	error->sqlstate = (int) sqlstate;
	error->message = flo_json_get_string(body, "message");
	error->detail = flo_json_get_string(body, "detail");
	error->hint = flo_json_get_string(body, "hint");
	if (error->message == NULL)
		error->message = pstrdup("unknown error");
	return flo_json("", 0);
}

/* Wait for the answer; sets error->message when there will be none */
static FloJson
wait_for_answer(Call *call, FloAgentError *error)
{
	FloClock	deadline = flo_clock_in(FLO_AGENT_TIMEOUT);

	for (;;)
	{
		Size		size;
		void	   *data;
		long		left;

		switch (shm_mq_receive(call->queue, &size, &data, true))
		{
			case SHM_MQ_SUCCESS:
				return read_answer(data, size, error);
			case SHM_MQ_DETACHED:
				set_error(error, ERRCODE_CONNECTION_EXCEPTION,
						  "the background process that talks to NATS ended without an answer",
						  "The server log may say why.");
				return flo_json("", 0);
			case SHM_MQ_WOULD_BLOCK:
				break;
		}
		left = flo_clock_left(deadline);
		if (left <= 0)
		{
			set_error(error, ERRCODE_CONNECTION_FAILURE,
					  psprintf("no answer from NATS within %d s", FLO_AGENT_TIMEOUT / 1000),
					  "Check that the server is reachable and not overloaded.");
			return flo_json("", 0);
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, 1000), flo_wait_event(FLO_WAIT_NATS));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

pg_noreturn static void
raise_error(const FloAgentError *error)
{
	ereport(ERROR,
			(errcode(error->sqlstate),
			 errmsg_internal("%s", error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->hint != NULL ? errhint("%s", error->hint) : 0));
}

static FloJson
call_agent(Oid database, const char *operation, const char *arguments, FloAgentError *error)
{
	Call		call = {0};
	FloAgentError own_error = {0};
	FloJson		result = {"", 0};

	open_segment(&call, operation, arguments);
	if (!start_process(&call, database))
		set_error(&own_error, ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
				  "no background worker process is free to talk to NATS",
				  "Increase max_worker_processes.");
	else
	{
		PG_TRY();
		{
			result = wait_for_answer(&call, &own_error);
		}
		PG_CATCH();
		{
			TerminateBackgroundWorker(call.process);
			PG_RE_THROW();
		}
		PG_END_TRY();

		/*
		 * Having answered it ends by itself; else nobody waits for it any
		 * more
		 */
		if (own_error.message != NULL && !own_error.answered)
			TerminateBackgroundWorker(call.process);
		pfree(call.process);
	}
	dsm_detach(call.segment);

	if (own_error.message != NULL && error == NULL)
		raise_error(&own_error);
	if (error != NULL)
		*error = own_error;
	return result;
}

FloJson
flo_agent_call(const char *operation, const char *arguments, FloAgentError *error)
{
	return call_agent(InvalidOid, operation, arguments, error);
}

XLogRecPtr
flo_agent_emit(FloMessageKind kind, const char *group, const char *payload)
{
	FloJson		answer = call_agent(MyDatabaseId, "", psprintf("%c%s\n%s", kind, group, payload),
									NULL);
	XLogRecPtr	lsn;

	(void) flo_lsn_try(flo_json_get_string(answer, "lsn"), &lsn);
	return lsn;
}

FloJson
flo_agent_call_here(const char *operation, const char *arguments)
{
	return call_agent(MyDatabaseId, operation, arguments, NULL);
}

/* ---------------------------------------------------------------------------
 * In the agent
 * ---------------------------------------------------------------------------
 */

static void
append_member(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(buf, ",\"%s\":", key);
	flo_json_append_string(buf, value);
}

/* The caught error as an answer */
static void
format_error(StringInfo answer)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	resetStringInfo(answer);
	appendStringInfo(answer, "%c{\"sqlstate\":%d", ANSWER_ERROR, error->sqlerrcode);
	append_member(answer, "message", error->message);
	append_member(answer, "detail", error->detail);
	append_member(answer, "hint", error->hint);
	appendStringInfoChar(answer, '}');
}

static void
run_operation(const Request *request, StringInfo answer)
{
	FloAgentOperation operation = flo_agent_operation(request->operation);
	MemoryContext context = CurrentMemoryContext;
	FloBus	   *volatile bus = NULL;

	PG_TRY();
	{
		if (operation == NULL)
			elog(ERROR, "unknown operation \"%s\"", request->operation);
		bus = flo_bus_connect("pg_flo agent");
		appendStringInfoChar(answer, ANSWER_RESULT);
		operation(bus, flo_json(request->arguments, request->len), answer);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		format_error(answer);
	}
	PG_END_TRY();
	if (bus != NULL)
		flo_bus_close(bus);
}

/* One that changes tables of schema flo, in a transaction of its own */
static void
run_in_database(const Request *request, StringInfo answer)
{
	static const struct
	{
		const char *name;
		void		(*operation) (FloJson arguments, StringInfo result);
	}			operations[] = {
		{"request_cutover", flo_agent_request_cutover},
		{"withdraw_cutover", flo_agent_withdraw_cutover},
	};
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		appendStringInfoChar(answer, ANSWER_RESULT);
		for (int i = 0; i < lengthof(operations); i++)
			if (strcmp(operations[i].name, request->operation) == 0)
				operations[i].operation(flo_json(request->arguments, request->len), answer);
		flo_transaction_end(context);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		format_error(answer);
	}
	PG_END_TRY();
}

/*
 * Write a message of pg_flo's in a transaction of its own; the answer is where
 * that ended.  The arguments are kind, group, line feed and payload.
 */
static void
emit_message(const Request *request, StringInfo answer)
{
	MemoryContext context = CurrentMemoryContext;
	const char *payload = strchr(request->arguments, '\n') + 1;
	char	   *group = pnstrdup(request->arguments + 1, payload - request->arguments - 2);

	PG_TRY();
	{
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
		flo_transaction_start();
		flo_message_write((FloMessageKind) request->arguments[0], list_make1(group), payload,
						  strlen(payload));
		flo_transaction_commit();
		MemoryContextSwitchTo(context);
		appendStringInfo(answer, "%c{\"lsn\":\"%X/%X\"}", ANSWER_RESULT,
						 LSN_FORMAT_ARGS(XactLastCommitEnd));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		format_error(answer);
	}
	PG_END_TRY();
}

void
flo_agent_main(Datum arg)
{
	Oid			database;
	dsm_segment *segment;
	shm_toc    *toc;
	Request    *request;
	shm_mq	   *queue;
	shm_mq_handle *handle;
	StringInfoData answer;

	flo_loop_init();
	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(database));
	if (OidIsValid(database))
		BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "pg_flo agent");
	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext, "pg_flo agent",
												 ALLOCSET_DEFAULT_SIZES);
	initStringInfo(&answer);

	/* The backend may have gone before we came */
	segment = dsm_attach(DatumGetUInt32(arg));
	if (segment == NULL)
		return;
	toc = shm_toc_attach(AGENT_MAGIC, dsm_segment_address(segment));
	if (toc == NULL)
		return;
	request = shm_toc_lookup(toc, KEY_REQUEST, false);
	queue = shm_toc_lookup(toc, KEY_QUEUE, false);
	shm_mq_set_sender(queue, MyProc);
	handle = shm_mq_attach(queue, segment, NULL);

	/* Words of the broker are made fit for the database that will show them */
	if (!OidIsValid(database))
	{
		SetDatabaseEncoding(request->encoding);
		run_operation(request, &answer);
	}
	else if (request->operation[0] != '\0')
		run_in_database(request, &answer);
	else
		emit_message(request, &answer);
	(void) shm_mq_send(handle, answer.len, answer.data, false, true);
	dsm_detach(segment);
}
