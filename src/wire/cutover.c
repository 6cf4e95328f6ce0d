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
#define CONSUMER_MAX (FLO_CONSUMER_BUF - 1)
#define F FloCutoverMessage

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
	{FLO_FIELD(F, attempt, FLO_FIELD_UINT64, FLO_REQUIRED), FLO_AT_MOST(FLO_CUTOVER_ATTEMPT_MAX)},
	{FLO_FIELD(F, order, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(order_names)},
	{FLO_FIELD(F, consumer, FLO_FIELD_TEXT, FLO_REQUIRED), FLO_AT_MOST(CONSUMER_MAX)},
	{FLO_FIELD(F, reverse, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(FLO_NAME_MAX)},
	{FLO_FIELD(F, tables, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(table_format)},
	{FLO_FIELD(F, options, FLO_FIELD_JSON, FLO_OPTIONAL)},
	{FLO_FIELD(F, opens, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(F, reason, FLO_FIELD_TEXT, FLO_OPTIONAL)},
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
