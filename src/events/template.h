/*
 * template.h
 *		Names that are made for each event: subjects, indexes, topics.
 *
 * A template is text with tokens such as {schema} in it; "{{" and "}}" stand for
 * braces.
 */
#ifndef FLO_TEMPLATE_H
#define FLO_TEMPLATE_H

#include "lib/stringinfo.h"

typedef enum FloToken
{
	FLO_TOKEN_GROUP,
	FLO_TOKEN_DATABASE,
	FLO_TOKEN_SCHEMA,
	FLO_TOKEN_TABLE,
	FLO_TOKEN_OPERATION,
	FLO_TOKEN_KEY,
	FLO_TOKEN_PARTITION
} FloToken;

#define FLO_TOKENS (FLO_TOKEN_PARTITION + 1)
#define FLO_TOKEN_BIT(token) (1 << (token))
#define FLO_TOKENS_ALL (FLO_TOKEN_BIT(FLO_TOKENS) - 1)

typedef struct FloTemplate FloTemplate;

/* What the tokens stand for, escaped as the place wants it: see escape.h */
typedef struct FloTemplateValues
{
	const char *values[FLO_TOKENS];
} FloTemplateValues;

/*
 * "option" is what errors call it, "allowed" the bits of the tokens that may be
 * in it.  Throws 22023.  The result is one piece of memory.
 */
extern FloTemplate *flo_template_parse(const char *option, const char *text, int allowed);

extern bool flo_template_uses(const FloTemplate *template, FloToken token);

/* Append the name; a token without a value must not be in the template */
extern void flo_template_expand(const FloTemplate *template, const FloTemplateValues *values,
								StringInfo out);

/*
 * Append the subject that all names of the template match: what has a value is
 * given, and each part between dots with a token that has none becomes "*".
 */
extern void flo_template_wildcard(const FloTemplate *template, const FloTemplateValues *values,
								  StringInfo out);

#endif
