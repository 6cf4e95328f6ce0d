/*
 * ddl_objects.c
 *		What a DDL statement is about.
 *
 * Names in a statement mean what the session's search_path makes of them, and
 * only until the statement has run; so they are resolved here, in the session,
 * before it runs.  Which table an object belongs to decides which groups the
 * statement concerns.
 *
 * Awkward: nothing may be locked here that the statement will want to lock
 * harder.  Tables are looked up without a lock; should one change its name at
 * this very moment, the statement itself will notice.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "conf/partition.h"
#include "core/as_role.h"
#include "core/compat_statement.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "source/ddl_classes.h"
#include "source/ddl_objects.h"
#include "source/ddl_replay.h"
#include "storage/lmgr.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define FLO_SCHEMA "flo"

bool
flo_ddl_is_candidate(Node *statement)
{
	return flo_ddl_class_travels(nodeTag(statement));
}

/* --- objects ------------------------------------------------------------- */

bool
flo_ddl_is_private_schema(Oid namespace)
{
	char	   *name = get_namespace_name(namespace);

	return name == NULL || isAnyTempNamespace(namespace) || strcmp(name, FLO_SCHEMA) == 0 ||
		strncmp(name, "pg_", 3) == 0 || strcmp(name, "information_schema") == 0;
}

static FloDdlObject *
add_object(FloDdlStatement *ddl, const char *type, Oid namespace, const char *name)
{
	FloDdlObject *object;

	if (flo_ddl_is_private_schema(namespace))
		return NULL;
	object = palloc0(sizeof(FloDdlObject));
	object->type = pstrdup(type);
	object->schema = get_namespace_name(namespace);
	object->name = pstrdup(name);
	object->position = -1;
	ddl->objects = lappend(ddl->objects, object);
	return object;
}

static const char *
type_of_relation(Oid relation)
{
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return "table";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "index";
		case RELKIND_SEQUENCE:
			return "sequence";
		case RELKIND_VIEW:
			return "view";
		case RELKIND_MATVIEW:
			return "materialized view";
		case RELKIND_COMPOSITE_TYPE:
			return "type";
		default:
			return NULL;		/* foreign tables, TOAST */
	}
}

/* The table that an existing relation is or belongs to; 0 when there is none */
static Oid
table_of_relation(Oid relation)
{
	Oid			table;
	int32		column;

	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return relation;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			table = IndexGetRelation(relation, true);
			return get_rel_relkind(table) == RELKIND_MATVIEW ? InvalidOid : table;
		case RELKIND_SEQUENCE:
			if (sequenceIsOwned(relation, DEPENDENCY_AUTO, &table, &column) ||
				sequenceIsOwned(relation, DEPENDENCY_INTERNAL, &table, &column))
				return table;
			return InvalidOid;
		default:
			return InvalidOid;
	}
}

static void
set_table(FloDdlObject *object, Oid table)
{
	Oid			root;

	object->relation = table;
	if (!OidIsValid(table))
		return;
	object->table_schema = get_namespace_name(get_rel_namespace(table));
	object->table_name = get_rel_name(table);
	root = flo_partition_root(table);
	if (OidIsValid(root))
	{
		object->root_schema = get_namespace_name(get_rel_namespace(root));
		object->root_name = get_rel_name(root);
	}
}

