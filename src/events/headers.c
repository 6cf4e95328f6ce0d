/*
 * headers.c
 *		Headers of requests that are configured, in flo.secrets or in a file.
 */
#include "postgres.h"

#include <ctype.h>

#include "conf/endpoint.h"
#include "core/files.h"
#include "events/headers.h"
#include "events/sink_state.h"

/* Of fewer characters, a value says nothing, or stands in a text by chance */
#define SHORTEST_SECRET 4

void
flo_headers_add(FloHeaders *headers, const char *name, const char *value)
{
	const char *problem = flo_header_problem(name, strlen(name), value, strlen(value));

	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot send a header that is configured: %s", problem)));
	if (headers->lines == NULL)
		headers->lines = palloc(sizeof(char *));
	else
		headers->lines = repalloc(headers->lines, sizeof(char *) * (headers->count + 1));

	/* libcurl's way to send a header without a value */
	headers->lines[headers->count++] = value[0] == '\0' ? psprintf("%s;", name) :
		psprintf("%s: %s", name, value);
}

/* At the text's end its beginning will do: the rest may have been cut off */
static void
hide(char *text, const char *secret)
{
	size_t		len = strlen(secret);

	for (size_t left = strlen(text); left >= SHORTEST_SECRET; left--, text++)
	{
		if (len >= SHORTEST_SECRET && strncmp(text, secret, Min(len, left)) == 0)
			memset(text, '*', Min(len, left));
	}
}

void
flo_headers_hide(const FloHeaders *headers, char *text)
{
	for (int i = 0; i < headers->count; i++)
	{
		const char *space = strrchr(headers->lines[i], ' ');

		if (space != NULL)
			hide(text, space + 1);
	}
}

char *
flo_headers_trim(char *text)
{
	size_t		len;

	while (isspace((unsigned char) *text))
		text++;
	len = strlen(text);
	while (len > 0 && isspace((unsigned char) text[len - 1]))
		text[--len] = '\0';
	return text;
}

void
flo_headers_read_file(FloHeaders *headers, const char *path)
{
	char	   *save;

	for (char *line = strtok_r(flo_files_read_secret(path, "headers file", FLO_HEADERS_FILE_LIMIT), "\n",
							   &save); line != NULL;
		 line = strtok_r(NULL, "\n", &save))
	{
		char	   *colon = strchr(line, ':');

		if (flo_headers_trim(line)[0] == '\0')
			continue;
		if (colon == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_CONFIG_FILE_ERROR),
					 errmsg("file \"%s\" holds a line that is no header", path),
					 errhint("Each line is a name, a colon and a value.")));
		*colon = '\0';
		flo_headers_add(headers, flo_headers_trim(line), flo_headers_trim(colon + 1));
	}
}

void
flo_headers_parse(FloHeaders *headers, const char *text)
{
	Jsonb	   *object = flo_sink_state_parse(text);
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvString)
			flo_headers_add(headers, pnstrdup(key.val.string.val, key.val.string.len),
							pnstrdup(value.val.string.val, value.val.string.len));
	}
}
