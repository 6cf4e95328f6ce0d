/*
 * record.c
 *		JSON documents that cross hosts, read into structs and written from them.
 *
 * The server's own jsonb does the parsing, in any state of the process: it
 * needs no transaction, but wants the database's encoding.  A conversion would
 * need a transaction, so characters beyond ASCII are given to it as escapes,
 * which it translates by itself.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlogdefs.h"
#include "core/compat.h"
#include "core/text.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "wire/record.h"

#define AT(record, field, type) (*(type *) ((char *) (record) + (field)->offset))

/* Where the reader is, for its errors */
typedef struct Place
{
	const char *key;
	const char *list;			/* the array, NULL outside of any */
	int			index;			/* in it */
	const char *field;
	bool		unversioned;	/* the document is of 0.1 */
} Place;

pg_noreturn static void
malformed(const Place *place, const char *what)
{
	StringInfoData where;

	initStringInfo(&where);
	if (place->list != NULL)
		appendStringInfo(&where, "%s[%d]", place->list, place->index);
	if (place->field != NULL)
		appendStringInfo(&where, "%s%s", where.len > 0 ? "." : "", place->field);
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 where.len > 0 ?
			 errmsg("malformed document \"%s\": field \"%s\" %s", place->key, where.data, what) :
			 errmsg("malformed document \"%s\": it %s", place->key, what),
			 errhint("pg_flo has not written it so: look who else may write to this NATS account.")));
}

/* --- text between encodings ---------------------------------------------- */

/* Has this database's encoding that character?  It is said as an error only. */
static bool
has_character(pg_wchar c)
{
	MemoryContext context = CurrentMemoryContext;
	unsigned char character[MAX_UNICODE_EQUIVALENT_STRING + 1];
	volatile bool has = true;

	PG_TRY();
	{
		pg_unicode_to_server(c, character);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		has = false;
	}
	PG_END_TRY();
	return has;
}

/* Characters beyond ASCII as escapes, or as '?' */
static char *
escape_wide(const char *text, size_t len, bool shown_only, bool nearest)
{
	StringInfoData buf;
	const unsigned char *next = (const unsigned char *) text;
	const unsigned char *end = next + len;

	initStringInfo(&buf);
	while (next < end)
	{
		pg_wchar	c;

		if (!IS_HIGHBIT_SET(*next))
		{
			appendStringInfoChar(&buf, (char) *next++);
			continue;
		}
		c = utf8_to_unicode(next);
		next += pg_utf_mblen(next);
		if (shown_only || (nearest && !has_character(c)))
			appendStringInfoChar(&buf, '?');
		else if (c < 0x10000)
			appendStringInfo(&buf, "\\u%04x", c);
		else
			appendStringInfo(&buf, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
							 0xDC00 + ((c - 0x10000) & 0x3FF));
	}
	return buf.data;
}

char *
flo_record_ascii(const char *json)
{
	return escape_wide(json, strlen(json), false, false);
}

/* Fit for jsonb in this database */
static char *
take_in(const FloRecordFormat *format, const Place *place, const char *json, size_t len)
{
	if (!pg_verify_mbstr(format->local ? GetDatabaseEncoding() : PG_UTF8, json, (int) len, true))
		malformed(place, "is not text of its encoding");
	if (format->local || GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return pnstrdup(json, len);
	return escape_wide(json, len, format->shown_only, format->nearest);
}

/* A text of this database as it is to travel */
static char *
give_out(const FloRecordFormat *format, const char *text)
{
	char	   *copy;

	if (format->local)
		return unconstify(char *, text);
	copy = pstrdup(text);
	if (GetDatabaseEncoding() != PG_UTF8 && IsTransactionState())
		copy = pg_server_to_any(copy, strlen(copy), PG_UTF8);
	if (pg_verify_mbstr(PG_UTF8, copy, strlen(copy), true))
		return copy;
	if (!format->shown_only)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("a name in this database, whose encoding is %s, is not UTF-8 and cannot be sent", GetDatabaseEncodingName())));
	for (char *c = copy; *c != '\0'; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return copy;
}

/* --- times --------------------------------------------------------------- */

char *
flo_time_format(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		return pstrdup("");
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fraction);
}

