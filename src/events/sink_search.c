/*
 * sink_search.c
 *		Rows as documents of a search service, OpenSearch or Elasticsearch.
 *
 * Promises: an index holds a table's rows, the newest of each, whatever is sent again,
 * and whoever else sends them.  Each document carries the version of its change, and
 * the service refuses what is older.  A row that it does not take is never passed
 * over: the worker stops, tries again, or sets it aside as a dead letter.
 *
 * One request is under way, and documents for the next are gathered meanwhile.  Both
 * are bounded; when they are full, everything waits.
 *
 * What has been taken is recorded at the end of a batch, and within one every
 * CHECKPOINT_INTERVAL, as the place of the newest change before the oldest that is
 * pending; what is not beyond it is passed over after a restart.
 *
 * Awkward cases: an UPDATE does not bring values that it did not change and that are
 * stored out of line; they are read from the document.  A TRUNCATE deletes each
 * document with its own version, so it deletes no later one, however late it comes:
 * deleting by query would.  A change of a row's key deletes one document and makes another.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/endpoint.h"
#include "core/clock.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "core/text.h"
#include "events/event.h"
#include "events/json_value.h"
#include "events/letters.h"
#include "events/search_bulk.h"
#include "events/search_client.h"
#include "events/search_ddl.h"
#include "events/search_index.h"
#include "events/search_letter.h"
#include "events/search_lookup.h"
#include "events/search_mapping.h"
#include "events/search_table.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SERVE_INTERVAL 1000		/* ms */
#define CHECKPOINT_INTERVAL 1000	/* ms */

/* A request under way is looked after each time so many bytes were gathered */
#define LOOK_INTERVAL (64 * 1024)

/* What an answer says of documents that are done would be long otherwise */
#define BULK_PATH "/_bulk?filter_path=errors,items.*.status,items.*.error.type," \
	"items.*.error.reason,items.*.error.caused_by.reason"

typedef struct SearchSink
{
	FloSink		base;
	FloWorkerSpec spec;
	FloCounters *counters;
	const FloSinkHost *host;
	MemoryContext context;
	MemoryContext row;			/* of the change at hand */
	MemoryContext scratch;		/* of a request, of an answer */
	FloEventWriter *writer;
	FloTemplate *index;
	HTAB	   *tables;			/* of FloSearchTable */
	const char *flattened;

	FloSearchClient *client;
	bool		stale;			/* configuration may be another */
	uint64		reloads_seen;

	FloBulk    *sending;		/* under way or to be tried again, unless
								 * empty */
	FloBulk    *gathering;
	int			look_at;		/* size of it at which to look after the
								 * request under way */
	bool		closed;			/* no more may be added to it */
	int			limit;			/* of items in a request, after one that was
								 * refused as a whole; 0 = none */
	TimestampTz first_attempt;
	bool		shown;			/* flo.status has a detail of ours */

	/* places */
	FloPlace	done;			/* taken of a former process: not again */
	FloPlace	seen;			/* newest change handed to us */
	FloPlace	saved;
	FloClock	saved_at;
	FloClock	served_at;

	FloLetters	letters;
} SearchSink;

/* --- places -------------------------------------------------------------- */

/* Everything up to here is in the index */
static FloPlace
delivered(const SearchSink *sink)
{
	const FloBulk *oldest = sink->sending->count > 0 ? sink->sending : sink->gathering;
	FloPlace	result = sink->seen;

	if (oldest->count > 0)
	{
		result = oldest->items[0].place;
		result.ordinal--;
	}
	return flo_place_is_beyond(sink->done, result) ? sink->done : result;
}

static void
checkpoint(SearchSink *sink)
{
	sink->saved_at = flo_clock();
	if (flo_place_is_beyond(delivered(sink), sink->saved) || sink->letters.pending != NIL)
		sink->host->checkpoint(sink->host->arg);
}

/* --- what is said of it -------------------------------------------------- */

static void
show(SearchSink *sink)
{
	bool		pending = sink->sending->count + sink->gathering->count > 0;

	if (flo_search_show(sink->client))
		return;
	if (pending)
		flo_state_set(FLO_STATE_STREAMING, "%s on the way, %s gathered, at most %s of each",
					  flo_text_of_size(sink->sending->text.len),
					  flo_text_of_size(sink->gathering->text.len),
					  flo_text_of_size(sink->spec.options.batch_bytes));
	else if (sink->shown)
		flo_state_set(FLO_STATE_STREAMING, NULL);
	sink->shown = pending;
}

