/*
 * target_broker.c
 *		What a broker sends: acknowledgements, their subjects, documents.
 *
 * Readers of acknowledgements must find nothing, rather than throw, in what is
 * malformed; those of documents throw.
 */
#include "postgres.h"

/* for its static functions; the Makefile leaves it out of the module's own list */
#include "bus/bus.c"

#include "bus/records.h"
#include "mb/pg_wchar.h"
#include "wire/sequences.h"

#include "fuzz.h"

static void
check_inside(FloJson outer, FloJson inner)
{
	fuzz_check(inner.len >= 0);
	fuzz_check(inner.text >= outer.text && inner.text + inner.len <= outer.text + outer.len);
}

/* All there is, to some depth */
static void
walk(FloJson json, int depth)
{
	FloJson		key;
	FloJson		value;
	int			cursor = 0;
	char	   *text = flo_json_string(json);

	if (text != NULL)
		fuzz_check(pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), true));
	if (depth == 0)
		return;
	while (flo_json_next_member(json, &cursor, &key, &value))
	{
		check_inside(json, key);
		check_inside(json, value);
		(void) flo_json_string_is(key, "seq");
		walk(key, depth - 1);
		walk(value, depth - 1);
	}
	cursor = 0;
	while (flo_json_next_element(json, &cursor, &value))
	{
		check_inside(json, value);
		walk(value, depth - 1);
	}
}

/* These become blanks or question marks */
static bool
has_control(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text < ' ')
			return true;
	return false;
}

/* What was written must be read as the same */
static void
check_string(const char *text)
{
	StringInfoData buf;

	if (!pg_verify_mbstr(GetDatabaseEncoding(), text, strlen(text), true))
		return;
	initStringInfo(&buf);
	flo_json_append_string(&buf, text);
	if (has_control(text))
		return;
	fuzz_check(strcmp(flo_json_string(flo_json(buf.data, buf.len)), text) == 0);
}

/* A document that is read and written must be read as the same */
static void
check_round_trip(const FloRecordFormat *format, const char *text)
{
	char	   *written = flo_record_write(format, flo_record_read(format, "document", text, strlen(text)));

	fuzz_check(strcmp(flo_record_write(format, flo_record_read(format, "document", written, strlen(written))),
					  written) == 0);
}

/* One of the readers of documents, chosen by the length: each throws for most inputs */
static void
check_document(const char *text)
{
	static const FloRecordFormat *const formats[] = {
		&flo_source_format, &flo_generation_format, &flo_copy_format, &flo_copy_table_format,
		&flo_attempt_format, &flo_text_format
	};
	size_t		which = strlen(text) % (lengthof(formats) + 3);

	if (which < lengthof(formats))
		check_round_trip(formats[which], text);
	else if (which == lengthof(formats))
		(void) flo_sequences_parse("sequences", "g", text, strlen(text));
	else if (which == lengthof(formats) + 1)
		flo_definitions_check("schema", text);
	else
	{
		char	   *written = flo_report_format(flo_report_read("worker.w", text));

		fuzz_check(strcmp(flo_report_format(flo_report_read("worker.w", written)), written) == 0);
	}
}

void
fuzz_broker(const char *data, size_t len)
{
	char	   *copy = fuzz_copy(data, len);
	char	   *text = fuzz_text(data, len);
	FloJson		json = flo_json(copy, len);
	FloBusAck	ack = {0};
	FloBusDelivery delivery = {0};

	parse_ack(json, &ack);
	fuzz_check(strlen(ack.error) < sizeof(ack.error));
	walk(json, 8);
	if (text == NULL)
		return;
	(void) parse_ack_subject(text, &delivery);
	(void) parse_ack_subject(psprintf("$JS.ACK.%s", text), &delivery);
	check_string(text);
	check_document(text);
}
