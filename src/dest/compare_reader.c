/*
 * compare_reader.c
 *		The process of a worker that compares: it takes the snapshot, reads its tables
 *		and finds out how they differ from the source's.
 *
 * The worker stands still until there are locks and a snapshot, so everything that
 * waits for others comes after that: even the connection to the broker.  A table is
 * locked as long as it is read.  When the worker, or whoever it waits for, waits for
 * that lock, this process gives up: nothing can be said of the tables that it has not
 * read then, and the stream goes on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "conf/given_up.h"
#include "core/compat_slot.h"
#include "core/injection_point.h"
#include "core/names.h"
#include "core/transaction.h"
#include "dest/compare_reader.h"
#include "dest/compare_state.h"
#include "dest/copy_state.h"
#include "dest/worker_config.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "replication/origin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Rows between two calls of flo_compare_proceed() */
#define PROCEED_EVERY 256

/* --- what is compared ---------------------------------------------------- */

static bool
is_taken(FloCompareReader *r, const FloComparePlanTable *table)
{
	FloRelation relation = {0};
	FloChange	change = {0};

	relation.id = table->relation;
	relation.schema = table->schema;
	relation.name = table->table;
	relation.version = flo_relation_new_version();
	change.op = FLO_OP_INSERT;
	change.relation = &relation;
	return flo_table_filter(r->filter, &change) != NULL;
}

/* Copies that are to come, and tables that are given up, hold other rows than the stream's */
static char *
unlike_stream(FloCompareReader *r, const FloComparePlanTable *plan)
{
	const FloCopiedTable *copied = flo_copied_find(flo_copied_tables(r->group, r->worker),
												   plan->relation);
	ListCell   *cell;

	if (copied != NULL && (copied->expected != 0 || copied->lsn > r->lsn))
		return psprintf("table \"%s.%s\" is being copied", plan->schema, plan->table);
	foreach(cell, flo_given_up_tables(r->group, r->worker))
	{
		const FloGivenUp *given_up = lfirst(cell);

		if (given_up->relation != 0 ? given_up->relation == plan->relation :
			strcmp(given_up->schema, plan->schema) == 0 &&
			strcmp(given_up->table, plan->table) == 0)
			return psprintf("table \"%s.%s\" is given up here", plan->schema, plan->table);
	}
	return NULL;
}

static void
add_unit(FloCompareReader *r, FloCompareTable *table)
{
	FloCompareUnit *unit = palloc0(sizeof(FloCompareUnit));
	ListCell   *cell;

	unit->reader = r;
	unit->table = table;
	unit->source_rows = -1;
	r->units = lappend(r->units, unit);
	foreach(cell, table->sources)
	{
		char	   *why = unlike_stream(r, ((FloCompareSource *) lfirst(cell))->plan);

		if (why == NULL || table->trouble != NULL)
			continue;
		table->trouble = why;
		table->passing = true;
	}
}

/* Where the worker finds how far each table is */
static void
share_progress(FloCompareReader *r)
{
	size_t		size = offsetof(FloCompareProgress, tables) +
		sizeof(r->progress->tables[0]) * list_length(r->units);
	dsm_segment *segment = dsm_create(size, 0);
	ListCell   *cell;

	dsm_pin_mapping(segment);
	r->progress = dsm_segment_address(segment);
	r->progress->ntables = list_length(r->units);
	foreach(cell, r->units)
	{
		int			i = foreach_current_index(cell);
		const FloCompareTable *table = ((FloCompareUnit *) lfirst(cell))->table;

		r->progress->tables[i].relation =
			((FloCompareSource *) linitial(table->sources))->plan->relation;
		r->progress->tables[i].noted = 0;
		pg_atomic_init_u64(&r->progress->tables[i].rows, 0);
	}
	pg_atomic_write_u32(&r->order->progress, dsm_segment_handle(segment));
}

