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
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_publication_namespace.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/visit.h"
#include "dest/ddl_parts.h"
#include "dest/ddl_reach.h"
#include "dest/ddl_targets.h"
#include "dest/rows.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
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
	List	   *defaults;		/* of ObjectAddress *: columns that got one */
	List	   *columns;		/* of ObjectAddress *: columns made or changed */
	List	   *sequences;		/* of ObjectAddress *: those of its tables, of which it may let go */
	List	   *changed;		/* of ObjectAddress * */
	List	   *dropped;		/* of Dropped * */
	bool		makes_trigger;
	char	   *reason;			/* what it must not touch, the first that was met */
} Reach;

static Reach *watching = NULL;
static object_access_hook_type next_object_access = NULL;

/* --- whose it is ------------------------------------------------------------------------------ */

typedef enum Belongs
{
	UNKNOWN,
	FOREIGN,
	OURS
} Belongs;

static bool
is_listed(const List *objects, const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, objects)
	{
		const ObjectAddress *other = lfirst(cell);

		if (other->classId == object->classId && other->objectId == object->objectId)
			return true;
	}
	return false;
}

/* Read directly: this may be asked in the midst of a statement, as a role that may not read the table */
static Belongs
recorded(const char *group, const ObjectAddress *object)
{
	Oid			schema = get_namespace_oid("flo", false);
	Relation	table = table_open(get_relname_relid("group_objects", schema), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Belongs		result = UNKNOWN;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->objectId));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->classId));
	scan = systable_beginscan(table, get_relname_relid("group_objects_pkey", schema), true, NULL, 2, keys);
	while (result == UNKNOWN && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		name = heap_getattr(tuple, 3, RelationGetDescr(table), &isnull);

		if (strcmp(TextDatumGetCString(name), group) == 0)
			result = DatumGetBool(heap_getattr(tuple, 4, RelationGetDescr(table), &isnull)) ? OURS : FOREIGN;
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return result;
}

static bool
is_recorded(const char *group, const ObjectAddress *object)
{
	/* a partition's copy of a trigger is whose the root's is */
	bool		made = watching != NULL && (watching->makes_trigger || object->classId != TriggerRelationId);

	return (made && (is_listed(watching->made, object) || is_listed(watching->sequences, object))) ||
		recorded(group, object) == OURS;
}

static List *
parents_of(Oid relation)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	List	   *parents = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		parents = lappend_oid(parents, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return parents;
}

/* A table, or one of those it is a partition of */
static bool
is_known_table(const char *group, Oid relation)
{
	ObjectAddress object;
	ListCell   *cell;

	ObjectAddressSet(object, RelationRelationId, relation);
	if (is_recorded(group, &object))
		return true;
	if (get_rel_relispartition(relation))
		foreach(cell, parents_of(relation))
			if (is_known_table(group, lfirst_oid(cell)))
				return true;
	return false;
}

static bool
is_groups(const char *group, const ObjectAddress *object)
{
	ObjectAddress whole = *object;

	do
	{
		if (whole.classId == RelationRelationId ? is_known_table(group, whole.objectId) :
			is_recorded(group, &whole))
			return true;
	} while (flo_ddl_to_whole(&whole));
	return false;
}

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

char *
flo_ddl_out_of_reach(const char *group, List *targets)
{
	ListCell   *cell;

	foreach(cell, targets)
	{
		const ObjectAddress *object = &((FloDdlTarget *) lfirst(cell))->object;

		if (!is_groups(group, object))
			return psprintf("%s is not known to be of the group here", name_of(object));
	}
	return NULL;
}

/* --- recording --------------------------------------------------------------------------------- */

static void
record(const char *group, const List *objects, bool belongs)
{
	FloVisit	visit;
	ListCell   *cell;

	if (objects == NIL)
		return;
	flo_visit_begin(&visit);
	foreach(cell, objects)
	{
		const ObjectAddress *object = lfirst(cell);

		flo_visit_run(SPI_OK_INSERT, "INSERT INTO flo.group_objects VALUES ($1::oid, $2::oid, $3, $4::bool)"
					  " ON CONFLICT ON CONSTRAINT group_objects_pkey DO UPDATE SET belongs = EXCLUDED.belongs"
					  " WHERE group_objects.belongs <> EXCLUDED.belongs",
					  4, psprintf("%u", object->objectId), psprintf("%u", object->classId), group,
					  belongs ? "true" : "false");
	}
	flo_visit_end(&visit);
}

