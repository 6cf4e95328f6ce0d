/*
 * event_impl.h
 *		What the writers of the formats share: a writer, the tables it knows, and
 *		the parts that events are made of.
 *
 * For event*.c and format_*.c alone.
 */
#ifndef FLO_EVENT_IMPL_H
#define FLO_EVENT_IMPL_H

#include "events/event.h"
#include "events/json_type.h"
#include "fmgr.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "wire/partition.h"

#define FLO_EVENT_TIME_SIZE (MAXDATELEN + 1)

/* A table, as its events show it */
typedef struct FloEventTable
{
	uint32		id;				/* hash key */
	uint64		version;		/* of the FloRelation; 0 = not described */
	MemoryContext context;
	StringInfoData names;		/* who it is, in the format's words */
	char	  **keys;			/* "name": of each column */
	FloJsonType **types;
	bool		needs_catalog;

	/* for headers; NULL: not asked for yet */
	const char *schema;
	const char *name;
	const char *subject;
} FloEventTable;

/* Which of the messages that a change becomes */
typedef enum FloEventPart
{
	FLO_EVENT_WHOLE,
	FLO_EVENT_OLD_KEY,			/* the row is no more under its old key */
	FLO_EVENT_NEW_KEY,			/* it is there under the new one */
	FLO_EVENT_TOMBSTONE			/* and nothing under the old one */
} FloEventPart;

struct FloEventWriter
{
	MemoryContext context;
	MemoryContext scratch;		/* of the event at hand */
	FloEventOptions options;
	const struct FloEventFormatOps *ops;
	int			encoding;
	HTAB	   *tables;
	FloEventTable *last;
	uint64		catalogs_seen;

	/* the transaction at hand */
	XLogRecPtr	final_lsn;
	bool		copied;
	char		committed[FLO_EVENT_TIME_SIZE]; /* "" = not known */
	char		commit_lsn[32];
	StringInfoData place;		/* what all of its events say, in the format's
								 * words */

	/* the event at hand */
	const FloTransaction *txn;	/* NULL: a notice */
	const FloChange *change;
	FloEventPart part;
	const char *type;			/* "INSERT", ... */
	const FloRelation *relation;
	FloEventTable *table;		/* NULL: a statement or a notice */
	FloPartition *partition;	/* that was truncated alone */
	const char *members;		/* of a notice */
	StringInfoData id;
	TimestampTz emitted_at;
	char		emitted[FLO_EVENT_TIME_SIZE];	/* the same as text */
	const bool *omitted;		/* columns whose values do not fit; NULL: none */
	int64	   *sizes;			/* the bytes of each column are added here, if
								 * wanted */

	char		cloud_type[64];
	char		sequence[64];

	/* its headers, as asked for last */
	MemoryContext header_context;
	FloEventHeader headers[FLO_EVENT_MAX_HEADERS];
	int			nheaders;
	char	   *source_header;	/* the same for all; NULL: not asked for yet */

	/* to UTF-8, when the server has another encoding */
	bool		converts;
	bool		converter_known;
	FmgrInfo	converter;
};

/* A format */
typedef struct FloEventFormatOps
{
	/* what its events say of a table and a transaction; kept */
	void		(*describe_table) (StringInfo out, const FloRelation *relation);
	void		(*describe_transaction) (const FloEventWriter *writer, StringInfo out,
										 const FloTransaction *txn);
	/* the event at hand, in the server's encoding */
	void		(*append) (FloEventWriter *writer, StringInfo out);
	bool		splits_key_updates;
} FloEventFormatOps;

extern const FloEventFormatOps flo_format_own;	/* pg_flo */
extern const FloEventFormatOps flo_format_cloudevents;
extern const FloEventFormatOps flo_format_debezium;

/*
 * Attributes of CloudEvents, valid as long as the event at hand; NULL: it has none
 * such.  Of a notice there is no sequence.
 */
extern char *flo_cloudevents_default_source(FloEventWriter *writer);
extern const char *flo_cloudevents_type(FloEventWriter *writer);
extern const char *flo_cloudevents_subject(FloEventWriter *writer);
extern const char *flo_cloudevents_sequence(FloEventWriter *writer);

/* --- event_parts.c ------------------------------------------------------- */

extern void flo_event_quote(StringInfo out, const char *name);
extern void flo_event_append_uint64(StringInfo out, uint64 value);

/* ISO 8601 in UTC, into a buffer of FLO_EVENT_TIME_SIZE */
extern const char *flo_event_time(char *buf, TimestampTz at);

extern FloEventTable *flo_event_table(FloEventWriter *writer, const FloRelation *relation);

/* A row of a change, as an object */
typedef struct FloEventRow
{
	const FloChange *change;
	FloEventTable *table;
	bool		old;
	bool		only_key;		/* the other columns were not sent, or are not
								 * wanted */
	bool		filled;			/* what was not sent is taken from the other
								 * row, where it is there */
	const char *unavailable;	/* stands for what is not there, or omitted;
								 * NULL: it is left out */
	const bool *omitted;		/* of the columns: left out; NULL: none */
	int64	   *sizes;			/* bytes of each column are added here; NULL:
								 * not */
} FloEventRow;

extern void flo_event_append_columns(FloEventWriter *writer, StringInfo out,
									 const FloEventRow *row);

/* ,"Omitted":[columns], unless there are none */
extern void flo_event_append_omitted(const FloEventWriter *writer, StringInfo out);

/* Open a transaction unless there is one; returns whether it has to be closed */
extern bool flo_event_enter_transaction(void);
extern void flo_event_leave_transaction(bool opened);

/* Make what was appended from "start" on UTF-8; does nothing when it is */
extern void flo_event_to_utf8(FloEventWriter *writer, StringInfo out, int start);

#endif
