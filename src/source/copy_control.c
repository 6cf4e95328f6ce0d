/*
 * copy_control.c
 *		The replicator's part in copying tables: it gives the snapshot, starts
 *		the leader, and takes requests for tables of a running group.
 *
 * A snapshot with an exact LSN only comes with the creation of a slot, which a
 * process that holds a slot cannot do.  So copies begin before decoding does:
 * a request makes the replicator begin anew.
 */
#include "postgres.h"

#include "access/xact.h"
#include "bus/records.h"
#include "bus/stream.h"
#include "conf/newtables.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/text.h"
#include "core/transaction.h"
#include "miscadmin.h"
#include "monitor/copy.h"
#include "monitor/state.h"
#include "source/copy.h"
#include "source/copy_control.h"
#include "source/slots.h"
#include "storage/dsm.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

FloCopyPhase
flo_copy_phase(void)
{
	return flo_source_copy_phase();
}

/* The requests that a copy has fulfilled */
static void
requests_done(FloCopyControl *c)
{
	MemoryContext old = flo_transaction_begin();
	ListCell   *cell;

	foreach(cell, c->requested)
		flo_store_copy_request_done(c->group, lfirst(cell));
	flo_transaction_end(old);
	c->requested = NIL;
}

/*
 * What the state bucket says of it is not needed any more, nor believed to be
 * lost when it is gone
 */
static void
begin_is_copied(FloCopyControl *c)
{
	MemoryContext old = flo_transaction_begin();

	flo_store_generation_copied(c->group);
	flo_transaction_end(old);
}

/* The leader must not end before it is done */
bool
flo_copy_check(FloCopyControl *c)
{
	if (c->leader == NULL || !flo_process_ended(c->leader))
		return false;
	pfree(c->leader);
	c->leader = NULL;
	if (flo_copy_phase() != FLO_COPY_DONE)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the copy ended before it was complete: %s",
						flo_helper_last_error(flo_me->slot))));
	if (c->requested != NIL)
		requests_done(c);
	else
		begin_is_copied(c);
	return true;
}

/*
 * Start the process that leads the copy.  "snapshot" is NULL when all tables
 * are published and only the end is to be waited for.
 */
static void
start_leader(FloCopyControl *c, const char *snapshot,
			 uint32 attempt, XLogRecPtr lsn, bool marked)
{
	FloSourceCopy order = {0};
	FloProcessArgs args = {0};

	order.phase = snapshot != NULL ? FLO_COPY_SNAPSHOT : FLO_COPY_PUBLISHED;
	if (snapshot != NULL)
		strlcpy(order.snapshot, snapshot, sizeof(order.snapshot));
	order.attempt = attempt;
	order.marked = marked;
	order.stream_limit = c->stream_limit;
	order.lsn = lsn;
	order.generation = c->generation->id;
	order.generation_start = c->generation->start;
	flo_source_copy_order(&order);
	args.database = MyDatabaseId;
	args.slot = flo_me->slot;
	args.incarnation = flo_me->incarnation;
	args.helper = FLO_HELPER_COPY_LEADER;
	if (!flo_process_start(&args, psprintf("pg_flo copy leader %s", c->group), &c->leader))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker process is free for the copy"),
				 errhint("Raise max_worker_processes and restart the server.")));
}

/* Keep the snapshot until the leader has taken it over */
static void
hand_over_snapshot(FloCopyControl *c)
{
	while (flo_copy_phase() == FLO_COPY_SNAPSHOT)
	{
		(void) flo_copy_check(c);
		flo_wait_means(FLO_WAIT_MEMBER);
		flo_wait(PGINVALID_SOCKET, false, 100);
	}
	flo_slot_snapshot_end();
	flo_copy_record_plan(&c->recorder);
}

/* Has everything been published, by an earlier process of this generation? */
static bool
copy_published(FloCopyControl *c)
{
	char	   *id = flo_text_of_uuid(&c->generation->id);

	FloCopyRecord *end = flo_records_copy(c->bus, c->bucket, id);

	return end != NULL &&
		list_length(flo_records_copied_tables(c->bus, c->bucket, id)) >= end->tables;
}

static uint32
next_attempt(FloCopyControl *c)
{
	MemoryContext old = flo_transaction_begin();
	uint32		attempt;

	ForceSyncCommit();
	attempt = flo_store_next_copy_attempt(c->group);
	flo_transaction_end(old);
	return attempt;
}

