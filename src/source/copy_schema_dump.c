/*
 * copy_schema_dump.c
 *		Publishes the definitions of a group's tables and of what they need.
 *
 * pg_dump writes them, seen through the snapshot of the copy, as an archive whose
 * table of contents carries the catalog and OID of each object.  What the
 * group's tables need is found in pg_depend (flo.needed_objects).  In a group
 * over schemas the rest of these schemas comes along as well, behind the rows:
 * what no table needs may be left out at a destination.
 *
 * pg_dump's session has settings of ours, whatever ALTER DATABASE or ALTER ROLE
 * say, which are those that a destination's processes pin: text means the same
 * on both sides.
 *
 * The result is a JSON array in the state bucket, made anew for each snapshot: a
 * definition may have changed since the one before.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "bus/bucket_text.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/file_utils.h"
#include "conf/publication.h"
#include "conf/store.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "source/archive.h"
#include "source/copy_schema_dump.h"
#include "source/dump_program.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* Bytes of pg_dump's command line: an arbitrary part of what systems allow */
#define MAX_ARGUMENTS_SIZE (1024 * 1024)

/* pg_dump must not wait behind a change that in turn waits for this copy */
#define LOCK_WAIT_TIMEOUT 5000	/* ms */

/* Objects that are described in one query */
#define DESCRIBED_TOGETHER 1000

/* What decides how definitions are written; see flo_pin_session_settings() */
#define DUMP_SETTINGS \
	"-c standard_conforming_strings=on -c bytea_output=hex -c lc_monetary=C -c xmloption=content" \
	" -c array_nulls=on -c TimeZone=GMT -c role=none -c default_transaction_deferrable=off"

typedef struct ObjectKey
{
	Oid			class;
	Oid			object;
} ObjectKey;

/* An entry of pg_dump's that comes along */
typedef struct Entry
{
	ObjectKey	key;			/* zeroes for what is no object of its own */
	int			part_of;		/* place in the list, from 1; 0 = none */
	bool		after;			/* the rows */
	bool		rest;			/* no table needs it */
	bool		shell;			/* a type's name, for the functions that make
								 * the type */
	bool		query;			/* a view, which has parts of its own */
	char	   *label;
	char	   *command;
} Entry;

typedef struct EntryPlace
{
	int			id;				/* pg_dump's */
	int			place;			/* in the list, from 1 */
} EntryPlace;

typedef struct Dump
{
	const FloReplicatorSpec *spec;
	const FloProcessArgs *args;
	const char *snapshot;
	List	   *tables;			/* NIL = all of the group */
	bool		only_missing;
	FloTableOids covered;		/* whose schemas come along whole */
	char	   *script;			/* files */
	char	   *complaints;
	FILE	   *pipe;
	HTAB	   *wanted;			/* of ObjectKey */
	HTAB	   *places;			/* of EntryPlace */
	List	   *entries;		/* of Entry * */
	List	   *contents;		/* of Entry *: REFRESH of materialized views,
								 * when all views are there */
	List	   *privileges;		/* of Entry *: they come last */
	MemoryContext context;		/* of the entries */
	MemoryContext entry_context;	/* of the one being read */
} Dump;

/* --- what is wanted ------------------------------------------------------ */

