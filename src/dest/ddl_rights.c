/*
 * ddl_rights.c
 *		As whom a DDL statement of the source runs here, and whether it may.
 *
 * Who may run DDL on a table at the source is nobody at the destination.  His
 * statements run with the right of the object's owner here (for a new object:
 * of its schema's), in a security-restricted operation, with a search_path of
 * schemas that only trusted roles can write to.  What would bring code of the
 * source's to run here, now or later, is held: there is a list of statements
 * and of parts of them that are known not to, and all else is not on it.
 *
 * When the role is a superuser, even a query that does no harm by what it calls
 * is held: it would read whatever it names.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "core/compat_acl.h"
#include "core/compat_table.h"
#include "core/roles.h"
#include "dest/ddl_rights.h"
#include "dest/ddl_targets.h"
#include "dest/ddl_trust.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

/* --- as whom ------------------------------------------------------------- */

static Oid
owner_of_schema(const char *name)
{
	Oid			schema = name != NULL ? get_namespace_oid(name, true) : InvalidOid;

	return OidIsValid(schema) ? flo_ddl_schema_owner(schema) : InvalidOid;
}

/* A superuser's schema, such as "public" mostly is, says nothing of whose its objects should be */
static Oid
owner_of_new(const char *schema)
{
	Oid			owner = owner_of_schema(schema);

	return OidIsValid(owner) && superuser_arg(owner) ? InvalidOid : owner;
}

static const char *
schema_of(List *names)
{
	return list_length(names) > 1 ? strVal(list_nth(names, list_length(names) - 2)) : NULL;
}

/* Of what it changes; 0 = there is nothing, or it is of several roles */
static Oid
owner_of_targets(FloDdlTrust *trust, Node *statement)
{
	Oid			owner = InvalidOid;
	ListCell   *cell;

	foreach(cell, flo_ddl_targets(statement))
	{
		FloDdlTarget *target = lfirst(cell);
		Oid			other = flo_ddl_target_owner(target);

		if (target->also)
			continue;
		if (OidIsValid(owner) && other != owner)
		{
			flo_ddl_distrust(trust, "it is about objects of several roles");
			return InvalidOid;
		}
		owner = other;
	}
	return owner;
}

static Oid
owner_of_created(Node *node)
{
	switch (nodeTag(node))
	{
		case T_CreateStmt:
			return owner_of_new(((CreateStmt *) node)->relation->schemaname);
		case T_CreateSeqStmt:
			return owner_of_new(((CreateSeqStmt *) node)->sequence->schemaname);
		case T_ViewStmt:
			return owner_of_new(((ViewStmt *) node)->view->schemaname);
		case T_CreateTableAsStmt:
			return owner_of_new(((CreateTableAsStmt *) node)->into->rel->schemaname);
		case T_CompositeTypeStmt:
			return owner_of_new(((CompositeTypeStmt *) node)->typevar->schemaname);
		case T_CreateEnumStmt:
			return owner_of_new(schema_of(((CreateEnumStmt *) node)->typeName));
		case T_CreateDomainStmt:
			return owner_of_new(schema_of(((CreateDomainStmt *) node)->domainname));
		case T_CreateRangeStmt:
			return owner_of_new(schema_of(((CreateRangeStmt *) node)->typeName));
		case T_DefineStmt:
			return owner_of_new(schema_of(((DefineStmt *) node)->defnames));
		default:
			return InvalidOid;
	}
}

/* Who cannot become the object's owner tries it as himself, and is told by the server */
static Oid
role_of(FloDdlTrust *trust, Node *statement, Oid worker_owner)
{
	Oid			owner = owner_of_targets(trust, statement);

	if (!OidIsValid(owner))
		owner = owner_of_created(statement);
	return flo_role_can_become(worker_owner, owner) ? owner : worker_owner;
}

/* --- parts of statements ------------------------------------------------- */

static void
check_elements(FloDdlTrust *trust, List *elements, const char *access_method)
{
	ListCell   *cell;

	foreach(cell, elements)
	{
		IndexElem  *element = lfirst_node(IndexElem, cell);

		flo_ddl_check_expression(trust, element->expr);
		flo_ddl_check_collation(trust, element->collation);
		flo_ddl_check_opclass(trust, element->opclass, access_method);
	}
}

