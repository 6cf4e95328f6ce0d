/*
 * copy_schema_apply.c
 *		Creates what the source's tables are made of.
 *
 * The definitions go into flo.copied_objects first, which is the list of what
 * is to be done and then the record of it: each object is noted as done in the
 * transaction that creates it, so a worker that comes back goes on behind the
 * last one.  An object that exists already is compared with the source's
 * definition; the same: it is kept, another: an error that shows where they
 * differ.
 *
 * What no table needs comes after the rows, and is left out when it would have
 * to wait for a person or cannot be made; what hangs on a table and no row needs,
 * such as a trigger, when it cannot be made.  Its line in flo.copied_objects says
 * why, and the copy goes on.
 *
 * Commands have the rights that ddl_rights.c gives them.  What must not run
 * without a person's word is put into flo.pending_ddl, as the stream's DDL is,
 * all that is known of it at once, and the copy waits.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "conf/copies.h"
#include "conf/ddl.h"
#include "conf/sql.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/loop.h"
#include "core/process.h"
#include "core/transaction.h"
#include "dest/copy_definitions.h"
#include "dest/copy_schema_apply.h"
#include "dest/copy_schema_object.h"
#include "dest/ddl_apply.h"
#include "dest/ddl_known.h"
#include "dest/ddl_present.h"
#include "dest/ddl_reach.h"
#include "dest/ddl_rights.h"
#include "dest/ddl_targets.h"
#include "dest/worker_config.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define BEFORE "before"

/* The tag of a definition in flo.pending_ddl and flo.ddl_log */
#define SYNC_TAG "sync_schema"

/* --- creating ------------------------------------------------------------ */

List *
flo_schema_objects(const FloWorkerSpec *spec, const char *section, const char *which,
				   const char *order)
{
	FloSqlSession sql;
	List	   *objects = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, psprintf("SELECT ordinal, object, command, address_type IS NOT NULL, coalesce(of_table, 0), rest, optional"
											   " FROM flo.copied_objects WHERE group_name = $1 AND worker_name = $2"
											   " AND section = $3 AND action IS NULL AND %s ORDER BY %s", which, order),
					   3, spec->group, spec->worker, section);
	for (uint64 i = 0; i < rows; i++)
	{
		FloSchemaObject *object = MemoryContextAllocZero(sql.caller, sizeof(FloSchemaObject));
		MemoryContext spi;

		object->ordinal = flo_sql_text(&sql, i, 1);
		object->name = flo_sql_text(&sql, i, 2);
		object->command = flo_sql_text(&sql, i, 3);
		object->has_address = flo_sql_true(i, 4);
		object->table = flo_sql_text(&sql, i, 5);
		object->rest = flo_sql_true(i, 6);
		object->optional = flo_sql_true(i, 7);
		spi = MemoryContextSwitchTo(sql.caller);
		objects = lappend(objects, object);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	return objects;
}

/* Does it exist here, as the source has it?  Throws when it differs. */
static bool
exists_alike(const FloWorkerSpec *spec, const FloSchemaObject *object)
{
	FloSqlSession sql;
	bool		exists;
	bool		given_up;
	Oid			relation;
	char	   *difference;

	flo_sql_begin(&sql);
	flo_sql_run(SPI_OK_SELECT, "SELECT f.object IS NOT NULL, CASE WHEN f.object IS NOT NULL THEN"
				" CASE WHEN o.definition <> '' OR o.definition IS NULL THEN flo.definition_difference(o.definition, flo.definition_of(f.class, f.object)) END END,"
				" CASE WHEN f.class = 'pg_catalog.pg_class'::regclass THEN f.object END,"
				" EXISTS (SELECT FROM flo.given_up u WHERE u.group_name = $1 AND u.worker_name = $2 AND NOT u.asked"
				" AND (o.address_type = 'table' AND o.address_names = ARRAY[u.schema_name, u.table_name] OR o.of_table = u.relation AND u.relation <> 0))"
				" FROM flo.copied_objects o, LATERAL flo.find_object(o.address_type, o.address_names, o.address_args) f"
				" WHERE o.group_name = $1 AND o.worker_name = $2 AND o.ordinal = $3::int",
				3, spec->group, spec->worker, object->ordinal);
	exists = flo_sql_true(0, 1);
	difference = flo_sql_text(&sql, 0, 2);
	relation = flo_sql_oid(0, 3);
	given_up = flo_sql_true(0, 4);
	flo_sql_end(&sql);
	if (difference != NULL && given_up)
		return true;			/* it is to fit when it is taken up again */
	if (difference != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("%s exists here and differs from the source's", object->name),
				 errdetail_internal("%s", difference),
				 errhint("Make it the same or drop it here, or create the replicator without sync_schema.")));

	/*
	 * an empty table that is alike waits for the copy's rows, an unused
	 * sequence for its defaults
	 */
	if (OidIsValid(relation))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		if (get_rel_relkind(relation) == RELKIND_SEQUENCE)
			flo_ddl_adopt_sequence(spec->group, relation);
		else
			(void) flo_ddl_adopt(spec->group, relation, FLO_ROWS_NONE, true);
		PopActiveSnapshot();
	}
	return exists;
}

