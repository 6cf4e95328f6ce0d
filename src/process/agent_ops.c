/*
 * agent_ops.c
 *		The operations that an agent does with the broker.
 *
 * Each takes a JSON object and appends a JSON value, all documented beside it.
 * They run in a process without a database, on a connection of their own.
 * What removes something can be repeated: absence is no error.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "bus/cutover_record.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "core/names.h"
#include "core/text.h"
#include "process/agent.h"
#include "process/agent_peek.h"
#include "source/ownership.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "wire/squeeze.h"

/* A server that takes less in one message is of no use; chunks are up to 256 KB */
#define SMALLEST_PAYLOAD 65536

/* A required argument */
static char *
text_argument(FloJson arguments, const char *key)
{
	char	   *value = flo_json_get_string(arguments, key);

	if (value == NULL)
		elog(ERROR, "operation needs the argument \"%s\"", key);
	return value;
}

/* Separator before the next member or element of what is being built */
static void
append_separator(StringInfo buf)
{
	char		last = buf->len > 0 ? buf->data[buf->len - 1] : '[';

	if (last != '[' && last != '{')
		appendStringInfoChar(buf, ',');
}

static void
append_text(StringInfo buf, const char *key, const char *value)
{
	if (value == NULL)
		return;
	append_separator(buf);
	appendStringInfo(buf, "\"%s\":", key);
	flo_json_append_string(buf, value);
}

static void
append_number(StringInfo buf, const char *key, int64 value)
{
	append_separator(buf);
	appendStringInfo(buf, "\"%s\":" INT64_FORMAT, key, value);
}

static void
append_lsn(StringInfo buf, const char *key, XLogRecPtr lsn)
{
	append_separator(buf);
	appendStringInfo(buf, "\"%s\":\"%X/%X\"", key, LSN_FORMAT_ARGS(lsn));
}

/* What of the stream a worker has not reported as durable; messages are taken as of equal size */
static int64
pending_bytes(const FloStreamInfo *info, const FloWorkerReport *report)
{
	uint64		pending = info->last_seq > report->seq ? info->last_seq - report->seq : 0;

	if (info->messages == 0)
		return 0;
	pending = Min(pending, info->messages);
	return (int64) ((double) info->bytes * pending / info->messages);
}

/* ---------------------------------------------------------------------------
 * stream_status: {"group"} -> {"stream", "messages", "bytes", "max_bytes",
 * "first_lsn", "last_lsn", "workers": [{"consumer", "worker_name",
 * "system_identifier", "database", "pending_bytes", "acked_lsn", "last_seen", "tables", "backfills"}]}
 *
 * Members that do not apply are left out: those of a stream that does not
 * exist, of a consumer that nobody has registered.
 * ---------------------------------------------------------------------------
 */

static void
append_first_lsn(FloBus *bus, const char *stream, const FloStreamInfo *info, StringInfo result)
{
	FloStoredMessage message;
	FloChunkHeader header;

	if (info->messages > 0 && flo_stream_get(bus, stream, info->first_seq, &message) &&
		flo_chunk_open_own(&message.data, &message.len, &header) == NULL)
		append_lsn(result, "first_lsn", header.from);
}

static void
append_worker(StringInfo result, const FloWorkerReport *report, const FloStreamInfo *info)
{
	char		number[24];

	append_separator(result);
	appendStringInfoChar(result, '{');
	append_text(result, "consumer", report->consumer);
	append_text(result, "worker_name", report->worker);
	snprintf(number, sizeof(number), UINT64_FORMAT, report->system_identifier);
	append_text(result, "system_identifier", number);
	append_text(result, "database", report->database);
	append_number(result, "tables", report->compares);
	append_number(result, "backfills", report->backfills);
	if (info != NULL)
		append_number(result, "pending_bytes", pending_bytes(info, report));
	if (!XLogRecPtrIsInvalid(report->lsn))
		append_lsn(result, "acked_lsn", report->lsn);
	append_separator(result);
	appendStringInfo(result, "\"last_seen\":" INT64_FORMAT "}", report->at);
}

/* A consumer of the stream that no report speaks of */
static void
append_stranger(StringInfo result, const char *consumer)
{
	append_separator(result);
	appendStringInfoChar(result, '{');
	append_text(result, "consumer", consumer);
	appendStringInfoChar(result, '}');
}

