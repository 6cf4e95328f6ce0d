/*
 * sink_nats_kv.c
 *		Keeps the rows of tables in a JetStream key-value bucket.
 *
 * Promises: a key is there if and only if its row is, and holds it as it is; who
 * watches the bucket sees every change of a row, in their order.  A change is one
 * message for its key, an UPDATE of the key itself one for each of the two, a
 * TRUNCATE one for each key that is there.
 *
 * Each message has its place (commit LSN, number of the change, number of the
 * message in it), and they are stored one behind the other.  So the newest one in
 * the bucket says how far we came: what is up to there is passed over when it
 * comes again.  A place begins with the name of this worker's life, made when it first
 * opened the bucket, since LSNs of another source, or of one that was restored,
 * say nothing.  Copied rows have no place in the stream: they may be written
 * again, each is the same then.
 *
 * What the source does not send, since it was not changed (values stored out of
 * line), is taken from the key's value in the bucket.
 *
 * After a copy, keys whose newest message is older than the snapshot, or of another
 * life, are those of rows that were not in it: they are removed when the worker
 * opens the bucket.
 *
 * Awkward cases: where a key is put and another removed, the new one comes first,
 * since the old one's value may still be asked for when it all comes again.  The
 * keys of a TRUNCATE are looked up, and those that are removed already passed over.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/json.h"
#include "bus/kv.h"
#include "bus/outlet.h"
#include "bus/stream.h"
#include "catalog/pg_class.h"
#include "conf/commit.h"
#include "core/clock.h"
#include "core/compat.h"
#include "core/error_context.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "events/event_key.h"
#include "events/json_value.h"
#include "events/sink_nats_kv.h"
#include "events/sink_state.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/memutils.h"

/* A life's name: hex digits */
#define LIFE_SIZE 16

/* Bytes that a message takes besides what its row decides about: its id and place */
#define MESSAGE_ROOM 256

/* Where in the source's changes a message stands */
typedef struct Place
{
	XLogRecPtr	lsn;			/* of the commit */
	uint64		ordinal;		/* of the change in its transaction */
	uint64		n;				/* of the message in the change */
} Place;

#define SERVE_INTERVAL 1000		/* ms */

typedef struct FloKvSink
{
	FloSink		base;
	const FloWorkerSpec *spec;
	FloCounters *counters;
	const FloSinkHost *host;
	MemoryContext scratch;		/* of a change */
	FloEventWriter *writer;
	FloOutlet  *outlet;
	char	   *bucket;
	FloClock	served_at;

	char		life[LIFE_SIZE + 1];
	bool		unswept;		/* a copy is loaded: what is not in it has to
								 * go */
	Place		done;			/* up to here it is published, or will be */
	Place		added;
	char		run[LIFE_SIZE + 1]; /* of this process, for what has no place */
	uint64		written;		/* messages of that kind */

	/* what the keys of a table begin with */
	uint32		relation;
	uint64		version;
	StringInfoData prefix;
} FloKvSink;

static const FloSinkOps kv_ops;

/* --- messages ------------------------------------------------------------ */

static bool
is_beyond(Place a, Place b)
{
	if (a.lsn != b.lsn)
		return a.lsn > b.lsn;
	return a.ordinal != b.ordinal ? a.ordinal > b.ordinal : a.n > b.n;
}

/* What is to be published for a change */
typedef struct Message
{
	const FloTransaction *txn;
	const char *type;
	const char *key;
	uint64		n;
	const char *operation;		/* NULL: a value is put */
	const char *omitted;		/* columns that the value is without, NULL:
								 * none */
	StringInfo	value;			/* NULL: none */
} Message;

