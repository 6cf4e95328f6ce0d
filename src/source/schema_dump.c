/*
 * schema_dump.c
 *		Publishes the definitions of a group's tables and of what they need.
 *
 * pg_dump writes them, seen through the snapshot of the copy; its text is cut
 * at the headings that "--verbose" puts before each entry, which carry the
 * catalog and OID of the object.  What the group's tables need is found in
 * pg_depend (flo.needed_objects), so every entry is either needed or left out.
 *
 * A heading may also stand in the body of a function.  Hence no piece of text
 * is believed to be an entry before the server's own parser has read it as
 * whole statements; where it has not, the next piece belongs to it.
 *
 * The result is a JSON array in the state bucket, made anew for each snapshot: a
 * definition may have changed since the one before.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "bus/json.h"
#include "bus/stream.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "common/file_utils.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/shstate.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "postmaster/postmaster.h"
#include "source/schema_dump.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Bytes of pg_dump's command line: an arbitrary part of what systems allow */
#define MAX_ARGUMENTS_SIZE (1024 * 1024)

/* pg_dump must not wait behind a change that in turn waits for this copy */
#define LOCK_WAIT_TIMEOUT 5000	/* ms */

#define ENTRY_MARK "\n--\n-- TOC entry "

typedef struct ObjectKey
{
	Oid			class;
	Oid			object;
} ObjectKey;

/* An entry of pg_dump's that is wanted */
typedef struct Entry
{
	int			id;				/* pg_dump's number */
	ObjectKey	key;			/* zeroes for what is no object of its own */
	int			part_of;		/* place in the list, from 1; 0 = none */
	bool		after;			/* the rows */
	char	   *label;
	char	   *command;
} Entry;

typedef struct Dump
{
	const FloReplicatorSpec *spec;
	const FloProcessArgs *args;
	const char *snapshot;
	List	   *tables;			/* NIL = all of the group */
	bool		only_missing;
	char	   *script;			/* files */
	char	   *complaints;
	HTAB	   *wanted;			/* of ObjectKey */
	List	   *entries;		/* of Entry * */
	char	   *access_method;	/* set for the tables to come, NULL = heap */
	MemoryContext context;		/* of the entries */
	MemoryContext turn;			/* of the one being read */
} Dump;