/* Options of a sequence, a range: nothing of them runs but a type's */
static void
check_options(FloDdlTrust *trust, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		Node	   *value = lfirst_node(DefElem, cell)->arg;

		if (value != NULL && IsA(value, TypeName))
			flo_ddl_check_type(trust, (TypeName *) value);
	}
	flo_ddl_check_relation(trust, flo_ddl_owned_by(options), true);
}

static void
check_constraint(FloDdlTrust *trust, Constraint *constraint)
{
	ListCell   *cell;

	flo_ddl_check_expression(trust, constraint->raw_expr);
	flo_ddl_check_expression(trust, constraint->where_clause);
	flo_ddl_check_relation(trust, constraint->pktable, true);
	check_options(trust, constraint->contype == CONSTR_IDENTITY ? constraint->options : NIL);
	foreach(cell, constraint->exclusions)
	{
		List	   *exclusion = lfirst_node(List, cell);

		check_elements(trust, list_make1(linitial(exclusion)), constraint->access_method);
		flo_ddl_check_operator(trust, castNode(List, lsecond(exclusion)));
	}
}

static void
check_constraints(FloDdlTrust *trust, List *constraints)
{
	ListCell   *cell;

	foreach(cell, constraints)
	{
		if (IsA(lfirst(cell), Constraint))
			check_constraint(trust, lfirst(cell));
		else
			flo_ddl_check_collation(trust, castNode(CollateClause, lfirst(cell))->collname);
	}
}

static void
check_column(FloDdlTrust *trust, ColumnDef *column)
{
	flo_ddl_check_type(trust, column->typeName);
	flo_ddl_check_expression(trust, column->raw_default);
	if (column->collClause != NULL)
		flo_ddl_check_collation(trust, column->collClause->collname);
	check_constraints(trust, column->constraints);
	if (column->fdwoptions != NIL)
		flo_ddl_distrust(trust, "it is about foreign data");
}

static void
check_bound(FloDdlTrust *trust, PartitionBoundSpec *bound)
{
	ListCell   *cell;

	if (bound == NULL)
		return;
	flo_ddl_check_expression(trust, (Node *) bound->listdatums);
	foreach(cell, list_concat_copy(bound->lowerdatums, bound->upperdatums))
	{
		if (!IsA(lfirst(cell), PartitionRangeDatum))
			flo_ddl_check_expression(trust, lfirst(cell));
	}
}

static void
check_partition_key(FloDdlTrust *trust, PartitionSpec *key)
{
	ListCell   *cell;

	if (key == NULL)
		return;
	foreach(cell, key->partParams)
	{
		PartitionElem *element = lfirst_node(PartitionElem, cell);

		flo_ddl_check_expression(trust, element->expr);
		flo_ddl_check_collation(trust, element->collation);

		/*
		 * hash partitions want a hash operator class, the others one of a
		 * btree
		 */
		flo_ddl_check_opclass(trust, element->opclass, "btree");
		flo_ddl_check_opclass(trust, element->opclass, "hash");
	}
}

/* --- CREATE and ALTER TABLE ---------------------------------------------- */

static void
check_create(FloDdlTrust *trust, CreateStmt *statement)
{
	ListCell   *cell;

	if (statement->relation->relpersistence == RELPERSISTENCE_TEMP)
		flo_ddl_distrust(trust, "it makes a temporary table");
	flo_ddl_check_type(trust, statement->ofTypename);
	foreach(cell, statement->inhRelations)
		flo_ddl_check_relation(trust, lfirst_node(RangeVar, cell), false);
	foreach(cell, statement->tableElts)
	{
		Node	   *element = lfirst(cell);

		if (IsA(element, ColumnDef))
			check_column(trust, (ColumnDef *) element);
		else if (IsA(element, TableLikeClause))
			flo_ddl_check_relation(trust, ((TableLikeClause *) element)->relation, false);
		else
			check_constraint(trust, castNode(Constraint, element));
	}
	check_constraints(trust, statement->constraints);
	check_partition_key(trust, statement->partspec);
	check_bound(trust, statement->partbound);
}