void
flo_copy_awaits_snapshot(FloCopyControl *c, const FloGeneration *generation)
{
	flo_copy_record_begin(&c->recorder, flo_text_of_uuid(&generation->id));
}

/* A slot that lives for a moment gives a snapshot with an exact LSN */
static XLogRecPtr
copy_from_new_snapshot(FloCopyControl *c, uint32 attempt, bool marked)
{
	char	   *snapshot;
	XLogRecPtr	lsn;

	flo_copy_awaits_snapshot(c, c->generation);
	flo_state_pending(c->since, 0, -1);
	flo_state_set(FLO_STATE_WAITING,
				  "for write transactions that are open as a new snapshot is taken");
	lsn = flo_slot_create_with_snapshot(psprintf("%s_copy", c->slot), false, &snapshot);
	start_leader(c, snapshot, attempt, lsn, marked);
	hand_over_snapshot(c);
	return lsn;
}

/* Tables that somebody wants copied while the group runs, in this context */
static List *
copy_requests(FloCopyControl *c)
{
	MemoryContext old = flo_transaction_begin();
	List	   *requests;

	MemoryContextSwitchTo(old);
	requests = flo_store_copy_requests(c->group);
	flo_transaction_end(old);
	return requests;
}

/*
 * Ask for the tables that a crash has left unfinished, and end the copy that
 * the generation began with: it consists of those that were finished.  Workers
 * are told which ones are to come later, from a marker on.
 */
static void
request_unfinished(FloCopyControl *c)
{
	MemoryContext old = CurrentMemoryContext;
	char	   *generation = flo_text_of_uuid(&c->generation->id);
	FloCopyRecord end = {
		.attempt = 1,
		.lsn = c->generation->start
	};
	ListCell   *cell;

	strlcpy(end.generation, generation, sizeof(end.generation));
	(void) flo_transaction_begin();
	ForceSyncCommit();
	foreach(cell, flo_store_published(c->group))
	{
		if (flo_records_copy_table(c->bus, c->bucket, lfirst_oid(cell), generation) != NULL)
			end.tables++;
		else
			flo_store_request_copy(c->group, lfirst_oid(cell), FLO_REQUEST_ANEW);
	}
	foreach(cell, flo_store_copy_requests(c->group))
	{
		/* outlives the transaction */
		MemoryContext inner = MemoryContextSwitchTo(old);

		end.again = lappend_oid(end.again, ((FloCopyRequest *) lfirst(cell))->relation);
		MemoryContextSwitchTo(inner);
	}
	flo_transaction_end(old);
	flo_copy_publish_sequences(c->bus, c->group, generation);
	flo_records_put(c->bus, c->bucket, FLO_COPY_KEY, &flo_copy_format, &end, true);
}

/*
 * Has a worker anything of the copy that the generation begins with?  Its definitions
 * are told before the first row, and none may be taken before both.
 */
static bool
is_told_of(FloCopyControl *c, const FloStreamInfo *info)
{
	return info->last_seq > 0 ||
		flo_records_attempt(c->bus, c->bucket, flo_text_of_uuid(&c->generation->id)) != NULL;
}

/*
 * After a crash: tables that were not finished are copied again, from a new
 * snapshot whose LSN is exact because it comes with a slot.  If no worker has
 * anything yet it is the first snapshot there is.
 */
void
flo_copy_resume(FloCopyControl *c, bool marked)
{
	FloStreamInfo info;
	bool		begun = flo_stream_info(c->bus, flo_name_copy_stream(c->group), &info);

	if (!c->generation->copied && !copy_published(c))
	{
		if (!marked || !begun || !is_told_of(c, &info))
		{
			(void) copy_from_new_snapshot(c, marked ? 1 : next_attempt(c), false);
			return;
		}
		request_unfinished(c);
	}
	if (begun && copy_requests(c) == NIL)
		start_leader(c, NULL, 0, InvalidXLogRecPtr, false);
	else
		flo_source_copy_set_phase(flo_me->slot, FLO_COPY_DONE);
}

/*
 * Tables that join the group do so before the snapshot, so nothing falls between;
 * not those that flo.remove_table() has withdrawn by now.
 */
