/*
 * json_scan.c
 *		Goes through JSON that came from elsewhere, where it lies.
 */
#include "postgres.h"

#include "events/json_scan.h"

static const char *
skip_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/* Behind the string that begins here; "end" when it does not end */
static const char *
skip_string(const char *at, const char *end)
{
	for (at++; at < end && *at != '"'; at++)
	{
		if (*at == '\\' && at + 1 < end)
			at++;
	}
	return at < end ? at + 1 : end;
}

/* Behind the value that begins here: brackets are only counted */
static const char *
skip_value(const char *at, const char *end)
{
	int64		depth = 0;

	while (at < end)
	{
		char		c = *at;

		if (c == '"')
			at = skip_string(at, end);
		else if (c == '{' || c == '[')
		{
			depth++;
			at++;
		}
		else if (c == '}' || c == ']')
		{
			if (depth == 0)
				return at;
			depth--;
			at++;
		}
		else if (depth == 0)
		{
			while (at < end && strchr(",:]} \t\r\n", *at) == NULL)
				at++;
			return at;
		}
		else
			at++;
		if (depth == 0)
			return at;
	}
	return end;
}

FloJsonScan
flo_json_scan(FloJsonPart value)
{
	FloJsonScan scan = {value.data, value.data, false};
	const char *end = value.data + value.len;
	const char *at = value.data != NULL ? skip_space(value.data, end) : NULL;

	if (at == NULL || at == end || (*at != '{' && *at != '['))
		return scan;
	scan.is_object = *at == '{';
	scan.at = at + 1;
	scan.end = end;
	return scan;
}

bool
flo_json_next(FloJsonScan *scan, FloJsonPart *key, FloJsonPart *value)
{
	const char *end = scan->end;
	const char *at = skip_space(scan->at, end);

	if (at < end && *at == ',')
		at = skip_space(at + 1, end);
	if (at >= end || *at == '}' || *at == ']')
		return false;
	if (scan->is_object)
	{
		const char *start = at;

		if (*at != '"')
			return false;
		at = skip_string(at, end);
		if (key != NULL)
			*key = flo_json_part(start, at - start);
		at = skip_space(at, end);
		if (at >= end || *at != ':')
			return false;
		at = skip_space(at + 1, end);
	}
	scan->at = skip_value(at, end);
	*value = flo_json_part(at, scan->at - at);
	return value->len > 0;
}

FloJsonPart
flo_json_find(FloJsonPart object, const char *name)
{
	FloJsonScan scan = flo_json_scan(object);
	FloJsonPart key;
	FloJsonPart value;
	int			len = strlen(name);

	while (scan.is_object && flo_json_next(&scan, &key, &value))
	{
		if (key.len == len + 2 && memcmp(key.data + 1, name, len) == 0)
			return value;
	}
	return flo_json_part(NULL, 0);
}

bool
flo_json_is(FloJsonPart value, const char *text)
{
	return value.data != NULL && value.len == strlen(text) &&
		memcmp(value.data, text, value.len) == 0;
}

int64
flo_json_number(FloJsonPart value, int64 otherwise)
{
	int64		number = 0;

	if (value.data == NULL || value.len < 1 || value.len > 18)
		return otherwise;
	for (int i = 0; i < value.len; i++)
	{
		if (value.data[i] < '0' || value.data[i] > '9')
			return otherwise;
		number = number * 10 + (value.data[i] - '0');
	}
	return number;
}

char *
flo_json_content(FloJsonPart value)
{
	if (value.data == NULL || value.len < 2 || value.data[0] != '"')
		return pstrdup("");
	return pnstrdup(value.data + 1, value.len - 2);
}
