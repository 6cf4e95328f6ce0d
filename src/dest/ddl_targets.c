/*
 * ddl_targets.c
 *		The objects of this database that a DDL statement names to change them.
 *
 * A statement of the source says names.  What they are here decides as whom it
 * runs and whether it may run at all, so they are looked up once, before
 * anything else, and in one place.  Tables and what belongs to them are looked
 * up without a lock: the statement takes its own, with patience.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/policy.h"
#include "commands/trigger.h"
#include "dest/ddl_targets.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteSupport.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* --- owners -------------------------------------------------------------- */

static Oid
database_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	owner = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
	ReleaseSysCache(tuple);
	return owner;
}

Oid
flo_ddl_actual_role(Oid role)
{
	return role == ROLE_PG_DATABASE_OWNER ? database_owner() : role;
}

Oid
flo_ddl_owner(Oid class, Oid object)
{
	AttrNumber	number = is_objectclass_supported(class) ? get_object_attnum_owner(class) :
		InvalidAttrNumber;
	Relation	catalog;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;
	bool		isnull;

	if (number == InvalidAttrNumber || !OidIsValid(object))
		return InvalidOid;
	catalog = table_open(class, AccessShareLock);
	tuple = get_catalog_object_by_oid(catalog, get_object_attnum_oid(class), object);
	if (HeapTupleIsValid(tuple))
		owner = DatumGetObjectId(heap_getattr(tuple, number, RelationGetDescr(catalog), &isnull));
	table_close(catalog, AccessShareLock);
	return flo_ddl_actual_role(owner);
}

Oid
flo_ddl_schema_owner(Oid schema)
{
	return flo_ddl_owner(NamespaceRelationId, schema);
}

Oid
flo_ddl_relation_owner(Oid relation)
{
	return flo_ddl_owner(RelationRelationId, relation);
}

Oid
flo_ddl_type_owner(Oid type)
{
	return flo_ddl_owner(TypeRelationId, type);
}

Oid
flo_ddl_target_owner(const FloDdlTarget *target)
{
	return OidIsValid(target->table) ? flo_ddl_relation_owner(target->table) :
		flo_ddl_owner(target->object.classId, target->object.objectId);
}

/* --- looking up ---------------------------------------------------------- */

static List *
add(List *targets, Oid class, Oid object, Oid table)
{
	FloDdlTarget *target;

	if (!OidIsValid(object))
		return targets;
	target = palloc0(sizeof(FloDdlTarget));
	ObjectAddressSet(target->object, class, object);
	target->table = table;
	return lappend(targets, target);
}

List *
flo_ddl_add_relation_target(List *targets, const RangeVar *name)
{
	return name == NULL ? targets :
		add(targets, RelationRelationId, RangeVarGetRelid(name, NoLock, true), InvalidOid);
}

/* What the statement joins to its object */
static List *
also_relation(List *targets, const RangeVar *name)
{
	List	   *more = flo_ddl_add_relation_target(NIL, name);

	if (more == NIL)
		return targets;
	((FloDdlTarget *) linitial(more))->also = true;
	return list_concat(targets, more);
}

static List *
add_type(List *targets, TypeName *name)
{
	return add(targets, TypeRelationId, LookupTypeNameOid(NULL, name, true), InvalidOid);
}

RangeVar *
flo_ddl_table_of_part(List *names)
{
	return list_length(names) < 2 ? NULL :
		makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1));
}

RangeVar *
flo_ddl_owned_by(List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "owned_by") == 0 && list_length((List *) option->arg) > 1)
			return flo_ddl_table_of_part((List *) option->arg);
	}
	return NULL;
}

static List *
add_part(List *targets, ObjectType type, const RangeVar *table, const char *name)
{
	Oid			relation = table != NULL ? RangeVarGetRelid(table, NoLock, true) : InvalidOid;

	if (!OidIsValid(relation))
		return targets;
	switch (type)
	{
		case OBJECT_TRIGGER:
			return add(targets, TriggerRelationId, get_trigger_oid(relation, name, true), relation);
		case OBJECT_POLICY:
			return add(targets, PolicyRelationId, get_relation_policy_oid(relation, name, true),
					   relation);
		case OBJECT_RULE:
			return add(targets, RewriteRelationId, get_rewrite_oid(relation, name, true), relation);
		default:				/* columns and constraints are the table */
			return add(targets, RelationRelationId, relation, InvalidOid);
	}
}

