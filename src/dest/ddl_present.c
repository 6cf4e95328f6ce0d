/*
 * ddl_present.c
 *		Is the effect of a DDL statement there already?
 *
 * Somebody may have prepared the destination, or a CONCURRENTLY was cut short
 * after its work and before it was noted.  What is there with the same shape
 * is passed; what has only the name is an error that says where it differs.
 * Whatever is not looked at here is left to the server, which objects or
 * knows how to do a thing twice.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "dest/ddl_present.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static void
add_note(StringInfo note, const char *format, const char *name)
{
	if (note->len > 0)
		appendStringInfoString(note, "; ");
	appendStringInfo(note, format, name);
}

static void
report_different(int sqlstate, const char *what, const char *name, const char *difference)
{
	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("%s \"%s\" exists already and is another", what, name),
			 errdetail_internal("%s", difference)));
}

static bool
column_exists(Oid relation, const char *name)
{
	return get_attnum(relation, name) != InvalidAttrNumber;
}

/* --- CREATE -------------------------------------------------------------- */

/* Why it is no partition or child of what the statement says; NULL when it is */
static char *
parent_differs(Oid relation, List *parents)
{
	ListCell   *cell;

	foreach(cell, parents)
	{
		RangeVar   *name = lfirst_node(RangeVar, cell);
		Oid			parent = RangeVarGetRelid(name, NoLock, true);

		if (!OidIsValid(parent) ||
			!list_member_oid(find_inheritance_children(parent, NoLock), relation))
			return psprintf("it is no partition or child of \"%s\" here", name->relname);
	}
	return NULL;
}

static bool
table_present(CreateStmt *statement, const char *text, StringInfo note)
{
	Oid			relid = RangeVarGetRelid(statement->relation, NoLock, true);
	Relation	relation;
	char	   *difference;

	if (!OidIsValid(relid))
		return false;
	relation = relation_open(relid, AccessShareLock);
	if (relation->rd_rel->relkind != (statement->partspec != NULL ? RELKIND_PARTITIONED_TABLE :
									  RELKIND_RELATION))
		difference = pstrdup("it is of another kind here");
	else
		difference = flo_ddl_table_differs(relation, statement->tableElts,
										   statement->inhRelations == NIL &&
										   statement->ofTypename == NULL, text);
	if (difference == NULL)
		difference = parent_differs(relid, statement->inhRelations);
	relation_close(relation, AccessShareLock);
	if (difference != NULL)
		report_different(ERRCODE_DUPLICATE_TABLE, "table", statement->relation->relname,
						 difference);
	add_note(note, "table \"%s\" exists already", statement->relation->relname);
	return true;
}

static bool
index_present(IndexStmt *statement, const char *text, StringInfo note)
{
	Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);
	Oid			index;
	char	   *difference;

	if (statement->idxname == NULL || !OidIsValid(table))
		return false;
	index = get_relname_relid(statement->idxname, get_rel_namespace(table));
	if (!OidIsValid(index))
		return false;
	difference = flo_ddl_index_differs(index, statement, text);
	if (difference != NULL)
		report_different(ERRCODE_DUPLICATE_TABLE, "index", statement->idxname, difference);
	add_note(note, "index \"%s\" exists already", statement->idxname);
	return true;
}

static bool
sequence_present(CreateSeqStmt *statement, StringInfo note)
{
	Oid			relid = RangeVarGetRelid(statement->sequence, NoLock, true);

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_SEQUENCE)
		return false;
	add_note(note, "sequence \"%s\" exists already", statement->sequence->relname);
	return true;
}

/*
 * The type of a name that CREATE TYPE finds taken; 0 when there is none.  The
 * server gives an array type that is in the way another name.
 */
static Oid
type_in_the_way(List *names)
{
	Oid			type = LookupTypeNameOid(NULL, makeTypeNameFromNameList(names), true);
	Oid			element = OidIsValid(type) ? get_element_type(type) : InvalidOid;

	return OidIsValid(element) && get_array_type(element) == type ? InvalidOid : type;
}

