/*
 * change.c
 *		Parser of the logical replication protocol, version 2 without streaming.
 *
 * Turns one message of pgoutput into a FloChange without copying: values
 * point into the message, and the arrays that hold them belong to the parser
 * and only ever grow, so that a row costs no allocation.  Values that come
 * compressed are expanded, once, for everybody.  Every length is
 * checked against what is left of the message before it is used, since the
 * bytes come from the network; whatever does not fit is an error 08P01.
 *
 * Relations are remembered by their OID in the source database.  Chunks are
 * self-contained, so the same 'R' message comes again and again: it is
 * compared as raw bytes and costs nothing when it is the one already known.
 * When it is not, the FloRelation keeps its address, but its contents and its
 * version change.  Versions are unique in the process, also over parsers, so
 * that a reader may keep what it derived from a relation by version alone.
 *
 * Readers remember more of a relation, by its OID.  When the memory for all
 * this is used up, relations not seen of late are forgotten, by the readers
 * as well: chunks are self-contained, so they are described again before they
 * are needed again.
 *
 * Names are converted to the server's encoding.  When that differs from the
 * source's, parsing needs a transaction (or client_encoding set to the
 * source's), because the conversion function is looked up in the catalogs.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "core/memory.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "wire/change.h"
#include "wire/compressed.h"

/* Bits in the messages */
#define FLO_COLUMN_IS_KEY		0x01

/* Fewest bytes an element takes: bounds counts before memory is taken */
#define FLO_MIN_COLUMN_SIZE		10	/* flags, empty name, type, typmod */

typedef struct FloRelationEntry
{
	uint32		id;				/* hash key */
	char		status;			/* for simplehash */
	FloRelation *relation;
	int			encoding;
	uint64		types_version;
	uint64		chunk;			/* the last that described it */
	uint32		raw_len;
	char	   *raw;			/* the message this was read from */
	MemoryContext context;		/* holds raw, names and columns */
} FloRelationEntry;

/* What a 'Y' message says */
typedef struct FloTypeEntry
{
	Oid			type;			/* in the source database; hash key */
	char	   *schema;
	char	   *name;
} FloTypeEntry;

#define FLO_BY_ID flo_relations
#define FLO_BY_ID_ENTRY FloRelationEntry
#include "core/byid.h"

struct FloChangeParser
{
	MemoryContext context;
	int			encoding;
	flo_relations_hash *relations;
	const FloRelation *last;	/* the relation of the change before */
	HTAB	   *types;
	MemoryContext types_context;	/* holds their names */
	uint64		types_version;	/* counts types that got another name */

	/* what may be forgotten */
	uint64		chunk;			/* counts chunks */
	FloRoom    *room;			/* for relations */

	/* the result, and the room behind its arrays */
	FloChange	change;
	int			old_room;
	int			new_room;
	int			truncated_room;
	MemoryContext expanded_context; /* of values that came compressed */
	uint64		expanded;		/* their bytes */
	MemoryContext truncated_context;	/* of the parts of the last TRUNCATE */
};

/* What is left of a message */
typedef struct FloCursor
{
	char	   *next;
	char	   *end;
	char		op;
} FloCursor;


/* Relations described in so many chunks before are the last to go */
#define KEPT_CHUNKS 64

static uint64 last_version = 0;

static void
malformed(const FloCursor *cursor, const char *what)
{
	if (isalpha((unsigned char) cursor->op))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("malformed logical replication message of type \"%c\": %s",
						cursor->op, what)));
	else
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("malformed logical replication message of type 0x%02X: %s",
						(unsigned char) cursor->op, what)));
}

static inline void
need(const FloCursor *cursor, uint32 bytes)
{
	if (unlikely((size_t) (cursor->end - cursor->next) < bytes))
		malformed(cursor, "it ends too early");
}

static inline uint8
take_byte(FloCursor *cursor)
{
	need(cursor, 1);
	return (uint8) *cursor->next++;
}

