/*
 * ddl_filter.c
 *		Which DDL statements concern a group.
 *
 * Decided while decoding, with the catalogs as they were just before the
 * statement: a table belongs to the group when it, or a partitioned table
 * above it, is in one of the group's publications.  What does not exist yet
 * belongs to it when its schema does, or when it takes the place of a table that
 * was listed and is no more.  What is left out the session has said.  A group
 * with a table list is sent what is done to these tables and what belongs to them
 * (indexes, owned sequences, constraints, comments, types their columns use);
 * triggers, policies, rules, views and functions only travel where a whole schema
 * does.
 *
 * That a statement has ended concerns a group when its beginning did.  What it
 * is about then, when names and membership may be others, was said at the
 * beginning; what its tables look like is read here, as they are at this point
 * of WAL.
 *
 * Awkward: nothing may be locked while WAL is decoded, since the transaction that
 * is decoded may be open, and no definition may be an error for good: what
 * cannot be written down, too deep an expression say, is left out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "bus/records.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/definition.h"
#include "conf/publication.h"
#include "core/attempt.h"
#include "core/compat_statement.h"
#include "miscadmin.h"
#include "source/ddl_filter.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "wire/ddl.h"

/*
 * ms that a definition waits for a lock: before the session that holds it looks
 * for a deadlock, and finds us
 */
#define LOCK_PATIENCE 100

/* A statement that has begun, as it was sent on: of the group, and not over yet */
typedef struct Begun
{
	int64		id;
	TransactionId xid;			/* top-level transaction */
	char	   *statement;
} Begun;

struct FloDdlFilter
{
	MemoryContext own;			/* of this, and of what has begun */
	MemoryContext context;		/* of what is loaded */
	char	   *group;
	bool		track;
	bool		with_owner;
	bool		with_privileges;
	List	   *publications;	/* of char * */
	FloTableChoice *choice;
	bool		announced;		/* as it was loaded */

	List	   *first;			/* of FloChosen *: tables that destinations
								 * know without a statement */
	List	   *begun;			/* of Begun * */
};

FloDdlFilter *
flo_ddl_filter_create(void)
{
	FloDdlFilter *filter = palloc0(sizeof(FloDdlFilter));

	filter->own = CurrentMemoryContext;
	filter->context = AllocSetContextCreate(filter->own, "pg_flo DDL filter",
											ALLOCSET_SMALL_SIZES);
	return filter;
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *cell;

	foreach(cell, names)
		copy = lappend(copy, pstrdup(lfirst(cell)));
	return copy;
}

void
flo_ddl_filter_load(FloDdlFilter *filter, const FloReplicatorSpec *spec,
					const FloTableChoice *choice)
{
	List	   *publications = flo_publication_names(spec->group);
	MemoryContext old;

	MemoryContextReset(filter->context);
	old = MemoryContextSwitchTo(filter->context);
	filter->group = pstrdup(spec->group);
	filter->track = spec->track_ddl;
	filter->with_owner = spec->options.schema_owner;
	filter->with_privileges = spec->options.schema_privileges;
	filter->publications = copy_names(publications);
	filter->choice = flo_choice_copy(choice);
	filter->announced = false;
	filter->first = flo_store_first_tables(spec->group);
	MemoryContextSwitchTo(old);
}

void
flo_ddl_filter_announce(FloDdlFilter *filter, FloBus *bus, const char *bucket)
{
	FloTrackedRecord record = {0};
	ListCell   *cell;

	if (filter->announced || filter->choice == NULL)
		return;
	record.all = filter->track && filter->choice->all;
	foreach(cell, filter->choice->schemas)
	{
		if (filter->track && !((FloChosen *) lfirst(cell))->former)
			record.schemas = lappend(record.schemas, ((FloChosen *) lfirst(cell))->name);
	}
	flo_records_put(bus, bucket, FLO_TRACKED_KEY, &flo_tracked_format, &record, false);
	list_free(record.schemas);
	filter->announced = true;
}

