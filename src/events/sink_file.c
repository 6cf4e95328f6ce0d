/*
 * sink_file.c
 *		Writes events to files, one in a line, each exactly once.
 *
 * Promises: what has been recorded (name and length of the newest file, saved
 * together with the position) is on disk, and nothing else is in the files
 * once the worker is back.  So on opening, the recorded file is cut to its
 * recorded length and later files, which hold only what will be sent again, are
 * removed.  Whatever goes wrong while writing is an error that ends the
 * process, and the next one begins with that same repair.
 *
 * A file's name is the time of its creation; names never go back, whatever
 * the clock does, so they sort in the order of the events.
 *
 * Removing files is only safe while nobody else writes to the directory: it
 * belongs to one worker, whose name stands in the file OWNER_FILE, locked
 * while the worker runs.  Everything is opened in the directory that was opened
 * at the start, and nothing through a link (core/files.h).
 *
 * Awkward cases: somebody removes or moves away the file being written.  What
 * was recorded in it is then his; before anything more is recorded the file
 * is looked for under its name, and when it is not there the batch is given
 * up and comes again into a new file.  A file that was moved is cut to its
 * recorded length through the open descriptor, so that the batch does not
 * stand in it as well.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "core/compat.h"
#include "core/files.h"
#include "core/loop.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "events/event.h"
#include "events/json_value.h"
#include "events/sink_state.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define FILE_PREFIX "pg_flo_log_"
#define FILE_SUFFIX ".jsonl"
#define FILE_NAME_SIZE 64
#define OWNER_FILE ".pg_flo_owner"
#define MARK_MAX 128

/* How long the directory's lock is waited for */
#define LOCK_ATTEMPTS 25
#define LOCK_PAUSE 100			/* ms */

/* Bytes gathered before they are written */
#define BUFFER_SIZE (256 * 1024)

typedef struct FloFileSink
{
	FloSink		base;
	FloCounters *counters;
	FloEventWriter *writer;

	/* configuration */
	char	   *directory;
	int			directory_fd;
	int64		max_size;
	int64		max_age;		/* ms */

	/* the file being written; fd -1: none yet */
	int			fd;
	char		name[FILE_NAME_SIZE];
	TimestampTz created;
	int64		length;			/* what is in it, buffer not included */
	StringInfoData buffer;
	bool		unsynced;

	/* what is recorded, or is to be by the next "save" */
	char		safe_name[FILE_NAME_SIZE];
	int64		safe_length;
	int64		fresh;			/* length of the current file at the start of
								 * the batch */
} FloFileSink;

/* --- names --------------------------------------------------------------- */

static char *
path_of(const FloFileSink *sink, const char *name)
{
	return psprintf("%s/%s", sink->directory, name);
}

static bool
is_our_name(const char *name)
{
	size_t		len = strlen(name);

	return len > strlen(FILE_PREFIX FILE_SUFFIX) && len < FILE_NAME_SIZE &&
		strncmp(name, FILE_PREFIX, strlen(FILE_PREFIX)) == 0 &&
		strcmp(name + len - strlen(FILE_SUFFIX), FILE_SUFFIX) == 0;
}

/* pg_flo_log_20240229T123456.789012Z.jsonl */
static void
name_of_time(char *name, TimestampTz at)
{
	pg_time_t	seconds = timestamptz_to_time_t(at);
	int			micros = (int) (at % USECS_PER_SEC);
	char		text[32];

	if (micros < 0)
		micros += USECS_PER_SEC;
	pg_strftime(text, sizeof(text), "%Y%m%dT%H%M%S", pg_gmtime(&seconds));
	snprintf(name, FILE_NAME_SIZE, FILE_PREFIX "%s.%06dZ" FILE_SUFFIX, text, micros);
}

