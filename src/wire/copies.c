/*
 * copies.c
 *		The message that says which copies destinations owe from here on, or do
 *		not owe any more.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "wire/copies.h"

#define OWED "owed"
#define WITHDRAWN "withdrawn"

/* By FloCopyNoticeKind */
static const char *const kinds[] = {"", "+", "!"};

/* Always quoted */
static void
append_name(StringInfo buf, const char *name)
{
	appendStringInfoChar(buf, '"');
	for (; *name != '\0'; name++)
	{
		if (*name == '"')
			appendStringInfoChar(buf, '"');
		appendStringInfoChar(buf, *name);
	}
	appendStringInfoChar(buf, '"');
}

char *
flo_copies_format(bool owed, const List *copies)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoString(&buf, owed ? OWED : WITHDRAWN);
	foreach(cell, copies)
	{
		FloCopyNotice *notice = lfirst(cell);

		appendStringInfo(&buf, " %u/%u%s", notice->relation, notice->request, kinds[notice->kind]);
		append_name(&buf, notice->schema);
		appendStringInfoChar(&buf, '.');
		append_name(&buf, notice->table);
	}
	return buf.data;
}

static bool
take_word(const char **at, const char *end, const char *word)
{
	size_t		len = strlen(word);

	if (end - *at < len || memcmp(*at, word, len) != 0)
		return false;
	*at += len;
	return true;
}

/* A decimal number above 0 that fits */
static bool
take_number(const char **at, const char *end, uint32 *number)
{
	const char *begin = *at;
	uint64		value = 0;

	while (*at < end && **at >= '0' && **at <= '9' && value <= PG_UINT32_MAX)
		value = value * 10 + (uint64) (*(*at)++ - '0');
	*number = (uint32) value;
	return *at > begin && value > 0 && value <= PG_UINT32_MAX;
}

static FloCopyNoticeKind
take_kind(const char **at, const char *end)
{
	for (FloCopyNoticeKind kind = FLO_COPIES_WITHOUT; kind <= FLO_COPIES_ANEW; kind++)
		if (take_word(at, end, kinds[kind]))
			return kind;
	return FLO_COPIES_FROM_MARKER;
}

/* NULL when there is none */
static char *
take_name(const char **at, const char *end)
{
	StringInfoData buf;

	if (!take_word(at, end, "\""))
		return NULL;
	initStringInfo(&buf);
	while (*at < end)
	{
		char		c = *(*at)++;

		if (c == '"' && !take_word(at, end, "\""))
			return buf.data;
		appendStringInfoChar(&buf, c);
	}
	return NULL;
}

bool
flo_copies_parse(const char *payload, int len, bool *owed, List **copies)
{
	const char *at = payload;
	const char *end = payload + len;

	*copies = NIL;
	*owed = take_word(&at, end, OWED);
	if (!*owed && !take_word(&at, end, WITHDRAWN))
		return false;
	while (at < end)
	{
		FloCopyNotice *notice = palloc(sizeof(FloCopyNotice));

		if (!take_word(&at, end, " ") || !take_number(&at, end, &notice->relation) ||
			!take_word(&at, end, "/") || !take_number(&at, end, &notice->request))
			return false;
		notice->kind = take_kind(&at, end);
		if ((notice->schema = take_name(&at, end)) == NULL || !take_word(&at, end, ".") ||
			(notice->table = take_name(&at, end)) == NULL)
			return false;
		*copies = lappend(*copies, notice);
	}
	return *copies != NIL;
}
