/*
 * event.c
 *		A change as messages, the same for every sink that sends events.
 *
 * Promises: one message per changed row, truncated table or statement, but for
 * what a format splits and for tombstones, in one line and in UTF-8.  Its Id is
 * made of the group, the LSN of the commit record and the number of the change in
 * the source's transaction, so it is the same whenever the change is sent again,
 * whatever is filtered out on the way.
 *
 * What is written is the format's business (format_*.c), of parts that all have
 * in common (event_parts.c).
 */
#include "postgres.h"

#include "events/event_impl.h"
#include "events/event_key.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A value this many times longer than an event may be does not fit, however it is written */
#define HOPELESS 8

/* --- writers ------------------------------------------------------------- */

static const FloEventFormatOps *
format_ops(FloEventFormat format)
{
	switch (format)
	{
		case FLO_FORMAT_PG_FLO:
			return &flo_format_own;
		case FLO_FORMAT_CLOUDEVENTS:
			return &flo_format_cloudevents;
		case FLO_FORMAT_DEBEZIUM:
			return &flo_format_debezium;
	}
	return NULL;
}

FloEventWriter *
flo_event_writer_create(MemoryContext context, const FloEventOptions *options, int encoding)
{
	FloEventWriter *writer = MemoryContextAllocZero(context, sizeof(FloEventWriter));
	MemoryContext old = MemoryContextSwitchTo(context);
	HASHCTL		control = {0};

	writer->context = context;
	writer->scratch = AllocSetContextCreate(context, "pg_flo event", ALLOCSET_DEFAULT_SIZES);
	writer->header_context = AllocSetContextCreate(context, "pg_flo event headers",
												   ALLOCSET_SMALL_SIZES);
	writer->options = *options;
	writer->options.group = pstrdup(options->group);
	writer->options.database = pstrdup(options->database != NULL ? options->database : "");
	writer->ops = format_ops(options->format);
	writer->encoding = encoding;
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(FloEventTable);
	control.hcxt = context;
	writer->tables = hash_create("pg_flo event tables", 64, &control,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	initStringInfo(&writer->id);
	initStringInfo(&writer->place);
	writer->converts = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
	writer->options.source = options->source != NULL ? pstrdup(options->source) :
		flo_cloudevents_default_source(writer);
	MemoryContextSwitchTo(old);
	return writer;
}

FloEventWriter *
flo_event_writer_open(MemoryContext context, const FloWorkerSpec *spec, const FloSinkHost *host)
{
	const FloEventOptions options = {
		.group = spec->group,
		.database = host->source_database,
		.format = spec->options.format,
		.source = spec->options.cloudevents_source,
		.binary = spec->options.cloudevents_mode == FLO_CLOUDEVENTS_BINARY,
		.tombstones = spec->options.tombstones,
		.kafka = spec->sink == FLO_SINK_KAFKA,
	};

	return flo_event_writer_create(context, &options, -1);
}

/* --- types --------------------------------------------------------------- */

const char *
flo_event_type_name(FloEventType type)
{
	switch (type)
	{
		case FLO_EVENT_INSERT:
			return "INSERT";
		case FLO_EVENT_UPDATE:
			return "UPDATE";
		case FLO_EVENT_DELETE:
			return "DELETE";
		case FLO_EVENT_TRUNCATE:
			return "TRUNCATE";
		case FLO_EVENT_DDL:
			return "DDL";
	}
	return NULL;
}

FloEventType
flo_event_type_of(const FloChange *change)
{
	switch (change->op)
	{
		case FLO_OP_INSERT:
			return FLO_EVENT_INSERT;
		case FLO_OP_UPDATE:
			return FLO_EVENT_UPDATE;
		case FLO_OP_DELETE:
			return FLO_EVENT_DELETE;
		case FLO_OP_TRUNCATE:
			return FLO_EVENT_TRUNCATE;
		default:
			return FLO_EVENT_DDL;
	}
}

void
flo_event_tally(FloCounters *counters, const FloChange *change)
{
	switch (flo_event_type_of(change))
	{
		case FLO_EVENT_INSERT:
			counters->inserts++;
			break;
		case FLO_EVENT_UPDATE:
			counters->updates++;
			break;
		case FLO_EVENT_DELETE:
			counters->deletes++;
			break;
		case FLO_EVENT_TRUNCATE:
			counters->truncates += change->ntruncated;
			break;
		case FLO_EVENT_DDL:
			break;
	}
}

const char *
flo_event_id(const FloEventWriter *writer)
{
	return writer->id.data;
}

const char *
flo_event_type(const FloEventWriter *writer)
{
	return writer->type;
}

bool
flo_event_is_tombstone(const FloEventWriter *writer)
{
	return writer->part == FLO_EVENT_TOMBSTONE;
}

bool
flo_event_is_old(const FloEventWriter *writer)
{
	return writer->change != NULL &&
		(writer->change->op == FLO_OP_DELETE || writer->part == FLO_EVENT_OLD_KEY ||
		 writer->part == FLO_EVENT_TOMBSTONE);
}

/* --- messages of a change ------------------------------------------------ */

/* The messages that the change of a row is, in order; returns how many */
static int
parts_of(const FloEventWriter *writer, const FloChange *change, FloEventPart parts[3])
{
	bool		new_key = flo_event_changes_key(change);
	bool		splits = new_key && writer->ops->splits_key_updates;
	int			count = 0;

	parts[count++] = splits ? FLO_EVENT_OLD_KEY : FLO_EVENT_WHOLE;
	if (writer->options.tombstones &&
		(new_key || (change->op == FLO_OP_DELETE && flo_event_has_key(change->relation))))
		parts[count++] = FLO_EVENT_TOMBSTONE;
	if (splits)
		parts[count++] = FLO_EVENT_NEW_KEY;
	return count;
}

/* Most changes are one message */
static inline bool
has_parts(const FloEventWriter *writer, const FloChange *change)
{
	return (change->op == FLO_OP_UPDATE && change->has_old &&
			(writer->ops->splits_key_updates || writer->options.tombstones)) ||
		(change->op == FLO_OP_DELETE && writer->options.tombstones);
}

int
flo_event_count(const FloEventWriter *writer, const FloChange *change)
{
	FloEventPart parts[3];

	if (change->op == FLO_OP_TRUNCATE)
		return change->ntruncated;
	return has_parts(writer, change) ? parts_of(writer, change, parts) : 1;
}

static const char *
type_of_part(const FloEventWriter *writer)
{
	switch (writer->part)
	{
		case FLO_EVENT_OLD_KEY:
		case FLO_EVENT_TOMBSTONE:
			return flo_event_type_name(FLO_EVENT_DELETE);
		case FLO_EVENT_NEW_KEY:
			return flo_event_type_name(FLO_EVENT_INSERT);
		default:
			return flo_event_type_name(flo_event_type_of(writer->change));
	}
}

void
flo_event_append_id(StringInfo out, const char *group, const FloTransaction *txn)
{
	if (txn->copy_id != NULL)
		appendStringInfo(out, "%s-copy-%s-" UINT64_FORMAT, group, txn->copy_id, txn->ordinal);
	else
		appendStringInfo(out, "%s-%08X%08X-" UINT64_FORMAT, group,
						 LSN_FORMAT_ARGS(txn->final_lsn), txn->ordinal);
}

/* One TRUNCATE of several tables is one change, told apart by their OIDs */
static void
make_id(FloEventWriter *writer, int which)
{
	resetStringInfo(&writer->id);
	flo_event_append_id(&writer->id, writer->options.group, writer->txn);
	if (writer->change->op == FLO_OP_TRUNCATE)
		appendStringInfo(&writer->id, ".%u", writer->partition != NULL ?
						 writer->partition->relation : writer->relation->id);
	else if (which > 0)
		appendStringInfo(&writer->id, ".%d", which + 1);
}

static void
describe_present(FloEventWriter *writer)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now != writer->emitted_at || writer->emitted[0] == '\0')
		flo_event_time(writer->emitted, now);
	writer->emitted_at = now;
}