static inline uint16
take_uint16(FloCursor *cursor)
{
	uint16		value;

	need(cursor, sizeof(value));
	memcpy(&value, cursor->next, sizeof(value));
	cursor->next += sizeof(value);
	return pg_ntoh16(value);
}

static inline uint32
take_uint32(FloCursor *cursor)
{
	uint32		value;

	need(cursor, sizeof(value));
	memcpy(&value, cursor->next, sizeof(value));
	cursor->next += sizeof(value);
	return pg_ntoh32(value);
}

static inline uint64
take_uint64(FloCursor *cursor)
{
	uint64		value;

	need(cursor, sizeof(value));
	memcpy(&value, cursor->next, sizeof(value));
	cursor->next += sizeof(value);
	return pg_ntoh64(value);
}

static char *
take_string(FloCursor *cursor)
{
	char	   *start = cursor->next;
	char	   *zero = memchr(start, '\0', cursor->end - start);

	if (zero == NULL)
		malformed(cursor, "a string has no end");
	cursor->next = zero + 1;
	return start;
}

static inline void
take_end(const FloCursor *cursor)
{
	if (unlikely(cursor->next != cursor->end))
		malformed(cursor, "bytes are left over");
}

static void
create_types(FloChangeParser *parser)
{
	HASHCTL		control = {0};

	parser->types_context = AllocSetContextCreate(parser->context, "pg_flo source types",
												  ALLOCSET_SMALL_SIZES);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(FloTypeEntry);
	control.hcxt = parser->types_context;
	parser->types = hash_create("pg_flo source types", 16, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

FloChangeParser *
flo_change_parser_create(MemoryContext context)
{
	FloChangeParser *parser = MemoryContextAllocZero(context, sizeof(FloChangeParser));

	parser->context = context;
	parser->encoding = GetDatabaseEncoding();
	parser->relations = flo_relations_create(context, 64, NULL);
	parser->room = flo_room_create(context);
	parser->expanded_context = AllocSetContextCreate(context, "pg_flo expanded values",
													 ALLOCSET_SMALL_SIZES);
	create_types(parser);
	return parser;
}

void
flo_change_begin_chunk(FloChangeParser *parser)
{
	parser->chunk++;
}

/* The values of the message before */
static inline void
forget_expanded(FloChangeParser *parser)
{
	if (likely(parser->expanded_context->isReset))
		return;
	MemoryContextReset(parser->expanded_context);
	parser->expanded = 0;
}

/* Types went, or are others: relations are read anew when they are described again */
static void
forget_types(FloChangeParser *parser)
{
	MemoryContextDelete(parser->types_context);
	create_types(parser);
	parser->types_version++;
}

static void
forget_relation(FloChangeParser *parser, FloRelationEntry *entry)
{
	if (parser->last == entry->relation)
		parser->last = NULL;
	MemoryContextDelete(entry->context);
	pfree(entry->relation);
	flo_relations_delete(parser->relations, entry->id);
}

/* Those that the last "keep" chunks have not described; 0: nor has the one at hand */
static void
forget_relations(FloChangeParser *parser, uint64 keep, FloChangeForgotten forgotten, void *arg)
{
	flo_relations_iterator iterator;
	FloRelationEntry *entry;
	List	   *unused = NIL;
	ListCell   *cell;

	flo_relations_start_iterate(parser->relations, &iterator);
	while ((entry = flo_relations_iterate(parser->relations, &iterator)) != NULL)
		if (entry->chunk + keep < parser->chunk)
			unused = lappend_oid(unused, entry->id);
	foreach(cell, unused)
	{
		forgotten(arg, lfirst_oid(cell));
		forget_relation(parser, flo_relations_lookup(parser->relations, lfirst_oid(cell)));
	}
	list_free(unused);
}

void
flo_change_forget(FloChangeParser *parser, FloChangeForgotten forgotten, void *arg)
{
	forget_relations(parser, 0, forgotten, arg);
	forget_types(parser);
	flo_room_made(parser->room, 0);
}

void
flo_change_make_room(FloChangeParser *parser, FloChangeForgotten forgotten, void *arg)
{
	/* what is measured is tables */
	forget_expanded(parser);
	if (!flo_room_is_needed(parser->room, 0))
		return;
	forget_relations(parser, KEPT_CHUNKS, forgotten, arg);
	if (flo_room_is_short(parser->room, 0))
		flo_change_forget(parser, forgotten, arg);
	else
		flo_room_made(parser->room, 0);
}

void
flo_change_set_encoding(FloChangeParser *parser, int encoding)
{
	if (!PG_VALID_ENCODING(encoding))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("unknown character encoding %d in a chunk", encoding)));
	parser->encoding = encoding;
}