/* What became of the object that this one belongs to; NULL when it belongs to none */
static char *
action_of_whole(const FloWorkerSpec *spec, const FloSchemaObject *object)
{
	FloSqlSession sql;
	char	   *action = NULL;

	flo_sql_begin(&sql);
	if (flo_sql_run(SPI_OK_SELECT, "SELECT w.action FROM flo.copied_objects o JOIN flo.copied_objects w USING (group_name, worker_name)"
					" WHERE o.group_name = $1 AND o.worker_name = $2 AND o.ordinal = $3::int AND w.ordinal = o.part_of",
					3, spec->group, spec->worker, object->ordinal) == 1)
		action = flo_sql_text(&sql, 0, 1);
	flo_sql_end(&sql);
	return action;
}

/* Where flo.pending_ddl keeps it: 0/0 is no transaction of the stream */
static FloDdlPlace
place_of(const FloWorkerSpec *spec, const FloSchemaObject *object)
{
	FloDdlPlace place = {
		spec->group, spec->worker, InvalidXLogRecPtr, atoi(object->ordinal), GetCurrentTimestamp()
	};

	return place;
}

/*
 * One of the statements that make an object.  Returns why a person has to
 * decide on it; then nothing was done.
 */
static char *
run_statement(const FloWorkerSpec *spec, const FloSchemaObject *object, RawStmt *statement,
			  bool released, bool try)
{
	bool		bounded = spec->options.ddl_trust == FLO_DDL_TRUST_OBJECT && !released;
	FloDdlRights rights;
	FloAsRole	as;
	char	   *reason = NULL;

	if (spec->options.ddl_trust == FLO_DDL_TRUST_OBJECT)
		reason = flo_ddl_rights(statement->stmt, spec->owner, NULL, &rights);
	if (reason == NULL && bounded)
		reason = flo_ddl_out_of_reach(spec->group, flo_ddl_targets(statement->stmt));
	if (reason == NULL && bounded)
		reason = flo_ddl_refers_out_of_reach(spec->group, rights.sequences);
	if (reason != NULL && !released)
		return reason;
	if (reason != NULL || spec->options.ddl_trust == FLO_DDL_TRUST_SOURCE)
		flo_ddl_full_rights(statement->stmt, spec->owner, NULL, &rights);
	if (try)
		return NULL;
	flo_ddl_take_rights(&as, &rights);
	PushActiveSnapshot(GetTransactionSnapshot());
	reason = flo_ddl_run_within_reach(spec->group, bounded, statement, object->command, NULL);
	PopActiveSnapshot();
	flo_as_role_leave(&as);
	CommandCounterIncrement();
	return reason;
}

/*
 * A foreign key is not checked against the rows that are there, and says so;
 * that of a partitioned table cannot say so before 18, and is as at the source.
 */
static void
leave_unchecked(Node *node)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	ListCell   *cell;

	if (!IsA(node, AlterTableStmt))
		return;
	foreach(cell, statement->cmds)
	{
		Constraint *constraint = (Constraint *) lfirst_node(AlterTableCmd, cell)->def;
		Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);

		if (constraint == NULL || !IsA(constraint, Constraint) ||
			constraint->contype != CONSTR_FOREIGN)
			continue;
		constraint->skip_validation = true;
		constraint->initially_valid = get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE;
	}
}

