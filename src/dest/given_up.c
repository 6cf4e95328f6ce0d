/*
 * given_up.c
 *		The worker's side of tables that are given up.
 *
 * Such a table is to a worker what one is whose copy it awaits, only that
 * nobody has asked for the copy: changes of it are left out of the stream,
 * whatever is wrong with it here, and other tables of the same transactions go on.
 * What has been left out can only be made good by a copy, so nothing but that
 * ends it: one that was asked for since, when it is in (copy_receive.c).
 *
 * Definitions are followed all the same, as far as they can be: the copy to come
 * needs a table that fits.  What fails is noted in flo.ddl_log and passed over.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "core/transaction.h"
#include "dest/copy_state.h"
#include "dest/given_up.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

void
flo_given_up_list(FloWorker *w)
{
	int64		last = w->last_given_up;
	ListCell   *cell;

	w->gives_up = false;
	foreach(cell, flo_given_up_tables(w->group, w->worker))
	{
		FloGivenUp *given_up = lfirst(cell);
		FloCopiedTable *table = given_up->relation != 0 ?
			flo_copied_find(w->copied, given_up->relation) : NULL;

		if (table == NULL)
		{
			table = palloc0(sizeof(FloCopiedTable));
			table->relation = given_up->relation;
			table->schema = given_up->schema;
			table->table = given_up->table;
			w->copied = lappend(w->copied, table);
		}
		table->given_up = given_up;
		w->gives_up = true;
		w->last_given_up = Max(w->last_given_up, given_up->id);
	}
	if (w->last_given_up > last && w->sink != NULL && !w->sink->ops->transactional)
		w->begins_again = w->options_stale = true;
}

/* What the list of copied tables knows of it, too.  Undone with the batch. */
static void
keep(FloWorker *w, FloCopiedTable *table, uint32 relation, const char *schema, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(w->copied_context);
	FloCopiedTable *known = flo_copied_find(w->copied, relation);

	if (known != NULL)
		known->given_up = table->given_up;
	table->given_up->relation = table->relation = relation;
	table->given_up->schema = pstrdup(schema);
	table->given_up->table = pstrdup(name);
	MemoryContextSwitchTo(old);
	w->batch_has_copies = true;
}

/*
 * Write down how the table is known and called now, and that something of it is
 * passed over, if so.  Mostly there is nothing to do.
 */
static void
note(FloWorker *w, FloCopiedTable *table, uint32 relation, const char *schema, const char *name,
	 bool passed)
{
	FloGivenUp *given_up = table->given_up;
	bool		own = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;

	if ((given_up->begun || !passed) && given_up->relation == relation &&
		strcmp(given_up->schema, schema) == 0 && strcmp(given_up->table, name) == 0)
		return;
	if (own)
		(void) flo_transaction_begin();
	flo_given_up_note(given_up, relation, schema, name,
					  passed ? w->txn.final_lsn : InvalidXLogRecPtr, 0);
	if (own)
		flo_transaction_end(old);
	given_up->begun |= passed;
	keep(w, table, relation, schema, name);
}

/* True when the relation's table is given up */
static bool
pass_over(FloWorker *w, const FloRelation *relation)
{
	FloCopiedTable *table = flo_copied_find_described(w->copied, relation);

	if (table == NULL || table->given_up == NULL)
		return false;
	if (table->version != relation->version)
		note(w, table, relation->id, relation->schema, relation->name, true);
	table->version = relation->version;
	return true;
}

const FloChange *
flo_given_up_leave_out(FloWorker *w, const FloChange *change)
{
	const FloChange *rest = flo_copied_leave_out(w->copied, w->copied_before, w->txn.final_lsn,
												 change);

	if (rest == change || !w->gives_up)
		return rest;
	if (change->op != FLO_OP_TRUNCATE)
		w->tally.open.filtered += pass_over(w, change->relation);
	else
		for (int i = 0; i < change->ntruncated; i++)
			w->tally.open.filtered += pass_over(w, change->truncated[i].relation);
	return rest;
}

