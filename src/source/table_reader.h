/*
 * table_reader.h
 *		Reads tables under a snapshot as they are published: column list, row filter
 *		and rules of the replicator are applied, and a row is the INSERT message that
 *		decoding would have made of it.
 */
#ifndef FLO_TABLE_READER_H
#define FLO_TABLE_READER_H

#include "access/attmap.h"
#include "access/tableam.h"
#include "lib/stringinfo.h"
#include "monitor/tally.h"
#include "nodes/execnodes.h"
#include "shape/shape.h"
#include "source/row_writer.h"
#include "storage/block.h"
#include "utils/relcache.h"
#include "wire/change.h"

/* One process, one snapshot, which is active */
typedef struct FloTableReader
{
	const char *group;
	const char *purpose;		/* "copy": what begins again when a table was
								 * changed */
	bool		text;			/* no value in binary form */
	int			methods;		/* how values may be compressed (compressed.h) */
	const char *where;			/* a condition; NULL = all rows */
	Oid			owner;			/* of the group: evaluates it */

	/*
	 * rules that are executed before anything leaves, as the snapshot shows
	 * them
	 */
	FloChangeParser *parser;
	FloShape   *shape;
	char	   *fingerprint;	/* of the rules */
	StringInfoData message;		/* the row at hand */
	StringInfoData shaped;
} FloTableReader;

/* The table being read, as the publication wants it */
typedef struct FloReading
{
	Relation	relation;		/* its pages are read */
	Relation	published;		/* its columns are sent */
	Bitmapset  *columns;		/* NULL = all */
	ExprState  *filter;			/* NULL = all rows */
	ExprState  *where;			/* the same */
	bool		guarded;		/* that may run code of users */
	EState	   *estate;
	ExprContext *econtext;
	AttrMap    *map;			/* from the one to the other, NULL = the same */
	TupleTableSlot *read;
	TupleTableSlot *mapped;
	FloRowWriter *writer;
	bool		shaped;			/* rules concern it, or the condition: read
								 * again it may be another one */
	bool		ruled;			/* rules do */
	char	   *description;	/* its 'Y' and 'R' records */
	int			description_len;
} FloReading;

/* Its memory lives in "context", which is the process's or the transaction's */
extern void flo_table_reader_open(FloTableReader *reader, MemoryContext context, const char *group,
								  const char *purpose, bool text);

/* 40001 when the rules are others by now */
extern void flo_table_reader_check_rules(FloTableReader *reader);

/*
 * Lock a table to the end of the transaction and describe it.  It must still have
 * the file that the snapshot knows (InvalidOid: any); "published" is it or its partition root.
 * 55P03, 40001.
 */
extern void flo_reading_begin(FloTableReader *reader, FloReading *r, Oid relation, Oid published,
							  Oid filenode);
extern void flo_reading_end(FloReading *r);

/* The table as its description says; until the next row */
extern const FloRelation *flo_reading_description(FloTableReader *reader, FloReading *r);

/* Its pages from "first" to before "end", InvalidBlockNumber = all that come */
extern TableScanDesc flo_reading_scan(FloReading *r, BlockNumber first, BlockNumber end);

typedef enum FloRowIs
{
	FLO_ROW_UNPUBLISHED,		/* by the row filter, or not asked for */
	FLO_ROW_DROPPED,			/* by a rule */
	FLO_ROW_READ				/* it is in reader->message */
} FloRowIs;

/* The row in r->read, in the current memory context, which may be reset then */
extern FloRowIs flo_reading_row(FloTableReader *reader, FloReading *r);

#endif
