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

/* By FloCopyManner */
static const char *const manners[] = {"", "+", "!"};

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

		appendStringInfo(&buf, " %u/%u%s", notice->relation, notice->request, manners[notice->manner]);
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

static FloCopyManner
take_manner(const char **at, const char *end)
{
	for (FloCopyManner manner = FLO_COPIES_WITHOUT; manner <= FLO_COPIES_ANEW; manner++)
		if (take_word(at, end, manners[manner]))
			return manner;
	return FLO_COPIES_FROM_MARKER;
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
		notice->manner = take_manner(&at, end);
		*copies = lappend(*copies, notice);
	}
	return *copies != NIL;
}