static bool
is_reported(List *reports, const char *consumer)
{
	ListCell   *cell;

	foreach(cell, reports)
	{
		if (strcmp(((FloWorkerReport *) lfirst(cell))->consumer, consumer) == 0)
			return true;
	}
	return false;
}

static void
stream_status(FloBus *bus, FloJson arguments, StringInfo result)
{
	char	   *group = text_argument(arguments, "group");
	char	   *stream = flo_name_stream(group);
	List	   *reports = flo_reports(bus, flo_name_bucket(group));
	FloStreamInfo info;
	FloStreamEnd end;
	bool		exists = flo_stream_info(bus, stream, &info);
	ListCell   *cell;

	appendStringInfoChar(result, '{');
	append_text(result, "stream", stream);
	if (exists)
	{
		append_number(result, "messages", info.messages);
		append_number(result, "bytes", info.bytes);
		if (info.max_bytes > 0)
			append_number(result, "max_bytes", info.max_bytes);
		append_first_lsn(bus, stream, &info, result);
		flo_session_read_end(bus, stream, &info, &end);
		if (end.found)
			append_lsn(result, "last_lsn", end.newest.position);
	}
	appendStringInfoString(result, ",\"workers\":[");
	foreach(cell, reports)
		append_worker(result, lfirst(cell), exists ? &info : NULL);
	foreach(cell, flo_consumer_names(bus, stream))
	{
		if (!is_reported(reports, lfirst(cell)))
			append_stranger(result, lfirst(cell));
	}
	appendStringInfoString(result, "]}");
}

/* ---------------------------------------------------------------------------
 * What removes something is given a "claim": what the caller holds to be its own
 * ---------------------------------------------------------------------------
 */

static FloClaim
claim_argument(FloJson arguments)
{
	FloJson		claim;

	if (!flo_json_get(arguments, "claim", &claim))
		elog(ERROR, "operation needs the argument \"claim\"");
	return flo_ownership_parse(claim);
}

static bool
flag_argument(FloJson arguments, const char *key)
{
	int64		value = 0;

	return flo_json_get_int64(arguments, key, &value) && value != 0;
}

/*
 * 55006 unless the streams of the group are the caller's, and no copy of it lives
 * when its own replicator is "stopped"
 */
static void
require_ownership(FloBus *bus, FloJson arguments, bool stopped, const char *hint)
{
	FloClaim	claim = claim_argument(arguments);
	FloDispute *dispute = flo_ownership_dispute(bus, &claim);

	if (dispute == NULL && stopped)
		dispute = flo_ownership_living_copy(bus, claim.group);
	if (dispute != NULL && !dispute->removable)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("what group \"%s\" has in NATS is not this database's to remove: %s",
						claim.group, dispute->message),
				 errhint("%s", hint)));
}

/* ---------------------------------------------------------------------------
 * drop_consumer: {"group", "claim", "consumer", "own"} ->
 * {"worker_name", "database", "last_seen"}, as far as it had registered; 42704
 * when there is no such one, 55006 when neither it nor the stream is the caller's
 * ---------------------------------------------------------------------------
 */

static void
drop_consumer(FloBus *bus, FloJson arguments, StringInfo result)
{
	char	   *group = text_argument(arguments, "group");
	char	   *consumer = text_argument(arguments, "consumer");
	char	   *bucket = flo_name_bucket(group);
	char	   *key = flo_report_key(consumer);
	char	   *value;
	bool		deleted;

	if (!flag_argument(arguments, "own"))
		require_ownership(bus, arguments, false, "Call flo.drop_consumer() at the source of the group.");
	value = flo_bucket_get(bus, bucket, key);
	deleted = flo_consumer_delete(bus, flo_name_stream(group), consumer);
	if (value == NULL && !deleted)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no consumer \"%s\"", group, consumer),
				 errhint("flo.stream_status() shows the consumers of the group.")));

	/*
	 * also when it is not there: what a full broker did not store was heard
	 * all the same
	 */
	flo_bucket_remove(bus, bucket, key);
	flo_bucket_remove(bus, bucket, flo_cutover_key(consumer));
	appendStringInfoChar(result, '{');
	if (value != NULL)
	{
		FloWorkerReport *report = flo_report_read(key, value);

		append_text(result, "worker_name", report->worker);
		append_text(result, "database", report->database);
		append_number(result, "last_seen", report->at);
	}
	appendStringInfoChar(result, '}');
}