/* A statement of the stream may have attached it meanwhile */
static bool
is_attached(Node *node, const char *command)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	StringInfoData note;

	if (!IsA(node, AlterTableStmt) ||
		linitial_node(AlterTableCmd, statement->cmds)->subtype != AT_AttachPartition ||
		statement->objtype != OBJECT_TABLE)
		return false;
	initStringInfo(&note);
	return flo_ddl_present(node, command, false, &note);
}

/*
 * Text means what it means to pg_dump: see DUMP_SETTINGS, which are those this
 * process has anyway.  What else a script of pg_dump's sets is set here, and a
 * setting that is for one command only lasts for that.
 */
static char *
run_command(const FloWorkerSpec *spec, const FloSchemaObject *object, bool released, bool try)
{
	FloAsRole	settings;
	char	   *reason = NULL;
	ListCell   *cell;

	flo_as_role_enter(&settings, GetUserId(), FLO_AS_ROLE_PLAIN);
	flo_as_role_set("default_table_access_method", "heap");
	flo_as_role_set("search_path", "");
	foreach(cell, raw_parser(object->command, RAW_PARSE_DEFAULT))
	{
		RawStmt    *statement = lfirst_node(RawStmt, cell);

		if (object->unchecked)
			leave_unchecked(statement->stmt);
		if (IsA(statement->stmt, VariableSetStmt) &&
			strcmp(((VariableSetStmt *) statement->stmt)->name, "default_table_access_method") == 0)
			flo_as_role_set("default_table_access_method",
							ExtractSetVariableArgs((VariableSetStmt *) statement->stmt));
		else if (!is_attached(statement->stmt, object->command))
			reason = run_statement(spec, object, statement, released, try);
		if (reason != NULL)
			break;
	}
	flo_as_role_leave(&settings);
	return reason;
}

/* "error" may be NULL */
static void
note_done(const FloWorkerSpec *spec, const FloSchemaObject *object, const char *action,
		  const char *error)
{
	flo_sql_do(SPI_OK_UPDATE,
			   "UPDATE flo.copied_objects SET action = $4, done_at = clock_timestamp(), error = $5"
			   " WHERE group_name = $1 AND worker_name = $2 AND ordinal = $3::int",
			   5, spec->group, spec->worker, object->ordinal, action, error);
}

/*
 * In a transaction.  Returns why a person has to decide first; the transaction
 * has to be given up then.
 */
static char *
create_object(const FloWorkerSpec *spec, const FloSchemaObject *object)
{
	char	   *whole = object->has_address ? NULL : action_of_whole(spec, object);
	bool		kept = whole != NULL && strcmp(whole, "created") != 0;
	FloDdlPlace place = place_of(spec, object);
	int64		id;
	FloDdlDecision decision = flo_ddl_decision(&place, object->command, &id);
	const char *action;
	char	   *reason;

	flo_error_context.operation = psprintf("sync_schema of %s", object->name);
	if (decision != FLO_DDL_SKIPPED && object->has_address && exists_alike(spec, object))
	{
		ereport(LOG,
				(errmsg("%s exists already with the source's definition and is kept",
						object->name)));
		kept = true;
	}
	action = kept ? (whole != NULL && strcmp(whole, "left out") == 0 ? whole : "kept") :
		decision == FLO_DDL_SKIPPED ? "skipped" : "created";
	if (strcmp(action, "created") == 0)
	{
		reason = run_command(spec, object, decision == FLO_DDL_RELEASED, false);
		if (reason != NULL)
			return reason;
	}
	note_done(spec, object, action,
			  strcmp(action, "left out") == 0 ? "what it belongs to is left out" : NULL);
	if (decision != FLO_DDL_NOT_HELD)
		flo_ddl_note(&place, SYNC_TAG, object->command,
					 kept ? "present" : decision == FLO_DDL_SKIPPED ? "skipped" : "applied",
					 object->name);
	flo_error_context_clear();
	return NULL;
}

/* --- what may fail ------------------------------------------------------- */

