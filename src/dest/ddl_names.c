/*
 * ddl_names.c
 *		The names in a DDL statement, as they are at this destination.
 *
 * A bare name was looked up along the search_path of a session in another
 * database; the message says in which schema it was found, or made, also for
 * the tables that the statement only refers to.  Other names in it (a column's
 * type, a function) are looked up here along the same search_path, or as much of
 * it as may be trusted.  What the statement itself makes is nowhere yet, and what
 * it drops may only be found, or missed, by the types of its arguments.
 *
 * What belongs to a table is where the table is: indexes, owned sequences and the
 * row type go where a route leads it, under their own names (the row type under
 * the table's), statistics objects when they are in its schema.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "core/nextval.h"
#include "dest/ddl_names.h"
#include "dest/ddl_parts.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

typedef struct Mapper
{
	const FloDdlStatement *ddl;
	FloDdlMapTable map;
	FloDdlMapColumn map_column;
	void	   *arg;
	const RangeVar *made;		/* by CREATE TABLE, as it is here */
} Mapper;

static const FloDdlObject *
find_object(const List *objects, const char *schema, const char *name)
{
	ListCell   *cell;

	foreach(cell, objects)
	{
		const FloDdlObject *object = lfirst(cell);

		/*
		 * a bare name may be that of a table here, and of a type that comes
		 * first there
		 */
		if (object->schema != NULL && strcmp(object->name, name) == 0 &&
			strcmp(object->type, FLO_DDL_ROW_TYPE) != 0 &&
			(schema == NULL || strcmp(object->schema, schema) == 0))
			return object;
	}
	return NULL;
}

/* Is it named beside the table or view that it belongs to, in whose schema it is? */
static bool
is_part(const FloDdlObject *object)
{
	static const char *const parts[] = {
		"column", "constraint", "index", "trigger", "rule", "policy", "statistics"
	};

	for (int i = 0; i < lengthof(parts); i++)
		if (strcmp(object->type, parts[i]) == 0)
			return true;
	return false;
}

static bool
is_type(const FloDdlObject *object, const char *type)
{
	return strcmp(object->type, type) == 0;
}

/*
 * Where the table is that an object belongs to; false when that is where it
 * was, or there is none
 */
static bool
map_table_of(Mapper *mapper, const FloDdlObject *object, const char **schema, const char **table)
{
	/* of a type that a table uses, the message tells that table, too */
	return OidIsValid(object->relation) && object->table_schema != NULL &&
		object->table_name != NULL &&
		mapper->map(mapper->arg, object->table_schema, object->table_name, false, schema, table);
}

/* The table here of an index or owned sequence, 0 = it is none */
static Oid
table_of_part(Oid relation)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, relation);
	return OidIsValid(relation) && flo_ddl_to_whole(&object) &&
		object.classId == RelationRelationId ?
		object.objectId : InvalidOid;
}

/*
 * An index or sequence of a table that a route leads elsewhere is in the schema
 * of the table; false when it is none.  A sequence that was made by itself and
 * could not be owned by the table is where it was, see map_owner().
 */
static bool
map_part(Mapper *mapper, RangeVar *name, const FloDdlObject *object)
{
	const char *schema;
	const char *table;
	Oid			namespace;
	Oid			there;
	Oid			of;

	if (object == NULL || !(is_type(object, "index") || is_type(object, "sequence")) ||
		strcmp(object->name, name->relname) != 0 || !map_table_of(mapper, object, &schema, &table))
		return false;
	namespace = get_namespace_oid(schema, true);
	there = OidIsValid(namespace) ? get_relname_relid(name->relname, namespace) : InvalidOid;
	of = table_of_part(there);
	if (is_type(object, "sequence") &&
		(!OidIsValid(of) || of != get_relname_relid(table, namespace)))
		return false;
	if (OidIsValid(of) && of != get_relname_relid(table, namespace))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index \"%s.%s\" is one of table \"%s\" here, not of \"%s\"", schema,
						name->relname, get_rel_name(of), table),
				 errhint("Routes lead several tables to schema \"%s\". Rename the index at the source, or skip the statement.", schema)));
	name->catalogname = NULL;
	name->schemaname = pstrdup(schema);
	return true;
}