/* In the change's memory context, with a zero-terminated list of headers */
static FloOutletMessage
make_message(FloKvSink *sink, const Message *message, const char *id, const char *place)
{
	FloBusHeader *headers = palloc(sizeof(FloBusHeader) * 5);
	FloOutletMessage result = {0};

	result.subject = flo_kv_subject(sink->bucket, message->key);
	result.id = id;
	result.place = place;
	result.headers = headers;
	headers[result.nheaders++] = (FloBusHeader)
	{
		"Flo-Type", message->type
	};
	headers[result.nheaders++] = (FloBusHeader)
	{
		"Flo-Commit-LSN", flo_text_of_lsn(message->txn->final_lsn)
	};
	if (message->operation != NULL)
		headers[result.nheaders++] = (FloBusHeader)
	{
		"KV-Operation", message->operation
	};
	/* what the key held before goes as well */
	if (message->operation != NULL && strcmp(message->operation, "PURGE") == 0)
		headers[result.nheaders++] = (FloBusHeader)
	{
		"Nats-Rollup", "sub"
	};
	if (message->omitted != NULL)
		headers[result.nheaders++] = (FloBusHeader)
	{
		"Flo-Omitted", message->omitted
	};
	if (message->value != NULL)
	{
		result.data = message->value->data;
		result.len = message->value->len;
	}
	return result;
}

/* Is it still to be published?  Copied rows always are. */
static bool
is_due(const FloKvSink *sink, const FloTransaction *txn, uint64 n)
{
	Place		place = {txn->final_lsn, txn->ordinal, n};

	return txn->copy_id != NULL || is_beyond(place, sink->done);
}

/* A message of the stream */
static void
publish_placed(FloKvSink *sink, const Message *message)
{
	Place		place = {message->txn->final_lsn, message->txn->ordinal, message->n};
	FloOutletMessage out;
	char	   *id;

	id = psprintf("%s-%08X%08X-" UINT64_FORMAT "." UINT64_FORMAT, sink->spec->group,
				  LSN_FORMAT_ARGS(place.lsn), place.ordinal, place.n);
	out = make_message(sink, message, id,
					   psprintf("%s %X/%X " UINT64_FORMAT " " UINT64_FORMAT, sink->life,
								LSN_FORMAT_ARGS(place.lsn), place.ordinal, place.n));
	flo_outlet_add(sink->outlet, &out);
	if (is_beyond(place, sink->added))
		sink->added = place;
}

/* One that has no place in the stream; it may come again as another one */
static void
publish_loose(FloKvSink *sink, const Message *message)
{
	char	   *id = psprintf("%s-" UINT64_FORMAT, sink->run, ++sink->written);
	FloOutletMessage out = make_message(sink, message, id,
										psprintf("%s copy %s", sink->life, id));

	flo_outlet_add(sink->outlet, &out);
}

static void
publish(FloKvSink *sink, const Message *message)
{
	if (message->txn->copy_id != NULL)
		publish_loose(sink, message);
	else
		publish_placed(sink, message);
}

/* Unless it is published already */
static void
send(FloKvSink *sink, const Message *message)
{
	if (is_due(sink, message->txn, message->n))
		publish(sink, message);
}

/* --- keys ---------------------------------------------------------------- */

static void
append_escaped(FloKvSink *sink, StringInfo out, const char *name)
{
	StringInfoData text;

	initStringInfo(&text);
	flo_event_append_name(sink->writer, &text, name);
	flo_escape_append(out, FLO_ESCAPE_NATS, text.data, text.len);
	pfree(text.data);
}

/* "schema.table." */
static void
append_prefix(FloKvSink *sink, StringInfo out, const char *schema, const char *table)
{
	append_escaped(sink, out, schema);
	appendStringInfoChar(out, '.');
	append_escaped(sink, out, table);
	appendStringInfoChar(out, '.');
}

static const char *
prefix_of(FloKvSink *sink, const FloRelation *relation)
{
	if (sink->relation == relation->id && sink->version == relation->version)
		return sink->prefix.data;
	resetStringInfo(&sink->prefix);
	append_prefix(sink, &sink->prefix, relation->schema, relation->name);
	sink->relation = relation->id;
	sink->version = relation->version;
	return sink->prefix.data;
}

