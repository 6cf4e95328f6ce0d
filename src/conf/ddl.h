/*
 * ddl.h
 *		What the tables of schema flo know of DDL: what is held for a person to
 *		decide on, what became of it, and which groups track it.
 *
 * All functions need a transaction.
 */
#ifndef FLO_CONF_DDL_H
#define FLO_CONF_DDL_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* A statement's place in the stream: the same whenever it is read again */
typedef struct FloDdlPlace
{
	const char *group;
	const char *worker;
	XLogRecPtr	lsn;			/* commit LSN of its transaction */
	int			ordinal;		/* of the statement in it, from 1 */
	TimestampTz committed_at;
} FloDdlPlace;

typedef enum FloDdlDecision
{
	FLO_DDL_NOT_HELD,
	FLO_DDL_UNDECIDED,
	FLO_DDL_RELEASED,
	FLO_DDL_SKIPPED
} FloDdlDecision;

/*
 * "id" is set when the statement is held.  A decision is about the text that a
 * person has read: another one at the same place is not held yet.
 */
extern FloDdlDecision flo_ddl_decision(const FloDdlPlace *place, const char *command, int64 *id);

/*
 * The statement's number.  A decision stands as long as the text does, whatever
 * the reason is now.
 */
extern int64 flo_ddl_hold(const FloDdlPlace *place, const char *tag, const char *command,
						  const char *reason);

/* What the reason begins with when the statement is tried again by itself; the error follows */
#define FLO_DDL_FAILS "it fails here: "

/* Nobody has to decide any more on the statements of a transaction that is given up */
extern void flo_ddl_forget_held(const char *group, const char *worker, XLogRecPtr lsn);

/* What became of a statement; it is not held any more.  Returns the number of the entry. */
extern int64 flo_ddl_note(const FloDdlPlace *place, const char *tag, const char *command,
						  const char *outcome, const char *detail);

/*
 * What is a part of a table and has a name only there is told with its table;
 * else "table" is NULL
 */
extern char *flo_ddl_made_name(const char *schema, const char *table, const char *name);

/*
 * The statement of an entry has made these, names as above; "detail", if any,
 * is added to the entry's
 */
extern void flo_ddl_note_made(int64 entry, const List *names, const char *detail);

/*
 * Whatever was made here under a name that begins with "from" is known by one that
 * begins with "to" as well: quoted, up to and with the dot.
 */
extern void flo_ddl_note_moved(const FloDdlPlace *place, int64 entry, const char *from,
							   const char *to);

/*
 * Was an object of that name ever made here for the worker, or found and kept by
 * a copy?  As far back as flo.ddl_log goes.  A constraint also counts when a copy
 * made its table.
 */
extern bool flo_ddl_was_made(const FloDdlPlace *place, const char *schema, const char *table,
							 const char *name);

/*
 * The groups of this very database that track DDL: List of char *.  Not one
 * that was restored or cloned from elsewhere and waits for somebody to adopt it.
 */
extern List *flo_ddl_groups_here(void);

#endif
