/*
 * broker.c
 *		The SQL functions that show and tidy up what a group has at the broker, or
 *		would have.
 *
 * All of them have an agent do the work, since an ordinary backend never talks
 * to NATS, and so end within the agent's ten seconds.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "api/function.h"
#include "conf/commit.h"
#include "conf/options.h"
#include "conf/rights.h"
#include "conf/store.h"
#include "core/arguments.h"
#include "core/names.h"
#include "core/settings.h"
#include "core/text.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "process/agent.h"
#include "source/ownership.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* A worker that has reported within this time is taken for alive, ms */
#define RECENTLY (120 * 1000)

#define STATUS_COLUMNS 13
#define CHECK_COLUMNS 4

FLO_FUNCTION(flo_stream_status);
FLO_FUNCTION(flo_drop_consumer);
FLO_FUNCTION(flo_check_broker);
FLO_FUNCTION(flo_plan_broker);
FLO_FUNCTION(flo_sync_sequences);

/* --- rows made from JSON members ----------------------------------------- */

typedef struct Row
{
	FloJson		from;
	int			used;
	Datum		values[STATUS_COLUMNS];
	bool		nulls[STATUS_COLUMNS];
} Row;

static void
add_datum(Row *row, bool found, Datum value)
{
	row->nulls[row->used] = !found;
	row->values[row->used++] = value;
}

static void
add_text(Row *row, const char *key)
{
	char	   *text = flo_json_get_string(row->from, key);

	add_datum(row, text != NULL, text != NULL ? CStringGetTextDatum(text) : (Datum) 0);
}

static void
add_number(Row *row, const char *key)
{
	int64		number = 0;
	bool		found = flo_json_get_int64(row->from, key, &number);

	add_datum(row, found, Int64GetDatum(number));
}

/* An unsigned number that is written as a string; SQL has no such type */
static void
add_identifier(Row *row, const char *key)
{
	char	   *text = flo_json_get_string(row->from, key);

	add_datum(row, text != NULL,
			  Int64GetDatum(text != NULL ? (int64) strtou64(text, NULL, 10) : 0));
}

static void
add_lsn(Row *row, const char *key)
{
	XLogRecPtr	lsn;
	bool		given = flo_lsn_try(flo_json_get_string(row->from, key), &lsn);

	add_datum(row, given, LSNGetDatum(lsn));
}

static void
put_row(ReturnSetInfo *result, Row *row)
{
	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

/* --- stream_status() ----------------------------------------------------- */

static void
put_status_row(ReturnSetInfo *result, FloJson stream, FloJson worker)
{
	Row			row = {0};

	row.from = stream;
	add_text(&row, "stream");
	add_number(&row, "messages");
	add_number(&row, "bytes");
	add_number(&row, "max_bytes");
	add_lsn(&row, "first_lsn");
	add_lsn(&row, "last_lsn");
	row.from = worker;
	add_text(&row, "consumer");
	add_text(&row, "worker_name");
	add_identifier(&row, "system_identifier");
	add_text(&row, "database");
	add_number(&row, "pending_bytes");
	add_lsn(&row, "acked_lsn");
	add_number(&row, "last_seen");	/* a TimestampTz, which is such a number */
	Assert(row.used == STATUS_COLUMNS);
	put_row(result, &row);
}

Datum
flo_stream_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloJson		stream;
	FloJson		workers;
	FloJson		worker;
	int64		messages;
	int			cursor = 0;

	flo_conf_require_group(group);
	flo_rights_require_viewer(group);
	InitMaterializedSRF(fcinfo, 0);
	stream = flo_agent_call("stream_status", psprintf("{\"group\":\"%s\"}", group), NULL);
	if (flo_json_get(stream, "workers", &workers))
	{
		while (flo_json_next_element(workers, &cursor, &worker))
			put_status_row(result, stream, worker);
	}
	if (cursor == 0 && flo_json_get_int64(stream, "messages", &messages))
		put_status_row(result, stream, flo_json("{}", 2));
	return (Datum) 0;
}

/* --- drop_consumer() ----------------------------------------------------- */

/* The consumer of a worker that lives here goes with the worker */
static void
refuse_own_worker(const char *group, const char *consumer)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator &&
			strcmp(consumer, flo_name_consumer(group, member->member, GetSystemIdentifier(),
											   MyDatabaseId)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("consumer \"%s\" belongs to worker \"%s\" of this database",
							consumer, member->member),
					 errhint("flo.drop_worker() drops both.")));
	}
}

/* Is it, or was it, of a worker of this database?  The name's last part says whose. */
static bool
is_of_here(const char *group, const char *consumer)
{
	char	   *one = flo_name_consumer(group, "w", GetSystemIdentifier(), MyDatabaseId);
	const char *whose = strrchr(consumer, '_');

	return whose != NULL && strcmp(whose, strrchr(one, '_')) == 0;
}