static List *
add_address(List *objects, Oid class, Oid id)
{
	ObjectAddress *object = palloc(sizeof(ObjectAddress));

	ObjectAddressSet(*object, class, id);
	if (is_listed(objects, object))
		return objects;
	return lappend(objects, object);
}

static List *add_types_of_columns(List *objects, Oid relid);

/* Types of columns that are neither built in nor an extension's, and what they are made of */
static List *
add_type(List *objects, Oid type)
{
	Oid			element = get_element_type(type);

	if (type < FirstNormalObjectId)
		return objects;
	if (OidIsValid(element))
		return add_type(objects, element);
	if (OidIsValid(getExtensionOfObject(TypeRelationId, type)))
		return objects;
	if (get_typtype(type) == TYPTYPE_DOMAIN)
		objects = add_type(objects, getBaseType(type));
	if (get_typtype(type) == TYPTYPE_COMPOSITE)
	{
		if (get_rel_relkind(get_typ_typrelid(type)) != RELKIND_COMPOSITE_TYPE)
			return objects;
		objects = add_types_of_columns(objects, get_typ_typrelid(type));
	}
	return add_address(objects, TypeRelationId, type);
}

static List *
add_types_of_columns(List *objects, Oid relid)
{
	Relation	relation = relation_open(relid, AccessShareLock);

	for (int i = 0; i < RelationGetNumberOfAttributes(relation); i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), i);

		if (!att->attisdropped)
			objects = add_type(objects, att->atttypid);
	}
	relation_close(relation, NoLock);
	return objects;
}

/* Is it no parent of a table but of partitions, and no child of one that is not the group's? */
static bool
stands_alone(const char *group, Oid relation)
{
	ListCell   *cell;

	foreach(cell, parents_of(relation))
		if (!is_known_table(group, lfirst_oid(cell)))
			return false;
	return get_rel_relkind(relation) == RELKIND_PARTITIONED_TABLE ||
		find_inheritance_children(relation, NoLock) == NIL;
}

bool
flo_ddl_adopt(const char *group, Oid relation, bool empty_only, bool types)
{
	ObjectAddress object;
	Belongs		belongs;
	List	   *objects;
	ListCell   *cell;

	ObjectAddressSet(object, RelationRelationId, relation);
	belongs = recorded(group, &object);
	if (belongs != UNKNOWN)
		return belongs == OURS;
	if (empty_only && is_known_table(group, relation))
		return true;
	LockRelationOid(relation, AccessShareLock);
	if (!flo_tables_is_kind(get_rel_relkind(relation)) || relation < FirstNormalObjectId ||
		(empty_only && (!stands_alone(group, relation) || flo_table_has_rows(relation))))
		return false;
	objects = add_address(NIL, RelationRelationId, relation);
	foreach(cell, getOwnedSequences(relation))
		objects = add_address(objects, RelationRelationId, lfirst_oid(cell));
	if (types)
		objects = add_types_of_columns(objects, relation);
	record(group, objects, true);
	CommandCounterIncrement();
	return true;
}

void
flo_ddl_disown(const char *group, Oid relation, bool failed)
{
	if (!flo_tables_is_kind(get_rel_relkind(relation)) || is_known_table(group, relation))
		return;
	if (failed || !flo_ddl_adopt(group, relation, true, false))
		record(group, add_address(NIL, RelationRelationId, relation), false);
}

/* --- while a statement runs ---------------------------------------------------------------------- */

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

	*objects = add_address(*objects, object->classId, object->objectId);
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

/* Columns and defaults are told by their tables */
static void
look_at_made(const ObjectAddress *object, int part)
{
	ObjectAddress table;

	if (object->classId == AttrDefaultRelationId)
		note_column(&watching->defaults, object->objectId, part);
	else if (part == 0)
		note(&watching->made, object);
	else if (object->classId == RelationRelationId)
	{
		ObjectAddressSet(table, RelationRelationId, object->objectId);
		if (watching->enforce && !is_groups(watching->group, &table))
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
	if (watching->enforce && (OidIsValid(constraint) || !flo_ddl_is_servers(object)) && !is_groups(watching->group, object))
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
				!is_groups(watching->group, &object))
				look_at_dropped(&object);
			break;
		case OAT_TRUNCATE:
			if (watching->enforce && !is_groups(watching->group, &object))
				refuse(&object, "empties");
			break;
		default:
			break;
	}
}

/*
 * Relations that something (with a number of a column, that column) depends on:
 * a foreign key's table, a parent, the sequence of a default, the table whose
 * rows are its type.
 */
