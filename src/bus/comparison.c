/*
 * comparison.c
 *		What source and destinations tell each other of a comparison.
 */
#include "postgres.h"

#include "bus/bucket_text.h"
#include "bus/comparison.h"
#include "bus/records.h"

/* As flo_digest_buckets_for() has them */
#define BUCKETS FLO_IN(64, 65536)

#define FORMAT(of, record_fields) \
	{.version = 1, .size = sizeof(of), .fields = record_fields, \
	 .nfields = lengthof(record_fields)}
#define PART(of, record_fields) \
	{.size = sizeof(of), .fields = record_fields, .nfields = lengthof(record_fields)}

static const FloField plan_table_fields[] = {
	{FLO_FIELD(FloComparePlanTable, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloComparePlanTable, schema, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlanTable, table, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlanTable, buckets, FLO_FIELD_INT64, FLO_REQUIRED), BUCKETS},
	{FLO_FIELD(FloComparePlanTable, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparePlanTable, bytes, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparePlanTable, columns, FLO_FIELD_TEXTS, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlanTable, keys, FLO_FIELD_TEXTS, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparePlanTable, description, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlanTable, wanted, FLO_FIELD_TEXT, FLO_OPTIONAL)},
};
static const FloRecordFormat plan_table_format = PART(FloComparePlanTable, plan_table_fields);

static const char *const round_names[] = {"sums", "rows", NULL};
static const FloField plan_fields[] = {
	{FLO_FIELD(FloComparePlan, id, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloComparePlan, attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloComparePlan, round, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(round_names)},
	{FLO_FIELD(FloComparePlan, seed, FLO_FIELD_SYSTEM, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlan, encoding, FLO_FIELD_INT64, FLO_REQUIRED), FLO_IN(0, PG_INT16_MAX)},
	{FLO_FIELD(FloComparePlan, samples, FLO_FIELD_INT64, FLO_REQUIRED), FLO_IN(0, 10000)},
	{FLO_FIELD(FloComparePlan, repair, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparePlan, repair_extra, FLO_FIELD_BOOL, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparePlan, workers, FLO_FIELD_TEXTS, FLO_REQUIRED)},
	{FLO_FIELD(FloComparePlan, tables, FLO_FIELD_RECORDS, FLO_REQUIRED), FLO_OF(plan_table_format)},
};
const FloRecordFormat flo_compare_plan_format = FORMAT(FloComparePlan, plan_fields);

static const FloField table_fields[] = {
	{FLO_FIELD(FloCompareTableRecord, relation, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloCompareTableRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloCompareTableRecord, lsn, FLO_FIELD_LSN, FLO_REQUIRED)},
	{FLO_FIELD(FloCompareTableRecord, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCompareTableRecord, chunks, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloCompareTableRecord, sums, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloCompareTableRecord, failed, FLO_FIELD_TEXT, FLO_OPTIONAL)},
};
const FloRecordFormat flo_compare_table_format = FORMAT(FloCompareTableRecord, table_fields);

static const FloField sample_fields[] = {
	{FLO_FIELD(FloComparedSample, kind, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparedSample, key, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparedSample, source_row, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparedSample, destination_row, FLO_FIELD_TEXT, FLO_OPTIONAL)},
};
static const FloRecordFormat sample_format = {
	.size = sizeof(FloComparedSample),
	.fields = sample_fields,
	.nfields = lengthof(sample_fields),
	.shown_only = true
};

static const FloField repair_fields[] = {
	{FLO_FIELD(FloRepairKey, values, FLO_FIELD_TEXTS, FLO_REQUIRED)},
	{FLO_FIELD(FloRepairKey, extra, FLO_FIELD_BOOL, FLO_OPTIONAL)},
};
static const FloRecordFormat repair_format = PART(FloRepairKey, repair_fields);

static const char *const state_names[] = {
	"equal", "different", "buckets", "void", "missed", "failed", NULL
};
static const FloField compared_fields[] = {
	{FLO_FIELD(FloComparedRecord, relation, FLO_FIELD_UINT32, FLO_REQUIRED)},
	{FLO_FIELD(FloComparedRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloComparedRecord, worker, FLO_FIELD_TEXT, FLO_REQUIRED)},
	{FLO_FIELD(FloComparedRecord, state, FLO_FIELD_ENUM, FLO_REQUIRED), FLO_ONE_OF(state_names)},
	{FLO_FIELD(FloComparedRecord, rows, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparedRecord, missing, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparedRecord, extra, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparedRecord, different, FLO_FIELD_INT64, FLO_REQUIRED), FLO_AT_LEAST(0)},
	{FLO_FIELD(FloComparedRecord, buckets, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparedRecord, detail, FLO_FIELD_TEXT, FLO_OPTIONAL)},
	{FLO_FIELD(FloComparedRecord, samples, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(sample_format)},
	{FLO_FIELD(FloComparedRecord, repairs, FLO_FIELD_RECORDS, FLO_OPTIONAL), FLO_OF(repair_format)},
	{FLO_FIELD(FloComparedRecord, repairs_cut, FLO_FIELD_BOOL, FLO_OPTIONAL)},
};

/* Rows of a destination may have characters that the source's encoding has not */
const FloRecordFormat flo_compared_format = {
	.version = 1,
	.size = sizeof(FloComparedRecord),
	.fields = compared_fields,
	.nfields = lengthof(compared_fields),
	.nearest = true
};

static const FloField comparing_fields[] = {
	{FLO_FIELD(FloComparingRecord, attempt, FLO_FIELD_UINT32, FLO_REQUIRED), FLO_AT_LEAST(1)},
	{FLO_FIELD(FloComparingRecord, seq, FLO_FIELD_UINT64, FLO_REQUIRED)},
	{FLO_FIELD(FloComparingRecord, rows, FLO_FIELD_UINT64, FLO_REQUIRED)},
};
const FloRecordFormat flo_comparing_format = FORMAT(FloComparingRecord, comparing_fields);

char *
flo_compare_plan_key(int64 id, uint32 attempt)
{
	return psprintf(FLO_COMPARISON_PREFIX INT64_FORMAT ".%u.plan", id, attempt);
}

char *
flo_compare_table_key(int64 id, uint32 attempt, uint32 relation)
{
	return psprintf(FLO_COMPARISON_PREFIX INT64_FORMAT ".%u.table.%u", id, attempt, relation);
}

char *
flo_compared_key(int64 id, uint32 attempt, const char *consumer, uint32 relation)
{
	return psprintf(FLO_COMPARED_PREFIX INT64_FORMAT ".%u.%s.%u", id, attempt, consumer,
					relation);
}

char *
flo_comparing_key(int64 id, const char *consumer)
{
	return psprintf(FLO_COMPARING_PREFIX INT64_FORMAT ".%s", id, consumer);
}

void
flo_comparison_put(FloBus *bus, const char *bucket, const char *key, const char *generation,
				   const FloRecordFormat *format, const void *record)
{
	char	   *text = flo_record_write(format, record);

	flo_bucket_put_text(bus, bucket, key, generation, text);
	pfree(text);
}

void *
flo_comparison_get(FloBus *bus, const char *bucket, const char *key, const char *generation,
				   const FloRecordFormat *format)
{
	char	   *text = flo_bucket_get_text(bus, bucket, key, generation);

	return text != NULL ? flo_record_read(format, key, text, strlen(text)) : NULL;
}