/*
 * Another copy of this database runs the worker as well, and has got further:
 * its registration keeps what it needs in the stream.
 */
static void
require_own_report(const FloWorkerReport *report, FloJson arguments)
{
	char	   *generation = flo_json_get_string(arguments, "generation");
	uint64		lsn = 0;

	flo_json_get_uint64(arguments, "lsn", &lsn);
	/* nothing is known of it here, or there */
	if (generation == NULL || generation[0] == '\0' || report->generation[0] == '\0' ||
		report->worker[0] == '\0')
		return;
	if (strcmp(report->generation, generation) == 0 && report->lsn <= lsn)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("worker \"%s\" is registered in NATS with the position %X/%X, this database has it at %X/%X: it is another copy of this database that runs it",
					report->worker, LSN_FORMAT_ARGS(report->lsn),
					LSN_FORMAT_ARGS((XLogRecPtr) lsn)),
			 errhint("With force => true it is dropped here, and what is in NATS stays for the other one; flo.drop_consumer() at the source removes that.")));
}

/*
 * forget_consumer: {"group", "consumer", "generation", "lsn"} -> {}, also when
 * there is none; 55006 when the registration is ahead of what the caller has
 */
static void
forget_consumer(FloBus *bus, FloJson arguments, StringInfo result)
{
	char	   *group = text_argument(arguments, "group");
	char	   *consumer = text_argument(arguments, "consumer");
	char	   *bucket = flo_name_bucket(group);
	char	   *key = flo_report_key(consumer);
	char	   *value = flo_bucket_get(bus, bucket, key);

	if (value != NULL)
		require_own_report(flo_report_read(key, value), arguments);
	(void) flo_consumer_delete(bus, flo_name_stream(group), consumer);
	flo_bucket_remove(bus, bucket, key);
	flo_bucket_remove(bus, bucket, flo_cutover_key(consumer));
	appendStringInfoString(result, "{}");
}

/*
 * delete_streams: {"group", "claim", "force"} -> {}: stream, copy stream, compare stream and
 * state bucket; 55006 when they are not the caller's
 */
static void
delete_streams(FloBus *bus, FloJson arguments, StringInfo result)
{
	char	   *group = text_argument(arguments, "group");

	if (!flag_argument(arguments, "force"))
		require_ownership(bus, arguments, true, "Remove it there. With force => true it goes all the same, and who uses it fails.");
	flo_stream_delete(bus, flo_name_stream(group));
	flo_stream_delete(bus, flo_name_copy_stream(group));
	flo_stream_delete(bus, flo_name_compare_stream(group));
	flo_stream_delete(bus, flo_name_backfill_stream(group));
	flo_bucket_delete(bus, flo_name_bucket(group));
	appendStringInfoString(result, "{}");
}

/* ---------------------------------------------------------------------------
 * check: {"groups": [{"group", "is_source", "compares", "claim"}],
 * "plan": {"stream_bytes", "copy_bytes"}} -> [{"item", "status", "detail", "hint"}]
 *
 * Those of status "tracked", "published" and "tables" are for flo.check() itself:
 * "item" is a group, "detail" what is in the bucket under such a key; a group that
 * is to be compared has one "published", without a detail when nothing is known.
 * "plan" is what a group that is not there yet would need.
 * ---------------------------------------------------------------------------
 */

/* A worker with messages to read that has not reported for so long has stopped, ms */
#define SEEN_WITHIN (60 * 1000)

/* Streams of a group: its own, that of the copy, the bucket */
#define STREAMS_OF_GROUP 3

static void
append_row(StringInfo result, const char *item, const char *status,
		   const char *detail, const char *hint)
{
	append_separator(result);
	appendStringInfoChar(result, '{');
	append_text(result, "item", item);
	append_text(result, "status", status);
	append_text(result, "detail", detail);
	append_text(result, "hint", hint);
	appendStringInfoChar(result, '}');
}

