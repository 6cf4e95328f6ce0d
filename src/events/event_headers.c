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

/* In the current memory context */
static char *
encode(FloEventWriter *writer, const char *text)
{
	StringInfoData utf8;
	StringInfoData out;

	initStringInfo(&utf8);
	appendStringInfoString(&utf8, text);
	flo_event_to_utf8(writer, &utf8, 0);
	if (writer->options.kafka)
		return utf8.data;
	initStringInfo(&out);
	for (const char *c = utf8.data; *c != '\0'; c++)
	{
		if (is_plain(*c))
			appendStringInfoChar(&out, *c);
		else
			appendStringInfo(&out, "%%%02X", (unsigned char) *c);
	}
	pfree(utf8.data);
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

/* Names of a table are encoded once */
static void
add_names(FloEventWriter *writer)
{
	const FloRelation *relation = writer->relation;
	FloEventTable *table = writer->table;

	if (relation == NULL)
		return;
	if (table != NULL && table->schema == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(table->context);

		table->schema = encode(writer, relation->schema);
		table->name = encode(writer, relation->name);
		MemoryContextSwitchTo(old);
	}
	add(writer, "Flo-Schema", table != NULL ? table->schema : encode(writer, relation->schema));
	add(writer, "Flo-Table", table != NULL ? table->name : encode(writer, relation->name));
}

static void
add_attributes(FloEventWriter *writer)
{
	const bool	kafka = writer->options.kafka;

	add(writer, kafka ? "ce_specversion" : "ce-specversion", "1.0");
	add(writer, kafka ? "ce_id" : "ce-id", writer->id.data);
	add(writer, kafka ? "ce_source" : "ce-source", encode(writer, writer->options.source));
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
		add(writer, "Flo-Commit-LSN", psprintf("%X/%X", LSN_FORMAT_ARGS(writer->txn->final_lsn)));
	MemoryContextSwitchTo(old);
	*headers = writer->headers;
	return writer->nheaders;
}

const char *
flo_event_array_type(const FloEventWriter *writer)
{
	return writer->options.format == FLO_FORMAT_CLOUDEVENTS ? BATCH_TYPE : NULL;
}
