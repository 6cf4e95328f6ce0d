/*
 * options.c
 *		The option registry: every key of the "options" arguments, its type,
 *		bounds and default, in one table.
 *
 * Promises: after a parse every field of the result has a value; an unknown
 * key, a value of the wrong type or out of bounds is an error that names the
 * key and lists what is allowed.  A JSON null means the default.  Sizes and
 * durations are written as in postgresql.conf ('2GB', '10s'); a bare number is
 * in the base unit of the option (bytes, milliseconds; seconds for
 * stream_max_age).
 *
 * A key may stand in the table twice when its default or its choices differ
 * between sinks; the scopes of such entries must not overlap.
 */
#include "postgres.h"

#include <math.h>

#include "conf/options.h"
#include "conf/sink_kinds.h"
#include "core/text.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"
#include "wire/record.h"

/* Whose option it is: one bit for the replicator, one for each kind of sink */
#define FLO_SCOPE_REPLICATOR	1
#define FLO_SCOPE_SINK(kind)	(2 << (kind))
#define FLO_SCOPE_WORKERS		(~FLO_SCOPE_REPLICATOR)
#define FLO_SCOPE_POSTGRES		FLO_SCOPE_SINK(FLO_SINK_POSTGRES)
#define FLO_SCOPE_EVENTS		(FLO_SCOPE_WORKERS & ~FLO_SCOPE_POSTGRES)
#define FLO_SCOPE_FILE			FLO_SCOPE_SINK(FLO_SINK_FILE)
#define FLO_SCOPE_STDOUT		FLO_SCOPE_SINK(FLO_SINK_STDOUT)
#define FLO_SCOPE_WEBHOOK		FLO_SCOPE_SINK(FLO_SINK_WEBHOOK)
#define FLO_SCOPE_NATS			FLO_SCOPE_SINK(FLO_SINK_NATS)
#define FLO_SCOPE_KAFKA			FLO_SCOPE_SINK(FLO_SINK_KAFKA)
/* sinks that send messages, of limited size */
#define FLO_SCOPE_MESSAGES		(FLO_SCOPE_NATS | FLO_SCOPE_KAFKA)
#define FLO_SCOPE_HEADERS		(FLO_SCOPE_WEBHOOK | FLO_SCOPE_MESSAGES)
#define FLO_SCOPE_FORMATS		(FLO_SCOPE_FILE | FLO_SCOPE_STDOUT | FLO_SCOPE_HEADERS)
#define FLO_SCOPE_SEARCH		FLO_SCOPE_SINK(FLO_SINK_SEARCH)
#define FLO_SCOPE_HTTP			(FLO_SCOPE_WEBHOOK | FLO_SCOPE_SEARCH)

typedef enum OptionType
{
	OPTION_BOOL,
	OPTION_CHOICE,				/* an enum of spec.h, by position in "choices" */
	OPTION_NUMBER,
	OPTION_BYTES,
	OPTION_MILLISECONDS,
	OPTION_SECONDS,
	OPTION_TEXT,				/* "choices": the default alone */
	OPTION_START,				/* FloStartAt: one of "choices", an LSN or a
								 * time */
	OPTION_SECRET,				/* never stored here: see event_tables.c */
	OPTION_TABLES,				/* array of table names, or one
								 * comma-separated string */
	OPTION_COLUMNS				/* array of column names, or one of "choices" */
} OptionType;

typedef struct Option
{
	const char *name;
	int			scopes;
	OptionType	type;
	size_t		offset;			/* of the field in the result */
	int64		initial;
	int64		min;
	int64		max;
	const char *const *choices;
} Option;