/* False when there is no use in looking further */
static bool
check_jetstream(FloBus *bus, StringInfo result)
{
	FloBusReply reply;
	FloJson		json;
	FloJson		error;
	FloJson		limits;
	int64		used = 0;
	int64		limit = -1;

	if (!flo_bus_try_request(bus, "$JS.API.INFO", NULL, NULL, "", 0,
							 FLO_STREAM_REQUEST_TIMEOUT, &reply))
	{
		append_row(result, "JetStream", "error", "it is not enabled in NATS",
				   "Start nats-server with JetStream, for example with the option -js, "
				   "and enable it for the account.");
		return false;
	}
	json = flo_json(reply.data, reply.len);
	if (flo_json_get(json, "error", &error))
	{
		append_row(result, "JetStream", "error", flo_json_get_string(error, "description"),
				   "Enable JetStream in nats-server, and for the account.");
		return false;
	}
	flo_json_get_int64(json, "storage", &used);
	if (flo_json_get(json, "limits", &limits))
		flo_json_get_int64(limits, "max_storage", &limit);
	if (limit > 0)
		append_row(result, "JetStream", used > limit / 10 * 9 ? "warning" : "ok",
				   psprintf("the account uses %s of %s", flo_text_of_size(used),
							flo_text_of_size(limit)),
				   used > limit / 10 * 9 ? "Raise the account's limit of file storage." : NULL);
	else
		append_row(result, "JetStream", "ok",
				   psprintf("the account uses %s, no limit of its own", flo_text_of_size(used)),
				   NULL);
	return true;
}

static void
check_payload(FloBus *bus, StringInfo result)
{
	int64		payload = flo_bus_max_payload(bus);

	if (payload < SMALLEST_PAYLOAD)
		append_row(result, "max_payload", "error",
				   psprintf("NATS takes messages of %s at most", flo_text_of_size(payload)),
				   "Set max_payload to 64 kB or more in the configuration of nats-server; its default is 1 MB.");
	else
		append_row(result, "max_payload", "ok", flo_text_of_size(payload), NULL);
}

/* Whose are they: ours, if this database holds the source side? */
static void
check_owner(FloBus *bus, const char *group, FloJson about, const FloStreamInfo *info,
			StringInfo result)
{
	char	   *item = psprintf("owner of the stream of group %s", group);
	FloClaim	claim = claim_argument(about);
	FloDispute *dispute = flag_argument(about, "is_source") ? flo_ownership_dispute(bus, &claim) :
		NULL;
	FloStreamEnd end = {0};
	FloOwner   *owner;
	char	   *detail;

	if (dispute != NULL)
	{
		append_row(result, item, "error", dispute->message,
				   !dispute->removable ? dispute->hint :
				   "It is of an earlier group of this name here: flo.drop_replicator(..., purge_stream => true) removes it, where it is no longer needed.");
		return;
	}
	if (info == NULL)
		return;
	owner = flo_owner_read(info->description);
	flo_session_read_end(bus, flo_name_stream(group), info, &end);
	if (owner == NULL && !end.found)
		return;
	detail = owner != NULL ? flo_owner_shown(owner) :
		psprintf("system " UINT64_FORMAT, end.newest.system_identifier);
	if (end.found)
		detail = psprintf("%s, published up to %X/%X", detail,
						  LSN_FORMAT_ARGS(end.newest.position));
	append_row(result, item, "ok", detail, NULL);
}

static void
check_space(const char *group, const FloStreamInfo *info, StringInfo result)
{
	char	   *item = psprintf("stream of group %s", group);
	char	   *detail = psprintf(UINT64_FORMAT " messages, %s", info->messages,
								  flo_text_of_size(info->bytes));

	if (info->max_bytes > 0)
		detail = psprintf("%s of %s", detail, flo_text_of_size(info->max_bytes));
	if (info->max_bytes > 0 && info->bytes > info->max_bytes / 10 * 9)
		append_row(result, item, "warning", detail,
				   "A full stream stops the replicator until workers have caught up; "
				   "see flo.stream_status() and the option stream_max_bytes.");
	else
		append_row(result, item, "ok", detail, NULL);
	if (info->max_age > 0)
		append_row(result, psprintf("age limit of the stream of group %s", group), "warning",
				   psprintf("messages older than " INT64_FORMAT
							" s are lost to workers that have not applied them", info->max_age),
				   "Set stream_max_age to 0, or make sure that no worker is ever that late.");
}