static void
find_wanted(Dump *d)
{
	HASHCTL		control = {0};
	Oid			types[3] = {TEXTOID, BOOLOID, OIDARRAYOID};
	Datum		values[3];
	char		nulls[3] = {' ', ' ', ' '};
	Datum	   *oids = palloc(sizeof(Datum) * Max(list_length(d->tables), 1));
	ListCell   *cell;

	control.keysize = control.entrysize = sizeof(ObjectKey);
	control.hcxt = CurrentMemoryContext;
	d->wanted = hash_create("pg_flo needed objects", 1024, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	values[0] = CStringGetTextDatum(d->spec->group);
	values[1] = BoolGetDatum(d->spec->options.schema_privileges);
	foreach(cell, d->tables)
		oids[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	values[2] = PointerGetDatum(construct_array(oids, list_length(d->tables), OIDOID, sizeof(Oid),
												true, TYPALIGN_INT));
	nulls[2] = d->tables == NIL ? 'n' : ' ';
	SPI_connect();
	if (SPI_execute_with_args("SELECT class, object, left_out FROM flo.needed_objects($1, $2, $3)",
							  3, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not find what the group's tables need");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		char	   *left_out = SPI_getvalue(tuple, SPI_tuptable->tupdesc, 3);
		ObjectKey	key;
		bool		isnull;

		key.class = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		key.object = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
		if (left_out != NULL)
			ereport(LOG,
					(errmsg("sync_schema of group \"%s\" leaves out %s, which is not in the group",
							d->spec->group, left_out)));
		else
			(void) hash_search(d->wanted, &key, HASH_ENTER, NULL);
	}
	SPI_finish();
}

static bool
is_wanted(Dump *d, Oid class, Oid object)
{
	ObjectKey	key = {class, object};

	return hash_search(d->wanted, &key, HASH_FIND, NULL) != NULL;
}

/* --- running pg_dump ----------------------------------------------------- */

/* A word of a shell's command line */
static void
append_argument(StringInfo script, const char *argument)
{
	appendStringInfoString(script, " '");
	for (; *argument != '\0'; argument++)
	{
		if (*argument == '\'')
			appendStringInfoString(script, "'\\''");
		else
			appendStringInfoChar(script, *argument);
	}
	appendStringInfoChar(script, '\'');
}

/* Does the whole schema come along? */
static bool
is_covered(Dump *d, Oid schema)
{
	return OidIsValid(schema) && d->tables == NIL &&
		(d->covered.all || list_member_oid(d->covered.schemas, schema));
}

/*
 * Tables nobody needs, which pg_dump would lock, and their sequences.  When there
 * are too many to name, it dumps them for nothing.
 */
static void
append_exclusions(Dump *d, StringInfo script)
{
	int			before = script->len;

	SPI_connect();
	if (SPI_execute("SELECT c.oid, '--exclude-table=\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\".\"'"
					" || pg_catalog.replace(c.relname, '\"', '\"\"') || '\"', n.oid,"
					" c.relkind IN ('v', 'm') OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
					" WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')"
					" AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)"
					" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
					" WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND n.nspname !~ '^pg_'",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables of the database");
	for (uint64 i = 0; i < SPI_processed && script->len - before < MAX_ARGUMENTS_SIZE; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		Oid			relation =
			DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		Oid			schema =
			DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
		bool		loose = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 4, &isnull));

		if (!is_wanted(d, RelationRelationId, relation) && !(loose && is_covered(d, schema)))
			append_argument(script, SPI_getvalue(tuple, SPI_tuptable->tupdesc, 2));
	}
	SPI_finish();
	if (script->len - before >= MAX_ARGUMENTS_SIZE)
	{
		script->len = before;
		script->data[before] = '\0';
	}
}

/*
 * A shell runs it, so everything that is not ours is quoted by append_argument().
 * The snapshot is the copy's: definitions are those that the copied rows have.
 */
static void
write_script(Dump *d)
{
	StringInfoData script;
	char	   *path = flo_dump_program();
	FILE	   *file;

	/* the shell would look a bare name up elsewhere */
	if (!is_absolute_path(path))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("pg_flo.pg_dump_path is not an absolute path")));
	if (access(path, X_OK) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("sync_schema needs pg_dump, and \"%s\" cannot be run: %m", path),
				 errhint("Install the client programs of this server's version, or set pg_flo.pg_dump_path.")));
	initStringInfo(&script);
	appendStringInfoString(&script, "PGOPTIONS='" DUMP_SETTINGS "' exec");
	append_argument(&script, path);
	append_argument(&script, "--format=custom");
	append_argument(&script, "--compress=0");
	append_argument(&script, "--schema-only");
	append_argument(&script, "--no-password");
	append_argument(&script, "--quote-all-identifiers");
	append_argument(&script, "--no-publications");
	append_argument(&script, "--no-subscriptions");
	append_argument(&script, "--no-security-labels");
	if (!d->spec->options.schema_privileges)
		append_argument(&script, "--no-privileges");
	append_argument(&script, psprintf("--lock-wait-timeout=%d", LOCK_WAIT_TIMEOUT));
	append_argument(&script, psprintf("--encoding=%s", GetDatabaseEncodingName()));
	append_argument(&script, psprintf("--snapshot=%s", d->snapshot));
	append_exclusions(d, &script);
	append_argument(&script, psprintf("--dbname=%s", flo_dump_connection(d->spec)));
	appendStringInfo(&script, " 2>'%s'\n", d->complaints);

	file = AllocateFile(d->script, "w");
	if (file == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", d->script)));
	if (fwrite(script.data, 1, script.len, file) != script.len || FreeFile(file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", d->script)));
}

/* What pg_dump said when it failed, without its narration */
static char *
read_complaints(Dump *d)
{
	FILE	   *file = AllocateFile(d->complaints, "r");
	char		line[1024];
	StringInfoData said;

	initStringInfo(&said);
	while (file != NULL && fgets(line, sizeof(line), file) != NULL && said.len < 4096)
	{
		line[strcspn(line, "\n")] = '\0';
		if (strstr(line, "error:") != NULL || strstr(line, "detail:") != NULL ||
			strstr(line, "hint:") != NULL)
			appendStringInfo(&said, "%s%s", said.len > 0 ? "; " : "", line);
	}
	if (file != NULL)
		FreeFile(file);
	return said.data;
}

static void
remove_files(Dump *d)
{
	(void) unlink(d->script);
	(void) unlink(d->complaints);
}

static void
dump_failed(Dump *d, int status)
{
	char	   *said = read_complaints(d);

	remove_files(d);
	if (strstr(said, "connection to server") != NULL || strstr(said, "connection option") != NULL ||
		strstr(said, "service") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_EXCEPTION),
				 errmsg("pg_dump cannot connect to this server for sync_schema"),
				 errdetail_internal("%s", said),
				 errhint("Set pg_flo.schema_dump_conninfo to a connection string with which the server's operating system user gets in; a password belongs into its passfile.")));
	ereport(ERROR,
			(errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
			 errmsg("pg_dump failed for sync_schema (%s)", wait_result_to_str(status)),
			 errdetail_internal("%s", said[0] != '\0' ? said : "It left no message.")));
}

static void
start_dump(Dump *d)
{
	write_script(d);
	d->pipe = OpenPipeStream(psprintf("/bin/sh '%s'", d->script), "r");
	if (d->pipe == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not run pg_dump: %m")));
	if (fcntl(fileno(d->pipe), F_SETFL, O_NONBLOCK) != 0)
		elog(ERROR, "could not set a pipe to nonblocking mode: %m");
}

/* At the end what pg_dump says of itself comes first */
static Size
read_dump(void *arg, char *buffer, Size size)
{
	Dump	   *d = arg;
	int			status;

	for (;;)
	{
		ssize_t		got;

		flo_wait_means(FLO_WAIT_DUMP);
		(void) flo_wait(fileno(d->pipe), false, 1000);
		flo_helper_check(d->args->slot, d->args->incarnation);
		got = read(fileno(d->pipe), buffer, size);
		if (got > 0)
			return got;
		if (got == 0)
			break;
		if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read from pg_dump: %m")));
	}
	status = ClosePipeStream(d->pipe);
	if (status != 0)
		dump_failed(d, status);
	return 0;
}

/* --- reading what it wrote ----------------------------------------------- */

static bool
is_one_of(const char *kind, const char *const *kinds)
{
	for (; *kinds != NULL; kinds++)
		if (strcmp(kind, *kinds) == 0)
			return true;
	return false;
}

static Entry *
entry_by_id(Dump *d, int id, int *place)
{
	EntryPlace *known = hash_search(d->places, &id, HASH_FIND, NULL);

	if (known == NULL)
		return NULL;
	*place = known->place;
	return list_nth(d->entries, known->place - 1);
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
both_ends_wanted(Dump *d, const FloArchiveEntry *read, Node *statement, Entry *entry)
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
			Entry	   *other = entry_by_id(d, lfirst_int(cell), &place);

			if (other != NULL && other->key.class == RelationRelationId &&
				other->key.object == part)
				entry->part_of = place;
		}
		return is_wanted(d, RelationRelationId, part) &&
			is_wanted(d, RelationRelationId, relation_named(alter->relation));
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
			if (!is_wanted(d, RelationRelationId, relation_named(makeRangeVarFromNameList(table))))
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

/* Is it of a covered schema, or of something that is, though no table needs it? */
static bool
is_rest(Dump *d, const FloArchiveEntry *read)
{
	static const char *const objects[] = {
		"TYPE", "SHELL TYPE", "DOMAIN", "COLLATION", "SEQUENCE", "VIEW", "MATERIALIZED VIEW",
		"FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR", NULL
	};
	static const char *const parts[] = {"INDEX", "RULE", "TRIGGER", "DEFAULT", NULL};
	ListCell   *cell;

	if (strcmp(read->kind, "SCHEMA") == 0)
		return is_covered(d, get_namespace_oid(read->name, true));
	if (is_one_of(read->kind, objects))
		return is_covered(d, get_namespace_oid(read->schema, true));
	if (is_one_of(read->kind, parts))
		foreach(cell, read->needs)
	{
		int			place;
		Entry	   *other = entry_by_id(d, lfirst_int(cell), &place);

		if (other != NULL && other->rest && other->query)
			return true;
	}
	return false;
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
is_of_wanted_view(Dump *d, const FloArchiveEntry *read, Entry *entry)
{
	ListCell   *cell;

	foreach(cell, read->needs)
	{
		int			place;
		Entry	   *other = entry_by_id(d, lfirst_int(cell), &place);

		if (other == NULL || !other->query)
			continue;
		entry->part_of = place;
		entry->after = true;
		entry->rest = other->rest;
	}
	return entry->part_of != 0;
}

/* One without object of its own comes along if all it belongs to do */
static bool
is_part_of_wanted(Dump *d, const FloArchiveEntry *read, Entry *entry)
{
	ListCell   *cell;

	foreach(cell, read->needs)
	{
		Entry	   *whole = entry_by_id(d, lfirst_int(cell), &entry->part_of);

		if (whole == NULL)
			return false;
		entry->after |= whole->after;
		entry->rest |= whole->rest;
	}
	return entry->part_of != 0;
}

static bool
is_entry_wanted(Dump *d, const FloArchiveEntry *read, Entry *entry)
{
	static const char *const never[] = {
		"ENCODING", "STDSTRINGS", "SEARCHPATH", "DEFAULT ACL", "STATISTICS DATA", NULL
	};
	static const char *const by_statement[] = {"TABLE ATTACH", "INDEX ATTACH", NULL};

	if (read->section == FLO_ARCHIVE_ROWS || is_one_of(read->kind, never))
		return false;
	if (is_query_of_view(read))
		return is_of_wanted_view(d, read, entry);
	if (strcmp(read->kind, "SHELL TYPE") == 0)
	{
		entry->shell = true;
		entry->key.class = TypeRelationId;
		entry->key.object = type_of_shell(read);
	}
	if (OidIsValid(entry->key.class) && is_wanted(d, entry->key.class, entry->key.object))
		return true;
	if (is_rest(d, read))
	{
		entry->after = entry->rest = true;
		return true;
	}
	if (OidIsValid(entry->key.class))
		return false;
	return is_one_of(read->kind, by_statement) || is_part_of_wanted(d, read, entry);
}

/* Statements as pg_restore gives them, after those of the entry itself */
static void
append_owner(StringInfo command, const FloArchiveEntry *read)
{
	static const char *const named[] = {
		"COLLATION", "DOMAIN", "MATERIALIZED VIEW", "SEQUENCE", "STATISTICS", "TABLE", "TYPE",
		"VIEW", NULL
	};
	static const char *const with_arguments[] = {
		"AGGREGATE", "FUNCTION", "PROCEDURE", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", NULL
	};
	const char *what = NULL;
	int			len = strlen(read->drop);

	while (len > 0 && strchr(" ;\n", read->drop[len - 1]) != NULL)
		len--;
	if (strcmp(read->kind, "SCHEMA") == 0)
		what = psprintf("SCHEMA %s", quote_identifier(read->name));
	else if (is_one_of(read->kind, named))
		what = psprintf("%s %s", read->kind, quote_qualified_identifier(read->schema, read->name));
	else if (is_one_of(read->kind, with_arguments) && len > strlen("DROP "))
		what = pnstrdup(read->drop + strlen("DROP "), len - strlen("DROP "));
	if (what != NULL && read->owner[0] != '\0')
		appendStringInfo(command, "ALTER %s OWNER TO %s;\n", what, quote_identifier(read->owner));
}

static bool
is_populated(const Entry *entry)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(entry->key.object));
	bool		populated;

	if (!HeapTupleIsValid(tuple))
		return false;
	populated = ((Form_pg_class) GETSTRUCT(tuple))->relispopulated;
	ReleaseSysCache(tuple);
	return populated;
}

static char *
command_of(Dump *d, const FloArchiveEntry *read, const Entry *entry)
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
	if (d->spec->options.schema_owner)
		append_owner(&command, read);
	return command.data;
}