/* What all events of a transaction have in common is written once */
static void
describe_transaction(FloEventWriter *writer, const FloTransaction *txn)
{
	bool		copied = txn->copy_id != NULL;

	if (writer->final_lsn == txn->final_lsn && writer->copied == copied && writer->place.len > 0)
		return;
	resetStringInfo(&writer->place);
	writer->committed[0] = '\0';
	if (!copied)
		flo_event_time(writer->committed, txn->commit_time);
	snprintf(writer->commit_lsn, sizeof(writer->commit_lsn), "%X/%X",
			 LSN_FORMAT_ARGS(txn->final_lsn));
	writer->ops->describe_transaction(writer, &writer->place, txn);
	writer->final_lsn = txn->final_lsn;
	writer->copied = copied;
}

/* Say what is to be written; in "scratch" */
static void
begin_event(FloEventWriter *writer, const FloTransaction *txn, const FloChange *change, int which)
{
	FloEventPart parts[3];

	writer->txn = txn;
	writer->change = change;
	writer->relation = change->relation;
	writer->part = FLO_EVENT_WHOLE;
	writer->partition = NULL;
	if (change->op == FLO_OP_TRUNCATE)
	{
		const FloTruncated *truncated = &change->truncated[which];

		writer->relation = truncated->relation;
		if (truncated->part != NULL)
			writer->partition = flo_partition_read(truncated->part);
	}
	else if (has_parts(writer, change) && parts_of(writer, change, parts) > which)
		writer->part = parts[which];
	writer->table = change->op == FLO_OP_MESSAGE ? NULL :
		flo_event_table(writer, writer->relation);
	writer->type = type_of_part(writer);
	make_id(writer, which);
	describe_present(writer);
	describe_transaction(writer, txn);
}

