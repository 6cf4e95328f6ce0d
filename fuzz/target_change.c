/*
 * target_change.c
 *		Messages of the logical replication protocol, one after another.
 *
 * An input is a byte that chooses the source's encoding, then messages, each
 * behind its length in two bytes.  One parser reads them all, so relations and
 * types that an earlier message described are there.
 */
#include "postgres.h"

#include "core/compat.h"
#include "mb/pg_wchar.h"
#include "wire/change.h"
#include "wire/compressed.h"
#include "wire/partition.h"
#include "wire/encode.h"

#include "fuzz.h"
#include "messages.h"

static const int encodings[] = {
	PG_UTF8, PG_LATIN1, PG_SQL_ASCII, PG_EUC_JP, PG_SJIS, PG_GB18030, -1, 99
};

bool
fuzz_messages_open(FuzzMessages *messages, const char *data, size_t len)
{
	if (len < 1)
		return false;
	messages->encoding = encodings[(uint8) data[0] % lengthof(encodings)];
	messages->next = data + 1;
	messages->end = data + len;
	return true;
}

bool
fuzz_messages_next(FuzzMessages *messages, char **message, uint32 *len)
{
	size_t		left = messages->end - messages->next;

	if (left < 2)
		return false;
	*len = ((uint8) messages->next[0] << 8) | (uint8) messages->next[1];
	*len = Min(*len, left - 2);

	/* its own memory, with the byte behind it that readers may overwrite */
	*message = palloc(*len + 1);
	memcpy(*message, messages->next + 2, *len);
	(*message)[*len] = '\0';
	messages->next += 2 + *len;
	return true;
}

static void
check_values(const FloTuple *tuple, const char *message, uint32 len)
{
	for (int i = 0; i < tuple->natts; i++)
	{
		const FloValue *value = &tuple->values[i];

		const FloCompressed *form = flo_compressed_form(tuple, value);

		if (value->data == NULL)
			continue;
		if (form != NULL && form->datum != NULL)
		{
			/* its own memory, with a byte behind it */
			fuzz_check(VARSIZE(form->datum) - VARHDRSZ < value->len);
			fuzz_touch(value->data, value->len + 1);
			continue;
		}
		fuzz_check(value->data >= message && value->data + value->len <= message + len);
	}
}

static void
check_relation(const FloRelation *relation)
{
	fuzz_touch_text(relation->schema);
	fuzz_touch_text(relation->name);
	for (int i = 0; i < relation->natts; i++)
	{
		const FloColumn *column = &relation->columns[i];

		fuzz_touch_text(column->name);
		fuzz_check((column->type_schema == NULL) == (column->type_name == NULL));
		if (column->type_name == NULL)
			continue;
		fuzz_touch_text(column->type_schema);
		fuzz_touch_text(column->type_name);
	}
}

static void
check_rows(const FloChange *change, const char *message, uint32 len)
{
	StringInfoData again;

	check_relation(change->relation);
	if (change->op != FLO_OP_INSERT && change->has_old)
	{
		fuzz_check(change->old.natts == change->relation->natts);
		check_values(&change->old, message, len);
	}
	if (change->op != FLO_OP_DELETE)
	{
		fuzz_check(change->new.natts == change->relation->natts);
		check_values(&change->new, message, len);
	}
	initStringInfo(&again);
	flo_encode_change(&again, change);
	fuzz_check(again.len == len && memcmp(again.data, message, len) == 0);
}

static void
check_change(const FloChange *change, const char *message, uint32 len)
{
	switch (change->op)
	{
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
			check_rows(change, message, len);
			break;
		case FLO_OP_RELATION:
			check_relation(change->relation);
			break;
		case FLO_OP_TRUNCATE:
			for (int i = 0; i < change->ntruncated; i++)
			{
				check_relation(change->truncated[i].relation);
				if (change->truncated[i].part != NULL)
					(void) flo_partition_read(change->truncated[i].part);
			}
			break;
		case FLO_OP_MESSAGE:
			fuzz_check(memchr(change->prefix, '\0', message + len - change->prefix) != NULL);
			fuzz_check(change->content + change->content_len <= message + len);
			break;
		default:
			break;
	}
}

/* A malformed message must leave the parser as it was: the next one goes on with it */
static const FloChange *
parse_or_null(FloChangeParser *parser, char *message, uint32 len)
{
	MemoryContext context = CurrentMemoryContext;
	const FloChange *change = NULL;

	PG_TRY();
	{
		change = flo_change_parse(parser, message, len);
	}
	PG_CATCH();
	{
		fuzz_judge_error(context);
	}
	PG_END_TRY();
	return change;
}

void
fuzz_change(const char *data, size_t len)
{
	FloChangeParser *parser = flo_change_parser_create(CurrentMemoryContext);
	FuzzMessages messages;
	char	   *message;
	uint32		message_len;

	if (!fuzz_messages_open(&messages, data, len))
		return;
	flo_change_set_encoding(parser, messages.encoding);
	while (fuzz_messages_next(&messages, &message, &message_len))
	{
		const FloChange *change = parse_or_null(parser, message, message_len);

		if (change != NULL)
			check_change(change, message, message_len);
	}
}