static void
keep_entry(Dump *d, const FloArchiveEntry *read, const Entry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	Entry	   *kept = palloc(sizeof(Entry));
	EntryPlace *place;

	*kept = *entry;
	kept->label = pstrdup(entry->label);
	kept->command = pstrdup(entry->command);
	if (strcmp(read->kind, "ACL") == 0)
		d->privileges = lappend(d->privileges, kept);
	else
	{
		d->entries = lappend(d->entries, kept);
		place = hash_search(d->places, &read->id, HASH_ENTER, NULL);
		place->place = list_length(d->entries);
	}
	MemoryContextSwitchTo(old);
}

/* Of the materialized view that was kept last */
static void
keep_contents(Dump *d, const FloArchiveEntry *read, const Entry *view)
{
	MemoryContext old = MemoryContextSwitchTo(d->context);
	Entry	   *contents = palloc0(sizeof(Entry));

	contents->part_of = list_length(d->entries);
	contents->after = true;
	contents->rest = view->rest;
	contents->label = psprintf("MATERIALIZED VIEW DATA %s", read->name);
	contents->command = psprintf("REFRESH MATERIALIZED VIEW %s;\n",
								 quote_qualified_identifier(read->schema, read->name));
	d->contents = lappend(d->contents, contents);
	MemoryContextSwitchTo(old);
}

