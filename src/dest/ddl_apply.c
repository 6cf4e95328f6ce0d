/*
 * ddl_apply.c
 *		Runs DDL of the source at this destination.
 *
 * The text is parsed again by this server, its tables get the names they have
 * here, and what remains after a look at what is there already is run with the
 * rights that ddl_rights.c gives it.
 *
 * Awkward cases.  Types of the source's search_path may be found elsewhere
 * here; a schema that is missing must not lead a new object into the next one.
 * A lock somebody else holds is waited for as long as lock_timeout says, and
 * the holder is named meanwhile and in the error.  CONCURRENTLY commits in the
 * midst of its work: it is run between two transactions, and finds out by
 * itself how far it has got when it is run again after a crash.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/tablecmds.h"
#include "core/as_role.h"
#include "core/compat_acl.h"
#include "core/error_context.h"
#include "core/injection_point.h"
#include "core/transaction.h"
#include "dest/ddl_apply.h"
#include "dest/ddl_columns.h"
#include "dest/ddl_given.h"
#include "dest/ddl_gone.h"
#include "dest/ddl_known.h"
#include "dest/ddl_locks.h"
#include "dest/ddl_masking.h"
#include "dest/ddl_names.h"
#include "dest/ddl_partitions.h"
#include "dest/ddl_present.h"
#include "dest/ddl_reach.h"
#include "dest/ddl_rewrites.h"
#include "dest/ddl_rights.h"
#include "dest/ddl_tablespaces.h"
#include "dest/ddl_targets.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

/* --- surroundings -------------------------------------------------------- */

/*
 * What the text means, and what conversions give: the settings of the session
 * at the source.  A value that this server refuses is seen to by
 * flo_ddl_refused().
 */
static void
enter(const FloDdlStatement *ddl, FloAsRole *as)
{
	flo_error_context.operation = flo_ddl_shown(ddl);
	flo_as_role_enter(as, GetUserId(), FLO_AS_ROLE_PLAIN);
	flo_as_role_set("check_function_bodies", "off");
	for (int i = 0; i < FLO_DDL_SETTINGS; i++)
		if (ddl->settings[i] != NULL)
			(void) flo_as_role_try(flo_ddl_settings[i], ddl->settings[i]);
}

static void
leave(const FloAsRole *as)
{
	flo_as_role_leave(as);
	flo_error_context.operation = NULL;
}

/*
 * The rights to run it with; or why it must not run.  What a person has
 * released runs with the worker's owner's where it cannot with less.
 */
static char *
choose_rights(const FloDdlStatement *ddl, Node *statement, Oid owner, FloDdlMode mode,
			  FloDdlRights *rights)
{
	char	   *reason;

	if (ddl->xid != 0 && !(mode & FLO_DDL_DECIDED))
		return pstrdup("a source with pg_flo 0.1 does not say what it is about: look whether it may run here");
	if (!(mode & FLO_DDL_TRUSTED))
	{
		reason = flo_ddl_rights(statement, owner, ddl->search_path, rights);
		if (reason == NULL || !(mode & FLO_DDL_DECIDED))
			return reason;
	}
	flo_ddl_full_rights(statement, owner, ddl->search_path, rights);
	return NULL;
}

/* Is what the statement touches of any concern? */
static bool
is_bounded(FloDdlMode mode)
{
	return !(mode & (FLO_DDL_TRUSTED | FLO_DDL_DECIDED));
}

/* Where tables are here */
typedef struct Mapping
{
	FloWorkerRules *routes;
	int64		mapped;			/* a route that gives columns other names; 0 =
								 * none */
	const char *schema;			/* of the table it is for, at the source */
	const char *table;
	bool		shared;			/* other tables' rows are there, too */
} Mapping;

static bool
map_table(void *arg, const char *schema, const char *table, bool about,
		  const char **to_schema, const char **to_table)
{
	Mapping    *mapping = arg;
	FloRelation relation = {0};
	int64		mapped;
	bool		routed;

	relation.schema = unconstify(char *, schema);
	relation.name = unconstify(char *, table);
	mapping->shared |= flo_worker_rules_shares_target(mapping->routes, &relation);
	routed = flo_worker_rules_name(mapping->routes, schema, table, to_schema, to_table, &mapped);
	if (about && mapped != 0 && mapping->mapped == 0)
	{
		mapping->mapped = mapped;
		mapping->schema = pstrdup(schema);
		mapping->table = pstrdup(table);
	}
	return routed;
}

