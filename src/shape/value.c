/*
 * value.c
 *		A value as it travels, as text and as a Datum of its column's type.
 *
 * Types are those of the source.  Built-in ones have the same OID everywhere;
 * others are found here by the name that the source sent with the relation.
 * That name is already the one below a domain, so domains need no care.
 *
 * The types that rules meet most are read without going through their
 * functions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "shape/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static Oid
find_type(const FloColumn *column)
{
	Oid			namespace;
	Oid			type;

	if (column->type_name == NULL)
		return get_typisdefined(column->type) ? column->type : InvalidOid;
	namespace = get_namespace_oid(column->type_schema, true);
	if (!OidIsValid(namespace))
		return InvalidOid;
	type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
						   CStringGetDatum(column->type_name), ObjectIdGetDatum(namespace));
	if (!OidIsValid(type) || !get_typisdefined(type))
		return InvalidOid;
	return getBaseType(type);
}

void
flo_reader_init(FloReader *reader, const FloColumn *column, Oid collation)
{
	Oid			function;
	bool		is_varlena;

	memset(reader, 0, sizeof(FloReader));
	reader->column = pstrdup(column->name);
	reader->type = find_type(column);
	reader->type_text = column->type_name == NULL ? psprintf("%u", column->type) :
		quote_qualified_identifier(column->type_schema, column->type_name);

	/*
	 * a length or precision belongs to the column; what a rule makes need not
	 * fit it
	 */
	reader->typmod = -1;
	if (!OidIsValid(reader->type))
		return;

	reader->collation = OidIsValid(collation) ? collation : get_typcollation(reader->type);
	reader->builtin = reader->type < FirstNormalObjectId;
	reader->is_text = reader->type == TEXTOID || reader->type == VARCHAROID;
	getTypeInputInfo(reader->type, &function, &reader->input_param);
	fmgr_info(function, &reader->input);
	getTypeOutputInfo(reader->type, &function, &is_varlena);
	fmgr_info(function, &reader->output);
	/* binary values of other types do not travel */
	if (reader->builtin)
	{
		HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(reader->type));

		if (HeapTupleIsValid(tuple))
		{
			reader->has_receive = OidIsValid(((Form_pg_type) GETSTRUCT(tuple))->typreceive);
			ReleaseSysCache(tuple);
		}
	}
	if (reader->has_receive)
	{
		getTypeBinaryInputInfo(reader->type, &function, &reader->receive_param);
		fmgr_info(function, &reader->receive);
	}
}

void
flo_reader_require_type(const FloReader *reader)
{
	if (!OidIsValid(reader->type))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type %s of column \"%s\" does not exist in this database",
						reader->type_text, reader->column),
				 errhint("Create the type here, or let the replicator execute the rule.")));
}

static Datum
receive(FloReader *reader, const FloValue *value)
{
	StringInfoData buf;
	Datum		result;

	if (!reader->has_receive)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("a value of type %s travelled in binary form", reader->type_text)));
	initStringInfo(&buf);
	appendBinaryStringInfo(&buf, value->data, value->len);
	result = ReceiveFunctionCall(&reader->receive, &buf, reader->receive_param, reader->typmod);
	if (buf.cursor != buf.len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("incorrect binary data format for type %s", format_type_be(reader->type))));
	return result;
}

static inline int64
read_int64(const char *data)
{
	uint64		raw;

	memcpy(&raw, data, sizeof(raw));
	return (int64) pg_ntoh64(raw);
}

static inline int32
read_int32(const char *data)
{
	uint32		raw;

	memcpy(&raw, data, sizeof(raw));
	return (int32) pg_ntoh32(raw);
}

Datum
flo_reader_datum(FloReader *reader, const FloValue *value)
{
	const char *text;
	char	   *copy;
	int			len;

	flo_reader_require_type(reader);
	if (value->kind == FLO_VALUE_BINARY && !reader->is_text)
	{
		if (reader->type == INT4OID && value->len == sizeof(int32))
			return Int32GetDatum(read_int32(value->data));
		if ((reader->type == INT8OID || reader->type == TIMESTAMPTZOID ||
			 reader->type == TIMESTAMPOID) &&
			value->len == sizeof(int64))
			return Int64GetDatum(read_int64(value->data));
		return receive(reader, value);
	}
	text = flo_reader_text(reader, value, &len);
	if (reader->is_text)
		return PointerGetDatum(cstring_to_text_with_len(text, len));
	copy = pnstrdup(text, len);
	return InputFunctionCall(&reader->input, copy, reader->input_param, reader->typmod);
}

const char *
flo_reader_text(FloReader *reader, const FloValue *value, int *len)
{
	char	   *text;

	if (value->kind == FLO_VALUE_BINARY && !reader->is_text)
	{
		flo_reader_require_type(reader);
		text = OutputFunctionCall(&reader->output, flo_reader_datum(reader, value));
		*len = strlen(text);
		return text;
	}
	/* the same pointer, and no zero behind it, when the encodings are one */
	text = pg_client_to_server(value->data, value->len);
	*len = text == value->data ? (int) value->len : (int) strlen(text);
	return text;
}

void
flo_value_set_text(FloValue *value, const char *text, int len)
{
	char	   *converted;

	/* one byte more, which readers may overwrite */
	value->kind = FLO_VALUE_TEXT;
	value->data = palloc(len + 1);
	memcpy(value->data, text, len);
	value->data[len] = '\0';
	value->len = len;
	converted = pg_server_to_client(value->data, len);
	if (converted != value->data)
	{
		value->data = converted;
		value->len = strlen(converted);
	}
}