/* What is read with nothing locked: rules, and what is known of the tables */
static void
prepare(FloCompareReader *r)
{
	List	   *taken = NIL;
	MemoryContext old;
	ListCell   *cell;

	if (r->spec->options.tables != NULL)
		r->filter = flo_table_filter_create(CurrentMemoryContext, r->spec->options.tables);
	foreach(cell, r->plan->tables)
	{
		if (is_taken(r, lfirst(cell)))
			taken = lappend(taken, lfirst(cell));
		else
			r->left_out = lappend(r->left_out, lfirst(cell));
	}
	r->plan->tables = taken;
	r->rules = flo_worker_rules_open(r->spec, r->generation);

	/*
	 * no transaction that writes is open in the midst of a snapshot; the
	 * worker does it
	 */
	flo_worker_rules_only_read(r->rules);
	old = flo_transaction_begin();
	MemoryContextSwitchTo(r->context);
	foreach(cell, flo_compare_tables(r->rules, r->plan))
		add_unit(r, lfirst(cell));
	share_progress(r);
	flo_compare_note_begin(r);
	flo_transaction_end(old);
	MemoryContextSwitchTo(r->context);
}

/* --- reading ------------------------------------------------------------- */

/* False when it has gone on already */
static bool
release_worker(FloCompareReader *r)
{
	uint32		ordered = FLO_COMPARE_ORDERED;
	bool		waited = pg_atomic_compare_exchange_u32(&r->order->ready, &ordered,
														FLO_COMPARE_READY);

	flo_helper_wake_member(r->args->slot);
	return waited;
}

/* Everything that the worker waits for: locks first, then the snapshot */
static Snapshot
take_snapshot(FloCompareReader *r)
{
	Snapshot	snapshot;
	ListCell   *cell;

	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);

		flo_compare_table_open(unit->table, r->spec);
		if (unit->table->trouble == NULL && r->plan->round == FLO_COMPARE_ROWS)
			flo_compare_choose_rows(unit);
	}
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (!release_worker(r))
		proc_exit(0);
	return snapshot;
}

static void
connect_to_broker(FloCompareReader *r)
{
	if (r->bus == NULL)
		r->bus = flo_bus_connect(psprintf("pg_flo comparison %s %s", r->group, r->worker));
}

static void
take_row(void *arg, const FloDigestValue *values)
{
	FloCompareUnit *unit = arg;
	FloCompareReader *r = unit->reader;

	if (unit->rows++ % PROCEED_EVERY == 0)
		flo_compare_proceed(r);
	if (unit->digest != NULL)
		flo_digest_add(unit->digest, values);
	else
		flo_compare_take_row(unit, values);
}

static FloDigest *
create_digest(const FloCompareUnit *unit, uint64 seed)
{
	const FloCompareTable *table = unit->table;

	return flo_digest_create(seed, table->nbuckets, table->ncolumns, table->in_bucket);
}

/* A table at a time, and each is free again when it is read */
static void
read_tables(FloCompareReader *r, Snapshot snapshot)
{
	int			helpers;
	ListCell   *cell;

	flo_injection_point("compare.read");
	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);

		if (unit->table->trouble == NULL && unit->table->only_rows == NULL &&
			r->plan->round == FLO_COMPARE_SUMS)
			unit->digest = create_digest(unit, r->plan->seed);
	}
	PushActiveSnapshot(snapshot);
	helpers = flo_compare_helpers_for(r);
	if (helpers > 0)
		flo_compare_read_together(r, snapshot, helpers);
	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);

		if (unit->table->trouble != NULL || unit->read)
			continue;
		if (unit->digest != NULL || r->plan->round == FLO_COMPARE_ROWS)
			flo_compare_scan(unit->table, snapshot, NULL, take_row, unit);
		unit->read = true;
		flo_compare_table_unlock(unit->table);
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
}

/* Tables that cannot be compared are told at once */
static void
tell_troubles(FloCompareReader *r)
{
	ListCell   *cell;

	foreach(cell, r->left_out)
		flo_compare_tell_left_out(r, lfirst(cell));
	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);

		if (unit->table->trouble != NULL && !unit->told)
			flo_compare_tell(unit, unit->table->passing ? FLO_COMPARED_VOID : FLO_COMPARED_FAILED,
							 NULL, unit->table->trouble);
	}
}