static const char *
map_column(void *arg, const char *schema, const char *table, const char *column)
{
	return flo_worker_rules_column(((Mapping *) arg)->routes, schema, table, column);
}

/* The schema here of what a statement makes */
static const char *
schema_here(Mapping *mapping, const FloDdlObject *object)
{
	static const char *const routed[] = {"table", "view", "materialized view", "sequence"};
	bool		part = OidIsValid(object->relation) && object->table_schema != NULL &&
		strcmp(object->type, "table") != 0;
	bool		is_routed = part;
	Mapping		aside = {mapping->routes};
	const char *schema = object->schema;
	const char *table;

	for (int i = 0; i < lengthof(routed); i++)
		is_routed |= strcmp(object->type, routed[i]) == 0;
	if (is_routed && (!part || strcmp(object->schema, object->table_schema) == 0))
		(void) map_table(&aside, object->schema, part ? object->table_name : object->name, false,
						 &schema, &table);
	return schema;
}

/*
 * A schema that does not exist here is left out of the path by the server; the
 * first one is where new objects go, and must be there for that.
 */
static void
check_creation_schema(const FloDdlStatement *ddl, Mapping *mapping)
{
	List	   *names;
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		FloDdlObject *object = lfirst(cell);

		if (object->creates && object->schema != NULL && strcmp(object->type, "schema") != 0 &&
			!OidIsValid(get_namespace_oid(schema_here(mapping, object), true)))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_SCHEMA),
					 errmsg("schema \"%s\" does not exist at the destination",
							schema_here(mapping, object)),
					 errhint("Create it here.")));
	}
	if (ddl->search_path != NULL &&
		!SplitIdentifierString(pstrdup(ddl->search_path), ',', &names))
		ereport(ERROR,
				(errcode(ERRCODE_PROTOCOL_VIOLATION),
				 errmsg("malformed DDL message: search_path")));
}

/* What one of several tables that are one table here has no right to do to it alone */
static char *
hurts_others(const Mapping *mapping, Node *statement)
{
	bool		hurts = false;
	ListCell   *cell;

	if (!mapping->shared)
		return NULL;
	if (IsA(statement, AlterTableStmt))
	{
		foreach(cell, ((AlterTableStmt *) statement)->cmds)
			hurts |= lfirst_node(AlterTableCmd, cell)->subtype == AT_DropColumn;
	}
	else if (IsA(statement, DropStmt))
		hurts = ((DropStmt *) statement)->removeType == OBJECT_TABLE;
	else
		hurts = IsA(statement, RenameStmt) || IsA(statement, AlterObjectSchemaStmt);
	return hurts ? pstrdup("routes lead other tables to the same table here") : NULL;
}

/*
 * Columns that a route gives other names.  True when nothing is left to do;
 * *reason says why the statement has to be held instead.
 */
static bool
map_columns(Mapping *mapping, Node *statement, StringInfo note, char **reason)
{
	bool		nothing = false;
	char	   *why;

	if (mapping->mapped == 0)
		return false;
	why = flo_ddl_map_columns(statement, mapping->routes, mapping->schema, mapping->table, &nothing,
							  note);
	if (why != NULL)
		*reason = psprintf("route " INT64_FORMAT " gives columns of the table other names, and %s",
						   mapping->mapped, why);
	return nothing && why == NULL;
}

/* --- the statement ------------------------------------------------------- */

static const char *
text_to_run(const FloDdlStatement *ddl)
{
	return ddl->replay != NULL ? ddl->replay : ddl->text;
}

/*
 * The name the source has chosen, where it is known: a second attempt at an
 * index finds the first one by it.
 */
static void
give_name(Node *statement, const FloDdlStatement *ddl)
{
	const FloDdlObject *object = ddl->objects != NIL ? linitial(ddl->objects) : NULL;

	if (IsA(statement, IndexStmt) && ((IndexStmt *) statement)->idxname == NULL &&
		object != NULL && strcmp(object->type, "index") == 0 && object->name[0] != '\0')
		((IndexStmt *) statement)->idxname = object->name;
}