static FloDdlObject *
add_relation_by_oid(FloDdlStatement *ddl, Oid relation)
{
	const char *type = OidIsValid(relation) ? type_of_relation(relation) : NULL;
	FloDdlObject *object;

	if (type == NULL || get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		return NULL;
	object = add_object(ddl, type, get_rel_namespace(relation), get_rel_name(relation));
	if (object != NULL)
	{
		set_table(object, table_of_relation(relation));
		if (strcmp(type, "type") == 0)
			object->oid = get_rel_type_id(relation);
	}
	return object;
}

FloDdlObject *
flo_ddl_add_relation(FloDdlStatement *ddl, const RangeVar *name)
{
	return add_relation_by_oid(ddl, RangeVarGetRelid(name, NoLock, true));
}

/* A relation the statement makes; NULL also when it is there and need not be made */
static FloDdlObject *
add_new_relation(FloDdlStatement *ddl, RangeVar *name, const char *type, bool if_not_exists)
{
	Oid			namespace;
	FloDdlObject *object;

	if (name->relpersistence == RELPERSISTENCE_TEMP)
		return NULL;
	namespace = RangeVarGetCreationNamespace(name);
	if (if_not_exists && OidIsValid(get_relname_relid(name->relname, namespace)))
		return NULL;
	object = add_object(ddl, type, namespace, name->relname);
	if (object != NULL)
		object->creates = true;
	return object;
}

/* Something else with a qualified name that the statement makes */
static FloDdlObject *
add_new_named(FloDdlStatement *ddl, List *names, const char *type)
{
	char	   *name;
	Oid			namespace = QualifiedNameGetCreationNamespace(names, &name);
	FloDdlObject *object = add_object(ddl, type, namespace, name);

	if (object != NULL)
		object->creates = true;
	return object;
}

static FloDdlObject *
add_type(FloDdlStatement *ddl, Node *node)
{
	TypeName   *name = IsA(node, List) ? makeTypeNameFromNameList((List *) node) :
		castNode(TypeName, node);
	Oid			type = LookupTypeNameOid(NULL, name, true);
	FloDdlObject *object;
	HeapTuple	tuple;
	Form_pg_type form;

	if (!OidIsValid(type))
		return NULL;
	tuple = typeidType(type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	object = add_object(ddl, form->typtype == TYPTYPE_DOMAIN ? "domain" : "type",
						form->typnamespace, NameStr(form->typname));
	ReleaseSysCache(tuple);
	if (object == NULL)
		return NULL;
	object->oid = type;
	/* of a table's rows, the table; 0 for any other */
	set_table(object, table_of_relation(get_typ_typrelid(type)));
	return object;
}

static FloDdlObject *
add_schema(FloDdlStatement *ddl, const char *name, bool creates)
{
	FloDdlObject *object;

	if (strncmp(name, "pg_", 3) == 0 || strcmp(name, FLO_SCHEMA) == 0)
		return NULL;
	object = palloc0(sizeof(FloDdlObject));
	object->type = pstrdup("schema");
	object->schema = pstrdup(name);
	object->name = pstrdup(name);
	object->position = -1;
	object->creates = creates;
	ddl->objects = lappend(ddl->objects, object);
	return object;
}

/* What belongs to a table without being a relation; "names" ends with its own name */
static FloDdlObject *
add_part_of_table(FloDdlStatement *ddl, Oid table, const char *type, const char *name,
				  bool attached)
{
	FloDdlObject *object;

	if (!OidIsValid(table) || type_of_relation(table) == NULL ||
		get_rel_persistence(table) == RELPERSISTENCE_TEMP)
		return NULL;
	object = add_object(ddl, type, get_rel_namespace(table), name);
	if (object != NULL)
	{
		set_table(object, table_of_relation(table));
		object->attached = attached;
	}
	return object;
}

static FloDdlObject *
add_listed_part(FloDdlStatement *ddl, List *names, const char *type, bool attached)
{
	List	   *table = list_truncate(list_copy(names), list_length(names) - 1);

	if (table == NIL)
		return NULL;
	return add_part_of_table(ddl, RangeVarGetRelid(makeRangeVarFromNameList(table), NoLock, true),
							 type, strVal(llast(names)), attached);
}

static Oid
table_of_statistics(Oid statistics)
{
	HeapTuple	tuple = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(statistics));
	Oid			table;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	table = ((Form_pg_statistic_ext) GETSTRUCT(tuple))->stxrelid;
	ReleaseSysCache(tuple);
	return table;
}

/* An object that is found by core's general means */
static FloDdlObject *
add_by_address(FloDdlStatement *ddl, ObjectType type, Node *node)
{
	Relation	relation = NULL;
	ObjectAddress address;
	FloDdlObject *object;
	char	   *name;

	if (flo_ddl_type_name(type) == NULL)
		return NULL;
	address = get_object_address(type, node, &relation, AccessShareLock, true);
	if (!OidIsValid(address.objectId))
		return NULL;
	name = IsA(node, ObjectWithArgs) ? strVal(llast(((ObjectWithArgs *) node)->objname)) :
		strVal(llast(castNode(List, node)));
	object = add_object(ddl, flo_ddl_type_name(type), get_object_namespace(&address), name);
	if (object != NULL && type == OBJECT_STATISTIC_EXT)
		set_table(object, table_of_statistics(address.objectId));
	return object;
}

/*
 * An object as DROP, COMMENT, ALTER ... OWNER, RENAME and SET SCHEMA name it.
 */
static FloDdlObject *
add_named(FloDdlStatement *ddl, ObjectType type, Node *node)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
			return flo_ddl_add_relation(ddl, makeRangeVarFromNameList(castNode(List, node)));
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
			return add_listed_part(ddl, castNode(List, node),
								   type == OBJECT_COLUMN ? "column" : "constraint", false);
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_RULE:
			return add_listed_part(ddl, castNode(List, node), flo_ddl_type_name(type), true);
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			return add_type(ddl, node);
		case OBJECT_DOMCONSTRAINT:
			return add_type(ddl, linitial(castNode(List, node)));
		case OBJECT_SCHEMA:
			return add_schema(ddl, strVal(node), false);
		default:
			return add_by_address(ddl, type, node);
	}
}

