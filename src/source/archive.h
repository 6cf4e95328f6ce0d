/*
 * archive.h
 *		Reads the table of contents of an archive of pg_dump's custom format.
 */
#ifndef FLO_ARCHIVE_H
#define FLO_ARCHIVE_H

#include "nodes/pg_list.h"

typedef enum FloArchiveSection
{
	FLO_ARCHIVE_NO_SECTION = 1, /* comments, privileges: of what they belong
								 * to */
	FLO_ARCHIVE_BEFORE_ROWS,
	FLO_ARCHIVE_ROWS,
	FLO_ARCHIVE_AFTER_ROWS
} FloArchiveSection;

/* An entry; texts in the archive's encoding, "" for what it does not have */
typedef struct FloArchiveEntry
{
	int			id;				/* pg_dump's number of it */
	Oid			class;			/* the object at the source; zeroes for what
								 * is none of its own */
	Oid			object;
	char	   *name;			/* as it is, not quoted */
	char	   *kind;			/* "TABLE", "FK CONSTRAINT", ... */
	FloArchiveSection section;
	char	   *command;		/* statements that make it */
	char	   *drop;
	char	   *schema;
	char	   *access_method;	/* of a table */
	char		relkind;		/* since 17 */
	char	   *owner;
	List	   *needs;			/* ids of entries, of int */
} FloArchiveEntry;

typedef struct FloArchive FloArchive;

/* Puts at most "size" bytes into the buffer and returns how many, at least one; 0 at the end */
typedef Size (*FloArchiveRead) (void *arg, char *buffer, Size size);

/* Throws 0A000 for a format of other versions, 22000 for what is no archive */
extern FloArchive *flo_archive_open(FloArchiveRead read, void *arg);

/* The next one, in the current memory context; NULL after the last */
extern FloArchiveEntry *flo_archive_next(FloArchive *archive);

#endif