/* When a file was created, as its name says; the present when it does not */
static TimestampTz
time_of_name(const char *name)
{
	int			year,
				month,
				day,
				hour,
				minute,
				second,
				micros;
	struct pg_tm tm = {0};
	Timestamp	at;

	if (sscanf(name, FILE_PREFIX "%4d%2d%2dT%2d%2d%2d.%6dZ", &year, &month, &day, &hour, &minute,
			   &second, &micros) != 7)
		return GetCurrentTimestamp();
	tm.tm_year = year;
	tm.tm_mon = month;
	tm.tm_mday = day;
	tm.tm_hour = hour;
	tm.tm_min = minute;
	tm.tm_sec = second;
	if (tm2timestamp(&tm, micros, NULL, &at) != 0)
		return GetCurrentTimestamp();
	return (TimestampTz) at;
}

/* --- the directory ------------------------------------------------------- */

pg_noreturn static void
report_file(const char *what, const char *path)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not %s \"%s\": %m", what, path)));
}

static void
report_problem(const char *what, const char *path, const char *problem)
{
	ereport(ERROR,
			(errcode_for_file_access(),
			 errmsg("could not %s \"%s\": %s", what, path, problem)));
}

static void
open_directory(FloFileSink *sink)
{
	char	   *problem;

	sink->directory_fd = flo_files_open_directory(sink->directory, &problem);
	if (sink->directory_fd < 0)
		report_problem("open directory", sink->directory, problem);
}

static void
sync_directory(FloFileSink *sink)
{
	if (pg_fsync(sink->directory_fd) != 0)
		report_file("fsync directory", sink->directory);
}

/*
 * Call "each" for our files in the directory; the newest name of them goes to
 * "newest".
 */
static void
scan_directory(FloFileSink *sink, void (*each) (FloFileSink *sink, const char *name), char *newest)
{
	int			fd = openat(sink->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	List	   *names = NIL;
	ListCell   *lc;

	if (dir == NULL)
		report_file("open directory", sink->directory);
	while ((errno = 0, entry = readdir(dir)) != NULL)
		if (is_our_name(entry->d_name))
			names = lappend(names, pstrdup(entry->d_name));
	if (errno != 0)
		report_file("read directory", sink->directory);
	closedir(dir);

	foreach(lc, names)
	{
		char	   *name = lfirst(lc);

		if (newest != NULL && strcmp(name, newest) > 0)
			strlcpy(newest, name, FILE_NAME_SIZE);
		if (each != NULL)
			each(sink, name);
	}
	list_free_deep(names);
}

/* This worker, as the owner file names it */
static char *
own_mark(const FloWorkerSpec *spec)
{
	return psprintf(UINT64_FORMAT " %u %s %s\n", GetSystemIdentifier(), MyDatabaseId,
					spec->group, spec->worker);
}

/* The beginning of a mark, written when the machine went down? */
static bool
is_torn_mark(const char *found)
{
	return strchr(found, '\n') == NULL && strlen(found) < MARK_MAX &&
		strspn(found, "0123456789 abcdefghijklmnopqrstuvwxyz_") == strlen(found);
}

/*
 * Make the directory this worker's own.  The descriptor stays open, and with
 * it the lock, for the life of the process.
 */
static void
claim_directory(FloFileSink *sink, const FloWorkerSpec *spec)
{
	char	   *path = path_of(sink, OWNER_FILE);
	char	   *mark = own_mark(spec);
	char	   *problem;
	char		found[512];
	ssize_t		len;
	int			fd = flo_files_open_own(sink->directory_fd, OWNER_FILE, O_RDWR | O_CREAT, &problem);

	if (fd < 0)
		report_problem("open file", path, problem);

	/*
	 * the process before this one, or what loaded the copy, may not quite be
	 * gone
	 */
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++)
	{
		if (i == LOCK_ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("directory \"%s\" is used by another process", sink->directory),
					 errdetail("The file \"%s\" is locked.", path)));
		flo_wait_means(FLO_WAIT_OUTPUT);
		flo_wait(PGINVALID_SOCKET, false, LOCK_PAUSE);
	}
	len = read(fd, found, sizeof(found) - 1);
	if (len < 0)
		report_file("read file", path);
	found[len] = '\0';
	if (len > 0 && strcmp(found, mark) != 0 && !is_torn_mark(found))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("directory \"%s\" belongs to another worker", sink->directory),
				 errhint("Every file worker needs a directory of its own. If that worker is no more, remove the file \"%s\".", path)));
	if (len > 0 && strcmp(found, mark) == 0)
		return;
	if (ftruncate(fd, 0) != 0 || pwrite(fd, mark, strlen(mark), 0) != (ssize_t) strlen(mark) ||
		pg_fsync(fd) != 0)
		report_file("write file", path);
	sync_directory(sink);
}

