/*
 * json_value.c
 *		A value as it travelled, written as PostgreSQL's own JSON functions do.
 *
 * Promises: numbers keep their digits, json and jsonb stay JSON, arrays become
 * arrays and rows objects at any depth, dates and times have ISO 8601 form,
 * and everything else is a string of its text form, as to_json() says.  NaN
 * and infinities, which JSON does not know, are strings.  So is text that the
 * column's type does not take: a rule may have made it.
 *
 * Event sinks run outside transactions, so nothing here looks into the
 * catalogs once a type has been described, except for the few types that
 * flo_json_needs_catalog() tells of.  That is why arrays and rows are read by
 * their own format, binary or text, instead of by the types' input functions:
 * those of user types would need catalogs, and could fail where this side's
 * type differs from the source's.  Text that does not have the expected form
 * becomes a string.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "core/compat.h"
#include "core/compat_name.h"
#include "events/json_type.h"
#include "events/json_value.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* A part of a value: text or binary, not zero-terminated */
typedef struct Span
{
	const char *data;
	int			len;
} Span;

static Span
span_of(const char *data, int len)
{
	Span		span = {data, len};

	return span;
}

static void append_text_form(StringInfo out, FloJsonType *type, Span text);
static void append_binary_form(StringInfo out, FloJsonType *type, Span bytes, int encoding);

/* --- scalars ------------------------------------------------------------- */

void
flo_json_append_text(StringInfo out, const char *text, int len)
{
	const char *end = text + len;

	enlargeStringInfo(out, len + 2);
	appendStringInfoCharMacro(out, '"');
	while (text < end)
	{
		const char *start = text;

		/* What needs no escape goes over in one piece */
		while (text < end && (unsigned char) *text >= ' ' && *text != '"' && *text != '\\')
			text++;
		if (text > start)
			appendBinaryStringInfo(out, start, text - start);
		if (text == end)
			break;
		switch (*text)
		{
			case '\b':
				appendStringInfoString(out, "\\b");
				break;
			case '\f':
				appendStringInfoString(out, "\\f");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			case '"':
				appendStringInfoString(out, "\\\"");
				break;
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			default:
				appendStringInfo(out, "\\u%04x", (int) *text);
				break;
		}
		text++;
	}
	appendStringInfoCharMacro(out, '"');
}

/*
 * What a rule has made of JSON need not be JSON any more.  Line feeds in it
 * stand between its tokens only.
 */
static void
append_json(StringInfo out, Span json)
{
	int			start = out->len;

	if (!flo_compat_is_json(json.data, json.len))
	{
		flo_json_append_text(out, json.data, json.len);
		return;
	}
	appendBinaryStringInfo(out, json.data, json.len);
	for (char *c = out->data + start; c < out->data + out->len; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
}

static void
append_number(StringInfo out, const char *text, int len)
{
	if (IsValidJsonNumber(text, len))
		appendBinaryStringInfo(out, text, len);
	else
		flo_json_append_text(out, text, len);
}

static void
append_time(StringInfo out, Datum value, Oid type)
{
	char		buf[MAXDATELEN + 1];

	JsonEncodeDateTime(buf, value, type, NULL);
	appendStringInfoChar(out, '"');
	appendStringInfoString(out, buf);
	appendStringInfoChar(out, '"');
}

/* --- text form ----------------------------------------------------------- */

/*
 * False when it is no such time.  What a server sends begins with a digit or is
 * infinite; words such as "now", which input functions take as well, come from rules.
 */
static bool
append_time_text(StringInfo out, PGFunction input, Span text, Oid type)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *copy = pnstrdup(text.data, text.len);
	volatile bool done = false;

	if (!isdigit((unsigned char) copy[0]) && strcmp(copy, "infinity") != 0 &&
		strcmp(copy, "-infinity") != 0)
		return false;
	PG_TRY();
	{
		append_time(out, DirectFunctionCall3(input, CStringGetDatum(copy),
											 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)),
					type);
		done = true;
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return done;
}

static bool
append_bool_text(StringInfo out, Span text)
{
	static const char *const words[] = {"f", "t", "false", "true"};

	for (int i = 0; i < lengthof(words); i++)
		if (strlen(words[i]) == text.len && memcmp(words[i], text.data, text.len) == 0)
		{
			appendStringInfoString(out, words[2 + i % 2]);
			return true;
		}
	return false;
}