/* --- statements ---------------------------------------------------------- */

static void
describe_create(FloDdlStatement *ddl, CreateStmt *statement)
{
	FloDdlObject *object = add_new_relation(ddl, statement->relation, "table",
											statement->if_not_exists);

	if (object != NULL && statement->partbound != NULL)
		set_table(object, RangeVarGetRelid(linitial(statement->inhRelations), NoLock, true));
}

static void
describe_create_as(FloDdlStatement *ddl, CreateTableAsStmt *statement)
{
	bool		is_table = statement->objtype == OBJECT_TABLE;

	if (add_new_relation(ddl, statement->into->rel, is_table ? "table" : "materialized view",
						 statement->if_not_exists) != NULL && is_table)
		ddl->replay = flo_ddl_replay_create_as(statement);
}

/* As SQL */
static char *
name_of_range(const RangeVar *name)
{
	return pstrdup(quote_qualified_identifier(name->schemaname, name->relname));
}

/* It is each database's own, and so is whose partition it is */
static bool
is_foreign(const RangeVar *name)
{
	Oid			relation = RangeVarGetRelid(name, NoLock, true);

	return OidIsValid(relation) && get_rel_relkind(relation) == RELKIND_FOREIGN_TABLE;
}

/* Which rows go with it: a database that has other partitions has them elsewhere */
static void
set_partition(FloDdlObject *object)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"}, {"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"},
		{"TimeZone", "GMT"}, {"extra_float_digits", "3"}, {"bytea_output", "hex"}, {"lc_monetary", "C"},
		{"quote_all_identifiers", "off"}
	};
	FloAsRole	as;
	Oid			root;

	root = object != NULL ? flo_partition_root(object->relation) : InvalidOid;
	if (!OidIsValid(root))
		return;
	flo_as_role_enter(&as, GetUserId(), FLO_AS_ROLE_PLAIN);
	for (int i = 0; i < lengthof(settings); i++)
		flo_as_role_set(settings[i][0], settings[i][1]);
	object->partition = flo_partition_write(flo_partition_describe(object->relation, root));
	flo_as_role_leave(&as);
}

