/*
 * given_up.c
 *		The worker's side of tables that are given up.
 *
 * Such a table is to a worker what one is whose copy it awaits, only that
 * nobody has asked for the copy: changes of it are left out of the stream,
 * whatever is wrong with it here, and other tables of the same transactions go on.
 * What has been left out can only be made good by a copy, so nothing but that
 * ends it: one that was asked for since, when it is in (receive.c).
 *
 * Definitions are followed all the same, as far as they can be: the copy to come
 * needs a table that fits.  What fails is noted in flo.ddl_log and passed over.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "core/transaction.h"
#include "dest/copied.h"
#include "dest/given_up.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

void
flo_given_up_list(FloWorker *w)
{
	ListCell   *cell;

	w->gives_up = false;
	foreach(cell, flo_given_up_tables(w->group, w->worker))
	{
		FloGivenUp *given_up = lfirst(cell);
		FloCopiedTable *table = given_up->relation != 0 ? flo_copied_find(w->copied, given_up->relation) : NULL;

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
	}
}

/*
 * Something of the table is passed over.  The first time, and when it has got
 * another name since, that is written down; mostly there is nothing to do.
 */
static void
note(FloWorker *w, FloCopiedTable *table, uint32 relation, const char *schema, const char *name)
{
	FloGivenUp *given_up = table->given_up;
	bool		own = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;

	if (given_up->begun && given_up->relation == relation &&
		strcmp(given_up->schema, schema) == 0 && strcmp(given_up->table, name) == 0)
		return;
	if (own)
		(void) flo_transaction_begin();
	flo_given_up_note(given_up, relation, schema, name, w->txn.final_lsn, 0);
	if (own)
		flo_transaction_end(old);
	MemoryContextSwitchTo(w->copies);
	given_up->begun = true;
	given_up->relation = table->relation = relation;
	given_up->schema = pstrdup(schema);
	given_up->table = pstrdup(name);
	MemoryContextSwitchTo(old);
	w->batch_has_copies = true; /* should the batch be undone, so is this */
}

/* True when the relation's table is given up */
static bool
pass_over(FloWorker *w, const FloRelation *relation)
{
	FloCopiedTable *table = flo_copied_find_described(w->copied, relation);

	if (table == NULL || table->given_up == NULL)
		return false;
	if (table->version != relation->version)
		note(w, table, relation->id, relation->schema, relation->name);
	table->version = relation->version;
	return true;
}

const FloChange *
flo_given_up_leave_out(FloWorker *w, const FloChange *change)
{
	const FloChange *rest = flo_copied_leave_out(w->copied, w->txn.final_lsn, change);

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
		(void) flo_reshape_name(w->reshape, given_up->schema, given_up->table, &schema, &name, &mapped);
		namespace = get_namespace_oid(schema, true);
		relation = OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
		if (OidIsValid(relation))
			result = lappend_oid(result, relation);
	}
	return result;
}

/* --- statements ------------------------------------------------------------------------- */

FloCopiedTable *
flo_given_up_table_of(FloWorker *w, const FloDdlObject *object)
{
	const char *schema = object->table_schema != NULL ? object->table_schema : object->schema;
	const char *name = object->table_name != NULL ? object->table_name : object->name;
	FloCopiedTable *table;
	ListCell   *cell;

	if (OidIsValid(object->relation) && (table = flo_copied_find(w->copied, object->relation)) != NULL)
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
		FloCopiedTable *table = object->creates && strcmp(object->type, "table") == 0 ? NULL : flo_given_up_table_of(w, object);

		if (table != NULL && table->given_up != NULL)
			concerns = true;
		else if (OidIsValid(object->relation) || strcmp(object->type, "table") == 0)
			return false;
	}
	return concerns;
}

void
flo_given_up_follow(FloWorker *w, const FloDdlStatement *ddl)
{
	ListCell   *cell;

	if (!w->gives_up)
		return;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		FloCopiedTable *table;

		if (strcmp(object->type, "table") != 0 || !OidIsValid(object->relation) ||
			(table = flo_given_up_table_of(w, object)) == NULL || table->given_up == NULL)
			continue;
		if (strncmp(ddl->tag, "DROP ", strlen("DROP ")) == 0)
		{
			flo_given_up_forget(w->group, w->worker, object->relation);
			w->batch_has_copies = true;
		}
		else if (table->relation == 0)
			note(w, table, object->relation, table->schema, table->table);
	}
}

/* --- without a copy ---------------------------------------------------------------------- */

void
flo_given_up_pass_marker(FloWorker *w, const List *keys)
{
	MemoryContext old = CurrentMemoryContext;
	ListCell   *cell;

	(void) flo_transaction_begin();
	foreach(cell, keys)
	{
		const FloCopyKey *key = lfirst(cell);

		flo_given_up_ask(w->group, w->worker, key->relation, key->ordinal, key->attempt);
		flo_given_up_take(w->group, w->worker, key->relation);
	}
	flo_transaction_end(old);
}
