/*
 * sink_postgres.c
 *		Applies changes to tables of this database.
 *
 * Here each change becomes one prepared statement, run through SPI with the values
 * converted to the destination columns' types, as the user relmap.c chose.
 * Constraints, partitions, generated columns and triggers are the server's
 * business that way, and its errors reach the user with their own SQLSTATE.
 *
 * Three things may differ from the source, and have a policy each:
 *
 *	INSERT of a row whose key exists: on_conflict.  The key is the destination's
 *	primary key.  Other unique constraints are not looked at; they object.
 *
 *	UPDATE of a row that is missing: on_missing.  To insert it, the whole row
 *	must be known; with unchanged TOAST values, which are not sent, it is not.
 *
 *	DELETE of a row that is missing: counted.
 *
 * Conversion, statements and execution are apart (convert.c, statement.c, and
 * here).  Where nothing of the above can matter, changes are gathered and
 * written as sets instead (batch.c); what cannot be written so comes back here.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "core/attempt.h"
#include "core/error_context.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "sink/batch.h"
#include "sink/relmap.h"
#include "sink/sink.h"
#include "sink/statement.h"
#include "sink/traits.h"
#include "sink/truncate.h"
#include "storage/itemptr.h"
#include "storage/proc.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* How often a row that comes and goes is tried, see resolve_conflict() */
#define FLO_CONFLICT_ATTEMPTS 3

typedef struct FloPostgresSink
{
	FloSink		base;
	FloWorkerOptions options;
	const FloSinkHost *host;
	FloCounters *counters;
	FloRelmap  *map;
	FloBatch   *batch;			/* NULL: changes are applied one by one */
	MemoryContext context;		/* the sink's life */
	MemoryContext row_context;	/* reset with each change */
	bool		in_batch;

	/* of the change at hand */
	bool		repair;			/* see FloTransaction */
	uint64	   *bits;			/* room for a bitmap over the columns */
	int			bits_room;		/* in words */
	FloTuple	completed;		/* new row with unchanged values filled in */
	int			completed_room;
	Oid			place_table;	/* the row found by FLO_STMT_LOCATE */
	ItemPointerData place;
} FloPostgresSink;

