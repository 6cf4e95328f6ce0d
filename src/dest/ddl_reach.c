/*
 * ddl_reach.c
 *		The objects of this database that a group's DDL may touch.
 *
 * What a statement names is looked at before it runs.  What it takes along
 * (CASCADE, DISABLE TRIGGER ALL, children) only the server knows: while it
 * runs, each object that is dropped, altered or emptied passes here, through
 * the server's object access hook, and an error ends the statement at the first
 * one that is not the group's.  What it made is looked at at the end, for what
 * it depends on.  Other sessions never come by: the hook is the process's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "conf/choice.h"
#include "conf/fence.h"
#include "conf/sql.h"
#include "conf/tables.h"
#include "core/as_role.h"
#include "dest/ddl_known.h"
#include "dest/ddl_parts.h"
#include "dest/ddl_reach.h"
#include "dest/ddl_refers.h"
#include "dest/ddl_targets.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

/* What is attached to a table, and must go only with that */
typedef struct Dropped
{
	ObjectAddress table;
	char	   *name;
} Dropped;

/* A statement that is being run */
typedef struct Reach
{
	const char *group;
	bool		enforce;
	MemoryContext context;
	List	   *made;			/* of ObjectAddress *, parts too */
	List	   *own;			/* of ObjectAddress *: those, and sequences of
								 * its tables, of which it may let go */
	List	   *already;		/* of ObjectAddress *: what columns and
								 * defaults of its tables refer to already */
	List	   *keys;			/* of char *: foreign keys that they have
								 * already */
	List	   *defaults;		/* of ObjectAddress *: columns that got one */
	List	   *columns;		/* of ObjectAddress *: columns made or changed */
	List	   *changed;		/* of ObjectAddress * */
	List	   *referred;		/* of ObjectAddress *: with a person's word
								 * only */
	List	   *dropped;		/* of Dropped * */
	bool		makes_trigger;
	char	   *reason;			/* what it must not touch, the first that was
								 * met */
} Reach;

static Reach *watching = NULL;
static object_access_hook_type next_object_access = NULL;

/* --- what it names ------------------------------------------------------- */

static char *
name_of(const ObjectAddress *object)
{
	ObjectAddress named = *object;
	char	   *description;

	/* what has no name of its own, or one that says less */
	if (named.classId == IndexRelationId || named.classId == TypeRelationId)
		(void) flo_ddl_to_whole(&named);
	description = getObjectDescription(&named, true);
	return description != NULL ? description : pstrdup("an object");
}

static char *
not_known(const ObjectAddress *object)
{
	return psprintf("%s is not known to be of the group here", name_of(object));
}

char *
flo_ddl_out_of_reach(const char *group, List *targets)
{
	ListCell   *cell;

	foreach(cell, targets)
	{
		const ObjectAddress *object = &((FloDdlTarget *) lfirst(cell))->object;

		if (!flo_ddl_may_change(group, object, NIL))
			return not_known(object);
	}
	return NULL;
}

/* A relation of the schema that the group may not change, 0 = there is none */
static Oid
others_relation(const char *group, Oid schema)
{
	Relation	class = table_open(RelationRelationId, AccessShareLock);
	Oid			found = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	scan = systable_beginscan(class, InvalidOid, false, NULL, 1, &key);
	while (!OidIsValid(found) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ObjectAddress object;

		ObjectAddressSet(object, RelationRelationId, ((Form_pg_class) GETSTRUCT(tuple))->oid);
		if (!flo_ddl_may_change(group, &object, NIL))
			found = object.objectId;
	}
	systable_endscan(scan);
	table_close(class, AccessShareLock);
	return found;
}

char *
flo_ddl_takes_along(const char *group, Node *statement)
{
	Oid			schema;
	ObjectAddress other;

	if (!IsA(statement, RenameStmt) || ((RenameStmt *) statement)->renameType != OBJECT_SCHEMA)
		return NULL;
	schema = get_namespace_oid(((RenameStmt *) statement)->subname, true);
	ObjectAddressSet(other, RelationRelationId,
					 OidIsValid(schema) ? others_relation(group, schema) : InvalidOid);
	return OidIsValid(other.objectId) ?
		psprintf("%s, and would be in a schema of another name", not_known(&other)) : NULL;
}

