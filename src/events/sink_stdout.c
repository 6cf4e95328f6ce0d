/*
 * sink_stdout.c
 *		Writes events to the server's standard output, one in a line.
 *
 * That is the journal, a container's log, or the server log when
 * logging_collector is on.  An event may be written twice after a crash; its
 * Id is the same then.
 *
 * Promises: one write for each line, and no wait on a reader that has stalled
 * which could not be interrupted.  The descriptor is shared with every other
 * process of the server, so it must stay in blocking mode.  A socket takes a
 * flag with each message instead, and a pipe is opened once more; where that
 * is not allowed, it gets up to PIPE_BUF bytes at a time once it is ready.
 * Lines longer than PIPE_BUF may be torn by what others write at the same
 * time, except in the log: the logging collector's protocol puts pieces
 * together again.
 */
#include "postgres.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/loop.h"
#include "events/event.h"
#include "miscadmin.h"
#include "postmaster/syslogger.h"
#include "utils/memutils.h"

/* ms between two looks after the worker's other business while the reader stalls */
#define SERVE_INTERVAL 1000

typedef struct FloStdoutSink
{
	FloSink		base;
	FloCounters *counters;
	const FloSinkHost *host;
	FloEventWriter *writer;
	StringInfoData line;
	int			fd;
	bool		is_socket;
	bool		may_block;		/* a pipe or terminal in blocking mode */
} FloStdoutSink;

static FloSink *
stdout_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
			const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo stdout sink",
												  ALLOCSET_DEFAULT_SIZES);
	FloStdoutSink *sink = MemoryContextAllocZero(context, sizeof(FloStdoutSink));
	MemoryContext old = MemoryContextSwitchTo(context);
	struct stat st;

	sink->base.ops = &flo_sink_stdout;
	sink->counters = &tally->open;
	sink->host = host;
	sink->writer = flo_event_writer_open(context, spec, host);
	initStringInfo(&sink->line);
	if (fstat(STDOUT_FILENO, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("the server has no standard output: %m"),
				 errhint("Use the sink \"file\".")));
	sink->fd = STDOUT_FILENO;
	sink->is_socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode) || isatty(STDOUT_FILENO))
	{
		sink->fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		sink->may_block = sink->fd < 0;
		if (sink->fd < 0)
			sink->fd = STDOUT_FILENO;
	}
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static void
wait_for_reader(FloStdoutSink *sink)
{
	bool		stalled = false;

	for (;;)
	{
		FloWaitSocket socket = {
			.sock = sink->fd,
			.write = true
		};

		flo_wait_means(FLO_WAIT_OUTPUT);
		flo_wait_sockets(&socket, 1, SERVE_INTERVAL);
		if (socket.ready)
			break;
		if (!stalled)
			flo_state_set(FLO_STATE_WAITING, "for the reader of the server's standard output");
		stalled = true;
		sink->host->serve(sink->host->arg);
	}
	if (stalled)
		flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* Returns how many bytes went out */
static int
write_piece(FloStdoutSink *sink, const char *data, int len)
{
	ssize_t		n;

	if (sink->is_socket)
		n = send(sink->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = write(sink->fd, data, len);
	if (n >= 0)
		return (int) n;
	if (errno == EINTR)
	{
		flo_check_interrupts();
		return 0;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
	{
		wait_for_reader(sink);
		return 0;
	}
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not write to the server's standard output: %m")));
}

static void
write_plainly(FloStdoutSink *sink, const char *data, int len)
{
	while (len > 0)
	{
		int			n = len;

		if (sink->may_block)
		{
			wait_for_reader(sink);
			n = Min(len, PIPE_BUF);
		}
		n = write_piece(sink, data, n);
		data += n;
		len -= n;
	}
}

/* The logging collector's own framing, as the server's messages have it */
static void
write_to_collector(FloStdoutSink *sink, const char *data, int len)
{
	PipeProtoChunk p;

	p.proto.nuls[0] = p.proto.nuls[1] = '\0';
	p.proto.pid = MyProcPid;
	while (len > 0)
	{
		int			n = Min(len, PIPE_MAX_PAYLOAD);

		p.proto.flags = PIPE_PROTO_DEST_STDERR | (n == len ? PIPE_PROTO_IS_LAST : 0);
		p.proto.len = n;
		memcpy(p.proto.data, data, n);
		if (sink->may_block)
			wait_for_reader(sink);
		while (write_piece(sink, (char *) &p, PIPE_HEADER_SIZE + n) == 0)
			 /* interrupted, or the pipe was full */ ;
		data += n;
		len -= n;
	}
}

static void
stdout_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloStdoutSink *sink = (FloStdoutSink *) base;
	int			count = flo_event_count(sink->writer, change);

	flo_event_tally(sink->counters, change);
	for (int i = 0; i < count; i++)
	{
		resetStringInfo(&sink->line);
		flo_event_append(sink->writer, &sink->line, txn, change, i);
		appendStringInfoChar(&sink->line, '\n');
		if (Logging_collector)
			write_to_collector(sink, sink->line.data, sink->line.len);
		else
			write_plainly(sink, sink->line.data, sink->line.len);
	}

	/* do not keep the memory of a huge row */
	if (sink->line.maxlen > 1024 * 1024)
	{
		pfree(sink->line.data);
		sink->line.data = MemoryContextAlloc(GetMemoryChunkContext(sink), 1024);
		sink->line.maxlen = 1024;
		resetStringInfo(&sink->line);
	}
}

/* What was written is out of our hands */
static void
stdout_nothing(FloSink *base)
{
}

static void
stdout_invalidate(FloSink *base)
{
	flo_event_forget(((FloStdoutSink *) base)->writer);
}

static void
stdout_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloStdoutSink *) base)->writer, relation);
}

const FloSinkOps flo_sink_stdout = {
	.transactional = false,
	.open = stdout_open,
	.begin = stdout_nothing,
	.change = stdout_change,
	.finish = stdout_nothing,
	.abort = stdout_nothing,
	.invalidate = stdout_invalidate,
	.forget = stdout_forget,
};
