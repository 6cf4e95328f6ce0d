/*
 * row_writer.c
 *		Rows as messages of the logical replication protocol.
 *
 * The bytes are those that pgoutput writes, but for values that may travel as they
 * are compressed (compressed.h).  It looks up each column's type for
 * each row and calls the type's function, which takes memory for its result;
 * here that is looked up once for a table, and the values that most columns have
 * go straight into the message.  What is done so depends on the function that
 * pgoutput would call, so that it holds for domains and for types of users whose
 * function is the server's.
 *
 * Functions of the server are prepared once, and may remember what they found of
 * a user's type; other functions are looked up for each value, as pgoutput does.
 *
 * pg_flo.row_writer = check compares each row with pgoutput's own (decoder.c).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/toast_compression.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/compat.h"
#include "core/compat_slot.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "source/row_writer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/uuid.h"
#include "wire/change.h"
#include "wire/compressed.h"

/* The longest value that is written without asking for room, with what stands before it */
#define FIXED_ROOM (1 + sizeof(uint32) + MAXINT8LEN + 1)

/* Before the first value: operation, relation, kind of row, number of columns */
#define HEAD_ROOM (1 + sizeof(uint32) + 1 + sizeof(uint16))

typedef enum FloColumnWay
{
	/* binary */
	WAY_BOOL,
	WAY_INT8,					/* numbers of that many bits, and what looks
								 * like one */
	WAY_INT16,
	WAY_INT32,
	WAY_INT64,
	WAY_UUID,
	WAY_NUMERIC,

	/* as text */
	WAY_BOOL_TEXT,
	WAY_INT16_TEXT,
	WAY_INT32_TEXT,
	WAY_INT64_TEXT,

	/* the same in both, but for its kind */
	WAY_TEXT,					/* converted to client_encoding */
	WAY_BYTES,

	WAY_FUNCTION
} FloColumnWay;

typedef struct FloColumnWriter
{
	int			at;				/* in a row */
	FloColumnWay way;
	bool		varlena;
	char		compression;	/* by which method the server tries; 0: none */
	char		kind;			/* FLO_VALUE_* */
	Oid			function;
	bool		prepared;		/* the next is */
	FmgrInfo	info;
} FloColumnWriter;

struct FloRowWriter
{
	MemoryContext context;
	MemoryContext scratch;		/* of one row */
	int			ncolumns;
	FloColumnWriter *columns;
	Size		room;			/* for a row whose values are all fixed */
	bool		user_types;

	/*
	 * of the row at hand: how values may be compressed, and how large they
	 * are
	 */
	int			methods;
	Size		expanded;

	/* a row that was taken apart */
	Datum	   *values;
	bool	   *isnull;
};

static FloColumnWay
binary_way(Oid function)
{
	switch (function)
	{
		case F_BOOLSEND:
			return WAY_BOOL;
		case F_CHARSEND:
			return WAY_INT8;
		case F_INT2SEND:
			return WAY_INT16;
		case F_INT4SEND:
		case F_OIDSEND:
		case F_FLOAT4SEND:
		case F_DATE_SEND:
		case F_XIDSEND:
		case F_CIDSEND:
			return WAY_INT32;
		case F_INT8SEND:
		case F_FLOAT8SEND:
		case F_CASH_SEND:
		case F_TIME_SEND:
		case F_TIMESTAMP_SEND:
		case F_TIMESTAMPTZ_SEND:
		case F_PG_LSN_SEND:
		case F_XID8SEND:
			return WAY_INT64;
		case F_UUID_SEND:
			return WAY_UUID;
		case F_NUMERIC_SEND:
			return WAY_NUMERIC;
		case F_TEXTSEND:
		case F_VARCHARSEND:
		case F_BPCHARSEND:
		case F_JSON_SEND:
			return WAY_TEXT;
		case F_BYTEASEND:
			return WAY_BYTES;
		default:
			return WAY_FUNCTION;
	}
}

static FloColumnWay
text_way(Oid function)
{
	switch (function)
	{
		case F_BOOLOUT:
			return WAY_BOOL_TEXT;
		case F_INT2OUT:
			return WAY_INT16_TEXT;
		case F_INT4OUT:
			return WAY_INT32_TEXT;
		case F_INT8OUT:
			return WAY_INT64_TEXT;
		case F_TEXTOUT:
		case F_VARCHAROUT:
		case F_BPCHAROUT:
		case F_JSON_OUT:
			return WAY_TEXT;
		default:
			return WAY_FUNCTION;
	}
}

