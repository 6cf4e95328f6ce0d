/*
 * schema_entries.c
 *		Which of pg_dump's entries come along with a copy, and how.
 *
 * What the group's tables need is found in pg_depend (flo.needed_objects).  With
 * the option schema_objects = all, which a group over schemas has by itself, the
 * rest of these schemas comes along as well, behind the rows: what no table needs
 * may be left out at a destination.  A group over everything brings what is in no
 * schema, too.
 *
 * An entry comes as one of three:
 *	 of a table		a destination goes on with it only
 *	 optional		hangs on a table, such as a trigger, and no row needs it: where
 *					it cannot be made, the copy goes on
 *	 rest			nobody is asked for it either
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "conf/choice.h"
#include "conf/store.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "source/schema_entries.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* What belongs to a table of the group, or is one */
typedef struct Wanted
{
	struct
	{
		Oid			class;
		Oid			object;
	}			key;
	bool		optional;
	char	   *lacks;			/* why it does not come along; NULL: it does */
} Wanted;

typedef struct EntryPlace
{
	int			id;				/* pg_dump's */
	int			place;			/* in the list, from 1 */
} EntryPlace;

struct FloSchemaEntries
{
	const FloReplicatorSpec *spec;
	List	   *tables;			/* NIL = all of the group */
	bool		all;			/* not only what tables need */
	FloTableOids covered;		/* whose schemas come along whole */
	HTAB	   *wanted;			/* of Wanted */
	HTAB	   *places;			/* of EntryPlace */
	List	   *list;			/* of FloSchemaEntry * */
	List	   *contents;		/* of the same: REFRESH of materialized views,
								 * when all views are there */
	List	   *privileges;		/* of the same: they come last */
	MemoryContext context;		/* of these lists */
};

/* --- what is wanted ------------------------------------------------------ */