static List *
references_of(const ObjectAddress *object)
{
	List	   *references = NIL;
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->classId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object->objectId));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress other;

		if (form->refobjid < FirstNormalObjectId || (object->objectSubId != 0 && form->objsubid != object->objectSubId))
			continue;
		ObjectAddressSet(other, form->refclassid, form->refobjid);
		if (other.classId == TypeRelationId)
			while (other.classId == TypeRelationId && flo_ddl_to_whole(&other))
				;
		if (other.classId == RelationRelationId)
			references = add_address(references, RelationRelationId, other.objectId);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return references;
}

static void
check_references(const ObjectAddress *object)
{
	ListCell   *cell;

	foreach(cell, references_of(object))
		if (!is_groups(watching->group, lfirst(cell)))
			refuse(lfirst(cell), "refers to");
}

static void
default_of_column(ObjectAddress *object, const ObjectAddress *column)
{
	ObjectAddressSet(*object, AttrDefaultRelationId, GetAttrDefaultOid(column->objectId, column->objectSubId));
}

static void
check_made(void)
{
	ListCell   *cell;

	CommandCounterIncrement();
	foreach(cell, watching->made)
	{
		const ObjectAddress *object = lfirst(cell);

		/* a query reads what its owner may read; the rule is what depends on it */
		if (object->classId != RewriteRelationId && !flo_ddl_is_servers(object))
			check_references(object);
	}
	foreach(cell, watching->defaults)
	{
		ObjectAddress object;

		default_of_column(&object, lfirst(cell));
		check_references(&object);
	}
	foreach(cell, watching->columns)
		check_references(lfirst(cell));
	foreach(cell, watching->dropped)
	{
		const Dropped *dropped = lfirst(cell);

		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(dropped->table.objectId)))
			refuse_named(dropped->name, "drops");
	}
}

/* The role that a function is to run as is looked at as if it were set now, which a changed role forbids */
static void
allow_role_of_function(Node *statement)
{
	Oid			user;
	int			context;

	if (!IsA(statement, CreateFunctionStmt) && !IsA(statement, AlterFunctionStmt))
		return;
	GetUserIdAndSecContext(&user, &context);
	if (!(context & SECURITY_RESTRICTED_OPERATION))
		SetUserIdAndSecContext(user, context & ~SECURITY_LOCAL_USERID_CHANGE);
}

void
flo_ddl_run(RawStmt *statement, const char *text, ProcessUtilityContext context)
{
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

		if (object->classId == RelationRelationId && flo_tables_is_kind(get_rel_relkind(object->objectId)) &&
			is_known_table(watching->group, object->objectId))
			foreach(one, getOwnedSequences(object->objectId))
				sequences = add_address(sequences, RelationRelationId, lfirst_oid(one));
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
				IsA(statement, CreateDomainStmt) || IsA(statement, CreateRangeStmt) || IsA(statement, DefineStmt);
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
		if (part ? get_rel_relkind(object.objectId) == RELKIND_SEQUENCE && object.classId == RelationRelationId &&
			is_groups(watching->group, &whole) : is_made_by(statement, &object))
			result = add_address(result, object.classId, object.objectId);
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
			result = add_address(result, object.classId, object.objectId);
	}
	return result;
}

static List *
referred_sequences(const Reach *reach)
{
	List	   *sequences = NIL;
	ListCell   *cell;
	ListCell   *one;

	foreach(cell, reach->defaults)
	{
		ObjectAddress object;

		default_of_column(&object, lfirst(cell));
		foreach(one, references_of(&object))
			if (get_rel_relkind(((ObjectAddress *) lfirst(one))->objectId) == RELKIND_SEQUENCE)
				sequences = lappend(sequences, lfirst(one));
	}
	return sequences;
}

void
flo_ddl_own_targets(const char *group, List *targets)
{
	List	   *objects = NIL;
	ListCell   *cell;

	foreach(cell, targets)
		objects = lappend(objects, &((FloDdlTarget *) lfirst(cell))->object);
	record(group, wholes_of(objects), true);
}

char *
flo_ddl_run_within_reach(const char *group, bool enforce, RawStmt *statement, const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Reach		reach = {.group = group, .enforce = enforce, .context = context};

	install_hook();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		watching = &reach;
		reach.makes_trigger = IsA(statement->stmt, CreateTrigStmt);
		reach.sequences = sequences_of(flo_ddl_targets(statement->stmt));
		run_watched(statement, text);
		CommandCounterIncrement();
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
	record(group, reach.made, true);
	if (!enforce)
		record(group, list_concat(wholes_of(reach.changed), referred_sequences(&reach)), true);
	return NULL;
}
