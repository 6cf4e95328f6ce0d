/*
 * subject.c
 *		Subjects of NATS, with "*" for one token and ">" for all that follow.
 */
#include "postgres.h"

#include "bus/subject.h"

/* A part of a subject between dots */
typedef struct Token
{
	const char *start;
	int			len;
} Token;

static bool
next_token(const char **at, Token *token)
{
	const char *end;

	if (*at == NULL)
		return false;
	end = strchrnul(*at, '.');
	token->start = *at;
	token->len = end - *at;
	*at = *end == '.' ? end + 1 : NULL;
	return true;
}

static bool
is(const Token *token, char wildcard)
{
	return token->len == 1 && token->start[0] == wildcard;
}

static bool
is_same(const Token *one, const Token *other)
{
	return one->len == other->len && memcmp(one->start, other->start, one->len) == 0;
}

const char *
flo_subject_problem(const char *subject)
{
	const char *at = subject;
	Token		token;

	while (next_token(&at, &token))
	{
		if (token.len == 0)
			return "a part between its dots is empty";
		if (is(&token, '>') && at != NULL)
			return "\">\" is not at its end";
		for (int i = 0; i < token.len; i++)
		{
			char		c = token.start[i];

			if (c <= ' ' || c > '~')
				return "it has a character that is no printable one of ASCII, or a space";
			if ((c == '*' || c == '>') && token.len > 1)
				return "\"*\" or \">\" is not alone between dots";
		}
	}
	return NULL;
}

bool
flo_subject_covers(const char *wide, const char *narrow)
{
	Token		w;
	Token		n;

	while (next_token(&wide, &w))
	{
		if (!next_token(&narrow, &n))
			return false;
		if (is(&w, '>'))
			return true;
		if (is(&n, '>') || (!is(&w, '*') && !is_same(&w, &n)))
			return false;
	}
	return narrow == NULL;
}

bool
flo_subject_overlaps(const char *one, const char *other)
{
	Token		a;
	Token		b;

	while (next_token(&one, &a))
	{
		if (!next_token(&other, &b))
			return false;
		if (is(&a, '>') || is(&b, '>'))
			return true;
		if (!is(&a, '*') && !is(&b, '*') && !is_same(&a, &b))
			return false;
	}
	return other == NULL;
}
