/*
 * target_event.c
 *		Rows as events, and as values for rules: everything that walks a value.
 *
 * Inputs are those of target_change.c.  The types are the server's own and, by
 * the names that 'Y' messages give, those of setup.sql.
 */
#include "postgres.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "shape/value.h"
#include "events/event_key.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "wire/change.h"

#include "fuzz.h"
#include "messages.h"

/* What is done with a change; may throw */
typedef void (*ChangeUser) (void *arg, const FloChange *change);

static void
use_messages(FuzzMessages *messages, ChangeUser use, void *arg)
{
	FloChangeParser *parser = flo_change_parser_create(CurrentMemoryContext);
	MemoryContext context = CurrentMemoryContext;
	char	   *message;
	uint32		len;

	flo_change_set_encoding(parser, messages->encoding);
	while (fuzz_messages_next(messages, &message, &len))
	{
		PG_TRY();
		{
			const FloChange *change = flo_change_parse(parser, message, len);

			if (change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE ||
				change->op == FLO_OP_DELETE || change->op == FLO_OP_TRUNCATE)
				use(arg, change);
		}
		PG_CATCH();
		{
			fuzz_judge_error(context);
		}
		PG_END_TRY();
	}
}

/* The server's own reader must take the event for JSON, and it must be one line */
static void
check_event(const StringInfoData *event)
{
	fuzz_check(memchr(event->data, '\n', event->len) == NULL);
	fuzz_check(strlen(event->data) == event->len);
	fuzz_check(pg_verify_mbstr(PG_UTF8, event->data, event->len, true));
	(void) DirectFunctionCall1(json_in, CStringGetDatum(event->data));
}

/*
 * The token of a key is of bytes that any subject may have.  Leaves the key, which is
 * JSON as well.  May throw: of a change that is split, the event has one row alone.
 */
static void
check_key(FloEventWriter *writer, const FloChange *change, StringInfo key)
{
	FloPartitioning *partitioning = flo_partitioning_parse("key", 7);
	bool		old = flo_event_key_is_old(change);
	int			partition;

	resetStringInfo(key);
	flo_event_key_token(writer, key, change, old, FLO_ESCAPE_NATS, '.', 200);
	fuzz_check(key->len > 0 && key->len <= 200);
	fuzz_check(strspn(key->data, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "_-=.") == key->len);
	partition = flo_event_partition(writer, partitioning, change, change->relation, old);
	fuzz_check(partition >= 0 && partition < 7);
	(void) flo_event_changes_key(change);
	resetStringInfo(key);
	flo_event_key_append(writer, key, change, old);
}

static void
check_within(FloEventWriter *writer, const FloTransaction *txn, const FloChange *change, int which,
			 StringInfo event)
{
	int			limit = event->len * 2 / 3;

	resetStringInfo(event);
	if (flo_event_append_within(writer, event, txn, change, which, limit))
		fuzz_check(event->len <= limit);
	else
		fuzz_check(event->len == 0);
}

static void
check_headers(FloEventWriter *writer)
{
	const FloEventHeader *headers;
	int			count = flo_event_headers(writer, &headers);

	fuzz_check(count <= FLO_EVENT_MAX_HEADERS);
	for (int i = 0; i < count; i++)
	{
		for (const char *c = headers[i].value; *c != '\0'; c++)
			fuzz_check(*c >= ' ' && *c < 0x7F);
	}
}

static void
write_events(void *arg, const FloChange *change)
{
	FloEventWriter *writer = arg;
	FloTransaction txn = {
		.final_lsn = 1,
		.xid = 1,
		.ordinal = 1
	};
	MemoryContext context = CurrentMemoryContext;
	StringInfoData event;
	StringInfoData key;
	int			count = flo_event_count(writer, change);

	initStringInfo(&event);
	initStringInfo(&key);
	for (int i = 0; i < count; i++)
	{
		resetStringInfo(&event);
		flo_event_append(writer, &event, &txn, change, i);
		fuzz_check(flo_event_is_tombstone(writer) == (event.len == 0));
		check_headers(writer);
		if (flo_event_is_tombstone(writer))
			continue;
		if (change->op != FLO_OP_TRUNCATE)
			check_key(writer, change, &key);
		PG_TRY();
		{
			check_event(&event);
			check_within(writer, &txn, change, i, &event);
			if (event.len > 0)
				check_event(&event);
			if (key.len > 0)
				check_event(&key);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(context);
			fprintf(stderr, "%s\n", event.data);
			fuzz_fail("the event is JSON");
		}
		PG_END_TRY();
	}
}

static FloEventWriter *
create_writer(FloEventFormat format, bool binary, int encoding)
{
	const FloEventOptions options = {
		.group = "fuzz",
		.database = "a b",
		.format = format,
		.binary = binary,
		.tombstones = format == FLO_FORMAT_DEBEZIUM
	};

	return flo_event_writer_create(CurrentMemoryContext, &options, encoding);
}

void
fuzz_write_event(const FloChange *change)
{
	write_events(create_writer(FLO_FORMAT_PG_FLO, false, -1), change);
}

/* In every format */
void
fuzz_event(const char *data, size_t len)
{
	static const struct
	{
		FloEventFormat format;
		bool		binary;
	}			formats[] = {
		{FLO_FORMAT_PG_FLO, false},
		{FLO_FORMAT_CLOUDEVENTS, false},
		{FLO_FORMAT_CLOUDEVENTS, true},
		{FLO_FORMAT_DEBEZIUM, false}
	};

	for (int i = 0; i < lengthof(formats); i++)
	{
		FuzzMessages messages;

		if (fuzz_messages_open(&messages, data, len))
			use_messages(&messages, write_events,
						 create_writer(formats[i].format, formats[i].binary, messages.encoding));
	}
}

static void
read_tuple(const FloRelation *relation, const FloTuple *tuple)
{
	MemoryContext context = CurrentMemoryContext;

	for (int i = 0; i < tuple->natts; i++)
	{
		FloValue   *value = &tuple->values[i];
		FloReader	reader;
		const char *text;
		int			len;

		if (value->data == NULL)
			continue;
		PG_TRY();
		{
			flo_reader_init(&reader, &relation->columns[i], InvalidOid);
			text = flo_reader_text(&reader, value, &len);
			fuzz_touch(text, len);
			(void) flo_reader_datum(&reader, value);
		}
		PG_CATCH();
		{
			fuzz_judge_error(context);
		}
		PG_END_TRY();
	}
}

static void
read_values(void *arg, const FloChange *change)
{
	if (change->op == FLO_OP_TRUNCATE)
		return;
	if (change->op != FLO_OP_INSERT && change->has_old)
		read_tuple(change->relation, &change->old);
	if (change->op != FLO_OP_DELETE)
		read_tuple(change->relation, &change->new);
}

void
fuzz_value(const char *data, size_t len)
{
	FuzzMessages messages;

	if (fuzz_messages_open(&messages, data, len) && PG_VALID_ENCODING(messages.encoding))
		use_messages(&messages, read_values, NULL);
}