static void
serve(SearchSink *sink)
{
	if (!flo_clock_passed(sink->served_at, SERVE_INTERVAL))
		return;
	sink->served_at = flo_clock();
	show(sink);
	if (flo_clock_passed(sink->saved_at, CHECKPOINT_INTERVAL))
		checkpoint(sink);
}

/* Which change an error is about */
static void
name_item(const FloBulkItem *item)
{
	flo_error_context.commit_lsn = item->place.final_lsn;
	flo_error_context.schema = item->table->schema;
	flo_error_context.table = item->table->table;
	flo_error_context_source(item->table->relation, item->table->schema, item->table->table);
}

/* With masking strict, errors show no value */
static bool
is_discreet(const SearchSink *sink)
{
	return sink->spec.options.masking == FLO_MASKING_STRICT;
}

/* --- documents that are refused ------------------------------------------ */

static void
set_aside(SearchSink *sink)
{
	int			count = 0;
	const char *error = "";

	for (int i = 0; i < sink->sending->sent; i++)
	{
		const FloBulkItem *item = &sink->sending->items[i];
		FloDeadLetter letter = {.url = sink->client->url,.error = item->error,.attempts = 1};

		if (!item->refused)
			continue;
		letter.event_id = flo_search_letter_id(sink->spec.group, sink->sending, item);
		letter.event = flo_search_letter_event(sink->sending, item);
		letter.lsn = item->place.final_lsn;
		letter.first_attempt = sink->first_attempt;
		letter.last_attempt = GetCurrentTimestamp();
		flo_letters_add(&sink->letters, &letter);
		if (count++ == 0)
			error = pstrdup(item->error);
	}
	flo_bulk_drop_refused(sink->sending);
	ereport(LOG,
			(errmsg("%d documents for search service \"%s\" were set aside as dead letters: %s",
					count, sink->client->shown, error)));
	if (list_length(sink->letters.pending) >= FLO_LETTERS_ROOM)
		checkpoint(sink);
}

static void
refused(SearchSink *sink)
{
	const FloBulkItem *item = sink->sending->items;

	while (!item->refused)
		item++;
	switch (sink->spec.options.on_error)
	{
		case FLO_ON_ERROR_DEAD_LETTER:
			set_aside(sink);
			return;
		case FLO_ON_ERROR_RETRY:
			name_item(item);
			flo_search_failed(sink->client, item->error,
							  "Change the mapping of the index, or the row, or set on_error to dead_letter.",
							  0);
			return;
		case FLO_ON_ERROR_STOP:
			checkpoint(sink);
			name_item(item);
			ereport(ERROR,
					(errcode(ERRCODE_DATA_EXCEPTION),
					 errmsg("search service \"%s\" refuses a document of index \"%s\": %s",
							sink->client->shown, item->table->index, item->error),
					 errhint("Change the mapping of the index or the row's table, or set on_error to dead_letter; then flo.start_group().")));
	}
}

/* --- answers ------------------------------------------------------------- */

static void
index_is_gone(SearchSink *sink)
{
	HASH_SEQ_STATUS scan;
	FloSearchTable *table;

	hash_seq_init(&scan, sink->tables);
	while ((table = hash_seq_search(&scan)) != NULL)
		table->prepared = false;
}

/*
 * None of the request was taken, and it is no use to send it again: there is a document in
 * it that spoils the rest, or it is too long.  Half of it, until it is one.
 */
static void
divide(SearchSink *sink, const FloHttpResult *result)
{
	FloBulk    *bulk = sink->sending;
	char		error[512];

	if (bulk->sent > 1)
	{
		sink->limit = bulk->sent / 2;
		return;
	}
	if (is_discreet(sink))
		snprintf(error, sizeof(error), "HTTP %d", result->status);
	else
		flo_http_describe_failure(result, &sink->client->headers, error, sizeof(error));
	if (bulk->items[0].error != NULL)
		pfree(bulk->items[0].error);
	bulk->items[0].error = MemoryContextStrdup(bulk->context, error);
	bulk->items[0].refused = true;
	refused(sink);
}