/* What a command of ALTER TABLE brings along; false when it is none that is known to do no harm */
static bool
check_definition(FloDdlTrust *trust, AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AddColumn:
		case AT_AlterColumnType:
			check_column(trust, castNode(ColumnDef, command->def));
			return true;
		case AT_ColumnDefault:
			flo_ddl_check_expression(trust, command->def);
			return true;
		case AT_AddConstraint:
			check_constraint(trust, castNode(Constraint, command->def));
			return true;
		case AT_AddIdentity:
			check_constraint(trust, castNode(Constraint, command->def));
			return true;
		case AT_AddInherit:
			flo_ddl_check_relation(trust, castNode(RangeVar, command->def), false);
			return true;
		case AT_AddOf:
			flo_ddl_check_type(trust, castNode(TypeName, command->def));
			return true;
		case AT_AttachPartition:
			flo_ddl_check_relation(trust, castNode(PartitionCmd, command->def)->name, false);
			check_bound(trust, castNode(PartitionCmd, command->def)->bound);
			return true;
		default:
			if (!flo_compat_is_set_expression(command->subtype))
				return false;
			flo_ddl_check_expression(trust, command->def);
			return true;
	}
}

/* Commands of ALTER TABLE that run nothing */
static bool
is_harmless_command(AlterTableType type)
{
	switch (type)
	{
		case AT_DropNotNull:
		case AT_SetNotNull:
		case AT_DropExpression:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_DropColumn:
		case AT_AlterConstraint:
		case AT_ValidateConstraint:
		case AT_DropConstraint:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_SetLogged:
		case AT_SetUnLogged:
		case AT_SetAccessMethod:
		case AT_SetTableSpace:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_EnableTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
		case AT_DisableRule:
		case AT_DropInherit:
		case AT_DropOf:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
		case AT_SetIdentity:
		case AT_DropIdentity:
			return true;
		default:
			return false;
	}
}

static void
check_alter(FloDdlTrust *trust, AlterTableStmt *statement)
{
	ListCell   *cell;

	if (statement->objtype == OBJECT_FOREIGN_TABLE)
		flo_ddl_distrust(trust, "it is about foreign data");
	if (statement->objtype == OBJECT_VIEW && superuser_arg(trust->runs_as))
		flo_ddl_distrust(trust, "it is about a view of a superuser");
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (check_definition(trust, command) || is_harmless_command(command->subtype))
			continue;
		switch (command->subtype)
		{
			case AT_EnableAlwaysTrig:
			case AT_EnableReplicaTrig:
			case AT_EnableRule:
			case AT_EnableAlwaysRule:
			case AT_EnableReplicaRule:
				flo_ddl_distrust(trust, "it makes a trigger or rule run for rows that are applied");
				break;
			case AT_ChangeOwner:
				flo_ddl_distrust(trust, "it gives the object to another role");
				break;
			case AT_DisableRowSecurity:
			case AT_NoForceRowSecurity:
				flo_ddl_distrust(trust, "it opens rows to others");
				break;
			default:
				flo_ddl_distrust(trust, "it has a part that is not known to do no harm");
				break;
		}
	}
}

/* --- other statements ---------------------------------------------------- */

/* A new object without a schema goes to the first one of the path, which has to be the source's */
static void
check_new_name(FloDdlTrust *trust, List *names)
{
	ListCell   *cell;

	if (list_length(names) != 1)
		return;
	foreach(cell, trust->schemas)
	{
		FloDdlSchema *schema = lfirst(cell);

		if (strcmp(schema->name, "pg_catalog") == 0)
			continue;
		if (!schema->trusted)
			flo_ddl_distrust(trust, "\"%s\" would be made in schema \"%s\", where others than trusted roles can create objects",
							 strVal(linitial(names)), schema->name);
		return;
	}
}

static void
check_statistics(FloDdlTrust *trust, CreateStatsStmt *statement)
{
	ListCell   *cell;

	check_new_name(trust, statement->defnames);
	foreach(cell, statement->exprs)
		flo_ddl_check_expression(trust, lfirst_node(StatsElem, cell)->expr);
}

