/*
 * format_own.c
 *		The format pg_flo: one JSON object that says all there is to say.
 *
 * The other formats carry it (cloudevents), or what they have no words for in it
 * (debezium).
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "events/event_impl.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "wire/ddl.h"

/* --- table and transaction ----------------------------------------------- */

static const char *
replica_identity(const FloRelation *relation)
{
	bool		has_key = false;

	for (int i = 0; i < relation->natts; i++)
		has_key |= relation->columns[i].is_key;
	switch (relation->identity)
	{
		case REPLICA_IDENTITY_FULL:
			return "FULL";
		case REPLICA_IDENTITY_INDEX:
			return "UNIQUE";
		case REPLICA_IDENTITY_DEFAULT:
			return has_key ? "PRIMARY KEY" : "NONE";
		default:
			return "NONE";
	}
}

static void
append_names(StringInfo out, const FloRelation *relation)
{
	appendStringInfoString(out, "\"Schema\":");
	flo_event_quote(out, relation->schema);
	appendStringInfoString(out, ",\"Table\":");
	flo_event_quote(out, relation->name);
}

static void
own_describe_table(StringInfo out, const FloRelation *relation)
{
	const char *separator = "";

	append_names(out, relation);
	appendStringInfo(out, ",\"ReplicationKey\":{\"Type\":\"%s\",\"Columns\":[",
					 replica_identity(relation));
	for (int i = 0; i < relation->natts; i++)
	{
		if (!relation->columns[i].is_key)
			continue;
		appendStringInfoString(out, separator);
		flo_event_quote(out, relation->columns[i].name);
		separator = ",";
	}
	appendStringInfoString(out, "]},");
}

static void
own_describe_transaction(const FloEventWriter *writer, StringInfo out, const FloTransaction *txn)
{
	appendStringInfo(out, "\"LSN\":\"%s\",\"CommitLSN\":\"%s\",", writer->commit_lsn,
					 writer->commit_lsn);

	/* which transaction made a row that was copied is not known */
	if (txn->copy_id != NULL)
		appendStringInfoString(out, "\"Xid\":null,\"CommittedAt\":null,\"Snapshot\":true,");
	else
		appendStringInfo(out, "\"Xid\":%u,\"CommittedAt\":\"%s\",", txn->xid,
						 writer->committed);
}

/* --- rows ---------------------------------------------------------------- */

static void
append_unchanged(StringInfo out, const FloRelation *relation, const FloTuple *tuple)
{
	const char *separator = ",\"UnchangedColumns\":[";
	bool		any = false;

	for (int i = 0; i < tuple->natts; i++)
	{
		if (tuple->values[i].kind != FLO_VALUE_UNCHANGED)
			continue;
		appendStringInfoString(out, separator);
		flo_event_quote(out, relation->columns[i].name);
		separator = ",";
		any = true;
	}
	if (any)
		appendStringInfoChar(out, ']');
}

static void
append_rows(FloEventWriter *writer, StringInfo out)
{
	const FloChange *change = writer->change;
	FloEventRow row = {
		.change = change,
		.table = writer->table,
		.omitted = writer->omitted,
		.sizes = writer->sizes
	};
	bool		has_new = change->op == FLO_OP_INSERT || change->op == FLO_OP_UPDATE;
	bool		has_old = change->op != FLO_OP_INSERT && change->op != FLO_OP_TRUNCATE &&
		change->has_old;
	bool		opened = writer->table->needs_catalog && flo_event_enter_transaction();

	appendStringInfoString(out, "\"NewTuple\":");
	if (has_new)
		flo_event_append_columns(writer, out, &row);
	else
		appendStringInfoString(out, "null");
	appendStringInfoString(out, ",\"OldTuple\":");
	row.old = true;
	row.only_key = change->old_is_key;
	if (has_old)
		flo_event_append_columns(writer, out, &row);
	else
		appendStringInfoString(out, "null");
	if (has_new)
		append_unchanged(out, writer->relation, &change->new);
	flo_event_append_omitted(writer, out);
	flo_event_leave_transaction(opened);
}

/* --- partitions ---------------------------------------------------------- */

static char *
key_in_words(void *arg, const FloPartitionLevel *level, const FloPartitionKey *key)
{
	const char *column = key->column != NULL ? flo_partition_column(arg, key->column) : NULL;

	if (key->column == NULL)
		return psprintf("(%s)", key->expression);
	return column != NULL ? pstrdup(quote_identifier(column)) : NULL;
}

static char *
no_hash(void *arg, const FloPartitionLevel *level)
{
	return NULL;
}

/*
 * Of a partition that was truncated alone: who it is and, where words tell,
 * which rows were in it
 */
static void
append_partition(StringInfo out, const FloPartition *part, const FloRelation *relation)
{
	const FloPartitionWords words = {unconstify(FloRelation *, relation), key_in_words, no_hash};
	char	   *condition = flo_partition_condition(part, &words);

	appendStringInfoString(out, ",\"Partition\":{\"Schema\":");
	flo_event_quote(out, part->schema);
	appendStringInfoString(out, ",\"Table\":");
	flo_event_quote(out, part->name);
	appendStringInfoString(out, ",\"Condition\":");
	if (condition != NULL)
		flo_event_quote(out, condition);
	else
		appendStringInfoString(out, "null");
	appendStringInfoChar(out, '}');
}

/* --- events -------------------------------------------------------------- */

/* The rest of a DDL event: the relation only says which table it is about */
static void
append_command(StringInfo out, const FloChange *change)
{
	char	   *content = pnstrdup(change->content, change->content_len);

	appendStringInfoString(out, "\"NewTuple\":null,\"OldTuple\":null,\"Command\":");
	flo_ddl_append_command(out, flo_ddl_parse(pg_any_to_server(content, strlen(content),
															   pg_get_client_encoding())));
}

/* Who the table is, and which transaction; kept as text where this is the writer's format */
static void
append_place(FloEventWriter *writer, StringInfo out)
{
	bool		kept = writer->options.format != FLO_FORMAT_DEBEZIUM;

	if (writer->table == NULL)
	{
		append_names(out, writer->relation);
		appendStringInfoString(out, ",\"ReplicationKey\":null,");
	}
	else if (kept)
		appendBinaryStringInfo(out, writer->table->names.data, writer->table->names.len);
	else
		own_describe_table(out, writer->relation);
	if (kept)
		appendBinaryStringInfo(out, writer->place.data, writer->place.len);
	else
		own_describe_transaction(writer, out, writer->txn);
}

static void
own_append(FloEventWriter *writer, StringInfo out)
{
	appendStringInfoString(out, "{\"Id\":\"");
	appendBinaryStringInfo(out, writer->id.data, writer->id.len);
	appendStringInfoString(out, "\",\"Type\":\"");
	appendStringInfoString(out, writer->type);
	appendStringInfoString(out, "\",");
	if (writer->txn != NULL)
		append_place(writer, out);
	appendStringInfoString(out, "\"EmittedAt\":\"");
	appendStringInfoString(out, writer->emitted);
	appendStringInfoString(out, "\",");
	if (writer->txn == NULL)
		appendStringInfoString(out, writer->members);
	else if (writer->table != NULL)
		append_rows(writer, out);
	else
		append_command(out, writer->change);
	if (writer->partition != NULL)
		append_partition(out, writer->partition, writer->relation);
	appendStringInfoChar(out, '}');
}

const FloEventFormatOps flo_format_own = {
	.describe_table = own_describe_table,
	.describe_transaction = own_describe_transaction,
	.append = own_append,
	.splits_key_updates = false,
};