static void
take_answer(SearchSink *sink)
{
	FloSearchClient *client = sink->client;
	FloHttpResult *result = &client->answer;
	FloBulkOutcome outcome;
	char		error[512];

	client->answered = false;
	if (flo_search_may_pass(result))
	{
		flo_http_describe_failure(result, &sink->client->headers, error, sizeof(error));
		flo_search_failed(client, error, flo_search_hint(result), result->retry_after);
		return;
	}
	if (result->status > 299 || (result->cut && sink->sending->sent > 1))
	{
		divide(sink, result);
		return;
	}
	if (!flo_bulk_take_answer(sink->sending, flo_json_part(result->body, (int) result->len),
							  &client->headers, &outcome))
	{
		flo_search_failed(client, "its answer is not one to a request _bulk",
						  "Check the URL: it has to be that of OpenSearch or Elasticsearch itself.",
						  0);
		return;
	}
	sink->counters->conflicts += outcome.stale;
	if (outcome.no_index)
		index_is_gone(sink);
	if (outcome.again > 0)
		flo_search_failed(client, outcome.error,
						  "Look into the log of the search service, and at its disks and memory.",
						  result->retry_after);
	else if (outcome.refused == 0 || sink->spec.options.on_error != FLO_ON_ERROR_RETRY)
		flo_search_succeeded(client);
	if (outcome.refused > 0)
		refused(sink);
	if (sink->sending->count == 0)
		sink->limit = 0;
}

/* --- driving ------------------------------------------------------------- */

static bool
is_full(const SearchSink *sink)
{
	const FloBulk *bulk = sink->gathering;

	return bulk->count > 0 && (sink->closed || bulk->text.len >= sink->spec.options.batch_bytes);
}

/* So many of the items as make a request, complete, and with their indexes there */
static void
make_request(SearchSink *sink)
{
	FloBulk    *bulk = sink->sending;
	int			limit = sink->limit > 0 ? Min(sink->limit, bulk->count) : bulk->count;
	int64		len = 0;
	int			count = 0;
	MemoryContext old = MemoryContextSwitchTo(sink->scratch);

	while (count < limit && (count == 0 || len < sink->spec.options.batch_bytes))
	{
		if (!bulk->items[count].table->prepared)
			flo_search_prepare(sink->client, bulk->items[count].table);
		if (bulk->items[count].missing != NIL)
			flo_search_look_up(sink->client, bulk, count, limit);
		len += bulk->items[count++].len;
	}
	bulk->sent = count;
	flo_search_post(sink->client, BULK_PATH, bulk->text.data, len);
	MemoryContextSwitchTo(old);
	MemoryContextReset(sink->scratch);
}

/* Begin what can be begun; "all": also a request that is not full */
static void
start_request(SearchSink *sink, bool all)
{
	FloSearchClient *client = sink->client;

	if (client->posted || client->answered)
		return;
	if (sink->sending->count == 0 && sink->gathering->count > 0 &&
		(all || is_full(sink) ||
		 flo_clock_passed(sink->gathering->since, sink->spec.options.batch_ms)))
	{
		FloBulk    *empty = sink->sending;

		sink->sending = sink->gathering;
		sink->gathering = empty;
		sink->closed = false;
		sink->look_at = LOOK_INTERVAL;
		sink->first_attempt = GetCurrentTimestamp();
	}
	if (sink->sending->count > 0 &&
		(client->attempts == 0 || flo_clock_left(client->next_attempt) == 0))
		make_request(sink);
}

/* One turn: wait for something to happen, and see to it */
static void
drive(SearchSink *sink, long timeout)
{
	FloSearchClient *client = sink->client;

	if (!client->posted && sink->sending->count > 0)
		timeout = Min(timeout, flo_clock_left(client->next_attempt));
	flo_search_wait(client, timeout);
	if (client->answered)
	{
		MemoryContext old = MemoryContextSwitchTo(sink->scratch);

		take_answer(sink);
		MemoryContextSwitchTo(old);
		MemoryContextReset(sink->scratch);
	}
	serve(sink);
	if (sink->stale && !client->posted)
	{
		sink->stale = false;
		flo_search_client_configure(client);
	}
}

static void
deliver_all(SearchSink *sink)
{
	while (sink->sending->count > 0 || sink->gathering->count > 0)
	{
		start_request(sink, true);
		drive(sink, SERVE_INTERVAL);
	}
	show(sink);
}

/* Have room for one more; what needs its own document's values must not share a request with it */
static void
make_place(SearchSink *sink, const FloSearchTable *table, FloBulkId id, bool alone)
{
	sink->closed |= alone && flo_bulk_may_have(sink->gathering, table, id);
	while (is_full(sink))
	{
		start_request(sink, false);
		if (is_full(sink))
			drive(sink, SERVE_INTERVAL);
	}
}

/* --- tables -------------------------------------------------------------- */

