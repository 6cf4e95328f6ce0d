/*
 * schema_entries.h
 *		Which of pg_dump's entries come along with a copy, and how.
 */
#ifndef FLO_SCHEMA_ENTRIES_H
#define FLO_SCHEMA_ENTRIES_H

#include "conf/spec.h"
#include "nodes/pg_list.h"
#include "source/archive.h"

/* An entry that comes along */
typedef struct FloSchemaEntry
{
	Oid			class;			/* zeroes for what is no object of its own */
	Oid			object;
	int			part_of;		/* place in the list, from 1; 0 = none */
	bool		after;			/* the rows */
	bool		rest;			/* no table needs it */
	bool		optional;		/* no row needs it, though it belongs to a
								 * table */
	bool		shell;			/* a type's name, for the functions that make
								 * the type */
	bool		view;			/* or a foreign table: it has parts of its own */
	char	   *label;
	char	   *command;
	char	   *lacks;			/* why it cannot come; NULL: it can */
} FloSchemaEntry;

typedef struct FloSchemaEntries FloSchemaEntries;

/*
 * For tables (OIDs; NIL: the group's and, as its options say, what else is in
 * its schemas), in the current memory context.  Looks at the catalogs through
 * the active snapshot.
 */
extern FloSchemaEntries *flo_schema_entries_create(const FloReplicatorSpec *spec, List *tables);

/* Does a table of these need it? */
extern bool flo_schema_entries_want(FloSchemaEntries *entries, Oid class, Oid object);

/* Does the whole schema come along? */
extern bool flo_schema_entries_cover(FloSchemaEntries *entries, Oid schema);

/* Is it a table that does not come along, and is to be named? */
extern bool flo_schema_entries_name(FloSchemaEntries *entries, Oid table);

/* Does what is neither of a table nor in a schema? */
extern bool flo_schema_entries_all(FloSchemaEntries *entries);

/* The next one, in the order of the archive; it is copied */
extern void flo_schema_entries_take(FloSchemaEntries *entries, const FloArchiveEntry *read);

/* When there are no more: List of FloSchemaEntry *, in the order in which they are made */
extern List *flo_schema_entries_list(FloSchemaEntries *entries);

#endif
