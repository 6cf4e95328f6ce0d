/*
 * template.c
 *		Names that are made for each event: subjects, indexes, topics.
 */
#include "postgres.h"

#include "core/compat.h"
#include "events/template.h"

static const char *const token_names[FLO_TOKENS] = {
	[FLO_TOKEN_GROUP] = "group",
	[FLO_TOKEN_DATABASE] = "database",
	[FLO_TOKEN_SCHEMA] = "schema",
	[FLO_TOKEN_TABLE] = "table",
	[FLO_TOKEN_OPERATION] = "operation",
	[FLO_TOKEN_KEY] = "key",
	[FLO_TOKEN_PARTITION] = "partition",
};

/* Literal text, and the token behind it */
typedef struct Part
{
	int			start;			/* of the text */
	int			len;
	int			token;			/* -1: none, at the end */
} Part;

struct FloTemplate
{
	int			uses;			/* bits */
	int			nparts;
	char	   *text;
	Part		parts[FLEXIBLE_ARRAY_MEMBER];
};

pg_noreturn static void
refuse(const char *option, const char *problem, int allowed)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < FLO_TOKENS; i++)
		if (allowed & FLO_TOKEN_BIT(i))
			appendStringInfo(&names, "%s{%s}", names.len > 0 ? ", " : "", token_names[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\": %s", option, problem),
			 errhint("Tokens that can be in it are: %s. Braces are written \"{{\" and \"}}\".",
					 names.data)));
}

static int
find_token(const char *name, int len, int allowed)
{
	for (int i = 0; i < FLO_TOKENS; i++)
	{
		if ((allowed & FLO_TOKEN_BIT(i)) != 0 && strlen(token_names[i]) == len &&
			strncmp(token_names[i], name, len) == 0)
			return i;
	}
	return -1;
}

FloTemplate *
flo_template_parse(const char *option, const char *text, int allowed)
{
	size_t		len = strlen(text);
	int			most = 1;
	size_t		size;
	FloTemplate *template;
	Part	   *part;
	int			at = 0;

	for (size_t i = 0; i < len; i++)
		most += text[i] == '{';
	size = offsetof(FloTemplate, parts) + sizeof(Part) * most;
	template = palloc0(size + len + 1);
	template->text = (char *) template + size;
	part = template->parts;
	for (const char *c = text; *c != '\0'; c++)
	{
		const char *end;

		if ((*c == '{' || *c == '}') && c[1] == *c)
			c++;
		else if (*c == '}')
			refuse(option, "a brace \"}\" has no beginning", allowed);
		else if (*c == '{')
		{
			end = strpbrk(c + 1, "{}");
			if (end == NULL || *end != '}')
				refuse(option, "a brace \"{\" has no end", allowed);
			part->token = find_token(c + 1, end - c - 1, allowed);
			if (part->token < 0)
				refuse(option, psprintf("unknown token \"%.*s\"", (int) (end - c + 1), c), allowed);
			part->len = at - part->start;
			template->uses |= FLO_TOKEN_BIT(part->token);
			part++;
			part->start = at;
			c = end;
			continue;
		}
		template->text[at++] = *c;
	}
	part->token = -1;
	part->len = at - part->start;
	template->nparts = part - template->parts + 1;
	return template;
}

bool
flo_template_uses(const FloTemplate *template, FloToken token)
{
	return (template->uses & FLO_TOKEN_BIT(token)) != 0;
}

void
flo_template_expand(const FloTemplate *template, const FloTemplateValues *values, StringInfo out)
{
	for (int i = 0; i < template->nparts; i++)
	{
		const Part *part = &template->parts[i];

		appendBinaryStringInfo(out, template->text + part->start, part->len);
		if (part->token >= 0)
			appendStringInfoString(out, values->values[part->token]);
	}
}

void
flo_template_wildcard(const FloTemplate *template, const FloTemplateValues *values, StringInfo out)
{
	int			begin = out->len;	/* of the part between dots */
	bool		open = false;	/* it is a "*" */

	for (int i = 0; i < template->nparts; i++)
	{
		const Part *part = &template->parts[i];
		const char *value = part->token >= 0 ? values->values[part->token] : NULL;

		for (int j = 0; j < part->len; j++)
		{
			char		c = template->text[part->start + j];

			if (c == '.')
			{
				appendStringInfoChar(out, c);
				begin = out->len;
				open = false;
			}
			else if (!open)
				appendStringInfoChar(out, c);
		}
		if (part->token < 0 || open)
			continue;
		open = value == NULL;
		if (open)
			out->len = begin;
		appendStringInfoString(out, open ? "*" : value);
	}
}