static void
take_entry(Dump *d, const FloArchiveEntry *read)
{
	static const char *const queries[] = {"VIEW", "MATERIALIZED VIEW", NULL};
	static const char *const of_others[] = {
		"TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY", NULL
	};
	Entry		entry = {{read->class, read->object}};

	entry.after = read->section == FLO_ARCHIVE_AFTER_ROWS;
	entry.query = is_one_of(read->kind, queries);
	if (is_query_of_view(read))
		entry.key.class = entry.key.object = InvalidOid;
	if (read->command[0] == '\0' || !is_entry_wanted(d, read, &entry))
		return;
	if (is_one_of(read->kind, of_others) &&
		!both_ends_wanted(d, read,
						  linitial_node(RawStmt, raw_parser(read->command,
															RAW_PARSE_DEFAULT))->stmt, &entry))
		return;
	entry.label = psprintf("%s %s", read->kind, read->name);
	entry.command = command_of(d, read, &entry);
	keep_entry(d, read, &entry);
	if (strcmp(read->kind, "MATERIALIZED VIEW") == 0 && is_populated(&entry))
		keep_contents(d, read, &entry);
}

static void
read_entries(Dump *d)
{
	FloArchive *archive = flo_archive_open(read_dump, d);
	char		end[64];

	for (;;)
	{
		FloArchiveEntry *read;

		MemoryContextReset(d->entry_context);
		MemoryContextSwitchTo(d->entry_context);
		read = flo_archive_next(archive);
		if (read == NULL)
			break;
		take_entry(d, read);
	}
	MemoryContextSwitchTo(d->context);
	while (read_dump(d, end, sizeof(end)) > 0)
		;
	d->entries = list_concat(list_concat(d->entries, d->contents), d->privileges);
}