static bool
is_listed(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static bool
is_in_publications(FloDdlFilter *filter, Oid relation)
{
	List	   *publications = flo_compat_publications_of(relation);
	ListCell   *cell;

	foreach(cell, publications)
	{
		char	   *name = get_publication_name(lfirst_oid(cell), true);

		if (name != NULL && is_listed(filter->publications, name))
			return true;
	}
	return false;
}

static bool
is_published(FloDdlFilter *filter, Oid relation)
{
	ListCell   *cell;

	if (is_in_publications(filter, relation))
		return true;
	if (!get_rel_relispartition(relation))
		return false;
	foreach(cell, get_partition_ancestors(relation))
	{
		if (is_in_publications(filter, lfirst_oid(cell)))
			return true;
	}
	return false;
}

/*
 * Tables that use the type, and types: arrays of it, domains over it, composites with it.
 * Nothing is looked up meanwhile: while a transaction in progress is decoded, the end of
 * a scan of catalogs makes the server refuse to go on with one that it was within.
 */
static void
find_users(Oid type, List **tables, List **types)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TypeRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->classid == RelationRelationId)
			*tables = lappend_oid(*tables, form->objid);
		else if (form->classid == TypeRelationId)
			*types = lappend_oid(*types, form->objid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/* A table of the group's with a column of this type, 0 = there is none */
static Oid
published_user_of(FloDdlFilter *filter, Oid type, int depth)
{
	List	   *tables = NIL;
	List	   *types = NIL;
	Oid			used = InvalidOid;
	ListCell   *cell;

	find_users(type, &tables, &types);
	foreach(cell, tables)
	{
		if (is_published(filter, lfirst_oid(cell)))
			return lfirst_oid(cell);
	}
	foreach(cell, types)
	{
		if (depth < 8 && !OidIsValid(used))
			used = published_user_of(filter, lfirst_oid(cell), depth + 1);
	}
	return used;
}

static bool
is_excepted(FloDdlFilter *filter, const FloDdlObject *object)
{
	return is_listed(object->left_out_of, filter->group) ||
		(OidIsValid(object->relation) && flo_choice_excepts(filter->choice, object->relation));
}

static bool
is_covered(FloDdlFilter *filter, const FloDdlObject *object)
{
	if (is_excepted(filter, object))
		return false;
	if (flo_choice_has_schema(filter->choice, object->schema))
		return true;
	if (is_listed(object->listed_in, filter->group))
		return true;
	if (OidIsValid(object->relation) && !object->attached && is_published(filter, object->relation))
		return true;
	return OidIsValid(object->oid) && OidIsValid(published_user_of(filter, object->oid, 0));
}

static bool
is_first(FloDdlFilter *filter, Oid relation, const char *schema, const char *name)
{
	ListCell   *cell;

	if (!OidIsValid(relation) || schema == NULL || name == NULL)
		return false;
	foreach(cell, filter->first)
	{
		const FloChosen *table = lfirst(cell);

		if (table->object == relation)
			return strcmp(table->name, quote_qualified_identifier(schema, name)) == 0;
	}
	return false;
}

/*
 * Is the table that it is or belongs to, or that uses it, one that destinations
 * have under its name?  Others they know from the statement that made them.
 */
static void
note_member(FloDdlFilter *filter, FloDdlObject *object)
{
	Oid			user = OidIsValid(object->oid) && !OidIsValid(object->relation) ?
		published_user_of(filter, object->oid, 0) : InvalidOid;

	if (OidIsValid(user))
	{
		object->table_schema = get_namespace_name(get_rel_namespace(user));
		object->table_name = get_rel_name(user);
	}
	object->member = is_first(filter, OidIsValid(user) ? user : object->relation,
							  object->table_schema, object->table_name);
}

/*
 * Keep the objects that are the group's; those of a list are taken out one by
 * one.  What is done with a table left out (made, attached to one of the
 * group's) is not for others to know.
 */
static List *
covered_objects(FloDdlFilter *filter, const FloDdlStatement *ddl)
{
	List	   *covered = NIL;
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		FloDdlObject *object = lfirst(cell);

		object->member = false;
		if (is_covered(filter, object))
		{
			note_member(filter, object);
			object->apart = OidIsValid(object->relation) && !is_published(filter, object->relation);
			object->leaves = object->new_schema != NULL &&
				strcmp(object->new_schema, object->schema) != 0 &&
				strcmp(object->type, "schema") != 0 &&
				!flo_choice_has_schema(filter->choice, object->new_schema);
			covered = lappend(covered, object);
		}
		else if (object->position < 0 && is_excepted(filter, object))
			return NIL;
		else if (object->position < 0)
			rest = lappend(rest, object);
	}
	return covered == NIL ? NIL : list_concat(covered, rest);
}