/* Do ordinary triggers fire, those of foreign keys among them? */
static void
pin_role(bool fire_triggers)
{
	int			role = fire_triggers ? SESSION_REPLICATION_ROLE_ORIGIN :
		SESSION_REPLICATION_ROLE_REPLICA;

	if (SessionReplicationRole != role)
		SetConfigOption("session_replication_role", fire_triggers ? "origin" : "replica",
						PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Settings of this process that the sink depends on.  Kept up at each batch,
 * since an aborted transaction takes back what it set.
 *
 * Statements find rows by key.  A generic plan made while a table is small must
 * not read all of it when it has grown, so sequential scans are chosen only
 * where nothing else is possible.  For the same reason sets of keys are joined
 * by nested loops only.
 */
static void
pin_settings(FloPostgresSink *sink)
{
	pin_role(sink->options.fire_triggers);
	if (LockTimeout != sink->options.lock_timeout)
	{
		char		value[32];

		snprintf(value, sizeof(value), INT64_FORMAT "ms", sink->options.lock_timeout);
		SetConfigOption("lock_timeout", value, PGC_SUSET, PGC_S_OVERRIDE);
	}
	if (enable_seqscan)
		SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	if (enable_hashjoin)
		SetConfigOption("enable_hashjoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
	if (enable_mergejoin)
		SetConfigOption("enable_mergejoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
}

static void apply_gathered(void *arg, FloTarget *target, const FloChange *change);

static FloSink *
postgres_open(const FloWorkerSpec *spec, FloTally *tally, const char *state,
			  const FloSinkHost *host)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo postgres sink",
												  ALLOCSET_DEFAULT_SIZES);
	FloPostgresSink *sink = MemoryContextAllocZero(context, sizeof(FloPostgresSink));

	sink->base.ops = &flo_sink_postgres;
	sink->options = spec->options;
	sink->host = host;
	sink->counters = &tally->open;
	sink->context = context;
	sink->row_context = AllocSetContextCreate(context, "pg_flo row", ALLOCSET_DEFAULT_SIZES);
	sink->map = flo_relmap_create(context, spec->owner, spec->options.run_as_owner);
	if (!sink->options.fire_triggers)
	{
		sink->batch = flo_batch_create(context, sink->counters, host, apply_gathered, sink);
		flo_relmap_on_rebuild(sink->map, flo_batch_flush_target, sink->batch);
	}
	pin_settings(sink);
	return &sink->base;
}

static void
postgres_begin(FloSink *base)
{
	FloPostgresSink *sink = (FloPostgresSink *) base;
	MemoryContext old_context = CurrentMemoryContext;

	pin_settings(sink);
	flo_relmap_begin(sink->map);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	MemoryContextSwitchTo(old_context);

	/* For input functions; statements take their own */
	PushActiveSnapshot(GetTransactionSnapshot());
	sink->in_batch = true;
}

static void
postgres_finish(FloSink *base)
{
	FloPostgresSink *sink = (FloPostgresSink *) base;
	MemoryContext old_context = CurrentMemoryContext;

	if (sink->batch != NULL)
		flo_batch_flush(sink->batch);
	PopActiveSnapshot();
	sink->in_batch = false;
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not leave SPI");
	MemoryContextSwitchTo(old_context);
}

/*
 * Snapshot, SPI connection, locks and user go with the transaction, which the
 * worker aborts.
 */
static void
postgres_abort(FloSink *base)
{
	FloPostgresSink *sink = (FloPostgresSink *) base;

	flo_convert_restore();
	if (sink->batch != NULL)
		flo_batch_drop(sink->batch);
	sink->in_batch = false;
	MemoryContextReset(sink->row_context);
	flo_relmap_begin(sink->map);
}

static void
postgres_invalidate(FloSink *base)
{
	flo_relmap_forget(((FloPostgresSink *) base)->map);
}

static void
postgres_forget(FloSink *base, uint32 relation)
{
	flo_relmap_forget_table(((FloPostgresSink *) base)->map, relation);
}

/* An empty bitmap over the target's columns; the same room each time */
static uint64 *
clear_bits(FloPostgresSink *sink, const FloTarget *target)
{
	if (target->nwords > sink->bits_room)
	{
		sink->bits = MemoryContextAlloc(sink->context, target->nwords * sizeof(uint64));
		sink->bits_room = target->nwords;
	}
	memset(sink->bits, 0, target->nwords * sizeof(uint64));
	return sink->bits;
}

static void
report_not_sent(const FloTarget *target, const FloTargetColumn *column, bool by_new)
{
	flo_error_context.column = column->name;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the value of column \"%s\" of table \"%s.%s\" was not sent",
					column->name, target->schema, target->table),
			 by_new ?
			 errdetail("It is stored out of line and unchanged, and the row it belongs to is missing here.") :
			 errdetail("It is needed to find the row."),
			 by_new ?
			 errhint("Give the table up with flo.give_up() and copy it again with flo.resync(), or set the worker's option on_missing to skip.") :
			 errhint("Check the table's replica identity at the source.")));
}

static inline void
fill_param(const FloTarget *target, const FloParam *param, const FloTuple *tuple,
		   ParamExternData *result)
{
	const FloValue *value = &tuple->values[param->column];
	FloTargetColumn *column = &target->columns[param->column];

	if (value->kind == FLO_VALUE_NULL)
	{
		result->value = (Datum) 0;
		result->isnull = true;
		return;
	}
	if (unlikely(value->kind == FLO_VALUE_UNCHANGED))
		report_not_sent(target, column, false);
	if (value->kind == FLO_VALUE_DATUM)
	{
		result->value = PointerGetDatum(value->data);
		result->isnull = false;
		return;
	}
	flo_error_context.column = column->name;
	result->value = flo_convert(&column->converter, value);
	result->isnull = false;
}

