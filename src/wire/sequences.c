/*
 * sequences.c
 *		Where sequences of a source are.
 */
#include "postgres.h"

#include "wire/record.h"
#include "wire/sequences.h"

typedef struct Sequences
{
	char	   *group;
	List	   *sequences;		/* of FloSequence * */
} Sequences;

/* A longer name would be another one once it is cut */
#define NAME .max = NAMEDATALEN - 1

static const FloField table_fields[] = {
	{FLO_FIELD(FloSequenceTable, schema, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
	{FLO_FIELD(FloSequenceTable, name, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
};
static const FloRecordFormat table_format = {
	.size = sizeof(FloSequenceTable),
	.fields = table_fields,
	.nfields = lengthof(table_fields)
};
static const FloField sequence_fields[] = {
	{FLO_FIELD(FloSequence, schema, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
	{FLO_FIELD(FloSequence, name, FLO_FIELD_TEXT, FLO_REQUIRED), NAME},
	{FLO_FIELD(FloSequence, last_value, FLO_FIELD_INT64, FLO_REQUIRED)},
	{FLO_FIELD(FloSequence, is_called, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloSequence, tables, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(table_format)},
};
static const FloRecordFormat sequence_format = {
	.size = sizeof(FloSequence),
	.fields = sequence_fields,
	.nfields = lengthof(sequence_fields)
};
static const FloField sequences_fields[] = {
	{FLO_FIELD(Sequences, group, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(Sequences, sequences, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(sequence_format)},
};
static const FloRecordFormat sequences_format = {
	.version = 1,
	.size = sizeof(Sequences),
	.fields = sequences_fields,
	.nfields = lengthof(sequences_fields)
};

char *
flo_sequences_format(const char *group, const char *list)
{
	FloRecordFormat here = sequences_format;
	char	   *json = psprintf("{\"version\": 1, \"group\": \"%s\", \"sequences\": %s}", group,
								list);

	here.local = true;
	return flo_record_write(&sequences_format,
							flo_record_read(&here, "sequences", json, strlen(json)));
}

List *
flo_sequences_parse(const char *what, const char *group, const char *json, size_t len)
{
	Sequences  *record = flo_record_read(&sequences_format, what, json, len);

	if (strcmp(record->group, group) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("malformed document \"%s\": field \"group\" names another group than \"%s\"", what, group)));
	return record->sequences;
}
