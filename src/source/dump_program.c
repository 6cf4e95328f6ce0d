/*
 * dump_program.c
 *		Which pg_dump is run, and how it gets to this database.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "core/settings.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "source/dump_program.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

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

char *
flo_dump_connection(const FloReplicatorSpec *spec)
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
	append_quoted(&conninfo, "user", GetUserNameFromId(spec->owner, false));
	append_quoted(&conninfo, "application_name",
				  psprintf("pg_flo schema of group %s", spec->group));
	appendStringInfoString(&conninfo, setting);
	return conninfo.data;
}

char *
flo_dump_program(void)
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