static void
map_relation(Mapper *mapper, RangeVar *name)
{
	const FloDdlObject *object;
	const char *schema;
	const char *table;

	if (name == NULL)
		return;
	object = find_object(mapper->ddl->objects, name->schemaname, name->relname);
	if (map_part(mapper, name, object))
		return;

	/*
	 * parts of a table: the message names the part, and the schema is the
	 * table's
	 */
	if (object == NULL && name->schemaname == NULL && mapper->ddl->objects != NIL)
	{
		object = linitial(mapper->ddl->objects);
		if (!is_part(object))
			return;
	}
	schema = name->schemaname;
	/* statistics may be in another schema than their table */
	if (schema == NULL && object != NULL)
		schema = is_part(object) && object->table_schema != NULL ? object->table_schema :
			object->schema;
	if (schema == NULL)
		return;
	(void) mapper->map(mapper->arg, schema, name->relname, true, &schema, &table);
	name->catalogname = NULL;
	name->schemaname = pstrdup(schema);
	name->relname = pstrdup(table);
}

/* The table that the statement makes, if that is its name */
static const FloDdlObject *
made_itself(const FloDdlStatement *ddl, const char *name)
{
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;

	return object != NULL && object->creates && object->schema != NULL &&
		strcmp(object->type, "table") == 0 &&
		strcmp(object->name, name) == 0 ? object : NULL;
}

/*
 * Another table that the statement refers to, or the one that it makes.  The
 * message says in which schema a bare name was found; what it does not know (a
 * sequence of a default) is taken for the first schema of the source's
 * search_path from which a route leads it.
 */
static void
map_other(Mapper *mapper, RangeVar *name, List *columns)
{
	List	   *schemas = NIL;
	const FloDdlObject *object;
	ListCell   *cell;
	ListCell   *column;

	if (name == NULL)
		return;
	object = name->schemaname == NULL ? made_itself(mapper->ddl, name->relname) : NULL;
	if (object == NULL)
		object = find_object(mapper->ddl->refers, name->schemaname, name->relname);
	if (map_part(mapper, name, object))
		return;
	if (name->schemaname == NULL && object != NULL)
		name->schemaname = object->schema;
	if (name->schemaname != NULL)
		schemas = list_make1(name->schemaname);
	else if (mapper->ddl->search_path != NULL)
		(void) SplitIdentifierString(pstrdup(mapper->ddl->search_path), ',', &schemas);
	foreach(cell, schemas)
	{
		const char *schema;
		const char *table;

		if (!mapper->map(mapper->arg, lfirst(cell), name->relname, false, &schema, &table))
			continue;
		foreach(column, columns)
		{
			const char *mapped = mapper->map_column(mapper->arg, lfirst(cell), name->relname,
													strVal(lfirst(column)));

			if (mapped != NULL)
				lfirst(column) = makeString(pstrdup(mapped));
		}
		name->catalogname = NULL;
		name->schemaname = pstrdup(schema);
		name->relname = pstrdup(table);
		return;
	}
}

/* The row type of the table that is made, to which an expression may cast */
static bool
map_own_type(Node *node, void *context)
{
	const Mapper *mapper = context;
	TypeName   *type = (TypeName *) node;

	if (node == NULL)
		return false;
	if (IsA(node, TypeName) && mapper->made != NULL && mapper->made->schemaname != NULL &&
		list_length(type->names) == 1 &&
		made_itself(mapper->ddl, strVal(linitial(type->names))) != NULL)
		type->names = list_make2(makeString(mapper->made->schemaname),
								 makeString(mapper->made->relname));
	return raw_expression_tree_walker(node, map_own_type, context);
}