static void
add_requested(FloCopyControl *c, const FloReplicatorOptions *options)
{
	MemoryContext old = flo_transaction_begin();
	ListCell   *cell;

	foreach(cell, flo_store_lock_copy_requests(c->group))
	{
		FloCopyRequest *request = lfirst(cell);

		if (get_rel_name(request->relation) != NULL && request->add &&
			!flo_publication_sends(c->group, request->relation))
			flo_publication_add_table(c->group, request->relation, options);
	}
	flo_newtables_identified(c->group);
	flo_transaction_end(old);
}

/* Requests for tables that are no more, or have lost their key, are withdrawn, not announced */
static List *
withdraw_impossible(FloCopyControl *c, List *requests, const FloReplicatorOptions *options)
{
	MemoryContext old = CurrentMemoryContext;
	List	   *rest = NIL;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, requests)
	{
		FloCopyRequest *request = lfirst(cell);

		if (get_rel_name(request->relation) == NULL ||
			(request->add && !flo_publication_sends(c->group, request->relation) &&
			 !flo_publication_admits(request->relation, options)))
		{
			ereport(LOG,
					(errmsg("group \"%s\": table with OID %u is not copied: it was dropped, or has no usable replica identity any more",
							c->group, request->relation)));
			flo_store_withdraw_copy(c->group, request->relation);
		}
		else
		{
			MemoryContext inner = MemoryContextSwitchTo(old);

			rest = lappend(rest, request);
			MemoryContextSwitchTo(inner);
		}
	}
	flo_transaction_end(old);
	return rest;
}

/*
 * Nothing is asked for, or not any more.  Workers that have read a marker before
 * learn it from the record of the newest attempt, and those that look for one at
 * the beginning of the generation find that it names no table.
 */
static void
say_none_comes(FloCopyControl *c, FloPublisher *publisher, bool first)
{
	char	   *generation = flo_text_of_uuid(&c->generation->id);
	FloAttemptRecord *newest = flo_records_attempt(c->bus, c->bucket, generation);
	FloAttemptRecord none = {0};
	MemoryContext old;

	if (first && newest == NULL && c->generation->follows != NIL)
	{
		flo_publisher_marker(publisher, NIL);
		return;
	}
	old = flo_transaction_begin();
	none.attempt = flo_store_copy_attempt(c->group);
	flo_transaction_end(old);
	if (newest == NULL ? none.attempt == 0 :
		!newest->all && newest->tables == NIL && newest->attempt >= none.attempt)
		return;
	strlcpy(none.generation, generation, sizeof(none.generation));
	none.attempt = newest != NULL ? Max(none.attempt, newest->attempt) : none.attempt;
	flo_records_put(c->bus, c->bucket, FLO_ATTEMPT_KEY, &flo_attempt_format, &none, true);
}

/*
 * Copy tables into a running group: a marker, from which on the workers leave
 * out their rows, then the publication, then the snapshot, whose place in the
 * stream gets a marker, too: there the workers wait for the copy.  In between
 * they change the tables as the source did, so that the copied rows fit.
 *
 * A process that begins anew takes another snapshot; a worker that waits for
 * rows of the one before learns from the state bucket that they will not come.
 */
void
flo_copy_requested(FloCopyControl *c, FloPublisher *publisher, const FloReplicatorSpec *spec,
				   bool first)
{
	List	   *requests;
	uint32		attempt;
	ListCell   *cell;

	if (c->leader != NULL)
		return;
	requests = withdraw_impossible(c, copy_requests(c), &spec->options);
	if (requests == NIL)
	{
		say_none_comes(c, publisher, first);
		return;
	}
	attempt = next_attempt(c);
	foreach(cell, requests)
	{
		FloCopyKey *key = palloc0(sizeof(FloCopyKey));

		key->relation = ((FloCopyRequest *) lfirst(cell))->relation;
		key->attempt = attempt;
		key->range = FLO_MARKER_BEGIN;
		key->ordinal = ((FloCopyRequest *) lfirst(cell))->number;
		key->rows = (((FloCopyRequest *) lfirst(cell))->add ? 0 : FLO_MARKER_AGAIN) |
			(spec->sync_schema ? FLO_MARKER_DEFINITIONS : 0);
		c->marker = lappend(c->marker, key);
	}
	flo_publisher_marker(publisher, c->marker);
	add_requested(c, &spec->options);
	c->requested = requests;
	c->marker_lsn = copy_from_new_snapshot(c, attempt, true);
}

