/*
 * compare.c
 *		What a comparison says in the group's stream.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "wire/compare.h"

static const FloField marker_fields[] = {
	{FLO_FIELD(FloCompareMarker, id, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloCompareMarker, attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloCompareMarker, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloCompareMarker, workers, FLO_FIELD_TEXTS, FLO_REQUIRED)},
};
static const FloRecordFormat marker_format = {
	.version = 1,
	.size = sizeof(FloCompareMarker),
	.fields = marker_fields,
	.nfields = lengthof(marker_fields)
};

static const FloField repair_fields[] = {
	{FLO_FIELD(FloRepairMessage, id, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloRepairMessage, workers, FLO_FIELD_TEXTS, FLO_REQUIRED)},
	{FLO_FIELD(FloRepairMessage, records, FLO_FIELD_TEXT, FLO_REQUIRED)},
};
static const FloRecordFormat repair_format = {
	.version = 1,
	.size = sizeof(FloRepairMessage),
	.fields = repair_fields,
	.nfields = lengthof(repair_fields)
};

char *
flo_compare_marker_format(const FloCompareMarker *marker)
{
	return flo_record_write(&marker_format, marker);
}

FloCompareMarker *
flo_compare_marker_parse(const char *data, uint32 len)
{
	return flo_record_read(&marker_format, "marker of a comparison", data, len);
}

char *
flo_repair_format(const FloRepairMessage *message)
{
	return flo_record_write(&repair_format, message);
}

FloRepairMessage *
flo_repair_parse(const char *data, uint32 len)
{
	return flo_record_read(&repair_format, "repair", data, len);
}

char *
flo_repair_records(const FloRepairMessage *message, uint32 *len)
{
	size_t		digits = strlen(message->records);
	char	   *bytes;

	if (digits % 2 != 0 || strspn(message->records, "0123456789abcdef") != digits)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("field \"records\" of a repair is not hexadecimal")));
	bytes = palloc(digits / 2 + 1);
	*len = (uint32) hex_decode(message->records, digits, bytes);
	bytes[*len] = '\0';
	return bytes;
}