static void
require_key(const FloRelation *relation)
{
	if (flo_event_has_key(relation))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("rows of table \"%s.%s\" cannot be kept in a bucket: %s", relation->schema,
					relation->name, relation->identity == REPLICA_IDENTITY_FULL ?
					"with REPLICA IDENTITY FULL the source does not say what its key is" :
					"it has no key"),
			 errhint("Give the table a primary key, or REPLICA IDENTITY USING INDEX, at the source; or leave it out with the option tables.")));
}

static char *
key_of(FloKvSink *sink, const FloChange *change, bool old)
{
	StringInfoData key;

	initStringInfo(&key);
	appendStringInfoString(&key, prefix_of(sink, change->relation));
	flo_event_key_token(sink->writer, &key, change, old, FLO_ESCAPE_NATS, '.', FLO_EVENT_KEY_MAX);
	return key.data;
}

/* --- rows ---------------------------------------------------------------- */

/* A column's name as it stands in the row's JSON */
static FloJson
name_in_row(FloKvSink *sink, const FloColumn *column)
{
	StringInfoData text;
	StringInfoData quoted;

	initStringInfo(&text);
	initStringInfo(&quoted);
	flo_event_append_name(sink->writer, &text, column->name);
	flo_json_append_text(&quoted, text.data, text.len);
	return flo_json(quoted.data, quoted.len);
}

static bool
is_same(FloJson a, FloJson b)
{
	return a.len == b.len && memcmp(a.text, b.text, a.len) == 0;
}

static void
append_member(StringInfo row, FloJson name, FloJson value)
{
	row->len--;					/* the brace */
	appendStringInfo(row, "%s%.*s:", row->len > 1 ? "," : "", name.len, name.text);
	appendBinaryStringInfo(row, value.text, value.len);
	appendStringInfoChar(row, '}');
}

/* Values that were not sent, from what a key holds; the columns that are missing still */
static Bitmapset *
complete_row_from(FloKvSink *sink, const FloRelation *relation, const char *key,
				  Bitmapset *missing, StringInfo row)
{
	FloStoredMessage former;
	FloJson		name;
	FloJson		value;
	int			cursor = 0;

	if (!flo_stream_get_last(flo_outlet_bus(sink->outlet), flo_kv_stream(sink->bucket),
							 flo_kv_subject(sink->bucket, key), &former))
		return missing;
	while (flo_json_next_member(flo_json(former.data, former.len), &cursor, &name, &value))
	{
		for (int i = -1; (i = bms_next_member(missing, i)) >= 0;)
		{
			if (!is_same(name, name_in_row(sink, &relation->columns[i])))
				continue;
			append_member(row, name, value);
			missing = bms_del_member(missing, i);
			break;
		}
	}
	return missing;
}

/* From the key that the row had; which is removed, where the change has been made before */
static Bitmapset *
complete_row(FloKvSink *sink, const FloRelation *relation, const char *former_key,
			 const char *key, Bitmapset *missing, StringInfo row)
{
	flo_outlet_drain(sink->outlet);
	missing = complete_row_from(sink, relation, former_key, missing, row);
	if (!bms_is_empty(missing) && strcmp(former_key, key) != 0)
		missing = complete_row_from(sink, relation, key, missing, row);
	return missing;
}

/* Names of columns, as tokens of a subject; NULL: none */
static char *
name_columns(FloKvSink *sink, const FloRelation *relation, const Bitmapset *columns)
{
	StringInfoData text;

	if (bms_is_empty(columns))
		return NULL;
	initStringInfo(&text);
	for (int i = -1; (i = bms_next_member(columns, i)) >= 0;)
	{
		if (text.len > 0)
			appendStringInfoChar(&text, ',');
		append_escaped(sink, &text, relation->columns[i].name);
	}
	return text.data;
}