static void
describe_alter(FloDdlStatement *ddl, AlterTableStmt *statement)
{
	ListCell   *cell;

	if (flo_ddl_add_relation(ddl, statement->relation) == NULL)
		return;
	ddl->about_owner = true;
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype != AT_ChangeOwner)
			ddl->about_owner = false;
		if (command->subtype == AT_AttachPartition || command->subtype == AT_DetachPartition ||
			command->subtype == AT_DetachPartitionFinalize)
		{
			PartitionCmd *partition = castNode(PartitionCmd, command->def);
			FloDdlObject *object;

			if (is_foreign(partition->name))
			{
				ddl->objects = NIL;
				return;
			}
			object = flo_ddl_add_relation(ddl, partition->name);
			if (command->subtype == AT_DetachPartition)
				set_partition(object);
			if (partition->concurrent)
				ddl->concurrent = true;

			/* elsewhere no attempt has failed before */
			if (command->subtype == AT_DetachPartitionFinalize)
				ddl->replay = psprintf("ALTER TABLE %s DETACH PARTITION %s",
									   name_of_range(statement->relation),
									   name_of_range(partition->name));
		}
	}
}

static bool
is_unique_index(Oid index)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		unique;

	if (!HeapTupleIsValid(tuple))
		return false;
	unique = ((Form_pg_index) GETSTRUCT(tuple))->indisunique;
	ReleaseSysCache(tuple);
	return unique;
}

static void
describe_drop(FloDdlStatement *ddl, DropStmt *statement)
{
	ListCell   *cell;

	ddl->concurrent = statement->concurrent;
	foreach(cell, statement->objects)
	{
		FloDdlObject *object = add_named(ddl, statement->removeType, lfirst(cell));

		if (object != NULL)
			object->position = foreach_current_index(cell);
		if (statement->removeType == OBJECT_TABLE)
			set_partition(object);
		if (statement->removeType == OBJECT_INDEX)
			ddl->defines |=
				is_unique_index(RangeVarGetRelid(makeRangeVarFromNameList(lfirst(cell)), NoLock,
												 true));
	}
}

/* Where it goes: a table of another database may have that name */
static void
set_destination(FloDdlObject *object, const char *schema, const char *name)
{
	if (object == NULL)
		return;
	object->new_schema = pstrdup(schema != NULL ? schema : object->schema);
	object->new_name = pstrdup(name != NULL ? name : object->name);
}

static void
describe_rename(FloDdlStatement *ddl, RenameStmt *statement)
{
	switch (statement->renameType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
			set_destination(flo_ddl_add_relation(ddl, statement->relation), NULL,
							statement->newname);
			break;
		case OBJECT_COLUMN:
		case OBJECT_ATTRIBUTE:
		case OBJECT_TABCONSTRAINT:
			(void) flo_ddl_add_relation(ddl, statement->relation);
			break;
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_RULE:
			(void) add_part_of_table(ddl, RangeVarGetRelid(statement->relation, NoLock, true),
									 flo_ddl_type_name(statement->renameType), statement->subname,
									 true);
			break;
		case OBJECT_SCHEMA:
			set_destination(add_schema(ddl, statement->subname, false), statement->newname,
							statement->newname);
			break;
		case OBJECT_DOMCONSTRAINT:
			(void) add_type(ddl, statement->object);
			break;
		default:
			if (statement->object != NULL)
				set_destination(add_named(ddl, statement->renameType, statement->object), NULL,
								statement->newname);
			break;
	}
}

static void
describe_index(FloDdlStatement *ddl, IndexStmt *statement)
{
	Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);
	FloDdlObject *object;

	if (statement->if_not_exists && statement->idxname != NULL && OidIsValid(table) &&
		OidIsValid(get_relname_relid(statement->idxname, get_rel_namespace(table))))
		return;
	object = add_part_of_table(ddl, table, "index",
							   statement->idxname != NULL ? statement->idxname : "", false);
	if (object == NULL)
		return;
	object->creates = true;
	ddl->defines = statement->unique;
	ddl->concurrent = statement->concurrent;
}

static void
describe_sequence(FloDdlStatement *ddl, CreateSeqStmt *statement)
{
	FloDdlObject *object = add_new_relation(ddl, statement->sequence, "sequence",
											statement->if_not_exists);
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		List	   *owner;

		if (object == NULL || strcmp(option->defname, "owned_by") != 0)
			continue;
		owner = defGetQualifiedName(option);
		if (list_length(owner) > 1)
		{
			List	   *table = list_truncate(list_copy(owner), list_length(owner) - 1);

			set_table(object, RangeVarGetRelid(makeRangeVarFromNameList(table), NoLock, true));
		}
	}
}