/*
 * Convert the statement's values and run it.  Returns the number of rows it
 * touched.
 */
static uint64
execute(FloPostgresSink *sink, const FloTarget *target, FloStatement *statement,
		const FloTuple *old, const FloTuple *new)
{
	ParamExternData *result = statement->values->params;
	const FloParam *param = statement->params;
	const FloParam *end = param + statement->nparams;
	int			code;

	for (; param < end; param++, result++)
	{
		switch (param->source)
		{
			case FLO_PARAM_NEW:
				fill_param(target, param, new, result);
				break;
			case FLO_PARAM_OLD:
				fill_param(target, param, old, result);
				break;
			case FLO_PARAM_PLACE_TABLE:
				result->value = ObjectIdGetDatum(sink->place_table);
				result->isnull = false;
				break;
			case FLO_PARAM_PLACE_CTID:
				result->value = PointerGetDatum(&sink->place);
				result->isnull = false;
				break;
		}
	}
	flo_error_context.column = NULL;

	code = SPI_execute_plan_with_paramlist(statement->plan, statement->values, false, 0);
	MemoryContextSwitchTo(sink->row_context);
	if (unlikely(code < 0))
		elog(ERROR, "could not execute a prepared statement: %s",
			 SPI_result_code_string(code));
	return SPI_processed;
}

/* The same for statements found by key, which must touch at most one row */
static bool
execute_one(FloPostgresSink *sink, const FloTarget *target, FloStatement *statement,
			const FloTuple *old, const FloTuple *new)
{
	uint64		rows = execute(sink, target, statement, old, new);

	if (unlikely(rows > 1))
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("the key of one source row matches " UINT64_FORMAT " rows of table \"%s.%s\"",
						rows, target->schema, target->table),
				 errdetail("The columns that identify a row at the source are not unique here."),
				 errhint("Remove the duplicates and create a unique index or primary key on these columns.")));
	return rows > 0;
}

/*
 * The columns an UPDATE assigns: those that were sent and can be written.
 * Columns that find the row are left out while they keep their value; that
 * saves work and lets foreign keys to it be checked without waiting for us.
 */
static uint64 *
assigned_columns(FloPostgresSink *sink, const FloTarget *target, const FloTuple *new,
				 bool with_match)
{
	uint64	   *bits = clear_bits(sink, target);

	for (int i = 0; i < new->natts; i++)
		if (likely(new->values[i].kind != FLO_VALUE_UNCHANGED))
			flo_bit_set(bits, i);
	for (int i = 0; i < target->nwords; i++)
	{
		bits[i] &= target->writable[i];
		if (!with_match)
			bits[i] &= ~target->matched[i];
	}
	return bits;
}

static bool
same_value(const FloTargetColumn *column, const FloValue *old, const FloValue *new)
{
	if (new->kind == FLO_VALUE_UNCHANGED)
		return true;
	if (old->kind != new->kind)
		return false;
	if (new->kind == FLO_VALUE_DATUM)
		return datumIsEqual(PointerGetDatum(old->data), PointerGetDatum(new->data),
							column->typbyval, column->typlen);
	return old->len == new->len &&
		(old->len == 0 || memcmp(old->data, new->data, old->len) == 0);
}

static bool
match_columns_changed(const FloTarget *target, const FloTuple *old, const FloTuple *new)
{
	for (int i = 0; i < target->nmatch; i++)
	{
		int			column = target->match[i];

		if (!same_value(&target->columns[column], &old->values[column], &new->values[column]))
			return true;
	}
	return false;
}

/* Is a column assigned that no UPDATE can assign? */
static bool
assigns_identity(const FloTarget *target, const uint64 *bits)
{
	for (int i = 0; i < target->nwords && target->has_identity; i++)
		if (bits[i] & target->identity[i])
			return true;
	return false;
}