/* As a format has it, without the columns "omitted"; how long they are is added to "sizes" */
static void
append(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
	   const FloChange *change, int which, const bool *omitted, int64 *sizes)
{
	MemoryContext old = MemoryContextSwitchTo(writer->scratch);
	int			start = out->len;

	writer->omitted = omitted;
	writer->sizes = sizes;
	begin_event(writer, txn, change, which);
	if (writer->part != FLO_EVENT_TOMBSTONE)
		writer->ops->append(writer, out);
	flo_event_to_utf8(writer, out, start);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->scratch);
}

void
flo_event_append(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
				 const FloChange *change, int which)
{
	append(writer, out, txn, change, which, NULL, NULL);
}

void
flo_event_append_notice(FloEventWriter *writer, StringInfo out, const char *id, const char *type,
						const char *members)
{
	MemoryContext old = MemoryContextSwitchTo(writer->scratch);
	int			start = out->len;

	writer->txn = NULL;
	writer->change = NULL;
	writer->relation = NULL;
	writer->table = NULL;
	writer->partition = NULL;
	writer->part = FLO_EVENT_WHOLE;
	writer->omitted = NULL;
	writer->sizes = NULL;
	writer->type = type;
	writer->members = members;
	resetStringInfo(&writer->id);
	appendStringInfoString(&writer->id, id);
	describe_present(writer);
	writer->ops->append(writer, out);
	flo_event_to_utf8(writer, out, start);
	MemoryContextSwitchTo(old);
	MemoryContextReset(writer->scratch);
}

/* --- events that are too long -------------------------------------------- */

static Size
raw_length(const FloTuple *tuple, int column)
{
	return column < tuple->natts ? tuple->values[column].len : 0;
}

/* The length of a column's values as they travelled */
static Size
raw_size(const FloChange *change, int column)
{
	Size		size = 0;

	if (change->op != FLO_OP_DELETE)
		size += raw_length(&change->new, column);
	if (change->op != FLO_OP_INSERT && change->has_old)
		size += raw_length(&change->old, column);
	return size;
}

/* Leave out more: the largest values until "excess" bytes are saved; false: there is none */
static bool
omit_largest(bool *omitted, const int64 *sizes, int natts, int64 excess)
{
	bool		any = false;

	while (excess > 0)
	{
		int			largest = -1;

		for (int i = 0; i < natts; i++)
		{
			if (!omitted[i] && sizes[i] > (largest < 0 ? 0 : sizes[largest]))
				largest = i;
		}
		if (largest < 0)
			break;
		omitted[largest] = any = true;
		excess -= sizes[largest];
	}
	return any;
}

/* The slow way: write it again and again, each time without more of the values */
static bool
append_shortened(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
				 const FloChange *change, int which, Size limit)
{
	const FloRelation *relation = change->relation;
	bool		has_key = flo_event_has_key(relation);
	bool	   *omitted = palloc0(sizeof(bool) * relation->natts);
	int64	   *sizes = palloc(sizeof(int64) * relation->natts);
	int			start = out->len;
	bool		any = false;
	bool		fits;

	/* what cannot fit is not even written */
	for (int i = 0; i < relation->natts; i++)
	{
		omitted[i] = raw_size(change, i) / HOPELESS > limit &&
			!(has_key && relation->columns[i].is_key);
		any |= omitted[i];
	}
	for (;;)
	{
		memset(sizes, 0, sizeof(int64) * relation->natts);
		append(writer, out, txn, change, which, any ? omitted : NULL, sizes);
		fits = out->len - start <= limit;
		if (fits)
			break;
		for (int i = 0; i < relation->natts; i++)
		{
			if (has_key && relation->columns[i].is_key)
				sizes[i] = 0;
		}
		if (!omit_largest(omitted, sizes, relation->natts, out->len - start - limit))
			break;
		any = true;
		out->len = start;
		out->data[start] = '\0';
	}
	pfree(omitted);
	pfree(sizes);
	return fits;
}

bool
flo_event_append_within(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
						const FloChange *change, int which, Size limit)
{
	bool		is_row = change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE ||
		change->op == FLO_OP_DELETE;
	int			start = out->len;
	Size		size = 0;
	bool		fits;

	for (int i = 0; is_row && i < change->relation->natts; i++)
		size = Max(size, raw_size(change, i));
	if (size / HOPELESS <= limit)
	{
		flo_event_append(writer, out, txn, change, which);
		if (out->len - start <= limit)
			return true;
		out->len = start;
	}
	fits = is_row && append_shortened(writer, out, txn, change, which, limit);
	if (!fits)
	{
		out->len = start;
		out->data[start] = '\0';
	}
	return fits;
}
