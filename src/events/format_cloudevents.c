/*
 * format_cloudevents.c
 *		The format cloudevents: CloudEvents 1.0 in JSON, around pg_flo's own object.
 *
 * In binary mode the payload is the object alone, and the attributes are
 * headers (event_headers.c).  Attributes must not have control characters in
 * them, and names of tables may: in "subject" they are escaped, as in subjects
 * of NATS.
 */
#include "postgres.h"

#include "events/escape.h"
#include "events/event_impl.h"

#define TYPE_PREFIX "pg_flo."

static void
append_attribute(StringInfo out, const char *name, const char *value)
{
	appendStringInfoChar(out, '"');
	appendStringInfoString(out, name);
	appendStringInfoString(out, "\":\"");
	appendStringInfoString(out, value);
	appendStringInfoString(out, "\",");
}

static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '.' || c == '_' || c == '~';
}

/* Whose events they are: /pg_flo/<database of the source>/<group> */
char *
flo_cloudevents_default_source(FloEventWriter *writer)
{
	StringInfoData database;
	StringInfoData source;

	initStringInfo(&database);
	initStringInfo(&source);
	appendStringInfoString(&database, writer->options.database);
	flo_event_to_utf8(writer, &database, 0);
	appendStringInfoString(&source, "/pg_flo/");
	for (const char *c = database.data; *c != '\0'; c++)
	{
		if (is_unreserved(*c))
			appendStringInfoChar(&source, *c);
		else
			appendStringInfo(&source, "%%%02X", (unsigned char) *c);
	}
	if (database.len > 0)
		appendStringInfoChar(&source, '/');
	appendStringInfoString(&source, writer->options.group);
	pfree(database.data);
	return source.data;
}

const char *
flo_cloudevents_type(FloEventWriter *writer)
{
	char	   *type = writer->cloud_type;
	int			len = strlcpy(type, TYPE_PREFIX, sizeof(writer->cloud_type));

	for (const char *c = writer->type; *c != '\0' && len < sizeof(writer->cloud_type) - 1; c++)
		type[len++] = pg_tolower((unsigned char) *c);
	type[len] = '\0';
	return type;
}

const char *
flo_cloudevents_sequence(FloEventWriter *writer)
{
	snprintf(writer->sequence, sizeof(writer->sequence), "%08X%08X-%016llX",
			 LSN_FORMAT_ARGS(writer->txn->final_lsn), (unsigned long long) writer->txn->ordinal);
	return writer->sequence;
}

static void
append_escaped(FloEventWriter *writer, StringInfo out, const char *name)
{
	StringInfoData utf8;

	initStringInfo(&utf8);
	appendStringInfoString(&utf8, name);
	flo_event_to_utf8(writer, &utf8, 0);
	flo_escape_append(out, FLO_ESCAPE_NATS, utf8.data, utf8.len);
	pfree(utf8.data);
}

const char *
flo_cloudevents_subject(FloEventWriter *writer)
{
	FloEventTable *table = writer->table;
	MemoryContext old;
	StringInfoData subject;

	if (writer->relation == NULL)
		return NULL;
	if (table != NULL && table->subject != NULL)
		return table->subject;
	old = MemoryContextSwitchTo(table != NULL ? table->context : CurrentMemoryContext);
	initStringInfo(&subject);
	append_escaped(writer, &subject, writer->relation->schema);
	appendStringInfoChar(&subject, '.');
	append_escaped(writer, &subject, writer->relation->name);
	if (table != NULL)
		table->subject = subject.data;
	MemoryContextSwitchTo(old);
	return subject.data;
}

static void
cloudevents_append(FloEventWriter *writer, StringInfo out)
{
	const char *subject = flo_cloudevents_subject(writer);

	if (writer->options.binary)
	{
		flo_format_own.append(writer, out);
		return;
	}
	appendStringInfoString(out, "{\"specversion\":\"1.0\",");
	append_attribute(out, "id", writer->id.data);
	append_attribute(out, "source", writer->options.source);
	append_attribute(out, "type", flo_cloudevents_type(writer));
	if (subject != NULL)
		append_attribute(out, "subject", subject);
	if (writer->txn != NULL && writer->committed[0] != '\0')
		append_attribute(out, "time", writer->committed);
	append_attribute(out, "datacontenttype", "application/json");
	if (writer->txn != NULL)
		append_attribute(out, "sequence", flo_cloudevents_sequence(writer));
	appendStringInfoString(out, "\"data\":");
	flo_format_own.append(writer, out);
	appendStringInfoChar(out, '}');
}

/* The object within is pg_flo's */
static void
cloudevents_describe_table(StringInfo out, const FloRelation *relation)
{
	flo_format_own.describe_table(out, relation);
}

static void
cloudevents_describe_transaction(const FloEventWriter *writer, StringInfo out,
								 const FloTransaction *txn)
{
	flo_format_own.describe_transaction(writer, out, txn);
}

const FloEventFormatOps flo_format_cloudevents = {
	.describe_table = cloudevents_describe_table,
	.describe_transaction = cloudevents_describe_transaction,
	.append = cloudevents_append,
	.splits_key_updates = false,
};
