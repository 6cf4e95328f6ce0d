/*
 * foreign_keys.c
 *		Foreign keys of tables whose rows were loaded without looking at them.
 *
 * Rows of a copy come in any order, and by several processes, so no trigger
 * fires for them.  Where the worker is one that fires triggers, its foreign keys
 * are to hold afterwards: each is checked once, when the rows of all tables are
 * in, as ALTER TABLE ... ADD FOREIGN KEY does.  That covers keys to the loaded
 * tables as well: what was there before the copy has been emptied.
 *
 * Which tables stands in flo.unchecked_tables until a check has passed; a
 * violation is an error at each new attempt, until somebody mends the rows or
 * drops the constraint.  Constraints that are NOT VALID, not enforced or
 * disabled would not look at these rows either.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "conf/copies.h"
#include "conf/sql.h"
#include "core/as_role.h"
#include "core/error_context.h"
#include "core/loop.h"
#include "core/transaction.h"
#include "dest/foreign_keys.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

typedef struct ForeignKey
{
	Oid			constraint;
	char	   *name;
	Oid			referencing;
	Oid			referenced;
	Oid			index;			/* of the key referred to */
} ForeignKey;

/* Of the tables, what they are partitions of, and their partitions */
static const char *const keys_query =
"WITH loaded AS (SELECT relation AS oid FROM flo.unchecked_tables WHERE group_name = $1 AND worker_name = $2),"
" tables AS (SELECT oid FROM loaded UNION SELECT a.relid FROM loaded l, pg_partition_ancestors(l.oid) a"
" UNION SELECT t.relid FROM loaded l, pg_partition_tree(l.oid) t)"
" SELECT c.oid, c.conname, c.conrelid::oid, c.confrelid::oid, c.conindid::oid FROM pg_constraint c"
" WHERE c.contype = 'f' AND c.conparentid = 0 AND c.convalidated"
" AND (c.conrelid IN (SELECT oid FROM tables) OR c.confrelid IN (SELECT oid FROM tables))"
" AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = c.oid AND g.tgrelid = c.conrelid AND g.tgenabled = 'D')"
" ORDER BY c.oid";

void
flo_foreign_keys_unchecked(const FloWorkerSpec *spec, Oid relation)
{
	flo_sql_do(SPI_OK_INSERT,
			   "INSERT INTO flo.unchecked_tables VALUES ($1, $2, $3::oid) ON CONFLICT DO NOTHING",
			   3, spec->group, spec->worker, psprintf("%u", relation));
}

bool
flo_foreign_keys_are_unchecked(const FloWorkerSpec *spec)
{
	return flo_sql_do(SPI_OK_SELECT, "SELECT FROM flo.unchecked_tables WHERE group_name = $1 AND worker_name = $2 LIMIT 1",
					  2, spec->group, spec->worker) > 0;
}

void
flo_foreign_keys_checked(const FloWorkerSpec *spec)
{
	flo_sql_do(SPI_OK_DELETE,
			   "DELETE FROM flo.unchecked_tables WHERE group_name = $1 AND worker_name = $2",
			   2, spec->group, spec->worker);
}

static Oid
oid_of(const FloSqlSession *sql, uint64 row, int column)
{
	return (Oid) strtoul(flo_sql_text(sql, row, column), NULL, 10);
}

/* List of ForeignKey *, in the current memory context */
static List *
keys_to_check(const FloWorkerSpec *spec)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *keys = NIL;
	FloSqlSession sql;
	uint64		rows;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, keys_query, 2, spec->group, spec->worker);
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(sql.caller);
		ForeignKey *key = palloc(sizeof(ForeignKey));

		key->constraint = oid_of(&sql, i, 1);
		key->name = flo_sql_text(&sql, i, 2);
		key->referencing = oid_of(&sql, i, 3);
		key->referenced = oid_of(&sql, i, 4);
		key->index = oid_of(&sql, i, 5);
		keys = lappend(keys, key);
		MemoryContextSwitchTo(spi);
	}
	flo_sql_end(&sql);
	flo_transaction_end(context);
	return keys;
}

/* As the owner of the referencing table: operators of its types are anybody's code */
static void
check_key(const ForeignKey *key, Relation referencing, Relation referenced)
{
	Trigger		trigger = {0};
	FloAsRole	as;
	bool		checked;

	trigger.tgname = key->name;
	trigger.tgenabled = TRIGGER_FIRES_ON_ORIGIN;
	trigger.tgisinternal = true;
	trigger.tgconstrrelid = key->referenced;
	trigger.tgconstrindid = key->index;
	trigger.tgconstraint = key->constraint;
	flo_as_role_enter(&as, referencing->rd_rel->relowner, FLO_AS_ROLE_RESTRICTED);
	checked = RI_Initial_Check(&trigger, referencing, referenced);
	flo_as_role_leave(&as);
	if (!checked)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("foreign key \"%s\" of table \"%s\" cannot be checked after the copy",
						key->name, RelationGetRelationName(referencing)),
				 errdetail("Role \"%s\", the owner of the table, must not read all of it and of table \"%s\".",
						   GetUserNameFromId(referencing->rd_rel->relowner, true),
						   RelationGetRelationName(referenced)),
				 errhint("Grant SELECT on both, without row-level security, to that role.")));
}

/* For people */
static void
note_count(const FloWorkerSpec *spec, int count)
{
	MemoryContext old = flo_transaction_begin();

	flo_copies_keys(spec->group, spec->worker, 0, count);
	flo_transaction_end(old);
}

void
flo_foreign_keys_check(const FloWorkerSpec *spec)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(old, "pg_flo foreign keys",
												  ALLOCSET_DEFAULT_SIZES);
	List	   *keys;
	ListCell   *cell;

	MemoryContextSwitchTo(context);
	keys = keys_to_check(spec);
	if (keys != NIL)
		note_count(spec, list_length(keys));
	foreach(cell, keys)
	{
		ForeignKey *key = lfirst(cell);
		Relation	referencing;
		Relation	referenced;

		flo_check_interrupts();
		flo_state_set(FLO_STATE_COPYING, "checking foreign keys: %d of %d",
					  foreach_current_index(cell) + 1, list_length(keys));
		flo_error_context.operation = psprintf("check of foreign key \"%s\" after the copy",
											   key->name);
		(void) flo_transaction_begin();
		MemoryContextSwitchTo(context);
		flo_copies_keys(spec->group, spec->worker, foreach_current_index(cell) + 1,
						list_length(keys));

		/* dropped meanwhile: with its table, or before we had the lock */
		referencing = try_table_open(key->referencing, RowShareLock);
		referenced = referencing != NULL ? try_table_open(key->referenced, RowShareLock) : NULL;
		if (referenced != NULL && get_constraint_name(key->constraint) != NULL)
			check_key(key, referencing, referenced);
		if (referenced != NULL)
			table_close(referenced, NoLock);
		if (referencing != NULL)
			table_close(referencing, NoLock);
		flo_transaction_end(context);
		flo_error_context_clear();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