static void
report_identity_change(const FloTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_GENERATED_ALWAYS),
			 errmsg("cannot change an identity column of table \"%s.%s\"",
					target->schema, target->table),
			 errdetail("The column is GENERATED ALWAYS AS IDENTITY at the destination."),
			 errhint("Make it GENERATED BY DEFAULT there.")));
}

/*
 * A new row whose key exists already.  False when it was not updated: it has
 * gone in the meantime, or a trigger keeps it as it is.  An identity column beside the
 * key may have another value: see update_identity().  A repair writes the key as well.
 */
static bool
update_existing(FloPostgresSink *sink, FloTarget *target, const FloTuple *new)
{
	uint64	   *bits = clear_bits(sink, target);
	bool		identity;

	if (target->touch == NULL && !sink->repair)
		return true;
	for (int i = 0; i < target->natts; i++)
		if (!target->columns[i].generated && (!target->columns[i].in_key || sink->repair))
			flo_bit_set(bits, i);
	identity = assigns_identity(target, bits);
	if (execute_one(sink, target, flo_statement_get(target, FLO_STMT_UPDATE_KEY, false, bits), NULL,
					new))
		return true;
	if (!identity)
		return false;
	if (!sink->options.fire_triggers)
		return execute_one(sink, target,
						   flo_statement_get(target, FLO_STMT_REPLACE_KEY, false, bits), NULL, new);
	if (execute(sink, target, flo_statement_get(target, FLO_STMT_EXISTS_KEY, false, NULL), NULL,
				new) > 0)
		report_identity_change(target);
	return false;
}

static int
on_conflict(const FloPostgresSink *sink)
{
	return sink->repair ? FLO_CONFLICT_UPDATE : sink->options.on_conflict;
}

/*
 * The key of a new row exists already.  Returns whether the row is now as the
 * source has it.  Somebody else may delete the row just before it is updated:
 * then the INSERT is tried again, but not for ever, as a trigger that lets
 * nothing pass looks the same.
 */
static bool
resolve_conflict(FloPostgresSink *sink, FloTarget *target, const FloTuple *new)
{
	sink->counters->conflicts += !sink->repair;
	switch (on_conflict(sink))
	{
		case FLO_CONFLICT_UPDATE:
			for (int attempt = 0; attempt < FLO_CONFLICT_ATTEMPTS; attempt++)
			{
				if (update_existing(sink, target, new))
					return true;
				if (execute(sink, target,
							flo_statement_get(target, FLO_STMT_INSERT_NEW, false, NULL),
							NULL, new) > 0)
					return true;
			}
			return true;
		case FLO_CONFLICT_SKIP:
			break;
		case FLO_CONFLICT_ERROR:

			/*
			 * with a deferrable key nothing else would object while triggers
			 * are off
			 */
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("a row with this key exists in table \"%s.%s\"",
							target->schema, target->table)));
	}
	return false;
}

/* Returns whether the row is now as the source has it */
static bool
insert_row(FloPostgresSink *sink, FloTarget *target, const FloTuple *new)
{
	if (target->nkey == 0 ||
		(on_conflict(sink) == FLO_CONFLICT_ERROR && !target->key_deferrable))
	{
		execute(sink, target, flo_statement_get(target, FLO_STMT_INSERT, false, NULL),
				NULL, new);
		return true;
	}
	if (likely(execute(sink, target,
					   flo_statement_get(target, FLO_STMT_INSERT_NEW, false, NULL),
					   NULL, new) > 0))
		return true;
	return resolve_conflict(sink, target, new);
}

static void
apply_insert(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	if (insert_row(sink, target, &change->new))
		sink->counters->inserts++;
}

