/*
 * files.c
 *		Files outside the data directory: what is opened is what was meant.
 *
 * The server's user owns the database.  Where others can write, a link in
 * place of a file of ours makes us change or empty one of the server's own, so
 * nothing is opened through a link where we write, and what was opened is
 * looked at through the descriptor, never by its name again.
 *
 * Files are opened without waiting: a FIFO in the place of a file would hold
 * the process up until somebody writes to it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/files.h"
#include "storage/fd.h"

static int
refuse(int fd, int error, const char *why, char **problem)
{
	if (fd >= 0)
		close(fd);
	*problem = pstrdup(why != NULL ? why : strerror(error));
	errno = error;
	return -1;
}

/* --- where we write ------------------------------------------------------ */

/* The next part of a path, palloc'd; NULL at its end */
static char *
next_part(const char **path)
{
	const char *start = *path + strspn(*path, "/");
	size_t		len = strcspn(start, "/");

	*path = start + len;
	return len > 0 ? pnstrdup(start, len) : NULL;
}

int
flo_files_open_directory(const char *path, char **problem)
{
	const int	flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int			fd = open("/", flags);
	struct stat st;
	char	   *part;

	while (fd >= 0 && (part = next_part(&path)) != NULL)
	{
		struct stat named;
		bool		is_link = fstatat(fd, part, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
			S_ISLNK(named.st_mode);

		/* parts on the way need not be readable */
		int			next = openat(fd, part, *path == '\0' || path[strspn(path, "/")] == '\0' ?
								  flags : (flags | O_PATH));
		int			error = errno;

		close(fd);
		if (next < 0)
			return refuse(-1, is_link ? ELOOP : error,
						  is_link ? psprintf("\"%s\" is a symbolic link", part) : NULL, problem);
		fd = next;
	}
	if (fd < 0 || fstat(fd, &st) != 0)
		return refuse(fd, errno, NULL, problem);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return refuse(fd, EPERM, "it belongs to another user of the operating system", problem);
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		return refuse(fd, EPERM, "everybody may remove files there", problem);
	return fd;
}

int
flo_files_open_own(int directory, const char *name, int flags, char **problem)
{
	int			fd = openat(directory, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
							S_IRUSR | S_IWUSR);
	struct stat st;

	if (fd < 0)
		return refuse(-1, errno, errno == ELOOP ? "it is a symbolic link" : NULL, problem);
	if (fstat(fd, &st) != 0)
		return refuse(fd, errno, NULL, problem);
	if (!S_ISREG(st.st_mode))
		return refuse(fd, EPERM, "it is not a regular file", problem);
	if (st.st_uid != geteuid())
		return refuse(fd, EPERM, "it belongs to another user of the operating system", problem);
	if (st.st_nlink > 1)
		return refuse(fd, EPERM, "it has another name, too (a hard link)", problem);
	return fd;
}

/* --- what we read -------------------------------------------------------- */

/* NULL, or what is wrong with it; the hint that goes with it, or NULL */
static const char *
problem_of(bool secret, const struct stat *st, const char **hint)
{
	*hint = NULL;
	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	*hint = "It must belong to the server's user or to root.";
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "it belongs to another user of the operating system";
	*hint = "Set its permissions to u=rw (0600), or to u=rw,g=r (0640) where it belongs to root.";
	if ((st->st_mode & S_IWOTH) != 0 ||
		(secret && ((st->st_mode & S_IRWXO) != 0 ||
					((st->st_mode & S_IRWXG) != 0 && st->st_uid == geteuid()) ||
					(st->st_mode & S_IWGRP) != 0)))
		return "it can be read or written by others";
	*hint = NULL;
	return NULL;
}

/* Open for reading and checked; throws */
static int
open_to_read(const char *path, const char *what, bool secret, int sqlstate)
{
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	const char *problem;
	const char *hint;

	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR,
				(sqlstate != 0 ? errcode(sqlstate) : errcode_for_file_access(),
				 errmsg("could not open %s \"%s\": %m", what, path)));
	problem = problem_of(secret, &st, &hint);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(sqlstate != 0 ? sqlstate : ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not use %s \"%s\": %s", what, path, problem),
				 hint != NULL ? errhint("%s", hint) : 0));
	return fd;
}

char *
flo_files_read_secret(const char *path, const char *what, size_t limit)
{
	int			fd = open_to_read(path, what, true, 0);
	char	   *text = palloc(limit + 2);
	size_t		len = 0;
	ssize_t		n;

	while ((n = read(fd, text + len, limit + 1 - len)) > 0)
		len += n;
	if (n < 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read %s \"%s\": %m", what, path)));
	CloseTransientFile(fd);
	if (len > limit)
	{
		explicit_bzero(text, len);
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" is too large", what, path)));
	}
	text[len] = '\0';

	/* being written at this moment, perhaps: not the same as no secret at all */
	if (strspn(text, " \t\r\n") == strlen(text))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("%s \"%s\" is empty", what, path)));
	return text;
}

void
flo_files_check(const char *path, const char *what, bool secret, int sqlstate)
{
	CloseTransientFile(open_to_read(path, what, secret, sqlstate));
}
