/*
 * preflight.c
 *		What flo.check() and flo.tables need to know and SQL cannot say as well:
 *		which tables a replicator's choice covers, whether each can be replicated,
 *		and why others are left out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "conf/api.h"
#include "conf/identity.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/compat.h"
#include "core/names.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define COLUMNS 3

PG_FUNCTION_INFO_V1(flo_covered_tables);
PG_FUNCTION_INFO_V1(flo_left_out_tables);
PG_FUNCTION_INFO_V1(flo_key_is_sent);

/* covered_tables(group_name): relation, whether it has a usable replica identity, whether it is published */
Datum
flo_covered_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	FloTableChoice *names;
	FloTableOids choice;
	FloReplicatorSpec *replicator;
	bool		via_root;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);

	names = flo_store_table_choice(group);
	if (names == NULL)
		return (Datum) 0;
	flo_choice_look_up(names, &choice);
	replicator = flo_store_replicator(group);
	via_root = replicator == NULL || replicator->options.publish_via_partition_root;

	foreach(lc, flo_tables_covered(&choice))
	{
		Oid			relation = lfirst_oid(lc);
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {false};

		values[0] = ObjectIdGetDatum(relation);
		values[1] = BoolGetDatum(flo_tables_have_identity(relation, via_root));
		values[2] = BoolGetDatum(flo_publication_has_table(group, relation));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}

	return (Datum) 0;
}

/* key_is_sent(index), without a lock */
Datum
flo_key_is_sent(PG_FUNCTION_ARGS)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, PG_GETARG_DATUM(0));
	Form_pg_index index;
	bool		sent = true;

	if (!HeapTupleIsValid(tuple))
		PG_RETURN_NULL();
	index = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < index->indnkeyatts && !FLO_SENDS_GENERATED; i++)
		sent &= get_attgenerated(index->indrelid, index->indkey.values[i]) == '\0';
	ReleaseSysCache(tuple);

	PG_RETURN_BOOL(sent);
}

/* --- left_out_tables() ---------------------------------------------------------- */

/* The function asks while others work: it waits for nobody */
static bool
try_lock(Oid relation)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relation, NoLock, NULL))
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return false;
	return true;
}

/* Why a table that the group covers is not published */
static const char *
reason_of(const FloReplicatorSpec *replicator, const List *requests, Oid relation)
{
	const char *lack;
	ListCell   *lc;

	foreach(lc, requests)
		if (((FloCopyRequest *) lfirst(lc))->relation == relation)
			return "it joins with its copy, which is still to come";
	if (!OidIsValid(replicator->owner) || !flo_compat_class_ownercheck(relation, replicator->owner))
		return "it does not belong to the group's owner";
	if (!try_lock(relation))
		return "another session uses it";
	if (flo_tables_have_identity(relation, replicator->options.publish_via_partition_root))
		return "it is not in the publication: add it with flo.add_table()";
	lack = flo_identity_lack(relation);
	return lack != NULL ? lack : "it has no usable replica identity";
}

static void
put_left_out(ReturnSetInfo *result, Oid relation, const char *reason)
{
	Datum		values[2] = {ObjectIdGetDatum(relation), CStringGetTextDatum(reason)};
	bool		nulls[2] = {false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Tables that would be the group's if they were logged, also as partitions */
static void
put_unlogged(ReturnSetInfo *result, const char *group, const FloTableOids *choice)
{
	Relation	rel = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if (class->relpersistence == RELPERSISTENCE_UNLOGGED && flo_tables_is_kind(class->relkind) &&
			!flo_tables_left_out(choice, class->oid) && !flo_tables_of_system(class->oid, class->relnamespace) &&
			(choice->all || list_member_oid(choice->schemas, class->relnamespace) ||
			 list_member_oid(choice->tables, class->oid) || flo_publication_sends(group, class->oid)))
			put_left_out(result, class->oid, "it is unlogged: its changes are not in the WAL");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
put_astray(ReturnSetInfo *result, const char *group)
{
	ListCell   *lc;

	foreach(lc, flo_store_astray(group))
	{
		const char *lack = NULL;

		if (get_rel_name(lfirst_oid(lc)) == NULL)
			continue;
		if (try_lock(lfirst_oid(lc)))
			lack = flo_identity_lack(lfirst_oid(lc));
		put_left_out(result, lfirst_oid(lc), lack != NULL ? lack :
					 "its replica identity does not identify a row of the table as which it is published");
	}
}

/* left_out_tables(group_name): relation, reason */
Datum
flo_left_out_tables(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *group = text_to_cstring(PG_GETARG_TEXT_PP(0));
	FloTableChoice *entries;
	FloTableOids choice;
	FloReplicatorSpec *replicator;
	List	   *requests;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	entries = flo_store_table_choice(group);
	replicator = flo_store_replicator(group);
	if (entries == NULL || replicator == NULL || flo_publication_names(group) == NIL)
		return (Datum) 0;
	flo_choice_look_up(entries, &choice);
	requests = flo_store_copy_requests(group);
	foreach(lc, flo_tables_covered(&choice))
		if (!flo_publication_has_table(group, lfirst_oid(lc)))
			put_left_out(result, lfirst_oid(lc), reason_of(replicator, requests, lfirst_oid(lc)));
	foreach(lc, choice.except_tables)
		put_left_out(result, lfirst_oid(lc), "it is in except_tables");
	put_unlogged(result, group, &choice);
	put_astray(result, group);

	return (Datum) 0;
}