static void
check_range(FloDdlTrust *trust, CreateRangeStmt *statement)
{
	ListCell   *cell;

	check_new_name(trust, statement->typeName);
	check_options(trust, NIL);
	foreach(cell, statement->params)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "subtype") == 0)
			flo_ddl_check_type(trust, castNode(TypeName, option->arg));
		else if (strcmp(option->defname, "collation") != 0 &&
				 strcmp(option->defname, "multirange_type_name") != 0)
			flo_ddl_distrust(trust, "it makes a type with functions");
	}
}

static void
check_domain(FloDdlTrust *trust, CreateDomainStmt *statement)
{
	check_new_name(trust, statement->domainname);
	flo_ddl_check_type(trust, statement->typeName);
	if (statement->collClause != NULL)
		flo_ddl_check_collation(trust, statement->collClause->collname);
	check_constraints(trust, statement->constraints);
}

static void
check_alter_domain(FloDdlTrust *trust, AlterDomainStmt *statement)
{
	if (statement->def != NULL && IsA(statement->def, Constraint))
		check_constraint(trust, (Constraint *) statement->def);
	else
		flo_ddl_check_expression(trust, statement->def);
}

static void
check_composite(FloDdlTrust *trust, CompositeTypeStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->coldeflist)
		check_column(trust, lfirst_node(ColumnDef, cell));
}

static bool
is_code(ObjectType type)
{
	return type == OBJECT_FUNCTION || type == OBJECT_PROCEDURE || type == OBJECT_ROUTINE ||
		type == OBJECT_AGGREGATE || type == OBJECT_OPERATOR || type == OBJECT_OPCLASS ||
		type == OBJECT_OPFAMILY || type == OBJECT_POLICY;
}

/* Names are how code is found */
static void
check_moved(FloDdlTrust *trust, ObjectType type, const char *schema)
{
	Oid			oid = schema != NULL ? get_namespace_oid(schema, true) : InvalidOid;

	if (is_code(type))
		flo_ddl_distrust(trust, "it gives code another name");
	else if (OidIsValid(oid) && !flo_ddl_schema_is_trusted(trust, oid))
		flo_ddl_distrust(trust, "schema \"%s\" is one where others than trusted roles can create or drop objects", schema);
}

/* A query runs with the right of its owner, whatever it reads */
static void
check_query(FloDdlTrust *trust, Node *query)
{
	if (superuser_arg(trust->runs_as))
		flo_ddl_distrust(trust, "it holds a query, which would run as a superuser");
	else
		flo_ddl_check_query(trust, query);
}

/* Does it make an index or a sequence? */
static bool
makes_relation(Node *definition)
{
	ListCell   *cell;

	if (definition != NULL && IsA(definition, Constraint))
		switch (((Constraint *) definition)->contype)
		{
			case CONSTR_PRIMARY:
			case CONSTR_UNIQUE:
			case CONSTR_EXCLUSION:
			case CONSTR_IDENTITY:
				return true;
			default:
				return false;
		}
	if (definition != NULL && IsA(definition, ColumnDef))
		foreach(cell, ((ColumnDef *) definition)->constraints)
	{
		if (makes_relation(lfirst(cell)))
			return true;
	}
	return false;
}

/* The schema in which the statement makes something; NULL for none, or none that is named */
static const char *
schema_of_created(Node *node)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_CreateStmt:
			return ((CreateStmt *) node)->relation->schemaname;
		case T_CreateSeqStmt:
			return ((CreateSeqStmt *) node)->sequence->schemaname;
		case T_ViewStmt:
			return ((ViewStmt *) node)->view->schemaname;
		case T_CreateTableAsStmt:
			return ((CreateTableAsStmt *) node)->into->rel->schemaname;
		case T_IndexStmt:
			return ((IndexStmt *) node)->relation->schemaname;
		case T_CompositeTypeStmt:
			return ((CompositeTypeStmt *) node)->typevar->schemaname;
		case T_CreateStatsStmt:
			return schema_of(((CreateStatsStmt *) node)->defnames);
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) node)->newschema;
		case T_RenameStmt:
			return ((RenameStmt *) node)->subname == NULL &&
				((RenameStmt *) node)->relation != NULL ?
				((RenameStmt *) node)->relation->schemaname : NULL;
		case T_AlterTableStmt:
			foreach(cell, ((AlterTableStmt *) node)->cmds)
			{
				if (makes_relation(lfirst_node(AlterTableCmd, cell)->def))
					return ((AlterTableStmt *) node)->relation->schemaname;
			}
			return NULL;
		default:
			return NULL;
	}
}