static RawStmt *
parse(const FloDdlStatement *ddl, Mapping *mapping)
{
	List	   *statements = raw_parser(text_to_run(ddl), RAW_PARSE_DEFAULT);

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a DDL message holds %d statements instead of one",
						list_length(statements))));
	give_name(linitial_node(RawStmt, statements)->stmt, ddl);
	flo_ddl_map_names(linitial_node(RawStmt, statements)->stmt, ddl, map_table, map_column,
					  mapping);
	return linitial_node(RawStmt, statements);
}

/* --- before a copy ------------------------------------------------------- */

static bool
is_here(Node *statement)
{
	List	   *relations = flo_ddl_changed_relations(statement);
	ListCell   *cell;

	foreach(cell, relations)
	{
		if (OidIsValid(RangeVarGetRelid(lfirst(cell), NoLock, true)))
			return true;
	}
	return relations == NIL;
}

static void
trust_constraint(Constraint *constraint)
{
	if (!IsA(constraint, Constraint) || constraint->contype != CONSTR_FOREIGN ||
		constraint->skip_validation)
		return;
	constraint->skip_validation = true;
	constraint->initially_valid = true;
}

static void
trust_foreign_keys(Node *node)
{
	ListCell   *cell;
	ListCell   *part;

	if (!IsA(node, AlterTableStmt))
		return;
	foreach(cell, ((AlterTableStmt *) node)->cmds)
	{
		Node	   *def = lfirst_node(AlterTableCmd, cell)->def;

		if (def != NULL && IsA(def, Constraint))
			trust_constraint((Constraint *) def);
		else if (def != NULL && IsA(def, ColumnDef))
			foreach(part, ((ColumnDef *) def)->constraints)
				trust_constraint(lfirst(part));
	}
}

/* --- what it may touch --------------------------------------------------- */

/* The table here of an object's; 0 = there is none */
static Oid
table_here(Mapping *mapping, const char *schema, const char *table)
{
	return schema != NULL && table != NULL ?
		flo_worker_rules_table(mapping->routes, schema, table) : InvalidOid;
}

/*
 * Why it must not touch what it names, or takes numbers of.  Tables that were
 * in the group when that began are the group's, under the name they have at the
 * source before the statement; so is one without rows whose copy is awaited.
 */
static char *
reach_of(const char *group, const FloDdlStatement *ddl, Node *statement, const FloDdlRights *rights,
		 Mapping *mapping, FloDdlMode mode)
{
	char	   *reason;
	ListCell   *cell;

	if (!is_bounded(mode))
		return NULL;
	foreach(cell, list_concat_copy(ddl->objects, ddl->refers))
	{
		const FloDdlObject *object = lfirst(cell);
		Oid			table = object->member || object->awaited ?
			table_here(mapping, object->table_schema, object->table_name) : InvalidOid;

		if (OidIsValid(table))
			(void) flo_ddl_adopt(group, table, object->member ? FLO_ROWS_ANY : FLO_ROWS_NONE, true);
		if (object->leaves)
			return psprintf("it moves %s to schema \"%s\", which is none of the group's",
							object->name, object->new_schema);
	}
	reason = flo_ddl_out_of_reach(group, flo_ddl_targets(statement));
	if (reason == NULL)
		reason = flo_ddl_takes_along(group, statement);
	return reason != NULL ? reason : flo_ddl_refers_out_of_reach(group, rights->sequences);
}

/*
 * Rows of an earlier copy go before it.  A table that others refer to cannot
 * be emptied, and keeps them.
 */