static bool
enum_present(CreateEnumStmt *statement, StringInfo note)
{
	Oid			type = type_in_the_way(statement->typeName);
	char	   *name = strVal(llast(statement->typeName));
	ListCell   *cell;

	if (!OidIsValid(type))
		return false;
	foreach(cell, statement->vals)
	{
		if (!SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
								   CStringGetDatum(strVal(lfirst(cell)))))
			report_different(ERRCODE_DUPLICATE_OBJECT, "type", name,
							 psprintf("it has no value \"%s\" here", strVal(lfirst(cell))));
	}
	add_note(note, "type \"%s\" exists already", name);
	return true;
}

static bool
domain_present(CreateDomainStmt *statement, StringInfo note)
{
	Oid			type = type_in_the_way(statement->domainname);
	char	   *name = strVal(llast(statement->domainname));

	if (!OidIsValid(type))
		return false;
	if (get_typtype(type) != TYPTYPE_DOMAIN ||
		getBaseType(type) != getBaseType(typenameTypeId(NULL, statement->typeName)))
		report_different(ERRCODE_DUPLICATE_OBJECT, "domain", name, "its type is another here");
	add_note(note, "domain \"%s\" exists already", name);
	return true;
}

static bool
composite_present(CompositeTypeStmt *statement, const char *text, StringInfo note)
{
	Oid			relid = RangeVarGetRelid(statement->typevar, NoLock, true);
	Relation	relation;
	char	   *difference;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_COMPOSITE_TYPE)
		return false;
	relation = relation_open(relid, AccessShareLock);
	difference = flo_ddl_table_differs(relation, statement->coldeflist, true, text);
	relation_close(relation, AccessShareLock);
	if (difference != NULL)
		report_different(ERRCODE_DUPLICATE_OBJECT, "type", statement->typevar->relname, difference);
	add_note(note, "type \"%s\" exists already", statement->typevar->relname);
	return true;
}

static bool
schema_present(CreateSchemaStmt *statement, StringInfo note)
{
	if (!OidIsValid(get_namespace_oid(statement->schemaname, true)) || statement->schemaElts != NIL)
		return false;
	add_note(note, "schema \"%s\" exists already", statement->schemaname);
	return true;
}

/* --- ALTER TABLE --------------------------------------------------------- */

static bool
partition_is_attached(Oid parent, PartitionCmd *command)
{
	Oid			partition = RangeVarGetRelid(command->name, NoLock, true);

	return OidIsValid(partition) && get_rel_relispartition(partition) &&
		get_partition_parent(partition, true) == parent;
}

static bool
trigger_missing(Oid relation, AlterTableCmd *command)
{
	return command->name != NULL && !OidIsValid(get_trigger_oid(relation, command->name, true));
}

static bool
rule_missing(Oid relation, AlterTableCmd *command)
{
	return command->name != NULL &&
		!SearchSysCacheExists2(RULERELNAME, ObjectIdGetDatum(relation),
							   CStringGetDatum(command->name));
}

/* What a statement takes away: what it makes of that name is not there when it is made */
typedef struct Drops
{
	List	   *columns;		/* of char * */
	List	   *constraints;	/* of char * */
	bool		cascade;		/* what depends on them as well */
} Drops;

static bool
is_named(const List *names, const char *name)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

static void
find_drops(AlterTableStmt *statement, Drops *drops)
{
	ListCell   *cell;

	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DropColumn)
			drops->columns = lappend(drops->columns, command->name);
		else if (command->subtype == AT_DropConstraint)
			drops->constraints = lappend(drops->constraints, command->name);
		else
			continue;
		drops->cascade |= command->behavior == DROP_CASCADE;
	}
}

/* Does the constraint that is there go with the statement that makes this one? */
static bool
goes_first(Relation relation, const Constraint *constraint, const Drops *drops)
{
	Oid			there = flo_ddl_constraint_like(relation, constraint);
	ListCell   *cell;

	if (!OidIsValid(there))
		return false;
	if (is_named(drops->constraints, get_constraint_name(there)))
		return true;
	foreach(cell, drops->columns)
	{
		if (flo_ddl_constraint_has_column(there,
										  get_attnum(RelationGetRelid(relation), lfirst(cell))))
			return true;
	}
	return drops->cascade && constraint->contype == CONSTR_FOREIGN;
}