/* A worker that has stopped, or whose database is gone, holds the stream all the same */
static void
check_seen(const char *group, const FloStreamInfo *info, const FloWorkerReport *report,
		   StringInfo result)
{
	char	   *drop = psprintf("SELECT flo.drop_consumer('%s', %s);", group,
								quote_literal_cstr(report->consumer));
	char	   *kept = flo_text_of_size(pending_bytes(info, report));

	if (report->worker[0] == '\0')
	{
		append_row(result, psprintf("consumer %s of group %s", report->consumer, group), "warning",
				   "what it reports cannot be read: nothing is removed from the stream",
				   psprintf("Unless it is a worker's of a later version of pg_flo: %s", drop));
		return;
	}
	if (info->last_seq <= report->seq ||
		!TimestampDifferenceExceeds(report->at, GetCurrentTimestamp(), SEEN_WITHIN))
		return;
	append_row(result, psprintf("worker %s of group %s", report->worker, group), "warning",
			   psprintf("worker \"%s\" in database \"%s\" (system " UINT64_FORMAT
						") has not been seen since %s; the stream keeps %s for it",
						report->worker, report->database, report->system_identifier,
						timestamptz_to_str(report->at), kept),
			   psprintf("Start it in its database: SELECT flo.start_group('%s', %s); where it is gone for good, remove its registration here: %s",
						group, quote_literal_cstr(report->worker), drop));
}

/* The worker that holds the stream */
static void
check_workers(FloBus *bus, const char *group, bool is_source, const FloStreamInfo *info,
			  StringInfo result)
{
	char	   *item = psprintf("workers of group %s", group);
	List	   *reports = flo_reports(bus, flo_name_bucket(group));
	FloWorkerReport *slowest = NULL;
	ListCell   *cell;

	foreach(cell, reports)
	{
		FloWorkerReport *report = lfirst(cell);

		if (slowest == NULL || report->seq < slowest->seq)
			slowest = report;
		if (is_source)
			check_seen(group, info, report, result);
	}
	if (slowest == NULL)
		append_row(result, item, "warning",
				   "no worker has registered: nothing is removed from the stream",
				   "Create and start a worker in the destination database.");
	else
		append_row(result, item, "ok",
				   psprintf("%d registered, the slowest is %s in database %s with %s pending",
							list_length(reports), slowest->worker, slowest->database,
							flo_text_of_size(pending_bytes(info, slowest))), NULL);
}

/* Whose definitions travel, as its document: destinations look whether they know these objects */
static void
check_tracked(FloBus *bus, const char *group, StringInfo result)
{
	FloTrackedRecord *record = flo_records_get(bus, flo_name_bucket(group), FLO_TRACKED_KEY,
											   &flo_tracked_format);

	if (record != NULL && (record->all || record->schemas != NIL))
		append_row(result, group, "tracked", flo_record_write(&flo_tracked_format, record), NULL);
}

/* What is compared at most, in bytes: tens of thousands of tables */
#define LARGEST_DEFINITIONS (64 * 1024 * 1024)

/* What the replicator says of its tables; text goes on as it is, once it could be read */
static void
append_tables(FloBus *bus, const char *group, StringInfo result)
{
	char	   *bucket = flo_name_bucket(group);
	char	   *value = flo_bucket_get(bus, bucket, FLO_TABLES_KEY);
	FloTablesRecord *record;
	int			before = result->len;

	append_row(result, group, "published", value, NULL);
	if (value == NULL)
		return;
	record = flo_record_read(&flo_tables_format, FLO_TABLES_KEY, value, strlen(value));
	for (int64 i = 0; i < record->pieces; i++)
	{
		char	   *key = flo_tables_key(i);
		char	   *piece = flo_bucket_get(bus, bucket, key);
		FloTablesPiece *tables;

		if (piece == NULL)
			continue;
		tables = flo_record_read(&flo_tables_piece_format, key, piece, strlen(piece));
		if (tables->pieces == record->pieces)
			append_row(result, group, "tables", piece, NULL);
		if (result->len - before > LARGEST_DEFINITIONS)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("documents \"" FLO_TABLES_KEY ".*\" are larger than %s together",
							flo_text_of_size(LARGEST_DEFINITIONS)),
					 errhint("Compare the tables by hand.")));
		pfree(piece);
	}
}

