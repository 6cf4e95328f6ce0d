/*
 * ddl_gone.c
 *		What a DDL statement is to drop and is not here.
 *
 * The source had it when it ran the statement.  Here it may never have been: a
 * destination that was prepared by hand has not all indexes, and an index that
 * could not be built at the source is not tried here.  That is told and passed
 * over.  What the stream or a copy has made here and is missing was dropped or
 * renamed by somebody: it may still be in force under another name, so that is
 * for a person to look at, unless it is a table whose rows are awaited, or given up.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "dest/ddl_gone.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"

typedef struct Drops
{
	const FloDdlPlace *place;
	bool		decided;
	StringInfo	note;
	bool		made;			/* one of those missing was made here */
	char	   *reason;
} Drops;

/* Is it to be passed over?  If not, "reason" says why the statement is held. */
static bool
pass_over(Drops *drops, const char *what, const char *schema, const char *table, const char *name,
		  bool if_exists)
{
	bool		made = schema != NULL && flo_ddl_was_made(drops->place, schema, table, name);

	drops->made |= made;
	if (made && !drops->decided && !if_exists)
	{
		drops->reason = psprintf("%s \"%s\" was made here and is missing now, or has another name",
								 what, name);
		return false;
	}
	if (drops->note->len > 0)
		appendStringInfoString(drops->note, "; ");
	appendStringInfo(drops->note, made ? "%s \"%s\" is gone already" :
					 "%s \"%s\" was never brought here", what, name);
	return true;
}

static bool
is_here(ObjectType type, Node *object)
{
	Relation	relation = NULL;
	ObjectAddress address;

	switch (type)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
			return OidIsValid(RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, object)),
											   NoLock, true));
		default:
			address = get_object_address(type, object, &relation, AccessShareLock, true);
			if (relation != NULL)
				relation_close(relation, AccessShareLock);
			return OidIsValid(address.objectId);
	}
}

/* The statement's objects as the source has listed them; NIL when it has not */
static List *
listed_objects(const FloDdlStatement *ddl, int count)
{
	List	   *listed = NIL;
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		if (((FloDdlObject *) lfirst(cell))->position >= 0)
			listed = lappend(listed, lfirst(cell));
	}
	return list_length(listed) == count ? listed : NIL;
}

static void
look_at_drop(Drops *drops, const FloDdlStatement *ddl, DropStmt *statement)
{
	List	   *listed = listed_objects(ddl, list_length(statement->objects));
	List	   *here = NIL;
	ListCell   *cell;

	foreach(cell, statement->objects)
	{
		const FloDdlObject *object = listed != NIL ? list_nth(listed, foreach_current_index(cell)) :
			NULL;

		if (object == NULL || is_here(statement->removeType, lfirst(cell)) ||
			!pass_over(drops, object->type, object->schema, NULL, object->name, object->awaited))
			here = lappend(here, lfirst(cell));
	}
	statement->objects = here;
}

static void
look_at_alter(Drops *drops, const FloDdlStatement *ddl, AlterTableStmt *statement)
{
	Oid			relation = RangeVarGetRelid(statement->relation, NoLock, true);
	const FloDdlObject *table = ddl->objects != NIL ? linitial(ddl->objects) : NULL;
	List	   *left = NIL;
	ListCell   *cell;

	if (!OidIsValid(relation) || table == NULL)
		return;
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype != AT_DropConstraint ||
			OidIsValid(get_relation_constraint_oid(relation, command->name, true)) ||
			!pass_over(drops, "constraint", table->schema, table->name, command->name,
					   command->missing_ok))
			left = lappend(left, command);
	}
	statement->cmds = left;
}

/* Is nothing left of it? */
static bool
look_at_domain(Drops *drops, const FloDdlStatement *ddl, AlterDomainStmt *statement)
{
	Oid			domain = LookupTypeNameOid(NULL, makeTypeNameFromNameList(statement->typeName),
										   true);
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;

	return statement->subtype == 'X' && OidIsValid(domain) && object != NULL &&
		!OidIsValid(get_domain_constraint_oid(domain, statement->name, true)) &&
		pass_over(drops, "constraint", object->schema, object->name, statement->name,
				  statement->missing_ok);
}

/* Is nothing left of it? */
static bool
look_at(Drops *drops, const FloDdlStatement *ddl, Node *node)
{
	int			before = drops->note->len;

	switch (nodeTag(node))
	{
		case T_DropStmt:
			look_at_drop(drops, ddl, (DropStmt *) node);
			return drops->note->len > before && ((DropStmt *) node)->objects == NIL;
		case T_AlterTableStmt:
			look_at_alter(drops, ddl, (AlterTableStmt *) node);
			return drops->note->len > before && ((AlterTableStmt *) node)->cmds == NIL;
		case T_AlterDomainStmt:
			return look_at_domain(drops, ddl, (AlterDomainStmt *) node);
		default:
			return false;
	}
}

char *
flo_ddl_gone(const FloDdlPlace *place, const FloDdlStatement *ddl, Node *node, bool decided,
			 StringInfo note, bool *nothing)
{
	Drops		drops = {place, decided, note};

	*nothing = look_at(&drops, ddl, node);
	return drops.reason;
}

bool
flo_ddl_gone_since(const FloDdlPlace *place, const FloDdlStatement *ddl, Node *node,
				   StringInfo note, const char **outcome)
{
	Drops		drops = {place, true, note};

	if (!look_at(&drops, ddl, node))
		return false;
	*outcome = drops.made ? "present" : "absent";
	return true;
}