List *
flo_given_up_here(FloWorker *w)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, w->copied)
	{
		const FloGivenUp *given_up = ((FloCopiedTable *) lfirst(cell))->given_up;
		const char *schema;
		const char *name;
		int64		mapped;
		Oid			namespace;
		Oid			relation;

		if (given_up == NULL)
			continue;
		(void) flo_worker_rules_name(w->rules, given_up->schema, given_up->table, &schema, &name,
									 &mapped);
		namespace = get_namespace_oid(schema, true);
		relation = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
		if (OidIsValid(relation))
			result = list_concat_unique_oid(result, find_all_inheritors(relation, NoLock, NULL));
	}
	return result;
}

/* --- statements ---------------------------------------------------------- */

FloCopiedTable *
flo_given_up_table_of(FloWorker *w, const FloDdlObject *object)
{
	const char *schema = object->table_schema != NULL ? object->table_schema : object->schema;
	const char *name = object->table_name != NULL ? object->table_name : object->name;
	FloCopiedTable *table;
	ListCell   *cell;

	if (OidIsValid(object->relation) &&
		(table = flo_copied_find(w->copied, object->relation)) != NULL)
		return table;
	foreach(cell, w->copied)
	{
		table = lfirst(cell);
		if ((table->relation == 0 || !OidIsValid(object->relation)) && schema != NULL &&
			strcmp(table->schema, schema) == 0 && strcmp(table->table, name) == 0)
			return table;
	}
	return NULL;
}

/* The given up table that an object of a statement is or belongs to; NULL when it is of none */
static FloCopiedTable *
own_of(FloWorker *w, const FloDdlObject *object)
{
	FloCopiedTable *table = OidIsValid(object->relation) ? flo_given_up_table_of(w, object) : NULL;

	return table != NULL && table->given_up != NULL ? table : NULL;
}

/* The one whose partition that table is */
static FloCopiedTable *
root_of(FloWorker *w, const FloDdlObject *object)
{
	ListCell   *cell;

	if (object->root_name == NULL)
		return NULL;
	foreach(cell, w->copied)
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->given_up != NULL && strcmp(table->given_up->schema, object->root_schema) == 0 &&
			strcmp(table->given_up->table, object->root_name) == 0)
			return table;
	}
	return NULL;
}

static bool
is_given_up(FloWorker *w, const FloDdlObject *object)
{
	return own_of(w, object) != NULL || root_of(w, object) != NULL;
}

/* The partitions that a statement attaches or detaches are named behind their table */
static bool
moves_partition(const FloDdlStatement *ddl, const FloDdlObject *object)
{
	return strcmp(ddl->tag, "ALTER TABLE") == 0 && object != linitial(ddl->objects);
}

bool
flo_given_up_concerns(FloWorker *w, const FloDdlStatement *ddl)
{
	bool		concerns = false;
	ListCell   *cell;

	if (!w->gives_up)
		return false;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (is_given_up(w, object))
			concerns = true;
		else if (moves_partition(ddl, object) && concerns)
			continue;			/* its rows are, or were, that table's */
		else if (OidIsValid(object->relation) || strcmp(object->type, "table") == 0)
			return false;
	}
	return concerns;
}

char *
flo_given_up_spreads(FloWorker *w, const FloDdlStatement *ddl)
{
	const FloDdlObject *whole = w->gives_up && ddl->objects != NIL ? linitial(ddl->objects) : NULL;
	ListCell   *cell;

	if (whole == NULL || is_given_up(w, whole))
		return NULL;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		char	   *name = quote_qualified_identifier(whole->schema, whole->name);

		if (moves_partition(ddl, object) && object->root_name == NULL && own_of(w, object) != NULL)
			return psprintf("rows of %s would be missing in %s then, since it is given up here; flo.give_up('%s', %s) gives up the latter, too, and is the way on: "
							"a copy of it has all rows",
							quote_qualified_identifier(object->schema, object->name), name,
							w->group, quote_literal_cstr(name));
	}
	return NULL;
}

