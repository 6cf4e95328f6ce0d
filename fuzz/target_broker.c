/*
 * target_broker.c
 *		What a broker sends: acknowledgements and their subjects.
 *
 * Readers must find nothing, rather than throw, in what is malformed.
 */
#include "postgres.h"

/* for its static functions; the Makefile leaves it out of the module's own list */
#include "bus/bus.c"

#include "mb/pg_wchar.h"

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
}