/* Sequences of nextval('...'), wherever in an expression */
static bool
map_expression(Node *node, void *context)
{
	A_Const    *constant;

	if (node == NULL)
		return false;
	constant = IsA(node, FuncCall) ? flo_nextval_constant((FuncCall *) node) : NULL;
	if (constant != NULL)
	{
		RangeVar   *sequence = flo_nextval_name(constant);

		map_other(context, sequence, NIL);
		if (sequence->schemaname != NULL)
			constant->val.sval.sval = quote_qualified_identifier(sequence->schemaname,
																 sequence->relname);
	}
	return raw_expression_tree_walker(node, map_expression, context);
}

static bool
has_type(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);

	return OidIsValid(namespace) &&
		SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(name), ObjectIdGetDatum(namespace));
}

/* Is a type of another schema found before that of the schema, along the source's search_path? */
static bool
is_hidden(const FloDdlStatement *ddl, const char *schema, const char *name)
{
	List	   *schemas = NIL;
	ListCell   *cell;

	if (ddl->search_path != NULL)
		(void) SplitIdentifierString(pstrdup(ddl->search_path), ',', &schemas);
	foreach(cell, lcons("pg_catalog", schemas))
	{
		if (strcmp(lfirst(cell), schema) == 0)
			return false;
		if (has_type(lfirst(cell), name))
			return true;
	}
	return true;
}

/* A column's type: the rows of a table, which are called like it */
static void
map_row_type(Mapper *mapper, TypeName *type)
{
	RangeVar   *name;
	ListCell   *cell;

	if (type == NULL || type->names == NIL || list_length(type->names) > 2)
		return;
	name = makeRangeVarFromNameList(type->names);
	foreach(cell, mapper->ddl->refers)
	{
		const FloDdlObject *object = lfirst(cell);

		if (!is_type(object, FLO_DDL_ROW_TYPE) || strcmp(object->name, name->relname) != 0 ||
			(name->schemaname != NULL ? strcmp(object->schema, name->schemaname) != 0 :
			 is_hidden(mapper->ddl, object->schema, name->relname)))
			continue;
		name->schemaname = object->schema;
		map_other(mapper, name, NIL);
		type->names = list_make2(makeString(name->schemaname), makeString(name->relname));
		return;
	}
}

/* What a column, constraint or default refers to */
static void
map_definition(Mapper *mapper, Node *node)
{
	ListCell   *cell;

	if (node == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_Constraint:
			map_other(mapper, ((Constraint *) node)->pktable, ((Constraint *) node)->pk_attrs);
			(void) map_expression(((Constraint *) node)->raw_expr, mapper);
			(void) map_own_type(((Constraint *) node)->raw_expr, mapper);
			break;
		case T_ColumnDef:
			map_row_type(mapper, ((ColumnDef *) node)->typeName);
			(void) map_expression(((ColumnDef *) node)->raw_default, mapper);
			foreach(cell, ((ColumnDef *) node)->constraints)
				map_definition(mapper, lfirst(cell));
			break;
		case T_TableLikeClause:
			map_other(mapper, ((TableLikeClause *) node)->relation, NIL);
			break;
		case T_FuncCall:
		case T_TypeCast:
		case T_A_Expr:
			(void) map_expression(node, mapper);
			break;
		default:
			break;
	}
}

/* A name as a list of parts, of which the last "own" are not the table's */
static List *
map_name_list(Mapper *mapper, List *names, int own)
{
	List	   *table = list_truncate(list_copy(names), list_length(names) - own);
	List	   *rest = list_copy_tail(names, list_length(names) - own);
	RangeVar   *name;

	if (table == NIL)
		return names;
	name = makeRangeVarFromNameList(table);
	map_relation(mapper, name);
	if (name->schemaname == NULL)
		return names;
	return list_concat(list_make2(makeString(name->schemaname), makeString(name->relname)), rest);
}