static char
compression(Form_pg_attribute att)
{
	if (att->attstorage != TYPSTORAGE_EXTENDED && att->attstorage != TYPSTORAGE_MAIN)
		return InvalidCompressionMethod;
	return CompressionMethodIsValid(att->attcompression) ? att->attcompression :
		default_toast_compression;
}

static void
prepare_column(FloRowWriter *writer, FloColumnWriter *column, Form_pg_attribute att, bool binary)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(att->atttypid));
	Form_pg_type type;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", att->atttypid);
	type = (Form_pg_type) GETSTRUCT(tuple);
	column->at = att->attnum - 1;
	column->varlena = att->attlen == -1;
	column->compression = compression(att);
	if (binary && OidIsValid(type->typsend))
	{
		column->kind = FLO_VALUE_BINARY;
		column->function = type->typsend;
		column->way = binary_way(column->function);
	}
	else
	{
		column->kind = FLO_VALUE_TEXT;
		column->function = type->typoutput;
		column->way = text_way(column->function);
	}
	ReleaseSysCache(tuple);
	if (att->atttypid >= FirstGenbkiObjectId)
		writer->user_types = true;
	column->prepared = column->way == WAY_FUNCTION && column->function < FirstGenbkiObjectId;

	/* of numerics, those that are not numbers go by the function */
	if (column->prepared || column->way == WAY_NUMERIC)
		fmgr_info_cxt(column->function, &column->info, writer->context);
}

static bool
travels(Form_pg_attribute att, const Bitmapset *columns, bool generated)
{
	if (att->attisdropped)
		return false;
	if (columns != NULL)
		return bms_is_member(att->attnum, columns);
	return att->attgenerated == '\0' ||
		(generated && att->attgenerated == ATTRIBUTE_GENERATED_STORED);
}

FloRowWriter *
flo_row_writer_create(TupleDesc desc, const Bitmapset *columns, bool generated, bool binary)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo row writer",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloRowWriter *writer = palloc0(sizeof(FloRowWriter));

	writer->context = context;
	writer->scratch = AllocSetContextCreate(context, "pg_flo row", ALLOCSET_SMALL_SIZES);
	writer->values = palloc(Max(desc->natts, 1) * sizeof(Datum));
	writer->isnull = palloc(Max(desc->natts, 1) * sizeof(bool));
	writer->columns = palloc0(Max(desc->natts, 1) * sizeof(FloColumnWriter));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (travels(att, columns, generated))
			prepare_column(writer, &writer->columns[writer->ncolumns++], att, binary);
	}
	writer->room = HEAD_ROOM + writer->ncolumns * FIXED_ROOM;
	MemoryContextSwitchTo(old);
	return writer;
}

void
flo_row_writer_free(FloRowWriter *writer)
{
	MemoryContextDelete(writer->context);
}

int
flo_row_writer_columns(const FloRowWriter *writer)
{
	return writer->ncolumns;
}

bool
flo_row_writer_uses_user_types(const FloRowWriter *writer)
{
	return writer->user_types;
}

/* --- values -------------------------------------------------------------- */

static inline char *
put8(char *to, uint8 value)
{
	*to = (char) value;
	return to + 1;
}