/* The new row with unchanged values taken from the old one where that has them */
static const FloTuple *
complete_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	const FloTuple *new = &change->new;

	if (new->natts > sink->completed_room)
	{
		sink->completed.values = MemoryContextAlloc(sink->context, new->natts * sizeof(FloValue));
		sink->completed_room = new->natts;
	}
	sink->completed.natts = new->natts;
	for (int i = 0; i < new->natts; i++)
	{
		FloValue   *value = &sink->completed.values[i];

		*value = new->values[i];
		if (value->kind != FLO_VALUE_UNCHANGED || target->columns[i].generated)
			continue;
		if (change->has_old &&
			(!change->old_is_key || change->relation->columns[i].is_key))
			*value = change->old.values[i];
		if (value->kind == FLO_VALUE_UNCHANGED)
			report_not_sent(target, &target->columns[i], true);
	}
	return &sink->completed;
}

static void
update_missing(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	sink->counters->conflicts++;
	switch (sink->options.on_missing)
	{
		case FLO_MISSING_INSERT:
			if (insert_row(sink, target, complete_row(sink, target, change)))
				sink->counters->updates++;
			break;
		case FLO_MISSING_SKIP:
			break;
		case FLO_MISSING_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("the row to update is missing in table \"%s.%s\"",
							target->schema, target->table),
					 errhint("The worker's option on_missing says what to do: insert, skip or error.")));
	}
}

/*
 * Find one row that equals the old one in all columns.
 */
static bool
locate_row(FloPostgresSink *sink, FloTarget *target, const FloTuple *old)
{
	uint64	   *nulls = clear_bits(sink, target);
	FloStatement *statement;
	bool		is_null;
	TupleDesc	desc;
	HeapTuple	tuple;

	for (int i = 0; i < old->natts; i++)
		if (old->values[i].kind == FLO_VALUE_NULL)
			flo_bit_set(nulls, i);
	statement = flo_statement_get(target, FLO_STMT_LOCATE, true, nulls);
	if (execute(sink, target, statement, old, NULL) == 0)
	{
		SPI_freetuptable(SPI_tuptable);
		return false;
	}
	desc = SPI_tuptable->tupdesc;
	tuple = SPI_tuptable->vals[0];
	sink->place_table = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &is_null));
	sink->place = *(ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 2, &is_null));
	SPI_freetuptable(SPI_tuptable);
	return true;
}

static bool
identity_changes(const FloTarget *target, const FloTuple *old, const FloTuple *new)
{
	for (int i = 0; i < target->natts && target->has_identity; i++)
		if (target->columns[i].identity_always &&
			!same_value(&target->columns[i], &old->values[i], &new->values[i]))
			return true;
	return false;
}

/* UPDATE without any key: replica identity FULL, and no key here either */
static bool
update_by_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	FloStatementKind kind = FLO_STMT_UPDATE_PLACE;
	uint64	   *bits;

	if (!locate_row(sink, target, &change->old))
		return false;

	bits = assigned_columns(sink, target, &change->new, true);
	if (identity_changes(target, &change->old, &change->new))
	{
		if (sink->options.fire_triggers)
			report_identity_change(target);
		kind = FLO_STMT_REPLACE_PLACE;
	}
	else if (target->touch == NULL)
		return true;
	return execute(sink, target, flo_statement_get(target, kind, false, bits), NULL,
				   &change->new) > 0;
}

/*
 * The row was not found with the identity columns' new values: either it is
 * missing, or they change, which UPDATE cannot do.  DELETE and INSERT can; but
 * then triggers would see another thing happen than at the source.
 */
static bool
update_identity(FloPostgresSink *sink, FloTarget *target, const FloChange *change,
				const uint64 *bits)
{
	FloStatement *statement;

	if (sink->options.fire_triggers)
	{
		statement = flo_statement_get(target, FLO_STMT_EXISTS, change->has_old, NULL);
		if (execute(sink, target, statement, &change->old, &change->new) > 0)
			report_identity_change(target);
		return false;
	}
	statement = flo_statement_get(target, FLO_STMT_REPLACE, change->has_old, bits);
	return execute_one(sink, target, statement, &change->old, &change->new);
}

