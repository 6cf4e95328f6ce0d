/*
 * copy_state.h
 *		What of a copy has been loaded: tables flo.copied_tables and
 *		flo.copied_chunks.
 *
 * Every function needs an open transaction with an active snapshot.
 */
#ifndef FLO_COPY_STATE_H
#define FLO_COPY_STATE_H

#include "access/xlogdefs.h"
#include "conf/given_up.h"
#include "nodes/pg_list.h"
#include "wire/change.h"
#include "wire/chunk.h"

/* In flo.owed_copies: stands for all tables at the beginning of a generation */
#define FLO_OWED_ALL "0"

typedef struct FloCopiedTable
{
	uint32		relation;		/* OID at the source */
	char	   *schema;
	char	   *table;
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot */
	int64		chunks;			/* published; -1 = the source still reads it */
	int64		tuples;
	int64		bytes;			/* of the table's file at the source */
	int64		loaded;			/* chunks in */
	int64		loaded_tuples;
	bool		finished;
	uint32		expected;		/* attempt that is still to come: rows of the
								 * stream are in it; 0 = none */
	bool		again;			/* what is in the table then is of an earlier
								 * one */
	bool		coming;			/* its definition comes along, if it is not
								 * here */
	FloGivenUp *given_up;		/* rows of the stream are left out because of
								 * that, too; NULL = not so */
	uint64		version;		/* of the FloRelation whose name was compared
								 * with that, 0 = none */
} FloCopiedTable;

/*
 * The attempt whose rows the table is getting.  Makes the table's row when
 * there is none, or raises its attempt; *fresh says that the caller has to
 * empty or check the destination, *again that rows of an earlier attempt are
 * in it.  Waits for another loader that is doing just that.
 */
extern uint32 flo_copied_begin_table(const char *group, const char *worker, uint32 relation,
									 const char *schema, const char *table, uint32 attempt,
									 bool *fresh, bool *again);

/*
 * The attempt whose rows the table has, 0 when it has none yet, and whether all
 * of them are in.  When that is "attempt", both stay so until the end of the
 * transaction.
 */
extern uint32 flo_copied_current(const char *group, const char *worker, uint32 relation,
								 uint32 attempt, bool *finished);

/*
 * A snapshot of the table, of this attempt or a later one, is to come further
 * down the stream; "again" = what is in the table is of an earlier one, else
 * "definitions" = that of the table comes along.
 */
extern void flo_copied_expect(const char *group, const char *worker, uint32 relation,
							  uint32 attempt, bool again, bool definitions);

/* The table of a marker is in, and expected no more */
extern void flo_copied_reached(const char *group, const char *worker, const FloCopyKey *key);

extern FloCopiedTable *flo_copied_find(const List *copied, uint32 relation);

/*
 * The same for one that is described; a table that is given up may still be
 * known by its name only
 */
extern FloCopiedTable *flo_copied_find_described(const List *copied, const FloRelation *relation);

/* Is a snapshot of any of them to come further down the stream? */
extern bool flo_copied_expected(const List *copied);

/* Or is one of them given up?  Then rows of other tables may refer to some that are not here. */
extern bool flo_copied_expects_any(const List *copied);

/* Record that this transaction loads a chunk; false when it was loaded before */
extern bool flo_copied_claim(const char *group, const char *worker, const FloCopyKey *key);

/* What the source says of a table all of which is published */
extern void flo_copied_published(const char *group, const char *worker,
								 const FloCopiedTable *table);

/* How much of each table is in, as flo.copy_progress shows it */
extern void flo_copied_note_progress(const char *group, const char *worker);

/* Was a table of that name at the source ever copied? */
extern bool flo_copied_knows(const char *group, const char *worker, const char *schema,
							 const char *table);

/* All tables, as a List of FloCopiedTable *, with what is loaded counted */
extern List *flo_copied_tables(const char *group, const char *worker);

/*
 * All is in: the chunks need not be known any more.  "marker" is the attempt of
 * the marker that asked for the copy, 0 = it is the one a generation begins with.
 */
extern void flo_copied_finish(const char *group, const char *worker, uint32 marker);

/* The rest of a backfill of the table does not come: it is not to be taken for a copy of it */
extern void flo_copied_break_off(const char *group, const char *worker, uint32 relation,
								 uint32 attempt);

/*
 * A new generation begins: of the copies before only that they were is
 * remembered, for what is in the tables is theirs
 */
extern void flo_copied_forget(const char *group, const char *worker);

/*
 * The change without what the copy has already, and without tables that are
 * given up; NULL when that is all of it.  "copied" lists tables (FloCopiedTable)
 * that are, or whose snapshot is later than where the stream is; "before" is that of
 * all tables there were then, where others had gone.  Needs no
 * transaction; allocates in the current memory context.
 */
extern const FloChange *flo_copied_leave_out(const List *copied, XLogRecPtr before,
											 XLogRecPtr final_lsn, const FloChange *change);

/*
 * In the open transaction: a worker begins with another generation.  What was
 * asked for before it began is named by its first message, so nothing beyond
 * "since" is believed until that is read.
 */
extern void flo_copied_owe_all(const char *group, const char *worker, XLogRecPtr since);

#endif
