/*
 * cutover.c
 *		What the source of a cut-over tells its destination, in the stream.
 */
#include "postgres.h"

#include "core/names.h"
#include "wire/cutover.h"
#include "wire/record.h"

/* A longer name would be another one once it is cut */
#define NAME .max = NAMEDATALEN - 1
#define CONSUMER .max = FLO_CONSUMER_BUF - 1
#define GROUP .max = FLO_NAME_MAX

static const FloField table_fields[] = {
	{FLO_FIELD(FloCutoverTable, schema, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
	{FLO_FIELD(FloCutoverTable, name, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
};
static const FloRecordFormat table_format = {
	.size = sizeof(FloCutoverTable),
	.fields = table_fields,
	.nfields = lengthof(table_fields)
};

static const char *const order_names[] = {
	"check", "prepare", "fenced", "open", "cancel", "over", NULL
};
static const FloField message_fields[] = {
	{FLO_FIELD(FloCutoverMessage, attempt, FLO_FIELD_UINT64, FLO_REQUIRED)},
	{FLO_FIELD(FloCutoverMessage, order, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(order_names)},
	{FLO_FIELD(FloCutoverMessage, consumer, FLO_FIELD_TEXT, FLO_REQUIRED), CONSUMER},
	{FLO_FIELD(FloCutoverMessage, reverse, FLO_FIELD_TEXT, FLO_OPTIONAL), GROUP},
	{FLO_FIELD(FloCutoverMessage, tables, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(table_format)},
	{FLO_FIELD(FloCutoverMessage, options, FLO_FIELD_JSON, FLO_OPTIONAL)},
	{FLO_FIELD(FloCutoverMessage, opens, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloCutoverMessage, reason, FLO_FIELD_TEXT, FLO_OPTIONAL)},
};
static const FloRecordFormat message_format = {
	.version = 1,
	.size = sizeof(FloCutoverMessage),
	.fields = message_fields,
	.nfields = lengthof(message_fields)
};

char *
flo_cutover_format(const FloCutoverMessage *message)
{
	return flo_record_write(&message_format, message);
}

FloCutoverMessage *
flo_cutover_parse(const char *json, size_t len)
{
	FloCutoverMessage *message = flo_record_read(&message_format, "cutover", json, len);

	if (message->reverse != NULL && !flo_name_is_valid(message->reverse))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("malformed document \"%s\": field \"reverse\" is no name of a group",
						"cutover")));
	return message;
}