static const char *const large_names[] = {"early", "at_commit", NULL};
static const char *const chunk_compression_names[] = {"lz4", "none", NULL};
static const char *const release_wal_names[] = {"published", "applied", NULL};
static const char *const keyless_names[] = {"refuse", "full", "insert_only", "skip", NULL};
static const char *const origin_names[] = {"local", "any", NULL};
static const char *const schema_objects_names[] = {"needed", "all", NULL};
static const char *const on_error_names[] = {"retry", "stop", "dead_letter", NULL};
static const char *const on_error_postgres_names[] = {"retry", "stop", NULL};
static const char *const start_names[] = {"copy", "earliest", "latest", NULL};
static const char *const on_conflict_names[] = {"update", "error", "skip", NULL};
static const char *const on_missing_names[] = {"insert", "skip", "error", NULL};
static const char *const copy_into_names[] = {"empty", "truncate", "merge", NULL};
static const char *const ddl_trust_names[] = {"object", "source", NULL};
static const char *const masking_names[] = {"rules", "strict", NULL};
static const char *const format_names[] = {"pg_flo", "cloudevents", "debezium", NULL};
static const char *const cloudevents_mode_names[] = {"structured", "binary", NULL};
static const char *const oversize_names[] = {"error", "reference", NULL};
static const char *const subject_default[] = {FLO_DEFAULT_SUBJECT};
static const char *const partition_by_names[] = {"key", "table", "schema", NULL};
static const char *const index_default[] = {"{schema}-{table}"};
static const char *const mapping_names[] = {"strict", "dynamic", NULL};
static const char *const json_names[] = {"object", "flattened", NULL};
static const char *const id_names[] = {"key", NULL};
static const char *const ddl_names[] = {"apply", "hold", "ignore", NULL};
static const char *const topic_default[] = {"{group}.{schema}.{table}"};
static const char *const compression_names[] = {"none", "gzip", "snappy", "lz4", "zstd", NULL};
static const char *const security_names[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL};
static const char *const sasl_names[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", NULL};

#define R(field) offsetof(FloReplicatorOptions, field)
#define W(field) offsetof(FloWorkerOptions, field)

#define KB INT64CONST(1024)
#define MB (KB * 1024)
#define GB (MB * 1024)
#define SIZE_MAX_BYTES (INT64CONST(1) << 50)
#define DAY_MS INT64CONST(86400000)

static const Option registry[] = {
	/* replicator */
	{"release_wal", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(release_wal), FLO_RELEASE_PUBLISHED, 0, 0, release_wal_names},
	{"keyless_tables", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(keyless_tables), FLO_KEYLESS_REFUSE, 0, 0, keyless_names},
	{"publish_via_partition_root", FLO_SCOPE_REPLICATOR, OPTION_BOOL, R(publish_via_partition_root), true},
	{"origin", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(origin), FLO_ORIGIN_LOCAL, 0, 0, origin_names},
	{"stream_max_bytes", FLO_SCOPE_REPLICATOR, OPTION_BYTES, R(stream_max_bytes), -1, 0, SIZE_MAX_BYTES},
	{"stream_max_age", FLO_SCOPE_REPLICATOR, OPTION_SECONDS, R(stream_max_age), -1, 0, PG_INT32_MAX},
	{"stream_replicas", FLO_SCOPE_REPLICATOR, OPTION_NUMBER, R(stream_replicas), -1, 1, 5},
	{"copy_stream_max_bytes", FLO_SCOPE_REPLICATOR, OPTION_BYTES, R(copy_stream_max_bytes), 2 * GB, 64 * MB, SIZE_MAX_BYTES},
	{"schema_owner", FLO_SCOPE_REPLICATOR, OPTION_BOOL, R(schema_owner), false},
	{"schema_privileges", FLO_SCOPE_REPLICATOR, OPTION_BOOL, R(schema_privileges), false},
	{"schema_objects", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(schema_objects), FLO_SCHEMA_BY_CHOICE, 0, 0, schema_objects_names},
	{"large_transactions", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(large_transactions), FLO_LARGE_EARLY, 0, 0, large_names},
	{"large_transaction_size", FLO_SCOPE_REPLICATOR, OPTION_BYTES, R(large_transaction_size), 8 * MB, 0, SIZE_MAX_BYTES},
	{"compression", FLO_SCOPE_REPLICATOR, OPTION_CHOICE, R(compression), FLO_CHUNKS_LZ4, 0, 0, chunk_compression_names},

	/* every worker */
	{"batch_size", FLO_SCOPE_POSTGRES, OPTION_NUMBER, W(batch_size), 1000, 1, 1000000},
	{"batch_size", FLO_SCOPE_EVENTS & ~FLO_SCOPE_SEARCH, OPTION_NUMBER, W(batch_size), 10000, 1, 1000000},
	{"batch_size", FLO_SCOPE_SEARCH, OPTION_NUMBER, W(batch_size), 100000, 1, 1000000},
	{"on_error", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(on_error), FLO_ON_ERROR_RETRY, 0, 0, on_error_postgres_names},
	{"on_error", FLO_SCOPE_EVENTS & ~FLO_SCOPE_SEARCH, OPTION_CHOICE, W(on_error), FLO_ON_ERROR_RETRY, 0, 0, on_error_names},
	{"on_error", FLO_SCOPE_SEARCH, OPTION_CHOICE, W(on_error), FLO_ON_ERROR_STOP, 0, 0, on_error_names},
	{"start", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(start.kind), FLO_START_COPY, 0, 0, start_names},
	{"start", FLO_SCOPE_EVENTS, OPTION_START, W(start), FLO_START_EARLIEST, 0, 0, start_names},
	{"tables", FLO_SCOPE_WORKERS, OPTION_TABLES, W(tables)},
	{"masking", FLO_SCOPE_WORKERS, OPTION_CHOICE, W(masking), FLO_MASKING_RULES, 0, 0, masking_names},

	/* postgres */
	{"on_conflict", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(on_conflict), FLO_CONFLICT_UPDATE, 0, 0, on_conflict_names},
	{"on_missing", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(on_missing), FLO_MISSING_INSERT, 0, 0, on_missing_names},
	{"fire_triggers", FLO_SCOPE_POSTGRES, OPTION_BOOL, W(fire_triggers), false},
	{"run_as_owner", FLO_SCOPE_POSTGRES, OPTION_BOOL, W(run_as_owner), false},
	{"copy_into", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(copy_into), FLO_COPY_EMPTY, 0, 0, copy_into_names},
	{"loaders", FLO_SCOPE_POSTGRES, OPTION_NUMBER, W(loaders), 4, 1, 64},
	{"ddl", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(ddl), FLO_DDL_APPLY, 0, 0, ddl_names},
	{"ddl_trust", FLO_SCOPE_POSTGRES, OPTION_CHOICE, W(ddl_trust), FLO_DDL_TRUST_OBJECT, 0, 0, ddl_trust_names},
	{"lock_timeout", FLO_SCOPE_POSTGRES, OPTION_MILLISECONDS, W(lock_timeout), 10000, 0, PG_INT32_MAX},
	{"allow_cutover", FLO_SCOPE_POSTGRES, OPTION_BOOL, W(allow_cutover), false},

	/* events */
	{"format", FLO_SCOPE_FORMATS, OPTION_CHOICE, W(format), FLO_FORMAT_PG_FLO, 0, 0, format_names},
	{"cloudevents_source", FLO_SCOPE_FORMATS, OPTION_TEXT, W(cloudevents_source)},
	{"cloudevents_mode", FLO_SCOPE_HEADERS, OPTION_CHOICE, W(cloudevents_mode), FLO_CLOUDEVENTS_STRUCTURED, 0, 0, cloudevents_mode_names},
	{"tombstones", FLO_SCOPE_MESSAGES, OPTION_BOOL, W(tombstones), false},
	{"oversize", FLO_SCOPE_MESSAGES, OPTION_CHOICE, W(oversize), FLO_OVERSIZE_ERROR, 0, 0, oversize_names},

	/* file */
	{"directory", FLO_SCOPE_FILE, OPTION_TEXT, W(directory)},
	{"max_size", FLO_SCOPE_FILE, OPTION_BYTES, W(max_size), 100 * MB, 64 * KB, SIZE_MAX_BYTES},
	{"max_age", FLO_SCOPE_FILE, OPTION_MILLISECONDS, W(max_age), 3600000, 1000, 365 * DAY_MS},

	/* webhook, and in part search */
	{"url", FLO_SCOPE_HTTP, OPTION_TEXT, W(url)},
	{"headers", FLO_SCOPE_HTTP, OPTION_SECRET},
	{"secret", FLO_SCOPE_WEBHOOK, OPTION_SECRET},
	{"headers_file", FLO_SCOPE_HTTP, OPTION_TEXT, W(headers_file)},
	{"secret_file", FLO_SCOPE_WEBHOOK, OPTION_TEXT, W(secret_file)},
	{"timeout", FLO_SCOPE_WEBHOOK, OPTION_MILLISECONDS, W(timeout), 10000, 100, 3600000},
	{"timeout", FLO_SCOPE_SEARCH, OPTION_MILLISECONDS, W(timeout), 60000, 100, 3600000},
	{"max_attempts", FLO_SCOPE_WEBHOOK, OPTION_NUMBER, W(max_attempts), 3, 1, 1000},
	{"events_per_request", FLO_SCOPE_WEBHOOK, OPTION_NUMBER, W(events_per_request), 1, 1, 10000},

	/* nats */
	{"subject", FLO_SCOPE_NATS, OPTION_TEXT, W(subject), 0, 0, 0, subject_default},
	{"partitions", FLO_SCOPE_NATS, OPTION_NUMBER, W(partitions), 1, 1, 1024},
	{"partition_by", FLO_SCOPE_MESSAGES, OPTION_COLUMNS, W(partition_by), 0, 0, 0, partition_by_names},
	{"jetstream", FLO_SCOPE_NATS, OPTION_BOOL, W(jetstream), true},
	{"stream", FLO_SCOPE_NATS, OPTION_TEXT, W(stream)},
	{"stream_max_bytes", FLO_SCOPE_NATS, OPTION_BYTES, W(stream_max_bytes), 0, 0, SIZE_MAX_BYTES},
	{"stream_max_age", FLO_SCOPE_NATS, OPTION_SECONDS, W(stream_max_age), 0, 0, PG_INT32_MAX},
	{"stream_replicas", FLO_SCOPE_NATS, OPTION_NUMBER, W(stream_replicas), -1, 1, 5},
	{"kv_bucket", FLO_SCOPE_NATS, OPTION_TEXT, W(kv_bucket)},
	{"kv_history", FLO_SCOPE_NATS, OPTION_NUMBER, W(kv_history), 1, 1, 64},

	/* kafka */
	{"brokers", FLO_SCOPE_KAFKA, OPTION_TEXT, W(brokers)},
	{"topic", FLO_SCOPE_KAFKA, OPTION_TEXT, W(topic), 0, 0, 0, topic_default},
	{"transactional_id", FLO_SCOPE_KAFKA, OPTION_TEXT, W(transactional_id)},
	{"compression", FLO_SCOPE_KAFKA, OPTION_CHOICE, W(compression), FLO_COMPRESSION_NONE, 0, 0, compression_names},
	{"max_message_bytes", FLO_SCOPE_KAFKA, OPTION_BYTES, W(max_message_bytes), 1000000, 10000, 256 * MB},
	{"transaction_timeout", FLO_SCOPE_KAFKA, OPTION_MILLISECONDS, W(transaction_timeout), 60000, 5000, 3600000},
	{"security_protocol", FLO_SCOPE_KAFKA, OPTION_CHOICE, W(security_protocol), FLO_SECURITY_PLAINTEXT, 0, 0, security_names},
	{"ssl_ca_file", FLO_SCOPE_KAFKA, OPTION_TEXT, W(ssl_ca_file)},
	{"ssl_certificate_file", FLO_SCOPE_KAFKA, OPTION_TEXT, W(ssl_certificate_file)},
	{"ssl_key_file", FLO_SCOPE_KAFKA, OPTION_TEXT, W(ssl_key_file)},
	{"sasl_mechanism", FLO_SCOPE_KAFKA, OPTION_CHOICE, W(sasl_mechanism), FLO_SASL_SCRAM_SHA_512, 0, 0, sasl_names},
	{"sasl_username", FLO_SCOPE_KAFKA, OPTION_TEXT, W(sasl_username)},
	{"sasl_password", FLO_SCOPE_KAFKA, OPTION_SECRET},
	{"sasl_password_file", FLO_SCOPE_KAFKA, OPTION_TEXT, W(sasl_password_file)},

	/* search */
	{"auth", FLO_SCOPE_SEARCH, OPTION_SECRET},
	{"index", FLO_SCOPE_SEARCH, OPTION_TEXT, W(index), 0, 0, 0, index_default},
	{"id", FLO_SCOPE_SEARCH, OPTION_COLUMNS, W(id), 0, 0, 0, id_names},
	{"mapping", FLO_SCOPE_SEARCH, OPTION_CHOICE, W(mapping), FLO_SEARCH_STRICT, 0, 0, mapping_names},
	{"json", FLO_SCOPE_SEARCH, OPTION_CHOICE, W(json), FLO_SEARCH_JSON_OBJECT, 0, 0, json_names},
	{"batch_bytes", FLO_SCOPE_SEARCH, OPTION_BYTES, W(batch_bytes), 5 * MB, 1 * KB, 64 * MB},
	{"batch_ms", FLO_SCOPE_SEARCH, OPTION_MILLISECONDS, W(batch_ms), 200, 0, 60000},
	{"gc_deletes", FLO_SCOPE_SEARCH, OPTION_MILLISECONDS, W(gc_deletes), 3600000, 60000, 30 * DAY_MS},
};

static const Option *
find_option(const char *name, int len, int scope)
{
	for (int i = 0; i < lengthof(registry); i++)
	{
		const Option *option = &registry[i];

		if ((option->scopes & scope) != 0 &&
			strlen(option->name) == len && strncmp(option->name, name, len) == 0)
			return option;
	}

	return NULL;
}

static char *
list_options(int scope)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(registry); i++)
		if ((registry[i].scopes & scope) != 0)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", registry[i].name);

	return names.data;
}