bool
flo_time_parse(const char *text, TimestampTz *time)
{
	struct pg_tm tm = {0};
	int			consumed = 0;
	int			hours = 0;
	int			minutes = 0;
	int			zone = 0;
	fsec_t		fraction = 0;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &consumed) < 6 ||
		tm.tm_mon < 1 || tm.tm_mon > MONTHS_PER_YEAR || tm.tm_mday < 1 || tm.tm_mday > 31)
		return false;
	text += consumed;
	if (*text == '.')
	{
		int			unit = 100000;

		for (text++; *text >= '0' && *text <= '9'; text++, unit /= 10)
			fraction += (*text - '0') * unit;
	}
	if ((*text == '+' || *text == '-') && sscanf(text + 1, "%2d:%2d", &hours, &minutes) == 2)
		zone = (*text == '+' ? -1 : 1) * (hours * 60 + minutes) * 60;
	return tm2timestamp(&tm, fraction, &zone, time) == 0;
}

/* --- reading ------------------------------------------------------------- */

static char *
string_of(const Place *place, const JsonbValue *value)
{
	if (value->type != jbvString)
		malformed(place, "is not a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static int64
number_of(const Place *place, const JsonbValue *value, int64 min, int64 max)
{
	char	   *text;
	char	   *end;
	int64		number;

	if (value->type != jbvNumeric)
		malformed(place, "is not a number");
	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
	errno = 0;
	number = strtoi64(text, &end, 10);
	if (errno != 0 || *end != '\0' || end == text)
		malformed(place, "is not a whole number of 64 bits");
	if (number < min || number > max)
		malformed(place, psprintf("is not between " INT64_FORMAT " and " INT64_FORMAT, min, max));
	pfree(text);
	return number;
}

static uint64
system_of(const Place *place, const JsonbValue *value)
{
	char	   *text = string_of(place, value);
	char	   *end;
	uint64		number;

	errno = 0;
	number = strtou64(text, &end, 10);
	if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9')
		malformed(place, "is not a system identifier");
	pfree(text);
	return number;
}

static char *
uuid_of(const Place *place, const JsonbValue *value)
{
	char	   *text = string_of(place, value);
	bool		fine = strlen(text) == FLO_UUID_BUF - 1;

	for (int i = 0; fine && text[i] != '\0'; i++)
		fine = i == 8 || i == 13 || i == 18 || i == 23 ? text[i] == '-' :
			strchr("0123456789abcdef", text[i]) != NULL;
	if (!fine)
		malformed(place, "is not a UUID");
	return text;
}

static void
take_uuid(const Place *place, const JsonbValue *value, char *into)
{
	char	   *text = uuid_of(place, value);

	strlcpy(into, text, FLO_UUID_BUF);
	pfree(text);
}

static XLogRecPtr
lsn_of(const Place *place, const JsonbValue *value)
{
	char	   *text = string_of(place, value);
	XLogRecPtr	lsn;

	if (!flo_lsn_try(text, &lsn))
		malformed(place, "is not an LSN");
	pfree(text);
	return lsn;
}

static TimestampTz
time_of(const Place *place, const JsonbValue *value)
{
	char	   *text = string_of(place, value);
	TimestampTz time;

	if (!flo_time_parse(text, &time))
		malformed(place, "is not a time");
	pfree(text);
	return time;
}

static char *
text_of(const Place *place, const JsonbValue *value, const FloField *field)
{
	char	   *text = string_of(place, value);

	if (field->max > 0 && strlen(text) > (size_t) field->max)
		malformed(place, psprintf("is longer than " INT64_FORMAT " bytes", field->max));
	return text;
}

/* Past an identifier as quote_identifier() writes it, NULL when there is none */
static const char *
skip_identifier(const char *p)
{
	if (*p != '"')
	{
		size_t		len = strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_");

		return len > 0 ? p + len : NULL;
	}
	for (p++; *p != '\0'; p++)
	{
		if (*p == '"' && *++p != '"')
			return p;
	}
	return NULL;
}

/* Past a modifier in parentheses: numbers, or words of an extension's type */
static const char *
skip_modifier(const char *p)
{
	const char *end = p + 1 +
		strspn(p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ ,.-");
	const char *comment = strstr(p, "--");

	return *end == ')' && (comment == NULL || comment > end) ? end + 1 : NULL;
}

/* Past a further word of a built-in type's name and the space before it */
static const char *
skip_word(const char *p)
{
	static const char *const words[] = {
		"precision", "varying", "with", "without", "time", "zone", "to",
		"year", "month", "day", "hour", "minute", "second"
	};
	size_t		len = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz");

	for (int i = 0; i < lengthof(words); i++)
	{
		if (strlen(words[i]) == len && strncmp(p + 1, words[i], len) == 0)
			return p + 1 + len;
	}
	return NULL;
}

static bool
is_type(const char *text)
{
	const char *p = skip_identifier(text);

	if (p != NULL && *p == '.')
		p = skip_identifier(p + 1);
	while (p != NULL && (*p == ' ' || *p == '('))
		p = *p == ' ' ? skip_word(p) : skip_modifier(p);
	return p != NULL && (*p == '\0' || strcmp(p, "[]") == 0);
}

static char *
type_of(const Place *place, const JsonbValue *value)
{
	char	   *text = string_of(place, value);

	if (!is_type(text))
		malformed(place, "is not the name of a type");
	return text;
}

static int
enum_of(const Place *place, const JsonbValue *value, const FloField *field)
{
	char	   *text = string_of(place, value);
	int			i = 0;

	while (field->names[i] != NULL && strcmp(text, field->names[i]) != 0)
		i++;
	if (field->names[i] == NULL)
		malformed(place, "has an unknown value");
	pfree(text);
	return i;
}

static void read_fields(const FloRecordFormat *format, const Place *place, JsonbContainer *object,
						void *record);

static void *
element_of(const Place *place, const JsonbValue *value, const FloRecordFormat *format)
{
	void	   *record = palloc0(format->size);

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		malformed(place, "is not an object");
	read_fields(format, place, value->val.binary.data, record);
	return record;
}

static List *
list_of(const Place *outer, const JsonbValue *value, const FloField *field)
{
	Place		place = {outer->key, field->name, 0, "element"};
	List	   *list = NIL;

	/* it knew one */
	if (outer->unversioned && field->type == FLO_FIELD_UUIDS && value->type == jbvString)
		return list_make1(uuid_of(outer, value));
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		malformed(outer, "is not an array");
	for (; place.index < JsonContainerSize(value->val.binary.data); place.index++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, place.index);

		if (field->type == FLO_FIELD_OIDS)
			list = lappend_oid(list, (Oid) number_of(&place, element, 1, PG_UINT32_MAX));
		else if (field->type == FLO_FIELD_UUIDS)
			list = lappend(list, uuid_of(&place, element));
		else if (field->type == FLO_FIELD_TEXTS)
			list = lappend(list, string_of(&place, element));
		else
			list = lappend(list, element_of(&place, element, field->of));
		pfree(element);
	}
	return list;
}

/*
 * A new type is read here, written by write_field(), and has a value that counts
 * as absent in is_absent(): what is not written must be read as just that.
 */
static void
read_field(const FloField *field, const Place *place, JsonbValue *value, void *record)
{
	int64		min = field->max != 0 ? field->min : PG_INT64_MIN;
	int64		max = field->max != 0 ? field->max : PG_INT64_MAX;

	switch (field->type)
	{
		case FLO_FIELD_TEXT:
			AT(record, field, char *) = text_of(place, value, field);
			break;
		case FLO_FIELD_TYPE:
			AT(record, field, char *) = type_of(place, value);
			break;
		case FLO_FIELD_ENUM:
			AT(record, field, int) = enum_of(place, value, field);
			break;
		case FLO_FIELD_UUID:
			take_uuid(place, value, &AT(record, field, char));
			break;
		case FLO_FIELD_LSN:
			AT(record, field, XLogRecPtr) = lsn_of(place, value);
			break;
		case FLO_FIELD_TIME:
			AT(record, field, TimestampTz) = time_of(place, value);
			break;
		case FLO_FIELD_SYSTEM:
			AT(record, field, uint64) = system_of(place, value);
			break;
		case FLO_FIELD_INT64:
			AT(record, field, int64) = number_of(place, value, min, max);
			break;
		case FLO_FIELD_UINT64:
			AT(record, field, uint64) = number_of(place, value, 0, max);
			break;
		case FLO_FIELD_UINT32:
			AT(record, field, uint32) = number_of(place, value, field->min,
												  Min(max, PG_UINT32_MAX));
			break;
		case FLO_FIELD_BOOL:
			if (value->type != jbvBool)
				malformed(place, "is not true or false");
			AT(record, field, bool) = value->val.boolean;
			break;
		case FLO_FIELD_OIDS:
		case FLO_FIELD_TEXTS:
		case FLO_FIELD_UUIDS:
		case FLO_FIELD_RECORDS:
			AT(record, field, List *) = list_of(place, value, field);
			break;
		case FLO_FIELD_JSON:
			AT(record, field, Jsonb *) = JsonbValueToJsonb(value);
			break;
	}
}

/* Of a document of 0.1: a number that it does not tell is zero; who and what, it does tell */
static bool
is_known_without(const FloField *field)
{
	switch (field->type)
	{
		case FLO_FIELD_INT64:
		case FLO_FIELD_UINT64:
		case FLO_FIELD_UINT32:
		case FLO_FIELD_BOOL:
		case FLO_FIELD_LSN:
			return true;
		default:
			return false;
	}
}

static void
read_fields(const FloRecordFormat *format, const Place *outer, JsonbContainer *object, void *record)
{
	for (int i = 0; i < format->nfields; i++)
	{
		const FloField *field = &format->fields[i];
		Place		place = *outer;
		JsonbValue	value;

		place.field = field->name;
		if (outer->unversioned && field->formerly != NULL)
			place.field = field->formerly;
		if (getKeyJsonValueFromContainer(object, place.field, strlen(place.field),
										 &value) != NULL &&
			value.type != jbvNull)
			read_field(field, &place, &value, record);
		else if (field->otherwise != 0)
			AT(record, field, int64) = field->otherwise;
		else if (field->required && !(outer->unversioned && is_known_without(field)))
			malformed(&place, "is missing");
	}
}

/* What jsonb has against the text, it says in many ways; here it is one */
static Jsonb *
parse(const Place *place, const char *json)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *result = NULL;

	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
		malformed(place, psprintf("is not JSON: %s", error->message));
	}
	PG_END_TRY();
	return result;
}