/* Text between quotes, or up to one of "stops"; "doubled": "" stands for one quote */
static const char *
take_item(const char *at, const char *end, const char *stops, bool doubled,
		  StringInfo item, bool *quoted)
{
	resetStringInfo(item);
	*quoted = false;
	while (at < end && strchr(stops, *at) == NULL)
	{
		if (*at == '\\' && at + 1 < end)
			at++;
		else if (*at == '"')
		{
			*quoted = true;
			for (at++; at < end; at++)
			{
				if (*at == '\\' && at + 1 < end)
					at++;
				else if (*at == '"' && doubled && at + 1 < end && at[1] == '"')
					at++;
				else if (*at == '"')
					break;
				appendStringInfoChar(item, *at);
			}
			if (at == end)
				return NULL;
			at++;
			continue;
		}
		appendStringInfoChar(item, *at++);
	}
	return at;
}

/* {...} at any depth; NULL when it is not well formed */
static const char *
append_array_text(StringInfo out, FloJsonType *type, const char *at, const char *end)
{
	const char	stops[] = {type->delimiter, '}', '{', '\0'};
	StringInfoData item;
	bool		first = true;

	check_stack_depth();
	if (at == end || *at != '{')
		return NULL;
	initStringInfo(&item);
	appendStringInfoChar(out, '[');
	for (at++; at < end && *at != '}';)
	{
		bool		quoted;

		if (!first)
			appendStringInfoChar(out, ',');
		first = false;
		if (*at == '{')
			at = append_array_text(out, type, at, end);
		else
		{
			at = take_item(at, end, stops, false, &item, &quoted);
			if (at != NULL && !quoted && pg_strcasecmp(item.data, "NULL") == 0)
				appendStringInfoString(out, "null");
			else if (at != NULL)
				append_text_form(out, type->element, span_of(item.data, item.len));
		}
		if (at == NULL || at == end || (*at != type->delimiter && *at != '}'))
			return NULL;
		if (*at == type->delimiter)
			at++;
	}
	if (at == end)
		return NULL;
	appendStringInfoChar(out, ']');
	pfree(item.data);
	return at + 1;
}

static bool
append_array(StringInfo out, FloJsonType *type, Span text)
{
	const char *end = text.data + text.len;
	const char *at = text.data;

	/* lower bounds other than 1 stand before: [0:1]={...} */
	if (at < end && *at == '[')
	{
		at = memchr(at, '=', end - at);
		if (at == NULL)
			return false;
		at++;
	}
	return append_array_text(out, type, at, end) == end;
}

/* (...) with as many fields as the type has here */
static bool
append_row(StringInfo out, FloJsonType *type, Span text)
{
	const char *at = text.data;
	const char *end = text.data + text.len;
	StringInfoData item;

	if (text.len < 2 || *at != '(' || end[-1] != ')')
		return false;
	at++;
	end--;
	initStringInfo(&item);
	appendStringInfoChar(out, '{');
	for (int i = 0; i < type->nfields; i++)
	{
		bool		quoted;

		at = take_item(at, end, ",", true, &item, &quoted);
		if (at == NULL || (at == end) != (i == type->nfields - 1))
			return false;
		at++;
		if (i > 0)
			appendStringInfoChar(out, ',');
		appendStringInfoString(out, type->keys[i]);
		if (item.len == 0 && !quoted)
			appendStringInfoString(out, "null");
		else
			append_text_form(out, type->fields[i], span_of(item.data, item.len));
	}
	if (type->nfields == 0 && at != end)
		return false;
	appendStringInfoChar(out, '}');
	pfree(item.data);
	return true;
}

/* The text is in the server's encoding */
static void
append_text_form(StringInfo out, FloJsonType *type, Span text)
{
	int			start = out->len;

	check_stack_depth();
	switch (type->kind)
	{
		case KIND_BOOL:
			if (append_bool_text(out, text))
				return;
			break;
		case KIND_INTEGER:
		case KIND_FLOAT4:
		case KIND_FLOAT8:
		case KIND_NUMERIC:
			append_number(out, text.data, text.len);
			return;
		case KIND_DATE:
			if (append_time_text(out, date_in, text, DATEOID))
				return;
			break;
		case KIND_TIMESTAMP:
			if (append_time_text(out, timestamp_in, text, TIMESTAMPOID))
				return;
			break;
		case KIND_TIMESTAMPTZ:
			if (append_time_text(out, timestamptz_in, text, TIMESTAMPTZOID))
				return;
			break;
		case KIND_JSON:
		case KIND_JSONB:
			append_json(out, text);
			return;
		case KIND_ARRAY:
			if (append_array(out, type, text))
				return;
			break;
		case KIND_ROW:
			if (append_row(out, type, text))
				return;
			break;
		default:
			break;
	}
	out->len = start;
	flo_json_append_text(out, text.data, text.len);
}