char *
flo_ddl_refers_out_of_reach(const char *group, List *referred)
{
	ListCell   *cell;

	foreach(cell, referred)
	{
		const ObjectAddress *object = &((FloDdlTarget *) lfirst(cell))->object;

		if (!flo_ddl_may_refer(group, object, NIL))
			return not_known(object);
	}
	return NULL;
}

/* --- while a statement runs ---------------------------------------------- */

static void
refuse_named(const char *name, const char *does)
{
	MemoryContext old = MemoryContextSwitchTo(watching->context);

	watching->reason = psprintf("it %s %s, which is not known to be of the group here", does, name);
	MemoryContextSwitchTo(old);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg_internal("%s", watching->reason)));
}

static void
refuse(const ObjectAddress *object, const char *does)
{
	refuse_named(name_of(object), does);
}

static void
note(List **objects, const ObjectAddress *object)
{
	MemoryContext old = MemoryContextSwitchTo(watching->context);

	*objects = flo_ddl_add_address(*objects, object->classId, object->objectId);
	MemoryContextSwitchTo(old);
}

static void
note_column(List **columns, Oid relation, int column)
{
	MemoryContext old = MemoryContextSwitchTo(watching->context);
	ObjectAddress *object = palloc(sizeof(ObjectAddress));

	ObjectAddressSubSet(*object, RelationRelationId, relation, column);
	*columns = lappend(*columns, object);
	MemoryContextSwitchTo(old);
}

static bool
is_groups(const ObjectAddress *object)
{
	return flo_ddl_may_change(watching->group, object, watching->own);
}

/* Columns and defaults are told by their tables */
static void
look_at_made(const ObjectAddress *object, int part)
{
	ObjectAddress table;

	if (object->classId == AttrDefaultRelationId)
		note_column(&watching->defaults, object->objectId, part);
	else if (part == 0)
	{
		note(&watching->made, object);
		/* a partition's copy of a trigger is whose the root's is */
		if (watching->makes_trigger || object->classId != TriggerRelationId)
			note(&watching->own, object);
	}
	else if (object->classId == RelationRelationId)
	{
		ObjectAddressSet(table, RelationRelationId, object->objectId);
		if (watching->enforce && !is_groups(&table))
			refuse(&table, "changes");
		note_column(&watching->columns, object->objectId, part);
	}
}

static void
look_at_changed(ObjectAddress *object, int part)
{
	Oid			constraint = object->classId == TriggerRelationId ?
		flo_ddl_constraint_of_trigger(object->objectId) : InvalidOid;

	/* who may be joined to whom was asked before */
	if (object->classId == InheritsRelationId)
		return;
	if (OidIsValid(constraint))
		ObjectAddressSet(*object, ConstraintRelationId, constraint);
	note(&watching->changed, object);
	if (object->classId == RelationRelationId && part > 0)
		note_column(&watching->columns, object->objectId, part);
	if (watching->enforce && (OidIsValid(constraint) || !flo_ddl_is_servers(object)) &&
		!is_groups(object))
		refuse(object, "changes");
}

/* What is attached to a table may go with it: whether that goes is seen in the end */
static void
look_at_dropped(const ObjectAddress *object)
{
	Oid			table = flo_ddl_table_of_attached(object);
	MemoryContext old;
	Dropped    *dropped;

	if (!OidIsValid(table))
		refuse(object, "drops");
	old = MemoryContextSwitchTo(watching->context);
	dropped = palloc(sizeof(Dropped));
	ObjectAddressSet(dropped->table, RelationRelationId, table);
	dropped->name = name_of(object);
	watching->dropped = lappend(watching->dropped, dropped);
	MemoryContextSwitchTo(old);
}

static void
watch(ObjectAccessType access, Oid class, Oid id, int part, void *arg)
{
	ObjectAddress object;

	if (next_object_access)
		next_object_access(access, class, id, part, arg);
	if (watching == NULL || watching->reason != NULL)
		return;
	ObjectAddressSet(object, class, id);
	switch (access)
	{
		case OAT_POST_CREATE:
			look_at_made(&object, part);
			break;
		case OAT_POST_ALTER:
			look_at_changed(&object, part);
			break;
		case OAT_DROP:
			if (watching->enforce && !flo_ddl_is_servers(&object) && !flo_ddl_is_clone(&object) &&
				!is_groups(&object))
				look_at_dropped(&object);
			break;
		case OAT_TRUNCATE:
			if (watching->enforce && !is_groups(&object))
				refuse(&object, "empties");
			break;
		default:
			break;
	}
}