static inline char *
put16(char *to, uint16 value)
{
	value = pg_hton16(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

static inline char *
put32(char *to, uint32 value)
{
	value = pg_hton32(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

static inline char *
put64(char *to, uint64 value)
{
	value = pg_hton64(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

/* Room for a value of any length, and again for a row of fixed ones behind it */
static inline char *
make_room(const FloRowWriter *writer, StringInfo out, Size len)
{
	if (unlikely((Size) (out->maxlen - out->len) <= len + writer->room))
		enlargeStringInfo(out, len + writer->room);
	return out->data + out->len;
}

static void
put_bytes(const FloRowWriter *writer, StringInfo out, const char *data, Size len)
{
	char	   *to = make_room(writer, out, sizeof(uint32) + len);

	to = put32(to, len);
	memcpy(to, data, len);
	out->len += sizeof(uint32) + len;
}

/*
 * As it is compressed; or plain, and marked, when the server keeps it elsewhere and has
 * not compressed it, as it will have tried.  Text of another encoding than the message's
 * would have to be expanded by a reader anyway.  The kind of the value was written already.
 */
static bool
put_compressed(FloRowWriter *writer, const FloColumnWriter *column, StringInfo out,
			   const struct varlena *stored, bool elsewhere)
{
	bool		vain = elsewhere && VARATT_IS_4B_U(stored) && writer->methods != 0 &&
		column->compression != InvalidCompressionMethod;

	if (column->way == WAY_TEXT && pg_get_client_encoding() != GetDatabaseEncoding())
		return false;
	if (vain)
	{
		out->len--;
		flo_compressed_put_plain(out, column->kind, column->compression, VARDATA(stored),
								 VARSIZE(stored) - VARHDRSZ);
		return true;
	}
	if (!flo_compressed_travels(stored, writer->methods) ||
		writer->expanded + flo_compressed_plain_len(stored) > FLO_EXPANDED_MAX)
		return false;
	writer->expanded += flo_compressed_plain_len(stored);
	out->len--;
	flo_compressed_put(out, column->kind, stored);
	return true;
}

/*
 * Text or bytes.  What is kept in one piece, or was put together in memory from
 * the pieces that WAL had, is copied from where it is.
 */
static void
put_varlena(FloRowWriter *writer, const FloColumnWriter *column, StringInfo out, Datum value)
{
	bool		is_text = column->way == WAY_TEXT;
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	struct varlena *plain = stored;
	char	   *data;
	char	   *sent;
	Size		len;
	bool		elsewhere = VARATT_IS_EXTERNAL_INDIRECT(plain);

	if (elsewhere)
	{
		struct varatt_indirect pointer;

		VARATT_EXTERNAL_GET_POINTER(pointer, plain);
		plain = stored = pointer.pointer;
	}
	if (put_compressed(writer, column, out, stored, elsewhere))
		return;
	plain = pg_detoast_datum_packed(plain);
	data = VARDATA_ANY(plain);
	len = VARSIZE_ANY_EXHDR(plain);
	sent = is_text ? pg_server_to_client(data, len) : data;
	put_bytes(writer, out, sent, sent == data ? len : strlen(sent));
	if (sent != data)
		pfree(sent);
	if (plain != stored)
		pfree(plain);
}

/*
 * As numeric_send() does it, from the form that numbers are stored in: a head of 16
 * bits, for large ones another, then digits of base 10000.  False for what is no
 * number, of which the head says so.
 */
static bool
put_numeric(const FloRowWriter *writer, StringInfo out, Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	const char *data;
	char	   *to;
	uint16		head;
	uint16		weight;
	uint16		sign;
	uint16		scale;
	int			ndigits;

	if (VARATT_IS_EXTENDED(stored) && !VARATT_IS_SHORT(stored))
		return false;
	data = VARDATA_ANY(stored);
	memcpy(&head, data, sizeof(head));
	if ((head & 0xC000) == 0xC000)
		return false;
	ndigits = (VARSIZE_ANY_EXHDR(stored) - sizeof(head)) / sizeof(uint16);
	data += sizeof(head);
	if (head & 0x8000)
	{
		sign = (head & 0x2000) << 1;
		scale = (head & 0x1F80) >> 7;
		weight = head & 0x003F;
		if (head & 0x0040)
			weight |= 0xFFC0;
	}
	else
	{
		sign = head & 0x4000;
		scale = head & 0x3FFF;
		memcpy(&weight, data, sizeof(weight));
		data += sizeof(weight);
		ndigits--;
	}
	to = make_room(writer, out, sizeof(uint32) + (4 + ndigits) * sizeof(uint16));
	to = put32(to, (4 + ndigits) * sizeof(uint16));
	to = put16(to, ndigits);
	to = put16(to, weight);
	to = put16(to, sign);
	to = put16(to, scale);
	for (int i = 0; i < ndigits; i++, data += sizeof(uint16))
	{
		uint16		digit;

		memcpy(&digit, data, sizeof(digit));
		to = put16(to, digit);
	}
	out->len = to - out->data;
	return true;
}

static void
put_by_function(const FloRowWriter *writer, FloColumnWriter *column, StringInfo out, Datum value)
{
	bytea	   *bytes;
	char	   *text;
	char	   *sent;

	if (column->kind == FLO_VALUE_BINARY)
	{
		bytes = column->prepared || column->way == WAY_NUMERIC ?
			SendFunctionCall(&column->info, value) : OidSendFunctionCall(column->function, value);
		put_bytes(writer, out, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
		pfree(bytes);
		return;
	}
	text = column->prepared ? OutputFunctionCall(&column->info, value) :
		OidOutputFunctionCall(column->function, value);
	sent = pg_server_to_client(text, strlen(text));
	put_bytes(writer, out, sent, strlen(sent));
	if (sent != text)
		pfree(sent);
	pfree(text);
}

/* What has no fixed length, and is not short */
static void
put_long(FloRowWriter *writer, FloColumnWriter *column, StringInfo out, Datum value)
{
	switch (column->way)
	{
		case WAY_TEXT:
		case WAY_BYTES:
			put_varlena(writer, column, out, value);
			break;
		case WAY_NUMERIC:
			if (put_numeric(writer, out, value))
				break;
			pg_fallthrough;
		default:
			put_by_function(writer, column, out, value);
	}
}

/* The length of a text that was written is known only then */
static inline char *
put_digits(char *to, int len)
{
	(void) put32(to, len);
	return to + sizeof(uint32) + len;
}

static void
put_tuple(FloRowWriter *writer, StringInfo out, const Datum *values, const bool *isnull)
{
	char	   *to = make_room(writer, out, 0);

	to = put16(to, writer->ncolumns);
	for (int i = 0; i < writer->ncolumns; i++)
	{
		FloColumnWriter *column = &writer->columns[i];
		Datum		value = values[column->at];

		if (isnull[column->at])
		{
			to = put8(to, FLO_VALUE_NULL);
			continue;
		}
		if (column->varlena && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
		{
			to = put8(to, FLO_VALUE_UNCHANGED);
			continue;
		}
		to = put8(to, column->kind);
		switch (column->way)
		{
			case WAY_BOOL:
				to = put8(put32(to, sizeof(uint8)), DatumGetBool(value) ? 1 : 0);
				break;
			case WAY_INT8:
				to = put8(put32(to, sizeof(uint8)), DatumGetUInt8(value));
				break;
			case WAY_INT16:
				to = put16(put32(to, sizeof(uint16)), DatumGetUInt16(value));
				break;
			case WAY_INT32:
				to = put32(put32(to, sizeof(uint32)), DatumGetUInt32(value));
				break;
			case WAY_INT64:
				to = put64(put32(to, sizeof(uint64)), (uint64) DatumGetInt64(value));
				break;
			case WAY_UUID:
				to = put32(to, UUID_LEN);
				memcpy(to, DatumGetPointer(value), UUID_LEN);
				to += UUID_LEN;
				break;
			case WAY_BOOL_TEXT:
				to = put8(put32(to, sizeof(uint8)), DatumGetBool(value) ? 't' : 'f');
				break;
			case WAY_INT16_TEXT:
				to = put_digits(to, pg_itoa(DatumGetInt16(value), to + sizeof(uint32)));
				break;
			case WAY_INT32_TEXT:
				to = put_digits(to, pg_ltoa(DatumGetInt32(value), to + sizeof(uint32)));
				break;
			case WAY_INT64_TEXT:
				to = put_digits(to, pg_lltoa(DatumGetInt64(value), to + sizeof(uint32)));
				break;
			default:
				out->len = to - out->data;
				put_long(writer, column, out, value);
				to = make_room(writer, out, 0);
		}
	}
	out->len = to - out->data;
	out->data[out->len] = '\0';
}

/* --- messages ------------------------------------------------------------ */

static void
put_row(FloRowWriter *writer, Relation relation, HeapTuple tuple, char kind, StringInfo out)
{
	appendStringInfoCharMacro(out, kind);
	heap_deform_tuple(tuple, RelationGetDescr(relation), writer->values, writer->isnull);
	put_tuple(writer, out, writer->values, writer->isnull);
}

static void
put_head(FloRowWriter *writer, char op, Relation relation, int methods, StringInfo out)
{
	char	   *to = make_room(writer, out, 0);

	writer->methods = methods;
	writer->expanded = 0;
	to = put32(put8(to, op), RelationGetRelid(relation));
	out->len = to - out->data;
}

void
flo_row_writer_change(FloRowWriter *writer, Relation relation, ReorderBufferChange *change,
					  int methods, StringInfo out)
{
	HeapTuple	old_row = flo_compat_old_row(change);
	HeapTuple	new_row = flo_compat_new_row(change);
	MemoryContext old = MemoryContextSwitchTo(writer->scratch);
	char		op = change->action == REORDER_BUFFER_CHANGE_INSERT ? FLO_OP_INSERT :
		change->action == REORDER_BUFFER_CHANGE_UPDATE ? FLO_OP_UPDATE : FLO_OP_DELETE;

	put_head(writer, op, relation, methods, out);
	if (op != FLO_OP_INSERT && old_row != NULL)
		put_row(writer, relation, old_row,
				relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL ? 'O' : 'K', out);
	if (op != FLO_OP_DELETE)
		put_row(writer, relation, new_row, 'N', out);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->scratch);
}

void
flo_row_writer_insert(FloRowWriter *writer, Relation relation, const Datum *values,
					  const bool *isnull, int methods, StringInfo out)
{
	MemoryContext old = MemoryContextSwitchTo(writer->scratch);

	put_head(writer, FLO_OP_INSERT, relation, methods, out);
	appendStringInfoCharMacro(out, 'N');
	put_tuple(writer, out, values, isnull);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->scratch);
}