/* It is no more: a new table of its name is another one, in the same transaction, too */
static void
forget(FloWorker *w, const FloGivenUp *given_up)
{
	ListCell   *cell;

	flo_given_up_forget(given_up);
	foreach(cell, w->copied)
	{
		if (((FloCopiedTable *) lfirst(cell))->given_up == given_up)
			((FloCopiedTable *) lfirst(cell))->given_up = NULL;
	}
}

/* Everything of a schema that is dropped, or has another name now */
static void
follow_schema(FloWorker *w, const FloDdlStatement *ddl, const FloDdlObject *schema)
{
	ListCell   *cell;

	foreach(cell, w->copied)
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->given_up == NULL || strcmp(table->given_up->schema, schema->name) != 0)
			continue;
		if (strcmp(ddl->tag, "DROP SCHEMA") == 0)
			forget(w, table->given_up);
		else if (schema->new_name != NULL)
			note(w, table, table->given_up->relation, schema->new_name, table->given_up->table,
				 false);
	}
}

static void
follow_table(FloWorker *w, const FloDdlStatement *ddl, const FloDdlObject *object)
{
	FloCopiedTable *own = own_of(w, object);
	FloCopiedTable *root = root_of(w, object);
	const FloDdlObject *whole = linitial(ddl->objects);

	if (root != NULL && moves_partition(ddl, object))
		flo_given_up_part(root->given_up, object->relation, object->schema, object->name);
	else if (own == NULL || object->creates)
		return;
	else if (strcmp(ddl->tag, "DROP TABLE") == 0 || object->leaves ||
			 (moves_partition(ddl, object) && is_given_up(w, whole)))
		forget(w, own->given_up);
	else
		note(w, own, object->relation,
			 object->new_schema != NULL ? object->new_schema : object->schema,
			 object->new_name != NULL ? object->new_name : object->name, false);
}

void
flo_given_up_follow(FloWorker *w, const FloDdlStatement *ddl)
{
	bool		own = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	if (!w->gives_up)
		return;
	if (own)
		(void) flo_transaction_begin();
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (strcmp(object->type, "schema") == 0)
			follow_schema(w, ddl, object);
		else if (strcmp(object->type, "table") == 0)
			follow_table(w, ddl, object);
	}
	if (own)
		flo_transaction_end(old);
	w->batch_has_copies = true;
}

/* --- copies -------------------------------------------------------------- */

/*
 * Nothing is loaded for a sink that is told nothing of rows copied later: it
 * goes on with the table
 */
static void
go_on(FloWorker *w, uint32 relation, uint32 request, uint32 attempt)
{
	ListCell   *cell;

	flo_given_up_ask(w->group, w->worker, relation, request, attempt);
	if (!flo_given_up_take(w->group, w->worker, relation))
		return;
	foreach(cell, w->copied)
	{
		if (((FloCopiedTable *) lfirst(cell))->relation == relation)
			((FloCopiedTable *) lfirst(cell))->given_up = NULL;
	}
}

void
flo_given_up_requested(FloWorker *w, const FloCopyNotice *notice)
{
	bool		own = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	if (!w->gives_up)
		return;
	if (own)
		(void) flo_transaction_begin();
	foreach(cell, w->copied)
	{
		FloCopiedTable *table = lfirst(cell);

		if (table->given_up == NULL || table->relation != 0 ||
			strcmp(table->schema, notice->schema) != 0 ||
			strcmp(table->table, notice->table) != 0)
			continue;
		flo_given_up_learn(w->group, w->worker, notice->relation, notice->schema, notice->table);
		keep(w, table, notice->relation, notice->schema, notice->table);
	}
	if (!w->sink->ops->transactional)
		go_on(w, notice->relation, notice->request, PG_INT32_MAX);
	if (own)
		flo_transaction_end(old);
}

void
flo_given_up_pass_marker(FloWorker *w, const List *keys)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, keys)
	{
		const FloCopyKey *key = lfirst(cell);

		go_on(w, key->relation, key->ordinal, key->attempt);
	}
	flo_transaction_end(old);
}