/* A name in the server's encoding, in the current memory context */
static char *
take_name(FloChangeParser *parser, FloCursor *cursor)
{
	char	   *raw = take_string(cursor);
	char	   *name = pg_any_to_server(raw, strlen(raw), parser->encoding);

	return (name == raw) ? pstrdup(raw) : name;
}

/* The protocol's way to say pg_catalog is to say nothing */
static char *
take_schema(FloChangeParser *parser, FloCursor *cursor)
{
	char	   *name = take_name(parser, cursor);

	return name[0] != '\0' ? name : pstrdup("pg_catalog");
}

/*
 * A 'Y' message.  It comes before the relation that uses the type; relations
 * that use it and are known already are read again if its name has changed.
 */
static void
parse_type(FloChangeParser *parser, FloCursor *cursor)
{
	Oid			type = take_uint32(cursor);
	char	   *schema = take_schema(parser, cursor);
	char	   *name = take_name(parser, cursor);
	FloTypeEntry *entry = hash_search(parser->types, &type, HASH_FIND, NULL);
	char	   *own_schema;
	char	   *own_name;

	if (entry != NULL && strcmp(entry->schema, schema) == 0 && strcmp(entry->name, name) == 0)
		return;
	own_schema = MemoryContextStrdup(parser->types_context, schema);
	own_name = MemoryContextStrdup(parser->types_context, name);
	if (entry != NULL)
	{
		parser->types_version++;
		pfree(entry->schema);
		pfree(entry->name);
	}
	else
		entry = hash_search(parser->types, &type, HASH_ENTER, NULL);
	entry->schema = own_schema;
	entry->name = own_name;
}

/* Read what is described behind the OID, in the current memory context */
static void
read_relation(FloChangeParser *parser, FloCursor *cursor, FloRelation *relation)
{
	relation->schema = take_schema(parser, cursor);
	relation->name = take_name(parser, cursor);
	relation->identity = (char) take_byte(cursor);
	if (relation->identity != REPLICA_IDENTITY_DEFAULT &&
		relation->identity != REPLICA_IDENTITY_NOTHING &&
		relation->identity != REPLICA_IDENTITY_FULL &&
		relation->identity != REPLICA_IDENTITY_INDEX)
		malformed(cursor, "unknown replica identity");

	relation->natts = take_uint16(cursor);
	need(cursor, (uint32) relation->natts * FLO_MIN_COLUMN_SIZE);
	relation->columns = palloc0(Max(relation->natts, 1) * sizeof(FloColumn));
	for (int i = 0; i < relation->natts; i++)
	{
		FloColumn  *column = &relation->columns[i];
		FloTypeEntry *type;

		column->is_key = (take_byte(cursor) & FLO_COLUMN_IS_KEY) != 0;
		column->name = take_name(parser, cursor);
		column->type = take_uint32(cursor);
		column->typmod = (int32) take_uint32(cursor);
		type = hash_search(parser->types, &column->type, HASH_FIND, NULL);
		if (type != NULL)
		{
			column->type_schema = pstrdup(type->schema);
			column->type_name = pstrdup(type->name);
		}
	}
	take_end(cursor);
}

uint64
flo_relation_new_version(void)
{
	return ++last_version;
}

/*
 * An 'R' message.  The new definition is read completely before the old one
 * goes, so that a malformed message leaves the cache as it was.
 */