static void
check_version(const FloRecordFormat *format, Place *outer, JsonbContainer *object)
{
	Place		place = *outer;
	JsonbValue	value;

	place.field = "version";
	if (getKeyJsonValueFromContainer(object, "version", strlen("version"), &value) == NULL)
	{
		if (format->unversioned == NULL)
			malformed(&place, "is missing");
		outer->unversioned = true;
		return;
	}
	if (number_of(&place, &value, 1, PG_INT32_MAX) != format->version)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("document \"%s\" has version " INT64_FORMAT ", here it is known up to %d",
						place.key, number_of(&place, &value, 1, PG_INT32_MAX), format->version),
				 errhint("Update pg_flo here to the version of the other side.")));
}

void *
flo_record_read(const FloRecordFormat *format, const char *key, const char *json, size_t len)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "pg_flo document",
												  ALLOCSET_DEFAULT_SIZES);
	void	   *record = palloc0(format->size);
	Place		place = {key, NULL, 0, NULL};
	Jsonb	   *document;

	MemoryContextSwitchTo(scratch);
	document = parse(&place, take_in(format, &place, json, len));
	if (!JB_ROOT_IS_OBJECT(document))
		malformed(&place, "is not an object");
	check_version(format, &place, &document->root);
	MemoryContextSwitchTo(caller);
	read_fields(format, &place, &document->root, record);
	if (place.unversioned)
		format->unversioned(record);
	MemoryContextDelete(scratch);
	return record;
}