static char *
list_choices(const Option *option)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; option->choices[i] != NULL; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", option->choices[i]);

	return names.data;
}

/* Values are not repeated in messages: one given to the wrong key may be a secret */
static void
refuse_value(const Option *option, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option->name),
			 errhint("%s", hint)));
}

char *
flo_scalar_text(const JsonbValue *value)
{
	if (value == NULL)
		return NULL;
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

static char *
value_as_text(const Option *option, const JsonbValue *value)
{
	char	   *text = flo_scalar_text(value);

	if (text == NULL)
		refuse_value(option, "The value must not be an object or an array.");
	return text;
}

static void
set_quantity(const Option *option, const char *text, int unit, void *field)
{
	const char *hint = NULL;
	double		number;

	if (!parse_real(text, &number, unit, &hint) || number != floor(number))
		refuse_value(option, hint ? _(hint) :
					 unit ? "The value is a number and a unit, such as \"64MB\" or \"10s\"." :
					 "The value is a whole number.");

	if (number < (double) option->min || number > (double) option->max)
		refuse_value(option,
					 psprintf("The value must lie between " INT64_FORMAT " and " INT64_FORMAT "%s.",
							  option->min, option->max,
							  unit == GUC_UNIT_BYTE ? " bytes" :
							  unit == GUC_UNIT_MS ? " ms" :
							  unit == GUC_UNIT_S ? " s" : ""));

	*(int64 *) field = (int64) number;
}

static void
set_choice(const Option *option, const char *text, void *field)
{
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strcmp(option->choices[i], text) == 0)
		{
			*(int *) field = i;
			return;
		}
	}

	refuse_value(option, psprintf("Valid values are: %s.", list_choices(option)));
}