/* Take the largest value out that is no part of the key; its column, -1: there is none */
static int
cut_row(FloKvSink *sink, const FloRelation *relation, StringInfo row)
{
	FloJson		object = flo_json(row->data, row->len);
	FloJson		name;
	FloJson		value;
	int			cursor = 0;
	int			begin = 1;
	int			largest = -1;
	int			from = 0;
	int			upto = 0;
	int			len = 0;

	while (flo_json_next_member(object, &cursor, &name, &value))
	{
		int			column = 0;

		while (!is_same(name, name_in_row(sink, &relation->columns[column])))
			column++;
		if (!relation->columns[column].is_key && value.len > len)
		{
			largest = column;
			len = value.len;
			from = begin;
			upto = cursor;
		}
		begin = cursor;
	}
	if (largest < 0)
		return -1;
	/* with the comma before it, or else the one behind it */
	if (from == 1 && row->data[upto] == ',')
		upto++;
	memmove(row->data + from, row->data + upto, row->len - upto + 1);
	row->len -= upto - from;
	return largest;
}

static void
refuse_oversize(FloKvSink *sink, const FloRelation *relation, int64 size, int64 limit)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("a row of table \"%s.%s\" is too large for bucket \"%s\": " INT64_FORMAT " bytes, and at most " INT64_FORMAT " are taken",
					relation->schema, relation->name, sink->bucket, size, limit),
			 errhint("Raise max_payload of nats-server, and max_msg_size of the bucket; or set the option oversize to reference, which leaves the largest values out.")));
}

/* Make it as small as messages may be, or refuse it */
static void
fit_row(FloKvSink *sink, const FloRelation *relation, Message *message, Bitmapset *omitted)
{
	int64		limit = flo_outlet_max_size(sink->outlet);

	for (;;)
	{
		FloOutletMessage out;
		int64		size;
		int			column;

		message->omitted = name_columns(sink, relation, omitted);
		out = make_message(sink, message, "", "");
		size = flo_outlet_size(sink->outlet, &out) + MESSAGE_ROOM;
		if (size <= limit)
			return;
		column = sink->spec->options.oversize == FLO_OVERSIZE_REFERENCE ?
			cut_row(sink, relation, message->value) : -1;
		if (column < 0)
			refuse_oversize(sink, relation, size, limit);
		omitted = bms_add_member(omitted, column);
	}
}

static void
put_row(FloKvSink *sink, const FloTransaction *txn, const FloChange *change, const char *former_key,
		const char *key)
{
	const FloRelation *relation = change->relation;
	Bitmapset  *missing = NULL;
	StringInfoData row;
	Message		message = {txn, "INSERT", key, 0, NULL, NULL, &row};

	if (change->op == FLO_OP_UPDATE)
		message.type = "UPDATE";
	initStringInfo(&row);
	flo_event_append_row(sink->writer, &row, change, false, false);
	for (int i = 0; i < relation->natts; i++)
	{
		if (flo_event_value(change, false, i) == NULL)
			missing = bms_add_member(missing, i);
	}
	if (missing != NULL)
		missing = complete_row(sink, relation, former_key, key, missing, &row);
	fit_row(sink, relation, &message, missing);
	send(sink, &message);
}

/* --- changes ------------------------------------------------------------- */

static void
write_row(FloKvSink *sink, const FloTransaction *txn, const FloChange *change)
{
	bool		has_new = change->op != FLO_OP_DELETE;
	bool		has_old = change->op == FLO_OP_DELETE || flo_event_changes_key(change);
	char	   *new_key = has_new ? key_of(sink, change, false) : NULL;
	char	   *old_key = has_old ? key_of(sink, change, true) : new_key;

	if (has_new && is_due(sink, txn, 0))
		put_row(sink, txn, change, old_key, new_key);
	/* keys that differ may be written alike */
	if (has_old && (new_key == NULL || strcmp(old_key, new_key) != 0))
	{
		Message		message = {txn, "DELETE", old_key, has_new ? 1 : 0, "DEL"};

		if (has_new)
			message.type = "UPDATE";
		send(sink, &message);
	}
}

/* Is this key to go, at which LSN? */
typedef bool (*KeyFilter) (void *arg, const FloKvKey *key);

/* Where the outlet has nothing to do, it does not see to that */
static void
serve(FloKvSink *sink)
{
	if (!flo_clock_passed(sink->served_at, SERVE_INTERVAL))
		return;
	sink->served_at = flo_clock();
	sink->host->serve(sink->host->arg);
}