static const FloRelation *
parse_relation(FloChangeParser *parser, FloCursor *cursor)
{
	char	   *raw = cursor->next;
	uint32		raw_len = cursor->end - cursor->next;
	uint32		id = take_uint32(cursor);
	FloRelationEntry *entry = flo_relations_lookup(parser->relations, id);
	FloRelation definition = {0};
	MemoryContext context;
	MemoryContext old_context;
	char	   *raw_copy;
	bool		found;

	if (entry && entry->encoding == parser->encoding &&
		entry->types_version == parser->types_version && entry->raw_len == raw_len &&
		memcmp(entry->raw, raw, raw_len) == 0)
	{
		entry->chunk = parser->chunk;
		return entry->relation;
	}

	/* Lives below the caller's context until nothing can fail any more */
	context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo source relation",
									ALLOCSET_SMALL_SIZES);
	old_context = MemoryContextSwitchTo(context);
	definition.id = id;
	read_relation(parser, cursor, &definition);
	raw_copy = palloc(Max(raw_len, 1));
	memcpy(raw_copy, raw, raw_len);
	MemoryContextSwitchTo(old_context);

	entry = flo_relations_insert(parser->relations, id, &found);
	if (found)
		MemoryContextDelete(entry->context);
	else
		entry->relation = MemoryContextAlloc(parser->context, sizeof(FloRelation));
	MemoryContextSetParent(context, parser->context);
	definition.version = flo_relation_new_version();
	flo_room_note(parser->room, id);
	*entry->relation = definition;
	entry->context = context;
	entry->encoding = parser->encoding;
	entry->types_version = parser->types_version;
	entry->chunk = parser->chunk;
	entry->raw = raw_copy;
	entry->raw_len = raw_len;
	return entry->relation;
}

static const FloRelation *
find_relation(FloChangeParser *parser, uint32 id)
{
	FloRelationEntry *entry;

	if (likely(parser->last != NULL && parser->last->id == id))
		return parser->last;

	entry = flo_relations_lookup(parser->relations, id);
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a change names relation %u, which no message has described", id)));
	parser->last = entry->relation;
	return entry->relation;
}

const FloRelation *
flo_change_relation(FloChangeParser *parser, uint32 id)
{
	return find_relation(parser, id);
}

static void
grow_values(FloChangeParser *parser, FloTuple *tuple, int *room, int natts)
{
	int			new_room = Max(natts, 32);

	if (tuple->values)
		pfree(tuple->values);
	tuple->values = NULL;
	*room = 0;
	tuple->values = MemoryContextAlloc(parser->context, new_room * sizeof(FloValue));
	*room = new_room;
}

/*
 * A value as the source's server has compressed it, or as it is when that gains nothing:
 * from here on it is of the kind that it names
 */
static void
parse_compressed(FloChangeParser *parser, FloCursor *cursor, FloTuple *tuple, FloValue *value)
{
	char		kind = (char) take_byte(cursor);
	char		letter = (char) take_byte(cursor);
	uint32		plain_len = take_uint32(cursor);
	uint32		len = take_uint32(cursor);
	FloCompressed *compressed;
	MemoryContext old;

	need(cursor, len);
	if (kind != FLO_VALUE_TEXT && kind != FLO_VALUE_BINARY)
		malformed(cursor, "unknown kind of compressed value");
	parser->expanded += plain_len > len ? plain_len : 0;
	if (parser->expanded > FLO_EXPANDED_MAX)
		malformed(cursor, "its compressed values are too large");
	old = MemoryContextSwitchTo(parser->expanded_context);
	compressed = flo_compressed_read(letter, cursor->next, len, plain_len);
	MemoryContextSwitchTo(old);
	if (compressed == NULL)
		malformed(cursor, "a compressed value cannot be expanded");
	cursor->next += len;
	compressed->next = tuple->compressed;
	tuple->compressed = compressed;
	value->kind = kind;
	value->len = plain_len;
	value->data = compressed->plain;
}