/* A document that cannot be read is a row, and the others are looked at all the same */
static void
check_tables(FloBus *bus, const char *group, StringInfo result)
{
	MemoryContext context = CurrentMemoryContext;
	int			before = result->len;

	PG_TRY();
	{
		append_tables(bus, group, result);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		if (geterrcode() != ERRCODE_PROTOCOL_VIOLATION &&
			geterrcode() != ERRCODE_FEATURE_NOT_SUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		result->len = before;
		result->data[before] = '\0';
		append_row(result, psprintf("tables of group %s", group), "warning",
				   psprintf("they are not compared with those of the source: %s", error->message),
				   error->hint);
	}
	PG_END_TRY();
}

/* Is there room for a group that is to be made? */
static void
check_plan(FloBus *bus, FloJson plan, StringInfo result)
{
	FloAccountInfo account;
	int64		stream = 0;
	int64		copy = 0;
	int64		left;
	char	   *wanted;

	flo_account_info(bus, &account);
	flo_json_get_int64(plan, "stream_bytes", &stream);
	flo_json_get_int64(plan, "copy_bytes", &copy);
	wanted = stream > 0 ? psprintf("the stream may take %s", flo_text_of_size(stream)) :
		pstrdup("the stream has no limit");
	if (copy > 0)
		wanted = psprintf("%s, the copy up to %s", wanted, flo_text_of_size(copy));
	left = account.max_bytes > 0 ? Max(account.max_bytes - account.bytes, 0) : -1;
	if (account.max_streams > 0 && account.streams + STREAMS_OF_GROUP > account.max_streams)
		append_row(result, "room at the broker", "error",
				   psprintf("the account has " INT64_FORMAT " of " INT64_FORMAT " streams, a group needs %d",
							account.streams, account.max_streams, STREAMS_OF_GROUP),
				   "Raise the account's limit of streams, or remove some.");
	else if (left >= 0 && (stream > 0 ? stream : 1) + copy > left)
		append_row(result, "room at the broker", "error",
				   psprintf("the account has %s left of %s; %s", flo_text_of_size(left),
							flo_text_of_size(account.max_bytes), wanted),
				   "Raise the account's limit of file storage, or give smaller stream_max_bytes and copy_stream_max_bytes.");
	else if (account.max_stream_bytes > 0 && Max(stream, copy) > account.max_stream_bytes)
		append_row(result, "room at the broker", "error",
				   psprintf("a stream of the account may have %s; %s",
							flo_text_of_size(account.max_stream_bytes), wanted),
				   "Raise the account's limit of a stream, or give smaller stream_max_bytes and copy_stream_max_bytes.");
	else if (left >= 0)
		append_row(result, "room at the broker", "ok",
				   psprintf("the account has %s left of %s; %s", flo_text_of_size(left),
							flo_text_of_size(account.max_bytes), wanted), NULL);
	else
		append_row(result, "room at the broker", "ok",
				   psprintf("the account has no limit, the server's disk has one that it does not tell; %s",
							wanted), NULL);
}

static void
check(FloBus *bus, FloJson arguments, StringInfo result)
{
	FloJson		plan;
	FloJson		groups;
	FloJson		about;
	int			cursor = 0;

	appendStringInfoChar(result, '[');
	append_row(result, "NATS", "ok", "connected", NULL);
	check_payload(bus, result);
	if (check_jetstream(bus, result))
	{
		if (flo_json_get(arguments, "plan", &plan))
			check_plan(bus, plan, result);
		if (!flo_json_get(arguments, "groups", &groups))
			groups = flo_json("[]", 2);
		while (flo_json_next_element(groups, &cursor, &about))
		{
			char	   *group = text_argument(about, "group");
			FloStreamInfo info;

			if (!flo_stream_info(bus, flo_name_stream(group), &info))
			{
				append_row(result, psprintf("stream of group %s", group), "ok",
						   "it does not exist yet; the replicator makes it", NULL);
				check_owner(bus, group, about, NULL, result);
			}
			else
			{
				check_space(group, &info, result);
				check_owner(bus, group, about, &info, result);
				check_workers(bus, group, flag_argument(about, "is_source"), &info, result);
				check_tracked(bus, group, result);
			}
			if (flag_argument(about, "compares"))
				check_tables(bus, group, result);
		}
	}
	appendStringInfoChar(result, ']');
}

FloAgentOperation
flo_agent_operation(const char *name)
{
	static const struct
	{
		const char *name;
		FloAgentOperation operation;
	}			operations[] = {
		{"stream_status", stream_status},
		{"drop_consumer", drop_consumer},
		{"forget_consumer", forget_consumer},
		{"delete_streams", delete_streams},
		{"check", check},
		{"peek", flo_peek_operation},
	};

	for (int i = 0; i < lengthof(operations); i++)
	{
		if (strcmp(operations[i].name, name) == 0)
			return operations[i].operation;
	}
	return NULL;
}