/*
 * Those that are there and wanted, each with a message of its own, whatever has been published
 * of this change.  It is numbered by where the key stands in the bucket: a process before this
 * one, of which some may arrive yet, has given the same key the same number, and no other one.
 */
static void
remove_keys(FloKvSink *sink, const char *filter, KeyFilter is_wanted, void *arg,
			const Message *message)
{
	MemoryContext context = AllocSetContextCreate(sink->scratch, "pg_flo keys",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	FloKvWalk  *walk;
	FloKvKey   *keys;
	int			count;

	flo_outlet_drain(sink->outlet);
	walk = flo_kv_walk(flo_outlet_bus(sink->outlet), sink->bucket, filter);
	MemoryContextSwitchTo(context);
	while ((count = flo_kv_walk_next(walk, &keys)) > 0)
	{
		for (int i = 0; i < count; i++)
		{
			Message		one = *message;

			if (keys[i].removed || !is_wanted(arg, &keys[i]))
				continue;
			one.key = keys[i].key;
			one.n = keys[i].seq;
			publish(sink, &one);
		}
		MemoryContextReset(context);
		serve(sink);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

static bool
any_key(void *arg, const FloKvKey *key)
{
	return true;
}

static void
truncate_tables(FloKvSink *sink, const FloTransaction *txn, const FloChange *change)
{
	Message		message = {txn, "TRUNCATE", NULL, 0, "PURGE"};

	for (int i = 0; i < change->ntruncated; i++)
	{
		const FloRelation *relation = change->truncated[i].relation;

		if (change->truncated[i].part != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a partition of table \"%s.%s\" was truncated alone: which keys of bucket \"%s\" were in it is not known",
							relation->schema, relation->name, sink->bucket),
					 errhint("Pass over the transaction with flo.skip(), make the worker anew and call flo.resync() at the source; publish_via_partition_root = false gives partitions keys of their own.")));
		remove_keys(sink, psprintf("%s>", prefix_of(sink, relation)), any_key, NULL, &message);
	}
}

static bool
is_done(const FloKvSink *sink, const FloTransaction *txn)
{
	return txn->copy_id == NULL &&
		(txn->final_lsn < sink->done.lsn ||
		 (txn->final_lsn == sink->done.lsn && txn->ordinal < sink->done.ordinal));
}

static void
kv_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloKvSink  *sink = (FloKvSink *) base;
	MemoryContext old = CurrentMemoryContext;

	if (change->op == FLO_OP_MESSAGE)
	{
		sink->counters->filtered++;
		return;
	}
	if (change->op != FLO_OP_TRUNCATE)
		require_key(change->relation);
	flo_event_tally(sink->counters, change);
	if (is_done(sink, txn))
		return;
	MemoryContextSwitchTo(sink->scratch);
	if (change->op == FLO_OP_TRUNCATE)
		truncate_tables(sink, txn, change);
	else
		write_row(sink, txn, change);
	MemoryContextSwitchTo(old);
	MemoryContextReset(sink->scratch);
}

/* --- after a copy -------------------------------------------------------- */

/* What of the sweep is known of a table: rows of before this snapshot are no more */
typedef struct Swept
{
	char	   *prefix;
	XLogRecPtr	lsn;
} Swept;

typedef struct Sweep
{
	const char *life;			/* what is of another one is of before,
								 * whatever its LSN */
	List	   *tables;			/* of Swept */
} Sweep;

static bool
is_stale(void *arg, const FloKvKey *key)
{
	const Sweep *sweep = arg;
	ListCell   *lc;
	XLogRecPtr	lsn = InvalidXLogRecPtr;

	/* rows of several tables may be in one here */
	foreach(lc, sweep->tables)
	{
		const Swept *swept = lfirst(lc);

		if (strncmp(key->key, swept->prefix, strlen(swept->prefix)) == 0 &&
			(XLogRecPtrIsInvalid(lsn) || swept->lsn < lsn))
			lsn = swept->lsn;
	}
	return key->lsn < lsn ||
		(!XLogRecPtrIsInvalid(lsn) && strncmp(key->place, sweep->life, LIFE_SIZE) != 0);
}