/* What other groups choose is not for this one's readers */
static void
forget_choices(const List *objects)
{
	ListCell   *cell;

	foreach(cell, objects)
	{
		FloDdlObject *object = lfirst(cell);

		object->left_out_of = object->listed_in = NIL;
	}
}

/* Names of what belongs to a table left out are not for others to know, either */
static List *
covered_names(FloDdlFilter *filter, const List *named)
{
	List	   *covered = NIL;
	ListCell   *cell;

	foreach(cell, named)
	{
		FloNamed   *one = lfirst(cell);
		FloDdlObject owner = {
			.schema = one->schema,
			.name = one->of,
			.relation = one->relation,
			.oid = one->oid
		};

		if (is_covered(filter, &owner))
			covered = lappend(covered, one);
	}
	return covered;
}

/* --- definitions --------------------------------------------------------- */

/* Tables of the group that the statement is about, as they are called now */
static List *
tables_now(FloDdlFilter *filter, const FloDdlStatement *ddl)
{
	List	   *tables = NIL;
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		Oid			table = object->relation;
		char	   *schema;

		if (object->creates && strcmp(object->type, "table") == 0)
			table = get_relname_relid(object->name, get_namespace_oid(object->schema, true));
		schema = OidIsValid(table) ? get_namespace_name(get_rel_namespace(table)) : NULL;
		if (schema != NULL && !flo_choice_excepts(filter->choice, table) &&
			(flo_choice_has_schema(filter->choice, schema) || is_published(filter, table)))
			tables = list_append_unique_oid(tables, table);
	}
	return tables;
}

typedef struct Definition
{
	StringInfo	out;
	Oid			table;
} Definition;

static void
append_definition(void *arg)
{
	Definition *definition = arg;
	Relation	relation = RelationIdGetRelation(definition->table);

	if (!RelationIsValid(relation))
		return;
	appendStringInfoString(definition->out, definition->out->len > 1 ? ", " : "");
	flo_definition_append(definition->out, relation);
	RelationClose(relation);

	/* a time-out that comes too late is of no concern to what follows */
	CHECK_FOR_INTERRUPTS();
}

/*
 * Nothing is appended when it cannot be written down.  The server locks the
 * composite types that a default has, and the transaction that is decoded may be
 * open and hold one against everybody: that is not waited for, nor is a lock kept.
 */
static void
append_definition_if_possible(StringInfo out, Oid table)
{
	Definition	definition = {out, table};
	int			before = out->len;
	int			timeout = LockTimeout;
	ErrorData  *error;

	LockTimeout = LOCK_PATIENCE;
	error = flo_attempt(append_definition, &definition, false);
	LockTimeout = timeout;
	if (error == NULL)
		return;

	/*
	 * the transaction that is decoded was aborted meanwhile, or we are to
	 * stop
	 */
	if (error->sqlerrcode == ERRCODE_TRANSACTION_ROLLBACK ||
		error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	out->len = before;
	out->data[before] = '\0';
	ereport(LOG,
			(errmsg("an event of DDL tells no definition of table %u: %s", table, error->message)));
}

/* As JSON, NULL when there is nothing to tell */
static Jsonb *
definitions(const List *tables)
{
	StringInfoData buf;
	ListCell   *cell;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '[');
	foreach(cell, tables)
		append_definition_if_possible(&buf, lfirst_oid(cell));
	appendStringInfoChar(&buf, ']');
	return buf.len > 2 ? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data))) :
		NULL;
}