/* --- what is wanted ----------------------------------------------------------------- */

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
	d->wanted = hash_create("pg_flo needed objects", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	values[0] = CStringGetTextDatum(d->spec->group);
	values[1] = BoolGetDatum(d->spec->options.schema_privileges);
	foreach(cell, d->tables)
		oids[foreach_current_index(cell)] = ObjectIdGetDatum(lfirst_oid(cell));
	values[2] = PointerGetDatum(construct_array(oids, list_length(d->tables), OIDOID, sizeof(Oid), true, TYPALIGN_INT));
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

/* --- running pg_dump ------------------------------------------------------------------- */

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

/*
 * Tables, views and sequences nobody needs: pg_dump would lock them.  When
 * there are too many to name, it dumps them for nothing.
 */
static void
append_exclusions(Dump *d, StringInfo script)
{
	int			before = script->len;

	SPI_connect();
	if (SPI_execute("SELECT c.oid, '--exclude-table=\"' || pg_catalog.replace(n.nspname, '\"', '\"\"') || '\".\"'"
					" || pg_catalog.replace(c.relname, '\"', '\"\"') || '\"'"
					" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
					" WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND n.nspname !~ '^pg_'",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables of the database");
	for (uint64 i = 0; i < SPI_processed && script->len - before < MAX_ARGUMENTS_SIZE; i++)
	{
		bool		isnull;
		Oid			relation = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		if (!is_wanted(d, RelationRelationId, relation))
			append_argument(script, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2));
	}
	SPI_finish();
	if (script->len - before >= MAX_ARGUMENTS_SIZE)
	{
		script->len = before;
		script->data[before] = '\0';
	}
}

static void
append_quoted(StringInfo conninfo, const char *key, const char *value)
{
	appendStringInfo(conninfo, "%s='", key);
	for (; *value != '\0'; value++)
	{
		if (*value == '\'' || *value == '\\')
			appendStringInfoChar(conninfo, '\\');
		appendStringInfoChar(conninfo, *value);
	}
	appendStringInfoString(conninfo, "' ");
}

/* How pg_dump gets here: what the setting does not say is taken from ourselves */
static char *
connection_string(Dump *d)
{
	const char *setting = flo_schema_dump_conninfo;
	const char *sockets = GetConfigOption("unix_socket_directories", true, false);
	char	   *first;
	StringInfoData conninfo;

	if (strncmp(setting, "postgres://", 11) == 0 || strncmp(setting, "postgresql://", 13) == 0)
		return pstrdup(setting);
	initStringInfo(&conninfo);
	first = pstrdup(sockets != NULL ? sockets : "");
	first[strcspn(first, ",")] = '\0';
	append_quoted(&conninfo, "host", first[0] != '\0' ? first : "localhost");
	append_quoted(&conninfo, "port", psprintf("%d", PostPortNumber));
	append_quoted(&conninfo, "dbname", get_database_name(MyDatabaseId));
	append_quoted(&conninfo, "user", GetUserNameFromId(d->spec->owner, false));
	append_quoted(&conninfo, "application_name", psprintf("pg_flo schema of group %s", d->spec->group));
	appendStringInfoString(&conninfo, setting);
	return conninfo.data;
}

/* The program that belongs to this server, unless the setting names one */
static char *
pg_dump_path(void)
{
	char	   *path;

	if (flo_pg_dump_path[0] != '\0')
		return pstrdup(flo_pg_dump_path);
	path = palloc(MAXPGPATH);
	strlcpy(path, my_exec_path, MAXPGPATH);
	get_parent_directory(path);
	strlcat(path, "/pg_dump", MAXPGPATH);
	return path;
}

static void
write_script(Dump *d)
{
	StringInfoData script;
	char	   *path = pg_dump_path();
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
	appendStringInfoString(&script, "exec");
	append_argument(&script, path);
	append_argument(&script, "--schema-only");
	append_argument(&script, "--verbose");
	append_argument(&script, "--no-password");
	append_argument(&script, "--quote-all-identifiers");
	append_argument(&script, "--no-publications");
	append_argument(&script, "--no-subscriptions");
	append_argument(&script, "--no-security-labels");
	append_argument(&script, "--no-tablespaces");
	if (!d->spec->options.schema_owner)
		append_argument(&script, "--no-owner");
	if (!d->spec->options.schema_privileges)
		append_argument(&script, "--no-privileges");
	append_argument(&script, psprintf("--lock-wait-timeout=%d", LOCK_WAIT_TIMEOUT));
	append_argument(&script, psprintf("--encoding=%s", GetDatabaseEncodingName()));
	append_argument(&script, psprintf("--snapshot=%s", d->snapshot));
	append_exclusions(d, &script);
	append_argument(&script, psprintf("--dbname=%s", connection_string(d)));
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
		if (strstr(line, "error:") != NULL || strstr(line, "detail:") != NULL || strstr(line, "hint:") != NULL)
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

/* pg_dump's whole output */
static char *
run_dump(Dump *d)
{
	StringInfoData text;
	FILE	   *pipe;
	int			status;

	write_script(d);
	pipe = OpenPipeStream(psprintf("/bin/sh '%s'", d->script), "r");
	if (pipe == NULL)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not run pg_dump: %m")));
	initStringInfo(&text);
	appendStringInfoChar(&text, '\n');
	for (;;)
	{
		ssize_t		got;

		(void) flo_wait(fileno(pipe), false, 1000);
		flo_helper_check(d->args->slot, d->args->incarnation);
		enlargeStringInfo(&text, 65536);
		if (fcntl(fileno(pipe), F_SETFL, O_NONBLOCK) != 0)
			elog(ERROR, "could not set a pipe to nonblocking mode: %m");
		got = read(fileno(pipe), text.data + text.len, 65535);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read from pg_dump: %m")));
		if (got > 0)
			text.len += got;
		text.data[text.len] = '\0';
	}
	status = ClosePipeStream(pipe);
	if (status != 0)
		dump_failed(d, status);
	return text.data;
}

/* --- reading what it wrote ------------------------------------------------------------ */

/* The value behind a key in the heading's last line, up to the next one */
static char *
heading_value(const char *heading, const char *key, const char *until)
{
	const char *start = strstr(heading, key);
	const char *end;

	if (start == NULL)
		return pstrdup("");
	start += strlen(key);
	end = strstr(start, until);
	return end != NULL ? pnstrdup(start, end - start) : pstrdup("");
}

static bool
comes_after_rows(const char *type)
{
	static const char *const types[] = {
		"INDEX", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE",
		"STATISTICS", "INDEX ATTACH", "POLICY", "ROW SECURITY"
	};

	for (int i = 0; i < lengthof(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

static int
entry_by_id(Dump *d, int id)
{
	ListCell   *cell;

	foreach(cell, d->entries)
		if (((Entry *) lfirst(cell))->id == id)
			return foreach_current_index(cell) + 1;
	return 0;
}

static int
entry_by_object(Dump *d, Oid class, Oid object)
{
	ListCell   *cell;

	foreach(cell, d->entries)
	{
		Entry	   *entry = lfirst(cell);

		if (entry->key.class == class && entry->key.object == object)
			return foreach_current_index(cell) + 1;
	}
	return 0;
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
both_ends_wanted(Dump *d, Node *statement, Entry *entry)
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
		entry->part_of = entry_by_object(d, RelationRelationId, part);
		return is_wanted(d, RelationRelationId, part) &&
			is_wanted(d, RelationRelationId, relation_named(alter->relation));
	}
	if (IsA(statement, AlterSeqStmt))
	{
		foreach(cell, ((AlterSeqStmt *) statement)->options)
		{
			DefElem    *option = lfirst(cell);
			List	   *column;

			if (strcmp(option->defname, "owned_by") != 0)
				continue;
			column = (List *) option->arg;
			if (list_length(column) > 1 &&
				!is_wanted(d, RelationRelationId,
						   relation_named(makeRangeVarFromNameList(list_truncate(list_copy(column),
																				 list_length(column) - 1)))))
				return false;
		}
	}
	return true;
}

/* Is the entry needed?  One without object of its own is if all it belongs to are. */
static bool
entry_is_wanted(Dump *d, const char *heading, const char *heading_end, Entry *entry, const char *type)
{
	char	   *text = pnstrdup(heading, heading_end - heading);
	char	   *dependencies = strstr(text, "\n-- Dependencies: ");
	char	   *next;

	if (OidIsValid(entry->key.class))
		return is_wanted(d, entry->key.class, entry->key.object);
	if (strcmp(type, "TABLE ATTACH") == 0 || strcmp(type, "INDEX ATTACH") == 0)
		return true;			/* if both ends are */
	if (dependencies == NULL || strcmp(type, "DEFAULT ACL") == 0)
		return false;
	next = dependencies + strlen("\n-- Dependencies: ");
	while (*next >= '0' && *next <= '9')
	{
		int			place = entry_by_id(d, (int) strtol(next, &next, 10));

		if (place == 0)
			return false;
		entry->part_of = place;
		entry->after |= ((Entry *) list_nth(d->entries, place - 1))->after;
		while (*next == ' ')
			next++;
	}
	return entry->part_of != 0;
}

/* SET default_table_access_method stands before the heading of the table it is for */
static void
note_setting(Dump *d, const VariableSetStmt *set)
{
	if (strcmp(set->name, "default_table_access_method") != 0 || list_length(set->args) != 1)
		return;
	d->access_method = MemoryContextStrdup(d->context, strVal(&((A_Const *) linitial(set->args))->val));
	if (strcmp(d->access_method, "heap") == 0)
		d->access_method = NULL;
}

/* Statements of an entry without the settings between them */
static char *
take_statements(Dump *d, const char *text, List *statements, Entry *entry, bool *wanted)
{
	StringInfoData command;
	ListCell   *cell;
	char	   *access_method = d->access_method;

	initStringInfo(&command);
	foreach(cell, statements)
	{
		RawStmt    *raw = lfirst_node(RawStmt, cell);
		int			len = raw->stmt_len > 0 ? raw->stmt_len : (int) strlen(text + raw->stmt_location);

		if (IsA(raw->stmt, VariableSetStmt))
		{
			note_setting(d, (VariableSetStmt *) raw->stmt);
			continue;
		}
		*wanted = *wanted && both_ends_wanted(d, raw->stmt, entry);
		if (IsA(raw->stmt, CreateStmt) && access_method != NULL)
			appendStringInfo(&command, "SET LOCAL default_table_access_method = %s;\n", quote_identifier(access_method));
		appendStringInfo(&command, "%.*s;\n", len, text + raw->stmt_location);
	}
	return command.data;
}

/* The server's parser: NIL when the text is not whole statements */
static List *
parse_statements(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *statements = NIL;

	PG_TRY();
	{
		statements = raw_parser(text, RAW_PARSE_DEFAULT);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (geterrcode() != ERRCODE_SYNTAX_ERROR)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return statements;
}

/* Psql's commands around the dump guard against a text that holds others */
static char *
without_restrict(const char *text)
{
	char	   *copy = pstrdup(text);
	char	   *line = copy + strlen(copy);

	while (line > copy && isspace((unsigned char) line[-1]))
		line--;
	*line = '\0';
	while (line > copy && line[-1] != '\n')
		line--;
	if (strncmp(line, "\\unrestrict ", strlen("\\unrestrict ")) == 0)
		*line = '\0';
	return copy;
}

/*
 * Read one entry, "heading" to "end".  False when the text is not complete,
 * since what looks like the next heading is part of it.
 */
static bool
read_entry(Dump *d, const char *heading, const char *end)
{
	const char *name_line = strstr(heading + strlen(ENTRY_MARK), "\n-- Name: ");
	const char *body = name_line != NULL ? strstr(name_line, "\n--\n") : NULL;
	Entry	   *entry = palloc0(sizeof(Entry));
	List	   *statements;
	char	   *text;
	char	   *line;
	char	   *type;
	bool		wanted;

	if (body == NULL || body > end ||
		sscanf(heading, ENTRY_MARK "%d (class %u OID %u)", &entry->id, &entry->key.class, &entry->key.object) != 3)
		return false;
	body += strlen("\n--\n");
	text = without_restrict(pnstrdup(body, end - body));
	statements = parse_statements(text);
	if (statements == NIL)
		return false;
	line = pnstrdup(name_line, body - name_line);
	type = heading_value(line, "; Type: ", "; Schema: ");
	entry->after = comes_after_rows(type);
	wanted = entry_is_wanted(d, heading, body, entry, type);
	entry->label = psprintf("%s %s", type, heading_value(line, "\n-- Name: ", "; Type: "));
	entry->command = take_statements(d, text, statements, entry, &wanted);
	if (wanted)
	{
		Entry	   *kept = MemoryContextAlloc(d->context, sizeof(Entry));

		*kept = *entry;
		kept->label = MemoryContextStrdup(d->context, entry->label);
		kept->command = MemoryContextStrdup(d->context, entry->command);
		MemoryContextSwitchTo(d->context);
		d->entries = lappend(d->entries, kept);
	}
	return true;
}

static void
read_entries(Dump *d, const char *text)
{
	const char *heading = strstr(text, ENTRY_MARK);

	while (heading != NULL)
	{
		const char *end = strstr(heading + 1, ENTRY_MARK);

		for (;;)
		{
			bool		read;

			MemoryContextReset(d->turn);
			MemoryContextSwitchTo(d->turn);
			read = read_entry(d, heading, end != NULL ? end : text + strlen(text));
			MemoryContextSwitchTo(d->context);
			if (read)
				break;
			if (end == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_SYNTAX_ERROR),
						 errmsg("what pg_dump wrote for sync_schema cannot be read by this server"),
						 errdetail_internal("It begins with: %.200s", heading + 1),
						 errhint("pg_dump should be of this server's version, see pg_flo.pg_dump_path.")));
			end = strstr(end + 1, ENTRY_MARK);
		}
		heading = end;
	}
}

/* --- publishing -------------------------------------------------------------------------- */

static const char *const describe_query =
"SELECT pg_catalog.json_agg(pg_catalog.json_build_object("
" 'section', CASE WHEN u.after THEN 'after' ELSE 'before' END,"
" 'object', coalesce(pg_catalog.pg_describe_object(nullif(u.class, 0), u.object, 0), u.label),"
" 'part_of', nullif(u.part_of, 0), 'type', a.type, 'names', a.object_names, 'args', a.object_args,"
" 'definition', CASE WHEN $7 THEN '' WHEN u.class <> 0 THEN flo.definition_of(u.class, u.object) END,"
" 'of_table', CASE u.class WHEN 'pg_catalog.pg_class'::pg_catalog.regclass"
" THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = u.object)"
" WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass"
" THEN (SELECT c.conrelid FROM pg_catalog.pg_constraint c WHERE c.oid = u.object AND c.contype IN ('p', 'u', 'x')) END::pg_catalog.int8,"
" 'command', u.command) ORDER BY u.ordinal)::pg_catalog.text"
" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[]),"
" pg_catalog.unnest($3::pg_catalog.int4[]), pg_catalog.unnest($4::pg_catalog.bool[]),"
" pg_catalog.unnest($5::pg_catalog.text[]), pg_catalog.unnest($6::pg_catalog.text[]))"
" WITH ORDINALITY u (class, object, part_of, after, label, command, ordinal)"
" LEFT JOIN LATERAL pg_catalog.pg_identify_object_as_address(nullif(u.class, 0), u.object, 0) a ON true";

/* The entries as JSON: fields of a FloDefinition */
static char *
describe_entries(Dump *d)
{
	static const Oid element_types[6] = {OIDOID, OIDOID, INT4OID, BOOLOID, TEXTOID, TEXTOID};
	Oid			types[7] = {OIDARRAYOID, OIDARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID};
	MemoryContext caller = CurrentMemoryContext;
	int			n = list_length(d->entries);
	Datum	   *elements[6];
	Datum		values[7];
	ListCell   *cell;
	char	   *json;

	for (int k = 0; k < 6; k++)
		elements[k] = palloc(sizeof(Datum) * Max(n, 1));
	foreach(cell, d->entries)
	{
		Entry	   *entry = lfirst(cell);
		int			i = foreach_current_index(cell);

		elements[0][i] = ObjectIdGetDatum(entry->key.class);
		elements[1][i] = ObjectIdGetDatum(entry->key.object);
		elements[2][i] = Int32GetDatum(entry->part_of);
		elements[3][i] = BoolGetDatum(entry->after);
		elements[4][i] = CStringGetTextDatum(entry->label);
		elements[5][i] = CStringGetTextDatum(entry->command);
	}
	for (int k = 0; k < 6; k++)
		values[k] = PointerGetDatum(construct_array(elements[k], n, element_types[k],
													k < 3 ? 4 : k == 3 ? 1 : -1, k < 4,
													k == 3 ? TYPALIGN_CHAR : TYPALIGN_INT));
	values[6] = BoolGetDatum(d->only_missing);
	SPI_connect();
	if (SPI_execute_with_args(describe_query, 7, types, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not describe the objects of the dump");
	json = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	json = MemoryContextStrdup(caller, json != NULL ? json : "[]");
	SPI_finish();
	return psprintf("{\"version\": 1, \"definitions\": %s}", json);
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
	dump.turn = AllocSetContextCreate(context, "pg_flo dump entry", ALLOCSET_DEFAULT_SIZES);
	(void) MakePGDirectory("base/" PG_TEMP_FILES_DIR);
	dump.script = psprintf("base/" PG_TEMP_FILES_DIR "/" PG_TEMP_FILE_PREFIX "%d.flo", MyProcPid);
	dump.complaints = psprintf("%s_err", dump.script);
	find_wanted(&dump);
	read_entries(&dump, run_dump(&dump));
	remove_files(&dump);
	json = describe_entries(&dump);
	flo_bus_refresh(bus);
	flo_bucket_put_text(bus, flo_name_bucket(spec->group), key,
						flo_schema_tag(generation, attempt), pg_server_to_any(json, strlen(json), PG_UTF8));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