/*
 * What the group's tables that the statement changes, or makes others like, refer
 * to: somebody has let them do so, whoever that was.  A column of another type has
 * its default and foreign keys made anew; partitions get defaults like the root's.
 */
static void
note_references(Reach *reach, Node *statement)
{
	ListCell   *cell;
	ListCell   *one;

	foreach(cell, list_concat(flo_ddl_targets(statement), flo_ddl_models(statement)))
	{
		const ObjectAddress *object = &((FloDdlTarget *) lfirst(cell))->object;

		if (object->classId != RelationRelationId ||
			!flo_tables_is_kind(get_rel_relkind(object->objectId)))
			continue;
		foreach(one, find_all_inheritors(object->objectId, NoLock, NULL))
		{
			if (!flo_ddl_may_change_table(reach->group, lfirst_oid(one), NIL))
				continue;
			reach->already = flo_ddl_add_references_of_table(reach->already, lfirst_oid(one));
			reach->keys = flo_ddl_add_keys_of_table(reach->keys, lfirst_oid(one));
		}
	}
}

static bool
is_key_made_anew(const Reach *reach, const char *key)
{
	ListCell   *cell;

	foreach(cell, reach->keys)
	{
		if (strcmp(lfirst(cell), key) == 0)
			return true;
	}
	return false;
}

/* Add what the object refers to and has not before */
static List *
add_new_references(List *references, const Reach *reach, const ObjectAddress *object)
{
	char	   *key = flo_ddl_key_definition(object);
	ListCell   *cell;

	if (key != NULL)
		return is_key_made_anew(reach, key) ? references :
			flo_ddl_add_references(references, object);
	foreach(cell, flo_ddl_add_references(NIL, object))
	{
		if (!flo_ddl_has_address(reach->already, lfirst(cell)))
			references = lappend(references, lfirst(cell));
	}
	return references;
}

/*
 * What is newly referred to by all that was made, and given columns or
 * defaults; of ObjectAddress *
 */
static List *
references_of_made(const Reach *reach)
{
	List	   *references = NIL;
	ListCell   *cell;

	foreach(cell, reach->made)
	{
		const ObjectAddress *object = lfirst(cell);

		/*
		 * a query reads what its owner may read; the rule is what depends on
		 * it
		 */
		if (object->classId != RewriteRelationId && !flo_ddl_is_servers(object))
			references = add_new_references(references, reach, object);
	}
	foreach(cell, reach->defaults)
	{
		ObjectAddress object;

		flo_ddl_default_of_column(&object, lfirst(cell));
		references = add_new_references(references, reach, &object);
	}
	foreach(cell, reach->columns)
		references = add_new_references(references, reach, lfirst(cell));
	return references;
}

static void
check_made(void)
{
	ListCell   *cell;

	CommandCounterIncrement();
	foreach(cell, references_of_made(watching))
	{
		if (!flo_ddl_may_refer(watching->group, lfirst(cell), watching->own))
			refuse(lfirst(cell), "refers to");
	}
	foreach(cell, watching->dropped)
	{
		const Dropped *dropped = lfirst(cell);

		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(dropped->table.objectId)))
			refuse_named(dropped->name, "drops");
	}
}

/* The role that a function is to run as is looked at */
static void
allow_role_of_function(Node *statement)
{
	if (IsA(statement, CreateFunctionStmt) || IsA(statement, AlterFunctionStmt))
		flo_as_role_allow_naming();
}

/* Could code of whose rights the statement has put something off? */
static bool
may_put_off(void)
{
	return !InSecurityRestrictedOperation() && !superuser();
}

/* Tables with triggers of users' that wait for the commit */
static List *
put_off(void)
{
	FloSqlSession sql;
	List	   *tables = NIL;
	uint64		rows;

	flo_sql_begin(&sql);
	rows = flo_sql_run(SPI_OK_SELECT, "SELECT DISTINCT tgrelid FROM pg_trigger WHERE tgdeferrable AND tgfoid >= $1::oid",
					   1, psprintf("%u", FirstNormalObjectId));
	for (uint64 i = 0; i < rows; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);

		if (AfterTriggerPendingOnRel(flo_sql_oid(i, 1)))
			tables = lappend_oid(tables, flo_sql_oid(i, 1));
		MemoryContextSwitchTo(old);
	}
	flo_sql_end(&sql);
	return tables;
}