static void
parse_tuple(FloChangeParser *parser, FloCursor *cursor, const FloRelation *relation,
			FloTuple *tuple, int *room)
{
	int			natts = take_uint16(cursor);
	FloValue   *value;
	FloValue   *end;

	if (unlikely(natts != relation->natts))
		malformed(cursor, "a row's column count is not its relation's");
	need(cursor, natts);
	if (unlikely(natts > *room))
		grow_values(parser, tuple, room, natts);

	tuple->natts = natts;
	tuple->compressed = NULL;
	for (value = tuple->values, end = value + natts; value < end; value++)
	{
		value->kind = (char) take_byte(cursor);
		switch (value->kind)
		{
			case FLO_VALUE_NULL:
			case FLO_VALUE_UNCHANGED:
				value->len = 0;
				value->data = NULL;
				break;
			case FLO_VALUE_TEXT:
			case FLO_VALUE_BINARY:
				value->len = take_uint32(cursor);
				need(cursor, value->len);
				value->data = cursor->next;
				cursor->next += value->len;
				break;
			case FLO_VALUE_COMPRESSED:
				parse_compressed(parser, cursor, tuple, value);
				break;
			default:
				malformed(cursor, "unknown kind of value");
		}
	}
}

static void
parse_insert(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;

	change->relation = find_relation(parser, take_uint32(cursor));
	change->has_old = false;
	if (take_byte(cursor) != 'N')
		malformed(cursor, "the new row is missing");
	parse_tuple(parser, cursor, change->relation, &change->new, &parser->new_room);
}

static void
parse_old(FloChangeParser *parser, FloCursor *cursor, uint8 kind)
{
	FloChange  *change = &parser->change;

	change->has_old = true;
	change->old_is_key = (kind == 'K');
	parse_tuple(parser, cursor, change->relation, &change->old, &parser->old_room);
}

static void
parse_update(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;
	uint8		kind;

	change->relation = find_relation(parser, take_uint32(cursor));
	change->has_old = false;
	kind = take_byte(cursor);
	if (kind == 'K' || kind == 'O')
	{
		parse_old(parser, cursor, kind);
		kind = take_byte(cursor);
	}
	if (kind != 'N')
		malformed(cursor, "the new row is missing");
	parse_tuple(parser, cursor, change->relation, &change->new, &parser->new_room);
}

static void
parse_delete(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;
	uint8		kind;

	change->relation = find_relation(parser, take_uint32(cursor));
	kind = take_byte(cursor);
	if (kind != 'K' && kind != 'O')
		malformed(cursor, "the old row is missing");
	parse_old(parser, cursor, kind);
}

/* For each table the partition of it that was truncated alone, or nothing */
static void
parse_parts(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;
	MemoryContext old;

	if (parser->truncated_context == NULL)
		parser->truncated_context = AllocSetContextCreate(parser->context,
														  "pg_flo truncated partitions",
														  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(parser->truncated_context);
	old = MemoryContextSwitchTo(parser->truncated_context);
	for (int i = 0; i < change->ntruncated; i++)
	{
		char	   *part = take_name(parser, cursor);

		if (part[0] != '\0')
			change->truncated[i].part = part;
	}
	MemoryContextSwitchTo(old);
}

static void
parse_truncate(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;
	uint32		count = take_uint32(cursor);
	uint8		flags = take_byte(cursor);

	if (count > (cursor->end - cursor->next) / sizeof(uint32))
		malformed(cursor, "it ends too early");
	if (flags & FLO_TRUNCATE_PARTITION_OF_0_1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a partition was truncated at a source with pg_flo 0.1, which does not say which rows were in it"),
				 errhint("Truncate it here by hand, and pass over the transaction with flo.skip().")));
	if (flags & ~(FLO_TRUNCATE_CASCADE | FLO_TRUNCATE_RESTART | FLO_TRUNCATE_PARTS))
		malformed(cursor, "unknown flags");
	if (count > parser->truncated_room)
	{
		parser->truncated_room = 0;
		change->truncated = MemoryContextAlloc(parser->context, count * sizeof(FloTruncated));
		parser->truncated_room = count;
	}

	change->restart_identity = (flags & FLO_TRUNCATE_RESTART) != 0;
	change->ntruncated = count;
	for (uint32 i = 0; i < count; i++)
	{
		change->truncated[i].relation = find_relation(parser, take_uint32(cursor));
		change->truncated[i].part = NULL;
	}
	if (flags & FLO_TRUNCATE_PARTS)
		parse_parts(parser, cursor);
}

