/*
 * backfill.c
 *		What a backfill says in the group's stream.
 */
#include "postgres.h"

#include "wire/backfill.h"

static const FloField marker_fields[] = {
	{FLO_FIELD(FloBackfillMarker, consumer, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillMarker, attempt, FLO_FIELD_UINT32, FLO_REQUIRED),
	FLO_IN(1, PG_INT32_MAX)},
	{FLO_FIELD(FloBackfillMarker, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillMarker, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloBackfillMarker, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillMarker, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
};
static const FloRecordFormat marker_format = {
	.version = 1,
	.size = sizeof(FloBackfillMarker),
	.fields = marker_fields,
	.nfields = lengthof(marker_fields)
};

char *
flo_backfill_marker_format(const FloBackfillMarker *marker)
{
	return flo_record_write(&marker_format, marker);
}

FloBackfillMarker *
flo_backfill_marker_parse(const char *data, uint32 len)
{
	return flo_record_read(&marker_format, "marker of a backfill", data, len);
}