/* --- binary form --------------------------------------------------------- */

pg_noreturn static void
malformed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("incorrect binary data format")));
}

static int32
take_int32(Span *bytes)
{
	uint32		value;

	if (bytes->len < sizeof(value))
		malformed();
	memcpy(&value, bytes->data, sizeof(value));
	bytes->data += sizeof(value);
	bytes->len -= sizeof(value);
	return (int32) pg_ntoh32(value);
}

static int64
get_integer(Span bytes)
{
	uint16		i2;
	uint32		i4;
	uint64		i8;

	switch (bytes.len)
	{
		case sizeof(i2):
			memcpy(&i2, bytes.data, sizeof(i2));
			return (int16) pg_ntoh16(i2);
		case sizeof(i4):
			memcpy(&i4, bytes.data, sizeof(i4));
			return (int32) pg_ntoh32(i4);
		case sizeof(i8):
			memcpy(&i8, bytes.data, sizeof(i8));
			return (int64) pg_ntoh64(i8);
		default:
			malformed();
	}
}

/* A length and that many bytes, or null */
static void
append_counted(StringInfo out, FloJsonType *type, Span *bytes, int encoding)
{
	int32		len = take_int32(bytes);

	if (len == -1)
	{
		appendStringInfoString(out, "null");
		return;
	}
	if (len < 0 || len > bytes->len)
		malformed();
	append_binary_form(out, type, span_of(bytes->data, len), encoding);
	bytes->data += len;
	bytes->len -= len;
}

static void
append_dimension(StringInfo out, FloJsonType *type, Span *bytes, const int32 *sizes, int ndims,
				 int encoding)
{
	appendStringInfoChar(out, '[');
	for (int32 i = 0; i < sizes[0]; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		if (ndims > 1)
			append_dimension(out, type, bytes, sizes + 1, ndims - 1, encoding);
		else
			append_counted(out, type->element, bytes, encoding);
	}
	appendStringInfoChar(out, ']');
}

static void
append_array_binary(StringInfo out, FloJsonType *type, Span bytes, int encoding)
{
	int32		ndims = take_int32(&bytes);
	int32		sizes[MAXDIM];

	(void) take_int32(&bytes);	/* has nulls */
	(void) take_int32(&bytes);	/* type of the elements */
	if (ndims < 0 || ndims > MAXDIM)
		malformed();
	for (int i = 0; i < ndims; i++)
	{
		sizes[i] = take_int32(&bytes);
		(void) take_int32(&bytes);	/* lower bound */
		/* an element takes 4 bytes at least, if there are any */
		if (sizes[i] <= 0 || sizes[i] > bytes.len)
			malformed();
	}
	if (ndims == 0)
		appendStringInfoString(out, "[]");
	else
		append_dimension(out, type, &bytes, sizes, ndims, encoding);
	if (bytes.len != 0)
		malformed();
}

static void
append_row_binary(StringInfo out, FloJsonType *type, Span bytes, int encoding)
{
	if (take_int32(&bytes) != type->nfields)
		malformed();
	appendStringInfoChar(out, '{');
	for (int i = 0; i < type->nfields; i++)
	{
		(void) take_int32(&bytes);	/* type */
		if (i > 0)
			appendStringInfoChar(out, ',');
		appendStringInfoString(out, type->keys[i]);
		append_counted(out, type->fields[i], &bytes, encoding);
	}
	appendStringInfoChar(out, '}');
}

/* A copy that a receive function may work on */
static void
copy_bytes(StringInfo buf, Span bytes)
{
	buf->data = palloc(bytes.len + 1);
	memcpy(buf->data, bytes.data, bytes.len);
	buf->data[bytes.len] = '\0';
	buf->len = bytes.len;
	buf->maxlen = bytes.len + 1;
	buf->cursor = 0;
}

static void
append_hex(StringInfo out, Span bytes)
{
	if (bytes.len > (MaxAllocSize - out->len) / 2 - 16)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a value of %d bytes is too large for an event", bytes.len)));
	enlargeStringInfo(out, 2 * bytes.len + 5);
	appendStringInfoString(out, "\"\\\\x");
	out->len += hex_encode(bytes.data, bytes.len, out->data + out->len);
	appendStringInfoChar(out, '"');
}