/* Does the error say that the object cannot be made here, whenever it is tried? */
static bool
is_about_object(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return sqlstate != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/*
 * create_object(), which has done nothing where it returns a reason or, in
 * *error, what went wrong with this object.
 */
static char *
try_object(const FloWorkerSpec *spec, const FloSchemaObject *object, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile reason = NULL;
	int			level;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	level = GetCurrentTransactionNestLevel();
	PG_TRY();
	{
		reason = create_object(spec, object);
		if (reason == NULL)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		if (!is_about_object((*error)->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		while (GetCurrentTransactionNestLevel() >= level)
			RollbackAndReleaseCurrentSubTransaction();
		flo_error_context_clear();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return reason;
}

static void
leave_out(const FloWorkerSpec *spec, const FloSchemaObject *object, const char *why)
{
	FloDdlPlace place = place_of(spec, object);

	ereport(LOG,
			(errmsg("sync_schema leaves out %s, which no %s needs: %s", object->name,
					object->rest ? "table" : "row", why)));
	note_done(spec, object, "left out", why);
	flo_ddl_note(&place, SYNC_TAG, object->command, "not_here",
				 psprintf("%s: %s", object->name, why));
}

char *
flo_schema_create(const FloWorkerSpec *spec, FloSchemaObject *object, ErrorData **error)
{
	char	   *reason = try_object(spec, object, error);

	if ((object->rest && reason != NULL) || ((object->rest || object->optional) && *error != NULL))
	{
		leave_out(spec, object, reason != NULL ? reason : (*error)->message);
		*error = NULL;
		return NULL;
	}
	return reason;
}

/* The same, for what is not checked against rows: most is made without a subtransaction */
static char *
create_plainly(const FloWorkerSpec *spec, FloSchemaObject *object)
{
	ErrorData  *error;
	char	   *reason;

	if (!object->rest && !object->optional)
		return create_object(spec, object);
	reason = flo_schema_create(spec, object, &error);
	if (error != NULL)
		ReThrowError(error);
	return reason;
}

/*
 * The same for one that comes after them.  A foreign key that rows violate (the
 * source had them before, or without asking) does not hold up all that comes
 * after.
 */
static char *
create_after(const FloWorkerSpec *spec, FloSchemaObject *object)
{
	FloDdlPlace place = place_of(spec, object);
	ErrorData  *error;
	char	   *reason = flo_schema_create(spec, object, &error);

	if (error == NULL)
		return reason;
	if (error->sqlerrcode != ERRCODE_FOREIGN_KEY_VIOLATION)
		ReThrowError(error);
	object->unchecked = true;
	ereport(WARNING,
			(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
			 errmsg("%s is not checked: rows violate it", object->name),
			 errdetail_internal("%s %s", error->message,
								error->detail != NULL ? error->detail : ""),
			 errhint("Mend the rows at the source, then ALTER TABLE ... VALIDATE CONSTRAINT here.")));
	reason = create_object(spec, object);
	if (reason == NULL)
	{
		note_done(spec, object, "created",
				  psprintf("not checked: %s %s", error->message,
						   error->detail != NULL ? error->detail : ""));
		flo_ddl_note(&place, SYNC_TAG, object->command, "applied",
					 psprintf("%s is not checked: %s", object->name, error->message));
	}
	return reason;
}

/* --- waiting for a person ------------------------------------------------ */

/* A privilege can be judged before there is what it is about */
static bool
is_grant(const FloSchemaObject *object)
{
	List	   *statements = raw_parser(object->command, RAW_PARSE_DEFAULT);

	return statements != NIL && IsA(linitial_node(RawStmt, statements)->stmt, GrantStmt);
}

/*
 * A transaction in which an object had to be held is given up; this one and
 * what else is known to need a decision are put where they wait for it.
 */
static void
hold_objects(const FloWorkerSpec *spec, List *objects, int first, const char *reason)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell   *cell;

	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	flo_error_context_clear();
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	ForceSyncCommit();
	for_each_from(cell, objects, first)
	{
		FloSchemaObject *object = lfirst(cell);
		FloDdlPlace place = place_of(spec, object);
		int64		id;

		if (object->rest)
			continue;			/* nobody is asked for */
		if (foreach_current_index(cell) > first)
			reason = (object->has_address ? !exists_alike(spec, object) : is_grant(object)) ?
				run_command(spec, object, false, true) : NULL;
		if (reason != NULL && flo_ddl_decision(&place, object->command, &id) == FLO_DDL_NOT_HELD)
			(void) flo_ddl_hold(&place, SYNC_TAG, object->command,
								psprintf("%s: %s", object->name, reason));
	}
	flo_transaction_end(context);
}

/* One that waits for a decision, and how many do; false when there is none */
static bool
find_undecided(const FloWorkerSpec *spec, char **id, char **reason, char **count)
{
	MemoryContext context = CurrentMemoryContext;
	FloSqlSession sql;
	bool		any;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	flo_sql_begin(&sql);
	any = flo_sql_run(SPI_OK_SELECT, "SELECT id, reason, count(*) OVER () FROM flo.pending_ddl"
					  " WHERE group_name = $1 AND worker_name = $2 AND lsn = '0/0' AND decision IS NULL ORDER BY ordinal LIMIT 1",
					  2, spec->group, spec->worker) > 0;
	if (any)
	{
		*id = flo_sql_text(&sql, 0, 1);
		*reason = flo_sql_text(&sql, 0, 2);
		*count = flo_sql_text(&sql, 0, 3);
	}
	flo_sql_end(&sql);
	flo_transaction_end(context);
	return any;
}

/* With another ddl_trust this process ends and comes back; false when the copy is to be left */
static bool
await_decisions(const FloReception *what)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext aside = AllocSetContextCreate(context, "pg_flo decisions", ALLOCSET_SMALL_SIZES);
	bool		go_on = true;
	char	   *id;
	char	   *reason;
	char	   *count;

	MemoryContextSwitchTo(aside);
	while (go_on && find_undecided(what->spec, &id, &reason, &count))
	{
		flo_state_set(FLO_STATE_WAITING,
					  "for flo.release_ddl(%s) or flo.skip_ddl(%s), %s in flo.pending_ddl: %s",
					  id, id, count, reason);
		flo_bus_wait_for(what->bus, FLO_WAIT_DECISION, 1000);
		flo_check_interrupts();
		go_on = what->proceed(what->arg, NULL);
		MemoryContextReset(aside);
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(aside);
	return go_on;
}

/* --- before the rows ----------------------------------------------------- */

bool
flo_schema_create_before(const FloReception *what, const char *key, uint32 attempt)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);
	List	   *objects;
	char	   *reason;
	bool		go_on = true;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	flo_definitions_take(what, key, attempt);
	flo_transaction_end(context);
	do
	{
		reason = NULL;
		MemoryContextReset(context);
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		objects = flo_schema_objects(what->spec, BEFORE, "true", "ordinal");
		for (int i = 0; i < list_length(objects) && reason == NULL; i++)
		{
			flo_check_interrupts();
			flo_state_set(FLO_STATE_COPYING, "creating tables and what they need: %d of %d", i + 1,
						  list_length(objects));
			reason = create_plainly(what->spec, list_nth(objects, i));
			if (reason != NULL)
				hold_objects(what->spec, objects, i, reason);
		}
		if (reason != NULL)
			go_on = await_decisions(what);
	} while (reason != NULL && go_on);
	if (go_on)
	{
		ForceSyncCommit();
		flo_transaction_end(old);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return go_on;
}

/* --- after the rows ------------------------------------------------------ */

static List *
objects_after(const FloWorkerSpec *spec, const char *which)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *objects;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	objects = flo_schema_objects(spec, FLO_SCHEMA_AFTER, which, "ordinal");
	flo_transaction_end(context);
	return objects;
}

/* Each in a transaction of its own; false when one of them needs a decision first */
static bool
create_rest(const FloReception *what, List *objects)
{
	MemoryContext context = CurrentMemoryContext;
	ListCell   *cell;

	foreach(cell, objects)
	{
		char	   *reason;

		flo_check_interrupts();
		flo_state_set(FLO_STATE_COPYING, "building indexes and constraints: %d of %d",
					  foreach_current_index(cell) + 1, list_length(objects));
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		reason = create_after(what->spec, lfirst(cell));
		if (reason != NULL)
		{
			hold_objects(what->spec, objects, foreach_current_index(cell), reason);
			return false;
		}
		flo_transaction_end(context);
	}
	return true;
}

static void
note_phase(const FloWorkerSpec *spec, const char *phase)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_phase(spec->group, spec->worker, phase);
	flo_transaction_end(old);
}

bool
flo_schema_create_after(const FloReception *what, bool complete)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo schema", ALLOCSET_DEFAULT_SIZES);
	bool		go_on = true;

	MemoryContextSwitchTo(context);
	note_phase(what->spec, FLO_PHASE_CONSTRAINTS);
	while (go_on &&
		   !create_rest(what, objects_after(what->spec, complete ? "true" :
											"command NOT LIKE '% FOREIGN KEY %'")))
		go_on = await_decisions(what);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return go_on;
}