/* --- repair -------------------------------------------------------------- */

static void
remove_if_later(FloFileSink *sink, const char *name)
{
	if (strcmp(name, sink->safe_name) > 0)
	{
		if (unlinkat(sink->directory_fd, name, 0) != 0 && errno != ENOENT)
			report_file("remove file", path_of(sink, name));
	}
}

static void
close_file(FloFileSink *sink)
{
	if (sink->fd >= 0)
		close(sink->fd);
	sink->fd = -1;
}

/* Open the recorded file, if it has been made, and cut off what was not recorded */
static void
reopen_file(FloFileSink *sink)
{
	char	   *path = path_of(sink, sink->safe_name);
	char	   *problem;
	struct stat st;

	strlcpy(sink->name, sink->safe_name, FILE_NAME_SIZE);
	sink->created = time_of_name(sink->name);
	sink->length = sink->safe_length;
	sink->fd = flo_files_open_own(sink->directory_fd, sink->safe_name, O_WRONLY | O_APPEND,
								  &problem);
	if (sink->fd < 0)
	{
		if (errno != ENOENT)
			report_problem("open file", path, problem);
		if (sink->safe_length > 0)
			ereport(LOG,
					(errmsg("file \"%s\" is no longer there", path),
					 errdetail("Events go on in a new file.")));
		/* a name is used once */
		sink->name[0] = '\0';
		return;
	}
	if (fstat(sink->fd, &st) != 0)
		report_file("stat file", path);
	if (st.st_size < sink->safe_length)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is shorter than recorded: %lld instead of %lld bytes",
						path, (long long) st.st_size, (long long) sink->safe_length),
				 errhint("What is missing from it cannot be had again. Move the file away, then start the worker.")));
	if (st.st_size > sink->safe_length &&
		(ftruncate(sink->fd, sink->safe_length) != 0 || pg_fsync(sink->fd) != 0))
		report_file("truncate file", path);
	pfree(path);
}

/* Bring the directory to the recorded state */
static void
repair(FloFileSink *sink)
{
	close_file(sink);
	resetStringInfo(&sink->buffer);
	scan_directory(sink, remove_if_later, NULL);
	reopen_file(sink);
	sync_directory(sink);
	sink->unsynced = false;
	sink->fresh = sink->length;
}

/* --- writing ------------------------------------------------------------- */

/* A name later than all that have been used */
static void
choose_name(FloFileSink *sink)
{
	char		newest[FILE_NAME_SIZE] = "";
	TimestampTz now = GetCurrentTimestamp();

	scan_directory(sink, NULL, newest);
	if (strcmp(sink->safe_name, newest) > 0)
		strlcpy(newest, sink->safe_name, FILE_NAME_SIZE);
	name_of_time(sink->name, now);
	if (strcmp(sink->name, newest) <= 0)
	{
		now = Max(now, time_of_name(newest)) + 1;
		name_of_time(sink->name, now);
	}
	sink->created = now;
}

static void
create_file(FloFileSink *sink)
{
	char	   *problem;

	if (sink->name[0] == '\0')
		choose_name(sink);
	sink->fd = flo_files_open_own(sink->directory_fd, sink->name,
								  O_WRONLY | O_APPEND | O_CREAT | O_EXCL, &problem);
	if (sink->fd < 0)
		report_problem("create file", path_of(sink, sink->name), problem);
	sink->length = sink->fresh = 0;
	sync_directory(sink);
}

