/*
 * change.h
 *		Logical replication protocol messages, parsed without copying.
 *
 * The bytes are those of PostgreSQL's "Logical Replication Message Formats",
 * protocol version 2 without streaming.  Pointers in the result point into
 * the message, those of values that came compressed to memory of the parser's;
 * that and the arrays are reused by the next call.  A value's byte after the
 * end (data[len]) may be overwritten by the reader and must be restored: that
 * lets text go to input functions in place.
 */
#ifndef FLO_CHANGE_H
#define FLO_CHANGE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef enum FloOp
{
	FLO_OP_BEGIN = 'B',
	FLO_OP_COMMIT = 'C',
	FLO_OP_ORIGIN = 'O',
	FLO_OP_RELATION = 'R',
	FLO_OP_TYPE = 'Y',
	FLO_OP_INSERT = 'I',
	FLO_OP_UPDATE = 'U',
	FLO_OP_DELETE = 'D',
	FLO_OP_TRUNCATE = 'T',
	FLO_OP_MESSAGE = 'M',

	/* of transactions that travel before their commit, see piece.h */
	FLO_OP_SUBTRANSACTION = 's',
	FLO_OP_VOID = 'A',
	FLO_OP_PIECE_COMMIT = 'c'
} FloOp;

/* First record of a piece, and nowhere else */
#define FLO_PIECE_KEY_LETTER 'S'

#define FLO_VALUE_NULL		'n'
#define FLO_VALUE_UNCHANGED	'u' /* unchanged TOAST value, not sent */
#define FLO_VALUE_TEXT		't'
#define FLO_VALUE_BINARY	'b'
#define FLO_VALUE_COMPRESSED	'z' /* on the wire alone: text or binary, see
									 * compressed.h */

typedef struct FloValue
{
	char		kind;			/* FLO_VALUE_* */
	uint32		len;
	char	   *data;
} FloValue;

typedef struct FloTuple
{
	int			natts;
	FloValue   *values;
	struct FloCompressed *compressed;	/* the form that some of them came in */
} FloTuple;

typedef struct FloColumn
{
	char	   *name;
	Oid			type;			/* OID in the source database */
	int32		typmod;
	bool		is_key;			/* part of the replica identity */

	/* what type the OID stands for; NULL for a type every server has */
	char	   *type_schema;
	char	   *type_name;		/* of a domain, the type below it */

	char	   *source_name;	/* the source's name when a route has given
								 * another; else NULL */
} FloColumn;

/* A source table as an 'R' message describes it */
typedef struct FloRelation
{
	uint32		id;				/* OID in the source database */
	char	   *schema;
	char	   *name;
	char		identity;		/* REPLICA_IDENTITY_* */
	int			natts;
	FloColumn  *columns;
	uint64		version;		/* changes whenever the definition did */
	const struct FloRelation *source;	/* what a route has made this from;
										 * else NULL */
} FloRelation;

/* One table of a TRUNCATE */
typedef struct FloTruncated
{
	const FloRelation *relation;
	const char *part;			/* NULL: all of it; else the partition that
								 * was truncated alone, see partition.h */
} FloTruncated;

typedef struct FloChange
{
	FloOp		op;

	/*
	 * BEGIN: final_lsn, time, xid.  COMMIT: final_lsn, end_lsn, time.
	 * PIECE_COMMIT: all of these, and the number of pieces.  VOID: xid and
	 * subxid, SUBTRANSACTION: subxid.
	 */
	XLogRecPtr	final_lsn;		/* start of the commit record */
	XLogRecPtr	end_lsn;		/* end of the commit record */
	TimestampTz commit_time;
	TransactionId xid;
	TransactionId subxid;
	uint32		npieces;

	/* INSERT, UPDATE, DELETE */
	const FloRelation *relation;
	bool		has_old;
	bool		old_is_key;		/* old holds only the replica identity's
								 * columns */
	FloTuple	old;
	FloTuple	new;

	/* TRUNCATE */
	int			ntruncated;
	FloTruncated *truncated;
	bool		restart_identity;

	/* MESSAGE (logical decoding message) */
	const char *prefix;
	const char *content;
	uint32		content_len;
} FloChange;

/* Flags of a TRUNCATE message; the last is pg_flo's own, see README.md */
#define FLO_TRUNCATE_CASCADE	0x01
#define FLO_TRUNCATE_RESTART	0x02
#define FLO_TRUNCATE_PARTS		0x20
#define FLO_TRUNCATE_PARTITION_OF_0_1	0x40

typedef struct FloChangeParser FloChangeParser;

/* "encoding" is the chunk's: names are converted to the server's encoding */
extern FloChangeParser *flo_change_parser_create(MemoryContext context);
extern void flo_change_set_encoding(FloChangeParser *parser, int encoding);

/* The messages to come are those of another chunk */
extern void flo_change_begin_chunk(FloChangeParser *parser);

/*
 * Called for each relation that is forgotten, by its OID in the source, while
 * it is still there.
 */
typedef void (*FloChangeForgotten) (void *arg, uint32 relation);

/*
 * Forget relations that have not been described of late, if the memory for
 * what the process knows of tables is used up; mostly does nothing.  Measured
 * is the parser's context with all below it and the server's caches.  To be
 * called where nothing refers to a relation but by what this chunk says: between
 * source transactions and with nothing left to write.
 */
extern void flo_change_make_room(FloChangeParser *parser, FloChangeForgotten forgotten, void *arg);

/* Forget all but what the chunk at hand has described */
extern void flo_change_forget(FloChangeParser *parser, FloChangeForgotten forgotten, void *arg);

/*
 * Parse one message.  'R' and 'Y' update the parser's relation cache (cheap
 * when the bytes are those already known).  Throws 08P01 for malformed bytes
 * and for a change of a relation never described.
 */
extern const FloChange *flo_change_parse(FloChangeParser *parser, char *data, uint32 len);

/* The relation with this OID as last described; throws 08P01 when it never was */
extern const FloRelation *flo_change_relation(FloChangeParser *parser, uint32 id);

/* A version that no relation has had yet, for one that is made otherwise */
extern uint64 flo_relation_new_version(void);

#endif
