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
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

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
	switch (converter->type)
	{
		case INT2OID:
			return FLO_BINARY_INT2;
		case INT4OID:
			return FLO_BINARY_INT4;
		case INT8OID:
			return FLO_BINARY_INT8;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return converter->typmod < 0 ? FLO_BINARY_TIMESTAMP : FLO_BINARY_DIRECT;
		case TEXTOID:
			return FLO_BINARY_TEXT;
		case VARCHAROID:
			return converter->typmod < 0 ? FLO_BINARY_TEXT : FLO_BINARY_DIRECT;
		default:
			return FLO_BINARY_DIRECT;
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

static Datum
receive_int(const FloConverter *converter, const FloValue *value)
{
	uint16		two;
	uint32		four;
	uint64		eight;

	if (value->len == 4 && converter->binary_path == FLO_BINARY_INT4)
	{
		memcpy(&four, value->data, 4);
		return Int32GetDatum((int32) pg_ntoh32(four));
	}
	if (value->len == 8 && converter->binary_path == FLO_BINARY_INT8)
	{
		memcpy(&eight, value->data, 8);
		return Int64GetDatum((int64) pg_ntoh64(eight));
	}
	if (value->len != 2 || converter->binary_path != FLO_BINARY_INT2)
		report_length(converter);
	memcpy(&two, value->data, 2);
	return Int16GetDatum((int16) pg_ntoh16(two));
}

/*
 * The receive function takes every value apart to see whether it could be
 * printed, which is so for all in the range.  The rest it may decide.
 */
static Datum
receive_timestamp(FloConverter *converter, const FloValue *value)
{
	uint64		bits;
	Timestamp	result;

	if (value->len != sizeof(bits))
		report_length(converter);
	memcpy(&bits, value->data, sizeof(bits));
	result = (Timestamp) pg_ntoh64(bits);
	if (unlikely(!IS_VALID_TIMESTAMP(result)))
		return receive_value(converter, value, converter->typmod);
	return TimestampGetDatum(result);
}

/* As textrecv() does it: verified, and in the server's encoding */
static Datum
receive_text(const FloValue *value)
{
	char	   *text = pg_client_to_server(value->data, value->len);

	if (likely(text == value->data))
		return PointerGetDatum(cstring_to_text_with_len(value->data, value->len));
	return PointerGetDatum(cstring_to_text(text));
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
		case FLO_BINARY_INT2:
		case FLO_BINARY_INT4:
		case FLO_BINARY_INT8:
			return receive_int(converter, value);
		case FLO_BINARY_TIMESTAMP:
			return receive_timestamp(converter, value);
		case FLO_BINARY_TEXT:
			return receive_text(value);
		case FLO_BINARY_DIRECT:
			return receive_value(converter, value, converter->typmod);
		case FLO_BINARY_UNKNOWN:
		case FLO_BINARY_VIA_TEXT:
			break;
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
