/*
 * tables.c
 *		What flo.check() and flo.tables need to know and SQL cannot say as well:
 *		which tables a replicator's choice covers, whether each can be replicated,
 *		and why others are left out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "api/function.h"
#include "api/tables.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "conf/choice.h"
#include "conf/commit.h"
#include "conf/definition.h"
#include "conf/fence.h"
#include "conf/identity.h"
#include "conf/newtables.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "conf/tables.h"
#include "core/arguments.h"
#include "core/attempt.h"
#include "core/compat_acl.h"
#include "core/compat_table.h"
#include "core/names.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#define COLUMNS 3

FLO_FUNCTION(flo_covered_tables);
FLO_FUNCTION(flo_left_out_tables);
FLO_FUNCTION(flo_key_is_sent);
FLO_FUNCTION(flo_add_table);
FLO_FUNCTION(flo_remove_table);
FLO_FUNCTION(flo_table_schema);

/* Who only looks does so while others work: it waits for nobody */
bool
flo_try_to_read_table(Oid relation)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relation, NoLock, NULL))
	{
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return false;
	}
	return true;
}

/* What is seen of a table; locks are given back at once, so that who looks holds nobody up */
typedef struct Look
{
	Oid			relation;
	bool		via_root;
	bool		locked;			/* another session has it: nothing was seen */
	bool		has_identity;
	const char *lack;
} Look;

static void
look_at(void *arg)
{
	Look	   *look = arg;

	look->locked = !flo_try_to_read_table(look->relation);
	if (look->locked)
		return;
	look->has_identity = flo_tables_have_identity(look->relation, look->via_root);
	look->lack = flo_identity_lack(look->relation);
}

static Look
look(Oid relation, bool via_root)
{
	Look		seen = {.relation = relation,.via_root = via_root};
	ErrorData  *error = flo_attempt(look_at, &seen, false);

	if (error != NULL)
		ReThrowError(error);
	return seen;
}

/*
 * covered_tables(group_name): relation, whether it has a usable replica
 * identity, whether it is published
 */
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
		Look		seen = look(relation, via_root);
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS] = {false};

		values[0] = ObjectIdGetDatum(relation);
		/* one that is being changed is judged when that is over */
		values[1] = BoolGetDatum(seen.locked || seen.has_identity);
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

/* --- left_out_tables() --------------------------------------------------- */

/* Why a table that the group covers is not published */
static const char *
reason_of(const FloReplicatorSpec *replicator, const List *requests, Oid relation)
{
	Look		seen;
	ListCell   *lc;

	foreach(lc, requests)
	{
		if (((FloCopyRequest *) lfirst(lc))->relation == relation)
			return "it joins with its copy, which is still to come";
	}
	if (!OidIsValid(replicator->owner) || !flo_compat_class_ownercheck(relation, replicator->owner))
		return "it does not belong to the group's owner";
	seen = look(relation, replicator->options.publish_via_partition_root);
	if (seen.locked)
		return "another session uses it";
	if (seen.has_identity)
		return "it is not in the publication: add it with flo.add_table()";
	return seen.lack != NULL ? seen.lack : "it has no usable replica identity";
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

		if (class->relpersistence == RELPERSISTENCE_UNLOGGED &&
			flo_tables_is_kind(class->relkind) &&
			!flo_tables_left_out(choice, class->oid) &&
			!flo_tables_of_system(class->oid, class->relnamespace) &&
			(choice->all || list_member_oid(choice->schemas, class->relnamespace) ||
			 list_member_oid(choice->tables, class->oid) ||
			 flo_publication_sends(group, class->oid)))
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
		lack = look(lfirst_oid(lc), true).lack;
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
	{
		if (!flo_publication_has_table(group, lfirst_oid(lc)))
			put_left_out(result, lfirst_oid(lc), reason_of(replicator, requests, lfirst_oid(lc)));
	}
	foreach(lc, choice.except_tables)
		put_left_out(result, lfirst_oid(lc), "it is in except_tables");
	put_unlogged(result, group, &choice);
	put_astray(result, group);

	return (Datum) 0;
}

/* Publications check this too, but only once the replica identities have been looked at */
void
flo_check_table_owners(const List *relations)
{
	ListCell   *lc;

	foreach(lc, relations)
	{
		if (!flo_compat_class_ownercheck(lfirst_oid(lc), GetUserId()))
			aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, flo_tables_name(lfirst_oid(lc)));
	}
}