static FloSearchTable *
find_table(SearchSink *sink, const FloRelation *relation)
{
	FloSearchTable *table;
	bool		found;

	table = hash_search(sink->tables, &relation->id, HASH_ENTER, &found);
	if (!found)
	{
		memset((char *) table + sizeof(uint32), 0, sizeof(FloSearchTable) - sizeof(uint32));
		table->context = AllocSetContextCreate(sink->context, "pg_flo search table",
											   ALLOCSET_SMALL_SIZES);
	}
	if (table->version == relation->version && table->prepared)
		return table;
	if (table->version != relation->version)
	{
		MemoryContext old;

		/* items refer to it */
		if (found)
			deliver_all(sink);
		table->version = 0;
		MemoryContextReset(table->context);
		if (sink->flattened == NULL && sink->spec.options.json == FLO_SEARCH_JSON_FLATTENED)
			sink->flattened = flo_search_flattened(sink->client);
		old = MemoryContextSwitchTo(table->context);
		table->index = flo_search_index_name(sink->writer, sink->index, sink->spec.group,
											 relation->schema, relation->name);
		MemoryContextSwitchTo(old);
		flo_search_describe(table, sink->writer, relation, &sink->spec.options, sink->flattened);
	}
	flo_search_prepare(sink->client, table);
	return table;
}

/* --- changes ------------------------------------------------------------- */

static void
add_delete(SearchSink *sink, FloSearchTable *table, const FloTransaction *txn, FloBulkId id)
{
	make_place(sink, table, id, false);
	(void) flo_bulk_begin_item(sink->gathering, table, true, id, flo_search_version(txn));
	flo_bulk_end_item(sink->gathering, txn);
	start_request(sink, false);
}

/* "former" is the _id that the row had before, if that was another */
static void
add_document(SearchSink *sink, FloSearchTable *table, const FloTransaction *txn,
			 const FloChange *change, FloBulkId id, const FloBulkId *former)
{
	StringInfoData document;
	List	   *missing = NIL;
	FloBulkItem *item;
	ListCell   *lc;

	initStringInfo(&document);
	flo_search_append_document(table, sink->writer, &document, change, &missing);
	make_place(sink, table, id, missing != NIL);
	if (former != NULL)
		make_place(sink, table, *former, missing != NIL);
	item = flo_bulk_begin_item(sink->gathering, table, false, id, flo_search_version(txn));
	appendBinaryStringInfo(&sink->gathering->text, document.data, document.len);
	foreach(lc, missing)
	{
		MemoryContext old = MemoryContextSwitchTo(sink->gathering->context);

		item->missing = lappend(item->missing, lfirst(lc));
		MemoryContextSwitchTo(old);
	}
	if (missing != NIL && former != NULL)
	{
		StringInfoData quoted;

		initStringInfo(&quoted);
		flo_json_append_text(&quoted, former->text, former->len);
		item->former = MemoryContextStrdup(sink->gathering->context, quoted.data);
	}
	flo_bulk_end_item(sink->gathering, txn);
	start_request(sink, false);
}

static FloBulkId
id_of(SearchSink *sink, const FloSearchTable *table, const FloChange *change, bool old)
{
	FloBulkId	id = {0};
	StringInfoData text;

	initStringInfo(&text);
	flo_search_append_id(table, sink->writer, &text, change, old);
	id.text = text.data;
	id.len = text.len;
	return id;
}

static void
change_row(SearchSink *sink, const FloTransaction *txn, const FloChange *change)
{
	FloSearchTable *table = find_table(sink, change->relation);
	FloBulkId	id;
	FloBulkId	old;
	bool		moved = false;

	if (change->op == FLO_OP_DELETE)
	{
		add_delete(sink, table, txn, id_of(sink, table, change, true));
		return;
	}
	id = id_of(sink, table, change, false);
	if (change->op == FLO_OP_UPDATE && change->has_old)
	{
		old = id_of(sink, table, change, true);
		moved = old.len != id.len || memcmp(old.text, id.text, id.len) != 0;
	}
	/* in this order: values of the former document may be needed */
	add_document(sink, table, txn, change, id, moved ? &old : NULL);
	if (moved)
		add_delete(sink, table, txn, old);
}

/* --- TRUNCATE ------------------------------------------------------------ */

/* A table whose documents are deleted */
typedef struct Truncation
{
	SearchSink *sink;
	FloSearchTable *table;
	const FloTransaction *txn;
} Truncation;

