/*
 * ddl_references.c
 *		Tables and sequences that a DDL statement only refers to.
 *
 * A bare name means what the session's search_path makes of it: the message
 * says which one that is, and the destination need not guess.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "conf/choice.h"
#include "conf/tables.h"
#include "core/nextval.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "source/ddl_objects.h"
#include "source/ddl_references.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* A table or sequence by name; the same as an object, but not what the statement is about */
static void
add_reference(FloDdlStatement *ddl, const RangeVar *name)
{
	List	   *objects = ddl->objects;

	if (name == NULL)
		return;
	ddl->objects = ddl->refers;
	(void) flo_ddl_add_relation(ddl, name);
	ddl->refers = ddl->objects;
	ddl->objects = objects;
}

static void
add_by_oid(FloDdlStatement *ddl, Oid relation)
{
	if (OidIsValid(relation))
		add_reference(ddl, makeRangeVar(get_namespace_name(get_rel_namespace(relation)),
										get_rel_name(relation), -1));
}

/* Sequences of nextval('...'), wherever in an expression */
static bool
refer_in_expression(Node *node, void *context)
{
	A_Const    *constant;

	if (node == NULL)
		return false;
	constant = IsA(node, FuncCall) ? flo_nextval_constant((FuncCall *) node) : NULL;
	if (constant != NULL)
		add_reference(context, flo_nextval_name(constant));
	return raw_expression_tree_walker(node, refer_in_expression, context);
}

/* The table whose rows are a column's type */
static void
refer_to_row_type(FloDdlStatement *ddl, TypeName *name)
{
	Oid			type = name != NULL && !name->pct_type ? LookupTypeNameOid(NULL, name, true) :
		InvalidOid;
	Oid			relation;
	int			before;

	if (OidIsValid(get_element_type(type)))
		type = get_element_type(type);
	relation = get_typ_typrelid(type);
	if (!OidIsValid(relation) || !flo_tables_is_kind(get_rel_relkind(relation)))
		return;
	before = list_length(ddl->refers);
	add_by_oid(ddl, relation);
	if (list_length(ddl->refers) > before)
		((FloDdlObject *) llast(ddl->refers))->type = pstrdup(FLO_DDL_ROW_TYPE);
}

/* A column, a constraint, a table whose like is made, a parent, a default */
static void
refer_in_definition(FloDdlStatement *ddl, Node *node)
{
	ListCell   *cell;

	if (node == NULL)
		return;
	switch (nodeTag(node))
	{
		case T_ColumnDef:
			refer_to_row_type(ddl, ((ColumnDef *) node)->typeName);
			(void) refer_in_expression(((ColumnDef *) node)->raw_default, ddl);
			foreach(cell, ((ColumnDef *) node)->constraints)
				refer_in_definition(ddl, lfirst(cell));
			break;
		case T_Constraint:
			add_reference(ddl, ((Constraint *) node)->pktable);
			(void) refer_in_expression(((Constraint *) node)->raw_expr, ddl);
			break;
		case T_TableLikeClause:
			add_reference(ddl, ((TableLikeClause *) node)->relation);
			break;
		case T_RangeVar:
			add_reference(ddl, (RangeVar *) node);
			break;
		case T_FuncCall:
		case T_TypeCast:
		case T_A_Expr:
			(void) refer_in_expression(node, ddl);
			break;
		default:
			break;
	}
}

/* The table that a sequence is to belong to */
static void
refer_to_owner(FloDdlStatement *ddl, List *options)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);
		List	   *owner = strcmp(option->defname, "owned_by") == 0 ? defGetQualifiedName(option) :
			NIL;

		if (list_length(owner) > 1)
			add_reference(ddl,
						  makeRangeVarFromNameList(list_truncate(list_copy(owner),
																 list_length(owner) - 1)));
	}
}

/* Tables that change with it: its children, and those whose foreign keys refer to it */
static void
add_relatives(FloDdlStatement *ddl, const RangeVar *name)
{
	Oid			table = RangeVarGetRelid(name, NoLock, true);
	Relation	catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	ListCell   *cell;

	if (!OidIsValid(table))
		return;
	foreach(cell, find_inheritance_children(table, NoLock))
		add_by_oid(ddl, lfirst_oid(cell));
	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		add_by_oid(ddl, ((Form_pg_trigger) GETSTRUCT(tuple))->tgconstrrelid);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/*
 * An altered or dropped table's relatives belong to it as well: children, which
 * the statement reaches, and tables at the other end of its foreign keys.
 */
void
flo_ddl_describe_references(FloDdlStatement *ddl, Node *node)
{
	ListCell   *cell;

	switch (nodeTag(node))
	{
		case T_CreateStmt:
			foreach(cell, ((CreateStmt *) node)->inhRelations)
				refer_in_definition(ddl, lfirst(cell));
			foreach(cell, ((CreateStmt *) node)->tableElts)
				refer_in_definition(ddl, lfirst(cell));
			foreach(cell, ((CreateStmt *) node)->constraints)
				refer_in_definition(ddl, lfirst(cell));
			break;
		case T_AlterTableStmt:
			add_relatives(ddl, ((AlterTableStmt *) node)->relation);
			foreach(cell, ((AlterTableStmt *) node)->cmds)
				refer_in_definition(ddl, lfirst_node(AlterTableCmd, cell)->def);
			break;
		case T_CompositeTypeStmt:
			foreach(cell, ((CompositeTypeStmt *) node)->coldeflist)
				refer_in_definition(ddl, lfirst(cell));
			break;
		case T_CreateDomainStmt:
			refer_to_row_type(ddl, ((CreateDomainStmt *) node)->typeName);
			foreach(cell, ((CreateDomainStmt *) node)->constraints)
				refer_in_definition(ddl, lfirst(cell));
			break;
		case T_AlterDomainStmt:
			refer_in_definition(ddl, ((AlterDomainStmt *) node)->def);
			break;
		case T_CreateTrigStmt:
			add_reference(ddl, ((CreateTrigStmt *) node)->constrrel);
			break;
		case T_CreateSeqStmt:
			refer_to_owner(ddl, ((CreateSeqStmt *) node)->options);
			break;
		case T_AlterSeqStmt:
			refer_to_owner(ddl, ((AlterSeqStmt *) node)->options);
			break;
		case T_DropStmt:
			if (((DropStmt *) node)->removeType == OBJECT_TABLE)
				foreach(cell, ((DropStmt *) node)->objects)
					add_relatives(ddl, makeRangeVarFromNameList(lfirst_node(List, cell)));
			break;
		default:
			break;
	}
}
