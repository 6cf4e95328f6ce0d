/*
 * records.h
 *		What lies in a group's state bucket: one struct a key, each field typed.
 *
 * wire/README.md shows every document.  Functions that read return NULL when the
 * key is not there, and throw 08P01 with the key and the field when it holds
 * something else, 0A000 when it is of a later version: what cannot be read is
 * never taken for what is not there.
 */
#ifndef FLO_RECORDS_H
#define FLO_RECORDS_H

#include "access/xlogdefs.h"
#include "bus/bus.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "wire/record.h"

/*
 * "source": how far the replicator has published, and that it lives; for people,
 * and for workers to know how far behind they are, and whether they would know.
 * Nothing but what is shown depends on it.
 */
#define FLO_SOURCE_KEY "source"

/* What "state" says of a replicator that has gone; else the state in flo.status */
#define FLO_SOURCE_STOPPING "stopping"	/* soon: it would like to hear how far
										 * workers are */
#define FLO_SOURCE_STOPPED "stopped"	/* by a person */
#define FLO_SOURCE_FAILED "failed"
#define FLO_SOURCE_BACKOFF "backoff"
#define FLO_SOURCE_SHUT_DOWN "shut down"	/* with its server */

typedef struct FloSourceRecord
{
	XLogRecPtr	lsn;
	uint64		system_identifier;
	char		generation[FLO_UUID_BUF];
	uint64		epoch;

	/* times by the source's clock; any of it may be missing */
	TimestampTz at;				/* when this was said */
	TimestampTz pending;		/* commit time of the oldest transaction that
								 * was not published then; 0 = none */
	char	   *state;
	char	   *detail;			/* of that state, as shown at the source */
	int64		interval;		/* ms until it is said again, at most; 0 = it
								 * is not */
} FloSourceRecord;

/* ms between two times that a replicator says that it lives */
#define FLO_SOURCE_INTERVAL(heartbeat) (2 * Max(heartbeat, 250))

/* "tracked": whose definitions travel; for flo.check() at a destination */
#define FLO_TRACKED_KEY "tracked"

typedef struct FloTrackedRecord
{
	bool		all;			/* all schemas, the list is empty */
	List	   *schemas;		/* of char *; of a group with a table list, or
								 * without track_ddl: none */
} FloTrackedRecord;

/*
 * "tables": that the definitions of the group's tables are there, and what comes
 * with them; for flo.check() at a destination, which compares before the first
 * row.  They lie under "tables.<n>", as many in each as have the OID n modulo the
 * number of pieces: a change of one table rewrites one piece.
 */
#define FLO_TABLES_KEY "tables"

/* Each is a request to the broker: as many as it answers within seconds */
#define FLO_MAX_PIECES 4096

/* A role that definitions name, or a member of one */
typedef struct FloRoleShape
{
	char	   *name;
	bool		login;
	List	   *member_of;		/* of char *: others that are told of */
} FloRoleShape;

typedef struct FloTablesRecord
{
	char	   *mode;			/* as flo.replicators has it */
	bool		sync_schema;
	bool		schema_owner;	/* tables come with their owners */
	bool		track_ddl;
	int64		pieces;
	List	   *roles;			/* of FloRoleShape *, with sync_schema */
} FloTablesRecord;

typedef struct FloColumnShape
{
	char	   *name;
	char	   *type;			/* for people, with its modifier:
								 * "numeric(10,2)" */
	char	   *type_schema;	/* these for a type that is not built in; of
								 * an array, its element's */
	char	   *type_name;
	bool		array;
	char	   *base;			/* of a domain: the type below it */
	char	   *extension;		/* that the type belongs to */
	bool		not_null;
	bool		unsent;			/* generated, or not in the publication's
								 * column list */
} FloColumnShape;

typedef struct FloKeyShape
{
	List	   *columns;		/* of char * */
	bool		identity;		/* rows are found by it */
} FloKeyShape;

typedef struct FloTableShape
{
	uint32		relation;		/* OID at the source */
	char	   *schema;
	char	   *table;
	char	   *owner;			/* with schema_owner */
	bool		full;			/* REPLICA IDENTITY FULL */
	List	   *columns;		/* of FloColumnShape * */
	List	   *keys;			/* of FloKeyShape * */
} FloTableShape;

typedef struct FloTablesPiece
{
	int64		pieces;			/* another number than in "tables": it is of
								 * before or after that */
	XLogRecPtr	lsn;			/* the tables have been so since then at most */
	List	   *tables;			/* of FloTableShape * */
} FloTablesPiece;

extern char *flo_tables_key(int64 piece);