static void
delete_found(void *arg, FloJsonPart id)
{
	Truncation *truncation = arg;
	SearchSink *sink = truncation->sink;
	FloBulkId	bulk_id = {id.data, id.len, true};

	(void) flo_bulk_begin_item(sink->gathering, truncation->table, true, bulk_id,
							   flo_search_version(truncation->txn));
	flo_bulk_end_item(sink->gathering, truncation->txn);
}

static void
truncate_table(SearchSink *sink, const FloTransaction *txn, const FloTruncated *truncated)
{
	Truncation	truncation = {sink, find_table(sink, truncated->relation), txn};
	char	   *cursor = NULL;

	if (truncated->part != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a partition of table \"%s.%s\" was truncated alone: which documents were in it is not known here",
						truncated->relation->schema, truncated->relation->name),
				 errhint("Delete these documents, then set the worker's option tables or skip the transaction; DELETE instead of TRUNCATE says which rows it is about.")));
	while (flo_search_page(sink->client, truncation.table->index, &cursor, delete_found,
						   &truncation) != 0)
		deliver_all(sink);
}

/* --- statements ---------------------------------------------------------- */

static char *
index_of(const SearchSink *sink, const char *schema, const char *table)
{
	return flo_search_index_name(sink->writer, sink->index, sink->spec.group, schema, table);
}

static char *
field_of(const SearchSink *sink, const char *column)
{
	StringInfoData field;
	StringInfoData text;

	initStringInfo(&field);
	flo_search_field(&field, column);
	initStringInfo(&text);
	flo_event_append_name(sink->writer, &text, field.data);
	return text.data;
}

static void
follow_statement(SearchSink *sink, const FloChange *change)
{
	ListCell   *lc;

	foreach(lc, flo_search_renames(change))
	{
		const FloRename *rename = lfirst(lc);
		char	   *index = index_of(sink, rename->schema, rename->table);
		char	   *owner = flo_search_owner(sink->writer, rename->schema, rename->table);

		deliver_all(sink);
		if (rename->column != NULL)
			flo_search_rename_field(sink->client, index, owner, field_of(sink, rename->column),
									field_of(sink, rename->new_column));
		else
			flo_search_rename_index(sink->client, index, owner,
									index_of(sink, rename->new_schema, rename->new_table),
									flo_search_owner(sink->writer, rename->new_schema,
													 rename->new_table));
	}
}

/* --- the sink ------------------------------------------------------------ */

static void
search_check(const FloWorkerSpec *spec)
{
	if (spec->options.url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a worker with sink \"search\" needs the option \"url\""),
				 errhint("The value is the URL of OpenSearch or Elasticsearch, such as \"https://search.example.com:9200\".")));
	if (strchr(spec->options.url, '?') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"url\" of a worker with sink \"search\" must not have a query"),
				 errhint("The worker adds the path and the query of each request.")));
	(void) flo_search_template(spec->options.index);
}

static FloSink *
search_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
			const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo search sink",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SearchSink *sink = palloc0(sizeof(SearchSink));
	HASHCTL		control = {0};

	sink->base.ops = &flo_sink_search;
	sink->spec = *spec;
	sink->counters = &tally->open;
	sink->host = host;
	sink->context = context;
	sink->row = AllocSetContextCreate(context, "pg_flo search change", ALLOCSET_DEFAULT_SIZES);
	sink->scratch = AllocSetContextCreate(context, "pg_flo search request",
										  ALLOCSET_DEFAULT_SIZES);
	flo_letters_init(&sink->letters, &sink->spec, context);
	sink->writer = flo_event_writer_open(context, spec, host);
	sink->index = flo_search_template(spec->options.index);
	control.keysize = sizeof(uint32);
	control.entrysize = sizeof(FloSearchTable);
	control.hcxt = context;
	sink->tables = hash_create("pg_flo search tables", 64, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	sink->sending = flo_bulk_create(context, is_discreet(sink));
	sink->gathering = flo_bulk_create(context, is_discreet(sink));
	if (state != NULL)
		sink->seen = sink->saved = sink->done = flo_place_parse(state);
	sink->client = flo_search_client_open(context, &sink->spec, host);
	sink->reloads_seen = flo_reload_count;
	MemoryContextSwitchTo(old);
	return &sink->base;
}

static void
search_begin(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	if (IsTransactionState() || (!sink->stale && sink->reloads_seen == flo_reload_count))
		return;
	sink->stale = false;
	sink->reloads_seen = flo_reload_count;
	flo_search_client_configure(sink->client);
}