static void
sweep(FloKvSink *sink)
{
	FloTransaction txn = {.copy_id = ""};
	Message		message = {&txn, "DELETE", NULL, 0, "DEL"};
	Sweep		all = {sink->life, NIL};
	ListCell   *lc;

	foreach(lc, sink->host->copies)
	{
		const FloSinkCopy *copy = lfirst(lc);
		Swept	   *swept = palloc(sizeof(Swept));
		StringInfoData prefix;

		initStringInfo(&prefix);
		append_prefix(sink, &prefix, copy->schema, copy->table);
		swept->prefix = prefix.data;
		swept->lsn = copy->lsn;
		all.tables = lappend(all.tables, swept);
		txn.final_lsn = Max(txn.final_lsn, copy->lsn);
	}
	remove_keys(sink, ">", is_stale, &all, &message);
	flo_outlet_drain(sink->outlet);
	sink->unswept = false;
}

/* --- the sink ------------------------------------------------------------ */

static void
kv_begin(FloSink *base)
{
}

static void
kv_finish(FloSink *base)
{
	flo_outlet_drain(((FloKvSink *) base)->outlet);
}

/* What was handed over is published all the same: it is not to be again */
static void
kv_abort(FloSink *base)
{
	FloKvSink  *sink = (FloKvSink *) base;

	if (is_beyond(sink->added, sink->done))
		sink->done = sink->added;
	MemoryContextReset(sink->scratch);
}

static void
kv_invalidate(FloSink *base)
{
	flo_event_forget(((FloKvSink *) base)->writer);
}

static void
kv_forget(FloSink *base, uint32 relation)
{
	flo_event_forget_table(((FloKvSink *) base)->writer, relation);
}

static char *
kv_save(FloSink *base)
{
	FloKvSink  *sink = (FloKvSink *) base;

	return psprintf("{\"bucket\": \"%s\", \"life\": \"%s\", \"unswept\": %d}", sink->bucket, sink->life,
					sink->unswept);
}

static void
kv_idle(FloSink *base)
{
	flo_outlet_pump(((FloKvSink *) base)->outlet);
}

/* True when it is of this bucket */
static bool
read_state(FloKvSink *sink, const char *state)
{
	Jsonb	   *saved = flo_sink_state_parse(state);
	char	   *bucket = flo_sink_state_text(saved, "bucket");
	char	   *life = flo_sink_state_text(saved, "life");
	int64		unswept;

	if (bucket == NULL || strcmp(bucket, sink->bucket) != 0)
		return false;
	if (life == NULL || strlen(life) != LIFE_SIZE ||
		!flo_sink_state_int64(saved, "unswept", &unswept))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the recorded state of the worker cannot be read")));
	sink->unswept = unswept != 0;
	strlcpy(sink->life, life, sizeof(sink->life));
	return true;
}

/* How far a process before this one came; what is of another life tells nothing */
static void
find_place(FloKvSink *sink)
{
	char	   *place = flo_outlet_last(sink->outlet, flo_kv_stream(sink->bucket),
										flo_kv_subject(sink->bucket, ">"));
	uint32		high;
	uint32		low;
	int			end = 0;

	if (place == NULL || strncmp(place, sink->life, LIFE_SIZE) != 0 ||
		sscanf(place + LIFE_SIZE, " %X/%X " UINT64_FORMAT " " UINT64_FORMAT "%n", &high, &low,
			   &sink->done.ordinal, &sink->done.n, &end) != 4 || place[LIFE_SIZE + end] != '\0')
	{
		memset(&sink->done, 0, sizeof(sink->done));
		return;
	}
	sink->done.lsn = (uint64) high << 32 | low;
}

static void
make_name(char *name)
{
	uint64		number;

	if (!pg_strong_random(&number, sizeof(number)))
		elog(ERROR, "could not make a random number");
	snprintf(name, LIFE_SIZE + 1, "%08x%08x", (uint32) (number >> 32), (uint32) number);
}