static void
append_other(StringInfo out, FloJsonType *type, Span bytes)
{
	StringInfoData buf;
	char	   *text;

	if (!type->has_binary)
	{
		append_hex(out, bytes);
		return;
	}
	copy_bytes(&buf, bytes);
	text = OutputFunctionCall(&type->output,
							  ReceiveFunctionCall(&type->receive, &buf, type->receive_param, -1));
	flo_json_append_text(out, text, strlen(text));
}

static Span
to_server(Span text, int encoding)
{
	char	   *converted;

	/*
	 * outside a transaction only the conversion for client_encoding is at
	 * hand
	 */
	if (encoding == pg_get_client_encoding())
		converted = pg_client_to_server(text.data, text.len);
	else
		converted = pg_any_to_server(text.data, text.len, encoding);
	if (converted != text.data)
	{
		text.data = converted;
		text.len = strlen(converted);
	}
	return text;
}

static void
append_integer(StringInfo out, int64 value)
{
	enlargeStringInfo(out, 24);
	out->len += pg_lltoa(value, out->data + out->len);
}

/* Numbers whose text form is made by the type's own functions */
static void
append_fraction(StringInfo out, JsonKind kind, Span bytes)
{
	StringInfoData buf;
	char	   *text;

	copy_bytes(&buf, bytes);
	if (kind == KIND_FLOAT4)
		text = DatumGetCString(DirectFunctionCall1(float4out,
												   DirectFunctionCall1(float4recv,
																	   PointerGetDatum(&buf))));
	else if (kind == KIND_FLOAT8)
		text = DatumGetCString(DirectFunctionCall1(float8out,
												   DirectFunctionCall1(float8recv,
																	   PointerGetDatum(&buf))));
	else
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   DirectFunctionCall3(numeric_recv,
																	   PointerGetDatum(&buf),
																	   ObjectIdGetDatum(InvalidOid),
																	   Int32GetDatum(-1))));
	append_number(out, text, strlen(text));
}

/*
 * What is made of other values comes back here, as deep as the source has nested
 * them.  Types that are not described here are read by their own receive functions.
 */
static void
append_binary_form(StringInfo out, FloJsonType *type, Span bytes, int encoding)
{
	check_stack_depth();
	switch (type->kind)
	{
		case KIND_TEXT:
			bytes = to_server(bytes, encoding);
			flo_json_append_text(out, bytes.data, bytes.len);
			break;
		case KIND_JSONB:
			/* a version, then text */
			if (bytes.len < 1)
				malformed();
			append_json(out, to_server(span_of(bytes.data + 1, bytes.len - 1), encoding));
			break;
		case KIND_JSON:
			append_json(out, to_server(bytes, encoding));
			break;
		case KIND_BOOL:
			appendStringInfoString(out, bytes.len > 0 && bytes.data[0] ? "true" : "false");
			break;
		case KIND_INTEGER:
			append_integer(out, get_integer(bytes));
			break;
		case KIND_NUMBER_ALIAS:
			appendStringInfoChar(out, '"');
			append_integer(out, (uint32) get_integer(bytes));
			appendStringInfoChar(out, '"');
			break;
		case KIND_FLOAT4:
		case KIND_FLOAT8:
		case KIND_NUMERIC:
			append_fraction(out, type->kind, bytes);
			break;
		case KIND_DATE:
			append_time(out, DateADTGetDatum((DateADT) get_integer(bytes)), DATEOID);
			break;
		case KIND_TIMESTAMP:
			append_time(out, TimestampGetDatum(get_integer(bytes)), TIMESTAMPOID);
			break;
		case KIND_TIMESTAMPTZ:
			append_time(out, TimestampTzGetDatum(get_integer(bytes)), TIMESTAMPTZOID);
			break;
		case KIND_ARRAY:
			append_array_binary(out, type, bytes, encoding);
			break;
		case KIND_ROW:
			append_row_binary(out, type, bytes, encoding);
			break;
		case KIND_BYTEA:
		case KIND_UNKNOWN:
			append_hex(out, bytes);
			break;
		case KIND_OTHER:
			append_other(out, type, bytes);
			break;
	}
}

void
flo_json_append_value(StringInfo out, FloJsonType *type, const FloValue *value, int encoding)
{
	Span		span = {value->data, value->len};

	if (value->kind == FLO_VALUE_NULL)
		appendStringInfoString(out, "null");
	else if (value->kind == FLO_VALUE_BINARY)
		append_binary_form(out, type, span, encoding);
	else
		append_text_form(out, type, to_server(span, encoding));
}