/* --- messages ------------------------------------------------------------ */

static void
keep_begun(FloDdlFilter *filter, int64 id, TransactionId xid, const char *statement)
{
	MemoryContext old = MemoryContextSwitchTo(filter->own);
	Begun	   *begun = palloc(sizeof(Begun));

	begun->id = id;
	begun->xid = xid;
	begun->statement = pstrdup(statement);
	filter->begun = lappend(filter->begun, begun);
	MemoryContextSwitchTo(old);
}

static void
drop_begun(FloDdlFilter *filter, Begun *begun)
{
	filter->begun = list_delete_ptr(filter->begun, begun);
	pfree(begun->statement);
	pfree(begun);
}

/*
 * What was sent on of the statement when it began, and is kept if it
 * "goes_on"; NULL when it is not the group's
 */
static FloDdlStatement *
take_begun(FloDdlFilter *filter, int64 id, TransactionId xid, bool goes_on)
{
	FloDdlStatement *ddl;
	ListCell   *cell;

	foreach(cell, filter->begun)
	{
		Begun	   *begun = lfirst(cell);

		if (begun->id != id || begun->xid != xid)
			continue;
		ddl = flo_ddl_parse(begun->statement);
		if (!goes_on)
			drop_begun(filter, begun);
		return ddl;
	}
	return NULL;
}

void
flo_ddl_filter_forget(FloDdlFilter *filter, TransactionId xid)
{
	ListCell   *cell;

	foreach(cell, list_copy(filter->begun))
	{
		if (((Begun *) lfirst(cell))->xid == xid)
			drop_begun(filter, lfirst(cell));
	}
}

static char *
end_statement(FloDdlFilter *filter, const FloMessage *message)
{
	FloDdlEnd  *end = flo_ddl_end_parse(pnstrdup(message->payload, message->len));
	FloDdlStatement *ddl = take_begun(filter, end->id, (TransactionId) message->transaction,
									  end->goes_on);

	if (ddl == NULL)
		return NULL;
	ddl->phase = end->goes_on || ddl->phase == FLO_DDL_BOTH ? FLO_DDL_NAMES : FLO_DDL_AFTER;
	ddl->named = covered_names(filter, end->named);
	if (ddl->phase == FLO_DDL_NAMES && ddl->named == NIL)
		return NULL;
	if (ddl->phase == FLO_DDL_AFTER && ddl->defines)
		ddl->tables = definitions(tables_now(filter, ddl));
	return flo_ddl_format(ddl);
}

static char *
begin_statement(FloDdlFilter *filter, const FloMessage *message)
{
	FloDdlStatement *ddl = flo_ddl_parse(pnstrdup(message->payload, message->len));
	char	   *statement;
	ListCell   *cell;

	if ((ddl->about_owner && !filter->with_owner) ||
		(ddl->about_privileges && !filter->with_privileges))
		return NULL;
	ddl->objects = covered_objects(filter, ddl);
	if (ddl->objects == NIL)
		return NULL;
	foreach(cell, ddl->refers)
	{
		FloDdlObject *object = lfirst(cell);

		if (is_covered(filter, object))
			note_member(filter, object);
		else
			object->member = false;
	}
	ddl->with_owner = filter->with_owner;
	ddl->named = covered_names(filter, ddl->named);
	if (ddl->phase == FLO_DDL_BOTH && ddl->defines)
		ddl->tables = definitions(tables_now(filter, ddl));
	forget_choices(ddl->objects);
	forget_choices(ddl->refers);
	statement = flo_ddl_format(ddl);
	if (ddl->phase == FLO_DDL_BEFORE || (ddl->makes && !ddl->concurrent))
		keep_begun(filter, ddl->id, (TransactionId) message->transaction, statement);
	return statement;
}

char *
flo_ddl_filter_apply(FloDdlFilter *filter, const FloMessage *message)
{
	if (!filter->track)
		return NULL;
	return message->kind == FLO_MESSAGE_DDL_END ? end_statement(filter, message) :
		begin_statement(filter, message);
}