static void
find_wanted(FloSchemaEntries *e)
{
	HASHCTL		control = {0};
	Oid			types[3] = {TEXTOID, BOOLOID, OIDARRAYOID};
	Datum		values[3];
	char		nulls[3] = {' ', ' ', ' '};
	Datum	   *oids = palloc(sizeof(Datum) * Max(list_length(e->tables), 1));
	ListCell   *cell;

	control.keysize = sizeof(((Wanted *) NULL)->key);
	control.entrysize = sizeof(Wanted);
	control.hcxt = CurrentMemoryContext;
	e->wanted = hash_create("pg_flo needed objects", 1024, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	values[0] = CStringGetTextDatum(e->spec->group);
	values[1] = BoolGetDatum(e->spec->options.schema_privileges);
	foreach(cell, e->tables)
		oids[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	values[2] = PointerGetDatum(construct_array(oids, list_length(e->tables), OIDOID, sizeof(Oid),
												true, TYPALIGN_INT));
	nulls[2] = e->tables == NIL ? 'n' : ' ';
	SPI_connect();
	if (SPI_execute_with_args("SELECT class, object, left_out, optional FROM flo.needed_objects($1, $2, $3)",
							  3, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not find what the group's tables need");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *left_out = SPI_getvalue(tuple, desc, 3);
		Wanted		wanted = {{0}};
		Wanted	   *found;
		bool		isnull;

		wanted.key.class = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		wanted.key.object = DatumGetObjectId(SPI_getbinval(tuple, desc, 2, &isnull));
		wanted.optional = DatumGetBool(SPI_getbinval(tuple, desc, 4, &isnull));
		if (left_out != NULL)
		{
			ObjectAddress address = {wanted.key.class, wanted.key.object, 0};

			ereport(LOG,
					(errmsg("sync_schema of group \"%s\" leaves out %s: %s, which is not in the group",
							e->spec->group, getObjectDescription(&address, false), left_out)));
			wanted.lacks = MemoryContextStrdup(e->context,
											   psprintf("%s, which is not in the group",
														left_out));
		}
		found = hash_search(e->wanted, &wanted.key, HASH_ENTER, NULL);
		*found = wanted;
	}
	SPI_finish();
}

static Wanted *
find_object(FloSchemaEntries *e, Oid class, Oid object)
{
	Wanted		wanted = {{class, object}};

	return OidIsValid(class) ? hash_search(e->wanted, &wanted.key, HASH_FIND, NULL) : NULL;
}

bool
flo_schema_entries_want(FloSchemaEntries *e, Oid class, Oid object)
{
	Wanted	   *wanted = find_object(e, class, object);

	return wanted != NULL && wanted->lacks == NULL;
}

bool
flo_schema_entries_all(FloSchemaEntries *e)
{
	return e->all && e->tables == NIL && e->covered.all;
}

bool
flo_schema_entries_cover(FloSchemaEntries *e, Oid schema)
{
	return OidIsValid(schema) && e->all && e->tables == NIL &&
		(e->covered.all || list_member_oid(e->covered.schemas, schema));
}

/*
 * A table of a covered schema that is not in the group, though it was not left
 * out: unlogged, or without a key.  pg_dump locks it, which needs a privilege.
 */
bool
flo_schema_entries_name(FloSchemaEntries *e, Oid table)
{
	char		kind = get_rel_relkind(table);

	return (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
		flo_schema_entries_cover(e, get_rel_namespace(table)) &&
		!flo_schema_entries_want(e, RelationRelationId, table) &&
		!flo_tables_left_out(&e->covered, table) &&
		pg_class_aclcheck(table, e->spec->owner, ACL_SELECT) == ACLCHECK_OK;
}

static bool
covers_schema_named(FloSchemaEntries *e, const char *name)
{
	return flo_schema_entries_cover(e, get_namespace_oid(name, true));
}

FloSchemaEntries *
flo_schema_entries_create(const FloReplicatorSpec *spec, List *tables)
{
	FloSchemaEntries *e = palloc0(sizeof(FloSchemaEntries));
	HASHCTL		control = {0};

	e->spec = spec;
	e->tables = tables;
	e->context = CurrentMemoryContext;
	flo_choice_look_up(flo_store_table_choice(spec->group), &e->covered);
	e->all = flo_schema_takes_all(&spec->options, &e->covered);
	control.keysize = sizeof(int);
	control.entrysize = sizeof(EntryPlace);
	control.hcxt = CurrentMemoryContext;
	e->places = hash_create("pg_flo entries", 1024, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	find_wanted(e);
	return e;
}

/* --- entries that others belong to --------------------------------------- */

static bool
is_one_of(const char *kind, const char *const *kinds)
{
	for (; *kinds != NULL; kinds++)
		if (strcmp(kind, *kinds) == 0)
			return true;
	return false;
}

static FloSchemaEntry *
entry_by_id(FloSchemaEntries *e, int id, int *place)
{
	EntryPlace *known = hash_search(e->places, &id, HASH_FIND, NULL);

	if (known == NULL || known->place == 0)
		return NULL;
	*place = known->place;
	return list_nth(e->list, known->place - 1);
}

static Oid
relation_named(RangeVar *name)
{
	return RangeVarGetRelid(name, NoLock, true);
}

/*
 * ALTER ... ATTACH PARTITION and ALTER SEQUENCE ... OWNED BY say of whom they
 * speak in their statement only.
 */
static bool
both_ends_wanted(FloSchemaEntries *e, const FloArchiveEntry *read, Node *statement,
				 FloSchemaEntry *entry)
{
	ListCell   *cell;

	if (IsA(statement, AlterTableStmt))
	{
		AlterTableStmt *alter = (AlterTableStmt *) statement;
		AlterTableCmd *command = linitial(alter->cmds);
		Oid			part;

		if (command->subtype != AT_AttachPartition)
			return true;
		part = relation_named(((PartitionCmd *) command->def)->name);
		foreach(cell, read->needs)
		{
			int			place;
			FloSchemaEntry *other = entry_by_id(e, lfirst_int(cell), &place);

			if (other == NULL || other->class != RelationRelationId || other->object != part)
				continue;
			entry->part_of = place;
			entry->optional |= other->optional;
		}
		return flo_schema_entries_want(e, RelationRelationId, part) &&
			flo_schema_entries_want(e, RelationRelationId, relation_named(alter->relation));
	}
	if (IsA(statement, AlterSeqStmt))
	{
		foreach(cell, ((AlterSeqStmt *) statement)->options)
		{
			DefElem    *option = lfirst(cell);
			List	   *column;
			List	   *table;

			if (strcmp(option->defname, "owned_by") != 0)
				continue;
			column = (List *) option->arg;
			if (list_length(column) < 2)
				continue;
			table = list_truncate(list_copy(column), list_length(column) - 1);
			if (!flo_schema_entries_want(e, RelationRelationId,
										 relation_named(makeRangeVarFromNameList(table))))
				return false;
		}
	}
	return true;
}

/* The type whose name a shell is */
static Oid
type_of_shell(const FloArchiveEntry *read)
{
	Oid			schema = get_namespace_oid(read->schema, true);

	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(read->name),
						   ObjectIdGetDatum(schema));
}

/* --- what no table needs ------------------------------------------------- */

static Oid
schema_of_extension(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key[0], Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return schema;
}

/*
 * Is it, or is it a part of, a table that is not in the group?  It is named,
 * with the statement, for who wants it nevertheless.
 */
static bool
is_of_table_outside(FloSchemaEntries *e, const FloArchiveEntry *read, FloSchemaEntry *entry)
{
	static const char *const parts[] = {
		"INDEX", "INDEX ATTACH", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "DEFAULT",
		"RULE", "TRIGGER", "POLICY", "ROW SECURITY", "TABLE ATTACH", "SEQUENCE OWNED BY", NULL
	};
	ListCell   *cell;

	if (strcmp(read->kind, "TABLE") == 0 && flo_schema_entries_name(e, entry->object))
		entry->lacks = "it is not in the group: its rows do not travel";
	foreach(cell, is_one_of(read->kind, parts) ? read->needs : NIL)
	{
		int			place;
		FloSchemaEntry *other = entry_by_id(e, lfirst_int(cell), &place);

		if (other != NULL && other->lacks != NULL && other->class == RelationRelationId)
			entry->lacks = "what it belongs to is left out";
	}
	return entry->lacks != NULL;
}

/* Is it about one that comes along: any, or one of these? */
typedef enum About
{
	ANY_REST,
	VIEW_OF_REST,
	ANY_RELATION
} About;

static bool
is_about(FloSchemaEntries *e, const FloArchiveEntry *read, About about)
{
	ListCell   *cell;

	foreach(cell, read->needs)
	{
		int			place;
		FloSchemaEntry *other = entry_by_id(e, lfirst_int(cell), &place);

		if (other == NULL || other->lacks != NULL)
			continue;
		if (about == ANY_RELATION ? other->class == RelationRelationId :
			other->rest && (about == ANY_REST || other->view))
			return true;
	}
	return false;
}

/* Is it of a covered schema, or of something that is, though no table needs it? */
static bool
is_rest(FloSchemaEntries *e, const FloArchiveEntry *read)
{
	static const char *const objects[] = {
		"TYPE", "SHELL TYPE", "DOMAIN", "COLLATION", "SEQUENCE", "VIEW", "MATERIALIZED VIEW",
		"FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY",
		"CONVERSION", "TEXT SEARCH PARSER", "TEXT SEARCH DICTIONARY", "TEXT SEARCH TEMPLATE",
		"TEXT SEARCH CONFIGURATION", "FOREIGN TABLE", "STATISTICS", NULL
	};
	static const char *const nowhere[] = {
		"PROCEDURAL LANGUAGE", "ACCESS METHOD", "FOREIGN DATA WRAPPER", "SERVER", "USER MAPPING",
		"EVENT TRIGGER", "CAST", "TRANSFORM", NULL
	};
	static const char *const of_any[] = {"CAST", "TRANSFORM", "CHECK CONSTRAINT", NULL};
	static const char *const parts[] = {"INDEX", "RULE", "TRIGGER", "DEFAULT", NULL};

	if (!e->all)
		return false;
	if (strcmp(read->kind, "POLICY") == 0)
		return is_about(e, read, ANY_RELATION);
	if (strcmp(read->kind, "SCHEMA") == 0)
		return covers_schema_named(e, read->name);
	if (strcmp(read->kind, "EXTENSION") == 0)
		return strcmp(read->name, "pg_flo") != 0 &&
			flo_schema_entries_cover(e, schema_of_extension(read->object));
	if (strcmp(read->kind, "DEFAULT ACL") == 0)
		return read->schema[0] != '\0' ? covers_schema_named(e, read->schema) :
			flo_schema_entries_all(e);
	if (is_one_of(read->kind, objects))
		return covers_schema_named(e, read->schema);
	if (is_one_of(read->kind, nowhere) && flo_schema_entries_all(e))
		return true;
	if (is_one_of(read->kind, of_any))
		return is_about(e, read, ANY_REST);
	return is_one_of(read->kind, parts) && is_about(e, read, VIEW_OF_REST);
}

/*
 * A view that needs a key which is made after the rows (GROUP BY of a key) is
 * written twice: without a query, and as a rule that gives it one.
 */
static bool
is_query_of_view(const FloArchiveEntry *read)
{
	return strcmp(read->kind, "RULE") == 0 &&
		strncmp(read->command, "CREATE OR REPLACE VIEW", strlen("CREATE OR REPLACE VIEW")) == 0;
}

static bool
is_of_wanted_view(FloSchemaEntries *e, const FloArchiveEntry *read, FloSchemaEntry *entry)
{
	ListCell   *cell;

	foreach(cell, read->needs)
	{
		int			place;
		FloSchemaEntry *other = entry_by_id(e, lfirst_int(cell), &place);

		if (other == NULL || !other->view)
			continue;
		entry->part_of = place;
		entry->after = true;
		entry->rest = other->rest;
	}
	return entry->part_of != 0;
}

/* --- all of them --------------------------------------------------------- */

/* The schema that a GRANT of pg_dump's is about; NULL when it is about something else */
static char *
schema_of_grant(const FloArchiveEntry *read)
{
	GrantStmt  *grant = (GrantStmt *)
		linitial_node(RawStmt, raw_parser(read->command, RAW_PARSE_DEFAULT))->stmt;

	return IsA(grant, GrantStmt) && grant->objtype == OBJECT_SCHEMA ?
		strVal(linitial(grant->objects)) : NULL;
}

/*
 * One without object of its own comes along if all it belongs to do.  Schemas
 * are mostly there already, and so is "public" always, of which pg_dump may have
 * nothing but this: their privileges are no part of them.
 */
static bool
is_part_of_wanted(FloSchemaEntries *e, const FloArchiveEntry *read, FloSchemaEntry *entry)
{
	static const char *const said_of[] = {"ACL", "COMMENT", "SECURITY LABEL", NULL};
	ListCell   *cell;

	entry->optional = is_one_of(read->kind, said_of);
	if (strcmp(read->kind, "ACL") == 0)
	{
		char	   *schema = schema_of_grant(read);

		if (schema != NULL && covers_schema_named(e, schema))
		{
			entry->after = entry->rest = true;
			return true;
		}
	}
	foreach(cell, read->needs)
	{
		FloSchemaEntry *whole = entry_by_id(e, lfirst_int(cell), &entry->part_of);

		if (whole == NULL)
			return false;
		entry->after |= whole->after;
		entry->rest |= whole->rest;
		entry->optional |= whole->optional;
	}
	return entry->part_of != 0;
}

static bool
is_left_out(FloSchemaEntries *e, const FloArchiveEntry *read)
{
	static const char *const never[] = {
		"ENCODING", "STDSTRINGS", "SEARCHPATH", "STATISTICS DATA", NULL
	};

	return read->section == FLO_ARCHIVE_ROWS || is_one_of(read->kind, never) ||
		(strcmp(read->kind, "ACL") == 0 && !e->spec->options.schema_privileges);
}

static bool
is_entry_wanted(FloSchemaEntries *e, const FloArchiveEntry *read, FloSchemaEntry *entry)
{
	static const char *const by_statement[] = {"TABLE ATTACH", "INDEX ATTACH", NULL};
	Wanted	   *wanted;

	if (is_left_out(e, read))
		return false;
	if (is_query_of_view(read))
		return is_of_wanted_view(e, read, entry);
	if (strcmp(read->kind, "SHELL TYPE") == 0)
	{
		entry->shell = true;
		entry->class = TypeRelationId;
		entry->object = type_of_shell(read);
	}
	wanted = find_object(e, entry->class, entry->object);
	if (wanted != NULL && (wanted->lacks == NULL || e->all))
	{
		entry->lacks = wanted->lacks;
		entry->optional = wanted->optional;
		entry->after |= entry->lacks != NULL;
		entry->rest = entry->lacks != NULL;
		return true;
	}
	if (is_rest(e, read))
	{
		entry->after = entry->rest = true;
		return true;
	}
	if (e->all && is_of_table_outside(e, read, entry))
	{
		entry->after = entry->rest = true;
		return true;
	}
	if (OidIsValid(entry->class))
		return false;
	return is_one_of(read->kind, by_statement) || is_part_of_wanted(e, read, entry);
}

/* Statements as pg_restore gives them, after those of the entry itself */
static void
append_owner(StringInfo command, const FloArchiveEntry *read)
{
	static const char *const named[] = {
		"COLLATION", "CONVERSION", "DOMAIN", "FOREIGN TABLE", "MATERIALIZED VIEW", "SEQUENCE",
		"STATISTICS", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TYPE",
		"VIEW", NULL
	};
	static const char *const nowhere[] = {
		"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "PROCEDURAL LANGUAGE", "SCHEMA", "SERVER", NULL
	};
	static const char *const with_arguments[] = {
		"AGGREGATE", "FUNCTION", "PROCEDURE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", NULL
	};
	const char *what = NULL;
	int			len = strlen(read->drop);

	while (len > 0 && strchr(" ;\n", read->drop[len - 1]) != NULL)
		len--;
	if (is_one_of(read->kind, nowhere))
		what = psprintf("%s %s",
						strcmp(read->kind, "PROCEDURAL LANGUAGE") == 0 ? "LANGUAGE" : read->kind,
						quote_identifier(read->name));
	else if (is_one_of(read->kind, named))
		what = psprintf("%s %s", read->kind, quote_qualified_identifier(read->schema, read->name));
	else if (is_one_of(read->kind, with_arguments) && len > strlen("DROP "))
		what = pnstrdup(read->drop + strlen("DROP "), len - strlen("DROP "));
	if (what != NULL && read->owner[0] != '\0')
		appendStringInfo(command, "ALTER %s OWNER TO %s;\n", what, quote_identifier(read->owner));
}

static bool
is_populated(const FloSchemaEntry *entry)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(entry->object));
	bool		populated;

	if (!HeapTupleIsValid(tuple))
		return false;
	populated = ((Form_pg_class) GETSTRUCT(tuple))->relispopulated;
	ReleaseSysCache(tuple);
	return populated;
}

static char *
command_of(FloSchemaEntries *e, const FloArchiveEntry *read)
{
	StringInfoData command;
	char	   *name = quote_qualified_identifier(read->schema, read->name);

	initStringInfo(&command);
	if (read->access_method[0] != '\0' && read->relkind != RELKIND_PARTITIONED_TABLE)
		appendStringInfo(&command, "SET LOCAL default_table_access_method = %s;\n",
						 quote_identifier(read->access_method));
	/* of schema public there may be no more than a comment */
	if (strcmp(read->kind, "SCHEMA") == 0 && strncmp(read->command, "--", 2) == 0)
		appendStringInfo(&command, "CREATE SCHEMA %s;\n", quote_identifier(read->name));
	else
		appendStringInfoString(&command, read->command);
	if (read->access_method[0] != '\0' && read->relkind == RELKIND_PARTITIONED_TABLE)
		appendStringInfo(&command, "ALTER TABLE %s SET ACCESS METHOD %s;\n", name,
						 quote_identifier(read->access_method));
	if (e->spec->options.schema_owner)
		append_owner(&command, read);
	return command.data;
}

/* --- keeping them -------------------------------------------------------- */

static FloSchemaEntry *
copy_entry(FloSchemaEntries *e, const FloSchemaEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(e->context);
	FloSchemaEntry *kept = palloc(sizeof(FloSchemaEntry));

	*kept = *entry;
	kept->label = pstrdup(entry->label);
	kept->command = pstrdup(entry->command);
	MemoryContextSwitchTo(old);
	return kept;
}

static List *
append_entry(FloSchemaEntries *e, List *list, FloSchemaEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(e->context);

	list = lappend(list, entry);
	MemoryContextSwitchTo(old);
	return list;
}

static void
note_place(FloSchemaEntries *e, int id, int place)
{
	EntryPlace *noted = hash_search(e->places, &id, HASH_ENTER, NULL);

	noted->place = place;
}

/*
 * Each GRANT by itself: that one role is not there is no reason to withhold what
 * others may do.  What is granted by another role than the owner stays together.
 * Privileges of a column are said to need those of their table.
 */
static void
keep_privileges(FloSchemaEntries *e, const FloArchiveEntry *read, const FloSchemaEntry *entry)
{
	List	   *statements = raw_parser(entry->command, RAW_PARSE_DEFAULT);
	bool		apart = true;
	ListCell   *cell;

	note_place(e, read->id, entry->part_of);
	foreach(cell, statements)
		apart &= !IsA(lfirst_node(RawStmt, cell)->stmt, VariableSetStmt);
	foreach(cell, statements)
	{
		RawStmt    *statement = lfirst_node(RawStmt, cell);
		FloSchemaEntry one = *entry;
		int			len = statement->stmt_len > 0 ? statement->stmt_len :
			(int) strlen(entry->command + statement->stmt_location);

		if (apart)
		{
			one.command = pnstrdup(entry->command + statement->stmt_location, len);
			one.command = psprintf("%s;\n", one.command + strspn(one.command, " \n"));
		}
		e->privileges = append_entry(e, e->privileges, copy_entry(e, &one));
		if (!apart)
			return;
	}
}

/* Of the materialized view that was kept last */
static void
keep_contents(FloSchemaEntries *e, const FloArchiveEntry *read, const FloSchemaEntry *view)
{
	FloSchemaEntry contents = {0};

	contents.part_of = list_length(e->list);
	contents.after = true;
	contents.rest = view->rest;
	contents.label = psprintf("MATERIALIZED VIEW DATA %s", read->name);
	contents.command = psprintf("REFRESH MATERIALIZED VIEW %s;\n",
								quote_qualified_identifier(read->schema, read->name));
	e->contents = append_entry(e, e->contents, copy_entry(e, &contents));
}

/* Options of a user mapping are for its server, and not for all that a broker has */
static void
withhold_secrets(FloSchemaEntry *entry)
{
	char	   *options = strstr(entry->command, " OPTIONS (");

	if (options == NULL)
		return;
	entry->command = psprintf("%.*s;\n", (int) (options - entry->command), entry->command);
	entry->lacks = "its options may hold a password, and do not travel";
}

void
flo_schema_entries_take(FloSchemaEntries *e, const FloArchiveEntry *read)
{
	static const char *const views[] = {"VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", NULL};
	static const char *const of_others[] = {
		"TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY", NULL
	};
	static const char *const privileges[] = {"ACL", "DEFAULT ACL", NULL};
	FloSchemaEntry entry = {0};

	entry.class = read->class;
	entry.object = read->object;
	entry.after = read->section == FLO_ARCHIVE_AFTER_ROWS;
	entry.view = is_one_of(read->kind, views);
	if (is_query_of_view(read))
		entry.class = entry.object = InvalidOid;
	if (read->command[0] == '\0' || !is_entry_wanted(e, read, &entry))
		return;
	if (is_one_of(read->kind, of_others) && entry.lacks == NULL &&
		!both_ends_wanted(e, read,
						  linitial_node(RawStmt, raw_parser(read->command,
															RAW_PARSE_DEFAULT))->stmt, &entry))
		return;
	entry.label = strncmp(read->name, read->kind, strlen(read->kind)) == 0 ? read->name :
		psprintf("%s %s", read->kind, read->name);
	entry.command = command_of(e, read);
	if (strcmp(read->kind, "USER MAPPING") == 0 && entry.rest)
		withhold_secrets(&entry);
	if (is_one_of(read->kind, privileges))
	{
		/* they add to what is there, and are never compared with it */
		if (strcmp(read->kind, "DEFAULT ACL") == 0)
			entry.label = psprintf("%s of role %s%s%s", read->name, read->owner,
								   read->schema[0] != '\0' ? " in schema " : "", read->schema);
		entry.class = entry.object = InvalidOid;
		keep_privileges(e, read, &entry);
		return;
	}
	e->list = append_entry(e, e->list, copy_entry(e, &entry));
	note_place(e, read->id, list_length(e->list));
	if (strcmp(read->kind, "MATERIALIZED VIEW") == 0 && is_populated(&entry))
		keep_contents(e, read, &entry);
}

List *
flo_schema_entries_list(FloSchemaEntries *e)
{
	return list_concat(list_concat(e->list, e->contents), e->privileges);
}