static void
describe_grant(FloDdlStatement *ddl, GrantStmt *statement)
{
	ListCell   *cell;

	ddl->about_privileges = true;
	if (statement->targtype != ACL_TARGET_OBJECT)
		return;
	foreach(cell, statement->objects)
	{
		FloDdlObject *object = NULL;

		if (statement->objtype == OBJECT_TABLE || statement->objtype == OBJECT_SEQUENCE)
			object = flo_ddl_add_relation(ddl, lfirst_node(RangeVar, cell));
		else if (statement->objtype == OBJECT_SCHEMA)
			object = add_schema(ddl, strVal(lfirst(cell)), false);
		else if (statement->objtype == OBJECT_FUNCTION || statement->objtype == OBJECT_PROCEDURE ||
				 statement->objtype == OBJECT_ROUTINE)
			object = add_by_address(ddl, statement->objtype, lfirst(cell));
		if (object != NULL)
			object->position = foreach_current_index(cell);
	}
}

static void
describe_statistics(FloDdlStatement *ddl, CreateStatsStmt *statement)
{
	FloDdlObject *object;
	Oid			schema;
	char	   *name;

	if (list_length(statement->relations) != 1 || !IsA(linitial(statement->relations), RangeVar))
		return;
	object = add_part_of_table(ddl, RangeVarGetRelid(linitial(statement->relations), NoLock, true),
							   "statistics",
							   statement->defnames != NIL ? strVal(llast(statement->defnames)) : "",
							   false);
	if (object == NULL)
		return;
	object->creates = true;
	if (statement->defnames == NIL)
		return;
	schema = QualifiedNameGetCreationNamespace(statement->defnames, &name);
	object->schema = get_namespace_name(schema);
	if (flo_ddl_is_private_schema(schema))
		ddl->objects = NIL;		/* pg_temp */
}

/*
 * The type of a column (t.a%TYPE) depends on no table, and looking it up would
 * tell the user so once more
 */
static bool
is_temporary_type(TypeName *name)
{
	Oid			type = name != NULL && !name->pct_type ? LookupTypeNameOid(NULL, name, true) :
		InvalidOid;
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		temporary;

	if (!HeapTupleIsValid(tuple))
		return false;
	temporary = isAnyTempNamespace(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
	return temporary;
}

/* What is over temporary types goes with them, though its schema is another */
static void
describe_function(FloDdlStatement *ddl, CreateFunctionStmt *statement)
{
	bool		temporary = is_temporary_type(statement->returnType);
	ListCell   *cell;

	foreach(cell, statement->parameters)
		temporary |= is_temporary_type(lfirst_node(FunctionParameter, cell)->argType);
	if (!temporary)
		(void) add_new_named(ddl, statement->funcname,
							 statement->is_procedure ? "procedure" : "function");
}

static void
describe_composite(FloDdlStatement *ddl, CompositeTypeStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->coldeflist)
	{
		if (is_temporary_type(lfirst_node(ColumnDef, cell)->typeName))
			return;
	}
	(void) add_new_relation(ddl, statement->typevar, "type", false);
}

static void
describe_range(FloDdlStatement *ddl, CreateRangeStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->params)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "subtype") == 0 && option->arg != NULL &&
			IsA(option->arg, TypeName) &&
			is_temporary_type((TypeName *) option->arg))
			return;
	}
	(void) add_new_named(ddl, statement->typeName, "type");
}

static void
describe_domain(FloDdlStatement *ddl, CreateDomainStmt *statement)
{
	if (!is_temporary_type(statement->typeName))
		(void) add_new_named(ddl, statement->domainname, "domain");
}

static void
describe_define(FloDdlStatement *ddl, DefineStmt *statement)
{
	if (flo_ddl_type_name(statement->kind) != NULL)
		(void) add_new_named(ddl, statement->defnames, flo_ddl_type_name(statement->kind));
}