static bool
update_by_key(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	bool		moves = change->has_old &&
		match_columns_changed(target, &change->old, &change->new);
	uint64	   *bits = assigned_columns(sink, target, &change->new, moves);
	FloStatement *statement;

	/* Nothing could be assigned: the row is its key */
	if (target->touch == NULL && !moves)
		return true;
	if (target->touch != NULL)
	{
		statement = flo_statement_get(target, FLO_STMT_UPDATE, change->has_old, bits);
		if (likely(execute_one(sink, target, statement, &change->old, &change->new)))
			return true;
	}
	return assigns_identity(target, bits) && update_identity(sink, target, change, bits);
}

static void
report_no_identity(const FloTarget *target, const FloRelation *relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the source sends nothing that identifies the row of table \"%s.%s\"",
					target->schema, target->table),
			 errhint("Give table \"%s.%s\" a primary key or another replica identity at the source.",
					 relation->schema, relation->name)));
}

/* Does the change hold what the target's rows are found by? */
static void
check_old_row(const FloTarget *target, const FloChange *change)
{
	if (target->match_by == FLO_MATCH_NOTHING)
		report_no_identity(target, change->relation);
	if (change->relation->identity == REPLICA_IDENTITY_FULL &&
		(!change->has_old || change->old_is_key))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("the old row is missing in a change of table \"%s.%s\", whose replica identity is FULL",
						change->relation->schema, change->relation->name)));
}

static void
apply_update(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	bool		found;

	check_old_row(target, change);
	if (target->match_by == FLO_MATCH_KEY)
		found = update_by_key(sink, target, change);
	else
		found = update_by_row(sink, target, change);
	if (likely(found))
		sink->counters->updates++;
	else
		update_missing(sink, target, change);
}

static void
apply_delete(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	bool		found;

	check_old_row(target, change);
	if (target->match_by == FLO_MATCH_KEY)
		found = execute_one(sink, target,
							flo_statement_get(target, FLO_STMT_DELETE, true, NULL),
							&change->old, NULL);
	else
		found = locate_row(sink, target, &change->old) &&
			execute(sink, target,
					flo_statement_get(target, FLO_STMT_DELETE_PLACE, false, NULL),
					NULL, NULL) > 0;
	if (likely(found))
		sink->counters->deletes++;
	else
		sink->counters->conflicts++;
}

/*
 * A row is to be like this: by the key here, or by that of the source where there is
 * none.  Rows without a key cannot be told from others.
 */
static void
put_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	FloChange	update = *change;

	update.op = FLO_OP_UPDATE;
	update.has_old = false;
	if (target->nkey > 0 ||
		(target->match_by == FLO_MATCH_KEY && !update_by_key(sink, target, &update)))
		apply_insert(sink, target, change);
}

/* No row of this key is to be there */
static void
remove_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	if (target->nmatch > 0 &&
		execute_one(sink, target, flo_statement_get(target, FLO_STMT_DELETE, true, NULL),
					&change->old, NULL))
		sink->counters->deletes++;
}

static const char *
operation_name(FloOp op)
{
	return op == FLO_OP_INSERT ? "INSERT" : op == FLO_OP_UPDATE ? "UPDATE" : "DELETE";
}

/*
 * While copies are to come, rows of the stream refer to rows that are left out of
 * it.  Where foreign keys are, no trigger fires then, for those of the keys
 * cannot be told from others; the keys are checked with the copies'.
 */
static void
choose_triggers(FloPostgresSink *sink, const FloTarget *target)
{
	bool		later = (sink->host->keys_later || sink->host->given_up != NIL) &&
		flo_traits_foreign_keys(target, sink->host->keys_later, sink->host->given_up);

	if (later)
		sink->host->unchecked(sink->host->arg, target->relid);
	pin_role(!later);
}

typedef struct RepairedRow
{
	FloPostgresSink *sink;
	FloTarget  *target;
	const FloChange *change;
} RepairedRow;