static void
empty_copied_again(const FloDdlStatement *ddl, Mapping *mapping)
{
	ListCell   *cell;

	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		bool		made = object->creates && strcmp(object->type, "table") == 0;
		Oid			relation = object->again && !made ?
			table_here(mapping, object->table_schema, object->table_name) : InvalidOid;
		char		kind = OidIsValid(relation) ? get_rel_relkind(relation) : '\0';
		TruncateStmt *truncate = makeNode(TruncateStmt);
		RangeVar   *name;

		if ((kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE) ||
			heap_truncate_find_FKs(list_make1_oid(relation)) != NIL)
			continue;
		name = makeRangeVar(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation),
							-1);
		name->inh = kind == RELKIND_PARTITIONED_TABLE;
		truncate->relations = list_make1(name);
		truncate->behavior = DROP_RESTRICT;
		ExecuteTruncate(truncate);
		CommandCounterIncrement();
	}
}

/* Why it would take other rows here than at the source */
static char *
takes_other_rows(const FloDdlStatement *ddl, Mapping *mapping, FloDdlMode mode)
{
	char	   *reason = NULL;
	ListCell   *cell;

	if (mode & FLO_DDL_DECIDED)
		return NULL;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (object->partition != NULL && reason == NULL)
			reason = flo_ddl_partition_differs(object, table_here(mapping, object->root_schema,
																  object->root_name),
											   table_here(mapping, object->schema, object->name));
	}
	return reason;
}

/* What has the new name already, and perhaps had it always */
static RangeVar *
renamed_to(Node *statement)
{
	RangeVar   *name = NULL;

	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->relation != NULL &&
		((RenameStmt *) statement)->renameType != OBJECT_COLUMN &&
		((RenameStmt *) statement)->renameType != OBJECT_TABCONSTRAINT)
	{
		name = copyObject(((RenameStmt *) statement)->relation);
		name->relname = ((RenameStmt *) statement)->newname;
	}
	else if (IsA(statement, AlterObjectSchemaStmt) &&
			 ((AlterObjectSchemaStmt *) statement)->relation != NULL)
	{
		name = copyObject(((AlterObjectSchemaStmt *) statement)->relation);
		name->schemaname = ((AlterObjectSchemaStmt *) statement)->newschema;
	}
	return name;
}

/* What CREATE TABLE finds here already is taken for what the source has made, unless it has rows */
static char *
adopt_present(const char *group, Node *statement, FloDdlMode mode)
{
	RangeVar   *renamed = renamed_to(statement);
	Oid			table;

	if (renamed != NULL && is_bounded(mode))
		return flo_ddl_out_of_reach(group, flo_ddl_add_relation_target(NIL, renamed));
	if (!IsA(statement, CreateStmt))
		return NULL;
	table = RangeVarGetRelid(((CreateStmt *) statement)->relation, NoLock, true);
	if (OidIsValid(table) && !is_bounded(mode))
		flo_ddl_take(group, table, true);
	else if (OidIsValid(table) && !flo_ddl_adopt(group, table, FLO_ROWS_NONE, false))
		return psprintf("table %s has rows here that are not known to be of the group",
						((CreateStmt *) statement)->relation->relname);
	return NULL;
}

/* The tables of a schema are what a renamed one would have held */
static void
disown_schema(const char *group, const char *name)
{
	Oid			schema = get_namespace_oid(name, true);
	Relation	class = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(schema));
	scan = systable_beginscan(class, InvalidOid, false, NULL, 1, &key);
	while (OidIsValid(schema) && HeapTupleIsValid(tuple = systable_getnext(scan)))
		flo_ddl_disown(group, ((Form_pg_class) GETSTRUCT(tuple))->oid, true);
	systable_endscan(scan);
	table_close(class, AccessShareLock);
}

void
flo_ddl_pass_over(const char *group, const FloDdlStatement *ddl, FloWorkerRules *routes,
				  bool failed)
{
	Mapping		mapping = {routes};
	ListCell   *cell;

	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);
		Oid			table = object->creates ? table_here(&mapping, object->schema, object->name) :
			table_here(&mapping, object->new_schema, object->new_name);

		if (strcmp(object->type, "schema") == 0 && object->new_name != NULL)
			disown_schema(group, object->new_name);
		else if (strcmp(object->type, "table") == 0 && OidIsValid(table))
			flo_ddl_disown(group, table, failed);
	}
	PopActiveSnapshot();
}

/* --- applying ------------------------------------------------------------ */