/*
 * The transaction that holds the snapshot; in the round of rows it goes on, without
 * it, to the end of the comparison, as sorts belong to it
 */
static void
read_and_compare(FloCompareReader *r)
{
	Snapshot	snapshot;

	flo_transaction_start();
	MemoryContextSwitchTo(r->context);
	snapshot = take_snapshot(r);
	connect_to_broker(r);
	read_tables(r, snapshot);
	if (r->plan->round == FLO_COMPARE_ROWS)
		flo_compare_exchange(r);
	flo_transaction_commit();
	MemoryContextSwitchTo(r->context);
	tell_troubles(r);
	flo_compare_write(r);
	if (r->plan->round == FLO_COMPARE_SUMS)
		flo_compare_sums(r);
}

/* --- errors -------------------------------------------------------------- */

/* Would the comparison go well another time? */
static bool
is_passing(int sqlstate)
{
	int			class = ERRCODE_TO_CATEGORY(sqlstate);

	return class == ERRCODE_TO_CATEGORY(ERRCODE_CONNECTION_EXCEPTION) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
}

/*
 * Nothing can be said of what was not compared yet.  Of sums that were read before
 * something can.
 */
static void
end_with_error(FloCompareReader *r, const ErrorData *error)
{
	FloComparedState state = is_passing(error->sqlerrcode) ? FLO_COMPARED_VOID :
		FLO_COMPARED_FAILED;
	ListCell   *cell;

	(void) release_worker(r);
	ereport(LOG,
			(errmsg("comparison " INT64_FORMAT " of worker \"%s\" of group \"%s\": %s", r->id,
					r->worker, r->group, error->message)));
	if (r->bus != NULL)
		flo_bus_refresh(r->bus);
	else
		connect_to_broker(r);
	foreach(cell, r->units)
	{
		FloCompareUnit *unit = lfirst(cell);

		if (unit->told || unit->table->trouble != NULL ||
			(r->gave_way && unit->read && r->plan->round == FLO_COMPARE_SUMS))
			continue;
		unit->table->trouble = error->message;
		unit->table->passing = state == FLO_COMPARED_VOID;
	}
	tell_troubles(r);
	flo_compare_write(r);
	if (r->gave_way && r->plan->round == FLO_COMPARE_SUMS)
		flo_compare_sums(r);
}

static void
run(FloCompareReader *r)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		prepare(r);
		read_and_compare(r);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(r->context);
		error = CopyErrorData();
		FlushErrorState();
		flo_convert_restore();
		AbortOutOfAnyTransaction();
		MemoryContextSwitchTo(r->context);
	}
	PG_END_TRY();
	if (error != NULL)
		end_with_error(r, error);
}

void
flo_compare_reader_run(const FloProcessArgs *args)
{
	FloCompareReader *r = palloc0(sizeof(FloCompareReader));
	dsm_segment *segment = dsm_attach(args->segment);

	if (segment == NULL)
		return;					/* the worker is gone, or has gone on */
	dsm_pin_mapping(segment);
	r->args = args;
	r->context = CurrentMemoryContext;
	r->order = dsm_segment_address(segment);
	r->id = r->order->id;
	r->attempt = r->order->attempt;
	r->lsn = r->order->lsn;
	r->generation = pstrdup(r->order->generation);
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	/* what it writes is nobody's to send on */
	flo_compat_xact_origin(DoNotReplicateId);
	flo_helper_names(args->slot, &r->group, &r->worker);
	r->consumer = flo_name_consumer(r->group, r->worker, GetSystemIdentifier(), MyDatabaseId);
	r->bucket = flo_name_bucket(r->group);
	r->spec = flo_my_spec(r->group, r->worker);
	if (r->spec == NULL)
		return;
	r->plan = flo_record_read(&flo_compare_plan_format, "plan of a comparison", r->order->plan,
							  r->order->plan_len);
	run(r);
	flo_injection_point("compare.told");
}
