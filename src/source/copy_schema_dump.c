/*
 * copy_schema_dump.c
 *		Publishes the definitions of a group's tables and of what they need.
 *
 * pg_dump writes them, seen through the snapshot of the copy, as an archive whose
 * table of contents carries the catalog and OID of each object; which of them
 * come along says schema_entries.c.
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
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/file_utils.h"
#include "core/loop.h"
#include "core/names.h"
#include "core/settings.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "monitor/state.h"
#include "source/archive.h"
#include "source/copy_schema_dump.h"
#include "source/dump_program.h"
#include "source/schema_entries.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* Bytes of pg_dump's command line: an arbitrary part of what systems allow */
#define MAX_ARGUMENTS_SIZE (1024 * 1024)

/* pg_dump must not wait behind a change that in turn waits for this copy */
#define LOCK_WAIT_TIMEOUT 5000	/* ms */

/* Objects that are described in one query */
#define DESCRIBED_TOGETHER 1000

/* What decides how definitions are written; see flo_pin_session_settings() */
#define DUMP_SETTINGS \
	"-c standard_conforming_strings=on -c bytea_output=hex -c lc_monetary=C -c xmloption=content" \
	" -c array_nulls=on -c TimeZone=GMT -c role=none -c default_transaction_deferrable=off -c jit=off"

typedef struct Dump
{
	const FloReplicatorSpec *spec;
	const FloProcessArgs *args;
	const char *snapshot;
	List	   *tables;			/* NIL = all of the group */
	bool		only_missing;
	char	   *script;			/* files */
	char	   *complaints;
	FILE	   *pipe;
	FloSchemaEntries *chosen;
	List	   *entries;		/* of FloSchemaEntry * */
	MemoryContext context;		/* of the entries */
	MemoryContext entry_context;	/* of the one being read */
} Dump;

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
					" c.relkind IN ('v', 'm', 'f') OR c.relkind = 'S' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d"
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

		if (!flo_schema_entries_want(d->chosen, RelationRelationId, relation) &&
			!(loose && flo_schema_entries_cover(d->chosen, schema)) &&
			!flo_schema_entries_name(d->chosen, relation))
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
	if (d->spec->options.schema_objects == FLO_SCHEMA_NEEDED)
		append_argument(&script, "--no-security-labels");
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
		flo_schema_entries_take(d->chosen, read);
	}
	MemoryContextSwitchTo(d->context);
	while (read_dump(d, end, sizeof(end)) > 0)
		;
	d->entries = flo_schema_entries_list(d->chosen);
}

/* --- publishing ---------------------------------------------------------- */

static const char *const describe_query =
"SELECT pg_catalog.string_agg(pg_catalog.json_build_object("
" 'section', CASE WHEN u.after THEN 'after' ELSE 'before' END, 'rest', u.rest, 'optional', u.optional, 'lacks', nullif(u.lacks, ''),"
" 'object', coalesce(CASE WHEN NOT u.shell THEN pg_catalog.pg_describe_object(nullif(u.class, 0), u.object, 0) END, u.label),"
" 'part_of', nullif(u.part_of, 0), 'type', CASE WHEN u.shell THEN 'shell type' ELSE a.type END,"
" 'names', a.object_names, 'args', a.object_args,"
" 'definition', CASE WHEN $11 OR u.shell THEN '' WHEN u.class <> 0 THEN flo.definition_of(u.class, u.object) END,"
" 'of_table', CASE u.class WHEN 'pg_catalog.pg_class'::pg_catalog.regclass"
" THEN (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = u.object)"
" WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass"
" THEN (SELECT c.conrelid FROM pg_catalog.pg_constraint c WHERE c.oid = u.object AND c.contype IN ('p', 'u', 'x')) END::pg_catalog.int8,"
" 'command', u.command)::pg_catalog.text, ',' ORDER BY u.ordinal)"
" FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[]),"
" pg_catalog.unnest($3::pg_catalog.int4[]), pg_catalog.unnest($4::pg_catalog.bool[]),"
" pg_catalog.unnest($5::pg_catalog.bool[]), pg_catalog.unnest($6::pg_catalog.bool[]),"
" pg_catalog.unnest($7::pg_catalog.text[]), pg_catalog.unnest($8::pg_catalog.text[]),"
" pg_catalog.unnest($9::pg_catalog.bool[]), pg_catalog.unnest($10::pg_catalog.text[]))"
" WITH ORDINALITY u (class, object, part_of, after, rest, shell, label, command, optional, lacks, ordinal)"
" LEFT JOIN LATERAL pg_catalog.pg_identify_object_as_address(nullif(u.class, 0), u.object, 0) a ON true";

#define DESCRIBED_FIELDS 10

/* Some of the entries, from this place on, as JSON objects */
static char *
describe_some(Dump *d, int first, int count)
{
	static const Oid element_types[DESCRIBED_FIELDS] = {
		OIDOID, OIDOID, INT4OID, BOOLOID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, BOOLOID,
		TEXTOID
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
		FloSchemaEntry *entry = list_nth(d->entries, first + i);

		elements[0][i] = ObjectIdGetDatum(entry->class);
		elements[1][i] = ObjectIdGetDatum(entry->object);
		elements[2][i] = Int32GetDatum(entry->part_of);
		elements[3][i] = BoolGetDatum(entry->after);
		elements[4][i] = BoolGetDatum(entry->rest);
		elements[5][i] = BoolGetDatum(entry->shell);
		elements[6][i] = CStringGetTextDatum(entry->label);
		elements[7][i] = CStringGetTextDatum(entry->command);
		elements[8][i] = BoolGetDatum(entry->optional);
		elements[9][i] = CStringGetTextDatum(entry->lacks != NULL ? entry->lacks : "");
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
	dump.chosen = flo_schema_entries_create(spec, tables);
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