/* A table's owner need not have the right to make indexes: nobody but a person can lend it */
static void
check_may_create(FloDdlTrust *trust, Node *node)
{
	const char *name = schema_of_created(node);
	Oid			schema = name != NULL ? get_namespace_oid(name, true) : InvalidOid;

	if (OidIsValid(schema) && trust->runs_as != trust->worker_owner &&
		!flo_compat_schema_allows(schema, trust->runs_as, ACL_CREATE))
		flo_ddl_distrust(trust, "role \"%s\", as whom it would run, may not create objects in schema \"%s\"",
						 GetUserNameFromId(trust->runs_as, true), name);
}

/* --- all of them --------------------------------------------------------- */

/* What is neither looked at nor on the list of what needs no look */
static void
check_kind(FloDdlTrust *trust, Node *node)
{
	switch (nodeTag(node))
	{
		case T_AlterEnumStmt:
		case T_AlterStatsStmt:
		case T_CommentStmt:
			break;
		case T_CreateEnumStmt:
			check_new_name(trust, ((CreateEnumStmt *) node)->typeName);
			break;
		case T_DefineStmt:
			if (((DefineStmt *) node)->kind != OBJECT_COLLATION)
				flo_ddl_distrust(trust, "it brings code of the source's");
			check_new_name(trust, ((DefineStmt *) node)->defnames);
			break;
		case T_CreateSchemaStmt:
			if (((CreateSchemaStmt *) node)->schemaElts != NIL ||
				((CreateSchemaStmt *) node)->authrole != NULL)
				flo_ddl_distrust(trust, "it makes more than a schema, or for another role");
			break;
		case T_DropStmt:
			if (((DropStmt *) node)->removeType == OBJECT_POLICY)
				flo_ddl_distrust(trust, "it changes who may see which rows");
			break;
		case T_CreatePolicyStmt:
		case T_AlterPolicyStmt:
			flo_ddl_distrust(trust, "it changes who may see which rows");
			break;
		case T_GrantStmt:
		case T_AlterDefaultPrivilegesStmt:
			flo_ddl_distrust(trust, "it changes what other roles may do");
			break;
		case T_AlterOwnerStmt:
			flo_ddl_distrust(trust, "it gives the object to another role");
			break;
		case T_VariableSetStmt:
			if (strcmp(((VariableSetStmt *) node)->name, "default_table_access_method") != 0)
				flo_ddl_distrust(trust, "it changes a setting");
			break;
		default:
			flo_ddl_distrust(trust, "it brings code of the source's");
			break;
	}
}

/*
 * Kinds whose parts are looked at one by one.  The table comes before the parts, as
 * their columns are its.  Any other kind is judged as a whole by check_kind(), which
 * distrusts what it does not know: a kind is trusted only once it stands in here
 * or there.
 */