/*
 * "generation": which generations that of a replicator that began anew follows,
 * and whether all tables are copied afresh.
 */
#define FLO_GENERATION_KEY "generation"

typedef enum FloCopyAfresh
{
	FLO_COPY_NOTHING,			/* it goes on from now */
	FLO_COPY_ALL,				/* all are, after a marker */
	FLO_COPY_MISSING			/* they are not, so who has no copy gets none */
} FloCopyAfresh;

typedef struct FloGenerationRecord
{
	char		generation[FLO_UUID_BUF];
	List	   *follows;		/* of char *, oldest first */
	int			copy;			/* a FloCopyAfresh */
	XLogRecPtr	given_up;		/* what was committed from here */
	XLogRecPtr	start;			/* to here and is not at a destination does
								 * not come any more */
} FloGenerationRecord;

/* "copy": the copy that a generation begins with is published */
#define FLO_COPY_KEY "copy"

typedef struct FloCopyRecord
{
	char		generation[FLO_UUID_BUF];
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot */
	int64		tables;			/* so many have keys: one less was lost */
	List	   *again;			/* OIDs of tables that a crash left
								 * unfinished: they come with a marker */
} FloCopyRecord;

/* "copy.<oid>": all of a table is published */
#define FLO_COPY_TABLE_PREFIX "copy."

typedef struct FloCopyTableRecord
{
	char		generation[FLO_UUID_BUF];
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot */
	int64		chunks;			/* 0 = the table is gone */
	int64		rows;
	int64		bytes;			/* with TOAST, without indexes */
	uint32		relation;
	char	   *schema;
	char	   *table;
} FloCopyTableRecord;

extern char *flo_copy_table_key(Oid relation);

/*
 * "backfill": the rows of a table that one worker is to get, the newest of these; put
 * before its marker is in the stream
 */
#define FLO_BACKFILL_KEY "backfill"

typedef struct FloBackfillRecord
{
	char		generation[FLO_UUID_BUF];
	char	   *consumer;		/* of the worker */
	uint32		attempt;
	XLogRecPtr	lsn;			/* of the snapshot; 0 = not yet taken */
	uint32		relation;
	char	   *schema;
	char	   *table;
	bool		partial;		/* not all rows of the table */
	bool		published;		/* they are in the stream: then how many */
	bool		open;			/* they do not fit into it: may be taken
								 * before that */
	bool		over;			/* nothing comes of it any more */
	int64		chunks;
	int64		rows;
	int64		bytes;
} FloBackfillRecord;

/*
 * "attempt": which snapshot's rows come now, once definitions that come along are
 * there.  A table that was asked for, by a marker of this attempt or one before,
 * and is neither published nor in this list is not asked for any more.
 */
#define FLO_ATTEMPT_KEY "attempt"

typedef struct FloAttemptRecord
{
	char		generation[FLO_UUID_BUF];
	uint32		attempt;
	bool		definitions;
	bool		all;			/* all tables there are, the list is empty */
	List	   *tables;			/* OIDs */
} FloAttemptRecord;

/*
 * "plan", "plan-marked": the tables of a copy that a generation begins with, and of
 * one that a marker asks for, before the first row; a text in pieces.  For people,
 * who learn from it how much there is: without it a copy is just as exact.
 */
#define FLO_PLAN_KEY "plan"
#define FLO_MARKED_PLAN_KEY "plan-marked"

typedef struct FloPlannedTable
{
	uint32		relation;
	char	   *schema;
	char	   *table;
	int64		rows;			/* as the server estimates */
	int64		bytes;			/* with TOAST, without indexes */
} FloPlannedTable;

typedef struct FloPlanRecord
{
	List	   *tables;			/* of FloPlannedTable * */
} FloPlanRecord;

/* "schema", "schema-marked", "sequences", and the plans: a text of so many pieces, see stream.h */
typedef struct FloTextRecord
{
	char	   *generation;		/* what it belongs to */
	int64		pieces;
} FloTextRecord;

/*
 * "schema", "schema-marked": the text is a list of these, made with SQL here
 * and taken apart with SQL there
 */
typedef struct FloDefinition
{
	int			section;		/* before or after the rows */
	bool		rest;			/* no table needs it: it may be left out */
	bool		optional;		/* no row needs it: it may fail */
	char	   *lacks;			/* why it cannot come along; NULL: it can */
	char	   *object;			/* as people call it */
	uint32		part_of;		/* ordinal of the one it belongs to */
	uint32		of_table;		/* OID of the table of an index or key */
	char	   *type;			/* address of the object; NULL: it has none */
	List	   *names;
	List	   *args;
	char	   *definition;		/* to compare with one that is there */
	char	   *command;
} FloDefinition;