/* Objects that belong to tables without being relations, and statements that make one object */
static void
describe_other(FloDdlStatement *ddl, Node *node)
{
	switch (nodeTag(node))
	{
		case T_CompositeTypeStmt:
			describe_composite(ddl, (CompositeTypeStmt *) node);
			break;
		case T_CreateEnumStmt:
			(void) add_new_named(ddl, ((CreateEnumStmt *) node)->typeName, "type");
			break;
		case T_CreateRangeStmt:
			describe_range(ddl, (CreateRangeStmt *) node);
			break;
		case T_CreateDomainStmt:
			describe_domain(ddl, (CreateDomainStmt *) node);
			break;
		case T_CreateFunctionStmt:
			describe_function(ddl, (CreateFunctionStmt *) node);
			break;
		case T_AlterStatsStmt:
			(void) add_by_address(ddl, OBJECT_STATISTIC_EXT,
								  (Node *) ((AlterStatsStmt *) node)->defnames);
			break;
		case T_AlterOperatorStmt:
			(void) add_by_address(ddl, OBJECT_OPERATOR,
								  (Node *) ((AlterOperatorStmt *) node)->opername);
			break;
		case T_AlterFunctionStmt:
			(void) add_by_address(ddl, ((AlterFunctionStmt *) node)->objtype,
								  (Node *) ((AlterFunctionStmt *) node)->func);
			break;
		case T_AlterEnumStmt:
			(void) add_type(ddl, (Node *) ((AlterEnumStmt *) node)->typeName);
			break;
		case T_AlterTypeStmt:
			(void) add_type(ddl, (Node *) ((AlterTypeStmt *) node)->typeName);
			break;
		case T_AlterDomainStmt:
			(void) add_type(ddl, (Node *) ((AlterDomainStmt *) node)->typeName);
			break;
		case T_CreateTrigStmt:
			(void) add_part_of_table(ddl, RangeVarGetRelid(((CreateTrigStmt *) node)->relation,
														   NoLock, true),
									 "trigger", ((CreateTrigStmt *) node)->trigname, true);
			break;
		case T_RuleStmt:
			(void) add_part_of_table(ddl,
									 RangeVarGetRelid(((RuleStmt *) node)->relation, NoLock, true),
									 "rule", ((RuleStmt *) node)->rulename, true);
			break;
		case T_CreatePolicyStmt:
			(void) add_part_of_table(ddl, RangeVarGetRelid(((CreatePolicyStmt *) node)->table,
														   NoLock, true),
									 "policy", ((CreatePolicyStmt *) node)->policy_name, true);
			break;
		case T_AlterPolicyStmt:
			(void) add_part_of_table(ddl, RangeVarGetRelid(((AlterPolicyStmt *) node)->table,
														   NoLock, true),
									 "policy", ((AlterPolicyStmt *) node)->policy_name, true);
			break;
		default:
			break;
	}
}

/* Nothing moves elsewhere, but the index is marked */
static void
describe_cluster(FloDdlStatement *ddl, FloClusterStmt *statement)
{
	RangeVar   *table = flo_compat_clustered(statement);
	FloDdlObject *object;

	if (table == NULL || statement->indexname == NULL)
		return;
	/* the server marks those of the partitions */
	if (get_rel_relkind(RangeVarGetRelid(table, NoLock, true)) == RELKIND_PARTITIONED_TABLE)
		return;
	object = flo_ddl_add_relation(ddl, table);
	if (object != NULL)
		ddl->replay = psprintf("ALTER TABLE %s CLUSTER ON %s",
							   quote_qualified_identifier(object->schema, object->name),
							   quote_identifier(statement->indexname));
}

/* Without a name it has its owner's */
static void
describe_schema(FloDdlStatement *ddl, CreateSchemaStmt *statement)
{
	const char *name = statement->schemaname;

	if (name == NULL)
		name = get_rolespec_name(statement->authrole);
	if (!statement->if_not_exists || !OidIsValid(get_namespace_oid(name, true)))
		(void) add_schema(ddl, name, true);
}

