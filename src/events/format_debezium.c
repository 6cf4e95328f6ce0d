/*
 * format_debezium.c
 *		The format debezium: the envelope of Debezium's connector for PostgreSQL, as
 *		JSON without schemas.
 *
 * An UPDATE of a key is two messages there, a delete and a create.  What the
 * connector has no event for (a statement, a partition that was truncated alone,
 * a notice) is of the kind that it has for messages of applications, "m": pg_flo's own
 * object is the content.  A value that was not sent, or does not fit, is the
 * connector's placeholder.
 */
#include "postgres.h"

#include "common/base64.h"
#include "events/event_impl.h"
#include "utils/timestamp.h"

#define UNAVAILABLE "\"__debezium_unavailable_value\""

/* What "version" of the source says: whose events these are, and their shape's */
#define SOURCE_VERSION "pg_flo"

#define UNIX_EPOCH_OFFSET \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static void
debezium_describe_table(StringInfo out, const FloRelation *relation)
{
	appendStringInfoString(out, "\"schema\":");
	flo_event_quote(out, relation->schema);
	appendStringInfoString(out, ",\"table\":");
	flo_event_quote(out, relation->name);
}

/* The same moment three times: consumers read one of them */
static void
append_times(StringInfo out, TimestampTz at)
{
	int64		us = Max(at + UNIX_EPOCH_OFFSET, 0);

	appendStringInfoString(out, "\"ts_ms\":");
	flo_event_append_uint64(out, us / 1000);
	appendStringInfoString(out, ",\"ts_us\":");
	flo_event_append_uint64(out, us);
	appendStringInfoString(out, ",\"ts_ns\":");
	flo_event_append_uint64(out, us);
	appendStringInfoString(out, "000");
}

/* The source block, up to what differs between events */
static void
append_origin(const FloEventWriter *writer, StringInfo out, const char *snapshot, TimestampTz at)
{
	appendStringInfoString(out, "\"source\":{\"version\":\"" SOURCE_VERSION "\",\"connector\":\"postgresql\",\"name\":");
	flo_event_quote(out, writer->options.group);
	appendStringInfo(out, ",\"snapshot\":\"%s\",\"db\":", snapshot);
	flo_event_quote(out, writer->options.database);
	appendStringInfoChar(out, ',');
	append_times(out, at);
}

static void
debezium_describe_transaction(const FloEventWriter *writer, StringInfo out,
							  const FloTransaction *txn)
{
	/* which transaction made a row that was copied, and when, is not known */
	if (txn->copy_id != NULL)
	{
		append_origin(writer, out, txn->backfill ? "incremental" : "true", writer->emitted_at);
		appendStringInfoString(out, ",\"txId\":null");
	}
	else
	{
		append_origin(writer, out, "false", txn->commit_time);
		appendStringInfo(out, ",\"txId\":%u", txn->xid);
	}
	appendStringInfo(out, ",\"lsn\":" UINT64_FORMAT ",\"xmin\":null,\"sequence\":\"[\\\"" UINT64_FORMAT "\\\",\\\"",
					 txn->final_lsn, txn->final_lsn);
}

static void
append_source(FloEventWriter *writer, StringInfo out)
{
	if (writer->txn != NULL)
	{
		appendBinaryStringInfo(out, writer->place.data, writer->place.len);
		flo_event_append_uint64(out, writer->txn->ordinal);
		appendStringInfoString(out, "\\\"]\",");
	}
	else
	{
		append_origin(writer, out, "false", writer->emitted_at);
		appendStringInfoString(out, ",\"txId\":null,\"lsn\":null,\"xmin\":null,\"sequence\":null,");
	}
	appendStringInfoString(out, "\"event_id\":\"");
	appendBinaryStringInfo(out, writer->id.data, writer->id.len);
	appendStringInfoString(out, "\",");
	if (writer->table != NULL)
		appendBinaryStringInfo(out, writer->table->names.data, writer->table->names.len);
	else if (writer->relation != NULL)
		debezium_describe_table(out, writer->relation);
	else
		appendStringInfoString(out, "\"schema\":\"\",\"table\":\"\"");
	appendStringInfoChar(out, '}');
}

static void
append_message(FloEventWriter *writer, StringInfo out)
{
	StringInfoData own;
	int			len;

	initStringInfo(&own);
	flo_format_own.append(writer, &own);
	flo_event_to_utf8(writer, &own, 0);
	appendStringInfo(out, ",\"message\":{\"prefix\":\"pg_flo.%s\",\"content\":\"",
					 writer->type);
	len = pg_b64_enc_len(own.len);
	enlargeStringInfo(out, len + 1);
	len = pg_b64_encode((void *) own.data, own.len, out->data + out->len, len);
	out->len += len;
	out->data[out->len] = '\0';
	appendStringInfoString(out, "\"}");
	pfree(own.data);
}

static void
append_rows(FloEventWriter *writer, StringInfo out)
{
	const FloChange *change = writer->change;
	FloEventRow row = {
		.change = change,
		.table = writer->table,
		.filled = true,
		.unavailable = UNAVAILABLE,
		.omitted = writer->omitted,
		.sizes = writer->sizes
	};
	bool		has_new = (change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE) &&
		writer->part != FLO_EVENT_OLD_KEY;
	bool		has_old = change->op != FLO_OP_INSERT && change->op != FLO_OP_TRUNCATE &&
		change->has_old && writer->part != FLO_EVENT_NEW_KEY;
	bool		opened = writer->table->needs_catalog && flo_event_enter_transaction();

	row.old = true;
	row.only_key = change->old_is_key;
	appendStringInfoString(out, "\"before\":");
	if (has_old)
		flo_event_append_columns(writer, out, &row);
	else
		appendStringInfoString(out, "null");
	row.old = row.only_key = false;
	appendStringInfoString(out, ",\"after\":");
	if (has_new)
		flo_event_append_columns(writer, out, &row);
	else
		appendStringInfoString(out, "null");
	appendStringInfoChar(out, ',');
	flo_event_leave_transaction(opened);
}

static const char *
operation(const FloEventWriter *writer)
{
	switch (writer->change->op)
	{
		case FLO_OP_INSERT:
			return writer->txn->copy_id != NULL ? "r" : "c";
		case FLO_OP_UPDATE:
			return writer->part == FLO_EVENT_OLD_KEY ? "d" :
				writer->part == FLO_EVENT_NEW_KEY ? "c" : "u";
		case FLO_OP_DELETE:
			return "d";
		default:
			return "t";
	}
}

static void
debezium_append(FloEventWriter *writer, StringInfo out)
{
	bool		is_message = writer->table == NULL || writer->partition != NULL;

	appendStringInfoChar(out, '{');
	if (!is_message)
		append_rows(writer, out);
	append_source(writer, out);
	appendStringInfoString(out, ",\"transaction\":null,\"op\":\"");
	appendStringInfoString(out, is_message ? "m" : operation(writer));
	appendStringInfoString(out, "\",");
	append_times(out, writer->emitted_at);
	if (is_message)
		append_message(writer, out);
	else
		flo_event_append_omitted(writer, out);
	appendStringInfoChar(out, '}');
}

const FloEventFormatOps flo_format_debezium = {
	.describe_table = debezium_describe_table,
	.describe_transaction = debezium_describe_transaction,
	.append = debezium_append,
	.splits_key_updates = true,
};
