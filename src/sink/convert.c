/*
 * convert.c
 *		A value as it travelled to a Datum of a destination column's type.
 *
 * Text goes through the destination type's input function with the column's
 * typmod, so that it may come from any type whose text form the column
 * understands, and domains, lengths and precisions are checked as for any
 * other input.  Binary is taken directly only when both sides have the same
 * built-in type; between two different built-in types it is read as the
 * source's type and goes on as text.  Binary values of user types do not
 * travel, since they carry OIDs that mean something else here.
 *
 * Input and receive functions may want the byte behind the value to be zero.
 * Instead of copying the value, the byte is replaced for the time of the call.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "sink/convert.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* The byte replaced right now; "at" is NULL when there is none */
static struct
{
	char	   *at;
	char		byte;
}			patch;

static inline void
put_zero(const FloValue *value)
{
	patch.byte = value->data[value->len];
	patch.at = value->data + value->len;
	*patch.at = '\0';
}

void
flo_convert_restore(void)
{
	if (patch.at != NULL)
	{
		*patch.at = patch.byte;
		patch.at = NULL;
	}
}

void
flo_converter_init(FloConverter *converter, Oid source_type, Oid type, int32 typmod,
				   MemoryContext context)
{
	Oid			function;

	memset(converter, 0, sizeof(FloConverter));
	converter->source_type = source_type;
	converter->type = type;
	converter->typmod = typmod;
	converter->context = context;
	converter->binary_path = FLO_BINARY_UNKNOWN;
	getTypeInputInfo(type, &function, &converter->input_param);
	fmgr_info_cxt(function, &converter->input, context);
}

/* The types most values have are read without a call of their function */
static FloBinaryPath
direct_path(const FloConverter *converter)
{
	bool		plain = converter->typmod < 0;

	switch (converter->type)
	{
		case BOOLOID:
			return FLO_BINARY_BOOL;
		case INT2OID:
			return FLO_BINARY_16;
		case INT4OID:
		case OIDOID:
		case FLOAT4OID:
		case XIDOID:
		case CIDOID:
			return FLO_BINARY_32;
		case INT8OID:
		case FLOAT8OID:
		case MONEYOID:
		case PG_LSNOID:
		case XID8OID:
			return FLO_BINARY_64;
		case DATEOID:
			return FLO_BINARY_DATE;
		case TIMEOID:
			return plain ? FLO_BINARY_TIME : FLO_BINARY_DIRECT;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return plain ? FLO_BINARY_TIMESTAMP : FLO_BINARY_DIRECT;
		case UUIDOID:
			return FLO_BINARY_UUID;
		case BYTEAOID:
			return FLO_BINARY_BYTES;
		case TEXTOID:
			return FLO_BINARY_TEXT;
		case VARCHAROID:
			return plain ? FLO_BINARY_TEXT : FLO_BINARY_VARCHAR;
		case BPCHAROID:
			return plain ? FLO_BINARY_TEXT : FLO_BINARY_CHAR;
		default:
			return FLO_BINARY_DIRECT;
	}
}

static uint32
length_on_path(const FloConverter *converter)
{
	switch (converter->binary_path)
	{
		case FLO_BINARY_BOOL:
			return 1;
		case FLO_BINARY_16:
			return 2;
		case FLO_BINARY_32:
		case FLO_BINARY_DATE:
			return 4;
		case FLO_BINARY_64:
		case FLO_BINARY_TIME:
		case FLO_BINARY_TIMESTAMP:
			return 8;
		case FLO_BINARY_UUID:
			return UUID_LEN;
		case FLO_BINARY_VARCHAR:
		case FLO_BINARY_CHAR:
			return Max(converter->typmod - VARHDRSZ, 0);
		default:
			return 0;
	}
}

/* Look up what binary values need, when the first one arrives */
static void
prepare_binary(FloConverter *converter)
{
	Oid			function;
	bool		is_varlena;

	if (converter->source_type >= FirstGenbkiObjectId)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a value of type %u, which is not built in, travelled in binary form",
						converter->source_type)));
	if (!get_typisdefined(converter->source_type))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("this server has no built-in type %u, which the source's column has",
						converter->source_type),
				 errhint("The source runs a newer version of PostgreSQL: give the column a type both have, or leave it out of the publication.")));

	getTypeBinaryInputInfo(converter->source_type, &function, &converter->receive_param);
	fmgr_info_cxt(function, &converter->receive, converter->context);
	if (converter->source_type != converter->type)
	{
		getTypeOutputInfo(converter->source_type, &function, &is_varlena);
		fmgr_info_cxt(function, &converter->output, converter->context);
		converter->binary_path = FLO_BINARY_VIA_TEXT;
	}
	else
		converter->binary_path = direct_path(converter);
	converter->length = length_on_path(converter);
}

static void
report_length(const FloConverter *converter)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("incorrect binary data format for type %s",
					format_type_be(converter->source_type))));
}