static bool
add_column_present(Relation relation, AlterTableCmd *command, const Drops *drops, const char *text,
				   StringInfo note)
{
	ColumnDef  *column = castNode(ColumnDef, command->def);
	AttrNumber	attnum = get_attnum(RelationGetRelid(relation), column->colname);
	char	   *difference;

	if (attnum == InvalidAttrNumber || is_named(drops->columns, column->colname))
		return false;

	/* of whatever shape: the source did not look, either */
	difference = command->missing_ok ? NULL :
		flo_ddl_column_differs(relation, attnum, column, false, text);
	if (difference != NULL)
		report_different(ERRCODE_DUPLICATE_COLUMN, "column", column->colname, difference);
	add_note(note, "column \"%s\" exists already", column->colname);
	return true;
}

static bool
is_child(Oid relation, const RangeVar *name)
{
	Oid			parent = RangeVarGetRelid(name, NoLock, true);

	return OidIsValid(parent) &&
		list_member_oid(find_inheritance_children(parent, NoLock), relation);
}

/* A property that a column is to lose, and has not here */
static bool
property_missing(Relation relation, const AlterTableCmd *command)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(relation), command->name);
	Form_pg_attribute att;

	if (attnum <= 0)
		return false;
	att = TupleDescAttr(RelationGetDescr(relation), attnum - 1);
	return command->subtype == AT_DropIdentity ? att->attidentity == '\0' :
		att->attgenerated == '\0';
}

/* Is the effect of one command of ALTER TABLE there, or none of ours? */
static bool
command_present(Relation relation, AlterTableCmd *command, const Drops *drops, const char *text,
				bool with_owner, StringInfo note)
{
	Oid			relid = RelationGetRelid(relation);

	switch (command->subtype)
	{
		case AT_AddColumn:
			return add_column_present(relation, command, drops, text, note);
		case AT_DropColumn:
			if (column_exists(relid, command->name))
				return false;
			add_note(note, "column \"%s\" is gone already", command->name);
			return true;
		case AT_AddConstraint:
			if (goes_first(relation, castNode(Constraint, command->def), drops) ||
				!flo_ddl_constraint_there(relation, castNode(Constraint, command->def), text))
				return false;
			add_note(note, "constraint%s exists already", "");
			return true;
		case AT_AttachPartition:
			if (!partition_is_attached(relid, (PartitionCmd *) command->def))
				return false;
			add_note(note, "partition%s is attached already", "");
			return true;
		case AT_DetachPartition:
			if (partition_is_attached(relid, (PartitionCmd *) command->def))
				return false;
			add_note(note, "partition%s is detached already", "");
			return true;
		case AT_DropIdentity:
		case AT_DropExpression:
			if (!property_missing(relation, command))
				return false;
			add_note(note, "column \"%s\" is not generated here", command->name);
			return true;
		case AT_DropInherit:
			if (is_child(relid, castNode(RangeVar, command->def)))
				return false;
			add_note(note, "it is no child of \"%s\" here", ((RangeVar *) command->def)->relname);
			return true;
		case AT_ChangeOwner:
			return !with_owner;
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
			if (!trigger_missing(relid, command))
				return false;
			add_note(note, "trigger \"%s\" does not exist here", command->name);
			return true;
		case AT_EnableRule:
		case AT_EnableAlwaysRule:
		case AT_EnableReplicaRule:
		case AT_DisableRule:
			if (!rule_missing(relid, command))
				return false;
			add_note(note, "rule \"%s\" does not exist here", command->name);
			return true;
		default:
			return false;
	}
}

static bool
alter_present(AlterTableStmt *statement, const char *text, bool with_owner, StringInfo note)
{
	Oid			relid = RangeVarGetRelid(statement->relation, AccessShareLock, true);
	Relation	relation;
	List	   *commands = NIL;
	Drops		drops = {0};
	ListCell   *cell;

	if (!OidIsValid(relid))
		return false;
	find_drops(statement, &drops);
	relation = relation_open(relid, NoLock);
	foreach(cell, statement->cmds)
	{
		if (!command_present(relation, lfirst(cell), &drops, text, with_owner, note))
			commands = lappend(commands, lfirst(cell));
	}
	relation_close(relation, NoLock);
	statement->cmds = commands;
	return commands == NIL;
}