/* What is in it, or belongs to it, is called otherwise with it */
static void
note_moved(const FloDdlPlace *place, int64 entry, const FloDdlObject *object)
{
	bool		schema = strcmp(object->type, "schema") == 0;

	if (object->new_name == NULL)
		return;
	flo_ddl_note_moved(place, entry,
					   psprintf("%s.", quote_qualified_identifier(schema ? NULL : object->schema,
																  object->name)),
					   psprintf("%s.",
								quote_qualified_identifier(schema ? NULL : object->new_schema,
														   object->new_name)));
}

int64
flo_ddl_note_outcome(const FloDdlPlace *place, const FloDdlStatement *ddl, const char *outcome,
					 const char *detail)
{
	int64		entry = flo_ddl_note(place, ddl->tag, ddl->text, outcome, detail);
	bool		creates = strncmp(ddl->tag, "CREATE ", strlen("CREATE ")) == 0;
	List	   *made = NIL;
	ListCell   *cell;

	if (strcmp(outcome, "applied") != 0 && strcmp(outcome, "present") != 0)
		return entry;
	foreach(cell, ddl->objects)
	{
		const FloDdlObject *object = lfirst(cell);

		if (object->new_name != NULL)
			made = lappend(made, flo_ddl_made_name(object->new_schema, NULL, object->new_name));
		else if (object->schema != NULL && object->name[0] != '\0' && (object->creates || creates))
			made = lappend(made, flo_ddl_made_name(object->schema, NULL, object->name));
	}
	flo_ddl_note_made(entry, made, NULL);
	foreach(cell, ddl->objects)
		note_moved(place, entry, lfirst(cell));
	return entry;
}

/* Ownership that is not to follow is nobody's concern here */
static void
leave_owner_out(Node *node)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	ListCell   *cell;

	if (!IsA(node, AlterTableStmt))
		return;
	foreach(cell, statement->cmds)
	{
		if (lfirst_node(AlterTableCmd, cell)->subtype == AT_ChangeOwner)
			statement->cmds = foreach_delete_current(statement->cmds, cell);
	}
}

/*
 * With the rights for it; what flo_ddl_apply() returns.  What it is about is noted
 * first, since it may drop that.  Nothing is locked before it is known to be the
 * group's: a statement of the source holds nobody else's table.  Behind the lock
 * the rows of an earlier copy go first, as they could object to the statement; then
 * comes all that looks at definitions, which could change until then.  Whether the
 * rows determine the result is not asked of what is there already.
 */
static char *
apply_statement(const FloDdlPlace *place, const FloDdlStatement *ddl, RawStmt *statement,
				const FloDdlRights *rights, Mapping *mapping, FloDdlMode mode, const char **outcome,
				StringInfo note, List **made)
{
	const char *group = place->group;
	Node	   *node = statement->stmt;
	char	   *reason = NULL;
	List	   *about = flo_ddl_wholes(flo_ddl_targets(node));
	bool		nothing;
	bool		gone = false;
	bool		present;

	reason = reach_of(group, ddl, node, rights, mapping, mode);
	if (reason == NULL)
		reason = takes_other_rows(ddl, mapping, mode);
	if (reason != NULL)
		return reason;
	flo_ddl_lock_relations(node);
	if ((mode & FLO_DDL_EMPTY) && !mapping->shared)
		empty_copied_again(ddl, mapping);
	if (mode & FLO_DDL_TRUST_KEYS)
		trust_foreign_keys(node);
	nothing = map_columns(mapping, node, note, &reason);
	if (reason == NULL && !nothing)
		reason = flo_ddl_map_new_name(node, ddl, map_table, mapping, &nothing);
	if (reason == NULL)
		reason = hurts_others(mapping, node);
	if (reason == NULL && !nothing)
		reason = flo_ddl_gone(place, ddl, node, mode & FLO_DDL_DECIDED, note, &gone);
	present = nothing || gone ||
		(reason == NULL && flo_ddl_present(node, text_to_run(ddl), ddl->with_owner, note));
	if (mode & FLO_DDL_DECIDED)
		reason = NULL;
	else if (!present && reason == NULL)
	{
		reason = flo_ddl_refused(ddl, text_to_run(ddl));
		if (reason == NULL && (mode & FLO_DDL_CHECKED))
			reason = flo_ddl_undetermined(node, ddl, text_to_run(ddl));
	}
	if (present && !nothing && !gone && reason == NULL)
		reason = adopt_present(group, node, mode);
	if (!present && reason == NULL)
	{
		UpdateActiveSnapshotCommandId();
		reason = flo_ddl_run_within_reach(group, is_bounded(mode), statement, text_to_run(ddl),
										  made);
	}
	if (reason == NULL && (mode & FLO_DDL_DECIDED))
		flo_ddl_own(group, about);
	*outcome = nothing ? "ignored" : gone ? "absent" : present ? "present" : "applied";
	return reason;
}