/* Is there a statistics object of that name in the schema? */
static bool
has_statistics(const char *schema, const char *name)
{
	Oid			namespace = get_namespace_oid(schema, true);

	return OidIsValid(namespace) &&
		SearchSysCacheExists2(STATEXTNAMENSP, CStringGetDatum(name), ObjectIdGetDatum(namespace));
}

/*
 * A type, or what else has a schema and is no relation: it is where it was at
 * the source, unless it goes with a table that a route leads elsewhere.
 */
static List *
qualify(Mapper *mapper, List *names)
{
	RangeVar   *name = list_length(names) <= 3 && names != NIL ? makeRangeVarFromNameList(names) :
		NULL;
	const FloDdlObject *object = name == NULL ? NULL :
		find_object(mapper->ddl->objects, name->schemaname, name->relname);
	const char *schema;
	const char *table;

	if (object == NULL)
		return names;
	if (map_table_of(mapper, object, &schema, &table))
	{
		if (is_type(object, "type"))
			return list_make2(makeString(pstrdup(schema)), makeString(pstrdup(table)));
		if (is_type(object, "statistics") && strcmp(object->schema, object->table_schema) == 0 &&
			(object->creates || has_statistics(schema, object->name)))
			return list_make2(makeString(pstrdup(schema)), llast(names));
	}
	return list_length(names) > 1 ? names : list_make2(makeString(object->schema), linitial(names));
}

static Node *
qualify_type(Mapper *mapper, Node *type)
{
	if (type == NULL)
		return NULL;
	if (IsA(type, List))
		return (Node *) qualify(mapper, (List *) type);
	castNode(TypeName, type)->names = qualify(mapper, ((TypeName *) type)->names);
	return type;
}

/*
 * Of an argument.  The first of that name along the source's search_path: which
 * function that leads to, and whether it is the group's, is looked at later.
 */
static void
qualify_argument(const FloDdlStatement *ddl, TypeName *type)
{
	List	   *schemas = NIL;
	ListCell   *cell;
	char	   *name;

	if (type == NULL || list_length(type->names) != 1 || ddl->search_path == NULL)
		return;
	name = strVal(linitial(type->names));
	(void) SplitIdentifierString(pstrdup(ddl->search_path), ',', &schemas);
	foreach(cell, lcons("pg_catalog", schemas))
	{
		if (!has_type(lfirst(cell), name))
			continue;
		type->names = lcons(makeString(lfirst(cell)), type->names);
		return;
	}
}

static void
qualify_function(Mapper *mapper, ObjectWithArgs *function)
{
	ListCell   *cell;

	function->objname = qualify(mapper, function->objname);
	foreach(cell, function->objargs)
		qualify_argument(mapper->ddl, lfirst(cell));
	foreach(cell, function->objfuncargs)
		qualify_argument(mapper->ddl, lfirst_node(FunctionParameter, cell)->argType);
}

static Node *
map_named(Mapper *mapper, ObjectType type, Node *object)
{
	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
			return (Node *) map_name_list(mapper, castNode(List, object), 0);
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
		case OBJECT_RULE:
			return (Node *) map_name_list(mapper, castNode(List, object), 1);
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			return qualify_type(mapper, object);
		case OBJECT_DOMCONSTRAINT:
			/* ALTER DOMAIN ... RENAME CONSTRAINT has the domain's name alone */
			if (IsA(linitial(castNode(List, object)), String))
				return (Node *) qualify(mapper, (List *) object);
			(void) qualify_type(mapper, linitial((List *) object));
			return object;
		case OBJECT_COLLATION:
		case OBJECT_CONVERSION:
		case OBJECT_STATISTIC_EXT:
			return (Node *) qualify(mapper, castNode(List, object));
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
		case OBJECT_OPERATOR:
			qualify_function(mapper, castNode(ObjectWithArgs, object));
			return object;
		default:
			return object;
	}
}

/* Does the group track the statement's nth object? */
static bool
is_kept(const FloDdlStatement *ddl, int position)
{
	ListCell   *cell;
	bool		listed = false;

	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (object->position == position)
			return true;
		listed |= object->position >= 0;
	}
	return !listed;
}