static void
parse_message(FloChangeParser *parser, FloCursor *cursor)
{
	FloChange  *change = &parser->change;

	(void) take_byte(cursor);	/* flags: transactional */
	(void) take_uint64(cursor); /* its LSN */
	change->prefix = take_string(cursor);
	change->content_len = take_uint32(cursor);
	need(cursor, change->content_len);
	change->content = cursor->next;
	cursor->next += change->content_len;
}

static void
parse_begin(FloChange *change, FloCursor *cursor)
{
	change->final_lsn = take_uint64(cursor);
	change->commit_time = (TimestampTz) take_uint64(cursor);
	change->xid = take_uint32(cursor);
	change->end_lsn = InvalidXLogRecPtr;
}

static void
parse_commit(FloChange *change, FloCursor *cursor)
{
	if (take_byte(cursor) != 0)
		malformed(cursor, "unknown flags");
	change->final_lsn = take_uint64(cursor);
	change->end_lsn = take_uint64(cursor);
	change->commit_time = (TimestampTz) take_uint64(cursor);
}

static TransactionId
take_xid(FloCursor *cursor)
{
	TransactionId xid = take_uint32(cursor);

	if (!TransactionIdIsNormal(xid))
		malformed(cursor, "there is no such transaction");
	return xid;
}

/* A transaction that travelled in pieces has come to its end */
static void
parse_piece_commit(FloChange *change, FloCursor *cursor)
{
	change->xid = take_xid(cursor);
	parse_commit(change, cursor);
	change->npieces = take_uint32(cursor);
	if (change->npieces == 0)
		malformed(cursor, "it has no pieces");
}

/*
 * Every parser has to take all of its bytes: what is left over is an error, as pieces
 * of a record that were put together wrongly would look like.  Nothing is kept of a
 * message that turns out to be malformed.
 */
const FloChange *
flo_change_parse(FloChangeParser *parser, char *data, uint32 len)
{
	FloChange  *change = &parser->change;
	FloCursor	cursor;

	forget_expanded(parser);
	cursor.next = data;
	cursor.end = data + len;
	cursor.op = '?';
	cursor.op = (char) take_byte(&cursor);

	change->op = (FloOp) cursor.op;
	switch (cursor.op)
	{
		case FLO_OP_INSERT:
			parse_insert(parser, &cursor);
			break;
		case FLO_OP_UPDATE:
			parse_update(parser, &cursor);
			break;
		case FLO_OP_DELETE:
			parse_delete(parser, &cursor);
			break;
		case FLO_OP_BEGIN:
			parse_begin(change, &cursor);
			break;
		case FLO_OP_COMMIT:
			parse_commit(change, &cursor);
			break;
		case FLO_OP_RELATION:
			/* reads to the end itself, or knows the bytes already */
			change->relation = parse_relation(parser, &cursor);
			return change;
		case FLO_OP_TYPE:
			parse_type(parser, &cursor);
			break;
		case FLO_OP_ORIGIN:
			(void) take_uint64(&cursor);
			(void) take_string(&cursor);
			break;
		case FLO_OP_TRUNCATE:
			parse_truncate(parser, &cursor);
			break;
		case FLO_OP_MESSAGE:
			parse_message(parser, &cursor);
			break;
		case FLO_OP_SUBTRANSACTION:
			change->subxid = take_xid(&cursor);
			break;
		case FLO_OP_VOID:
			change->xid = take_xid(&cursor);
			change->subxid = take_xid(&cursor);
			break;
		case FLO_OP_PIECE_COMMIT:
			parse_piece_commit(change, &cursor);
			break;
		default:
			malformed(&cursor, "unknown type");
	}
	take_end(&cursor);
	return change;
}