/* Whatever else has a name in the whole database or a schema */
static List *
add_other(List *targets, ObjectType type, Node *object)
{
	Relation	relation = NULL;
	ObjectAddress address = get_object_address(type, object, &relation, AccessShareLock, true);

	if (relation != NULL)
		relation_close(relation, NoLock);
	return add(targets, address.classId, address.objectId, InvalidOid);
}

/* An object as DROP, COMMENT and RENAME name it */
static List *
add_named(List *targets, ObjectType type, Node *object)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_FOREIGN_TABLE:
			return flo_ddl_add_relation_target(targets,
											   makeRangeVarFromNameList(castNode(List, object)));
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_RULE:
			return add_part(targets, type, flo_ddl_table_of_part(castNode(List, object)),
							strVal(llast(castNode(List, object))));
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			return add_type(targets, IsA(object, List) ? makeTypeNameFromNameList((List *) object) :
							castNode(TypeName, object));
		case OBJECT_DOMCONSTRAINT:
			return add_type(targets, linitial_node(TypeName, castNode(List, object)));
		default:
			return add_other(targets, type, object);
	}
}

/* --- statements ---------------------------------------------------------- */

static List *
targets_of_alter(AlterTableStmt *statement)
{
	List	   *targets = flo_ddl_add_relation_target(NIL, statement->relation);
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		Node	   *def = lfirst_node(AlterTableCmd, cell)->def;

		if (def != NULL && IsA(def, PartitionCmd))
			targets = also_relation(targets, ((PartitionCmd *) def)->name);
		else if (def != NULL && IsA(def, RangeVar))
			targets = also_relation(targets, (RangeVar *) def);
	}
	return targets;
}

static List *
targets_of_rename(RenameStmt *statement)
{
	switch (statement->renameType)
	{
		case OBJECT_SCHEMA:
			return add_other(NIL, OBJECT_SCHEMA, (Node *) makeString(statement->subname));
		case OBJECT_DOMCONSTRAINT:
			return add_named(NIL, OBJECT_DOMAIN, statement->object);
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_RULE:
			return add_part(NIL, statement->renameType, statement->relation, statement->subname);
		default:
			return statement->relation != NULL ?
				flo_ddl_add_relation_target(NIL, statement->relation) :
				add_named(NIL, statement->renameType, statement->object);
	}
}

static List *
targets_of_grant(GrantStmt *statement)
{
	List	   *targets = NIL;
	ListCell   *cell;

	if (statement->targtype == ACL_TARGET_OBJECT)
		foreach(cell, statement->objects)
	{
		if (IsA(lfirst(cell), RangeVar))
			targets = flo_ddl_add_relation_target(targets, lfirst(cell));
	}
	return targets;
}

static List *
targets_of_drop(DropStmt *statement)
{
	List	   *targets = NIL;
	ListCell   *cell;

	foreach(cell, statement->objects)
		targets = add_named(targets, statement->removeType, lfirst(cell));
	return targets;
}

