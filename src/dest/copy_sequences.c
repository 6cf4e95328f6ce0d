/*
 * copy_sequences.c
 *		Where the source's sequences are.
 *
 * Values come with the copy, and later when flo.sync_sequences() is called.
 * What is set is never taken back by a rollback, which does no harm: a
 * sequence only ever moves on, and the same values come again.
 *
 * A message says which tables of the source own or use a sequence.  It is set
 * here only when the table to which such a one's rows go owns or uses it, too:
 * a sequence that merely has the same name is somebody else's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "bus/bucket_text.h"
#include "bus/stream.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/as_role.h"
#include "core/error_context.h"
#include "core/names.h"
#include "core/roles.h"
#include "core/transaction.h"
#include "dest/copy_sequences.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "wire/sequences.h"

/* Where rows of the source's table go, InvalidOid when nowhere */
static Oid
table_here(FloWorkerRules *rules, FloTableFilter *tables, const FloSequenceTable *table)
{
	FloRelation relation = {
		.schema = table->schema,
		.name = table->name,
		.version = flo_relation_new_version()
	};
	FloChange	change = {
		.op = FLO_OP_INSERT,
		.relation = &relation
	};
	const char *schema;
	const char *name;
	int64		mapped;

	if (flo_table_filter(tables, &change) == NULL)
		return InvalidOid;
	(void) flo_worker_rules_name(rules, table->schema, table->name, &schema, &name, &mapped);
	if (strcmp(schema, "flo") == 0)
		return InvalidOid;
	return get_relname_relid(name, get_namespace_oid(schema, true));
}

/*
 * Does one of the tables own the sequence or use it in a default?  SPI is
 * connected.
 */
static bool
is_of_tables(Oid sequence, Datum *tables, int count)
{
	Oid			types[2] = {OIDOID, OIDARRAYOID};
	Datum		values[2] = {ObjectIdGetDatum(sequence),
	PointerGetDatum(construct_array(tables, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT))};

	if (SPI_execute_with_args("SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							  " AND d.objid = $1 AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							  " AND d.refobjid = ANY ($2) AND d.deptype IN ('a', 'i')"
							  " UNION ALL"
							  " SELECT FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d"
							  " ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = a.oid"
							  " WHERE a.adrelid = ANY ($2) AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
							  " AND d.refobjid = $1", 2, types, values, NULL, true,
							  1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for the tables of a sequence");
	return SPI_processed > 0;
}

/* The sequence here; InvalidOid, told in the log, when it is none of the group's */
static Oid
find_sequence(FloWorkerRules *rules, FloTableFilter *tables, const FloSequence *sequence)
{
	Oid			relation = get_relname_relid(sequence->name,
											 get_namespace_oid(sequence->schema, true));
	Datum	   *here = palloc(sizeof(Datum) * Max(1, list_length(sequence->tables)));
	int			count = 0;
	ListCell   *cell;

	foreach(cell, sequence->tables)
	{
		Oid			table = table_here(rules, tables, lfirst(cell));

		if (OidIsValid(table) && !IsCatalogRelationOid(table))
			here[count++] = ObjectIdGetDatum(table);
	}
	if (count == 0 && sequence->tables != NIL && tables != NULL)
		return InvalidOid;		/* of tables that this worker is not to take */
	if (OidIsValid(relation) && get_rel_relkind(relation) == RELKIND_SEQUENCE &&
		is_of_tables(relation, here, count))
		return relation;
	ereport(LOG,
			(errmsg("sequence \"%s.%s\" of the source is not set here", sequence->schema,
					sequence->name),
			 OidIsValid(relation) ?
			 errdetail("No table that rows of the group go to owns it or uses it in a default.") :
			 errdetail("There is none of this name.")));
	return InvalidOid;
}

/* Who sets it */
static Oid
owner_of(Oid sequence, const FloWorkerSpec *spec)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(sequence));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", sequence);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	if (spec->options.run_as_owner)
		return spec->owner;
	if (!flo_role_can_become(spec->owner, owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" must not set sequence \"%s\" as its owner \"%s\"",
						GetUserNameFromId(spec->owner, true), get_rel_name(sequence),
						GetUserNameFromId(owner, true)),
				 errhint("Grant role \"%s\" to \"%s\", or set the worker's option run_as_owner.",
						 GetUserNameFromId(owner, true), GetUserNameFromId(spec->owner, true))));
	return owner;
}

/* SPI is connected */
static void
set_sequence(Oid relation, const FloSequence *sequence, const FloWorkerSpec *spec)
{
	Oid			types[2] = {INT8OID, BOOLOID};
	Datum		values[2] = {
		Int64GetDatum(sequence->last_value), BoolGetDatum(sequence->is_called)
	};
	FloAsRole	as;
	char	   *query;

	query = psprintf("SELECT pg_catalog.setval(%u::pg_catalog.oid::pg_catalog.regclass, $1, $2)"
					 " FROM %s v, pg_catalog.pg_sequence s WHERE s.seqrelid = %u"
					 " AND (CASE WHEN s.seqincrement > 0 THEN $1 > v.last_value ELSE $1 < v.last_value END"
					 " OR ($1 = v.last_value AND $2 AND NOT v.is_called))",
					 relation, quote_qualified_identifier(sequence->schema, sequence->name),
					 relation);
	flo_as_role_enter(&as, owner_of(relation, spec), FLO_AS_ROLE_RESTRICTED);
	if (SPI_execute_with_args(query, 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not set sequence %s", sequence->name);
	flo_as_role_leave(&as);
}

void
flo_sequences_set(const FloWorkerSpec *spec, FloWorkerRules *rules, FloTableFilter *tables,
				  const char *message, int len)
{
	bool		pushed = !ActiveSnapshotSet();
	ListCell   *cell;

	flo_error_context.operation = "setval";
	if (pushed)
		PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	foreach(cell, flo_sequences_parse(FLO_SEQUENCES_KEY, spec->group, message, len))
	{
		const FloSequence *sequence = lfirst(cell);
		Oid			relation;

		flo_error_context.schema = sequence->schema;
		flo_error_context.table = sequence->name;
		relation = find_sequence(rules, tables, sequence);
		if (OidIsValid(relation))
			set_sequence(relation, sequence, spec);
	}
	flo_error_context.schema = flo_error_context.table = NULL;
	SPI_finish();
	if (pushed)
		PopActiveSnapshot();
}

void
flo_sequences_take(FloBus *bus, const FloWorkerSpec *spec, const char *generation)
{
	MemoryContext old;
	char	   *values = flo_bucket_get_text(bus, flo_name_bucket(spec->group), FLO_SEQUENCES_KEY,
											 generation);
	FloWorkerRules *rules;
	FloTableFilter *tables = NULL;

	if (values == NULL)
		return;
	rules = flo_worker_rules_open(spec, generation);
	if (spec->options.tables != NULL)
		tables = flo_table_filter_create(CurrentMemoryContext, spec->options.tables);
	old = flo_transaction_begin();
	flo_sequences_set(spec, rules, tables, values, strlen(values));
	ForceSyncCommit();
	flo_transaction_end(old);
	flo_error_context_clear();
}
