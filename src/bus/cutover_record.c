/*
 * cutover_record.c
 *		What a worker says of cut-overs to it.
 */
#include "postgres.h"

#include "bus/cutover_record.h"
#include "core/names.h"
#include "wire/cutover.h"

/* Errors are shown to people at the other side: more of them tells nobody more */
#define TEXT_MAX 2000

#define ATTEMPT FLO_AT_MOST(FLO_CUTOVER_ATTEMPT_MAX)

static const char *const answer_names[] = {
	"none", "preparing", "prepared", "arrived", "checked", "cancelled", "open", NULL
};
static const FloField record_fields[] = {
	{FLO_FIELD(FloCutoverRecord, worker, FLO_FIELD_TEXT, FLO_REQUIRED), FLO_AT_MOST(FLO_NAME_MAX)},
	{FLO_FIELD(FloCutoverRecord, tables, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloCutoverRecord, allowed, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloCutoverRecord, attempt, FLO_FIELD_UINT64, FLO_REQUIRED), ATTEMPT},
	{FLO_FIELD(FloCutoverRecord, state, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(answer_names)},
	{FLO_FIELD(FloCutoverRecord, sqlstate, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(5)},
	{FLO_FIELD(FloCutoverRecord, problem, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(TEXT_MAX)},
	{FLO_FIELD(FloCutoverRecord, hint, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(TEXT_MAX)},
	{FLO_FIELD(FloCutoverRecord, detail, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(TEXT_MAX)},
	{FLO_FIELD(FloCutoverRecord, at, FLO_FIELD_TIME, FLO_OPTIONAL)},
};
const FloRecordFormat flo_cutover_record_format = {
	.version = 1,
	.size = sizeof(FloCutoverRecord),
	.fields = record_fields,
	.nfields = lengthof(record_fields),
	.shown_only = true
};

char *
flo_cutover_key(const char *consumer)
{
	return psprintf(FLO_CUTOVER_PREFIX "%s", consumer);
}

/* Each destination may write under this prefix: what cannot be read must not stop the source */
FloCutoverRecord *
flo_cutover_record_read(const char *key, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile start = strstr(key, FLO_CUTOVER_PREFIX);
	FloCutoverRecord *volatile record = NULL;

	if (start == NULL || (start != key && (start[-1] != '.' || strncmp(key, "$KV.", 4) != 0)))
		return NULL;
	if (!flo_name_is_consumer(start + strlen(FLO_CUTOVER_PREFIX)))
		return NULL;
	PG_TRY();
	{
		record = flo_record_read(&flo_cutover_record_format, start, value, strlen(value));
		record->consumer = pstrdup(start + strlen(FLO_CUTOVER_PREFIX));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (geterrcode() != ERRCODE_PROTOCOL_VIOLATION &&
			geterrcode() != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		record = NULL;
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg_internal("%s", error->message)));
	}
	PG_END_TRY();
	return record;
}