/*
 * Some statements cannot run as a security-restricted operation, and call nobody's code but
 * event triggers, which may call anybody's.  What that leaves would run at the commit, as
 * this process.
 */
static void
refuse_put_off(List *before)
{
	if (list_difference_oid(put_off(), before) != NIL ||
		flo_sql_do(SPI_OK_SELECT, "SELECT FROM pg_cursors WHERE is_holdable", 0) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("code that an event trigger calls leaves a deferred trigger or a cursor WITH HOLD"),
				 errdetail("It would run at the commit with the rights of another role.")));
}

void
flo_ddl_run(RawStmt *statement, const char *text, ProcessUtilityContext context)
{
	bool		watched = may_put_off();
	List	   *before = watched ? put_off() : NIL;
	List	   *queries = pg_analyze_and_rewrite_fixedparams(statement, text, NULL, 0, NULL);
	List	   *plans = pg_plan_queries(queries, text, CURSOR_OPT_PARALLEL_OK, NULL);
	ListCell   *cell;

	/* what outlives the transactions of a command is kept there by core */
	PortalContext = CurrentMemoryContext;
	foreach(cell, plans)
	{
		PlannedStmt *plan = lfirst_node(PlannedStmt, cell);

		if (plan->commandType != CMD_UTILITY)
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("a DDL message holds a statement that is none")));
		allow_role_of_function(plan->utilityStmt);
		ProcessUtility(plan, text, false, context, NULL, NULL, None_Receiver, NULL);
		if (context == PROCESS_UTILITY_QUERY)
			CommandCounterIncrement();
	}
	PortalContext = NULL;
	if (watched)
		refuse_put_off(before);
}

/* Sequences of the tables that it changes: they are the group's also when it lets go of them */
static List *
sequences_of(List *targets)
{
	List	   *sequences = NIL;
	ListCell   *cell;
	ListCell   *one;

	foreach(cell, targets)
	{
		const ObjectAddress *object = &((FloDdlTarget *) lfirst(cell))->object;

		if (object->classId == RelationRelationId &&
			flo_tables_is_kind(get_rel_relkind(object->objectId)) &&
			flo_ddl_may_change_table(watching->group, object->objectId, NIL))
			foreach(one, getOwnedSequences(object->objectId))
				sequences = flo_ddl_add_address(sequences, RelationRelationId, lfirst_oid(one));
	}
	return sequences;
}

/* The relation that the statement makes; NULL = none */
static RangeVar *
relation_of(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateStmt:
			return ((CreateStmt *) statement)->relation;
		case T_CreateSeqStmt:
			return ((CreateSeqStmt *) statement)->sequence;
		case T_ViewStmt:
			return ((ViewStmt *) statement)->view;
		case T_CreateTableAsStmt:
			return ((CreateTableAsStmt *) statement)->into->rel;
		default:
			return NULL;
	}
}

/* Is it what the statement is there to make?  Somebody's event trigger may make more. */
static bool
is_made_by(Node *statement, const ObjectAddress *object)
{
	RangeVar   *relation = relation_of(statement);

	switch (object->classId)
	{
		case RelationRelationId:
			if (IsA(statement, CreateSchemaStmt))
				return get_rel_namespace(object->objectId) ==
					get_namespace_oid(((CreateSchemaStmt *) statement)->schemaname, true);
			return relation != NULL && RangeVarGetRelid(relation, NoLock, true) == object->objectId;
		case TypeRelationId:
			return IsA(statement, CompositeTypeStmt) || IsA(statement, CreateEnumStmt) ||
				IsA(statement, CreateDomainStmt) || IsA(statement, CreateRangeStmt) ||
				IsA(statement, DefineStmt);
		case ProcedureRelationId:
			return IsA(statement, CreateFunctionStmt) || IsA(statement, DefineStmt);
		case NamespaceRelationId:
			return IsA(statement, CreateSchemaStmt);
		case TriggerRelationId:
			return IsA(statement, CreateTrigStmt);
		case RewriteRelationId:
			return IsA(statement, RuleStmt);
		case PolicyRelationId:
			return IsA(statement, CreatePolicyStmt);
		default:
			return relation == NULL && !IsA(statement, AlterTableStmt);
	}
}

static void
run_watched(RawStmt *statement, const char *text)
{
	flo_ddl_run(statement, text, PROCESS_UTILITY_QUERY);
	if (watching->enforce)
		check_made();
}

