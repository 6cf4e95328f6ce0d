/*
 * event.h
 *		A change as one JSON object, the same for every sink that writes events.
 *
 * doc/events.md describes the object for its readers.
 */
#ifndef FLO_EVENT_H
#define FLO_EVENT_H

#include "lib/stringinfo.h"
#include "sink/sink.h"

/* What a Type can be; flags, for whoever chooses among them */
typedef enum FloEventType
{
	FLO_EVENT_INSERT = 1 << 0,
	FLO_EVENT_UPDATE = 1 << 1,
	FLO_EVENT_DELETE = 1 << 2,
	FLO_EVENT_TRUNCATE = 1 << 3,
	FLO_EVENT_DDL = 1 << 4
} FloEventType;

#define FLO_EVENT_ANY (FLO_EVENT_INSERT | FLO_EVENT_UPDATE | FLO_EVENT_DELETE | \
					   FLO_EVENT_TRUNCATE | FLO_EVENT_DDL)

extern const char *flo_event_type_name(FloEventType type);
extern FloEventType flo_event_type_of(const FloChange *change);

typedef struct FloEventWriter FloEventWriter;

/*
 * "encoding" is the one that the source's text travels in; -1 means that it is
 * always client_encoding, which a worker keeps so.
 */
extern FloEventWriter *flo_event_writer_create(MemoryContext context, const char *group,
											   int encoding);

/*
 * Append one event, without a line feed and in UTF-8.  A TRUNCATE of several
 * tables is one event for each: "which" counts them from 0.  Works inside and
 * outside of transactions.
 */
extern int	flo_event_count(const FloChange *change);
extern void flo_event_append(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
							 const FloChange *change, int which);

/* Count the change for flo.status */
extern void flo_event_tally(FloCounters *counters, const FloChange *change);

/* Id of the event appended last; valid until the next */
extern const char *flo_event_id(const FloEventWriter *writer);

/*
 * Parts of events, for what is made of them: all in UTF-8 and with the values as an
 * event shows them.  A value that was not sent is taken from the other row of the
 * change where it is there; NULL: from neither.
 */
extern const FloValue *flo_event_value(const FloChange *change, bool old, int column);

/* A row as a JSON object; "only_key": the columns of the replica identity */
extern void flo_event_append_row(FloEventWriter *writer, StringInfo out, const FloChange *change,
								 bool old, bool only_key);

/* A value that is not NULL, without the quotes and escapes of JSON's strings */
extern void flo_event_append_text(FloEventWriter *writer, StringInfo out,
								  const FloRelation *relation, int column, const FloValue *value);

/* A name, as it is */
extern void flo_event_append_name(FloEventWriter *writer, StringInfo out, const char *name);

/* Types or tables here changed: forget what is known of them */
extern void flo_event_forget(FloEventWriter *writer);

/* Forget one source table, which is not needed for now */
extern void flo_event_forget_table(FloEventWriter *writer, uint32 relation);

#endif
