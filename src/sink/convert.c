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
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "sink/convert.h"

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
		converter->binary_path = FLO_BINARY_DIRECT;
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
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format for type %s",
						format_type_be(converter->source_type))));
	return result;
}

static Datum
convert_binary(FloConverter *converter, const FloValue *value)
{
	Datum		received;
	char	   *text;

	if (unlikely(converter->binary_path == FLO_BINARY_UNKNOWN))
		prepare_binary(converter);
	if (likely(converter->binary_path == FLO_BINARY_DIRECT))
		return receive_value(converter, value, converter->typmod);

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