static List *
kept_only(const FloDdlStatement *ddl, List *objects)
{
	List	   *kept = NIL;
	ListCell   *cell;

	foreach(cell, objects)
	{
		if (is_kept(ddl, foreach_current_index(cell)))
			kept = lappend(kept, lfirst(cell));
	}
	return kept;
}

static void
map_drop(Mapper *mapper, DropStmt *statement)
{
	ListCell   *cell;

	statement->objects = kept_only(mapper->ddl, statement->objects);
	foreach(cell, statement->objects)
		lfirst(cell) = map_named(mapper, statement->removeType, lfirst(cell));
}

static void
map_alter(Mapper *mapper, AlterTableStmt *statement)
{
	ListCell   *cell;

	map_relation(mapper, statement->relation);
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->def != NULL && IsA(command->def, PartitionCmd))
			map_relation(mapper, ((PartitionCmd *) command->def)->name);
		else if (command->def != NULL && IsA(command->def, RangeVar))
			map_other(mapper, (RangeVar *) command->def, NIL);
		else
			map_definition(mapper, command->def);
	}
}

static void
map_create(Mapper *mapper, CreateStmt *statement)
{
	ListCell   *cell;

	map_relation(mapper, statement->relation);
	mapper->made = statement->relation;
	foreach(cell, statement->partspec != NULL ? statement->partspec->partParams : NIL)
		(void) map_own_type(lfirst_node(PartitionElem, cell)->expr, mapper);
	foreach(cell, statement->inhRelations)
		map_other(mapper, lfirst_node(RangeVar, cell), NIL);
	foreach(cell, statement->tableElts)
		map_definition(mapper, lfirst(cell));
}

/* A sequence whose table is led to another schema than it cannot be owned by it */
static List *
map_owner(Mapper *mapper, const RangeVar *sequence, List *options)
{
	List	   *rest = NIL;
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		List	   *owner = strcmp(option->defname, "owned_by") == 0 ? (List *) option->arg : NIL;
		RangeVar   *table;
		List	   *column;

		rest = lappend(rest, option);
		if (list_length(owner) < 2)
			continue;
		table = makeRangeVarFromNameList(list_truncate(list_copy(owner), list_length(owner) - 1));
		column = list_make1(llast(owner));
		map_other(mapper, table, column);
		if (table->schemaname != NULL)
			option->arg = (Node *) list_make3(makeString(table->schemaname),
											  makeString(table->relname), linitial(column));
		if (table->schemaname != NULL && sequence->schemaname != NULL &&
			strcmp(table->schemaname, sequence->schemaname) != 0)
			rest = list_delete_last(rest);
	}
	return rest;
}

static void
map_grant(Mapper *mapper, GrantStmt *statement)
{
	ListCell   *cell;

	statement->objects = kept_only(mapper->ddl, statement->objects);
	if (statement->objtype != OBJECT_TABLE && statement->objtype != OBJECT_SEQUENCE)
		return;
	foreach(cell, statement->objects)
		map_relation(mapper, lfirst_node(RangeVar, cell));
}

