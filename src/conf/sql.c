/*
 * sql.c
 *		Statements on the tables of schema flo: SQL that runs as the owner of the
 *		extension with search_path pinned.
 *
 * Whatever role calls and whatever its search_path and settings are, a
 * statement here does the same thing.  The identity is that of a
 * security-restricted operation, so nothing the statement might call can keep
 * it.  An error needs no clean-up: the abort restores identity, settings and SPI.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "conf/sql.h"
#include "core/names.h"
#include "core/text.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define EXTENSION_NAME "pg_flo"
#define MAX_ARGUMENTS 12

static bool as_of_now = false;

bool
flo_store_extension_exists(void)
{
	return OidIsValid(get_extension_oid(EXTENSION_NAME, true));
}

/* Its owner, and its version, palloc'd; InvalidOid where it is not installed */
static Oid
read_extension(char **version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;
	bool		isnull;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
		*version = TextDatumGetCString(heap_getattr(tuple, Anum_pg_extension_extversion,
													RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

char *
flo_store_other_version(void)
{
	char	   *version;

	if (!OidIsValid(read_extension(&version)) || strcmp(version, FLO_VERSION) == 0)
		return NULL;
	return version;
}

/* Of two versions "major.minor": is the first one later? */
static bool
is_later(const char *version, const char *than)
{
	int			parts[2] = {0, 0};
	int			than_parts[2] = {0, 0};

	(void) sscanf(version, "%d.%d", &parts[0], &parts[1]);
	(void) sscanf(than, "%d.%d", &than_parts[0], &than_parts[1]);
	return parts[0] > than_parts[0] || (parts[0] == than_parts[0] && parts[1] > than_parts[1]);
}

int
flo_store_version_problem(const char *version)
{
	errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	errmsg("extension pg_flo of database \"%s\" has version %s, and this server runs pg_flo %s",
		   get_database_name(MyDatabaseId), version, FLO_VERSION);
	if (is_later(version, FLO_VERSION))
		return errhint("Install pg_flo %s on this server and restart it.", version);
	return errhint("Run ALTER EXTENSION pg_flo UPDATE in this database; what is started goes on by itself then.");
}

void
flo_store_require_version(void)
{
	char	   *version = flo_store_other_version();

	if (version != NULL)
		ereport(ERROR, flo_store_version_problem(version));
}

static Oid
extension_owner(void)
{
	char	   *version;
	Oid			owner = read_extension(&version);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", EXTENSION_NAME)));
	if (strcmp(version, FLO_VERSION) != 0)
		ereport(ERROR, flo_store_version_problem(version));
	pfree(version);

	return owner;
}

void
flo_store_enter(FloAsRole *as)
{
	Oid			owner = extension_owner();

	flo_as_role_enter(as, owner, FLO_AS_ROLE_RESTRICTED);
	flo_as_role_set("search_path", "pg_catalog, pg_temp");

	/* pg_stat_statements counts what has an id; these are nobody's statements */
	flo_as_role_set("compute_query_id", "off");
}

void
flo_store_leave(const FloAsRole *as)
{
	flo_as_role_leave(as);
}

void
flo_sql_begin(FloSqlSession *sql)
{
	sql->caller = CurrentMemoryContext;
	flo_store_enter(&sql->as);
	SPI_connect();

	sql->pushed_snapshot = !ActiveSnapshotSet();
	if (sql->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
}

void
flo_sql_end(FloSqlSession *sql)
{
	if (sql->pushed_snapshot)
		PopActiveSnapshot();
	SPI_finish();
	flo_store_leave(&sql->as);
	MemoryContextSwitchTo(sql->caller);
}

void
flo_sql_as_of_now(bool on)
{
	as_of_now = on;
}

/* Arguments as SPI wants them */
typedef struct Arguments
{
	Oid			types[MAX_ARGUMENTS];
	Datum		values[MAX_ARGUMENTS];
	char		nulls[MAX_ARGUMENTS];
} Arguments;

static void
take_arguments(Arguments *arguments, int nargs, va_list args)
{
	Assert(nargs <= MAX_ARGUMENTS);
	for (int i = 0; i < nargs; i++)
	{
		const char *value = va_arg(args, const char *);

		arguments->types[i] = TEXTOID;
		arguments->nulls[i] = value ? ' ' : 'n';
		arguments->values[i] = value ? CStringGetTextDatum(value) : (Datum) 0;
	}
}

static uint64
check_result(int result, int expected, const char *statement)
{
	if (result != expected)
		elog(ERROR, "statement on schema flo returned %s: %s",
			 SPI_result_code_string(result), statement);
	return SPI_processed;
}

static uint64
run(int expected, const char *statement, int nargs, va_list args)
{
	Arguments	arguments;

	take_arguments(&arguments, nargs, args);
	return check_result(SPI_execute_with_args(statement, nargs, arguments.types, arguments.values,
											  arguments.nulls, as_of_now, 0), expected, statement);
}

uint64
flo_sql_run(int expected, const char *statement, int nargs,...)
{
	uint64		rows;
	va_list		args;

	va_start(args, nargs);
	rows = run(expected, statement, nargs, args);
	va_end(args);
	return rows;
}

uint64
flo_sql_do(int expected, const char *statement, int nargs,...)
{
	FloSqlSession sql;
	uint64		rows;
	va_list		args;

	flo_sql_begin(&sql);
	va_start(args, nargs);
	rows = run(expected, statement, nargs, args);
	va_end(args);
	flo_sql_end(&sql);
	return rows;
}

uint64
flo_sql_run_kept(SPIPlanPtr *plan, int expected, const char *statement, int nargs,...)
{
	Arguments	arguments;
	va_list		args;

	va_start(args, nargs);
	take_arguments(&arguments, nargs, args);
	va_end(args);
	if (*plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare(statement, nargs, arguments.types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare statement on schema flo: %s", statement);
		*plan = prepared;
	}
	return check_result(SPI_execute_plan(*plan, arguments.values, arguments.nulls, false, 0),
						expected, statement);
}

char *
flo_sql_text(const FloSqlSession *sql, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value ? MemoryContextStrdup(sql->caller, value) : NULL;
}

bool
flo_sql_true(uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value != NULL && value[0] == 't';
}

Oid
flo_sql_oid(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
									  &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

Jsonb *
flo_sql_jsonb(const FloSqlSession *sql, uint64 row, int column)
{
	MemoryContext old = MemoryContextSwitchTo(sql->caller);
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
									  column, &isnull);
	Jsonb	   *result = isnull ? NULL : DatumGetJsonbPCopy(value);

	MemoryContextSwitchTo(old);
	return result;
}

List *
flo_sql_list(const FloSqlSession *sql, uint64 row, int column, bool *isnull)
{
	MemoryContext old = MemoryContextSwitchTo(sql->caller);
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
									  column, isnull);
	List	   *result = NIL;

	if (!*isnull)
		result = flo_texts_of_array(value);
	MemoryContextSwitchTo(old);
	return result;
}

bool
flo_sql_member_of_row(const char *table, const char *id, char **group, char **worker)
{
	FloSqlSession sql;
	bool		found;

	flo_sql_begin(&sql);
	found = flo_sql_run(SPI_OK_SELECT,
						psprintf("SELECT group_name, worker_name FROM flo.%s WHERE id = $1::bigint",
								 table), 1, id) > 0;
	if (found)
	{
		*group = flo_sql_text(&sql, 0, 1);
		*worker = flo_sql_text(&sql, 0, 2);
	}
	flo_sql_end(&sql);
	return found;
}