/* A view over a temporary table is itself temporary, whatever its name says */
static bool
uses_temporary(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		Oid			relation = RangeVarGetRelid((RangeVar *) node, NoLock, true);

		return OidIsValid(relation) && get_rel_persistence(relation) == RELPERSISTENCE_TEMP;
	}
	return raw_expression_tree_walker(node, uses_temporary, context);
}

/*
 * Which classes travel says ddl_classes.c; what comes here and has no object of
 * the group's kind (it is temporary, or is not there) is not told.  Names are looked
 * up now, since the statement may change what they mean; nothing is locked that it
 * will lock harder.
 */
bool
flo_ddl_describe(Node *node, FloDdlStatement *ddl)
{
	ddl->defines = flo_ddl_class_defines_tables(nodeTag(node));
	ddl->makes = flo_ddl_class_makes_named(nodeTag(node));
	ddl->tag = pstrdup(GetCommandTagName(CreateCommandTag(node)));
	switch (nodeTag(node))
	{
		case T_CreateStmt:
			describe_create(ddl, (CreateStmt *) node);
			break;
		case T_CreateTableAsStmt:
			describe_create_as(ddl, (CreateTableAsStmt *) node);
			break;
		case T_AlterTableStmt:
			describe_alter(ddl, (AlterTableStmt *) node);
			break;
		case T_DropStmt:
			describe_drop(ddl, (DropStmt *) node);
			break;
		case T_RenameStmt:
			describe_rename(ddl, (RenameStmt *) node);
			break;
		case T_AlterObjectSchemaStmt:
			if (((AlterObjectSchemaStmt *) node)->relation != NULL)
				set_destination(flo_ddl_add_relation(ddl,
													 ((AlterObjectSchemaStmt *) node)->relation),
								((AlterObjectSchemaStmt *) node)->newschema, NULL);
			else
				set_destination(add_named(ddl, ((AlterObjectSchemaStmt *) node)->objectType,
										  ((AlterObjectSchemaStmt *) node)->object),
								((AlterObjectSchemaStmt *) node)->newschema, NULL);
			break;
		case T_AlterOwnerStmt:
			ddl->about_owner = true;
			if (((AlterOwnerStmt *) node)->relation == NULL)
				(void) add_named(ddl, ((AlterOwnerStmt *) node)->objectType,
								 ((AlterOwnerStmt *) node)->object);
			break;
		case T_CommentStmt:
			(void) add_named(ddl, ((CommentStmt *) node)->objtype, ((CommentStmt *) node)->object);
			break;
		case T_IndexStmt:
			describe_index(ddl, (IndexStmt *) node);
			break;
		case T_CreateSeqStmt:
			describe_sequence(ddl, (CreateSeqStmt *) node);
			break;
		case T_AlterSeqStmt:
			(void) flo_ddl_add_relation(ddl, ((AlterSeqStmt *) node)->sequence);
			break;
		case T_CreateSchemaStmt:
			describe_schema(ddl, (CreateSchemaStmt *) node);
			break;
		case T_DefineStmt:
			describe_define(ddl, (DefineStmt *) node);
			break;
		case T_ViewStmt:
			if (!uses_temporary(((ViewStmt *) node)->query, NULL))
				(void) add_new_relation(ddl, ((ViewStmt *) node)->view, "view", false);
			break;
		case T_RefreshMatViewStmt:
			(void) flo_ddl_add_relation(ddl, ((RefreshMatViewStmt *) node)->relation);
			break;
		case T_CreateStatsStmt:
			describe_statistics(ddl, (CreateStatsStmt *) node);
			break;
		case T_FloClusterStmt:
			describe_cluster(ddl, (FloClusterStmt *) node);
			break;
		case T_GrantStmt:
			describe_grant(ddl, (GrantStmt *) node);
			break;
		default:
			describe_other(ddl, node);
			break;
	}
	return ddl->objects != NIL;
}