static void
try_repair(void *arg)
{
	RepairedRow *row = arg;
	FloAsRole	saved;

	flo_target_enter(row->target, &saved);
	if (row->change->op == FLO_OP_INSERT)
		put_row(row->sink, row->target, row->change);
	else
		remove_row(row->sink, row->target, row->change);
	flo_attempt_constraints();
	flo_target_leave(&saved);
}

/* What the table refuses stays as it is, for the comparison to find: the stream goes on */
static void
repair_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	RepairedRow row = {sink, target, change};
	ErrorData  *error = flo_attempt(try_repair, &row, true);

	if (error == NULL)
		return;
	if (!flo_error_is_about_data(error->sqlerrcode))
		ReThrowError(error);
	flo_convert_restore();
	ereport(LOG, (errmsg("a repair is refused here: %s", error->message)));
}

static void
apply_row(FloPostgresSink *sink, FloTarget *target, const FloChange *change)
{
	FloAsRole	saved;

	if (sink->options.fire_triggers)
		choose_triggers(sink, target);
	if (sink->repair)
	{
		repair_row(sink, target, change);
		return;
	}
	flo_target_enter(target, &saved);
	if (change->op == FLO_OP_INSERT)
		apply_insert(sink, target, change);
	else if (change->op == FLO_OP_UPDATE)
		apply_update(sink, target, change);
	else
		apply_delete(sink, target, change);
	flo_target_leave(&saved);
}

/* One of the changes of a batch that has to be applied in order */
static void
apply_gathered(void *arg, FloTarget *target, const FloChange *change)
{
	FloPostgresSink *sink = arg;
	MemoryContext old_context = MemoryContextSwitchTo(sink->row_context);

	flo_error_context.operation = operation_name(change->op);
	apply_row(sink, target, change);
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sink->row_context);
}

static void
apply_change(FloPostgresSink *sink, const FloChange *change)
{
	FloTarget  *target;

	switch (change->op)
	{
		case FLO_OP_INSERT:
		case FLO_OP_UPDATE:
		case FLO_OP_DELETE:
			flo_error_context.operation = operation_name(change->op);
			flo_error_context.schema = change->relation->schema;
			flo_error_context.table = change->relation->name;
			target = flo_relmap_open(sink->map, change->relation);
			if (sink->batch == NULL || sink->repair ||
				!flo_batch_add(sink->batch, target, change))
				apply_row(sink, target, change);
			break;
		case FLO_OP_TRUNCATE:
			if (sink->batch != NULL)
				flo_batch_flush(sink->batch);
			flo_error_context.operation = "TRUNCATE";
			flo_truncate(sink->map, change, sink->host->given_up);
			sink->counters->truncates++;
			break;
		case FLO_OP_MESSAGE:
			/* DDL is about to be run: what was gathered comes before it */
			if (sink->batch != NULL)
				flo_batch_flush(sink->batch);
			break;
		default:
			break;
	}
}

/*
 * The message must be left as it came even when this throws: the worker may
 * read it again.
 */
static void
postgres_change(FloSink *base, const FloTransaction *txn, const FloChange *change)
{
	FloPostgresSink *sink = (FloPostgresSink *) base;
	MemoryContext old_context = MemoryContextSwitchTo(sink->row_context);

	Assert(sink->in_batch);
	if (txn->repair && !sink->repair && sink->batch != NULL)
		flo_batch_flush(sink->batch);
	sink->repair = txn->repair;
	PG_TRY();
	{
		apply_change(sink, change);
	}
	PG_CATCH();
	{
		flo_convert_restore();
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(sink->row_context);
	flo_error_context.operation = NULL;
	flo_error_context.schema = NULL;
	flo_error_context.table = NULL;
}

const FloSinkOps flo_sink_postgres = {
	.transactional = true,
	.open = postgres_open,
	.begin = postgres_begin,
	.change = postgres_change,
	.finish = postgres_finish,
	.abort = postgres_abort,
	.invalidate = postgres_invalidate,
	.forget = postgres_forget,
};