static void
flush_buffer(FloFileSink *sink)
{
	int			done = 0;

	if (sink->buffer.len > 0 && sink->fd < 0)
		create_file(sink);
	while (done < sink->buffer.len)
	{
		ssize_t		n = write(sink->fd, sink->buffer.data + done, sink->buffer.len - done);

		if (n < 0 && errno == EINTR)
		{
			CHECK_FOR_INTERRUPTS();
			continue;
		}
		if (n < 0)
			report_file("write file", path_of(sink, sink->name));
		done += n;
	}
	sink->length += done;
	sink->unsynced |= done > 0;

	/*
	 * do not keep the memory of a huge row; a new buffer would not be the
	 * sink's
	 */
	if (sink->buffer.maxlen > 8 * BUFFER_SIZE)
	{
		sink->buffer.data = repalloc(sink->buffer.data, BUFFER_SIZE);
		sink->buffer.maxlen = BUFFER_SIZE;
	}
	resetStringInfo(&sink->buffer);
}

/*
 * Is the file still to be found under its name?  Otherwise what was written
 * since the last record is taken back out of it.
 */
static void
check_still_there(FloFileSink *sink)
{
	char	   *path = path_of(sink, sink->name);
	struct stat here;
	struct stat there;

	if (fstat(sink->fd, &here) != 0)
		report_file("stat file", path);
	/* by the whole path: the directory may have been moved away with the file */
	if (lstat(path, &there) != 0 || here.st_dev != there.st_dev || here.st_ino != there.st_ino)
	{
		if (ftruncate(sink->fd, sink->fresh) != 0)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not truncate file that was \"%s\": %m", path)));
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("file \"%s\" was removed while it was written", path),
				 errhint("Take away files only when there is a newer one.")));
	}
	pfree(path);
}

static void
sync_file(FloFileSink *sink)
{
	flush_buffer(sink);
	if (!sink->unsynced)
		return;
	if (pg_fsync(sink->fd) != 0)
		report_file("fsync file", path_of(sink, sink->name));
	check_still_there(sink);
	sink->unsynced = false;
}

/* Is the current file full or old, seen that so much more is to come? */
static bool
is_due(const FloFileSink *sink, int64 more)
{
	int64		size = sink->length + sink->buffer.len;

	if (size == 0)
		return false;
	return size + more > sink->max_size ||
		TimestampDifferenceExceeds(sink->created, GetCurrentTimestamp(),
								   (int) Min(sink->max_age, INT_MAX));
}

static void
rotate(FloFileSink *sink)
{
	sync_file(sink);
	close_file(sink);
	sink->name[0] = '\0';
	sink->length = sink->fresh = 0;
}

/* --- the sink ------------------------------------------------------------ */

/* Who may not write files as the server may not do so through a worker either */
static void
check_privilege(const FloWorkerSpec *spec)
{
	MemoryContext old = CurrentMemoryContext;
	bool		allowed;

	flo_transaction_start();
	allowed = flo_role_has_rights_of(spec->owner, ROLE_PG_WRITE_SERVER_FILES);
	flo_transaction_commit();
	MemoryContextSwitchTo(old);
	if (!allowed)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the worker's owner must not write files on the server"),
				 errhint("Grant it the role pg_write_server_files.")));
}

/*
 * Another directory was configured.  What a former process left half done in
 * the old one is to come into the new one, so it must not stay there.  That is
 * done as well as possible: the old directory may be why it was changed.
 */
static void
leave_former_directory(const FloFileSink *sink, const FloWorkerSpec *spec, char *directory,
					   const char *name, int64 length)
{
	FloFileSink former = *sink;
	char		mark[512];
	char	   *problem;
	struct stat st;
	int			fd;
	ssize_t		len = -1;

	former.directory = directory;
	strlcpy(former.safe_name, name, FILE_NAME_SIZE);
	former.directory_fd = flo_files_open_directory(directory, &problem);
	if (former.directory_fd < 0)
		return;
	fd = flo_files_open_own(former.directory_fd, OWNER_FILE, O_RDONLY, &problem);
	if (fd >= 0)
	{
		len = read(fd, mark, sizeof(mark) - 1);
		close(fd);
	}
	if (len > 0)
		mark[len] = '\0';
	if (len > 0 && strcmp(mark, own_mark(spec)) == 0)
	{
		scan_directory(&former, remove_if_later, NULL);
		fd = flo_files_open_own(former.directory_fd, name, O_WRONLY, &problem);
		if (fd >= 0)
		{
			if (fstat(fd, &st) == 0 && st.st_size > length && ftruncate(fd, length) != 0)
				report_file("truncate file", path_of(&former, name));
			close(fd);
		}
	}
	close(former.directory_fd);
}