static void
open_bucket(FloKvSink *sink, bool known)
{
	const FloWorkerSpec *spec = sink->spec;
	FloOutletConfig outlet = {
		.name = psprintf("pg_flo bucket %s %s", spec->group, spec->worker),
		.stream = flo_kv_stream(sink->bucket),
		.subjects = flo_kv_subject(sink->bucket, ">"),
		.serve = sink->host->serve,
		.arg = sink->host->arg
	};
	FloKvConfig config = {
		.bucket = sink->bucket,
		.owner = psprintf("%s of group %s (%s)", spec->worker, spec->group,
						  flo_name_consumer(spec->group, spec->worker, GetSystemIdentifier(),
											MyDatabaseId)),
		.history = (int) spec->options.kv_history,
		.replicas = spec->options.stream_replicas > 0 ? (int) spec->options.stream_replicas :
		flo_stream_replicas
	};

	sink->outlet = flo_outlet_open(GetMemoryChunkContext(sink), &outlet);
	if (flo_kv_prepare(flo_outlet_bus(sink->outlet), &config) && !known)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("bucket \"%s\" holds keys that are not known to be this worker's", sink->bucket),
				 errhint("Delete the bucket, so that it is made anew, or name another one.")));
}

void
flo_nats_kv_check(const FloWorkerSpec *spec)
{
	const FloWorkerOptions *options = &spec->options;
	const char *problem = flo_kv_bucket_problem(options->kv_bucket);
	const struct
	{
		const char *name;
		bool		given;
	}			others[] = {
		{"subject", strcmp(options->subject, FLO_DEFAULT_SUBJECT) != 0},
		{"partitions", options->partitions > 1},
		{"partition_by", strcmp(options->partition_by, "key") != 0},
		{"jetstream", !options->jetstream},
		{"stream", options->stream != NULL},
		{"stream_max_bytes", options->stream_max_bytes > 0},
		{"stream_max_age", options->stream_max_age > 0},
		{"format", options->format != FLO_FORMAT_PG_FLO},
		{"tombstones", options->tombstones},
	};

	if (problem != NULL)
		flo_conf_refuse(psprintf("invalid value for option \"kv_bucket\": %s", problem),
						"The value is the name of a key-value bucket, such as \"orders\".");
	for (int i = 0; i < lengthof(others); i++)
	{
		if (others[i].given)
			flo_conf_refuse(psprintf("options \"kv_bucket\" and \"%s\" exclude each other",
									 others[i].name),
							"A bucket holds rows, not events, each under its key.");
	}
}

bool
flo_nats_kv_is_state(const char *state)
{
	return state != NULL && flo_sink_state_text(flo_sink_state_parse(state), "bucket") != NULL;
}

FloSink *
flo_nats_kv_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
				 const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo bucket sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	FloKvSink  *sink = palloc0(sizeof(FloKvSink));
	bool		known;

	sink->base.ops = &kv_ops;
	sink->spec = spec;
	sink->counters = &tally->open;
	sink->host = host;
	sink->bucket = pstrdup(spec->options.kv_bucket);
	sink->scratch = AllocSetContextCreate(context, "pg_flo bucket change",
										  ALLOCSET_DEFAULT_SIZES);
	sink->writer = flo_event_writer_open(context, spec, host);
	initStringInfo(&sink->prefix);
	make_name(sink->life);
	make_name(sink->run);
	known = state != NULL && read_state(sink, state);
	open_bucket(sink, known);
	find_place(sink);
	MemoryContextSwitchTo(sink->scratch);
	if (host->copying)
		sink->unswept = true;
	else if (sink->unswept)
		sweep(sink);
	MemoryContextReset(sink->scratch);
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static const FloSinkOps kv_ops = {
	.transactional = false,
	.begin = kv_begin,
	.change = kv_change,
	.finish = kv_finish,
	.abort = kv_abort,
	.invalidate = kv_invalidate,
	.forget = kv_forget,
	.save = kv_save,
	.idle = kv_idle,
};
