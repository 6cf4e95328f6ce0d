/*
 * records.c
 *		What lies in a group's state bucket: one struct a key, each field typed.
 */
#include "postgres.h"

#include "bus/records.h"
#include "bus/stream.h"
#include "core/names.h"
#include "utils/memutils.h"

#define FORMAT(of, record_fields) \
	{.version = 1, .size = sizeof(of), .fields = record_fields, \
	 .nfields = lengthof(record_fields), .shown_only = true}

/* What 0.1 writes, too, without a version */
#define SINCE_0_1(of, record_fields, what_it_means) \
	{.version = 1, .size = sizeof(of), .fields = record_fields, \
	 .nfields = lengthof(record_fields), .shown_only = true, .unversioned = what_it_means}

static void
nothing_more(void *record)
{
}

static const FloField source_fields[] = {
	{FLO_FIELD(FloSourceRecord, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloSourceRecord, system_identifier, FLO_FIELD_SYSTEM, FLO_REQUIRED)},
	{FLO_FIELD(FloSourceRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloSourceRecord, epoch, FLO_FIELD_UINT64, FLO_REQUIRED)},
	{FLO_FIELD(FloSourceRecord, at, FLO_FIELD_TIME, FLO_OPTIONAL)},
	{FLO_FIELD(FloSourceRecord, pending, FLO_FIELD_TIME, FLO_OPTIONAL)},
	{FLO_FIELD(FloSourceRecord, state, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloSourceRecord, detail, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloSourceRecord, interval, FLO_FIELD_INT64, FLO_OPTIONAL), FLO_IN(0, PG_INT32_MAX)},
};
const FloRecordFormat flo_source_format = SINCE_0_1(FloSourceRecord, source_fields, nothing_more);