/*
 * A time in the past, as the server reads it.  What is thrown for anything else would
 * repeat the value.
 */
static bool
parse_time(const char *text, TimestampTz *time)
{
	MemoryContext old = CurrentMemoryContext;
	volatile bool valid = true;

	PG_TRY();
	{
		*time = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
														ObjectIdGetDatum(InvalidOid),
														Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(old);
		FlushErrorState();
		valid = false;
	}
	PG_END_TRY();
	return valid && !TIMESTAMP_NOT_FINITE(*time);
}

static bool
is_lsn(const char *text)
{
	static const char *const digits = "0123456789abcdefABCDEF";
	size_t		high = strspn(text, digits);
	size_t		low = text[high] == '/' ? strspn(text + high + 1, digits) : 0;

	return high >= 1 && high <= 8 && low >= 1 && low <= 8 && text[high + 1 + low] == '\0';
}

static void
set_start(const Option *option, const char *text, FloStartAt *start)
{
	for (int i = 0; option->choices[i] != NULL; i++)
	{
		if (strcmp(option->choices[i], text) == 0)
		{
			start->kind = i;
			return;
		}
	}
	if (is_lsn(text))
	{
		start->kind = FLO_START_LSN;
		start->lsn = flo_lsn_of_text(text);
		if (XLogRecPtrIsInvalid(start->lsn))
			refuse_value(option, "No transaction has the LSN 0/0: all that there is is earliest.");
		return;
	}
	start->kind = FLO_START_TIME;
	if (!parse_time(text, &start->time))
		refuse_value(option, psprintf("Valid values are: %s, an LSN such as 0/16C5490, a time such as 2026-01-02 03:04:05+00.",
									  list_choices(option)));
	if (start->time > GetCurrentTimestamp())
		refuse_value(option, "The time lies in the future: what is committed from now on is latest.");
}