static Datum
receive_value(FloConverter *converter, const FloValue *value, int32 typmod)
{
	StringInfoData buf;
	Datum		result;

	buf.data = value->data;
	buf.len = value->len;
	buf.maxlen = value->len + 1;
	buf.cursor = 0;

	put_zero(value);
	result = ReceiveFunctionCall(&converter->receive, &buf, converter->receive_param, typmod);
	flo_convert_restore();

	if (unlikely(buf.cursor != buf.len))
		report_length(converter);
	return result;
}

static inline uint32
get32(const char *data)
{
	uint32		value;

	memcpy(&value, data, sizeof(value));
	return pg_ntoh32(value);
}

static inline uint64
get64(const char *data)
{
	uint64		value;

	memcpy(&value, data, sizeof(value));
	return pg_ntoh64(value);
}

/*
 * Values of a fixed length.  Receive functions take dates and times apart to see
 * whether they could be printed, which is so for all in the range; the rest, infinite
 * ones among them, they may decide.
 */
static inline Datum
receive_fixed(FloConverter *converter, const FloValue *value)
{
	uint16		two;
	pg_uuid_t  *uuid;

	if (unlikely(value->len != converter->length))
		report_length(converter);
	switch (converter->binary_path)
	{
		case FLO_BINARY_BOOL:
			return BoolGetDatum(value->data[0] != 0);
		case FLO_BINARY_16:
			memcpy(&two, value->data, sizeof(two));
			return Int16GetDatum((int16) pg_ntoh16(two));
		case FLO_BINARY_32:
			return Int32GetDatum((int32) get32(value->data));
		case FLO_BINARY_64:
			return Int64GetDatum((int64) get64(value->data));
		case FLO_BINARY_DATE:
			if (likely(IS_VALID_DATE((DateADT) get32(value->data))))
				return Int32GetDatum((int32) get32(value->data));
			break;
		case FLO_BINARY_TIME:
			if (likely(get64(value->data) <= USECS_PER_DAY))
				return Int64GetDatum((int64) get64(value->data));
			break;
		case FLO_BINARY_TIMESTAMP:
			if (likely(IS_VALID_TIMESTAMP((Timestamp) get64(value->data))))
				return Int64GetDatum((int64) get64(value->data));
			break;
		default:
			uuid = palloc(sizeof(pg_uuid_t));
			memcpy(uuid, value->data, UUID_LEN);
			return UUIDPGetDatum(uuid);
	}
	return receive_value(converter, value, converter->typmod);
}

/*
 * As textrecv() does it: verified, and in the server's encoding.  What has to be cut,
 * filled up or refused, the function for the type sees to.
 */
static Datum
receive_text(FloConverter *converter, const FloValue *value)
{
	char	   *text = pg_client_to_server(value->data, value->len);
	uint32		len = likely(text == value->data) ? value->len : strlen(text);

	if ((converter->binary_path == FLO_BINARY_VARCHAR && len > converter->length) ||
		(converter->binary_path == FLO_BINARY_CHAR &&
		 pg_mbstrlen_with_len(text, len) != converter->length))
		return receive_value(converter, value, converter->typmod);
	return PointerGetDatum(cstring_to_text_with_len(text, len));
}

static Datum
convert_binary(FloConverter *converter, const FloValue *value)
{
	Datum		received;
	char	   *text;

	if (unlikely(converter->binary_path == FLO_BINARY_UNKNOWN))
		prepare_binary(converter);
	switch (converter->binary_path)
	{
		case FLO_BINARY_TEXT:
		case FLO_BINARY_VARCHAR:
		case FLO_BINARY_CHAR:
			return receive_text(converter, value);
		case FLO_BINARY_BYTES:
			return PointerGetDatum(cstring_to_text_with_len(value->data, value->len));
		case FLO_BINARY_DIRECT:
			return receive_value(converter, value, converter->typmod);
		case FLO_BINARY_VIA_TEXT:
			break;
		default:
			return receive_fixed(converter, value);
	}

	received = receive_value(converter, value, -1);
	text = OutputFunctionCall(&converter->output, received);
	return InputFunctionCall(&converter->input, text, converter->input_param,
							 converter->typmod);
}

static Datum
convert_text(FloConverter *converter, const FloValue *value)
{
	char	   *text;
	Datum		result;

	put_zero(value);
	/* the same pointer when the encodings are one */
	text = pg_client_to_server(value->data, value->len);
	result = InputFunctionCall(&converter->input, text, converter->input_param,
							   converter->typmod);
	flo_convert_restore();
	return result;
}

Datum
flo_convert(FloConverter *converter, const FloValue *value)
{
	if (value->kind == FLO_VALUE_BINARY)
		return convert_binary(converter, value);
	Assert(value->kind == FLO_VALUE_TEXT);
	return convert_text(converter, value);
}