Datum
flo_drop_consumer(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	char	   *consumer = flo_argument_text(fcinfo, 1, "consumer");
	FloJson		about;
	int64		last_seen;
	char	   *worker;

	flo_conf_require_group(group);
	flo_rights_require_owner(group);
	if (!flo_name_is_consumer(consumer))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("group \"%s\" has no consumer \"%s\"", group, consumer),
				 errhint("flo.stream_status() shows the consumers of the group.")));
	refuse_own_worker(group, consumer);
	about = flo_agent_call("drop_consumer",
						   psprintf("{\"group\":\"%s\",\"consumer\":\"%s\",\"own\":%d,\"claim\":%s}",
									group, consumer, is_of_here(group, consumer),
									flo_ownership_claim(group)), NULL);
	worker = flo_json_get_string(about, "worker_name");
	if (worker != NULL && flo_json_get_int64(about, "last_seen", &last_seen) &&
		!TimestampDifferenceExceeds(last_seen, GetCurrentTimestamp(), RECENTLY))
		ereport(WARNING,
				(errmsg("worker \"%s\" in database \"%s\" was alive a moment ago and will fail or register again",
						worker, flo_json_get_string(about, "database")),
				 errhint("Drop it there with flo.drop_worker().")));
	PG_RETURN_VOID();
}

/* --- check_broker() ------------------------------------------------------ */

/* Does a worker of the group here write to tables, which can be compared with the source's? */
static bool
compares(const char *group)
{
	ListCell   *cell;

	foreach(cell, flo_store_members(group))
	{
		FloMemberSpec *member = lfirst(cell);

		if (!member->is_replicator && member->sink == FLO_SINK_POSTGRES)
			return true;
	}
	return false;
}

/* What the agent has to know of the groups: those of this database, or the named one */
static char *
describe_groups(const char *only)
{
	StringInfoData buf;
	List	   *seen = NIL;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"groups\":[");
	foreach(cell, flo_store_members(only))
	{
		char	   *group = ((FloMemberSpec *) lfirst(cell))->group;

		if (list_member(seen, makeString(group)))
			continue;
		appendStringInfo(&buf, "%s{\"group\":\"%s\",\"is_source\":%d,\"compares\":%d,\"claim\":%s}",
						 seen == NIL ? "" : ",", group,
						 flo_store_replicator(group) != NULL ? 1 : 0, compares(group) ? 1 : 0,
						 flo_ownership_claim(group));
		seen = lappend(seen, makeString(group));
	}
	appendStringInfoString(&buf, "]}");
	return buf.data;
}

static void
put_error_row(ReturnSetInfo *result, const FloAgentError *error)
{
	Row			row = {0};
	const char *detail = error->detail == NULL ? error->message :
		psprintf("%s: %s", error->message, error->detail);

	add_datum(&row, true, CStringGetTextDatum("NATS"));
	add_datum(&row, true, CStringGetTextDatum("error"));
	add_datum(&row, true, CStringGetTextDatum(detail));
	add_datum(&row, true,
			  CStringGetTextDatum(error->hint != NULL ? error->hint :
								  "Look at pg_flo.nats_url and the other settings of the connection, and whether nats-server runs there."));
	put_row(result, &row);
}

/* What the agent finds, as rows; that it finds nothing is a row, too */
static void
put_findings(ReturnSetInfo *result, const char *arguments)
{
	FloAgentError error = {0};
	FloJson		rows;
	FloJson		one;
	int			cursor = 0;

	rows = flo_agent_call("check", arguments, &error);
	if (error.message != NULL)
	{
		put_error_row(result, &error);
		return;
	}
	while (flo_json_next_element(rows, &cursor, &one))
	{
		Row			row = {0};

		row.from = one;
		add_text(&row, "item");
		add_text(&row, "status");
		add_text(&row, "detail");
		add_text(&row, "hint");
		Assert(row.used == CHECK_COLUMNS);
		put_row(result, &row);
	}
}

Datum
flo_check_broker(PG_FUNCTION_ARGS)
{
	char	   *group = PG_ARGISNULL(0) ? NULL : flo_argument_text(fcinfo, 0, "group_name");

	if (group != NULL)
		flo_conf_require_group(group);
	InitMaterializedSRF(fcinfo, 0);
	put_findings((ReturnSetInfo *) fcinfo->resultinfo, describe_groups(group));
	return (Datum) 0;
}

/* plan_broker(copy_bytes, options): what a replicator with these options would find there */
Datum
flo_plan_broker(PG_FUNCTION_ARGS)
{
	FloReplicatorOptions options;
	int64		stream_bytes;
	int64		copy_bytes;

	flo_options_parse_replicator(PG_GETARG_JSONB_P(1), &options);
	stream_bytes = options.stream_max_bytes >= 0 ? options.stream_max_bytes :
		(int64) flo_stream_max_bytes * 1024 * 1024;
	copy_bytes = Min(PG_GETARG_INT64(0), options.copy_stream_max_bytes);
	InitMaterializedSRF(fcinfo, 0);
	put_findings((ReturnSetInfo *) fcinfo->resultinfo,
				 psprintf("{\"plan\":{\"stream_bytes\":" INT64_FORMAT ",\"copy_bytes\":" INT64_FORMAT "}}",
						  stream_bytes, copy_bytes));
	return (Datum) 0;
}

/* --- sync_sequences() ---------------------------------------------------- */

Datum
flo_sync_sequences(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");

	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	if (flo_store_replicator(group)->mode == FLO_MODE_COPY)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the replicator of group \"%s\" does not follow changes: its mode is copy",
						group)));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot synchronize sequences during recovery")));
	PG_RETURN_LSN(flo_agent_emit(FLO_MESSAGE_SEQUENCES, group, flo_store_sequence_values(group)));
}