static const char *const tables_hint =
"The value is an array of table names, such as [\"public.orders\"].";

static void
append_quoted(StringInfo buf, const char *name)
{
	appendStringInfoChar(buf, '"');
	for (; *name; name++)
	{
		if (*name == '"')
			appendStringInfoChar(buf, '"');
		appendStringInfoChar(buf, *name);
	}
	appendStringInfoChar(buf, '"');
}

/* One [schema.]table, read as SQL would, becomes "schema"."table" */
static void
append_table(const Option *option, StringInfo names, const char *text, int len)
{
	List	   *parts;

	if (!SplitIdentifierString(pnstrdup(text, len), '.', &parts) ||
		list_length(parts) < 1 || list_length(parts) > 2)
		refuse_value(option, tables_hint);
	if (names->len > 0)
		appendStringInfoChar(names, ',');
	append_quoted(names, list_length(parts) == 2 ? linitial(parts) : "public");
	appendStringInfoChar(names, '.');
	append_quoted(names, llast(parts));
}

/* Names in one string, separated by commas that are not within quotes */
static void
append_tables(const Option *option, StringInfo names, const char *text, int len)
{
	const char *end = text + len;
	bool		quoted = false;

	for (const char *start = text; start <= end;)
	{
		const char *at = start;

		for (; at < end && (quoted || *at != ','); at++)
			if (*at == '"')
				quoted = !quoted;
		append_table(option, names, start, at - start);
		start = at + 1;
	}
}

