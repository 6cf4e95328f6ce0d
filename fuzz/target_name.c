/*
 * target_name.c
 *		Names that are made of templates, and the tokens in them.
 *
 * An input is two texts ended by zeros: a template, and what its tokens stand for.
 */
#include "postgres.h"

#include "events/escape.h"
#include "events/template.h"

#include "fuzz.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyz0123456789_"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static const struct
{
	FloEscape	escape;
	const char *legal;
	char		mark;
}			escapes[] = {
	{FLO_ESCAPE_NATS, LETTERS UPPER "-=", '='},
	{FLO_ESCAPE_INDEX, LETTERS "=", '='},
	{FLO_ESCAPE_TOPIC, LETTERS UPPER "-", '-'},
};

/* What doc/events.md tells readers to do */
static char *
read_token(const char *token, char mark)
{
	StringInfoData text;

	initStringInfo(&text);
	if (token[0] == mark && token[1] == '\0')
		return text.data;
	for (const char *c = token; *c != '\0'; c++)
	{
		char		hex[3] = {0};

		if (*c != mark)
		{
			appendStringInfoChar(&text, *c);
			continue;
		}
		memcpy(hex, c + 1, 2);
		fuzz_check(strspn(hex, "0123456789abcdefABCDEF") == 2);
		appendStringInfoChar(&text, (char) strtol(hex, NULL, 16));
		c += 2;
	}
	return text.data;
}

static void
check_token(const char *text)
{
	for (int i = 0; i < lengthof(escapes); i++)
	{
		StringInfoData token;

		initStringInfo(&token);
		flo_escape_append(&token, escapes[i].escape, text, strlen(text));
		fuzz_check(token.len > 0 && strspn(token.data, escapes[i].legal) == token.len);
		fuzz_check(strcmp(read_token(token.data, escapes[i].mark), text) == 0);
		fuzz_check(escapes[i].escape != FLO_ESCAPE_INDEX || token.data[0] != '_');
		flo_escape_bound(&token, escapes[i].escape, 0, 80);
		fuzz_check(token.len <= 80 && strspn(token.data, escapes[i].legal) == token.len);
	}
}

/* As a broker matches a subject with one that is subscribed to */
static bool
is_match(const char *pattern, const char *subject)
{
	for (;;)
	{
		size_t		len = strcspn(pattern, ".");
		size_t		other = strcspn(subject, ".");

		if (!(len == 1 && *pattern == '*') &&
			(len != other || memcmp(pattern, subject, len) != 0))
			return false;
		pattern += len;
		subject += other;
		if (*pattern == '\0' || *subject == '\0')
			return *pattern == *subject;
		pattern++;
		subject++;
	}
}

static void
check_template(const char *text, const char *value)
{
	FloTemplate *template = flo_template_parse("subject", text, FLO_TOKENS_ALL);
	FloTemplateValues values = {0};
	StringInfoData token;
	StringInfoData name;
	StringInfoData pattern;

	initStringInfo(&token);
	initStringInfo(&name);
	initStringInfo(&pattern);
	flo_escape_append(&token, FLO_ESCAPE_NATS, value, strlen(value));
	flo_template_wildcard(template, &values, &pattern);
	for (int i = 0; i < FLO_TOKENS; i++)
	{
		values.values[i] = token.data;
		fuzz_check(!flo_template_uses(template, i) || strchr(text, '{') != NULL);
	}
	flo_template_expand(template, &values, &name);
	fuzz_check(strlen(name.data) == name.len && strlen(pattern.data) == pattern.len);
	fuzz_check(is_match(pattern.data, name.data));
	resetStringInfo(&pattern);
	flo_template_wildcard(template, &values, &pattern);
	fuzz_check(strcmp(pattern.data, name.data) == 0);
}

void
fuzz_name(const char *data, size_t len)
{
	char	   *template = fuzz_next_text(&data, &len);
	char	   *value = fuzz_next_text(&data, &len);

	if (template == NULL)
		return;
	check_token(template);
	check_template(template, value != NULL ? value : "");
}