char *
flo_ddl_apply(const FloDdlPlace *place, const FloDdlStatement *ddl, Oid owner,
			  FloWorkerRules *routes, FloDdlMode mode)
{
	Mapping		mapping = {routes};
	const char *outcome = "ignored";
	StringInfoData note;
	FloAsRole	settings;
	FloAsRole	as;
	FloDdlRights rights;
	RawStmt    *statement;
	List	   *made = NIL;
	char	   *reason = NULL;

	initStringInfo(&note);
	PushActiveSnapshot(GetTransactionSnapshot());
	enter(ddl, &settings);
	check_creation_schema(ddl, &mapping);
	statement = parse(ddl, &mapping);
	if (flo_ddl_drop_tablespaces(statement->stmt, &note))
		outcome = "ignored";
	else if ((mode & FLO_DDL_COMING) && !is_here(statement->stmt))
		appendStringInfoString(&note, "not run: the table comes with its copy, if it is still there by then");
	else
	{
		if (!ddl->with_owner)
			leave_owner_out(statement->stmt);
		if (!(mode & FLO_DDL_DECIDED))
			reason = flo_ddl_masking_refused(statement->stmt, ddl, routes);
		if (reason == NULL)
			reason = choose_rights(ddl, statement->stmt, owner, mode, &rights);
		if (reason == NULL)
		{
			flo_ddl_take_rights(&as, &rights);
			reason = apply_statement(place, ddl, statement, &rights, &mapping, mode, &outcome,
									 &note, &made);
			flo_as_role_leave(&as);
		}
	}
	leave(&settings);
	PopActiveSnapshot();
	if (reason == NULL)
		flo_ddl_expect_names(ddl, flo_ddl_note_outcome(place, ddl, outcome,
													   note.len > 0 ? note.data : NULL), made,
							 is_bounded(mode));
	return reason;
}

/* --- concurrently -------------------------------------------------------- */

/* What a crash has left of CREATE INDEX CONCURRENTLY goes first */
static void
drop_invalid_index(IndexStmt *statement)
{
	Oid			table = RangeVarGetRelid(statement->relation, NoLock, true);
	Oid			index;
	ObjectAddress address;

	if (statement->idxname == NULL || !OidIsValid(table))
		return;
	index = get_relname_relid(statement->idxname, get_rel_namespace(table));
	if (!OidIsValid(index) || get_rel_relkind(index) != RELKIND_INDEX || get_index_isvalid(index) ||
		IndexGetRelation(index, true) != table)
		return;
	ObjectAddressSet(address, RelationRelationId, index);
	if (!flo_compat_class_ownercheck(table, GetUserId()))
		return;					/* the statement itself will be refused */
	performDeletion(&address, DROP_RESTRICT, 0);
	CommandCounterIncrement();
}

/* A crash between the two halves of DETACH CONCURRENTLY: only the second is left to do */
static void
finalize_detach(Node *node)
{
	AlterTableStmt *statement = (AlterTableStmt *) node;
	AlterTableCmd *command;
	Oid			partition;

	if (!IsA(node, AlterTableStmt) || list_length(statement->cmds) != 1)
		return;
	command = linitial_node(AlterTableCmd, statement->cmds);
	if (command->subtype != AT_DetachPartition)
		return;
	partition = RangeVarGetRelid(((PartitionCmd *) command->def)->name, NoLock, true);
	if (OidIsValid(partition) && get_rel_relispartition(partition) &&
		PartitionHasPendingDetach(partition))
	{
		command->subtype = AT_DetachPartitionFinalize;
		((PartitionCmd *) command->def)->concurrent = false;
	}
}