static void
set_tables(const Option *option, const JsonbValue *value, void *field)
{
	StringInfoData names;

	initStringInfo(&names);
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
	{
		JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
		JsonbIteratorToken token;
		JsonbValue	element;

		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			if (element.type != jbvString)
				refuse_value(option, tables_hint);
			append_table(option, &names, element.val.string.val, element.val.string.len);
		}
	}
	else if (value->type == jbvString)
		append_tables(option, &names, value->val.string.val, value->val.string.len);
	if (names.len == 0)
		refuse_value(option, tables_hint);
	*(char **) field = names.data;
}

/* Names of columns in quotes, so that none is taken for one of the choices */
static void
set_columns(const Option *option, const JsonbValue *value, void *field)
{
	const char *hint = psprintf("The value is an array of names of columns, or one of: %s.",
								list_choices(option));
	StringInfoData names;

	initStringInfo(&names);
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
	{
		JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
		JsonbIteratorToken token;
		JsonbValue	element;

		while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			if (element.type != jbvString || element.val.string.len == 0 ||
				element.val.string.len >= NAMEDATALEN)
				refuse_value(option, hint);
			if (names.len > 0)
				appendStringInfoChar(&names, ',');
			append_quoted(&names, pnstrdup(element.val.string.val, element.val.string.len));
		}
	}
	for (int i = 0; value->type == jbvString && option->choices[i] != NULL; i++)
	{
		if (strlen(option->choices[i]) == value->val.string.len &&
			strncmp(option->choices[i], value->val.string.val, value->val.string.len) == 0)
			appendStringInfoString(&names, option->choices[i]);
	}
	if (names.len == 0)
		refuse_value(option, hint);
	*(char **) field = names.data;
}