/* --- writing ------------------------------------------------------------- */

static void write_fields(StringInfo buf, const FloRecordFormat *format, const void *record);

/* Is there nothing to say? */
static bool
is_absent(const FloField *field, const void *record)
{
	switch (field->type)
	{
		case FLO_FIELD_TEXT:
		case FLO_FIELD_TYPE:
		case FLO_FIELD_OIDS:
		case FLO_FIELD_TEXTS:
		case FLO_FIELD_UUIDS:
		case FLO_FIELD_RECORDS:
		case FLO_FIELD_JSON:
			return AT(record, field, void *) == NULL && !field->required;
		case FLO_FIELD_UUID:
			return AT(record, field, char) == '\0';
		case FLO_FIELD_LSN:
		case FLO_FIELD_TIME:
		case FLO_FIELD_INT64:
		case FLO_FIELD_UINT64:
			return AT(record, field, int64) == field->otherwise && !field->required;
		case FLO_FIELD_UINT32:
			return AT(record, field, uint32) == 0 && !field->required;
		case FLO_FIELD_BOOL:
			return !AT(record, field, bool) && !field->required;
		default:
			return false;
	}
}

static void
write_list(StringInfo buf, const FloRecordFormat *format, const FloField *field, const List *list)
{
	ListCell   *cell;

	appendStringInfoChar(buf, '[');
	foreach(cell, list)
	{
		if (foreach_current_index(cell) > 0)
			appendStringInfoString(buf, ", ");
		if (field->type == FLO_FIELD_OIDS)
			appendStringInfo(buf, "%u", lfirst_oid(cell));
		else if (field->type == FLO_FIELD_UUIDS)
			appendStringInfo(buf, "\"%s\"", (char *) lfirst(cell));
		else if (field->type == FLO_FIELD_TEXTS)
			escape_json(buf, give_out(format, lfirst(cell)));
		else
		{
			appendStringInfoChar(buf, '{');
			write_fields(buf, field->of, lfirst(cell));
			appendStringInfoChar(buf, '}');
		}
	}
	appendStringInfoChar(buf, ']');
}