/* Types and collations; they are where they were at the source */
static void
qualify_created(Mapper *mapper, Node *node)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_CreateEnumStmt:
			((CreateEnumStmt *) node)->typeName = qualify(mapper,
														  ((CreateEnumStmt *) node)->typeName);
			break;
		case T_AlterEnumStmt:
			((AlterEnumStmt *) node)->typeName = qualify(mapper,
														 ((AlterEnumStmt *) node)->typeName);
			break;
		case T_CreateDomainStmt:
			map_row_type(mapper, ((CreateDomainStmt *) node)->typeName);
			foreach(cell, ((CreateDomainStmt *) node)->constraints)
				map_definition(mapper, lfirst(cell));
			((CreateDomainStmt *) node)->domainname =
				qualify(mapper, ((CreateDomainStmt *) node)->domainname);
			break;
		case T_AlterDomainStmt:
			map_definition(mapper, ((AlterDomainStmt *) node)->def);
			((AlterDomainStmt *) node)->typeName = qualify(mapper,
														   ((AlterDomainStmt *) node)->typeName);
			break;
		case T_CreateRangeStmt:
			((CreateRangeStmt *) node)->typeName = qualify(mapper,
														   ((CreateRangeStmt *) node)->typeName);
			break;
		case T_CompositeTypeStmt:
			foreach(cell, ((CompositeTypeStmt *) node)->coldeflist)
				map_definition(mapper, lfirst(cell));
			if (((CompositeTypeStmt *) node)->typevar->schemaname == NULL &&
				mapper->ddl->objects != NIL)
				((CompositeTypeStmt *) node)->typevar->schemaname =
					((FloDdlObject *) linitial(mapper->ddl->objects))->schema;
			break;
		case T_AlterStatsStmt:
			((AlterStatsStmt *) node)->defnames = qualify(mapper,
														  ((AlterStatsStmt *) node)->defnames);
			break;
		case T_DefineStmt:
			((DefineStmt *) node)->defnames = qualify(mapper, ((DefineStmt *) node)->defnames);
			break;
		default:
			break;
	}
}

/*
 * Comes before all other looks at the statement: as whom it runs, what it may
 * reach and what is there already is found by the names that are written in here,
 * and a bare one would be looked up along a path that others may own schemas of.
 */
void
flo_ddl_map_names(Node *node, const FloDdlStatement *ddl, FloDdlMapTable map,
				  FloDdlMapColumn map_column, void *arg)
{
	Mapper		mapper = {ddl, map, map_column, arg};

	switch (nodeTag(node))
	{
		case T_CreateStmt:
			map_create(&mapper, (CreateStmt *) node);
			break;
		case T_AlterTableStmt:
			map_alter(&mapper, (AlterTableStmt *) node);
			break;
		case T_DropStmt:
			map_drop(&mapper, (DropStmt *) node);
			break;
		case T_RenameStmt:
			map_relation(&mapper, ((RenameStmt *) node)->relation);
			if (((RenameStmt *) node)->relation == NULL)
				((RenameStmt *) node)->object = map_named(&mapper,
														  ((RenameStmt *) node)->renameType,
														  ((RenameStmt *) node)->object);
			break;
		case T_AlterObjectSchemaStmt:
			map_relation(&mapper, ((AlterObjectSchemaStmt *) node)->relation);
			if (((AlterObjectSchemaStmt *) node)->relation == NULL)
				((AlterObjectSchemaStmt *) node)->object =
					map_named(&mapper, ((AlterObjectSchemaStmt *) node)->objectType,
							  ((AlterObjectSchemaStmt *) node)->object);
			break;
		case T_CommentStmt:
			((CommentStmt *) node)->object = map_named(&mapper, ((CommentStmt *) node)->objtype,
													   ((CommentStmt *) node)->object);
			break;
		case T_IndexStmt:
			map_relation(&mapper, ((IndexStmt *) node)->relation);
			break;
		case T_CreateSeqStmt:
			map_relation(&mapper, ((CreateSeqStmt *) node)->sequence);
			((CreateSeqStmt *) node)->options = map_owner(&mapper,
														  ((CreateSeqStmt *) node)->sequence,
														  ((CreateSeqStmt *) node)->options);
			break;
		case T_AlterSeqStmt:
			map_relation(&mapper, ((AlterSeqStmt *) node)->sequence);
			((AlterSeqStmt *) node)->options = map_owner(&mapper, ((AlterSeqStmt *) node)->sequence,
														 ((AlterSeqStmt *) node)->options);
			break;
		case T_ViewStmt:
			map_relation(&mapper, ((ViewStmt *) node)->view);
			break;
		case T_CreateTrigStmt:
			map_relation(&mapper, ((CreateTrigStmt *) node)->relation);
			map_other(&mapper, ((CreateTrigStmt *) node)->constrrel, NIL);
			break;
		case T_RuleStmt:
			map_relation(&mapper, ((RuleStmt *) node)->relation);
			break;
		case T_CreatePolicyStmt:
			map_relation(&mapper, ((CreatePolicyStmt *) node)->table);
			break;
		case T_AlterPolicyStmt:
			map_relation(&mapper, ((AlterPolicyStmt *) node)->table);
			break;
		case T_RefreshMatViewStmt:
			map_relation(&mapper, ((RefreshMatViewStmt *) node)->relation);
			break;
		case T_CreateStatsStmt:
			if (IsA(linitial(((CreateStatsStmt *) node)->relations), RangeVar))
				map_relation(&mapper, linitial(((CreateStatsStmt *) node)->relations));
			((CreateStatsStmt *) node)->defnames = qualify(&mapper,
														   ((CreateStatsStmt *) node)->defnames);
			break;
		case T_GrantStmt:
			map_grant(&mapper, (GrantStmt *) node);
			break;
		case T_CreateSchemaStmt:
			/* roles are the destination's business, but the name may be one */
			((CreateSchemaStmt *) node)->authrole = NULL;
			if (((CreateSchemaStmt *) node)->schemaname == NULL && ddl->objects != NIL)
				((CreateSchemaStmt *) node)->schemaname =
					((FloDdlObject *) linitial(ddl->objects))->name;
			break;
		default:
			qualify_created(&mapper, node);
			break;
	}
}

