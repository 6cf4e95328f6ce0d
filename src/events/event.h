/*
 * event.h
 *		A change as an event, the same for every sink that sends events.
 *
 * doc/events.md describes the formats for their readers.  One change can be
 * several messages: a TRUNCATE of several tables, in some formats an UPDATE of
 * a key, and tombstones.  A sink does for each change
 *
 *	count = flo_event_count(writer, change);
 *	for (int which = 0; which < count; which++)
 *		flo_event_append(writer, out, txn, change, which);
 *
 * and may ask for Id, type, key and headers after each.
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

typedef struct FloEventOptions
{
	const char *group;
	const char *database;		/* of the source; "" = not known */
	FloEventFormat format;
	const char *source;			/* of CloudEvents; NULL = the default */
	bool		binary;			/* attributes of CloudEvents are headers */
	bool		tombstones;		/* a row that is no more is followed by an
								 * empty message */
	bool		kafka;			/* headers as Kafka has them, else as HTTP */
} FloEventOptions;

/*
 * "encoding" is the one that the source's text travels in; -1 means that it is
 * always client_encoding, which a worker keeps so.  The strings are copied.
 */
extern FloEventWriter *flo_event_writer_create(MemoryContext context,
											   const FloEventOptions *options, int encoding);

/* The same for a worker, as its options say */
extern FloEventWriter *flo_event_writer_open(MemoryContext context, const FloWorkerSpec *spec,
											 const FloSinkHost *host);

/* How many messages the change is */
extern int	flo_event_count(const FloEventWriter *writer, const FloChange *change);

/*
 * Append one of them, without a line feed and in UTF-8; a tombstone appends
 * nothing.  "which" counts from 0.  Works inside and outside of transactions.
 */
extern void flo_event_append(FloEventWriter *writer, StringInfo out, const FloTransaction *txn,
							 const FloChange *change, int which);

/*
 * The same in at most "limit" bytes: without the largest values, if need be,
 * whose columns are named in the event.  False, and nothing appended, when it
 * cannot be made so short: only values outside of the key can be left out.
 */
extern bool flo_event_append_within(FloEventWriter *writer, StringInfo out,
									const FloTransaction *txn, const FloChange *change,
									int which, Size limit);

/* Append the Id of a change, without looking at it */
extern void flo_event_append_id(StringInfo out, const char *group, const FloTransaction *txn);

/*
 * An event that is no change.  "members" is JSON in the server's encoding, as in
 * an object but without its braces: "\"Partitions\":16".
 */
extern void flo_event_append_notice(FloEventWriter *writer, StringInfo out, const char *id,
									const char *type, const char *members);

/* --- of what was appended last; valid until the next --------------------- */

/*
 * The Id of the first message of a change is that of the event; the others
 * have another number behind it.
 */
extern const char *flo_event_id(const FloEventWriter *writer);
extern const char *flo_event_type(const FloEventWriter *writer);	/* "INSERT", ... */
extern bool flo_event_is_tombstone(const FloEventWriter *writer);

/*
 * Is it about the row as it was before?  So are a DELETE, a tombstone, and the
 * first half of an UPDATE of a key that was split.
 */
extern bool flo_event_is_old(const FloEventWriter *writer);

typedef struct FloEventHeader
{
	const char *name;
	const char *value;			/* without line feeds; ASCII but for Kafka */
} FloEventHeader;

#define FLO_EVENT_MAX_HEADERS 12

/* Headers to go with it; returns how many */
extern int	flo_event_headers(FloEventWriter *writer, const FloEventHeader **headers);

/* The media type of an array of events, where it is more than JSON; else NULL */
extern const char *flo_event_array_type(const FloEventWriter *writer);

/* --- parts of events, for what is made of them --------------------------- */

/*
 * All in UTF-8, and with the values as an event of pg_flo's own format shows them.
 * A value that was not sent is taken from the other row of the change where it is
 * there; NULL: from neither.
 */
extern const FloValue *flo_event_value(const FloChange *change, bool old, int column);

/* A row as a JSON object; "only_key": the columns of the replica identity */
extern void flo_event_append_row(FloEventWriter *writer, StringInfo out, const FloChange *change,
								 bool old, bool only_key);

/* The same without some of the columns */
extern void flo_event_append_row_without(FloEventWriter *writer, StringInfo out,
										 const FloChange *change, bool old, const bool *omitted);

/* A value as JSON */
extern void flo_event_append_json(FloEventWriter *writer, StringInfo out,
								  const FloRelation *relation, int column, const FloValue *value);

/* A value that is not NULL, without the quotes and escapes of JSON's strings */
extern void flo_event_append_text(FloEventWriter *writer, StringInfo out,
								  const FloRelation *relation, int column, const FloValue *value);

/* A name, as it is */
extern void flo_event_append_name(FloEventWriter *writer, StringInfo out, const char *name);

/* --- others -------------------------------------------------------------- */

/* Count the change for flo.status */
extern void flo_event_tally(FloCounters *counters, const FloChange *change);

/* Types or tables here changed: forget what is known of them */
extern void flo_event_forget(FloEventWriter *writer);

/* Forget one source table, which is not needed for now */
extern void flo_event_forget_table(FloEventWriter *writer, uint32 relation);

#endif