static const FloField tracked_fields[] = {
	{FLO_FIELD(FloTrackedRecord, all, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloTrackedRecord, schemas, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
};
const FloRecordFormat flo_tracked_format = FORMAT(FloTrackedRecord, tracked_fields);

static const FloField role_fields[] = {
	{FLO_FIELD(FloRoleShape, name, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloRoleShape, login, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloRoleShape, member_of, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
};
static const FloRecordFormat role_format = {
	.size = sizeof(FloRoleShape),
	.fields = role_fields,
	.nfields = lengthof(role_fields),
	.shown_only = true
};

static const FloField tables_fields[] = {
	{FLO_FIELD(FloTablesRecord, mode, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloTablesRecord, sync_schema, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloTablesRecord, schema_owner, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloTablesRecord, track_ddl, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloTablesRecord, pieces, FLO_FIELD_INT64, FLO_REQUIRED), FLO_IN(1, FLO_MAX_PIECES)},
	{FLO_FIELD(FloTablesRecord, roles, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(role_format)},
};
const FloRecordFormat flo_tables_format = FORMAT(FloTablesRecord, tables_fields);

static const FloField column_fields[] = {
	{FLO_FIELD(FloColumnShape, name, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloColumnShape, type, FLO_FIELD_TYPE, FLO_REQUIRED)},
	{FLO_FIELD(FloColumnShape, type_schema, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, type_name, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, array, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, base, FLO_FIELD_TYPE, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, extension, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, not_null, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloColumnShape, unsent, FLO_FIELD_BOOL, FLO_OPTIONAL)},
};
static const FloRecordFormat column_format = {
	.size = sizeof(FloColumnShape),
	.fields = column_fields,
	.nfields = lengthof(column_fields),
	.shown_only = true
};

static const FloField key_fields[] = {
	{FLO_FIELD(FloKeyShape, columns, FLO_FIELD_TEXTS, FLO_REQUIRED)},
	{FLO_FIELD(FloKeyShape, identity, FLO_FIELD_BOOL, FLO_OPTIONAL)},
};
static const FloRecordFormat key_format = {
	.size = sizeof(FloKeyShape),
	.fields = key_fields,
	.nfields = lengthof(key_fields),
	.shown_only = true
};

static const FloField table_shape_fields[] = {
	{FLO_FIELD(FloTableShape, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloTableShape, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloTableShape, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloTableShape, owner, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloTableShape, full, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloTableShape, columns, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(column_format)},
	{FLO_FIELD(FloTableShape, keys, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(key_format)},
};
static const FloRecordFormat shape_format = {
	.size = sizeof(FloTableShape),
	.fields = table_shape_fields,
	.nfields = lengthof(table_shape_fields),
	.shown_only = true
};

static const FloField tables_piece_fields[] = {
	{FLO_FIELD(FloTablesPiece, pieces, FLO_FIELD_INT64, FLO_REQUIRED), FLO_IN(1, FLO_MAX_PIECES)},
	{FLO_FIELD(FloTablesPiece, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloTablesPiece, tables, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(shape_format)},
};
const FloRecordFormat flo_tables_piece_format = FORMAT(FloTablesPiece, tables_piece_fields);

static const char *const copy_names[] = {"", "all", "missing", NULL};
static const FloField generation_fields[] = {
	{FLO_FIELD(FloGenerationRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloGenerationRecord, follows, FLO_FIELD_UUIDS, FLO_REQUIRED)},
	{FLO_FIELD(FloGenerationRecord, copy, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(copy_names)},
	{FLO_FIELD(FloGenerationRecord, given_up, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloGenerationRecord, start, FLO_FIELD_LSN, FLO_REQUIRED)},
};
const FloRecordFormat flo_generation_format =
SINCE_0_1(FloGenerationRecord, generation_fields, nothing_more);

static const FloField copy_fields[] = {
	{FLO_FIELD(FloCopyRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyRecord, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyRecord, tables, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCopyRecord, again, FLO_FIELD_OIDS, FLO_OPTIONAL)},
};
const FloRecordFormat flo_copy_format = SINCE_0_1(FloCopyRecord, copy_fields, nothing_more);

static const FloField copy_table_fields[] = {
	{FLO_FIELD(FloCopyTableRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyTableRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyTableRecord, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyTableRecord, chunks, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCopyTableRecord, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCopyTableRecord, bytes, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCopyTableRecord, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloCopyTableRecord, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloCopyTableRecord, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
};
const FloRecordFormat flo_copy_table_format =
SINCE_0_1(FloCopyTableRecord, copy_table_fields, nothing_more);

static const FloField backfill_fields[] = {
	{FLO_FIELD(FloBackfillRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, consumer, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED),
	FLO_IN(1, PG_INT32_MAX)},
	{FLO_FIELD(FloBackfillRecord, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloBackfillRecord, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, partial, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, published, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, open, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, over, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloBackfillRecord, chunks, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloBackfillRecord, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloBackfillRecord, bytes, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
};
const FloRecordFormat flo_backfill_format = FORMAT(FloBackfillRecord, backfill_fields);

/* It does not say which */
static void
all_tables(void *record)
{
	((FloAttemptRecord *) record)->all = true;
}

static const FloField attempt_fields[] = {
	{FLO_FIELD(FloAttemptRecord, generation, FLO_FIELD_UUID, FLO_REQUIRED)},
	{FLO_FIELD(FloAttemptRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloAttemptRecord, definitions, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloAttemptRecord, all, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloAttemptRecord, tables, FLO_FIELD_OIDS, FLO_OPTIONAL)},
};
const FloRecordFormat flo_attempt_format = SINCE_0_1(FloAttemptRecord, attempt_fields, all_tables);

static const FloField planned_fields[] = {
	{FLO_FIELD(FloPlannedTable, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloPlannedTable, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPlannedTable, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloPlannedTable, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloPlannedTable, bytes, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
};
static const FloRecordFormat planned_format = {
	.size = sizeof(FloPlannedTable),
	.fields = planned_fields,
	.nfields = lengthof(planned_fields),
	.shown_only = true
};

static const FloField plan_fields[] = {
	{FLO_FIELD(FloPlanRecord, tables, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(planned_format)},
};
const FloRecordFormat flo_plan_format = FORMAT(FloPlanRecord, plan_fields);

static const FloField text_fields[] = {
	{FLO_FIELD(FloTextRecord, generation, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloTextRecord, pieces, FLO_FIELD_INT64, FLO_REQUIRED), FLO_IN(1, PG_INT32_MAX)},
};
const FloRecordFormat flo_text_format = SINCE_0_1(FloTextRecord, text_fields, nothing_more);

static const char *const section_names[] = {"before", "after", NULL};
static const FloField definition_fields[] = {
	{FLO_FIELD(FloDefinition, section, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(section_names)},
	{FLO_FIELD(FloDefinition, rest, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, optional, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, lacks, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, object, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloDefinition, part_of, FLO_FIELD_UINT32, FLO_OPTIONAL), FLO_IN(1, PG_INT32_MAX)},
	{FLO_FIELD(FloDefinition, of_table, FLO_FIELD_UINT32, FLO_OPTIONAL), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloDefinition, type, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, names, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, args, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, definition, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloDefinition, command, FLO_FIELD_TEXT, FLO_REQUIRED)},
};
static const FloRecordFormat object_format = {
	.size = sizeof(FloDefinition),
	.fields = definition_fields,
	.nfields = lengthof(definition_fields)
};

typedef struct Definitions
{
	List	   *definitions;
} Definitions;

static const FloField definitions_fields[] = {
	{FLO_FIELD(Definitions, definitions, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(object_format)},
};
static const FloRecordFormat definitions_format = {
	.version = 1,
	.size = sizeof(Definitions),
	.fields = definitions_fields,
	.nfields = lengthof(definitions_fields)
};

static void
of_former_worker(void *record)
{
	((FloWorkerReport *) record)->former = true;
}

static const FloField report_fields[] = {
	{FLO_FIELD(FloWorkerReport, worker, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, system_identifier, FLO_FIELD_SYSTEM, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, database, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, generation, FLO_FIELD_UUID, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, seq, FLO_FIELD_UINT64, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, copied_seq, FLO_FIELD_UINT64, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, copying, FLO_FIELD_BOOL, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, awaits_resync, FLO_FIELD_BOOL, FLO_REQUIRED), FLO_FORMERLY("waits")},
	{FLO_FIELD(FloWorkerReport, missing_chunks, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_FORMERLY("lacking")},
	{FLO_FIELD(FloWorkerReport, missing_attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_FORMERLY("lacking_attempt")},
	{FLO_FIELD(FloWorkerReport, copy_attempt, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloWorkerReport, compares, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, backfills, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, pieces, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, pglz, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, lz4, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, lz4_chunks, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, backfilled, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, left_out, FLO_FIELD_TEXT, FLO_OPTIONAL), FLO_AT_MOST(1000)},
	{FLO_FIELD(FloWorkerReport, backfilling, FLO_FIELD_UINT32, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, backfill_seq, FLO_FIELD_UINT64, FLO_OPTIONAL)},
	{FLO_FIELD(FloWorkerReport, at, FLO_FIELD_TIME, FLO_REQUIRED)},
};
static const FloRecordFormat report_format =
SINCE_0_1(FloWorkerReport, report_fields, of_former_worker);

void *
flo_records_get(FloBus *bus, const char *bucket, const char *key, const FloRecordFormat *format)
{
	char	   *value = flo_bucket_get(bus, bucket, key);

	return value != NULL ? flo_record_read(format, key, value, strlen(value)) : NULL;
}

void *
flo_records_get_readable(FloBus *bus, const char *bucket, const char *key,
						 const FloRecordFormat *format)
{
	MemoryContext context = CurrentMemoryContext;
	void	   *volatile record = NULL;

	PG_TRY();
	{
		record = flo_records_get(bus, bucket, key, format);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_PROTOCOL_VIOLATION &&
			geterrcode() != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return record;
}

void
flo_records_put(FloBus *bus, const char *bucket, const char *key, const FloRecordFormat *format,
				const void *record, bool wait)
{
	char	   *value = flo_record_write(format, record);

	flo_bucket_put(bus, bucket, key, value, wait);
	pfree(value);
}

char *
flo_tables_key(int64 piece)
{
	return psprintf(FLO_TABLES_KEY "." INT64_FORMAT, piece);
}

/* --- the copy ------------------------------------------------------------ */

void
flo_definitions_check(const char *key, const char *json)
{
	(void) flo_record_read(&definitions_format, key, json, strlen(json));
}

char *
flo_copy_table_key(Oid relation)
{
	return psprintf(FLO_COPY_TABLE_PREFIX "%u", relation);
}

FloCopyRecord *
flo_records_copy(FloBus *bus, const char *bucket, const char *generation)
{
	FloCopyRecord *record = flo_records_get(bus, bucket, FLO_COPY_KEY, &flo_copy_format);

	return record != NULL && strcmp(record->generation, generation) == 0 ? record : NULL;
}

List *
flo_records_copied_tables(FloBus *bus, const char *bucket, const char *generation)
{
	MemoryContext aside = AllocSetContextCreate(CurrentMemoryContext, "pg_flo copied tables",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(aside);
	List	   *relations = NIL;
	ListCell   *cell;

	foreach(cell, flo_bucket_keys(bus, bucket, FLO_COPY_TABLE_PREFIX))
	{
		FloCopyTableRecord *record = flo_records_get(bus, bucket, lfirst(cell),
													 &flo_copy_table_format);

		MemoryContextSwitchTo(old);
		if (record != NULL && strcmp(record->generation, generation) == 0)
			relations = lappend_oid(relations, record->relation);
		MemoryContextSwitchTo(aside);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(aside);
	return relations;
}

FloAttemptRecord *
flo_records_attempt(FloBus *bus, const char *bucket, const char *generation)
{
	FloAttemptRecord *record = flo_records_get(bus, bucket, FLO_ATTEMPT_KEY, &flo_attempt_format);

	return record != NULL && strcmp(record->generation, generation) == 0 ? record : NULL;
}

FloBackfillRecord *
flo_records_backfill(FloBus *bus, const char *bucket, const char *generation)
{
	FloBackfillRecord *record = flo_records_get(bus, bucket, FLO_BACKFILL_KEY,
												&flo_backfill_format);

	return record != NULL && strcmp(record->generation, generation) == 0 ? record : NULL;
}

FloCopyTableRecord *
flo_records_copy_table(FloBus *bus, const char *bucket, Oid relation, const char *generation)
{
	FloCopyTableRecord *record = flo_records_get(bus, bucket, flo_copy_table_key(relation),
												 &flo_copy_table_format);

	return record != NULL && strcmp(record->generation, generation) == 0 ? record : NULL;
}

/* --- reports of workers -------------------------------------------------- */

char *
flo_report_key(const char *consumer)
{
	return psprintf(FLO_REPORT_PREFIX "%s", consumer);
}

char *
flo_report_format(const FloWorkerReport *report)
{
	char	   *json = flo_record_write(&report_format, report);
	char	   *copying = strstr(json, "\"copying\": true");

	/* a source with 0.1 looks for it without a space between */
	if (copying != NULL)
		memcpy(copying, " \"copying\":true", strlen("\"copying\": true"));
	return json;
}

/*
 * Each destination may write under this prefix, so what cannot be read must not
 * stop the source.  It may be a worker's of a later release: nothing that it
 * might need is let go while it is there.
 */
static FloWorkerReport *
unreadable_report(void)
{
	FloWorkerReport *report = palloc0(sizeof(FloWorkerReport));
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg_internal("%s", error->message),
			 errdetail("Nothing is removed from the stream while this report is there."),
			 errhint("flo.drop_consumer() removes it, if it is no worker's of a later version of pg_flo.")));
	report->worker = pstrdup("");
	report->database = pstrdup("");
	return report;
}

FloWorkerReport *
flo_report_read(const char *key, const char *value)
{
	MemoryContext context = CurrentMemoryContext;
	FloWorkerReport *report = NULL;
	const char *start = strstr(key, FLO_REPORT_PREFIX);

	if (start == NULL || (start != key && (start[-1] != '.' || strncmp(key, "$KV.", 4) != 0)))
		return NULL;
	/* no worker has such a consumer, and no statement could remove it */
	if (!flo_name_is_consumer(start + strlen(FLO_REPORT_PREFIX)))
		return NULL;
	PG_TRY();
	{
		report = flo_record_read(&report_format, start, value, strlen(value));
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_PROTOCOL_VIOLATION &&
			geterrcode() != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		report = unreadable_report();
	}
	PG_END_TRY();
	report->consumer = pstrdup(start + strlen(FLO_REPORT_PREFIX));
	return report;
}

List *
flo_reports(FloBus *bus, const char *bucket)
{
	List	   *reports = NIL;
	ListCell   *cell;

	foreach(cell, flo_bucket_keys(bus, bucket, FLO_REPORT_PREFIX))
	{
		char	   *value = flo_bucket_get(bus, bucket, lfirst(cell));
		FloWorkerReport *report = value != NULL ? flo_report_read(lfirst(cell), value) : NULL;

		if (report != NULL)
			reports = lappend(reports, report);
	}
	return reports;
}