/* What a statement that makes something joins it to, or replaces */
static List *
targets_of_create(Node *node)
{
	List	   *targets = NIL;
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_CreateStmt:
			foreach(cell, ((CreateStmt *) node)->inhRelations)
				targets = flo_ddl_add_relation_target(targets, lfirst_node(RangeVar, cell));
			return targets;
		case T_CreateSeqStmt:
			return flo_ddl_add_relation_target(NIL,
											   flo_ddl_owned_by(((CreateSeqStmt *) node)->options));
		case T_IndexStmt:
			return flo_ddl_add_relation_target(NIL, ((IndexStmt *) node)->relation);
		case T_CreateStatsStmt:
			return IsA(linitial(((CreateStatsStmt *) node)->relations), RangeVar) ?
				flo_ddl_add_relation_target(NIL, linitial(((CreateStatsStmt *) node)->relations)) :
				NIL;
		case T_ViewStmt:
			return flo_ddl_add_relation_target(NIL, ((ViewStmt *) node)->view);
		case T_CreateTrigStmt:
			return flo_ddl_add_relation_target(NIL, ((CreateTrigStmt *) node)->relation);
		case T_RuleStmt:
			return flo_ddl_add_relation_target(NIL, ((RuleStmt *) node)->relation);
		case T_CreatePolicyStmt:
			return flo_ddl_add_relation_target(NIL, ((CreatePolicyStmt *) node)->table);
		default:
			return NIL;
	}
}

List *
flo_ddl_targets(Node *node)
{
	switch (nodeTag(node))
	{
		case T_AlterTableStmt:
			return targets_of_alter((AlterTableStmt *) node);
		case T_DropStmt:
			return targets_of_drop((DropStmt *) node);
		case T_RenameStmt:
			return targets_of_rename((RenameStmt *) node);
		case T_GrantStmt:
			return targets_of_grant((GrantStmt *) node);
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) node)->relation != NULL ?
				flo_ddl_add_relation_target(NIL, ((AlterObjectSchemaStmt *) node)->relation) :
				add_named(NIL, ((AlterObjectSchemaStmt *) node)->objectType,
						  ((AlterObjectSchemaStmt *) node)->object);
		case T_AlterOwnerStmt:
			return ((AlterOwnerStmt *) node)->relation != NULL ?
				flo_ddl_add_relation_target(NIL, ((AlterOwnerStmt *) node)->relation) :
				add_named(NIL, ((AlterOwnerStmt *) node)->objectType,
						  ((AlterOwnerStmt *) node)->object);
		case T_CommentStmt:
			return add_named(NIL, ((CommentStmt *) node)->objtype, ((CommentStmt *) node)->object);
		case T_AlterSeqStmt:
			return also_relation(flo_ddl_add_relation_target(NIL,
															 ((AlterSeqStmt *) node)->sequence),
								 flo_ddl_owned_by(((AlterSeqStmt *) node)->options));
		case T_RefreshMatViewStmt:
			return flo_ddl_add_relation_target(NIL, ((RefreshMatViewStmt *) node)->relation);
		case T_AlterEnumStmt:
			return add_type(NIL, makeTypeNameFromNameList(((AlterEnumStmt *) node)->typeName));
		case T_AlterDomainStmt:
			return add_type(NIL, makeTypeNameFromNameList(((AlterDomainStmt *) node)->typeName));
		case T_AlterTypeStmt:
			return add_type(NIL, makeTypeNameFromNameList(((AlterTypeStmt *) node)->typeName));
		case T_AlterFunctionStmt:
			return add_named(NIL, ((AlterFunctionStmt *) node)->objtype,
							 (Node *) ((AlterFunctionStmt *) node)->func);
		case T_AlterOperatorStmt:
			return add_named(NIL, OBJECT_OPERATOR, (Node *) ((AlterOperatorStmt *) node)->opername);
		case T_AlterStatsStmt:
			return add_named(NIL, OBJECT_STATISTIC_EXT,
							 (Node *) ((AlterStatsStmt *) node)->defnames);
		case T_AlterPolicyStmt:
			return add_part(NIL, OBJECT_POLICY, ((AlterPolicyStmt *) node)->table,
							((AlterPolicyStmt *) node)->policy_name);
		default:
			return targets_of_create(node);
	}
}

List *
flo_ddl_models(Node *node)
{
	List	   *models = NIL;
	ListCell   *cell;

	if (IsA(node, CreateStmt))
		foreach(cell, ((CreateStmt *) node)->tableElts)
	{
		if (IsA(lfirst(cell), TableLikeClause))
			models = flo_ddl_add_relation_target(models,
												 ((TableLikeClause *) lfirst(cell))->relation);
	}
	return models;
}