static void
apply(SearchSink *sink, const FloTransaction *txn, const FloChange *change)
{
	switch (change->op)
	{
		case FLO_OP_MESSAGE:
			follow_statement(sink, change);
			break;
		case FLO_OP_TRUNCATE:
			deliver_all(sink);
			for (int i = 0; i < change->ntruncated; i++)
				truncate_table(sink, txn, &change->truncated[i]);
			break;
		default:
			change_row(sink, txn, change);
			break;
	}
}

static void
search_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	SearchSink *sink = (SearchSink *) base;
	FloPlace	place = {txn->final_lsn, txn->ordinal};
	MemoryContext old;

	flo_event_tally(sink->counters, change);
	/* by an attempt that was cut short; it counts in this one */
	if (txn->copy_id == NULL && !flo_place_is_beyond(place, sink->done))
		return;
	MemoryContextReset(sink->row);
	old = MemoryContextSwitchTo(sink->row);
	apply(sink, txn, change);
	MemoryContextSwitchTo(old);
	sink->seen = place;
	if (sink->client->posted && sink->gathering->text.len >= sink->look_at)
	{
		drive(sink, 0);
		sink->look_at = sink->gathering->text.len + LOOK_INTERVAL;
	}
	serve(sink);
}

static bool redrive_one(SearchSink *sink);

static void
search_finish(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	deliver_all(sink);
	/* the rows of a copy come within a transaction */
	if (sink->letters.wanted && sink->letters.pending == NIL && !IsTransactionState())
		sink->letters.wanted = redrive_one(sink);
}

/* Half a transaction is to come again: of it, what was taken is passed over */
static void
search_abort(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	sink->seen = sink->done = delivered(sink);
	flo_search_give_up(sink->client);
	flo_bulk_clear(sink->sending);
	flo_bulk_clear(sink->gathering);
	sink->closed = false;
	sink->limit = 0;
}

static void
search_invalidate(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	sink->stale = true;
	sink->letters.wanted = true;
	flo_event_forget(sink->writer);
}

static void
search_forget(FloSink *base, uint32 relation)
{
	SearchSink *sink = (SearchSink *) base;
	FloSearchTable *table = hash_search(sink->tables, &relation, HASH_FIND, NULL);

	flo_event_forget_table(sink->writer, relation);
	if (table == NULL)
		return;
	MemoryContextDelete(table->context);
	(void) hash_search(sink->tables, &relation, HASH_REMOVE, NULL);
}

static char *
search_save(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	flo_letters_write(&sink->letters);
	sink->saved = delivered(sink);
	return flo_place_save(sink->saved);
}

/* --- letters sent again -------------------------------------------------- */

static void
send_letter(void *arg, const FloDeadLetter *letter, char *error, size_t size)
{
	SearchSink *sink = arg;
	FloBulk    *bulk = flo_bulk_create(CurrentMemoryContext, is_discreet(sink));
	FloSearchTable nothing = {.index = ""};
	FloTransaction txn = {0};
	FloBulkOutcome outcome;
	FloBulkId	id = {"", 0, false};
	FloSearchAnswer answer;
	StringInfoData body;

	initStringInfo(&body);
	if (!flo_search_letter_lines(&body, letter->event))
	{
		snprintf(error, size, "it is not what was sent");
		return;
	}
	answer = flo_search_ask(sink->client, "POST", BULK_PATH, body.data);
	/* as one of a request of its own */
	(void) flo_bulk_begin_item(bulk, &nothing, true, id, 0);
	flo_bulk_end_item(bulk, &txn);
	bulk->sent = 1;
	if (answer.status != 200)
		snprintf(error, size, "%s", answer.error);
	else if (!flo_bulk_take_answer(bulk, answer.body, &sink->client->headers, &outcome))
		snprintf(error, size, "its answer is not one to a request _bulk");
	else if (bulk->count > 0)
		snprintf(error, size, "%s", bulk->items[0].error);
}

static bool
redrive_one(SearchSink *sink)
{
	return flo_letters_redrive(&sink->letters, send_letter, sink);
}

static void
search_idle(FloSink *base)
{
	SearchSink *sink = (SearchSink *) base;

	search_begin(base);
	while (sink->letters.wanted)
		sink->letters.wanted = redrive_one(sink);
}

const FloSinkOps flo_sink_search = {
	.transactional = false,
	.check = search_check,
	.open = search_open,
	.begin = search_begin,
	.change = search_change,
	.finish = search_finish,
	.abort = search_abort,
	.invalidate = search_invalidate,
	.forget = search_forget,
	.save = search_save,
	.idle = search_idle,
};