/* --- publishing ---------------------------------------------------------- */

static const char *const describe_query =
"SELECT pg_catalog.string_agg(pg_catalog.json_build_object("
" 'section', CASE WHEN u.after THEN 'after' ELSE 'before' END, 'rest', u.rest,"
" 'object', coalesce(CASE WHEN NOT u.shell THEN pg_catalog.pg_describe_object(nullif(u.class, 0), u.object, 0) END, u.label),"
" 'part_of', nullif(u.part_of, 0), 'type', CASE WHEN u.shell THEN 'shell type' ELSE a.type END,"
" 'names', a.object_names, 'args', a.object_args,"
" 'definition', CASE WHEN $9 OR u.shell THEN '' WHEN u.class <> 0 THEN flo.definition_of(u.class, u.object) END,"
" 'of_table', CASE u.class WHEN 'pg_catalog.pg_class'::pg_catalog.regclass"
" THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = u.object)"
" WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass"
" THEN (SELECT c.conrelid FROM pg_catalog.pg_constraint c WHERE c.oid = u.object AND c.contype IN ('p', 'u', 'x')) END::pg_catalog.int8,"
" 'command', u.command)::pg_catalog.text, ',' ORDER BY u.ordinal)"
" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[]),"
" pg_catalog.unnest($3::pg_catalog.int4[]), pg_catalog.unnest($4::pg_catalog.bool[]),"
" pg_catalog.unnest($5::pg_catalog.bool[]), pg_catalog.unnest($6::pg_catalog.bool[]),"
" pg_catalog.unnest($7::pg_catalog.text[]), pg_catalog.unnest($8::pg_catalog.text[]))"
" WITH ORDINALITY u (class, object, part_of, after, rest, shell, label, command, ordinal)"
" LEFT JOIN LATERAL pg_catalog.pg_identify_object_as_address(nullif(u.class, 0), u.object, 0) a ON true";