static bool
is_same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

char *
flo_ddl_map_new_name(Node *node, const FloDdlStatement *ddl, FloDdlMapTable map, void *arg,
					 bool *nothing)
{
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;
	const char *schema;
	const char *name;
	const char *new_schema;
	const char *new_name;

	/*
	 * what is part of a table goes with it; schemas and types no route leads
	 * anywhere
	 */
	if (object == NULL || object->new_name == NULL ||
		!(IsA(node, RenameStmt) || IsA(node, AlterObjectSchemaStmt)) ||
		!(is_type(object, "table") || (!OidIsValid(object->relation) &&
									   (is_type(object, "view") ||
										is_type(object, "materialized view") ||
										is_type(object, "sequence")))))
		return NULL;
	(void) map(arg, object->schema, object->name, false, &schema, &name);
	(void) map(arg, object->new_schema, object->new_name, false, &new_schema, &new_name);
	*nothing = is_same(schema, new_schema) && is_same(name, new_name);
	if (IsA(node, RenameStmt) ? !is_same(schema, new_schema) : !is_same(name, new_name))
		return psprintf("it is %s here, and routes lead what it is called then to %s: change the routes and name it yourself, then skip this",
						quote_qualified_identifier(schema, name),
						quote_qualified_identifier(new_schema, new_name));
	if (IsA(node, RenameStmt))
		((RenameStmt *) node)->newname = pstrdup(new_name);
	else
		((AlterObjectSchemaStmt *) node)->newschema = pstrdup(new_schema);
	return NULL;
}

List *
flo_ddl_changed_relations(Node *node)
{
	List	   *names = NIL;
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_AlterTableStmt:
			return list_make1(((AlterTableStmt *) node)->relation);
		case T_RenameStmt:
			return ((RenameStmt *) node)->relation != NULL ?
				list_make1(((RenameStmt *) node)->relation) : NIL;
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) node)->relation != NULL ?
				list_make1(((AlterObjectSchemaStmt *) node)->relation) : NIL;
		case T_IndexStmt:
			return list_make1(((IndexStmt *) node)->relation);
		case T_CreateTrigStmt:
			return list_make1(((CreateTrigStmt *) node)->relation);
		case T_DropStmt:
			if (((DropStmt *) node)->removeType != OBJECT_TABLE)
				return NIL;
			foreach(cell, ((DropStmt *) node)->objects)
				names = lappend(names, makeRangeVarFromNameList(lfirst_node(List, cell)));
			return names;
		default:
			return NIL;
	}
}