static void
parse_state(FloFileSink *sink, const FloWorkerSpec *spec, const char *state)
{
	Jsonb	   *saved = flo_sink_state_parse(state);
	char	   *directory = flo_sink_state_text(saved, "directory");
	char	   *name = flo_sink_state_text(saved, "file");
	int64		length;

	if (directory == NULL || name == NULL || !is_our_name(name) ||
		!flo_sink_state_int64(saved, "length", &length))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the recorded state of the worker's files cannot be read")));

	if (strcmp(directory, sink->directory) != 0)
	{
		leave_former_directory(sink, spec, directory, name, length);
		return;
	}
	strlcpy(sink->safe_name, name, FILE_NAME_SIZE);
	sink->safe_length = length;
}

static FloSink *
file_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
		  const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo file sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloFileSink *sink = palloc0(sizeof(FloFileSink));

	check_privilege(spec);
	sink->base.ops = &flo_sink_file;
	sink->counters = &tally->open;
	sink->directory = pstrdup(spec->options.directory);
	sink->max_size = spec->options.max_size;
	sink->max_age = spec->options.max_age;
	sink->fd = -1;
	sink->writer = flo_event_writer_open(context, spec, host);
	initStringInfo(&sink->buffer);
	if (state != NULL)
		parse_state(sink, spec, state);
	open_directory(sink);
	claim_directory(sink, spec);
	if (sink->safe_name[0] == '\0')
	{
		/* the name is recorded before the file is made */
		choose_name(sink);
		strlcpy(sink->safe_name, sink->name, FILE_NAME_SIZE);
	}
	else
		repair(sink);
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static void
file_begin(FloSink *base)
{
	FloFileSink *sink = (FloFileSink *) base;

	sink->fresh = sink->length;
}

static void
file_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloFileSink *sink = (FloFileSink *) base;
	int			count = flo_event_count(sink->writer, change);

	flo_event_tally(sink->counters, change);
	for (int i = 0; i < count; i++)
	{
		int			start = sink->buffer.len;
		int			len;

		flo_event_append(sink->writer, &sink->buffer, txn, change, i);
		appendStringInfoChar(&sink->buffer, '\n');
		len = sink->buffer.len - start;
		sink->buffer.len = start;
		if (is_due(sink, len))
		{
			char	   *line = palloc(len);

			memcpy(line, sink->buffer.data + start, len);
			rotate(sink);
			appendBinaryStringInfo(&sink->buffer, line, len);
			pfree(line);
		}
		else
			sink->buffer.len = start + len;
		if (sink->buffer.len >= BUFFER_SIZE)
			flush_buffer(sink);
	}
}

static void
file_finish(FloSink *base)
{
	FloFileSink *sink = (FloFileSink *) base;

	sync_file(sink);
	if (sink->name[0] != '\0')
	{
		strlcpy(sink->safe_name, sink->name, FILE_NAME_SIZE);
		sink->safe_length = sink->length;
	}
	sink->fresh = sink->length;
}

static void
file_abort(FloSink *base)
{
	repair((FloFileSink *) base);
}

static void
file_invalidate(FloSink *base)
{
	flo_event_forget(((FloFileSink *) base)->writer);
}

static void
file_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloFileSink *) base)->writer, relation);
}

static char *
file_save(FloSink *base)
{
	FloFileSink *sink = (FloFileSink *) base;
	StringInfoData state;

	initStringInfo(&state);
	appendStringInfoString(&state, "{\"directory\": ");
	flo_json_append_text(&state, sink->directory, strlen(sink->directory));
	appendStringInfo(&state, ", \"file\": \"%s\", \"length\": " INT64_FORMAT "}",
					 sink->safe_name, sink->safe_length);
	return state.data;
}

const FloSinkOps flo_sink_file = {
	.transactional = false,
	.open = file_open,
	.begin = file_begin,
	.change = file_change,
	.finish = file_finish,
	.abort = file_abort,
	.invalidate = file_invalidate,
	.forget = file_forget,
	.save = file_save,
};