#define DESCRIBED_FIELDS 8

/* Some of the entries, from this place on, as JSON objects */
static char *
describe_some(Dump *d, int first, int count)
{
	static const Oid element_types[DESCRIBED_FIELDS] = {
		OIDOID, OIDOID, INT4OID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, TEXTOID
	};
	Oid			types[DESCRIBED_FIELDS + 1];
	Datum	   *elements[DESCRIBED_FIELDS];
	Datum		values[DESCRIBED_FIELDS + 1];
	MemoryContext caller = CurrentMemoryContext;
	char	   *json;

	for (int k = 0; k < DESCRIBED_FIELDS; k++)
		elements[k] = palloc(sizeof(Datum) * count);
	for (int i = 0; i < count; i++)
	{
		Entry	   *entry = list_nth(d->entries, first + i);

		elements[0][i] = ObjectIdGetDatum(entry->key.class);
		elements[1][i] = ObjectIdGetDatum(entry->key.object);
		elements[2][i] = Int32GetDatum(entry->part_of);
		elements[3][i] = BoolGetDatum(entry->after);
		elements[4][i] = BoolGetDatum(entry->rest);
		elements[5][i] = BoolGetDatum(entry->shell);
		elements[6][i] = CStringGetTextDatum(entry->label);
		elements[7][i] = CStringGetTextDatum(entry->command);
	}
	for (int k = 0; k < DESCRIBED_FIELDS; k++)
	{
		int16		len;
		bool		by_value;
		char		alignment;

		get_typlenbyvalalign(element_types[k], &len, &by_value, &alignment);
		types[k] = get_array_type(element_types[k]);
		values[k] = PointerGetDatum(construct_array(elements[k], count, element_types[k], len,
													by_value, alignment));
	}
	types[DESCRIBED_FIELDS] = BOOLOID;
	values[DESCRIBED_FIELDS] = BoolGetDatum(d->only_missing);
	SPI_connect();
	if (SPI_execute_with_args(describe_query, DESCRIBED_FIELDS + 1, types, values, NULL, true,
							  1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not describe the objects of the dump");
	json = MemoryContextStrdup(caller,
							   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return json;
}

/* The entries as JSON: fields of a FloDefinition */
static char *
describe_entries(Dump *d)
{
	int			n = list_length(d->entries);
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"version\": 1, \"definitions\": [");
	for (int first = 0; first < n; first += DESCRIBED_TOGETHER)
	{
		MemoryContextReset(d->entry_context);
		MemoryContextSwitchTo(d->entry_context);
		appendStringInfo(&json, "%s%s", first > 0 ? "," : "",
						 describe_some(d, first, Min(n - first, DESCRIBED_TOGETHER)));
		MemoryContextSwitchTo(d->context);
	}
	appendStringInfoString(&json, "]}");
	return json.data;
}

static HTAB *
places_create(void)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(int);
	control.entrysize = sizeof(EntryPlace);
	control.hcxt = CurrentMemoryContext;
	return hash_create("pg_flo entries", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
flo_schema_publish(FloBus *bus, const FloReplicatorSpec *spec, const char *key,
				   const char *generation, uint32 attempt, List *tables, bool only_missing,
				   const char *snapshot, const FloProcessArgs *args)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "pg_flo schema dump",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Dump		dump = {0};
	char	   *json;

	dump.spec = spec;
	dump.args = args;
	dump.snapshot = snapshot;
	dump.tables = tables;
	dump.only_missing = only_missing;
	dump.context = context;
	dump.entry_context = AllocSetContextCreate(context, "pg_flo dump entry",
											   ALLOCSET_DEFAULT_SIZES);
	(void) MakePGDirectory("base/" PG_TEMP_FILES_DIR);
	dump.script = psprintf("base/" PG_TEMP_FILES_DIR "/" PG_TEMP_FILE_PREFIX "%d.flo", MyProcPid);
	dump.complaints = psprintf("%s_err", dump.script);
	dump.places = places_create();
	flo_choice_look_up(flo_store_table_choice(spec->group), &dump.covered);
	find_wanted(&dump);
	start_dump(&dump);
	read_entries(&dump);
	remove_files(&dump);
	json = describe_entries(&dump);
	flo_bus_refresh(bus);
	flo_bucket_put_text(bus, flo_name_bucket(spec->group), key,
						flo_schema_tag(generation, attempt),
						pg_server_to_any(json, strlen(json), PG_UTF8));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