/*
 * Settings go with the transaction that set them.  The command waits for all
 * transactions that are older, however long they take; the next batch sets its
 * lock_timeout again.
 */
static void
run_concurrent(const FloDdlStatement *ddl, const FloDdlRights *rights, RawStmt *statement)
{
	MemoryContext context = CurrentMemoryContext;
	FloAsRole	settings;
	FloAsRole	as;

	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	enter(ddl, &settings);
	flo_as_role_enter(&as, rights->role, FLO_AS_ROLE_ACROSS_COMMITS);
	flo_as_role_set("search_path", rights->search_path);
	flo_state_set(FLO_STATE_STREAMING, "running %s CONCURRENTLY", ddl->tag);
	flo_ddl_run(statement, text_to_run(ddl), PROCESS_UTILITY_TOPLEVEL);
	flo_as_role_leave_late(&settings);
	flo_error_context.operation = NULL;
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	flo_transaction_commit();
	MemoryContextSwitchTo(context);
	flo_injection_point("concurrent.after");
	flo_state_set(FLO_STATE_STREAMING, NULL);
}

/* With the rights for it: is something left to run? */
static bool
prepare_concurrent(const FloDdlPlace *place, const FloDdlStatement *ddl, Mapping *mapping,
				   RawStmt *statement,
				   FloDdlMode mode, const char **outcome, StringInfo note, char **reason)
{
	Node	   *node = statement->stmt;
	bool		nothing = map_columns(mapping, node, note, reason);

	if (*reason == NULL)
		*reason = flo_ddl_refused(ddl, text_to_run(ddl));
	*outcome = nothing ? "ignored" : "applied";
	if (mode & FLO_DDL_DECIDED)
		*reason = NULL;
	if (nothing || *reason != NULL)
		return false;
	if (IsA(node, IndexStmt))
		drop_invalid_index((IndexStmt *) node);
	finalize_detach(node);
	if (flo_ddl_gone_since(place, ddl, node, note, outcome))
		return false;
	return !flo_ddl_present(node, text_to_run(ddl), ddl->with_owner, note);
}

/* In a transaction of its own: a person has released a statement about these */
static void
own_apart(const char *group, List *about)
{
	MemoryContext context = CurrentMemoryContext;

	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	flo_ddl_own(group, about);
	flo_transaction_end(context);
}

char *
flo_ddl_apply_concurrent(const FloDdlPlace *place, const FloDdlStatement *ddl, Oid owner,
						 FloWorkerRules *routes,
						 FloDdlMode mode, const char **outcome, char **detail)
{
	Mapping		mapping = {routes};
	MemoryContext context = CurrentMemoryContext;
	StringInfoData note;
	FloAsRole	settings;
	FloAsRole	as;
	FloDdlRights rights;
	RawStmt    *statement;
	List	   *about = NIL;
	char	   *reason;
	bool		left = false;

	initStringInfo(&note);
	(void) flo_transaction_begin();
	MemoryContextSwitchTo(context);
	enter(ddl, &settings);
	statement = parse(ddl, &mapping);
	(void) flo_ddl_drop_tablespaces(statement->stmt, &note);
	reason = choose_rights(ddl, statement->stmt, owner, mode, &rights);
	if (reason == NULL)
	{
		flo_ddl_take_rights(&as, &rights);
		about = flo_ddl_wholes(flo_ddl_targets(statement->stmt));
		reason = reach_of(place->group, ddl, statement->stmt, &rights, &mapping, mode);
		if (reason == NULL)
			reason = takes_other_rows(ddl, &mapping, mode);
		if (reason == NULL)
			left = prepare_concurrent(place, ddl, &mapping, statement, mode, outcome, &note,
									  &reason);
		flo_as_role_leave(&as);
	}
	leave(&settings);
	flo_transaction_end(context);
	if (left)
		run_concurrent(ddl, &rights, statement);
	if (reason == NULL && (mode & FLO_DDL_DECIDED))
		own_apart(place->group, about);
	*detail = note.len > 0 ? note.data : NULL;
	return reason;
}