static void
write_field(StringInfo buf, const FloRecordFormat *format, const FloField *field,
			const void *record)
{
	switch (field->type)
	{
		case FLO_FIELD_TEXT:
		case FLO_FIELD_TYPE:
			escape_json(buf, give_out(format, AT(record, field, char *)));
			break;
		case FLO_FIELD_ENUM:
			appendStringInfo(buf, "\"%s\"", field->names[AT(record, field, int)]);
			break;
		case FLO_FIELD_UUID:
			appendStringInfo(buf, "\"%s\"", &AT(record, field, char));
			break;
		case FLO_FIELD_LSN:
			appendStringInfo(buf, "\"%X/%X\"", LSN_FORMAT_ARGS(AT(record, field, XLogRecPtr)));
			break;
		case FLO_FIELD_TIME:
			appendStringInfo(buf, "\"%s\"", flo_time_format(AT(record, field, TimestampTz)));
			break;
		case FLO_FIELD_SYSTEM:
			appendStringInfo(buf, "\"" UINT64_FORMAT "\"", AT(record, field, uint64));
			break;
		case FLO_FIELD_INT64:
			appendStringInfo(buf, INT64_FORMAT, AT(record, field, int64));
			break;
		case FLO_FIELD_UINT64:
			appendStringInfo(buf, UINT64_FORMAT, AT(record, field, uint64));
			break;
		case FLO_FIELD_UINT32:
			appendStringInfo(buf, "%u", AT(record, field, uint32));
			break;
		case FLO_FIELD_BOOL:
			appendStringInfoString(buf, AT(record, field, bool) ? "true" : "false");
			break;
		case FLO_FIELD_OIDS:
		case FLO_FIELD_TEXTS:
		case FLO_FIELD_UUIDS:
		case FLO_FIELD_RECORDS:
			write_list(buf, format, field, AT(record, field, List *));
			break;
		case FLO_FIELD_JSON:
			appendStringInfoString(buf,
								   give_out(format,
											JsonbToCString(NULL, &AT(record, field, Jsonb *)->root,
														   VARSIZE(AT(record, field,
																	  Jsonb *)))));
			break;
	}
}

static void
write_fields(StringInfo buf, const FloRecordFormat *format, const void *record)
{
	for (int i = 0; i < format->nfields; i++)
	{
		const FloField *field = &format->fields[i];

		if (is_absent(field, record))
			continue;
		if (buf->data[buf->len - 1] != '{')
			appendStringInfoString(buf, ", ");
		appendStringInfoChar(buf, '"');
		appendStringInfoString(buf, field->name);
		appendStringInfoString(buf, "\": ");
		write_field(buf, format, field, record);
	}
}

char *
flo_record_write(const FloRecordFormat *format, const void *record)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "pg_flo document",
												  ALLOCSET_DEFAULT_SIZES);
	StringInfoData buf;
	char	   *json;

	MemoryContextSwitchTo(scratch);
	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"version\": %d", format->version);
	write_fields(&buf, format, record);
	appendStringInfoChar(&buf, '}');
	json = MemoryContextStrdup(caller, buf.data);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(scratch);
	return json;
}
