/*
 * json.c
 *		Reads the JSON that the broker sends, writes what it is sent.
 *
 * Values are skipped by their brackets and quotes only; what lies between is
 * looked at when it is asked for.  Text with brackets that do not match, or
 * strings without an end, yields "not found".
 */
#include "postgres.h"

#include "bus/json.h"
#include "mb/pg_wchar.h"

FloJson
flo_json(const char *document, int len)
{
	FloJson		json = {document, len};

	return json;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int
skip_blanks(FloJson json, int at)
{
	while (at < json.len && is_blank(json.text[at]))
		at++;
	return at;
}

/* Position behind the string that starts at "at", or -1 */
static int
skip_string(FloJson json, int at)
{
	for (at++; at < json.len; at++)
	{
		if (json.text[at] == '\\')
			at++;
		else if (json.text[at] == '"')
			return at + 1;
	}
	return -1;
}

/* Position behind the value that starts at "at", or -1 */
static int
skip_value(FloJson json, int at)
{
	int			depth = 0;
	int			start = at;

	while (at < json.len)
	{
		switch (json.text[at])
		{
			case '"':
				at = skip_string(json, at);
				if (at < 0)
					return -1;
				if (depth == 0)
					return at;
				break;
			case '{':
			case '[':
				depth++;
				at++;
				break;
			case '}':
			case ']':
				if (depth == 0)
					return at > start ? at : -1;
				at++;
				if (--depth == 0)
					return at;
				break;
			case ',':
			case ' ':
			case '\t':
			case '\n':
			case '\r':
				if (depth == 0)
					return at > start ? at : -1;
				at++;
				break;
			default:
				at++;
		}
	}
	return depth == 0 && at > start ? at : -1;
}

/*
 * Where the next member or element starts; -1 at the end.  "cursor" stands
 * behind the one before, at 0 in the beginning.
 */
static int
next_start(FloJson json, int cursor, char open)
{
	int			at = skip_blanks(json, cursor);

	if (at >= json.len || json.text[at] != (cursor == 0 ? open : ','))
		return -1;
	at = skip_blanks(json, at + 1);
	if (at >= json.len || json.text[at] == '}' || json.text[at] == ']')
		return -1;
	return at;
}

bool
flo_json_next_member(FloJson object, int *cursor, FloJson *key, FloJson *value)
{
	int			start = next_start(object, *cursor, '{');
	int			end;

	if (start < 0 || object.text[start] != '"')
		return false;
	end = skip_string(object, start);
	if (end < 0)
		return false;
	*key = flo_json(object.text + start, end - start);

	start = skip_blanks(object, end);
	if (start >= object.len || object.text[start] != ':')
		return false;
	start = skip_blanks(object, start + 1);
	end = skip_value(object, start);
	if (end < 0)
		return false;
	*value = flo_json(object.text + start, end - start);
	*cursor = end;
	return true;
}

bool
flo_json_next_element(FloJson array, int *cursor, FloJson *value)
{
	int			start = next_start(array, *cursor, '[');
	int			end;

	if (start < 0)
		return false;
	end = skip_value(array, start);
	if (end < 0)
		return false;
	*value = flo_json(array.text + start, end - start);
	*cursor = end;
	return true;
}

bool
flo_json_string_is(FloJson value, const char *text)
{
	int			len = strlen(text);

	return value.len == len + 2 && value.text[0] == '"' &&
		memcmp(value.text + 1, text, len) == 0;
}

bool
flo_json_get(FloJson object, const char *key, FloJson *value)
{
	int			cursor = 0;
	FloJson		name;

	while (flo_json_next_member(object, &cursor, &name, value))
	{
		if (flo_json_string_is(name, key))
			return true;
	}
	return false;
}

bool
flo_json_get_uint64(FloJson object, const char *key, uint64 *value)
{
	FloJson		span;
	uint64		result = 0;

	if (!flo_json_get(object, key, &span))
		return false;
	for (int i = 0; i < span.len; i++)
	{
		int			digit = span.text[i] - '0';

		if (digit < 0 || digit > 9 || result > (PG_UINT64_MAX - digit) / 10)
			return false;
		result = result * 10 + digit;
	}
	*value = result;
	return true;
}

bool
flo_json_is_true(FloJson object, const char *key)
{
	FloJson		value;

	return flo_json_get(object, key, &value) && value.len == 4 &&
		memcmp(value.text, "true", 4) == 0;
}

bool
flo_json_get_int64(FloJson object, const char *key, int64 *value)
{
	FloJson		span;
	char		buf[24];
	char	   *end;
	int64		result;

	if (!flo_json_get(object, key, &span) || span.len >= sizeof(buf))
		return false;
	memcpy(buf, span.text, span.len);
	buf[span.len] = '\0';
	errno = 0;
	result = strtoi64(buf, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*value = result;
	return true;
}

/* The code point of "\uXXXX" whose digits start at "at"; 0 when malformed */
static uint32
read_code_unit(FloJson value, int at)
{
	uint32		result = 0;

	if (at + 4 > value.len)
		return 0;
	for (int i = 0; i < 4; i++)
	{
		char		c = value.text[at + i];

		if (c >= '0' && c <= '9')
			result = result * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			result = result * 16 + ((c | 0x20) - 'a' + 10);
		else
			return 0;
	}
	return result;
}

/* Append an escape sequence; returns the position behind it */
static int
append_escape(StringInfo buf, FloJson value, int at)
{
	uint32		unit;

	switch (value.text[at])
	{
		case 'n':
			appendStringInfoChar(buf, '\n');
			return at + 1;
		case 't':
			appendStringInfoChar(buf, '\t');
			return at + 1;
		case 'r':
		case 'b':
		case 'f':
			appendStringInfoChar(buf, ' ');
			return at + 1;
		case 'u':
			unit = read_code_unit(value, at + 1);
			if (unit >= 0x20 && unit < 0x80)
				appendStringInfoChar(buf, (char) unit);
			else if (unit >= 0x80 && (unit < 0xD800 || unit > 0xDFFF) &&
					 GetDatabaseEncoding() == PG_UTF8)
			{
				unsigned char utf8[5] = {0};

				unicode_to_utf8(unit, utf8);
				appendStringInfoString(buf, (char *) utf8);
			}
			else
				appendStringInfoChar(buf, '?');
			return at + 5;
		default:
			appendStringInfoChar(buf, value.text[at]);
			return at + 1;
	}
}

/* Replace what the database's encoding may not have */
static void
make_storable(StringInfo buf)
{
	if (GetDatabaseEncoding() == PG_UTF8 &&
		pg_verify_mbstr(PG_UTF8, buf->data, buf->len, true))
		return;
	for (int i = 0; i < buf->len; i++)
	{
		if (IS_HIGHBIT_SET(buf->data[i]) || buf->data[i] == '\0')
			buf->data[i] = '?';
	}
}

char *
flo_json_string(FloJson value)
{
	StringInfoData buf;
	int			at = 1;
	int			end = value.len - 1;

	if (value.len < 2 || value.text[0] != '"' || value.text[end] != '"')
		return NULL;
	initStringInfo(&buf);
	while (at < end)
	{
		if (value.text[at] == '\\' && at + 1 < end)
			at = append_escape(&buf, value, at + 1);
		else
			appendStringInfoChar(&buf, value.text[at++]);
	}
	make_storable(&buf);
	return buf.data;
}

char *
flo_json_get_string(FloJson object, const char *key)
{
	FloJson		value;

	if (!flo_json_get(object, key, &value))
		return NULL;
	return flo_json_string(value);
}

void
flo_json_append_string(StringInfo buf, const char *text)
{
	bool		utf8 = GetDatabaseEncoding() == PG_UTF8;

	appendStringInfoChar(buf, '"');
	for (; *text != '\0'; text++)
	{
		unsigned char c = (unsigned char) *text;

		if (c == '"' || c == '\\')
			appendStringInfo(buf, "\\%c", c);
		else if (c < 0x20)
			appendStringInfo(buf, "\\u%04x", c);
		else if (c >= 0x80 && !utf8)
			appendStringInfoChar(buf, '?');
		else
			appendStringInfoChar(buf, c);
	}
	appendStringInfoChar(buf, '"');
}
