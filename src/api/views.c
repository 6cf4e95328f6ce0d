/*
 * views.c
 *		Set-returning functions over the shared memory of pg_flo.
 *
 * They answer from memory alone, never wait, and return no rows when the
 * library was not preloaded.  The text of an error may hold values of rows, so
 * it is shown to the member's owner and to those who may read all statistics.
 */
#include "postgres.h"

#include "api/function.h"
#include "catalog/pg_authid.h"
#include "core/compat_slot.h"
#include "core/names.h"
#include "core/roles.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "monitor/events.h"
#include "monitor/members.h"
#include "monitor/wake.h"
#include "replication/origin.h"
#include "source/unpublished.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define STATS_COLUMNS 31

FLO_FUNCTION(flo_of_this_library);
FLO_FUNCTION(flo_member_stats);
FLO_FUNCTION(flo_member_figures);
FLO_FUNCTION(flo_unsaved_events);
FLO_FUNCTION(flo_origin_position);
FLO_FUNCTION(flo_unpublished_since_sql);
FLO_FUNCTION(flo_is_preloaded);
FLO_FUNCTION(flo_launcher_problem);

/* Next column of the row being made; a pointer that is NULL makes it NULL */
typedef struct Row
{
	Datum		values[STATS_COLUMNS];
	bool		nulls[STATS_COLUMNS];
	int			used;
} Row;

static void
add_column(Row *row, Datum value, bool isnull)
{
	Assert(row->used < STATS_COLUMNS);
	row->values[row->used] = value;
	row->nulls[row->used] = isnull;
	row->used++;
}

static void
add_text(Row *row, const char *text)
{
	bool		isnull = text == NULL || text[0] == '\0';

	add_column(row, isnull ? (Datum) 0 : CStringGetTextDatum(text), isnull);
}

static void
add_lsn(Row *row, XLogRecPtr lsn)
{
	add_column(row, LSNGetDatum(lsn), XLogRecPtrIsInvalid(lsn));
}

static void
add_time(Row *row, TimestampTz at)
{
	add_column(row, TimestampTzGetDatum(at), at == 0);
}

static void
add_count(Row *row, int64 count)
{
	add_column(row, Int64GetDatum(count), false);
}

static void
fill_row(Row *row, const FloMember *member, bool show_errors)
{
	const FloCounters *counters = &member->counters;

	row->used = 0;
	add_text(row, member->group);
	add_text(row, member->member);
	add_text(row, flo_state_name(member->state));

	/* a failure's reason and the error behind a pause are error texts, too */
	if (member->state == FLO_STATE_FAILED && !show_errors)
		add_text(row, NULL);
	else
		add_text(row, member->detail);
	add_column(row, Int32GetDatum((int32) member->pid), member->pid == 0);

	add_lsn(row, member->received_lsn);
	add_lsn(row, member->durable_lsn);
	add_lsn(row, member->known_lsn);
	add_time(row, member->oldest_pending);

	add_count(row, counters->transactions);
	add_count(row, counters->inserts);
	add_count(row, counters->updates);
	add_count(row, counters->deletes);
	add_count(row, counters->truncates);
	add_count(row, counters->filtered);
	add_count(row, counters->conflicts);
	add_count(row, counters->fallbacks);
	add_count(row, counters->bytes);
	add_count(row, member->restarts);

	add_text(row, show_errors ? member->last_error : NULL);
	add_time(row, member->last_error_at);
	add_time(row, member->stats_reset);
	add_count(row, counters->foreign_messages);
	add_count(row, member->retries);
	add_text(row, show_errors ? member->last_hint : NULL);
	add_text(row, member->last_sqlstate != 0 ? unpack_sql_state(member->last_sqlstate) : NULL);
	add_time(row, member->recovered_at);
	add_time(row, member->source_seen);
	add_column(row, Int64GetDatum(member->pending_bytes), member->pending_bytes < 0);
	add_time(row, member->state_at);
	add_count(row, member->open_bytes);
}

/* Being called at all is the answer */
Datum
flo_of_this_library(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

/* As 0.1 declares it, with fewer columns; who calls that is told to update it */
Datum
flo_member_stats(PG_FUNCTION_ARGS)
{
	flo_store_require_version();
	elog(ERROR, "flo.member_stats() is declared as in another version");
	return (Datum) 0;
}

Datum
flo_member_figures(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all_errors = flo_role_has_rights_of(GetUserId(), ROLE_PG_READ_ALL_STATS);
	FloMember  *members;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!flo_preloaded())
		return (Datum) 0;

	members = flo_members_here(&count);
	for (int i = 0; i < count; i++)
	{
		Row			row;

		fill_row(&row, &members[i],
				 all_errors || flo_role_has_rights_of(GetUserId(), members[i].owner));
		Assert(row.used == STATS_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
	}

	return (Datum) 0;
}

static void
fill_event(Row *row, const FloEvent *event, bool show_errors)
{
	row->used = 0;
	add_count(row, event->number);
	add_text(row, event->group);
	add_text(row, event->member);
	add_time(row, event->at);
	add_text(row, flo_state_name(event->state));
	add_text(row, show_errors || event->state != FLO_STATE_FAILED ? event->detail : NULL);
	add_text(row, show_errors ? event->error : NULL);
	add_text(row, event->sqlstate != 0 ? unpack_sql_state(event->sqlstate) : NULL);
	add_text(row, show_errors ? event->hint : NULL);
	add_lsn(row, event->lsn);
}

Datum
flo_unsaved_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all_errors = flo_role_has_rights_of(GetUserId(), ROLE_PG_READ_ALL_STATS);
	FloEvent   *events;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!flo_preloaded())
		return (Datum) 0;
	events = flo_events_unsaved(&count);
	for (int i = 0; i < count; i++)
	{
		Row			row;

		fill_event(&row, &events[i],
				   all_errors || flo_role_has_rights_of(GetUserId(), events[i].owner));
		tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
	}
	return (Datum) 0;
}

Datum
flo_origin_position(PG_FUNCTION_ARGS)
{
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *worker = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ReplOriginId origin;
	XLogRecPtr	lsn;

	if (!flo_name_is_valid(group) || !flo_name_is_valid(worker))
		PG_RETURN_NULL();

	origin = replorigin_by_name(flo_name_origin(MyDatabaseId, group, worker), true);
	if (origin == InvalidReplOriginId)
		PG_RETURN_NULL();

	lsn = replorigin_get_progress(origin, false);
	if (XLogRecPtrIsInvalid(lsn))
		PG_RETURN_NULL();

	PG_RETURN_LSN(lsn);
}

Datum
flo_unpublished_since_sql(PG_FUNCTION_ARGS)
{
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz at = 0;

	if (flo_name_is_valid(group))
		at = flo_unpublished_since(group, PG_GETARG_BOOL(1));
	if (at == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}

Datum
flo_is_preloaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(flo_preloaded());
}

/* Why the launcher cannot start what is wanted; NULL when nothing is wrong */
Datum
flo_launcher_problem(PG_FUNCTION_ARGS)
{
	if (!flo_preloaded() || !flo_launcher_is_starved())
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text("no free background worker process: raise max_worker_processes"));
}