static void
install_hook(void)
{
	static bool installed = false;

	if (installed)
		return;
	next_object_access = object_access_hook;
	object_access_hook = watch;
	installed = true;
}

/* Those that are still there, without what is part of others */
static List *
only_wholes(const List *objects, Node *statement)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, objects)
	{
		ObjectAddress object = *(ObjectAddress *) lfirst(cell);
		ObjectAddress whole = object;
		bool		part;

		if (flo_ddl_is_servers(&object) || getObjectDescription(&object, true) == NULL)
			continue;
		part = flo_ddl_to_whole(&whole);

		/* tables may let go of their sequences */
		if (part ? get_rel_relkind(object.objectId) == RELKIND_SEQUENCE &&
			object.classId == RelationRelationId &&
			is_groups(&whole) : is_made_by(statement, &object))
			result = flo_ddl_add_address(result, object.classId, object.objectId);
	}
	return result;
}

/* A person's word for a statement is one for what it changes, or belongs to */
static List *
wholes_of(const List *objects)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, objects)
	{
		ObjectAddress object = *(ObjectAddress *) lfirst(cell);

		if (flo_ddl_is_servers(&object))
			continue;
		while (flo_ddl_to_whole(&object))
			;
		if (object.objectId >= FirstNormalObjectId && getObjectDescription(&object, true) != NULL)
			result = flo_ddl_add_address(result, object.classId, object.objectId);
	}
	return result;
}

/* What a statement that a person has released refers to, and the group may not */
static List *
newly_referred(const Reach *reach)
{
	List	   *referred = NIL;
	ListCell   *cell;

	foreach(cell, references_of_made(reach))
	{
		if (!flo_ddl_may_refer(reach->group, lfirst(cell), NIL))
			referred = lappend(referred, lfirst(cell));
	}
	return referred;
}

List *
flo_ddl_wholes(List *targets)
{
	List	   *objects = NIL;
	ListCell   *cell;

	foreach(cell, targets)
		objects = lappend(objects, &((FloDdlTarget *) lfirst(cell))->object);
	return wholes_of(objects);
}

void
flo_ddl_own(const char *group, List *wholes)
{
	flo_ddl_know(group, wholes_of(wholes), FLO_MAY_CHANGE);
}

/* Tables that came with the statement are fenced like those that were here */
static void
cover_made(const char *group, const List *made)
{
	ListCell   *cell;

	foreach(cell, made)
	{
		const ObjectAddress *object = lfirst(cell);

		if (object->classId == RelationRelationId &&
			flo_tables_is_kind(get_rel_relkind(object->objectId)))
			flo_fence_cover(group, FLO_FENCE_DESTINATION, object->objectId);
	}
}

/*
 * The hook watches from before the statement until all that it caused is known, and
 * not a moment longer: what this process does for itself is nobody's to judge.  An
 * object that is out of reach is an error within the subtransaction, which undoes
 * what was done until then; the reason is kept beside it, and tells it from an error
 * of the statement's own, which is thrown on.  What was made becomes the group's
 * only after the subtransaction has been kept.
 */
char *
flo_ddl_run_within_reach(const char *group, bool enforce, RawStmt *statement, const char *text,
						 List **made)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Reach		reach = {
		.group = group,
		.enforce = enforce,
		.context = context
	};

	install_hook();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		watching = &reach;
		reach.makes_trigger = IsA(statement->stmt, CreateTrigStmt);
		reach.own = sequences_of(flo_ddl_targets(statement->stmt));
		note_references(&reach, statement->stmt);
		run_watched(statement, text);
		CommandCounterIncrement();
		if (!enforce)
			reach.referred = newly_referred(&reach);
		if (made != NULL)
			*made = reach.made;
		reach.made = only_wholes(reach.made, statement->stmt);
		watching = NULL;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		watching = NULL;
		if (reach.reason == NULL)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (reach.reason != NULL)
		return reach.reason;
	CommandCounterIncrement();
	flo_ddl_know(group, reach.made, FLO_MAY_CHANGE);
	cover_made(group, reach.made);
	if (!enforce)
	{
		flo_ddl_know(group, wholes_of(reach.changed), FLO_MAY_CHANGE);
		flo_ddl_know(group, reach.referred, FLO_MAY_REFER);
	}
	return NULL;
}