void
flo_copy_mark_snapshot(FloCopyControl *c, FloPublisher *publisher, XLogRecPtr position)
{
	ListCell   *cell;

	if (XLogRecPtrIsInvalid(c->marker_lsn) || position < c->marker_lsn)
		return;
	foreach(cell, c->marker)
		((FloCopyKey *) lfirst(cell))->range = FLO_MARKER_SNAPSHOT;
	flo_publisher_marker(publisher, c->marker);
	c->marker_lsn = InvalidXLogRecPtr;
}

void
flo_copy_begin(FloCopyControl *c, const char *snapshot)
{
	start_leader(c, snapshot, 1, c->generation->start, false);
	hand_over_snapshot(c);
}

void
flo_copy_may_fill(FloCopyControl *c)
{
	flo_source_copy_may_fill();
	if (c->leader != NULL)
		flo_process_wake(c->leader);
}

bool
flo_copy_wanted(FloCopyControl *c)
{
	return c->leader == NULL && copy_requests(c) != NIL;
}

void
flo_copy_set_limit(FloCopyControl *c, int64 bytes)
{
	c->stream_limit = bytes;
	flo_source_copy_set_limit(bytes);
}

FloCopyAfresh
flo_copy_of_generation(FloCopyControl *c, const FloReplicatorSpec *spec)
{
	MemoryContext old = CurrentMemoryContext;
	bool		all;

	(void) flo_transaction_begin();
	all = flo_store_copy_of_all_requested(c->group);
	flo_transaction_end(old);
	if (all)
		return FLO_COPY_ALL;
	return flo_replicator_begins_with_copy(spec) ? FLO_COPY_MISSING : FLO_COPY_NOTHING;
}

/* A row that the stream can never take: the copy waits for the option */
static void
show_large_row(const FloSourceCopy *copy)
{
	MemoryContext old = flo_transaction_begin();
	char	   *name = get_rel_name(copy->row_relation);
	char	   *schema = name != NULL ? get_namespace_name(get_rel_namespace(copy->row_relation)) :
		NULL;

	/* more than it needs by what others put there meanwhile */
	flo_state_set(FLO_STATE_COPYING, "a row of table %s needs %s in the copy stream: raise copy_stream_max_bytes to at least " UINT64_FORMAT "MB",
				  schema != NULL ? quote_qualified_identifier(schema, name) : "that is gone",
				  flo_text_of_size(copy->row_room), copy->row_room / (1024 * 1024) + 2);
	flo_transaction_end(old);
}

/* Streaming, also while tables are still being copied */
void
flo_copy_show(void)
{
	FloSourceCopy copy = flo_source_copy_get();

	if (copy.phase == FLO_COPY_NONE || copy.phase == FLO_COPY_DONE)
		flo_state_set(FLO_STATE_STREAMING, NULL);
	else if (copy.phase == FLO_COPY_DUMPING)
		flo_state_set(FLO_STATE_COPYING, "the definitions of the tables are being read");
	else if (copy.phase == FLO_COPY_PUBLISHED)
		flo_state_set(FLO_STATE_COPYING, "all tables are published, workers are loading");
	else if (copy.row_room > 0)
		show_large_row(&copy);
	else if (copy.broker_full[0] != '\0')
		flo_state_set(FLO_STATE_WAITING, "%s; %d of %d tables published", copy.broker_full,
					  copy.tables_done, copy.tables);
	else if (copy.copiers < copy.copiers_wanted)
		flo_state_set(FLO_STATE_COPYING, "%d of %d tables published; %d of %d copy processes, none is free: raise max_worker_processes",
					  copy.tables_done, copy.tables, copy.copiers, copy.copiers_wanted);
	else if (copy.full)
		flo_state_set(FLO_STATE_COPYING, "%d of %d tables published; the copy stream is full, it waits for the workers to load",
					  copy.tables_done, copy.tables);
	else
		flo_state_set(FLO_STATE_COPYING, "%d of %d tables published", copy.tables_done,
					  copy.tables);
}

void
flo_copy_await_published(FloCopyControl *c)
{
	while (flo_copy_phase() < FLO_COPY_PUBLISHED)
	{
		(void) flo_copy_check(c);
		flo_copy_show();
		flo_wait_means(FLO_WAIT_MEMBER);
		flo_wait(PGINVALID_SOCKET, false, 100);
	}
}