static void
check_statement(FloDdlTrust *trust, Node *node)
{
	switch (nodeTag(node))
	{
		case T_CreateStmt:
			if (((CreateStmt *) node)->inhRelations != NIL)
				trust->table = RangeVarGetRelid(linitial(((CreateStmt *) node)->inhRelations),
												NoLock, true);
			check_create(trust, (CreateStmt *) node);
			break;
		case T_AlterTableStmt:
			trust->table = RangeVarGetRelid(((AlterTableStmt *) node)->relation, NoLock, true);
			check_alter(trust, (AlterTableStmt *) node);
			break;
		case T_IndexStmt:
			trust->table = RangeVarGetRelid(((IndexStmt *) node)->relation, NoLock, true);
			check_elements(trust, ((IndexStmt *) node)->indexParams,
						   ((IndexStmt *) node)->accessMethod);
			flo_ddl_check_expression(trust, ((IndexStmt *) node)->whereClause);
			break;
		case T_CreateStatsStmt:
			if (IsA(linitial(((CreateStatsStmt *) node)->relations), RangeVar))
				trust->table = RangeVarGetRelid(linitial(((CreateStatsStmt *) node)->relations),
												NoLock, true);
			check_statistics(trust, (CreateStatsStmt *) node);
			break;
		case T_CreateSeqStmt:
			check_options(trust, ((CreateSeqStmt *) node)->options);
			break;
		case T_AlterSeqStmt:
			check_options(trust, ((AlterSeqStmt *) node)->options);
			break;
		case T_CompositeTypeStmt:
			check_composite(trust, (CompositeTypeStmt *) node);
			break;
		case T_CreateDomainStmt:
			check_domain(trust, (CreateDomainStmt *) node);
			break;
		case T_AlterDomainStmt:
			check_alter_domain(trust, (AlterDomainStmt *) node);
			break;
		case T_CreateRangeStmt:
			check_range(trust, (CreateRangeStmt *) node);
			break;
		case T_RenameStmt:
			check_moved(trust, ((RenameStmt *) node)->renameType, NULL);
			break;
		case T_AlterObjectSchemaStmt:
			check_moved(trust, ((AlterObjectSchemaStmt *) node)->objectType,
						((AlterObjectSchemaStmt *) node)->newschema);
			break;
		case T_ViewStmt:
			check_query(trust, ((ViewStmt *) node)->query);
			break;
		case T_CreateTableAsStmt:
			check_query(trust, ((CreateTableAsStmt *) node)->query);
			break;
		case T_RefreshMatViewStmt:
			if (superuser_arg(trust->runs_as))
				flo_ddl_distrust(trust, "it runs a query as a superuser");
			break;
		default:
			check_kind(trust, node);
			break;
	}
}

char *
flo_ddl_rights(Node *statement, Oid worker_owner, const char *search_path, FloDdlRights *rights)
{
	FloDdlTrust trust = {0};
	FloAsRole	as;

	/* names are looked up as they will be when it runs: with this role's path */
	trust.worker_owner = trust.runs_as = worker_owner;
	flo_as_role_enter(&as, worker_owner, FLO_AS_ROLE_RESTRICTED);
	flo_as_role_set("search_path", flo_ddl_trusted_path(&trust, search_path));
	trust.runs_as = role_of(&trust, statement, worker_owner);
	flo_as_role_leave(&as);

	rights->role = trust.runs_as;
	rights->restricted = true;
	rights->search_path = flo_ddl_trusted_path(&trust, search_path);
	flo_as_role_enter(&as, rights->role, FLO_AS_ROLE_RESTRICTED);
	flo_as_role_set("search_path", rights->search_path);
	check_statement(&trust, statement);
	check_may_create(&trust, statement);
	flo_as_role_leave(&as);
	rights->sequences = trust.sequences;
	if (trust.reason == NULL)
		return NULL;
	return psprintf("%s (the worker's option ddl_trust is object)", trust.reason);
}

/*
 * Does it name a role as which code is to run, or make a temporary table?  A security-
 * restricted operation may not; nor does it run anybody's code here that the server
 * would not restrict.
 */
static bool
needs_freedom(Node *statement)
{
	return IsA(statement, CreateFunctionStmt) || IsA(statement, AlterFunctionStmt) ||
		(IsA(statement, RefreshMatViewStmt) && ((RefreshMatViewStmt *) statement)->concurrent);
}

/*
 * What it calls may be anybody's, and could put off what it is after until the worker
 * commits as itself: a cursor that is to last, a deferred trigger.
 */
void
flo_ddl_full_rights(Node *statement, Oid worker_owner, const char *search_path,
					FloDdlRights *rights)
{
	rights->role = worker_owner;
	rights->sequences = NIL;
	rights->search_path = pstrdup(search_path != NULL ? search_path : "");
	rights->restricted = !superuser_arg(worker_owner) && !needs_freedom(statement);
}

void
flo_ddl_take_rights(FloAsRole *as, const FloDdlRights *rights)
{
	flo_as_role_enter(as, rights->role,
					  rights->restricted ? FLO_AS_ROLE_RESTRICTED : FLO_AS_ROLE_PLAIN);
	flo_as_role_set("search_path", rights->search_path);
}