/* Throws 08P01 unless that is what the text holds */
extern void flo_definitions_check(const char *key, const char *json);

extern const FloRecordFormat flo_source_format;
extern const FloRecordFormat flo_tracked_format;
extern const FloRecordFormat flo_tables_format;
extern const FloRecordFormat flo_tables_piece_format;
extern const FloRecordFormat flo_generation_format;
extern const FloRecordFormat flo_copy_format;
extern const FloRecordFormat flo_copy_table_format;
extern const FloRecordFormat flo_backfill_format;
extern const FloRecordFormat flo_attempt_format;
extern const FloRecordFormat flo_plan_format;
extern const FloRecordFormat flo_text_format;

/* The key's document, as the struct of the format */
extern void *flo_records_get(FloBus *bus, const char *bucket, const char *key,
							 const FloRecordFormat *format);

/* NULL also when what is there cannot be read, as what we have not written */
extern void *flo_records_get_readable(FloBus *bus, const char *bucket, const char *key,
									  const FloRecordFormat *format);

/* Stored for certain when "wait", else fire and forget */
extern void flo_records_put(FloBus *bus, const char *bucket, const char *key,
							const FloRecordFormat *format, const void *record, bool wait);

/* Those that a copy writes; NULL also when they are of another generation */
extern FloCopyRecord *flo_records_copy(FloBus *bus, const char *bucket, const char *generation);

/* OIDs of those that have keys */
extern List *flo_records_copied_tables(FloBus *bus, const char *bucket, const char *generation);

extern FloBackfillRecord *flo_records_backfill(FloBus *bus, const char *bucket,
											   const char *generation);
extern FloAttemptRecord *flo_records_attempt(FloBus *bus, const char *bucket,
											 const char *generation);
extern FloCopyTableRecord *flo_records_copy_table(FloBus *bus, const char *bucket, Oid relation,
												  const char *generation);

/*
 * "worker.<consumer>": what a worker has made durable.  The only evidence for
 * releasing WAL and purging.
 */
#define FLO_REPORT_PREFIX "worker."

typedef struct FloWorkerReport
{
	char	   *consumer;		/* from the key */
	char	   *worker;
	uint64		system_identifier;	/* of the destination */
	char	   *database;
	char		generation[FLO_UUID_BUF];	/* "" before the first message was
											 * seen */
	XLogRecPtr	lsn;			/* durable position; InvalidXLogRecPtr: none
								 * yet */
	uint64		seq;			/* stream sequence up to which nothing is
								 * needed any more */
	uint64		copied_seq;		/* sequence of the copy stream up to which it
								 * needs nothing */
	bool		copying;		/* the copy that it begins with is not in yet */
	bool		awaits_resync;	/* that copy cannot be had: nothing of this
								 * generation need be kept for it */
	uint32		missing_chunks; /* OID of a table whose copied chunks are
								 * lost, 0 = none */
	uint32		missing_attempt;	/* of its copy */
	uint32		copy_attempt;	/* of the newest marker whose tables it has */
	bool		compares;		/* it knows markers of comparisons, and its
								 * sink has tables */
	bool		backfills;		/* it knows markers of backfills, and its sink
								 * writes events */
	bool		pieces;			/* it reads transactions that travel before
								 * their commit */
	bool		pglz;			/* it reads values compressed so, */
	bool		lz4;			/* or so */
	bool		lz4_chunks;		/* and chunks whose records are compressed */
	uint32		backfilled;		/* attempt of the newest one that it is
								 * through with; 0 = none */
	char	   *left_out;		/* why it has not taken that one's rows; NULL:
								 * it has */
	uint32		backfilling;	/* attempt whose rows it takes now; 0 = none */
	uint64		backfill_seq;	/* sequence of that one's stream up to which
								 * it needs nothing */
	TimestampTz at;
	bool		former;			/* not written: it is of pg_flo 0.1 */
} FloWorkerReport;

extern char *flo_report_key(const char *consumer);
extern char *flo_report_format(const FloWorkerReport *report);

/*
 * "key" alone or as the subject it is published under; NULL when it is not a
 * worker's.  One that cannot be read is told with a WARNING (08P01, 0A000 for a
 * later version), and is a report of somebody who has nothing yet.
 */
extern FloWorkerReport *flo_report_read(const char *key, const char *value);

/* All of the bucket: List of FloWorkerReport * */
extern List *flo_reports(FloBus *bus, const char *bucket);

#endif