/* The argument of add_table() and remove_table(), with everything looked up */
static Oid
table_argument(FunctionCallInfo fcinfo, const char *group, FloTableChoice **entries,
			   FloTableOids *choice)
{
	flo_argument_require(fcinfo, 1, "table_name");
	flo_conf_require_member(group, FLO_REPLICATOR_MEMBER);
	*entries = flo_store_table_choice(group);
	flo_choice_look_up(*entries, choice);

	return PG_GETARG_OID(1);
}

/* The entries without those that are, or are called like, the table: those are removed */
static List *
choose_no_more(const char *group, const char *kind, List *entries, Oid relation)
{
	List	   *rest = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		if (flo_choice_is(lfirst(lc), relation))
			flo_store_remove_chosen(group, kind, lfirst(lc));
		else
			rest = lappend(rest, lfirst(lc));
	}
	return rest;
}

Datum
flo_add_table(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloTableChoice *entries;
	FloTableOids choice;
	Oid			relation = table_argument(fcinfo, group, &entries, &choice);
	char	   *name;

	flo_argument_require(fcinfo, 2, "copy");
	flo_tables_check_kind(relation);
	flo_check_table_owners(list_make1_oid(relation));
	name = flo_tables_name(relation);
	choice.except_tables = list_delete_oid(choice.except_tables, relation);
	choice.tables = list_append_unique_oid(choice.tables, relation);
	if (!flo_tables_cover(&choice, relation))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table %s is a partition of a table that group \"%s\" replicates", name,
						group)));
	if (flo_publication_has_table(group, relation))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("table %s is in group \"%s\" already", name, group)));
	flo_fence_require_lowered(group, FLO_FENCE_SOURCE,
							  "No table joins it, since nothing would come of its rows.");

	/* with a copy, the replicator adds it when the snapshot can be taken */
	if (PG_GETARG_BOOL(2))
		flo_store_request_copy(group, relation, FLO_REQUEST_ADD);
	else
		flo_publication_add_table(group, relation, &flo_store_replicator(group)->options);

	/* a group over schemas or everything may cover it without its being named */
	entries->except_tables = choose_no_more(group, "except", entries->except_tables, relation);
	flo_choice_look_up(entries, &choice);
	if (!flo_tables_cover(&choice, relation))
		flo_store_add_chosen(group, "table", flo_choice_entry(relation));
	flo_store_note_first_tables(group, list_make1_oid(relation), false);
	flo_newtables_identified(group);

	PG_RETURN_VOID();
}

Datum
flo_remove_table(PG_FUNCTION_ARGS)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloTableChoice *entries;
	FloTableOids choice;
	Oid			relation = table_argument(fcinfo, group, &entries, &choice);
	char	   *name;
	bool		withdrawn;
	bool		member;

	if (!OidIsValid(get_rel_namespace(relation)))
		flo_tables_check_kind(relation);
	name = flo_tables_name(relation);

	/*
	 * a copy that has not begun is none; one that has lets the table join
	 * before we look
	 */
	withdrawn = flo_store_withdraw_copy(group, relation);
	member = flo_publication_has_table(group, relation);
	if (!member && !withdrawn)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table %s is not in group \"%s\"", name, group),
				 errhint("flo.tables shows what is; a partition is there through its root.")));

	/*
	 * the choice first, or undoing the replica identity would let the table
	 * join again
	 */
	entries->tables = choose_no_more(group, "table", entries->tables, relation);
	flo_choice_look_up(entries, &choice);
	if (flo_tables_cover(&choice, relation))
		flo_store_add_chosen(group, "except", flo_choice_entry(relation));
	if (member)
		flo_publication_remove_table(group, relation);

	PG_RETURN_VOID();
}

void
flo_resync_table(FunctionCallInfo fcinfo)
{
	char	   *group = flo_argument_text(fcinfo, 0, "group_name");
	FloTableChoice *entries;
	FloTableOids choice;
	Oid			relation;

	relation = table_argument(fcinfo, group, &entries, &choice);
	if (!flo_publication_has_table(group, relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table %s is not in group \"%s\"", flo_tables_name(relation), group),
				 errhint("Add it with flo.add_table().")));
	flo_fence_require_lowered(group, FLO_FENCE_SOURCE, "No table of it is copied.");
	flo_store_request_copy(group, relation, FLO_REQUEST_ANEW);
}

Datum
flo_table_schema(PG_FUNCTION_ARGS)
{
	Relation	relation = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	StringInfoData out;

	if (relation == NULL)
		PG_RETURN_NULL();
	initStringInfo(&out);
	flo_definition_append(&out, relation);
	relation_close(relation, AccessShareLock);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data));
}
