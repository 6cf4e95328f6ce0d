/*
 * row_tables.h
 *		What the decoder knows of the tables whose rows it sends.
 */
#ifndef FLO_ROW_TABLES_H
#define FLO_ROW_TABLES_H

#include "conf/choice.h"
#include "replication/reorderbuffer.h"
#include "source/row_writer.h"
#include "utils/rel.h"

typedef struct FloRowTable
{
	Oid			relation;
	bool		binary;			/* as its rows travel */
	bool		left_out;		/* of the group, though its root may be in it */

	/* whether changes say which row they are of, see decoder.c */
	bool		strays;
	uint64		judged;			/* flo_row_tables_changes() when that was
								 * looked at */
	Oid			judged_as;		/* as which table it is published */

	/* writing rows here, see flo_row_table_note() */
	FloRowWriter *writer;		/* NULL: pgoutput does it */
	bool		refused;		/* and will go on to */
	uint8		sent;			/* bits of FloRowOperation */
	bool		described;
	uint64		piece;

	/* life */
	bool		changed;		/* as all of this may have */
	uint64		looked;			/* a number for each time that it was looked
								 * at */
	uint64		all_changes;	/* those of everything when it was looked at */
	uint64		type_changes;
} FloRowTable;

/* Once in a process.  Entries live in the current context. */
extern void flo_row_tables_init(void);

/* The table as it is now; valid until flo_row_tables_forget() */
extern FloRowTable *flo_row_table(Relation relation, const FloTableChoice *choice);

/*
 * pgoutput is about to send this message of a row, within a transaction that is sent
 * whole (piece 0) or in a piece of one in progress.
 */
extern void flo_row_table_note(FloRowTable *table, Relation relation, List *publications,
							   uint64 piece, const char *message);

/* May the change be written by table->writer?  "piece" as above. */
extern bool flo_row_table_writes(const FloRowTable *table, const ReorderBufferChange *change,
								 uint64 piece);

/*
 * By the file that a change names, while nothing has changed since it was kept there: its
 * table, and what the server has of that, which the caller holds before anything is looked
 * up.  NULL: it is to be asked for in the usual way.  What is kept was looked up after
 * "changes" was asked for, of flo_row_tables_changes().
 */
extern FloRowTable *flo_row_table_of(const ReorderBufferChange *change, Relation *relation);
extern void flo_row_table_keep(const ReorderBufferChange *change, Relation relation,
							   uint64 changes);

/* How often anything has changed, perhaps the root of a table */
extern uint64 flo_row_tables_changes(void);

/* Nothing is what it was; or: forget all, which nobody must be using */
extern void flo_row_tables_changed(void);
extern void flo_row_tables_forget(void);

/* Bytes that they take */
extern Size flo_row_tables_memory(void);

#endif
