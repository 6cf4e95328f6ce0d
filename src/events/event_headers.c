/*
 * event_headers.c
 *		The headers that go with an event, where it is sent with some.
 *
 * HTTP and NATS take printable ASCII; what else is in a value, and spaces, double
 * quotes and percent signs, is percent-encoded there as the HTTP binding of
 * CloudEvents says.  Kafka takes UTF-8, and has the attributes of CloudEvents under
 * names of its own.
 */
#include "postgres.h"

#include "events/event_impl.h"
#include "utils/memutils.h"

#define STRUCTURED_TYPE "application/cloudevents+json; charset=UTF-8"
#define BATCH_TYPE "application/cloudevents-batch+json; charset=UTF-8"
#define DATA_TYPE "application/json"

static bool
is_plain(char c)
{
	return c > ' ' && c < 0x7F && c != '"' && c != '%';
}

static char *
encode(FloEventWriter *writer, MemoryContext context, const char *text)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	StringInfoData utf8;
	StringInfoData out;

	initStringInfo(&out);
	initStringInfo(&utf8);
	appendStringInfoString(&utf8, text);
	flo_event_to_utf8(writer, &utf8, 0);
	for (const char *c = utf8.data; *c != '\0'; c++)
	{
		if (is_plain(*c) || writer->options.kafka)
			appendStringInfoChar(&out, *c);
		else
			appendStringInfo(&out, "%%%02X", (unsigned char) *c);
	}
	pfree(utf8.data);
	MemoryContextSwitchTo(old);
	return out.data;
}

static void
add(FloEventWriter *writer, const char *name, const char *value)
{
	FloEventHeader *header;

	/* one without a value is none in HTTP */
	if (value == NULL || value[0] == '\0')
		return;
	Assert(writer->nheaders < FLO_EVENT_MAX_HEADERS);
	header = &writer->headers[writer->nheaders++];
	header->name = name;
	header->value = value;
}

/* Names of a table are encoded once; a statement's, each time */
static void
add_names(FloEventWriter *writer)
{
	const FloRelation *relation = writer->relation;
	FloEventTable *table = writer->table;

	if (relation == NULL)
		return;
	if (table == NULL)
	{
		add(writer, "Flo-Schema", encode(writer, CurrentMemoryContext, relation->schema));
		add(writer, "Flo-Table", encode(writer, CurrentMemoryContext, relation->name));
		return;
	}
	if (table->schema == NULL)
	{
		table->schema = encode(writer, table->context, relation->schema);
		table->name = encode(writer, table->context, relation->name);
	}
	add(writer, "Flo-Schema", table->schema);
	add(writer, "Flo-Table", table->name);
}

static void
add_attributes(FloEventWriter *writer)
{
	const bool	kafka = writer->options.kafka;

	if (writer->source_header == NULL)
		writer->source_header = encode(writer, writer->context, writer->options.source);
	add(writer, kafka ? "ce_specversion" : "ce-specversion", "1.0");
	add(writer, kafka ? "ce_id" : "ce-id", writer->id.data);
	add(writer, kafka ? "ce_source" : "ce-source", writer->source_header);
	add(writer, kafka ? "ce_type" : "ce-type", flo_cloudevents_type(writer));
	add(writer, kafka ? "ce_subject" : "ce-subject", flo_cloudevents_subject(writer));
	if (writer->txn == NULL)
		return;
	add(writer, kafka ? "ce_time" : "ce-time", writer->committed);
	add(writer, kafka ? "ce_sequence" : "ce-sequence", flo_cloudevents_sequence(writer));
}

int
flo_event_headers(FloEventWriter *writer, const FloEventHeader **headers)
{
	bool		cloud = writer->options.format == FLO_FORMAT_CLOUDEVENTS &&
		writer->part != FLO_EVENT_TOMBSTONE;
	MemoryContext old = MemoryContextSwitchTo(writer->header_context);

	MemoryContextReset(writer->header_context);
	writer->nheaders = 0;
	if (cloud)
		add(writer, "content-type", writer->options.binary ? DATA_TYPE : STRUCTURED_TYPE);
	if (cloud && writer->options.binary)
		add_attributes(writer);
	add(writer, "Flo-Type", writer->type);
	add_names(writer);
	if (writer->txn != NULL)
		add(writer, "Flo-Commit-LSN", writer->commit_lsn);
	MemoryContextSwitchTo(old);
	*headers = writer->headers;
	return writer->nheaders;
}

const char *
flo_event_array_type(const FloEventWriter *writer)
{
	return writer->options.format == FLO_FORMAT_CLOUDEVENTS ? BATCH_TYPE : NULL;
}
