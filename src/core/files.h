/*
 * files.h
 *		Files outside the data directory: what is opened is what was meant.
 *
 * Whoever may write into a directory on the way to a file, or into the one it
 * lies in, must not be able to lead us to another file of ours.
 */
#ifndef FLO_FILES_H
#define FLO_FILES_H

/*
 * Open a directory that files are to be written into.  No part of the path may
 * be a symbolic link; the directory must belong to the server's user or to
 * root, and not be open to everybody unless it is sticky.
 *
 * Returns the descriptor, or -1 with errno set and *problem saying why (in the
 * current memory context, without the path).
 */
extern int	flo_files_open_directory(const char *path, char **problem);

/*
 * Open a file in such a directory: a regular file of the server's user that
 * has one name only, and no link.  "flags" as for open(2); O_CREAT makes it
 * with mode 0600.  Returns as above; errno is ENOENT when there is none.
 */
extern int	flo_files_open_own(int directory, const char *name, int flags, char **problem);

/*
 * The text of a file that holds a secret, with its end cut off like any other
 * string; palloc'd.  The file must be a regular one, and neither readable nor
 * writable by others, as with the server's TLS key (a group may read what
 * belongs to root), and hold more than blanks.  A link may lead to it: whoever
 * names a file may name any.
 * "what" begins the message ("password file").  Throws.
 */
extern char *flo_files_read_secret(const char *path, const char *what, size_t limit);

/*
 * The same checks for files that a library opens by name, or that are opened
 * later.  "secret": it must be nobody else's business.  Throws "sqlstate", 0 for
 * what goes with the problem.
 */
extern void flo_files_check(const char *path, const char *what, bool secret, int sqlstate);

#endif
