/*
 * ddl.h
 *		A DDL statement on its way from the session that runs it to the
 *		destinations: payload of a message of pg_flo's, see message.h.
 *
 * It is JSON in the source database's encoding:
 *
 *	{"version": 1, "id": n, "phase": "before", "tag": "ALTER TABLE",
 *	 "text": "...", "search_path": "public", "role": "...",
 *	 "objects": [{"type": "table", "schema": "public", "name": "t", ...}],
 *	 "refers": [...], ...}
 *
 * A statement stands twice in the stream: before its own effects, which is where
 * a database applies it, and after them, with what its tables look like then,
 * which is what events tell.  In WAL the second message only says that it is over
 * (FloDdlEnd), with the names of what it has made; the replicator adds what was
 * said before and reads the rest in the catalogs.  A statement that leaves all
 * tables as they are stands once ("both"), before its effects; so does, in its last
 * transaction, one that cannot run in a transaction block; and what pg_flo itself
 * does to a table.  Names alone ("names") come after one of the former, and before
 * a statement within the statement, as event triggers run them.
 */
#ifndef FLO_DDL_H
#define FLO_DDL_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* Enabled in databases where a group tracks DDL */
#define FLO_DDL_EVENT_TRIGGER "pg_flo_track_ddl"

/* Settings that decide what the text means, and what conversions give */
#define FLO_DDL_SETTINGS 13
extern const char *const flo_ddl_settings[FLO_DDL_SETTINGS];

typedef enum FloDdlPhase
{
	FLO_DDL_BEFORE,
	FLO_DDL_AFTER,
	FLO_DDL_BOTH,
	FLO_DDL_NAMES
} FloDdlPhase;

typedef enum FloNamedKind
{
	FLO_NAMED_INDEX,
	FLO_NAMED_CONSTRAINT,		/* without an index: those have its name */
	FLO_NAMED_SEQUENCE,			/* owned by a column */
	FLO_NAMED_ARRAY,			/* type of arrays */
	FLO_NAMED_STATISTICS
} FloNamedKind;

/*
 * What a statement has made and the server has perhaps given a name, which
 * depends on what else there is in a schema.  A destination has the thing under
 * another name; it is found by what tells it from others of its kind there.
 */
typedef struct FloNamed
{
	FloNamedKind kind;
	char	   *name;			/* at the source */
	char	   *schema;			/* the table or type that it belongs to, at
								 * the source */
	char	   *of;
	Oid			relation;		/* the same, when it is a relation or its row
								 * type; else 0 */
	Oid			oid;			/* and a type */
	char	   *trait;			/* more than the kind: 'p', 'u', 'x', 'c',
								 * 'f', 'n' as pg_constraint has them, or "";
								 * "unique" for an index */
	List	   *columns;		/* of char *: its columns in order, "" for an
								 * expression */
	char	   *to_schema;		/* the table that a foreign key refers to */
	char	   *to_table;
	char	   *definition;		/* without names of it and of its table, as
								 * far as the server tells; or NULL */
} FloNamed;

/* Type of a table that a statement refers to by the type of its rows */
#define FLO_DDL_ROW_TYPE "row type"

/* Something the statement is about */
typedef struct FloDdlObject
{
	char	   *type;			/* "table", "index", ...: as in command tags,
								 * in lower case */
	char	   *schema;			/* NULL: it is in none */
	char	   *name;			/* not quoted */
	Oid			relation;		/* table that it is or belongs to, at the
								 * source; 0 = none yet */
	char	   *table_schema;	/* and how it was called before the statement;
								 * NULL: none yet */
	char	   *table_name;
	bool		member;			/* that table is one the group began with */
	Oid			oid;			/* of a type, at the source */
	char	   *new_schema;		/* what the statement renames or moves it to;
								 * NULL: neither */
	char	   *new_name;
	bool		leaves;			/* for a schema that is none of the group's */
	char	   *root_schema;	/* of that table, when it is a partition, the
								 * root; before the statement */
	char	   *root_name;
	char	   *partition;		/* when it is dropped or detached: which rows
								 * are in it, see partition.h */
	bool		creates;		/* the statement makes it */
	bool		apart;			/* rows of that table do not travel */
	bool		attached;		/* not of a table by itself: triggers,
								 * policies, rules */
	List	   *left_out_of;	/* of char *: groups that leave it out; only
								 * on its way to the replicator */
	List	   *listed_in;		/* of char *: groups that list the table, or
								 * the one whose place it takes; the same */
	int64		position;		/* in the statement's own list; -1 = none */
	bool		awaited;		/* not sent: a copy of that table is to come
								 * to this destination */
	bool		again;			/* not sent: which has rows of an earlier copy */
} FloDdlObject;

typedef struct FloDdlStatement
{
	int64		id;				/* pairs the phases of one statement */
	FloDdlPhase phase;
	char	   *tag;
	char	   *text;			/* exactly as the client sent it */
	char	   *replay;			/* what to run elsewhere instead, or NULL */
	char	   *search_path;	/* quoted names, comma-separated, existing
								 * schemas only */
	char	   *role;
	char	   *settings[FLO_DDL_SETTINGS]; /* values of flo_ddl_settings;
											 * NULL = as it is */
	char	   *locale;			/* what the database's own collation orders
								 * by; NULL: cannot be named */
	uint32		xid;			/* 0.1 says it, and nothing of much that
								 * follows */
	bool		concurrent;		/* cannot run in a transaction block */
	bool		about_owner;	/* nothing but ownership */
	bool		about_privileges;	/* nothing but privileges */
	bool		with_owner;		/* ownership is to follow */
	bool		defines;		/* tables of it may look otherwise afterwards */
	bool		makes;			/* it may make what the server gives a name */
	List	   *objects;		/* of FloDdlObject * */
	List	   *refers;			/* of FloDdlObject *: tables and sequences it
								 * only refers to */
	List	   *named;			/* of FloNamed *, in the order they were made */
	Jsonb	   *tables;			/* definitions afterwards: array, or NULL */
} FloDdlStatement;

/* What is known of a statement only when it has run: another kind of message, in WAL alone */
typedef struct FloDdlEnd
{
	int64		id;				/* of the statement */
	bool		goes_on;		/* it is not over yet: names that another one
								 * needs */
	List	   *named;			/* of FloNamed * */
} FloDdlEnd;

/* In the current memory context; no catalogs needed.  Fields as record.h has them. */
extern char *flo_ddl_format(const FloDdlStatement *ddl);

/* What an event says of the statement: {"tag", "text", "search_path", "objects", "tables"} */
extern void flo_ddl_append_command(StringInfo out, const FloDdlStatement *ddl);

/*
 * The text must be in the server's encoding.  Throws 08P01 for anything else
 * than such a message.
 */
extern FloDdlStatement *flo_ddl_parse(const char *content);

/* The same for the end of a statement */
extern char *flo_ddl_end_format(const FloDdlEnd *end);
extern FloDdlEnd *flo_ddl_end_parse(const char *content);

/* So much of the statement as an error shows */
extern char *flo_ddl_shown(const FloDdlStatement *ddl);

#endif