/* --- the rest ------------------------------------------------------------ */

static bool
rename_present(RenameStmt *statement, StringInfo note)
{
	Oid			relid;
	RangeVar   *renamed;

	switch (statement->renameType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
			renamed = copyObject(statement->relation);
			renamed->relname = statement->newname;
			if (OidIsValid(RangeVarGetRelid(statement->relation, NoLock, true)) ||
				!OidIsValid(RangeVarGetRelid(renamed, NoLock, true)))
				return false;
			break;
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
			relid = RangeVarGetRelid(statement->relation, NoLock, true);
			if (!OidIsValid(relid))
				return false;
			if (statement->renameType == OBJECT_COLUMN &&
				(column_exists(relid, statement->subname) ||
				 !column_exists(relid, statement->newname)))
				return false;
			if (statement->renameType == OBJECT_TABCONSTRAINT &&
				(OidIsValid(get_relation_constraint_oid(relid, statement->subname, true)) ||
				 !OidIsValid(get_relation_constraint_oid(relid, statement->newname, true))))
				return false;
			break;
		default:
			return false;
	}
	add_note(note, "the name is \"%s\" already", statement->newname);
	return true;
}

static bool
move_present(AlterObjectSchemaStmt *statement, StringInfo note)
{
	RangeVar   *moved;

	if (statement->relation == NULL)
		return false;
	moved = makeRangeVar(statement->newschema, statement->relation->relname, -1);
	if (OidIsValid(RangeVarGetRelid(statement->relation, NoLock, true)) ||
		!OidIsValid(RangeVarGetRelid(moved, NoLock, true)))
		return false;
	add_note(note, "it is in schema \"%s\" already", statement->newschema);
	return true;
}

static bool
enum_value_present(AlterEnumStmt *statement, StringInfo note)
{
	Oid			type = LookupTypeNameOid(NULL, makeTypeNameFromNameList(statement->typeName), true);

	if (!OidIsValid(type))
		return false;
	if (statement->oldVal == NULL)
	{
		statement->skipIfNewValExists = true;
		return false;
	}
	if (SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
							  CStringGetDatum(statement->oldVal)) ||
		!SearchSysCacheExists2(ENUMTYPOIDNAME, ObjectIdGetDatum(type),
							   CStringGetDatum(statement->newVal)))
		return false;
	add_note(note, "the value is \"%s\" already", statement->newVal);
	return true;
}

bool
flo_ddl_present(Node *node, const char *text, bool with_owner, StringInfo note)
{
	switch (nodeTag(node))
	{
		case T_CreateStmt:
			return table_present((CreateStmt *) node, text, note);
		case T_IndexStmt:
			return index_present((IndexStmt *) node, text, note);
		case T_CreateSeqStmt:
			return sequence_present((CreateSeqStmt *) node, note);
		case T_CreateEnumStmt:
			return enum_present((CreateEnumStmt *) node, note);
		case T_CreateDomainStmt:
			return domain_present((CreateDomainStmt *) node, note);
		case T_CompositeTypeStmt:
			return composite_present((CompositeTypeStmt *) node, text, note);
		case T_CreateSchemaStmt:
			return schema_present((CreateSchemaStmt *) node, note);
		case T_AlterTableStmt:
			return alter_present((AlterTableStmt *) node, text, with_owner, note);
		case T_RenameStmt:
			return rename_present((RenameStmt *) node, note);
		case T_AlterObjectSchemaStmt:
			return move_present((AlterObjectSchemaStmt *) node, note);
		case T_AlterEnumStmt:
			return enum_value_present((AlterEnumStmt *) node, note);
		case T_ViewStmt:
			((ViewStmt *) node)->replace = true;
			return false;
		case T_CreateFunctionStmt:
			((CreateFunctionStmt *) node)->replace = true;
			return false;
		case T_CreateTrigStmt:
			if (!((CreateTrigStmt *) node)->isconstraint)
				((CreateTrigStmt *) node)->replace = true;
			return false;
		case T_CreateStatsStmt:
			((CreateStatsStmt *) node)->if_not_exists = true;
			return false;
		default:
			return false;
	}
}