static void
set_value(const Option *option, const JsonbValue *value, void *field)
{
	char	   *text;
	bool		truth;

	if (option->type == OPTION_SECRET)
		return;
	if (option->type == OPTION_TABLES)
	{
		set_tables(option, value, field);
		return;
	}
	if (option->type == OPTION_COLUMNS)
	{
		set_columns(option, value, field);
		return;
	}

	text = value_as_text(option, value);

	switch (option->type)
	{
		case OPTION_BOOL:
			if (!parse_bool(text, &truth))
				refuse_value(option, "Valid values are: true, false.");
			*(bool *) field = truth;
			break;
		case OPTION_CHOICE:
			set_choice(option, text, field);
			break;
		case OPTION_NUMBER:
			set_quantity(option, text, 0, field);
			break;
		case OPTION_BYTES:
			set_quantity(option, text, GUC_UNIT_BYTE, field);
			break;
		case OPTION_MILLISECONDS:
			set_quantity(option, text, GUC_UNIT_MS, field);
			break;
		case OPTION_SECONDS:
			set_quantity(option, text, GUC_UNIT_S, field);
			break;
		case OPTION_TEXT:
			if (text[0] == '\0')
				refuse_value(option, "The value must not be empty.");
			*(char **) field = text;
			break;
		case OPTION_START:
			set_start(option, text, field);
			break;
		case OPTION_SECRET:
		case OPTION_TABLES:
		case OPTION_COLUMNS:
			break;
	}
}

static void
set_default(const Option *option, void *field)
{
	switch (option->type)
	{
		case OPTION_BOOL:
			*(bool *) field = option->initial != 0;
			break;
		case OPTION_CHOICE:
		case OPTION_START:		/* kind comes first */
			*(int *) field = (int) option->initial;
			break;
		case OPTION_TEXT:
			*(const char **) field = option->choices != NULL ? option->choices[0] : NULL;
			break;
		case OPTION_TABLES:
			*(char **) field = NULL;
			break;
		case OPTION_COLUMNS:
			*(const char **) field = option->choices[option->initial];
			break;
		case OPTION_SECRET:
			break;
		default:
			*(int64 *) field = option->initial;
			break;
	}
}

/* "owner" is what the options belong to, as messages say it */
static void
parse_options(Jsonb *options, int scope, const char *owner, void *result)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	for (int i = 0; i < lengthof(registry); i++)
		if ((registry[i].scopes & scope) != 0)
			set_default(&registry[i], (char *) result + registry[i].offset);

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object"),
				 errhint("An example is '{\"batch_size\": 500}'.")));

	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		const Option *option;

		if (token != WJB_KEY)
			continue;

		option = find_option(key.val.string.val, key.val.string.len, scope);
		if (option == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown option \"%.*s\" of a %s",
							key.val.string.len, key.val.string.val, owner),
					 errhint("Known options are: %s.", list_options(scope))));

		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type != jbvNull)
			set_value(option, &value, (char *) result + option->offset);
	}
}

void
flo_options_parse_replicator(Jsonb *options, FloReplicatorOptions *result)
{
	memset(result, 0, sizeof(FloReplicatorOptions));
	parse_options(options, FLO_SCOPE_REPLICATOR, "replicator", result);
}

void
flo_options_parse_worker(Jsonb *options, FloSinkKind sink, FloWorkerOptions *result)
{
	memset(result, 0, sizeof(FloWorkerOptions));
	parse_options(options, FLO_SCOPE_SINK(sink),
				  psprintf("worker with sink \"%s\"", flo_sink_name(sink)), result);
}

/* A time as it was meant where it was set, whatever the time zone is where it is read */
Jsonb *
flo_options_settle(Jsonb *options, const FloWorkerOptions *parsed)
{
	char	   *settled;

	if (parsed->start.kind != FLO_START_TIME)
		return options;
	settled = psprintf("{\"start\": \"%s\"}", flo_time_format(parsed->start.time));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(options),
											  DirectFunctionCall1(jsonb_in,
																  CStringGetDatum(settled))));
}
